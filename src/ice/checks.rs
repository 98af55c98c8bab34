//! Sending checks in time: pacing, retransmission, what is due when (RFC 8445, sections 6.1.4 and 14).

use super::pairs::{Check, State};
use super::{Agent, MESSAGE_BYTES, Role, Sink, candidate};
use crate::base::random::Random;
use crate::base::time::Mono;
use crate::ice::Kind;
use crate::wire::stun::{BINDING, Class, RoleAttribute, TransactionId, Writer};
use std::time::Duration;

/// Ta: the time between two new checks of an agent (RFC 8445, section 14.2).
pub(super) const PACE: Duration = Duration::from_millis(50);
/// The least first timeout of a check (RFC 8445, section 14.3).
const LEAST_TIMEOUT_MS: u32 = 500;
/// Rc: how often a check is sent in all (RFC 8489, section 6.2.1).
const TRANSMISSIONS: u8 = 7;
/// Rm: the last wait, in first timeouts (RFC 8489, section 6.2.1).
const LAST_WAIT_TIMEOUTS: u32 = 16;

/// A new transaction id; never the one that stands for none.
pub(super) fn new_transaction(random: &mut dyn Random) -> TransactionId {
    let mut id = [0; 12];
    random.fill(&mut id);
    id[0] |= u8::from(id == [0; 12]);
    TransactionId(id)
}

/// All of a check's waits, in first timeouts: 1 + 2 + 4 + 8 + 16 + 32 + 16.
const ALL_WAITS_TIMEOUTS: u32 = (1 << (TRANSMISSIONS - 1)) - 1 + LAST_WAIT_TIMEOUTS;

impl Check {
    /// How long to wait for an answer after the last transmission; none when the check has failed with it.
    ///
    /// The wait doubles (RFC 8489, section 6.2.1), but where the peer's checks arrive: there it is loss, not a dead
    /// path, that an answer is awaited over.
    fn wait(&self, now: Mono, is_path_known: bool) -> Option<Duration> {
        let timeout = Duration::from_millis(self.timeout_ms.into());
        match self.times_sent {
            _ if is_path_known => (now < self.started_at + timeout * ALL_WAITS_TIMEOUTS).then_some(timeout),
            0..TRANSMISSIONS => Some(timeout * (1 << (self.times_sent.max(1) - 1))),
            TRANSMISSIONS => Some(timeout * LAST_WAIT_TIMEOUTS),
            _ => None,
        }
    }
}

impl Agent {
    /// Sends what is due. `random` makes transaction ids.
    pub fn timer(&mut self, now: Mono, random: &mut dyn Random, out: &mut Sink<'_>) {
        self.jitter = random.u32();
        if std::mem::take(&mut self.is_tie_breaker_spent) {
            self.tie_breaker = u64::from(random.u32()) << 32 | u64::from(random.u32());
        }
        self.check_consent(now, random, out);
        if self.sends_checks() {
            self.retransmit(now, out);
            self.settle(now);
            self.start_check(now, random, out);
        }
        self.settle(now);
    }

    /// When `timer` is to be called next; none when nothing is to be done.
    pub fn next_due(&self) -> Option<Mono> {
        let mut due = self.consent_due();
        let mut at = |moment: Mono| due = Some(due.map_or(moment, |due| due.min(moment)));
        if self.sends_checks() {
            for pair in &self.pairs {
                match pair.state {
                    State::InProgress => at(pair.check.due),
                    _ if pair.state == State::Waiting || pair.triggered != 0 => at(self.next_check_at),
                    _ => {}
                }
            }
            self.nomination_due().into_iter().for_each(&mut at);
            self.failure_due().into_iter().for_each(&mut at);
        }
        due
    }

    /// Whether this side checks: a lite one never does (RFC 8445, section 2.5), none does without the peer's password.
    pub(super) fn sends_checks(&self) -> bool {
        !self.is_lite && self.peer.is_some()
    }

    /// Sends again what was not answered in time, or gives it up.
    fn retransmit(&mut self, now: Mono, out: &mut Sink<'_>) {
        for index in 0..self.pairs.len() {
            let pair = &mut self.pairs[index];
            if pair.state != State::InProgress || pair.check.due > now {
                continue;
            }
            let is_path_known = pair.is_valid || self.remotes[usize::from(pair.remote)].is_validated;
            pair.check.times_sent = pair.check.times_sent.saturating_add(1);
            let Some(wait) = pair.check.wait(now, is_path_known) else {
                self.fail(index);
                continue;
            };
            pair.check.due = now + wait;
            self.send(index, out);
        }
    }

    /// Begins one check, if its time has come: a triggered one first, else that of the best pair that waits.
    fn start_check(&mut self, now: Mono, random: &mut dyn Random, out: &mut Sink<'_>) {
        if now < self.next_check_at {
            return;
        }
        let indices = || self.pairs.iter().enumerate().filter(|(_, pair)| !pair.is_barred);
        let triggered = indices().filter(|(_, pair)| pair.triggered != 0).min_by_key(|(_, pair)| pair.triggered);
        let waiting = || indices().filter(|(_, p)| p.state == State::Waiting).max_by_key(|(_, p)| p.priority);
        let Some((index, _)) = triggered.or_else(waiting) else { return };
        self.next_check_at = now + PACE;
        let busy = self.pairs.iter().filter(|p| matches!(p.state, State::Waiting | State::InProgress)).count() as u32;
        let timeout_ms = (busy * PACE.as_millis() as u32).max(LEAST_TIMEOUT_MS);
        let pair = &mut self.pairs[index];
        pair.triggered = 0;
        pair.state = State::InProgress;
        pair.check = Check {
            transaction: new_transaction(random),
            abandoned: pair.check.abandoned,
            role: self.role,
            uses_candidate: pair.is_nominating && self.role == Role::Controlling,
            times_sent: 1,
            timeout_ms,
            started_at: now,
            due: now + Duration::from_millis(timeout_ms.into()),
        };
        self.send(index, out);
    }

    /// Sends the check of a pair as it stands.
    fn send(&mut self, index: usize, out: &mut Sink<'_>) {
        let Some(peer) = &self.peer else { return };
        let pair = &self.pairs[index];
        let local = &self.locals[usize::from(pair.local)];
        let mut buffer = [0; MESSAGE_BYTES];
        let writer = Writer::new(&mut buffer, Class::Request, BINDING, pair.check.transaction)
            .username(&peer.credentials.ufrag, &self.local.ufrag)
            .priority(candidate::priority(Kind::PeerReflexive, local.local_preference, local.component))
            .role(self.role_attribute(pair.check.role));
        let writer = if pair.check.uses_candidate { writer.use_candidate() } else { writer };
        // Descriptions whose fragments do not fit are not valid, and their pairs fail in time.
        if let Some(bytes) = writer.integrity(&peer.credentials.password).fingerprint().finish() {
            out(local.token, self.remotes[usize::from(pair.remote)].address, bytes);
        }
    }

    pub(super) fn role_attribute(&self, role: Role) -> RoleAttribute {
        match role {
            Role::Controlling => RoleAttribute::Controlling(self.tie_breaker),
            Role::Controlled => RoleAttribute::Controlled(self.tie_breaker),
        }
    }

    pub(super) fn fail(&mut self, index: usize) {
        let pair = &mut self.pairs[index];
        pair.state = State::Failed;
        pair.is_valid = false;
        pair.is_nominating = false;
        pair.triggered = 0;
        pair.nominated_at = None;
    }

    /// Puts a pair at the end of the queue of triggered checks, giving up the check that is under way.
    pub(super) fn trigger(&mut self, index: usize) {
        self.last_triggered = self.last_triggered.wrapping_add(1).max(1);
        let pair = &mut self.pairs[index];
        if pair.state == State::InProgress {
            pair.check.abandoned = pair.check.transaction;
        }
        pair.state = State::Waiting;
        if pair.triggered == 0 {
            pair.triggered = self.last_triggered;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(times_sent: u8) -> Check {
        Check {
            transaction: TransactionId::default(),
            abandoned: TransactionId::default(),
            role: Role::Controlling,
            uses_candidate: false,
            times_sent,
            timeout_ms: 500,
            started_at: Mono(0),
            due: Mono(0),
        }
    }

    #[test]
    fn a_check_takes_39_and_a_half_seconds_to_fail() {
        let waits: Vec<u128> =
            (1..=8).map_while(|times| check(times).wait(Mono(0), false)).map(|w| w.as_millis()).collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16000, 8000]);
        assert_eq!(waits.iter().sum::<u128>(), 39_500);
        let (mut now, mut times_sent) = (Mono(0), 1);
        while let Some(wait) = check(times_sent).wait(now, true) {
            now = now + wait;
            times_sent += 1;
        }
        assert_eq!((now.since(Mono(0)).as_millis(), times_sent), (39_500, 80));
    }
}
