//! Frames of Ethernet with datagrams of UDP in them.

use crate::fastpath::layout::NextHop;
use crate::io::headers::{IPV4_BYTES, IPV6_BYTES, UDP, UDP_BYTES, fold, pseudo, sum};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;

const ETHERNET_BYTES: usize = 14;
const TAG_BYTES: usize = 4;
const TYPE_VLAN: [u8; 2] = [0x81, 0x00];
const TYPE_IPV4: [u8; 2] = [0x08, 0x00];
const TYPE_IPV6: [u8; 2] = [0x86, 0xdd];

/// A datagram in a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) from: SocketAddr,
    pub(super) local: SocketAddr,
    pub(super) payload: Range<usize>,
}

/// The datagram in a frame that a program has let through: with at most one tag of a VLAN, without options. None if it is
/// not whole or its checksum is wrong, as the host would drop it. From a virtual device the checksum may be one that is to
/// be completed by hardware: the sum of the pseudo header alone.
pub(super) fn read(frame: &[u8], may_be_partial: bool) -> Option<Read> {
    let tag = if frame.get(12..14)? == TYPE_VLAN { TAG_BYTES } else { 0 };
    let network = ETHERNET_BYTES + tag;
    let (from, to, header) = match frame.get(network - 2..network)?.try_into().ok()? {
        TYPE_IPV4 => ipv4(frame.get(network..)?)?,
        TYPE_IPV6 => ipv6(frame.get(network..)?)?,
        _ => return None,
    };
    let start = network + header;
    let udp = frame.get(start..)?;
    let number = |at: usize| Some(u16::from_be_bytes(udp.get(at..at + 2)?.try_into().ok()?));
    let (source, destination, length) = (number(0)?, number(2)?, number(4)?);
    let datagram = udp.get(..usize::from(length)).filter(|datagram| datagram.len() >= UDP_BYTES)?;
    if !is_intact(datagram, from, to, may_be_partial) {
        return None;
    }
    Some(Read {
        from: SocketAddr::new(from, source),
        local: SocketAddr::new(to, destination),
        payload: start + UDP_BYTES..start + datagram.len(),
    })
}

fn ipv4(packet: &[u8]) -> Option<(IpAddr, IpAddr, usize)> {
    let header: &[u8; IPV4_BYTES] = packet.first_chunk()?;
    let address = |at: usize| IpAddr::V4(Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]));
    (header[0] == 0x45 && header[9] == UDP).then(|| (address(12), address(16), IPV4_BYTES))
}

fn ipv6(packet: &[u8]) -> Option<(IpAddr, IpAddr, usize)> {
    let header: &[u8; IPV6_BYTES] = packet.first_chunk()?;
    let address = |at: usize| {
        let octets: [u8; 16] = header[at..at + 16].try_into().ok()?;
        Some(IpAddr::V6(Ipv6Addr::from(octets)))
    };
    (header[6] == UDP).then_some((address(8)?, address(24)?, IPV6_BYTES))
}

fn is_intact(datagram: &[u8], from: IpAddr, to: IpAddr, may_be_partial: bool) -> bool {
    let checksum = [datagram[6], datagram[7]];
    if checksum == [0, 0] {
        return from.is_ipv4();
    }
    let sum_of = |address| match address {
        IpAddr::V4(address) => sum(&address.octets()),
        IpAddr::V6(address) => sum(&address.octets()),
    };
    let header = sum_of(from) + sum_of(to) + pseudo(datagram.len() as u16);
    fold(header + sum(datagram)) == u16::MAX || (may_be_partial && fold(header) == u16::from_ne_bytes(checksum))
}

/// Writes a packet of IP into a frame for a next hop; the length of the frame, or none if it has no room.
pub(super) fn write(frame: &mut [u8], hop: &NextHop, packet: &[u8]) -> Option<usize> {
    let network = ETHERNET_BYTES + if hop.vlan != 0 { TAG_BYTES } else { 0 };
    let length = network + packet.len();
    let frame = frame.get_mut(..length)?;
    frame[..6].copy_from_slice(&hop.destination);
    frame[6..12].copy_from_slice(&hop.source);
    if hop.vlan != 0 {
        frame[12..14].copy_from_slice(&TYPE_VLAN);
        frame[14..16].copy_from_slice(&hop.vlan.to_be_bytes());
    }
    let kind = if packet.first()? >> 4 == 4 { TYPE_IPV4 } else { TYPE_IPV6 };
    frame[network - 2..network].copy_from_slice(&kind);
    frame[network..].copy_from_slice(packet);
    Some(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::headers::{HEAD_ROOM, Origin, complete_ipv4, write_ipv4, write_ipv6};

    const ORIGIN: Origin = Origin { port: 30_000, tos: 0, hops: 64 };

    fn hop(vlan: u16) -> NextHop {
        NextHop { interface: 2, mtu: 1500, vlan, source: [2; 6], destination: [4; 6] }
    }

    fn frame(is_ipv4: bool, vlan: u16) -> Vec<u8> {
        let mut packet = [&[0; HEAD_ROOM][..], b"an odd one"].concat();
        let header = match is_ipv4 {
            true => write_ipv4(&mut packet, ORIGIN, [192, 0, 2, 1].into(), [192, 0, 2, 9].into(), 4000),
            false => {
                let [from, to] = ["2001:db8::1", "2001:db8::9"].map(|text| text.parse().unwrap());
                write_ipv6(&mut packet, ORIGIN, from, to, 4000)
            }
        };
        let packet = &mut packet[HEAD_ROOM - header..];
        if is_ipv4 {
            complete_ipv4(packet, 7);
        }
        let mut frame = vec![0; FRAME];
        let length = write(&mut frame, &hop(vlan), packet).unwrap();
        frame.truncate(length);
        frame
    }

    const FRAME: usize = 128;

    #[test]
    fn what_is_written_can_be_read() {
        for (is_ipv4, vlan) in [(true, 0), (true, 100), (false, 0), (false, 7)] {
            let mut frame = frame(is_ipv4, vlan);
            let found = read(&frame, false).unwrap();
            let (from, to) = match is_ipv4 {
                true => ("192.0.2.1:30000", "192.0.2.9:4000"),
                false => ("[2001:db8::1]:30000", "[2001:db8::9]:4000"),
            };
            assert_eq!((found.from, found.local), (from.parse().unwrap(), to.parse().unwrap()));
            assert_eq!(&frame[found.payload.clone()], b"an odd one");
            // Ethernet pads short frames.
            frame.extend([0; 6]);
            assert_eq!(read(&frame, false).unwrap().payload, found.payload);
        }
    }

    #[test]
    fn no_cut_frame_and_no_wrong_bit_passes() {
        for is_ipv4 in [true, false] {
            let whole = frame(is_ipv4, 0);
            for length in 0..whole.len() {
                assert_eq!(read(&whole[..length], true), None, "{length} bytes");
            }
            let udp = ETHERNET_BYTES + if is_ipv4 { IPV4_BYTES } else { IPV6_BYTES };
            for at in udp..whole.len() {
                let mut frame = whole.clone();
                frame[at] ^= 0x10;
                assert_eq!(read(&frame, false), None, "byte {at}");
            }
        }
    }

    #[test]
    fn a_checksum_that_is_not_complete_passes_from_virtual_devices() {
        let mut frame = frame(true, 0);
        let at = ETHERNET_BYTES + IPV4_BYTES + 6;
        let header = sum(&[192, 0, 2, 1]) + sum(&[192, 0, 2, 9]) + pseudo(18);
        frame[at..at + 2].copy_from_slice(&fold(header).to_ne_bytes());
        assert_eq!(read(&frame, false), None);
        assert!(read(&frame, true).is_some());
        frame[at..at + 2].fill(0);
        assert!(read(&frame, false).is_some());
    }

    #[test]
    fn what_is_too_long_is_not_written() {
        let packet = [0x45; 40];
        assert_eq!(write(&mut [0; 54], &hop(0), &packet), Some(54));
        assert_eq!(write(&mut [0; 54], &hop(1), &packet), None);
        assert_eq!(write(&mut [0; 53], &hop(0), &packet), None);
    }
}
