//! AES-GCM (RFC 7714): encryption and tag in one.

use super::super::Error;
use super::super::derive::SessionKeys;
use super::PacketId;
use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

pub(in super::super) const TAG_BYTES: usize = 16;
const TRAILER_BYTES: usize = 4;
/// Packets up to this long are decrypted elsewhere where their bytes shall stay.
const SCRATCH_BYTES: usize = 2048;

/// The cipher of one direction, of SRTP or of SRTCP.
pub(in super::super) struct Gcm {
    key: LessSafeKey,
    /// 96 bits.
    salt: u128,
}

impl Gcm {
    /// None where the key has neither 16 nor 32 bytes.
    pub(in super::super) fn new(keys: &SessionKeys) -> Option<Gcm> {
        let algorithm = if keys.encryption().len() == 32 { &AES_256_GCM } else { &AES_128_GCM };
        let key = UnboundKey::new(algorithm, keys.encryption()).ok()?;
        Some(Gcm { key: LessSafeKey::new(key), salt: keys.salt })
    }

    /// The IV of a packet (RFC 7714, sections 8.1 and 9.1).
    #[inline]
    fn nonce(&self, id: &PacketId) -> Nonce {
        let number = self.salt ^ u128::from(id.ssrc) << 48 ^ u128::from(id.index);
        let mut bytes = [0; 12];
        bytes.copy_from_slice(&number.to_be_bytes()[4..]);
        Nonce::assume_unique_for_key(bytes)
    }

    /// Encrypts `packet` behind its header and returns the tag.
    #[inline]
    pub(in super::super) fn seal(
        &self,
        id: &PacketId,
        packet: &mut [u8],
        header_bytes: usize,
    ) -> Result<[u8; TAG_BYTES], Error> {
        let (header, payload) = packet.split_at_mut(header_bytes);
        let sealed = if id.is_rtcp {
            let data = with_trailer(header, id);
            self.key.seal_in_place_separate_tag(self.nonce(id), Aad::from(&data), payload)
        } else {
            self.key.seal_in_place_separate_tag(self.nonce(id), Aad::from(&*header), payload)
        };
        tag_bytes(sealed)
    }

    /// The tag of what is not encrypted. Behind a packet of SRTCP, `packet` has room for its trailer.
    pub(in super::super) fn seal_plain(&self, id: &PacketId, packet: &mut [u8]) -> Result<[u8; TAG_BYTES], Error> {
        write_trailer(id, packet);
        tag_bytes(self.key.seal_in_place_separate_tag(self.nonce(id), Aad::from(&*packet), &mut []))
    }

    /// Checks the tag, which ends `packet`, and decrypts in place what is between it and the header.
    #[inline]
    pub(in super::super) fn open(&self, id: &PacketId, packet: &mut [u8], header_bytes: usize) -> Result<(), Error> {
        let (header, sealed) = packet.split_at_mut(header_bytes);
        self.open_parts(id, header, sealed)
    }

    #[inline]
    fn open_parts(&self, id: &PacketId, header: &[u8], sealed: &mut [u8]) -> Result<(), Error> {
        let opened = if id.is_rtcp {
            let data = with_trailer(header, id);
            self.key.open_in_place(self.nonce(id), Aad::from(&data), sealed)
        } else {
            self.key.open_in_place(self.nonce(id), Aad::from(header), sealed)
        };
        opened.map(drop).map_err(|_| Error::WrongTag)
    }

    /// Checks the tag, which ends `packet`, and leaves the bytes as they are; where it is wrong, they may be anything.
    #[inline]
    pub(in super::super) fn verify(&self, id: &PacketId, packet: &mut [u8], header_bytes: usize) -> Result<(), Error> {
        let (header, sealed) = packet.split_at_mut(header_bytes);
        let mut scratch = [0; SCRATCH_BYTES];
        if let Some(copy) = scratch.get_mut(..sealed.len()) {
            copy.copy_from_slice(sealed);
            return self.open_parts(id, header, copy);
        }
        self.open_parts(id, header, sealed)?;
        let end = packet.len() - TAG_BYTES;
        self.seal(id, &mut packet[..end], header_bytes).map(drop)
    }

    /// Checks the tag of what is not encrypted; the bytes stay as they are. The tag ends `packet`.
    pub(in super::super) fn verify_plain(&self, id: &PacketId, packet: &mut [u8]) -> Result<(), Error> {
        let end = packet.len() - TAG_BYTES;
        let mut tag = [0; TAG_BYTES];
        tag.copy_from_slice(&packet[end..]);
        let covered = if id.is_rtcp { end + TRAILER_BYTES } else { end };
        write_trailer(id, &mut packet[..covered]);
        let mut sealed = tag;
        let opened = self.key.open_in_place(self.nonce(id), Aad::from(&packet[..covered]), &mut sealed);
        let opened = opened.map(drop).map_err(|_| Error::WrongTag);
        packet[end..].copy_from_slice(&tag);
        opened
    }
}

/// Puts the trailer of SRTCP at the end of `packet`, where the tag covers it.
fn write_trailer(id: &PacketId, packet: &mut [u8]) {
    if id.is_rtcp {
        let at = packet.len() - TRAILER_BYTES;
        packet[at..].copy_from_slice(&id.trailer);
    }
}

/// What the tag covers of an encrypted SRTCP packet besides its payload (RFC 7714, section 9.2).
#[inline]
fn with_trailer(header: &[u8], id: &PacketId) -> [u8; 8 + TRAILER_BYTES] {
    let mut data = [0; 8 + TRAILER_BYTES];
    data[..8].copy_from_slice(header);
    data[8..].copy_from_slice(&id.trailer);
    data
}

/// Only a packet of 64 GiB can't be sealed.
#[inline]
fn tag_bytes(sealed: Result<ring::aead::Tag, ring::error::Unspecified>) -> Result<[u8; TAG_BYTES], Error> {
    let tag = sealed.map_err(|_| Error::NoRoom)?;
    let mut bytes = [0; TAG_BYTES];
    bytes.copy_from_slice(tag.as_ref());
    Ok(bytes)
}
