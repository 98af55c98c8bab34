//! What packets are given on their way to one receiver that is its own: sequence numbers, SSRCs. It exists where a plan
//! asks for it.

use crate::base::random::Random;
use crate::relay::nonce::Nonces;
use crate::wire::rtp::{FIXED_HEADER_BYTES, Header, Packet};

/// Streams of retransmissions that one receiver gets.
const MOST_REPAIRS: usize = 16;
/// Bytes of the original sequence number (RFC 4588, section 4).
pub(super) const ORIGINAL_BYTES: usize = 2;

/// What one receiver has been given.
#[derive(Debug, Default)]
pub(super) struct Rewriting {
    next_transport_wide: u16,
    repairs: Vec<RepairFlow>,
}

/// The retransmissions of one SSRC to one receiver.
#[derive(Debug, Clone, Copy)]
struct RepairFlow {
    media: u32,
    ssrc: u32,
    next: u16,
}

/// What a retransmission has in place of what its packet had (RFC 4588, section 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RepairHeader {
    pub(super) payload_type: u8,
    pub(super) ssrc: u32,
    pub(super) sequence: u16,
}

impl Rewriting {
    /// The transport-wide number of the next packet that has one.
    pub(super) fn next_transport_wide(&mut self) -> u16 {
        self.next_transport_wide = self.next_transport_wide.wrapping_add(1);
        self.next_transport_wide
    }

    /// What the next retransmission of a packet of `media` has, under the SSRC `named`, else one of ours; none where
    /// there are too many streams.
    pub(super) fn next_repair(
        &mut self,
        payload_type: u8,
        (media, named): (u32, Option<u32>),
        random: &mut Nonces,
    ) -> Option<RepairHeader> {
        let known = self.repairs.iter().position(|flow| flow.media == media);
        if known.is_none() && self.repairs.len() < MOST_REPAIRS {
            let ssrc = named.unwrap_or_else(|| random.u32());
            self.repairs.push(RepairFlow { media, ssrc, next: random.u32() as u16 });
        }
        let flow = self.repairs.iter_mut().find(|flow| flow.media == media)?;
        let sequence = flow.next;
        flow.next = flow.next.wrapping_add(1);
        Some(RepairHeader { payload_type, ssrc: flow.ssrc, sequence })
    }
}

fn set_numbers(packet: &mut [u8], payload_type: u8, sequence: u16, ssrc: u32) {
    packet[1] = packet[1] & 0x80 | payload_type & 0x7f;
    packet[2..4].copy_from_slice(&sequence.to_be_bytes());
    packet[8..FIXED_HEADER_BYTES].copy_from_slice(&ssrc.to_be_bytes());
}

/// Makes a retransmission of the packet in the first `length` bytes of `buffer`; its new length. None when there is no
/// room.
pub(super) fn make_repair(buffer: &mut [u8], length: usize, repair: RepairHeader) -> Option<usize> {
    let payload = Packet::parse_encrypted(buffer.get(..length)?).ok()?.header_bytes();
    let packet = buffer.get_mut(..length + ORIGINAL_BYTES)?;
    let original = [packet[2], packet[3]];
    packet.copy_within(payload..length, payload + ORIGINAL_BYTES);
    packet[payload..payload + ORIGINAL_BYTES].copy_from_slice(&original);
    set_numbers(packet, repair.payload_type, repair.sequence, repair.ssrc);
    Some(length + ORIGINAL_BYTES)
}

/// The number of the packet that a retransmission brings; none when it brings nothing, as those that only probe for
/// bandwidth do.
pub(super) fn repaired_sequence(repair: &[u8]) -> Option<u16> {
    let payload = Packet::parse(repair).ok()?.payload();
    let sequence = payload.first_chunk().filter(|_| payload.len() > ORIGINAL_BYTES)?;
    Some(u16::from_be_bytes(*sequence))
}

/// Makes the packet of `payload_type` and `ssrc` out of the retransmission that brings it; the packet's header and its
/// length.
pub(super) fn unmake_repair(repair: &mut [u8], payload_type: u8, ssrc: u32) -> Option<(Header, usize)> {
    let sequence = repaired_sequence(repair)?;
    let payload = Packet::parse(repair).ok()?.header_bytes();
    repair.copy_within(payload + ORIGINAL_BYTES.., payload);
    set_numbers(repair, payload_type, sequence, ssrc);
    let length = repair.len() - ORIGINAL_BYTES;
    Header::read(&repair[..length]).ok().map(|header| (header, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header { marker: true, payload_type: 96, sequence: 0xfffe, timestamp: 7, ssrc: 11 };

    #[test]
    fn a_packet_comes_out_of_its_retransmission() {
        let mut extended = HEADER.write(&[]);
        extended[0] |= 0x10;
        extended.extend_from_slice(&[0xbe, 0xde, 0, 1, 0x10, 7, 0, 0, 1, 2, 3]);
        let mut padded = HEADER.write(&[9, 9, 9, 0, 0, 3]);
        padded[0] |= 0x20;
        for packet in [HEADER.write(b"payload"), extended, padded] {
            let mut buffer = packet.clone();
            buffer.resize(packet.len() + 8, 0xee);
            let repair = RepairHeader { payload_type: 97, ssrc: 12, sequence: 5 };
            let length = make_repair(&mut buffer, packet.len(), repair).expect("there is room");
            assert_eq!(length, packet.len() + 2);
            let parsed = Packet::parse(&buffer[..length]).unwrap();
            let expected = Header { payload_type: 97, ssrc: 12, sequence: 5, ..HEADER };
            assert_eq!((parsed.header(), repaired_sequence(&buffer[..length])), (expected, Some(0xfffe)));
            let (header, restored) = unmake_repair(&mut buffer[..length], 96, 11).unwrap();
            assert_eq!((header, &buffer[..restored]), (HEADER, &packet[..]));
        }
    }

    #[test]
    fn what_brings_nothing_is_no_packet() {
        let mut padding = HEADER.write(&[0, 0, 0, 4]);
        padding[0] |= 0x20;
        for mut probe in [padding, HEADER.write(&[]), HEADER.write(&[1]), HEADER.write(&[1, 2]), b"no RTP".to_vec()] {
            assert_eq!(repaired_sequence(&probe), None);
            assert_eq!(unmake_repair(&mut probe, 96, 11), None);
        }
        assert_eq!(
            make_repair(&mut HEADER.write(&[1]), 13, RepairHeader { payload_type: 97, ssrc: 1, sequence: 1 }),
            None
        );
    }

    #[test]
    fn every_stream_is_numbered_by_itself() {
        let mut random = Nonces::new([3; 32]);
        let mut rewriting = Rewriting::default();
        let mut next = |ssrc| rewriting.next_repair(97, (ssrc, (ssrc == 11).then_some(12)), &mut random);
        let (first, second) = (next(11).unwrap(), next(11).unwrap());
        assert_eq!((first.payload_type, first.ssrc, second.ssrc), (97, 12, 12), "as the description says");
        assert_eq!(second.sequence, first.sequence.wrapping_add(1));
        let own = next(20).unwrap();
        assert!(![11, 12, 20].contains(&own.ssrc));
        assert_eq!(next(20).map(|repair| repair.ssrc), Some(own.ssrc));
        assert_eq!((30..60).filter_map(next).count(), MOST_REPAIRS - 2, "their number is bounded");
    }
}
