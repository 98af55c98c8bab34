//! HEP version 3, the encapsulation of Homer: a packet with when, where and for which call it was seen. Written only; layout
//! as in the HEP/EEP reference of sipcapture (revision 12).

use std::net::{IpAddr, SocketAddr};

/// What a packet is, as far as it is known here.
pub mod protocol {
    /// RTCP, as JSON.
    pub const RTCP_JSON: u8 = 5;
}

/// What is told of a packet.
#[derive(Debug, Clone, Copy)]
pub struct Packet<'a> {
    pub from: SocketAddr,
    pub to: SocketAddr,
    /// Unix time.
    pub seconds: u64,
    pub microseconds: u32,
    /// Of the payload.
    pub protocol: u8,
    /// Names whoever captured it.
    pub capture_id: u32,
    /// Joins what belongs together: the call-id.
    pub correlation_id: &'a str,
    pub payload: &'a [u8],
}

const MAGIC: &[u8; 4] = b"HEP3";
const HEADER_BYTES: usize = 6;
const UDP: u8 = 17;

/// Types of chunks, of the generic vendor.
mod chunk {
    pub(super) const FAMILY: u16 = 1;
    pub(super) const TRANSPORT: u16 = 2;
    pub(super) const IP4_SOURCE: u16 = 3;
    pub(super) const IP4_DESTINATION: u16 = 4;
    pub(super) const IP6_SOURCE: u16 = 5;
    pub(super) const IP6_DESTINATION: u16 = 6;
    pub(super) const SOURCE_PORT: u16 = 7;
    pub(super) const DESTINATION_PORT: u16 = 8;
    pub(super) const SECONDS: u16 = 9;
    pub(super) const MICROSECONDS: u16 = 10;
    pub(super) const PROTOCOL: u16 = 11;
    pub(super) const CAPTURE_ID: u16 = 12;
    pub(super) const PAYLOAD: u16 = 15;
    pub(super) const CORRELATION_ID: u16 = 17;
}

/// The packet in HEP; none when it is longer than lengths can tell.
pub fn encode(packet: &Packet) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(packet.payload.len() + packet.correlation_id.len() + 128);
    out.extend(MAGIC);
    out.extend([0, 0]);
    let family = if packet.from.is_ipv4() { family_number::IP4 } else { family_number::IP6 };
    put(&mut out, chunk::FAMILY, &[family])?;
    put(&mut out, chunk::TRANSPORT, &[UDP])?;
    put_address(&mut out, packet.from.ip(), (chunk::IP4_SOURCE, chunk::IP6_SOURCE))?;
    put_address(&mut out, packet.to.ip(), (chunk::IP4_DESTINATION, chunk::IP6_DESTINATION))?;
    put(&mut out, chunk::SOURCE_PORT, &packet.from.port().to_be_bytes())?;
    put(&mut out, chunk::DESTINATION_PORT, &packet.to.port().to_be_bytes())?;
    // 32 bits are enough until 2106.
    put(&mut out, chunk::SECONDS, &(packet.seconds as u32).to_be_bytes())?;
    put(&mut out, chunk::MICROSECONDS, &packet.microseconds.to_be_bytes())?;
    put(&mut out, chunk::PROTOCOL, &[packet.protocol])?;
    put(&mut out, chunk::CAPTURE_ID, &packet.capture_id.to_be_bytes())?;
    if !packet.correlation_id.is_empty() {
        put(&mut out, chunk::CORRELATION_ID, packet.correlation_id.as_bytes())?;
    }
    put(&mut out, chunk::PAYLOAD, packet.payload)?;
    let length = u16::try_from(out.len()).ok()?;
    out[4..HEADER_BYTES].copy_from_slice(&length.to_be_bytes());
    Some(out)
}

/// Families of addresses as HEP numbers them, which is Linux's way.
mod family_number {
    pub(super) const IP4: u8 = 2;
    pub(super) const IP6: u8 = 10;
}

fn put_address(out: &mut Vec<u8>, address: IpAddr, (ip4, ip6): (u16, u16)) -> Option<()> {
    match address {
        IpAddr::V4(address) => put(out, ip4, &address.octets()),
        IpAddr::V6(address) => put(out, ip6, &address.octets()),
    }
}

/// Vendor, type, length with this header, content.
fn put(out: &mut Vec<u8>, kind: u16, content: &[u8]) -> Option<()> {
    let length = u16::try_from(content.len() + HEADER_BYTES).ok()?;
    out.extend([0, 0]);
    out.extend(kind.to_be_bytes());
    out.extend(length.to_be_bytes());
    out.extend(content);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(payload: &[u8]) -> Packet<'_> {
        Packet {
            from: "192.0.2.1:30001".parse().unwrap(),
            to: "192.0.2.2:7001".parse().unwrap(),
            seconds: 0x0102_0304,
            microseconds: 5,
            protocol: protocol::RTCP_JSON,
            capture_id: 2001,
            correlation_id: "a@b",
            payload,
        }
    }

    #[test]
    fn chunks_follow_each_other() {
        let bytes = encode(&packet(b"{}")).unwrap();
        assert_eq!(bytes[..6], [b'H', b'E', b'P', b'3', 0, bytes.len() as u8]);
        let mut rest = &bytes[6..];
        let mut chunks = Vec::new();
        while let [0, 0, high, low, _, length, ..] = *rest {
            let (chunk, after) = rest.split_at(usize::from(length));
            chunks.push((u16::from_be_bytes([high, low]), chunk[6..].to_vec()));
            rest = after;
        }
        assert!(rest.is_empty());
        let expected: [(u16, &[u8]); 12] = [
            (1, &[2]),
            (2, &[17]),
            (3, &[192, 0, 2, 1]),
            (4, &[192, 0, 2, 2]),
            (7, &[0x75, 0x31]),
            (8, &[0x1b, 0x59]),
            (9, &[1, 2, 3, 4]),
            (10, &[0, 0, 0, 5]),
            (11, &[5]),
            (12, &[0, 0, 7, 0xd1]),
            (17, b"a@b"),
            (15, b"{}"),
        ];
        assert_eq!(chunks, expected.map(|(kind, content)| (kind, content.to_vec())));
    }

    #[test]
    fn what_is_too_long_is_not_written() {
        assert!(encode(&packet(&[0; 65_000])).is_some());
        assert!(encode(&packet(&[0; 65_535])).is_none());
        let six = Packet { from: "[::1]:1".parse().unwrap(), to: "[::2]:2".parse().unwrap(), ..packet(b"x") };
        let bytes = encode(&six).unwrap();
        assert_eq!(bytes[6..13], [0, 0, 0, 1, 0, 7, 10]);
    }
}
