//! Floor 3: SRTP and SRTCP (RFC 3711, 6188, 7714): packets are protected and unprotected in place.
//!
//! A [`Protector`] serves what one side sends under one master key, an [`Unprotector`] what it receives; each holds the
//! state of the SSRCs it has seen. `protocol-docs/srtp.md` says what is done and what is not.

pub mod aes_key;
mod authenticator;
mod cipher;
mod derive;
mod header;
mod index;
pub mod key;
pub mod loan;
mod protect;
mod replay;
mod session;
mod streams;
pub mod suite;
#[cfg(test)]
mod tests;
mod unprotect;

pub use key::{MasterKey, Mki, Parameters};
pub use loan::{Schedule, Window, Windows};
pub use protect::Protector;
pub use suite::CipherKind;
pub use unprotect::Unprotector;

use thiserror::Error;

/// The SSRCs that one side keeps the state of. One more, and the one that was silent longest is forgotten.
pub const MOST_SSRCS: usize = 32;

/// Why a packet was not protected or unprotected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Error {
    /// Fewer bytes than the header and what SRTP appends.
    #[error("packet too short")]
    TooShort,
    /// Not version 2, or an RTP header that is longer than its packet (RFC 3550, section 5.1).
    #[error("malformed header")]
    Malformed,
    /// The buffer ends before what would be appended.
    #[error("no room for the tag")]
    NoRoom,
    /// The authentication tag is another (RFC 3711, section 3.3, step 5).
    #[error("wrong authentication tag")]
    WrongTag,
    /// The master key identifier is another: the sender uses a key that is not known here (RFC 3711, section 3.1).
    #[error("wrong master key identifier")]
    WrongMki,
    /// This packet was seen before, or is too old to tell (RFC 3711, section 3.3.2).
    #[error("replayed, or too old to tell")]
    Replayed,
    /// 2^48 SRTP or 2^31 SRTCP packets have used the master key (RFC 3711, section 9.2).
    #[error("master key used up")]
    KeyExpired,
}
