//! RTP packets (RFC 3550, section 5.1): a view that is checked once, and a writer.

use super::Malformed;

/// Bytes of the fixed part of the header.
pub const FIXED_HEADER_BYTES: usize = 12;

/// An RTP packet whose every length has been checked.
#[derive(Debug, Clone, Copy)]
pub struct Packet<'a> {
    bytes: &'a [u8],
    header_bytes: usize,
    payload_end: usize,
}

/// The fields of the fixed header that a relay reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub marker: bool,
    /// 0 to 127.
    pub payload_type: u8,
    pub sequence: u16,
    pub timestamp: u32,
    pub ssrc: u32,
}

/// A header extension (RFC 3550, section 5.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extension<'a> {
    pub profile: u16,
    pub data: &'a [u8],
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

impl<'a> Packet<'a> {
    /// Checks version, contributing sources, extension and padding against the length of `bytes`.
    pub fn parse(bytes: &'a [u8]) -> Result<Packet<'a>, Malformed> {
        let header_bytes = header_length(bytes)?;
        let padding = if bytes[0] & 0x20 == 0 { 0 } else { padding_length(bytes, header_bytes)? };
        Ok(Packet { bytes, header_bytes, payload_end: bytes.len() - padding })
    }

    /// The same without a look at padding, which is unreadable while the payload is encrypted (RFC 3711, section 3.1);
    /// the payload then ends where the packet does.
    pub fn parse_encrypted(bytes: &'a [u8]) -> Result<Packet<'a>, Malformed> {
        Ok(Packet { bytes, header_bytes: header_length(bytes)?, payload_end: bytes.len() })
    }

    pub fn header(&self) -> Header {
        Header::fixed_part(self.bytes)
    }

    /// The contributing sources, at most 15.
    pub fn contributing_sources(&self) -> impl Iterator<Item = u32> + 'a {
        let count = usize::from(self.bytes[0] & 0x0f);
        self.bytes[FIXED_HEADER_BYTES..][..count * 4].chunks_exact(4).map(|bytes| u32_at(bytes, 0))
    }

    pub fn extension(&self) -> Option<Extension<'a>> {
        if self.bytes[0] & 0x10 == 0 {
            return None;
        }
        let start = FIXED_HEADER_BYTES + usize::from(self.bytes[0] & 0x0f) * 4;
        Some(Extension { profile: u16_at(self.bytes, start), data: &self.bytes[start + 4..self.header_bytes] })
    }

    /// The payload without padding.
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[self.header_bytes..self.payload_end]
    }

    /// The number of bytes before the payload.
    pub fn header_bytes(&self) -> usize {
        self.header_bytes
    }
}

/// The length of fixed header, contributing sources and extension; at most the length of `bytes`.
fn header_length(bytes: &[u8]) -> Result<usize, Malformed> {
    if bytes.len() < FIXED_HEADER_BYTES {
        return Err(Malformed("RTP packet shorter than its fixed header"));
    }
    if bytes[0] >> 6 != 2 {
        return Err(Malformed("RTP version is not 2"));
    }
    let mut length = FIXED_HEADER_BYTES + usize::from(bytes[0] & 0x0f) * 4;
    if bytes[0] & 0x10 != 0 {
        if bytes.len() < length + 4 {
            return Err(Malformed("RTP packet ends before its header extension"));
        }
        length += 4 + usize::from(u16_at(bytes, length + 2)) * 4;
    }
    if bytes.len() < length {
        return Err(Malformed("RTP header longer than its packet"));
    }
    Ok(length)
}

fn padding_length(bytes: &[u8], header_bytes: usize) -> Result<usize, Malformed> {
    let padding = usize::from(bytes[bytes.len() - 1]);
    if padding == 0 {
        return Err(Malformed("RTP padding of no bytes"));
    }
    if padding > bytes.len() - header_bytes {
        return Err(Malformed("RTP padding longer than its payload"));
    }
    Ok(padding)
}

impl Header {
    /// Reads the header of a packet whose payload may be encrypted (RFC 3711, section 3.1), so that padding, which
    /// the last byte of the plain payload counts, is not checked.
    pub fn read(bytes: &[u8]) -> Result<Header, Malformed> {
        header_length(bytes)?;
        Ok(Header::fixed_part(bytes))
    }

    /// The fields of a header whose length has been checked.
    fn fixed_part(bytes: &[u8]) -> Header {
        Header {
            marker: bytes[1] & 0x80 != 0,
            payload_type: bytes[1] & 0x7f,
            sequence: u16_at(bytes, 2),
            timestamp: u32_at(bytes, 4),
            ssrc: u32_at(bytes, 8),
        }
    }

    /// The packet of this header and `payload`, without contributing sources, extension or padding.
    pub fn write(&self, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FIXED_HEADER_BYTES + payload.len());
        bytes.push(0x80);
        bytes.push(u8::from(self.marker) << 7 | (self.payload_type & 0x7f));
        bytes.extend_from_slice(&self.sequence.to_be_bytes());
        bytes.extend_from_slice(&self.timestamp.to_be_bytes());
        bytes.extend_from_slice(&self.ssrc.to_be_bytes());
        bytes.extend_from_slice(payload);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEADER: Header =
        Header { marker: true, payload_type: 8, sequence: 0xfffe, timestamp: 0x0102_0304, ssrc: 0xdead_beef };

    #[test]
    fn what_is_written_is_read() {
        let bytes = HEADER.write(b"payload");
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!(packet.header(), HEADER);
        assert_eq!(packet.payload(), b"payload");
        assert_eq!(packet.header_bytes(), 12);
        assert_eq!(packet.extension(), None);
        assert_eq!(packet.contributing_sources().count(), 0);
    }

    #[test]
    fn optional_parts_are_found() {
        let mut bytes = vec![0xb2, 8, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
        bytes.extend_from_slice(&[0, 0, 0, 7, 0, 0, 0, 9]);
        bytes.extend_from_slice(&[0xbe, 0xde, 0, 1, 0x10, 0xaa, 0, 0]);
        bytes.extend_from_slice(&[1, 2, 3, 0, 0, 3]);
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!(packet.contributing_sources().collect::<Vec<_>>(), [7, 9]);
        assert_eq!(packet.extension(), Some(Extension { profile: 0xbede, data: &[0x10, 0xaa, 0, 0] }));
        assert_eq!(packet.payload(), [1, 2, 3]);
    }

    #[test]
    fn broken_packets_name_the_rule() {
        let cases: [(&[u8], &str); 6] = [
            (&[], "RTP packet shorter than its fixed header"),
            (&[0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], "RTP version is not 2"),
            (&[0x8f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], "RTP header longer than its packet"),
            (&[0x90, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], "RTP packet ends before its header extension"),
            (&[0x90, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff], "RTP header longer than its packet"),
            (&[0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2], "RTP padding longer than its payload"),
        ];
        for (bytes, rule) in cases {
            assert_eq!(Packet::parse(bytes).unwrap_err(), Malformed(rule), "{bytes:?}");
        }
        let no_padding = [0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(Packet::parse(&no_padding).unwrap_err(), Malformed("RTP padding of no bytes"));
    }

    #[test]
    fn every_length_of_a_full_packet_is_safe() {
        let mut bytes = vec![0xbf, 0x88];
        bytes.extend((0..250).map(|byte: u8| byte));
        for first in [0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf] {
            bytes[0] = first;
            for length in 0..=bytes.len() {
                if let Ok(packet) = Packet::parse(&bytes[..length]) {
                    assert_eq!(Header::read(&bytes[..length]), Ok(packet.header()));
                    assert!(packet.header_bytes() + packet.payload().len() <= length);
                    packet.header();
                    packet.extension();
                    packet.contributing_sources().count();
                }
            }
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(packet) = Packet::parse(&bytes) {
                prop_assert!(packet.header_bytes() >= FIXED_HEADER_BYTES);
                prop_assert!(packet.header_bytes() + packet.payload().len() <= bytes.len());
                packet.header();
                packet.extension();
                packet.contributing_sources().count();
            }
        }
    }
}
