//! Floor 9: control protocols: bytes to requests and replies to bytes.
//!
//! `request` reads messages, answers repeated ones from memory and hands the others to a `Service`; `udp`, `stream`,
//! `http` and `cli` listen. Replies leave from whatever thread gives them.

// This floor is where sockets, tasks and what they share are meant to be.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod accept;
pub mod access;
pub mod cli;
mod connection;
pub mod http;
pub mod lrk;
pub mod mediaproxy;
pub mod push;
mod reply_cache;
pub use reply_cache::Deliver;
pub mod request;
pub mod rtpproxy;
mod sdpless;
pub mod stream;
pub mod udp;

use crate::ng::{Dictionary, Request};
use cli::CliCommand;
use std::net::SocketAddr;
use tokio::sync::{mpsc, oneshot};

/// What a client is told who asked in a way that takes only short answers.
const NOT_HERE: &str = "This command is answered on the CLI port only.\n";

/// What stands behind the control protocols. Methods must return at once; the work may be done elsewhere.
pub trait Service: Send + Sync + 'static {
    /// Works off a request of `client`. `ping` and `cli` do not come here.
    fn request(&self, request: Request, client: SocketAddr, reply: Reply);

    /// Works off a command of the command line interface.
    fn cli(&self, command: CliCommand, reply: CliReply);

    /// Gives all metrics, as Prometheus reads them.
    fn metrics(&self, reply: CliReply);
}

/// The way back for the reply to one request. Dropped without a reply, it answers with an error: no client waits for a
/// thread that is gone.
pub struct Reply(Option<Box<dyn FnOnce(Dictionary) + Send>>);

/// The way back for the answer to one command line.
pub struct CliReply {
    deliver: Option<Box<dyn FnOnce(CliAnswer) + Send>>,
    takes_parts: bool,
}

/// The answer to a command line.
pub enum CliAnswer {
    Text(String),
    /// One that is made while it is sent.
    Parts(CliParts),
}

/// An answer's parts as they come.
pub struct CliParts {
    pub(super) parts: mpsc::Receiver<Vec<u8>>,
    /// Told when the client sends no more, for answers that go on until then.
    pub(super) stop: Option<oneshot::Sender<()>>,
}

/// Where the parts of an answer go. The answer ends when it is dropped; its end is closed when the client has gone.
pub struct CliWriter {
    pub parts: mpsc::Sender<Vec<u8>>,
    /// Resolves when the client sends no more.
    pub stop: oneshot::Receiver<()>,
}

/// How many parts may wait for a client.
const PARTS_WAITING: usize = 4;

impl Reply {
    /// Calls `deliver` with the reply, on the thread that gives it.
    pub fn new(deliver: impl FnOnce(Dictionary) + Send + 'static) -> Reply {
        Reply(Some(Box::new(deliver)))
    }

    /// Gives the reply.
    pub fn send(mut self, reply: Dictionary) {
        if let Some(deliver) = self.0.take() {
            deliver(reply);
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(deliver) = self.0.take() {
            deliver(crate::ng::message::error_reply("Internal error"));
        }
    }
}

impl CliReply {
    /// Calls `deliver` with the text, on the thread that gives it. What can't be given as one text is not answered.
    pub fn new(deliver: impl FnOnce(String) + Send + 'static) -> CliReply {
        let text = |answer| match answer {
            CliAnswer::Text(text) => text,
            CliAnswer::Parts(_) => NOT_HERE.to_owned(),
        };
        CliReply { deliver: Some(Box::new(move |answer| deliver(text(answer)))), takes_parts: false }
    }

    /// Calls `deliver` with the answer, on the thread that gives it.
    pub fn with_parts(deliver: impl FnOnce(CliAnswer) + Send + 'static) -> CliReply {
        CliReply { deliver: Some(Box::new(deliver)), takes_parts: true }
    }

    /// Gives the text.
    pub fn send(mut self, text: String) {
        if let Some(deliver) = self.deliver.take() {
            deliver(CliAnswer::Text(text));
        }
    }

    /// Begins an answer that is made while it is sent. One that `ends_with_input` goes on until the client sends no
    /// more. None where only a text is taken, which the client has been told then.
    pub fn begin(mut self, ends_with_input: bool) -> Option<CliWriter> {
        if !self.takes_parts {
            self.send(NOT_HERE.to_owned());
            return None;
        }
        let (sender, parts) = mpsc::channel(PARTS_WAITING);
        let (stop, stopped) = oneshot::channel();
        let stop = ends_with_input.then_some(stop);
        if let Some(deliver) = self.deliver.take() {
            deliver(CliAnswer::Parts(CliParts { parts, stop }));
        }
        Some(CliWriter { parts: sender, stop: stopped })
    }
}

impl Drop for CliReply {
    fn drop(&mut self) {
        if let Some(deliver) = self.deliver.take() {
            deliver(CliAnswer::Text("Internal error\n".to_owned()));
        }
    }
}

#[cfg(test)]
mod tests;
