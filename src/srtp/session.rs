//! One packet under one key: what is encrypted, what the tag covers, and in which order things are appended.
//!
//! With HMAC: packet, (SRTCP: E and index), MKI, tag (RFC 3711, sections 3.1 and 3.4). With AES-GCM: packet, tag,
//! (SRTCP: E and index), MKI (RFC 7714, sections 8.2 and 9.2).

use super::authenticator::{Authenticator, matches};
use super::cipher::gcm::{Gcm, TAG_BYTES};
use super::cipher::{Cipher, PacketId};
use super::derive::SessionKeys;
use super::key::Parameters;
use super::suite::{CipherKind, cipher_kind, lengths};
use super::{Error, Mki};

/// Bytes of the word with the flag E and the index that SRTCP appends.
const TRAILER_BYTES: usize = 4;
/// The flag E in that word: the packet is encrypted.
pub(super) const ENCRYPTED: u32 = 0x8000_0000;

enum Method {
    Hmac { cipher: Cipher, authenticator: Authenticator },
    Gcm(Box<Gcm>),
}

/// How SRTP packets, or SRTCP packets, are transformed (RFC 3711, section 4).
pub(super) struct Transform {
    method: Method,
    pub(super) encrypts: bool,
    is_rtcp: bool,
    /// With HMAC: zero where packets carry no tag.
    tag_bytes: usize,
    /// Everything that is appended.
    pub(super) appended_bytes: usize,
    mki: Option<Mki>,
}

/// Whether an opened packet shall be readable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opening {
    /// Check and decrypt.
    Decrypt,
    /// Check only; the bytes stay.
    Verify,
}

impl Transform {
    pub(super) fn rtp(parameters: &Parameters) -> Transform {
        let keys = SessionKeys::rtp(parameters.suite, &parameters.master);
        Transform::new(parameters, &keys, false)
    }

    pub(super) fn rtcp(parameters: &Parameters) -> Transform {
        let keys = SessionKeys::rtcp(parameters.suite, &parameters.master);
        Transform::new(parameters, &keys, true)
    }

    pub(super) fn new(parameters: &Parameters, keys: &SessionKeys, is_rtcp: bool) -> Transform {
        let kind = cipher_kind(parameters.suite);
        let hmac = || Method::Hmac {
            cipher: Cipher::new(kind, keys),
            authenticator: Authenticator::new(&keys.authentication),
        };
        let gcm = if kind == CipherKind::Gcm { Gcm::new(keys) } else { None };
        let method = gcm.map_or_else(hmac, |gcm| Method::Gcm(Box::new(gcm)));
        let lengths = lengths(parameters.suite);
        let tag_bytes = match &method {
            Method::Gcm(_) => TAG_BYTES,
            Method::Hmac { .. } if is_rtcp => lengths.rtcp_tag,
            Method::Hmac { .. } if parameters.unauthenticated_srtp => 0,
            Method::Hmac { .. } => lengths.rtp_tag,
        };
        let mki = parameters.mki.clone();
        let mki_bytes = mki.as_ref().map_or(0, |mki| mki.bytes().len());
        let unencrypted = if is_rtcp { parameters.unencrypted_srtcp } else { parameters.unencrypted_srtp };
        Transform {
            method,
            encrypts: !unencrypted && kind != CipherKind::Null,
            is_rtcp,
            tag_bytes,
            appended_bytes: tag_bytes + mki_bytes + if is_rtcp { TRAILER_BYTES } else { 0 },
            mki,
        }
    }

    #[inline]
    fn mki(&self) -> &[u8] {
        self.mki.as_ref().map_or(&[], Mki::bytes)
    }

    /// Protects `buffer[..length]`, whose header has been checked. Behind it there is room.
    #[inline]
    pub(super) fn protect(
        &self,
        id: &PacketId,
        buffer: &mut [u8],
        length: usize,
        header_bytes: usize,
    ) -> Result<(), Error> {
        let (packet, room) = buffer.split_at_mut(length);
        let trailer: &[u8] = if self.is_rtcp { &id.trailer } else { &[] };
        match &self.method {
            Method::Hmac { cipher, authenticator } => {
                if self.encrypts {
                    cipher.apply(id, packet, header_bytes);
                }
                let room = append(append(room, trailer), self.mki());
                if self.tag_bytes > 0 {
                    append(room, &authenticator.code(packet, id.trailer)[..self.tag_bytes]);
                }
            }
            Method::Gcm(gcm) => {
                let tag = if self.encrypts {
                    gcm.seal(id, packet, header_bytes)?
                } else {
                    gcm.seal_plain(id, &mut buffer[..length + trailer.len()])?
                };
                append(append(append(&mut buffer[length..], &tag), trailer), self.mki());
            }
        }
        Ok(())
    }

    /// The length of a protected packet without what was appended.
    #[inline]
    pub(super) fn body_bytes(&self, packet: &[u8]) -> Result<usize, Error> {
        packet.len().checked_sub(self.appended_bytes).ok_or(Error::TooShort)
    }

    /// Where the MKI begins in what is appended; the word of SRTCP stands before it.
    #[inline]
    fn mki_at(&self, body: usize) -> usize {
        let tag_bytes = if matches!(self.method, Method::Gcm(_)) { TAG_BYTES } else { 0 };
        body + tag_bytes + if self.is_rtcp { TRAILER_BYTES } else { 0 }
    }

    /// The word that SRTCP appends, of a packet whose length has been checked.
    #[inline]
    pub(super) fn rtcp_word(&self, packet: &[u8], body: usize) -> u32 {
        let end = self.mki_at(body);
        packet[..end].last_chunk().map_or(0, |word| u32::from_be_bytes(*word))
    }

    /// Whether the packet names the key that we have; its length has been checked.
    #[inline]
    pub(super) fn check_mki(&self, packet: &[u8], body: usize) -> Result<(), Error> {
        match &self.mki {
            Some(mki) if packet[self.mki_at(body)..][..mki.bytes().len()] != *mki.bytes() => Err(Error::WrongMki),
            _ => Ok(()),
        }
    }

    /// Checks the tag of `packet`, whose first `body` bytes are the packet itself, and decrypts it if that is asked for
    /// and the packet is `encrypted`. Lengths have been checked.
    #[inline]
    pub(super) fn open(
        &self,
        id: &PacketId,
        packet: &mut [u8],
        (header_bytes, body): (usize, usize),
        encrypted: bool,
        opening: Opening,
    ) -> Result<(), Error> {
        match &self.method {
            Method::Hmac { cipher, authenticator } => {
                if self.tag_bytes > 0 {
                    let tag = &packet[packet.len() - self.tag_bytes..];
                    if !matches(&authenticator.code(&packet[..body], id.trailer), tag) {
                        return Err(Error::WrongTag);
                    }
                }
                if encrypted && opening == Opening::Decrypt {
                    cipher.apply(id, &mut packet[..body], header_bytes);
                }
                Ok(())
            }
            Method::Gcm(gcm) => {
                let sealed = &mut packet[..body + TAG_BYTES];
                match opening {
                    _ if !encrypted => gcm.verify_plain(id, sealed),
                    Opening::Decrypt => gcm.open(id, sealed, header_bytes),
                    Opening::Verify => gcm.verify(id, sealed, header_bytes),
                }
            }
        }
    }
}

/// Writes `bytes` and returns the room behind them. There is enough.
#[inline]
fn append<'a>(room: &'a mut [u8], bytes: &[u8]) -> &'a mut [u8] {
    let (place, rest) = room.split_at_mut(bytes.len());
    place.copy_from_slice(bytes);
    rest
}
