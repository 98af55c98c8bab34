//! What must hold however long or large it gets: nothing is left over after many calls, and nothing is lost or late
//! with many calls open.

use crate::compare::start;
use crate::control::{Control, check_interrupt, delete, offer, query};
use crate::load::{Endpoints, Load};
use millrace_testsuite::daemon::{Daemon, Kind};
use millrace_testsuite::histogram::Histogram;
use millrace_testsuite::scratch::Scratch;
use millrace_testsuite::system;
use serde_json::json;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Cycles before the first look, which fill caches and allocator.
const WARM_UP_CYCLES: usize = 20_000;
/// How long daemons remember replies by their cookies, and a little longer; until then memory is rightly in use.
const FORGETTING: Duration = Duration::from_secs(65);
/// How much the resident set may have grown over all cycles.
const GROWTH_KIB: u64 = 1024;

/// What a daemon holds.
#[derive(Debug, Clone, Copy)]
struct Holdings {
    resident_kib: u64,
    descriptors: usize,
    ports: u64,
}

impl Holdings {
    fn of(daemon: &Daemon) -> Result<Holdings, String> {
        let text = daemon.cli("list interfaces")?;
        let ports = text.split_once("Ports used:").map(|(_, rest)| rest.trim_start());
        let digits = ports.map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
        // The connection of that question closes on the other side a moment later.
        std::thread::sleep(Duration::from_millis(100));
        let ports = digits.and_then(|digits| digits.parse().ok()).ok_or(format!("no number of ports in: {text}"))?;
        Ok(Holdings { resident_kib: daemon.memory()?.resident_kib, descriptors: daemon.descriptors()?, ports })
    }
}

/// Offer, answer, delete, over and over: memory, descriptors and ports must be where they were. Whether they are.
pub fn cycles(kind: Kind, count: usize) -> Result<bool, String> {
    let scratch = Scratch::make("cycles")?;
    let endpoints = Endpoints::open().map_err(|error| error.to_string())?;
    let mut daemon = start(kind, None, scratch.path())?;
    let mut control = Control::of(&daemon)?;
    control.cycle(WARM_UP_CYCLES, &endpoints)?;
    let before = settled(&daemon)?;
    let (began, cpu) = (Instant::now(), daemon.cpu_time()?);
    control.cycle(count, &endpoints)?;
    let (took, used) = (began.elapsed(), daemon.cpu_time()? - cpu);
    daemon.check_alive()?;
    let busy = daemon.memory()?;
    let after = settled(&daemon)?;
    println!(
        "\n{kind}: {count} offer, answer, delete cycles in {:.1} s, {:.1} us CPU each",
        took.as_secs_f64(),
        used.as_secs_f64() * 1e6 / count as f64
    );
    println!("  at the end, replies still remembered: {} KiB resident", busy.resident_kib);
    println!(
        "  before: {} KiB resident, {} descriptors, {} ports",
        before.resident_kib, before.descriptors, before.ports
    );
    println!("  after:  {} KiB resident, {} descriptors, {} ports", after.resident_kib, after.descriptors, after.ports);
    let back = (after.descriptors, after.ports) == (before.descriptors, 0)
        && after.resident_kib <= before.resident_kib + GROWTH_KIB;
    println!("  {}", if back { "OK: everything is back to where it was" } else { "FAILED: not everything came back" });
    Ok(back)
}

/// Waits until the daemon has forgotten its replies, while asking little: their memory turns over with requests.
fn settled(daemon: &Daemon) -> Result<Holdings, String> {
    let mut control = Control::of(daemon)?;
    let deadline = Instant::now() + FORGETTING;
    while Instant::now() < deadline {
        check_interrupt()?;
        control.time(&json!({"command": "ping"}))?;
        std::thread::sleep(Duration::from_millis(500));
    }
    Holdings::of(daemon)
}

/// How large.
pub struct Size {
    pub calls: usize,
    pub packets_a_second: u64,
    pub seconds: u64,
    /// As `taskset` names them; none for all.
    pub daemon_cores: Option<String>,
    pub generator_core: usize,
}

/// Many calls relaying while the control port is asked: nothing may be lost, and answers must come soon. Whether so.
pub fn large(kind: Kind, size: &Size) -> Result<bool, String> {
    let scratch = Scratch::make("large")?;
    let endpoints = Endpoints::open().map_err(|error| error.to_string())?;
    let daemon = start(kind, size.daemon_cores.as_deref(), scratch.path())?;
    let flows = 2 * size.calls as u64;
    let interval = Duration::from_nanos(1_000_000_000 * flows / size.packets_a_second);
    let mut load = Load::new(&endpoints, interval);
    Control::of(&daemon)?.open_calls(size.calls, &endpoints, &mut load)?;
    let descriptors = daemon.descriptors()?;
    println!(
        "\n{kind}: {} calls open, {descriptors} descriptors; {} packets a second for {} s",
        size.calls, size.packets_a_second, size.seconds
    );

    let over = AtomicBool::new(false);
    let mut marks = Vec::new();
    let (outcome, answers) = std::thread::scope(|scope| {
        let asking = scope.spawn(|| ask_around(&daemon, size.calls, &endpoints, &over));
        let outcome = system::pin_to_core(size.generator_core).and_then(|()| {
            load.run(Duration::from_secs(2), Duration::from_secs(size.seconds), || marks.push(daemon.cpu_time()))
        });
        over.store(true, Ordering::Relaxed);
        (outcome, asking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    let (outcome, answers) = (outcome.map_err(|error| error.to_string())?, answers?);
    check_interrupt()?;

    let us = |ns: u64| ns as f64 / 1000.0;
    println!("  {} of {} packets lost, {} out of order", outcome.lost(), outcome.sent, outcome.out_of_order);
    println!(
        "  added delay p50 {:.0} us, p99 {:.0} us",
        us(outcome.delays.quantile_ns(0.5)),
        us(outcome.delays.quantile_ns(0.99))
    );
    if let [Ok(before), Ok(after)] = marks.as_slice() {
        println!("  {:.2} of a core used by the daemon", (*after - *before).as_secs_f64() / outcome.wall.as_secs_f64());
    }
    println!(
        "  generator away from its sockets for {:.0} us at p99, {:.0} us at most",
        us(outcome.absences.quantile_ns(0.99)),
        us(outcome.absences.max_ns())
    );
    if !outcome.kept_pace() {
        println!(
            "  THE GENERATOR WAS THE BOTTLENECK: {:.0} us late at p99, {} refused",
            us(outcome.lateness.quantile_ns(0.99)),
            outcome.refused
        );
    }
    let mut met = outcome.lost() == 0;
    for (command, times) in &answers {
        let p99 = us(times.quantile_ns(0.99));
        println!(
            "  {command}: {} answers, p50 {:.0} us, p99 {p99:.0} us (goal < 20000)",
            times.count(),
            us(times.quantile_ns(0.5))
        );
        met &= p99 < 20_000.0;
    }
    println!("  {}", if met { "OK: nothing lost, answers in time" } else { "MISSED" });
    Ok(met)
}

/// Ping, query and offer (deleted again) in turns until it is over; how long each took.
fn ask_around(
    daemon: &Daemon,
    calls: usize,
    endpoints: &Endpoints,
    over: &AtomicBool,
) -> Result<[(&'static str, Histogram); 3], String> {
    let mut control = Control::of(daemon)?;
    let mut answers = ["ping", "query", "offer"].map(|command| (command, Histogram::default()));
    for number in 0.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let new = calls + number;
        let requests = [json!({"command": "ping"}), query(number % calls), offer(new, endpoints.address(2 * new))];
        for ((_, times), request) in answers.iter_mut().zip(requests) {
            times.add(control.time(&request)?);
        }
        control.time(&delete(new))?;
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(answers)
}

/// What the generator can do by itself: packets a second to its own sockets, without a daemon.
pub fn ceiling(generator_core: usize) -> Result<(), String> {
    let endpoints = Endpoints::open().map_err(|error| error.to_string())?;
    system::pin_to_core(generator_core).map_err(|error| error.to_string())?;
    println!("\ngenerator alone, to its own sockets:");
    for packets_a_second in [50_000u64, 100_000, 150_000, 200_000, 300_000] {
        let mut load = Load::new(&endpoints, Duration::from_nanos(1_000_000_000 * 8000 / packets_a_second));
        (0..8000).for_each(|index| load.add_flow(index, endpoints.address(index + 1)));
        let outcome =
            load.run(Duration::from_millis(500), Duration::from_secs(2), || {}).map_err(|error| error.to_string())?;
        check_interrupt()?;
        let pace = if outcome.kept_pace() { "kept pace" } else { "fell behind" };
        println!(
            "  {packets_a_second:7} a second: {pace}, {:.0} sent, {} lost, late p99 {:.0} us",
            outcome.sent as f64 / outcome.wall.as_secs_f64(),
            outcome.lost(),
            outcome.lateness.quantile_ns(0.99) as f64 / 1000.0
        );
    }
    Ok(())
}
