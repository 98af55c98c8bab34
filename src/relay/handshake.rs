//! DTLS handshakes of streams (RFC 5763): which are under way, with whom, and what comes of them. The handshakes
//! themselves are done elsewhere, off the packets' way: commands go out, events come back.

use super::verdict::DropReason;
use super::{Relay, Stream, Transmit};
use crate::base::time::{Mono, Now};
use crate::dtls::{Connected, Role};
use crate::plan::{Keys, Learning, Security, StreamId};
use crate::srtp::{MasterKey, Parameters};
use smallvec::SmallVec;
use std::net::SocketAddr;

/// Peers that may shake hands at once on one port: the signalled one, and others who may be it behind a NAT.
const MOST_ATTEMPTS: usize = 4;
/// Datagrams a second that one port passes on from its peer, and from whoever else may be it; as many more at once.
const PEER_RATE: u32 = 500;
const STRANGER_RATE: u32 = 20;
/// Longer datagrams are no handshake.
const LONGEST_DATAGRAM_BYTES: usize = 2048;

/// Something for whoever does the handshakes. A number names one handshake and never comes twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandshakeCommand {
    /// A server with `verified_address` sees to it that the client can be reached there.
    Start {
        number: u64,
        role: Role,
        verified_address: Option<SocketAddr>,
    },
    Datagram {
        number: u64,
        datagram: Vec<u8>,
    },
    /// The peer has used the keys: it needs nothing of the handshake any more.
    Settled {
        number: u64,
    },
    Stop {
        number: u64,
    },
}

/// What comes of a handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandshakeEvent {
    Send { number: u64, datagram: Vec<u8> },
    Connected { number: u64, connected: Box<Connected> },
    Failed { number: u64, reason: String },
}

/// The handshakes on one port.
#[derive(Debug, Default)]
pub(super) struct Handshakes {
    /// Of the plan that they serve.
    generation: u32,
    attempts: SmallVec<[Attempt; 1]>,
    is_connected: bool,
    /// The peer has not used the keys yet.
    awaits_proof: bool,
    peer_rate: Rate,
    stranger_rate: Rate,
}

/// How many datagrams may pass: a bucket that fills as time goes on.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rate {
    taken: u32,
    since: Mono,
}

impl Rate {
    /// Whether one more may pass, of `rate` a second.
    pub(super) fn take(&mut self, now: Mono, rate: u32) -> bool {
        let refilled = (now.since(self.since).as_millis() as u64 * u64::from(rate) / 1000).min(u64::from(rate)) as u32;
        if refilled > 0 {
            self.taken = self.taken.saturating_sub(refilled);
            self.since = now;
        }
        let has_room = self.taken < rate;
        self.taken += u32::from(has_room);
        has_room
    }
}

#[derive(Debug, Clone, Copy)]
struct Attempt {
    number: u64,
    /// None under ICE: datagrams go where media goes, and come from wherever ICE lets them.
    peer: Option<SocketAddr>,
    rate: Rate,
}

/// What a shard's relay knows of its handshakes.
#[derive(Debug, Default)]
pub(super) struct HandshakeDesk {
    next_number: u64,
    streams: std::collections::HashMap<u64, StreamId>,
    commands: Vec<HandshakeCommand>,
    failures: Vec<(StreamId, String)>,
}

impl HandshakeDesk {
    fn begin(&mut self, stream: StreamId, role: Role, verified_address: Option<SocketAddr>) -> u64 {
        self.next_number += 1;
        let number = self.next_number;
        self.streams.insert(number, stream);
        self.commands.push(HandshakeCommand::Start { number, role, verified_address });
        number
    }

    fn end(&mut self, number: u64) {
        if self.streams.remove(&number).is_some() {
            self.commands.push(HandshakeCommand::Stop { number });
        }
    }
}

impl Handshakes {
    fn new(generation: u32) -> Handshakes {
        Handshakes { generation, ..Handshakes::default() }
    }

    fn end_all(self, desk: &mut HandshakeDesk) {
        self.attempts.iter().for_each(|attempt| desk.end(attempt.number));
    }

    /// A handshake has begun and not brought keys: it can't be gone on with elsewhere.
    pub(super) fn are_under_way(&self) -> bool {
        !self.is_connected && !self.attempts.is_empty()
    }

    /// The stream leaves the shard with the keys that it has; its peer needs nothing more of the handshake.
    pub(super) fn leave(&mut self, desk: &mut HandshakeDesk) {
        self.attempts.drain(..).for_each(|attempt| desk.end(attempt.number));
        self.awaits_proof = false;
    }

    #[inline]
    fn prove(&mut self, desk: &mut HandshakeDesk) {
        if self.awaits_proof {
            self.awaits_proof = false;
            let settled = self.attempts.iter().map(|attempt| HandshakeCommand::Settled { number: attempt.number });
            desk.commands.extend(settled);
        }
    }

    /// Whether keys have come of them.
    pub(super) fn is_connected(&self) -> bool {
        self.is_connected
    }
}

impl Stream {
    /// The peer has used the keys.
    #[inline]
    pub(super) fn prove_keys(&mut self, desk: &mut HandshakeDesk) {
        if let Some(handshakes) = self.handshakes.as_deref_mut() {
            handshakes.prove(desk);
        }
    }
}

impl Relay {
    /// What is to be done for handshakes since this was last asked.
    pub fn take_handshake_commands(&mut self) -> Vec<HandshakeCommand> {
        std::mem::take(&mut self.desk.commands)
    }

    /// Streams whose handshakes failed since this was last asked, with the reasons.
    pub fn take_handshake_failures(&mut self) -> Vec<(StreamId, String)> {
        std::mem::take(&mut self.desk.failures)
    }

    /// After a plan was set: handshakes of another association end, a client begins as soon as it knows where.
    pub(super) fn follow_handshake(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(id.0 as usize) else { return };
        let wanted = match &stream.plan().security {
            Security::Handshake(handshake) => Some((handshake.generation, handshake.is_client)),
            _ => None,
        };
        let generation = wanted.map(|(generation, _)| generation);
        if stream.handshakes.as_ref().map(|present| present.generation) != generation {
            let present = generation.map(|generation| Box::new(Handshakes::new(generation)));
            if let Some(former) = std::mem::replace(&mut stream.handshakes, present) {
                former.end_all(&mut self.desk);
            }
            stream.forget_keys();
        }
        if wanted.is_some_and(|(_, is_client)| is_client) {
            start_client(stream, id, &mut self.desk);
        }
    }

    /// Ends a stream's handshakes with it.
    pub(super) fn drop_handshakes(&mut self, stream: &mut Stream) {
        if let Some(ended) = stream.handshakes.take() {
            ended.end_all(&mut self.desk);
        }
    }

    /// Takes a DTLS datagram that arrived from `from`; ICE, where it is done, has been asked already.
    pub(super) fn dtls(&mut self, now: Now, id: StreamId, from: SocketAddr, datagram: &[u8]) -> Result<(), DropReason> {
        let Some(stream) = self.streams.get_mut(id.0 as usize) else { return Err(DropReason::UnknownPort) };
        let Security::Handshake(handshake) = &stream.plan().security else { return Err(DropReason::NoKeys) };
        let is_client = handshake.is_client;
        if datagram.len() > LONGEST_DATAGRAM_BYTES {
            return Err(DropReason::Malformed);
        }
        let is_peer = stream.plan().needs_validation || stream.signalled() == Some(from);
        let known = known_attempt(stream, from);
        let Some(handshakes) = stream.handshakes.as_deref_mut() else { return Err(DropReason::NoKeys) };
        // Each stranger has a rate of its own: one of them must not silence the others, who may be the peer.
        let own_rate = handshakes.attempts.iter_mut().find(|attempt| Some(attempt.number) == known);
        let has_room = match own_rate {
            _ if is_peer => handshakes.peer_rate.take(now.mono, PEER_RATE),
            Some(attempt) => attempt.rate.take(now.mono, STRANGER_RATE),
            None => handshakes.stranger_rate.take(now.mono, STRANGER_RATE),
        };
        if !has_room {
            return Err(DropReason::TooMany);
        }
        let number = match known {
            Some(number) => number,
            // A server waits for whoever the client is; a client has chosen its server.
            None if is_client || handshakes.is_connected => return Err(DropReason::WrongSource),
            None => new_attempt(stream, id, from, &mut self.desk)?,
        };
        self.desk.commands.push(HandshakeCommand::Datagram { number, datagram: datagram.to_vec() });
        Ok(())
    }

    /// Something came of a handshake.
    pub fn handshake_event(&mut self, now: Now, event: HandshakeEvent, transmit: &mut (impl Transmit + ?Sized)) {
        let number = match &event {
            HandshakeEvent::Send { number, .. }
            | HandshakeEvent::Connected { number, .. }
            | HandshakeEvent::Failed { number, .. } => *number,
        };
        let Some(id) = self.desk.streams.get(&number).copied() else { return };
        let Some(stream) = self.streams.get_mut(id.0 as usize) else { return };
        let Some(attempt) = attempts(stream).iter().find(|attempt| attempt.number == number).copied() else { return };
        match event {
            HandshakeEvent::Send { datagram, .. } => {
                let destination = attempt.peer.or_else(|| stream.latch.destination(now.mono).ok());
                if let Some(to) = destination.filter(|to| *to != stream.local()) {
                    transmit.send(stream.port(), to, &datagram);
                }
            }
            HandshakeEvent::Connected { connected, .. } => self.connected(now, id, attempt, &connected),
            HandshakeEvent::Failed { reason, .. } => {
                self.desk.failures.push((id, reason));
            }
        }
    }

    /// Takes the keys of a handshake, if the peer is who it was signalled to be (RFC 5763, section 5).
    fn connected(&mut self, now: Now, id: StreamId, attempt: Attempt, connected: &Connected) {
        let Some(stream) = self.streams.get_mut(id.0 as usize) else { return };
        let Security::Handshake(handshake) = &stream.plan().security else { return };
        if !connected.matches(&handshake.fingerprints) {
            if let Some(handshakes) = &mut stream.handshakes {
                handshakes.attempts.retain(|other| other.number != attempt.number);
            }
            self.desk.end(attempt.number);
            self.desk.failures.push((id, "the peer's certificate is not the one that was signalled".to_owned()));
            return;
        }
        let Some(keys) = keys(connected) else { return };
        stream.set_keys(&keys);
        if let Some(peer) = attempt.peer {
            stream.latch.authenticate(now.mono, peer);
        }
        let Some(handshakes) = &mut stream.handshakes else { return };
        handshakes.is_connected = true;
        handshakes.awaits_proof = true;
        for other in handshakes.attempts.iter().filter(|other| other.number != attempt.number) {
            self.desk.end(other.number);
        }
        handshakes.attempts.retain(|other| other.number == attempt.number);
        self.note_keys(id);
    }
}

/// A client speaks first, once it knows to whom.
fn start_client(stream: &mut Stream, id: StreamId, desk: &mut HandshakeDesk) {
    let needs_validation = stream.plan().needs_validation;
    let peer = if needs_validation { stream.selected } else { stream.signalled() };
    let (Some(peer), Some(handshakes)) = (peer, &mut stream.handshakes) else { return };
    if !handshakes.attempts.is_empty() || handshakes.is_connected {
        return;
    }
    let number = desk.begin(id, Role::Client, None);
    let peer = (!needs_validation).then_some(peer);
    handshakes.attempts.push(Attempt { number, peer, rate: Rate::default() });
}

fn attempts(stream: &Stream) -> &[Attempt] {
    stream.handshakes.as_ref().map_or(&[], |handshakes| &handshakes.attempts)
}

fn known_attempt(stream: &Stream, from: SocketAddr) -> Option<u64> {
    let is_his = |attempt: &&Attempt| attempt.peer.is_none_or(|peer| peer == from);
    attempts(stream).iter().find(is_his).map(|attempt| attempt.number)
}

/// A handshake with a client not heard before. Without ICE it need not come from the signalled address, as NATs move
/// clients; then it shows that it can be reached where it says, and whoever it is, only the right certificate counts.
fn new_attempt(
    stream: &mut Stream,
    id: StreamId,
    from: SocketAddr,
    desk: &mut HandshakeDesk,
) -> Result<u64, DropReason> {
    let mut add = |stream: &mut Stream, verified_address: Option<SocketAddr>, peer: Option<SocketAddr>| {
        let handshakes = stream.handshakes.as_mut().ok_or(DropReason::NoKeys)?;
        let number = desk.begin(id, Role::Server, verified_address);
        handshakes.attempts.push(Attempt { number, peer, rate: Rate::default() });
        Ok(number)
    };
    if stream.plan().needs_validation {
        return add(stream, None, None);
    }
    let is_signalled = stream.signalled() == Some(from);
    let may_learn = stream.plan().ingress.learning != Learning::Off && stream.plan().ingress.filled;
    // One place is always left for the signalled address.
    let most = if is_signalled { MOST_ATTEMPTS } else { MOST_ATTEMPTS - 1 };
    if !is_signalled && !may_learn || attempts(stream).len() >= most {
        return Err(DropReason::WrongSource);
    }
    add(stream, (!is_signalled).then_some(from), Some(from))
}

fn keys(connected: &Connected) -> Option<Keys> {
    let parameters = |master: &crate::dtls::MasterKey| {
        let master = MasterKey::new(connected.suite, &master.key, &master.salt)?;
        Some(Parameters::new(connected.suite, master))
    };
    Some(Keys { receive: parameters(&connected.remote)?, send: parameters(&connected.local)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_lets_so_many_pass_and_fills_again() {
        let mut rate = Rate::default();
        let at = |milliseconds: u64| Mono(milliseconds * 1_000_000);
        assert_eq!((0..50).filter(|_| rate.take(at(10_000), 20)).count(), 20);
        assert_eq!((0..1000).filter(|step| rate.take(at(10_000 + step), 20)).count(), 19, "over a second");
        assert_eq!((0..50).filter(|_| rate.take(at(60_000), 20)).count(), 20);
    }
}
