//! How the packets of a media are protected: what its participant said, what it was shown, what came of it.

use crate::base::fingerprint::Fingerprint;
use crate::base::suite::HashFunction;
use crate::sdp::{Crypto, Setup};

/// The security of one media.
#[derive(Debug, Clone, Default)]
pub struct Security {
    pub received: ReceivedSecurity,
    pub shown: ShownSecurity,
    pub keying: Keying,
    /// Packets are always decrypted and encrypted anew (`recrypt`).
    pub recrypts: bool,
}

/// What the participant's last description says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReceivedSecurity {
    /// The keys that the participant sends with, in its order; those only that this daemon can use.
    pub cryptos: Vec<Crypto>,
    pub fingerprints: Vec<Fingerprint>,
    pub setup: Option<Setup>,
    pub tls_id: Option<String>,
    /// Keys came with a plain profile: the participant can do without them (RFC 8643).
    pub is_opportunistic: bool,
}

impl ReceivedSecurity {
    /// Whether the participant wants its media protected, and nothing else.
    pub fn is_required(&self) -> bool {
        !self.is_opportunistic && (self.has_dtls() || !self.cryptos.is_empty())
    }

    /// Whether the participant can do DTLS-SRTP.
    pub fn has_dtls(&self) -> bool {
        !self.fingerprints.is_empty()
    }
}

/// What the participant was shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShownSecurity {
    /// The keys that packets to the participant are protected with: those offered, or the one agreed upon.
    pub cryptos: Vec<Crypto>,
    /// DTLS-SRTP stands in the description.
    pub dtls: Option<ShownDtls>,
    /// The value of `a=tls-id`, the same as long as the association is (RFC 8842).
    pub tls_id: Option<String>,
    /// How keys are written.
    pub pads_keys: bool,
    pub adds_lifetime: bool,
    /// Keys were shown with a plain profile.
    pub is_opportunistic: bool,
    /// What the next answer to the participant prefers.
    pub wishes: Wishes,
}

/// The DTLS part of a description that was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShownDtls {
    pub setup: Setup,
    pub hash: HashFunction,
}

/// What an offer asked of the answer to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wishes {
    /// The server role.
    pub is_passive: bool,
    /// SDES before DTLS-SRTP.
    pub prefers_sdes: bool,
    /// Opportunistic keys are used although the other side does not.
    pub accepts_opportunistic: bool,
}

/// What the two ends of the media agreed upon.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Keying {
    /// Plain RTP.
    #[default]
    None,
    /// SRTP whose keys are not known yet: nothing passes.
    Pending,
    /// Keys in the description (RFC 4568).
    Sdes { receive: Crypto, send: Crypto },
    /// Keys by a handshake (RFC 5764).
    Dtls(DtlsKeying),
}

/// What a handshake needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DtlsKeying {
    /// This end is the client.
    pub is_client: bool,
    /// The peer's certificate has one of these.
    pub fingerprints: Vec<Fingerprint>,
    /// Counts associations: another number is another association.
    pub generation: u32,
    /// The peer's `a=tls-id`.
    pub tls_id: Option<String>,
}

impl Keying {
    /// Whether packets are protected.
    pub fn is_secure(&self) -> bool {
        *self != Keying::None
    }
}
