//! AES with its keystream in counter mode (RFC 3711, section 4.1.1).

use aes::cipher::consts::U16;
use aes::cipher::typenum::Unsigned;
use aes::cipher::{
    Block, BlockCipherEncBackend, BlockCipherEncClosure, BlockCipherEncrypt, BlockSizeUser, KeyInit, ParBlocks,
};
use aes::{Aes128Enc, Aes192Enc, Aes256Enc};

const BLOCK_BYTES: usize = 16;

/// The expanded key of AES. In boxes, as what is expanded for machines without AES instructions is large.
pub(in super::super) enum Aes {
    Aes128(Box<Aes128Enc>),
    Aes192(Box<Aes192Enc>),
    Aes256(Box<Aes256Enc>),
}

impl Aes {
    pub(in super::super) fn new_128(key: &[u8; 16]) -> Aes {
        Aes::Aes128(Box::new(Aes128Enc::new(key.into())))
    }

    pub(in super::super) fn new_192(key: &[u8; 24]) -> Aes {
        Aes::Aes192(Box::new(Aes192Enc::new(key.into())))
    }

    pub(in super::super) fn new_256(key: &[u8; 32]) -> Aes {
        Aes::Aes256(Box::new(Aes256Enc::new(key.into())))
    }

    /// The cipher for a key of 16, 24 or 32 bytes. Any other is padded with zeros or cut to 16.
    pub(in super::super) fn new(key: &[u8]) -> Aes {
        if let Ok(key) = key.try_into() {
            return Aes::new_256(key);
        }
        if let Ok(key) = key.try_into() {
            return Aes::new_192(key);
        }
        Aes::new_128(&std::array::from_fn(|at| key.get(at).copied().unwrap_or(0)))
    }

    /// Encrypts one block.
    pub(super) fn encrypt_block(&self, block: &mut [u8; BLOCK_BYTES]) {
        match self {
            Aes::Aes128(cipher) => cipher.encrypt_block(block.into()),
            Aes::Aes192(cipher) => cipher.encrypt_block(block.into()),
            Aes::Aes256(cipher) => cipher.encrypt_block(block.into()),
        }
    }

    /// Combines `data` with the keystream that begins at the counter `start`.
    #[inline]
    pub(in super::super) fn apply_keystream(&self, start: u128, data: &mut [u8]) {
        let keystream = Keystream { start, data };
        match self {
            Aes::Aes128(cipher) => cipher.encrypt_with_backend(keystream),
            Aes::Aes192(cipher) => cipher.encrypt_with_backend(keystream),
            Aes::Aes256(cipher) => cipher.encrypt_with_backend(keystream),
        }
    }
}

/// The whole loop over one packet, compiled into each of the ways to do AES.
struct Keystream<'a> {
    start: u128,
    data: &'a mut [u8],
}

impl BlockSizeUser for Keystream<'_> {
    type BlockSize = U16;
}

impl BlockCipherEncClosure for Keystream<'_> {
    #[inline(always)]
    fn call<B: BlockCipherEncBackend<BlockSize = U16>>(self, backend: &B) {
        let at_once = B::ParBlocksSize::USIZE;
        let mut counter = self.start;
        for part in self.data.chunks_mut(at_once * BLOCK_BYTES) {
            let mut blocks = ParBlocks::<B>::default();
            for (number, block) in blocks.iter_mut().enumerate() {
                *block = Block::<B>::from(counter.wrapping_add(number as u128).to_be_bytes());
            }
            counter = counter.wrapping_add(at_once as u128);
            backend.encrypt_par_blocks((&mut blocks).into());
            for (bytes, block) in part.chunks_mut(BLOCK_BYTES).zip(&blocks) {
                combine(bytes, block.as_ref());
            }
        }
    }
}

#[inline(always)]
fn combine(bytes: &mut [u8], keystream: &[u8; BLOCK_BYTES]) {
    if let Ok(block) = <&mut [u8; BLOCK_BYTES]>::try_from(&mut *bytes) {
        *block = (u128::from_ne_bytes(*block) ^ u128::from_ne_bytes(*keystream)).to_ne_bytes();
    } else {
        bytes.iter_mut().zip(keystream).for_each(|(byte, key)| *byte ^= key);
    }
}
