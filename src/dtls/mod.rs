//! DTLS-SRTP: keys for SRTP, agreed in a DTLS handshake on the media path (RFC 5763, 5764).
//!
//! OpenSSL speaks TLS; an [`Association`] stands around it as a machine without sockets: datagrams go in and come out.
//! OpenSSL keeps two things of its own that the rest of the core takes as arguments: its generator of random numbers,
//! and the clock by which it repeats a flight. `protocol-docs/dtls.md` says what that means for a caller.

mod association;
mod bindings;
mod contexts;
mod datagrams;
mod fingerprint;
mod identity;
mod keys;
mod record;

pub use association::{Association, Connected, Event, Role};
pub use contexts::{Contexts, DEFAULT_CIPHERS, Settings};
pub use fingerprint::{any_matches, fingerprint_of};
pub use identity::{CertificateKind, Identity, Signature};
pub use keys::{MasterKey, PROFILES};

use crate::base::suite::Suite;
use openssl::error::ErrorStack;
use std::time::Duration;

/// Why an identity or contexts could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("'{0}' is no list of ciphers that OpenSSL knows")]
    Ciphers(String),
    #[error("a DTLS datagram of {0} bytes: it takes 272 or more")]
    Mtu(u16),
    #[error("a first timeout of {0:?}: it takes 20 ms to 3 s")]
    FirstTimeout(Duration),
    #[error("{} has no protection profile in DTLS-SRTP", .0.name())]
    Suite(Suite),
    #[error("no SRTP suite to offer in DTLS-SRTP")]
    NoSuite,
    #[error("OpenSSL: {0}")]
    Library(#[from] ErrorStack),
}

#[cfg(test)]
mod tests;
