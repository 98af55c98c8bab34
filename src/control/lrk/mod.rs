//! The protocol of LRKProxy and LREProxy: Kamailio's module `lrkproxy` gives local ports out by itself and tells who is to
//! be relayed between which of them. `protocol-docs/lrkproxy.md` has the bytes.
//!
//! No reply tells an error, so what can't be done is dropped, counted and logged; the client tries again.

mod advice;
mod counters;
pub mod message;
mod unix;

pub use advice::Advice;
pub use counters::{Counters, DropReason};
pub use unix::UnixListener;

use super::Deliver;
use super::reply_cache::{Admission, ReplyCache};
use super::udp::Datagrams;
use crate::base::time::Now;
use crate::engine::{Pair, PairError, PairKey};
use message::Command;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tracing::{debug, info, warn};

/// What stands behind the protocol. Methods must return at once; the work may be done elsewhere.
pub trait Pairs: Send + Sync + 'static {
    /// Has a pair relayed that `client` asks for.
    fn put(&self, pair: Pair, client: String, reply: PairReply);

    /// Ends a pair, if there is one.
    fn end(&self, key: PairKey, reply: PairReply);
}

/// The way back for what came of a request. Dropped, it tells of a fault.
pub struct PairReply(Option<Outcome>);

/// Called with what came of a request.
type Outcome = Box<dyn FnOnce(Result<(), PairError>) + Send>;

impl PairReply {
    /// Calls `deliver` with the outcome, on the thread that gives it.
    pub fn new(deliver: impl FnOnce(Result<(), PairError>) + Send + 'static) -> PairReply {
        PairReply(Some(Box::new(deliver)))
    }

    /// Gives the outcome.
    pub fn send(mut self, outcome: Result<(), PairError>) {
        if let Some(deliver) = self.0.take() {
            deliver(outcome);
        }
    }
}

impl Drop for PairReply {
    fn drop(&mut self) {
        if let Some(deliver) = self.0.take() {
            deliver(Err(PairError::Fault));
        }
    }
}

/// All listeners of the protocol: they share what clients are told of ports.
pub struct LrkFront {
    pairs: Arc<dyn Pairs>,
    advice: Advice,
    cache: Mutex<ReplyCache>,
    counters: Counters,
    clock: fn() -> Now,
}

impl LrkFront {
    /// Hands requests to `pairs`; `clock` tells the time.
    pub fn new(pairs: Arc<dyn Pairs>, advice: Advice, clock: fn() -> Now) -> Arc<LrkFront> {
        Arc::new(LrkFront { pairs, advice, cache: Mutex::default(), counters: Counters::default(), clock })
    }

    /// What has come, and why some of it was dropped, for an operator.
    pub fn report(&self) -> String {
        let mut text = self.advice.report();
        for (name, count) in self.counters.rows() {
            let _ = writeln!(text, "{name:<32} {count}");
        }
        text
    }

    /// Works off a request without its cookie; `finish` is called with what is put behind the request to make the reply,
    /// or with none when there is no reply.
    fn work(&self, command: Command, client: String, finish: impl FnOnce(Option<Vec<u8>>) + Send + 'static) {
        self.counters.count_request(&command);
        match command {
            Command::Ping => finish(Some(b" PONG".to_vec())),
            Command::Configuration => {
                info!(target: "control", "LRK: {client} asks for the configuration");
                finish(Some(self.advice.configuration()));
            }
            Command::Put(pair) => {
                info!(target: "control", call_id = pair.call_id, "LRK: received 'S' from {client}");
                let (counters, call_id) = (self.counters.clone(), pair.call_id.clone());
                let used = self.advice.used(&pair);
                let reply = PairReply::new(move |outcome| match outcome {
                    Ok(()) => {
                        used.note();
                        finish(Some(b"OK".to_vec()));
                    }
                    Err(error) => {
                        warn!(target: "control", call_id, "LRK: nothing is relayed: {error}");
                        counters.count_drop(error.into());
                        finish(None);
                    }
                });
                self.pairs.put(pair, client, reply);
            }
            Command::End(key) => {
                info!(target: "control", call_id = key.call_id, "LRK: received 'D' from {client}");
                let counters = self.counters.clone();
                let reply = PairReply::new(move |outcome| match outcome {
                    Ok(()) => finish(Some(b"OK".to_vec())),
                    Err(error) => {
                        counters.count_drop(error.into());
                        finish(None);
                    }
                });
                self.pairs.end(key, reply);
            }
        }
    }

    /// Each reason is told once in full: a client that is wrong is so with each call.
    fn refuse(&self, reason: DropReason, request: &[u8], client: &str) {
        let text = String::from_utf8_lossy(&request[..request.len().min(256)]);
        match self.counters.count_drop(reason) {
            true => warn!(target: "control", "LRK (said once): from {client} dropped, {}: {text:?}", reason.text()),
            false => debug!(target: "control", "LRK: from {client} dropped, {}: {text:?}", reason.text()),
        }
    }

    fn cache(&self) -> MutexGuard<'_, ReplyCache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Datagrams for LrkFront {
    fn datagram(self: Arc<Self>, datagram: &[u8], client: SocketAddr, deliver: Deliver) {
        let parsed = message::without_cookie(datagram).and_then(message::parse);
        let command = match parsed {
            Ok(command) => command,
            Err(reason) => return self.refuse(reason, datagram, &client.to_string()),
        };
        // A client that was started anew begins with the same cookies.
        let key = [client.to_string().as_bytes(), b" ", datagram].concat();
        let now = (self.clock)().mono;
        let admission = self.cache().admit(now, &key, deliver);
        match admission {
            Admission::New => {}
            Admission::Answered(reply, deliver) => return deliver(&reply),
            Admission::Waiting => return,
            Admission::Overload => return self.refuse(DropReason::Overload, datagram, &client.to_string()),
        }
        let (front, request) = (self.clone(), datagram.to_vec());
        self.work(command, client.to_string(), move |appended| {
            let now = (front.clock)().mono;
            match appended {
                Some(appended) => {
                    let reply = [request, appended].concat();
                    let waiting = front.cache().finish(now, &key, &reply);
                    waiting.into_iter().for_each(|deliver| deliver(&reply));
                }
                None => front.cache().abandon(&key),
            }
        });
    }
}

impl From<PairError> for DropReason {
    fn from(error: PairError) -> DropReason {
        match error {
            PairError::NoInterface(_) => DropReason::NoInterface,
            PairError::Families(..) => DropReason::BadAddress,
            PairError::Port(..) => DropReason::NoPort,
            PairError::TooManyCalls => DropReason::TooManyCalls,
            PairError::Fault => DropReason::Fault,
        }
    }
}

#[cfg(test)]
mod tests;
