//! The names of SRTP crypto suites (RFC 4568, 6188, 7714) and of certificate hashes (RFC 8122).

/// An SRTP crypto suite. The order is the one in which an offer lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Suite {
    AeadAes256Gcm,
    AeadAes128Gcm,
    Aes256CmSha1_80,
    Aes256CmSha1_32,
    Aes192CmSha1_80,
    Aes192CmSha1_32,
    AesCm128Sha1_80,
    AesCm128Sha1_32,
    F8Sha1_80,
    F8Sha1_32,
    NullSha1_80,
    NullSha1_32,
}

/// Every suite with its name in `a=crypto`.
pub const SUITES: &[(Suite, &str)] = &[
    (Suite::AeadAes256Gcm, "AEAD_AES_256_GCM"),
    (Suite::AeadAes128Gcm, "AEAD_AES_128_GCM"),
    (Suite::Aes256CmSha1_80, "AES_256_CM_HMAC_SHA1_80"),
    (Suite::Aes256CmSha1_32, "AES_256_CM_HMAC_SHA1_32"),
    (Suite::Aes192CmSha1_80, "AES_192_CM_HMAC_SHA1_80"),
    (Suite::Aes192CmSha1_32, "AES_192_CM_HMAC_SHA1_32"),
    (Suite::AesCm128Sha1_80, "AES_CM_128_HMAC_SHA1_80"),
    (Suite::AesCm128Sha1_32, "AES_CM_128_HMAC_SHA1_32"),
    (Suite::F8Sha1_80, "F8_128_HMAC_SHA1_80"),
    (Suite::F8Sha1_32, "F8_128_HMAC_SHA1_32"),
    (Suite::NullSha1_80, "NULL_HMAC_SHA1_80"),
    (Suite::NullSha1_32, "NULL_HMAC_SHA1_32"),
];

impl Suite {
    /// Reads a suite's name, in any case.
    pub fn from_name(name: &str) -> Option<Suite> {
        SUITES.iter().find(|row| row.1.eq_ignore_ascii_case(name)).map(|row| row.0)
    }

    /// The name in `a=crypto`.
    pub fn name(self) -> &'static str {
        SUITES[self as usize].1
    }

    /// The length of the master key (RFC 4568, section 6.2; RFC 6188, section 4; RFC 7714, section 12).
    /// Whether the header is authenticated under the nonce that the payload is encrypted with: two headers under one
    /// would give the key of the tag away (RFC 7714, section 8.1).
    pub fn binds_header(self) -> bool {
        matches!(self, Suite::AeadAes256Gcm | Suite::AeadAes128Gcm)
    }

    pub fn key_bytes(self) -> usize {
        match self {
            Suite::AeadAes256Gcm | Suite::Aes256CmSha1_80 | Suite::Aes256CmSha1_32 => 32,
            Suite::Aes192CmSha1_80 | Suite::Aes192CmSha1_32 => 24,
            _ => 16,
        }
    }

    /// The length of the master salt, by the same sources.
    pub fn salt_bytes(self) -> usize {
        match self {
            Suite::AeadAes256Gcm | Suite::AeadAes128Gcm => 12,
            _ => 14,
        }
    }
}

/// The hash function of a certificate fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum HashFunction {
    Sha1,
    Sha224,
    #[default]
    Sha256,
    Sha384,
    Sha512,
}

/// Every hash function with its name in `a=fingerprint` (RFC 8122, section 5).
pub const HASH_FUNCTIONS: &[(HashFunction, &str)] = &[
    (HashFunction::Sha1, "sha-1"),
    (HashFunction::Sha224, "sha-224"),
    (HashFunction::Sha256, "sha-256"),
    (HashFunction::Sha384, "sha-384"),
    (HashFunction::Sha512, "sha-512"),
];

impl HashFunction {
    /// Reads a hash function's name, in any case.
    pub fn from_name(name: &str) -> Option<HashFunction> {
        HASH_FUNCTIONS.iter().find(|row| row.1.eq_ignore_ascii_case(name)).map(|row| row.0)
    }

    /// The name in `a=fingerprint`.
    pub fn name(self) -> &'static str {
        HASH_FUNCTIONS[self as usize].1
    }

    /// The length of a digest.
    pub fn digest_bytes(self) -> usize {
        match self {
            HashFunction::Sha1 => 20,
            HashFunction::Sha224 => 28,
            HashFunction::Sha256 => 32,
            HashFunction::Sha384 => 48,
            HashFunction::Sha512 => 64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back() {
        for &(suite, name) in SUITES {
            assert_eq!((suite.name(), Suite::from_name(name)), (name, Some(suite)));
        }
        for &(hash, name) in HASH_FUNCTIONS {
            assert_eq!((hash.name(), HashFunction::from_name(name)), (name, Some(hash)));
        }
        assert_eq!(Suite::from_name("AES"), None);
    }
}
