//! What the demo prints.

use crate::call::{Heard, Outcome, Progress};
use millrace_testsuite::daemon::Kind;

/// The first lines.
pub fn title(kind: Kind) {
    println!("\n  {kind}: one call through the daemon, on this machine's loopback\n");
}

/// One thing that happened.
pub fn row(name: &str, text: &str) {
    println!("  {name:8} {text}");
}

/// The head of the table that grows each second; 80 characters wide.
pub fn heading(first: &str, second: &str) {
    let column = "packets lost  jitter  delay p50/p99";
    println!("\n      {:^35}  {:^35}", format!("{first} -> {second}"), format!("{second} -> {first}"));
    println!(" time {column}  {column}");
    println!("      {0:>35}  {0:>35}", "ms            ms");
}

/// One line of the table.
pub fn second(second: u64, ways: [Progress; 2]) {
    let column = |way: Progress| {
        format!(
            "{:7} {:4} {:7.3} {:6.3} / {:6.3}",
            way.received, way.lost, way.jitter_ms, way.delay_p50_ms, way.delay_p99_ms
        )
    };
    println!(" {second:2} s {}  {}", column(ways[0]), column(ways[1]));
}

/// The summary and the last word.
pub fn verdict(outcome: &Outcome) {
    println!();
    for heard in &outcome.heard {
        println!("  {}", summary(heard));
    }
    if let Some(packets) = outcome.counted_by_daemon {
        println!("  the daemon counted {packets} RTP packets");
    }
    if outcome.complete() {
        println!("\n  OK: all audio arrived, both ways, byte for byte. Nothing was left running or lying about.\n");
    } else {
        println!("\n  FAILED: not all audio arrived as it was sent.\n");
    }
}

fn summary(heard: &Heard) -> String {
    let way = heard.progress;
    format!(
        "{} -> {}: {} of {} packets{}; jitter {:.3} ms; added delay p50 {:.3} ms, p99 {:.3} ms",
        heard.speaker,
        heard.listener,
        way.received,
        heard.frames.len(),
        if heard.perfect { ", each as it was sent" } else { "" },
        way.jitter_ms,
        way.delay_p50_ms,
        way.delay_p99_ms
    )
}
