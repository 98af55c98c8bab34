//! The ciphers of SRTP: AES in counter mode and in f8 mode (RFC 3711, section 4.1; RFC 6188), and AES-GCM (RFC 7714).

pub(super) mod aes;
pub(super) mod f8;
pub(super) mod gcm;

use super::derive::SessionKeys;
use super::suite::CipherKind;
use aes::Aes;
use f8::F8;

/// Which packet of which stream: what makes its keystream differ from all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PacketId {
    pub(super) ssrc: u32,
    /// The packet index of SRTP, 48 bits, or of SRTCP, 31 bits.
    pub(super) index: u64,
    /// SRTP: the rollover counter. SRTCP: the flag E and the index. Tags cover it behind the packet.
    pub(super) trailer: [u8; 4],
    pub(super) is_rtcp: bool,
}

impl PacketId {
    #[inline]
    pub(super) fn rtp(ssrc: u32, index: u64) -> PacketId {
        PacketId { ssrc, index, trailer: ((index >> 16) as u32).to_be_bytes(), is_rtcp: false }
    }

    /// `word`: the flag E and the index.
    #[inline]
    pub(super) fn rtcp(ssrc: u32, word: u32) -> PacketId {
        PacketId { ssrc, index: u64::from(word & 0x7fff_ffff), trailer: word.to_be_bytes(), is_rtcp: true }
    }
}

/// A cipher that leaves authentication to others.
pub(super) enum Cipher {
    CounterMode {
        aes: Aes,
        /// The session salt, 16 bits to the left.
        salt: u128,
    },
    F8(F8),
    Null,
}

impl Cipher {
    pub(super) fn new(kind: CipherKind, keys: &SessionKeys) -> Cipher {
        match kind {
            CipherKind::CounterMode => Cipher::CounterMode { aes: Aes::new(keys.encryption()), salt: keys.salt << 16 },
            CipherKind::F8 => Cipher::F8(F8::new(keys.encryption(), &keys.salt.to_be_bytes()[2..])),
            CipherKind::Null | CipherKind::Gcm => Cipher::Null,
        }
    }

    /// Encrypts or decrypts `packet` behind its header, whose length has been checked.
    #[inline]
    pub(super) fn apply(&self, id: &PacketId, packet: &mut [u8], header_bytes: usize) {
        match self {
            Cipher::CounterMode { aes, salt } => {
                let start = salt ^ u128::from(id.ssrc) << 64 ^ u128::from(id.index) << 16;
                aes.apply_keystream(start, &mut packet[header_bytes..]);
            }
            Cipher::F8(f8) => f8.apply(id, packet, header_bytes),
            Cipher::Null => {}
        }
    }
}
