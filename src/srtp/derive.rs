//! Session keys from the master key (RFC 3711, section 4.3; RFC 6188, section 3; RFC 7714, section 11). The key
//! derivation rate is zero: keys are derived once.

use super::cipher::aes::Aes;
use super::key::MasterKey;
use super::suite::{LONGEST_KEY, lengths};
use crate::base::suite::Suite;
use zeroize::ZeroizeOnDrop;

/// Bytes of the session key of HMAC-SHA1.
pub(super) const AUTHENTICATION_KEY_BYTES: usize = 20;

/// The labels of the first of three keys; authentication and salt follow (RFC 3711, section 4.3.2).
const RTP_LABEL: u128 = 0;
const RTCP_LABEL: u128 = 3;

/// The session keys of SRTP or of SRTCP.
#[derive(ZeroizeOnDrop)]
pub(super) struct SessionKeys {
    encryption: [u8; LONGEST_KEY],
    encryption_bytes: usize,
    pub(super) authentication: [u8; AUTHENTICATION_KEY_BYTES],
    /// 112 bits, or 96 with AES-GCM.
    pub(super) salt: u128,
}

impl SessionKeys {
    pub(super) fn encryption(&self) -> &[u8] {
        &self.encryption[..self.encryption_bytes]
    }

    /// The keys of SRTP.
    pub(super) fn rtp(suite: Suite, master: &MasterKey) -> SessionKeys {
        derive(suite, master, RTP_LABEL)
    }

    /// The keys of SRTCP.
    pub(super) fn rtcp(suite: Suite, master: &MasterKey) -> SessionKeys {
        derive(suite, master, RTCP_LABEL)
    }

    /// Keys that were not derived.
    #[cfg(test)]
    pub(super) fn given(encryption: &[u8], salt: u128) -> SessionKeys {
        let mut keys = SessionKeys {
            encryption: [0; LONGEST_KEY],
            encryption_bytes: encryption.len(),
            authentication: [0; AUTHENTICATION_KEY_BYTES],
            salt,
        };
        keys.encryption[..encryption.len()].copy_from_slice(encryption);
        keys
    }
}

fn derive(suite: Suite, master: &MasterKey, first_label: u128) -> SessionKeys {
    let lengths = lengths(suite);
    let cipher = match lengths.key {
        32 => Aes::new_256(&master.key_of()),
        24 => Aes::new_192(&master.key_of()),
        _ => Aes::new_128(&master.key_of()),
    };
    let generate = |label: u128, bytes: &mut [u8]| {
        cipher.apply_keystream((master.salt_number() ^ label << 48) << 16, bytes);
    };
    let mut keys = SessionKeys {
        encryption: [0; LONGEST_KEY],
        encryption_bytes: lengths.key,
        authentication: [0; AUTHENTICATION_KEY_BYTES],
        salt: 0,
    };
    generate(first_label, &mut keys.encryption[..lengths.key]);
    generate(first_label + 1, &mut keys.authentication);
    let mut salt = [0; 16];
    generate(first_label + 2, &mut salt[16 - lengths.salt..]);
    keys.salt = u128::from_be_bytes(salt);
    keys
}
