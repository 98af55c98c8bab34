//! Certificate fingerprints as descriptions write them (RFC 8122, section 5).

use super::suite::HashFunction;
use std::fmt;
use std::str::FromStr;

/// The digest of a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fingerprint {
    pub hash: HashFunction,
    /// As long as the hash function makes it.
    pub digest: Vec<u8>,
}

/// A text that is no fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed fingerprint")]
pub struct MalformedFingerprint;

/// Reads `sha-256 AB:CD:...`, in any case.
impl FromStr for Fingerprint {
    type Err = MalformedFingerprint;

    fn from_str(text: &str) -> Result<Fingerprint, MalformedFingerprint> {
        let (name, pairs) = text.trim().split_once(' ').ok_or(MalformedFingerprint)?;
        let hash = HashFunction::from_name(name).ok_or(MalformedFingerprint)?;
        let byte = |pair: &str| match pair.len() {
            2 if pair.bytes().all(|digit| digit.is_ascii_hexdigit()) => u8::from_str_radix(pair, 16).ok(),
            _ => None,
        };
        let digest: Option<Vec<u8>> = pairs.trim().split(':').map(byte).collect();
        match digest {
            Some(digest) if digest.len() == hash.digest_bytes() => Ok(Fingerprint { hash, digest }),
            _ => Err(MalformedFingerprint),
        }
    }
}

/// Prints the text after `a=fingerprint:`.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.hash.name())?;
        for (index, byte) in self.digest.iter().enumerate() {
            let colon = if index == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02X}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_prints_as_it_was_read() {
        let text = format!("sha-1 {}", ["AB"; 20].join(":"));
        assert_eq!(text.parse::<Fingerprint>().unwrap().to_string(), text);
        assert_eq!(text.to_lowercase().parse::<Fingerprint>().unwrap().to_string(), text);
    }

    #[test]
    fn what_is_no_fingerprint_is_refused() {
        for bad in ["", "sha-1", "sha-1 AB", "md5 AB:CD", "sha-256 AB:CD", "sha-1 +1:AB"] {
            assert_eq!(bad.parse::<Fingerprint>(), Err(MalformedFingerprint), "{bad}");
        }
    }
}
