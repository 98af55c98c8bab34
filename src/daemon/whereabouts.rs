//! Which shard each call is on.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// A call is where the hash of its call-id says, unless it was moved to become one with another. The entry of a call
/// changes on the thread of the shard that has it, or gets it, so what a shard reads of itself is true.
#[derive(Debug)]
pub(super) struct Whereabouts {
    shards: usize,
    /// The calls that are elsewhere, by each of their call-ids. Looked at with each command, never for a packet.
    moved: RwLock<HashMap<String, Place>>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    shard: usize,
    /// It has left another shard and not arrived.
    is_under_way: bool,
}

impl Whereabouts {
    /// No call was moved yet.
    pub(super) fn new(shards: usize) -> Whereabouts {
        Whereabouts { shards, moved: RwLock::default() }
    }

    /// The index of the shard that has the call or will have it soon, or is to have it when there is none yet.
    pub(super) fn of(&self, call_id: &str) -> usize {
        self.read().get(call_id).map_or_else(|| self.home(call_id), |place| place.shard)
    }

    /// Whether the call, if there is one, is on `shard` now.
    pub(super) fn is_at(&self, call_id: &str, shard: usize) -> bool {
        match self.read().get(call_id) {
            Some(place) => place.shard == shard && !place.is_under_way,
            None => self.home(call_id) == shard,
        }
    }

    /// The call with these ids leaves for `shard`.
    pub(super) fn depart<'a>(&self, ids: impl Iterator<Item = &'a str>, shard: usize) {
        self.write().extend(ids.map(|id| (id.to_owned(), Place { shard, is_under_way: true })));
    }

    /// The call with these ids has arrived at `shard`.
    pub(super) fn arrive<'a>(&self, ids: impl Iterator<Item = &'a str>, shard: usize) {
        let mut moved = self.write();
        for id in ids {
            match self.home(id) == shard {
                true => moved.remove(id),
                false => moved.insert(id.to_owned(), Place { shard, is_under_way: false }),
            };
        }
    }

    /// The call with these ids is no more.
    pub(super) fn forget<'a>(&self, ids: impl Iterator<Item = &'a str>) {
        if self.read().is_empty() {
            return;
        }
        let mut moved = self.write();
        for id in ids {
            moved.remove(id);
        }
    }

    /// Whether every call is where its call-id says.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.read().is_empty()
    }

    /// The map is whole between calls, so one whose user panicked may be used on.
    fn read(&self) -> RwLockReadGuard<'_, HashMap<String, Place>> {
        self.moved.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<String, Place>> {
        self.moved.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn home(&self, call_id: &str) -> usize {
        let mut hasher = DefaultHasher::new();
        call_id.hash(&mut hasher);
        (hasher.finish() % self.shards as u64) as usize
    }
}
