//! The thread that does a shard's DTLS handshakes, so that no packet waits for one.

use super::shard_thread::ShardHandle;
use crate::dtls::Contexts;
use crate::engine::Handshakes;
use crate::relay::handshake::{HandshakeCommand, HandshakeEvent};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Instant;

/// Datagrams that wait for the thread; more are lost, as on the network.
const MOST_WAITING: usize = 1024;

/// Where a shard sends what is to be done for handshakes.
pub(super) struct HandshakeQueue {
    sender: Sender<HandshakeCommand>,
    waiting: Arc<AtomicUsize>,
}

/// The other end of the queue, for the thread.
pub(super) struct HandshakeWork {
    receiver: Receiver<HandshakeCommand>,
    waiting: Arc<AtomicUsize>,
}

/// Both ends of a queue.
pub(super) fn queue() -> (HandshakeQueue, HandshakeWork) {
    let (sender, receiver) = mpsc::channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    (HandshakeQueue { sender, waiting: waiting.clone() }, HandshakeWork { receiver, waiting })
}

impl HandshakeQueue {
    /// Has the thread do it. A thread that has stopped leaves media without keys, and all else as it is.
    pub(super) fn send(&self, command: HandshakeCommand) {
        let is_datagram = matches!(command, HandshakeCommand::Datagram { .. });
        if is_datagram && self.waiting.load(Ordering::Relaxed) >= MOST_WAITING {
            return;
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _ = self.sender.send(command);
    }
}

/// Starts the thread; it ends when nobody can send commands any more.
///
/// # Errors
/// When the system has no threads left.
pub(super) fn start(index: usize, contexts: Arc<Contexts>, work: HandshakeWork, shard: ShardHandle) -> io::Result<()> {
    let handshakes = Handshakes::new(contexts);
    let thread = std::thread::Builder::new().name(format!("dtls-{index}"));
    thread.spawn(move || run(handshakes, &work, &shard)).map(drop)
}

fn run(mut handshakes: Handshakes, work: &HandshakeWork, shard: &ShardHandle) {
    let mut due: Option<Instant> = None;
    loop {
        let mut events = Vec::new();
        let mut next = match receive(&work.receiver, due) {
            Ok(command) => Some(command),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        while let Some(command) = next {
            work.waiting.fetch_sub(1, Ordering::Relaxed);
            let timeout = handshakes.handle(command, &mut events).map(|timeout| Instant::now() + timeout);
            due = due.into_iter().chain(timeout).min();
            next = work.receiver.try_recv().ok();
        }
        if due.is_some_and(|due| due <= Instant::now()) {
            due = handshakes.timer(&mut events).map(|timeout| Instant::now() + timeout);
        }
        if !events.is_empty() {
            report(shard, events);
        }
    }
}

fn receive(commands: &Receiver<HandshakeCommand>, due: Option<Instant>) -> Result<HandshakeCommand, RecvTimeoutError> {
    match due {
        Some(due) => commands.recv_timeout(due.saturating_duration_since(Instant::now())),
        None => commands.recv().map_err(|_| RecvTimeoutError::Disconnected),
    }
}

fn report(shard: &ShardHandle, events: Vec<HandshakeEvent>) {
    shard.run(Box::new(move |work| {
        for event in events {
            work.shard.handshake_event(work.now, event, work.transmit);
        }
    }));
}
