//! STUN messages as far as ICE needs them (RFC 8489, RFC 8445, section 16): a view that is checked once, and a writer.

mod read;
mod write;

pub use read::{Message, UnknownRequired};
pub use write::Writer;

use ring::hmac;

/// Bytes of the header (RFC 8489, section 5).
pub const HEADER_BYTES: usize = 20;
/// The one method of ICE.
pub const BINDING: u16 = 0x001;

const MAGIC_COOKIE: u32 = 0x2112_a442;
const ATTRIBUTE_HEADER_BYTES: usize = 4;
const INTEGRITY_BYTES: usize = 20;
const FINGERPRINT_BYTES: usize = 4;
/// The CRC-32 of a message is XORed with this, so that it differs from a CRC of what the message carries
/// (RFC 8489, section 14.7).
const FINGERPRINT_MASK: u32 = 0x5354_554e;

/// Attribute types (RFC 8489, section 18.3; RFC 8445, section 20.1).
mod attribute {
    pub(super) const USERNAME: u16 = 0x0006;
    pub(super) const MESSAGE_INTEGRITY: u16 = 0x0008;
    pub(super) const ERROR_CODE: u16 = 0x0009;
    pub(super) const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
    pub(super) const MESSAGE_INTEGRITY_SHA256: u16 = 0x001c;
    pub(super) const XOR_MAPPED_ADDRESS: u16 = 0x0020;
    pub(super) const PRIORITY: u16 = 0x0024;
    pub(super) const USE_CANDIDATE: u16 = 0x0025;
    pub(super) const FINGERPRINT: u16 = 0x8028;
    pub(super) const ICE_CONTROLLED: u16 = 0x8029;
    pub(super) const ICE_CONTROLLING: u16 = 0x802a;
    /// Types below are comprehension-required (RFC 8489, section 14).
    pub(super) const FIRST_OPTIONAL: u16 = 0x8000;
}

/// What a message is (RFC 8489, section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Request,
    Indication,
    Success,
    Error,
}

/// Ties a response to its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TransactionId(pub [u8; 12]);

/// The role attribute of a check (RFC 8445, section 7.1.3) with the sender's tie-breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoleAttribute {
    Controlling(u64),
    Controlled(u64),
}

/// The HMAC-SHA1 over `parts` with a short-term password (RFC 8489, section 14.5).
fn integrity(password: &[u8], parts: &[&[u8]]) -> hmac::Tag {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password);
    let mut context = hmac::Context::with_key(&key);
    for part in parts {
        context.update(part);
    }
    context.sign()
}

/// Type and method as one number: the bits of the class stand between those of the method (RFC 8489, section 5).
fn message_type(class: Class, method: u16) -> u16 {
    let class = match class {
        Class::Request => 0,
        Class::Indication => 0x010,
        Class::Success => 0x100,
        Class::Error => 0x110,
    };
    (method & 0x0f80) << 2 | (method & 0x0070) << 1 | method & 0x000f | class
}

#[cfg(test)]
mod tests;
