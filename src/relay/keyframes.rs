//! Requests for key frames of video (RFC 4585, section 6.3.1; RFC 5104, section 4.3.1): from receivers whose RTCP does not
//! reach the sender, and for receivers that come to a stream that is already under way.

use super::{Relay, Transmit};
use crate::base::time::{Mono, Now};
use crate::plan::{KeyframeRequest, StreamId};
use crate::wire::rtcp::feedback::{FULL_INTRA as FIR, PICTURE_LOSS as PLI};
use crate::wire::rtcp::packet_type;
use std::time::Duration;

/// One source is asked so often at most, whoever wants it.
const INTERVAL: Duration = Duration::from_millis(500);
/// Sources that are remembered for each stream.
const MOST_SOURCES: usize = 16;
/// A stream that has sent fewer packets has just begun, with a key frame.
const UNDER_WAY_PACKETS: u64 = 30;
/// A receiver report without a block, and a full intra request with one entry.
const LONGEST_BYTES: usize = 8 + 20;

/// When each source of a stream was last asked.
#[derive(Debug, Default)]
pub(super) struct Asked(Vec<Entry>);

#[derive(Debug, Clone, Copy)]
struct Entry {
    ssrc: u32,
    at: Mono,
    requests: u8,
}

impl Asked {
    /// Notes a request; its number, or none when the last was just now.
    fn note(&mut self, now: Mono, ssrc: u32) -> Option<u8> {
        if let Some(entry) = self.0.iter_mut().find(|entry| entry.ssrc == ssrc) {
            if now.since(entry.at) < INTERVAL {
                return None;
            }
            (entry.at, entry.requests) = (now, entry.requests.wrapping_add(1));
            return Some(entry.requests);
        }
        if self.0.len() >= MOST_SOURCES {
            self.0.remove(0);
        }
        self.0.push(Entry { ssrc, at: now, requests: 0 });
        Some(0)
    }
}

/// The sources that a feedback packet asks key frames of.
pub(super) fn targets(format: u8, media: u32, control: &[u8]) -> impl Iterator<Item = u32> + '_ {
    let entries = control.chunks_exact(8).filter(move |_| format == FIR);
    let entries = entries.filter_map(|entry| entry.first_chunk().map(|ssrc| u32::from_be_bytes(*ssrc)));
    (format == PLI).then_some(media).into_iter().chain(entries)
}

impl Relay {
    /// A receiver at the stream `egress` wants a key frame of `ssrc`. Where its RTCP goes to the sender anyway, that is
    /// enough.
    pub(super) fn keyframe_wanted(
        &mut self,
        now: Now,
        arrived: StreamId,
        egress: StreamId,
        ssrc: u32,
        transmit: &mut (impl Transmit + ?Sized),
    ) {
        let Some((origin, ssrc)) = self.streams.get(egress.0 as usize).and_then(|stream| stream.origin_of(ssrc)) else {
            return;
        };
        if !self.reaches(arrived, origin) {
            self.request_keyframe(now, origin, ssrc, transmit);
        }
    }

    /// A receiver gets its first packet of a source that has been sending for a while.
    pub(super) fn receiver_came(
        &mut self,
        now: Now,
        origin: StreamId,
        ssrc: u32,
        transmit: &mut (impl Transmit + ?Sized),
    ) {
        let source = self.streams.get_mut(origin.0 as usize).and_then(|stream| stream.source_mut(ssrc));
        if source.is_some_and(|source| source.packets() > UNDER_WAY_PACKETS) {
            self.request_keyframe(now, origin, ssrc, transmit);
        }
    }

    pub(super) fn request_keyframe(
        &mut self,
        now: Now,
        origin: StreamId,
        ssrc: u32,
        transmit: &mut (impl Transmit + ?Sized),
    ) {
        let Some(stream) = self.streams.get_mut(origin.0 as usize) else { return };
        let Some(how) = stream.plan().keyframes else { return };
        let Some(number) = stream.asked.note(now.mono, ssrc) else { return };
        let mut buffer = [0; LONGEST_BYTES];
        let length = write(&mut buffer, how, self.own_ssrc, ssrc, number);
        self.send_to_sender(now, origin, &buffer[..length], transmit);
    }
}

/// A compound of a receiver report and the request.
fn write(buffer: &mut [u8; LONGEST_BYTES], how: KeyframeRequest, sender: u32, ssrc: u32, number: u8) -> usize {
    let mut length = 0;
    let mut put = |bytes: &[u8]| {
        buffer[length..length + bytes.len()].copy_from_slice(bytes);
        length += bytes.len();
    };
    put(&[0x80, packet_type::RECEIVER_REPORT, 0, 1]);
    put(&sender.to_be_bytes());
    match how {
        KeyframeRequest::PictureLoss => {
            put(&[0x80 | PLI, packet_type::PAYLOAD_FEEDBACK, 0, 2]);
            put(&sender.to_be_bytes());
            put(&ssrc.to_be_bytes());
        }
        KeyframeRequest::FullIntra => {
            put(&[0x80 | FIR, packet_type::PAYLOAD_FEEDBACK, 0, 4]);
            put(&sender.to_be_bytes());
            put(&[0; 4]);
            put(&ssrc.to_be_bytes());
            put(&[number, 0, 0, 0]);
        }
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::rtcp::{Compound, Packet};

    #[test]
    fn requests_are_read_as_they_were_written() {
        for how in [KeyframeRequest::PictureLoss, KeyframeRequest::FullIntra] {
            let mut buffer = [0; LONGEST_BYTES];
            let length = write(&mut buffer, how, 5, 77, 3);
            let packets: Vec<Packet> = Compound::new(&buffer[..length]).map(Result::unwrap).collect();
            let [Packet::ReceiverReport { ssrc: 5, .. }, feedback] = packets[..] else { panic!("{packets:?}") };
            let Packet::Feedback { is_payload_specific: true, format, sender: 5, media, control } = feedback else {
                panic!("{feedback:?}")
            };
            assert_eq!(targets(format, media, control).collect::<Vec<_>>(), [77]);
        }
        assert_eq!(targets(15, 77, &[0; 16]).count(), 0, "REMB asks for no key frame");
    }

    #[test]
    fn a_source_is_not_asked_twice_at_once() {
        let mut asked = Asked::default();
        let at = |milliseconds: u64| Mono(milliseconds * 1_000_000);
        assert_eq!(asked.note(at(0), 1), Some(0));
        assert_eq!(asked.note(at(499), 1), None);
        assert_eq!(asked.note(at(499), 2), Some(0));
        assert_eq!(asked.note(at(500), 1), Some(1));
    }
}
