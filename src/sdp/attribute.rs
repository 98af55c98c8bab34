//! One `a=` line, with typed views of the attributes that a relay reads.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use webrtc_sdp::address::ExplicitlyTypedAddress;
use webrtc_sdp::attribute_type::SdpAttribute;

/// The header extension with transport-wide sequence numbers
/// (draft-holmer-rmcat-transport-wide-cc-extensions-01, section 2).
pub const TRANSPORT_WIDE_EXTENSION: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";

/// An attribute as it was written: `a=name` or `a=name:value`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Attribute {
    pub name: String,
    pub value: Option<String>,
}

/// The port, and the address where it differs from the media's, of `a=rtcp` (RFC 3605).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RtcpAddress {
    pub port: u16,
    pub address: Option<IpAddr>,
}

impl Attribute {
    /// Reads the text after `a=`.
    pub fn parse(text: &str) -> Attribute {
        match text.split_once(':') {
            Some((name, value)) => Attribute { name: name.to_owned(), value: Some(value.to_owned()) },
            None => Attribute::flag(text),
        }
    }

    /// A property attribute (RFC 8866, section 5.13).
    pub fn flag(name: &str) -> Attribute {
        Attribute { name: name.to_owned(), value: None }
    }

    /// A value attribute.
    pub fn with_value(name: &str, value: impl fmt::Display) -> Attribute {
        Attribute { name: name.to_owned(), value: Some(value.to_string()) }
    }

    /// The value, or an empty text for a property attribute.
    pub fn value(&self) -> &str {
        self.value.as_deref().unwrap_or_default()
    }

    /// The typed view of an `a=rtcp` line; none when it is malformed or not such a line.
    pub fn rtcp_address(&self) -> Option<RtcpAddress> {
        let SdpAttribute::Rtcp(rtcp) = SdpAttribute::from_str(&self.to_string()).ok()? else { return None };
        let address = match rtcp.unicast_addr {
            Some(ExplicitlyTypedAddress::Ip(address)) => Some(address),
            _ => None,
        };
        Some(RtcpAddress { port: rtcp.port, address })
    }

    /// The number and the URI of an `a=extmap` line (RFC 8285, section 8); none when it is malformed or not such a line.
    pub fn extension(&self) -> Option<(u8, &str)> {
        if self.name != "extmap" {
            return None;
        }
        let mut words = self.value().split_ascii_whitespace();
        let number = words.next()?.split('/').next()?.parse().ok()?;
        Some((number, words.next()?))
    }

    /// The SSRC of media and that of its retransmissions in `a=ssrc-group:FID` (RFC 5576, section 4.2).
    pub fn repair_flow(&self) -> Option<(u32, u32)> {
        let sources = Some(self.value()).filter(|_| self.name == "ssrc-group")?.strip_prefix("FID ")?;
        let mut sources = sources.split_ascii_whitespace().map(str::parse);
        Some((sources.next()?.ok()?, sources.next()?.ok()?))
    }

    /// The URI of an `a=extmap` line.
    pub fn extension_uri(&self) -> Option<&str> {
        self.extension().map(|(_, uri)| uri)
    }
}

/// Prints the text after `a=`.
impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{}:{value}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_prints_as_it_was_read() {
        for text in ["sendrecv", "rtpmap:0 PCMU/8000", "x-odd:", "ice-pwd:a:b:c"] {
            assert_eq!(Attribute::parse(text).to_string(), text);
        }
    }

    #[test]
    fn the_rtcp_address_is_read_with_and_without_an_address() {
        let short = Attribute::parse("rtcp:40105").rtcp_address();
        assert_eq!(short, Some(RtcpAddress { port: 40105, address: None }));
        let long = Attribute::parse("rtcp:40105 IN IP4 198.51.100.11").rtcp_address();
        assert_eq!(long, Some(RtcpAddress { port: 40105, address: Some(IpAddr::from([198, 51, 100, 11])) }));
        for bad in ["rtcp", "rtcp:", "rtcp:x", "rtcp:99999", "rtpmap:0 PCMU/8000"] {
            assert_eq!(Attribute::parse(bad).rtcp_address(), None, "{bad}");
        }
    }

    #[test]
    fn flows_that_belong_together_are_read() {
        assert_eq!(Attribute::parse("ssrc-group:FID 11 4294967295").repair_flow(), Some((11, u32::MAX)));
        for other in ["ssrc-group:SIM 1 2 3", "ssrc-group:FID 1", "ssrc-group:FID 1 x", "ssrc:1 cname:x"] {
            assert_eq!(Attribute::parse(other).repair_flow(), None, "{other}");
        }
    }

    #[test]
    fn the_extension_uri_is_read() {
        let read = |text| Attribute::parse(text).extension().map(|(number, uri)| (number, uri.to_owned()));
        let mid = "urn:ietf:params:rtp-hdrext:sdes:mid".to_owned();
        assert_eq!(read("extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid"), Some((1, mid.clone())));
        assert_eq!(read("extmap:14/sendonly urn:ietf:params:rtp-hdrext:sdes:mid x"), Some((14, mid)));
        for bad in ["extmap", "extmap:1", "extmap:x urn:y", "rtpmap:1 urn:y"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
