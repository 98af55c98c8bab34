//! What each crypto suite means in bytes (RFC 4568, section 6.2; RFC 6188, section 4; RFC 7714, section 12).

use crate::base::suite::Suite;

/// The cipher of a suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CipherKind {
    /// AES in counter mode.
    CounterMode,
    /// AES in f8 mode.
    F8,
    /// None: packets are authenticated.
    Null,
    /// AES-GCM, which authenticates too.
    Gcm,
}

/// The lengths of a suite, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lengths {
    /// Of the master key, and of the session key for encryption.
    pub key: usize,
    /// Of the master salt, and of the session salt.
    pub salt: usize,
    /// Of the authentication tag of SRTP.
    pub rtp_tag: usize,
    /// Of the authentication tag of SRTCP, which is never shorter than 80 bits.
    pub rtcp_tag: usize,
}

/// The longest master key in bytes.
pub const LONGEST_KEY: usize = 32;
/// The longest master salt in bytes.
pub const LONGEST_SALT: usize = 14;

const fn hmac(key: usize, rtp_tag: usize) -> Lengths {
    Lengths { key, salt: LONGEST_SALT, rtp_tag, rtcp_tag: 10 }
}

const fn gcm(key: usize) -> Lengths {
    Lengths { key, salt: 12, rtp_tag: 16, rtcp_tag: 16 }
}

const fn row(suite: Suite) -> (CipherKind, Lengths) {
    match suite {
        Suite::AeadAes256Gcm => (CipherKind::Gcm, gcm(32)),
        Suite::AeadAes128Gcm => (CipherKind::Gcm, gcm(16)),
        Suite::Aes256CmSha1_80 => (CipherKind::CounterMode, hmac(32, 10)),
        Suite::Aes256CmSha1_32 => (CipherKind::CounterMode, hmac(32, 4)),
        Suite::Aes192CmSha1_80 => (CipherKind::CounterMode, hmac(24, 10)),
        Suite::Aes192CmSha1_32 => (CipherKind::CounterMode, hmac(24, 4)),
        Suite::AesCm128Sha1_80 => (CipherKind::CounterMode, hmac(16, 10)),
        Suite::AesCm128Sha1_32 => (CipherKind::CounterMode, hmac(16, 4)),
        Suite::F8Sha1_80 => (CipherKind::F8, hmac(16, 10)),
        Suite::F8Sha1_32 => (CipherKind::F8, hmac(16, 4)),
        Suite::NullSha1_80 => (CipherKind::Null, hmac(16, 10)),
        Suite::NullSha1_32 => (CipherKind::Null, hmac(16, 4)),
    }
}

pub(super) const fn cipher_kind(suite: Suite) -> CipherKind {
    row(suite).0
}

/// The lengths of `suite`.
pub const fn lengths(suite: Suite) -> Lengths {
    row(suite).1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::suite::SUITES;

    #[test]
    fn lengths_agree_with_the_names() {
        for &(suite, name) in SUITES {
            let Lengths { key, salt, rtp_tag, rtcp_tag } = lengths(suite);
            let bits = [("256", 32), ("192", 24)].iter().find(|row| name.contains(row.0)).map_or(16, |row| row.1);
            assert_eq!(key, bits, "{name}");
            let tags =
                if name.ends_with("GCM") { (12, 16, 16) } else { (14, if name.ends_with("_32") { 4 } else { 10 }, 10) };
            assert_eq!((salt, rtp_tag, rtcp_tag), tags, "{name}");
            assert!(key <= LONGEST_KEY && salt <= LONGEST_SALT);
        }
    }
}
