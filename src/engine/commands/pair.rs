//! Two sides that a client names by their addresses, and by the local ports that it has given out itself: what there is
//! of a call where signalling goes without SDP (`protocol-docs/lrkproxy.md`).
//!
//! A call may hold several pairs. Each is two participants, whose tags say which local port they are shown.

use super::Lent;
use crate::base::address::Family;
use crate::base::learning::Learning;
use crate::base::time::Now;
use crate::call::lifecycle::Termination;
use crate::call::media::Behaviour;
use crate::call::participant::Role;
use crate::call::{
    Call, InterfaceId, LocalPort, MediaPorts, ParticipantId, PortSet, PortSource, Subscription, SubscriptionKind,
};
use crate::engine::Shard;
use crate::engine::media_ports::EnginePorts;
use crate::relay::OpenError;
use crate::sdp::Protocol;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Two sides whose RTP is exchanged, with RTCP one port above everywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    pub call_id: String,
    pub caller: PairSide,
    pub callee: PairSide,
    /// How long the call lives without packets; none: as configured.
    pub idle_timeout: Option<Duration>,
}

/// One side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PairSide {
    /// Where it is. Its IP address is certain; its port may turn out to be another.
    pub remote: SocketAddr,
    /// Where it sends to, as it was told. Both sides may have the same, and are known by their addresses then.
    pub local: SocketAddr,
}

/// What names a pair; what is not known fits all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairKey {
    pub call_id: String,
    pub caller_local: Option<SocketAddr>,
    pub callee_local: Option<SocketAddr>,
}

/// Why a pair is not relayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PairError {
    #[error("no interface has the address {0}")]
    NoInterface(IpAddr),
    #[error("the address families of {0} and {1} differ")]
    Families(SocketAddr, SocketAddr),
    #[error("port {0}: {1}")]
    Port(SocketAddr, OpenError),
    #[error("as many calls as are allowed")]
    TooManyCalls,
    #[error("a fault in its handling")]
    Fault,
}

impl PairKey {
    fn fits(&self, caller: &str, callee: &str) -> bool {
        let is = |local: Option<SocketAddr>, role, given: &str| local.is_none_or(|local| tag(role, local) == given);
        is(self.caller_local, Role::Offerer, caller) && is(self.callee_local, Role::Answerer, callee)
    }
}

impl Shard {
    /// Relays between two sides from now on, or has one that is relayed already follow its sides.
    ///
    /// # Errors
    /// When local ports can't be had; all is as it was then.
    pub fn put_pair(&mut self, now: Now, pair: &Pair, from: &str, lent: &mut Lent) -> Result<(), PairError> {
        self.current = Some(pair.call_id.clone());
        let (index, is_new) = self.known_or_new(now, &pair.call_id, from);
        let known = find(&self.calls[index], pair);
        let outcome = known.map_or_else(|| self.open_pair(now, index, pair, lent), Ok);
        if let Ok(ids) = outcome {
            self.follow_pair(now, index, ids, pair);
        } else if is_new {
            self.forget_call(now, index, lent);
        }
        self.heed_ways(now);
        self.current = None;
        outcome.map(drop)
    }

    /// Ends a pair, and its call when that has nobody left; false when there is no such pair.
    pub fn end_pair(&mut self, now: Now, key: &PairKey, lent: &mut Lent) -> bool {
        let Some(index) = self.by_id.get(&key.call_id).copied() else { return false };
        self.current = Some(key.call_id.clone());
        let leaving = meant(&self.calls[index], key);
        match leaving.len() {
            0 => {}
            all if all == self.calls[index].participants().count() => {
                self.end_call(now, index, Termination::Regular, lent.ports, lent.numbers);
            }
            _ => self.remove_participants(now, index, &leaving, lent),
        }
        self.heed_ways(now);
        self.current = None;
        !leaving.is_empty()
    }

    fn open_pair(
        &mut self,
        now: Now,
        index: usize,
        pair: &Pair,
        lent: &mut Lent,
    ) -> Result<[ParticipantId; 2], PairError> {
        let sides = [pair.caller, pair.callee];
        if let Some(side) = sides.iter().find(|side| side.remote.is_ipv4() != side.local.is_ipv4()) {
            return Err(PairError::Families(side.remote, side.local));
        }
        let interfaces = self.settings.interfaces.clone();
        let interface = |side: &PairSide| {
            let address = side.local.ip();
            interfaces.shown_as(address).ok_or(PairError::NoInterface(address))
        };
        let (caller_at, callee_at) = (interface(&pair.caller)?, interface(&pair.callee)?);
        let mut ports = EnginePorts {
            relay: &mut self.relay,
            ports: lent.ports,
            numbers: lent.numbers,
            interfaces: &interfaces,
            now,
            owner_call: index as u32,
            tos: self.calls[index].tos,
        };
        let caller_set = open(&mut ports, caller_at, pair.caller.local)?;
        let is_shared = caller_at == callee_at && pair.caller.local.port() == pair.callee.local.port();
        let callee_set = match is_shared {
            true => PortSet { source: PortSource::Shared, ..caller_set.clone() },
            false => open(&mut ports, callee_at, pair.callee.local).inspect_err(|_| ports.close(&caller_set))?,
        };
        let caller = self.add_side(now, index, Role::Offerer, pair.caller.local, caller_set);
        let callee = self.add_side(now, index, Role::Answerer, pair.callee.local, callee_set);
        let call = &mut self.calls[index];
        call.participant_mut(callee).called_by = Some(caller);
        let medias = [caller, callee].map(|id| call.media_at(id, 0, KIND));
        for (source, sink) in [(medias[0], medias[1]), (medias[1], medias[0])] {
            call.subscribe(Subscription::new(source, sink, SubscriptionKind::OfferAnswer));
        }
        Ok([caller, callee])
    }

    /// A participant with its ports, which the other side may have already.
    fn add_side(&mut self, now: Now, index: usize, role: Role, local: SocketAddr, set: PortSet) -> ParticipantId {
        let mut add = |port: LocalPort| match set.source == PortSource::Shared {
            true => self.relay.add_beside(now, port.token, port.address, index as u32),
            false => self.relay.add(now, port.token, port.address, index as u32),
        };
        let (rtp_stream, rtcp_stream) = (add(set.rtp), set.rtcp.map(add));
        let call = &mut self.calls[index];
        let id = call.add_participant(Some(&tag(role, local)), None, role, now);
        let media = call.media_at(id, 0, KIND);
        let media = call.media_mut(media);
        (media.rtp_stream, media.rtcp_stream) = (Some(rtp_stream), rtcp_stream);
        (media.interface, media.family) = (Some(set.interface), Some(Family::of(local.ip())));
        (media.protocol, media.shown_protocol) = (Some(Protocol::Avp), Some(Protocol::Avp));
        media.is_described = true;
        media.behaviour = Behaviour {
            learning: Learning::Heuristic,
            strict_source: true,
            fixed_address: true,
            ..Behaviour::default()
        };
        media.port_sets.push(set);
        id
    }

    /// Takes over what a client says of the sides of a pair that has its ports.
    fn follow_pair(&mut self, now: Now, index: usize, ids: [ParticipantId; 2], pair: &Pair) {
        let call = &mut self.calls[index];
        call.last_signal = now;
        (call.delete_at, call.is_answered) = (None, true);
        call.idle_timeout = pair.idle_timeout;
        for (id, remote) in ids.into_iter().zip([pair.caller.remote, pair.callee.remote]) {
            let media = call.media_at(id, 0, KIND);
            let media = call.media_mut(media);
            let there = Some(remote).filter(|remote| !remote.ip().is_unspecified());
            // What is learned of a side stays while nothing new is said of it.
            if media.signalled.rtp != there || media.signalled_at == Default::default() {
                media.signalled_at = now.mono;
            }
            media.is_zero_address = there.is_none();
            media.signalled.rtp = there;
            media.signalled.rtcp = there.map(|rtp| SocketAddr::new(rtp.ip(), rtp.port().saturating_add(1)));
        }
        self.replan(now, index);
    }
}

const KIND: &str = "audio";

fn open(ports: &mut EnginePorts, interface: InterfaceId, local: SocketAddr) -> Result<PortSet, PairError> {
    ports.open_claimed(interface, local.port()).map_err(|error| PairError::Port(local, error))
}

/// The tag of a side that is shown a local address.
fn tag(role: Role, local: SocketAddr) -> String {
    let name = if role == Role::Offerer { "caller" } else { "callee" };
    format!("{name}@{local}")
}

fn find(call: &Call, pair: &Pair) -> Option<[ParticipantId; 2]> {
    let caller = call.find_tag(&tag(Role::Offerer, pair.caller.local))?;
    let callee = call.find_tag(&tag(Role::Answerer, pair.callee.local))?;
    (call.participant(callee).called_by == Some(caller)).then_some([caller, callee])
}

/// The participants of the pairs that a key fits.
fn meant(call: &Call, key: &PairKey) -> Vec<ParticipantId> {
    let mut all = Vec::new();
    for (callee, participant) in call.participants() {
        let Some(caller) = participant.called_by else { continue };
        let tags = (call.participant(caller).tag.as_deref(), participant.tag.as_deref());
        if let (Some(caller_tag), Some(callee_tag)) = tags
            && caller_tag.starts_with("caller@")
            && callee_tag.starts_with("callee@")
            && key.fits(caller_tag, callee_tag)
        {
            all.extend([caller, callee]);
        }
    }
    all
}
