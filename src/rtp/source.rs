//! One incoming SSRC: counts, sequence validation, loss and jitter (RFC 3550, appendices A.1, A.3, A.8).

use super::clock;
use super::loan::{Growth, Loan};
use super::quality::Quality;
use crate::base::sequence;
use crate::base::time::Mono;
use crate::wire::rtcp::ReceptionReport;
use crate::wire::rtp::Header;
use smallvec::SmallVec;

/// A gap of this many packets or more is a restart of the sender (RFC 3550, appendix A.1).
const MAX_DROPOUT: i16 = 3000;
/// A packet this much older than the newest, or more, is a restart of the sender (RFC 3550, appendix A.1).
const MAX_MISORDER: i16 = 100;
/// No sequence number: none is awaited after a jump.
const NONE_AWAITED: u32 = 0x1_0000;
/// No payload type has been looked up.
const UNKNOWN_PAYLOAD_TYPE: u8 = 0xff;
/// Packets older than this can't be told from duplicates, and count as lost when they have not come.
const WINDOW_PACKETS: u32 = u64::BITS;

/// Where a packet stands in the sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The one after the newest.
    Next,
    /// Newer, with others missing between.
    Skip,
    /// Seen before.
    Duplicate,
    /// Older than the newest and not seen before.
    Late,
    /// So far away that the next packet decides what it means.
    Jump,
    /// The second in order after a jump: the sender has begun anew.
    Reset,
}

/// What one packet changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    pub order: Order,
    /// Packets given up as lost by this one.
    pub lost: u32,
}

impl Arrival {
    /// Whether it is anything but the next packet with nothing lost.
    #[inline]
    pub fn is_unusual(&self) -> bool {
        self.order != Order::Next || self.lost > 0
    }
}

/// Packets expected and lost in a span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Loss {
    pub expected: u32,
    pub lost: u32,
}

impl Loss {
    /// The loss in 256ths, as reception reports carry it (RFC 3550, appendix A.3).
    pub fn fraction(&self) -> u8 {
        ((u64::from(self.lost) << 8).checked_div(u64::from(self.expected)).unwrap_or(0)).min(255) as u8
    }
}

/// What every packet reads or writes: one cache line.
#[derive(Debug, Clone)]
#[repr(C, align(64))]
struct Hot {
    packets: u64,
    bytes: u64,
    /// Bit n: the packet n before the newest has been received, or was sent before the first.
    window: u64,
    /// The value of `packets` when the payload type last changed.
    packets_at_payload_type: u64,
    ssrc: u32,
    /// Extended, with one cycle more than RFC 3550 counts.
    highest: u32,
    last_timestamp: u32,
    transit: u32,
    jitter_16ths: u32,
    clock_rate_hz: u32,
    awaited_after_jump: u32,
    payload_type: u8,
    is_event: bool,
    has_transit: bool,
}

/// What is touched when something happens.
#[derive(Debug, Clone)]
struct Cold {
    base: u32,
    packets_at_base: u64,
    expected_before: u32,
    received_before: u64,
    lost: u64,
    duplicates: u64,
    late: u64,
    skips: u64,
    resets: u64,
    /// Packets by payload type, without those since the last change of it.
    payload_types: SmallVec<[(u8, u64); 3]>,
    quality: Option<Box<Quality>>,
}

/// One incoming SSRC.
#[derive(Debug, Clone)]
pub struct Source {
    hot: Hot,
    cold: Cold,
}

impl Source {
    /// A source before its first packet, whose header is `first`.
    pub fn new(first: &Header) -> Source {
        let start = 0x1_0000 | u32::from(first.sequence);
        Source {
            hot: Hot {
                packets: 0,
                bytes: 0,
                window: u64::MAX << 1,
                packets_at_payload_type: 0,
                ssrc: first.ssrc,
                highest: start,
                last_timestamp: first.timestamp,
                transit: 0,
                jitter_16ths: 0,
                clock_rate_hz: 0,
                awaited_after_jump: NONE_AWAITED,
                payload_type: UNKNOWN_PAYLOAD_TYPE,
                is_event: false,
                has_transit: false,
            },
            cold: Cold {
                base: start,
                packets_at_base: 0,
                expected_before: 0,
                received_before: 0,
                lost: 0,
                duplicates: 0,
                late: 0,
                skips: 0,
                resets: 0,
                payload_types: SmallVec::new(),
                quality: None,
            },
        }
    }

    /// Counts a packet of `bytes` bytes, header included. `set_payload_type` must have been told its type.
    #[inline]
    pub fn record(&mut self, arrival: Mono, header: &Header, bytes: usize) -> Arrival {
        let hot = &mut self.hot;
        let is_first = hot.packets == 0;
        hot.packets += 1;
        hot.bytes += bytes as u64;
        let step = sequence::distance(hot.highest as u16, header.sequence);
        let arrival_order = if step == 1 && hot.window >> 63 == 1 {
            hot.highest = hot.highest.wrapping_add(1);
            hot.window = hot.window << 1 | 1;
            Arrival { order: Order::Next, lost: 0 }
        } else if is_first {
            hot.window |= 1;
            Arrival { order: Order::Next, lost: 0 }
        } else {
            self.record_unusual(step, header.sequence)
        };
        if matches!(arrival_order.order, Order::Next | Order::Skip | Order::Reset) {
            self.record_time(arrival, header.timestamp);
        }
        arrival_order
    }

    /// The last timestamp, and the jitter of appendix A.8. Events keep one timestamp for many packets and are left out.
    #[inline]
    fn record_time(&mut self, arrival: Mono, timestamp: u32) {
        let hot = &mut self.hot;
        hot.last_timestamp = timestamp;
        if hot.is_event || hot.clock_rate_hz == 0 {
            return;
        }
        let transit = clock::units(arrival, hot.clock_rate_hz).wrapping_sub(timestamp);
        if hot.has_transit {
            let difference = (transit.wrapping_sub(hot.transit) as i32).unsigned_abs();
            // A timestamp that jumps by more than ten seconds is a new beginning, not jitter.
            if difference / 10 < hot.clock_rate_hz {
                hot.jitter_16ths = hot.jitter_16ths.wrapping_add(difference).wrapping_sub((hot.jitter_16ths + 8) >> 4);
            }
        }
        hot.transit = transit;
        hot.has_transit = true;
    }

    /// The state with which another path counts on.
    pub fn lend(&self) -> Loan {
        let hot = &self.hot;
        Loan {
            ssrc: hot.ssrc,
            highest: hot.highest,
            base: self.cold.base,
            window: hot.window,
            last_timestamp: hot.last_timestamp,
            transit: hot.transit,
            jitter_16ths: hot.jitter_16ths,
            has_transit: hot.has_transit,
            last_sequence: hot.highest as u16,
            ..Loan::default()
        }
    }

    /// Takes over what another path has counted, but for payload types.
    pub(super) fn count_elsewhere(&mut self, now: &Loan, growth: &Growth) {
        self.settle_payload_type();
        let (hot, cold) = (&mut self.hot, &mut self.cold);
        hot.packets += growth.packets;
        hot.bytes += growth.bytes;
        hot.packets_at_payload_type = hot.packets;
        (hot.window, hot.highest, hot.last_timestamp) = (now.window, now.highest, now.last_timestamp);
        (hot.transit, hot.jitter_16ths, hot.has_transit) = (now.transit, now.jitter_16ths, now.has_transit);
        cold.lost += growth.lost;
        cold.duplicates += growth.duplicates;
        cold.late += growth.late;
        cold.skips += growth.skips;
    }

    /// Counts a packet whose place in the sequence is looked at later, by [`Source::place`].
    pub fn record_beside(&mut self, bytes: usize) {
        self.hot.packets += 1;
        self.hot.bytes += bytes as u64;
    }

    /// Finds the place of a packet that was counted before.
    pub fn place(&mut self, sequence_number: u16) {
        let step = sequence::distance(self.hot.highest as u16, sequence_number);
        self.record_unusual(step, sequence_number);
    }

    /// Counts packets of a payload type that another path has seen.
    pub(super) fn count_payload_type(&mut self, payload_type: u8, packets: u64) {
        if packets == 0 {
            return;
        }
        match self.cold.payload_types.iter_mut().find(|(known, _)| *known == payload_type) {
            Some((_, count)) => *count += packets,
            None => self.cold.payload_types.push((payload_type, packets)),
        }
    }

    /// Everything but the next packet in order; `step` is the distance from the newest.
    fn record_unusual(&mut self, step: i16, sequence_number: u16) -> Arrival {
        let (order, lost) = match step {
            0 => (Order::Duplicate, 0),
            1..MAX_DROPOUT => {
                let lost = self.advance(u32::from(step.unsigned_abs()));
                (if step == 1 { Order::Next } else { Order::Skip }, lost)
            }
            _ if step < 0 && step > -MAX_MISORDER => (self.record_older(u32::from(step.unsigned_abs())), 0),
            _ => return self.record_jump(sequence_number),
        };
        self.cold.lost += u64::from(lost);
        match order {
            Order::Skip => self.cold.skips += 1,
            Order::Duplicate => self.cold.duplicates += 1,
            Order::Late => self.cold.late += 1,
            _ => {}
        }
        Arrival { order, lost }
    }

    /// Moves the window on by `step`; what falls out without having been received is lost.
    fn advance(&mut self, step: u32) -> u32 {
        let hot = &mut self.hot;
        let missing = hot.window.count_zeros();
        let (window, lost) = if step < WINDOW_PACKETS {
            let window = hot.window << step | 1;
            // Of the missing ones, and the `step - 1` newly missing, those still in the window may yet come.
            (window, missing + step - 1 - window.count_zeros())
        } else {
            (1, missing + step - 1 - (WINDOW_PACKETS - 1))
        };
        hot.window = window;
        hot.highest = hot.highest.wrapping_add(step);
        lost
    }

    fn record_older(&mut self, age: u32) -> Order {
        if age >= WINDOW_PACKETS {
            return Order::Late;
        }
        let bit = 1u64 << age;
        if self.hot.window & bit != 0 && self.hot.highest.wrapping_sub(age) >= self.cold.base {
            return Order::Duplicate;
        }
        self.hot.window |= bit;
        Order::Late
    }

    fn record_jump(&mut self, sequence_number: u16) -> Arrival {
        if u32::from(sequence_number) != self.hot.awaited_after_jump {
            self.hot.awaited_after_jump = u32::from(sequence_number.wrapping_add(1));
            return Arrival { order: Order::Jump, lost: 0 };
        }
        let lost = self.hot.window.count_zeros();
        let start = 0x1_0000 | u32::from(sequence_number);
        self.hot.awaited_after_jump = NONE_AWAITED;
        self.hot.window = u64::MAX;
        self.hot.highest = start;
        self.hot.has_transit = false;
        self.cold.base = start;
        self.cold.packets_at_base = self.hot.packets - 1;
        self.cold.expected_before = 0;
        self.cold.received_before = 0;
        self.cold.lost += u64::from(lost);
        self.cold.resets += 1;
        Arrival { order: Order::Reset, lost }
    }

    /// Gives up the packets that are still missing, and tells how many they are.
    pub fn finish(&mut self) -> u64 {
        let lost = u64::from(self.hot.window.count_zeros());
        self.hot.window = u64::MAX;
        self.cold.lost += lost;
        lost
    }

    /// Whether `payload_type` is the one last told to `set_payload_type`.
    #[inline]
    pub fn has_payload_type(&self, payload_type: u8) -> bool {
        self.hot.payload_type == payload_type
    }

    /// The type of the packets that follow. Zero for an unknown clock rate leaves jitter unmeasured.
    pub fn set_payload_type(&mut self, payload_type: u8, clock_rate_hz: u32, is_event: bool) {
        self.settle_payload_type();
        let hot = &mut self.hot;
        hot.payload_type = payload_type;
        hot.is_event = is_event;
        if !is_event && hot.clock_rate_hz != clock_rate_hz {
            hot.clock_rate_hz = clock_rate_hz;
            hot.has_transit = false;
            hot.jitter_16ths = 0;
        }
    }

    /// Makes the next packet's type be looked up again, as the meaning of types has changed.
    pub fn forget_payload_type(&mut self) {
        self.settle_payload_type();
        self.hot.payload_type = UNKNOWN_PAYLOAD_TYPE;
    }

    fn settle_payload_type(&mut self) {
        let count = self.hot.packets - self.hot.packets_at_payload_type;
        self.hot.packets_at_payload_type = self.hot.packets;
        self.count_payload_type(self.hot.payload_type, count);
    }

    /// Whether the current payload type is a telephone-event.
    #[inline]
    pub fn is_event(&self) -> bool {
        self.hot.is_event
    }

    /// The packets of each payload type, in no order.
    pub fn payload_types(&self) -> SmallVec<[(u8, u64); 4]> {
        let mut copy = self.clone();
        copy.settle_payload_type();
        copy.cold.payload_types.iter().copied().collect()
    }

    #[inline]
    pub fn ssrc(&self) -> u32 {
        self.hot.ssrc
    }

    /// The type of the last packet, in the lower seven bits; another number before the first.
    pub fn payload_type(&self) -> u8 {
        self.hot.payload_type
    }

    pub fn packets(&self) -> u64 {
        self.hot.packets
    }

    /// Bytes of whole packets, headers included.
    pub fn bytes(&self) -> u64 {
        self.hot.bytes
    }

    pub fn last_timestamp(&self) -> u32 {
        self.hot.last_timestamp
    }

    pub fn last_sequence(&self) -> u16 {
        self.hot.highest as u16
    }

    /// The extended highest sequence number of RFC 3550, section 6.4.1.
    pub fn extended_highest_sequence(&self) -> u32 {
        self.hot.highest.wrapping_sub(0x1_0000)
    }

    pub fn clock_rate_hz(&self) -> u32 {
        self.hot.clock_rate_hz
    }

    /// Interarrival jitter in units of the RTP timestamp.
    pub fn jitter(&self) -> u32 {
        self.hot.jitter_16ths >> 4
    }

    /// Interarrival jitter in whole milliseconds; none before two packets of a known clock rate.
    pub fn jitter_ms(&self) -> Option<u32> {
        (self.hot.has_transit && self.hot.packets > 1)
            .then(|| clock::milliseconds(self.jitter(), self.hot.clock_rate_hz))
    }

    /// Packets that have been given up: more than 64 newer ones came first.
    pub fn lost(&self) -> u64 {
        self.cold.lost
    }

    pub fn duplicates(&self) -> u64 {
        self.cold.duplicates
    }

    /// Packets that came after a newer one.
    pub fn reordered(&self) -> u64 {
        self.cold.late
    }

    /// How often packets were missing between two.
    pub fn skips(&self) -> u64 {
        self.cold.skips
    }

    pub fn resets(&self) -> u64 {
        self.cold.resets
    }

    /// Expected less received since the sender began, negative with duplicates (RFC 3550, appendix A.3).
    pub fn cumulative_lost(&self) -> i64 {
        i64::from(self.expected()) - (self.hot.packets - self.cold.packets_at_base) as i64
    }

    fn expected(&self) -> u32 {
        self.hot.highest.wrapping_sub(self.cold.base).wrapping_add(1)
    }

    /// The loss since the last call (RFC 3550, appendix A.3).
    pub fn interval_loss(&mut self) -> Loss {
        let expected = self.expected();
        let received = self.hot.packets - self.cold.packets_at_base;
        let expected_interval = expected.wrapping_sub(self.cold.expected_before);
        let received_interval = received - self.cold.received_before;
        self.cold.expected_before = expected;
        self.cold.received_before = received;
        let lost = u64::from(expected_interval).saturating_sub(received_interval) as u32;
        Loss { expected: expected_interval, lost }
    }

    /// A reception report on the time since the last one (RFC 3550, section 6.4.1); none when nothing new has come.
    pub fn reception_report(&mut self, now: Mono) -> Option<ReceptionReport> {
        let loss = self.interval_loss();
        let heard = self.quality().and_then(Quality::last_sender_report);
        let (last_sender_report, delay_since_last) = heard.map_or((0, 0), |(middle, at)| {
            let delay = (now.since(at).as_micros() << 16) / 1_000_000;
            (middle, u32::try_from(delay).unwrap_or(u32::MAX))
        });
        (loss.expected > 0).then(|| ReceptionReport {
            ssrc: self.ssrc(),
            fraction_lost: loss.fraction(),
            cumulative_lost: self.cumulative_lost().clamp(-0x80_0000, 0x7f_ffff) as i32,
            highest_sequence: self.extended_highest_sequence(),
            jitter: self.jitter(),
            last_sender_report,
            delay_since_last,
        })
    }

    /// What RTCP has told about this source; none before the first report.
    pub fn quality(&self) -> Option<&Quality> {
        self.cold.quality.as_deref()
    }

    /// What RTCP tells about this source, from now on.
    pub fn quality_mut(&mut self) -> &mut Quality {
        self.cold.quality.get_or_insert_default()
    }
}

#[cfg(test)]
mod tests;
