//! What packets are given on their way to one receiver that is its own: sequence numbers, SSRCs. It exists where a plan
//! asks for it.

use super::extension;
use super::nonce::Nonces;
use super::selection::Selection;
use crate::base::random::Random;
use crate::plan::{EXTENSION_NUMBERS, StreamId};
use crate::rtp::picture::{Format, Numbers};
use crate::wire::rtp::{FIXED_HEADER_BYTES, Header, Packet};

/// SSRCs under which one receiver knows a source that has another.
const MOST_ALIASES: usize = 16;
/// Simulcasts of which one receiver gets something.
const MOST_SELECTIONS: usize = 64;
/// Streams of retransmissions that one receiver gets.
const MOST_REPAIRS: usize = 16;
/// Bytes of the original sequence number (RFC 4588, section 4).
pub(super) const ORIGINAL_BYTES: usize = 2;

/// What one receiver has been given.
#[derive(Debug, Default)]
pub(super) struct Rewriting {
    next_transport_wide: u16,
    aliases: Vec<Alias>,
    selections: Vec<Selection>,
    repairs: Vec<RepairFlow>,
    /// Some stream of retransmissions had to make room: an SSRC that a description names may have been used before.
    has_forgotten: bool,
}

/// A source whose SSRC the receiver has from somebody else already.
#[derive(Debug, Clone, Copy)]
struct Alias {
    origin: StreamId,
    ssrc: u32,
    shown: u32,
}

/// What an RTP packet has for one receiver in place of what it came with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Changes {
    pub(super) header: Header,
    pub(super) extensions: Option<[u8; EXTENSION_NUMBERS]>,
    /// What is added to the numbers of the picture.
    pub(super) picture: Option<(Format, Numbers)>,
}

impl Changes {
    /// Changes the packet.
    pub(super) fn apply(&self, packet: &mut [u8]) {
        let header = &self.header;
        set_numbers(packet, header.payload_type, header.sequence, header.ssrc);
        packet[4..8].copy_from_slice(&header.timestamp.to_be_bytes());
        if let Some(numbers) = &self.extensions {
            extension::renumber(packet, numbers);
        }
        if let Some((format, offset)) = self.picture
            && let Ok(start) = Packet::parse_encrypted(packet).map(|parsed| parsed.header_bytes())
        {
            let payload = &mut packet[start..];
            format.numbers(payload).add(payload, offset);
        }
    }
}

/// The retransmissions of one SSRC to one receiver.
#[derive(Debug, Clone, Copy)]
struct RepairFlow {
    /// The stream and the SSRC that the media comes from.
    media: (StreamId, u32),
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

    /// What the next retransmission of a packet of `media` has, under the SSRC `named` if it can be, else one of ours.
    pub(super) fn next_repair(
        &mut self,
        payload_type: u8,
        (media, named): ((StreamId, u32), Option<u32>),
        random: &mut Nonces,
    ) -> RepairHeader {
        let known = self.repairs.iter().position(|flow| flow.media == media);
        let place = known.unwrap_or_else(|| {
            if self.repairs.len() >= MOST_REPAIRS {
                self.repairs.remove(0);
                self.has_forgotten = true;
            }
            // Under one SSRC numbers go on where they were, or two packets would have one SRTP index.
            let is_free = |ssrc: &u32| !self.has_forgotten && self.repairs.iter().all(|flow| flow.ssrc != *ssrc);
            let ssrc = named.filter(is_free).unwrap_or_else(|| random.u32());
            self.repairs.push(RepairFlow { media, ssrc, next: random.u32() as u16 });
            self.repairs.len() - 1
        });
        let flow = &mut self.repairs[place];
        let sequence = flow.next;
        flow.next = flow.next.wrapping_add(1);
        RepairHeader { payload_type, ssrc: flow.ssrc, sequence }
    }

    /// The name of a source that has another one for this receiver.
    pub(super) fn alias(&self, origin: StreamId, ssrc: u32) -> Option<u32> {
        let alias = self.aliases.iter().find(|alias| (alias.origin, alias.ssrc) == (origin, ssrc))?;
        Some(alias.shown)
    }

    /// Gives a source another name.
    pub(super) fn add_alias(&mut self, origin: StreamId, ssrc: u32, random: &mut Nonces) -> u32 {
        if self.aliases.len() >= MOST_ALIASES {
            self.aliases.remove(0);
        }
        let shown = random.u32();
        self.aliases.push(Alias { origin, ssrc, shown });
        shown
    }

    /// The SSRC that a source itself has; of several layers, that of the one which the receiver gets now.
    pub(super) fn unaliased(&self, origin: StreamId, shown: u32) -> u32 {
        let selection = self.selections.iter().find(|known| (known.origin, known.shown) == (origin, shown));
        if let Some(current) = selection.and_then(Selection::current) {
            return current;
        }
        let alias = self.aliases.iter().find(|alias| (alias.origin, alias.shown) == (origin, shown));
        alias.map_or(shown, |alias| alias.ssrc)
    }

    /// What the receiver gets of a simulcast.
    pub(super) fn selection(&self, origin: StreamId, simulcast: u16) -> Option<&Selection> {
        self.selections.iter().find(|known| (known.origin, known.simulcast) == (origin, simulcast))
    }

    /// The same, to begin or to go on; none where there are too many.
    pub(super) fn selection_mut(
        &mut self,
        origin: StreamId,
        simulcast: u16,
        random: &mut Nonces,
    ) -> Option<&mut Selection> {
        if self.selection(origin, simulcast).is_none() && self.selections.len() < MOST_SELECTIONS {
            self.selections.push(Selection::new(origin, simulcast, random.u32()));
        }
        self.selections.iter_mut().find(|known| (known.origin, known.simulcast) == (origin, simulcast))
    }

    /// The source and its number of a packet of `origin` that the receiver names by its own.
    pub(super) fn locate(&self, origin: StreamId, (shown, sequence): (u32, u16)) -> Option<(u32, u16)> {
        match self.selections.iter().find(|known| (known.origin, known.shown) == (origin, shown)) {
            Some(selection) => selection.locate(sequence),
            None => Some((self.unaliased(origin, shown), sequence)),
        }
    }

    /// Whether the receiver knows some SSRC by another name.
    pub(super) fn renames(&self) -> bool {
        !self.aliases.is_empty() || !self.selections.is_empty()
    }

    /// Streams have other numbers now.
    pub(super) fn renumber(&mut self, streams: impl Fn(StreamId) -> StreamId) {
        self.aliases.iter_mut().for_each(|alias| alias.origin = streams(alias.origin));
        self.selections.iter_mut().for_each(|known| known.origin = streams(known.origin));
        self.repairs.iter_mut().for_each(|flow| flow.media.0 = streams(flow.media.0));
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
        let named = |ssrc| [11, 21].contains(&ssrc).then_some(12);
        let mut next = |ssrc| rewriting.next_repair(97, ((StreamId(1), ssrc), named(ssrc)), &mut random);
        let (first, second) = (next(11), next(11));
        assert_eq!((first.payload_type, first.ssrc, second.ssrc), (97, 12, 12), "as the description says");
        assert_eq!(second.sequence, first.sequence.wrapping_add(1));
        let own = next(20);
        assert!(![11, 12, 20].contains(&own.ssrc));
        assert_eq!(next(20).ssrc, own.ssrc);
        assert_ne!(next(21).ssrc, 12, "another has it");
        (30..30 + MOST_REPAIRS as u32).for_each(|ssrc| _ = next(ssrc));
        assert_ne!(next(11).ssrc, 12, "what numbers it had is forgotten");
        assert_eq!(rewriting.repairs.len(), MOST_REPAIRS);
    }

    #[test]
    fn a_source_keeps_its_other_name() {
        let mut random = Nonces::new([3; 32]);
        let mut rewriting = Rewriting::default();
        assert_eq!((rewriting.alias(StreamId(1), 7), rewriting.renames()), (None, false));
        let shown = rewriting.add_alias(StreamId(1), 7, &mut random);
        assert_eq!((rewriting.alias(StreamId(1), 7), rewriting.alias(StreamId(2), 7)), (Some(shown), None));
        assert_eq!([shown, 7].map(|ssrc| rewriting.unaliased(StreamId(1), ssrc)), [7, 7]);
        assert_eq!(rewriting.unaliased(StreamId(2), shown), shown);
        rewriting.renumber(|StreamId(number)| StreamId(number + 5));
        assert_eq!(rewriting.alias(StreamId(6), 7), Some(shown));
        (0..MOST_ALIASES as u32).for_each(|ssrc| _ = rewriting.add_alias(StreamId(3), ssrc, &mut random));
        assert_eq!((rewriting.alias(StreamId(6), 7), rewriting.aliases.len()), (None, MOST_ALIASES));
    }
}
