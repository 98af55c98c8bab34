//! The state of the whole daemon at one moment: sums over its shards.

use super::fastpath::Ways;
use super::totals::Totals;
use crate::base::address::Family;
use crate::call::Call;
use crate::fastpath::verdict::Verdict;
use crate::relay::interface::{QualityTotals, Samples, SequenceTotals};
use crate::relay::{DropCounters, Interface, Relay, Traffic};

/// What one shard, or all of them, count.
#[derive(Debug, Clone, Default)]
pub struct Sums {
    pub sessions: u64,
    pub ip4_sessions: u64,
    pub ip6_sessions: u64,
    pub mixed_sessions: u64,
    /// Medias through which packets go.
    pub media_streams: u64,
    /// Those of them that the kernel forwards.
    pub kernel_streams: u64,
    pub totals: Totals,
    /// Calls refused at any limit.
    pub rejected_sessions: u64,
    pub received: Traffic,
    /// The part of it that the kernel received and forwarded by itself.
    pub received_in_kernel: Traffic,
    pub interfaces: Vec<Interface>,
    pub dropped: DropCounters,
    /// Datagrams that the daemon forwarded, and those that ended in it.
    pub forwarded: u64,
    pub consumed: u64,
    /// Streams, RTP and RTCP, of all calls.
    pub streams: u64,
    pub uptime_s: u64,
    pub ways: Ways,
    /// What the programs in the kernel have counted; empty without programs.
    pub verdicts: Vec<(Verdict, u64)>,
}

impl Sums {
    /// The state of one shard.
    pub fn of_shard<'a>(calls: impl Iterator<Item = &'a Call>, relay: &Relay, totals: &Totals) -> Sums {
        let (forwarded, consumed) = relay.settled();
        let mut sums = Sums {
            forwarded,
            consumed,
            streams: relay.streams().count() as u64,
            totals: totals.clone(),
            received: Totals::received(relay),
            received_in_kernel: Totals::received_in_kernel(relay),
            interfaces: relay.interfaces().to_vec(),
            dropped: relay.dropped().clone(),
            ways: Ways::of(relay),
            ..Sums::default()
        };
        for call in calls {
            sums.add_call(call, relay);
        }
        sums
    }

    fn add_call(&mut self, call: &Call, relay: &Relay) {
        self.sessions += 1;
        let (mut ip4, mut ip6) = (false, false);
        for set in call.medias().filter_map(|(_, media)| media.ports().cloned()) {
            match set.family() {
                Family::Ip4 => ip4 = true,
                Family::Ip6 => ip6 = true,
            }
        }
        let counter = match (ip4, ip6) {
            (true, true) => &mut self.mixed_sessions,
            (false, true) => &mut self.ip6_sessions,
            _ => &mut self.ip4_sessions,
        };
        *counter += 1;
        let streams = call.medias().filter_map(|(_, media)| relay.stream(media.rtp_stream?));
        for stream in streams.filter(|stream| stream.received().packets > 0) {
            self.media_streams += 1;
            self.kernel_streams += u64::from(stream.is_away());
        }
    }

    /// Adds another shard.
    pub fn add(&mut self, other: &Sums) {
        self.sessions += other.sessions;
        self.ip4_sessions += other.ip4_sessions;
        self.ip6_sessions += other.ip6_sessions;
        self.mixed_sessions += other.mixed_sessions;
        self.media_streams += other.media_streams;
        self.kernel_streams += other.kernel_streams;
        self.totals.add(&other.totals);
        self.rejected_sessions += other.rejected_sessions;
        add_traffic(&mut self.received, other.received);
        add_traffic(&mut self.received_in_kernel, other.received_in_kernel);
        self.dropped.add(&other.dropped);
        self.forwarded += other.forwarded;
        self.consumed += other.consumed;
        self.streams += other.streams;
        self.ways.add(&other.ways);
        for interface in &other.interfaces {
            match self.interfaces.iter_mut().find(|own| own.address == interface.address) {
                Some(own) => add_interface(own, interface),
                None => self.interfaces.push(interface.clone()),
            }
        }
    }

    /// RTCP quality over all interfaces.
    pub fn quality(&self) -> QualityTotals {
        self.interfaces.iter().fold(QualityTotals::default(), |mut sum, interface| {
            add_quality(&mut sum, &interface.quality);
            sum
        })
    }

    /// What sequence numbers told, over all interfaces.
    pub fn sequence(&self) -> SequenceTotals {
        self.interfaces.iter().fold(SequenceTotals::default(), |mut sum, interface| {
            add_sequence(&mut sum, interface.sequence);
            sum
        })
    }
}

fn add_traffic(sum: &mut Traffic, other: Traffic) {
    sum.packets += other.packets;
    sum.bytes += other.bytes;
    sum.errors += other.errors;
}

fn add_interface(own: &mut Interface, other: &Interface) {
    add_traffic(&mut own.received, other.received);
    add_traffic(&mut own.received_elsewhere, other.received_elsewhere);
    add_traffic(&mut own.sent, other.sent);
    add_sequence(&mut own.sequence, other.sequence);
    add_quality(&mut own.quality, &other.quality);
    own.malformed_reports += other.malformed_reports;
}

fn add_sequence(sum: &mut SequenceTotals, other: SequenceTotals) {
    sum.lost += other.lost;
    sum.duplicates += other.duplicates;
    sum.skips += other.skips;
    sum.resets += other.resets;
    sum.reordered += other.reordered;
}

fn add_quality(sum: &mut QualityTotals, other: &QualityTotals) {
    let pairs: [(&mut Samples, &Samples); 6] = [
        (&mut sum.mos, &other.mos),
        (&mut sum.jitter_ms, &other.jitter_ms),
        (&mut sum.round_trip_us, &other.round_trip_us),
        (&mut sum.round_trip_leg_us, &other.round_trip_leg_us),
        (&mut sum.loss_percent, &other.loss_percent),
        (&mut sum.measured_jitter_ms, &other.measured_jitter_ms),
    ];
    for (sum, other) in pairs {
        sum.sum += other.sum;
        sum.sum_of_squares += other.sum_of_squares;
        sum.count += other.count;
    }
}

/// The mean of the samples; zero without any.
pub fn average(samples: &Samples) -> f64 {
    if samples.count == 0 { 0.0 } else { samples.sum / samples.count as f64 }
}

/// The standard deviation of the samples; zero without any.
pub fn deviation(samples: &Samples) -> f64 {
    let mean = average(samples);
    if samples.count == 0 { 0.0 } else { (samples.sum_of_squares / samples.count as f64 - mean * mean).max(0.0).sqrt() }
}
