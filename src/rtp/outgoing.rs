//! What has been sent under one SSRC.

use super::loan::{Growth, Loan};
use crate::wire::rtp::Header;

/// The packets sent to one receiver under one SSRC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    ssrc: u32,
    last_timestamp: u32,
    origin: u32,
    last_sequence: u16,
    packets: u64,
    bytes: u64,
}

impl Outgoing {
    /// `origin` names the incoming stream that packets come from, in the owner's numbering.
    pub fn new(ssrc: u32, origin: u32) -> Outgoing {
        Outgoing { ssrc, last_timestamp: 0, origin, last_sequence: 0, packets: 0, bytes: 0 }
    }

    /// Counts a packet of `bytes` bytes, header included.
    #[inline]
    pub fn record(&mut self, header: &Header, origin: u32, bytes: usize) {
        self.origin = origin;
        self.last_timestamp = header.timestamp;
        self.last_sequence = header.sequence;
        self.packets += 1;
        self.bytes += bytes as u64;
    }

    /// Counts packets that another path has sent.
    pub fn record_elsewhere(&mut self, loan: &Loan, origin: u32, growth: &Growth) {
        self.origin = origin;
        self.last_timestamp = loan.last_timestamp;
        self.last_sequence = loan.last_sequence;
        self.packets += growth.packets;
        self.bytes += growth.bytes;
    }

    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    pub fn origin(&self) -> u32 {
        self.origin
    }

    /// The incoming stream has another number now.
    pub fn renumber_origin(&mut self, origin: u32) {
        self.origin = origin;
    }

    pub fn last_timestamp(&self) -> u32 {
        self.last_timestamp
    }

    pub fn last_sequence(&self) -> u16 {
        self.last_sequence
    }

    pub fn packets(&self) -> u64 {
        self.packets
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}
