//! The headers in front of datagrams that do not leave through sockets of their own ports, and the checksum.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The room that is kept in front of each payload: IPv6 (RFC 8200, section 3) and UDP (RFC 768).
pub(super) const HEAD_ROOM: usize = IPV6_BYTES + UDP_BYTES;

pub(super) const IPV4_BYTES: usize = 20;
pub(super) const IPV6_BYTES: usize = 40;
pub(super) const UDP_BYTES: usize = 8;
pub(super) const UDP: u8 = 17;
/// The longest payload of UDP over IPv4; that over IPv6 could be 20 bytes longer.
pub(super) const LONGEST_PAYLOAD: usize = 65535 - IPV4_BYTES - UDP_BYTES;

/// What is the same for all datagrams of a port.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin {
    pub(super) port: u16,
    pub(super) tos: u8,
    /// The time to live, or the limit of hops.
    pub(super) hops: u8,
}

/// Writes the headers of IPv4 (RFC 791, section 3.1) and UDP to the end of the room; tells how long they are. Total
/// length, identification and the header's checksum are left to the system (raw(7)), or to [`complete_ipv4`].
pub(super) fn write_ipv4(packet: &mut [u8], origin: Origin, from: Ipv4Addr, to: Ipv4Addr, to_port: u16) -> usize {
    let length = (packet.len() - HEAD_ROOM + UDP_BYTES) as u16;
    let sum = sum(&from.octets()) + sum(&to.octets()) + pseudo(length);
    write_udp(packet, origin.port, to_port, length, sum);
    let header = &mut packet[HEAD_ROOM - UDP_BYTES - IPV4_BYTES..HEAD_ROOM - UDP_BYTES];
    header.fill(0);
    header[0] = 0x45;
    header[1] = origin.tos;
    header[8] = origin.hops;
    header[9] = UDP;
    header[12..16].copy_from_slice(&from.octets());
    header[16..20].copy_from_slice(&to.octets());
    IPV4_BYTES + UDP_BYTES
}

/// The same for IPv6; all is written here.
pub(super) fn write_ipv6(packet: &mut [u8], origin: Origin, from: Ipv6Addr, to: Ipv6Addr, to_port: u16) -> usize {
    let length = (packet.len() - HEAD_ROOM + UDP_BYTES) as u16;
    let sum = sum(&from.octets()) + sum(&to.octets()) + pseudo(length);
    write_udp(packet, origin.port, to_port, length, sum);
    let header = &mut packet[..IPV6_BYTES];
    let class = u32::from(origin.tos) << 20;
    header[0..4].copy_from_slice(&(6 << 28 | class).to_be_bytes());
    header[4..6].copy_from_slice(&length.to_be_bytes());
    header[6] = UDP;
    header[7] = origin.hops;
    header[8..24].copy_from_slice(&from.octets());
    header[24..40].copy_from_slice(&to.octets());
    HEAD_ROOM
}

/// Writes what [`write_ipv4`] leaves out; `packet` begins with the header of IPv4.
pub(super) fn complete_ipv4(packet: &mut [u8], identification: u16) {
    let length = packet.len() as u16;
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    packet[4..6].copy_from_slice(&identification.to_be_bytes());
    let checksum = !fold(sum(&packet[..IPV4_BYTES]));
    packet[10..12].copy_from_slice(&checksum.to_ne_bytes());
}

fn write_udp(packet: &mut [u8], from: u16, to: u16, length: u16, sum_of_addresses: u64) {
    let datagram = &mut packet[HEAD_ROOM - UDP_BYTES..];
    datagram[0..2].copy_from_slice(&from.to_be_bytes());
    datagram[2..4].copy_from_slice(&to.to_be_bytes());
    datagram[4..6].copy_from_slice(&length.to_be_bytes());
    datagram[6..8].fill(0);
    let checksum = match !fold(sum_of_addresses + sum(datagram)) {
        // Zero says that there is none.
        0 => u16::MAX,
        checksum => checksum,
    };
    datagram[6..8].copy_from_slice(&checksum.to_ne_bytes());
}

/// What the pseudo headers of both families hold besides addresses: protocol and length.
pub(super) fn pseudo(length: u16) -> u64 {
    let [high, low] = length.to_be_bytes();
    u64::from(u32::from_ne_bytes([0, UDP, high, low]))
}

/// The sum of RFC 1071 in the machine's order of bytes, not folded yet.
pub(super) fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<4>();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum::<u64>() + u64::from(u32::from_ne_bytes(last))
}

pub(super) fn fold(sum: u64) -> u16 {
    let mut sum = sum;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: Origin = Origin { port: 30_000, tos: 184, hops: 64 };

    /// The sum of RFC 1071 as it is written there, 16 bits at a time.
    fn plain_sum(bytes: &[u8]) -> u16 {
        let words = bytes.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0)));
        let sum = words.fold(0, |sum: u32, word| (sum + word) % 0xffff);
        sum as u16
    }

    fn packet(payload: &[u8]) -> Vec<u8> {
        [&[0xee; HEAD_ROOM][..], payload].concat()
    }

    #[test]
    fn an_ipv4_packet_is_complete() {
        let (from, to) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(198, 51, 100, 7));
        for length in [0, 1, 2, 3, 172, 1201, LONGEST_PAYLOAD] {
            let payload: Vec<u8> = (0..length).map(|index| (index * 7) as u8).collect();
            let mut packet = packet(&payload);
            let header = write_ipv4(&mut packet, ORIGIN, from, to, 40_000);
            let packet = &packet[HEAD_ROOM - header..];
            assert_eq!(packet[..12], [0x45, 184, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0]);
            assert_eq!((&packet[12..16], &packet[16..20]), (&from.octets()[..], &to.octets()[..]));
            let udp = (length as u16 + 8).to_be_bytes();
            assert_eq!(packet[20..26], [0x75, 0x30, 0x9c, 0x40, udp[0], udp[1]]);
            assert_eq!(packet[28..], payload);
            let covered = [&packet[12..20], &[0, 17], &udp, &packet[20..]].concat();
            assert_eq!(plain_sum(&covered), 0, "{length} bytes");
        }
    }

    #[test]
    fn what_the_system_would_write_can_be_written_here() {
        let mut packet = packet(&[7; 33]);
        let header = write_ipv4(&mut packet, ORIGIN, [192, 0, 2, 1].into(), [192, 0, 2, 2].into(), 40_000);
        let packet = &mut packet[HEAD_ROOM - header..];
        complete_ipv4(packet, 0x1234);
        assert_eq!(packet[2..6], [0, 61, 0x12, 0x34]);
        assert_eq!(plain_sum(&packet[..20]), 0);
    }

    #[test]
    fn an_ipv6_packet_is_complete() {
        let (from, to): (Ipv6Addr, Ipv6Addr) = ("2001:db8::1".parse().unwrap(), "2001:db8::fffe".parse().unwrap());
        let mut packet = packet(&[0xff; 5]);
        assert_eq!(write_ipv6(&mut packet, ORIGIN, from, to, 40_000), HEAD_ROOM);
        assert_eq!(packet[..8], [0x6b, 0x80, 0, 0, 0, 13, 17, 64]);
        assert_eq!((&packet[8..24], &packet[24..40]), (&from.octets()[..], &to.octets()[..]));
        let covered = [&packet[8..40], &[0, 0, 0, 13, 0, 0, 0, 17], &packet[40..]].concat();
        assert_eq!(plain_sum(&covered), 0);
    }

    #[test]
    fn a_checksum_of_zero_is_written_as_all_ones() {
        let (from, to) = (Ipv4Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED);
        let origin = Origin { port: 0, ..ORIGIN };
        // The payload makes the sum 0xffff: protocol 17, twice the length of 10, and this.
        let mut packet = packet(&(0xffff_u16 - 17 - 20).to_be_bytes());
        write_ipv4(&mut packet, origin, from, to, 0);
        assert_eq!(packet[HEAD_ROOM - 2..HEAD_ROOM], [0xff, 0xff]);
    }
}
