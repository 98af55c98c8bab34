//! The counters of the whole daemon: `statistics`, `list totals`, `list counters`, `list numsessions`.
//!
//! One table gives both the keys of the reply and the lines of the text.

use super::fastpath;
use super::interval::Interval;
use super::requests;
use super::sums::{Sums, average, deviation};
use super::totals::Rates;
use crate::ng::tally::Tallies;
use crate::relay::Traffic;
use crate::relay::interface::{QualityTotals, Samples};
use crate::wire::value::{Dictionary, Value};
use std::fmt::Write;

/// A value as both outputs print it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Figure {
    Count(u64),
    /// Six decimals; text in the reply.
    Fraction(f64),
    /// A whole number that is text in the reply, with its unit in the text.
    Seconds(u64),
    /// Six decimals with its unit in the text.
    FractionOf(f64, &'static str),
}

use Figure::{Count, Fraction, FractionOf, Seconds};

/// One counter: the key in replies, the words in texts, and how it is read.
struct Row {
    key: &'static str,
    text: &'static str,
    read: fn(&Sums) -> Figure,
}

const fn row(key: &'static str, text: &'static str, read: fn(&Sums) -> Figure) -> Row {
    Row { key, text, read }
}

const ZERO: fn(&Sums) -> Figure = |_| Count(0);

/// Over running calls; what has no cache or transcoder yet is zero. A media counts by the way that its packets take now.
const CURRENT: &[Row] = &[
    row("sessionsown", "Owned sessions", |sums| Count(sums.sessions)),
    row("sessionsforeign", "Foreign sessions", ZERO),
    row("sessionstotal", "Total sessions", |sums| Count(sums.sessions)),
    row("transcodedmedia", "Transcoded media", ZERO),
    row("mediacache", "Media cache size", ZERO),
    row("playercache", "Player cache size", ZERO),
    row("packetrate_user", "Packets per second (userspace)", |sums| Count(in_userspace(sums).packets)),
    row("byterate_user", "Bytes per second (userspace)", |sums| Count(in_userspace(sums).bytes)),
    row("errorrate_user", "Errors per second (userspace)", |sums| Count(in_userspace(sums).errors)),
    row("packetrate_kernel", "Packets per second (kernel)", |sums| Count(sums.totals.kernel_rates.packets)),
    row("byterate_kernel", "Bytes per second (kernel)", |sums| Count(sums.totals.kernel_rates.bytes)),
    row("errorrate_kernel", "Errors per second (kernel)", |sums| Count(sums.totals.kernel_rates.errors)),
    row("packetrate", "Packets per second (total)", |sums| Count(sums.totals.rates.packets)),
    row("byterate", "Bytes per second (total)", |sums| Count(sums.totals.rates.bytes)),
    row("errorrate", "Errors per second (total)", |sums| Count(sums.totals.rates.errors)),
    row("media_userspace", "Userspace-only media streams", |sums| Count(sums.media_streams - sums.kernel_streams)),
    row("media_kernel", "Kernel-only media streams", |sums| Count(sums.kernel_streams)),
    row("media_mixed", "Mixed kernel/userspace media streams", ZERO),
];

/// What is not the kernel's.
fn in_userspace(sums: &Sums) -> Rates {
    let (all, kernel) = (sums.totals.rates, sums.totals.kernel_rates);
    Rates {
        packets: all.packets.saturating_sub(kernel.packets),
        bytes: all.bytes.saturating_sub(kernel.bytes),
        errors: all.errors.saturating_sub(kernel.errors),
    }
}

pub(super) fn received_in_userspace(sums: &Sums) -> Traffic {
    let (all, kernel) = (sums.received, sums.received_in_kernel);
    Traffic {
        packets: all.packets.saturating_sub(kernel.packets),
        bytes: all.bytes.saturating_sub(kernel.bytes),
        errors: all.errors.saturating_sub(kernel.errors),
    }
}

/// Over calls that have ended, and everything that was ever relayed.
const TOTAL: &[Row] = &[
    row("uptime", "Uptime of rtpengine", |sums| Seconds(sums.uptime_s)),
    row("managedsessions", "Total managed sessions", |sums| Count(sums.totals.managed_sessions)),
    row("rejectedsessions", "Total rejected sessions", |sums| Count(sums.rejected_sessions)),
    row("timeoutsessions", "Total timed-out sessions via TIMEOUT", |sums| Count(sums.totals.timed_out)),
    row("silenttimeoutsessions", "Total timed-out sessions via SILENT_TIMEOUT", |sums| {
        Count(sums.totals.silently_timed_out)
    }),
    row("finaltimeoutsessions", "Total timed-out sessions via FINAL_TIMEOUT", |sums| {
        Count(sums.totals.finally_timed_out)
    }),
    row("offertimeoutsessions", "Total timed-out sessions via OFFER_TIMEOUT", |sums| {
        Count(sums.totals.offer_timed_out)
    }),
    row("regularterminatedsessions", "Total regular terminated sessions", |sums| Count(sums.totals.regular)),
    row("forcedterminatedsessions", "Total forced terminated sessions", |sums| Count(sums.totals.forced)),
    row("relayedpackets_user", "Total relayed packets (userspace)", |sums| Count(received_in_userspace(sums).packets)),
    row("relayedpacketerrors_user", "Total relayed packet errors (userspace)", |sums| {
        Count(received_in_userspace(sums).errors)
    }),
    row("relayedbytes_user", "Total relayed bytes (userspace)", |sums| Count(received_in_userspace(sums).bytes)),
    row("relayedpackets_kernel", "Total relayed packets (kernel)", |sums| Count(sums.received_in_kernel.packets)),
    row("relayedpacketerrors_kernel", "Total relayed packet errors (kernel)", |sums| {
        Count(sums.received_in_kernel.errors)
    }),
    row("relayedbytes_kernel", "Total relayed bytes (kernel)", |sums| Count(sums.received_in_kernel.bytes)),
    row("relayedpackets", "Total relayed packets", |sums| Count(sums.received.packets)),
    row("relayedpacketerrors", "Total relayed packet errors", |sums| Count(sums.received.errors)),
    row("relayedbytes", "Total relayed bytes", |sums| Count(sums.received.bytes)),
    row("zerowaystreams", "Total number of streams with no relayed packets", |sums| {
        Count(sums.totals.zero_packet_streams)
    }),
    row("onewaystreams", "Total number of 1-way streams", |sums| Count(sums.totals.one_way_sessions)),
    row("avgcallduration", "Average call duration", |sums| FractionOf(average(&durations(sums)), "seconds")),
    row("totalcallsduration", "Total calls duration", |sums| FractionOf(sums.totals.call_seconds, "seconds")),
    row("totalcallsduration2", "Total calls duration squared", |sums| {
        FractionOf(sums.totals.call_seconds_squared, "seconds squared")
    }),
    row("totalcallsduration_stddev", "Total calls duration standard deviation", |sums| {
        FractionOf(deviation(&durations(sums)), "seconds")
    }),
];

/// Sequence numbers of everything that was ever relayed.
const SEQUENCE: &[Row] = &[
    row("packets_lost", "Packets lost", |sums| Count(sums.sequence().lost)),
    row("rtp_duplicates", "Duplicate RTP packets", |sums| Count(sums.sequence().duplicates)),
    row("rtp_skips", "RTP sequence skips", |sums| Count(sums.sequence().skips)),
    row("rtp_seq_resets", "RTP sequence resets", |sums| Count(sums.sequence().resets)),
    row("rtp_reordered", "Out-of-order RTP packets", |sums| Count(sums.sequence().reordered)),
];

/// One sampled quality: the key in replies, the words in texts, the samples.
type Quality = (&'static str, &'static str, fn(&QualityTotals) -> Samples);

const MOS: Quality = ("mos", "MOS", |quality| quality.mos);

const QUALITIES: &[Quality] = &[
    ("jitter", "jitter (reported)", |quality| quality.jitter_ms),
    ("rtt_e2e", "end-to-end round-trip time", |quality| quality.round_trip_us),
    ("rtt_dsct", "discrete round-trip time", |quality| quality.round_trip_leg_us),
    ("packetloss", "packet loss", |quality| quality.loss_percent),
    ("jitter_measured", "jitter (measured)", |quality| quality.measured_jitter_ms),
];

fn durations(sums: &Sums) -> Samples {
    let totals = &sums.totals;
    Samples { sum: totals.call_seconds, sum_of_squares: totals.call_seconds_squared, count: totals.managed_sessions }
}

impl Figure {
    fn value(self) -> Value {
        match self {
            Count(number) => number.into(),
            Seconds(number) => number.to_string().into(),
            Fraction(number) | FractionOf(number, _) => format!("{number:.6}").into(),
        }
    }

    fn text(self) -> String {
        match self {
            Count(number) => number.to_string(),
            Seconds(number) => format!("{number} seconds"),
            Fraction(number) => format!("{number:.6}"),
            FractionOf(number, unit) => format!("{number:.6} {unit}"),
        }
    }
}

fn dictionary(rows: &[Row], sums: &Sums) -> Dictionary {
    let mut report = Dictionary::new();
    for row in rows {
        report.set(row.key, (row.read)(sums).value());
    }
    report
}

fn lines(text: &mut String, rows: &[Row], sums: &Sums) {
    for row in rows {
        line(text, row.text, (row.read)(sums));
    }
}

fn line(text: &mut String, words: &str, figure: Figure) {
    let _ = writeln!(text, " {words:<48}:{}", figure.text());
}

fn quality_rows((key, words, read): &Quality, quality: &QualityTotals) -> [(String, String, Figure); 5] {
    let samples = read(quality);
    let mos_words = if *key == "mos" { "all MOS".to_owned() } else { format!("all {words}") };
    let deviation_words =
        if *key == "mos" { "MOS standard deviation".to_owned() } else { format!("{words} standard deviation") };
    [
        (format!("{key}_total"), format!("Sum of {mos_words} values sampled"), Fraction(samples.sum)),
        (
            format!("{key}2_total"),
            format!("Sum of {mos_words} square values sampled"),
            Fraction(samples.sum_of_squares),
        ),
        (format!("{key}_samples_total"), format!("Total number of {words} samples"), Count(samples.count)),
        (format!("{key}_average"), format!("Average {words}"), Fraction(average(&samples))),
        (format!("{key}_stddev"), deviation_words, Fraction(deviation(&samples))),
    ]
}

/// The five figures of each sampled quality.
pub(super) fn add_quality(report: &mut Dictionary, with_mos: bool, quality: &QualityTotals) {
    for kind in std::iter::once(&MOS).filter(|_| with_mos).chain(QUALITIES) {
        for (key, _, figure) in quality_rows(kind, quality) {
            report.set(key, figure.value());
        }
    }
}

fn quality_lines(text: &mut String, with_mos: bool, quality: &QualityTotals) {
    for kind in std::iter::once(&MOS).filter(|_| with_mos).chain(QUALITIES) {
        for (_, words, figure) in quality_rows(kind, quality) {
            line(text, &words, figure);
        }
    }
}

/// The content of `statistics`, which is also that of `list jsonstats`. `interfaces` is the list of their reports.
/// `interval` is the last one that Graphite was told of.
pub fn statistics(sums: &Sums, tallies: &Tallies, interfaces: Value, interval: Option<&Interval>) -> Dictionary {
    let mut mos = Dictionary::new();
    for (key, _, figure) in quality_rows(&MOS, &sums.quality()) {
        mos.set(key, figure.value());
    }
    let mut voip = Dictionary::new();
    add_quality(&mut voip, false, &sums.quality());
    for row in SEQUENCE {
        voip.set(row.key, (row.read)(sums).value());
    }
    let mut report = Dictionary::new()
        .with("currentstatistics", dictionary(CURRENT, sums))
        .with("totalstatistics", dictionary(TOTAL, sums));
    if let Some(interval) = interval {
        report.set("intervalstatistics", interval.dictionary());
    }
    report
        .with("mos", mos)
        .with("voip_metrics", voip)
        .with("controlstatistics", requests::report(tallies))
        .with("interfaces", interfaces)
        .with("transcoders", Value::List(Vec::new()))
        // Of rtpengine's own threads and buffers.
        .with("poller_threads", Value::List(Vec::new()))
        .with("bufferpools", Value::List(Vec::new()))
        .with("kernel_pollers", Value::List(Vec::new()))
        .with("kernel_senders", Value::List(Vec::new()))
        .with("drops", drops(sums))
        .with("fastpath", fastpath::report(&sums.ways, &sums.verdicts))
}

/// Dropped datagrams by reason.
fn drops(sums: &Sums) -> Dictionary {
    let mut report = Dictionary::new();
    for (reason, count) in sums.dropped.iter() {
        report.set(reason.name(), count);
    }
    report
}

/// `list totals`; `names` gives the logical name of an interface's address.
pub fn totals_text(
    sums: &Sums,
    tallies: &Tallies,
    interval: Option<&Interval>,
    names: impl Fn(std::net::IpAddr) -> String,
) -> String {
    let mut text = String::from("\nStatistics over currently running sessions:\n\n");
    lines(&mut text, CURRENT, sums);
    text += "\nTotal statistics (does not include current running sessions):\n\n";
    lines(&mut text, TOTAL, sums);
    text += &interval.map(Interval::text).unwrap_or_default();
    text += "\n\nMOS statistics:\n\n";
    for (_, words, figure) in quality_rows(&MOS, &sums.quality()) {
        line(&mut text, &words, figure);
    }
    text += "\n\nVoIP metrics:\n\n";
    quality_lines(&mut text, false, &sums.quality());
    lines(&mut text, SEQUENCE, sums);
    text += "\n\nControl statistics:\n\n";
    text += &requests::table(tallies);
    text += "\n\n";
    for interface in &sums.interfaces {
        let _ = writeln!(text, "VoIP metrics for interface {}/{}:", names(interface.address), interface.address);
        quality_lines(&mut text, true, &interface.quality);
    }
    text += "\nFast path:\n\n";
    fastpath::lines(&mut text, &sums.ways, &sums.verdicts, |text, words, count| line(text, words, Count(count)));
    text
}

/// `list counters`
pub fn counters_text(sums: &Sums) -> String {
    let mut text = String::from("\nCurrent per-second counters:\n\n");
    let rates = CURRENT.iter().filter(|row| row.text.contains("per second"));
    rates.for_each(|row| line(&mut text, row.text, (row.read)(sums)));
    text
}

/// `list numsessions`
pub fn sessions_text(sums: &Sums) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "Current sessions own: {}", sums.sessions);
    let _ = writeln!(text, "Current sessions foreign: 0");
    let _ = writeln!(text, "Current sessions total: {}", sums.sessions);
    let _ = writeln!(text, "Current transcoded media: 0");
    let _ = writeln!(text, "Current sessions ipv4 only media: {}", sums.ip4_sessions);
    let _ = writeln!(text, "Current sessions ipv6 only media: {}", sums.ip6_sessions);
    let _ = writeln!(text, "Current sessions ip mixed  media: {}", sums.mixed_sessions);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_laid_out_as_monitoring_scripts_read_them() {
        let sums = Sums { sessions: 1, ..Sums::default() };
        let text = totals_text(&sums, &Tallies::default(), None, |_| "default".to_owned());
        assert!(text.contains("\n Owned sessions                                  :1\n"), "{text}");
        assert!(text.contains("\n Average call duration                           :0.000000 seconds\n"), "{text}");
        assert!(text.contains("\n Sum of all jitter (reported) square values sampled:0.000000\n"), "{text}");
        assert!(text.contains("\n Sum of all MOS values sampled                   :0.000000\n"), "{text}");
        assert!(text.contains("\n MOS standard deviation                          :0.000000\n"), "{text}");
    }

    #[test]
    fn what_the_kernel_forwards_is_told_apart() {
        let traffic = |packets| Traffic { packets, bytes: packets * 100, errors: 1 };
        let mut sums = Sums { received: traffic(7), received_in_kernel: traffic(5), ..Sums::default() };
        (sums.media_streams, sums.kernel_streams) = (3, 2);
        let report = statistics(&sums, &Tallies::default(), Value::List(Vec::new()), None);
        let count = |section, key| report.get(section).and_then(Value::as_dictionary).and_then(|part| part.get(key));
        for (section, key, expected) in [
            ("currentstatistics", "media_userspace", 1),
            ("currentstatistics", "media_kernel", 2),
            ("totalstatistics", "relayedpackets_user", 2),
            ("totalstatistics", "relayedpackets_kernel", 5),
            ("totalstatistics", "relayedpackets", 7),
            ("totalstatistics", "relayedpacketerrors_user", 0),
        ] {
            assert_eq!(count(section, key), Some(&Value::from(expected)), "{key}");
        }
    }

    #[test]
    fn fractions_are_text_and_counts_are_numbers() {
        let report = statistics(&Sums::default(), &Tallies::default(), Value::List(Vec::new()), None);
        let total = report.get("totalstatistics").and_then(Value::as_dictionary).unwrap();
        assert_eq!(total.get("uptime"), Some(&Value::from("0")));
        assert_eq!(total.get("avgcallduration"), Some(&Value::from("0.000000")));
        assert_eq!(total.get("managedsessions"), Some(&Value::from(0)));
    }
}
