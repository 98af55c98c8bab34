//! Entries that a dead daemon has left: they go on, without a call, until nobody sends any more. Their ports and slots are
//! not given to others before that.

use super::keys::KeyMaps;
use super::next_hops::{Adopted, NextHops};
use super::streams::Streams;
use crate::fastpath::layout::{Endpoint, Flow};
use crate::fastpath::table::Slot;
use crate::io::clock;
use aya::maps::{HashMap, MapData};
use std::collections::{BTreeMap, HashMap as Map, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often it is looked which of them are silent.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The pair of ports that a port belongs to, by the even one.
type Pair = (IpAddr, u16);

/// What was found in the maps at the start.
pub(super) struct Found {
    flows: HashMap<MapData, Endpoint, Flow>,
    living: Map<Endpoint, Flow>,
}

/// The entries that are left of a dead daemon's.
pub struct Orphans {
    inner: Mutex<Inner>,
    stopping: Condvar,
    count: AtomicUsize,
    has_released: AtomicBool,
}

struct Inner {
    found: Found,
    keys: Option<KeyMaps>,
    streams: Arc<Streams>,
    next_hops: Arc<NextHops>,
    /// How many entries use each pair of ports.
    pairs: Map<Pair, u32>,
    /// What they used, and nobody has taken yet.
    slots: Vec<Slot>,
    released: Vec<Pair>,
    is_stopping: bool,
}

impl Found {
    /// The flows in a map, as far as they make sense: one slot below `count` for each. Where keys can't be used any more,
    /// flows with keys are removed.
    pub(super) fn look(mut flows: HashMap<MapData, Endpoint, Flow>, count: u32, has_srtp: bool) -> Found {
        let all: Vec<(Endpoint, Flow)> = flows.iter().flatten().collect();
        let (mut living, mut used) = (Map::new(), HashSet::new());
        for (local, flow) in all {
            if flow.stream < count && (has_srtp || !flow.is_srtp()) && used.insert(flow.stream) {
                living.insert(local, flow);
            } else if let Err(error) = flows.remove(&local) {
                tracing::error!(target: "core", "an entry of the fast path was not removed: {error}");
            }
        }
        Found { flows, living }
    }

    /// The slots that are in use.
    pub(super) fn slots(&self) -> HashSet<u32> {
        self.living.values().map(|flow| flow.stream).collect()
    }

    /// The ways that are in use.
    pub(super) fn ways(&self) -> Vec<Adopted> {
        let mut ways: BTreeMap<u32, Adopted> = BTreeMap::new();
        for flow in self.living.values().filter(|flow| flow.next_hop != 0) {
            let (from, to) = (SocketAddr::from(flow.local).ip(), SocketAddr::from(flow.destination).ip());
            let way = ways.entry(flow.next_hop).or_insert(Adopted {
                index: flow.next_hop,
                from,
                to,
                path: flow.path(),
                users: 0,
            });
            way.users += 1;
        }
        ways.into_values().collect()
    }
}

impl std::fmt::Debug for Orphans {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Orphans").field("count", &self.count()).finish_non_exhaustive()
    }
}

impl Orphans {
    /// Looks after what was found: what is `silent` for so long is removed. None when there is nothing.
    ///
    /// # Errors
    /// When the system has no threads left.
    pub(super) fn start(
        found: Found,
        keys: Option<KeyMaps>,
        streams: Arc<Streams>,
        next_hops: Arc<NextHops>,
        silent: Duration,
    ) -> std::io::Result<Option<(Arc<Orphans>, JoinHandle<()>)>> {
        if found.living.is_empty() {
            return Ok(None);
        }
        let mut pairs = Map::new();
        for pair in found.living.iter().flat_map(|(local, flow)| pairs_of(local, flow)) {
            *pairs.entry(pair).or_default() += 1;
        }
        let count = AtomicUsize::new(found.living.len());
        let inner = Inner {
            found,
            keys,
            streams,
            next_hops,
            pairs,
            slots: Vec::new(),
            released: Vec::new(),
            is_stopping: false,
        };
        let orphans = Arc::new(Orphans {
            inner: Mutex::new(inner),
            stopping: Condvar::new(),
            count,
            has_released: AtomicBool::new(false),
        });
        let watched = orphans.clone();
        let thread = std::thread::Builder::new().name("orphans".to_owned()).spawn(move || watched.watch(silent))?;
        Ok(Some((orphans, thread)))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// The pairs of ports that they use, by the even one.
    pub fn pairs(&self) -> Vec<(IpAddr, u16)> {
        self.lock().pairs.keys().copied().collect()
    }

    /// The pairs that have become free since this was last asked.
    pub fn take_released(&self) -> Vec<(IpAddr, u16)> {
        match self.has_released.swap(false, Ordering::Acquire) {
            true => std::mem::take(&mut self.lock().released),
            false => Vec::new(),
        }
    }

    /// A slot that has become free.
    pub(super) fn take_slot(&self) -> Option<Slot> {
        self.lock().slots.pop()
    }

    /// Removes the entry at a local port, which is to have another.
    pub(super) fn displace(&self, local: SocketAddr) {
        if self.count() > 0 {
            let mut inner = self.lock();
            if inner.withdraw(Endpoint::from(local)) {
                self.note(&inner);
            }
        }
    }

    /// Ends the thread.
    pub(super) fn stop(&self) {
        self.lock().is_stopping = true;
        self.stopping.notify_all();
    }

    fn watch(&self, silent: Duration) {
        let mut inner = self.lock();
        while !inner.is_stopping && !inner.found.living.is_empty() {
            let gone = inner.silent_for(silent);
            let count = gone.into_iter().filter(|local| inner.withdraw(*local)).count();
            if count > 0 {
                self.note(&inner);
                tracing::info!(
                    target: "core",
                    "{count} streams of the daemon before this one are silent and end, {} go on",
                    self.count()
                );
            }
            inner = self.stopping.wait_timeout(inner, LOOK_INTERVAL).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn note(&self, inner: &Inner) {
        self.count.store(inner.found.living.len(), Ordering::Relaxed);
        self.has_released.store(!inner.released.is_empty(), Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// The entries that have had no packet for so long.
    fn silent_for(&self, silent: Duration) -> Vec<Endpoint> {
        let now = clock::mono();
        let is_silent = |flow: &Flow| now.since(self.streams.read(Slot(flow.stream)).last_arrival()) >= silent;
        self.found.living.iter().filter(|(_, flow)| is_silent(flow)).map(|(local, _)| *local).collect()
    }

    /// Removes an entry, if there is one.
    fn withdraw(&mut self, local: Endpoint) -> bool {
        let Some(flow) = self.found.living.remove(&local) else { return false };
        if let Err(error) = self.found.flows.remove(&local) {
            tracing::error!(target: "core", "an entry of the fast path was not found: {error}");
        }
        let slot = Slot(flow.stream);
        if let Some(keys) = &mut self.keys {
            keys.forget(slot);
        }
        if flow.next_hop != 0 {
            let (from, to) = (SocketAddr::from(flow.local).ip(), SocketAddr::from(flow.destination).ip());
            self.next_hops.put(from, to, flow.path());
        }
        self.slots.push(slot);
        for pair in pairs_of(&local, &flow) {
            let users = self.pairs.entry(pair).or_insert(1);
            *users -= 1;
            if *users == 0 {
                self.pairs.remove(&pair);
                self.released.push(pair);
            }
        }
        true
    }
}

/// Where packets come, and where their copies leave: that port hears the receiver.
fn pairs_of(local: &Endpoint, flow: &Flow) -> [Pair; 2] {
    [*local, flow.local].map(|endpoint| {
        let address = SocketAddr::from(endpoint);
        (address.ip(), address.port() & !1)
    })
}
