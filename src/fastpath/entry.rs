//! What is done with one port's RTP, in words that every map can be filled from.

use crate::base::id::CaptureId;
use crate::plan::MidElement;
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

/// `MOST_INSERTED`: bytes of the header extension for the longest mid.
pub const MOST_INSERTED: usize = 24;

/// The most receivers that packets are copied for.
pub const MOST_COPIES: usize = 32;

/// A receiver, and what it gets in place of what came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The local port that packets leave by.
    pub from: SocketAddr,
    pub to: SocketAddr,
    /// The type-of-service octet, or traffic class.
    pub tos: u8,
    /// The SSRC under which the receiver knows the source.
    pub ssrc: u32,
    /// By place, the receiver's number; none where it gets no such packets.
    pub payload_types: SmallVec<[Option<u8>; PAYLOAD_TYPES]>,
    /// By place, the byte that stands in for payloads (`Codec::silence`); none where they pass.
    pub silences: SmallVec<[Option<u8>; PAYLOAD_TYPES]>,
    /// What a copy leaves with; none where it leaves plain, or as it came. Of an only receiver the entry says it.
    pub protect: Option<Box<Parameters>>,
    /// These are the sender's own keys: the copy leaves as the packet came.
    pub passes: bool,
    /// The header extension that a copy gets before it is protected.
    pub mid: Option<MidElement>,
}

impl Output {
    /// What is done with the bytes of a copy; none where it leaves as it came, but for its numbers.
    pub fn protection(&self) -> Option<Protection> {
        let protect = self.protect.as_deref().cloned();
        self.has_keys().then(|| Protection { protect, mid: self.mid, ..Protection::NONE })
    }

    /// Whether copies have keys in the maps: they are protected, or silenced.
    pub fn has_keys(&self) -> bool {
        self.protect.is_some() || self.is_silenced()
    }

    /// Whether silence stands in for some of what the receiver gets.
    pub fn is_silenced(&self) -> bool {
        self.silences.iter().any(Option::is_some)
    }

    /// Whether the receiver has other numbers than the sender of `entry`.
    pub fn renumbers(&self, entry: &Entry) -> bool {
        let mut pairs = self.payload_types.iter().zip(&entry.payload_types);
        self.ssrc != entry.ssrc || pairs.any(|(shown, own)| shown.is_some_and(|shown| shown != own.number))
    }

    /// Whether the receiver gets all that passes.
    pub fn gets_all(&self) -> bool {
        self.payload_types.iter().all(Option::is_some)
    }
}

/// What becomes of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Nobody is to hear it.
    Drop,
    /// One receiver gets it, whatever it is.
    Forward(Output),
    /// Receivers get copies, which are counted for each.
    Copy(Vec<Output>),
}

/// SRTP on the way in, on the way out, or both; neither where media is silenced and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protection {
    /// What packets come with.
    pub open: Option<Parameters>,
    /// What they leave with.
    pub protect: Option<Parameters>,
    /// They leave as they came.
    pub passes: bool,
    /// The header extension that packets get before they are protected.
    pub mid: Option<MidElement>,
}

impl Protection {
    /// Packets come and leave plain.
    pub const NONE: Protection = Protection { open: None, protect: None, passes: false, mid: None };

    /// Whether packets come, or leave, as SRTP.
    pub fn is_srtp(&self) -> bool {
        self.open.is_some() || self.protect.is_some()
    }

    /// The bytes by which packets grow on their way.
    pub fn growth_bytes(&self) -> i64 {
        let appended = |parameters: &Option<Parameters>| match parameters {
            Some(parameters) if !self.passes => suite::lengths(parameters.suite).rtp_tag as i64,
            _ => 0,
        };
        appended(&self.protect) - appended(&self.open) + self.inserted().len() as i64
    }

    /// The header extension of `mid`, with all that stands before its element in a packet that has no other (RFC 8285,
    /// section 4.2).
    pub fn inserted(&self) -> SmallVec<[u8; MOST_INSERTED]> {
        let Some(element) = &self.mid else { return SmallVec::new() };
        let mid = element.mid();
        let words = (1 + mid.len()).div_ceil(4);
        let mut bytes = SmallVec::from_slice(&[0xbe, 0xde, 0, words as u8]);
        bytes.push(element.number() << 4 | (mid.len() as u8 - 1));
        bytes.extend_from_slice(mid);
        bytes.resize(4 + 4 * words, 0);
        bytes
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
    /// Another peer sends to the port, too, and may have an entry of its own.
    pub shares_port: bool,
    pub ssrc: u32,
    /// Of every payload type but telephone-events; zero when it is not known.
    pub clock_rate_hz: u32,
    /// Others are left to userspace.
    pub payload_types: SmallVec<[Passing; PAYLOAD_TYPES]>,
    pub action: Action,
    /// None: RTP comes and leaves plain, and is not silenced before there are copies.
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
        let copies = |entry: &Entry| matches!(entry.action, Action::Copy(_));
        (self.local, self.shares_port, self.ssrc, self.clock_rate_hz, &self.payload_types)
            == (other.local, other.shares_port, other.ssrc, other.clock_rate_hz, &other.payload_types)
            && self.protection == other.protection
            && (self.protection.is_none() || self.from() == other.from())
            && !copies(self)
            && !copies(other)
    }

    /// The port that packets leave by, and their SSRC. With SRTP, its stream owns the state of what leaves.
    fn from(&self) -> Option<(SocketAddr, u32)> {
        match &self.action {
            Action::Drop | Action::Copy(_) => None,
            Action::Forward(output) => Some((output.from, output.ssrc)),
        }
    }

    /// The receivers.
    pub fn outputs(&self) -> &[Output] {
        match &self.action {
            Action::Drop => &[],
            Action::Forward(output) => std::slice::from_ref(output),
            Action::Copy(outputs) => outputs,
        }
    }
}
