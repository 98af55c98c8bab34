//! Reads RTCP that passes, for statistics. It is relayed whatever it says.

use super::{Relay, Transmit, keyframes};
use crate::base::time::Now;
use crate::plan::StreamId;
use crate::wire::rtcp::{self, Compound, Packet, ReceptionReport, SenderInfo, feedback};

impl Relay {
    /// Notes what RTCP from the peer of `id` says about its own sources and about those that it receives.
    pub(super) fn read_rtcp(
        &mut self,
        now: Now,
        id: StreamId,
        datagram: &[u8],
        transmit: &mut (impl Transmit + ?Sized),
    ) {
        self.note_report(now, id, datagram);
        let Some(stream) = self.streams.get_mut(id.0 as usize) else { return };
        if let Some(ssrc) = rtcp::first_sender(datagram) {
            stream.note_ssrc(ssrc);
        }
        let Some(media) = stream.plan().sources else { return };
        let (owner, interface) = (stream.owner_call(), stream.interface());
        if self.streams.get(media.0 as usize).map(|stream| stream.owner_call()) != Some(owner) {
            return;
        }
        for packet in Compound::new(datagram) {
            match packet {
                Ok(Packet::SenderReport { ssrc, info, reports }) => {
                    self.sender_report(now, media, ssrc, &info);
                    reports.iter().for_each(|report| self.reception_report(now, interface, media, ssrc, &report));
                }
                Ok(Packet::ReceiverReport { ssrc, reports }) => {
                    reports.iter().for_each(|report| self.reception_report(now, interface, media, ssrc, &report));
                }
                Ok(Packet::Feedback { is_payload_specific: true, format, media: about, control, .. }) => {
                    if let Some(bitrate) =
                        feedback::remb_bitrate(control).filter(|_| format == feedback::APPLICATION_LAYER)
                    {
                        self.bandwidth_estimated(now, media, bitrate);
                    }
                    for ssrc in keyframes::targets(format, about, control) {
                        self.keyframe_wanted(now, id, media, ssrc, transmit);
                    }
                }
                Ok(Packet::Feedback { format: feedback::NACK, media: about, control, .. }) => {
                    self.packets_missed(now, id, media, (about, control), transmit);
                }
                Ok(_) => {}
                Err(_) => self.interfaces.get_mut(interface).malformed_reports += 1,
            }
        }
    }

    fn sender_report(&mut self, now: Now, media: StreamId, ssrc: u32, info: &SenderInfo) {
        let Some(stream) = self.streams.get_mut(media.0 as usize) else { return };
        let interface = stream.interface();
        if let Some(layers) = &mut stream.layers {
            layers.note_report(ssrc, info);
        }
        let Some(source) = stream.source_mut(ssrc) else { return };
        source.quality_mut().sender_report(now.mono, info);
        if let Some(jitter) = source.jitter_ms() {
            self.interfaces.get_mut(interface).add_measured_jitter(jitter);
        }
    }

    /// `reporter` is the peer's own SSRC: the round-trip time to the other end is known from reports on it.
    fn reception_report(&mut self, now: Now, interface: u16, media: StreamId, reporter: u32, report: &ReceptionReport) {
        let Some(stream) = self.streams.get_mut(media.0 as usize) else { return };
        let Some((origin, ssrc)) = stream.origin_of(report.ssrc) else { return };
        let other_leg =
            stream.source_mut(reporter).and_then(|source| source.quality()).and_then(|quality| quality.last_leg_us());
        let origin = self.streams.get_mut(origin.0 as usize);
        let Some(source) = origin.and_then(|stream| stream.source_mut(ssrc)) else { return };
        let clock_rate_hz = source.clock_rate_hz();
        let times = (now.mono, now.unix);
        let sampled = source.quality_mut().reception_report(times, self.mos, report, clock_rate_hz, other_leg);
        if let Some(sampled) = sampled {
            self.interfaces.get_mut(interface).add_report(&sampled);
        }
    }
}
