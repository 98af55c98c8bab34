//! Address families as SDP names them (RFC 8866, section 5.7).

use std::fmt;
use std::net::IpAddr;

/// The family of a network address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    Ip4,
    Ip6,
}

impl Family {
    /// The family of `address`.
    pub fn of(address: IpAddr) -> Family {
        if address.is_ipv4() { Family::Ip4 } else { Family::Ip6 }
    }

    /// Reads `IP4` or `IP6`, in any case.
    pub fn from_sdp(text: &str) -> Option<Family> {
        match text {
            t if t.eq_ignore_ascii_case("IP4") => Some(Family::Ip4),
            t if t.eq_ignore_ascii_case("IP6") => Some(Family::Ip6),
            _ => None,
        }
    }

    /// The name that statistics use: `IPv4` or `IPv6`.
    pub fn long_name(self) -> &'static str {
        match self {
            Family::Ip4 => "IPv4",
            Family::Ip6 => "IPv6",
        }
    }
}

/// Prints as SDP does: `IP4` or `IP6`.
impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::Ip4 => "IP4",
            Family::Ip6 => "IP6",
        })
    }
}
