//! Our daemon and Debian's rtpengine side by side: the same load, the same core, in turns.

use crate::control::{Control, delete, offer, pipeline};
use crate::load::{Endpoints, Load, Outcome};
use crate::report::{Metric, Report};
use millrace_testsuite::daemon::{Daemon, Kind, Settings};
use millrace_testsuite::scratch::Scratch;
use millrace_testsuite::{ports, system};
use std::path::Path;
use std::time::Duration;

/// The load of one comparison.
#[derive(Debug, Clone)]
pub struct Plan {
    pub rounds: usize,
    pub calls: usize,
    pub seconds: u64,
    /// Offer, answer, delete cycles for the CPU of setting a call up.
    pub cycles: usize,
    /// Offers for their rate, and calls for memory.
    pub offers: usize,
    /// The daemon's cores, as `taskset` names them.
    pub daemon_cores: String,
    pub generator_core: usize,
}

/// Between packets of one flow: 50 a second.
pub const INTERVAL: Duration = Duration::from_millis(20);
const WARM_UP: Duration = Duration::from_secs(3);
/// Offers in flight.
const CALLS_AT_ONCE: usize = 16;

/// What one round measured of one daemon.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figures {
    pub cpu_us_a_packet: f64,
    pub packets: f64,
    pub lost: f64,
    pub delay_p50_us: f64,
    pub delay_p99_us: f64,
    pub delay_max_us: f64,
    pub memory_kib_a_call: f64,
    pub setup_cpu_us_a_call: f64,
    pub setup_cpu_us_at_once: f64,
    pub offers_a_second: f64,
    pub offer_p99_us: f64,
    pub generator_late_p99_us: f64,
}

/// Every figure: its name, its unit, how to read it, and what ours may be at most of theirs.
pub const METRICS: [Metric<Figures>; 10] = [
    Metric { name: "CPU a packet", unit: "us", digits: 3, get: |f| f.cpu_us_a_packet, goal: Some(0.6) },
    Metric { name: "packets lost", unit: "", digits: 0, get: |f| f.lost, goal: None },
    Metric { name: "added delay p50", unit: "us", digits: 1, get: |f| f.delay_p50_us, goal: None },
    Metric { name: "added delay p99", unit: "us", digits: 1, get: |f| f.delay_p99_us, goal: None },
    Metric { name: "added delay max", unit: "us", digits: 0, get: |f| f.delay_max_us, goal: None },
    Metric { name: "memory a call", unit: "KiB", digits: 2, get: |f| f.memory_kib_a_call, goal: Some(0.4) },
    Metric { name: "CPU to set a call up", unit: "us", digits: 1, get: |f| f.setup_cpu_us_a_call, goal: Some(0.4) },
    Metric { name: "the same, 16 at once", unit: "us", digits: 1, get: |f| f.setup_cpu_us_at_once, goal: None },
    Metric { name: "offers a second", unit: "", digits: 0, get: |f| f.offers_a_second, goal: None },
    Metric { name: "offer reply p99", unit: "us", digits: 0, get: |f| f.offer_p99_us, goal: None },
];

/// Measures the daemons in turns and reports.
pub fn run(plan: &Plan, kinds: &[Kind]) -> Result<Report, String> {
    let endpoints = Endpoints::open().map_err(|error| error.to_string())?;
    system::pin_to_core(plan.generator_core).map_err(|error| format!("core {}: {error}", plan.generator_core))?;
    let mut report = Report::new(plan, kinds);
    for round in 1..=plan.rounds {
        for kind in kinds {
            let figures = measure(plan, *kind, &endpoints).map_err(|why| format!("{kind}: {why}"))?;
            println!("  round {round} of {}: {}", plan.rounds, line(*kind, &figures));
            report.add(*kind, figures);
        }
    }
    Ok(report)
}

fn line(kind: Kind, f: &Figures) -> String {
    let late = if f.generator_late_p99_us > 2000.0 {
        format!("  THE GENERATOR WAS THE BOTTLENECK: {:.0} us late at p99", f.generator_late_p99_us)
    } else {
        String::new()
    };
    format!(
        "{kind:9} {:.3} us CPU a packet, {} of {} lost, delay p50 {:.1} us p99 {:.1} us, {:.2} KiB a call, {:.1} us CPU a set-up, \
         {:.1} at once, \
         {:.0} offers/s p99 {:.0} us{late}",
        f.cpu_us_a_packet,
        f.lost,
        f.packets,
        f.delay_p50_us,
        f.delay_p99_us,
        f.memory_kib_a_call,
        f.setup_cpu_us_a_call,
        f.setup_cpu_us_at_once,
        f.offers_a_second,
        f.offer_p99_us
    )
}

/// Starts a daemon for measurements on loopback. Media is relayed in userspace, as theirs is.
pub fn start(kind: Kind, cores: Option<&str>, folder: &Path) -> Result<Daemon<'static>, String> {
    start_with(kind, cores, Vec::new(), folder)
}

/// The same with further options.
pub fn start_with(
    kind: Kind,
    cores: Option<&str>,
    mut options: Vec<String>,
    folder: &Path,
) -> Result<Daemon<'static>, String> {
    options.extend((kind == Kind::Millrace).then(|| "--fastpath=off".to_owned()));
    let fault = |error: std::io::Error| error.to_string();
    Daemon::start(Settings {
        kind,
        interfaces: vec!["127.0.0.1".into()],
        control: ports::free_udp().map_err(fault)?,
        cli: ports::free_tcp().map_err(fault)?,
        // Below the ports that the system gives to clients.
        ports: (10_000, 29_999),
        options,
        namespace: None,
        cores: cores.map(str::to_owned),
        capabilities: None,
        log: folder.join("daemon.log"),
    })
}

fn measure(plan: &Plan, kind: Kind, endpoints: &Endpoints) -> Result<Figures, String> {
    let scratch = Scratch::make("bench")?;
    let mut daemon = start(kind, Some(&plan.daemon_cores), scratch.path())?;
    let mut figures = Figures::default();
    memory(plan, &daemon, endpoints, &mut figures)?;
    set_up_cost(plan, &daemon, endpoints, &mut figures)?;
    offer_rate(plan, &daemon, endpoints, &mut figures)?;
    relay(plan, &daemon, endpoints, &mut figures)?;
    daemon.check_alive()?;
    Ok(figures)
}

/// Growth of a fresh daemon's proportional set size by calls whose streams have all seen packets. Few calls go before:
/// memory that they used and freed would be used again without being counted.
fn memory(plan: &Plan, daemon: &Daemon, endpoints: &Endpoints, figures: &mut Figures) -> Result<(), String> {
    let mut control = Control::of(daemon)?;
    control.cycle(20, endpoints)?;
    let before = daemon.memory()?.proportional_kib;
    let mut load = Load::new(endpoints, Duration::from_millis(500));
    control.open_calls(plan.offers, endpoints, &mut load)?;
    let outcome = load.run(Duration::ZERO, Duration::from_secs(2), || {}).map_err(|error| error.to_string())?;
    if outcome.received == 0 {
        return Err("the calls for the memory measurement relayed nothing".into());
    }
    let after = daemon.memory()?.proportional_kib;
    figures.memory_kib_a_call = (after as f64 - before as f64) / plan.offers as f64;
    control.close_calls(plan.offers)
}

/// CPU of the daemon for offer, answer and delete: one after the other, where waking the daemon for each request is a
/// good part of it, and several calls at once, as a proxy under load sends them.
fn set_up_cost(plan: &Plan, daemon: &Daemon, endpoints: &Endpoints, figures: &mut Figures) -> Result<(), String> {
    let mut control = Control::of(daemon)?;
    control.cycle(plan.cycles / 4, endpoints)?;
    let before = daemon.cpu_time()?;
    control.cycle(plan.cycles, endpoints)?;
    let used = daemon.cpu_time()? - before;
    figures.setup_cpu_us_a_call = used.as_secs_f64() * 1e6 / plan.cycles as f64;
    let before = daemon.cpu_time()?;
    control.cycle_pipelined(plan.cycles, endpoints, CALLS_AT_ONCE)?;
    let used = daemon.cpu_time()? - before;
    figures.setup_cpu_us_at_once = used.as_secs_f64() * 1e6 / plan.cycles as f64;
    Ok(())
}

/// Offers for new calls, many in flight.
fn offer_rate(plan: &Plan, daemon: &Daemon, endpoints: &Endpoints, figures: &mut Figures) -> Result<(), String> {
    let to = daemon.control_address();
    let rate =
        pipeline(to, (0..plan.offers).map(|number| offer(number, endpoints.address(2 * number))), CALLS_AT_ONCE)?;
    figures.offers_a_second = rate.per_second;
    figures.offer_p99_us = rate.reply_times.quantile_ns(0.99) as f64 / 1000.0;
    pipeline(to, (0..plan.offers).map(delete), CALLS_AT_ONCE).map(drop)
}

/// The calls with RTP both ways.
fn relay(plan: &Plan, daemon: &Daemon, endpoints: &Endpoints, figures: &mut Figures) -> Result<(), String> {
    let mut control = Control::of(daemon)?;
    let mut load = Load::new(endpoints, INTERVAL);
    control.open_calls(plan.calls, endpoints, &mut load)?;
    let mut marks = Vec::new();
    let time = Duration::from_secs(plan.seconds);
    let outcome = load.run(WARM_UP, time, || marks.push(daemon.cpu_time())).map_err(|error| error.to_string())?;
    let [before, after] = <[_; 2]>::try_from(marks).map_err(|_| "the run was cut short")?;
    let used = after? - before?;
    fill(figures, &outcome, used);
    control.close_calls(plan.calls)
}

fn fill(figures: &mut Figures, outcome: &Outcome, used: Duration) {
    let us = |ns: u64| ns as f64 / 1000.0;
    figures.packets = outcome.sent as f64;
    figures.lost = outcome.lost() as f64;
    figures.cpu_us_a_packet = used.as_secs_f64() * 1e6 / outcome.sent.max(1) as f64;
    figures.delay_p50_us = us(outcome.delays.quantile_ns(0.50));
    figures.delay_p99_us = us(outcome.delays.quantile_ns(0.99));
    figures.delay_max_us = us(outcome.delays.max_ns());
    figures.generator_late_p99_us = us(outcome.lateness.quantile_ns(0.99));
}
