//! Floor 5: a call compiled to forwarding plans: plain data that the packet path reads and nothing else.
//!
//! A plan says everything that has to be done for packets arriving on one local port. Signalling builds a new plan
//! and hands it over whole; run-time state (latch, counters, sources) lives in the relay's stream table and outlives
//! a change of plan.

pub mod build;

pub use crate::base::id::StreamId;
pub use crate::base::learning::Learning;
use crate::base::time::Mono;
use smallvec::SmallVec;
use std::net::SocketAddr;

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
}

/// A subscription compiled for one stream: where copies go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sink {
    /// The stream through whose local port, and to whose remote address, a copy is sent.
    pub egress: StreamId,
    pub block: Option<Block>,
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
    /// The stream that receives this peer's RTP, whose sources RTCP arriving on this port speaks for: sender reports
    /// describe what it received, reception reports what was sent through it. The stream itself when muxed; none
    /// leaves RTCP unread.
    pub sources: Option<StreamId>,
}
