//! Alert rules for Prometheus, as `config/prometheus-alerts.yml` has them.

use std::fmt::Write;

/// A rule.
pub(super) struct Alert {
    pub(super) name: &'static str,
    pub(super) expression: &'static str,
    /// How long the expression has to hold.
    pub(super) lasts: &'static str,
    pub(super) severity: &'static str,
    pub(super) summary: &'static str,
    description: &'static str,
}

pub(super) static ALERTS: &[Alert] = &[
    Alert {
        name: "MillraceDown",
        expression: "up{job=~\"millrace|rtpengine\"} == 0",
        lasts: "1m",
        severity: "critical",
        summary: "The daemon does not answer.",
        description: "No metrics came from {{ $labels.instance }} for a minute.",
    },
    Alert {
        name: "MillraceRestarted",
        expression: "rtpengine_uptime_seconds < 300",
        lasts: "0m",
        severity: "warning",
        summary: "The daemon was started less than five minutes ago.",
        description: "{{ $labels.instance }} runs since {{ $value }} s.",
    },
    Alert {
        name: "MillracePortsRunOut",
        expression: "rtpengine_ports_used / rtpengine_ports > 0.9",
        lasts: "5m",
        severity: "critical",
        summary: "More than 90 % of an interface's ports are open.",
        description: "{{ $labels.name }} {{ $labels.address }} of {{ $labels.instance }}: new calls will fail with `Ran out of ports`.",
    },
    Alert {
        name: "MillraceNearLimit",
        expression: "millrace_limit_used_ratio > 0.9",
        lasts: "5m",
        severity: "warning",
        summary: "More than 90 % of a limit is used.",
        description: "The limit of {{ $labels.limit }} on {{ $labels.instance }} is soon reached, and new calls will be refused.",
    },
    Alert {
        name: "MillraceRejects",
        expression: "increase(millrace_rejected_sessions_total[5m]) > 0 and on (instance, job) millrace_draining == 0",
        lasts: "0m",
        severity: "critical",
        summary: "New calls are refused at a limit.",
        description: "{{ $value }} calls in five minutes, at the limit of {{ $labels.limit }}.",
    },
    Alert {
        name: "MillraceTimeouts",
        expression: "sum by (instance, job) (rate(rtpengine_closed_sessions_total{reason=\"timeout\"}[10m])) > 0.05 * sum by (instance, job) (rate(rtpengine_sessions_total[10m]))",
        lasts: "10m",
        severity: "warning",
        summary: "More than 5 % of calls end because their media stopped.",
        description: "Somebody on the way drops media, or a proxy does not send `delete`.",
    },
    Alert {
        name: "MillraceOneWay",
        expression: "rate(rtpengine_one_way_sessions_total[10m]) > 0.05 * rate(rtpengine_sessions_total[10m])",
        lasts: "10m",
        severity: "warning",
        summary: "More than 5 % of calls had media from one side only.",
        description: "NAT, a firewall, or addresses in SDP that are not reached; `query` and millrace_dropped_packets_total say more.",
    },
    Alert {
        name: "MillraceDrops",
        expression: "sum by (instance, job) (rate(rtpengine_packet_errors_total[5m])) > 0.01 * sum by (instance, job) (rate(rtpengine_packets_total[5m]))",
        lasts: "5m",
        severity: "warning",
        summary: "More than 1 % of packets are dropped as errors.",
        description: "millrace_dropped_packets_total tells the reasons.",
    },
    Alert {
        name: "MillraceLoss",
        expression: "rate(rtpengine_packets_lost[5m]) > 0.02 * sum by (instance, job) (rate(rtpengine_packets_total[5m]))",
        lasts: "10m",
        severity: "warning",
        summary: "More than 2 % of packets did not arrive.",
        description: "They were lost before {{ $labels.instance }}.",
    },
    Alert {
        name: "MillracePoorQuality",
        expression: "rate(rtpengine_mos_total[10m]) / rate(rtpengine_mos_samples_total[10m]) < 3.5",
        lasts: "10m",
        severity: "warning",
        summary: "The mean opinion score is below 3.5.",
        description: "It is {{ $value }} over ten minutes.",
    },
    Alert {
        name: "MillraceSlowRequests",
        expression: "histogram_quantile(0.99, sum by (instance, job, le) (rate(millrace_request_duration_seconds_bucket[5m]))) > 0.1",
        lasts: "5m",
        severity: "warning",
        summary: "One of a hundred NG requests takes more than 100 ms.",
        description: "Proxies send again after a second, and calls take longer to set up.",
    },
    Alert {
        name: "MillraceRequestErrors",
        expression: "sum by (instance, job) (rate(rtpengine_errors_total[5m])) > 0.05 * sum by (instance, job) (rate(rtpengine_requests_total[5m]))",
        lasts: "5m",
        severity: "warning",
        summary: "More than 5 % of NG requests are answered with an error.",
        description: "The log has the reasons.",
    },
    Alert {
        name: "MillraceHotShard",
        expression: "rate(millrace_shard_processor_seconds_total[5m]) > 0.9",
        lasts: "5m",
        severity: "warning",
        summary: "A shard keeps its processor busy.",
        description: "Shard {{ $labels.shard }} of {{ $labels.instance }}: its calls will lose packets. millrace_userspace_streams says why they are not forwarded in the kernel.",
    },
    Alert {
        name: "MillraceDescriptorsRunOut",
        expression: "process_open_fds / process_max_fds > 0.9",
        lasts: "5m",
        severity: "critical",
        summary: "More than 90 % of the descriptors are open.",
        description: "Ports can't be opened without; raise LimitNOFILE of {{ $labels.instance }}.",
    },
    Alert {
        name: "MillraceExportDrops",
        expression: "increase(millrace_export_dropped_total[10m]) > 0",
        lasts: "10m",
        severity: "warning",
        summary: "A receiver of statistics does not take them.",
        description: "{{ $labels.receiver }}: {{ $value }} in ten minutes.",
    },
];

/// The file of rules.
pub fn alerts() -> String {
    let mut text = String::from(
        "# Alert rules for Prometheus, printed from src/observe/metrics/alerts.rs; a test fails when they are stale.\n\
         groups:\n  - name: millrace\n    rules:\n",
    );
    for alert in ALERTS {
        let Alert { name, expression, lasts, severity, summary, description } = alert;
        let _ = writeln!(text, "      - alert: {name}");
        let _ = writeln!(text, "        expr: {}", quoted(expression));
        let _ = writeln!(text, "        for: {lasts}");
        let _ = writeln!(text, "        labels:\n          severity: {severity}");
        let _ = writeln!(text, "        annotations:\n          summary: {}", quoted(summary));
        let _ = writeln!(text, "          description: {}", quoted(description));
    }
    text
}

/// As YAML has it between single quotes.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::metrics::unknown_names;

    #[test]
    fn rules_use_metrics_that_exist() {
        for alert in ALERTS {
            assert_eq!(unknown_names(alert.expression), Vec::<String>::new(), "{}", alert.name);
        }
        assert_eq!(unknown_names("rate(rtpengine_bogus[5m]) / rtpengine_ports"), ["rtpengine_bogus"]);
        assert_eq!(unknown_names("millrace_request_duration_seconds"), ["millrace_request_duration_seconds"]);
    }
}
