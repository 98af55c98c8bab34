//! As many calls as a large proxy has, all relaying at once, in the fast path and in userspace; and calls that come and go
//! while others flow: no packet may end up with another phone than its own. Each carries its flow's mark.

use crate::control::{Control, check_interrupt, delete, offer};
use crate::forward::{
    CALLEE, CALLER, CLI, CONTROL, INSIDE, OUTSIDE, Topology, frame, generator, interface, kernel_threads,
};
use crate::lrk;
use millrace_testsuite::daemon::{Daemon, Kind, Settings};
use millrace_testsuite::netns::Namespace;
use millrace_testsuite::scratch::Scratch;
use millrace_testsuite::sdp;
use millrace_testsuite::system;
use millrace_testsuite::system::generator::{Counts, Flow, Generator, Targets};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The first port of the phones, and of the daemon.
const FIRST_PHONE: u16 = 2_000;
const PORTS: (u16, u16) = (10_000, 65_535);
/// Frames that are sent in one go: such a frame takes a page, and what both sides send is to fit into the queue of a socket,
/// for phones don't speak all at once.
const BURST: u32 = 256;
/// And of these at once: fewer than a cable between namespaces holds.
const BATCH: u32 = 64;
/// RTP of 20 ms of G.711.
const PACKET_BYTES: usize = 172;
/// Phones that a call may have in turns, so that a packet of the one before shows.
const TURNS: u16 = 3;

/// How much.
pub struct Plan {
    pub calls: usize,
    pub packets_a_second: u64,
    pub seconds: u64,
    /// Calls that end and begin again in a second; none for calls that stay.
    pub changes_a_second: u64,
    pub generator_core: usize,
    /// Calls are set up by LRKProxy's protocol rather than by NG, and expire.
    pub by_lrk: bool,
}

/// Runs the plan in the fast path and in userspace. Whether nothing was lost in the former, and nothing went astray in
/// either: what comes in one go is more than the daemon's queues are for.
pub fn run(plan: &Plan) -> Result<bool, String> {
    system::pin_to_core(plan.generator_core).map_err(|error| format!("core {}: {error}", plan.generator_core))?;
    let changes = match plan.changes_a_second {
        0 => String::new(),
        number => format!(", {number} of them end and begin again in a second"),
    };
    println!(
        "\n{} calls{} between two hosts, both ways, {} packets a second for {} s{changes}",
        plan.calls,
        if plan.by_lrk { " of LRKProxy" } else { "" },
        plan.packets_a_second,
        plan.seconds
    );
    let mut met = true;
    for mode in ["xdp", "off"] {
        met &= measure(plan, mode).map_err(|why| format!("fastpath={mode}: {why}"))?;
        check_interrupt()?;
    }
    Ok(met)
}

/// A sender on one side of the proxy, and what it sends.
struct Side {
    generator: Generator,
    frame: Vec<u8>,
}

fn measure(plan: &Plan, mode: &str) -> Result<bool, String> {
    let scratch = Scratch::make("calls")?;
    let topology = Topology::make()?;
    let daemon = start(mode, plan.by_lrk, &topology, scratch.path())?;
    let (before, descriptors) = (daemon.memory()?, daemon.descriptors()?);
    let (began, cpu) = (Instant::now(), daemon.cpu_time()?);
    let ports: Vec<(u16, u16)> = match plan.by_lrk {
        true => lrk::set_up(&topology.proxy, plan.calls, |number| phone(number, 0))?,
        false => {
            let mut control = Control::of(&daemon)?;
            (0..plan.calls).map(|number| set_up(&mut control, number, 0)).collect::<Result<_, String>>()?
        }
    };
    let (took, used) = (began.elapsed(), daemon.cpu_time()? - cpu);
    println!(
        "  fastpath={mode}: set up in {:.1} s, {:.0} us of CPU each; {} descriptors, {:.1} KiB a call",
        took.as_secs_f64(),
        used.as_secs_f64() * 1e6 / plan.calls.max(1) as f64,
        daemon.descriptors()?,
        daemon.memory()?.resident_kib.saturating_sub(before.resident_kib) as f64 / plan.calls.max(1) as f64
    );
    let callers = ports.iter().enumerate().map(|(number, ports)| flow(number, 0, ports.0)).collect::<Vec<_>>();
    let callees = ports.iter().enumerate().map(|(number, ports)| flow(number, 0, ports.1)).collect::<Vec<_>>();
    let mut sides = Sides {
        caller: side(&topology.caller, CALLER, (&topology.proxy, OUTSIDE, "external"), &callers)?,
        callee: side(&topology.callee, CALLEE, (&topology.proxy, INSIDE, "internal"), &callees)?,
        topology: &topology,
        interval: Duration::from_nanos(2_000_000_000 * u64::from(BURST) / plan.packets_a_second.max(1)),
    };
    let outcome = load(plan, &daemon, &mut sides)?;
    report(&outcome);
    let text = daemon.cli("list totals")?;
    let sessions = text.lines().find(|line| line.contains("Total sessions") || line.contains("Own sessions"));
    println!("    {}", sessions.unwrap_or_default().trim());
    if plan.by_lrk {
        let took = lrk::expire(&daemon)?;
        println!(
            "    all expired within {:.0} s of the last packet: {} descriptors, {descriptors} before the calls; {} KiB more \
             than then",
            took.as_secs_f64(),
            daemon.descriptors()?,
            daemon.memory()?.resident_kib.saturating_sub(before.resident_kib)
        );
    }
    Ok(outcome.astray == 0 && (outcome.lost == 0 || mode == "off"))
}

struct Outcome {
    sent: u64,
    lost: u64,
    astray: u64,
    changes: u64,
    cpu_us_a_packet: f64,
    daemon_cores: f64,
    packets_a_second: f64,
}

fn report(outcome: &Outcome) {
    println!(
        "    {} packets, {:.0} a second: {} lost, {} at another phone than theirs; {:.2} us of CPU a packet, {:.2} of a \
         core in the daemon; {} calls renewed",
        outcome.sent,
        outcome.packets_a_second,
        outcome.lost,
        outcome.astray,
        outcome.cpu_us_a_packet,
        outcome.daemon_cores,
        outcome.changes
    );
}

fn side(
    home: &Namespace,
    address: &str,
    (proxy, proxy_address, proxy_device): (&Namespace, &str, &str),
    flows: &[Flow],
) -> Result<Side, String> {
    let (number, own) = interface(home, "out")?;
    let (_, other) = interface(proxy, proxy_device)?;
    let frame = frame((own, address), (other, proxy_address), PACKET_BYTES)?;
    let mut generator = generator(home, 0)?;
    home.within(|| generator.drop_at(number)).map_err(|error| error.to_string())??;
    generator.set_flows(flows, number, &frame)?;
    Ok(Side { generator, frame })
}

/// Ports of a call's phones; `turn` counts how often it has begun.
fn phone(number: usize, turn: u16) -> u16 {
    FIRST_PHONE + number as u16 * TURNS + turn % TURNS
}

/// What one phone of a call sends; the other has the same port on its own host.
fn flow(number: usize, turn: u16, to: u16) -> Flow {
    Flow::new(number, phone(number, turn), to, phone(number, turn))
}

/// Sets call `number` up; where its caller and its callee send to.
fn set_up(control: &mut Control, number: usize, turn: u16) -> Result<(u16, u16), String> {
    let at = |address: &str| {
        format!("{address}:{}", phone(number, turn)).parse().map_err(|_| format!("{address} is no address"))
    };
    let mut request = offer(number, at(CALLER)?);
    request["direction"] = json!(["external", "internal"]);
    let for_callee = control.ask(&request)?;
    let for_caller = control.ask(&crate::control::answer(number, at(CALLEE)?))?;
    let port = |reply: &Value| {
        let address = sdp::media_address(reply["sdp"].as_str().unwrap_or_default());
        address.map(|address| address.port()).ok_or(format!("no address in {reply}"))
    };
    Ok((port(&for_caller)?, port(&for_callee)?))
}

/// The senders on both sides.
struct Sides<'a> {
    topology: &'a Topology,
    caller: Side,
    callee: Side,
    /// Between two bursts of one side.
    interval: Duration,
}

/// Frames that were sent, and the processor time that it took.
type Sending = (u64, Duration);

impl Sides<'_> {
    /// Sends from both sides.
    fn send_for(&mut self, time: Duration) -> Result<Sending, String> {
        let interval = self.interval;
        let (caller, callee) = (&mut self.caller, &mut self.callee);
        let (one, other) = std::thread::scope(|scope| {
            let other = scope.spawn(|| self.topology.callee.within(|| callee.send_for(time, interval)));
            let one = self.topology.caller.within(|| caller.send_for(time, interval));
            (one, other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        let fault = |error: std::io::Error| error.to_string();
        let (one, other) = (one.map_err(fault)??, other.map_err(fault)??);
        Ok((one.0 + other.0, one.1 + other.1))
    }

    fn counts(&self) -> Result<Counts, String> {
        let (one, other) = (self.caller.generator.counts()?, self.callee.generator.counts()?);
        let (arrived, astray) = (one.arrived + other.arrived, one.astray + other.astray);
        Ok(Counts { arrived, astray, unsent: one.unsent + other.unsent })
    }
}

impl Side {
    fn send_for(&mut self, time: Duration, interval: Duration) -> Result<Sending, String> {
        let (begin, cpu, mut bursts) = (Instant::now(), system::thread_time(), 0);
        while begin.elapsed() < time {
            check_interrupt()?;
            self.generator.send(&self.frame, BURST, BATCH)?;
            bursts += 1;
            std::thread::sleep((begin + interval * bursts).saturating_duration_since(Instant::now()));
        }
        // What is still in queues belongs to what was sent.
        std::thread::sleep(Duration::from_millis(100));
        Ok((u64::from(bursts) * u64::from(BURST), system::thread_time() - cpu))
    }
}

/// Sends, and has calls end and begin meanwhile.
fn load(plan: &Plan, daemon: &Daemon, sides: &mut Sides) -> Result<Outcome, String> {
    let targets = (sides.caller.generator.targets()?, sides.callee.generator.targets()?);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let used = || -> Result<(Duration, Duration), String> {
            let own = daemon.cpu_time()?;
            Ok((kernel_threads() + own, own))
        };
        // Every flow has sent several times before the daemon knows where its phone is and has installed its entry.
        let warm_up = Duration::from_secs_f64(6.0 * plan.calls as f64 / plan.packets_a_second.max(1) as f64 + 2.0);
        sides.send_for(warm_up)?;
        let changing = scope.spawn(|| change(plan, daemon, targets, &over));
        let measured = (|| {
            let (before, counts_before, begin) = (used()?, sides.counts()?, Instant::now());
            let (turns, sending) = sides.send_for(Duration::from_secs(plan.seconds))?;
            let after = used()?;
            Ok::<_, String>((
                before,
                (after.0 + sending, after.1),
                counts_before,
                sides.counts()?,
                turns,
                begin.elapsed(),
            ))
        })();
        over.store(true, Ordering::Relaxed);
        let changes = changing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        let (before, after, counts_before, counts, turns, wall) = measured?;
        let sent = turns.saturating_sub(counts.unsent - counts_before.unsent);
        Ok(Outcome {
            sent,
            lost: sent.saturating_sub(counts.arrived - counts_before.arrived),
            astray: counts.astray,
            changes,
            cpu_us_a_packet: (after.0 - before.0).as_secs_f64() * 1e6 / sent.max(1) as f64,
            daemon_cores: (after.1 - before.1).as_secs_f64() / wall.as_secs_f64(),
            packets_a_second: sent as f64 / wall.as_secs_f64(),
        })
    })
}

/// Ends calls and sets them up again with other phones, one after the other, until it is over; how many.
fn change(
    plan: &Plan,
    daemon: &Daemon,
    (mut callers, mut callees): (Targets, Targets),
    over: &AtomicBool,
) -> Result<u64, String> {
    if plan.changes_a_second == 0 {
        return Ok(0);
    }
    let mut control = Control::of(daemon)?;
    let (begin, mut changes) = (Instant::now(), 0);
    let silent = |number: usize| Flow { destination: 0, ..flow(number, 0, 0) };
    while !over.load(Ordering::Relaxed) {
        let number = changes as usize % plan.calls;
        let turn = (changes as usize / plan.calls + 1) as u16;
        callers.set(number, &silent(number))?;
        callees.set(number, &silent(number))?;
        control.ask(&delete(number))?;
        let (for_caller, for_callee) = set_up(&mut control, number, turn)?;
        callers.set(number, &flow(number, turn, for_caller))?;
        callees.set(number, &flow(number, turn, for_callee))?;
        changes += 1;
        let due = begin + Duration::from_nanos(1_000_000_000 * changes / plan.changes_a_second);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    Ok(changes)
}

fn start<'a>(mode: &str, by_lrk: bool, topology: &'a Topology, folder: &Path) -> Result<Daemon<'a>, String> {
    let address = |text: &str| text.parse().map_err(|error| format!("{text}: {error}"));
    Daemon::start(Settings {
        kind: Kind::Millrace,
        interfaces: vec![format!("external/{OUTSIDE}"), format!("internal/{INSIDE}")],
        control: address(CONTROL)?,
        cli: address(CLI)?,
        ports: if by_lrk { lrk::OTHER_PORTS } else { PORTS },
        options: [format!("--fastpath={mode}"), "--media-sockets=shared".to_owned()]
            .into_iter()
            .chain(by_lrk.then(lrk::options).into_iter().flatten())
            .collect(),
        namespace: Some(&topology.proxy),
        cores: None,
        capabilities: None,
        log: folder.join("daemon.log"),
    })
}
