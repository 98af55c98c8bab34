//! Digests of certificates, and whether one is what the peer has signalled (RFC 8122, section 5).

use crate::base::fingerprint::Fingerprint;
use crate::base::suite::{HASH_FUNCTIONS, HashFunction};
use openssl::error::ErrorStack;
use openssl::hash::{MessageDigest, hash};

/// The fingerprint of a certificate in DER.
///
/// # Errors
/// When OpenSSL was built without the hash function.
pub fn fingerprint_of(certificate_der: &[u8], function: HashFunction) -> Result<Fingerprint, ErrorStack> {
    let digest = hash(message_digest(function), certificate_der)?;
    Ok(Fingerprint { hash: function, digest: digest.to_vec() })
}

/// Whether a certificate is one that the peer has signalled: where it signalled several hash functions, one of the
/// digests of the strongest must match (RFC 8122, section 5). Nothing signalled matches nothing.
pub fn any_matches(signalled: &[Fingerprint], certificate_der: &[u8]) -> bool {
    let Some(strongest) = signalled.iter().map(|fingerprint| fingerprint.hash).max_by_key(|hash| *hash as u8) else {
        return false;
    };
    fingerprint_of(certificate_der, strongest).is_ok_and(|actual| signalled.contains(&actual))
}

fn message_digest(function: HashFunction) -> MessageDigest {
    match function {
        HashFunction::Sha1 => MessageDigest::sha1(),
        HashFunction::Sha224 => MessageDigest::sha224(),
        HashFunction::Sha256 => MessageDigest::sha256(),
        HashFunction::Sha384 => MessageDigest::sha384(),
        HashFunction::Sha512 => MessageDigest::sha512(),
    }
}

/// Every hash function, weakest first.
pub(super) fn functions() -> impl Iterator<Item = HashFunction> {
    HASH_FUNCTIONS.iter().map(|row| row.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha-1 DA:39:A3:EE:5E:6B:4B:0D:32:55:BF:EF:95:60:18:90:AF:D8:07:09";

    #[test]
    fn digests_are_those_of_their_functions() {
        assert_eq!(fingerprint_of(b"", HashFunction::Sha1).unwrap().to_string(), EMPTY);
        for function in functions() {
            let fingerprint = fingerprint_of(b"x", function).unwrap();
            assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
        }
    }

    #[test]
    fn the_strongest_hash_decides() {
        let of = |bytes: &[u8], function| fingerprint_of(bytes, function).unwrap();
        let (sha1, sha256) = (of(b"a", HashFunction::Sha1), of(b"a", HashFunction::Sha256));
        let other = of(b"b", HashFunction::Sha256);
        let matches = |signalled: &[&Fingerprint]| {
            any_matches(&signalled.iter().map(|&each| each.clone()).collect::<Vec<_>>(), b"a")
        };
        assert!(!matches(&[]));
        assert!(matches(&[&sha1]));
        assert!(matches(&[&sha1, &sha256]));
        assert!(matches(&[&other, &sha256]));
        assert!(!matches(&[&other]));
        assert!(!matches(&[&sha1, &other]));
    }
}
