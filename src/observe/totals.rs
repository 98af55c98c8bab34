//! What a shard counts over all calls.

use crate::base::time::{Mono, Now};
use crate::call::Call;
use crate::call::lifecycle::Termination;
use crate::relay::{Relay, Traffic};
use std::time::Duration;

/// Counters of one shard. Sums over shards are sums of these.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Totals {
    pub managed_sessions: u64,
    pub regular: u64,
    pub forced: u64,
    pub timed_out: u64,
    pub silently_timed_out: u64,
    pub offer_timed_out: u64,
    pub finally_timed_out: u64,
    /// Seconds, and their squares, over calls that have ended.
    pub call_seconds: f64,
    pub call_seconds_squared: f64,
    /// Calls in which no packet arrived.
    pub zero_packet_streams: u64,
    /// Calls in which packets arrived from one side only.
    pub one_way_sessions: u64,
    /// Over the last second.
    pub rates: Rates,
    /// What the kernel received of it.
    pub kernel_rates: Rates,
    last_sample: Option<(Mono, [Traffic; 2])>,
}

/// Per second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rates {
    pub packets: u64,
    pub bytes: u64,
    pub errors: u64,
}

impl Rates {
    fn add(&mut self, other: Rates) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.errors += other.errors;
    }
}

fn sum(all: impl Iterator<Item = Traffic>) -> Traffic {
    all.fold(Traffic::default(), |sum, traffic| Traffic {
        packets: sum.packets + traffic.packets,
        bytes: sum.bytes + traffic.bytes,
        errors: sum.errors + traffic.errors,
    })
}

/// What a call has relayed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    pub packets: u64,
    pub media_streams: u64,
    pub silent_streams: u64,
}

impl Totals {
    /// Looks through the streams of a call that is about to end.
    pub fn summarize(&self, call: &Call, relay: &Relay) -> Summary {
        let mut summary = Summary::default();
        for stream in call.medias().filter_map(|(_, media)| relay.stream(media.rtp_stream?)) {
            let packets = stream.received().packets;
            summary.packets += packets;
            summary.media_streams += 1;
            summary.silent_streams += u64::from(packets == 0);
        }
        summary
    }

    /// Counts a call that has ended.
    pub fn count_call(&mut self, termination: Termination, duration: Duration, summary: &Summary) {
        self.managed_sessions += 1;
        let counter = match termination {
            Termination::Regular => &mut self.regular,
            Termination::Forced => &mut self.forced,
            Termination::Timeout => &mut self.timed_out,
            Termination::SilentTimeout => &mut self.silently_timed_out,
            Termination::OfferTimeout => &mut self.offer_timed_out,
            Termination::FinalTimeout => &mut self.finally_timed_out,
        };
        *counter += 1;
        let seconds = duration.as_secs_f64();
        self.call_seconds += seconds;
        self.call_seconds_squared += seconds * seconds;
        let is_silent = summary.packets == 0 && summary.media_streams > 0;
        self.zero_packet_streams += if is_silent { summary.media_streams } else { 0 };
        self.one_way_sessions += u64::from(!is_silent && summary.silent_streams > 0);
    }

    /// Adds another shard's counters.
    pub fn add(&mut self, other: &Totals) {
        self.managed_sessions += other.managed_sessions;
        self.regular += other.regular;
        self.forced += other.forced;
        self.timed_out += other.timed_out;
        self.silently_timed_out += other.silently_timed_out;
        self.offer_timed_out += other.offer_timed_out;
        self.finally_timed_out += other.finally_timed_out;
        self.call_seconds += other.call_seconds;
        self.call_seconds_squared += other.call_seconds_squared;
        self.zero_packet_streams += other.zero_packet_streams;
        self.one_way_sessions += other.one_way_sessions;
        self.rates.add(other.rates);
        self.kernel_rates.add(other.kernel_rates);
    }

    /// Everything that the relay has received so far, streams that are gone included.
    pub fn received(relay: &Relay) -> Traffic {
        sum(relay.interfaces().iter().map(|interface| interface.received))
    }

    /// The part of it that the kernel has received and forwarded by itself.
    pub fn received_in_kernel(relay: &Relay) -> Traffic {
        sum(relay.interfaces().iter().map(|interface| interface.received_elsewhere))
    }

    /// Takes the sample from which the rates per second come.
    pub fn sample_rates(&mut self, now: Now, relay: &Relay) {
        let received = [Totals::received(relay), Totals::received_in_kernel(relay)];
        if let Some((at, before)) = self.last_sample {
            let seconds = now.mono.since(at).as_secs_f64().max(0.001);
            let rate = |after: u64, before: u64| (after.saturating_sub(before) as f64 / seconds).round() as u64;
            let rates = |after: Traffic, before: Traffic| Rates {
                packets: rate(after.packets, before.packets),
                bytes: rate(after.bytes, before.bytes),
                errors: rate(after.errors, before.errors),
            };
            self.rates = rates(received[0], before[0]);
            self.kernel_rates = rates(received[1], before[1]);
        }
        self.last_sample = Some((now.mono, received));
    }
}
