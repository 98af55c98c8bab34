//! The view of a received message.

use super::{
    ATTRIBUTE_HEADER_BYTES, Class, FINGERPRINT_BYTES, FINGERPRINT_MASK, HEADER_BYTES, INTEGRITY_BYTES, MAGIC_COOKIE,
    RoleAttribute, TransactionId, attribute, integrity,
};
use crate::wire::Malformed;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A STUN message whose header, attribute lengths and fingerprint have been checked.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    bytes: &'a [u8],
    /// Where MESSAGE-INTEGRITY begins, or the end of the attributes: what follows it is no part of the message.
    attributes_end: usize,
    has_integrity: bool,
    has_fingerprint: bool,
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// The length that an attribute of this type has, where it has just one.
fn fixed_length(kind: u16) -> Option<usize> {
    match kind {
        attribute::MESSAGE_INTEGRITY => Some(INTEGRITY_BYTES),
        attribute::FINGERPRINT => Some(FINGERPRINT_BYTES),
        attribute::PRIORITY => Some(4),
        attribute::USE_CANDIDATE => Some(0),
        attribute::ICE_CONTROLLED | attribute::ICE_CONTROLLING => Some(8),
        _ => None,
    }
}

/// The attributes of `bytes`, whose lengths have been checked, as type and value.
fn walk(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (header, tail) = rest.split_at_checked(ATTRIBUTE_HEADER_BYTES)?;
        let length = usize::from(u16_at(header, 2));
        let value = tail.get(..length)?;
        rest = tail.get(length.next_multiple_of(4)..)?;
        Some((u16_at(header, 0), value))
    })
}

impl<'a> Message<'a> {
    /// Checks the header with its cookie (a message of RFC 3489 has none and is refused), that the lengths fill the
    /// datagram exactly, the lengths of the attributes that ICE reads, that FINGERPRINT is last, and its value.
    pub fn parse(bytes: &'a [u8]) -> Result<Message<'a>, Malformed> {
        check_header(bytes)?;
        let mut message = Message { bytes, attributes_end: bytes.len(), has_integrity: false, has_fingerprint: false };
        let mut at = HEADER_BYTES;
        while at < bytes.len() {
            // The header fits: the message's length and every attribute's are multiples of four.
            let kind = u16_at(bytes, at);
            let length = usize::from(u16_at(bytes, at + 2));
            let next = at + ATTRIBUTE_HEADER_BYTES + length.next_multiple_of(4);
            if next > bytes.len() {
                return Err(Malformed("STUN attribute longer than its message"));
            }
            if fixed_length(kind).is_some_and(|fixed| fixed != length) {
                return Err(Malformed("STUN attribute of a wrong length"));
            }
            match kind {
                attribute::FINGERPRINT if next != bytes.len() => {
                    return Err(Malformed("STUN attribute after FINGERPRINT"));
                }
                attribute::FINGERPRINT => message.check_fingerprint(at)?,
                attribute::MESSAGE_INTEGRITY if !message.has_integrity => {
                    message.has_integrity = true;
                    message.attributes_end = at;
                }
                _ => {}
            }
            at = next;
        }
        Ok(message)
    }

    fn check_fingerprint(&mut self, at: usize) -> Result<(), Malformed> {
        let expected = crc32fast::hash(&self.bytes[..at]) ^ FINGERPRINT_MASK;
        if u32_at(self.bytes, at + ATTRIBUTE_HEADER_BYTES) != expected {
            return Err(Malformed("STUN fingerprint does not match"));
        }
        self.has_fingerprint = true;
        self.attributes_end = self.attributes_end.min(at);
        Ok(())
    }

    pub fn class(&self) -> Class {
        match (self.bytes[0] & 1, self.bytes[1] & 0x10) {
            (0, 0) => Class::Request,
            (0, _) => Class::Indication,
            (_, 0) => Class::Success,
            _ => Class::Error,
        }
    }

    /// The method, of 12 bits.
    pub fn method(&self) -> u16 {
        let kind = u16_at(self.bytes, 0);
        (kind & 0x3e00) >> 2 | (kind & 0x00e0) >> 1 | kind & 0x000f
    }

    pub fn transaction_id(&self) -> TransactionId {
        let mut id = [0; 12];
        id.copy_from_slice(&self.bytes[8..HEADER_BYTES]);
        TransactionId(id)
    }

    /// The length of the whole message.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub fn has_integrity(&self) -> bool {
        self.has_integrity
    }

    /// Whether there is a fingerprint; if so, it is right.
    pub fn has_fingerprint(&self) -> bool {
        self.has_fingerprint
    }

    /// Whether MESSAGE-INTEGRITY was made with `password`. What follows it is not covered, and not shown by this view.
    pub fn is_authentic(&self, password: &str) -> bool {
        if !self.has_integrity {
            return false;
        }
        let end = self.attributes_end;
        // The HMAC is over a header whose length ends with MESSAGE-INTEGRITY (RFC 8489, section 14.5).
        let length = (end + ATTRIBUTE_HEADER_BYTES + INTEGRITY_BYTES - HEADER_BYTES) as u16;
        let parts = [&self.bytes[..2], &length.to_be_bytes(), &self.bytes[4..end]];
        let expected = integrity(password.as_bytes(), &parts);
        let value = &self.bytes[end + ATTRIBUTE_HEADER_BYTES..][..INTEGRITY_BYTES];
        // Every byte is looked at, so that the time taken tells nothing of where they differ.
        expected.as_ref().iter().zip(value).fold(0, |difference, (a, b)| difference | a ^ b) == 0
    }

    /// The attributes before MESSAGE-INTEGRITY and FINGERPRINT.
    fn attributes(&self) -> impl Iterator<Item = (u16, &'a [u8])> + use<'a> {
        walk(&self.bytes[HEADER_BYTES..self.attributes_end])
    }

    /// The first attribute of this type; later ones are ignored (RFC 8489, section 14).
    fn attribute(&self, kind: u16) -> Option<&'a [u8]> {
        self.attributes().find(|(other, _)| *other == kind).map(|(_, value)| value)
    }

    /// The user name, which ICE makes of two fragments with a colon between.
    pub fn username(&self) -> Option<&'a [u8]> {
        self.attribute(attribute::USERNAME)
    }

    pub fn priority(&self) -> Option<u32> {
        self.attribute(attribute::PRIORITY).map(|value| u32_at(value, 0))
    }

    pub fn has_use_candidate(&self) -> bool {
        self.attribute(attribute::USE_CANDIDATE).is_some()
    }

    /// The sender's role; the first attribute if there are two.
    pub fn role(&self) -> Option<RoleAttribute> {
        self.attributes().find_map(|(kind, value)| {
            let tie_breaker = || u64::from(u32_at(value, 0)) << 32 | u64::from(u32_at(value, 4));
            match kind {
                attribute::ICE_CONTROLLING => Some(RoleAttribute::Controlling(tie_breaker())),
                attribute::ICE_CONTROLLED => Some(RoleAttribute::Controlled(tie_breaker())),
                _ => None,
            }
        })
    }

    /// XOR-MAPPED-ADDRESS; none when it is missing or of no known family.
    pub fn mapped_address(&self) -> Option<SocketAddr> {
        let value = self.attribute(attribute::XOR_MAPPED_ADDRESS)?;
        let mask = &self.bytes[4..HEADER_BYTES];
        let (header, address) = value.split_at_checked(4)?;
        let port = u16_at(header, 2) ^ u16_at(mask, 0);
        let unmasked = |at: usize| address[at] ^ mask[at];
        let ip = match (header[1], address.len()) {
            (1, 4) => IpAddr::V4(Ipv4Addr::from(std::array::from_fn(unmasked))),
            (2, 16) => IpAddr::V6(Ipv6Addr::from(std::array::from_fn::<u8, 16, _>(unmasked))),
            _ => return None,
        };
        Some(SocketAddr::new(ip, port))
    }

    /// The number of ERROR-CODE, 300 to 699; none when it is missing or no such number.
    pub fn error_code(&self) -> Option<u16> {
        let value = self.attribute(attribute::ERROR_CODE).filter(|value| value.len() >= 4)?;
        let (hundreds, rest) = (u16::from(value[2] & 0x07), u16::from(value[3]));
        ((3..=6).contains(&hundreds) && rest < 100).then_some(hundreds * 100 + rest)
    }

    /// The comprehension-required attributes that ICE does not know.
    pub fn unknown_required(&self) -> UnknownRequired<'a> {
        UnknownRequired { rest: &self.bytes[HEADER_BYTES..self.attributes_end] }
    }
}

/// The types of attributes that a receiver must know and does not, in the order of the message.
#[derive(Debug, Clone)]
pub struct UnknownRequired<'a> {
    rest: &'a [u8],
}

impl Iterator for UnknownRequired<'_> {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        loop {
            let (kind, value) = walk(self.rest).next()?;
            self.rest = self.rest.get(ATTRIBUTE_HEADER_BYTES + value.len().next_multiple_of(4)..)?;
            if kind < attribute::FIRST_OPTIONAL && !is_known(kind) {
                return Some(kind);
            }
        }
    }
}

fn is_known(kind: u16) -> bool {
    use attribute::*;
    matches!(
        kind,
        USERNAME
            | MESSAGE_INTEGRITY
            | ERROR_CODE
            | UNKNOWN_ATTRIBUTES
            | MESSAGE_INTEGRITY_SHA256
            | XOR_MAPPED_ADDRESS
            | PRIORITY
            | USE_CANDIDATE
    )
}

fn check_header(bytes: &[u8]) -> Result<(), Malformed> {
    if bytes.len() < HEADER_BYTES {
        return Err(Malformed("STUN message shorter than its header"));
    }
    if bytes[0] & 0xc0 != 0 {
        return Err(Malformed("STUN message does not begin with two zero bits"));
    }
    if u32_at(bytes, 4) != MAGIC_COOKIE {
        return Err(Malformed("STUN message without the magic cookie"));
    }
    let length = usize::from(u16_at(bytes, 2));
    if length % 4 != 0 || length != bytes.len() - HEADER_BYTES {
        return Err(Malformed("STUN length is not that of its datagram"));
    }
    Ok(())
}
