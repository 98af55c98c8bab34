//! Address families as SDP names them (RFC 8866, section 5.7).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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

/// Whether an address has a meaning only inside some network, so that a peer behind NAT may well signal it: private
/// use (RFC 1918), shared (RFC 6598), unique local (RFC 4193), link-local (RFC 3927, RFC 4291), loopback, unspecified.
pub fn is_local_use(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_local_use_v4(address),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(mapped) => is_local_use_v4(mapped),
            None => is_local_use_v6(address),
        },
    }
}

fn is_local_use_v4(address: Ipv4Addr) -> bool {
    let is_shared = address.octets()[0] == 100 && address.octets()[1] & 0xc0 == 64;
    address.is_private() || is_shared || address.is_link_local() || address.is_loopback() || address.is_unspecified()
}

fn is_local_use_v6(address: Ipv6Addr) -> bool {
    address.is_unique_local() || address.is_unicast_link_local() || address.is_loopback() || address.is_unspecified()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_use_is_told_from_public() {
        for (text, expected) in [
            ("0.0.0.0", true),
            ("10.255.0.1", true),
            ("11.0.0.0", false),
            ("100.63.255.255", false),
            ("100.64.0.0", true),
            ("100.127.255.255", true),
            ("100.128.0.0", false),
            ("127.0.0.1", true),
            ("169.254.9.9", true),
            ("172.15.0.1", false),
            ("172.31.0.1", true),
            ("192.168.1.1", true),
            ("203.0.113.1", false),
            ("::", true),
            ("::1", true),
            ("::ffff:10.0.0.1", true),
            ("::ffff:203.0.113.1", false),
            ("2001:db8::1", false),
            ("fc00::1", true),
            ("fdff::1", true),
            ("fe80::1", true),
            ("fec0::1", false),
        ] {
            assert_eq!(is_local_use(text.parse().unwrap()), expected, "{text}");
        }
    }
}
