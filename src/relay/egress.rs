//! The second half of a packet's way: for each sink, whether and where a copy goes.

use super::ingress::Kind;
use super::latch::NoDestination;
use super::verdict::DropReason;
use super::{Relay, Transmit};
use crate::base::time::Now;
use crate::plan::{Block, Sink, StreamId};

impl Relay {
    /// Hands a copy to every sink. An error is the reason of the first sink, when no sink took one.
    #[inline]
    pub(super) fn distribute(
        &mut self,
        now: Now,
        id: StreamId,
        kind: Kind,
        datagram: &mut [u8],
        transmit: &mut (impl Transmit + ?Sized),
    ) -> Result<(), DropReason> {
        if let Kind::Rtcp = kind {
            self.read_rtcp(now, id, datagram);
        }
        let mut outcome = Err(DropReason::NoSink);
        let mut index = 0;
        while let Some(sink) = self.sink(id, &kind, index) {
            let sent = self.send_copy(now, id, sink, &kind, datagram, transmit);
            outcome = if index == 0 { sent } else { outcome.or(sent) };
            index += 1;
        }
        outcome
    }

    #[inline]
    fn sink(&self, id: StreamId, kind: &Kind, index: usize) -> Option<Sink> {
        let plan = &self.streams.get(id.0 as usize)?.plan;
        let sinks = if let Kind::Rtcp = kind { &plan.control } else { &plan.media };
        sinks.get(index).copied()
    }

    #[inline]
    fn send_copy(
        &mut self,
        now: Now,
        id: StreamId,
        sink: Sink,
        kind: &Kind,
        datagram: &[u8],
        transmit: &mut (impl Transmit + ?Sized),
    ) -> Result<(), DropReason> {
        let is_blocked = sink.block.is_some_and(|block| self.is_blocked(id, block, kind));
        let owner = self.streams.get(id.0 as usize).map(|stream| stream.owner_call());
        let stream = self.streams.get_mut(sink.egress.0 as usize).ok_or(DropReason::NoSink)?;
        // A place that was given to another call must never hear this one.
        if owner != Some(stream.owner_call()) {
            return Err(DropReason::NoSink);
        }
        let destination = match stream.latch.destination(now.mono) {
            _ if is_blocked => Err(DropReason::Blocked),
            Ok(destination) if destination == stream.local() => Err(DropReason::SelfLoop),
            Ok(destination) => Ok(destination),
            Err(NoDestination::Unknown) => Err(DropReason::NoDestination),
            Err(NoDestination::AwaitingPeer) => Err(DropReason::AwaitingPeer),
        };
        let destination = destination.inspect_err(|&reason| stream.withheld.count(reason))?;
        transmit.send(stream.port(), destination, datagram);
        stream.sent.count(datagram.len());
        if let Kind::Rtp(header) = kind {
            stream.count_outgoing(header, id, datagram.len());
        }
        self.interfaces.get_mut(stream.interface()).sent.count(datagram.len());
        Ok(())
    }

    /// A block of media or telephone-events lets everything that is neither pass.
    fn is_blocked(&self, id: StreamId, block: Block, kind: &Kind) -> bool {
        let Kind::Rtp(header) = kind else { return block == Block::All };
        let Some(stream) = self.streams.get(id.0 as usize) else { return true };
        let source = stream.sources().iter().find(|source| source.ssrc() == header.ssrc);
        match block {
            Block::All => true,
            Block::Media => !source.is_some_and(|source| source.is_event()),
            Block::Dtmf => source.is_some_and(|source| source.is_event()),
        }
    }
}
