//! What is installed, for those who look. A shard is asked for few entries at a time, as packets wait meanwhile.

use super::Shard;
use crate::base::id::StreamId;
use crate::base::time::{Mono, Now};
use crate::call::Call;
use crate::fastpath::Output;
use crate::observe::calls;
use crate::observe::fastpath::Row;
use crate::relay::Relay;

impl Shard {
    /// The streams that have an entry, in no order.
    pub fn entries(&self) -> Vec<StreamId> {
        self.offload.installed.keys().copied().collect()
    }

    /// The places of calls, in no order.
    pub fn call_places(&self) -> Vec<usize> {
        self.calls.iter().map(|(place, _)| place).collect()
    }

    /// The calls at `places`, as far as there are some, with their counters up to date.
    pub fn call_rows(&mut self, now: Now, places: &[usize]) -> Vec<calls::Row> {
        places.iter().for_each(|place| self.count_ways(now, *place));
        let known = places.iter().filter_map(|place| self.calls.get(*place));
        known.map(|call| calls::Row::new(call, &self.relay, now)).collect()
    }

    /// What `view` makes of the calls at `places`, as far as there are some, with their counters up to date.
    pub fn calls_at<T>(&mut self, now: Now, places: &[usize], view: impl Fn(&Call, &Relay) -> T) -> Vec<T> {
        places.iter().for_each(|place| self.count_ways(now, *place));
        places.iter().filter_map(|place| self.calls.get(*place)).map(|call| view(call, &self.relay)).collect()
    }

    /// The entries of `streams`, as far as they are still there.
    pub fn entry_rows(&self, now: Mono, streams: &[StreamId]) -> Vec<Row> {
        let Some(table) = &self.offload.table else { return Vec::new() };
        let row = |id: &StreamId| {
            let (slot, entry) = self.offload.installed.get(id)?;
            let owner = self.relay.stream(*id)?.owner_call();
            let call_id = self.calls.get(owner as usize).map_or("", |call| &call.id);
            let counted = table.read(*slot);
            let way = |output: &Output| table.way(output.from.ip(), output.to.ip());
            Some(Row::new(call_id, entry, &counted, now.since(counted.loan.last_arrival), way))
        };
        streams.iter().filter_map(row).collect()
    }
}
