//! Headers of IPv4 (RFC 791, section 3.1), IPv6 (RFC 8200, section 3) and UDP (RFC 768), made up for a datagram that was
//! taken from a socket or given to one.

use std::net::{IpAddr, SocketAddr};

const UDP: u8 = 17;
const UDP_BYTES: usize = 8;
const IP4_BYTES: u16 = 20;
const HOPS: u8 = 64;

/// The longest headers.
pub const LONGEST: usize = 48;

/// Appends the headers in front of a payload of `length` bytes, of which `payload` is what is kept: where that is not all,
/// there is no checksum. A `from` and `to` of two families have no headers.
pub fn write(out: &mut Vec<u8>, from: SocketAddr, to: SocketAddr, payload: &[u8], length: usize) {
    let is_whole = payload.len() == length;
    let length = (length + UDP_BYTES) as u16;
    let mut udp = [0; UDP_BYTES];
    udp[0..2].copy_from_slice(&from.port().to_be_bytes());
    udp[2..4].copy_from_slice(&to.port().to_be_bytes());
    udp[4..6].copy_from_slice(&length.to_be_bytes());
    let pseudo = u64::from(UDP) + u64::from(length);
    let start = out.len();
    match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let mut ip = [0x45, 0, 0, 0, 0, 0, 0, 0, HOPS, UDP, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            ip[2..4].copy_from_slice(&(length + IP4_BYTES).to_be_bytes());
            ip[12..16].copy_from_slice(&from.octets());
            ip[16..20].copy_from_slice(&to.octets());
            let checksum = !fold(sum(&ip));
            ip[10..12].copy_from_slice(&checksum.to_be_bytes());
            out.extend(ip);
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            out.extend([0x60, 0, 0, 0]);
            out.extend(length.to_be_bytes());
            out.extend([UDP, HOPS]);
            out.extend(from.octets());
            out.extend(to.octets());
        }
        _ => return,
    }
    let addresses = &out[start + if from.is_ipv4() { 12 } else { 8 }..];
    let checksum = match !fold(pseudo + sum(addresses) + sum(&udp) + sum(payload)) {
        // Zero says that there is none.
        0 => u16::MAX,
        checksum => checksum,
    };
    if is_whole {
        udp[6..8].copy_from_slice(&checksum.to_be_bytes());
    }
    out.extend(udp);
}

/// The sum of RFC 1071, not folded yet.
fn sum(bytes: &[u8]) -> u64 {
    let words = bytes.chunks(2).map(|word| u64::from(word[0]) << 8 | u64::from(*word.get(1).unwrap_or(&0)));
    words.sum()
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_known_datagram_over_ip4() {
        let mut out = Vec::new();
        write(&mut out, address("192.0.2.1:1000"), address("192.0.2.2:2000"), &[1, 2, 3], 3);
        assert_eq!(out[..10], [0x45, 0, 0, 31, 0, 0, 0, 0, 64, 17]);
        assert_eq!(out[12..26], [192, 0, 2, 1, 192, 0, 2, 2, 3, 232, 7, 208, 0, 11]);
        // With its checksum, a header adds up to all ones; so does a datagram with its pseudo header.
        assert_eq!(fold(sum(&out[..20])), 0xffff);
        assert_eq!(fold(17 + 11 + sum(&out[12..]) + sum(&[1, 2, 3])), 0xffff);
        out.clear();
        write(&mut out, address("192.0.2.1:1000"), address("192.0.2.2:2000"), &[1, 2, 3], 9);
        assert_eq!((out[3], out[25], &out[26..]), (37, 17, &[0, 0][..]));
    }

    #[test]
    fn and_over_ip6() {
        let mut out = Vec::new();
        write(&mut out, address("[2001:db8::1]:1000"), address("[2001:db8::2]:2000"), &[9; 20], 20);
        assert_eq!((out.len(), &out[..8]), (48, &[0x60, 0, 0, 0, 0, 28, 17, 64][..]));
        assert_eq!(fold(17 + 28 + sum(&out[8..]) + sum(&[9; 20])), 0xffff);
        out.clear();
        write(&mut out, address("[2001:db8::1]:1000"), address("192.0.2.2:2000"), &[], 0);
        assert!(out.is_empty());
    }
}
