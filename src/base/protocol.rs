//! The transport protocols and media types of an `m=` line (RFC 8866, section 5.14).

/// A transport protocol that media can be offered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransportProtocol {
    RtpAvp,
    RtpSavp,
    RtpAvpf,
    RtpSavpf,
    UdpTlsRtpSavp,
    UdpTlsRtpSavpf,
    Udptl,
}

/// Every known transport protocol with its name.
pub const TRANSPORT_PROTOCOLS: &[(TransportProtocol, &str)] = &[
    (TransportProtocol::RtpAvp, "RTP/AVP"),
    (TransportProtocol::RtpSavp, "RTP/SAVP"),
    (TransportProtocol::RtpAvpf, "RTP/AVPF"),
    (TransportProtocol::RtpSavpf, "RTP/SAVPF"),
    (TransportProtocol::UdpTlsRtpSavp, "UDP/TLS/RTP/SAVP"),
    (TransportProtocol::UdpTlsRtpSavpf, "UDP/TLS/RTP/SAVPF"),
    (TransportProtocol::Udptl, "udptl"),
];

impl TransportProtocol {
    /// Reads a protocol's name, in any case.
    pub fn from_name(name: &str) -> Option<TransportProtocol> {
        TRANSPORT_PROTOCOLS.iter().find(|row| row.1.eq_ignore_ascii_case(name)).map(|row| row.0)
    }

    /// The name in an `m=` line.
    pub fn name(self) -> &'static str {
        TRANSPORT_PROTOCOLS[self as usize].1
    }

    /// The protocol carries RTP.
    pub fn is_rtp(self) -> bool {
        self != TransportProtocol::Udptl
    }

    /// RTP is encrypted (RFC 3711).
    pub fn is_secure(self) -> bool {
        use TransportProtocol::*;
        matches!(self, RtpSavp | RtpSavpf | UdpTlsRtpSavp | UdpTlsRtpSavpf)
    }

    /// Early RTCP feedback is on (RFC 4585).
    pub fn has_feedback(self) -> bool {
        use TransportProtocol::*;
        matches!(self, RtpAvpf | RtpSavpf | UdpTlsRtpSavpf)
    }

    /// Keys come from a DTLS handshake (RFC 5764).
    pub fn is_dtls(self) -> bool {
        use TransportProtocol::*;
        matches!(self, UdpTlsRtpSavp | UdpTlsRtpSavpf)
    }
}

/// The media type of an `m=` line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum MediaType {
    Audio,
    Video,
    Image,
    Message,
    Text,
    Application,
    /// Any type not named above.
    #[default]
    Other,
}

/// The media types that have a name.
pub const MEDIA_TYPES: &[(MediaType, &str)] = &[
    (MediaType::Audio, "audio"),
    (MediaType::Video, "video"),
    (MediaType::Image, "image"),
    (MediaType::Message, "message"),
    (MediaType::Text, "text"),
    (MediaType::Application, "application"),
];

impl MediaType {
    /// The media type of that name, in any case; none for an unknown name.
    pub fn from_name(name: &str) -> Option<MediaType> {
        MEDIA_TYPES.iter().find(|row| row.1.eq_ignore_ascii_case(name)).map(|row| row.0)
    }

    /// Whether an `m=` line's media type `name` is of this type.
    pub fn covers(self, name: &str) -> bool {
        MediaType::from_name(name).unwrap_or_default() == self
    }

    /// The name in an `m=` line; `other` for a type that has none here.
    pub fn name(self) -> &'static str {
        MEDIA_TYPES.get(self as usize).map_or("other", |row| row.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back() {
        for &(protocol, name) in TRANSPORT_PROTOCOLS {
            assert_eq!((protocol.name(), TransportProtocol::from_name(name)), (name, Some(protocol)));
        }
        for &(media, name) in MEDIA_TYPES {
            assert_eq!((media.name(), MediaType::from_name(name)), (name, Some(media)));
        }
        assert_eq!(MediaType::Other.name(), "other");
    }
}
