//! Consent to send (RFC 7675): the selected pair is asked every few seconds, which also keeps bindings of NATs open.

use super::{Agent, Event, Kind, MESSAGE_BYTES, Outcome, Reason, Sink, candidate, checks};
use crate::base::random::Random;
use crate::base::time::Mono;
use crate::wire::stun::{BINDING, Class, Message, TransactionId, Writer};
use std::net::SocketAddr;
use std::time::Duration;

/// Consent holds this long after an answer (RFC 7675, section 5.1).
const LIFETIME: Duration = Duration::from_secs(30);
/// The least time between two questions; at most `SPREAD_MS` more (RFC 7675, section 5.1: 5 seconds, 0.8 to 1.2 times).
const LEAST_INTERVAL: Duration = Duration::from_secs(4);
const SPREAD_MS: u32 = 2000;
/// Questions that may still be answered.
const OUTSTANDING: usize = 4;

#[derive(Debug, Clone)]
pub(super) struct Consent {
    next: Mono,
    expires: Mono,
    /// The newest is overwritten last; all zero stands for none.
    outstanding: [TransactionId; OUTSTANDING],
}

fn interval(random: u32) -> Duration {
    let spread_ms = (u64::from(random) * u64::from(SPREAD_MS + 1)) >> 32;
    LEAST_INTERVAL + Duration::from_millis(spread_ms)
}

impl Consent {
    /// Consent that an answered check has just given. `random` are any 32 bits.
    pub(super) fn new(now: Mono, random: u32) -> Consent {
        let outstanding = [TransactionId::default(); OUTSTANDING];
        Consent { next: now + interval(random), expires: now + LIFETIME, outstanding }
    }
}

impl Agent {
    /// When consent is to be asked for or ends.
    pub(super) fn consent_due(&self) -> Option<Mono> {
        let consents = self.selected.iter().flatten().filter_map(|selected| selected.consent.as_ref());
        consents.map(|consent| consent.next.min(consent.expires)).min()
    }

    /// Asks, or finds that consent has ended.
    pub(super) fn check_consent(&mut self, now: Mono, random: &mut dyn Random, out: &mut Sink<'_>) {
        for component in [1, 2] {
            let slot = usize::from(component - 1);
            let Some(consent) = self.selected[slot].as_mut().and_then(|selected| selected.consent.as_mut()) else {
                continue;
            };
            if consent.expires <= now {
                self.lose_consent(component);
            } else if consent.next <= now {
                consent.next = now + interval(random.u32());
                consent.outstanding.rotate_right(1);
                consent.outstanding[0] = checks::new_transaction(random);
                let transaction = consent.outstanding[0];
                self.ask(slot, transaction, out);
            }
        }
    }

    fn ask(&self, slot: usize, transaction: TransactionId, out: &mut Sink<'_>) {
        let Some(selected) = &self.selected[slot] else { return };
        let former = self.former.as_deref().filter(|_| selected.is_former);
        let (ours, theirs) = match (former, &self.peer) {
            (Some(former), _) => (&former.local, &former.remote),
            (None, Some(peer)) => (&self.local, &peer.credentials),
            (None, None) => return,
        };
        let preference =
            self.locals.iter().find(|l| l.token == selected.token).map_or(0, |local| local.local_preference);
        let mut buffer = [0; MESSAGE_BYTES];
        let message = Writer::new(&mut buffer, Class::Request, BINDING, transaction)
            .username(&theirs.ufrag, &ours.ufrag)
            .priority(candidate::priority(Kind::PeerReflexive, preference, slot as u8 + 1))
            .role(self.role_attribute(self.role))
            .integrity(&theirs.password)
            .fingerprint()
            .finish();
        if let Some(bytes) = message {
            out(selected.token, selected.remote, bytes);
        }
    }

    /// Takes an answer to a question for consent; none when it answers no such question.
    pub(super) fn consent_response(
        &mut self,
        now: Mono,
        local: usize,
        from: SocketAddr,
        message: &Message<'_>,
    ) -> Option<Outcome> {
        let token = self.locals[local].token;
        let id = message.transaction_id();
        let is_asked = |consent: &Consent| consent.outstanding.contains(&id);
        let selected = self.selected.iter_mut().flatten().find(|s| s.consent.as_ref().is_some_and(is_asked))?;
        let former = self.former.as_deref().filter(|_| selected.is_former).map(|former| &former.remote);
        let theirs = former.or(self.peer.as_ref().map(|peer| &peer.credentials))?;
        if !message.is_authentic(&theirs.password) {
            return Some(Outcome::Dropped(Reason::WrongIntegrity));
        }
        if (selected.token, selected.remote) != (token, from) {
            return Some(Outcome::Dropped(Reason::WrongSource));
        }
        if let Some(consent) = selected.consent.as_mut().filter(|_| message.class() == Class::Success) {
            consent.expires = now + LIFETIME;
        }
        Some(Outcome::Consumed)
    }

    /// The pair is given up, and barred for this generation.
    fn lose_consent(&mut self, component: u8) {
        let Some(lost) = self.selected[usize::from(component - 1)].take() else { return };
        for index in 0..self.pairs.len() {
            let pair = &self.pairs[index];
            let is_lost = self.locals[usize::from(pair.local)].token == lost.token
                && self.remotes[usize::from(pair.remote)].address == lost.remote;
            if is_lost && !lost.is_former {
                self.fail(index);
                self.pairs[index].is_barred = true;
            }
        }
        self.tell(Event::ConsentLost { component });
    }
}
