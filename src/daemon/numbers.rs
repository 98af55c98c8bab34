//! The port numbers of all shards. Every address has one pool, whichever shard its ports are opened on; the lock is
//! held for a moment when a call takes or returns a pair, never on the way of a packet.

use crate::base::random::Random;
use crate::call::port_pool::PortPool;
use crate::call::{InterfaceId, Interfaces, PortNumbers};
use crate::io::random::SystemRandomness;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One shard's hold on the pools.
#[derive(Debug, Clone)]
pub(super) struct SharedNumbers {
    pools: Arc<HashMap<InterfaceId, Mutex<PortPool>>>,
}

/// How full a pool is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Fill {
    pub total: usize,
    pub used: usize,
    pub free: usize,
}

impl SharedNumbers {
    /// Pools for every address.
    pub(super) fn new(interfaces: &Interfaces) -> SharedNumbers {
        let pools = interfaces.addresses().map(|(id, _, local)| {
            (id, Mutex::new(PortPool::new(local.port_min, local.port_max, &local.excluded_ports)))
        });
        SharedNumbers { pools: Arc::new(pools.collect()) }
    }

    /// How full the pool of `interface` is.
    pub(super) fn fill(&self, interface: InterfaceId) -> Fill {
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
        let random: &mut dyn Random = &mut SystemRandomness::new();
        self.pool(interface)?.take(random)
    }

    fn put(&mut self, interface: InterfaceId, even: u16) {
        if let Some(mut pool) = self.pool(interface) {
            pool.put(even);
        }
    }
}
