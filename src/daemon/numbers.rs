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
    orphans: Option<Arc<Orphaned>>,
}

/// Pairs that are in use without a call.
#[derive(Debug)]
struct Orphaned {
    orphans: Arc<Orphans>,
    /// Where each was taken out.
    pairs: HashMap<(IpAddr, u16), Vec<InterfaceId>>,
}

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
        let mut numbers = SharedNumbers { pools: Arc::new(pools.collect()), orphans: None };
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
}
