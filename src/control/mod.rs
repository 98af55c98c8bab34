//! Floor 9: control protocols: bytes to requests and replies to bytes.
//!
//! `request` reads messages, answers repeated ones from memory and hands the others to a `Service`; `udp` and `cli`
//! listen. Replies leave from whatever thread gives them.

// This floor is where sockets, tasks and what they share are meant to be.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod cli;
mod reply_cache;
pub mod request;
pub mod udp;

use crate::ng::{Dictionary, Request};
use cli::CliCommand;
use std::net::SocketAddr;

/// What stands behind the control protocols. Methods must return at once; the work may be done elsewhere.
pub trait Service: Send + Sync + 'static {
    /// Works off a request of `client`. `ping` and `cli` do not come here.
    fn request(&self, request: Request, client: SocketAddr, reply: Reply);

    /// Works off a command of the command line interface.
    fn cli(&self, command: CliCommand, reply: CliReply);
}

/// The way back for the reply to one request. Dropped without a reply, it answers with an error: no client waits for a
/// thread that is gone.
pub struct Reply(Option<Box<dyn FnOnce(Dictionary) + Send>>);

/// The way back for the text of one command line.
pub struct CliReply(Option<Box<dyn FnOnce(String) + Send>>);

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
    /// Calls `deliver` with the text, on the thread that gives it.
    pub fn new(deliver: impl FnOnce(String) + Send + 'static) -> CliReply {
        CliReply(Some(Box::new(deliver)))
    }

    /// Gives the text.
    pub fn send(mut self, text: String) {
        if let Some(deliver) = self.0.take() {
            deliver(text);
        }
    }
}

impl Drop for CliReply {
    fn drop(&mut self) {
        if let Some(deliver) = self.0.take() {
            deliver("Internal error\n".to_owned());
        }
    }
}

#[cfg(test)]
mod tests;
