//! Floor 2: the language of NG messages.
//!
//! `message` takes a datagram apart and puts a reply together, `request` reads a message into typed fields, from
//! tables that also print `protocol-docs/compat-rtpengine.md` (`document`).

pub mod command;
pub mod document;
pub mod framing;
pub mod message;
pub mod request;
pub mod rtpp_flags;
pub mod status;
pub mod tally;

pub use crate::wire::value::{Dictionary, Value};
pub use command::Command;
pub use message::Encoding;
pub use request::{Defaults, Request, RequestError};
