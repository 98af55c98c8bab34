//! Networks: an address and how many of its bits count.

use std::fmt;
use std::net::IpAddr;

/// A network of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    address: IpAddr,
    bits: u8,
}

impl Subnet {
    /// Reads `ADDRESS` or `ADDRESS/BITS`; the error says what is expected.
    pub fn parse(text: &str) -> Result<Subnet, String> {
        let expected =
            || format!("`{text}` is not `ADDRESS[/BITS]`, like `192.0.2.0/24`, `2001:db8::/32` or `192.0.2.1`");
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| expected())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => bits.parse().map_err(|_| expected())?,
            Some(_) => return Err(expected()),
            None => longest,
        };
        if bits <= longest { Ok(Subnet { address, bits }) } else { Err(expected()) }
    }

    /// The address belongs to the network. An IPv4 address in IPv6's clothes (RFC 4291, 2.5.5.2) counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let apart = u32::from(own) ^ u32::from(other);
                apart.checked_shr(32 - u32::from(self.bits)).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let apart = u128::from(own) ^ u128::from(other);
                apart.checked_shr(128 - u32::from(self.bits)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(subnet: &str, address: &str) -> bool {
        Subnet::parse(subnet).unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn the_bits_that_count_are_compared() {
        assert!(contains("192.0.2.0/24", "192.0.2.255") && !contains("192.0.2.0/24", "192.0.3.0"));
        assert!(contains("192.0.2.7", "192.0.2.7") && !contains("192.0.2.7", "192.0.2.6"));
        assert!(contains("0.0.0.0/0", "203.0.113.9") && !contains("0.0.0.0/0", "::1"));
        assert!(contains("2001:db8::/33", "2001:db8:7fff::1") && !contains("2001:db8::/33", "2001:db8:8000::1"));
        assert!(contains("::/0", "::1") && !contains("::/0", "192.0.2.1"));
        assert!(contains("192.0.2.0/24", "::ffff:192.0.2.9"));
    }

    #[test]
    fn other_texts_are_refused() {
        for wrong in ["", "x", "192.0.2.0/33", "::/129", "192.0.2.0/", "192.0.2.0/+8", "192.0.2.0/a", "192.0.2.0/24/8"]
        {
            assert!(Subnet::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Subnet::parse("192.0.2.0/24").unwrap().to_string(), "192.0.2.0/24");
    }
}
