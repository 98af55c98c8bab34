//! CPU time a packet of the relay with its event loop, and of a daemon that speaks NG, under the same load.
//!
//!     relay_loop own GATHER_US [calls] [seconds] [burst]
//!     relay_loop ng ADDRESS PID [calls] [seconds] [burst]
//!
//! Both relay calls of two endpoints over loopback, 50 packets a second of 172 bytes each way. The relay is pinned to
//! the first processor, the load to the last.

use millrace::base::time::{Mono, Now};
use millrace::io::{Batch, EventLoop, Handler, Receiver, affinity, clock, limits};
use millrace::plan::{Component, ForwardingPlan, Ingress, Learning, PayloadType, Sink, StreamId};
use millrace::relay::{PortToken, Ports, Relay};
use millrace::rtp::mos;
use millrace_testsuite::load::{self, Endpoint, Outcome};
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
        _ => {
            Err("relay_loop own GATHER_US [calls] [seconds] [burst] | ng ADDRESS PID [calls] [seconds] [burst]".into())
        }
    }
}

/// Nanoseconds on a processor of every thread of `process`, or of one thread.
fn cpu_ns(path: &str) -> Result<u64, Box<dyn Error>> {
    let text = std::fs::read_to_string(path)?;
    Ok(text.split_whitespace().next().ok_or("an empty schedstat")?.parse()?)
}

fn process_cpu_ns(process: u32) -> Result<u64, Box<dyn Error>> {
    let mut sum = 0;
    for task in std::fs::read_dir(format!("/proc/{process}/task"))? {
        sum += cpu_ns(&format!("{}/schedstat", task?.path().display()))?;
    }
    Ok(sum)
}

fn report(name: &str, outcome: Outcome, cpu_ns: u64, settings: &Settings) {
    let packets = outcome.received.max(1);
    println!(
        "{name}: {} calls, {} s, burst {}: sent {}, received {}, late {}, {:.3} us CPU a packet, {:.1} % of a core",
        settings.calls,
        settings.duration.as_secs(),
        settings.burst,
        outcome.sent,
        outcome.received,
        outcome.late,
        cpu_ns as f64 / packets as f64 / 1000.0,
        cpu_ns as f64 / settings.duration.as_nanos() as f64 * 100.0,
    );
}

/// Pins the load to the last processor, warms up, measures.
fn measure(
    endpoints: &[Endpoint],
    settings: &Settings,
    cpu: impl Fn() -> Result<u64, Box<dyn Error>>,
) -> Result<(Outcome, u64), Box<dyn Error>> {
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
    let sink = Sink { egress: to, block: None };
    let is_rtp = component == Component::Rtp;
    ForwardingPlan {
        generation: 1,
        component,
        ingress: Ingress {
            learning: Learning::Heuristic,
            signalled: Some(signalled),
            signalled_at: now.mono,
            filled: true,
            strict_source: false,
            media_handover: false,
            asymmetric: false,
            wait_for_peer: false,
            pierce_nat: false,
            payload_types: [PayloadType { number: 8, clock_rate_hz: 8000, is_dtmf: false }].into_iter().collect(),
        },
        media: is_rtp.then_some(sink).into_iter().collect(),
        control: (!is_rtp).then_some(sink).into_iter().collect(),
        sources: None,
        tos: None,
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
    let mut event_loop = EventLoop::new(gather)?;
    let mut relay = Relay::new(mos::Kind::default());
    let endpoints = set_up(settings.calls, &mut relay, event_loop.ports())?;
    let (stop, waker) = (Arc::new(AtomicBool::new(false)), event_loop.waker());
    let mut handler = RelayHandler { relay, stop: Arc::clone(&stop), failed: 0 };
    let thread = std::thread::spawn(move || -> std::io::Result<RelayHandler> {
        affinity::pin(affinity::allowed()?[0])?;
        if std::env::var("UNSHARE").is_ok() {
            println!("{}", unsafe { libc::unshare(libc::CLONE_FILES) });
        }
        event_loop.run(&mut handler)?;
        Ok(handler)
    });
    let own = std::process::id();
    let load_thread = std::fs::read_link("/proc/thread-self")?.display().to_string();
    let cpu = || Ok(process_cpu_ns(own)? - cpu_ns(&format!("/proc/{load_thread}/schedstat"))?);
    let (outcome, cpu) = measure(&endpoints, settings, cpu)?;
    report("own", outcome, cpu, settings);
    stop.store(true, Ordering::Relaxed);
    waker.wake();
    let handler = thread.join().map_err(|_| "the relay's thread panicked")??;
    let drops: Vec<_> = handler.relay.dropped().iter().filter(|(_, count)| *count > 0).collect();
    println!("own: send failures {}, drops {drops:?}", handler.failed);
    Ok(())
}

/// Sends one request and gives the reply.
fn request(socket: &UdpSocket, number: usize, body: &str) -> Result<String, Box<dyn Error>> {
    socket.send(format!("{}_{number} {body}", std::process::id()).as_bytes())?;
    let mut buffer = [0; 8192];
    let bytes = socket.recv(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..bytes]).into_owned())
}

fn media_port(reply: &str) -> Result<u16, Box<dyn Error>> {
    let (_, rest) = reply.split_once("m=audio ").ok_or_else(|| format!("no media in {reply}"))?;
    Ok(rest.split(' ').next().unwrap_or_default().parse()?)
}

fn command(name: &str, call: usize, address: SocketAddr) -> String {
    let ip = address.ip();
    let sdp = format!(
        "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {} RTP/AVP 8\r\n",
        address.port()
    );
    let call_id = format!("load-{}-{call}", std::process::id());
    let pairs = [("call-id", call_id), ("command", name.into()), ("from-tag", "a".into()), ("sdp", sdp)];
    let mut body = String::from("d");
    for (key, value) in pairs {
        body += &format!("{}:{key}{}:{value}", key.len(), value.len());
    }
    if name == "delete" {
        body += "12:delete delayi0e";
    }
    if name != "offer" {
        body += "6:to-tag1:b";
    }
    body + "e"
}

fn run_ng(daemon: SocketAddr, process: u32, settings: &Settings) -> Outcomes {
    let control = UdpSocket::bind((daemon.ip(), 0))?;
    control.connect(daemon)?;
    control.set_read_timeout(Some(Duration::from_secs(2)))?;
    let mut endpoints = vec![];
    for call in 0..settings.calls {
        let sockets = [UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?];
        let addresses = [sockets[0].local_addr()?, sockets[1].local_addr()?];
        // The offer's reply goes to the answerer, so that its port is the one that the answerer sends to.
        let towards_answerer = media_port(&request(&control, call * 2, &command("offer", call, addresses[0]))?)?;
        let towards_offerer = media_port(&request(&control, call * 2 + 1, &command("answer", call, addresses[1]))?)?;
        for (socket, port) in sockets.into_iter().zip([towards_offerer, towards_answerer]) {
            let relay = SocketAddr::from(([127, 0, 0, 1], port));
            let ssrc = endpoints.len() as u32;
            endpoints.push(Endpoint::new(socket, relay, ssrc)?);
        }
    }
    let (outcome, cpu) = measure(&endpoints, settings, || process_cpu_ns(process))?;
    report("ng", outcome, cpu, settings);
    for call in 0..settings.calls {
        request(&control, settings.calls * 2 + call, &command("delete", call, daemon))?;
    }
    Ok(())
}
