//! User name fragment and password (RFC 8839, section 5.4).

use crate::base::random::Random;
use std::fmt;

/// Characters of a fragment that is made here: 48 random bits, twice what RFC 8445, section 5.3, asks for.
const UFRAG_CHARACTERS: usize = 8;
/// Characters of a password that is made here: 156 random bits, where 128 are asked for.
const PASSWORD_CHARACTERS: usize = 26;

/// 64 characters, so that six random bits choose one without bias.
const CHARACTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// What one side authenticates checks with, for one generation.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub ufrag: String,
    pub password: String,
}

/// Whether `byte` is an ice-char (RFC 8839, section 5.1).
pub(super) fn is_ice_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/'
}

impl Credentials {
    /// New credentials.
    pub fn generate(random: &mut dyn Random) -> Credentials {
        Credentials { ufrag: characters(random, UFRAG_CHARACTERS), password: characters(random, PASSWORD_CHARACTERS) }
    }

    /// Whether a description may carry these: 4 to 256 characters of a fragment and 22 to 256 of a password, all of
    /// them ice-char.
    pub fn is_valid(&self) -> bool {
        let is_word = |text: &str, least| (least..=256).contains(&text.len()) && text.bytes().all(is_ice_character);
        is_word(&self.ufrag, 4) && is_word(&self.password, 22)
    }
}

/// The password stays out of logs.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("ufrag", &self.ufrag).finish_non_exhaustive()
    }
}

fn characters(random: &mut dyn Random, count: usize) -> String {
    let mut bytes = [0; PASSWORD_CHARACTERS];
    random.fill(&mut bytes[..count]);
    bytes[..count].iter().map(|byte| char::from(CHARACTERS[usize::from(byte & 63)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Seeded;

    #[test]
    fn generated_credentials_are_valid_and_differ() {
        let mut random = Seeded(1);
        let (first, second) = (Credentials::generate(&mut random), Credentials::generate(&mut random));
        assert!(first.is_valid() && second.is_valid());
        assert_eq!((first.ufrag.len(), first.password.len()), (8, 26));
        assert!(first.ufrag != second.ufrag && first.password != second.password);
        assert!(!format!("{first:?}").contains(&first.password));
    }

    #[test]
    fn lengths_and_characters_are_checked() {
        let with = |ufrag: &str, password: &str| Credentials { ufrag: ufrag.into(), password: password.into() };
        let password = "a".repeat(22);
        assert!(with("abcd", &password).is_valid());
        for (ufrag, password) in [("abc", &*password), ("ab:d", &password), ("abcd", &password[1..])] {
            assert!(!with(ufrag, password).is_valid());
        }
        assert!(!with(&"a".repeat(257), &password).is_valid());
    }
}
