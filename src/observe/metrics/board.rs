//! A board for Grafana, as `config/grafana-dashboard.json` has it.

use serde_json::{Value, json};

/// A graph, or a number.
struct Panel {
    title: &'static str,
    /// Grafana's name of the unit.
    unit: &'static str,
    is_number: bool,
    /// Expressions with their legends.
    queries: &'static [(&'static str, &'static str)],
}

const fn number(title: &'static str, unit: &'static str, queries: &'static [(&'static str, &'static str)]) -> Panel {
    Panel { title, unit, is_number: true, queries }
}

const fn graph(title: &'static str, unit: &'static str, queries: &'static [(&'static str, &'static str)]) -> Panel {
    Panel { title, unit, is_number: false, queries }
}

/// Panels by row of the board. `$instance` is what its user has chosen.
const ROWS: &[(&str, &[Panel])] = &[
    (
        "Now",
        &[
            number("Calls", "short", &[("sum(rtpengine_sessions{instance=~\"$instance\"})", "")]),
            number("Packets", "pps", &[("sum(rate(rtpengine_packets_total{instance=~\"$instance\"}[1m]))", "")]),
            number(
                "In the kernel",
                "percentunit",
                &[(
                    "sum(rtpengine_mediastreams{type=\"kernel\",instance=~\"$instance\"}) / sum(rtpengine_mediastreams{instance=~\"$instance\"})",
                    "",
                )],
            ),
            number(
                "Mean opinion score",
                "short",
                &[(
                    "sum(rate(rtpengine_mos_total{instance=~\"$instance\"}[5m])) / sum(rate(rtpengine_mos_samples_total{instance=~\"$instance\"}[5m]))",
                    "",
                )],
            ),
            number(
                "Ports used",
                "percentunit",
                &[(
                    "max(rtpengine_ports_used{instance=~\"$instance\"} / rtpengine_ports{instance=~\"$instance\"})",
                    "",
                )],
            ),
            number("Up for", "s", &[("min(rtpengine_uptime_seconds{instance=~\"$instance\"})", "")]),
        ],
    ),
    (
        "Calls",
        &[
            graph("Calls", "short", &[("rtpengine_sessions{type=\"own\",instance=~\"$instance\"}", "{{instance}}")]),
            graph(
                "Ends of calls",
                "cps",
                &[(
                    "sum by (reason) (rate(rtpengine_closed_sessions_total{instance=~\"$instance\"}[5m]))",
                    "{{reason}}",
                )],
            ),
            graph(
                "Refused at a limit",
                "cps",
                &[(
                    "sum by (limit) (rate(millrace_rejected_sessions_total{instance=~\"$instance\"}[5m]))",
                    "{{limit}}",
                )],
            ),
            graph(
                "Limits used",
                "percentunit",
                &[("millrace_limit_used_ratio{instance=~\"$instance\"}", "{{instance}} {{limit}}")],
            ),
        ],
    ),
    (
        "Media",
        &[
            graph(
                "Packets",
                "pps",
                &[("sum by (type) (rate(rtpengine_packets_total{instance=~\"$instance\"}[1m]))", "{{type}}")],
            ),
            graph(
                "Bytes",
                "Bps",
                &[("sum by (type) (rate(rtpengine_bytes_total{instance=~\"$instance\"}[1m]))", "{{type}}")],
            ),
            graph(
                "Dropped, by reason",
                "pps",
                &[(
                    "sum by (reason) (rate(millrace_dropped_packets_total{instance=~\"$instance\"}[1m])) > 0",
                    "{{reason}}",
                )],
            ),
            graph(
                "Lost, late, twice",
                "pps",
                &[
                    ("sum(rate(rtpengine_packets_lost{instance=~\"$instance\"}[1m]))", "lost"),
                    ("sum(rate(rtpengine_rtp_reordered{instance=~\"$instance\"}[1m]))", "late"),
                    ("sum(rate(rtpengine_rtp_duplicates{instance=~\"$instance\"}[1m]))", "twice"),
                ],
            ),
            graph(
                "Jitter",
                "ms",
                &[
                    (
                        "sum(rate(rtpengine_jitter_total{instance=~\"$instance\"}[5m])) / sum(rate(rtpengine_jitter_samples_total{instance=~\"$instance\"}[5m]))",
                        "reported",
                    ),
                    (
                        "sum(rate(rtpengine_jitter_measured_total{instance=~\"$instance\"}[5m])) / sum(rate(rtpengine_jitter_measured_samples_total{instance=~\"$instance\"}[5m]))",
                        "measured",
                    ),
                ],
            ),
            graph(
                "Round trips",
                "\u{b5}s",
                &[(
                    "sum(rate(rtpengine_rtt_e2e_total{instance=~\"$instance\"}[5m])) / sum(rate(rtpengine_rtt_e2e_samples_total{instance=~\"$instance\"}[5m]))",
                    "end to end",
                )],
            ),
        ],
    ),
    (
        "Fast path",
        &[
            graph(
                "Streams",
                "short",
                &[
                    ("sum(millrace_fastpath_entries{instance=~\"$instance\"})", "in the kernel"),
                    (
                        "sum by (reason) (millrace_userspace_streams{instance=~\"$instance\"}) > 0",
                        "in userspace: {{reason}}",
                    ),
                ],
            ),
            graph(
                "What programs did",
                "pps",
                &[(
                    "sum by (verdict) (rate(millrace_fastpath_verdicts_total{instance=~\"$instance\"}[1m])) > 0",
                    "{{verdict}}",
                )],
            ),
        ],
    ),
    (
        "Control",
        &[
            graph(
                "Requests",
                "reqps",
                &[(
                    "sum by (request) (rate(rtpengine_requests_total{instance=~\"$instance\"}[1m])) > 0",
                    "{{request}}",
                )],
            ),
            graph(
                "Requests, 99th percentile",
                "s",
                &[(
                    "histogram_quantile(0.99, sum by (request, le) (rate(millrace_request_duration_seconds_bucket{instance=~\"$instance\"}[5m])))",
                    "{{request}}",
                )],
            ),
            graph(
                "Errors",
                "reqps",
                &[("sum by (proxy) (rate(rtpengine_errors_total{instance=~\"$instance\"}[5m]))", "{{proxy}}")],
            ),
        ],
    ),
    (
        "The daemon",
        &[
            graph(
                "Load of shards",
                "percentunit",
                &[(
                    "rate(millrace_shard_processor_seconds_total{instance=~\"$instance\"}[1m])",
                    "{{instance}} shard {{shard}}",
                )],
            ),
            graph("Memory", "bytes", &[("process_resident_memory_bytes{instance=~\"$instance\"}", "{{instance}}")]),
            graph(
                "Open ports",
                "short",
                &[("rtpengine_ports_used{instance=~\"$instance\"}", "{{instance}} {{name}} {{address}}")],
            ),
            graph("Open descriptors", "short", &[("process_open_fds{instance=~\"$instance\"}", "{{instance}}")]),
        ],
    ),
];

/// The columns of a board.
const COLUMNS: usize = 24;

/// The board as Grafana imports it.
pub fn board() -> String {
    let mut panels = Vec::new();
    let mut top = 0;
    for (title, row) in ROWS {
        panels.push(json!({
            "type": "row", "title": title, "collapsed": false, "panels": [], "id": panels.len() + 1,
            "gridPos": {"h": 1, "w": COLUMNS, "x": 0, "y": top},
        }));
        top += 1;
        let (mut left, mut height) = (0, 0);
        for panel in *row {
            let (wide, high) = if panel.is_number { (4, 4) } else { (12, 8) };
            if left + wide > COLUMNS {
                (left, top) = (0, top + height);
            }
            let place = json!({"h": high, "w": wide, "x": left, "y": top});
            panels.push(shown(panel, panels.len() + 1, &place));
            (left, height) = (left + wide, high);
        }
        top += height;
    }
    let board = json!({
        "title": "millrace", "uid": "millrace", "tags": ["millrace", "rtpengine"], "schemaVersion": 39, "editable": true,
        "refresh": "30s", "time": {"from": "now-3h", "to": "now"}, "timezone": "browser",
        "templating": {"list": [
            {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"},
            {
                "name": "instance", "type": "query", "label": "Daemon", "multi": true, "includeAll": true, "allValue": ".*",
                "datasource": source(), "query": "label_values(rtpengine_uptime_seconds, instance)", "refresh": 2,
            },
        ]},
        "panels": panels,
    });
    format!("{board:#}\n")
}

/// Whatever the board's user has chosen.
fn source() -> Value {
    json!({"type": "prometheus", "uid": "${datasource}"})
}

fn shown(panel: &Panel, id: usize, place: &Value) -> Value {
    let targets: Vec<Value> = panel
        .queries
        .iter()
        .zip('A'..='Z')
        .map(|((expression, legend), letter)| {
            json!({"refId": letter.to_string(), "expr": expression, "legendFormat": legend, "datasource": source()})
        })
        .collect();
    json!({
        "type": if panel.is_number { "stat" } else { "timeseries" }, "title": panel.title, "id": id, "gridPos": place,
        "datasource": source(), "targets": targets, "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::metrics::unknown_names;

    #[test]
    fn panels_use_metrics_that_exist() {
        for panel in ROWS.iter().flat_map(|(_, row)| row.iter()) {
            for (expression, _) in panel.queries {
                assert_eq!(unknown_names(expression), Vec::<String>::new(), "{}", panel.title);
            }
        }
    }

    #[test]
    fn panels_do_not_cover_each_other() {
        let board: Value = serde_json::from_str(&board()).unwrap();
        let panels = board["panels"].as_array().unwrap();
        let mut taken = std::collections::HashSet::new();
        for panel in panels {
            let side = |name: &str| panel["gridPos"][name].as_u64().unwrap();
            for x in side("x")..side("x") + side("w") {
                for y in side("y")..side("y") + side("h") {
                    assert!(x < 24 && taken.insert((x, y)), "{}", panel["title"]);
                }
            }
        }
        assert!(panels.len() > 20);
    }
}
