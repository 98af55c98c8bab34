//! The writer of messages.

use super::{
    ATTRIBUTE_HEADER_BYTES, Class, FINGERPRINT_BYTES, FINGERPRINT_MASK, HEADER_BYTES, INTEGRITY_BYTES, MAGIC_COOKIE,
    RoleAttribute, TransactionId, attribute, integrity, message_type,
};
use std::net::{IpAddr, SocketAddr};

/// Builds a message in a lent buffer. The header's length is right after every attribute.
#[derive(Debug)]
pub struct Writer<'a> {
    buffer: &'a mut [u8],
    length: usize,
    is_full: bool,
}

impl<'a> Writer<'a> {
    /// Begins a message. A buffer that is too short shows in `finish`.
    pub fn new(buffer: &'a mut [u8], class: Class, method: u16, transaction: TransactionId) -> Writer<'a> {
        let mut writer = Writer { buffer, length: 0, is_full: false };
        writer.put(&message_type(class, method).to_be_bytes());
        writer.put(&[0, 0]);
        writer.put(&MAGIC_COOKIE.to_be_bytes());
        writer.put(&transaction.0);
        writer
    }

    fn put(&mut self, bytes: &[u8]) {
        match self.buffer.get_mut(self.length..self.length + bytes.len()) {
            Some(room) if !self.is_full => {
                room.copy_from_slice(bytes);
                self.length += bytes.len();
            }
            _ => self.is_full = true,
        }
    }

    /// Makes the header's length reach `beyond` bytes past what has been written.
    fn set_length(&mut self, beyond: usize) {
        if !self.is_full {
            let length = (self.length + beyond - HEADER_BYTES) as u16;
            self.buffer[2..4].copy_from_slice(&length.to_be_bytes());
        }
    }

    fn attribute(mut self, kind: u16, parts: &[&[u8]]) -> Writer<'a> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let Ok(short) = u16::try_from(length) else {
            self.is_full = true;
            return self;
        };
        self.put(&kind.to_be_bytes());
        self.put(&short.to_be_bytes());
        for part in parts {
            self.put(part);
        }
        self.put(&[0; 3][..length.next_multiple_of(4) - length]);
        self.set_length(0);
        self
    }

    /// USERNAME of a check: the receiver's fragment, a colon, the sender's (RFC 8445, section 7.2.2).
    pub fn username(self, receiver: &str, sender: &str) -> Writer<'a> {
        self.attribute(attribute::USERNAME, &[receiver.as_bytes(), b":", sender.as_bytes()])
    }

    pub fn priority(self, priority: u32) -> Writer<'a> {
        self.attribute(attribute::PRIORITY, &[&priority.to_be_bytes()])
    }

    pub fn use_candidate(self) -> Writer<'a> {
        self.attribute(attribute::USE_CANDIDATE, &[])
    }

    pub fn role(self, role: RoleAttribute) -> Writer<'a> {
        match role {
            RoleAttribute::Controlling(tie_breaker) => {
                self.attribute(attribute::ICE_CONTROLLING, &[&tie_breaker.to_be_bytes()])
            }
            RoleAttribute::Controlled(tie_breaker) => {
                self.attribute(attribute::ICE_CONTROLLED, &[&tie_breaker.to_be_bytes()])
            }
        }
    }

    /// XOR-MAPPED-ADDRESS (RFC 8489, section 14.2).
    pub fn mapped_address(self, address: SocketAddr) -> Writer<'a> {
        if self.is_full {
            return self;
        }
        let mut mask = [0; 16];
        mask.copy_from_slice(&self.buffer[4..HEADER_BYTES]);
        let port = address.port() ^ (MAGIC_COOKIE >> 16) as u16;
        match address.ip() {
            IpAddr::V4(ip) => {
                let masked: [u8; 4] = std::array::from_fn(|at| ip.octets()[at] ^ mask[at]);
                self.attribute(attribute::XOR_MAPPED_ADDRESS, &[&[0, 1], &port.to_be_bytes(), &masked])
            }
            IpAddr::V6(ip) => {
                let masked: [u8; 16] = std::array::from_fn(|at| ip.octets()[at] ^ mask[at]);
                self.attribute(attribute::XOR_MAPPED_ADDRESS, &[&[0, 2], &port.to_be_bytes(), &masked])
            }
        }
    }

    /// ERROR-CODE, 300 to 699, without a phrase, which is for humans (RFC 8489, section 14.8).
    pub fn error_code(self, code: u16) -> Writer<'a> {
        self.attribute(attribute::ERROR_CODE, &[&[0, 0, (code / 100) as u8, (code % 100) as u8]])
    }

    /// UNKNOWN-ATTRIBUTES, at most the first eight: one is enough for the sender to know.
    pub fn unknown_attributes(self, kinds: impl Iterator<Item = u16>) -> Writer<'a> {
        let mut list = [0; 16];
        let mut length = 0;
        for (place, kind) in list.chunks_exact_mut(2).zip(kinds) {
            place.copy_from_slice(&kind.to_be_bytes());
            length += 2;
        }
        self.attribute(attribute::UNKNOWN_ATTRIBUTES, &[&list[..length]])
    }

    /// MESSAGE-INTEGRITY over everything so far (RFC 8489, section 14.5).
    pub fn integrity(mut self, password: &str) -> Writer<'a> {
        if self.is_full {
            return self;
        }
        self.set_length(ATTRIBUTE_HEADER_BYTES + INTEGRITY_BYTES);
        let tag = integrity(password.as_bytes(), &[&self.buffer[..self.length]]);
        self.attribute(attribute::MESSAGE_INTEGRITY, &[tag.as_ref()])
    }

    /// FINGERPRINT over everything so far (RFC 8489, section 14.7); nothing may follow.
    pub fn fingerprint(mut self) -> Writer<'a> {
        if self.is_full {
            return self;
        }
        self.set_length(ATTRIBUTE_HEADER_BYTES + FINGERPRINT_BYTES);
        let value = crc32fast::hash(&self.buffer[..self.length]) ^ FINGERPRINT_MASK;
        self.attribute(attribute::FINGERPRINT, &[&value.to_be_bytes()])
    }

    /// The finished message; none when the buffer was too short for it.
    pub fn finish(self) -> Option<&'a [u8]> {
        let Writer { buffer, length, is_full } = self;
        if is_full { None } else { Some(&buffer[..length]) }
    }
}
