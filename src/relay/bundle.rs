//! Which media of a bundle a packet belongs to (RFC 9143, section 9.2).

use super::stream::Stream;
use crate::plan::{Branch, Bundle};
use crate::wire::rtp::{Header, Packet};

/// One-byte header extensions (RFC 8285, section 4.2).
const ONE_BYTE_PROFILE: u16 = 0xbede;
/// The profile of two-byte header extensions without its lower four bits (RFC 8285, section 4.3).
const TWO_BYTE_PROFILE: u16 = 0x1000;

impl Bundle {
    /// The branch of an RTP packet: by its MID, else by what its SSRC was before, else by its payload type.
    pub(super) fn branch_of(&self, stream: &Stream, header: &Header, packet: &[u8]) -> Option<u8> {
        let by_mid = self.mid_extension.and_then(|id| extension(packet, id)).and_then(|mid| {
            self.branches.iter().position(|branch| branch.mid.as_deref().is_some_and(|own| own.as_bytes() == mid))
        });
        if by_mid.is_some() {
            return by_mid.map(|place| place as u8);
        }
        stream.branch_of(header.ssrc).or_else(|| {
            let is_own = |branch: &Branch| branch.payload_types.contains(&header.payload_type);
            self.branches.iter().position(is_own).map(|place| place as u8)
        })
    }
}

/// The bytes of the header extension element `id`.
fn extension(packet: &[u8], id: u8) -> Option<&[u8]> {
    let extension = Packet::parse_encrypted(packet).ok()?.extension()?;
    let is_two_byte = extension.profile & 0xfff0 == TWO_BYTE_PROFILE;
    if extension.profile != ONE_BYTE_PROFILE && !is_two_byte {
        return None;
    }
    let mut rest = extension.data;
    while let [first, after @ ..] = rest {
        if *first == 0 {
            rest = after;
            continue;
        }
        let (number, length, data) = match is_two_byte {
            true => (*first, usize::from(*after.first()?), after.get(1..)?),
            false => (first >> 4, usize::from(first & 0x0f) + 1, after),
        };
        // The number 15 of the one-byte form ends the list.
        if !is_two_byte && number == 15 {
            return None;
        }
        let element = data.get(..length)?;
        if number == id {
            return Some(element);
        }
        rest = &data[length..];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(profile: u16, data: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x90, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
        bytes.extend_from_slice(&profile.to_be_bytes());
        bytes.extend_from_slice(&(data.len() as u16 / 4).to_be_bytes());
        bytes.extend_from_slice(data);
        bytes
    }

    #[test]
    fn elements_of_both_forms_are_found() {
        let one = packet(0xbede, &[0, 0x10, 7, 0x41, b'v', b'1', 0, 0]);
        assert_eq!(extension(&one, 1), Some(&[7][..]));
        assert_eq!(extension(&one, 4), Some(&b"v1"[..]));
        assert_eq!(extension(&one, 2), None);
        let two = packet(0x1000, &[1, 1, 7, 20, 2, b'a', b'b', 0]);
        assert_eq!(extension(&two, 20), Some(&b"ab"[..]));
    }

    #[test]
    fn broken_elements_end_the_search() {
        for data in [[0x4f, 1, 2, 3], [0xf0, 1, 0x10, 2], [0, 0, 0, 0x41]] {
            assert_eq!(extension(&packet(0xbede, &data), 4), None, "{data:?}");
        }
        assert_eq!(extension(&packet(0x1000, &[4, 9, 1, 1]), 4), None);
        assert_eq!(extension(&packet(0x7777, &[0x40, 9, 1, 1]), 4), None);
    }
}
