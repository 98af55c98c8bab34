//! The port numbers of all shards. Every address has one pool, whichever shard its ports are opened on; the lock is
//! held for a moment when a call takes or returns a pair, never on the way of a packet. Pairs that entries of a dead daemon
//! use are not given out as long as they do.

use crate::base::random::Random;
use crate::call::port_pool::PortPool;
use crate::call::{InterfaceId, Interfaces, PortNumbers};
use crate::io::random::SystemRandomness;
use crate::io::xdp::Orphans;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One shard's hold on the pools.
#[derive(Debug, Clone)]
pub(super) struct SharedNumbers {
    pools: Arc<HashMap<InterfaceId, Mutex<PortPool>>>,
    claims: Arc<Claims>,
    orphans: Option<Arc<Orphaned>>,
}

/// Pairs that are in use without a call.
#[derive(Debug)]
struct Orphaned {
    orphans: Arc<Orphans>,
    /// Where each was taken out.
    pairs: HashMap<(IpAddr, u16), Vec<InterfaceId>>,
}

/// Ports that clients have named.
#[derive(Debug)]
struct Claims {
    addresses: HashMap<InterfaceId, IpAddr>,
    /// The pairs of the pools that each has cost.
    claimed: Mutex<HashMap<(IpAddr, u16), Pairs>>,
}

/// Pairs of pools by their even ports.
type Pairs = Vec<(InterfaceId, u16)>;

/// How full a pool is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Fill {
    pub total: usize,
    pub used: usize,
    pub free: usize,
}

impl SharedNumbers {
    /// Pools for every address, without what `orphans` use.
    pub(super) fn new(interfaces: &Interfaces, orphans: Option<&Arc<Orphans>>) -> SharedNumbers {
        let pools = interfaces.addresses().map(|(id, _, local)| {
            (id, Mutex::new(PortPool::new(local.port_min, local.port_max, &local.excluded_ports)))
        });
        let addresses = interfaces.addresses().map(|(id, _, local)| (id, local.address)).collect();
        let claims = Arc::new(Claims { addresses, claimed: Mutex::default() });
        let mut numbers = SharedNumbers { pools: Arc::new(pools.collect()), claims, orphans: None };
        numbers.orphans = orphans.map(|orphans| Arc::new(numbers.reserve(interfaces, orphans)));
        numbers
    }

    fn reserve(&self, interfaces: &Interfaces, orphans: &Arc<Orphans>) -> Orphaned {
        let mut pairs: HashMap<(IpAddr, u16), Vec<InterfaceId>> = HashMap::new();
        for (address, even) in orphans.pairs() {
            for (id, _, _) in interfaces.addresses().filter(|(_, _, local)| local.address == address) {
                if self.pool(id).is_some_and(|mut pool| pool.reserve(even)) {
                    pairs.entry((address, even)).or_default().push(id);
                }
            }
        }
        Orphaned { orphans: orphans.clone(), pairs }
    }

    /// Puts back what orphans have ceased to use.
    fn settle(&self) {
        let Some(orphaned) = &self.orphans else { return };
        for pair in orphaned.orphans.take_released() {
            for interface in orphaned.pairs.get(&pair).into_iter().flatten() {
                if let Some(mut pool) = self.pool(*interface) {
                    pool.put(pair.1);
                }
            }
        }
    }

    /// How full the pool of `interface` is.
    pub(super) fn fill(&self, interface: InterfaceId) -> Fill {
        self.settle();
        self.pool(interface).map_or(Fill::default(), |pool| Fill {
            total: pool.total(),
            used: pool.used(),
            free: pool.free(),
        })
    }

    /// Takes the pairs of an address's pools that hold `port` and the one above it; none when one is in use.
    fn take_pairs(&self, address: IpAddr, port: u16) -> Option<Pairs> {
        let mut taken = Vec::new();
        let mut evens = vec![port & !1, port.saturating_add(1) & !1];
        evens.dedup();
        let here = self.claims.addresses.iter().filter(|(_, other)| **other == address).map(|(id, _)| *id);
        for (id, even) in here.flat_map(|id| evens.iter().map(move |even| (id, *even))) {
            let Some(mut pool) = self.pool(id).filter(|pool| pool.covers(even)) else { continue };
            if !pool.reserve(even) {
                drop(pool);
                self.put_pairs(taken);
                return None;
            }
            taken.push((id, even));
        }
        Some(taken)
    }

    fn put_pairs(&self, pairs: Pairs) {
        for (id, even) in pairs {
            if let Some(mut pool) = self.pool(id) {
                pool.put(even);
            }
        }
    }

    /// A pool is whole between calls, so one whose user panicked may be used on.
    fn pool(&self, interface: InterfaceId) -> Option<MutexGuard<'_, PortPool>> {
        Some(self.pools.get(&interface)?.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl PortNumbers for SharedNumbers {
    fn take(&mut self, interface: InterfaceId) -> Option<u16> {
        self.settle();
        let random: &mut dyn Random = &mut SystemRandomness::new();
        self.pool(interface)?.take(random)
    }

    fn put(&mut self, interface: InterfaceId, even: u16) {
        if let Some(mut pool) = self.pool(interface) {
            pool.put(even);
        }
    }

    fn claim(&mut self, interface: InterfaceId, port: u16) -> bool {
        self.settle();
        let Some(address) = self.claims.addresses.get(&interface).copied() else { return false };
        let mut claimed = self.claims.claimed.lock().unwrap_or_else(PoisonError::into_inner);
        let overlapping = [port.wrapping_sub(1), port, port.wrapping_add(1)];
        if overlapping.iter().any(|port| claimed.contains_key(&(address, *port))) {
            return false;
        }
        let pairs = self.take_pairs(address, port);
        pairs.map(|pairs| claimed.insert((address, port), pairs)).is_some()
    }

    fn release(&mut self, interface: InterfaceId, port: u16) {
        let Some(address) = self.claims.addresses.get(&interface) else { return };
        let mut claimed = self.claims.claimed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pairs) = claimed.remove(&(*address, port)) {
            self.put_pairs(pairs);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::interface::{Interface, LocalAddress};

    fn numbers() -> (SharedNumbers, [InterfaceId; 2]) {
        let local = |address: [u8; 4]| LocalAddress {
            address: address.into(),
            advertised: address.into(),
            port_min: 30_000,
            port_max: 30_009,
            excluded_ports: Vec::new(),
        };
        let interface = |name: &str, address| Interface { name: name.to_owned(), addresses: vec![local(address)] };
        // Two names of one address.
        let list = vec![interface("a", [192, 0, 2, 1]), interface("b", [192, 0, 2, 1])];
        let ids = [0, 1].map(|interface| InterfaceId { interface, address: 0 });
        (SharedNumbers::new(&Interfaces::new(list, Vec::new()), None), ids)
    }

    #[test]
    fn a_claimed_port_is_nobody_else_s() {
        let (mut numbers, [a, b]) = numbers();
        assert!(numbers.claim(a, 20_000), "outside of the range");
        for overlapping in [19_999, 20_000, 20_001] {
            assert!(!numbers.claim(b, overlapping), "{overlapping}");
        }
        assert!(numbers.claim(b, 20_002));
        numbers.release(b, 20_000);
        numbers.release(b, 20_000);
        assert!(!numbers.claim(a, 20_001) && numbers.claim(a, 19_999));
    }

    #[test]
    fn a_claim_within_the_range_costs_the_pools_their_pairs() {
        let (mut numbers, [a, b]) = numbers();
        assert!(numbers.claim(a, 30_003), "odd: it takes two pairs");
        assert_eq!([a, b].map(|id| numbers.fill(id).used), [4, 4]);
        let mut taken: Vec<u16> = std::iter::from_fn(|| numbers.take(b)).collect();
        taken.sort_unstable();
        assert_eq!(taken, [30_000, 30_006, 30_008]);
        assert!(!numbers.claim(a, 30_006), "a call has it");
        numbers.release(a, 30_003);
        assert_eq!([a, b].map(|id| numbers.fill(id).used), [0, 6]);
    }
}
