//! Lost packets are sent again (RFC 4585, section 6.2.1), or asked of the sender.

use super::{IS_PROTECTED, Receiver, accepted};
use crate::base::time::Now;
use crate::plan::{Sink, StreamId};
use crate::relay::ingress::Again;
use crate::relay::rewriting::RepairHeader;
use crate::relay::{Relay, Transmit};
use crate::rtp::history::Found;
use crate::wire::rtcp::feedback;
use crate::wire::rtp::Header;

/// Packets that one NACK may name.
const MOST_NAMED: usize = 256;

impl Relay {
    /// A receiver at the stream `egress` misses packets of `ssrc`.
    pub(in crate::relay) fn packets_missed(
        &mut self,
        now: Now,
        arrived: StreamId,
        egress: StreamId,
        (about, control): (u32, &[u8]),
        transmit: &mut (impl Transmit + ?Sized),
    ) {
        let Some((origin, _)) = self.streams.get(egress.0 as usize).and_then(|stream| stream.origin_of(about)) else {
            return;
        };
        let has_feedback = self.streams.get(origin.0 as usize).is_some_and(|stream| stream.feedback.is_some());
        if !has_feedback || self.reaches(arrived, origin) {
            return;
        }
        for sequence in feedback::nack_sequences(control).take(MOST_NAMED) {
            let rewriting = self.streams.get(egress.0 as usize).and_then(|stream| stream.rewriting.as_ref());
            let named = (about, sequence);
            let located = rewriting.map_or(Some(named), |rewriting| rewriting.locate(origin, named));
            if let Some(packet) = located {
                self.send_again(now, origin, egress, packet, transmit);
            }
        }
        self.note_feedback(origin);
    }

    /// Sends one packet again, or asks the sender for it.
    fn send_again(
        &mut self,
        now: Now,
        origin: StreamId,
        egress: StreamId,
        (ssrc, sequence): (u32, u16),
        transmit: &mut (impl Transmit + ?Sized),
    ) {
        let Some(receiver) = self.streams.get_mut(egress.0 as usize) else { return };
        if !receiver.receiver.get_or_insert_default().may_have(now.mono, ssrc, sequence) {
            return;
        }
        let Some(stream) = self.streams.get_mut(origin.0 as usize) else { return };
        let (owner_call, is_secure) = (stream.owner_call(), stream.secure.is_some());
        let Some(feedback) = stream.feedback.as_deref_mut() else { return };
        let Some(kept) = feedback.histories.iter().find(|kept| kept.history.ssrc() == ssrc) else { return };
        let (length, note) = match kept.history.find(sequence) {
            Found::Kept(packet, note) => {
                let Some(copy) = self.original.get_mut(..packet.len()) else { return };
                copy.copy_from_slice(packet);
                (packet.len(), note)
            }
            Found::Missing => return feedback.missing.wanted(now.mono, ssrc, sequence),
            Found::OutOfReach => return,
        };
        let Ok(header) = Header::read(&self.original[..length]) else { return };
        let mut accepted = accepted(origin, owner_call, header, length, note);
        let sinks = (0..).map_while(|index| self.sink(&accepted, index));
        // A receiver that shares the sender's keys gets packets as they came, or not at all.
        let is_as_first = |passes: bool| passes == (note & IS_PROTECTED != 0) || !is_secure;
        let Some(sink) = sinks.into_iter().find(|sink| sink.egress == egress && is_as_first(sink.passes)) else {
            return;
        };
        if let Some(repair) = self.repair_of(origin, &sink, &header) {
            accepted.again = Again::Repair(repair);
        }
        let kept = std::mem::take(&mut self.original);
        // What keeps it from the receiver has been counted.
        let _ = self.send_copy(now, &accepted, sink, &kept[..length], transmit);
        self.original = kept;
    }

    /// What a packet for `sink` becomes where the receiver has negotiated retransmissions (RFC 4588), and can be made
    /// some: not under keys that it shares with the sender.
    fn repair_of(&mut self, origin: StreamId, sink: &Sink, header: &Header) -> Option<RepairHeader> {
        let place = sink.repair.filter(|_| !sink.passes)?;
        let repair = self.streams.get(origin.0 as usize)?.plan().tables().repairs.get(place.index())?;
        let payload_type = repair.repairing(header.payload_type)?;
        let named = repair.repairing_source(header.ssrc);
        let layers = self.streams.get(origin.0 as usize)?.layers.as_deref();
        let simulcast = layers.and_then(|layers| layers.simulcast_of(header.ssrc));
        let rewriting = self.streams.get_mut(sink.egress.0 as usize)?.rewriting.get_or_insert_default();
        // The layers of a simulcast are one stream to the receiver, and so are their retransmissions.
        let selection = simulcast.and_then(|simulcast| rewriting.selection(origin, simulcast));
        let media = selection.map_or(header.ssrc, |selection| selection.shown);
        Some(rewriting.next_repair(payload_type, ((origin, media), named), &mut self.nonces))
    }

    /// A receiver at the stream `egress` has said how many bits a second it can take.
    pub(in crate::relay) fn bandwidth_estimated(&mut self, now: Now, egress: StreamId, bitrate: u64) {
        if let Some(stream) = self.streams.get_mut(egress.0 as usize) {
            stream.receiver.get_or_insert_with(|| Box::new(Receiver::default())).set_estimate(now.mono, bitrate);
        }
    }
}
