//! Counts RTP where it leaves the wire, whoever has bound the port, and reads what SIPp plays.

use millrace_testsuite::netns::Namespace;
use millrace_testsuite::system;
use std::fs::{self, File};
use std::io::Read;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// Collects the UDP payloads that reach one address, from its start to its end.
pub struct Tap {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Tapped>,
}

/// What a tap has seen.
#[derive(Default)]
pub struct Tapped {
    /// The payload of each datagram, in order of arrival.
    pub payloads: Vec<Vec<u8>>,
    /// Datagrams whose checksum covers the pseudo header alone: the rest is left to a device, and a virtual cable has none.
    pub partial_checksums: usize,
    /// Datagrams whose checksum is neither that nor right.
    pub wrong_checksums: usize,
}

impl Tap {
    /// Listens in `namespace` for datagrams to `address`.
    pub fn start(namespace: &Namespace, address: IpAddr) -> Result<Tap, String> {
        let socket = namespace.within(system::packet_tap).and_then(|socket| socket);
        let mut socket = socket.map_err(|error| format!("packet tap: {error}"))?;
        let over = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&over);
        let thread = std::thread::spawn(move || collect(&mut socket, address, &flag));
        Ok(Tap { over, thread })
    }

    /// Ends the collection; the payload of each datagram, in order of arrival.
    pub fn finish(self) -> Result<Vec<Vec<u8>>, String> {
        self.finish_with_checksums().map(|tapped| tapped.payloads)
    }

    /// The same, with what the checksums were worth.
    pub fn finish_with_checksums(self) -> Result<Tapped, String> {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| "the packet tap panicked".into())
    }
}

fn collect(socket: &mut File, address: IpAddr, over: &AtomicBool) -> Tapped {
    let mut found = Tapped::default();
    let mut buffer = [0; 4096];
    while !over.load(Ordering::Relaxed) {
        // A read that times out finds nothing; the flag is looked at again.
        let Ok(size) = socket.read(&mut buffer) else { continue };
        let Some((pseudo, udp)) = datagram_to(&buffer[..size], address) else { continue };
        // Ethernet pads short frames.
        let length = usize::from(u16::from_be_bytes([udp[4], udp[5]])).clamp(8, udp.len());
        found.payloads.push(udp[8..length].to_vec());
        let is_right = udp[6..8] == [0, 0] || sum(&[pseudo, &udp[4..6], &[0, 17], &udp[..length]]) == 0xffff;
        let is_partial = udp[6..8] == sum(&[pseudo, &udp[4..6], &[0, 17]]).to_be_bytes();
        found.partial_checksums += usize::from(!is_right && is_partial);
        found.wrong_checksums += usize::from(!is_right && !is_partial);
    }
    found
}

/// The addresses of an IP packet, and its datagram with what is behind it, when it is whole and UDP to `address`.
fn datagram_to(packet: &[u8], address: IpAddr) -> Option<(&[u8], &[u8])> {
    const UDP: u8 = 17;
    let (header, protocol, addresses, to): (usize, u8, &[u8], IpAddr) = match packet.first()? >> 4 {
        4 => {
            let to = <[u8; 4]>::try_from(packet.get(16..20)?).ok()?;
            (usize::from(packet[0] & 15) * 4, *packet.get(9)?, packet.get(12..20)?, to.into())
        }
        6 => {
            let to = <[u8; 16]>::try_from(packet.get(24..40)?).ok()?;
            (40, *packet.get(6)?, packet.get(8..40)?, to.into())
        }
        _ => return None,
    };
    let udp = packet.get(header..)?;
    let length = usize::from(u16::from_be_bytes([*udp.get(4)?, *udp.get(5)?]));
    let is_whole = (8..=udp.len()).contains(&length);
    (protocol == UDP && to == address && is_whole).then_some((addresses, udp))
}

/// The sum of 16-bit words in ones' complement (RFC 1071). Only the last part may be of odd length.
fn sum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let sum: u32 = words.map(|word| u32::from(word[0]) << 8 | word.get(1).copied().map_or(0, u32::from)).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

/// The RTP packets of a little-endian pcap file with Ethernet frames and IPv4 without options.
pub fn recorded_packets(path: &str) -> Result<Vec<Vec<u8>>, String> {
    const FILE_HEADER: usize = 24;
    const RECORD_HEADER: usize = 16;
    const RTP_AT: usize = 14 + 20 + 8;
    let bytes = fs::read(path).map_err(|error| format!("{path}: {error}"))?;
    let mut rest = bytes.get(FILE_HEADER..).ok_or("a pcap file without header")?;
    let mut packets = Vec::new();
    while let Some(length) = rest.get(8..12) {
        let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]) as usize;
        let frame = rest.get(RECORD_HEADER..RECORD_HEADER + length).ok_or("a pcap file that ends too early")?;
        packets.push(frame.get(RTP_AT..).ok_or("a frame without RTP")?.to_vec());
        rest = &rest[RECORD_HEADER + length..];
    }
    Ok(packets)
}
