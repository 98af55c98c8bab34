//! What is done with one port's RTP, in words that every map can be filled from.

use crate::base::id::CaptureId;
use crate::rtp::loan::PAYLOAD_TYPES;
use crate::srtp::{Parameters, suite};
use smallvec::SmallVec;
use std::net::SocketAddr;

/// One payload type that passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passing {
    pub number: u8,
    /// A telephone-event (RFC 4733): no jitter is measured by it.
    pub is_event: bool,
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nobody is to hear it.
    Drop,
    /// One copy, from a local port.
    Forward {
        from: SocketAddr,
        to: SocketAddr,
        /// The type-of-service octet, or traffic class.
        tos: u8,
    },
}

/// SRTP on the way in, on the way out, or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protection {
    /// What packets come with.
    pub open: Option<Parameters>,
    /// What they leave with.
    pub protect: Option<Parameters>,
    /// They leave as they came.
    pub passes: bool,
}

impl Protection {
    /// The bytes by which packets grow on their way.
    pub fn growth_bytes(&self) -> i64 {
        let appended = |parameters: &Option<Parameters>| match parameters {
            Some(parameters) if !self.passes => suite::lengths(parameters.suite).rtp_tag as i64,
            _ => 0,
        };
        appended(&self.protect) - appended(&self.open)
    }
}

/// What is done with RTP of one SSRC that arrives at one local port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub local: SocketAddr,
    /// Where the peer sends from.
    pub source: SocketAddr,
    /// Other sources are dropped, rather than left to userspace.
    pub is_strict: bool,
    pub ssrc: u32,
    /// Of every payload type but telephone-events; zero when it is not known.
    pub clock_rate_hz: u32,
    /// Others are left to userspace.
    pub payload_types: SmallVec<[Passing; PAYLOAD_TYPES]>,
    pub action: Action,
    /// None: RTP comes and leaves plain.
    pub protection: Option<Box<Protection>>,
    /// Those who get copies of its frames.
    pub captures: SmallVec<[CaptureId; 1]>,
}

impl Entry {
    /// The numbers of the payload types, by place.
    pub fn numbers(&self) -> SmallVec<[u8; PAYLOAD_TYPES]> {
        self.payload_types.iter().map(|payload_type| payload_type.number).collect()
    }

    /// Whether what `other` counts can be counted on by this entry: only the way differs.
    pub fn counts_as(&self, other: &Entry) -> bool {
        (self.local, self.ssrc, self.clock_rate_hz, &self.payload_types)
            == (other.local, other.ssrc, other.clock_rate_hz, &other.payload_types)
            && self.protection == other.protection
            && (self.protection.is_none() || self.from() == other.from())
    }

    /// The port that copies leave by. With SRTP, its stream owns the state of what leaves.
    fn from(&self) -> Option<SocketAddr> {
        match self.action {
            Action::Drop => None,
            Action::Forward { from, .. } => Some(from),
        }
    }
}
