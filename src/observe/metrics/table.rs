//! The table of metrics. rtpengine's names come first, and stay where they are odd.

use super::{Kind, Metric, Section, Series, State};
use crate::observe::statistics::received_in_userspace;
use crate::observe::sums::average;
use crate::relay::Traffic;
use crate::relay::interface::{Interface, QualityTotals, Samples};
use Kind::{Counter, Gauge, Histogram, Untyped};
use std::net::IpAddr;

/// The three counters of one sampled quality.
macro_rules! samples {
    ($name:literal, $what:literal, $labels:expr, $source:literal, $each:expr) => {
        [
            metric(
                concat!($name, "_total"),
                Counter,
                $labels,
                concat!("Sum of ", $what, ". Sampled when RTCP reports."),
                $source,
                |state, series| $each(state, &mut |values: &[&str], samples: Samples| series.put(values, samples.sum)),
            ),
            metric(
                concat!($name, "2_total"),
                Counter,
                $labels,
                concat!("Sum of the squares of ", $what, "."),
                $source,
                |state, series| {
                    $each(state, &mut |values: &[&str], samples: Samples| series.put(values, samples.sum_of_squares))
                },
            ),
            metric(
                concat!($name, "_samples_total"),
                Counter,
                $labels,
                concat!("Number of samples of ", $what, "."),
                $source,
                |state, series| {
                    $each(state, &mut |values: &[&str], samples: Samples| series.put(values, samples.count))
                },
            ),
        ]
    };
}

macro_rules! quality {
    ($name:literal, $what:literal, $read:expr) => {
        samples!($name, $what, &[], "relay/interface", |state: &State, put: &mut dyn FnMut(&[&str], Samples)| {
            let read: fn(&QualityTotals) -> Samples = $read;
            put(&[], read(&state.sums.quality()))
        })
    };
}

macro_rules! of_interface {
    ($name:literal, $what:literal, $read:expr) => {
        samples!($name, $what, ADDRESS, "relay/interface", |state: &State, put: &mut dyn FnMut(&[&str], Samples)| {
            let read: fn(&QualityTotals) -> Samples = $read;
            each_interface(state, &mut |values, measured| put(values, read(&measured.quality)))
        })
    };
}
pub(super) static SECTIONS: &[Section] = &[
    Section { title: "Calls", rows: &[CALLS] },
    Section { title: "Traffic", rows: &[TRAFFIC] },
    Section {
        title: "Quality",
        rows: &[
            &quality!("rtpengine_mos", "mean opinion scores", |quality| quality.mos),
            &quality!("rtpengine_jitter", "jitter in ms, as reported by RTCP", |quality| quality.jitter_ms),
            &quality!("rtpengine_rtt_e2e", "end-to-end round-trip times in us", |quality| quality.round_trip_us),
            &quality!("rtpengine_rtt_dsct", "round-trip times of one leg in us", |quality| quality.round_trip_leg_us),
            &quality!("rtpengine_packetloss", "packet loss in percent", |quality| quality.loss_percent),
            &quality!("rtpengine_jitter_measured", "jitter in ms, as measured here", |quality| quality
                .measured_jitter_ms),
            SEQUENCE,
        ],
    },
    Section { title: "Control", rows: &[CONTROL] },
    Section {
        title: "Interfaces",
        rows: &[
            INTERFACES,
            &of_interface!("rtpengine_interface_mos", "mean opinion scores", |quality| quality.mos),
            &of_interface!("rtpengine_interface_jitter", "jitter in ms, as reported", |quality| quality.jitter_ms),
            &of_interface!("rtpengine_interface_rtt_e2e", "end-to-end round-trip times in us", |quality| quality
                .round_trip_us),
            &of_interface!("rtpengine_interface_rtt_dsct", "round-trip times of one leg in us", |quality| quality
                .round_trip_leg_us),
            &of_interface!("rtpengine_interface_packetloss", "packet loss in percent", |quality| quality.loss_percent),
            &of_interface!("rtpengine_interface_jitter_measured", "jitter in ms, as measured", |quality| quality
                .measured_jitter_ms),
        ],
    },
    Section { title: "The way of packets", rows: &[WAYS] },
    Section { title: "Limits", rows: &[LIMITS] },
    Section { title: "The daemon", rows: &[DAEMON] },
];

const fn metric(
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    help: &'static str,
    source: &'static str,
    read: fn(&State, &mut Series),
) -> Metric {
    Metric { name, kind, labels, help, source, read }
}

const ADDRESS: &[&str] = &["name", "address"];

/// Every interface with what was measured on it; one where nothing was yet is all zeros.
fn each_interface(state: &State, put: &mut dyn FnMut(&[&str], &Interface)) {
    for row in state.interfaces {
        let address = row.address.to_string();
        let measured = state.sums.interfaces.iter().find(|interface| interface.address == row.address);
        let nothing = empty(row.address);
        put(&[&row.name, &address], measured.unwrap_or(&nothing));
    }
}

fn empty(address: IpAddr) -> Interface {
    Interface {
        address,
        received: Traffic::default(),
        received_elsewhere: Traffic::default(),
        sent: Traffic::default(),
        sequence: Default::default(),
        quality: QualityTotals::default(),
        malformed_reports: 0,
    }
}

fn both_ways(state: &State, series: &mut Series, read: fn(&Traffic) -> u64) {
    each_interface(state, &mut |values, measured| {
        for (direction, traffic) in [("ingress", &measured.received), ("egress", &measured.sent)] {
            series.put(&[values, &[direction]].concat(), read(traffic));
        }
    });
}

/// What arrived, apart by who received it.
fn by_way(state: &State, series: &mut Series, read: fn(&Traffic) -> u64) {
    series.each([
        ("userspace", read(&received_in_userspace(state.sums))),
        ("kernel", read(&state.sums.received_in_kernel)),
    ]);
}

const CALLS: &[Metric] = &[
    metric(
        "rtpengine_sessions",
        Gauge,
        &["type"],
        "Calls that exist. None is foreign here: calls are not shared between daemons.",
        "observe/sums",
        |state, series| series.each([("own", state.sums.sessions), ("foreign", 0)]),
    ),
    metric(
        "rtpengine_sessions_total",
        Counter,
        &[],
        "Calls that have ended. rtpengine's name: calls that still exist are not in it.",
        "observe/totals",
        |state, series| series.put(&[], state.sums.totals.managed_sessions),
    ),
    metric(
        "rtpengine_closed_sessions_total",
        Counter,
        &["reason"],
        "Calls that have ended, by reason; `rejected` are those that never began, because of a limit.",
        "observe/totals",
        |state, series| {
            let totals = &state.sums.totals;
            series.each([
                ("rejected", state.sums.rejected_sessions),
                ("timeout", totals.timed_out),
                ("silent_timeout", totals.silently_timed_out),
                ("final_timeout", totals.finally_timed_out),
                ("offer_timeout", totals.offer_timed_out),
                ("terminated", totals.regular),
                ("force_terminated", totals.forced),
            ]);
        },
    ),
    metric(
        "rtpengine_call_duration_total",
        Counter,
        &[],
        "Sum of the durations in seconds of calls that have ended.",
        "observe/totals",
        |state, series| series.put(&[], state.sums.totals.call_seconds),
    ),
    metric(
        "rtpengine_call_duration2_total",
        Counter,
        &[],
        "Sum of the squares of the durations in seconds of calls that have ended.",
        "observe/totals",
        |state, series| series.put(&[], state.sums.totals.call_seconds_squared),
    ),
    metric(
        "rtpengine_call_duration_avg",
        Gauge,
        &[],
        "Average duration in seconds of calls that have ended.",
        "observe/totals",
        |state, series| {
            let totals = &state.sums.totals;
            let count = totals.managed_sessions;
            series.put(&[], average(&Samples { sum: totals.call_seconds, sum_of_squares: 0.0, count }));
        },
    ),
    metric(
        "millrace_sessions_by_family",
        Gauge,
        &["family"],
        "Calls that exist, by the families of the addresses that they use here.",
        "observe/sums",
        |state, series| {
            let sums = state.sums;
            series.each([("ipv4", sums.ip4_sessions), ("ipv6", sums.ip6_sessions), ("mixed", sums.mixed_sessions)]);
        },
    ),
];

const TRAFFIC: &[Metric] = &[
    metric(
        "rtpengine_mediastreams",
        Gauge,
        &["type"],
        "Medias through which packets go, by the way that they take now. `mixed` is always 0: a media is where its last \
         packet was.",
        "observe/sums",
        |state, series| {
            let sums = state.sums;
            let userspace = sums.media_streams.saturating_sub(sums.kernel_streams);
            series.each([("userspace", userspace), ("kernel", sums.kernel_streams), ("mixed", 0)]);
        },
    ),
    metric(
        "rtpengine_packets_total",
        Counter,
        &["type"],
        "Packets received and relayed.",
        "relay/interface",
        |state, series| by_way(state, series, |traffic| traffic.packets),
    ),
    metric(
        "rtpengine_packet_errors_total",
        Counter,
        &["type"],
        "Packets received that were in error; millrace_dropped_packets_total says why.",
        "relay/interface",
        |state, series| by_way(state, series, |traffic| traffic.errors),
    ),
    metric(
        "rtpengine_bytes_total",
        Counter,
        &["type"],
        "Bytes of UDP payload received and relayed.",
        "relay/interface",
        |state, series| by_way(state, series, |traffic| traffic.bytes),
    ),
    metric(
        "rtpengine_zero_packet_streams_total",
        Counter,
        &[],
        "Medias of calls in which no packet ever came.",
        "observe/totals",
        |state, series| series.put(&[], state.sums.totals.zero_packet_streams),
    ),
    metric(
        "rtpengine_one_way_sessions_total",
        Counter,
        &[],
        "Calls in which packets came from some medias and not from others.",
        "observe/totals",
        |state, series| series.put(&[], state.sums.totals.one_way_sessions),
    ),
];

const SEQUENCE: &[Metric] = &[
    metric(
        "rtpengine_packets_lost",
        Untyped,
        &[],
        "Packets that are missing by their RTP sequence numbers. Counts up, as rtpengine names it.",
        "rtp/source",
        |state, series| series.put(&[], state.sums.sequence().lost),
    ),
    metric(
        "rtpengine_rtp_duplicates",
        Untyped,
        &[],
        "RTP packets that came more than once. Counts up.",
        "rtp/source",
        |state, series| series.put(&[], state.sums.sequence().duplicates),
    ),
    metric(
        "rtpengine_rtp_skips",
        Untyped,
        &[],
        "Gaps in RTP sequence numbers. Counts up.",
        "rtp/source",
        |state, series| series.put(&[], state.sums.sequence().skips),
    ),
    metric(
        "rtpengine_rtp_seq_resets",
        Untyped,
        &[],
        "RTP sequence numbers that began anew. Counts up.",
        "rtp/source",
        |state, series| series.put(&[], state.sums.sequence().resets),
    ),
    metric(
        "rtpengine_rtp_reordered",
        Untyped,
        &[],
        "RTP packets that came late. Counts up.",
        "rtp/source",
        |state, series| series.put(&[], state.sums.sequence().reordered),
    ),
];

const CONTROL: &[Metric] = &[
    metric(
        "rtpengine_requests_total",
        Counter,
        &["proxy", "request"],
        "NG requests worked off, by client and command; what a client never asked for is left out. The first 1,024 clients \
         are told apart.",
        "ng/tally",
        |state, series| {
            for (client, tally) in state.tallies.clients() {
                for (command, count, _) in tally.rows().filter(|row| row.1 > 0) {
                    series.put(&[&client.to_string(), command.name()], count);
                }
            }
        },
    ),
    metric(
        "rtpengine_request_seconds_total",
        Counter,
        &["proxy", "request"],
        "Seconds that NG requests took, from their arrival to their reply.",
        "ng/tally",
        |state, series| {
            for (client, tally) in state.tallies.clients() {
                for (command, _, duration) in tally.rows().filter(|row| row.1 > 0) {
                    series.put(&[&client.to_string(), command.name()], duration.as_secs_f64());
                }
            }
        },
    ),
    metric(
        "rtpengine_errors_total",
        Counter,
        &["proxy"],
        "NG requests that were answered with an error.",
        "ng/tally",
        |state, series| {
            for (client, tally) in state.tallies.clients() {
                series.put(&[&client.to_string()], tally.errors);
            }
        },
    ),
    metric(
        "millrace_request_duration_seconds",
        Histogram,
        &["request"],
        "How long NG requests of all clients took, from their arrival to their reply.",
        "ng/tally",
        |state, series| {
            let durations = state.tallies.total().rows().map(|(_, _, duration)| duration);
            for ((command, classes), sum) in state.tallies.classes().zip(durations) {
                series.classes(&[command.name()], classes, sum);
            }
        },
    ),
];

const INTERFACES: &[Metric] = &[
    metric("rtpengine_ports", Gauge, ADDRESS, "Ports of the range.", "daemon/numbers", |state, series| {
        for row in state.interfaces {
            series.put(&[&row.name, &row.address.to_string()], row.total);
        }
    }),
    metric("rtpengine_ports_used", Gauge, ADDRESS, "Ports that are open.", "daemon/numbers", |state, series| {
        for row in state.interfaces {
            series.put(&[&row.name, &row.address.to_string()], row.used);
        }
    }),
    metric("rtpengine_ports_free", Gauge, ADDRESS, "Ports that can be had.", "daemon/numbers", |state, series| {
        for row in state.interfaces {
            series.put(&[&row.name, &row.address.to_string()], row.free);
        }
    }),
    metric(
        "rtpengine_interface_packets_lost",
        Untyped,
        ADDRESS,
        "Packets that are missing by their RTP sequence numbers. Counts up.",
        "rtp/source",
        |state, series| each_interface(state, &mut |values, measured| series.put(values, measured.sequence.lost)),
    ),
    metric(
        "rtpengine_interface_duplicates",
        Untyped,
        ADDRESS,
        "RTP packets that came more than once. Counts up.",
        "rtp/source",
        |state, series| each_interface(state, &mut |values, measured| series.put(values, measured.sequence.duplicates)),
    ),
    metric(
        "rtpengine_interface_packets",
        Untyped,
        &["name", "address", "direction"],
        "Packets received and sent. Counts up.",
        "relay/interface",
        |state, series| both_ways(state, series, |traffic| traffic.packets),
    ),
    metric(
        "rtpengine_interface_bytes",
        Untyped,
        &["name", "address", "direction"],
        "Bytes of UDP payload received and sent. Counts up.",
        "relay/interface",
        |state, series| both_ways(state, series, |traffic| traffic.bytes),
    ),
    metric(
        "rtpengine_interface_errors",
        Untyped,
        &["name", "address", "direction"],
        "Packets in error: received and dropped, or not taken by the system. Counts up.",
        "relay/interface",
        |state, series| both_ways(state, series, |traffic| traffic.errors),
    ),
    metric(
        "millrace_malformed_reports_total",
        Counter,
        ADDRESS,
        "RTCP datagrams that could not be read to their end.",
        "relay/rtcp",
        |state, series| each_interface(state, &mut |values, measured| series.put(values, measured.malformed_reports)),
    ),
];

const WAYS: &[Metric] = &[
    metric(
        "millrace_relay_verdicts_total",
        Counter,
        &["verdict"],
        "Datagrams that came to the daemon, by their end: forwarded, meant for the daemon itself (keep-alives, STUN, DTLS), or \
         dropped.",
        "relay",
        |state, series| {
            let dropped = state.sums.dropped.iter().map(|(_, count)| count).sum();
            series.each([("forwarded", state.sums.forwarded), ("consumed", state.sums.consumed), ("dropped", dropped)]);
        },
    ),
    metric(
        "millrace_dropped_packets_total",
        Counter,
        &["reason"],
        "Datagrams that the daemon dropped, by reason.",
        "relay/verdict",
        |state, series| series.each(state.sums.dropped.iter().map(|(reason, count)| (reason.name(), count))),
    ),
    metric("millrace_streams", Gauge, &[], "Streams that exist, RTP and RTCP each.", "relay", |state, series| {
        series.put(&[], state.sums.streams)
    }),
    metric(
        "millrace_fastpath_entries",
        Gauge,
        &[],
        "Streams that the kernel forwards.",
        "observe/fastpath",
        |state, series| series.put(&[], state.sums.ways.away),
    ),
    metric(
        "millrace_userspace_streams",
        Gauge,
        &["reason"],
        "Streams that the daemon forwards itself, by the reason why the kernel does not; none without a fast path.",
        "fastpath/reason",
        |state, series| series.each(state.sums.ways.userspace().map(|(reason, count)| (reason.name(), count))),
    ),
    metric(
        "millrace_fastpath_verdicts_total",
        Counter,
        &["verdict"],
        "Packets that the programs in the kernel saw, by what they did with them; none without a fast path.",
        "fastpath/verdict",
        |state, series| series.each(state.sums.verdicts.iter().map(|(verdict, count)| (verdict.name(), *count))),
    ),
];

const LIMITS: &[Metric] = &[
    metric(
        "millrace_rejected_sessions_total",
        Counter,
        &["limit"],
        "New calls that were refused, by the limit.",
        "daemon/admission",
        |state, series| series.each(state.limits.iter().map(|limit| (limit.name, limit.rejected))),
    ),
    metric(
        "millrace_limit_used_ratio",
        Gauge,
        &["limit"],
        "How much of each limit is used: at 1 new calls are refused. Limits that are off, or 0, are left out.",
        "daemon/admission",
        |state, series| {
            for limit in state.limits {
                if let Some(most) = limit.limit.filter(|most| *most > 0.0) {
                    series.put(&[limit.name], limit.now / most);
                }
            }
        },
    ),
    metric(
        "millrace_draining",
        Gauge,
        &[],
        "1 while no new call is taken (`max-sessions` is 0), else 0.",
        "daemon/admission",
        |state, series| {
            let drains = state.limits.iter().any(|limit| limit.name == "sessions" && limit.limit == Some(0.0));
            series.put(&[], u8::from(drains));
        },
    ),
];

const DAEMON: &[Metric] = &[
    metric("rtpengine_uptime_seconds", Gauge, &[], "Seconds since the start.", "daemon", |state, series| {
        series.put(&[], state.sums.uptime_s);
    }),
    metric(
        "millrace_build_info",
        Gauge,
        &["version"],
        "Always 1; the version of the daemon.",
        "daemon",
        |_, series| series.put(&[env!("CARGO_PKG_VERSION")], 1),
    ),
    metric("millrace_shard_sessions", Gauge, SHARD, "Calls on each shard.", "engine/shard", |state, series| {
        each_shard(state, &mut |shard, load| series.put(&[shard], load.calls));
    }),
    metric("millrace_shard_streams", Gauge, SHARD, "Streams on each shard.", "engine/shard", |state, series| {
        each_shard(state, &mut |shard, load| series.put(&[shard], load.streams));
    }),
    metric(
        "millrace_shard_processor_seconds_total",
        Counter,
        SHARD,
        "Seconds that each shard's thread had a processor: its rate is the shard's load.",
        "io/usage",
        |state, series| each_shard(state, &mut |shard, load| series.put(&[shard], load.processor.as_secs_f64())),
    ),
    metric(
        "millrace_export_sent_total",
        Counter,
        &["receiver"],
        "What was given to others: Graphite (reports), Homer (packets), MQTT (messages), XML-RPC (calls).",
        "daemon/export",
        |state, series| series.each(state.receivers.iter().map(|receiver| (receiver.name, receiver.sent))),
    ),
    metric(
        "millrace_export_dropped_total",
        Counter,
        &["receiver"],
        "What could not be given to them, and was dropped.",
        "daemon/export",
        |state, series| series.each(state.receivers.iter().map(|receiver| (receiver.name, receiver.dropped))),
    ),
    metric(
        "process_cpu_seconds_total",
        Counter,
        &[],
        "Seconds that the process had a processor.",
        "io/usage",
        |state, series| series.put(&[], state.process.processor.as_secs_f64()),
    ),
    metric(
        "process_resident_memory_bytes",
        Gauge,
        &[],
        "Bytes of memory that the process has in use.",
        "io/usage",
        |state, series| series.put(&[], state.process.resident_bytes),
    ),
    metric("process_open_fds", Gauge, &[], "Descriptors that are open.", "io/usage", |state, series| {
        series.put(&[], state.process.descriptors);
    }),
    metric("process_max_fds", Gauge, &[], "Descriptors that may be open.", "io/limits", |state, series| {
        series.put(&[], state.process.descriptor_limit);
    }),
    metric(
        "process_start_time_seconds",
        Gauge,
        &[],
        "When the process began, Unix time.",
        "daemon",
        |state, series| {
            series.put(&[], state.process.started_s);
        },
    ),
];

const SHARD: &[&str] = &["shard"];

fn each_shard(state: &State, put: &mut dyn FnMut(&str, &super::ShardLoad)) {
    for (index, load) in state.shards.iter().enumerate() {
        put(&index.to_string(), load);
    }
}
