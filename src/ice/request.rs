//! Checks of the peer: who may ask, what is answered, what is learned (RFC 8445, section 7.3).

use super::pairs::State;
use super::{Agent, Kind, MESSAGE_BYTES, MOST_PEER_REFLEXIVE, Outcome, Reason, Remote, Role, Sink};
use crate::base::time::Mono;
use crate::wire::stun::{BINDING, Class, Message, RoleAttribute, Writer};
use std::net::SocketAddr;

const BAD_REQUEST: u16 = 400;
const UNAUTHENTICATED: u16 = 401;
const UNKNOWN_ATTRIBUTE: u16 = 420;
const ROLE_CONFLICT: u16 = 487;

/// Which credentials a request uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Generation {
    Present,
    Former,
}

/// Why a request is not let in.
enum Refusal {
    /// It is told so, if there is room and time.
    Told(u16, Reason),
    Silent(Reason),
}

impl Agent {
    pub(super) fn request(
        &mut self,
        now: Mono,
        local: usize,
        from: SocketAddr,
        message: &Message<'_>,
        out: &mut Sink<'_>,
    ) -> Outcome {
        let generation = match self.authenticate(message) {
            Ok(generation) => generation,
            Err(Refusal::Silent(reason)) => return Outcome::Dropped(reason),
            Err(Refusal::Told(code, reason)) => {
                self.refuse(now, local, from, message, code, out);
                return Outcome::Dropped(reason);
            }
        };
        if message.unknown_required().next().is_some() {
            self.answer(local, from, message, generation, UNKNOWN_ATTRIBUTE, out);
            return Outcome::Dropped(Reason::UnknownAttributes);
        }
        if generation == Generation::Present && !self.settle_roles(message) {
            self.answer(local, from, message, generation, ROLE_CONFLICT, out);
            return Outcome::Consumed;
        }
        self.answer(local, from, message, generation, 0, out);
        if generation == Generation::Present {
            self.learn(now, local, from, message);
        }
        Outcome::Consumed
    }

    /// RFC 8489, section 9.1.3. The second part of the user name is the sender's fragment: one that is not the peer's
    /// is of another branch of a forked call, or of a generation whose description has not come yet, and will be sent
    /// again until it has.
    fn authenticate(&self, message: &Message<'_>) -> Result<Generation, Refusal> {
        let told = |code, reason| Err(Refusal::Told(code, reason));
        let Some(username) = message.username().filter(|_| message.has_integrity()) else {
            return told(BAD_REQUEST, Reason::NoCredentials);
        };
        let Some(colon) = username.iter().position(|byte| *byte == b':') else {
            return told(UNAUTHENTICATED, Reason::WrongUsername);
        };
        let (ours, theirs) = (&username[..colon], &username[colon + 1..]);
        let is_ours = ours == self.local.ufrag.as_bytes();
        let is_theirs = self.peer.as_ref().is_none_or(|peer| theirs == peer.credentials.ufrag.as_bytes());
        let former = self.former.as_deref().filter(|former| ours == former.local.ufrag.as_bytes());
        let (generation, password) = match former {
            _ if is_ours && is_theirs => (Generation::Present, &self.local.password),
            Some(former) if theirs == former.remote.ufrag.as_bytes() => (Generation::Former, &former.local.password),
            former if is_ours || former.is_some() => return Err(Refusal::Silent(Reason::WrongUsername)),
            _ => return told(UNAUTHENTICATED, Reason::WrongUsername),
        };
        if message.is_authentic(password) { Ok(generation) } else { told(UNAUTHENTICATED, Reason::WrongIntegrity) }
    }

    /// Answers somebody who has not authenticated: never with more bytes than came, and not often, so that nobody is
    /// worth reflecting.
    fn refuse(
        &mut self,
        now: Mono,
        local: usize,
        from: SocketAddr,
        message: &Message<'_>,
        code: u16,
        out: &mut Sink<'_>,
    ) {
        let mut buffer = [0; MESSAGE_BYTES];
        let writer = Writer::new(&mut buffer, Class::Error, BINDING, message.transaction_id());
        let answer = writer.error_code(code).fingerprint().finish();
        if let Some(bytes) = answer.filter(|bytes| bytes.len() <= message.bytes())
            && self.errors.take(now)
        {
            out(self.locals[local].token, from, bytes);
        }
    }

    /// Answers an authenticated request: with success when `code` is zero.
    fn answer(
        &self,
        local: usize,
        from: SocketAddr,
        message: &Message<'_>,
        generation: Generation,
        code: u16,
        out: &mut Sink<'_>,
    ) {
        let mut buffer = [0; MESSAGE_BYTES];
        let class = if code == 0 { Class::Success } else { Class::Error };
        let writer = Writer::new(&mut buffer, class, BINDING, message.transaction_id());
        let writer = match code {
            0 => writer.mapped_address(from),
            UNKNOWN_ATTRIBUTE => writer.error_code(code).unknown_attributes(message.unknown_required()),
            _ => writer.error_code(code),
        };
        let password = match (generation, &self.former) {
            (Generation::Former, Some(former)) => &former.local.password,
            _ => &self.local.password,
        };
        if let Some(bytes) = writer.integrity(password).fingerprint().finish() {
            out(self.locals[local].token, from, bytes);
        }
    }

    /// RFC 8445, section 7.3.1.1: whether there is no conflict, or this side has given in.
    fn settle_roles(&mut self, message: &Message<'_>) -> bool {
        let (other, tie_breaker) = match (self.role, message.role()) {
            (Role::Controlling, Some(RoleAttribute::Controlling(theirs))) => (Role::Controlled, theirs),
            (Role::Controlled, Some(RoleAttribute::Controlled(theirs))) => (Role::Controlling, theirs),
            _ => return true,
        };
        // The larger tie-breaker controls. A lite side can't control a full one, which alone sends checks.
        let gives_in = match other {
            Role::Controlled => self.tie_breaker < tie_breaker,
            Role::Controlling => self.tie_breaker >= tie_breaker && !self.is_lite,
        };
        if gives_in {
            self.set_role(other);
        }
        gives_in
    }

    /// Sections 7.3.1.3 to 7.3.1.5, and 7.3.2 for a lite side.
    fn learn(&mut self, now: Mono, local: usize, from: SocketAddr, message: &Message<'_>) {
        let Some(remote) = self.remote_of(local, from, message.priority().unwrap_or(0)) else { return };
        self.remotes[remote].is_validated = true;
        let Some(index) = self.find_pair(local, remote).or_else(|| self.add_pair(local, remote, true)) else { return };
        let pair = &mut self.pairs[index];
        if pair.is_barred {
            return;
        }
        if message.has_use_candidate() {
            pair.nominated_at = Some(now);
        }
        if self.is_lite {
            pair.state = State::Succeeded;
            pair.is_valid = true;
        } else if !pair.is_valid {
            self.trigger(index);
        }
        self.consider(now, index);
    }

    /// The place of the remote candidate, which is learned if it is new; none when too many are in use.
    fn remote_of(&mut self, local: usize, from: SocketAddr, priority: u32) -> Option<usize> {
        let component = self.locals[local].component;
        let known = |remote: &Remote| remote.component == component && remote.address == from;
        if let Some(index) = self.remotes.iter().position(known) {
            return Some(index);
        }
        let remote = Remote {
            component,
            kind: Kind::PeerReflexive,
            is_validated: false,
            priority,
            address: from,
            foundation: Box::default(),
        };
        let learned = self.remotes.iter().filter(|remote| remote.kind == Kind::PeerReflexive).count();
        if learned < MOST_PEER_REFLEXIVE {
            self.remotes.push(remote);
            return Some(self.remotes.len() - 1);
        }
        let index = self.idle_peer_reflexive()?;
        self.pairs.retain(|pair| usize::from(pair.remote) != index);
        self.remotes[index] = remote;
        Some(index)
    }

    /// Of the peer-reflexive candidates that are not selected, the one whose pairs were checked longest ago.
    fn idle_peer_reflexive(&self) -> Option<usize> {
        let is_selected = |remote: &Remote| {
            self.selection(remote.component).is_some_and(|selected| selected.remote == remote.address)
        };
        let idle = self.remotes.iter().enumerate();
        let idle = idle.filter(|(_, remote)| remote.kind == Kind::PeerReflexive && !is_selected(remote));
        let age = |index: usize| {
            let pairs = self.pairs.iter().filter(move |pair| usize::from(pair.remote) == index);
            pairs.map(|pair| (pair.nominated_at, pair.is_valid, pair.check.due, pair.triggered)).max()
        };
        idle.min_by_key(|(index, _)| age(*index)).map(|(index, _)| index)
    }
}
