//! Bytes as text and back without loss.
//!
//! SIP and SDP are UTF-8 by their RFCs and Latin-1 in the field. Everything inside is a `String`, so a byte that is
//! not UTF-8 travels as the private-use character U+100000 + byte and becomes that byte again on the way out. A text
//! that holds such a character itself travels as its four bytes, so that `encode(decode(bytes)) == bytes` for all bytes.

use std::borrow::Cow;

/// The private-use plane that carries stray bytes; the low byte of the character is the byte.
const PLANE: u32 = 0x10_0000;

/// Bytes as text.
pub fn decode(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.bytes().any(|byte| byte == 0xf4) => Cow::Borrowed(text),
        _ => Cow::Owned(decode_slowly(bytes)),
    }
}

/// Text as the bytes it came from.
pub fn encode(text: &str) -> Cow<'_, [u8]> {
    if !text.bytes().any(|byte| byte == 0xf4) {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut bytes = Vec::with_capacity(text.len());
    for character in text.chars() {
        match carried_byte(character) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Cow::Owned(bytes)
}

fn decode_slowly(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if carried_byte(character).is_some() {
                push_bytes(&mut text, character.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                text.push(character);
            }
        }
        push_bytes(&mut text, chunk.invalid());
    }
    text
}

fn push_bytes(text: &mut String, bytes: &[u8]) {
    text.extend(bytes.iter().filter_map(|&byte| char::from_u32(PLANE + u32::from(byte))));
}

/// The byte that a private-use character stands for. Only bytes above 0x7f are ever carried.
fn carried_byte(character: char) -> Option<u8> {
    match u32::from(character) {
        code @ 0x10_0080..=0x10_00ff => Some((code - PLANE) as u8),
        _ => None,
    }
}

/// What peers have chosen, for a terminal: characters that would steer it are shown as `?`.
pub fn printable(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { '?' } else { char }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_terminal_is_not_steered() {
        assert_eq!(printable("a\x1b[2Jb\u{9b}c\r\n\u{e9}"), "a?[2Jb?c??\u{e9}");
    }

    #[test]
    fn plain_text_is_borrowed() {
        assert!(matches!(decode("grüß dich".as_bytes()), Cow::Borrowed("grüß dich")));
        assert!(matches!(encode("grüß dich"), Cow::Borrowed(_)));
    }

    #[test]
    fn stray_bytes_come_back() {
        assert_eq!(decode(b"Jos\xe9").as_ref(), "Jos\u{1000e9}");
        assert_eq!(encode("Jos\u{1000e9}").as_ref(), b"Jos\xe9");
    }

    #[test]
    fn a_private_use_character_survives() {
        let bytes = "\u{1000e9}\u{10ffff}".as_bytes();
        assert_eq!(decode(bytes).chars().count(), 5);
        assert_eq!(encode(&decode(bytes)).as_ref(), bytes);
    }

    proptest! {
        #[test]
        fn every_byte_string_survives(bytes: Vec<u8>) {
            prop_assert_eq!(encode(&decode(&bytes)).into_owned(), bytes);
        }

        #[test]
        fn private_use_mixtures_survive(parts in proptest::collection::vec(
            prop_oneof![Just(vec![0xf4, 0x80, 0x82, 0x80]), Just(vec![0xf4, 0x80]), Just(vec![0x83, 0xbf]), any::<Vec<u8>>()], 0..8)) {
            let bytes = parts.concat();
            prop_assert_eq!(encode(&decode(&bytes)).into_owned(), bytes);
        }
    }
}
