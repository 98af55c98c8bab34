//! The check list: which local and remote candidates are paired, and in which order (RFC 8445, section 6.1.2).

use super::{Agent, Kind, LocalCandidate, MOST_PAIRS, Remote, Role, candidate};
use crate::base::time::Mono;
use crate::wire::stun::TransactionId;
use std::net::{IpAddr, SocketAddr};

/// The states of RFC 8445, section 6.1.2.6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Frozen,
    Waiting,
    InProgress,
    Succeeded,
    Failed,
}

/// The check of a pair that is under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Check {
    /// All zero before the first check.
    pub(super) transaction: TransactionId,
    /// The check before, which was given up for a triggered one and may still be answered.
    pub(super) abandoned: TransactionId,
    pub(super) role: Role,
    pub(super) uses_candidate: bool,
    pub(super) times_sent: u8,
    pub(super) timeout_ms: u32,
    pub(super) started_at: Mono,
    pub(super) due: Mono,
}

/// A local and a remote candidate of one component and family.
#[derive(Debug, Clone)]
pub(super) struct Pair {
    /// Places in the agent's lists.
    pub(super) local: u8,
    pub(super) remote: u8,
    pub(super) component: u8,
    pub(super) state: State,
    /// Whether a check has been answered: the pair is on the valid list.
    pub(super) is_valid: bool,
    /// Whether this side, controlling, has chosen it.
    pub(super) is_nominating: bool,
    /// Whether consent was lost on it: its credentials must not be used there again (RFC 7675, section 5.1).
    pub(super) is_barred: bool,
    /// The place in the queue of triggered checks; zero when it is not in it.
    pub(super) triggered: u32,
    pub(super) priority: u64,
    /// When the peer, controlling, last named it.
    pub(super) nominated_at: Option<Mono>,
    pub(super) check: Check,
}

impl Pair {
    /// Whether an answer may yet come to it or a check be sent on it.
    pub(super) fn is_open(&self) -> bool {
        !self.is_barred && !matches!(self.state, State::Failed)
    }

    fn is_untried(&self) -> bool {
        matches!(self.state, State::Frozen | State::Waiting) && self.triggered == 0 && !self.is_valid
    }
}

/// Whether a datagram can be sent to it at all.
pub(super) fn is_sendable(address: SocketAddr) -> bool {
    let ip = address.ip();
    let is_broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !is_broadcast
}

/// Whether the two may form a pair: one component, one family, link-local with link-local (RFC 8445, section 6.1.2.2).
/// Loopback likewise, or a description could make this side send to services of its own host.
fn is_pair(local: &LocalCandidate, remote: &Remote) -> bool {
    let is_link_local = |ip| matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    let (here, there) = (super::canonical(local.address).ip(), remote.address.ip());
    local.component == remote.component
        && here.is_ipv4() == there.is_ipv4()
        && is_link_local(here) == is_link_local(there)
        && here.is_loopback() == there.is_loopback()
}

/// The priority of a pair (RFC 8445, section 6.1.2.3).
fn pair_priority(controlling: u32, controlled: u32) -> u64 {
    let (low, high) = (controlling.min(controlled), controlling.max(controlled));
    u64::from(low) << 32 | u64::from(high) << 1 | u64::from(controlling > controlled)
}

impl Agent {
    pub(super) fn find_pair(&self, local: usize, remote: usize) -> Option<usize> {
        self.pairs.iter().position(|pair| usize::from(pair.local) == local && usize::from(pair.remote) == remote)
    }

    /// Pairs what is not paired yet, of components that have no selection. Redundant pairs do not arise: every local
    /// candidate is a base, and a remote address is known once.
    pub(super) fn form_pairs(&mut self) {
        if self.is_lite {
            return;
        }
        for component in 1..=self.component_count {
            if self.is_selected(component) {
                continue;
            }
            for (_, local, remote) in self.signalled_pairs(component) {
                if self.find_pair(local, remote).is_none() {
                    self.add_pair(local, remote, false);
                }
            }
        }
        self.thaw_groups();
    }

    /// Adds a pair and gives its place; none when the list is full of better ones. One that the peer has checked takes
    /// the place of any that has not been tried.
    pub(super) fn add_pair(&mut self, local: usize, remote: usize, is_checked_by_peer: bool) -> Option<usize> {
        let priority = self.priority_of(local, remote);
        if self.pairs.len() >= MOST_PAIRS {
            let idle = self.pairs.iter().enumerate().filter(|(_, pair)| {
                !pair.is_barred && (pair.is_untried() || (pair.state == State::Failed && !pair.is_valid))
            });
            let (worst, pair) = idle.min_by_key(|(_, pair)| pair.priority)?;
            if pair.priority >= priority && !is_checked_by_peer {
                return None;
            }
            self.pairs.swap_remove(worst);
        }
        self.pairs.push(Pair {
            local: local as u8,
            remote: remote as u8,
            component: self.locals[local].component,
            state: State::Frozen,
            is_valid: false,
            is_nominating: false,
            is_barred: false,
            triggered: 0,
            priority,
            nominated_at: None,
            check: Check {
                transaction: TransactionId::default(),
                abandoned: TransactionId::default(),
                role: self.role,
                uses_candidate: false,
                times_sent: 0,
                timeout_ms: 0,
                started_at: Mono(0),
                due: Mono(0),
            },
        });
        Some(self.pairs.len() - 1)
    }

    fn priority_of(&self, local: usize, remote: usize) -> u64 {
        let LocalCandidate { component, local_preference, .. } = self.locals[local];
        let ours = candidate::priority(Kind::Host, local_preference, component);
        let theirs = self.remotes[remote].priority;
        match self.role {
            Role::Controlling => pair_priority(ours, theirs),
            Role::Controlled => pair_priority(theirs, ours),
        }
    }

    /// Computes the priorities of all pairs again, after a change of role or of a remote candidate.
    pub(super) fn set_priorities(&mut self) {
        for index in 0..self.pairs.len() {
            let (local, remote) = (self.pairs[index].local, self.pairs[index].remote);
            self.pairs[index].priority = self.priority_of(local.into(), remote.into());
        }
    }

    /// What may be paired: the pair's priority, the places of the local and the remote candidate.
    pub(super) fn signalled_pairs(&self, component: u8) -> Vec<(u64, usize, usize)> {
        let mut pairs = Vec::new();
        for (at, local) in self.locals.iter().enumerate().filter(|(_, local)| local.component == component) {
            let fitting = self.remotes.iter().enumerate().filter(|(_, remote)| is_pair(local, remote));
            pairs.extend(fitting.map(|(remote, _)| (self.priority_of(at, remote), at, remote)));
        }
        pairs
    }

    /// Whether two pairs have one foundation: the same address here and the same foundation there.
    fn are_alike(&self, one: &Pair, other: &Pair) -> bool {
        let here = |pair: &Pair| self.locals[usize::from(pair.local)].address.ip();
        let there = |pair: &Pair| &*self.remotes[usize::from(pair.remote)].foundation;
        !there(one).is_empty() && there(one) == there(other) && here(one) == here(other)
    }

    /// Whether a pair of the foundation of `pair` is in a state that `is_in` names.
    fn has_alike(&self, pair: &Pair, is_in: fn(&Pair) -> bool) -> bool {
        self.pairs.iter().any(|other| is_in(other) && self.are_alike(pair, other))
    }

    /// Of every foundation of which nothing has been tried, the first component's best pair waits (RFC 8445,
    /// section 6.1.2.6); pairs whose foundation has already worked wait as well (RFC 8838, section 12).
    fn thaw_groups(&mut self) {
        let mut frozen: Vec<usize> =
            (0..self.pairs.len()).filter(|&index| self.pairs[index].state == State::Frozen).collect();
        frozen.sort_by_key(|&index| (self.pairs[index].component, std::cmp::Reverse(self.pairs[index].priority)));
        for index in frozen {
            let pair = &self.pairs[index];
            if self.has_alike(pair, |other| other.is_valid) || !self.has_alike(pair, |o| o.state != State::Frozen) {
                self.pairs[index].state = State::Waiting;
            }
        }
    }

    /// Pairs of the foundation of a pair that works wait (RFC 8445, section 7.2.5.3.3).
    pub(super) fn thaw_alike(&mut self, index: usize) {
        for other in 0..self.pairs.len() {
            if self.pairs[other].state == State::Frozen && self.are_alike(&self.pairs[index], &self.pairs[other]) {
                self.pairs[other].state = State::Waiting;
            }
        }
    }

    /// When none waits, the best frozen pair whose foundation is not being tried does (RFC 8445, section 6.1.4.2).
    pub(super) fn thaw(&mut self) {
        if self.pairs.iter().any(|pair| pair.state == State::Waiting) {
            return;
        }
        let frozen = self.pairs.iter().enumerate().filter(|(_, pair)| pair.state == State::Frozen);
        let free = frozen.filter(|(_, pair)| !self.has_alike(pair, |other| other.state == State::InProgress));
        if let Some((index, _)) = free.max_by_key(|(_, pair)| pair.priority) {
            self.pairs[index].state = State::Waiting;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priorities_of_pairs_follow_the_formula() {
        assert_eq!(pair_priority(1, 2), 1 << 32 | 4);
        assert_eq!(pair_priority(2, 1), 1 << 32 | 5);
        assert_eq!(pair_priority(u32::MAX, u32::MAX), u64::MAX - 1);
    }

    #[test]
    fn only_what_fits_is_paired() {
        for (here, there, expected) in [
            ("192.0.2.1:1", "203.0.113.1:2", true),
            ("192.0.2.1:1", "[2001:db8::1]:2", false),
            ("192.0.2.1:1", "127.0.0.1:2", false),
            ("127.0.0.1:1", "127.0.0.1:2", true),
            ("[2001:db8::2]:1", "[fe80::1]:2", false),
            ("[fe80::2]:1", "[fe80::1]:2", true),
        ] {
            let local = LocalCandidate {
                component: 1,
                address: here.parse().unwrap(),
                local_preference: 1,
                token: crate::base::id::PortToken(1),
            };
            let mut remote = Remote {
                component: 1,
                kind: Kind::Host,
                is_validated: false,
                priority: 1,
                address: there.parse().unwrap(),
                foundation: "1".into(),
            };
            assert_eq!(is_pair(&local, &remote), expected, "{here} {there}");
            remote.component = 2;
            assert!(!is_pair(&local, &remote));
        }
        for (address, expected) in [
            ("192.0.2.1:9", true),
            ("192.0.2.1:0", false),
            ("0.0.0.0:9", false),
            ("255.255.255.255:9", false),
            ("224.0.0.1:9", false),
            ("[ff02::1]:9", false),
            ("[2001:db8::1]:9", true),
        ] {
            assert_eq!(is_sendable(address.parse().unwrap()), expected, "{address}");
        }
    }
}
