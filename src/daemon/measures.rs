//! The whole daemon's figures at one moment, for metrics and for receivers of statistics. Shards are asked for theirs; all else is done
//! on the threads of control.

use super::service::Daemon;
use super::shard_thread::Work;
use crate::control::CliReply;
use crate::io::{clock, limits, usage};
use crate::ng::tally::Tallies;
use crate::observe::interfaces::Row;
use crate::observe::metrics::{LimitState, ProcessUsage, ReceiverState, ShardLoad, State, exposition};
use crate::observe::sums::Sums;
use std::sync::Arc;
use tokio::sync::oneshot;

/// All that metrics are read from.
pub(super) struct Snapshot {
    pub sums: Sums,
    pub tallies: Tallies,
    pub interfaces: Vec<Row>,
    pub shards: Vec<ShardLoad>,
    limits: Vec<LimitState>,
    process: ProcessUsage,
    receivers: Vec<ReceiverState>,
}

impl Snapshot {
    pub(super) fn state(&self) -> State<'_> {
        State {
            sums: &self.sums,
            tallies: &self.tallies,
            interfaces: &self.interfaces,
            shards: &self.shards,
            limits: &self.limits,
            process: self.process,
            receivers: &self.receivers,
        }
    }
}

/// Answers with all metrics.
pub(super) fn metrics(daemon: &Daemon, reply: CliReply) {
    let snapshot = take(daemon);
    daemon.tasks.spawn(async move {
        if let Some(snapshot) = snapshot.await {
            reply.send(exposition(&snapshot.state()));
        }
    });
}

/// The figures of now; none when a shard has stopped.
pub(super) fn take(daemon: &Daemon) -> impl Future<Output = Option<Snapshot>> + Send + 'static {
    let (sender, receiver) = oneshot::channel();
    daemon.router.gather(of_shard, move |answers| {
        // Whoever asked may have gone.
        let _ = sender.send(answers);
    });
    let (tallies, interfaces) = (daemon.tallies(), daemon.router.interface_rows());
    let admission = daemon.router.dispatch.admission.clone();
    let (rejected, limits) = (admission.rejected(), admission.states());
    let (uptime_s, verdicts) = (daemon.uptime_s(), daemon.verdicts.clone());
    let receivers: Vec<Arc<super::export::Receiver>> = daemon.receivers.clone();
    async move {
        let answers = receiver.await.ok()?;
        let mut sums = Sums { uptime_s, rejected_sessions: rejected, ..Sums::default() };
        answers.iter().for_each(|(of_shard, _)| sums.add(of_shard));
        // What the kernel does not tell is left out.
        sums.verdicts = verdicts.and_then(|counters| counters.read().ok()).unwrap_or_default();
        let shards = answers.into_iter().map(|(_, load)| load).collect();
        let receivers = receivers.iter().map(|receiver| receiver.state()).collect();
        Some(Snapshot { sums, tallies, interfaces, shards, limits, process: process(uptime_s), receivers })
    }
}

fn of_shard(work: &mut Work) -> (Sums, ShardLoad) {
    let sums = Sums::of_shard(work.shard.calls(), work.shard.relay(), work.shard.totals());
    let load = ShardLoad { calls: sums.sessions, streams: sums.streams, processor: usage::thread_time() };
    (sums, load)
}

/// What can't be read is zero.
fn process(uptime_s: u64) -> ProcessUsage {
    ProcessUsage {
        processor: usage::process_time(),
        resident_bytes: usage::resident_bytes().unwrap_or_default(),
        descriptors: usage::open_descriptors().unwrap_or_default(),
        descriptor_limit: limits::descriptors().unwrap_or_default(),
        started_s: clock::unix().seconds().saturating_sub(uptime_s),
    }
}
