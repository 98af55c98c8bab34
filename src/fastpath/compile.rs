//! From a plan, and what the relay has learned, to an entry.

use super::entry::{Action, Entry, MOST_COPIES, Output, Passing, Protection};
use super::layout;
use super::reason::Reason;
use crate::base::id::CaptureId;
use crate::plan::{
    Block, Component, Feedback, ForwardingPlan, MidElement, Muting, PayloadType, Rewrite, Security, Sink,
};
use crate::rtp::loan::PAYLOAD_TYPES;
use crate::srtp::{CipherKind, Parameters, Schedule};
use smallvec::SmallVec;
use std::net::{IpAddr, SocketAddr};

/// SRTP packets of at most this mean length, in bytes, are worth their way through the kernel's AES, which has no
/// instructions for it: where one side is encrypted, where both are, and where packets are only authenticated.
/// `protocol-docs/fastpath.md` has the figures.
pub const LONGEST_MEAN_BYTES: [u64; 3] = [400, 250, 1300];
/// The same where AES-GCM is on some side: the daemon does that in a tenth of the time.
pub const LONGEST_MEAN_BYTES_GCM: [u64; 3] = [320, 200, 750];

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
    /// Other streams hear its port as well.
    pub shares_port: bool,
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
    if !ingress.captures.is_empty() && !ingress.may_capture {
        return Err(Reason::Captured);
    }
    let egresses: Option<Vec<&Egress>> = egresses.iter().map(Option::as_ref).collect();
    let egresses = egresses.filter(|egresses| egresses.len() == sinks.len()).ok_or(Reason::NoReceiver)?;
    let pairs = || sinks.iter().zip(egresses.iter().copied());
    let heard = ingress.heard.ok_or(Reason::NoPackets)?;
    if ingress.plan.tells_digits && is_event(ingress.plan, heard.payload_type) {
        return Err(Reason::NoPackets);
    }
    let payload_types = payload_types(ingress.plan, heard);
    let outputs = pairs().map(|(sink, egress)| output(ingress, (sink, egress), &payload_types));
    let outputs: Vec<Output> = outputs.filter_map(Result::transpose).collect::<Result<_, Reason>>()?;
    let keying = keying(ingress, pairs())?;
    if ingress.plan.tells_digits && keying.all().next().is_some() {
        return Err(Reason::Digits);
    }
    let longest_mean_bytes = keying.longest_mean_bytes();
    let (action, protection) = action(outputs, keying)?;
    if !ingress.captures.is_empty() && matches!(action, Action::Copy(_)) {
        return Err(Reason::Captured);
    }
    // Of two entries at one port, the programs tell plain ones apart.
    let is_simple = protection.is_none() && ingress.captures.is_empty() && !matches!(action, Action::Copy(_));
    if ingress.shares_port && !is_simple {
        return Err(Reason::SharedPort);
    }
    let source = ingress.source.ok_or(Reason::SourceUnknown)?;
    if longest_mean_bytes.is_some_and(|longest| heard.mean_bytes > longest) {
        return Err(Reason::LargeSrtp);
    }
    Ok(Entry {
        local: ingress.local,
        source,
        is_strict: ingress.is_strict,
        shares_port: ingress.shares_port,
        ssrc: heard.ssrc,
        clock_rate_hz: heard.clock_rate_hz,
        payload_types,
        action,
        protection,
        captures: SmallVec::from_slice(ingress.captures),
    })
}

/// What packets come with, and what each receiver that is to hear them gets.
struct Keying<'a> {
    open: Option<&'a Parameters>,
    /// Packets leave as they came, for all.
    passes: bool,
    /// By receiver: what its packets are protected with, and whether that is what they came with.
    protect: SmallVec<[(Option<&'a Parameters>, bool); 2]>,
}

fn keying<'a>(
    ingress: &Ingress<'a>,
    pairs: impl Iterator<Item = (&'a Sink, &'a Egress<'a>)>,
) -> Result<Keying<'a>, Reason> {
    let open = parameters(&ingress.plan.security, ingress.keys)?;
    // Of what nobody is to hear, nothing leaves.
    let hearing: SmallVec<[_; 2]> = pairs.filter(|(sink, _)| sink.block != Some(Block::All)).collect();
    let is_passed = |sink: &Sink| sink.passes && open.is_some();
    let passes = !hearing.is_empty() && hearing.iter().all(|(sink, _)| is_passed(sink));
    let protect = |(sink, egress): &(&'a Sink, &'a Egress<'a>)| match is_passed(sink) {
        _ if passes => Ok((None, false)),
        true => Ok((open, true)),
        false => Ok((parameters(&egress.plan.security, egress.keys)?, false)),
    };
    let keying = Keying { open, passes, protect: hearing.iter().map(protect).collect::<Result<_, _>>()? };
    let mut all = keying.all();
    match (all.next().is_some(), ingress.may_open) {
        (false, _) => {}
        (true, false) => return Err(Reason::Encrypted),
        (true, true) if keying.all().any(|one| Schedule::cipher_of(one).is_none()) => return Err(Reason::Suite),
        (true, true) => {}
    }
    drop(all);
    Ok(keying)
}

impl<'a> Keying<'a> {
    fn all(&self) -> impl Iterator<Item = &'a Parameters> {
        self.open.into_iter().chain(self.protect.iter().filter_map(|(protect, _)| *protect))
    }

    /// None where nothing is encrypted.
    fn longest_mean_bytes(&self) -> Option<u64> {
        let has_gcm = self.all().any(|one| Schedule::cipher_of(one) == Some(CipherKind::Gcm));
        let [one, both, authenticated] = if has_gcm { LONGEST_MEAN_BYTES_GCM } else { LONGEST_MEAN_BYTES };
        let protects = self.protect.iter().any(|(protect, _)| protect.is_some());
        match (self.passes, self.open.is_some(), protects) {
            (true, ..) => Some(authenticated),
            (false, true, true) => Some(both),
            (false, false, false) => None,
            (false, ..) => Some(one),
        }
    }

    /// What is done about SRTP with a packet before there are copies of it, or where there are none.
    fn protection(&self, protect: Option<&Parameters>, mid: Option<MidElement>) -> Option<Box<Protection>> {
        let is_plain = self.open.is_none() && protect.is_none();
        let (open, protect) = (self.open.cloned(), protect.cloned());
        let protection = || Protection { open, protect, passes: self.passes, mid };
        (!is_plain).then(|| Box::new(protection()))
    }
}

fn parameters<'a>(security: &Security, keys: Option<&'a Parameters>) -> Result<Option<&'a Parameters>, Reason> {
    match security {
        Security::Plain => Ok(None),
        Security::Pending | Security::Keys(_) | Security::Handshake(_) => keys.map(Some).ok_or(Reason::NoKeys),
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
fn is_rewritten(plan: &ForwardingPlan, sink: &Sink, is_protected: bool) -> bool {
    // Where packets are protected anew, a header extension can be put into them.
    let has_mid = sink.mid.is_some() && !is_protected;
    let has_extensions = has_mid || sink.masked_extensions != 0 || sink.transport_wide.is_some();
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
    if is_rewritten(ingress.plan, sink, egress.plan.security != Security::Plain && !sink.passes) {
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
    let number = |passing: &Passing| {
        passes(ingress.plan, sink, passing)?;
        rewrite.map_or(Some(passing.number), |rewrite| rewrite.payload_type(passing.number))
    };
    let silence = |passing: &Passing| passes(ingress.plan, sink, passing).flatten();
    let silences: SmallVec<[_; PAYLOAD_TYPES]> = payload_types.iter().map(silence).collect();
    let is_known = |silence: &Option<u8>| silence.is_none_or(|byte| layout::silence(byte).is_some());
    if silences.iter().any(Option::is_some) && !(ingress.may_open && silences.iter().all(is_known)) {
        return Err(Reason::Silenced);
    }
    Ok(Some(Output {
        from,
        to,
        tos: egress.tos,
        ssrc: egress.shown_ssrc.ok_or(Reason::NoPackets)?,
        payload_types: payload_types.iter().map(number).collect(),
        silences,
        protect: None,
        passes: false,
        mid: sink.mid,
    }))
}

/// What a sink gets of a payload type: none where nothing; else the byte that stands in for payloads, if any does.
fn passes(plan: &ForwardingPlan, sink: &Sink, passing: &Passing) -> Option<Option<u8>> {
    let Some(block) = sink.block else { return Some(None) };
    match (passing.is_event, block.muting()) {
        (true, _) => (!block.drops_events()).then_some(None),
        (false, Muting::Passes) => Some(None),
        (false, Muting::Dropped) => None,
        (false, Muting::Silenced) => {
            let known = plan.ingress.payload_types.iter().find(|known| known.number == passing.number)?;
            known.silence.map(Some)
        }
    }
}

fn action(mut outputs: Vec<Output>, keying: Keying) -> Result<(Action, Option<Box<Protection>>), Reason> {
    match outputs.as_slice() {
        [] => Ok((Action::Drop, keying.protection(None, None))),
        [only] if only.gets_all() => {
            let protection = keying.protection(keying.protect.first().and_then(|(protect, _)| *protect), only.mid);
            let protection = protection.or_else(|| only.is_silenced().then(|| Box::new(Protection::NONE)));
            Ok((Action::Forward(outputs.remove(0)), protection))
        }
        _ if outputs.len() > MOST_COPIES => Err(Reason::ManyReceivers),
        _ => {
            for (output, (protect, passes)) in outputs.iter_mut().zip(&keying.protect) {
                output.protect = protect.map(|protect| Box::new(protect.clone()));
                output.passes = *passes;
            }
            Ok((Action::Copy(outputs), keying.protection(None, None)))
        }
    }
}

/// Whether an address means the same on every interface.
fn is_routed(address: SocketAddr) -> bool {
    match address.ip() {
        IpAddr::V4(ip4) => !ip4.is_unspecified(),
        IpAddr::V6(ip6) => !ip6.is_unspecified() && !ip6.is_unicast_link_local(),
    }
}

fn is_event(plan: &ForwardingPlan, payload_type: u8) -> bool {
    plan.ingress.payload_types.iter().any(|known| known.number == payload_type && known.is_dtmf)
}

/// The payload type in use, and those that signalling allows besides and that can be measured by the same clock.
fn payload_types(plan: &ForwardingPlan, heard: Heard) -> SmallVec<[Passing; PAYLOAD_TYPES]> {
    // Who tells of digits has to see them.
    let passes = |known: &&PayloadType| !(plan.tells_digits && known.is_dtmf);
    let signalled: SmallVec<[&PayloadType; PAYLOAD_TYPES]> = plan.ingress.payload_types.iter().filter(passes).collect();
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
