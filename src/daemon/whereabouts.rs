//! Which shard each call is on.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{PoisonError, RwLock};

/// A call is where the hash of its call-id says, unless it was moved to become one with another.
#[derive(Debug)]
pub(super) struct Whereabouts {
    shards: usize,
    /// The calls that are elsewhere, by each of their call-ids. Looked at with each command, never for a packet.
    moved: RwLock<HashMap<String, usize>>,
}

impl Whereabouts {
    /// No call was moved yet.
    pub(super) fn new(shards: usize) -> Whereabouts {
        Whereabouts { shards, moved: RwLock::default() }
    }

    /// The index of the shard that has the call, or is to have it when there is none yet.
    pub(super) fn of(&self, call_id: &str) -> usize {
        let moved = self.moved.read().unwrap_or_else(PoisonError::into_inner);
        moved.get(call_id).copied().unwrap_or_else(|| self.home(call_id))
    }

    /// The call with these ids is on `shard` from now on.
    pub(super) fn move_to<'a>(&self, ids: impl Iterator<Item = &'a str>, shard: usize) {
        let mut moved = self.moved.write().unwrap_or_else(PoisonError::into_inner);
        for id in ids {
            match self.home(id) == shard {
                true => moved.remove(id),
                false => moved.insert(id.to_owned(), shard),
            };
        }
    }

    /// The call with these ids is no more.
    pub(super) fn forget<'a>(&self, ids: impl Iterator<Item = &'a str>) {
        let mut ids = ids.peekable();
        let is_any = ids.peek().is_some() && !self.moved.read().unwrap_or_else(PoisonError::into_inner).is_empty();
        if is_any {
            let mut moved = self.moved.write().unwrap_or_else(PoisonError::into_inner);
            ids.for_each(|id| drop(moved.remove(id)));
        }
    }

    fn home(&self, call_id: &str) -> usize {
        let mut hasher = DefaultHasher::new();
        call_id.hash(&mut hasher);
        (hasher.finish() % self.shards as u64) as usize
    }
}
