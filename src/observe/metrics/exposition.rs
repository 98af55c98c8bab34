//! The text that Prometheus reads (its exposition format, version 0.0.4).

use super::{Metric, State, escaped, metrics};
use crate::ng::tally::Classes;
use std::fmt::{Display, Write};
use std::time::Duration;

/// The lines of one metric.
#[derive(Debug)]
pub struct Series<'a> {
    name: &'a str,
    labels: &'a [&'a str],
    text: &'a mut String,
}

/// Every metric with its values.
pub fn exposition(state: &State) -> String {
    let mut text = String::with_capacity(64 * 1024);
    for metric in metrics() {
        write_metric(metric, state, &mut text);
    }
    text
}

fn write_metric(metric: &Metric, state: &State, text: &mut String) {
    let Metric { name, kind, labels, help, .. } = *metric;
    let _ = writeln!(text, "# HELP {name} {}", escaped(help, false));
    let _ = writeln!(text, "# TYPE {name} {}", kind.name());
    (metric.read)(state, &mut Series { name, labels, text });
}

impl Series<'_> {
    /// One line; the values stand in the order of the metric's labels.
    pub(super) fn put(&mut self, values: &[&str], number: impl Display) {
        self.line("", values, None, number);
    }

    /// One number for each value of the only label.
    pub(super) fn each(&mut self, rows: impl IntoIterator<Item = (&'static str, u64)>) {
        for (value, number) in rows {
            self.put(&[value], number);
        }
    }

    /// The lines of a histogram.
    pub(super) fn classes(&mut self, values: &[&str], classes: &Classes, sum: Duration) {
        let mut count = 0;
        for (bound_us, so_far) in classes.cumulative() {
            let bound = bound_us.map_or("+Inf".to_owned(), |us| (us as f64 / 1e6).to_string());
            self.line("_bucket", values, Some(&bound), so_far);
            count = so_far;
        }
        self.line("_sum", values, None, sum.as_secs_f64());
        self.line("_count", values, None, count);
    }

    fn line(&mut self, suffix: &str, values: &[&str], bound: Option<&str>, number: impl Display) {
        let given = self.labels.iter().copied().zip(values.iter().copied());
        let labels: Vec<String> = given
            .chain(bound.map(|bound| ("le", bound)))
            .map(|(label, value)| format!("{label}=\"{}\"", escaped(value, true)))
            .collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.text, "{}{suffix}{labels} {number}", self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Kind, LimitState, ProcessUsage, ReceiverState, ShardLoad};
    use super::*;
    use crate::ng::Command;
    use crate::ng::tally::Tallies;
    use crate::observe::interfaces::Row;
    use crate::observe::sums::Sums;
    use std::collections::HashSet;

    fn text() -> String {
        let sums = Sums { sessions: 3, uptime_s: 9, ..Sums::default() };
        let mut tallies = Tallies::default();
        tallies.count([192, 0, 2, 1].into(), Some(Command::Offer), Duration::from_micros(300), true);
        let name = "a\"b\\".to_owned();
        let address = [192, 0, 2, 9].into();
        let row = Row { name, address, port_min: 30000, port_max: 39999, used: 4, free: 9996, total: 10000 };
        exposition(&State {
            sums: &sums,
            tallies: &tallies,
            interfaces: &[row],
            shards: &[ShardLoad { calls: 3, streams: 12, processor: Duration::from_millis(1500) }],
            limits: &[LimitState { name: "sessions", limit: Some(4.0), now: 3.0, rejected: 7 }],
            process: ProcessUsage::default(),
            receivers: &[ReceiverState { name: "graphite", sent: 5, dropped: 1 }],
        })
    }

    #[test]
    fn values_stand_behind_their_names() {
        let text = text();
        for line in [
            "# TYPE rtpengine_sessions gauge",
            "rtpengine_sessions{type=\"own\"} 3",
            "rtpengine_sessions{type=\"foreign\"} 0",
            "rtpengine_uptime_seconds 9",
            "rtpengine_requests_total{proxy=\"192.0.2.1\",request=\"offer\"} 1",
            "rtpengine_errors_total{proxy=\"192.0.2.1\"} 1",
            "rtpengine_ports_used{name=\"a\\\"b\\\\\",address=\"192.0.2.9\"} 4",
            "millrace_request_duration_seconds_bucket{request=\"offer\",le=\"0.00025\"} 0",
            "millrace_request_duration_seconds_bucket{request=\"offer\",le=\"0.0005\"} 1",
            "millrace_request_duration_seconds_bucket{request=\"offer\",le=\"+Inf\"} 1",
            "millrace_request_duration_seconds_count{request=\"offer\"} 1",
            "millrace_limit_used_ratio{limit=\"sessions\"} 0.75",
            "millrace_rejected_sessions_total{limit=\"sessions\"} 7",
            "millrace_shard_processor_seconds_total{shard=\"0\"} 1.5",
            "millrace_export_dropped_total{receiver=\"graphite\"} 1",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is not in:\n{text}");
        }
    }

    #[test]
    fn every_metric_is_there_once_and_no_series_twice() {
        let text = text();
        let names: Vec<&str> = metrics().map(|metric| metric.name).collect();
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
        let series: Vec<&str> = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.rsplit_once(' ').map(|(series, _)| series))
            .collect();
        assert_eq!(series.iter().collect::<HashSet<_>>().len(), series.len());
        for metric in metrics() {
            let has_suffix = metric.name.ends_with("_total");
            assert_eq!(has_suffix, metric.kind == Kind::Counter, "{}", metric.name);
        }
    }
}
