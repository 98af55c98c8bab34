//! What stands behind the control protocols: requests about one call go to its shard, the others are gathered.

use super::captures::Captures;
use super::router::{Router, merge_lists};
use crate::base::random::Random;
use crate::base::time::Mono;
use crate::control::lrk::LrkFront;
use crate::control::request::Requests;
use crate::control::{Reply, Service};
use crate::io::clock;
use crate::io::random::SystemRandomness;
use crate::io::xdp::VerdictCounters;
use crate::ng::tally::Tallies;
use crate::ng::{Command, Dictionary, Request, Value};
use crate::observe::interval::Interval;
use crate::observe::sums::Sums;
use crate::observe::{interfaces, statistics};
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use tokio::runtime::Handle;

/// The call-ids that `list` gives when the request does not say how many.
const DEFAULT_LIST_LIMIT: i64 = 32;

/// The digits of a call-id that is made here.
const GENERATED_DIGITS: usize = 64;

/// The daemon as control protocols see it.
pub(super) struct Daemon {
    pub router: Router,
    pub started: Mono,
    /// The requests that come here, for their counters.
    pub requests: OnceLock<Weak<Requests>>,
    /// None until something listens for it.
    pub lrk: OnceLock<Arc<LrkFront>>,
    pub console: super::console::Console,
    /// None without programs in the kernel.
    pub verdicts: Option<Arc<VerdictCounters>>,
    pub captures: Arc<Captures>,
    /// Those who are sent statistics.
    pub receivers: Vec<Arc<super::export::Receiver>>,
    /// The last one that Graphite was told of.
    pub interval: Mutex<Option<Interval>>,
    /// Where answers are made that take longer.
    pub tasks: Handle,
}

impl Daemon {
    pub(super) fn uptime_s(&self) -> u64 {
        clock::mono().since(self.started).as_secs()
    }

    /// The counters of requests.
    pub(super) fn tallies(&self) -> Tallies {
        let requests = self.requests.get().and_then(Weak::upgrade);
        requests.map_or_else(Tallies::default, |requests| requests.tallies())
    }

    /// The calls that exist.
    pub(super) fn sessions(&self) -> u64 {
        self.router.dispatch.admission.sessions.load(Ordering::Relaxed) as u64
    }

    /// Begins a new interval of the extremes of requests' durations.
    pub(super) fn forget_extremes(&self) {
        self.requests.get().and_then(Weak::upgrade).iter().for_each(|requests| requests.forget_extremes());
    }

    /// The last interval that Graphite was told of; none without Graphite.
    pub(super) fn interval(&self) -> Option<Interval> {
        self.interval.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The state of the whole daemon.
    pub(super) fn sums(&self, deliver: impl FnOnce(Sums) + Send + 'static) {
        let verdicts = self.verdicts.clone();
        self.router.sums(self.uptime_s(), move |mut sums| {
            // What the kernel does not tell is left out.
            sums.verdicts = verdicts.and_then(|counters| counters.read().ok()).unwrap_or_default();
            deliver(sums);
        });
    }

    /// The content of `statistics`.
    pub(super) fn statistics(&self, deliver: impl FnOnce(Dictionary) + Send + 'static) {
        let (tallies, rows, interval) = (self.tallies(), self.router.interface_rows(), self.interval());
        self.sums(move |sums| {
            let interfaces = interfaces::report(&rows, &sums.interfaces);
            deliver(statistics::statistics(&sums, &tallies, interfaces, interval.as_ref()));
        });
    }

    fn list(&self, request: Request, reply: Reply) {
        let limit = request.control.limit.unwrap_or(DEFAULT_LIST_LIMIT);
        let from = String::new();
        self.router.gather(
            move |work| work.shard.command(work.now, &request, &from, &mut work.lent),
            move |replies| reply.send(merge_lists(replies, usize::try_from(limit).unwrap_or_default())),
        );
    }
}

impl Service for Daemon {
    fn request(&self, mut request: Request, client: SocketAddr, reply: Reply) {
        match request.command {
            Command::List => self.list(request, reply),
            Command::Statistics => self.statistics(|statistics| {
                let statistics: Value = statistics.into();
                reply.send(Dictionary::new().with("statistics", statistics).with("result", "ok"));
            }),
            _ => {
                if matches!(request.command, Command::Publish | Command::Create) && request.call_id().is_err() {
                    request.dialogue.call_id = Some(SystemRandomness::new().hex(GENERATED_DIGITS));
                }
                self.router.command(request, client.to_string(), |answer| reply.send(answer));
            }
        }
    }

    fn cli(&self, command: crate::control::cli::CliCommand, reply: crate::control::CliReply) {
        super::console::run(self, command, reply);
    }

    fn metrics(&self, reply: crate::control::CliReply) {
        super::measures::metrics(self, reply);
    }
}

/// Puts a daemon together with the requests that come to it.
pub(super) fn connect(daemon: &Daemon, requests: &Arc<Requests>) {
    // Set once, right after both were made.
    let _ = daemon.requests.set(Arc::downgrade(requests));
}
