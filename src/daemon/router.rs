//! Finds the shard of a call, and gathers what all shards know.

use super::dispatch::{Dispatch, Errand};
use super::events::Events;
use super::numbers::SharedNumbers;
use super::shard_thread::{ShardHandle, Work};
use crate::call::Interfaces;
use crate::engine::Settings;
use crate::ng::{Dictionary, Request, Value};
use crate::observe::interfaces::Row;
use crate::observe::sums::Sums;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::runtime::Runtime;

/// All shards, for those who ask them.
pub(super) struct Router {
    pub events: Arc<Events>,
    pub dispatch: Arc<Dispatch>,
    pub numbers: SharedNumbers,
    pub interfaces: Arc<Interfaces>,
    /// The settings as they are now; shards hold copies.
    pub settings: Mutex<Settings>,
}

impl Router {
    /// The shard that owns the call.
    pub(super) fn shard(&self, call_id: &str) -> &ShardHandle {
        &self.dispatch.shards[self.dispatch.whereabouts.of(call_id)]
    }

    /// Has a request about one call, or several, worked off; `deliver` is called with the reply on a shard's thread.
    pub(super) fn command(&self, request: Request, from: String, deliver: impl FnOnce(Dictionary) + Send + 'static) {
        Errand::new(request, from, deliver).send(&self.dispatch);
    }

    /// Asks every shard and calls `deliver` with all answers, in the order of the shards.
    pub(super) fn gather<T: Send + 'static>(
        &self,
        ask: impl Fn(&mut Work) -> T + Clone + Send + 'static,
        deliver: impl FnOnce(Vec<T>) + Send + 'static,
    ) {
        let count = self.dispatch.shards.len();
        let answers: Vec<Option<T>> = std::iter::repeat_with(|| None).take(count).collect();
        let state = Arc::new(Mutex::new((answers, Some(deliver))));
        for (index, shard) in self.dispatch.shards.iter().enumerate() {
            let (ask, state) = (ask.clone(), state.clone());
            shard.run(Box::new(move |work: &mut Work| {
                work.shard.count_all_ways(work.now);
                let answer = ask(work);
                let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
                state.0[index] = Some(answer);
                if state.0.iter().all(Option::is_some) {
                    let answers = state.0.drain(..).flatten().collect();
                    let deliver = state.1.take();
                    drop(state);
                    if let Some(deliver) = deliver {
                        deliver(answers);
                    }
                }
            }));
        }
    }

    /// The state of the whole daemon.
    pub(super) fn sums(&self, uptime_s: u64, deliver: impl FnOnce(Sums) + Send + 'static) {
        let rejected = self.dispatch.admission.rejected();
        let of_shard = |work: &mut Work| Sums::of_shard(work.shard.calls(), work.shard.relay(), work.shard.totals());
        self.gather(of_shard, move |list| {
            let mut sums = Sums { uptime_s, rejected_sessions: rejected, ..Sums::default() };
            list.iter().for_each(|other| sums.add(other));
            deliver(sums);
        });
    }

    /// Looks at what limits need to know, as long as `runtime` runs.
    pub(super) fn watch_limits(&self, runtime: &Runtime) {
        runtime.spawn(self.dispatch.admission.clone().watch(self.dispatch.shards.clone()));
    }

    /// Changes the settings of all shards.
    pub(super) fn change_settings(&self, change: impl FnOnce(&mut Settings)) {
        let mut settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut settings);
        for shard in &self.dispatch.shards {
            let settings = settings.clone();
            shard.run(Box::new(move |work: &mut Work| *work.shard.settings_mut() = settings));
        }
    }

    /// The addresses of all interfaces and how full their port ranges are.
    pub(super) fn interface_rows(&self) -> Vec<Row> {
        let row = |(id, interface, local): (_, &crate::call::interface::Interface, _)| {
            let local: &crate::call::interface::LocalAddress = local;
            let fill = self.numbers.fill(id);
            Row {
                name: interface.name.clone(),
                address: local.address,
                port_min: local.port_min,
                port_max: local.port_max,
                used: fill.used,
                free: fill.free,
                total: fill.total,
            }
        };
        self.interfaces.addresses().map(row).collect()
    }
}

/// The reply to `list` out of what each shard replied.
pub(super) fn merge_lists(replies: Vec<Dictionary>, limit: usize) -> Dictionary {
    if let Some(failed) = replies.iter().find(|reply| reply.get("calls").is_none()) {
        return failed.clone();
    }
    let list = |reply: &Dictionary| match reply.get("calls") {
        Some(Value::List(list)) => list.clone(),
        _ => Vec::new(),
    };
    let calls: Vec<Value> = replies.iter().flat_map(list).take(limit).collect();
    Dictionary::new().with("calls", Value::List(calls)).with("result", "ok")
}
