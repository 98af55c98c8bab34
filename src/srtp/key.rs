//! What both sides agree on: the master key and the session parameters (RFC 3711, section 3.2; RFC 4568, section 6).

use super::suite::{LONGEST_KEY, LONGEST_SALT, lengths};
use crate::base::random::Random;
use crate::base::suite::Suite;
use std::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A master key and its salt, wiped when dropped. Comparing takes a time that depends on where two keys differ.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct MasterKey {
    key: [u8; LONGEST_KEY],
    salt: [u8; LONGEST_SALT],
    key_bytes: usize,
    salt_bytes: usize,
}

impl MasterKey {
    /// The key and salt of `suite`; none where a length is another than [`lengths`] says.
    pub fn new(suite: Suite, key: &[u8], salt: &[u8]) -> Option<MasterKey> {
        let lengths = lengths(suite);
        if key.len() != lengths.key || salt.len() != lengths.salt {
            return None;
        }
        let mut master = MasterKey { key: [0; _], salt: [0; _], key_bytes: lengths.key, salt_bytes: lengths.salt };
        master.key[..key.len()].copy_from_slice(key);
        master.salt[..salt.len()].copy_from_slice(salt);
        Some(master)
    }

    /// Reads the key and the salt behind it, as `inline:` carries them (RFC 4568, section 6.1).
    pub fn from_concatenated(suite: Suite, bytes: &[u8]) -> Option<MasterKey> {
        let (key, salt) = bytes.split_at_checked(lengths(suite).key)?;
        MasterKey::new(suite, key, salt)
    }

    /// A new random key for `suite`.
    pub fn generate(suite: Suite, random: &mut (impl Random + ?Sized)) -> MasterKey {
        let lengths = lengths(suite);
        let mut master = MasterKey { key: [0; _], salt: [0; _], key_bytes: lengths.key, salt_bytes: lengths.salt };
        random.fill(&mut master.key[..lengths.key]);
        random.fill(&mut master.salt[..lengths.salt]);
        master
    }

    pub fn key(&self) -> &[u8] {
        &self.key[..self.key_bytes]
    }

    pub fn salt(&self) -> &[u8] {
        &self.salt[..self.salt_bytes]
    }

    /// The key, padded with zeros or cut to `N` bytes.
    pub(super) fn key_of<const N: usize>(&self) -> [u8; N] {
        std::array::from_fn(|at| self.key.get(at).copied().unwrap_or(0))
    }

    /// The salt as a number of 112 bits. A shorter one is padded on its right (RFC 7714, section 11).
    pub(super) fn salt_number(&self) -> u128 {
        self.salt.iter().fold(0, |number, byte| number << 8 | u128::from(*byte))
    }
}

/// Shows lengths only.
impl fmt::Debug for MasterKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "MasterKey({} + {} bytes)", self.key_bytes, self.salt_bytes)
    }
}

/// A master key identifier, 1 to 128 bytes long (RFC 3711, section 3.1; RFC 4568, section 6.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mki(Box<[u8]>);

impl Mki {
    /// The longest one in bytes.
    pub const LONGEST: usize = 128;

    /// An identifier as packets carry it; none where the length is not allowed.
    pub fn new(bytes: &[u8]) -> Option<Mki> {
        (1..=Mki::LONGEST).contains(&bytes.len()).then(|| Mki(bytes.into()))
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The session parameters of one direction (RFC 4568, section 6.3). Two sides with equal parameters can pass packets
/// on as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameters {
    pub suite: Suite,
    /// Made for `suite`.
    pub master: MasterKey,
    pub unencrypted_srtp: bool,
    pub unencrypted_srtcp: bool,
    /// SRTP packets carry no tag. Who can send packets can then move the rollover counter and the replay window, and
    /// silence the stream. AES-GCM has no such mode: there this is ignored.
    pub unauthenticated_srtp: bool,
    /// Packets name their master key.
    pub mki: Option<Mki>,
}

impl Parameters {
    /// Everything encrypted and authenticated, without a key identifier.
    pub fn new(suite: Suite, master: MasterKey) -> Parameters {
        Parameters {
            suite,
            master,
            unencrypted_srtp: false,
            unencrypted_srtcp: false,
            unauthenticated_srtp: false,
            mki: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Seeded;
    use crate::base::suite::SUITES;

    #[test]
    fn lengths_must_fit_the_suite() {
        for &(suite, name) in SUITES {
            let lengths = lengths(suite);
            let bytes: Vec<u8> = (1..=lengths.key + lengths.salt).map(|byte| byte as u8).collect();
            let master = MasterKey::from_concatenated(suite, &bytes).unwrap();
            assert_eq!([master.key(), master.salt()].concat(), bytes, "{name}");
            assert_eq!(MasterKey::new(suite, master.key(), master.salt()), Some(master.clone()));
            for wrong in 0..64 {
                let fits = MasterKey::from_concatenated(suite, &vec![0; wrong]).is_some();
                assert_eq!(fits, wrong == bytes.len(), "{name}");
            }
        }
    }

    #[test]
    fn generated_keys_differ_and_keep_to_themselves() {
        let mut random = Seeded(1);
        let (one, other) = (
            MasterKey::generate(Suite::Aes256CmSha1_80, &mut random),
            MasterKey::generate(Suite::Aes256CmSha1_80, &mut random),
        );
        assert_ne!(one, other);
        assert!(one.key().iter().any(|byte| *byte != 0) && one.salt().iter().any(|byte| *byte != 0));
        assert_eq!(format!("{one:?}"), "MasterKey(32 + 14 bytes)");
    }

    #[test]
    fn identifiers_have_a_length() {
        for (length, allowed) in [(0, false), (1, true), (128, true), (129, false)] {
            assert_eq!(Mki::new(&vec![7; length]).is_some(), allowed, "{length}");
        }
    }
}
