//! Floor 1: bytes to values and back.

pub mod bencode;
pub mod demux;
pub mod extent;
pub mod hep;
pub mod json;
pub mod pcapng;
pub mod rtcp;
pub mod rtp;
pub mod stun;
pub mod telephone_event;
pub mod value;
pub mod xmlrpc;

use thiserror::Error;

/// Bytes that are not what their place says they are. The text names the rule they break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("malformed: {0}")]
pub struct Malformed(pub &'static str);
