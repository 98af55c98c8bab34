//! The state of an SSRC that another path takes over for a while, and keys made ready for it.

use super::aes_key::{MOST_ROUND_KEYS, expand};
use super::authenticator::Authenticator;
use super::derive::SessionKeys;
use super::key::Parameters;
use super::replay::Replay;
use super::suite::{CipherKind, cipher_kind, lengths};
use super::{Protector, Unprotector};
use zeroize::ZeroizeOnDrop;

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

/// The session keys of SRTP in the form in which AES and HMAC-SHA1 begin with them. Wiped when dropped.
#[derive(ZeroizeOnDrop)]
pub struct Schedule {
    pub round_keys: [u32; MOST_ROUND_KEYS],
    /// 10, 12 or 14.
    pub rounds: u32,
    /// The session salt, 16 bits to the left.
    pub salt: u128,
    /// The state of the hash behind the key's inner and outer block.
    pub inner: [u32; 5],
    pub outer: [u32; 5],
    pub tag_bytes: u32,
}

impl Schedule {
    /// None unless packets are encrypted by AES in counter mode, have a tag of HMAC-SHA1 and no MKI.
    pub fn of(parameters: &Parameters) -> Option<Schedule> {
        if !Schedule::is_for(parameters) {
            return None;
        }
        let keys = SessionKeys::rtp(parameters.suite, &parameters.master);
        let (round_keys, rounds) = expand(keys.encryption())?;
        let authenticator = Authenticator::new(&keys.authentication);
        Some(Schedule {
            round_keys,
            rounds,
            salt: keys.salt << 16,
            inner: authenticator.inner(),
            outer: authenticator.outer(),
            tag_bytes: lengths(parameters.suite).rtp_tag as u32,
        })
    }

    /// Whether there is one for `parameters`.
    pub fn is_for(parameters: &Parameters) -> bool {
        let is_usual = !parameters.unencrypted_srtp && !parameters.unauthenticated_srtp && parameters.mki.is_none();
        is_usual && cipher_kind(parameters.suite) == CipherKind::CounterMode
    }
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
