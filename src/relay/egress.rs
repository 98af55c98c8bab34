//! The second half of a packet's way: for each sink, whether and where a copy goes.

use super::ingress::{Accepted, Again, Kind, Original, Route};
use super::latch::NoDestination;
use super::rewriting::{self, Changes, Rewriting};
use super::secure::Secure;
use super::verdict::{DropReason, Verdict};
use super::{Relay, Transmit, extension};
use crate::base::time::Now;
use crate::plan::{Block, Muting, Sink};
use crate::wire::rtp::{Header, Packet};
use std::ops::Range;

/// RTCP packet types of transport-layer and payload-specific feedback (RFC 4585, section 6.1).
const FEEDBACK_TYPES: [u8; 2] = [205, 206];

impl Relay {
    /// Hands a copy to every sink. An error is the reason of the first sink, when no sink took one.
    #[inline]
    pub(super) fn distribute(
        &mut self,
        now: Now,
        accepted: &Accepted,
        packet: &mut [u8],
        transmit: &mut (impl Transmit + ?Sized),
    ) -> Result<Verdict, DropReason> {
        match &accepted.kind {
            Kind::Rtp(header) => {
                if accepted.is_event {
                    self.note_digit(accepted, header, packet);
                }
                if self.watch(now, accepted, header, packet) {
                    return self.repair_arrived(now, accepted, header, packet, transmit);
                }
            }
            Kind::Rtcp => self.read_rtcp(now, accepted.stream, packet, transmit),
            Kind::Opaque => {}
        }
        let mut outcome = Err(DropReason::NoSink);
        let mut index = 0;
        while let Some(sink) = self.sink(accepted, index) {
            let sent = self.send_copy(now, accepted, sink, packet, transmit);
            outcome = if index == 0 { sent } else { outcome.or(sent) };
            index += 1;
        }
        outcome.map(|()| Verdict::Forwarded)
    }

    #[inline]
    pub(super) fn sink(&self, accepted: &Accepted, index: usize) -> Option<Sink> {
        let stream = self.streams.get(accepted.stream.0 as usize)?;
        let sinks = match accepted.route {
            Route::Own if accepted.is_control => &stream.plan().control,
            Route::Own => &stream.media,
            Route::Branch(place) => {
                let branch = stream.plan().bundle.as_ref()?.branches.get(usize::from(place))?;
                if accepted.is_control { &branch.control } else { &branch.media }
            }
            Route::All => {
                let branches = &stream.plan().bundle.as_ref()?.branches;
                return branches.iter().flat_map(|branch| &branch.control).nth(index).copied();
            }
        };
        sinks.get(index).copied()
    }

    #[inline]
    pub(super) fn send_copy(
        &mut self,
        now: Now,
        accepted: &Accepted,
        sink: Sink,
        packet: &[u8],
        transmit: &mut (impl Transmit + ?Sized),
    ) -> Result<(), DropReason> {
        if self.is_renamed(accepted, &sink) {
            return self.send_renamed(now, accepted, sink, packet, transmit);
        }
        self.send_to(now, accepted, sink, packet, transmit)
    }

    /// What silence of a packet's codec looks like; none where it has none to fill in.
    #[cold]
    fn silence(&self, accepted: &Accepted, packet: &[u8]) -> Option<Silence> {
        let plan = self.streams.get(accepted.stream.0 as usize)?.plan();
        let packet = Packet::parse(packet).ok()?;
        let payload_type = packet.header().payload_type;
        let known = plan.ingress.payload_types.iter().find(|known| known.number == payload_type)?;
        let start = packet.header_bytes();
        Some(Silence { byte: known.silence?, payload: start..start + packet.payload().len() })
    }

    /// Sends a packet whose SSRCs are those that the receiver knows, where it is RTCP.
    #[inline]
    pub(super) fn send_to(
        &mut self,
        now: Now,
        accepted: &Accepted,
        sink: Sink,
        packet: &[u8],
        transmit: &mut (impl Transmit + ?Sized),
    ) -> Result<(), DropReason> {
        let changes = match &accepted.kind {
            Kind::Rtp(header) => self.changes(now, (accepted, header), &sink, packet, transmit)?,
            Kind::Rtcp | Kind::Opaque => None,
        };
        let is_silenced = is_silenced(sink.block, accepted);
        let silence = if is_silenced { self.silence(accepted, packet) } else { None };
        let stream = self.streams.get_mut(sink.egress.0 as usize).ok_or(DropReason::NoSink)?;
        // A place that was given to another call must never hear this one.
        if accepted.owner_call != stream.owner_call() {
            return Err(DropReason::NoSink);
        }
        let destination = match stream.latch.destination(now.mono) {
            _ if is_blocked(sink.block, accepted) || (is_silenced && silence.is_none()) => Err(DropReason::Blocked),
            Ok(destination) if destination == stream.local() => Err(DropReason::SelfLoop),
            Ok(destination) => Ok(destination),
            Err(NoDestination::Unknown) => Err(DropReason::NoDestination),
            Err(NoDestination::AwaitingPeer) => Err(DropReason::AwaitingPeer),
        };
        let destination = destination.inspect_err(|&reason| stream.withheld.count(reason))?;
        let peer = (stream.secure.as_deref_mut(), &mut stream.rewriting);
        let changes = changes.as_ref();
        let outgoing = dress(accepted, (&sink, changes, silence), packet, &self.original, &mut self.outgoing, peer);
        let bytes = outgoing.inspect_err(|&reason| stream.withheld.count(reason))?;
        transmit.send(stream.port(), destination, bytes);
        let length = bytes.len();
        stream.sent.count(length);
        let newcomer = match &accepted.kind {
            Kind::Rtp(header)
                if accepted.again == Again::No
                    && stream.count_outgoing(&shown(header, changes), accepted.stream, length) =>
            {
                Some(header.ssrc)
            }
            _ => None,
        };
        self.interfaces.get_mut(stream.interface()).sent.count(length);
        if let Some(ssrc) = newcomer {
            self.receiver_came(now, accepted.stream, ssrc, transmit);
        }
        Ok(())
    }
}

/// What stands in for a packet's payload.
struct Silence {
    byte: u8,
    payload: Range<usize>,
}

/// A packet's header as the receiver sees it.
#[inline]
fn shown(header: &Header, changes: Option<&Changes>) -> Header {
    changes.map_or(*header, |changes| changes.header)
}

/// The bytes for one sink: as they came, plain, or protected with the sink's own keys.
#[inline]
fn dress<'a>(
    accepted: &Accepted,
    (sink, changes, silence): (&Sink, Option<&Changes>, Option<Silence>),
    packet: &'a [u8],
    original: &'a [u8],
    outgoing: &'a mut [u8],
    (secure, rewriting): (Option<&mut Secure>, &mut Option<Box<Rewriting>>),
) -> Result<&'a [u8], DropReason> {
    if sink.passes {
        match accepted.original {
            Original::Same => return Ok(packet),
            Original::Kept(length) => return Ok(&original[..length]),
            Original::Plain | Original::Gone => {}
        }
    }
    let is_rtp = matches!(accepted.kind, Kind::Rtp(_));
    let strips = sink.strips_feedback && matches!(accepted.kind, Kind::Rtcp);
    let masks = sink.masked_extensions != 0 && is_rtp;
    let mid = sink.mid.as_ref().filter(|_| is_rtp);
    let transport_wide = sink.transport_wide.filter(|_| is_rtp);
    let is_repair = matches!(accepted.again, Again::Repair(_));
    let is_changed = silence.is_some() || masks || mid.is_some() || transport_wide.is_some() || changes.is_some();
    if secure.is_none() && !strips && !is_changed && !is_repair {
        return Ok(packet);
    }
    let mut length = match strips {
        true => without_feedback(packet, outgoing).ok_or(DropReason::Blocked)?,
        false => {
            outgoing.get_mut(..packet.len()).ok_or(DropReason::Malformed)?.copy_from_slice(packet);
            packet.len()
        }
    };
    if let Some(Silence { byte, payload }) = silence {
        outgoing[payload].fill(byte);
    }
    // By the sender's numbers first, then by the receiver's.
    if masks {
        extension::blank(&mut outgoing[..length], sink.masked_extensions);
    }
    if let Some(number) = transport_wide {
        let rewriting = rewriting.get_or_insert_default();
        extension::set_number(&mut outgoing[..length], number, || rewriting.next_transport_wide());
    }
    if let Some(changes) = changes {
        changes.apply(&mut outgoing[..length]);
    }
    if let Some(mid) = mid {
        length = extension::add_mid(outgoing, length, mid).unwrap_or(length);
    }
    if let Again::Repair(repair) = accepted.again {
        length = rewriting::make_repair(outgoing, length, repair).ok_or(DropReason::Malformed)?;
    }
    if let Some(secure) = secure {
        length = match accepted.again {
            Again::No | Again::Repair(_) => secure.protect(accepted.kind, outgoing, length)?,
            Again::AsBefore => secure.protect_again(outgoing, length)?,
        };
    }
    Ok(&outgoing[..length])
}

/// Copies a compound without its feedback packets (RFC 4585, section 6.1); none when nothing is left.
fn without_feedback(compound: &[u8], copy: &mut [u8]) -> Option<usize> {
    let mut rest = compound;
    let mut length = 0;
    while rest.len() >= 4 {
        let bytes = (usize::from(u16::from_be_bytes([rest[2], rest[3]])) + 1) * 4;
        let packet = rest.get(..bytes)?;
        if !FEEDBACK_TYPES.contains(&packet[1]) {
            copy.get_mut(length..length + bytes)?.copy_from_slice(packet);
            length += bytes;
        }
        rest = &rest[bytes..];
    }
    (length > 0).then_some(length)
}

/// A block of media or of telephone-events lets everything pass that is neither.
fn is_blocked(block: Option<Block>, accepted: &Accepted) -> bool {
    let is_rtp = matches!(accepted.kind, Kind::Rtp(_));
    match block {
        None => false,
        Some(Block::All) => true,
        Some(block) if accepted.is_event => is_rtp && block.drops_events(),
        Some(block) => is_rtp && block.muting() == Muting::Dropped,
    }
}

/// Whether a packet is media that is to be replaced.
fn is_silenced(block: Option<Block>, accepted: &Accepted) -> bool {
    let is_media = matches!(accepted.kind, Kind::Rtp(_)) && !accepted.is_event;
    is_media && block.is_some_and(|block| block.muting() == Muting::Silenced)
}
