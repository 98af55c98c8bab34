//! SSRCs in RTCP that is passed on under other names.

use super::{HEADER_BYTES, feedback, packet_type};
use smallvec::SmallVec;
use std::ops::Range;

/// Formats of transport-layer feedback whose entries name SSRCs (RFC 5104, sections 4.2.1 and 4.2.2).
const BANDWIDTH_FORMATS: [u8; 2] = [3, 4];
/// Blocks of extended reports that begin with an SSRC (RFC 3611, sections 4.1 to 4.3, 4.6, 4.7).
const SOURCE_BLOCKS: [u8; 5] = [1, 2, 3, 6, 7];
/// The block that lists some, each with two more words (RFC 3611, section 4.5).
const DELAY_BLOCK: u8 = 5;
/// Bytes of a report block, and of what stands before the blocks of a sender report (RFC 3550, section 6.4).
const REPORT_BYTES: usize = 24;
const SENDER_REPORT_BYTES: usize = 28;

/// What a packet names an SSRC for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// It sends the packet, is described, or leaves.
    Sender,
    /// It is reported on, or feedback is about it.
    Subject,
}

type Places = SmallVec<[(Named, usize); 40]>;

/// The packets of a compound with their headers, whole ones only.
pub fn ranges(compound: &[u8]) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let header = compound.get(at..at + HEADER_BYTES).filter(|header| header[0] >> 6 == 2)?;
        let start = at;
        at += (usize::from(u16::from_be_bytes([header[2], header[3]])) + 1) * 4;
        (at <= compound.len()).then_some(start..at)
    })
}

/// Gives every SSRC in a compound another name. What follows the first malformed packet stays as it is.
pub fn rename(compound: &mut [u8], name: impl Fn(Named, u32) -> u32) {
    let mut from = 0;
    loop {
        let Some(range) = ranges(&compound[from..]).next() else { return };
        let packet = &mut compound[from..][..range.end];
        for (named, at) in places(packet) {
            if let Some(word) = packet.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
                *word = name(named, u32::from_be_bytes(*word)).to_be_bytes();
            }
        }
        from += range.end;
    }
}

/// Where a packet names SSRCs; some places may be beyond its end.
fn places(packet: &[u8]) -> Places {
    let mut places = Places::new();
    let count = usize::from(packet[0] & 0x1f);
    let kind = packet[1];
    if kind != packet_type::BYE && kind != packet_type::SOURCE_DESCRIPTION {
        places.push((Named::Sender, HEADER_BYTES));
    }
    let blocks = |first: usize| (0..count).map(move |block| (Named::Subject, first + block * REPORT_BYTES));
    match kind {
        packet_type::SENDER_REPORT => places.extend(blocks(SENDER_REPORT_BYTES)),
        packet_type::RECEIVER_REPORT => places.extend(blocks(HEADER_BYTES + 4)),
        packet_type::BYE => places.extend((0..count).map(|place| (Named::Sender, HEADER_BYTES + place * 4))),
        packet_type::SOURCE_DESCRIPTION => chunks(packet, count, &mut places),
        packet_type::TRANSPORT_FEEDBACK | packet_type::PAYLOAD_FEEDBACK => entries(packet, &mut places),
        packet_type::EXTENDED_REPORT => extended(packet, &mut places),
        packet_type::APPLICATION => {}
        // Nothing is known of its body.
        _ => places.clear(),
    }
    places
}

/// An SSRC and items, which a null ends and pads (RFC 3550, section 6.5).
fn chunks(packet: &[u8], count: usize, places: &mut Places) {
    let mut at = HEADER_BYTES;
    for _ in 0..count {
        places.push((Named::Sender, at));
        let mut item = at + 4;
        while packet.get(item).is_some_and(|kind| *kind != 0) {
            item += 2 + packet.get(item + 1).map_or(0, |length| usize::from(*length));
        }
        at = (item / 4 + 1) * 4;
    }
}

fn entries(packet: &[u8], places: &mut Places) {
    let format = packet[0] & 0x1f;
    let first = HEADER_BYTES + 8;
    places.push((Named::Subject, HEADER_BYTES + 4));
    let is_payload = packet[1] == packet_type::PAYLOAD_FEEDBACK;
    let has_entries = match is_payload {
        true => format == feedback::FULL_INTRA,
        false => BANDWIDTH_FORMATS.contains(&format),
    };
    if has_entries {
        places.extend((first..packet.len()).step_by(8).map(|at| (Named::Subject, at)));
    } else if is_payload && feedback::remb_bitrate(packet.get(first..).unwrap_or_default()).is_some() {
        places.extend((first + 8..packet.len()).step_by(4).map(|at| (Named::Subject, at)));
    }
}

fn extended(packet: &[u8], places: &mut Places) {
    let mut at = HEADER_BYTES + 4;
    while let Some(header) = packet.get(at..at + 4) {
        let end = at + 4 + usize::from(u16::from_be_bytes([header[2], header[3]])) * 4;
        match header[0] {
            DELAY_BLOCK => places.extend((at + 4..end).step_by(12).map(|at| (Named::Subject, at))),
            kind if SOURCE_BLOCKS.contains(&kind) => places.push((Named::Subject, at + 4)),
            _ => {}
        }
        at = end;
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Compound, Packet, ReceptionReport, SenderInfo, Writer};
    use super::*;
    use proptest::prelude::*;

    /// Senders 1 to 99 become 101 to 199, subjects 201 to 299.
    fn renamed(mut bytes: Vec<u8>) -> Vec<u8> {
        rename(&mut bytes, |named, ssrc| ssrc + if named == Named::Sender { 100 } else { 200 });
        bytes
    }

    fn writer(sender: u32, subject: u32) -> Vec<u8> {
        let report = |ssrc| ReceptionReport { ssrc, ..ReceptionReport::default() };
        let info = SenderInfo { ntp: 1, rtp_timestamp: 2, packets: 3, payload_bytes: 4 };
        let extended = |bytes: &mut Vec<u8>| {
            bytes.extend_from_slice(&sender.to_be_bytes());
            bytes.extend_from_slice(&[4, 0, 0, 2, 0, 0, 0, 9, 0, 0, 0, 9, 5, 0, 0, 3]);
            bytes.extend_from_slice(&subject.to_be_bytes());
            bytes.extend_from_slice(&[0, 0, 0, 9, 0, 0, 0, 9]);
        };
        Writer::new()
            .sender_report(sender, &info, &[report(subject), report(subject + 1)])
            .receiver_report(sender, &[report(subject)])
            .canonical_name(sender, "some name")
            .bye(&[sender, sender + 1])
            .feedback((packet_type::TRANSPORT_FEEDBACK, feedback::NACK), sender, subject, |bytes| {
                bytes.extend_from_slice(&[0, 1, 0, 0]);
            })
            .feedback((packet_type::PAYLOAD_FEEDBACK, feedback::FULL_INTRA), sender, subject, |bytes| {
                bytes.extend_from_slice(&subject.to_be_bytes());
                bytes.extend_from_slice(&[1, 0, 0, 0]);
            })
            .packet(packet_type::EXTENDED_REPORT, 0, extended)
            .packet(packet_type::APPLICATION, 0, |bytes| {
                bytes.extend_from_slice(&sender.to_be_bytes());
                bytes.extend_from_slice(b"nameabcd");
            })
            .finish()
    }

    #[test]
    fn every_name_is_found() {
        assert_eq!(renamed(writer(1, 5)), writer(101, 205));
        let estimate = renamed(Writer::new().remb(1, 300_000, &[5, 6]).finish());
        let packets: Vec<Packet> = Compound::new(&estimate).map(Result::unwrap).collect();
        let [Packet::Feedback { sender: 101, media: 200, control, .. }] = packets[..] else { panic!("{packets:?}") };
        assert_eq!(
            (feedback::remb_bitrate(control), &control[8..]),
            (Some(300_000), &[0, 0, 0, 205, 0, 0, 0, 206][..])
        );
    }

    #[test]
    fn what_is_not_known_or_malformed_stays() {
        let unknown = Writer::new().packet(199, 1, |bytes| bytes.extend_from_slice(&[0, 0, 0, 1])).finish();
        assert_eq!(renamed(unknown.clone()), unknown);
        for length in 0..writer(1, 5).len() {
            renamed(writer(1, 5)[..length].to_vec());
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 199u8..208) {
            if let Some(head) = bytes.first_chunk_mut() {
                *head = [head[0] | 0x80 & 0xbf, kind, 0, head[3] & 0x1f];
            }
            rename(&mut bytes, |_, ssrc| ssrc);
        }
    }
}
