//! HMAC-SHA1 (RFC 2104; RFC 3711, section 4.2.1) over a packet and four more bytes. The key is hashed once.

use sha1::block_api::compress;
use zeroize::ZeroizeOnDrop;

const BLOCK_BYTES: usize = 64;
const DIGEST_BYTES: usize = 20;
/// The state before the first block (FIPS 180-4, section 5.3.1).
const START: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
/// What is hashed in the end: the key's block and the inner digest.
const OUTER_BITS: u64 = (BLOCK_BYTES + DIGEST_BYTES) as u64 * 8;

/// A key of HMAC-SHA1 as the two states of the hash behind the key's blocks.
#[derive(ZeroizeOnDrop)]
pub(super) struct Authenticator {
    inner: [u32; 5],
    outer: [u32; 5],
}

impl Authenticator {
    pub(super) fn new(key: &[u8; DIGEST_BYTES]) -> Authenticator {
        let behind = |pad: u8| {
            let block = std::array::from_fn(|at| pad ^ key.get(at).copied().unwrap_or(0));
            let mut state = START;
            compress(&mut state, &[block]);
            state
        };
        Authenticator { inner: behind(0x36), outer: behind(0x5c) }
    }

    /// The hash behind the inner block of the key.
    pub(super) fn inner(&self) -> [u32; 5] {
        self.inner
    }

    /// The hash behind the outer block of the key.
    pub(super) fn outer(&self) -> [u32; 5] {
        self.outer
    }

    /// The first 16 of the 20 bytes of the code of `message` and `trailer` behind it.
    #[inline]
    pub(super) fn code(&self, message: &[u8], trailer: [u8; 4]) -> [u8; 16] {
        let (blocks, rest) = message.as_chunks();
        let mut state = self.inner;
        compress(&mut state, blocks);
        let mut tail = [[0; BLOCK_BYTES]; 2];
        let bytes = tail.as_flattened_mut();
        let used = rest.len() + trailer.len();
        bytes[..rest.len()].copy_from_slice(rest);
        bytes[rest.len()..used].copy_from_slice(&trailer);
        bytes[used] = 0x80;
        let end = if used < BLOCK_BYTES - 8 { BLOCK_BYTES } else { 2 * BLOCK_BYTES };
        let bits = (BLOCK_BYTES + message.len() + trailer.len()) as u64 * 8;
        bytes[end - 8..end].copy_from_slice(&bits.to_be_bytes());
        compress(&mut state, &tail[..end / BLOCK_BYTES]);
        self.outer_code(state)
    }

    #[inline]
    fn outer_code(&self, inner: [u32; 5]) -> [u8; 16] {
        let mut block = [0; BLOCK_BYTES];
        block[..16].copy_from_slice(&leading(inner));
        let last = u64::from(inner[4]) << 32 | 0x8000_0000;
        block[16..24].copy_from_slice(&last.to_be_bytes());
        block[BLOCK_BYTES - 8..].copy_from_slice(&OUTER_BITS.to_be_bytes());
        let mut state = self.outer;
        compress(&mut state, &[block]);
        leading(state)
    }
}

/// The first four words of a state.
#[inline]
fn leading(state: [u32; 5]) -> [u8; 16] {
    state[..4].iter().fold(0, |number: u128, word| number << 32 | u128::from(*word)).to_be_bytes()
}

/// Whether `tag` is the beginning of `code`, in a time that does not depend on where they differ.
#[inline]
pub(super) fn matches(code: &[u8; 16], tag: &[u8]) -> bool {
    let mut padded = *code;
    let Some(beginning) = padded.get_mut(..tag.len()) else { return false };
    beginning.copy_from_slice(tag);
    u128::from_ne_bytes(padded) == u128::from_ne_bytes(*code)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 2202, section 3, as far as its keys have our length.
    #[test]
    fn codes_are_those_of_rfc_2202() {
        let third = [0xdd; 50];
        let cases: [(u8, &[u8], u128); 2] = [
            (0x0b, b"Hi There", 0xb617_3186_5505_7264_e28b_c0b6_fb37_8c8e),
            (0xaa, &third, 0x125d_7342_b9ac_11cd_91a3_9af4_8aa1_7b4f),
        ];
        for (key, message, code) in cases {
            let (start, trailer) = message.split_last_chunk().unwrap();
            assert_eq!(Authenticator::new(&[key; 20]).code(start, *trailer), code.to_be_bytes());
        }
    }

    /// Every length up to some blocks, against another implementation of the whole.
    #[test]
    fn codes_of_every_length_are_those_of_ring() {
        let key: [u8; 20] = std::array::from_fn(|at| at as u8 * 7);
        let theirs = ring::hmac::Key::new(ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &key);
        let message: Vec<u8> = (0..400).map(|at| at as u8).collect();
        for length in 4..message.len() {
            let (start, trailer) = message[..length].split_last_chunk().unwrap();
            let tag = ring::hmac::sign(&theirs, &message[..length]);
            assert_eq!(Authenticator::new(&key).code(start, *trailer), tag.as_ref()[..16], "{length}");
        }
    }

    #[test]
    fn tags_match_as_a_whole() {
        let code: [u8; 16] = std::array::from_fn(|at| at as u8);
        assert!(matches(&code, &code[..10]) && matches(&code, &code[..4]) && matches(&code, &code));
        for at in 0..10 {
            let mut tag: [u8; 10] = std::array::from_fn(|at| at as u8);
            tag[at] ^= 0x80;
            assert!(!matches(&code, &tag), "{at}");
        }
        assert!(!matches(&code, &[0; 17]));
    }
}
