//! Answers to this side's checks (RFC 8445, section 7.2.5).

use super::pairs::State;
use super::{Agent, Outcome, Reason, Role};
use crate::base::time::Mono;
use crate::wire::stun::{Class, Message, TransactionId};
use std::net::SocketAddr;

const ROLE_CONFLICT: u16 = 487;

impl Agent {
    pub(super) fn response(&mut self, now: Mono, local: usize, from: SocketAddr, message: &Message<'_>) -> Outcome {
        let id = message.transaction_id();
        if id == TransactionId::default() {
            return Outcome::Dropped(Reason::UnknownTransaction);
        }
        if let Some(outcome) = self.consent_response(now, local, from, message) {
            return outcome;
        }
        let asked = |check: TransactionId| check == id;
        let found = self.pairs.iter().position(|pair| asked(pair.check.transaction) || asked(pair.check.abandoned));
        let (Some(index), Some(peer)) = (found, &self.peer) else {
            return Outcome::Dropped(Reason::UnknownTransaction);
        };
        // Errors without integrity as well: anybody can send those (RFC 8489, section 9.1.4).
        if !message.is_authentic(&peer.credentials.password) {
            return Outcome::Dropped(Reason::WrongIntegrity);
        }
        let pair = &self.pairs[index];
        let is_current = pair.check.transaction == id;
        if usize::from(pair.local) != local || self.remotes[usize::from(pair.remote)].address != from {
            // RFC 8445, section 7.2.5.2.1.
            if is_current && !pair.is_valid {
                self.fail(index);
            }
            return Outcome::Dropped(Reason::WrongSource);
        }
        if message.class() == Class::Success && message.unknown_required().next().is_none() {
            self.succeed(now, index, is_current);
        } else if is_current && pair.state == State::InProgress {
            self.meet_error(index, message.error_code());
        }
        Outcome::Consumed
    }

    /// A check of this side was answered: the pair is valid.
    fn succeed(&mut self, now: Mono, index: usize, is_current: bool) {
        let pair = &mut self.pairs[index];
        if pair.is_barred {
            return;
        }
        let is_nomination = is_current && pair.check.uses_candidate && self.role == Role::Controlling;
        pair.is_valid = true;
        // A nomination that is queued or under way goes on whatever an earlier check says.
        if is_current || !pair.is_nominating {
            pair.state = State::Succeeded;
            pair.triggered = 0;
            pair.check.transaction = TransactionId::default();
            pair.check.abandoned = TransactionId::default();
        }
        let remote = usize::from(pair.remote);
        self.remotes[remote].is_validated = true;
        self.thaw_alike(index);
        if is_nomination {
            self.select(now, index);
        } else {
            self.consider(now, index);
        }
    }

    /// An authenticated error ends the check, but for a conflict of roles, which is settled here.
    fn meet_error(&mut self, index: usize, code: Option<u16>) {
        if code != Some(ROLE_CONFLICT) {
            self.fail(index);
            return;
        }
        if self.pairs[index].check.role == self.role {
            self.is_tie_breaker_spent = true;
            self.set_role(match self.role {
                Role::Controlling => Role::Controlled,
                Role::Controlled => Role::Controlling,
            });
        }
        self.trigger(index);
    }
}
