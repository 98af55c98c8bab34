//! SRTP of one stream (RFC 3711): what arrives is unprotected or authenticated, what leaves is protected.

use super::ingress::Kind;
use super::verdict::DropReason;
use crate::plan::{Keys, Security, Sink};
use crate::srtp::{self, Parameters, Protector, Unprotector, Window};
use crate::wire::rtp::Header;
use smallvec::SmallVec;

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
    /// SSRCs whose state another path has: what is known of them here is old.
    lent_inbound: Option<u32>,
    lent_outbound: SmallVec<[u32; 2]>,
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
        Secure { keys: None, inbound: None, outbound: None, lent_inbound: None, lent_outbound: SmallVec::new() }
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
            self.lent_inbound = None;
        }
        if present.is_none_or(|present| present.send != keys.send) {
            self.outbound = Some(Protector::new(&keys.send));
            self.lent_outbound.clear();
        }
        self.keys = Some(keys.clone());
    }

    /// What the peer protects its packets with, and what is done so for it; none before there are keys.
    pub(super) fn keys(&self) -> Option<&Keys> {
        self.keys.as_ref()
    }

    /// Where `ssrc` stands among what comes; until it is taken back, its packets are not judged here.
    pub(super) fn lend_inbound(&mut self, ssrc: u32) -> Option<Window> {
        let window = self.inbound.as_ref()?.rtp_window(ssrc)?;
        self.lent_inbound = Some(ssrc);
        Some(window)
    }

    /// The same for what leaves. One path at a time.
    pub(super) fn lend_outbound(&mut self, ssrc: u32) -> Option<Window> {
        let window = self.outbound.as_ref()?.rtp_window(ssrc)?;
        if self.lent_outbound.contains(&ssrc) {
            return None;
        }
        self.lent_outbound.push(ssrc);
        Some(window)
    }

    /// Goes on from where another path has brought `ssrc`, unless there have come other keys than its `parameters`.
    pub(super) fn take_back_inbound(&mut self, ssrc: u32, parameters: &Parameters, window: Window) {
        let is_lent = self.lent_inbound == Some(ssrc);
        let is_same = self.keys.as_ref().is_some_and(|keys| keys.receive == *parameters);
        if let (true, true, Some(inbound)) = (is_lent, is_same, &mut self.inbound) {
            inbound.set_rtp_window(ssrc, window);
            self.lent_inbound = None;
        }
    }

    /// The same for what leaves.
    pub(super) fn take_back_outbound(&mut self, ssrc: u32, parameters: &Parameters, window: Window) {
        let lent = self.lent_outbound.iter().position(|lent| *lent == ssrc);
        let is_same = self.keys.as_ref().is_some_and(|keys| keys.send == *parameters);
        if let (Some(place), true, Some(outbound)) = (lent, is_same, &mut self.outbound) {
            outbound.set_rtp_window(ssrc, window);
            self.lent_outbound.swap_remove(place);
        }
    }

    /// Whether another path has the state of a packet's SSRC among what comes.
    #[inline]
    pub(super) fn has_lent(&self, header: &Header) -> bool {
        self.lent_inbound == Some(header.ssrc)
    }

    /// The index of an authentic SRTP packet, near to `highest`, of an SSRC that another path has. The bytes may be
    /// anything afterwards.
    pub(super) fn verify(&self, packet: &mut [u8], highest: u64) -> Result<u64, DropReason> {
        let inbound = self.inbound.as_ref().ok_or(DropReason::NoKeys)?;
        inbound.verify_rtp(packet, highest).map_err(reason)
    }

    /// The name of the suite in use, and whether it comes from here.
    pub(super) fn suite(&self) -> Option<&'static str> {
        self.keys.as_ref().map(|keys| keys.receive.suite.name())
    }

    /// Makes a packet plain, in place; returns its length. With `is_kept` it is authenticated and stays as it is.
    #[inline]
    pub(super) fn unprotect(&mut self, kind: Kind, packet: &mut [u8], is_kept: bool) -> Result<usize, DropReason> {
        if matches!(&kind, Kind::Rtp(header) if self.has_lent(header)) {
            return Err(DropReason::Lent);
        }
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
            Kind::Rtp(header) if self.lent_outbound.contains(&header.ssrc) => return Err(DropReason::Lent),
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
