//! One to n in the kernel: what each copy of a packet costs, between hosts, beside forwarding to one.

use crate::control::{Control, check_interrupt};
use crate::forward::{
    CALLEE, CALLER, FIRST_PHONE, OUTSIDE, Topology, Way, frame, generator, interface, kernel_threads, start,
};
use crate::report::middle;
use millrace_testsuite::daemon::Daemon;
use millrace_testsuite::scratch::Scratch;
use millrace_testsuite::sdp;
use millrace_testsuite::system;
use millrace_testsuite::system::generator::{Flow, Generator};
use serde_json::json;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Receivers of each stream.
const RECEIVERS: [usize; 4] = [1, 2, 8, 32];
const PACKET_BYTES: usize = 172;
const WARM_UP: Duration = Duration::from_secs(2);
/// Copies that are made of what is sent in one go, and at once: fewer than a cable between namespaces holds.
const COPIES_IN_A_GO: usize = 3072;
const COPIES_AT_ONCE: usize = 64;
/// What a copy may cost at the most receivers, of what a packet to one costs.
const GOAL: f64 = 1.2;

/// The load.
pub struct Plan {
    pub rounds: usize,
    pub seconds: u64,
    /// Whatever the number of receivers.
    pub copies_a_second: u64,
    pub generator_core: usize,
}

/// What one run saw.
struct Figures {
    ns_a_copy: f64,
    lost: u64,
    copies: u64,
}

/// Measures every number of receivers, by XDP and in userspace, and prints the medians. Whether the goal was met.
pub fn run(plan: &Plan) -> Result<bool, String> {
    system::pin_to_core(plan.generator_core).map_err(|error| format!("core {}: {error}", plan.generator_core))?;
    println!(
        "\none to n between hosts: {} copies a second of {PACKET_BYTES}-byte packets, {} s a run, medians of {}; CPU ns a copy, \
         less reception\n",
        plan.copies_a_second, plan.seconds, plan.rounds
    );
    println!("{:>10}{:>16}{:>20}{:>16}{:>20}", "receivers", "XDP", "lost", "userspace", "lost");
    let mut by_xdp = Vec::new();
    for receivers in RECEIVERS {
        let (mut columns, mut first) = (String::new(), None);
        for way in [Way::Xdp, Way::Userspace] {
            let (mut costs, mut lost, mut copies) = (Vec::new(), 0, 0);
            for _ in 0..plan.rounds {
                let nothing = measure(plan, Way::Dropped, receivers)?;
                let figures = measure(plan, way, receivers)?;
                costs.push(figures.ns_a_copy - nothing.ns_a_copy);
                (lost, copies) = (lost + figures.lost, copies + figures.copies);
                check_interrupt()?;
            }
            let cost = middle(costs);
            first = first.or(Some(cost));
            columns.push_str(&format!("{cost:>16.0}{:>20}", format!("{lost} of {copies}")));
        }
        println!("{receivers:>10}{columns}");
        by_xdp.extend(first);
    }
    let ratio = by_xdp[by_xdp.len() - 1] / by_xdp[0];
    let verdict = if ratio <= GOAL { "met" } else { "MISSED" };
    println!("  a copy at {} receivers is {ratio:.2} of a packet to one; goal {GOAL} {verdict}", RECEIVERS[3]);
    Ok(ratio <= GOAL)
}

fn measure(plan: &Plan, way: Way, receivers: usize) -> Result<Figures, String> {
    let topology = Topology::make()?;
    let scratch = Scratch::make("copies")?;
    let (out, from) = interface(&topology.caller, "out")?;
    let (external, to) = interface(&topology.proxy, "external")?;
    let (sink, _) = interface(&topology.callee, "out")?;
    let frame = frame((from, CALLER), (to, OUTSIDE), PACKET_BYTES)?;
    let mut generator = generator(&topology.caller, 0)?;
    let fault = |error: std::io::Error| error.to_string();
    topology.callee.within(|| generator.drop_at(sink)).map_err(fault)??;
    let streams = (plan.copies_a_second as usize / 50 / receivers).max(1);
    let mut daemon = None;
    let ports: Vec<u16> = match way {
        Way::Dropped => {
            topology.proxy.within(|| generator.drop_at(external)).map_err(fault)??;
            (0..streams).map(|index| 30_000 + index as u16).collect()
        }
        _ => {
            let started = start(way, &topology.proxy, scratch.path())?;
            let ports = set_up(&started, streams, receivers)?;
            daemon = Some(started);
            ports
        }
    };
    let flow = |(index, to): (usize, &u16)| Flow::new(index, FIRST_PHONE + index as u16, *to, 0);
    let flows: Vec<Flow> = ports.iter().enumerate().map(flow).collect();
    generator.set_flows(&flows, out, &frame)?;
    let work = || load(plan, &mut generator, &frame, (daemon.as_ref(), receivers));
    topology.caller.within(work).map_err(fault)?
}

/// Calls each with one receiver more for every listener; where callers send to.
fn set_up(daemon: &Daemon, streams: usize, receivers: usize) -> Result<Vec<u16>, String> {
    let mut control = Control::of(daemon)?;
    let at = |address: &str, port: usize| -> Result<SocketAddr, String> {
        format!("{address}:{port}").parse().map_err(|_| format!("{address} is no address"))
    };
    let first = usize::from(FIRST_PHONE);
    let mut ports = Vec::new();
    for stream in 0..streams {
        let base = first + stream * receivers;
        let (_, from_caller) = control.set_up(stream, at(CALLER, first + stream)?, at(CALLEE, base)?)?;
        for listener in 1..receivers {
            let call_id = format!("bench-call-{stream}");
            let reply = control.ask(&json!({"command": "subscribe request", "call-id": call_id, "from-tag": "a"}))?;
            let answer = sdp::audio(at(CALLEE, base + listener)?, 1, &["a=recvonly"]);
            control.ask(&json!({
                "command": "subscribe answer", "call-id": call_id, "from-tag": "a", "to-tag": reply["to-tag"],
                "sdp": answer,
            }))?;
        }
        ports.push(from_caller.port());
        check_interrupt()?;
    }
    Ok(ports)
}

fn load(
    plan: &Plan,
    generator: &mut Generator,
    frame: &[u8],
    (daemon, receivers): (Option<&Daemon>, usize),
) -> Result<Figures, String> {
    let used = || -> Result<Duration, String> {
        let own = daemon.map_or(Ok(Duration::ZERO), Daemon::cpu_time)?;
        Ok(system::thread_time() + kernel_threads() + own)
    };
    let burst = (COPIES_IN_A_GO / receivers).max(1) as u32;
    let batch = (COPIES_AT_ONCE / receivers).max(1) as u32;
    let interval =
        Duration::from_nanos(1_000_000_000 * u64::from(burst) * receivers as u64 / plan.copies_a_second.max(1));
    let send_for = |generator: &mut Generator, time: Duration| -> Result<u64, String> {
        let (begin, mut bursts) = (Instant::now(), 0);
        while begin.elapsed() < time {
            check_interrupt()?;
            generator.send(frame, burst, batch)?;
            bursts += 1;
            std::thread::sleep((begin + interval * bursts).saturating_duration_since(Instant::now()));
        }
        // What is still in queues belongs to what was sent.
        std::thread::sleep(Duration::from_millis(50));
        Ok(u64::from(bursts) * u64::from(burst))
    };
    send_for(generator, WARM_UP)?;
    let (before, counts_before) = (used()?, generator.counts()?);
    let copies = send_for(generator, Duration::from_secs(plan.seconds))? * receivers as u64;
    let (after, counts) = (used()?, generator.counts()?);
    let arrived = counts.arrived - counts_before.arrived;
    let ns_a_copy = (after - before).as_nanos() as f64 / copies.max(1) as f64;
    let figures = Figures { ns_a_copy, lost: copies.saturating_sub(arrived), copies };
    match daemon.is_some() && figures.lost * 2 > copies {
        true => Err(format!("{} of {copies} copies were lost to {receivers} receivers", figures.lost)),
        false => Ok(figures),
    }
}
