//! ICE on the ports of a media (RFC 8445): the agent stands at the stream of RTP and serves that of RTCP too.

use super::agenda::Agenda;
use super::nonce::Nonces;
use super::verdict::DropReason;
use super::{Relay, Stream, Transmit};
use crate::base::id::PortToken;
use crate::base::random::Random;
use crate::base::time::{Mono, Now};
use crate::call::connectivity::ReceivedIce;
use crate::ice::{
    Agent, Candidate, Configuration, Credentials, Event, LocalCandidate, Outcome, RemoteDescription, Role,
};
use crate::plan::{Component, Ice, StreamId};
use std::net::SocketAddr;

/// The agent of a stream of RTP.
#[derive(Debug)]
pub(super) struct Connectivity {
    pub(super) agent: Agent,
    /// What the agent was told last.
    plan: Ice,
    due: Option<Mono>,
}

impl Connectivity {
    /// The ports have other tokens now.
    pub(super) fn renumber(&mut self, renumber: impl Fn(PortToken) -> PortToken) {
        self.plan.ports.iter_mut().for_each(|port| port.token = renumber(port.token));
        self.agent.renumber(renumber);
    }
}

impl Relay {
    /// After a plan was set: makes the agent, tells it what is new, or ends it.
    pub(super) fn follow_ice(&mut self, now: Now, id: StreamId) {
        let Some(stream) = self.streams.get_mut(id.0 as usize) else { return };
        let Some(plan) = stream.plan().ice.as_deref().cloned() else {
            if let Some(ended) = stream.connectivity.take() {
                self.agenda.forget(id, ended.due);
            }
            return;
        };
        let mut connectivity = match stream.connectivity.take() {
            Some(present) => present,
            None => Box::new(begin(now.mono, &plan, &mut self.nonces)),
        };
        update(&mut connectivity, now.mono, &plan);
        note(&mut self.agenda, id, &mut connectivity);
        stream.connectivity = Some(connectivity);
        self.settle_ice(id);
    }

    /// A stream leaves with its agent.
    pub(super) fn detach_agent(&mut self, id: StreamId, stream: &mut Stream) {
        if let Some(leaving) = stream.connectivity.as_mut() {
            self.agenda.forget(id, leaving.due.take());
        }
    }

    /// Ends a stream's agent with it.
    pub(super) fn drop_connectivity(&mut self, id: StreamId, stream: &mut Stream) {
        if let Some(ended) = stream.connectivity.take() {
            self.agenda.forget(id, ended.due);
        }
    }

    /// Takes a STUN message. `id` is the stream that it arrived on.
    pub(super) fn stun(
        &mut self,
        now: Now,
        id: StreamId,
        port: PortToken,
        from: SocketAddr,
        datagram: &[u8],
        transmit: &mut (impl Transmit + ?Sized),
    ) -> Result<(), DropReason> {
        let head = self.head(id).ok_or(DropReason::NoSink)?;
        let stream = self.streams.get_mut(head.0 as usize).ok_or(DropReason::NoSink)?;
        let Some(connectivity) = stream.connectivity.as_mut() else { return Err(DropReason::NoSink) };
        let mut out = |token: PortToken, to: SocketAddr, bytes: &[u8]| transmit.send(token, to, bytes);
        let outcome = connectivity.agent.stun(now.mono, port, from, datagram, &mut out);
        note(&mut self.agenda, head, connectivity);
        self.settle_ice(head);
        match outcome {
            Outcome::Consumed => Ok(()),
            Outcome::NotForUs | Outcome::Dropped(_) => Err(DropReason::BadCheck),
        }
    }

    /// Whether ICE has found that the peer of stream `id` sends from `from`.
    pub(super) fn is_validated(&self, id: StreamId, from: SocketAddr) -> bool {
        let component = self.component_number(id);
        let agent = self.head(id).and_then(|head| self.streams.get(head.0 as usize)?.connectivity.as_ref());
        agent.is_some_and(|connectivity| connectivity.agent.is_validated(component, from))
    }

    /// The stream whose agent serves `id`.
    fn head(&self, id: StreamId) -> Option<StreamId> {
        self.streams.get(id.0 as usize)?.plan().sources
    }

    fn component_number(&self, id: StreamId) -> u8 {
        let component = self.streams.get(id.0 as usize).map(|stream| stream.component);
        if component == Some(Component::Rtcp) { 2 } else { 1 }
    }

    /// Does what agents have to do, and says when the next has.
    pub(super) fn check_connectivity(&mut self, now: Now, transmit: &mut (impl Transmit + ?Sized)) -> Option<Mono> {
        while let Some(index) = self.agenda.take_due(now.mono) {
            let id = StreamId(index);
            let Some(stream) = self.streams.get_mut(index as usize) else { continue };
            let Some(connectivity) = stream.connectivity.as_mut() else { continue };
            connectivity.due = None;
            let mut out = |token: PortToken, to: SocketAddr, bytes: &[u8]| transmit.send(token, to, bytes);
            connectivity.agent.timer(now.mono, &mut self.nonces, &mut out);
            note(&mut self.agenda, id, connectivity);
            self.settle_ice(id);
        }
        self.agenda.next()
    }

    /// Follows what an agent has found out.
    fn settle_ice(&mut self, head: StreamId) {
        loop {
            let Some(stream) = self.streams.get_mut(head.0 as usize) else { return };
            let Some(event) = stream.connectivity.as_mut().and_then(|ice| ice.agent.next_event()) else { return };
            match event {
                Event::Selected(pair) => {
                    let id = if pair.component == 2 { self.control_of(head) } else { Some(head) };
                    if let Some(id) = id {
                        self.select(id, pair.token, pair.local, Some(pair.remote));
                    }
                }
                Event::ConsentLost { component } => {
                    let id = if component == 2 { self.control_of(head) } else { Some(head) };
                    id.into_iter().for_each(|id| self.lose(id));
                }
                Event::Failed | Event::RoleChanged(_) => {}
            }
        }
    }

    /// The stream of RTCP alone that belongs to the stream of RTP `head`.
    fn control_of(&self, head: StreamId) -> Option<StreamId> {
        let ice = self.streams.get(head.0 as usize)?.connectivity.as_ref()?;
        let port = ice.plan.ports.iter().find(|port| port.component == 2)?;
        self.stream_at(port.token)
    }

    /// Media of the stream goes from `port` to `remote` from now on.
    fn select(&mut self, id: StreamId, port: PortToken, local: SocketAddr, remote: Option<SocketAddr>) {
        let interface = self.interfaces.index(local.ip());
        let Some(stream) = self.streams.get_mut(id.0 as usize) else { return };
        if stream.port() != port {
            stream.move_to(port, local, interface);
        }
        stream.select(remote);
        self.note_moved(id);
        self.follow_handshake(id);
    }

    /// Media of the stream goes nowhere from now on (RFC 7675, section 5.1).
    fn lose(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(id.0 as usize) {
            stream.select(None);
            self.note_moved(id);
        }
    }
}

fn note(agenda: &mut Agenda, id: StreamId, connectivity: &mut Connectivity) {
    agenda.set(id, &mut connectivity.due, connectivity.agent.next_due());
}

fn begin(now: Mono, plan: &Ice, nonces: &mut Nonces) -> Connectivity {
    let tie_breaker = u64::from(nonces.u32()) << 32 | u64::from(nonces.u32());
    let mut agent = Agent::new(Configuration {
        role: if plan.is_controlling { Role::Controlling } else { Role::Controlled },
        is_lite: plan.is_lite,
        credentials: credentials(&plan.own),
        tie_breaker,
        component_count: component_count(plan),
    });
    add_ports(&mut agent, now, plan);
    Connectivity { agent, plan: Ice { peer: None, ..plan.clone() }, due: None }
}

/// Tells the agent what the new plan has and the one before had not.
fn update(connectivity: &mut Connectivity, now: Mono, plan: &Ice) {
    let (agent, before) = (&mut connectivity.agent, &connectivity.plan);
    if before.own != plan.own {
        agent.restart(credentials(&plan.own));
    }
    if before.ports != plan.ports {
        let is_gone = |port: &&crate::plan::IcePort| plan.ports.iter().all(|other| other.token != port.token);
        before.ports.iter().filter(is_gone).for_each(|port| agent.remove_local(port.token));
        agent.set_component_count(now, component_count(plan));
        add_ports(agent, now, plan);
    }
    if before.peer != plan.peer
        && let Some(peer) = &plan.peer
    {
        agent.set_remote(now, description(peer));
    }
    connectivity.plan = plan.clone();
}

fn add_ports(agent: &mut Agent, now: Mono, plan: &Ice) {
    for port in &plan.ports {
        let (component, local_preference) = (port.component as u8, port.local_preference);
        agent.add_local(now, LocalCandidate { component, address: port.address, local_preference, token: port.token });
    }
}

fn component_count(plan: &Ice) -> u8 {
    if plan.ports.iter().any(|port| port.component == 2) { 2 } else { 1 }
}

fn credentials((ufrag, pwd): &(String, String)) -> Credentials {
    Credentials { ufrag: ufrag.clone(), password: pwd.clone() }
}

fn description(peer: &ReceivedIce) -> RemoteDescription {
    RemoteDescription {
        credentials: Credentials { ufrag: peer.ufrag.clone(), password: peer.pwd.clone() },
        is_lite: peer.is_lite,
        candidates: peer.candidates.iter().filter_map(|text| Candidate::parse(text).ok()).collect(),
        is_trickling: peer.is_trickling,
        has_ended: peer.has_ended,
    }
}
