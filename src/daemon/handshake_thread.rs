//! The thread that does a shard's DTLS handshakes, so that no packet waits for one.

use super::shard_thread::ShardHandle;
use crate::dtls::Contexts;
use crate::engine::Handshakes;
use crate::relay::handshake::{HandshakeCommand, HandshakeEvent};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

/// Starts the thread; it ends when nobody can send commands any more.
///
/// # Errors
/// When the system has no threads left.
pub(super) fn start(
    index: usize,
    contexts: Arc<Contexts>,
    commands: Receiver<HandshakeCommand>,
    shard: ShardHandle,
) -> io::Result<()> {
    let handshakes = Handshakes::new(contexts);
    let thread = std::thread::Builder::new().name(format!("dtls-{index}"));
    thread.spawn(move || run(handshakes, &commands, &shard)).map(drop)
}

fn run(mut handshakes: Handshakes, commands: &Receiver<HandshakeCommand>, shard: &ShardHandle) {
    let mut timeout = None;
    loop {
        let mut events = Vec::new();
        match receive(commands, timeout) {
            Ok(command) => handshakes.handle(command, &mut events),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        while let Ok(command) = commands.try_recv() {
            handshakes.handle(command, &mut events);
        }
        timeout = handshakes.timer(&mut events);
        if !events.is_empty() {
            report(shard, events);
        }
    }
}

fn receive(
    commands: &Receiver<HandshakeCommand>,
    timeout: Option<Duration>,
) -> Result<HandshakeCommand, RecvTimeoutError> {
    match timeout {
        Some(timeout) => commands.recv_timeout(timeout),
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
