//! Floor 2: session descriptions (RFC 8866), kept line by line so that nothing a client sent is lost by accident.
//!
//! [`parse`] reads a body into [`SessionDescription`]: the fields that negotiation needs are typed, every attribute
//! stays as it was written. [`write`] prints the canonical order that clients of such daemons expect.

pub mod attribute;
pub mod codec;
pub mod crypto;
pub mod direction;
pub mod fmtp;
pub mod format;
pub mod origin;
pub mod parse;
pub mod payload_type;
pub mod protocol;
pub mod setup;
pub mod write;

pub use attribute::Attribute;
pub use codec::Codec;
pub use crypto::Crypto;
pub use direction::Direction;
pub use origin::Origin;
pub use parse::{ParseError, parse};
pub use protocol::Protocol;
pub use setup::Setup;

use std::net::IpAddr;

/// A whole session description.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SessionDescription {
    pub session: Session,
    pub medias: Vec<MediaSection>,
}

/// The session level, `v=` to the first `m=`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Session {
    pub origin: Origin,
    /// `s=`
    pub name: String,
    /// `i=`, `u=`, `e=`, `p=` with their letter, in the order they came.
    pub descriptions: Vec<(char, String)>,
    /// `c=`
    pub connection: Option<Connection>,
    /// `b=`, without the letter.
    pub bandwidths: Vec<String>,
    /// `t=`, `r=`, `z=`, `k=` with their letter, in the order they came.
    pub timing: Vec<(char, String)>,
    pub attributes: Vec<Attribute>,
}

/// One `m=` section.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MediaSection {
    /// The media type: `audio`, `video`, ...
    pub kind: String,
    pub port: u16,
    /// The number of ports, when written as `port/count`.
    pub port_count: Option<u16>,
    pub protocol: Protocol,
    /// The format list: payload types for RTP, tokens for others.
    pub formats: Vec<String>,
    /// `i=`
    pub information: Option<String>,
    /// `c=`
    pub connection: Option<Connection>,
    /// `b=`, without the letter.
    pub bandwidths: Vec<String>,
    pub attributes: Vec<Attribute>,
}

/// A `c=` line. Addresses given as host names are refused by the parser: a relay needs addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Connection {
    pub address: IpAddr,
}

impl MediaSection {
    /// The first attribute called `name`.
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }

    /// Whether the section is rejected or disabled (RFC 3264, section 6: port zero).
    pub fn is_rejected(&self) -> bool {
        self.port == 0
    }
}
