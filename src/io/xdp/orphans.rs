//! Entries that a dead daemon has left: they go on, without a call, until nobody sends any more. Their ports and slots are
//! not given to others before that.

use super::Unavailable;
use super::flows::FlowMap;
use super::keys::KeyMaps;
use super::load::Programs;
use super::next_hops::{Adopted, NextHops};
use super::shared::Shared;
use crate::fastpath::layout::{COPY_KEYS, Copy, Endpoint, Flow, Group, Stream, Way};
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
    flows: Arc<FlowMap>,
    groups: HashMap<MapData, u32, Group>,
    copies: Arc<Shared<Copy>>,
    living: Map<Endpoint, Living>,
}

/// An entry, and its group where it has several receivers: the list of devices and the copies, by number.
struct Living {
    flow: Flow,
    slot: Slot,
    devices: u32,
    copies: Vec<LivingCopy>,
}

struct LivingCopy {
    index: u32,
    interface: u32,
    way: Way,
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
    streams: Arc<Shared<Stream>>,
    next_hops: Arc<NextHops>,
    /// How many entries use each pair of ports.
    pairs: Map<Pair, u32>,
    /// What they used, and nobody has taken yet.
    slots: Vec<Slot>,
    released: Vec<Pair>,
    is_stopping: bool,
}

impl Found {
    /// The flows in the maps, as far as they make sense: one slot below `count` for each, and all copies of a group. Flows
    /// whose packets went to the daemon are removed, and those with keys where these can't be used any more.
    pub(super) fn look(programs: &Programs, copies: Arc<Shared<Copy>>, count: u32) -> Result<Found, Unavailable> {
        let mut found =
            Found { flows: programs.flows().clone(), groups: programs.hash_map("groups")?, copies, living: Map::new() };
        let (mut living, mut used) = (Map::new(), HashSet::new());
        for (slot, flow) in found.flows.all() {
            let is_usable = !flow.is_lifted() && slot.0 < count && (programs.have_srtp() || !flow.is_srtp());
            match found.whole(flow, slot).filter(|_| is_usable && used.insert(slot)) {
                Some(whole) => drop(living.insert(flow.local, whole)),
                None => {
                    if let Err(error) = found.flows.remove(&flow.local) {
                        tracing::error!(target: "core", "an entry of the fast path was not removed: {error}");
                    }
                }
            }
        }
        found.living = living;
        found.remove_lost();
        Ok(found)
    }

    /// A flow with its group, if it has one; none when some of it is missing.
    fn whole(&self, flow: Flow, slot: Slot) -> Option<Living> {
        if flow.group == 0 {
            return Some(Living { flow, slot, devices: 0, copies: Vec::new() });
        }
        let group = self.groups.get(&flow.group, 0).ok()?;
        let copy = |(index, interface)| LivingCopy { index, interface, way: self.copies.read(index).way };
        let copies = group.members()?.into_iter().map(copy).collect();
        Some(Living { flow, slot, devices: group.devices, copies })
    }

    /// Groups that nothing leads to: a daemon died before it had freed them.
    fn remove_lost(&mut self) {
        let living: HashSet<u32> = self.living.values().map(|living| living.flow.group).collect();
        let groups: Vec<u32> = self.groups.keys().flatten().filter(|group| !living.contains(group)).collect();
        groups.iter().for_each(|group| drop(self.groups.remove(group)));
    }

    /// The slots that are in use.
    pub(super) fn slots(&self) -> HashSet<u32> {
        self.living.values().map(|living| living.slot.0).collect()
    }

    /// The numbers of groups, and the indices of copies, that are in use.
    pub(super) fn groups(&self) -> (HashSet<u32>, HashSet<u32>) {
        let copies = self.living.values().flat_map(|living| &living.copies);
        (self.living.values().map(|living| living.flow.group).collect(), copies.map(|copy| copy.index).collect())
    }

    /// The lists of interfaces that are in use.
    pub(super) fn lists(&self) -> impl Iterator<Item = (u32, Vec<u32>)> {
        let groups = self.living.values().filter(|living| living.flow.group != 0);
        groups.map(|living| (living.devices, living.copies.iter().map(|copy| copy.interface).collect()))
    }

    /// The ways that are in use.
    pub(super) fn ways(&self) -> Vec<Adopted> {
        let mut ways: BTreeMap<u32, Adopted> = BTreeMap::new();
        for living in self.living.values() {
            for way in living.ways().filter(|way| way.next_hop != 0) {
                let (from, to) = ends(way);
                let way = Adopted { index: way.next_hop, from, to, path: living.flow.path(), users: 0 };
                ways.entry(way.index).or_insert(way).users += 1;
            }
        }
        ways.into_values().collect()
    }
}

impl Living {
    fn ways(&self) -> impl Iterator<Item = &Way> {
        std::iter::once(&self.flow.way).chain(self.copies.iter().map(|copy| &copy.way))
    }

    /// Where packets come, and where their copies leave: that port hears the receiver.
    fn pairs(&self, local: Endpoint) -> impl Iterator<Item = Pair> {
        std::iter::once(local).chain(self.ways().map(|way| way.local)).map(|endpoint| {
            let address = SocketAddr::from(endpoint);
            (address.ip(), address.port() & !1)
        })
    }
}

fn ends(way: &Way) -> (IpAddr, IpAddr) {
    (SocketAddr::from(way.local).ip(), SocketAddr::from(way.destination).ip())
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
        streams: Arc<Shared<Stream>>,
        next_hops: Arc<NextHops>,
        silent: Duration,
    ) -> std::io::Result<Option<(Arc<Orphans>, JoinHandle<()>)>> {
        if found.living.is_empty() {
            return Ok(None);
        }
        let mut pairs = Map::new();
        for pair in found.living.iter().flat_map(|(local, living)| living.pairs(*local)) {
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
        let is_silent = |living: &Living| now.since(self.streams.read(living.slot.0).last_arrival()) >= silent;
        self.found.living.iter().filter(|(_, living)| is_silent(living)).map(|(local, _)| *local).collect()
    }

    /// Removes an entry, if there is one.
    fn withdraw(&mut self, local: Endpoint) -> bool {
        let Some(living) = self.found.living.remove(&local) else { return false };
        if let Err(error) = self.found.flows.remove(&local) {
            tracing::error!(target: "core", "an entry of the fast path was not found: {error}");
        }
        let slot = living.slot;
        if let Some(keys) = &mut self.keys {
            keys.forget(slot);
            living.copies.iter().for_each(|copy| keys.forget(Slot(copy.index | COPY_KEYS)));
        }
        for way in living.ways().filter(|way| way.next_hop != 0) {
            let (from, to) = ends(way);
            self.next_hops.put(from, to, living.flow.path());
        }
        // Nothing that is on its way is lost: what is left of a group is removed when the next daemon starts.
        self.slots.push(slot);
        for pair in living.pairs(local) {
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
