//! The first half of a packet's way: demultiplex, check the source, learn, count.

use super::verdict::{DropReason, Verdict};
use super::{Relay, Transmit};
use crate::base::time::Now;
use crate::plan::{Component, StreamId};
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
        from: SocketAddr,
        datagram: &mut [u8],
        transmit: &mut (impl Transmit + ?Sized),
    ) -> Verdict {
        let verdict = match self.receive(now, id, from, datagram) {
            Ok(None) => return Verdict::Consumed,
            Ok(Some(accepted)) => self.distribute(now, &accepted, datagram, transmit),
            Err(reason) => Err(reason),
        };
        match verdict {
            Ok(()) => Verdict::Forwarded,
            Err(reason) => {
                self.count_drop(id, reason);
                Verdict::Dropped(reason)
            }
        }
    }

    #[cold]
    fn count_drop(&mut self, id: StreamId, reason: DropReason) {
        let Some(stream) = self.streams.get_mut(id.0 as usize) else { return };
        stream.dropped.count(reason);
        if reason.is_error() {
            self.interfaces.get_mut(stream.interface()).received.errors += 1;
        }
    }

    /// Accepts a datagram or not; none for a keep-alive that goes no further.
    #[inline]
    fn receive(
        &mut self,
        now: Now,
        id: StreamId,
        from: SocketAddr,
        datagram: &[u8],
    ) -> Result<Option<Accepted>, DropReason> {
        let stream = self.streams.get_mut(id.0 as usize).ok_or(DropReason::UnknownPort)?;
        let is_empty = datagram.is_empty();
        let (kind, teaches) = if is_empty { (Kind::Opaque, true) } else { Kind::of(stream.component, datagram)? };
        if !stream.latch.observe(now.mono, from, teaches) {
            return Err(DropReason::WrongSource);
        }
        if stream.received.packets == 0 {
            stream.first_packet = Some(now);
        }
        stream.received.count(datagram.len());
        stream.last_packet = now;
        let interface = self.interfaces.get_mut(stream.interface());
        interface.received.count(datagram.len());
        let is_control = stream.component == Component::Rtcp || matches!(kind, Kind::Rtcp);
        let owner_call = stream.owner_call();
        let mut accepted = Accepted { stream: id, owner_call, kind, is_control, is_event: false };
        if let Kind::Rtp(header) = &accepted.kind {
            let source = stream.source_for(header);
            accepted.is_event = source.is_event();
            let arrival = source.record(now.mono, header, datagram.len());
            if arrival.is_unusual() {
                interface.add_arrival(arrival);
            }
        }
        Ok((!is_empty).then_some(accepted))
    }
}
