//! Floor 5: a call compiled to forwarding plans: plain data that the packet path reads and nothing else.
//!
//! A plan says everything that has to be done for packets arriving on one local port. Signalling builds a new plan
//! and hands it over whole; run-time state (latch, counters, sources) lives in the relay's stream table and outlives
//! a change of plan.

pub mod build;
mod feedback;
mod layers;
mod repair;
mod rewrite;
mod transport;

use crate::base::fingerprint::Fingerprint;
use crate::base::id::PortToken;
pub use crate::base::id::StreamId;
pub use crate::base::learning::Learning;
use crate::base::time::Mono;
use crate::call::connectivity::ReceivedIce;
pub use crate::call::layer::{Layer, Rid};
use crate::srtp::Parameters;
pub use feedback::{Bandwidth, Feedback};
pub use layers::{Choice, Simulcast};
pub use repair::Repair;
pub use rewrite::{EXTENSION_NUMBERS, Rewrite};
use smallvec::SmallVec;
use std::net::SocketAddr;
use std::num::NonZeroU16;

/// What a local port carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Component {
    /// RTP alone; its RTCP has the port above.
    Rtp,
    /// RTCP alone.
    Rtcp,
    /// RTP and RTCP on one port (RFC 5761).
    Muxed,
    /// Datagrams of an unknown protocol (UDPTL, for one), relayed as they are.
    Opaque,
}

/// One payload type that the sender may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayloadType {
    pub number: u8,
    pub clock_rate_hz: u32,
    /// A telephone-event (RFC 4733), which passes when media is blocked.
    pub is_dtmf: bool,
    /// What a payload of silence is filled with, where the codec has such a byte.
    pub silence: Option<u8>,
}

/// What is asked of packets that arrive on the port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ingress {
    pub learning: Learning,
    /// The peer's address as signalled; none before its SDP has been seen, or when it gave a zero address or port.
    pub signalled: Option<SocketAddr>,
    /// When signalling last changed this stream; learning starts anew from here.
    pub signalled_at: Mono,
    /// An offer has been answered on this side; before that nothing is learned.
    pub filled: bool,
    /// After learning, packets from other addresses are dropped.
    pub strict_source: bool,
    /// The peer is at the signalled IP address and nowhere else; only its port is learned.
    pub fixed_address: bool,
    /// After learning, a changed source address is followed.
    pub media_handover: bool,
    /// The peer sends from an address other than the one it receives at: its source never becomes a destination.
    pub asymmetric: bool,
    /// Send nothing towards this peer before it has sent a packet.
    pub wait_for_peer: bool,
    /// Send empty packets to the signalled address until something arrives from there.
    pub pierce_nat: bool,
    pub payload_types: SmallVec<[PayloadType; 8]>,
}

/// What keeps RTP from a sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Block {
    /// Everything is dropped (`drop-traffic`, an inactive or receive-only direction of the answer).
    All,
    /// Media is dropped, telephone-events pass.
    Media,
    /// Telephone-events are dropped, media passes.
    Dtmf,
    /// Media is replaced by silence, or dropped where its codec has none to fill in; telephone-events pass.
    Silence,
    /// The same, and telephone-events are dropped.
    SilenceWithoutEvents,
}

/// What becomes of media under a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Muting {
    Passes,
    Silenced,
    Dropped,
}

impl Block {
    /// The block that does this to media, and to telephone-events.
    pub fn of(media: Muting, drops_events: bool) -> Option<Block> {
        match (media, drops_events) {
            (Muting::Passes, false) => None,
            (Muting::Passes, true) => Some(Block::Dtmf),
            (Muting::Silenced, false) => Some(Block::Silence),
            (Muting::Silenced, true) => Some(Block::SilenceWithoutEvents),
            (Muting::Dropped, false) => Some(Block::Media),
            (Muting::Dropped, true) => Some(Block::All),
        }
    }

    /// What it does to media.
    #[inline]
    pub fn muting(self) -> Muting {
        match self {
            Block::All | Block::Media => Muting::Dropped,
            Block::Silence | Block::SilenceWithoutEvents => Muting::Silenced,
            Block::Dtmf => Muting::Passes,
        }
    }

    /// Whether it drops telephone-events.
    #[inline]
    pub fn drops_events(self) -> bool {
        matches!(self, Block::All | Block::Dtmf | Block::SilenceWithoutEvents)
    }
}

/// A subscription compiled for one stream: where copies go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sink {
    /// The stream through whose local port, and to whose remote address, a copy is sent.
    pub egress: StreamId,
    pub block: Option<Block>,
    /// Both ends use the same keys: a packet goes on as it came, once it has been authenticated.
    pub passes: bool,
    /// The receiver knows no early feedback (RFC 4585): what RTCP carries of it is left out.
    pub strips_feedback: bool,
    /// Numbers of header extensions that the receiver is not to see, as bits.
    pub masked_extensions: u16,
    /// RTP gets this header extension on the way.
    pub mid: Option<MidElement>,
    /// The header extension of this number gets transport-wide sequence numbers of the receiver's own.
    pub transport_wide: Option<u8>,
    /// How the receiver gets packets again: a place among [`Tables::repairs`]. None: as they were.
    pub repair: Option<Place>,
    /// What the receiver numbers otherwise than the source: a place among [`Tables::rewrites`].
    pub rewrite: Option<Place>,
}

impl Sink {
    /// A sink that takes everything, with its own protection.
    pub fn plain(egress: StreamId) -> Sink {
        Sink {
            egress,
            block: None,
            passes: false,
            strips_feedback: false,
            masked_extensions: 0,
            mid: None,
            transport_wide: None,
            repair: None,
            rewrite: None,
        }
    }
}

/// The header extension that tells a receiver which media of its bundle a packet belongs to (RFC 9143, section 15.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MidElement {
    number: u8,
    mid: [u8; MidElement::LONGEST],
    bytes: u8,
}

impl MidElement {
    /// The longest mid in bytes that every form of the extension can carry (RFC 8285, section 4.2).
    pub const LONGEST: usize = 16;

    /// A mid under its extension's number, 1 to 14; none where either is out of bounds.
    pub fn new(number: u8, mid: &str) -> Option<MidElement> {
        let mut element = MidElement { number, mid: [0; MidElement::LONGEST], bytes: mid.len() as u8 };
        element.mid.get_mut(..mid.len())?.copy_from_slice(mid.as_bytes());
        (!mid.is_empty() && (1..=14).contains(&number)).then_some(element)
    }

    pub fn number(&self) -> u8 {
        self.number
    }

    pub fn mid(&self) -> &[u8] {
        &self.mid[..usize::from(self.bytes)]
    }
}

/// One of several medias on a port (RFC 9143, section 9.2): which packets are its own, and where they go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// The value of the MID header extension.
    pub mid: Option<Box<str>>,
    /// Payload types of this media and of no other in the bundle.
    pub payload_types: SmallVec<[u8; 8]>,
    pub media: SmallVec<[Sink; 1]>,
    pub control: SmallVec<[Sink; 1]>,
}

/// Several medias on one port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// The number of the MID header extension in what the peer sends.
    pub mid_extension: Option<u8>,
    pub branches: Vec<Branch>,
}

/// How packets on the port are protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Security {
    /// Plain RTP.
    Plain,
    /// SRTP without keys: nothing passes either way.
    Pending,
    /// SRTP with keys from signalling.
    Keys(Box<Keys>),
    /// SRTP with keys from a DTLS handshake on the port.
    Handshake(Box<Handshake>),
}

/// What a sender of video understands when a key frame is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyframeRequest {
    /// RFC 4585, section 6.3.1: `a=rtcp-fb: nack pli`.
    PictureLoss,
    /// RFC 5104, section 4.3.1: `a=rtcp-fb: ccm fir`.
    FullIntra,
}

/// Keys from signalling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    pub receive: Parameters,
    pub send: Parameters,
}

/// What a DTLS handshake has to be (RFC 5763).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handshake {
    pub is_client: bool,
    /// The peer's certificate has one of these.
    pub fingerprints: Vec<Fingerprint>,
    /// Another number is another association.
    pub generation: u32,
}

/// ICE on the ports of a media.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ice {
    pub is_controlling: bool,
    pub is_lite: bool,
    pub own: (String, String),
    /// None until the peer has answered: its checks are answered and remembered meanwhile.
    pub peer: Option<ReceivedIce>,
    /// Every local port of the media, by component; the preferred first.
    pub ports: Vec<IcePort>,
}

/// A local port that takes part in ICE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IcePort {
    pub component: u16,
    pub token: PortToken,
    pub address: SocketAddr,
    pub local_preference: u16,
}

/// A place in a table of a plan. Two bytes, also where there may be none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(NonZeroU16);

impl Place {
    /// None for a place past all that can be named.
    pub fn new(index: usize) -> Option<Place> {
        u16::try_from(index + 1).ok().and_then(NonZeroU16::new).map(Place)
    }

    pub fn index(self) -> usize {
        usize::from(self.0.get()) - 1
    }
}

/// What the sinks of a plan name by its place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tables {
    /// How receivers get packets again that they have lost.
    pub repairs: Vec<Repair>,
    /// What of the peer's media comes in several streams, of which a receiver gets one.
    pub simulcasts: Vec<Simulcast>,
    /// What receivers number otherwise.
    pub rewrites: Vec<Rewrite>,
}

/// Everything to do for packets arriving on one local port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardingPlan {
    /// Grows with each plan of the stream.
    pub generation: u32,
    pub component: Component,
    pub ingress: Ingress,
    /// Where RTP (or opaque datagrams) go.
    pub media: SmallVec<[Sink; 1]>,
    /// Where RTCP goes: the streams whose remote end expects RTCP, muxed or not. An RTP component fills it too, for
    /// peers that send RTCP to their RTP port.
    pub control: SmallVec<[Sink; 1]>,
    /// What sinks name by its place; none where they name nothing.
    pub tables: Option<Box<Tables>>,
    pub security: Security,
    /// ICE of this stream and of its RTCP stream; on the stream of RTP only.
    pub ice: Option<Box<Ice>>,
    /// An ICE agent serves the port.
    pub has_ice: bool,
    /// Packets are taken only from addresses that ICE has validated.
    pub needs_validation: bool,
    /// Several medias share the port; `media` and `control` are the first one's.
    pub bundle: Option<Box<Bundle>>,
    /// How the peer is asked for key frames; none unless it sends video and can be asked.
    pub keyframes: Option<KeyframeRequest>,
    /// What the peer is told in place of its receivers; none where all of them do so themselves.
    pub feedback: Option<Box<Feedback>>,
    /// The stream through which RTCP goes to this stream's peer.
    pub reports: Option<StreamId>,
    /// The stream that receives this peer's RTP, whose sources RTCP arriving on this port speaks for: sender reports
    /// describe what it received, reception reports what was sent through it. The stream itself when muxed; none
    /// leaves RTCP unread.
    pub sources: Option<StreamId>,
    /// Somebody is to hear of the digits that the peer presses.
    pub tells_digits: bool,
}

impl ForwardingPlan {
    /// A plan by which packets arrive and go nowhere, neither protected nor checked by ICE.
    pub fn new(component: Component, ingress: Ingress) -> ForwardingPlan {
        ForwardingPlan {
            generation: 0,
            component,
            ingress,
            media: SmallVec::new(),
            control: SmallVec::new(),
            tables: None,
            security: Security::Plain,
            ice: None,
            has_ice: false,
            needs_validation: false,
            bundle: None,
            keyframes: None,
            feedback: None,
            reports: None,
            tells_digits: false,
            sources: None,
        }
    }

    /// What the sinks name by its place.
    pub fn tables(&self) -> &Tables {
        static EMPTY: Tables = Tables { repairs: Vec::new(), simulcasts: Vec::new(), rewrites: Vec::new() };
        self.tables.as_deref().unwrap_or(&EMPTY)
    }

    /// Every sink of RTP, of all branches where the port is shared.
    pub fn media_sinks(&self) -> impl Iterator<Item = &Sink> {
        self.media.iter().chain(self.branches().flat_map(|branch| &branch.media))
    }

    /// Every sink of RTCP, of all branches where the port is shared.
    pub fn control_sinks(&self) -> impl Iterator<Item = &Sink> {
        self.control.iter().chain(self.branches().flat_map(|branch| &branch.control))
    }

    fn branches(&self) -> impl Iterator<Item = &Branch> {
        self.bundle.iter().flat_map(|bundle| &bundle.branches)
    }
}
