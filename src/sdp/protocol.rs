//! The transport protocol of an `m=` line.

use std::fmt;

/// A transport protocol (RFC 8866, section 5.14), with the RTP profiles by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Protocol {
    /// RFC 3551
    #[default]
    Avp,
    /// RFC 4585
    Avpf,
    /// RFC 3711
    Savp,
    /// RFC 5124
    Savpf,
    /// RFC 5764
    DtlsSavp,
    /// RFC 5764
    DtlsSavpf,
    /// T.38 over UDPTL
    Udptl,
    /// Anything else, as written.
    Other(String),
}

const NAMES: [(&str, Protocol); 7] = [
    ("RTP/AVP", Protocol::Avp),
    ("RTP/AVPF", Protocol::Avpf),
    ("RTP/SAVP", Protocol::Savp),
    ("RTP/SAVPF", Protocol::Savpf),
    ("UDP/TLS/RTP/SAVP", Protocol::DtlsSavp),
    ("UDP/TLS/RTP/SAVPF", Protocol::DtlsSavpf),
    ("udptl", Protocol::Udptl),
];

impl Protocol {
    /// Reads a protocol in any case; what is unknown is kept as it is.
    pub fn parse(text: &str) -> Protocol {
        Protocol::known(text).unwrap_or_else(|| Protocol::Other(text.to_owned()))
    }

    /// Reads a protocol in any case, if it is a known one.
    pub fn known(text: &str) -> Option<Protocol> {
        NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, protocol)| protocol.clone())
    }

    /// Whether media of this protocol is RTP.
    pub fn is_rtp(&self) -> bool {
        !matches!(self, Protocol::Udptl | Protocol::Other(_))
    }

    /// Whether the profile has early feedback (RFC 4585).
    pub fn has_feedback(&self) -> bool {
        matches!(self, Protocol::Avpf | Protocol::Savpf | Protocol::DtlsSavpf)
    }

    /// Whether the profile is SRTP.
    pub fn is_secure(&self) -> bool {
        matches!(self, Protocol::Savp | Protocol::Savpf | Protocol::DtlsSavp | Protocol::DtlsSavpf)
    }

    /// Whether datagrams of this protocol pass through a relay at all; TCP media keeps its own address.
    pub fn is_datagram(&self) -> bool {
        match self {
            Protocol::Other(name) => !name.to_ascii_uppercase().starts_with("TCP"),
            _ => true,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Protocol::Other(name) => f.write_str(name),
            known => f.write_str(NAMES.iter().find(|(_, protocol)| protocol == known).map_or("", |(name, _)| name)),
        }
    }
}
