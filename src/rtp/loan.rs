//! A source whose packets another path counts: what it is given, and what it gives back.

use super::source::Source;
use crate::base::time::Mono;

/// Payload types that are told apart on the other path.
pub const PAYLOAD_TYPES: usize = 8;

/// The running state of one SSRC on another path: where its sequence stands, and what was counted since it was lent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Loan {
    pub ssrc: u32,
    /// The highest sequence number, extended as [`Source`] does it.
    pub highest: u32,
    /// The sequence number that counting began with, extended likewise.
    pub base: u32,
    /// Bit n: the packet n before the newest has come.
    pub window: u64,
    pub last_timestamp: u32,
    pub transit: u32,
    pub jitter_16ths: u32,
    pub has_transit: bool,
    /// Of the last packet, in order or not.
    pub last_sequence: u16,
    pub last_arrival: Mono,
    /// Counted since.
    pub packets: u64,
    pub bytes: u64,
    pub lost: u32,
    pub duplicates: u32,
    pub late: u32,
    pub skips: u32,
    /// Packets of other senders that were dropped.
    pub wrong_source: u32,
    /// Packets of SRTP that were dropped: their tag was wrong, or they had been there before.
    pub wrong_tag: u32,
    pub replayed: u32,
    /// Of those: had they been sent on, an index would have been used twice.
    pub used_index: u32,
    /// By place in the list of payload types that the other path was given.
    pub payload_packets: [u64; PAYLOAD_TYPES],
}

/// What one of several receivers was sent on another path since the source was lent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sent {
    pub packets: u64,
    pub bytes: u64,
    /// Packets of SRTP that were not sent: an index would have been used twice.
    pub used_index: u64,
}

/// What has come to a loan's counts between two looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Growth {
    pub packets: u64,
    pub bytes: u64,
    pub lost: u64,
    pub duplicates: u64,
    pub late: u64,
    pub skips: u64,
    pub wrong_source: u64,
    pub wrong_tag: u64,
    pub replayed: u64,
    pub used_index: u64,
}

impl Loan {
    /// What has been counted since `before`.
    pub fn growth(&self, before: &Loan) -> Growth {
        let more = |now: u32, before: u32| u64::from(now.wrapping_sub(before));
        Growth {
            packets: self.packets.wrapping_sub(before.packets),
            bytes: self.bytes.wrapping_sub(before.bytes),
            lost: more(self.lost, before.lost),
            duplicates: more(self.duplicates, before.duplicates),
            late: more(self.late, before.late),
            skips: more(self.skips, before.skips),
            wrong_source: more(self.wrong_source, before.wrong_source),
            wrong_tag: more(self.wrong_tag, before.wrong_tag),
            replayed: more(self.replayed, before.replayed),
            used_index: more(self.used_index, before.used_index),
        }
    }
}

impl Source {
    /// Brings the source to where another path has counted it to. `payload_types` is the list that the path was given.
    pub fn settle(&mut self, now: &Loan, before: &Loan, payload_types: &[u8]) -> Growth {
        let growth = now.growth(before);
        self.count_elsewhere(now, &growth);
        let places = now.payload_packets.iter().zip(&before.payload_packets).zip(payload_types);
        places.for_each(|((now, before), payload_type)| {
            self.count_payload_type(*payload_type, now.wrapping_sub(*before))
        });
        growth
    }
}
