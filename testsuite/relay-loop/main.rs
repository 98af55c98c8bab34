//! CPU time a packet of the relay with its event loop, and of a daemon that speaks NG, under the same load.
//!
//!     millrace-relay-loop own GATHER_US [CALLS] [SECONDS] [BURST]
//!     millrace-relay-loop ng ADDRESS PID [CALLS] [SECONDS] [BURST]
//!
//! Both relay calls of two endpoints over loopback, 50 packets a second of 172 bytes each way, BURST of them back to
//! back. The relay is pinned to the first processor, the load to the last. `millrace-bench` compares whole daemons.

mod load;

use load::{Endpoint, Outcome};
use millrace::base::time::{Mono, Now};
use millrace::io::{Batch, EventLoop, Handler, Receiver, affinity, clock, limits};
use millrace::plan::{Component, ForwardingPlan, Ingress, Learning, PayloadType, Sink, StreamId};
use millrace::relay::{PortToken, Ports, Relay};
use millrace::rtp::mos;
use millrace_testsuite::{ng, sdp, system};
use serde_json::json;
use std::error::Error;
use std::net::{SocketAddr, UdpSocket};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

type Outcomes = Result<(), Box<dyn Error>>;

struct Settings {
    calls: usize,
    duration: Duration,
    burst: usize,
}

fn settings(arguments: &[String]) -> Result<Settings, Box<dyn Error>> {
    let number = |at: usize, default: usize| arguments.get(at).map_or(Ok(default), |text| text.parse());
    Ok(Settings {
        calls: number(0, 200)?,
        duration: Duration::from_secs(number(1, 10)? as u64),
        burst: number(2, 1)?.max(1),
    })
}

fn main() -> Outcomes {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    limits::raise_descriptors()?;
    match arguments.first().map(String::as_str) {
        Some("own") if arguments.len() >= 2 => {
            run_own(Duration::from_micros(arguments[1].parse()?), &settings(&arguments[2..])?)
        }
        Some("ng") if arguments.len() >= 3 => {
            run_ng(arguments[1].parse()?, arguments[2].parse()?, &settings(&arguments[3..])?)
        }
        _ => Err("own GATHER_US [CALLS] [SECONDS] [BURST] | ng ADDRESS PID [CALLS] [SECONDS] [BURST]".into()),
    }
}

/// CPU time of one thread, by its folder in /proc.
fn thread_cpu_time(thread: &str) -> Result<Duration, Box<dyn Error>> {
    let text = std::fs::read_to_string(format!("/proc/{thread}/schedstat"))?;
    Ok(Duration::from_nanos(text.split_whitespace().next().ok_or("an empty schedstat")?.parse()?))
}

fn report(name: &str, outcome: Outcome, cpu: Duration, settings: &Settings) {
    let packets = outcome.received.max(1);
    println!(
        "{name}: {} calls, {} s, burst {}: sent {}, received {}, late {}, {:.3} us CPU a packet, {:.1} % of a core",
        settings.calls,
        settings.duration.as_secs(),
        settings.burst,
        outcome.sent,
        outcome.received,
        outcome.late,
        cpu.as_secs_f64() * 1e6 / packets as f64,
        cpu.as_secs_f64() / settings.duration.as_secs_f64() * 100.0,
    );
}

/// Pins the load to the last processor, warms up, measures.
fn measure(
    endpoints: &[Endpoint],
    settings: &Settings,
    cpu: impl Fn() -> Result<Duration, Box<dyn Error>>,
) -> Result<(Outcome, Duration), Box<dyn Error>> {
    affinity::pin(*affinity::allowed()?.last().ok_or("no processor")?)?;
    load::run(endpoints, settings.burst, Duration::from_millis(500));
    let before = cpu()?;
    let outcome = load::run(endpoints, settings.burst, settings.duration);
    Ok((outcome, cpu()? - before))
}

struct RelayHandler {
    relay: Relay,
    stop: Arc<AtomicBool>,
    failed: u64,
}

impl Handler for RelayHandler {
    fn datagram(&mut self, now: Now, port: PortToken, from: SocketAddr, datagram: &mut [u8], transmit: &mut Batch) {
        self.relay.datagram(now, port, from, datagram, transmit);
    }

    fn ready(&mut self, _: Now, _: u32, _: &mut Receiver, _: &mut Batch) {}

    fn wake(&mut self, _: Now, _: &mut Receiver, _: &mut Batch) -> ControlFlow<()> {
        if self.stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn timer(&mut self, now: Now, _: &mut Receiver, transmit: &mut Batch) -> Option<Mono> {
        self.relay.timer(now, transmit)
    }

    fn send_failed(&mut self, port: PortToken) {
        self.failed += 1;
        self.relay.send_failed(port);
    }
}

fn plan(component: Component, signalled: SocketAddr, to: StreamId, now: Now) -> ForwardingPlan {
    let sink = Sink::plain(to);
    let is_rtp = component == Component::Rtp;
    let ingress = Ingress {
        learning: Learning::Heuristic,
        signalled: Some(signalled),
        signalled_at: now.mono,
        filled: true,
        strict_source: false,
        fixed_address: false,
        media_handover: false,
        asymmetric: false,
        wait_for_peer: false,
        pierce_nat: false,
        payload_types: [PayloadType { number: 8, clock_rate_hz: 8000, is_dtmf: false, silence: None }]
            .into_iter()
            .collect(),
    };
    ForwardingPlan {
        media: is_rtp.then_some(sink).into_iter().collect(),
        control: (!is_rtp).then_some(sink).into_iter().collect(),
        sources: None,
        ..ForwardingPlan::new(component, ingress)
    }
}

/// Opens RTP and RTCP ports of both sides for every call, as a daemon would.
fn set_up(calls: usize, relay: &mut Relay, ports: &mut Receiver) -> Result<Vec<Endpoint>, Box<dyn Error>> {
    let mut endpoints = vec![];
    for call in 0..calls {
        let now = clock::now();
        let mut sides = vec![];
        for side in 0..2 {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            let base = 20_000 + (call * 4 + side * 2) as u16;
            let mut ids = vec![];
            for port in [base, base + 1] {
                let local = SocketAddr::from(([127, 0, 0, 1], port));
                let token = ports.open(local)?;
                ids.push(relay.add(now, token, local, call as u32));
            }
            let relay_port = SocketAddr::from(([127, 0, 0, 1], base));
            sides.push((socket.local_addr()?, ids));
            endpoints.push(Endpoint::new(socket, relay_port, (call * 2 + side) as u32)?);
        }
        for (own, other) in [(0, 1), (1, 0)] {
            let (address, ids) = &sides[own];
            let mut control = *address;
            control.set_port(address.port() ^ 1);
            relay.set_plan(now, ids[0], plan(Component::Rtp, *address, sides[other].1[0], now));
            relay.set_plan(now, ids[1], plan(Component::Rtcp, control, sides[other].1[1], now));
        }
    }
    Ok(endpoints)
}

fn run_own(gather: Duration, settings: &Settings) -> Outcomes {
    let mut event_loop = EventLoop::with_gather(gather)?;
    let mut relay = Relay::new(mos::Kind::default(), [0; 32]);
    let endpoints = set_up(settings.calls, &mut relay, event_loop.ports())?;
    let (stop, waker) = (Arc::new(AtomicBool::new(false)), event_loop.waker());
    let mut handler = RelayHandler { relay, stop: Arc::clone(&stop), failed: 0 };
    let thread = std::thread::spawn(move || -> std::io::Result<RelayHandler> {
        affinity::pin(affinity::allowed()?[0])?;
        event_loop.run(&mut handler)?;
        Ok(handler)
    });
    let own = std::process::id();
    let load_thread = std::fs::read_link("/proc/thread-self")?.display().to_string();
    let cpu = || Ok(system::process_cpu_time(own)? - thread_cpu_time(&load_thread)?);
    let (outcome, cpu) = measure(&endpoints, settings, cpu)?;
    report("own", outcome, cpu, settings);
    stop.store(true, Ordering::Relaxed);
    waker.wake();
    let handler = thread.join().map_err(|_| "the relay's thread panicked")??;
    let drops: Vec<_> = handler.relay.dropped().iter().filter(|(_, count)| *count > 0).collect();
    println!("own: send failures {}, drops {drops:?}", handler.failed);
    Ok(())
}

/// Offers or answers for an endpoint; gives the relay's address for the other one.
fn exchange(
    client: &mut ng::Client,
    command: &str,
    call_id: &str,
    endpoint: SocketAddr,
) -> Result<SocketAddr, Box<dyn Error>> {
    let mut request =
        json!({"command": command, "call-id": call_id, "from-tag": "a", "sdp": sdp::audio(endpoint, 1, &[])});
    if command == "answer" {
        request["to-tag"] = json!("b");
    }
    let reply = client.ask(&request)?;
    let address = reply["sdp"].as_str().and_then(sdp::media_address);
    Ok(address.ok_or_else(|| format!("no media in {reply}"))?)
}

fn run_ng(daemon: SocketAddr, process: u32, settings: &Settings) -> Outcomes {
    let mut client = ng::Client::connect(daemon, ng::Encoding::Bencode)?;
    let mut endpoints = vec![];
    let call_ids: Vec<_> = (0..settings.calls).map(|call| format!("load-{}-{call}", std::process::id())).collect();
    for call_id in &call_ids {
        let sockets = [UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?];
        // The offer's reply goes to the answerer, so that its port is the one that the answerer sends to.
        let for_answerer = exchange(&mut client, "offer", call_id, sockets[0].local_addr()?)?;
        let for_offerer = exchange(&mut client, "answer", call_id, sockets[1].local_addr()?)?;
        for (socket, relay) in sockets.into_iter().zip([for_offerer, for_answerer]) {
            endpoints.push(Endpoint::new(socket, relay, endpoints.len() as u32)?);
        }
    }
    let (outcome, cpu) = measure(&endpoints, settings, || Ok(system::process_cpu_time(process)?))?;
    report("ng", outcome, cpu, settings);
    for call_id in &call_ids {
        client.ask(&json!({"command": "delete", "call-id": call_id, "delete delay": 0}))?;
    }
    Ok(())
}
