//! What happened between two reports to Graphite, and Graphite's lines.

use super::metrics::State;
use super::statistics::received_in_userspace;
use super::sums::{Sums, average};
use crate::ng::Command;
use crate::ng::command::COMMANDS;
use crate::ng::tally::{Extremes, Tallies};
use crate::relay::interface::Samples;
use crate::wire::value::Dictionary;
use std::fmt::{Display, Write};
use std::time::Duration;

/// Least and greatest of numbers that were looked at once a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Range(Option<(u64, u64)>);

impl Range {
    fn note(&mut self, number: u64) {
        let (least, greatest) = self.0.unwrap_or((number, number));
        self.0 = Some((least.min(number), greatest.max(number)));
    }

    fn get(self) -> (u64, u64) {
        self.0.unwrap_or_default()
    }
}

/// What is gathered until the next report.
#[derive(Debug, Clone)]
pub struct Gathering {
    sessions: Range,
    /// Requests per second, by place in the table of commands.
    rates: Vec<Range>,
    /// Requests counted when the last second began.
    counted: Vec<u64>,
    /// As the last report left it.
    before: Box<(Sums, Tallies)>,
}

/// One command between two reports.
#[derive(Debug, Clone, PartialEq)]
struct Requests {
    command: Command,
    /// Since the start.
    count: u64,
    /// None without a request.
    extremes: Option<Extremes>,
    average: Duration,
    rates: (u64, u64),
    average_rate: u64,
}

/// An interval that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Interval {
    call_seconds: f64,
    sessions: (u64, u64),
    requests: Vec<Requests>,
}

fn counts(tallies: &Tallies) -> Vec<u64> {
    tallies.total().rows().map(|(_, count, _)| count).collect()
}

impl Gathering {
    /// Begins with the daemon as it is.
    pub fn new(state: &State) -> Gathering {
        Gathering {
            sessions: Range::default(),
            rates: vec![Range::default(); COMMANDS.len()],
            counted: counts(state.tallies),
            before: Box::new((state.sums.clone(), state.tallies.clone())),
        }
    }

    /// Once a second: how many calls there are, and what was asked since.
    pub fn note_second(&mut self, sessions: u64, tallies: &Tallies) {
        self.sessions.note(sessions);
        let counted = counts(tallies);
        for ((range, now), before) in self.rates.iter_mut().zip(&counted).zip(&self.counted) {
            range.note(now.saturating_sub(*before));
        }
        self.counted = counted;
    }

    /// Ends the interval, which took `duration`, and begins the next. Gives Graphite's lines for it too.
    pub fn report(&mut self, state: &State, duration: Duration, prefix: &str, now_s: u64) -> (Interval, String) {
        let (sums, tallies) = &*self.before;
        let seconds = duration.as_secs().max(1);
        let before = tallies.total().rows();
        let requests = state.tallies.total().rows().zip(before).zip(&self.rates).map(|((now, before), rates)| {
            let (command, count, spent) = now;
            let new = count.saturating_sub(before.1);
            let average = spent.saturating_sub(before.2).checked_div(u32::try_from(new).unwrap_or(u32::MAX));
            Requests {
                command,
                count,
                extremes: state.tallies.extremes(command).filter(|_| new > 0),
                average: average.unwrap_or_default(),
                rates: rates.get(),
                average_rate: new / seconds,
            }
        });
        let interval = Interval {
            call_seconds: state.sums.totals.call_seconds - sums.totals.call_seconds,
            sessions: self.sessions.get(),
            requests: requests.collect(),
        };
        let mut lines = Lines { prefix, now_s, text: String::new() };
        interval.write(&mut lines, state, sums);
        let text = lines.text;
        *self = Gathering::new(state);
        (interval, text)
    }
}

/// Lines `PREFIXNAME VALUE TIME`.
struct Lines<'a> {
    prefix: &'a str,
    now_s: u64,
    text: String,
}

impl Lines<'_> {
    fn put(&mut self, name: impl Display, value: impl Display) {
        let _ = writeln!(self.text, "{}{name} {value} {}", self.prefix, self.now_s);
    }
}

impl Requests {
    fn delays(&self) -> (f64, f64, f64) {
        let seconds =
            |read: fn(&Extremes) -> Duration| self.extremes.as_ref().map_or(0.0, |all| read(all).as_secs_f64());
        (seconds(|all| all.shortest), seconds(|all| all.longest), self.average.as_secs_f64())
    }
}

impl Interval {
    /// `intervalstatistics` of `statistics`.
    pub fn dictionary(&self) -> Dictionary {
        let mut report = Dictionary::new()
            .with("totalcallsduration", format!("{:.6}", self.call_seconds))
            .with("minmanagedsessions", self.sessions.0)
            .with("maxmanagedsessions", self.sessions.1);
        for requests in &self.requests {
            let name = requests.command.name();
            let (shortest, longest, average) = requests.delays();
            report.set(format!("min{name}delay"), format!("{shortest:.6}"));
            report.set(format!("max{name}delay"), format!("{longest:.6}"));
            report.set(format!("avg{name}delay"), format!("{average:.6}"));
            report.set(format!("min{name}requestrate"), requests.rates.0);
            report.set(format!("max{name}requestrate"), requests.rates.1);
            report.set(format!("avg{name}requestrate"), requests.average_rate);
        }
        report
    }

    /// The same as lines of `list totals`.
    pub fn text(&self) -> String {
        let mut text = String::from("\n\nGraphite interval statistics (last reported values to graphite):\n");
        let _ = writeln!(text, " {:<48}:{:.6} seconds\n", "Total calls duration", self.call_seconds);
        let _ = writeln!(text, " {:<48}:{}", "Min managed sessions", self.sessions.0);
        let _ = writeln!(text, " {:<48}:{}", "Max managed sessions", self.sessions.1);
        for requests in &self.requests {
            let words = format!("Min/Max/Avg {} processing delay", requests.command.name());
            let (shortest, longest, average) = requests.delays();
            let _ = writeln!(text, " {words:<48}:{shortest:.6}/{longest:.6}/{average:.6} sec");
        }
        for requests in &self.requests {
            let words = format!("Min/Max/Avg {} requests per second", requests.command.name());
            let (least, most) = requests.rates;
            let _ = writeln!(text, " {words:<48}:{least}/{most}/{} per sec", requests.average_rate);
        }
        text
    }

    fn write(&self, lines: &mut Lines, state: &State, before: &Sums) {
        for requests in &self.requests {
            let name = requests.command.name().replace(' ', "_");
            let (shortest, longest, average) = requests.delays();
            lines.put(format_args!("{name}_time_min"), format_args!("{shortest:.6}"));
            lines.put(format_args!("{name}_time_max"), format_args!("{longest:.6}"));
            lines.put(format_args!("{name}_time_avg"), format_args!("{average:.6}"));
            lines.put(format_args!("{name}s_ps_min"), requests.rates.0);
            lines.put(format_args!("{name}s_ps_max"), requests.rates.1);
            lines.put(format_args!("{name}s_ps_avg"), requests.average_rate);
            lines.put(format_args!("{name}_count"), requests.count);
        }
        lines.put("managed_sess_min", self.sessions.0);
        lines.put("managed_sess_max", self.sessions.1);
        current(lines, state);
        ended(lines, state.sums, before);
        relayed(lines, state.sums, before);
        for row in state.interfaces {
            // Points divide names in Graphite.
            let place = format!("{}_{}", row.name, row.address.to_string().replace(['.', ':'], "_"));
            lines.put(format_args!("ports_free_{place}"), row.free);
            lines.put(format_args!("ports_used_{place}"), row.used);
        }
    }
}

fn current(lines: &mut Lines, state: &State) {
    let sums = state.sums;
    for (name, count) in [
        ("current_sessions_total", sums.sessions),
        ("current_sessions_own", sums.sessions),
        ("current_sessions_foreign", 0),
        ("current_transcoded_media", 0),
        ("current_sessions_ipv4", sums.ip4_sessions),
        ("current_sessions_ipv6", sums.ip6_sessions),
        ("current_sessions_mixed", sums.mixed_sessions),
    ] {
        lines.put(name, count);
    }
}

/// The name of a counter, and how it is read.
type Counted = (&'static str, fn(&Sums) -> u64);

/// Calls that ended in the interval.
fn ended(lines: &mut Lines, now: &Sums, before: &Sums) {
    let call_seconds = now.totals.call_seconds - before.totals.call_seconds;
    let sessions = |sums: &Sums| sums.totals.managed_sessions;
    let count = sessions(now).saturating_sub(sessions(before));
    lines.put("call_dur", format_args!("{call_seconds:.6}"));
    let mean = average(&Samples { sum: call_seconds, sum_of_squares: 0.0, count });
    lines.put("average_call_dur", format_args!("{mean:.6}"));
    let rows: [Counted; 10] = [
        ("managed_sess", |sums| sums.totals.managed_sessions),
        ("forced_term_sess", |sums| sums.totals.forced),
        ("regular_term_sess", |sums| sums.totals.regular),
        ("timeout_sess", |sums| sums.totals.timed_out),
        ("silent_timeout_sess", |sums| sums.totals.silently_timed_out),
        ("final_timeout_sess", |sums| sums.totals.finally_timed_out),
        ("offer_timeout_sess", |sums| sums.totals.offer_timed_out),
        ("reject_sess", |sums| sums.rejected_sessions),
        ("nopacket_relayed_sess", |sums| sums.totals.zero_packet_streams),
        ("oneway_stream_sess", |sums| sums.totals.one_way_sessions),
    ];
    rows.iter().for_each(|(name, read)| lines.put(name, read(now).saturating_sub(read(before))));
}

/// What was received in the interval.
fn relayed(lines: &mut Lines, now: &Sums, before: &Sums) {
    let rows: [Counted; 9] = [
        ("relayed_packets", |sums| sums.received.packets),
        ("relayed_packets_user", |sums| received_in_userspace(sums).packets),
        ("relayed_packets_kernel", |sums| sums.received_in_kernel.packets),
        ("relayed_bytes", |sums| sums.received.bytes),
        ("relayed_bytes_user", |sums| received_in_userspace(sums).bytes),
        ("relayed_bytes_kernel", |sums| sums.received_in_kernel.bytes),
        ("relayed_errors", |sums| sums.received.errors),
        ("relayed_errors_user", |sums| received_in_userspace(sums).errors),
        ("relayed_errors_kernel", |sums| sums.received_in_kernel.errors),
    ];
    rows.iter().for_each(|(name, read)| lines.put(name, read(now).saturating_sub(read(before))));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::metrics::ProcessUsage;
    use crate::relay::Traffic;
    use std::net::Ipv4Addr;

    fn state<'a>(sums: &'a Sums, tallies: &'a Tallies) -> State<'a> {
        let process = ProcessUsage::default();
        State { sums, tallies, interfaces: &[], shards: &[], limits: &[], process, receivers: &[] }
    }

    #[test]
    fn an_interval_is_the_difference_of_two_moments() {
        let traffic = |packets| Traffic { packets, bytes: packets * 172, errors: 0 };
        let mut sums = Sums { received: traffic(100), sessions: 2, ..Sums::default() };
        let mut tallies = Tallies::default();
        let client = Ipv4Addr::LOCALHOST.into();
        tallies.count(client, Some(Command::StartRecording), Duration::from_millis(9), false);
        let mut gathering = Gathering::new(&state(&sums, &tallies));
        tallies.forget_extremes();
        for (sessions, count) in [(5, 4), (1, 0)] {
            (0..count)
                .for_each(|_| tallies.count(client, Some(Command::StartRecording), Duration::from_millis(2), false));
            gathering.note_second(sessions, &tallies);
        }
        sums.received = traffic(150);
        sums.totals.call_seconds = 12.5;
        sums.totals.managed_sessions = 2;
        let (interval, text) = gathering.report(&state(&sums, &tallies), Duration::from_secs(2), "x.", 99);
        for line in [
            "x.start_recording_time_min 0.002000 99",
            "x.start_recording_time_avg 0.002000 99",
            "x.start_recordings_ps_min 0 99",
            "x.start_recordings_ps_max 4 99",
            "x.start_recordings_ps_avg 2 99",
            "x.start_recording_count 5 99",
            "x.managed_sess_min 1 99",
            "x.managed_sess_max 5 99",
            "x.relayed_packets 50 99",
            "x.relayed_bytes_user 8600 99",
            "x.call_dur 12.500000 99",
            "x.average_call_dur 6.250000 99",
            "x.current_sessions_own 2 99",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is not in\n{text}");
        }
        let report = interval.dictionary();
        assert_eq!(report.get("maxstart recordingrequestrate"), Some(&4.into()));
        assert_eq!(report.get("minstart recordingdelay"), Some(&"0.002000".into()));
        assert!(interval.text().contains("\n Min/Max/Avg start recording requests per second :0/4/2 per sec\n"));
        let (_, text) = gathering.report(&state(&sums, &tallies), Duration::from_secs(2), "", 101);
        assert!(text.contains("relayed_packets 0 101\n"));
    }
}
