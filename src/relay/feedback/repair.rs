//! A sender's retransmissions in streams of their own (RFC 4588) end here: what goes on is the packet that they bring.

use super::{Feedback, accepted, note};
use crate::base::time::Now;
use crate::plan::Sink;
use crate::relay::ingress::{Accepted, Original};
use crate::relay::verdict::{DropReason, Verdict};
use crate::relay::{Relay, Stream, Transmit, extension, rewriting};
use crate::rtp::history::Place;
use crate::wire::rtp::Header;

/// Streams of retransmissions whose media is remembered.
const MOST_REPAIRS: usize = 16;

impl Feedback {
    /// The SSRC whose packet `sequence` the retransmission `header` brings: as the sender's description says, as it was
    /// before, else the one that was asked for it, else the only one that has the payload type (RFC 4588, section 5.3).
    fn repaired_ssrc(&mut self, header: &Header, sequence: u16, payload_type: u8) -> Option<u32> {
        let mut known = self.plan.repair.sources.iter().chain(&self.repairs);
        if let Some(pair) = known.find(|pair| pair.1 == header.ssrc) {
            return Some(pair.0);
        }
        let mut alike = self.histories.iter().filter(|kept| kept.payload_type == payload_type);
        let only = alike.next().filter(|_| alike.next().is_none()).map(|kept| kept.history.ssrc());
        let found = self.missing.only_source_of(sequence).or(only)?;
        if self.repairs.len() < MOST_REPAIRS {
            self.repairs.push((found, header.ssrc));
        }
        Some(found)
    }
}

impl Relay {
    /// A retransmission has come. It goes on as it is to those who speak to the sender themselves; the others get the
    /// packet that it brings, unless it was here before: then they have it, or have been sent it again.
    #[cold]
    pub(in crate::relay) fn repair_arrived(
        &mut self,
        now: Now,
        repair: &Accepted,
        header: &Header,
        packet: &mut [u8],
        transmit: &mut (impl Transmit + ?Sized),
    ) -> Result<Verdict, DropReason> {
        let mut verdict = Verdict::Consumed;
        let mut index = 0;
        while let Some(sink) = self.sink(repair, index) {
            if self.takes_repair(repair, &sink) && self.send_copy(now, repair, sink, packet, transmit).is_ok() {
                verdict = Verdict::Forwarded;
            }
            index += 1;
        }
        let Some(restored) = self.restore(now, repair, header, packet) else { return Ok(verdict) };
        let mut index = 0;
        while let Some(sink) = self.sink(&restored, index) {
            let packet = &packet[..restored.length];
            if !self.takes_repair(repair, &sink) && self.send_copy(now, &restored, sink, packet, transmit).is_ok() {
                verdict = Verdict::Forwarded;
            }
            index += 1;
        }
        Ok(verdict)
    }

    /// Whether a receiver takes the sender's retransmissions as they are: it asks for them itself, or has the sender's
    /// keys, under which no other packet can be made.
    fn takes_repair(&self, repair: &Accepted, sink: &Sink) -> bool {
        let feedback = self.streams.get(repair.stream.0 as usize).and_then(|stream| stream.feedback.as_deref());
        let is_reached = feedback.is_some_and(|feedback| feedback.plan.reached.contains(&sink.egress));
        is_reached || sink.passes && matches!(repair.original, Original::Kept(_) | Original::Same)
    }

    /// Makes the packet that a retransmission brings, in its place; none where there is none, or none that is new.
    fn restore(&mut self, now: Now, repair: &Accepted, header: &Header, packet: &mut [u8]) -> Option<Accepted> {
        let stream = self.streams.get_mut(repair.stream.0 as usize)?;
        let layer = repaired_layer(stream, packet);
        let feedback = stream.feedback.as_deref_mut()?;
        let payload_type = feedback.plan.repair.repaired(header.payload_type)?;
        let sequence = rewriting::repaired_sequence(packet)?;
        let ssrc = layer.or_else(|| feedback.repaired_ssrc(header, sequence, payload_type))?;
        let (header, length) = rewriting::unmake_repair(packet, payload_type, ssrc)?;
        let note = note(&Accepted { original: Original::Plain, ..*repair });
        let place = feedback.keep(now.mono, &header, &packet[..length], note)?;
        let due = feedback.next_due();
        self.feedback_agenda.set(repair.stream, &mut feedback.noted, due);
        (place != Place::Known).then(|| accepted(repair.stream, repair.owner_call, header, length, note))
    }
}

/// The SSRC of the layer whose packet a retransmission brings, where it says so (RFC 8852, section 4.2).
fn repaired_layer(stream: &Stream, packet: &[u8]) -> Option<u32> {
    let layers = stream.layers.as_deref()?;
    let mut all = stream.plan().tables().simulcasts.iter().enumerate();
    all.find_map(|(simulcast, plan)| {
        let name = extension::find(packet, plan.repaired_extension?)?;
        layers.source_of(simulcast as u16, plan.rids.iter().position(|rid| rid.bytes() == name)?)
    })
}
