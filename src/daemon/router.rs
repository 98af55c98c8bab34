//! Finds the shard of a call, and gathers what all shards know.

use super::numbers::SharedNumbers;
use super::shard_thread::{ShardHandle, Work};
use crate::call::Interfaces;
use crate::engine::Settings;
use crate::ng::{Command, Dictionary, Request, Value};
use crate::observe::interfaces::Row;
use crate::observe::sums::Sums;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// `max-sessions`: no limit.
pub(super) const NO_LIMIT: i64 = -1;

/// All shards, for those who ask them.
pub(super) struct Router {
    pub shards: Vec<ShardHandle>,
    pub numbers: SharedNumbers,
    pub interfaces: Arc<Interfaces>,
    /// Calls of all shards.
    pub sessions: Arc<AtomicUsize>,
    /// Calls refused at a limit.
    pub rejected: Arc<AtomicU64>,
    /// The most calls that are taken, negative for no limit.
    pub max_sessions: Arc<AtomicI64>,
    /// The settings as they are now; shards hold copies.
    pub settings: Mutex<Settings>,
}

impl Router {
    /// The shard that owns the call.
    pub(super) fn shard(&self, call_id: &str) -> &ShardHandle {
        let mut hasher = DefaultHasher::new();
        call_id.hash(&mut hasher);
        &self.shards[(hasher.finish() % self.shards.len() as u64) as usize]
    }

    /// Has a request about one call worked off; `deliver` is called with the reply on the shard's thread.
    pub(super) fn command(&self, request: Request, from: String, deliver: impl FnOnce(Dictionary) + Send + 'static) {
        let call_id = request.dialogue.call_id.clone().unwrap_or_default();
        let (sessions, limit) = (self.sessions.clone(), self.max_sessions.clone());
        let rejected = self.rejected.clone();
        self.shard(&call_id).run(Box::new(move |work: &mut Work| {
            let is_new = request.command == Command::Offer && work.shard.call(&call_id).is_none();
            let limit = limit.load(Ordering::Relaxed);
            if is_new && limit > NO_LIMIT && sessions.load(Ordering::Relaxed) as i64 >= limit {
                rejected.fetch_add(1, Ordering::Relaxed);
                return deliver(overloaded(&request));
            }
            deliver(work.shard.command(work.now, &request, &from, &mut work.lent));
        }));
    }

    /// Asks every shard and calls `deliver` with all answers, in the order of the shards.
    pub(super) fn gather<T: Send + 'static>(
        &self,
        ask: impl Fn(&mut Work) -> T + Clone + Send + 'static,
        deliver: impl FnOnce(Vec<T>) + Send + 'static,
    ) {
        let count = self.shards.len();
        let answers: Vec<Option<T>> = std::iter::repeat_with(|| None).take(count).collect();
        let state = Arc::new(Mutex::new((answers, Some(deliver))));
        for (index, shard) in self.shards.iter().enumerate() {
            let (ask, state) = (ask.clone(), state.clone());
            shard.run(Box::new(move |work: &mut Work| {
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
        let rejected = self.rejected.load(Ordering::Relaxed);
        let of_shard = |work: &mut Work| Sums::of_shard(work.shard.calls(), work.shard.relay(), work.shard.totals());
        self.gather(of_shard, move |list| {
            let mut sums = Sums { uptime_s, rejected_sessions: rejected, ..Sums::default() };
            list.iter().for_each(|other| sums.add(other));
            deliver(sums);
        });
    }

    /// Changes the settings of all shards.
    pub(super) fn change_settings(&self, change: impl FnOnce(&mut Settings)) {
        let mut settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut settings);
        for shard in &self.shards {
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

/// The reply to an offer beyond the limit.
fn overloaded(request: &Request) -> Dictionary {
    const REASON: &str = "Parallel session limit reached";
    match request.sdp.supports_load_limit {
        true => Dictionary::new().with("result", "load limit").with("message", REASON),
        false => Dictionary::new().with("result", "error").with("error-reason", REASON),
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
