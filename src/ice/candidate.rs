//! Candidates and the text after `a=candidate:` (RFC 8839, section 5.1).

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use thiserror::Error;

/// How a candidate was found (RFC 8445, section 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Host,
    ServerReflexive,
    PeerReflexive,
    Relayed,
}

/// A UDP candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// 1 to 32 characters; candidates that share one are likely to work or fail together.
    pub foundation: String,
    /// 1 for RTP, 2 for RTCP.
    pub component: u8,
    pub priority: u32,
    pub address: SocketAddr,
    pub kind: Kind,
    /// Where a reflexive or relayed candidate was found; nothing to send to.
    pub related: Option<SocketAddr>,
    /// The user name fragment of the generation that the candidate belongs to.
    pub ufrag: Option<String>,
}

/// Why a candidate line gives no candidate. All but the first are lines that others may use.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unusable {
    #[error("malformed candidate: {0}")]
    Malformed(&'static str),
    #[error("the candidate's transport is not UDP")]
    Transport,
    #[error("the candidate is a multicast DNS name")]
    MulticastName,
    #[error("the candidate is a domain name")]
    DomainName,
    #[error("the candidate is of an unknown type")]
    Type,
    #[error("the candidate is of a component other than RTP and RTCP")]
    Component,
}

/// The names of `Kind` in a candidate line, with the type preferences that RFC 8445, section 5.1.2.2, recommends.
const KINDS: [(Kind, &str, u32); 4] = [
    (Kind::Host, "host", 126),
    (Kind::PeerReflexive, "prflx", 110),
    (Kind::ServerReflexive, "srflx", 100),
    (Kind::Relayed, "relay", 0),
];

/// The priority of a candidate (RFC 8445, section 5.1.2.1). A higher `local_preference` is better; `component` is 1
/// to 256.
pub fn priority(kind: Kind, local_preference: u16, component: u8) -> u32 {
    let preference = KINDS.iter().find(|(other, ..)| *other == kind).map_or(0, |(.., preference)| *preference);
    preference << 24 | u32::from(local_preference) << 8 | (256 - u32::from(component.max(1)))
}

impl Candidate {
    /// A host candidate, which is all that a proxy with configured addresses has.
    pub fn host(foundation: String, component: u8, address: SocketAddr, local_preference: u16) -> Candidate {
        let priority = priority(Kind::Host, local_preference, component);
        Candidate { foundation, component, priority, address, kind: Kind::Host, related: None, ufrag: None }
    }

    /// Reads the text after `a=candidate:`. Unknown extensions (`generation`, `network-id`) are passed over.
    pub fn parse(text: &str) -> Result<Candidate, Unusable> {
        let mut words = text.split_ascii_whitespace();
        let mut next = |rule| words.next().ok_or(Unusable::Malformed(rule));
        let foundation = next("no foundation")?;
        let component: u16 = number(next("no component")?, "component is no number")?;
        let transport = next("no transport")?;
        let priority = number(next("no priority")?, "priority is no number")?;
        let host = next("no address")?;
        let port = number(next("no port")?, "port is no number")?;
        if next("no type")? != "typ" {
            return Err(Unusable::Malformed("no type"));
        }
        let kind = next("no type")?;
        if foundation.len() > 32 || !foundation.bytes().all(super::credentials::is_ice_character) {
            return Err(Unusable::Malformed("foundation is not 1 to 32 characters of ICE"));
        }
        if !transport.eq_ignore_ascii_case("udp") {
            return Err(Unusable::Transport);
        }
        let component = u8::try_from(component).ok().filter(|c| (1..=2).contains(c)).ok_or(Unusable::Component)?;
        let address = SocketAddr::new(address(host)?, port);
        let known = KINDS.iter().find(|(_, name, _)| name.eq_ignore_ascii_case(kind));
        let (kind, ..) = known.ok_or(Unusable::Type)?;
        let mut candidate = Candidate {
            foundation: foundation.to_owned(),
            component,
            priority,
            address,
            kind: *kind,
            related: None,
            ufrag: None,
        };
        candidate.read_extensions(words);
        Ok(candidate)
    }

    fn read_extensions<'a>(&mut self, mut words: impl Iterator<Item = &'a str>) {
        let (mut related_address, mut related_port) = (None, None);
        while let (Some(name), Some(value)) = (words.next(), words.next()) {
            match name {
                "raddr" => related_address = value.parse().ok(),
                "rport" => related_port = value.parse().ok(),
                "ufrag" => self.ufrag = Some(value.to_owned()),
                _ => {}
            }
        }
        self.related = related_address.map(|address| SocketAddr::new(address, related_port.unwrap_or(0)));
    }
}

fn number<T: std::str::FromStr>(text: &str, rule: &'static str) -> Result<T, Unusable> {
    text.parse().map_err(|_| Unusable::Malformed(rule))
}

/// An address, with the IPv4 one that an IPv4-mapped IPv6 address stands for.
fn address(text: &str) -> Result<IpAddr, Unusable> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.to_canonical());
    }
    let is_name = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    match text.rsplit('.').next() {
        _ if !is_name => Err(Unusable::Malformed("address is neither an address nor a name")),
        Some(top) if top.eq_ignore_ascii_case("local") => Err(Unusable::MulticastName),
        _ => Err(Unusable::DomainName),
    }
}

/// Prints the text after `a=candidate:`.
impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = KINDS.iter().find(|(kind, ..)| *kind == self.kind).map_or("host", |(_, name, _)| name);
        let Candidate { foundation, component, priority, address, .. } = self;
        write!(f, "{foundation} {component} UDP {priority} {} {} typ {name}", address.ip(), address.port())?;
        if let Some(related) = self.related {
            write!(f, " raddr {} rport {}", related.ip(), related.port())?;
        }
        match &self.ufrag {
            Some(ufrag) => write!(f, " ufrag {ufrag}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_of_the_field_are_read() {
        let line = "842163049 1 udp 1677729535 203.0.113.5 46154 typ srflx raddr 10.0.0.2 rport 46154 generation 0 \
                    ufrag aB+/ network-id 1 network-cost 10";
        let candidate = Candidate::parse(line).unwrap();
        assert_eq!(candidate.kind, Kind::ServerReflexive);
        assert_eq!(candidate.related, Some("10.0.0.2:46154".parse().unwrap()));
        assert_eq!(candidate.ufrag.as_deref(), Some("aB+/"));
        assert_eq!(
            candidate.to_string(),
            "842163049 1 UDP 1677729535 203.0.113.5 46154 typ srflx raddr 10.0.0.2 rport 46154 ufrag aB+/"
        );
        let mapped = Candidate::parse("1 2 UDP 5 ::ffff:10.0.0.1 9 typ host").unwrap();
        assert_eq!(mapped.address, "10.0.0.1:9".parse().unwrap());
    }

    #[test]
    fn what_cannot_be_used_says_why() {
        for (line, expected) in [
            ("1 1 tcp 5 10.0.0.1 9 typ host tcptype active", Unusable::Transport),
            ("1 1 udp 5 8f2b2a7e-0000-4f5c.local 9 typ host", Unusable::MulticastName),
            ("1 1 udp 5 media.example.com 9 typ host", Unusable::DomainName),
            ("1 1 udp 5 10.0.0.1 9 typ odd", Unusable::Type),
            ("1 3 udp 5 10.0.0.1 9 typ host", Unusable::Component),
            ("1 0 udp 5 10.0.0.1 9 typ host", Unusable::Component),
            ("", Unusable::Malformed("no foundation")),
            ("1 1 udp x 10.0.0.1 9 typ host", Unusable::Malformed("priority is no number")),
            ("1 1 udp 5 10.0.0.1 70000 typ host", Unusable::Malformed("port is no number")),
            ("1 1 udp 5 10.0.0.1 9 host", Unusable::Malformed("no type")),
            ("1 1 udp 5 a/b 9 typ host", Unusable::Malformed("address is neither an address nor a name")),
        ] {
            assert_eq!(Candidate::parse(line), Err(expected), "{line}");
        }
        let long = format!("{} 1 udp 5 10.0.0.1 9 typ host", "a".repeat(33));
        assert!(matches!(Candidate::parse(&long), Err(Unusable::Malformed(_))));
    }

    #[test]
    fn priorities_follow_the_formula() {
        assert_eq!(priority(Kind::Host, 65535, 1), 2_130_706_431);
        assert_eq!(priority(Kind::PeerReflexive, 65535, 2), 1_862_270_974);
        assert_eq!(priority(Kind::Relayed, 0, 1), 255);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[ -~]{0,80}") {
            let _ = Candidate::parse(&text);
        }

        #[test]
        fn what_is_printed_is_read(component in 1..=2u8, ip: IpAddr, port: u16, preference: u16) {
            let address = SocketAddr::new(ip.to_canonical(), port);
            let candidate = Candidate::host("a1/+".into(), component, address, preference);
            prop_assert_eq!(Candidate::parse(&candidate.to_string()), Ok(candidate));
        }
    }
}
