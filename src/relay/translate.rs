//! Packets for a receiver that numbers otherwise than the sender, or that has one of its SSRCs from somebody else.

use super::ingress::{Accepted, Again, Kind, Original};
use super::rewriting::Changes;
use super::selection::Selection;
use super::verdict::DropReason;
use super::{Relay, Transmit};
use crate::base::time::{Mono, Now};
use crate::plan::{Choice, Sink, StreamId};
use crate::rtp::picture::Numbers;
use crate::wire::rtcp::rename::{Named, ranges, rename};
use crate::wire::rtcp::{self, packet_type};
use crate::wire::rtp::{Header, Packet};
use std::time::Duration;

/// A source that has been silent for so long gives its SSRC to another.
const SILENCE: Duration = Duration::from_secs(5);

impl Relay {
    /// What changes in an RTP packet on its way to a receiver; none in the usual case.
    #[inline]
    pub(super) fn changes(
        &mut self,
        now: Now,
        (accepted, header): (&Accepted, &Header),
        sink: &Sink,
        packet: &[u8],
        transmit: &mut (impl Transmit + ?Sized),
    ) -> Result<Option<Changes>, DropReason> {
        let egress = self.streams.get(sink.egress.0 as usize).ok_or(DropReason::NoSink)?;
        let other = egress.other_origin(header.ssrc, accepted.stream);
        if sink.rewrite.is_none() && other.is_none() {
            return Ok(None);
        }
        // Under keys that are shared nothing can be changed.
        if sink.passes && matches!(accepted.original, Original::Same | Original::Kept(_)) {
            return Ok(None);
        }
        self.make_changes(now, (accepted, header), (sink, other), packet, transmit)
    }

    fn make_changes(
        &mut self,
        now: Now,
        (accepted, header): (&Accepted, &Header),
        (sink, other): (&Sink, Option<StreamId>),
        packet: &[u8],
        transmit: &mut (impl Transmit + ?Sized),
    ) -> Result<Option<Changes>, DropReason> {
        let mut changes = Changes { header: *header, extensions: None, picture: None };
        let origin = self.streams.get(accepted.stream.0 as usize).ok_or(DropReason::NoSink)?;
        let rewrite = sink.rewrite.and_then(|place| origin.plan().tables().rewrites.get(place.index()));
        let (mut choice, mut is_renamed) = (None, false);
        if let Some(rewrite) = rewrite {
            changes.header.payload_type = rewrite.payload_type(header.payload_type).ok_or(DropReason::OtherFormat)?;
            (changes.extensions, choice, is_renamed) = (rewrite.extensions, rewrite.choice, rewrite.is_renamed);
        }
        match (choice, other) {
            (Some(choice), _) => {
                let part = Part { choice, egress: sink.egress };
                self.select_layer(now, (accepted, header), part, packet, &mut changes, transmit)?;
            }
            _ if is_renamed => changes.header.ssrc = self.rename(accepted.stream, header.ssrc, sink.egress),
            (None, Some(other)) => {
                changes.header.ssrc = self.name(now.mono, accepted.stream, header.ssrc, (sink.egress, other));
            }
            (None, None) => {}
        }
        Ok(Some(changes))
    }

    /// The name of a source for a receiver that has `other` under its SSRC.
    #[cold]
    fn name(&mut self, now: Mono, origin: StreamId, ssrc: u32, (egress, other): (StreamId, StreamId)) -> u32 {
        let is_taken = self.is_sending(now, other, egress);
        let stream = self.streams.get(egress.0 as usize);
        let is_known = stream.and_then(|stream| stream.rewriting.as_ref()?.alias(origin, ssrc)).is_some();
        if is_known || is_taken { self.rename(origin, ssrc, egress) } else { ssrc }
    }

    /// The name of a source that has one of its own for a receiver.
    fn rename(&mut self, origin: StreamId, ssrc: u32, egress: StreamId) -> u32 {
        let Some(egress) = self.streams.get_mut(egress.0 as usize) else { return ssrc };
        let rewriting = egress.rewriting.get_or_insert_default();
        let known = rewriting.alias(origin, ssrc);
        known.unwrap_or_else(|| rewriting.add_alias(origin, ssrc, &mut self.nonces))
    }

    /// Decides whether a packet of a layer goes to a receiver, and how. A new layer is asked for a key frame, and begins
    /// with one.
    fn select_layer(
        &mut self,
        now: Now,
        (accepted, header): (&Accepted, &Header),
        part: Part,
        packet: &[u8],
        changes: &mut Changes,
        transmit: &mut (impl Transmit + ?Sized),
    ) -> Result<(), DropReason> {
        let origin = self.streams.get(accepted.stream.0 as usize).ok_or(DropReason::NoSink)?;
        let (layers, plan) = (origin.layers.as_deref().ok_or(DropReason::OtherLayer)?, origin.plan());
        let simulcast =
            plan.tables().simulcasts.get(usize::from(part.choice.simulcast)).ok_or(DropReason::OtherLayer)?;
        if layers.simulcast_of(header.ssrc) != Some(part.choice.simulcast) {
            return Err(DropReason::OtherLayer);
        }
        let target = layers.choose(now.mono, part.choice, plan);
        let format = simulcast.formats.iter().find(|known| known.0 == header.payload_type).map(|known| known.1);
        let payload = Packet::parse(packet).map_err(|_| DropReason::Malformed)?.payload();
        let numbers = format.map_or(Numbers::default(), |format| format.numbers(payload).read(payload));
        let is_new = accepted.again == Again::No;
        let clock_rate_hz = simulcast.clock_rate_hz;
        let own = layers.report(header.ssrc);
        let moments = |before: u32| Some((own?, layers.report(before)?));
        let translated =
            |before: u32| moments(before).map(|(own, before)| own.translated(header.timestamp, &before, clock_rate_hz));
        let egress = self.streams.get(part.egress.0 as usize).ok_or(DropReason::NoSink)?;
        let known = egress.rewriting.as_ref();
        let current = known
            .and_then(|known| known.selection(accepted.stream, part.choice.simulcast))
            .and_then(|selection| selection.current());
        // Without knowledge of the format any picture may be the one that was asked for.
        let begins = !payload.is_empty() && format.is_none_or(|format| format.begins_key_frame(payload));
        let switches = is_new && target == Some(header.ssrc) && current != target && begins;
        let timestamp = current.and_then(translated);
        let egress = self.streams.get_mut(part.egress.0 as usize).ok_or(DropReason::NoSink)?;
        let rewriting = egress.rewriting.get_or_insert_default();
        let selection = rewriting.selection_mut(accepted.stream, part.choice.simulcast, &mut self.nonces);
        let selection = selection.ok_or(DropReason::OtherLayer)?;
        if switches {
            selection.switch(now.mono, header, numbers, timestamp, clock_rate_hz);
        }
        let found = selection.find(header);
        if let Some(offsets) = found {
            if is_new {
                selection.note(now.mono, header, numbers);
            }
            let payload_type = changes.header.payload_type;
            changes.header = Header { payload_type, ..offsets.apply(header, selection.shown) };
            changes.picture = format.map(|format| (format, offsets.numbers));
        }
        let wanted = target.filter(|target| is_new && selection.current() != Some(*target));
        if let Some(wanted) = wanted {
            self.request_keyframe(now, accepted.stream, wanted, transmit);
        }
        found.map(|_| ()).ok_or(DropReason::OtherLayer)
    }

    /// Whether a stream still sends to a receiver, so that its SSRCs are taken there.
    fn is_sending(&self, now: Mono, origin: StreamId, egress: StreamId) -> bool {
        let stream = self.streams.get(origin.0 as usize);
        stream.is_some_and(|stream| {
            let is_fresh = now.since(stream.last_packet.mono) < SILENCE;
            is_fresh && stream.plan().media_sinks().any(|sink| sink.egress == egress)
        })
    }

    /// Whether SSRCs have other names in RTCP that goes to a receiver.
    pub(super) fn is_renamed(&self, accepted: &Accepted, sink: &Sink) -> bool {
        let renames = |id: StreamId| {
            let media = self.media_of(id).and_then(|media| self.streams.get(media.0 as usize));
            media.is_some_and(|media| media.renames_sources())
        };
        matches!(accepted.kind, Kind::Rtcp) && (renames(accepted.stream) || renames(sink.egress))
    }

    /// The stream of RTP whose RTCP goes through `id`.
    fn media_of(&self, id: StreamId) -> Option<StreamId> {
        self.streams.get(id.0 as usize)?.plan().sources
    }

    /// Sends RTCP with the names that the receiver knows: of what the sender sends, and of what itself sends.
    #[cold]
    pub(super) fn send_renamed(
        &mut self,
        now: Now,
        accepted: &Accepted,
        sink: Sink,
        packet: &[u8],
        transmit: &mut (impl Transmit + ?Sized),
    ) -> Result<(), DropReason> {
        let (Some(from), Some(to)) = (self.media_of(accepted.stream), self.media_of(sink.egress)) else {
            return Err(DropReason::NoSink);
        };
        let mut renamed = std::mem::take(&mut self.report);
        renamed.clear();
        for range in ranges(packet) {
            let start = renamed.len();
            renamed.extend_from_slice(&packet[range]);
            if !self.suits_layer(from, to, &mut renamed[start..]) {
                renamed.truncate(start);
            }
        }
        let rewriting = |id: StreamId| self.streams.get(id.0 as usize).and_then(|stream| stream.rewriting.as_deref());
        rename(&mut renamed, |named, ssrc| match named {
            Named::Sender => match self.selection_of(from, to, ssrc) {
                Some(selection) => selection.shown,
                None => rewriting(to).and_then(|rewriting| rewriting.alias(from, ssrc)).unwrap_or(ssrc),
            },
            Named::Subject => rewriting(from).map_or(ssrc, |rewriting| rewriting.unaliased(to, ssrc)),
        });
        let accepted = Accepted { original: Original::Gone, ..*accepted };
        let sent = match renamed.is_empty() {
            true => Err(DropReason::OtherLayer),
            false => self.send_to(now, &accepted, sink, &renamed, transmit),
        };
        self.report = renamed;
        sent
    }

    /// What the receiver at `to` gets of the simulcast that a source of `from` is a layer of.
    fn selection_of(&self, from: StreamId, to: StreamId, ssrc: u32) -> Option<&Selection> {
        let simulcast = self.streams.get(from.0 as usize)?.layers.as_deref()?.simulcast_of(ssrc)?;
        self.streams.get(to.0 as usize)?.rewriting.as_deref()?.selection(from, simulcast)
    }

    /// Whether an RTCP packet of a sender is the receiver's business: of the layers of a simulcast only the one that it
    /// gets reports, with its time and its counts; none leaves.
    fn suits_layer(&self, from: StreamId, to: StreamId, packet: &mut [u8]) -> bool {
        let Some(ssrc) = rtcp::first_sender(packet) else { return true };
        let Some(selection) = self.selection_of(from, to, ssrc) else { return true };
        let is_current = selection.current() == Some(ssrc);
        match packet[1] {
            packet_type::BYE => false,
            packet_type::SOURCE_DESCRIPTION => is_current,
            packet_type::SENDER_REPORT => {
                let sent = self.streams.get(to.0 as usize).and_then(|stream| stream.sent_under(selection.shown));
                if let (Some(offsets), Some((packets, bytes)), Some(words)) =
                    (selection.current_offsets(), sent, packet.get_mut(16..28))
                {
                    let word = u32::from_be_bytes([words[0], words[1], words[2], words[3]]);
                    words[..4].copy_from_slice(&word.wrapping_add(offsets.timestamp).to_be_bytes());
                    words[4..8].copy_from_slice(&(packets as u32).to_be_bytes());
                    words[8..].copy_from_slice(&(bytes as u32).to_be_bytes());
                }
                is_current
            }
            _ => true,
        }
    }
}

/// What a receiver is to get.
#[derive(Clone, Copy)]
struct Part {
    choice: Choice,
    egress: StreamId,
}
