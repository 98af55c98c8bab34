//! Learning a peer's address from what it sends (RFC 4961, RFC 7362, section 4).

mod candidates;
mod decide;

pub use candidates::SILENCE;
pub use decide::{Decision, Lesson, Phase, Rank, Rules, Situation, decide};

use crate::base::address::is_local_use;
use crate::base::time::Mono;
use crate::plan::{Ingress, Learning};
use candidates::{Candidates, Standing};
use std::net::SocketAddr;
use std::time::Duration;

/// The learning window after a signalling event.
pub const WINDOW: Duration = Duration::from_secs(3);

/// After a handover, the next one waits this long: sources that alternate must not drag media to and fro.
pub const HANDOVER_REST: Duration = Duration::from_millis(500);

/// What is known of the address of one stream's peer. Its first 64 bytes are all that most packets look at.
#[derive(Debug, Clone)]
#[repr(C)]
pub struct Latch {
    /// The learned source; it stays through a new learning window when the signalled address did not change.
    learned: Option<SocketAddr>,
    destination: Option<SocketAddr>,
    confirmed: bool,
    heard: bool,
    wait_for_peer: bool,
    /// Where to send has changed since somebody looked.
    has_news: bool,
    learned_rank: Rank,
    rules: Rules,
    candidates: Candidates,
    signalled: Option<SocketAddr>,
    signalled_at: Mono,
    handover_rests_until: Mono,
}

/// How likely the peer is to be at an address; a later one is likelier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    /// It is at another.
    Stranger,
    /// At the IP address, under another port than the one where it was found.
    OtherPort,
    /// At the IP address, and its port is not known for sure.
    SameAddress,
    /// Just there.
    Peer,
}

/// Why nothing may be sent to a peer now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoDestination {
    Unknown,
    AwaitingPeer,
}

impl Latch {
    /// A peer of which nothing is known yet.
    pub fn new() -> Latch {
        Latch {
            learned: None,
            destination: None,
            confirmed: false,
            heard: false,
            wait_for_peer: false,
            has_news: false,
            learned_rank: Rank::Any,
            rules: Rules {
                learning: Learning::Off,
                filled: false,
                strict_source: false,
                fixed_address: false,
                media_handover: false,
                asymmetric: false,
            },
            candidates: Candidates::default(),
            signalled: None,
            signalled_at: Mono(0),
            handover_rests_until: Mono(0),
        }
    }

    /// Takes over what signalling says. Learning starts anew when the signalling event is a new one.
    pub fn signal(&mut self, ingress: &Ingress) {
        self.settle(ingress.signalled_at);
        let rules = Rules {
            learning: ingress.learning,
            filled: ingress.filled,
            strict_source: ingress.strict_source,
            fixed_address: ingress.fixed_address,
            media_handover: ingress.media_handover,
            asymmetric: ingress.asymmetric,
        };
        let same_address = ingress.signalled == self.signalled;
        let relearn = !same_address
            || ingress.signalled_at != self.signalled_at
            || rules.learning != self.rules.learning
            || rules.asymmetric != self.rules.asymmetric;
        self.rules = rules;
        self.signalled = ingress.signalled;
        self.signalled_at = ingress.signalled_at;
        self.wait_for_peer = ingress.wait_for_peer;
        if relearn {
            self.restart(same_address);
        }
    }

    fn restart(&mut self, same_address: bool) {
        self.confirmed = false;
        self.candidates.clear();
        self.handover_rests_until = Mono(0);
        if !same_address {
            self.learned = None;
        }
        let is_final = self.rules.learning == Learning::Off && !self.rules.asymmetric;
        if let (true, Some(signalled)) = (is_final, self.signalled) {
            self.learned = Some(signalled);
            self.learned_rank = Rank::Exact;
            self.confirmed = true;
        }
        self.redirect(self.learned.or(self.signalled));
    }

    /// The peer has proved that it is at `source`.
    pub fn authenticate(&mut self, now: Mono, source: SocketAddr) {
        self.settle(now);
        self.heard = true;
        self.commit(Rank::Exact, source);
    }

    /// ICE decides where the peer is; nowhere, before it has.
    pub fn select(&mut self, remote: Option<SocketAddr>) {
        self.learned = remote;
        self.learned_rank = Rank::Exact;
        self.confirmed = remote.is_some();
        self.candidates.clear();
        self.has_news |= self.destination != remote;
        self.destination = remote;
    }

    /// Whether `source` is the peer's address, as far as that is final.
    #[inline]
    pub fn is_peer(&self, source: SocketAddr) -> bool {
        self.confirmed && self.learned == Some(source)
    }

    /// Whether `source` is where the peer may well be: at the signalled or the known address, or behind a NAT that
    /// signalling tells of.
    #[inline]
    pub fn trusts(&self, source: SocketAddr) -> bool {
        self.learned == Some(source) || self.rank(source) >= Rank::SameAddress || self.is_nat(source)
    }

    /// How well a source fits a peer that is at its signalled IP address.
    pub fn fit(&self, source: SocketAddr) -> Fit {
        let is_there = |address: Option<SocketAddr>| address.is_some_and(|address| address.ip() == source.ip());
        match () {
            () if self.is_peer(source) || self.signalled == Some(source) => Fit::Peer,
            () if !is_there(self.signalled) => Fit::Stranger,
            () if self.confirmed => Fit::OtherPort,
            () => Fit::SameAddress,
        }
    }

    /// Whether only the peer's packets shall pass, once both sides are known.
    pub fn is_strict(&self) -> bool {
        self.rules.filled && self.rules.strict_source && !self.rules.media_handover
    }

    /// Where the peer has been found, as far as that is final.
    pub fn learned(&self) -> Option<SocketAddr> {
        self.learned.filter(|_| self.confirmed)
    }

    /// Whether packets of `source` would be dropped whatever they hold.
    pub fn refuses(&self, source: SocketAddr) -> bool {
        let is_strict = self.rules.strict_source && !self.rules.media_handover;
        self.confirmed && is_strict && self.learned != Some(source) && self.rank(source) <= self.learned_rank
    }

    /// The peer was heard, from an address that is known to be its own.
    #[inline]
    pub fn hear(&mut self) {
        self.has_news |= !self.heard;
        self.heard = true;
    }

    /// Whether where to send, or where the peer is, has changed since [`Latch::settle_news`].
    #[inline]
    pub fn has_news(&self) -> bool {
        self.has_news
    }

    /// The news were looked at.
    pub fn settle_news(&mut self) {
        self.has_news = false;
    }

    /// Whether no packet from elsewhere than the learned address can pass or teach.
    pub fn is_closed(&self) -> bool {
        let is_strict = self.rules.strict_source && !self.rules.media_handover;
        self.confirmed && is_strict && self.learned_rank == Rank::Exact
    }

    /// Takes note of a datagram; false when it must not pass.
    #[inline]
    pub fn observe(&mut self, now: Mono, source: SocketAddr, teaches: bool) -> bool {
        if self.confirmed && self.learned == Some(source) {
            self.hear();
            return true;
        }
        self.observe_unusual(now, source, teaches)
    }

    fn observe_unusual(&mut self, now: Mono, source: SocketAddr, teaches: bool) -> bool {
        self.settle(now);
        let (rank, phase) = (self.rank(source), self.phase(now));
        if phase == Phase::Window && teaches && self.rules.filled {
            self.candidates.note(now, source, rank);
        }
        let Standing { best, is_best, outtalks_best } = self.standing(now, source);
        let decision = decide(&Situation {
            rules: self.rules,
            phase,
            teaches,
            rank,
            best,
            is_best,
            outtalks_best,
            is_nat: self.is_nat(source),
            handover_rests: now < self.handover_rests_until,
        });
        self.has_news |= decision.accepted && !self.heard;
        self.heard |= decision.accepted;
        self.learn(now, decision.lesson, rank, source);
        decision.accepted
    }

    fn learn(&mut self, now: Mono, lesson: Lesson, rank: Rank, source: SocketAddr) {
        match lesson {
            Lesson::Nothing => {}
            Lesson::Remember => self.candidates.prefer(source),
            Lesson::Redirect => {
                self.candidates.prefer(source);
                self.redirect(Some(source));
            }
            Lesson::Commit => self.commit(rank, source),
            Lesson::Follow => {
                self.handover_rests_until = now + HANDOVER_REST;
                // Who was handed over to is not given up for the signalled address.
                self.commit(Rank::Exact, source);
            }
        }
    }

    fn commit(&mut self, rank: Rank, source: SocketAddr) {
        self.has_news |= self.learned != Some(source) || !self.confirmed;
        self.learned = Some(source);
        self.learned_rank = rank;
        self.confirmed = true;
        self.candidates.clear();
        self.redirect(Some(source));
    }

    fn redirect(&mut self, to: Option<SocketAddr>) {
        let destination = if self.rules.asymmetric { self.signalled } else { to };
        self.has_news |= destination != self.destination;
        self.destination = destination;
    }

    /// At the end of the window the best candidate is the peer.
    fn settle(&mut self, now: Mono) {
        if let (false, Some((rank, source))) = (self.confirmed || self.is_window(now), self.candidates.best()) {
            self.commit(rank, source);
        }
    }

    fn is_window(&self, now: Mono) -> bool {
        now < self.signalled_at + WINDOW
    }

    fn phase(&self, now: Mono) -> Phase {
        match () {
            _ if self.confirmed => Phase::Confirmed,
            _ if self.is_window(now) => Phase::Window,
            _ => Phase::Open,
        }
    }

    fn standing(&self, now: Mono, source: SocketAddr) -> Standing {
        if !self.confirmed {
            return self.candidates.standing(now, source);
        }
        Standing { best: Some(self.learned_rank), is_best: self.learned == Some(source), outtalks_best: false }
    }

    fn rank(&self, source: SocketAddr) -> Rank {
        let Some(signalled) = self.signalled else { return self.rank_known(source, Rank::Any) };
        match (signalled.ip() == source.ip(), signalled.port() == source.port()) {
            (true, true) => Rank::Exact,
            (true, false) => self.rank_known(source, Rank::SameAddress),
            (false, true) => self.rank_known(source, Rank::SamePort),
            (false, false) => self.rank_known(source, Rank::Any),
        }
    }

    fn rank_known(&self, source: SocketAddr, otherwise: Rank) -> Rank {
        if !self.confirmed && self.learned == Some(source) { Rank::Known } else { otherwise }
    }

    fn is_nat(&self, source: SocketAddr) -> bool {
        self.signalled.is_none_or(|signalled| is_local_use(signalled.ip()) && !is_local_use(source.ip()))
    }

    /// Where to send.
    #[inline]
    pub fn destination(&mut self, now: Mono) -> Result<SocketAddr, NoDestination> {
        if !self.confirmed {
            self.settle(now);
        }
        if self.wait_for_peer && !self.heard {
            return Err(NoDestination::AwaitingPeer);
        }
        self.destination.ok_or(NoDestination::Unknown)
    }

    /// The peer's address as far as it is known.
    pub fn remote(&self) -> Option<SocketAddr> {
        self.destination
    }

    pub fn signalled(&self) -> Option<SocketAddr> {
        self.signalled
    }

    /// Whether the address is final until signalling or, with handover, the peer changes it.
    pub fn is_confirmed(&self) -> bool {
        self.confirmed
    }

    /// Whether the peer has sent anything that was accepted.
    pub fn is_heard(&self) -> bool {
        self.heard
    }
}

impl Default for Latch {
    fn default() -> Latch {
        Latch::new()
    }
}

#[cfg(test)]
mod tests;
