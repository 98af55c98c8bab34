//! One to n: what each receiver of a stream costs the daemon, plain and encrypted, beside Debian's rtpengine with the
//! same subscriptions.

use crate::compare::{INTERVAL, start};
use crate::control::{Control, check_interrupt};
use crate::load::{Endpoints, Load, Outcome};
use crate::report::{judgement, middle};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use millrace::base::suite::Suite;
use millrace::srtp::Parameters;
use millrace_testsuite::daemon::Kind;
use millrace_testsuite::scratch::Scratch;
use millrace_testsuite::srtp::parameters;
use millrace_testsuite::{sdp, system};
use serde_json::json;
use std::net::SocketAddr;
use std::time::Duration;

/// Receivers of each stream. None at all shows what receiving costs.
const RECEIVERS: [usize; 7] = [0, 1, 2, 8, 32, 128, 500];
const WARM_UP: Duration = Duration::from_secs(1);
const SUITE: Suite = Suite::AesCm128Sha1_80;
/// What a copy may cost at the most receivers, of what it costs at the fewest.
const GROWTH_GOAL: f64 = 1.0;

/// The load of one comparison.
pub struct Plan {
    pub rounds: usize,
    pub seconds: u64,
    /// Copies a second, whatever the number of receivers; there are as many publishers as it takes.
    pub copies_a_second: u64,
    /// The daemon's cores, as `taskset` names them.
    pub daemon_cores: String,
    pub generator_core: usize,
}

/// What one run saw.
#[derive(Clone, Copy)]
struct Figures {
    cpu_us_a_copy: f64,
    lost: u64,
    kept_pace: bool,
}

/// Measures every number of receivers, plain and encrypted, on each daemon in turns, and prints the medians. Whether a
/// copy of ours costs no more at the most receivers than at the fewest.
pub fn run(plan: &Plan, kinds: &[Kind]) -> Result<bool, String> {
    let endpoints = Endpoints::open().map_err(|error| error.to_string())?;
    system::pin_to_core(plan.generator_core).map_err(|error| format!("core {}: {error}", plan.generator_core))?;
    let mut met = true;
    for is_encrypted in [false, true] {
        let what = if is_encrypted { "encrypted both ways, AES_CM_128_HMAC_SHA1_80" } else { "plain" };
        println!(
            "\none to n, {what}: {} copies a second of 172-byte packets, {} s a run, medians of {}",
            plan.copies_a_second, plan.seconds, plan.rounds
        );
        let names: String = kinds.iter().map(|kind| format!("{:>20}", format!("{kind} us, lost"))).collect();
        println!("{:>10}{:>12}{names}{:>14}", "receivers", "publishers", "ours/theirs");
        let mut ours = Vec::new();
        for receivers in RECEIVERS {
            let medians = measure_all(plan, kinds, &endpoints, receivers, is_encrypted)?;
            let columns: String = medians.iter().map(column).collect();
            let costs: Vec<f64> = medians.iter().map(|figures| figures.cpu_us_a_copy).collect();
            println!("{receivers:>10}{:>12}{columns}{}", plan.publishers(receivers), judgement(&costs, None));
            ours.push(costs[0]);
        }
        let (few, many) = (ours[1], ours[RECEIVERS.len() - 1]);
        let is_met = many <= few * GROWTH_GOAL;
        met &= is_met;
        println!(
            "  {}: a copy at {} receivers costs {:.2} of one at 1; receiving alone {:.2} us a packet",
            if is_met { "OK" } else { "MISSED" },
            RECEIVERS[RECEIVERS.len() - 1],
            many / few,
            ours[0]
        );
    }
    Ok(met)
}

fn column(figures: &Figures) -> String {
    let pace = if figures.kept_pace { "" } else { " LATE" };
    format!("{:>20}", format!("{:.2}, {}{pace}", figures.cpu_us_a_copy, figures.lost))
}

impl Plan {
    fn publishers(&self, receivers: usize) -> usize {
        let packets_a_second = 1_000_000_000 / INTERVAL.as_nanos() as u64;
        ((self.copies_a_second / packets_a_second) as usize / receivers.max(1)).max(1)
    }
}

/// The medians of each daemon.
fn measure_all(
    plan: &Plan,
    kinds: &[Kind],
    endpoints: &Endpoints,
    receivers: usize,
    is_encrypted: bool,
) -> Result<Vec<Figures>, String> {
    let mut rounds: Vec<Vec<Figures>> = kinds.iter().map(|_| Vec::new()).collect();
    for _ in 0..plan.rounds {
        for (kind, rounds) in kinds.iter().zip(&mut rounds) {
            let figures = measure(plan, *kind, endpoints, receivers, is_encrypted);
            rounds.push(figures.map_err(|why| format!("{kind}, {receivers} receivers: {why}"))?);
            check_interrupt()?;
        }
    }
    Ok(rounds.iter().map(|rounds| median(rounds)).collect())
}

fn median(rounds: &[Figures]) -> Figures {
    Figures {
        cpu_us_a_copy: middle(rounds.iter().map(|figures| figures.cpu_us_a_copy).collect()),
        lost: rounds.iter().map(|figures| figures.lost).max().unwrap_or(0),
        kept_pace: rounds.iter().all(|figures| figures.kept_pace),
    }
}

fn measure(
    plan: &Plan,
    kind: Kind,
    endpoints: &Endpoints,
    receivers: usize,
    is_encrypted: bool,
) -> Result<Figures, String> {
    let scratch = Scratch::make("fanout")?;
    let mut daemon = start(kind, Some(&plan.daemon_cores), scratch.path())?;
    let mut control = Control::of(&daemon)?;
    let mut load = Load::new(endpoints, INTERVAL);
    for number in 0..plan.publishers(receivers) {
        let key = is_encrypted.then(|| parameters(SUITE, number as u64));
        let to = publish(&mut control, number, endpoints.address(number), key.as_ref())?;
        match &key {
            Some(key) => load.add_protected_flow(number, to, key),
            None => load.add_flow(number, to),
        }
        for receiver in 0..receivers {
            subscribe(&mut control, number, endpoints.address(number + 1 + receiver), is_encrypted)?;
            check_interrupt()?;
        }
    }
    let mut marks = Vec::new();
    let time = Duration::from_secs(plan.seconds);
    let outcome = load.run(WARM_UP, time, || marks.push(daemon.cpu_time())).map_err(|error| error.to_string())?;
    let [before, after] = <[_; 2]>::try_from(marks).map_err(|_| "the run was cut short")?;
    daemon.check_alive()?;
    figures(&outcome, receivers, after? - before?)
}

fn figures(outcome: &Outcome, receivers: usize, used: Duration) -> Result<Figures, String> {
    let copies = outcome.sent * receivers as u64;
    if copies > 0 && outcome.received * 2 < copies {
        return Err(format!("only {} of {copies} copies arrived", outcome.received));
    }
    Ok(Figures {
        cpu_us_a_copy: used.as_secs_f64() * 1e6 / copies.max(outcome.sent).max(1) as f64,
        lost: copies.saturating_sub(outcome.received),
        kept_pace: outcome.kept_pace(),
    })
}

/// Publishes one stream of audio; where its packets go.
fn publish(
    control: &mut Control,
    number: usize,
    from: SocketAddr,
    key: Option<&Parameters>,
) -> Result<SocketAddr, String> {
    let request = json!({
        "command": "publish", "call-id": call_id(number), "from-tag": "p", "sdp": description(from, "sendonly", key),
    });
    let reply = control.ask(&request)?;
    sdp::media_address(reply["sdp"].as_str().unwrap_or_default()).ok_or(format!("no address in {reply}"))
}

/// Adds a receiver of what call `number` publishes.
fn subscribe(control: &mut Control, number: usize, to: SocketAddr, is_encrypted: bool) -> Result<(), String> {
    let mut request = json!({"command": "subscribe request", "call-id": call_id(number), "from-tag": "p"});
    request["transport-protocol"] = protocol(is_encrypted).into();
    let reply = control.ask(&request)?;
    let key = is_encrypted.then(|| parameters(SUITE, number as u64 + 1));
    let answer = description(to, "recvonly", key.as_ref());
    let request = json!({
        "command": "subscribe answer", "call-id": call_id(number), "from-tag": "p", "to-tag": reply["to-tag"],
        "sdp": answer,
    });
    control.ask(&request).map(drop)
}

fn description(at: SocketAddr, direction: &str, key: Option<&Parameters>) -> String {
    let mut extra = vec![format!("a={direction}")];
    if let Some(key) = key {
        let bytes = [key.master.key(), key.master.salt()].concat();
        extra.push(format!("a=crypto:1 {} inline:{}", SUITE.name(), STANDARD.encode(bytes)));
    }
    sdp::pcmu(at, protocol(key.is_some()), &extra)
}

fn protocol(is_encrypted: bool) -> &'static str {
    if is_encrypted { "RTP/SAVP" } else { "RTP/AVP" }
}

fn call_id(number: usize) -> String {
    format!("fan-out-{number}")
}
