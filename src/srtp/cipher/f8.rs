//! AES in f8 mode (RFC 3711, section 4.1.2).

use super::PacketId;
use super::aes::Aes;

/// The two ciphers of f8: one for the keystream, one whose key is masked with the salt for the beginning of it.
pub(in super::super) struct F8 {
    keystream: Aes,
    masked: Aes,
}

impl F8 {
    /// The cipher for a session key of 16 bytes and a session salt of at most 16.
    pub(in super::super) fn new(key: &[u8], salt: &[u8]) -> F8 {
        F8 { keystream: Aes::new(key), masked: Aes::new_128(&masked_key(key, salt)) }
    }

    /// Encrypts or decrypts `packet` behind its header, whose length has been checked.
    pub(in super::super) fn apply(&self, id: &PacketId, packet: &mut [u8], header_bytes: usize) {
        let mut start = initialization_vector(id, packet);
        self.masked.encrypt_block(&mut start);
        let start = u128::from_be_bytes(start);
        let mut block = [0; 16];
        for (number, part) in (0u128..).zip(packet[header_bytes..].chunks_mut(16)) {
            block = (start ^ number ^ u128::from_be_bytes(block)).to_be_bytes();
            self.keystream.encrypt_block(&mut block);
            part.iter_mut().zip(block).for_each(|(byte, key)| *byte ^= key);
        }
    }
}

/// The key that makes the beginning of the keystream of the IV (section 4.1.2.1).
pub(in super::super) fn masked_key(key: &[u8], salt: &[u8]) -> [u8; 16] {
    let mask = salt.iter().chain(std::iter::repeat(&0x55));
    let mut masked = [0; 16];
    for ((byte, key), mask) in masked.iter_mut().zip(key).zip(mask) {
        *byte = key ^ mask;
    }
    masked
}

/// The IV of a packet (RFC 3711, sections 4.1.2.2 and 4.1.2.3).
fn initialization_vector(id: &PacketId, packet: &[u8]) -> [u8; 16] {
    let mut vector = [0; 16];
    if id.is_rtcp {
        vector[4..8].copy_from_slice(&id.trailer);
        vector[8..].copy_from_slice(&packet[..8]);
    } else {
        vector[1..12].copy_from_slice(&packet[1..12]);
        vector[12..].copy_from_slice(&id.trailer);
    }
    vector
}
