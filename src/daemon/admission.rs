//! Whether a new call is taken: the limits of sessions, load, processors and bandwidth.

use super::listing::ask;
use super::shard_thread::ShardHandle;
use crate::base::number::rounded_up;
use crate::config::Limits;
use crate::io::usage::{Processors, load_average};
use crate::ng::{Dictionary, Request, message};
use crate::observe::metrics::LimitState;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// `max-sessions`: no limit.
pub(super) const NO_LIMIT: i64 = -1;

/// How often the machine is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The error-reason for clients that do not know the result `load limit`, whatever the limit was: they go to another
/// daemon at exactly these words.
const REFUSED: &str = "Parallel session limit reached";

/// What can be too much. In the order in which it is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    Sessions,
    /// The 1-minute load average, in hundredths.
    Load,
    /// The use of all processors, in tenths of a percent.
    Processor,
    /// Received media, in bytes per second.
    Bandwidth,
}

const LIMITS: [Limit; 4] = [Limit::Sessions, Limit::Load, Limit::Processor, Limit::Bandwidth];

impl Limit {
    fn name(self) -> &'static str {
        match self {
            Limit::Sessions => "sessions",
            Limit::Load => "load",
            Limit::Processor => "cpu",
            Limit::Bandwidth => "bandwidth",
        }
    }

    /// What clients are told that know the result `load limit`.
    fn message(self) -> &'static str {
        match self {
            Limit::Sessions => REFUSED,
            Limit::Load => "Load limit exceeded",
            Limit::Processor => "CPU usage limit exceeded",
            Limit::Bandwidth => "Bandwidth limit exceeded",
        }
    }

    /// A number as it is kept. Rounded up, so that little is not nothing.
    fn kept(self, number: f64) -> i64 {
        rounded_up(number * self.one())
    }

    /// The values of one, as it is kept.
    fn one(self) -> f64 {
        match self {
            Limit::Load => 100.0,
            Limit::Processor => 10.0,
            Limit::Sessions | Limit::Bandwidth => 1.0,
        }
    }
}

/// The limits, and how near they are. Shared by all threads.
#[derive(Debug, Default)]
pub(super) struct Admission {
    /// Calls of all shards.
    pub sessions: Arc<AtomicUsize>,
    /// By limit, in its unit; `NO_LIMIT` and below for sessions, zero and below for the others, is none.
    most: [AtomicI64; LIMITS.len()],
    /// The same, measured; sessions stay zero here.
    now: [AtomicI64; LIMITS.len()],
    rejected: [AtomicU64; LIMITS.len()],
    /// As they were looked at last.
    processors: Mutex<Option<Processors>>,
    /// A limit was set.
    changed: Notify,
}

impl Admission {
    pub(super) fn new(limits: &Limits, sessions: Arc<AtomicUsize>) -> Admission {
        let admission = Admission { sessions, ..Admission::default() };
        admission.apply(limits);
        admission
    }

    /// Takes the limits of a configuration.
    pub(super) fn apply(&self, limits: &Limits) {
        for limit in LIMITS {
            self.set(limit, configured(limits, limit));
        }
    }

    pub(super) fn get(&self, limit: Limit) -> i64 {
        self.most[limit as usize].load(Relaxed)
    }

    pub(super) fn set(&self, limit: Limit, most: i64) {
        let least = if limit == Limit::Sessions { NO_LIMIT } else { 0 };
        self.most[limit as usize].store(most.max(least), Relaxed);
        self.changed.notify_one();
    }

    /// The limit that keeps a new call from being taken.
    fn reached(&self) -> Option<Limit> {
        LIMITS.into_iter().find(|&limit| {
            let most = self.get(limit);
            match limit {
                Limit::Sessions => most > NO_LIMIT && self.sessions.load(Relaxed) as i64 >= most,
                _ => most > 0 && self.now[limit as usize].load(Relaxed) >= most,
            }
        })
    }

    /// The limit at which a new call is refused now, counted.
    pub(super) fn refuses(&self) -> Option<Limit> {
        let limit = self.reached()?;
        self.rejected[limit as usize].fetch_add(1, Relaxed);
        Some(limit)
    }

    /// The reply to a request that would make a call, when that is not to be.
    pub(super) fn refuse(&self, request: &Request) -> Option<Dictionary> {
        let limit = self.refuses()?;
        Some(match request.sdp.supports_load_limit {
            true => Dictionary::new().with("result", "load limit").with("message", limit.message()),
            false => message::error_reply(REFUSED),
        })
    }

    /// The calls that were refused at any limit.
    pub(super) fn rejected(&self) -> u64 {
        self.rejected.iter().map(|count| count.load(Relaxed)).sum()
    }

    /// All limits, as metrics show them.
    pub(super) fn states(&self) -> Vec<LimitState> {
        [Limit::Load, Limit::Processor]
            .into_iter()
            .filter(|limit| !self.is_on(*limit))
            .for_each(|limit| self.look(limit));
        let state = |limit: Limit| {
            let most = self.get(limit);
            let is_off = if limit == Limit::Sessions { most <= NO_LIMIT } else { most <= 0 };
            let now = match limit {
                Limit::Sessions => self.sessions.load(Relaxed) as f64,
                _ => self.now[limit as usize].load(Relaxed) as f64 / limit.one(),
            };
            LimitState {
                name: limit.name(),
                limit: (!is_off).then(|| most as f64 / limit.one()),
                now,
                rejected: self.rejected[limit as usize].load(Relaxed),
            }
        };
        LIMITS.map(state).to_vec()
    }

    /// Looks at the machine again and again, as far as that is limited: it takes more of a processor than calls in the
    /// kernel do.
    pub(super) async fn watch(self: Arc<Self>, shards: Vec<ShardHandle>) {
        self.look(Limit::Processor);
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            while ![Limit::Load, Limit::Processor, Limit::Bandwidth].into_iter().any(|limit| self.is_on(limit)) {
                self.changed.notified().await;
            }
            ticks.tick().await;
            let limited = [Limit::Load, Limit::Processor].into_iter().filter(|limit| self.is_on(*limit));
            limited.for_each(|limit| self.look(limit));
            if self.is_on(Limit::Bandwidth) {
                let mut bytes = 0;
                for shard in &shards {
                    let Some(of_shard) = ask(shard, |work| work.shard.totals().rates.bytes).await else { return };
                    bytes += of_shard;
                }
                self.note(Limit::Bandwidth, bytes as f64);
            }
        }
    }

    /// Whether something but sessions is limited.
    fn is_on(&self, limit: Limit) -> bool {
        self.get(limit) > 0
    }

    /// Measures the load of the machine, or the use of its processors since that was measured last.
    fn look(&self, limit: Limit) {
        if limit == Limit::Load {
            return load_average().into_iter().for_each(|load| self.note(limit, load));
        }
        let Ok(now) = Processors::read() else { return };
        let before = self.processors.lock().unwrap_or_else(PoisonError::into_inner).replace(now);
        // They are counted in ticks: two looks within one tell nothing.
        if let Some(before) = before.filter(|before| *before != now) {
            self.note(limit, now.percent_since(&before));
        }
    }

    /// A limit's measure, in whole units of what is limited.
    fn note(&self, limit: Limit, now: f64) {
        self.now[limit as usize].store(limit.kept(now), Relaxed);
    }
}

/// What a configuration says about a limit, in the unit in which it is kept.
pub(super) fn configured(limits: &Limits, limit: Limit) -> i64 {
    match limit {
        Limit::Sessions => limits.max_sessions.map_or(NO_LIMIT, i64::from),
        Limit::Load => limit.kept(limits.max_load),
        Limit::Processor => limit.kept(limits.max_processor_percent),
        Limit::Bandwidth => i64::try_from(limits.max_bytes_per_second).unwrap_or(i64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ng::{Defaults, Encoding};

    fn request(extra: &str) -> Request {
        let text = format!(r#"{{"command":"offer","call-id":"a"{extra}}}"#);
        let (_, dictionary) = message::decode(text.as_bytes()).unwrap();
        Request::parse(&dictionary, Encoding::Json, &Defaults::default()).unwrap()
    }

    fn text<'a>(reply: &'a Dictionary, key: &str) -> &'a str {
        reply.get(key).and_then(crate::ng::Value::as_text).unwrap_or_default()
    }

    #[test]
    fn each_limit_is_named_to_who_knows_the_result() {
        for (limit, most, now, message) in [
            (Limit::Load, 350, 3.5, "Load limit exceeded"),
            (Limit::Processor, 500, 50.0, "CPU usage limit exceeded"),
            (Limit::Bandwidth, 1000, 1000.0, "Bandwidth limit exceeded"),
        ] {
            let admission = Admission::new(&Limits::default(), Arc::default());
            assert_eq!(admission.refuse(&request("")), None);
            admission.set(limit, most);
            admission.note(limit, now - 1.0 / limit.one());
            assert_eq!(admission.refuse(&request("")), None, "{message}");
            admission.note(limit, now);
            let reply = admission.refuse(&request(r#","supports":["load limit"]"#)).unwrap();
            assert_eq!((text(&reply, "result"), text(&reply, "message")), ("load limit", message));
            let reply = admission.refuse(&request("")).unwrap();
            assert_eq!((text(&reply, "result"), text(&reply, "error-reason")), ("error", REFUSED));
            assert_eq!(admission.rejected(), 2);
            let state = admission.states().into_iter().find(|state| state.rejected == 2).unwrap();
            assert_eq!((state.limit, state.now), (Some(most as f64 / limit.one()), now));
        }
    }

    #[test]
    fn no_sessions_is_a_limit_and_less_is_none() {
        let admission = Admission::new(&Limits { max_sessions: Some(0), ..Limits::default() }, Arc::default());
        let reply = admission.refuse(&request("")).unwrap();
        assert_eq!(text(&reply, "error-reason"), REFUSED);
        admission.set(Limit::Sessions, -7);
        assert_eq!((admission.get(Limit::Sessions), admission.refuse(&request(""))), (NO_LIMIT, None));
    }
}
