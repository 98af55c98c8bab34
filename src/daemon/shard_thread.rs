//! One shard's thread: an event loop that runs the engine.

use super::captures::Captures;
use super::events::Events;
use super::export::homer::Homer;
use super::handshake_thread::HandshakeQueue;
use super::numbers::SharedNumbers;
use super::whereabouts::Whereabouts;
use crate::base::id::PortToken;
use crate::base::time::{Mono, Now};
use crate::call::lifecycle::Termination;
use crate::control::access::Access;
use crate::control::udp::{Datagrams, LARGEST_DATAGRAM_BYTES, UdpListener};
use crate::engine::{Lent, Output, Shard};
use crate::io::random::SystemRandomness;
use crate::io::steer::SteeredPorts;
use crate::io::xdp::ShardLines;
use crate::io::{Batch, EventLoop, Handler, Receiver, Waker, affinity};
use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

/// How many jobs are worked off before datagrams are looked at again.
const JOBS_A_TURN: usize = 32;
/// When the timers are looked at again after a fault in them.
const AFTER_A_FAULT: Duration = Duration::from_millis(10);

/// Something to be done on the shard's thread.
pub(super) type Job = Box<dyn FnOnce(&mut Work) + Send>;

/// What a job works with.
pub(super) struct Work<'a> {
    pub shard: &'a mut Shard,
    pub now: Now,
    pub lent: Lent<'a>,
    pub transmit: &'a mut Batch,
}

enum Message {
    Job(Job),
    Listen(Arc<Front>),
    Stop,
}

/// Where control protocols over UDP come in. Every shard watches the sockets: a request whose call lives on the shard that
/// took it is worked off without waking another thread.
pub(super) struct Front {
    pub listeners: Vec<(UdpListener, Arc<dyn Datagrams>)>,
    /// Who may ask.
    pub access: Arc<Access>,
}

thread_local! {
    /// The shard whose thread this is.
    static CURRENT: Cell<Option<usize>> = const { Cell::new(None) };
}

/// A running shard, from outside.
#[derive(Clone)]
pub(super) struct ShardHandle {
    index: usize,
    sender: mpsc::Sender<Message>,
    waker: Arc<Waker>,
}

impl ShardHandle {
    /// Has `job` done on the shard's thread. A shard that has stopped does nothing.
    pub(super) fn run(&self, job: Job) {
        self.send(Message::Job(job));
    }

    /// Has the shard take control messages.
    pub(super) fn listen(&self, front: Arc<Front>) {
        self.send(Message::Listen(front));
    }

    /// Ends the thread after the jobs that were sent before.
    pub(super) fn stop(&self) {
        self.send(Message::Stop);
    }

    /// The shard's own thread looks at its messages by itself after it has taken control messages.
    fn send(&self, message: Message) {
        if self.sender.send(message).is_ok() && CURRENT.get() != Some(self.index) {
            self.waker.wake();
        }
    }
}

/// What all shards share.
pub(super) struct Shared {
    pub numbers: SharedNumbers,
    /// Calls of all shards.
    pub sessions: Arc<AtomicUsize>,
    pub whereabouts: Arc<Whereabouts>,
    pub captures: Arc<Captures>,
    pub events: Arc<Events>,
    /// Who is shown RTCP.
    pub homer: Option<Arc<Homer>>,
}

/// Starts a shard's thread, on `processor` where one is given.
///
/// # Errors
/// When the system has no descriptors or threads left.
pub(super) fn start(
    index: usize,
    shard: Shard,
    shared: Shared,
    handshakes: HandshakeQueue,
    (steered, lines): (Option<SteeredPorts>, Option<ShardLines>),
    processor: Option<usize>,
) -> io::Result<(ShardHandle, JoinHandle<()>)> {
    let mut events = EventLoop::new()?;
    if let Some(steered) = steered {
        events.ports().steer(steered)?;
    }
    if let Some(lines) = lines {
        events.ports().use_lines(lines)?;
    }
    let (sender, jobs) = mpsc::channel();
    let handle = ShardHandle { index, sender, waker: events.waker() };
    let waker = events.waker();
    let random = SystemRandomness::new();
    let mut runner =
        Runner { shard, shared, handshakes, jobs, waker, random, front: None, is_stopping: false, buffer: Vec::new() };
    let thread = std::thread::Builder::new().name(format!("shard-{index}")).spawn(move || {
        CURRENT.set(Some(index));
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
    shared: Shared,
    /// Where DTLS handshakes are done.
    handshakes: HandshakeQueue,
    jobs: mpsc::Receiver<Message>,
    waker: Arc<Waker>,
    random: SystemRandomness,
    front: Option<Arc<Front>>,
    is_stopping: bool,
    /// Room for a control message.
    buffer: Vec<u8>,
}

impl Handler for Runner {
    fn datagram(&mut self, now: Now, port: PortToken, from: SocketAddr, datagram: &mut [u8], transmit: &mut Batch) {
        if self.shared.captures.are_active()
            && let Some((local, captures)) = self.shard.captures_at(port)
        {
            self.shared.captures.datagram(captures, now, (from, local), false, datagram);
        }
        let shard = &mut self.shard;
        let relayed = catch_unwind(AssertUnwindSafe(|| shard.datagram(now, port, from, datagram, transmit)));
        if relayed.is_err() {
            self.shard.condemn(port);
        }
        self.pass_on_handshakes();
        if let Some(homer) = &self.shared.homer {
            homer.take_reports(&mut self.shard);
        }
    }

    #[inline]
    fn turned(&mut self, now: Now, transmit: &mut Batch) {
        self.shard.settle_ways(now, transmit);
        if self.shard.has_outputs() {
            self.report();
        }
    }

    fn is_early(&mut self) -> bool {
        self.shard.take_earlier()
    }

    fn ready(&mut self, now: Now, number: u32, ports: &mut Receiver, transmit: &mut Batch) {
        let Some(front) = self.front.clone() else { return };
        let Some((listener, protocol)) = front.listeners.get(number as usize) else { return };
        listener.work_off(protocol, &front.access, &mut self.buffer);
        if self.take_messages(now, ports, transmit).is_break() {
            // Seen again in `wake`, which can end the loop.
            self.is_stopping = true;
            self.waker.wake();
        }
    }

    fn wake(&mut self, now: Now, ports: &mut Receiver, transmit: &mut Batch) -> ControlFlow<()> {
        if !self.is_stopping && self.take_messages(now, ports, transmit).is_continue() {
            return ControlFlow::Continue(());
        }
        self.shard.end_all(now, Termination::Forced, ports, &mut self.shared.numbers);
        self.report();
        ControlFlow::Break(())
    }

    fn timer(&mut self, now: Now, ports: &mut Receiver, transmit: &mut Batch) -> Option<Mono> {
        let (shard, numbers) = (&mut self.shard, &mut self.shared.numbers);
        let next = catch_unwind(AssertUnwindSafe(|| shard.timer(now, ports, numbers, transmit)));
        if next.is_err() {
            self.shard.condemn_current();
        }
        self.pass_on_handshakes();
        self.report();
        Some(next.unwrap_or(now.mono + AFTER_A_FAULT))
    }

    fn send_failed(&mut self, port: PortToken) {
        self.shard.send_failed(port);
    }

    #[inline]
    fn looks_on(&self) -> bool {
        self.shared.captures.are_active()
    }

    fn leaves(&mut self, now: Now, port: PortToken, to: SocketAddr, datagram: &[u8]) {
        if let Some((local, captures)) = self.shard.captures_at(port) {
            self.shared.captures.datagram(captures, now, (local, to), true, datagram);
        }
    }
}

impl Runner {
    /// Works off what other threads, or this one, have asked for; `Break` when that is to stop.
    fn take_messages(&mut self, now: Now, ports: &mut Receiver, transmit: &mut Batch) -> ControlFlow<()> {
        for _ in 0..JOBS_A_TURN {
            match self.jobs.try_recv() {
                Ok(Message::Job(job)) => self.work(now, ports, transmit, job),
                Ok(Message::Listen(front)) => self.listen(ports, front),
                Ok(Message::Stop) | Err(mpsc::TryRecvError::Disconnected) => return ControlFlow::Break(()),
                Err(mpsc::TryRecvError::Empty) => return ControlFlow::Continue(()),
            }
        }
        self.waker.wake();
        ControlFlow::Continue(())
    }

    fn listen(&mut self, ports: &mut Receiver, front: Arc<Front>) {
        self.buffer.resize(LARGEST_DATAGRAM_BYTES, 0);
        for (number, (listener, _)) in front.listeners.iter().enumerate() {
            if let Err(error) = ports.watch(listener.socket().as_fd(), number as u32) {
                tracing::error!(target: "control", "a shard can't take control messages: {error}");
            }
        }
        self.front = Some(front);
    }

    /// Does a job. One that panics leaves its call behind broken, so the call is ended; all others go on.
    fn work(&mut self, now: Now, ports: &mut Receiver, transmit: &mut Batch, job: Job) {
        let lent = Lent { ports, numbers: &mut self.shared.numbers, random: &mut self.random };
        let mut work = Work { shard: &mut self.shard, now, lent, transmit };
        if catch_unwind(AssertUnwindSafe(|| job(&mut work))).is_err() {
            self.shard.condemn_current();
        }
        self.shard.end_condemned(now, ports, &mut self.shared.numbers);
        self.pass_on_handshakes();
        self.report();
    }

    #[inline]
    fn pass_on_handshakes(&mut self) {
        for command in self.shard.take_handshake_commands() {
            self.handshakes.send(command);
        }
    }

    /// Tells the log what has happened.
    fn report(&mut self) {
        for output in self.shard.take_outputs() {
            match output {
                Output::Created { call_id, created_from } => {
                    self.shared.sessions.fetch_add(1, Ordering::Relaxed);
                    tracing::info!(target: "core", call_id, "call created by {created_from}");
                }
                Output::Merged { call_id, into } => {
                    self.shared.sessions.fetch_sub(1, Ordering::Relaxed);
                    tracing::info!(target: "core", call_id, "call merged into {into}");
                }
                Output::Ended { call_id, aliases, termination, duration_ms, packets } => {
                    self.shared.sessions.fetch_sub(1, Ordering::Relaxed);
                    self.shared.whereabouts.forget(aliases.iter().chain([&call_id]).map(String::as_str));
                    let seconds = duration_ms as f64 / 1000.0;
                    tracing::info!(
                        target: "core",
                        call_id,
                        "call ended: {} after {seconds:.3} s, {packets} packets",
                        termination.name()
                    );
                }
                Output::Event(event) => self.shared.events.tell(&event),
                Output::CaptureOver(capture) => self.shared.captures.over(capture),
                Output::Warning { call_id, text } => tracing::warn!(target: "control", call_id, "{text}"),
                Output::Fault { call_id, text } => tracing::error!(target: "core", call_id, "call ended: {text}"),
            }
        }
    }
}
