//! From a plan, and what the relay has learned, to an entry.

use super::entry::{Action, Entry, Passing, Protection};
use super::reason::Reason;
use crate::base::id::CaptureId;
use crate::plan::{Block, Component, ForwardingPlan, Security, Sink};
use crate::rtp::loan::PAYLOAD_TYPES;
use crate::srtp::{Parameters, Schedule};
use smallvec::SmallVec;
use std::net::{IpAddr, SocketAddr};

/// SRTP packets of at most this mean length, in bytes, are worth their way through the kernel's AES, which has no
/// instructions for it: where one side is encrypted, where both are, and where packets are only authenticated.
/// `protocol-docs/fastpath.md` has the figures.
pub const LONGEST_MEAN_BYTES: [u64; 3] = [400, 250, 1300];

/// What the sender uses, by the packets that came last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    pub ssrc: u32,
    pub payload_type: u8,
    /// Zero when it is not known.
    pub clock_rate_hz: u32,
    /// The mean length of its packets as they come.
    pub mean_bytes: u64,
}

/// A stream that packets arrive on.
#[derive(Debug, Clone, Copy)]
pub struct Ingress<'a> {
    pub plan: &'a ForwardingPlan,
    pub local: SocketAddr,
    /// Packets to other ports belong to it as well.
    pub has_several_ports: bool,
    /// Where the peer sends from, once that is final.
    pub source: Option<SocketAddr>,
    /// Packets from elsewhere are dropped, whatever they hold.
    pub is_strict: bool,
    pub heard: Option<Heard>,
    /// What packets come with, where they are SRTP and the keys are known.
    pub keys: Option<&'a Parameters>,
    /// Keys may go into the kernel.
    pub may_open: bool,
    /// Those who look at its packets.
    pub captures: &'a [CaptureId],
    /// Frames can be copied in the kernel.
    pub may_capture: bool,
}

/// A stream that packets leave by.
#[derive(Debug, Clone, Copy)]
pub struct Egress<'a> {
    pub plan: &'a ForwardingPlan,
    pub local: SocketAddr,
    /// Where its peer receives; none while that is not known, or it has to send first.
    pub destination: Option<SocketAddr>,
    /// The peer knows some source by another SSRC than its own.
    pub renames_sources: bool,
    /// What packets leave with, where they are SRTP and the keys are known.
    pub keys: Option<&'a Parameters>,
    pub tos: u8,
}

/// The entry for `ingress`; `egress` is the stream of its only sink.
///
/// # Errors
/// The first reason that keeps it in userspace.
pub fn compile(ingress: &Ingress, egress: Option<&Egress>) -> Result<Entry, Reason> {
    let sink = sink(ingress.plan)?;
    // With ICE the peer sends to the port that is sent from.
    if ingress.has_several_ports && !ingress.plan.has_ice {
        return Err(Reason::SeveralPorts);
    }
    if !ingress.captures.is_empty() && !ingress.may_capture {
        return Err(Reason::Captured);
    }
    let egress = egress.ok_or(Reason::NoReceiver)?;
    let action = action(ingress, sink, egress)?;
    let protection = protection(ingress, sink, egress)?;
    let source = ingress.source.ok_or(Reason::SourceUnknown)?;
    let heard = ingress.heard.ok_or(Reason::NoPackets)?;
    if protection.as_ref().is_some_and(|protection| heard.mean_bytes > longest_mean_bytes(protection)) {
        return Err(Reason::LargeSrtp);
    }
    Ok(Entry {
        local: ingress.local,
        source,
        is_strict: ingress.is_strict,
        ssrc: heard.ssrc,
        clock_rate_hz: heard.clock_rate_hz,
        payload_types: payload_types(ingress.plan, heard),
        action,
        protection,
        captures: SmallVec::from_slice(ingress.captures),
    })
}

/// What is done about SRTP; none where both sides are plain.
fn protection(ingress: &Ingress, sink: &Sink, egress: &Egress) -> Result<Option<Box<Protection>>, Reason> {
    let open = parameters(&ingress.plan.security, ingress.keys)?;
    let passes = sink.passes && open.is_some();
    // Of what nobody is to hear, nothing leaves.
    let leaves_as_it_is = passes || sink.block == Some(Block::All);
    let protect = if leaves_as_it_is { None } else { parameters(&egress.plan.security, egress.keys)? };
    if open.is_none() && protect.is_none() {
        return Ok(None);
    }
    if !ingress.may_open {
        return Err(Reason::Encrypted);
    }
    if ![open, protect].into_iter().flatten().all(Schedule::is_for) {
        return Err(Reason::Suite);
    }
    Ok(Some(Box::new(Protection { open: open.cloned(), protect: protect.cloned(), passes })))
}

fn parameters<'a>(security: &Security, keys: Option<&'a Parameters>) -> Result<Option<&'a Parameters>, Reason> {
    match security {
        Security::Plain => Ok(None),
        Security::Pending | Security::Keys(_) | Security::Handshake(_) => keys.map(Some).ok_or(Reason::NoKeys),
    }
}

fn longest_mean_bytes(protection: &Protection) -> u64 {
    let [one, both, authenticated] = LONGEST_MEAN_BYTES;
    match (protection.passes, &protection.open, &protection.protect) {
        (true, ..) => authenticated,
        (false, Some(_), Some(_)) => both,
        (false, ..) => one,
    }
}

/// The only sink of a plan that asks for nothing but forwarding.
fn sink(plan: &ForwardingPlan) -> Result<&Sink, Reason> {
    match plan {
        _ if !matches!(plan.component, Component::Rtp | Component::Muxed) => Err(Reason::NotRtp),
        _ if plan.bundle.is_some() => Err(Reason::Bundle),
        _ if plan.feedback.is_some() => Err(Reason::Feedback),
        _ => match plan.media.as_slice() {
            [] => Err(Reason::NoReceiver),
            [sink] if is_rewritten(sink) => Err(Reason::Rewritten),
            [sink] => Ok(sink),
            _ => Err(Reason::ManyReceivers),
        },
    }
}

/// Whether packets for a sink change in the relay.
fn is_rewritten(sink: &Sink) -> bool {
    let has_extensions = sink.mid.is_some() || sink.masked_extensions != 0 || sink.transport_wide.is_some();
    has_extensions || sink.rewrite.is_some()
}

fn action(ingress: &Ingress, sink: &Sink, egress: &Egress) -> Result<Action, Reason> {
    match sink.block {
        Some(Block::All) => return Ok(Action::Drop),
        Some(Block::Media | Block::Dtmf) => return Err(Reason::PartlyBlocked),
        None => {}
    }
    if egress.renames_sources {
        return Err(Reason::Rewritten);
    }
    let (from, to) = (egress.local, egress.destination.ok_or(Reason::DestinationUnknown)?);
    if ![ingress.local, from, to].into_iter().all(is_routed) {
        return Err(Reason::NotRouted);
    }
    // What goes to the port itself is dropped, and counted, by the relay.
    if to == from || to.port() == 0 {
        return Err(Reason::DestinationUnknown);
    }
    Ok(Action::Forward { from, to, tos: egress.tos })
}

/// Whether an address means the same on every interface.
fn is_routed(address: SocketAddr) -> bool {
    match address.ip() {
        IpAddr::V4(ip4) => !ip4.is_loopback() && !ip4.is_unspecified(),
        IpAddr::V6(ip6) => !ip6.is_loopback() && !ip6.is_unspecified() && !ip6.is_unicast_link_local(),
    }
}

/// The payload type in use, and those that signalling allows besides and that can be measured by the same clock.
fn payload_types(plan: &ForwardingPlan, heard: Heard) -> SmallVec<[Passing; PAYLOAD_TYPES]> {
    let signalled = &plan.ingress.payload_types;
    let is_event = signalled.iter().any(|known| known.number == heard.payload_type && known.is_dtmf);
    let mut all: SmallVec<[Passing; PAYLOAD_TYPES]> = SmallVec::new();
    all.push(Passing { number: heard.payload_type, is_event });
    for known in signalled {
        let is_alike = known.is_dtmf || known.clock_rate_hz == heard.clock_rate_hz;
        if is_alike
            && known.number < 128
            && all.len() < PAYLOAD_TYPES
            && all.iter().all(|one| one.number != known.number)
        {
            all.push(Passing { number: known.number, is_event: known.is_dtmf });
        }
    }
    all
}
