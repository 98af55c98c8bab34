//! Prints `protocol-docs/metrics.md` from the table.

use super::alerts::ALERTS;
use super::{Metric, sections};
use std::fmt::Write;

const PREFACE: &str = "# Metrics

What the daemon tells Prometheus, in its exposition format (version 0.0.4): `GET /metrics` over HTTP,
`metrics` on the CLI port, or `millracectl metrics`. Names and labels that begin with `rtpengine_` are those of rtpengine mr26.3, so boards and rules for it
go on working; what rtpengine does not have begins with `millrace_`, and what every Prometheus client has with `process_`.

This page is printed from the table in `src/observe/metrics/table.rs`; a test fails when it is stale, and rewrites it when the
environment variable `MILLRACE_BLESS` is 1. So are the board (`config/grafana-dashboard.json`) and the alert rules
(`config/prometheus-alerts.yml`), which may use no name that is not here.

## Assumptions and requirements

- A request for the metrics asks every shard once, and each answers between two packets. Media goes on meanwhile.
- Counters begin at 0 with the daemon; what calls that have ended counted stays in them.
- Counters of packets are exact, whichever way packets take: the kernel's are read when the metrics are.
- `promtool check metrics` finds nothing to say. Prometheus wants `_total` at the end of counters, and rtpengine has counters
  without: those have the type `untyped`, and `rate()` works on them all the same.
- Names of clients come from the network: the first 1,024 addresses are told apart, all of them count in the histograms.
- Nothing in the metrics names a call, a number, or a key.

## Not done

`rtpengine_transcoded_media`, `rtpengine_transcoders` and the other names of transcoding, `rtpengine_media_cache`,
`rtpengine_player_cache`: there is nothing behind them here, and a 0 would say that there is. `rtpengine_poller_*`,
`rtpengine_ksender_*` and `rtpengine_cc_*` are of rtpengine's own threads; `millrace_shard_*` are of ours.
";

/// The page.
pub fn reference() -> String {
    let mut page = String::from(PREFACE);
    for section in sections() {
        let _ = write!(
            page,
            "\n## {}\n\n| metric | type | labels | meaning | counted in |\n|---|---|---|---|---|\n",
            section.title
        );
        section.metrics().for_each(|metric| row(&mut page, metric));
    }
    page.push_str("\n## Alert rules\n\n| alert | severity | when | meaning |\n|---|---|---|---|\n");
    for alert in ALERTS {
        let expression = alert.expression.replace('|', "\\|");
        let _ = writeln!(
            page,
            "| `{}` | {} | `{expression}` for {} | {} |",
            alert.name, alert.severity, alert.lasts, alert.summary
        );
    }
    page
}

fn row(page: &mut String, metric: &Metric) {
    let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
    let _ = writeln!(
        page,
        "| `{}` | {} | {} | {} | `{}` |",
        metric.name,
        metric.kind.name(),
        labels.join(", "),
        metric.help,
        metric.source
    );
}
