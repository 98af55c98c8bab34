//! `list`: the call-ids of this shard.

use super::{CommandError, Reply};
use crate::engine::Shard;
use crate::ng::{Dictionary, Request, Value};

/// How many call-ids are listed when the request does not say.
const DEFAULT_LIMIT: i64 = 32;

impl Shard {
    pub(super) fn list(&self, request: &Request) -> Reply {
        let limit = request.control.limit.unwrap_or(DEFAULT_LIMIT);
        let limit = usize::try_from(limit).map_err(|_| CommandError::InvalidLimit)?;
        let calls: Value = self.by_id.keys().take(limit).map(String::as_str).collect();
        Ok(Dictionary::new().with("calls", calls))
    }
}
