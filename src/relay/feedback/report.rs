//! RTCP of our own to senders.

use super::{ESTIMATE_INTERVAL, Feedback, TRANSPORT_INTERVAL};
use crate::base::time::Now;
use crate::plan::{Bandwidth, StreamId};
use crate::relay::ingress::Kind;
use crate::relay::{Relay, Transmit};
use crate::wire::rtcp::{ReceptionReport, Writer, feedback, packet_type};
use smallvec::SmallVec;

/// What a sender may send while nobody says less, in bits per second.
const HIGHEST_BITRATE: u64 = 5_000_000;
/// No receiver can press a sender below this, in bits per second.
const LOWEST_BITRATE: u64 = 150_000;
/// Entries of one NACK.
const MOST_ENTRIES: usize = 64;

const LOST: (u8, u8) = (packet_type::TRANSPORT_FEEDBACK, feedback::NACK);
const ARRIVALS: (u8, u8) = (packet_type::TRANSPORT_FEEDBACK, feedback::TRANSPORT_WIDE);

impl Relay {
    /// Sends a sender all that is due.
    pub(super) fn tell_sender(
        &mut self,
        now: Now,
        origin: StreamId,
        feedback: &mut Feedback,
        transmit: &mut (impl Transmit + ?Sized),
    ) {
        self.ask_for_missing(now, origin, feedback, transmit);
        if feedback.next_transport <= now.mono {
            self.tell_arrivals(now, origin, feedback, transmit);
            feedback.next_transport = now.mono + TRANSPORT_INTERVAL;
        }
        if feedback.next_report <= now.mono {
            if feedback.plan.is_sole {
                self.report(now, origin, transmit);
            }
            feedback.next_report = now.mono + feedback.report_interval();
        }
        if feedback.next_estimate <= now.mono {
            if feedback.plan.bandwidth == Some(Bandwidth::Estimate) {
                self.estimate(now, origin, transmit);
            }
            feedback.next_estimate = now.mono + ESTIMATE_INTERVAL;
        }
    }

    /// A compound that begins as it must, with a receiver report; without blocks.
    fn begin(&mut self) -> Writer {
        Writer::reuse(std::mem::take(&mut self.report)).receiver_report(self.own_ssrc, &[])
    }

    fn ask_for_missing(
        &mut self,
        now: Now,
        origin: StreamId,
        feedback: &mut Feedback,
        transmit: &mut (impl Transmit + ?Sized),
    ) {
        if feedback.missing.next_due().is_none_or(|due| due > now.mono) {
            return;
        }
        let mut entries: SmallVec<[_; MOST_ENTRIES]> = SmallVec::new();
        feedback.missing.ask(now.mono, |lost| {
            // What does not fit is asked for the next time.
            if entries.len() < MOST_ENTRIES {
                entries.push(lost);
            }
        });
        for group in entries.chunk_by(|first, second| first.ssrc == second.ssrc) {
            let writer = self.begin().feedback(LOST, self.own_ssrc, group[0].ssrc, |bytes| {
                for lost in group {
                    bytes.extend_from_slice(&lost.sequence.to_be_bytes());
                    bytes.extend_from_slice(&lost.following.to_be_bytes());
                }
            });
            self.send_report(now, origin, writer, transmit);
        }
    }

    fn tell_arrivals(
        &mut self,
        now: Now,
        origin: StreamId,
        feedback: &mut Feedback,
        transmit: &mut (impl Transmit + ?Sized),
    ) {
        let Some(recorder) = &mut feedback.transport else { return };
        while recorder.has_news() {
            let mut is_written = false;
            let writer = self.begin().feedback(ARRIVALS, self.own_ssrc, feedback.transport_ssrc, |bytes| {
                is_written = recorder.write(bytes);
            });
            if !is_written {
                self.report = writer.finish();
                return;
            }
            self.send_report(now, origin, writer, transmit);
        }
    }

    /// A receiver report on all that was heard since the last, and who we are (RFC 3550, section 6.1).
    fn report(&mut self, now: Now, origin: StreamId, transmit: &mut (impl Transmit + ?Sized)) {
        let Some(stream) = self.streams.get_mut(origin.0 as usize) else { return };
        let reports = stream.sources_mut().iter_mut().filter_map(|source| source.reception_report(now.mono));
        let reports: SmallVec<[ReceptionReport; super::super::stream::MAX_SOURCES]> = reports.collect();
        if reports.is_empty() {
            return;
        }
        let writer = Writer::reuse(std::mem::take(&mut self.report)).receiver_report(self.own_ssrc, &reports);
        let writer = writer.canonical_name(self.own_ssrc, &self.own_name);
        self.send_report(now, origin, writer, transmit);
    }

    /// The smallest of what the receivers can take.
    fn estimate(&mut self, now: Now, origin: StreamId, transmit: &mut (impl Transmit + ?Sized)) {
        let Some(stream) = self.streams.get(origin.0 as usize) else { return };
        let sources = stream.sources().iter().filter(|source| source.packets() > 0).map(|source| source.ssrc());
        let sources: SmallVec<[u32; super::super::stream::MAX_SOURCES]> = sources.collect();
        let branches = stream.plan().bundle.iter().flat_map(|bundle| &bundle.branches);
        let sinks = stream.plan().media.iter().chain(branches.flat_map(|branch| &branch.media));
        let said = sinks.filter_map(|sink| {
            let receiver = self.streams.get(sink.egress.0 as usize)?.receiver.as_deref()?;
            receiver.estimate(now.mono)
        });
        let bitrate = said.min().unwrap_or(HIGHEST_BITRATE).clamp(LOWEST_BITRATE, HIGHEST_BITRATE);
        if sources.is_empty() {
            return;
        }
        let writer = self.begin().remb(self.own_ssrc, bitrate, &sources);
        self.send_report(now, origin, writer, transmit);
    }

    fn send_report(&mut self, now: Now, origin: StreamId, writer: Writer, transmit: &mut (impl Transmit + ?Sized)) {
        let bytes = writer.finish();
        self.send_to_sender(now, origin, &bytes, transmit);
        self.report = bytes;
    }

    /// Sends RTCP of our own to the peer of the stream `origin`, by the way that its RTCP takes.
    pub(in crate::relay) fn send_to_sender(
        &mut self,
        now: Now,
        origin: StreamId,
        bytes: &[u8],
        transmit: &mut (impl Transmit + ?Sized),
    ) {
        let Some(stream) = self.streams.get(origin.0 as usize) else { return };
        let (owner, reports) = (stream.owner_call(), stream.plan().reports);
        let Some(stream) = reports.and_then(|id| self.streams.get_mut(id.0 as usize)) else { return };
        let Ok(destination) = stream.latch.destination(now.mono) else { return };
        let Some(outgoing) = self.outgoing.get_mut(..bytes.len()) else { return };
        // A place that was given to another call must never hear this one.
        if stream.owner_call() != owner || destination == stream.local() {
            return;
        }
        outgoing.copy_from_slice(bytes);
        let length = match stream.secure.as_deref_mut() {
            Some(secure) => secure.protect(Kind::Rtcp, &mut self.outgoing, bytes.len()).ok(),
            None => Some(bytes.len()),
        };
        if let Some(length) = length {
            transmit.send(stream.port(), destination, &self.outgoing[..length]);
        }
    }
}
