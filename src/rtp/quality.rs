//! What RTCP tells about a source: sender reports seen, reception reports scored and kept in brief.

use super::clock;
use super::mos::{self, Kind, Report};
use crate::base::time::{Mono, Unix};
use crate::wire::rtcp::{ReceptionReport, SenderInfo};
use smallvec::SmallVec;

/// Sender reports that reception reports are matched with.
const SENDER_REPORTS: usize = 4;
/// Entries of a progression.
const PROGRESSION: usize = 10;

/// A report with its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    pub report: Report,
    pub reported_at: Unix,
}

/// A sender report that passed.
#[derive(Debug, Clone, Copy)]
struct SenderReport {
    ntp_middle: u32,
    at: Mono,
}

/// Sums for an average.
#[derive(Debug, Clone, Copy)]
struct Sums {
    first_at: Unix,
    samples: u32,
    mos_tenths: u64,
    round_trip_us: u64,
    round_trip_leg_us: u64,
    jitter_ms: u64,
    loss_percent: u64,
}

/// What RTCP has told about one source.
#[derive(Debug, Clone, Default)]
pub struct Quality {
    sender_reports: [Option<SenderReport>; SENDER_REPORTS],
    next_sender_report: usize,
    last_leg_us: Option<u32>,
    reported: bool,
    cumulative_lost: i32,
    scored: Sums,
    lowest: Option<Entry>,
    highest: Option<Entry>,
    progression: SmallVec<[Sums; PROGRESSION]>,
    interval_s: u64,
}

impl Default for Sums {
    fn default() -> Sums {
        Sums {
            first_at: Unix(0),
            samples: 0,
            mos_tenths: 0,
            round_trip_us: 0,
            round_trip_leg_us: 0,
            jitter_ms: 0,
            loss_percent: 0,
        }
    }
}

impl Sums {
    fn of(at: Unix, report: &Report) -> Sums {
        Sums {
            first_at: at,
            samples: 1,
            mos_tenths: u64::from(report.mos_tenths),
            round_trip_us: u64::from(report.round_trip_us),
            round_trip_leg_us: u64::from(report.round_trip_leg_us),
            jitter_ms: u64::from(report.jitter_ms),
            loss_percent: u64::from(report.loss_percent),
        }
    }

    fn add(&mut self, other: &Sums) {
        self.samples += other.samples;
        self.mos_tenths += other.mos_tenths;
        self.round_trip_us += other.round_trip_us;
        self.round_trip_leg_us += other.round_trip_leg_us;
        self.jitter_ms += other.jitter_ms;
        self.loss_percent += other.loss_percent;
    }

    fn average(&self) -> Report {
        let average = |sum: u64| sum.checked_div(u64::from(self.samples)).unwrap_or(0);
        Report {
            mos_tenths: average(self.mos_tenths) as u16,
            round_trip_us: average(self.round_trip_us) as u32,
            round_trip_leg_us: average(self.round_trip_leg_us) as u32,
            jitter_ms: average(self.jitter_ms) as u32,
            loss_percent: average(self.loss_percent) as u8,
        }
    }
}

impl Quality {
    /// The source sent a sender report.
    pub fn sender_report(&mut self, at: Mono, info: &SenderInfo) {
        self.sender_reports[self.next_sender_report] = Some(SenderReport { ntp_middle: info.ntp_middle(), at });
        self.next_sender_report = (self.next_sender_report + 1) % SENDER_REPORTS;
    }

    /// A receiver reported on the source. `other_leg_us` is the round-trip time to the source's end, if known. What
    /// comes back was sampled; none when the score needs a round-trip time and the report does not give one.
    pub fn reception_report(
        &mut self,
        (at, at_unix): (Mono, Unix),
        kind: Kind,
        report: &ReceptionReport,
        clock_rate_hz: u32,
        other_leg_us: Option<u32>,
    ) -> Option<Report> {
        self.reported = true;
        self.cumulative_lost = report.cumulative_lost;
        let leg = self.leg_us(at, report);
        self.last_leg_us = leg.or(self.last_leg_us);
        if leg.is_none() && kind == Kind::Conversational {
            return None;
        }
        let round_trip = leg.zip(other_leg_us).map(|(leg, other)| leg.saturating_add(other));
        let jitter_ms = clock::milliseconds(report.jitter, clock_rate_hz);
        let loss_percent = (u32::from(report.fraction_lost) * 100 / 256) as u8;
        let can_score = kind == Kind::Listening || round_trip.is_some();
        let score = |round_trip| mos::score_tenths(kind, round_trip, jitter_ms, f64::from(loss_percent));
        let report = Report {
            mos_tenths: if can_score { score(round_trip.unwrap_or(0)) } else { 0 },
            round_trip_us: round_trip.unwrap_or(0),
            round_trip_leg_us: leg.unwrap_or(0),
            jitter_ms,
            loss_percent,
        };
        self.keep(at_unix, report);
        Some(report)
    }

    /// The time since the sender report that the receiver names, less the time it waited (RFC 3550, section 6.4.1).
    fn leg_us(&self, at: Mono, report: &ReceptionReport) -> Option<u32> {
        let middle = report.last_sender_report;
        let sent = self.sender_reports.iter().flatten().find(|seen| middle != 0 && seen.ntp_middle == middle)?;
        let elapsed_us = at.since(sent.at).as_micros() as u64;
        let waited_us = (u64::from(report.delay_since_last) * 1_000_000) >> 16;
        Some(u32::try_from(elapsed_us.saturating_sub(waited_us)).unwrap_or(u32::MAX))
    }

    fn keep(&mut self, at: Unix, report: Report) {
        let entry = Entry { report, reported_at: at };
        let sums = Sums::of(at, &report);
        if report.mos_tenths > 0 {
            self.scored.add(&sums);
            if self.lowest.is_none_or(|lowest| report.mos_tenths < lowest.report.mos_tenths) {
                self.lowest = Some(entry);
            }
            if self.highest.is_none_or(|highest| report.mos_tenths > highest.report.mos_tenths) {
                self.highest = Some(entry);
            }
        }
        self.progress(sums);
    }

    /// One entry a report at first; when there is no room, a longer interval is averaged in each.
    fn progress(&mut self, sums: Sums) {
        while !self.joins_last(&sums) && self.progression.len() == PROGRESSION {
            self.widen(&sums);
        }
        match self.progression.last_mut() {
            Some(last) if joins(self.interval_s, last, &sums) => last.add(&sums),
            _ => self.progression.push(sums),
        }
    }

    fn joins_last(&self, sums: &Sums) -> bool {
        self.progression.last().is_some_and(|last| joins(self.interval_s, last, sums))
    }

    /// At least doubles the interval, and joins the entries that fall into one.
    fn widen(&mut self, newest: &Sums) {
        let first_at = self.progression.first().map_or(newest.first_at, |first| first.first_at);
        let span_s = newest.first_at.0.saturating_sub(first_at.0).div_ceil(1_000_000);
        self.interval_s = (self.interval_s * 2).max((span_s * 2).div_ceil(PROGRESSION as u64)).max(1);
        let mut kept: SmallVec<[Sums; PROGRESSION]> = SmallVec::new();
        for sums in &self.progression {
            match kept.last_mut() {
                Some(last) if joins(self.interval_s, last, sums) => last.add(sums),
                _ => kept.push(*sums),
            }
        }
        self.progression = kept;
    }

    /// The round-trip time to the last reporter, in microseconds.
    pub fn last_leg_us(&self) -> Option<u32> {
        self.last_leg_us
    }

    /// The middle 32 bits of the NTP timestamp of the last sender report, and when it came.
    pub fn last_sender_report(&self) -> Option<(u32, Mono)> {
        let last = (self.next_sender_report + SENDER_REPORTS - 1) % SENDER_REPORTS;
        self.sender_reports[last].map(|report| (report.ntp_middle, report.at))
    }

    /// Whether any receiver has reported.
    pub fn is_reported(&self) -> bool {
        self.reported
    }

    /// Packets lost since the beginning, as last reported.
    pub fn cumulative_lost(&self) -> i32 {
        self.cumulative_lost
    }

    /// The average over reports with a score, and their number; none before the first.
    pub fn average(&self) -> Option<(Report, u32)> {
        (self.scored.samples > 0).then(|| (self.scored.average(), self.scored.samples))
    }

    /// The first report with the lowest score.
    pub fn lowest(&self) -> Option<Entry> {
        self.lowest
    }

    /// The first report with the highest score.
    pub fn highest(&self) -> Option<Entry> {
        self.highest
    }

    /// The length of time that each entry of the progression averages, in seconds; 0 for one report each.
    pub fn interval_s(&self) -> u64 {
        self.interval_s
    }

    /// At most ten entries over the whole time, each with the time of its first report.
    pub fn progression(&self) -> impl Iterator<Item = Entry> + '_ {
        self.progression.iter().map(|sums| Entry { report: sums.average(), reported_at: sums.first_at })
    }
}

fn joins(interval_s: u64, earlier: &Sums, later: &Sums) -> bool {
    later.first_at.0 < earlier.first_at.0 + interval_s * 1_000_000
}

#[cfg(test)]
mod tests;
