//! The network between phones and the daemon.

use super::world::Datagram;
use millrace::base::random::{Random, Seeded};
use millrace::base::time::Mono;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// What happens to datagrams on their way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conditions {
    /// In a thousand.
    pub loss: u32,
    /// In a thousand.
    pub doubled: u32,
    pub delay: Duration,
    /// Up to this is added at random, which displaces datagrams.
    pub jitter: Duration,
}

impl Conditions {
    /// Nothing is lost, all arrive in order.
    pub const CALM: Conditions =
        Conditions { loss: 0, doubled: 0, delay: Duration::from_millis(5), jitter: Duration::ZERO };
    /// As bad as calls still go on.
    pub const ROUGH: Conditions =
        Conditions { loss: 50, doubled: 30, delay: Duration::from_millis(20), jitter: Duration::from_millis(60) };
}

/// A NAT with one public address that lets in only what was asked for (port-restricted, RFC 4787).
#[derive(Debug)]
struct Nat {
    public: IpAddr,
    /// Public port by inner address.
    mappings: HashMap<SocketAddr, u16>,
    /// Who may send to a public port.
    admitted: HashSet<(u16, SocketAddr)>,
    next_port: u16,
}

/// Datagrams on their way.
pub struct Network {
    pub conditions: Conditions,
    under_way: BTreeMap<(Mono, u64), Datagram>,
    nats: HashMap<IpAddr, Nat>,
    random: Seeded,
    next: u64,
}

impl Network {
    pub fn new(seed: u64, conditions: Conditions) -> Network {
        Network { conditions, under_way: BTreeMap::new(), nats: HashMap::new(), random: Seeded(seed), next: 0 }
    }

    /// Puts the phones at `inner` behind a NAT with the address `public`.
    pub fn add_nat(&mut self, inner: IpAddr, public: IpAddr) {
        let nat = Nat { public, mappings: HashMap::new(), admitted: HashSet::new(), next_port: 61_000 };
        self.nats.insert(inner, nat);
    }

    /// Makes the NAT of `inner` forget its mappings, as after a restart.
    pub fn restart_nat(&mut self, inner: IpAddr) {
        let nat = self.nats.get_mut(&inner).expect("a NAT");
        nat.mappings.clear();
        nat.admitted.clear();
    }

    /// Somebody sends.
    pub fn send(&mut self, now: Mono, mut datagram: Datagram) {
        if let Some(nat) = self.nats.get_mut(&datagram.from.ip()) {
            datagram.from = nat.out(datagram.from, datagram.to);
        }
        let Conditions { loss, doubled, delay, jitter } = self.conditions;
        let fate = self.random.below(1000);
        let copies = if fate < loss { 0 } else { 1 + u32::from(fate < loss + doubled) };
        for _ in 0..copies {
            let extra = Duration::from_micros(u64::from(self.random.below(jitter.as_micros() as u32)));
            self.under_way.insert((now + delay + extra, self.next), datagram.clone());
            self.next += 1;
        }
    }

    /// The next datagram that has arrived by `now`; for phones behind a NAT with their inner address.
    pub fn arrival(&mut self, now: Mono) -> Option<Datagram> {
        while self.under_way.first_key_value().is_some_and(|((at, _), _)| *at <= now) {
            let (_, mut datagram) = self.under_way.pop_first()?;
            match self.nats.values().find(|nat| nat.public == datagram.to.ip()) {
                None => return Some(datagram),
                Some(nat) => {
                    if let Some(inner) = nat.inside(datagram.from, datagram.to.port()) {
                        datagram.to = inner;
                        return Some(datagram);
                    }
                }
            }
        }
        None
    }

    /// Whether nothing is on its way.
    pub fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }
}

impl Nat {
    fn out(&mut self, inner: SocketAddr, to: SocketAddr) -> SocketAddr {
        let port = *self.mappings.entry(inner).or_insert_with(|| {
            self.next_port += 1;
            self.next_port
        });
        self.admitted.insert((port, to));
        SocketAddr::new(self.public, port)
    }

    fn inside(&self, from: SocketAddr, port: u16) -> Option<SocketAddr> {
        let mapping = self.mappings.iter().find(|(_, mapped)| **mapped == port);
        mapping.map(|(inner, _)| *inner).filter(|_| self.admitted.contains(&(port, from)))
    }
}
