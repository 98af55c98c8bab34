//! The metrics of the daemon: one table, from which come the text for Prometheus, `protocol-docs/metrics.md`, and the
//! names that the board and the alert rules in `config` may use.

mod alerts;
mod board;
mod document;
mod exposition;
mod state;
mod table;

pub use alerts::alerts;
pub use board::board;
pub use document::reference;
pub use exposition::{Series, exposition};
pub use state::{LimitState, ProcessUsage, ReceiverState, ShardLoad, State};

use std::borrow::Cow;

/// A metric: one row of the table.
pub struct Metric {
    /// As Prometheus knows it.
    pub name: &'static str,
    pub kind: Kind,
    /// The names of its labels, in the order in which they are written.
    pub labels: &'static [&'static str],
    /// What it counts, on one line.
    pub help: &'static str,
    /// What keeps the count, for whoever reads the document.
    pub source: &'static str,
    read: fn(&State, &mut Series),
}

/// What a metric's values do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows while the daemon runs.
    Counter,
    Gauge,
    /// Classes of seconds, with their sum and number.
    Histogram,
    /// A counter whose name, which is rtpengine's, does not say so by `_total`: Prometheus's own checks want that of
    /// counters.
    Untyped,
}

impl Kind {
    /// The word of the exposition format.
    fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Untyped => "untyped",
        }
    }
}

/// A chapter of the table.
pub struct Section {
    pub title: &'static str,
    pub rows: &'static [&'static [Metric]],
}

impl Section {
    /// Its metrics, in order.
    pub fn metrics(&self) -> impl Iterator<Item = &'static Metric> {
        self.rows.iter().flat_map(|rows| rows.iter())
    }
}

/// The whole table.
pub fn sections() -> &'static [Section] {
    table::SECTIONS
}

/// Every metric.
pub fn metrics() -> impl Iterator<Item = &'static Metric> {
    sections().iter().flat_map(Section::metrics)
}

/// The names that an expression uses and no metric has.
pub fn unknown_names(expression: &str) -> Vec<String> {
    let is_part = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let words = expression.split(|character| !is_part(character));
    let ours = words.filter(|word| ["rtpengine_", "millrace_", "process_"].iter().any(|start| word.starts_with(start)));
    ours.filter(|word| !is_known(word)).map(str::to_owned).collect()
}

fn is_known(word: &str) -> bool {
    metrics().any(|metric| match metric.kind {
        Kind::Histogram => {
            let parts = ["_bucket", "_sum", "_count"];
            parts.iter().any(|part| word.strip_suffix(part) == Some(metric.name))
        }
        _ => word == metric.name,
    })
}

/// A label's value, or the text of a help, as the exposition format has it.
fn escaped(text: &str, quotes: bool) -> Cow<'_, str> {
    if !text.contains(['\\', '\n', '"']) {
        return text.into();
    }
    let text = text.replace('\\', "\\\\").replace('\n', "\\n");
    if quotes { text.replace('"', "\\\"").into() } else { text.into() }
}
