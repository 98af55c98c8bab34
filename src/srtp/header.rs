//! What SRTP reads of a packet: who sent it, which one it is, and where encryption begins.

use super::Error;
use crate::wire::rtp::{FIXED_HEADER_BYTES, Header};

/// The bytes of an RTCP packet that are never encrypted (RFC 3711, section 3.4).
pub(super) const RTCP_HEADER_BYTES: usize = 8;

/// The header of an RTP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RtpHeader {
    pub(super) ssrc: u32,
    pub(super) sequence: u16,
    /// With contributing sources and extension; at most the length of the packet.
    pub(super) bytes: usize,
}

/// Reads the header of an RTP packet without what SRTP appends.
#[inline]
pub(super) fn rtp(packet: &[u8]) -> Result<RtpHeader, Error> {
    if packet.len() < FIXED_HEADER_BYTES {
        return Err(Error::TooShort);
    }
    let header = Header::read(packet).map_err(|_| Error::Malformed)?;
    let mut bytes = FIXED_HEADER_BYTES + usize::from(packet[0] & 0x0f) * 4;
    if packet[0] & 0x10 != 0 {
        bytes += 4 + usize::from(u16::from_be_bytes([packet[bytes + 2], packet[bytes + 3]])) * 4;
    }
    Ok(RtpHeader { ssrc: header.ssrc, sequence: header.sequence, bytes })
}

/// Reads the SSRC of the sender of a compound RTCP packet without what SRTCP appends.
#[inline]
pub(super) fn rtcp(packet: &[u8]) -> Result<u32, Error> {
    match packet {
        [first, _, _, _, a, b, c, d, ..] if first >> 6 == 2 => Ok(u32::from_be_bytes([*a, *b, *c, *d])),
        [_, _, _, _, _, _, _, _, ..] => Err(Error::Malformed),
        _ => Err(Error::TooShort),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_ends_where_the_view_says() {
        let mut bytes = [0x07; 120];
        for first in 0..=255 {
            for words in [0, 1, 7, 40] {
                bytes[0] = first;
                let extension = 12 + usize::from(first & 0x0f) * 4;
                bytes[extension + 2..extension + 4].copy_from_slice(&u16::to_be_bytes(words));
                // Padding is none of our business: the payload is encrypted.
                bytes[119] = 1;
                let expected = crate::wire::rtp::Packet::parse(&bytes).ok().map(|packet| packet.header_bytes());
                assert_eq!(rtp(&bytes).ok().map(|header| header.bytes), expected, "{first:x} {words}");
            }
        }
        assert_eq!(rtp(&bytes[..11]), Err(Error::TooShort));
    }

    #[test]
    fn rtcp_has_a_version_and_a_sender() {
        assert_eq!(rtcp(&[0x80, 200, 0, 1, 1, 2, 3, 4]), Ok(0x0102_0304));
        assert_eq!(rtcp(&[0x80, 200, 0, 1, 1, 2, 3]), Err(Error::TooShort));
        assert_eq!(rtcp(&[0x40, 200, 0, 1, 1, 2, 3, 4, 5]), Err(Error::Malformed));
    }
}
