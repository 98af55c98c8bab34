//! Which pair media takes: nomination by this side or the peer, and giving up (RFC 8445, sections 8 and 6.1.1).

use super::consent::Consent;
use super::pairs::{Pair, State};
use super::{Agent, Event, Role, SelectedPair};
use crate::base::id::PortToken;
use crate::base::time::Mono;
use std::net::SocketAddr;
use std::time::Duration;

/// How long a controlling side waits for better pairs once every component has a valid one.
const PATIENCE: Duration = Duration::from_millis(100);
/// A pair of lower priority replaces the selected one when the peer names it this long after that. Within this time
/// the nominations of an aggressive peer come (RFC 5245, section 8.1.1.2), of which the best counts; later, it has moved.
const NOMINATION_SPAN: Duration = Duration::from_secs(3);
/// How long the peer's checks are awaited before giving up, even without any pair (RFC 8863).
const LEAST_TIME_TO_FAIL: Duration = Duration::from_millis(39_500);

/// A selected pair.
#[derive(Debug, Clone)]
pub(super) struct Selected {
    pub(super) token: PortToken,
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    priority: u64,
    /// When it was last named by the controlling side.
    nominated_at: Mono,
    /// Whether it is from before a restart.
    pub(super) is_former: bool,
    /// None on a lite side.
    pub(super) consent: Option<Consent>,
}

impl Selected {
    pub(super) fn pair(&self, component: u8) -> SelectedPair {
        SelectedPair { component, token: self.token, local: self.local, remote: self.remote }
    }
}

impl Agent {
    /// Selects a pair that the peer has named, if it is valid and better than what is selected.
    pub(super) fn consider(&mut self, now: Mono, index: usize) {
        let pair = &self.pairs[index];
        let Some(nominated_at) = pair.nominated_at.filter(|_| pair.is_valid && self.role == Role::Controlled) else {
            return;
        };
        let remote = self.remotes[usize::from(pair.remote)].address;
        let token = self.locals[usize::from(pair.local)].token;
        let (component, priority) = (pair.component, pair.priority);
        let is_better = match &mut self.selected[usize::from(component - 1)] {
            Some(current) if !current.is_former => {
                if (current.token, current.remote) == (token, remote) {
                    current.nominated_at = nominated_at;
                }
                priority > current.priority || nominated_at.since(current.nominated_at) > NOMINATION_SPAN
            }
            _ => true,
        };
        if is_better {
            self.select(now, index);
        }
    }

    pub(super) fn select(&mut self, now: Mono, index: usize) {
        let pair = &self.pairs[index];
        let (component, priority) = (pair.component, pair.priority);
        let local = self.locals[usize::from(pair.local)];
        let remote = self.remotes[usize::from(pair.remote)].address;
        let slot = usize::from(component - 1);
        let is_same = self.selected[slot]
            .as_ref()
            .is_some_and(|current| !current.is_former && (current.token, current.remote) == (local.token, remote));
        if !is_same {
            let consent = (!self.is_lite).then(|| Consent::new(now, self.jitter));
            let selected = Selected {
                token: local.token,
                local: local.address,
                remote,
                priority,
                nominated_at: now,
                is_former: false,
                consent,
            };
            self.tell(Event::Selected(selected.pair(component)));
            self.selected[slot] = Some(selected);
        }
        self.has_failed = false;
        self.stop_checks(component, priority);
        if self.is_complete() {
            self.former = None;
        }
    }

    /// Ends the checks of a component that has a selection, but for those under way on better pairs, which an
    /// aggressive peer may yet name (RFC 5245, section 8.1.2).
    fn stop_checks(&mut self, component: u8, priority: u64) {
        self.pairs.retain(|pair| {
            let is_better = pair.state == State::InProgress && pair.priority > priority;
            pair.component != component || pair.is_valid || pair.is_barred || pair.triggered != 0 || is_better
        });
    }

    fn pairs_of(&self, component: u8) -> impl Iterator<Item = (usize, &Pair)> {
        self.pairs.iter().enumerate().filter(move |(_, pair)| pair.component == component)
    }

    fn best_valid(&self, component: u8) -> Option<(usize, &Pair)> {
        let valid = self.pairs_of(component).filter(|(_, pair)| pair.is_valid && !pair.is_barred);
        valid.max_by_key(|(_, pair)| pair.priority)
    }

    /// The components that this side, controlling, has yet to name a pair for.
    fn is_unnamed(&self, component: u8) -> bool {
        !self.is_selected(component) && !self.pairs_of(component).any(|(_, pair)| pair.is_nominating)
    }

    /// Regular nomination (RFC 8445, section 8.1.1): when every component has a valid pair, the best is named at once
    /// if nothing better can come, else after a short wait.
    pub(super) fn nominate(&mut self, now: Mono) {
        if !self.sends_checks() || self.role != Role::Controlling || self.is_complete() {
            return;
        }
        let components = 1..=self.component_count;
        if !components.clone().all(|component| self.is_selected(component) || self.best_valid(component).is_some()) {
            self.valid_at = None;
            return;
        }
        let valid_at = *self.valid_at.get_or_insert(now);
        let is_best = |component: u8| {
            let best = self.best_valid(component).map_or(0, |(_, pair)| pair.priority);
            self.pairs_of(component).all(|(_, pair)| !pair.is_open() || pair.priority <= best)
        };
        if now < valid_at + PATIENCE && !components.clone().all(is_best) {
            return;
        }
        for component in components {
            if let Some((index, _)) = self.best_valid(component).filter(|_| self.is_unnamed(component)) {
                self.pairs[index].is_nominating = true;
                self.trigger(index);
            }
        }
    }

    /// When the wait for better pairs ends.
    pub(super) fn nomination_due(&self) -> Option<Mono> {
        let is_awaited = self.role == Role::Controlling && (1..=self.component_count).any(|c| self.is_unnamed(c));
        self.valid_at.filter(|_| is_awaited).map(|at| at + PATIENCE)
    }

    /// Between two lite sides nothing is checked: the best pair of what was signalled is taken (RFC 8445,
    /// section 8.2). The formula is the same on both, so that they agree.
    pub(super) fn select_between_lite_sides(&mut self, now: Mono) {
        if !self.is_lite || !self.peer.as_ref().is_some_and(|peer| peer.is_lite) {
            return;
        }
        for component in 1..=self.component_count {
            if self.is_selected(component) {
                continue;
            }
            let best = self.signalled_pairs(component).into_iter().max_by_key(|(priority, ..)| *priority);
            let Some((_, local, remote)) = best else { continue };
            if let Some(index) = self.find_pair(local, remote).or_else(|| self.add_pair(local, remote, false)) {
                self.pairs[index].is_valid = true;
                self.pairs[index].state = State::Succeeded;
                self.select(now, index);
            }
        }
    }

    /// Gives up once every pair of a component has failed and nothing more is to come.
    pub(super) fn look_for_failure(&mut self, now: Mono) {
        if self.failure_due().is_some_and(|due| due <= now) {
            self.has_failed = true;
            self.tell(Event::Failed);
        }
    }

    /// When this side gives up, as things stand.
    pub(super) fn failure_due(&self) -> Option<Mono> {
        let peer = self.peer.as_ref().filter(|_| self.sends_checks() && !self.has_failed)?;
        if peer.is_trickling && !peer.has_ended {
            return None;
        }
        let is_hopeless =
            |component: u8| !self.is_selected(component) && !self.pairs_of(component).any(|(_, pair)| pair.is_open());
        let started_at = self.started_at.filter(|_| (1..=self.component_count).any(is_hopeless))?;
        Some(started_at + LEAST_TIME_TO_FAIL)
    }
}
