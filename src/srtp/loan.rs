//! The state of an SSRC that another path takes over for a while, and keys made ready for it.

use super::aes_key::{MOST_ROUND_KEYS, expand};
use super::authenticator::Authenticator;
use super::cipher::aes::Aes;
use super::cipher::f8::masked_key;
use super::derive::SessionKeys;
use super::key::Parameters;
use super::replay::Replay;
use super::suite::{CipherKind, cipher_kind, lengths};
use super::{Protector, Unprotector};
use zeroize::{ZeroizeOnDrop, Zeroizing};

/// Where one SSRC stands in one direction: the highest packet index, and which packets up to it were there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Window {
    pub highest: u64,
    /// Bit n: the packet n before the highest.
    pub seen: u128,
}

impl Window {
    /// Whether the packet `index` was not there yet, as far as can be told.
    pub fn may_be_new(&self, index: u64) -> bool {
        Replay::at(*self).check(index).is_ok()
    }
}

/// The windows of an SSRC that passes a relay: of the side that it comes from, and of the side that it goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Windows {
    pub opened: Option<Window>,
    pub protected: Option<Window>,
}

/// The session keys of SRTP in the form in which AES, HMAC-SHA1 and the hash of GCM begin with them. Wiped when dropped.
#[derive(ZeroizeOnDrop)]
pub struct Schedule {
    #[zeroize(skip)]
    pub cipher: CipherKind,
    pub round_keys: [u32; MOST_ROUND_KEYS],
    /// Of f8: the round keys for the beginning of the keystream; else zero.
    pub masked_round_keys: [u32; MOST_ROUND_KEYS],
    /// 10, 12 or 14.
    pub rounds: u32,
    /// The session salt, 16 bits to the left, or 32 with GCM.
    pub salt: u128,
    /// The state of the hash behind the key's inner and outer block; zero with GCM.
    pub inner: [u32; 5],
    pub outer: [u32; 5],
    /// Of GCM: the key of the hash, its first and its second half, then both with their bits in the opposite order.
    pub hash_key: [u64; 4],
    pub tag_bytes: u32,
}

impl Schedule {
    /// None where packets have no tag, or an MKI, or are only authenticated by GCM.
    pub fn of(parameters: &Parameters) -> Option<Schedule> {
        let cipher = Schedule::cipher_of(parameters)?;
        let keys = SessionKeys::rtp(parameters.suite, &parameters.master);
        let (round_keys, rounds) = expand(keys.encryption())?;
        let mut schedule = Schedule {
            cipher,
            round_keys,
            masked_round_keys: [0; _],
            rounds,
            salt: keys.salt << 16,
            inner: [0; _],
            outer: [0; _],
            hash_key: [0; _],
            tag_bytes: lengths(parameters.suite).rtp_tag as u32,
        };
        match cipher {
            CipherKind::Gcm => {
                schedule.salt = keys.salt << 32;
                schedule.hash_key = hash_key(keys.encryption());
                return Some(schedule);
            }
            CipherKind::F8 => {
                let masked = Zeroizing::new(masked_key(keys.encryption(), &keys.salt.to_be_bytes()[2..]));
                (schedule.masked_round_keys, _) = expand(&*masked)?;
            }
            CipherKind::CounterMode | CipherKind::Null => {}
        }
        let authenticator = Authenticator::new(&keys.authentication);
        (schedule.inner, schedule.outer) = (authenticator.inner(), authenticator.outer());
        Some(schedule)
    }

    /// The cipher of the schedule for `parameters`, where there is one.
    pub fn cipher_of(parameters: &Parameters) -> Option<CipherKind> {
        let is_usual = !parameters.unauthenticated_srtp && parameters.mki.is_none();
        match cipher_kind(parameters.suite) {
            _ if !is_usual => None,
            CipherKind::Gcm if parameters.unencrypted_srtp => None,
            _ if parameters.unencrypted_srtp => Some(CipherKind::Null),
            kind => Some(kind),
        }
    }
}

/// What GCM hashes with: the cipher of a block of zeros (NIST SP 800-38D, section 7.1).
fn hash_key(key: &[u8]) -> [u64; 4] {
    let mut block = [0; 16];
    Aes::new(key).apply_keystream(0, &mut block);
    let number = u128::from_be_bytes(block);
    let (first, second) = ((number >> 64) as u64, number as u64);
    [first, second, first.reverse_bits(), second.reverse_bits()]
}

impl Unprotector {
    /// Where `ssrc` stands; none before one of its packets has been accepted.
    pub fn rtp_window(&self, ssrc: u32) -> Option<Window> {
        self.rtp_streams.window(ssrc)
    }

    /// Goes on from where another has brought `ssrc`.
    pub fn set_rtp_window(&mut self, ssrc: u32, window: Window) {
        self.rtp_streams.set_window(ssrc, window);
    }
}

impl Protector {
    /// Where `ssrc` stands; none before one of its packets has been protected.
    pub fn rtp_window(&self, ssrc: u32) -> Option<Window> {
        self.streams.window(ssrc)
    }

    /// Goes on from where another has brought `ssrc`.
    pub fn set_rtp_window(&mut self, ssrc: u32, window: Window) {
        self.streams.set_window(ssrc, window);
    }
}
