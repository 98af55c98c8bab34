//! Certificate fingerprints as SDP carries them (RFC 8122, section 5).

use crate::base::suite::{HASH_FUNCTIONS, HashFunction};
use openssl::error::ErrorStack;
use openssl::hash::{MessageDigest, hash};
use smallvec::SmallVec;
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

/// The digest of a certificate in DER, with the hash function that made it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fingerprint {
    hash: HashFunction,
    digest: SmallVec<[u8; 32]>,
}

/// The text is no fingerprint, with the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no certificate fingerprint: {0}")]
pub struct NotAFingerprint(&'static str);

impl Fingerprint {
    /// The fingerprint of a certificate in DER.
    pub fn of(certificate_der: &[u8], function: HashFunction) -> Result<Fingerprint, ErrorStack> {
        let digest = hash(message_digest(function), certificate_der)?;
        Ok(Fingerprint { hash: function, digest: SmallVec::from_slice(&digest) })
    }

    pub fn hash(&self) -> HashFunction {
        self.hash
    }

    pub fn digest(&self) -> &[u8] {
        &self.digest
    }

    /// Whether a certificate is one that the peer has signalled: where it signalled several hash functions, one of the
    /// digests of the strongest must match (RFC 8122, section 5). Nothing signalled matches nothing.
    pub fn any_matches(signalled: &[Fingerprint], certificate_der: &[u8]) -> bool {
        let Some(strongest) = signalled.iter().map(|fingerprint| fingerprint.hash).max_by_key(|hash| *hash as u8)
        else {
            return false;
        };
        Fingerprint::of(certificate_der, strongest).is_ok_and(|actual| signalled.contains(&actual))
    }
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

impl FromStr for Fingerprint {
    type Err = NotAFingerprint;

    /// Reads `sha-256 12:AB:...`, in any case. One or more blanks may stand between the two.
    fn from_str(text: &str) -> Result<Fingerprint, NotAFingerprint> {
        let (name, hexadecimal) =
            text.trim().split_once(' ').ok_or(NotAFingerprint("hash function or digest missing"))?;
        let hash = HashFunction::from_name(name).ok_or(NotAFingerprint("unknown hash function"))?;
        let mut digest = SmallVec::new();
        for pair in hexadecimal.trim_start().split(':') {
            let is_byte = pair.len() == 2 && pair.bytes().all(|digit| digit.is_ascii_hexdigit());
            let byte = u8::from_str_radix(pair, 16).ok().filter(|_| is_byte);
            digest.push(byte.ok_or(NotAFingerprint("the digest is no list of hexadecimal bytes"))?);
        }
        if digest.len() != message_digest(hash).size() {
            return Err(NotAFingerprint("the digest has not the length of its hash function"));
        }
        Ok(Fingerprint { hash, digest })
    }
}

impl Display for Fingerprint {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.hash.name())?;
        for (index, byte) in self.digest.iter().enumerate() {
            write!(formatter, "{}{byte:02X}", if index == 0 { ' ' } else { ':' })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha-1 DA:39:A3:EE:5E:6B:4B:0D:32:55:BF:EF:95:60:18:90:AF:D8:07:09";

    #[test]
    fn text_leads_back() {
        let fingerprint = Fingerprint::of(b"", HashFunction::Sha1).unwrap();
        assert_eq!(fingerprint.to_string(), EMPTY);
        for text in [EMPTY, &EMPTY.to_lowercase(), &EMPTY.replace("sha-1 ", " SHA-1  ")] {
            assert_eq!(text.parse(), Ok(fingerprint.clone()));
        }
        for function in functions() {
            let fingerprint = Fingerprint::of(b"x", function).unwrap();
            assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        let of = |text: &str| text.parse::<Fingerprint>().map_err(|error| error.0);
        assert_eq!(of("sha-1"), Err("hash function or digest missing"));
        assert_eq!(of("md5 00"), Err("unknown hash function"));
        assert_eq!(of(&EMPTY.replace("sha-1", "sha-256")), Err("the digest has not the length of its hash function"));
        assert_eq!(of(&format!("{EMPTY}:00")), Err("the digest has not the length of its hash function"));
        for digest in [":", "DA:3", "DA:+9", "DA:39:", "DA 39", "DA:é", "DA39"] {
            let expected = "the digest is no list of hexadecimal bytes";
            assert_eq!(of(&format!("sha-1 {digest}")), Err(expected), "{digest}");
        }
    }

    #[test]
    fn the_strongest_hash_decides() {
        let of = |bytes: &[u8], function| Fingerprint::of(bytes, function).unwrap();
        let (sha1, sha256) = (of(b"a", HashFunction::Sha1), of(b"a", HashFunction::Sha256));
        let other = of(b"b", HashFunction::Sha256);
        let matches = |signalled: &[&Fingerprint]| {
            Fingerprint::any_matches(&signalled.iter().map(|&each| each.clone()).collect::<Vec<_>>(), b"a")
        };
        assert!(!matches(&[]));
        assert!(matches(&[&sha1]));
        assert!(matches(&[&sha1, &sha256]));
        assert!(matches(&[&other, &sha256]));
        assert!(!matches(&[&other]));
        assert!(!matches(&[&sha1, &other]));
    }
}
