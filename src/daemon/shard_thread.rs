//! One shard's thread: an event loop that runs the engine.

use super::numbers::SharedNumbers;
use crate::base::id::PortToken;
use crate::base::time::{Mono, Now};
use crate::call::lifecycle::Termination;
use crate::engine::{Lent, Output, Shard};
use crate::io::random::SystemRandomness;
use crate::io::{Batch, EventLoop, Handler, Receiver, Waker, affinity};
use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;

/// How many jobs are worked off before datagrams are looked at again.
const JOBS_A_TURN: usize = 32;

/// Something to be done on the shard's thread.
pub(super) type Job = Box<dyn FnOnce(&mut Work) + Send>;

/// What a job works with.
pub(super) struct Work<'a> {
    pub shard: &'a mut Shard,
    pub now: Now,
    pub lent: Lent<'a>,
}

enum Message {
    Job(Job),
    Stop,
}

/// A running shard, from outside.
#[derive(Clone)]
pub(super) struct ShardHandle {
    sender: mpsc::Sender<Message>,
    waker: Arc<Waker>,
}

impl ShardHandle {
    /// Has `job` done on the shard's thread. A shard that has stopped does nothing.
    pub(super) fn run(&self, job: Job) {
        if self.sender.send(Message::Job(job)).is_ok() {
            self.waker.wake();
        }
    }

    /// Ends the thread after the jobs that were sent before.
    pub(super) fn stop(&self) {
        if self.sender.send(Message::Stop).is_ok() {
            self.waker.wake();
        }
    }
}

/// Starts a shard's thread, on `processor` where one is given.
///
/// # Errors
/// When the system has no descriptors or threads left.
pub(super) fn start(
    index: usize,
    shard: Shard,
    numbers: SharedNumbers,
    sessions: Arc<AtomicUsize>,
    processor: Option<usize>,
) -> io::Result<(ShardHandle, JoinHandle<()>)> {
    let mut events = EventLoop::new()?;
    let (sender, jobs) = mpsc::channel();
    let handle = ShardHandle { sender, waker: events.waker() };
    let waker = events.waker();
    let mut runner = Runner { shard, numbers, sessions, jobs, waker, random: SystemRandomness::new() };
    let thread = std::thread::Builder::new().name(format!("shard-{index}")).spawn(move || {
        if let Some(Err(error)) = processor.map(affinity::pin) {
            tracing::warn!(target: "core", "shard {index} is not pinned to a processor: {error}");
        }
        if let Err(error) = events.run(&mut runner) {
            tracing::error!(target: "core", "shard {index} stopped: {error}");
        }
    })?;
    Ok((handle, thread))
}

struct Runner {
    shard: Shard,
    numbers: SharedNumbers,
    /// Calls of all shards.
    sessions: Arc<AtomicUsize>,
    jobs: mpsc::Receiver<Message>,
    waker: Arc<Waker>,
    random: SystemRandomness,
}

impl Handler for Runner {
    fn datagram(&mut self, now: Now, port: PortToken, from: SocketAddr, datagram: &mut [u8], transmit: &mut Batch) {
        let shard = &mut self.shard;
        let relayed = catch_unwind(AssertUnwindSafe(|| shard.datagram(now, port, from, datagram, transmit)));
        if relayed.is_err() {
            self.shard.condemn(port);
        }
    }

    fn wake(&mut self, now: Now, ports: &mut Receiver, _: &mut Batch) -> ControlFlow<()> {
        for _ in 0..JOBS_A_TURN {
            match self.jobs.try_recv() {
                Ok(Message::Job(job)) => self.work(now, ports, job),
                Ok(Message::Stop) | Err(mpsc::TryRecvError::Disconnected) => {
                    self.shard.end_all(now, Termination::Forced, ports, &mut self.numbers);
                    self.report();
                    return ControlFlow::Break(());
                }
                Err(mpsc::TryRecvError::Empty) => return ControlFlow::Continue(()),
            }
        }
        self.waker.wake();
        ControlFlow::Continue(())
    }

    fn timer(&mut self, now: Now, ports: &mut Receiver, transmit: &mut Batch) -> Option<Mono> {
        let next = self.shard.timer(now, ports, &mut self.numbers, transmit);
        self.report();
        Some(next)
    }

    fn send_failed(&mut self, port: PortToken) {
        self.shard.send_failed(port);
    }
}

impl Runner {
    /// Does a job. One that panics leaves its call behind broken, so the call is ended; all others go on.
    fn work(&mut self, now: Now, ports: &mut Receiver, job: Job) {
        let lent = Lent { ports, numbers: &mut self.numbers, random: &mut self.random };
        let mut work = Work { shard: &mut self.shard, now, lent };
        if catch_unwind(AssertUnwindSafe(|| job(&mut work))).is_err() {
            self.shard.condemn_current();
        }
        self.shard.end_condemned(now, ports, &mut self.numbers);
        self.report();
    }

    /// Tells the log what has happened.
    fn report(&mut self) {
        for output in self.shard.take_outputs() {
            match output {
                Output::Created { call_id, created_from } => {
                    self.sessions.fetch_add(1, Ordering::Relaxed);
                    tracing::info!(target: "core", call_id, "call created by {created_from}");
                }
                Output::Ended { call_id, termination, duration_ms, packets } => {
                    self.sessions.fetch_sub(1, Ordering::Relaxed);
                    let seconds = duration_ms as f64 / 1000.0;
                    tracing::info!(
                        target: "core",
                        call_id,
                        "call ended: {} after {seconds:.3} s, {packets} packets",
                        termination.name()
                    );
                }
                Output::Warning { call_id, text } => tracing::warn!(target: "control", call_id, "{text}"),
                Output::Fault { call_id, text } => tracing::error!(target: "core", call_id, "call ended: {text}"),
            }
        }
    }
}
