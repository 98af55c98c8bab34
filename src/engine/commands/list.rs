//! `list`: the call-ids of this shard.

use crate::engine::Shard;

impl Shard {
    /// Up to `limit` call-ids, in no order.
    pub fn call_ids(&self, limit: usize) -> Vec<String> {
        self.by_id.keys().take(limit).cloned().collect()
    }
}
