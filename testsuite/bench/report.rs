//! What the comparison prints and writes.

use crate::compare::{Figures, METRICS, Plan};
use millrace_testsuite::daemon::Kind;
use serde_json::{Map, Value, json};
use std::fs;
use std::path::Path;

/// One figure of a set.
pub struct Metric<T> {
    pub name: &'static str,
    pub unit: &'static str,
    /// Digits after the point.
    pub digits: usize,
    pub get: fn(&T) -> f64,
    /// What ours may be at most of theirs.
    pub goal: Option<f64>,
}

/// Everything that was measured.
pub struct Report {
    plan: Plan,
    rounds: Vec<(Kind, Vec<Figures>)>,
}

impl Report {
    /// Nothing measured yet.
    pub fn new(plan: &Plan, kinds: &[Kind]) -> Report {
        Report { plan: plan.clone(), rounds: kinds.iter().map(|kind| (*kind, Vec::new())).collect() }
    }

    /// Adds a round.
    pub fn add(&mut self, kind: Kind, figures: Figures) {
        self.rounds.iter_mut().filter(|(own, _)| *own == kind).for_each(|(_, rounds)| rounds.push(figures));
    }

    /// Prints medians side by side, with ratios where two daemons were measured.
    pub fn print(&self) {
        let plan = &self.plan;
        println!(
            "\n{} calls, 172-byte packets, 50 a second each way, {} s a round, medians of {} rounds; daemon on core {}, generator on core {}\n",
            plan.calls, plan.seconds, plan.rounds, plan.daemon_cores, plan.generator_core
        );
        let names: String = self.rounds.iter().map(|(kind, _)| format!("{:>14}", kind.to_string())).collect();
        println!("{:26}{names}{:>14}{:>10}", "", "ours/theirs", "goal");
        for metric in &METRICS {
            let medians: Vec<f64> = self.rounds.iter().map(|(_, rounds)| median(rounds, metric)).collect();
            let columns: String = medians.iter().map(|value| format!("{value:>14.*}", metric.digits)).collect();
            let label = format!("{} {}", metric.name, metric.unit);
            println!("{label:26}{columns}{}", judgement(&medians, metric.goal));
        }
        for (kind, rounds) in &self.rounds {
            if rounds.iter().any(|figures| figures.generator_late_p99_us > 2000.0) {
                println!("\nTHE GENERATOR WAS THE BOTTLENECK in a round of {kind}: do not trust its delays and losses");
            }
        }
    }

    /// Whether ours stayed within every goal; true where only one daemon was measured.
    pub fn goals_met(&self) -> bool {
        let [(_, ours), (_, theirs)] = self.rounds.as_slice() else { return true };
        let within = |metric: &Metric<Figures>| {
            let ratio = median(ours, metric) / median(theirs, metric);
            metric.goal.is_none_or(|goal| ratio <= goal)
        };
        METRICS.iter().all(within)
    }

    /// Writes medians and all rounds as JSON.
    pub fn write(&self, path: &Path) -> Result<(), String> {
        let fault = |error: std::io::Error| format!("{}: {error}", path.display());
        fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).map_err(fault)?;
        let plan = &self.plan;
        let mut all = json!({
            "calls": plan.calls, "seconds": plan.seconds, "rounds": plan.rounds, "packet_bytes": crate::load::PACKET_BYTES,
            "daemon_cores": plan.daemon_cores, "generator_core": plan.generator_core, "goals": goals(),
        });
        for (kind, rounds) in &self.rounds {
            let medians: Map<String, Value> =
                METRICS.iter().map(|metric| (key(metric), json!(median(rounds, metric)))).collect();
            let rounds: Vec<Value> = rounds.iter().map(|figures| json!(each(figures))).collect();
            all[kind.to_string()] = json!({"medians": medians, "rounds": rounds});
        }
        let text = serde_json::to_string_pretty(&all).map_err(|error| error.to_string())?;
        fs::write(path, text + "\n").map_err(fault)
    }
}

fn goals() -> Map<String, Value> {
    METRICS.iter().filter_map(|metric| Some((key(metric), json!(metric.goal?)))).collect()
}

fn each(figures: &Figures) -> Map<String, Value> {
    let mut each: Map<String, Value> =
        METRICS.iter().map(|metric| (key(metric), json!((metric.get)(figures)))).collect();
    each.insert("packets".into(), json!(figures.packets));
    each.insert("generator late p99 us".into(), json!(figures.generator_late_p99_us));
    each
}

fn key(metric: &Metric<Figures>) -> String {
    format!("{} {}", metric.name, metric.unit).trim_end().to_owned()
}

/// The ratio of two medians, ours and theirs, and whether it is within the goal; empty where there is only one.
pub fn judgement(medians: &[f64], goal: Option<f64>) -> String {
    let [ours, theirs] = medians else { return String::new() };
    if *theirs == 0.0 {
        return String::new();
    }
    let ratio = ours / theirs;
    match goal {
        Some(goal) if ratio <= goal => format!("{ratio:>14.2}{:>10}  met", format!("<= {goal}")),
        Some(goal) => format!("{ratio:>14.2}{:>10}  MISSED", format!("<= {goal}")),
        None => format!("{ratio:>14.2}"),
    }
}

fn median(rounds: &[Figures], metric: &Metric<Figures>) -> f64 {
    middle(rounds.iter().map(metric.get).collect())
}

/// The median.
pub fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[count / 2],
        count => (values[count / 2 - 1] + values[count / 2]) / 2.0,
    }
}
