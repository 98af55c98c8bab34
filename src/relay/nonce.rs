//! Random bits for the machines inside the relay, from a seed that the relay was made with.

use crate::base::random::Random;
use ring::hmac;

/// A generator whose output nobody without the seed can foretell: HMAC-SHA-256 over a counter.
pub(super) struct Nonces {
    key: hmac::Key,
    counter: u64,
}

impl Nonces {
    pub(super) fn new(seed: [u8; 32]) -> Nonces {
        Nonces { key: hmac::Key::new(hmac::HMAC_SHA256, &seed), counter: 0 }
    }
}

/// Says nothing of the seed.
impl std::fmt::Debug for Nonces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Nonces")
    }
}

impl Random for Nonces {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(32) {
            self.counter += 1;
            let block = hmac::sign(&self.key, &self.counter.to_be_bytes());
            chunk.copy_from_slice(&block.as_ref()[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_block_comes_twice() {
        let mut nonces = Nonces::new([7; 32]);
        let mut bytes = [0; 96];
        nonces.fill(&mut bytes);
        assert_ne!(bytes[..32], bytes[32..64]);
        assert_ne!(bytes[32..64], bytes[64..]);
        assert_ne!(Nonces::new([7; 32]).u32(), Nonces::new([8; 32]).u32());
    }
}
