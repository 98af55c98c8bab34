//! Elements of RTP header extensions (RFC 8285).

use crate::plan::{EXTENSION_NUMBERS, MidElement};
use crate::wire::rtp::{FIXED_HEADER_BYTES, Packet};
use std::ops::Range;

/// In the first byte of a packet: a header extension follows (RFC 3550, section 5.1).
const EXTENSION_BIT: u8 = 0x10;
/// One-byte header extensions (RFC 8285, section 4.2).
const ONE_BYTE_PROFILE: u16 = 0xbede;
/// The profile of two-byte header extensions without its lower four bits (RFC 8285, section 4.3).
const TWO_BYTE_PROFILE: u16 = 0x1000;

/// The elements of a packet's header extension.
struct Elements<'a> {
    packet: &'a [u8],
    is_two_byte: bool,
    at: usize,
    end: usize,
}

/// Where an element is.
struct Element {
    id: u8,
    whole: Range<usize>,
    data: Range<usize>,
}

impl<'a> Elements<'a> {
    /// None where there is no extension of either form.
    fn of(packet: &'a [u8]) -> Option<Elements<'a>> {
        let parsed = Packet::parse_encrypted(packet).ok()?;
        let extension = parsed.extension()?;
        let is_two_byte = extension.profile & 0xfff0 == TWO_BYTE_PROFILE;
        let end = parsed.header_bytes();
        let is_known = is_two_byte || extension.profile == ONE_BYTE_PROFILE;
        is_known.then(|| Elements { packet, is_two_byte, at: end - extension.data.len(), end })
    }
}

impl Iterator for Elements<'_> {
    type Item = Element;

    fn next(&mut self) -> Option<Element> {
        while self.at < self.end && self.packet[self.at] == 0 {
            self.at += 1;
        }
        let bytes = &self.packet[..self.end];
        let first = *bytes.get(self.at)?;
        let (id, header_bytes, length) = match self.is_two_byte {
            true => (first, 2, usize::from(*bytes.get(self.at + 1)?)),
            false => (first >> 4, 1, usize::from(first & 0x0f) + 1),
        };
        // The number 15 of the one-byte form ends the list.
        if !self.is_two_byte && id == 15 {
            return None;
        }
        let (start, data) = (self.at, self.at + header_bytes);
        bytes.get(data..data + length)?;
        self.at = data + length;
        Some(Element { id, whole: start..self.at, data: data..self.at })
    }
}

/// The bytes of the element `id`.
pub(super) fn find(packet: &[u8], id: u8) -> Option<&[u8]> {
    let element = Elements::of(packet)?.find(|element| element.id == id)?;
    Some(&packet[element.data])
}

/// Puts `number` in the first two bytes of the element `id`, if there is one so long.
pub(super) fn set_number(packet: &mut [u8], id: u8, number: impl FnOnce() -> u16) {
    let element = Elements::of(packet).and_then(|mut elements| elements.find(|element| element.id == id));
    if let Some(room) = element.and_then(|element| packet[element.data].first_chunk_mut()) {
        *room = number().to_be_bytes();
    }
}

/// Turns the elements whose numbers are bits of `mask` into padding.
pub(super) fn blank(packet: &mut [u8], mask: u16) {
    let mut from = 0;
    while let Some(range) = next_masked(packet, mask, from) {
        from = range.end;
        packet[range].fill(0);
    }
}

fn next_masked(packet: &[u8], mask: u16, from: usize) -> Option<Range<usize>> {
    let is_masked = |element: &Element| element.whole.start >= from && element.id < 16 && mask >> element.id & 1 == 1;
    Elements::of(packet)?.find(is_masked).map(|element| element.whole)
}

/// Gives the elements other numbers, by the old ones; those that get zero, or one that their form can't say, become
/// padding.
pub(super) fn renumber(packet: &mut [u8], numbers: &[u8; EXTENSION_NUMBERS]) {
    let mut from = 0;
    while let Some((element, is_two_byte)) = next_from(packet, from) {
        from = element.whole.end;
        let Some(number) = numbers.get(usize::from(element.id)).copied().filter(|number| *number != element.id) else {
            continue;
        };
        let start = element.whole.start;
        match number {
            0 => packet[element.whole].fill(0),
            _ if is_two_byte => packet[start] = number,
            _ if usize::from(number) >= EXTENSION_NUMBERS => packet[element.whole].fill(0),
            _ => packet[start] = number << 4 | packet[start] & 0x0f,
        }
    }
}

fn next_from(packet: &[u8], from: usize) -> Option<(Element, bool)> {
    let mut elements = Elements::of(packet)?;
    elements.at = elements.at.max(from);
    elements.next().map(|element| (element, elements.is_two_byte))
}

/// Puts `mid` among the header extensions of the RTP packet in the first `length` bytes of `buffer`; its new length. None
/// when it does not fit, or when the packet has extensions of a form that cannot take it; then nothing is changed.
pub(super) fn add_mid(buffer: &mut [u8], length: usize, mid: &MidElement) -> Option<usize> {
    let parsed = Packet::parse_encrypted(buffer.get(..length)?).ok()?;
    let (profile, present) = parsed.extension().map_or((ONE_BYTE_PROFILE, 0), |own| (own.profile, own.data.len()));
    let sources_end = FIXED_HEADER_BYTES + parsed.contributing_sources().count() * 4;
    let payload = parsed.header_bytes();
    let (number, bytes) = (mid.number(), mid.mid().len() as u8);
    let (head, head_bytes) = match profile & 0xfff0 {
        TWO_BYTE_PROFILE => ([number, bytes], 2),
        _ if profile == ONE_BYTE_PROFILE => ([number << 4 | (bytes - 1), 0], 1),
        _ => return None,
    };
    let words = (present + head_bytes + mid.mid().len()).div_ceil(4);
    let new_payload = sources_end + 4 + words * 4;
    let words = u16::try_from(words).ok()?;
    let new_length = length - payload + new_payload;
    let packet = buffer.get_mut(..new_length)?;
    packet.copy_within(payload..length, new_payload);
    packet[0] |= EXTENSION_BIT;
    packet[sources_end..sources_end + 2].copy_from_slice(&profile.to_be_bytes());
    packet[sources_end + 2..sources_end + 4].copy_from_slice(&words.to_be_bytes());
    let room = &mut packet[sources_end + 4 + present..new_payload];
    room.fill(0);
    room[..head_bytes].copy_from_slice(&head[..head_bytes]);
    room[head_bytes..head_bytes + mid.mid().len()].copy_from_slice(mid.mid());
    Some(new_length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(profile: u16, data: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x90, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
        bytes.extend_from_slice(&profile.to_be_bytes());
        bytes.extend_from_slice(&(data.len() as u16 / 4).to_be_bytes());
        bytes.extend_from_slice(data);
        bytes.extend_from_slice(b"payload");
        bytes
    }

    #[test]
    fn elements_of_both_forms_are_found() {
        let one = packet(0xbede, &[0, 0x10, 7, 0x41, b'v', b'1', 0, 0]);
        assert_eq!(find(&one, 1), Some(&[7][..]));
        assert_eq!(find(&one, 4), Some(&b"v1"[..]));
        assert_eq!(find(&one, 2), None);
        let two = packet(0x1000, &[1, 1, 7, 20, 2, b'a', b'b', 0]);
        assert_eq!(find(&two, 20), Some(&b"ab"[..]));
    }

    #[test]
    fn broken_elements_end_the_search() {
        for data in [[0x4f, 1, 2, 3], [0xf0, 1, 0x10, 2], [0, 0, 0, 0x41]] {
            assert_eq!(find(&packet(0xbede, &data), 4), None, "{data:?}");
        }
        assert_eq!(find(&packet(0x1000, &[4, 9, 1, 1]), 4), None);
        assert_eq!(find(&packet(0x7777, &[0x40, 9, 1, 1]), 4), None);
    }

    #[test]
    fn a_mid_is_added_to_packets_of_every_form() {
        let mid = MidElement::new(5, "audio").unwrap();
        let bare = [0x81, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 9, 9, 9, 9, 1, 2, 3];
        let one = packet(ONE_BYTE_PROFILE, &[0x10, 7, 0, 0]);
        let two = packet(TWO_BYTE_PROFILE, &[1, 1, 7, 0]);
        for (before, present) in [(&bare[..], None), (&one, Some(&[7][..])), (&two, Some(&[7][..]))] {
            let mut copy = [0; 64];
            copy[..before.len()].copy_from_slice(before);
            let length = add_mid(&mut copy, before.len(), &mid).unwrap();
            let after = &copy[..length];
            assert_eq!(find(after, 5), Some(&b"audio"[..]), "{before:?}");
            assert_eq!(find(after, 1), present);
            let (old, new) = (Packet::parse(before).unwrap(), Packet::parse(after).unwrap());
            assert_eq!((new.header(), new.payload()), (old.header(), old.payload()));
            assert!(new.contributing_sources().eq(old.contributing_sources()));
            let mut tight = before.to_vec();
            tight.resize(length - 1, 0);
            assert_eq!(add_mid(&mut tight, before.len(), &mid), None);
            assert_eq!(&tight[..before.len()], before);
        }
        let mut other = packet(0x7777, &[0; 4]);
        other.resize(64, 0);
        assert_eq!(add_mid(&mut other, 27, &mid), None);
        assert_eq!(add_mid(&mut [0x80; 64], 11, &mid), None);
    }

    #[test]
    fn a_mid_has_bounds() {
        for (number, mid) in [(0, "a"), (15, "a"), (1, ""), (1, "12345678901234567")] {
            assert_eq!(MidElement::new(number, mid), None, "{number} {mid}");
        }
        assert!(MidElement::new(14, "1234567890123456").is_some());
    }

    #[test]
    fn a_number_is_put_where_there_is_room_for_it() {
        let mut bytes = packet(0xbede, &[0x10, 7, 0x51, 1, 2, 0, 0, 0]);
        set_number(&mut bytes, 5, || 0x0a0b);
        assert_eq!(find(&bytes, 5), Some(&[0x0a, 0x0b][..]));
        let before = bytes.clone();
        [1, 2, 15].iter().for_each(|id| set_number(&mut bytes, *id, || panic!("none is used up")));
        assert_eq!(bytes, before);
    }

    #[test]
    fn elements_change_their_numbers_at_once() {
        let mut numbers: [u8; EXTENSION_NUMBERS] = std::array::from_fn(|number| number as u8);
        (numbers[1], numbers[2], numbers[3], numbers[5]) = (2, 1, 0, 20);
        let mut one = packet(0xbede, &[0x10, 7, 0, 0x21, 8, 9, 0x30, 5, 0x40, 6, 0x50, 4]);
        renumber(&mut one, &numbers);
        assert_eq!(one, packet(0xbede, &[0x20, 7, 0, 0x11, 8, 9, 0, 0, 0x40, 6, 0, 0]));
        let mut two = packet(0x1000, &[1, 1, 7, 5, 1, 8, 16, 0]);
        renumber(&mut two, &numbers);
        assert_eq!(two, packet(0x1000, &[2, 1, 7, 20, 1, 8, 16, 0]));
        let mut none = b"short".to_vec();
        renumber(&mut none, &numbers);
        assert_eq!(none, b"short");
    }

    #[test]
    fn masked_elements_become_padding() {
        let mut bytes = packet(0xbede, &[0x10, 7, 0x41, b'v', b'1', 0x10, 9, 0]);
        blank(&mut bytes, 1 << 1);
        assert_eq!(bytes, packet(0xbede, &[0, 0, 0x41, b'v', b'1', 0, 0, 0]));
        let mut none = b"short".to_vec();
        blank(&mut none, 0xffff);
        assert_eq!(none, b"short");
    }
}
