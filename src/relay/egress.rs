//! The second half of a packet's way: for each sink, whether and where a copy goes.

use super::ingress::{Accepted, Kind};
use super::latch::NoDestination;
use super::verdict::DropReason;
use super::{Relay, Transmit};
use crate::base::time::Now;
use crate::plan::{Block, Sink};

impl Relay {
    /// Hands a copy to every sink. An error is the reason of the first sink, when no sink took one.
    #[inline]
    pub(super) fn distribute(
        &mut self,
        now: Now,
        accepted: &Accepted,
        datagram: &mut [u8],
        transmit: &mut (impl Transmit + ?Sized),
    ) -> Result<(), DropReason> {
        if let Kind::Rtcp = accepted.kind {
            self.read_rtcp(now, accepted.stream, datagram);
        }
        let mut outcome = Err(DropReason::NoSink);
        let mut index = 0;
        while let Some(sink) = self.sink(accepted, index) {
            let sent = self.send_copy(now, accepted, sink, datagram, transmit);
            outcome = if index == 0 { sent } else { outcome.or(sent) };
            index += 1;
        }
        outcome
    }

    #[inline]
    fn sink(&self, accepted: &Accepted, index: usize) -> Option<Sink> {
        let stream = self.streams.get(accepted.stream.0 as usize)?;
        let sinks = if accepted.is_control { &stream.plan().control } else { &stream.media };
        sinks.get(index).copied()
    }

    #[inline]
    fn send_copy(
        &mut self,
        now: Now,
        accepted: &Accepted,
        sink: Sink,
        datagram: &[u8],
        transmit: &mut (impl Transmit + ?Sized),
    ) -> Result<(), DropReason> {
        let stream = self.streams.get_mut(sink.egress.0 as usize).ok_or(DropReason::NoSink)?;
        // A place that was given to another call must never hear this one.
        if accepted.owner_call != stream.owner_call() {
            return Err(DropReason::NoSink);
        }
        let destination = match stream.latch.destination(now.mono) {
            _ if is_blocked(sink.block, accepted) => Err(DropReason::Blocked),
            Ok(destination) if destination == stream.local() => Err(DropReason::SelfLoop),
            Ok(destination) => Ok(destination),
            Err(NoDestination::Unknown) => Err(DropReason::NoDestination),
            Err(NoDestination::AwaitingPeer) => Err(DropReason::AwaitingPeer),
        };
        let destination = destination.inspect_err(|&reason| stream.withheld.count(reason))?;
        transmit.send(stream.port(), destination, datagram);
        stream.sent.count(datagram.len());
        if let Kind::Rtp(header) = &accepted.kind {
            stream.count_outgoing(header, accepted.stream, datagram.len());
        }
        self.interfaces.get_mut(stream.interface()).sent.count(datagram.len());
        Ok(())
    }
}

/// A block of media or of telephone-events lets everything pass that is neither.
fn is_blocked(block: Option<Block>, accepted: &Accepted) -> bool {
    let is_rtp = matches!(accepted.kind, Kind::Rtp(_));
    match block {
        None => false,
        Some(Block::All) => true,
        Some(Block::Media) => is_rtp && !accepted.is_event,
        Some(Block::Dtmf) => is_rtp && accepted.is_event,
    }
}
