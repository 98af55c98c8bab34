//! Captures as files (pcapng, draft-ietf-opsawg-pcapng): blocks written one by one, and looked at just enough to count
//! them. Everything is little-endian; times are in nanoseconds.

pub mod headers;

use super::Malformed;

/// `Section Header Block`: what every capture begins with, in any order of bytes.
pub const SECTION_HEADER: u32 = 0x0a0d_0d0a;
/// `Enhanced Packet Block`.
pub const PACKET: u32 = 6;
const INTERFACE: u32 = 1;
const STATISTICS: u32 = 5;
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
/// The first two numbers of a block, and the last.
const FRAME_BYTES: usize = 12;
/// The longest block that is taken for one.
const LONGEST_BLOCK: usize = 1 << 20;

/// Options (sections 3.5, 4.1 to 4.6): of any block, of sections, interfaces, packets and statistics.
const COMMENT: u16 = 1;
const APPLICATION: u16 = 4;
const NAME: u16 = 2;
const DESCRIPTION: u16 = 3;
const RESOLUTION: u16 = 9;
const FLAGS: u16 = 2;
const RECEIVED: u16 = 4;
const DROPPED: u16 = 5;

/// What packets of an interface begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// LINKTYPE_ETHERNET
    Ethernet,
    /// LINKTYPE_RAW: IPv4 or IPv6, by its first half byte.
    Ip,
}

/// A packet of a capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The place of its interface in the section.
    pub interface: u32,
    /// Since 1970.
    pub time_ns: u64,
    pub is_outbound: bool,
    /// Its length on the wire; `bytes` may be less.
    pub length: usize,
    pub bytes: &'a [u8],
    /// Empty for none.
    pub comment: &'a str,
}

/// The beginning of a capture made by `application`.
pub fn section(out: &mut Vec<u8>, application: &str) {
    block(out, SECTION_HEADER, |out| {
        out.extend(BYTE_ORDER.to_le_bytes());
        // Version 1.0, and a length that is not known.
        out.extend([1, 0, 0, 0]);
        out.extend(u64::MAX.to_le_bytes());
        option(out, APPLICATION, application.as_bytes());
        end_of_options(out);
    });
}

/// An interface; packets are cut to `snap` bytes.
pub fn interface(out: &mut Vec<u8>, link: Link, name: &str, description: &str, snap: usize) {
    let link: u16 = match link {
        Link::Ethernet => 1,
        Link::Ip => 101,
    };
    block(out, INTERFACE, |out| {
        out.extend(link.to_le_bytes());
        out.extend([0; 2]);
        out.extend((snap as u32).to_le_bytes());
        option(out, NAME, name.as_bytes());
        option(out, DESCRIPTION, description.as_bytes());
        option(out, RESOLUTION, &[9]);
        end_of_options(out);
    });
}

/// A packet.
pub fn packet(out: &mut Vec<u8>, packet: &Packet) {
    block(out, PACKET, |out| {
        out.extend(packet.interface.to_le_bytes());
        time(out, packet.time_ns);
        out.extend((packet.bytes.len() as u32).to_le_bytes());
        out.extend((packet.length as u32).to_le_bytes());
        padded(out, packet.bytes);
        let direction: u32 = if packet.is_outbound { 2 } else { 1 };
        option(out, FLAGS, &direction.to_le_bytes());
        if !packet.comment.is_empty() {
            option(out, COMMENT, packet.comment.as_bytes());
        }
        end_of_options(out);
    });
}

/// What was captured at an interface, and what was not for lack of room; `comment` may be empty.
pub fn statistics(out: &mut Vec<u8>, interface: u32, time_ns: u64, counts: (u64, u64), comment: &str) {
    let (received, dropped) = counts;
    block(out, STATISTICS, |out| {
        out.extend(interface.to_le_bytes());
        time(out, time_ns);
        option(out, RECEIVED, &received.to_le_bytes());
        option(out, DROPPED, &dropped.to_le_bytes());
        if !comment.is_empty() {
            option(out, COMMENT, comment.as_bytes());
        }
        end_of_options(out);
    });
}

fn block(out: &mut Vec<u8>, kind: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend(kind.to_le_bytes());
    out.extend([0; 4]);
    body(out);
    let length = ((out.len() - start + 4) as u32).to_le_bytes();
    out[start + 4..start + 8].copy_from_slice(&length);
    out.extend(length);
}

fn time(out: &mut Vec<u8>, time_ns: u64) {
    out.extend(((time_ns >> 32) as u32).to_le_bytes());
    out.extend((time_ns as u32).to_le_bytes());
}

fn option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    // No text of ours is longer than an option can be.
    let value = &value[..value.len().min(usize::from(u16::MAX))];
    out.extend(code.to_le_bytes());
    out.extend((value.len() as u16).to_le_bytes());
    padded(out, value);
}

fn end_of_options(out: &mut Vec<u8>) {
    out.extend([0; 4]);
}

fn padded(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(bytes);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// A block at the beginning of `bytes`: its kind, and all of it; none while it is not whole.
///
/// # Errors
/// When there can't be one.
pub fn first_block(bytes: &[u8]) -> Result<Option<(u32, &[u8])>, Malformed> {
    let (Some(kind), Some(length)) = (number(bytes, 0), number(bytes, 4)) else { return Ok(None) };
    let length = length as usize;
    if length < FRAME_BYTES || !length.is_multiple_of(4) || length > LONGEST_BLOCK {
        return Err(Malformed("a block has at least 12 bytes, and a multiple of four"));
    }
    Ok(bytes.get(..length).map(|block| (kind, block)))
}

/// What a block of statistics says was dropped; none of any other block.
pub fn dropped(block: &[u8]) -> Option<u64> {
    if number(block, 0)? != STATISTICS {
        return None;
    }
    // Behind interface and time, and before the length at the end.
    let mut options = block.get(20..block.len().checked_sub(4)?)?;
    loop {
        let code = u16::from_le_bytes(options.get(..2)?.try_into().ok()?);
        let length = usize::from(u16::from_le_bytes(options.get(2..4)?.try_into().ok()?));
        let value = options.get(4..4 + length)?;
        if code == DROPPED {
            return Some(u64::from_le_bytes(value.try_into().ok()?));
        }
        options = options.get((4 + length).next_multiple_of(4)..)?;
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_has_the_bytes_of_the_standard() {
        let mut out = Vec::new();
        let bytes = [0xaa, 0xbb, 0xcc, 0xdd, 0xee];
        let time_ns = 0x0102_0304_0506_0708;
        packet(&mut out, &Packet { interface: 1, time_ns, is_outbound: true, length: 9, bytes: &bytes, comment: "x" });
        let expected = [
            &[6, 0, 0, 0, 60, 0, 0, 0, 1, 0, 0, 0][..],
            &[4, 3, 2, 1, 8, 7, 6, 5, 5, 0, 0, 0, 9, 0, 0, 0],
            &[0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0, 0, 0],
            &[2, 0, 4, 0, 2, 0, 0, 0, 1, 0, 1, 0, b'x', 0, 0, 0, 0, 0, 0, 0],
            &[60, 0, 0, 0],
        ];
        assert_eq!(out, expected.concat());
    }

    #[test]
    fn sections_and_interfaces_have_theirs() {
        let mut out = Vec::new();
        section(&mut out, "abc");
        let expected = [
            &[0x0a, 0x0d, 0x0d, 0x0a, 40, 0, 0, 0, 0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0][..],
            &[0xff; 8],
            &[4, 0, 3, 0, b'a', b'b', b'c', 0, 0, 0, 0, 0, 40, 0, 0, 0],
        ];
        assert_eq!(out, expected.concat());
        out.clear();
        interface(&mut out, Link::Ip, "n", "dd", 2048);
        let expected = [
            &[1, 0, 0, 0, 48, 0, 0, 0, 101, 0, 0, 0, 0, 8, 0, 0, 2, 0, 1, 0, b'n', 0, 0, 0][..],
            &[3, 0, 2, 0, b'd', b'd', 0, 0, 9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0, 48, 0, 0, 0],
        ];
        assert_eq!(out, expected.concat());
    }

    #[test]
    fn blocks_are_told_apart_and_their_losses_read() {
        let mut out = Vec::new();
        section(&mut out, "test");
        statistics(&mut out, 0, 5, (1000, 7), "room for more");
        let (kind, first) = first_block(&out).unwrap().unwrap();
        assert_eq!((kind, dropped(first)), (SECTION_HEADER, None));
        let rest = &out[first.len()..];
        let (kind, second) = first_block(rest).unwrap().unwrap();
        assert_eq!((kind, dropped(second), second.len()), (STATISTICS, Some(7), rest.len()));
        for cut in 0..rest.len() {
            assert_eq!(first_block(&rest[..cut]), Ok(None), "{cut}");
            // Whatever is left of one, nothing panics.
            let _ = dropped(&rest[..cut]);
        }
        for wrong in [0u32, 8, 13, u32::MAX] {
            assert!(first_block(&[&6u32.to_le_bytes()[..], &wrong.to_le_bytes()].concat()).is_err(), "{wrong}");
        }
    }
}
