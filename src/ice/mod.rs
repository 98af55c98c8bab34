//! ICE for a proxy whose sockets are open already (RFC 8445; trickle, RFC 8838; consent, RFC 7675).
//!
//! An `Agent` finds out for one media, or one BUNDLE group, which address of the peer to send to, and which addresses
//! have shown that they know the media's password. Time, randomness and datagrams come in as arguments; datagrams go
//! out into a lent sink. `protocol-docs/ice.md` says what of the RFCs is done, and how.

mod candidate;
mod checks;
mod consent;
mod credentials;
mod limit;
mod nominate;
mod pairs;
mod request;
mod response;

pub use candidate::{Candidate, Kind, Unusable, priority};
pub use credentials::Credentials;

use crate::base::id::PortToken;
use crate::base::time::Mono;
use crate::wire::stun::{BINDING, Class, Message};
use limit::Bucket;
use nominate::Selected;
use pairs::Pair;
use smallvec::SmallVec;
use std::net::SocketAddr;

/// Where datagrams go out: the port to send from, the address to send to, the bytes.
pub type Sink<'a> = dyn FnMut(PortToken, SocketAddr, &[u8]) + 'a;

/// Candidates of one remote description, trickled ones included, that are taken; more are ignored.
pub const MOST_SIGNALLED: usize = 64;
/// Peer-reflexive candidates that are remembered; one more takes the place of one that is not in use.
pub const MOST_PEER_REFLEXIVE: usize = 32;
/// Pairs that are checked (RFC 8445, section 6.1.2.5).
pub const MOST_PAIRS: usize = 100;
/// Datagrams longer than this are dropped unread: a check is far shorter than any path's MTU.
const LONGEST_DATAGRAM_BYTES: usize = 1500;
/// Room for a check with the longest user name.
const MESSAGE_BYTES: usize = 704;

/// Who decides on the pair in the end (RFC 8445, section 6.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    Controlling,
    Controlled,
}

/// What an agent begins with.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// The offerer is controlling. What lite sides make of it, `set_remote` decides.
    pub role: Role,
    /// Whether this side only answers checks (RFC 8445, section 2.5).
    pub is_lite: bool,
    pub credentials: Credentials,
    /// 64 random bits.
    pub tie_breaker: u64,
    /// 1 with rtcp-mux, else 2.
    pub component_count: u8,
}

/// An open port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalCandidate {
    /// 1 for RTP, 2 for RTCP.
    pub component: u8,
    /// The socket's own address, whatever address is advertised for it.
    pub address: SocketAddr,
    /// Higher is better; different for the addresses of one component.
    pub local_preference: u16,
    pub token: PortToken,
}

/// What a description says of the peer.
#[derive(Debug, Clone)]
pub struct RemoteDescription {
    pub credentials: Credentials,
    pub is_lite: bool,
    /// May be empty: the peer is then found by its checks alone.
    pub candidates: Vec<Candidate>,
    /// Whether more candidates may come (RFC 8838).
    pub is_trickling: bool,
    /// Whether end-of-candidates was said.
    pub has_ended: bool,
}

/// What has become of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// An authenticated message, or a keep-alive.
    Consumed,
    /// The port is none of this agent's, or the method is not Binding.
    NotForUs,
    Dropped(Reason),
}

/// Why a datagram was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// No STUN message, or its fingerprint is wrong.
    Malformed,
    TooLong,
    /// A request without user name or integrity.
    NoCredentials,
    WrongUsername,
    WrongIntegrity,
    /// An authenticated request with attributes that must be understood and are not.
    UnknownAttributes,
    /// A response to nothing that was asked.
    UnknownTransaction,
    /// A response from elsewhere than the request was sent to.
    WrongSource,
}

/// What the agent tells of its own accord.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Send the component's media from here to there.
    Selected(SelectedPair),
    /// Every pair has failed, and no more candidates are to come. A check of the peer may still bring a selection.
    Failed,
    /// The peer has stopped answering: nothing may be sent to it before another selection (RFC 7675, section 5.1).
    ConsentLost {
        component: u8,
    },
    RoleChanged(Role),
}

/// The pair that media takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SelectedPair {
    pub component: u8,
    pub token: PortToken,
    pub local: SocketAddr,
    pub remote: SocketAddr,
}

/// The other side, as its description says.
#[derive(Debug, Clone)]
struct Peer {
    credentials: Credentials,
    is_lite: bool,
    is_trickling: bool,
    has_ended: bool,
}

/// An address of the peer.
#[derive(Debug, Clone)]
struct Remote {
    component: u8,
    kind: Kind,
    /// Whether an authenticated check has come from or been answered by it.
    is_validated: bool,
    priority: u32,
    address: SocketAddr,
    /// Empty for a peer-reflexive candidate, whose foundation is like no other.
    foundation: Box<str>,
}

/// The credentials before a restart: they hold until the new generation has selected its pairs.
#[derive(Debug, Clone)]
struct Former {
    local: Credentials,
    remote: Credentials,
}

/// One side of ICE for one media or BUNDLE group.
#[derive(Debug, Clone)]
pub struct Agent {
    role: Role,
    is_lite: bool,
    component_count: u8,
    has_failed: bool,
    /// Set by a role conflict that was lost: the next check takes a new one (RFC 8445, section 7.2.5.1).
    is_tie_breaker_spent: bool,
    tie_breaker: u64,
    local: Credentials,
    peer: Option<Peer>,
    former: Option<Box<Former>>,
    locals: SmallVec<[LocalCandidate; 2]>,
    remotes: Vec<Remote>,
    pairs: Vec<Pair>,
    /// By component, less one.
    selected: [Option<Selected>; 2],
    /// The place in the queue of the triggered check that came last.
    last_triggered: u32,
    next_check_at: Mono,
    /// When the checks of this generation began.
    started_at: Option<Mono>,
    /// When every component first had a valid pair.
    valid_at: Option<Mono>,
    /// Random bits for the first consent check of a pair.
    jitter: u32,
    errors: Bucket,
    events: SmallVec<[Event; 2]>,
}

impl Agent {
    pub fn new(configuration: Configuration) -> Agent {
        let Configuration { role, is_lite, credentials, tie_breaker, component_count } = configuration;
        Agent {
            role,
            is_lite,
            component_count: component_count.clamp(1, 2),
            has_failed: false,
            is_tie_breaker_spent: false,
            tie_breaker,
            local: credentials,
            peer: None,
            former: None,
            locals: SmallVec::new(),
            remotes: Vec::new(),
            pairs: Vec::new(),
            selected: [None, None],
            last_triggered: 0,
            next_check_at: Mono(0),
            started_at: None,
            valid_at: None,
            jitter: 0,
            errors: Bucket::new(),
            events: SmallVec::new(),
        }
    }

    /// Adds an open port. One of a component beyond the count is ignored.
    pub fn add_local(&mut self, now: Mono, local: LocalCandidate) {
        let is_new = self.locals.iter().all(|other| other.token != local.token);
        if is_new && (1..=self.component_count).contains(&local.component) && self.locals.len() < MOST_SIGNALLED {
            self.locals.push(local);
            self.form_pairs();
            self.settle(now);
        }
    }

    /// The open ports have other tokens now; `renumber` tells them.
    pub fn renumber(&mut self, renumber: impl Fn(PortToken) -> PortToken) {
        self.locals.iter_mut().for_each(|local| local.token = renumber(local.token));
        self.selected.iter_mut().flatten().for_each(|selected| selected.token = renumber(selected.token));
        for event in &mut self.events {
            if let Event::Selected(pair) = event {
                pair.token = renumber(pair.token);
            }
        }
    }

    /// Forgets a port, with what was selected on it.
    pub fn remove_local(&mut self, token: PortToken) {
        let Some(index) = self.locals.iter().position(|local| local.token == token) else { return };
        self.locals.remove(index);
        self.pairs.retain(|pair| usize::from(pair.local) != index);
        for pair in &mut self.pairs {
            pair.local -= u8::from(usize::from(pair.local) > index);
        }
        for selected in &mut self.selected {
            selected.take_if(|selected| selected.token == token);
        }
    }

    /// rtcp-mux was agreed (1) or not (2). With 1, the second component is forgotten.
    pub fn set_component_count(&mut self, now: Mono, count: u8) {
        self.component_count = count.clamp(1, 2);
        let dropped: SmallVec<[PortToken; 2]> = self
            .locals
            .iter()
            .filter(|local| local.component > self.component_count)
            .map(|local| local.token)
            .collect();
        for token in dropped {
            self.remove_local(token);
        }
        self.remotes_of_dropped_components();
        self.form_pairs();
        self.settle(now);
    }

    fn remotes_of_dropped_components(&mut self) {
        if self.component_count == 1 {
            self.selected[1] = None;
            for remote in self.remotes.iter_mut().filter(|remote| remote.component == 2) {
                remote.is_validated = false;
            }
        }
    }

    /// Takes the peer's description, and begins to check. Call it when both descriptions have been exchanged: until
    /// the peer has this side's, it can't answer, and checks give up after 40 seconds. The peer's own checks are
    /// answered and remembered before that.
    ///
    /// Other credentials than before begin a new generation; where this side restarts as well, which it has to if the
    /// peer does, `restart` comes first.
    pub fn set_remote(&mut self, now: Mono, description: RemoteDescription) {
        let RemoteDescription { credentials, is_lite, candidates, is_trickling, has_ended } = description;
        if self.peer.as_ref().is_some_and(|peer| peer.credentials != credentials) {
            self.begin_generation(self.local.clone());
        }
        self.peer = Some(Peer { credentials, is_lite, is_trickling, has_ended });
        // RFC 8445, section 6.1.1: a full side controls a lite one.
        match (self.is_lite, is_lite) {
            (true, false) => self.set_role(Role::Controlled),
            (false, true) => self.set_role(Role::Controlling),
            _ => {}
        }
        self.started_at.get_or_insert(now);
        self.add_remote_candidates(now, candidates);
    }

    /// Adds candidates that trickled in. Those of another generation, or beyond the limit, are ignored.
    pub fn add_remote_candidates(&mut self, now: Mono, candidates: impl IntoIterator<Item = Candidate>) {
        for candidate in candidates {
            self.add_remote_candidate(candidate);
        }
        self.form_pairs();
        self.settle(now);
    }

    fn add_remote_candidate(&mut self, candidate: Candidate) {
        let Candidate { foundation, component, priority, address, kind, ufrag, .. } = candidate;
        let address = canonical(address);
        let of_other_generation = match (&self.peer, &ufrag) {
            (Some(peer), Some(ufrag)) => peer.credentials.ufrag != *ufrag,
            _ => false,
        };
        if of_other_generation || !(1..=2).contains(&component) || !pairs::is_sendable(address) {
            return;
        }
        let signalled = self.remotes.iter().filter(|remote| remote.kind != Kind::PeerReflexive).count();
        let has_room = signalled < MOST_SIGNALLED;
        let known = self.remotes.iter_mut().find(|remote| remote.component == component && remote.address == address);
        match known {
            // What was learned from a check is now known by its name.
            Some(remote) if remote.kind == Kind::PeerReflexive && has_room => {
                (remote.kind, remote.priority, remote.foundation) = (kind, priority, foundation.into());
                self.set_priorities();
            }
            // Of two for one address the better one stays.
            Some(remote) if remote.kind != Kind::PeerReflexive && remote.priority < priority => {
                (remote.kind, remote.priority, remote.foundation) = (kind, priority, foundation.into());
                self.set_priorities();
            }
            None if has_room => {
                let foundation = foundation.into();
                self.remotes.push(Remote { component, kind, is_validated: false, priority, address, foundation });
            }
            _ => {}
        }
    }

    /// The peer has no more candidates (RFC 8838, section 14).
    pub fn end_of_candidates(&mut self, now: Mono) {
        if let Some(peer) = &mut self.peer {
            peer.has_ended = true;
        }
        self.settle(now);
    }

    /// Begins a new generation with new credentials of this side (RFC 8445, section 9). What was selected stays, and
    /// the old credentials answer checks, until the new generation has selected its pairs.
    pub fn restart(&mut self, credentials: Credentials) {
        let old = std::mem::replace(&mut self.local, credentials);
        self.begin_generation(old);
    }

    fn begin_generation(&mut self, old: Credentials) {
        let peer = self.peer.take();
        if self.selected.iter().flatten().any(|selected| !selected.is_former) {
            self.former = peer.map(|peer| Box::new(Former { local: old, remote: peer.credentials }));
        }
        for selected in self.selected.iter_mut().flatten() {
            selected.is_former = true;
        }
        self.remotes.clear();
        self.pairs.clear();
        self.started_at = None;
        self.valid_at = None;
        self.has_failed = false;
    }

    /// Takes a STUN message that arrived on the port `token` from `from`; answers go into `out`.
    pub fn stun(
        &mut self,
        now: Mono,
        token: PortToken,
        from: SocketAddr,
        datagram: &[u8],
        out: &mut Sink<'_>,
    ) -> Outcome {
        let Some(local) = self.locals.iter().position(|local| local.token == token) else { return Outcome::NotForUs };
        if datagram.len() > LONGEST_DATAGRAM_BYTES {
            return Outcome::Dropped(Reason::TooLong);
        }
        let Ok(message) = Message::parse(datagram) else { return Outcome::Dropped(Reason::Malformed) };
        if message.method() != BINDING {
            return Outcome::NotForUs;
        }
        let from = canonical(from);
        let outcome = match message.class() {
            // A keep-alive (RFC 8445, section 11) tells nothing and asks nothing.
            Class::Indication => Outcome::Consumed,
            Class::Request => self.request(now, local, from, &message, out),
            Class::Success | Class::Error => self.response(now, local, from, &message),
        };
        if outcome == Outcome::Consumed {
            self.settle(now);
        }
        outcome
    }

    /// What follows from any change: pairs to thaw, a nomination, the end.
    fn settle(&mut self, now: Mono) {
        self.thaw();
        self.select_between_lite_sides(now);
        self.nominate(now);
        self.look_for_failure(now);
    }

    /// The next event, oldest first.
    pub fn next_event(&mut self) -> Option<Event> {
        if self.events.is_empty() { None } else { Some(self.events.remove(0)) }
    }

    /// Keeps one event of a kind, so that they stay few when nobody asks for them.
    fn tell(&mut self, event: Event) {
        let topic = |event: &Event| match event {
            Event::Selected(pair) => (0, pair.component),
            Event::ConsentLost { component } => (0, *component),
            Event::Failed => (1, 0),
            Event::RoleChanged(_) => (2, 0),
        };
        self.events.retain(|other| topic(other) != topic(&event));
        self.events.push(event);
    }

    /// Whether `from` has passed an authenticated check in either direction, so that DTLS and media may come from it.
    pub fn is_validated(&self, component: u8, from: SocketAddr) -> bool {
        let from = canonical(from);
        self.selection(component).is_some_and(|selected| selected.remote == from)
            || self.remotes.iter().any(|r| r.is_validated && r.component == component && r.address == from)
    }

    /// The pair that the component's media takes.
    pub fn selected(&self, component: u8) -> Option<SelectedPair> {
        self.selection(component).map(|selected| selected.pair(component))
    }

    fn selection(&self, component: u8) -> Option<&Selected> {
        self.selected.get(usize::from(component).wrapping_sub(1))?.as_ref()
    }

    /// Whether every component has a pair of this generation.
    pub fn is_complete(&self) -> bool {
        (1..=self.component_count).all(|component| self.is_selected(component))
    }

    /// Whether the component has a pair of this generation.
    fn is_selected(&self, component: u8) -> bool {
        self.selection(component).is_some_and(|selected| !selected.is_former)
    }

    pub fn role(&self) -> Role {
        self.role
    }

    pub fn is_lite(&self) -> bool {
        self.is_lite
    }

    /// This side's credentials of the present generation.
    pub fn credentials(&self) -> &Credentials {
        &self.local
    }

    /// The peer's credentials; none before its description of the present generation.
    pub fn remote_credentials(&self) -> Option<&Credentials> {
        self.peer.as_ref().map(|peer| &peer.credentials)
    }

    fn set_role(&mut self, role: Role) {
        if self.role == role {
            return;
        }
        self.role = role;
        self.set_priorities();
        for pair in &mut self.pairs {
            pair.is_nominating = false;
        }
        self.tell(Event::RoleChanged(role));
    }
}

/// An address as candidates name it: IPv4 as such where a socket for both families shows it as IPv6, and without the
/// flow label and scope that belong to one host.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests;
