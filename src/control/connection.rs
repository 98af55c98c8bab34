//! A connection that carries many requests at the same time: what it has in work, and what is to be sent on it.

use super::request::{Requests, guarded};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tracing::debug;

/// The requests of one connection that may be in work or wait to be sent; then nothing more is read.
const IN_FLIGHT_LIMIT: usize = 256;

/// How many messages are sent with one call at most.
const BATCH: usize = 64;

/// The side that reads.
pub(super) struct Connection {
    requests: Arc<Requests>,
    client: SocketAddr,
    replies: mpsc::UnboundedSender<Outgoing>,
    places: Arc<Semaphore>,
}

/// The side that writes.
pub(super) struct Outbox {
    replies: mpsc::UnboundedReceiver<Outgoing>,
    pushed: broadcast::Receiver<Arc<[u8]>>,
}

/// A message to be sent.
pub(super) enum Outgoing {
    Reply {
        bytes: Vec<u8>,
        /// Left when it has been sent.
        _place: OwnedSemaphorePermit,
    },
    Pushed(Arc<[u8]>),
}

impl Outgoing {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Outgoing::Reply { bytes, .. } => bytes,
            Outgoing::Pushed(bytes) => bytes,
        }
    }
}

/// Both sides of a connection of `client`.
pub(super) fn connection(requests: &Arc<Requests>, client: SocketAddr) -> (Connection, Outbox) {
    let (sender, replies) = mpsc::unbounded_channel();
    let places = Arc::new(Semaphore::new(IN_FLIGHT_LIMIT));
    let outbox = Outbox { replies, pushed: requests.push().subscribe() };
    (Connection { requests: requests.clone(), client, replies: sender, places }, outbox)
}

impl Connection {
    /// Works off a message with cookie, after waiting while too many are in work. Replies leave when they are there.
    pub(super) async fn handle(&self, message: &[u8]) {
        let Ok(place) = self.places.clone().acquire_owned().await else { return };
        let replies = self.replies.clone();
        // A connection that has ended takes no more replies.
        let deliver = move |reply: &[u8]| drop(replies.send(Outgoing::Reply { bytes: reply.into(), _place: place }));
        guarded(message.len(), self.client, || self.requests.handle(message, self.client, deliver));
    }

    /// Works off a document without cookie until its reply is there: nothing else tells which reply is whose.
    pub(super) async fn handle_plain(&self, document: &[u8]) {
        let Ok(place) = self.places.clone().acquire_owned().await else { return };
        let replies = self.replies.clone();
        let (done, is_done) = oneshot::channel();
        let deliver = move |reply: &[u8]| {
            drop(replies.send(Outgoing::Reply { bytes: reply.into(), _place: place }));
            let _ = done.send(());
        };
        guarded(document.len(), self.client, || self.requests.handle_plain(document, self.client, deliver));
        // Dropped when there is no reply: that ends the wait as well.
        let _ = is_done.await;
    }
}

impl Outbox {
    /// Waits for messages and puts them into `batch`, which is empty; none come after the reading side has ended and
    /// all it had in work is answered.
    pub(super) async fn next(&mut self, batch: &mut Vec<Outgoing>) {
        loop {
            tokio::select! {
                _ = self.replies.recv_many(batch, BATCH) => return,
                pushed = self.pushed.recv() => match pushed {
                    Ok(bytes) => return batch.push(Outgoing::Pushed(bytes)),
                    Err(RecvError::Lagged(count)) => {
                        debug!(target: "control", "A connection is too slow for {count} notifications");
                    }
                    // The process ends.
                    Err(RecvError::Closed) => return,
                },
            }
        }
    }
}
