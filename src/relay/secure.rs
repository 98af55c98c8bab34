//! SRTP of one stream (RFC 3711): what arrives is unprotected or authenticated, what leaves is protected.

use super::ingress::Kind;
use super::verdict::DropReason;
use crate::plan::{Keys, Security, Sink};
use crate::srtp::{self, Protector, Unprotector};

/// Bytes that protecting adds at most: index, the longest key identifier, the longest tag.
pub(super) const ROOM_BYTES: usize = 4 + 128 + 16;

/// Which sinks get packets with the sender's own protection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passing {
    None,
    Some,
    /// Nobody needs the packet unprotected.
    All,
}

impl Passing {
    /// What the sinks of a kind of packet make of it.
    pub(super) fn of(sinks: &[Sink]) -> Passing {
        match (sinks.iter().all(|sink| sink.passes), sinks.iter().any(|sink| sink.passes)) {
            (true, true) => Passing::All,
            (false, true) => Passing::Some,
            _ => Passing::None,
        }
    }
}

/// The keys of a stream's peer and the state that goes with them.
pub(super) struct Secure {
    keys: Option<Keys>,
    inbound: Option<Unprotector>,
    outbound: Option<Protector>,
}

/// Says nothing of keys.
impl std::fmt::Debug for Secure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secure").field("has_keys", &self.keys.is_some()).finish()
    }
}

impl Secure {
    /// SRTP whose keys are still to come.
    pub(super) fn pending() -> Secure {
        Secure { keys: None, inbound: None, outbound: None }
    }

    /// Takes over what signalling says of keys; a direction whose key stays goes on where it was.
    pub(super) fn signal(&mut self, security: &Security) {
        match security {
            Security::Keys(keys) => self.set_keys(keys),
            Security::Plain | Security::Pending => *self = Secure::pending(),
            Security::Handshake(_) => {}
        }
    }

    /// Uses `keys` from now on.
    pub(super) fn set_keys(&mut self, keys: &Keys) {
        let present = self.keys.as_ref();
        if present.is_none_or(|present| present.receive != keys.receive) {
            self.inbound = Some(Unprotector::new(&keys.receive));
        }
        if present.is_none_or(|present| present.send != keys.send) {
            self.outbound = Some(Protector::new(&keys.send));
        }
        self.keys = Some(keys.clone());
    }

    /// The name of the suite in use, and whether it comes from here.
    pub(super) fn suite(&self) -> Option<&'static str> {
        self.keys.as_ref().map(|keys| keys.receive.suite.name())
    }

    /// Makes a packet plain, in place; returns its length. With `is_kept` it is authenticated and stays as it is.
    #[inline]
    pub(super) fn unprotect(&mut self, kind: Kind, packet: &mut [u8], is_kept: bool) -> Result<usize, DropReason> {
        let Some(inbound) = &mut self.inbound else { return Err(DropReason::NoKeys) };
        let length = match (kind, is_kept) {
            (Kind::Rtp(_), true) => inbound.authenticate_rtp(packet).map(|()| packet.len()),
            (Kind::Rtp(_), false) => inbound.unprotect_rtp(packet),
            (Kind::Rtcp, true) => inbound.authenticate_rtcp(packet).map(|()| packet.len()),
            (Kind::Rtcp, false) => inbound.unprotect_rtcp(packet),
            (Kind::Opaque, _) => return Err(DropReason::Unprotected),
        };
        length.map_err(reason)
    }

    /// Protects the packet in the first `length` bytes of `buffer`; returns its new length.
    #[inline]
    pub(super) fn protect(&mut self, kind: Kind, buffer: &mut [u8], length: usize) -> Result<usize, DropReason> {
        let Some(outbound) = &mut self.outbound else { return Err(DropReason::NoKeys) };
        let length = match kind {
            Kind::Rtp(_) => outbound.protect_rtp(buffer, length),
            Kind::Rtcp => outbound.protect_rtcp(buffer, length),
            Kind::Opaque => return Err(DropReason::Unprotected),
        };
        length.map_err(reason)
    }

    /// The same for an RTP packet that has been sent to this peer before, with the same bytes.
    pub(super) fn protect_again(&mut self, buffer: &mut [u8], length: usize) -> Result<usize, DropReason> {
        let Some(outbound) = &mut self.outbound else { return Err(DropReason::NoKeys) };
        outbound.protect_rtp_again(buffer, length).map_err(reason)
    }
}

#[cold]
fn reason(error: srtp::Error) -> DropReason {
    match error {
        srtp::Error::TooShort | srtp::Error::Malformed | srtp::Error::NoRoom => DropReason::Malformed,
        srtp::Error::WrongTag | srtp::Error::WrongMki => DropReason::WrongTag,
        srtp::Error::Replayed => DropReason::Replayed,
        srtp::Error::KeyExpired => DropReason::KeyExpired,
    }
}
