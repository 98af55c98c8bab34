//! The first half of a packet's way: demultiplex, check the source, learn, count.

use super::held::Holding;
use super::rewriting::RepairHeader;
use super::secure::Passing;
use super::verdict::{DropReason, Verdict};
use super::{PortToken, Relay, Stream, Transmit};
use crate::base::time::Now;
use crate::plan::{Component, Learning, StreamId};
use crate::wire::demux::{Protocol, classify};
use crate::wire::rtcp;
use crate::wire::rtp::Header;
use std::net::SocketAddr;

/// What a datagram is to the component that it arrived on.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Rtp(Header),
    Rtcp,
    /// Relayed as it is.
    Opaque,
}

/// A datagram that may be handed on.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) stream: StreamId,
    pub(super) owner_call: u32,
    pub(super) kind: Kind,
    /// It goes where RTCP goes.
    pub(super) is_control: bool,
    /// It is a telephone-event.
    pub(super) is_event: bool,
    pub(super) again: Again,
    pub(super) route: Route,
    /// Its length, as far as it is of use.
    pub(super) length: usize,
    pub(super) original: Original,
}

/// Whether the sender has sent a packet before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    No,
    /// It goes out as it did then, or would have.
    AsBefore,
    /// It goes out in a stream of retransmissions.
    Repair(RepairHeader),
}

/// Whose sinks take a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// The only media of the port.
    Own,
    /// One of several.
    Branch(u8),
    /// Every media of the port.
    All,
}

/// Where a packet is as it came, for sinks that share its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Original {
    /// It was plain.
    Plain,
    /// It has been authenticated and was left as it is.
    Same,
    /// A copy of so many bytes was kept.
    Kept(usize),
    /// Nobody needs it any more.
    Gone,
}

impl Kind {
    /// What `datagram` is on a port of `component`, and whether its source may be learned from it. Only RTCP on a port
    /// for RTP teaches nothing: a peer's RTCP may come from elsewhere.
    fn of(component: Component, datagram: &[u8]) -> Result<(Kind, bool), DropReason> {
        match (component, classify(datagram)) {
            (Component::Rtp | Component::Muxed, Protocol::Rtp) => {
                let header = Header::read(datagram).map_err(|_| DropReason::Malformed)?;
                Ok((Kind::Rtp(header), true))
            }
            (Component::Rtp | Component::Muxed | Component::Rtcp, Protocol::Rtcp) => {
                rtcp::first_sender(datagram).ok_or(DropReason::Malformed)?;
                Ok((Kind::Rtcp, component == Component::Rtcp))
            }
            _ => Ok((Kind::Opaque, true)),
        }
    }
}

impl Relay {
    /// A datagram for a stream.
    #[inline]
    pub(super) fn relay(
        &mut self,
        now: Now,
        id: StreamId,
        port: PortToken,
        from: SocketAddr,
        datagram: &mut [u8],
        transmit: &mut (impl Transmit + ?Sized),
    ) -> Verdict {
        let stream = self.streams.get(id.0 as usize);
        let is_guarded = stream.is_some_and(|stream| stream.is_guarded);
        let holding = match stream.is_some_and(|stream| stream.way.has_lent_windows) {
            true => self.hold(id, port, from, datagram),
            false => Holding::No,
        };
        let accepted = match (holding, is_guarded) {
            (Holding::Waits, _) => return Verdict::Consumed,
            (Holding::Refused(reason), _) => Err(reason),
            (Holding::No, false) => self.receive(now, id, from, datagram),
            (Holding::No, true) => self.receive_guarded(now, id, port, from, datagram, transmit),
        };
        if self.streams.get(id.0 as usize).is_some_and(|stream| stream.latch.has_news()) {
            self.note_moved(id);
        }
        let verdict = match accepted {
            Ok(None) => return Verdict::Consumed,
            Ok(Some(accepted)) => self.distribute(now, &accepted, &mut datagram[..accepted.length], transmit),
            Err(reason) => Err(reason),
        };
        match verdict {
            Ok(verdict) => verdict,
            Err(reason) => {
                self.count_drop(id, reason);
                Verdict::Dropped(reason)
            }
        }
    }

    #[cold]
    pub(super) fn count_drop(&mut self, id: StreamId, reason: DropReason) {
        let Some(stream) = self.streams.get_mut(id.0 as usize) else { return };
        stream.dropped.count(reason);
        if reason.is_error() {
            self.interfaces.get_mut(stream.interface()).received.errors += 1;
        }
    }

    /// Accepts a plain datagram or not; none for a keep-alive that goes no further.
    #[inline]
    fn receive(
        &mut self,
        now: Now,
        id: StreamId,
        from: SocketAddr,
        datagram: &[u8],
    ) -> Result<Option<Accepted>, DropReason> {
        let may_teach = self.may_teach(id, from);
        let stream = self.streams.get_mut(id.0 as usize).ok_or(DropReason::UnknownPort)?;
        let is_empty = datagram.is_empty();
        let (kind, teaches) = if is_empty { (Kind::Opaque, true) } else { Kind::of(stream.component, datagram)? };
        let is_refused = !may_teach && stream.latch.is_strict();
        if is_refused || !stream.latch.observe(now.mono, from, teaches && may_teach) {
            return Err(DropReason::WrongSource);
        }
        let accepted = self.count(now, id, kind, datagram.len(), datagram);
        Ok(accepted.filter(|_| !is_empty))
    }

    /// Whether the port may learn from a source. A peer's first RTCP may come seconds after its first RTP, and who sends
    /// before it would be taken for it: so RTCP's own port learns no other address than the media has shown.
    #[inline]
    fn may_teach(&self, id: StreamId, from: SocketAddr) -> bool {
        let Some(stream) = self.streams.get(id.0 as usize) else { return true };
        let is_guess = stream.component == Component::Rtcp
            && stream.plan().ingress.learning == Learning::Heuristic
            && !stream.latch.trusts(from);
        let media = stream.plan().sources.filter(|_| is_guess).and_then(|media| self.streams.get(media.0 as usize));
        media.is_none_or(|media| media.latch.learned().is_some_and(|learned| learned.ip() == from.ip()))
    }

    /// Accepts a datagram where ICE, DTLS or SRTP is in use. Nothing is learned from what has not been authenticated.
    #[inline]
    fn receive_guarded(
        &mut self,
        now: Now,
        id: StreamId,
        port: PortToken,
        from: SocketAddr,
        datagram: &mut [u8],
        transmit: &mut (impl Transmit + ?Sized),
    ) -> Result<Option<Accepted>, DropReason> {
        let stream = self.streams.get(id.0 as usize).ok_or(DropReason::UnknownPort)?;
        let (has_ice, needs_validation) = (stream.plan().has_ice, stream.plan().needs_validation);
        let protocol = classify(datagram);
        if has_ice && protocol == Protocol::Stun {
            return self.stun(now, id, port, from, datagram, transmit).map(|()| None);
        }
        if needs_validation && !stream.latch.is_peer(from) && !self.is_validated(id, from) {
            return Err(DropReason::NotValidated);
        }
        if protocol == Protocol::Dtls && stream.secure.is_some() {
            return self.dtls(now, id, from, datagram).map(|()| None);
        }
        if datagram.is_empty() {
            return Ok(None);
        }
        let wire_bytes = datagram.len();
        let (kind, teaches) = Kind::of(stream.component, datagram)?;
        let (length, original) = self.unprotect(id, kind, from, datagram)?;
        let stream = self.streams.get_mut(id.0 as usize).ok_or(DropReason::UnknownPort)?;
        match needs_validation {
            true => stream.latch.hear(),
            false if !stream.latch.observe(now.mono, from, teaches) => return Err(DropReason::WrongSource),
            false => {}
        }
        let accepted = self.count(now, id, kind, wire_bytes, &datagram[..length]);
        Ok(accepted.map(|accepted| Accepted { original, ..accepted }))
    }

    /// Makes the packet plain where anybody needs it so.
    #[inline]
    fn unprotect(
        &mut self,
        id: StreamId,
        kind: Kind,
        from: SocketAddr,
        datagram: &mut [u8],
    ) -> Result<(usize, Original), DropReason> {
        let stream = self.streams.get_mut(id.0 as usize).ok_or(DropReason::UnknownPort)?;
        let Some(secure) = &mut stream.secure else { return Ok((datagram.len(), Original::Plain)) };
        if stream.latch.refuses(from) {
            return Err(DropReason::WrongSource);
        }
        let (passing, is_report) = match kind {
            Kind::Rtcp => (stream.passing.1, true),
            _ => (stream.passing.0, false),
        };
        // Reports are read in any case.
        if passing == Passing::All && !is_report {
            let length = secure.unprotect(kind, datagram, true)?;
            stream.prove_keys(&mut self.desk);
            return Ok((length, Original::Same));
        }
        let original = match passing {
            Passing::None => Original::Gone,
            Passing::Some | Passing::All => {
                let kept = self.original.get_mut(..datagram.len()).ok_or(DropReason::Malformed)?;
                kept.copy_from_slice(datagram);
                Original::Kept(datagram.len())
            }
        };
        let length = secure.unprotect(kind, datagram, false)?;
        stream.prove_keys(&mut self.desk);
        Ok((length, original))
    }

    /// Counts a datagram that was accepted, and finds out whose it is.
    #[inline]
    fn count(&mut self, now: Now, id: StreamId, kind: Kind, wire_bytes: usize, packet: &[u8]) -> Option<Accepted> {
        let is_beside = match &kind {
            Kind::Rtp(header) if self.streams.get(id.0 as usize)?.way.look_at <= now.mono => {
                self.look_at_way(now.mono, id, header, wire_bytes)
            }
            _ => false,
        };
        let stream = self.streams.get_mut(id.0 as usize)?;
        if stream.received.packets == 0 {
            stream.first_packet = Some(now);
        }
        stream.received.count(wire_bytes);
        stream.last_packet = now;
        let interface = self.interfaces.get_mut(stream.interface());
        interface.received.count(wire_bytes);
        let is_control = stream.component == Component::Rtcp || matches!(kind, Kind::Rtcp);
        let mut accepted = Accepted {
            stream: id,
            owner_call: stream.owner_call(),
            kind,
            is_control,
            is_event: false,
            again: Again::No,
            route: Route::Own,
            length: packet.len(),
            original: Original::Plain,
        };
        if let Kind::Rtp(header) = &accepted.kind {
            let source = stream.source_for(header);
            accepted.is_event = source.is_event();
            if !is_beside {
                let arrival = source.record(now.mono, header, wire_bytes);
                if arrival.is_unusual() {
                    interface.add_arrival(arrival);
                }
            }
        }
        if stream.plan().bundle.is_some() {
            accepted.route = route(stream, &accepted.kind, packet);
        }
        if let Kind::Rtp(header) = &accepted.kind {
            stream.note_layer(now.mono, accepted.route, header, packet);
        }
        Some(accepted)
    }
}

/// Which media of a bundle a packet belongs to. Reports of a sender that was not heard yet go to all.
fn route(stream: &mut Stream, kind: &Kind, packet: &[u8]) -> Route {
    let Some(bundle) = stream.plan().bundle.as_deref() else { return Route::Own };
    match kind {
        Kind::Rtp(header) => {
            let branch = bundle.branch_of(stream, header, packet);
            if let Some(branch) = branch {
                stream.note_branch(header.ssrc, branch);
            }
            branch.map_or(Route::Branch(u8::MAX), Route::Branch)
        }
        Kind::Rtcp => {
            let known = rtcp::first_sender(packet).and_then(|ssrc| stream.branch_of(ssrc));
            known.map_or(Route::All, Route::Branch)
        }
        Kind::Opaque => Route::Own,
    }
}
