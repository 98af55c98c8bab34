//! One `a=` line, with typed views of the attributes that a relay reads.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use webrtc_sdp::address::ExplicitlyTypedAddress;
use webrtc_sdp::attribute_type::SdpAttribute;

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

    /// The URI of an `a=extmap` line (RFC 8285); none when it is malformed or not such a line.
    pub fn extension_uri(&self) -> Option<String> {
        if self.name != "extmap" {
            return None;
        }
        match SdpAttribute::from_str(&self.to_string()).ok()? {
            SdpAttribute::Extmap(extension) => Some(extension.url),
            _ => None,
        }
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
    fn the_extension_uri_is_read() {
        let uri = Attribute::parse("extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid").extension_uri();
        assert_eq!(uri.as_deref(), Some("urn:ietf:params:rtp-hdrext:sdes:mid"));
    }
}
