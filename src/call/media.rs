//! One `m=` section of a participant.

use super::layer::Rid;
use super::{Connectivity, InterfaceId, ParticipantId, PortSet, Security};
use crate::base::address::Family;
use crate::base::id::StreamId;
use crate::base::learning::Learning;
use crate::base::time::Mono;
use crate::sdp::{Attribute, Codec, Direction, MediaSection, Protocol};
use std::net::SocketAddr;

/// A media's place in its call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MediaId(pub usize);

/// Where a participant wants a media, as its description says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Signalled {
    pub rtp: Option<SocketAddr>,
    pub rtcp: Option<SocketAddr>,
}

/// The part of rtcp-mux (RFC 5761) that has to be remembered between messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RtcpMux {
    /// The participant's last description had `a=rtcp-mux`.
    pub is_wanted: bool,
    /// The last description shown to the participant had it.
    pub is_shown: bool,
    /// It was required of the participant, who therefore counts as accepting it.
    pub is_required: bool,
    /// Both had it: RTP and RTCP share a port with this participant.
    pub is_agreed: bool,
    /// What the participant is told when it offers: accept (true) or reject (false), whatever the other side says.
    pub reply: Option<bool>,
}

/// What has been told of a media's packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Flow {
    /// Nothing: none has come yet.
    #[default]
    Awaited,
    /// The first never came, while the other side's do.
    Missing,
    Flowing,
    /// They have stopped, while the other side's come.
    Stopped,
}

/// What signalling has asked of the packets of a media.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Behaviour {
    pub learning: Learning,
    pub strict_source: bool,
    /// The participant is at the signalled IP address and nowhere else; only its port is learned.
    pub fixed_address: bool,
    pub media_handover: bool,
    pub asymmetric: bool,
    pub wait_for_peer: bool,
    pub pierce_nat: bool,
}

/// A media.
#[derive(Debug, Clone)]
pub struct Media {
    /// Counts the medias of a call in the order of their making.
    pub serial: u32,
    pub owner: ParticipantId,
    /// The position of the `m=` line, from one.
    pub index: usize,
    /// The media type: `audio`, `video`, ...
    pub kind: String,
    /// What the participant speaks; none before the first exchange.
    pub protocol: Option<Protocol>,
    /// What it was shown last; another one than it speaks while an offer waits for its answer.
    pub shown_protocol: Option<Protocol>,
    /// The format list of the participant's last description.
    pub formats: Vec<String>,
    /// The codecs of the participant's last description, in its order.
    pub codecs: Vec<Codec>,
    /// The codecs that the participant was shown last.
    pub shown_codecs: Vec<Codec>,
    /// Payload types of `codecs` that count as not offered (`codec-ignore`).
    pub ignored: Vec<u8>,
    /// What the participant does, zero connection addresses counted as not receiving.
    pub direction: Direction,
    /// The direction attribute as it was written, if there was one.
    pub written_direction: Option<Direction>,
    pub signalled: Signalled,
    /// The connection address was 0.0.0.0 or `::`.
    pub is_zero_address: bool,
    /// Rejected or disabled: port zero.
    pub is_rejected: bool,
    pub ptime_ms: Option<u32>,
    pub maxptime_ms: Option<u32>,
    pub mid: Option<String>,
    pub label: Option<String>,
    pub information: Option<String>,
    pub bandwidths: Vec<String>,
    /// Attribute lines that negotiation passes on as they are, header extensions first.
    pub attributes: Vec<Attribute>,
    /// `a=extmap` lines of the participant that are accepted from it and shown to nobody.
    pub masked_extensions: Vec<Attribute>,
    /// The layers of a simulcast that the participant sends and that are taken apart here.
    pub simulcast: Vec<Rid>,
    /// The participant's last description had `a=extmap-allow-mixed`.
    pub allows_mixed_extensions: bool,
    pub rtcp_mux: RtcpMux,
    pub security: Security,
    /// The media whose ports, keys and ICE this one uses (RFC 9143); none while it has its own.
    pub bundled_in: Option<MediaId>,
    pub ice: Connectivity,
    /// The section as it came, while it goes to the other side with its own addresses.
    pub untouched: Option<Box<MediaSection>>,
    pub interface: Option<InterfaceId>,
    /// The family of the addresses that the participant is shown.
    pub family: Option<Family>,
    pub behaviour: Behaviour,
    /// The stream of RTP, or of both while they share a port.
    pub rtp_stream: Option<StreamId>,
    /// The stream of RTCP alone.
    pub rtcp_stream: Option<StreamId>,
    /// Local ports, the set in use last. Older ones stay open: packets may still arrive there.
    pub port_sets: Vec<PortSet>,
    /// When signalling last touched this media.
    pub signalled_at: Mono,
    /// The participant has sent a description with this media.
    pub is_described: bool,
    pub flow: Flow,
}

impl Media {
    /// A media that nothing is known of yet.
    pub fn new(serial: u32, owner: ParticipantId, index: usize, kind: &str) -> Media {
        Media {
            serial,
            owner,
            index,
            kind: kind.to_owned(),
            protocol: None,
            shown_protocol: None,
            formats: Vec::new(),
            codecs: Vec::new(),
            shown_codecs: Vec::new(),
            ignored: Vec::new(),
            direction: Direction::SendRecv,
            written_direction: None,
            signalled: Signalled::default(),
            is_zero_address: false,
            is_rejected: false,
            ptime_ms: None,
            maxptime_ms: None,
            mid: None,
            label: None,
            information: None,
            bandwidths: Vec::new(),
            attributes: Vec::new(),
            masked_extensions: Vec::new(),
            simulcast: Vec::new(),
            allows_mixed_extensions: false,
            rtcp_mux: RtcpMux::default(),
            security: Security::default(),
            bundled_in: None,
            ice: Connectivity::default(),
            untouched: None,
            interface: None,
            family: None,
            behaviour: Behaviour::default(),
            rtp_stream: None,
            rtcp_stream: None,
            port_sets: Vec::new(),
            signalled_at: Mono::default(),
            is_described: false,
            flow: Flow::default(),
        }
    }

    /// The numbers of masked header extensions, as bits; those of the one-byte form (RFC 8285, section 4.2).
    pub fn masked_numbers(&self) -> u16 {
        let numbers = self.masked_extensions.iter().filter_map(Attribute::extension).map(|(number, _)| number);
        numbers.filter(|number| (1..15).contains(number)).fold(0, |mask, number| mask | 1 << number)
    }

    /// The codecs that the participant may send, under the numbers that it was shown (RFC 3264, section 5.1). While it has
    /// agreed to nothing that it was shown, those of its own description.
    pub fn sent_codecs(&self) -> &[Codec] {
        let is_own = |codec: &Codec| self.codecs.iter().any(|own| own.same_encoding(codec));
        let is_agreed = self.shown_codecs.iter().any(|codec| !codec.is_supplemental() && is_own(codec));
        if is_agreed { &self.shown_codecs } else { &self.codecs }
    }

    /// The local ports in use.
    pub fn ports(&self) -> Option<&PortSet> {
        self.port_sets.last()
    }

    /// Whether the media is RTP.
    pub fn is_rtp(&self) -> bool {
        self.protocol.as_ref().is_none_or(Protocol::is_rtp)
    }

    /// Whether the participant was shown RTP.
    pub fn is_shown_rtp(&self) -> bool {
        self.shown_protocol.as_ref().or(self.protocol.as_ref()).is_none_or(Protocol::is_rtp)
    }

    /// Whether the participant's last description says that it sends. One at a zero address is on hold and may well have
    /// nothing to play.
    pub fn talks(&self) -> bool {
        let is_there = self.is_described && !self.is_rejected;
        is_there && self.is_relayed() && self.direction.sends() && !self.is_zero_address
    }

    /// Whether the daemon relays this media: RTP and other datagrams, but not TCP and the like.
    pub fn is_relayed(&self) -> bool {
        self.kind != "message" && self.protocol.as_ref().is_none_or(Protocol::is_datagram)
    }
}
