//! Packets for a receiver that numbers otherwise than the sender, or that has one of its SSRCs from somebody else.

use super::ingress::{Accepted, Kind, Original};
use super::rewriting::Changes;
use super::verdict::DropReason;
use super::{Relay, Transmit};
use crate::base::time::{Mono, Now};
use crate::plan::{Sink, StreamId};
use crate::wire::rtcp::rename::{Named, rename};
use crate::wire::rtp::Header;
use std::time::Duration;

/// A source that has been silent for so long gives its SSRC to another.
const SILENCE: Duration = Duration::from_secs(5);

impl Relay {
    /// What changes in an RTP packet on its way to a receiver; none in the usual case.
    #[inline]
    pub(super) fn changes(
        &mut self,
        now: Now,
        accepted: &Accepted,
        header: &Header,
        sink: &Sink,
    ) -> Result<Option<Changes>, DropReason> {
        let egress = self.streams.get(sink.egress.0 as usize).ok_or(DropReason::NoSink)?;
        let other = egress.other_origin(header.ssrc, accepted.stream);
        if sink.rewrite.is_none() && other.is_none() {
            return Ok(None);
        }
        self.make_changes(now.mono, accepted, header, sink, other)
    }

    #[cold]
    fn make_changes(
        &mut self,
        now: Mono,
        accepted: &Accepted,
        header: &Header,
        sink: &Sink,
        other: Option<StreamId>,
    ) -> Result<Option<Changes>, DropReason> {
        // Under keys that are shared nothing can be changed.
        if sink.passes && matches!(accepted.original, Original::Same | Original::Kept(_)) {
            return Ok(None);
        }
        let mut changes = Changes { payload_type: header.payload_type, ssrc: header.ssrc, extensions: None };
        if let Some(other) = other {
            let is_taken = self.is_sending(now, other, sink.egress);
            let egress = self.streams.get_mut(sink.egress.0 as usize).ok_or(DropReason::NoSink)?;
            let known = egress.rewriting.as_ref().and_then(|known| known.alias(accepted.stream, header.ssrc));
            changes.ssrc = match (known, is_taken) {
                (Some(known), _) => known,
                (None, true) => {
                    let rewriting = egress.rewriting.get_or_insert_default();
                    rewriting.add_alias(accepted.stream, header.ssrc, &mut self.nonces)
                }
                (None, false) => header.ssrc,
            };
        }
        let origin = self.streams.get(accepted.stream.0 as usize).ok_or(DropReason::NoSink)?;
        let rewrite = sink.rewrite.and_then(|place| origin.plan().rewrites.get(usize::from(place)));
        if let Some(rewrite) = rewrite {
            changes.payload_type = rewrite.payload_type(header.payload_type).ok_or(DropReason::OtherFormat)?;
            changes.extensions = rewrite.extensions;
        }
        Ok(Some(changes))
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
        let has_aliases = |id: StreamId| {
            let media = self.media_of(id).and_then(|media| self.streams.get(media.0 as usize));
            media.and_then(|media| media.rewriting.as_ref()).is_some_and(|rewriting| rewriting.has_aliases())
        };
        matches!(accepted.kind, Kind::Rtcp) && (has_aliases(accepted.stream) || has_aliases(sink.egress))
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
        renamed.extend_from_slice(packet);
        let rewriting = |id: StreamId| self.streams.get(id.0 as usize).and_then(|stream| stream.rewriting.as_deref());
        rename(&mut renamed, |named, ssrc| match named {
            Named::Sender => rewriting(to).and_then(|rewriting| rewriting.alias(from, ssrc)).unwrap_or(ssrc),
            Named::Subject => rewriting(from).map_or(ssrc, |rewriting| rewriting.unaliased(to, ssrc)),
        });
        let accepted = Accepted { original: Original::Gone, ..*accepted };
        let sent = self.send_to(now, &accepted, sink, &renamed, transmit);
        self.report = renamed;
        sent
    }
}
