//! From a plan, and what the relay has learned, to an entry.

use super::entry::{Action, Entry, MOST_COPIES, Output, Passing, Protection};
use super::reason::Reason;
use crate::plan::{Block, Component, Feedback, ForwardingPlan, Rewrite, Security, Sink};
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
}

/// A stream that packets leave by.
#[derive(Debug, Clone, Copy)]
pub struct Egress<'a> {
    pub plan: &'a ForwardingPlan,
    pub local: SocketAddr,
    /// Where its peer receives; none while that is not known, or it has to send first.
    pub destination: Option<SocketAddr>,
    /// The SSRC under which the peer has got packets of the sender; none before the first.
    pub shown_ssrc: Option<u32>,
    /// What packets leave with, where they are SRTP and the keys are known.
    pub keys: Option<&'a Parameters>,
    pub tos: u8,
}

/// The entry for `ingress`; `egresses` are the streams of its sinks, in their order.
///
/// # Errors
/// The first reason that keeps it in userspace.
pub fn compile(ingress: &Ingress, egresses: &[Option<Egress>]) -> Result<Entry, Reason> {
    let sinks = sinks(ingress.plan)?;
    // With ICE the peer sends to the port that is sent from.
    if ingress.has_several_ports && !ingress.plan.has_ice {
        return Err(Reason::SeveralPorts);
    }
    let egresses: Option<Vec<&Egress>> = egresses.iter().map(Option::as_ref).collect();
    let egresses = egresses.filter(|egresses| egresses.len() == sinks.len()).ok_or(Reason::NoReceiver)?;
    let pairs = || sinks.iter().zip(egresses.iter().copied());
    let heard = ingress.heard.ok_or(Reason::NoPackets)?;
    let payload_types = payload_types(ingress.plan, heard);
    let outputs = pairs().map(|(sink, egress)| output(ingress, (sink, egress), &payload_types));
    let outputs: Vec<Output> = outputs.filter_map(Result::transpose).collect::<Result<_, Reason>>()?;
    let action = action(outputs)?;
    let protection = match (&action, sinks) {
        (Action::Copy(_), _) if has_keys(ingress.plan) || pairs().any(|(_, egress)| has_keys(egress.plan)) => {
            return Err(Reason::ManyReceivers);
        }
        (Action::Copy(_), _) => None,
        _ => protection(ingress, pairs())?,
    };
    let source = ingress.source.ok_or(Reason::SourceUnknown)?;
    if protection.as_ref().is_some_and(|protection| heard.mean_bytes > longest_mean_bytes(protection)) {
        return Err(Reason::LargeSrtp);
    }
    Ok(Entry {
        local: ingress.local,
        source,
        is_strict: ingress.is_strict,
        ssrc: heard.ssrc,
        clock_rate_hz: heard.clock_rate_hz,
        payload_types,
        action,
        protection,
    })
}

fn has_keys(plan: &ForwardingPlan) -> bool {
    plan.security != Security::Plain
}

/// What is done about SRTP towards the only receiver; none where both sides are plain.
fn protection<'a>(
    ingress: &Ingress,
    mut pairs: impl Iterator<Item = (&'a Sink, &'a Egress<'a>)>,
) -> Result<Option<Box<Protection>>, Reason> {
    let open = parameters(&ingress.plan.security, ingress.keys)?;
    // Of what nobody is to hear, nothing leaves.
    let heard_by = pairs.find(|(sink, _)| sink.block != Some(Block::All));
    let passes = heard_by.is_some_and(|(sink, _)| sink.passes) && open.is_some();
    let protect = match heard_by {
        Some((_, egress)) if !passes => parameters(&egress.plan.security, egress.keys)?,
        _ => None,
    };
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

/// The sinks of a plan that asks for nothing but forwarding.
fn sinks(plan: &ForwardingPlan) -> Result<&[Sink], Reason> {
    let needs_packets = |feedback: &Feedback| !feedback.kept.is_empty() || feedback.bandwidth.is_some();
    match plan {
        _ if !matches!(plan.component, Component::Rtp | Component::Muxed) => Err(Reason::NotRtp),
        _ if plan.bundle.is_some() => Err(Reason::Bundle),
        _ if plan.feedback.as_deref().is_some_and(needs_packets) => Err(Reason::Feedback),
        _ if plan.media.is_empty() => Err(Reason::NoReceiver),
        _ => Ok(&plan.media),
    }
}

/// Whether packets for a sink get other bytes than the kernel's programs write.
fn is_rewritten(plan: &ForwardingPlan, sink: &Sink) -> bool {
    let has_extensions = sink.mid.is_some() || sink.masked_extensions != 0 || sink.transport_wide.is_some();
    has_extensions
        || rewrite(plan, sink).is_some_and(|rewrite| rewrite.extensions.is_some() || rewrite.choice.is_some())
}

fn rewrite<'a>(plan: &'a ForwardingPlan, sink: &Sink) -> Option<&'a Rewrite> {
    sink.rewrite.and_then(|place| plan.tables().rewrites.get(place.index()))
}

/// What a sink gets; none where it gets nothing at all.
fn output(
    ingress: &Ingress,
    (sink, egress): (&Sink, &Egress),
    payload_types: &[Passing],
) -> Result<Option<Output>, Reason> {
    if sink.block == Some(Block::All) {
        return Ok(None);
    }
    if is_rewritten(ingress.plan, sink) {
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
    let rewrite = rewrite(ingress.plan, sink);
    let number = |passing: &Passing| match (sink.block, passing.is_event) {
        (Some(Block::Media), false) | (Some(Block::Dtmf), true) => None,
        _ => rewrite.map_or(Some(passing.number), |rewrite| rewrite.payload_type(passing.number)),
    };
    Ok(Some(Output {
        from,
        to,
        tos: egress.tos,
        ssrc: egress.shown_ssrc.ok_or(Reason::NoPackets)?,
        payload_types: payload_types.iter().map(number).collect(),
    }))
}

fn action(mut outputs: Vec<Output>) -> Result<Action, Reason> {
    match outputs.as_slice() {
        [] => Ok(Action::Drop),
        [only] if only.gets_all() => Ok(Action::Forward(outputs.remove(0))),
        _ if outputs.len() > MOST_COPIES => Err(Reason::ManyReceivers),
        _ => Ok(Action::Copy(outputs)),
    }
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
