//! `millracectl top`: the calls with the most packets, again and again.

use super::Failure;
use super::connection::Connection;
use crate::base::text::printable;
use serde_json::Value;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;
use tokio::time::Instant;

/// Lines where the size of the terminal is not known.
const USUAL_LINES: usize = 24;
/// Goes to the upper left corner and clears what follows.
const CLEAR: &str = "\x1b[H\x1b[J";

/// How it is shown.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Top {
    pub(super) interval: Duration,
    /// Shown once, rather than until an interrupt.
    pub(super) is_once: bool,
}

/// The daemon's calls at a moment.
struct Sample {
    at: Instant,
    calls: Vec<Value>,
}

/// A line of the table.
#[derive(Debug, PartialEq)]
struct Line<'a> {
    call: &'a Value,
    packets_per_second: f64,
    bits_per_second: f64,
}

/// Shows the table until an interrupt, or once.
pub(super) async fn run(address: &str, top: &Top) -> Result<(), Failure> {
    let is_terminal = io::stdout().is_terminal() && !top.is_once;
    let mut before = sample(address).await?;
    loop {
        tokio::time::sleep(top.interval).await;
        let now = sample(address).await?;
        let lines = lines(&before.calls, &now.calls, now.at.duration_since(before.at));
        let room = if is_terminal { height() } else { usize::MAX };
        let text = table(address, &lines, room.saturating_sub(3));
        let mut out = io::stdout().lock();
        let clear = if is_terminal { CLEAR } else { "" };
        out.write_all(format!("{clear}{text}").as_bytes()).and_then(|()| out.flush()).map_err(Failure::Output)?;
        if top.is_once {
            return Ok(());
        }
        before = now;
    }
}

fn height() -> usize {
    terminal_size::terminal_size().map_or(USUAL_LINES, |(_, height)| usize::from(height.0))
}

async fn sample(address: &str) -> Result<Sample, Failure> {
    let mut connection = Connection::open(address).await.map_err(Failure::Said)?;
    connection.say("list calls json").await.map_err(Failure::Said)?;
    let mut text = Vec::new();
    while let Some(part) = connection.hear().await.map_err(Failure::Said)? {
        text.extend_from_slice(part);
    }
    let mut list: Value = serde_json::from_slice(&text)
        .map_err(|_| Failure::Said(format!("no list of calls: {}", String::from_utf8_lossy(&text).trim())))?;
    let calls = list["calls"].as_array_mut().map(std::mem::take).unwrap_or_default();
    Ok(Sample { at: Instant::now(), calls })
}

/// The calls with what they received between two samples, those with the most packets first. A call that is new has
/// received all that it has since.
fn lines<'a>(before: &[Value], now: &'a [Value], between: Duration) -> Vec<Line<'a>> {
    let id = |call: &'_ Value| call["call-id"].as_str().unwrap_or_default().to_owned();
    let before: HashMap<String, &Value> = before.iter().map(|call| (id(call), call)).collect();
    let seconds = between.as_secs_f64().max(0.001);
    let mut lines: Vec<Line> = now
        .iter()
        .map(|call| {
            let was = before.get(&id(call));
            let grown = |key: &str| {
                let count = |call: &Value| call[key].as_u64().unwrap_or(0);
                count(call).saturating_sub(was.map_or(0, |was| count(was))) as f64 / seconds
            };
            Line { call, packets_per_second: grown("packets"), bits_per_second: 8.0 * grown("bytes") }
        })
        .collect();
    lines.sort_by(|one, other| other.packets_per_second.total_cmp(&one.packets_per_second));
    lines
}

/// The table, with at most `most` calls.
fn table(address: &str, lines: &[Line], most: usize) -> String {
    let sum = |value: fn(&Line) -> f64| lines.iter().map(value).sum::<f64>();
    let count = |key: &str| lines.iter().filter_map(|line| line.call[key].as_u64()).sum::<u64>();
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{address}: {} calls, {:.0} packets/s, {:.0} kbit/s, {} of {} medias in the kernel\n",
        lines.len(),
        sum(|line| line.packets_per_second),
        sum(|line| line.bits_per_second) / 1000.0,
        count("in kernel"),
        count("medias")
    );
    text += "  AGE s  PARTIES  MEDIAS  KERNEL  PACKETS/s    kbit/s  CALL-ID\n";
    for Line { call, packets_per_second, bits_per_second } in lines.iter().take(most) {
        let number = |key: &str| call[key].as_u64().unwrap_or(0);
        let _ = writeln!(
            text,
            "{:>7}  {:>7}  {:>6}  {:>6}  {packets_per_second:>9.1}  {:>8.1}  {}",
            number("age"),
            number("parties"),
            number("medias"),
            number("in kernel"),
            bits_per_second / 1000.0,
            printable(call["call-id"].as_str().unwrap_or_default())
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn call(id: &str, packets: u64) -> Value {
        json!({"call-id": id, "age": 5, "parties": 2, "medias": 2, "in kernel": 1, "packets": packets, "bytes": packets * 100})
    }

    #[test]
    fn the_busiest_come_first() {
        let before = [call("a", 100), call("b", 100), call("gone", 9)];
        let now = [call("a", 110), call("b", 300), call("new", 50)];
        let lines = lines(&before, &now, Duration::from_secs(2));
        let shown: Vec<(&str, f64)> =
            lines.iter().map(|line| (line.call["call-id"].as_str().unwrap(), line.packets_per_second)).collect();
        assert_eq!(shown, [("b", 100.0), ("new", 25.0), ("a", 5.0)]);
        let text = table("here", &lines, 2);
        assert_eq!(
            text,
            "here: 3 calls, 130 packets/s, 104 kbit/s, 3 of 6 medias in the kernel\n\n  \
             AGE s  PARTIES  MEDIAS  KERNEL  PACKETS/s    kbit/s  CALL-ID\n      \
             5        2       2       1      100.0      80.0  b\n      \
             5        2       2       1       25.0      20.0  new\n"
        );
    }
}
