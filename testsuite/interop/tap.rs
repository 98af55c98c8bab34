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
    thread: JoinHandle<Vec<(u16, Vec<u8>)>>,
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
        Ok(self.finish_by_port()?.into_iter().map(|(_, payload)| payload).collect())
    }

    /// The same with the port that each datagram went to.
    pub fn finish_by_port(self) -> Result<Vec<(u16, Vec<u8>)>, String> {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| "the packet tap panicked".into())
    }
}

fn collect(socket: &mut File, address: IpAddr, over: &AtomicBool) -> Vec<(u16, Vec<u8>)> {
    let mut found = Vec::new();
    let mut buffer = [0; 4096];
    while !over.load(Ordering::Relaxed) {
        // A read that times out finds nothing; the flag is looked at again.
        let Ok(size) = socket.read(&mut buffer) else { continue };
        found.extend(datagram_to(&buffer[..size], address));
    }
    found
}

/// The port and the payload of an IP packet, when it is UDP to `address`.
fn datagram_to(packet: &[u8], address: IpAddr) -> Option<(u16, Vec<u8>)> {
    const UDP: u8 = 17;
    let (header, protocol, to): (usize, u8, IpAddr) = match packet.first()? >> 4 {
        4 => (usize::from(packet[0] & 15) * 4, *packet.get(9)?, <[u8; 4]>::try_from(packet.get(16..20)?).ok()?.into()),
        6 => (40, *packet.get(6)?, <[u8; 16]>::try_from(packet.get(24..40)?).ok()?.into()),
        _ => return None,
    };
    let udp = packet.get(header..)?;
    let length = usize::from(u16::from_be_bytes([*udp.get(4)?, *udp.get(5)?]));
    let port = u16::from_be_bytes([udp[2], udp[3]]);
    if protocol == UDP && to == address { Some((port, udp.get(8..length)?.to_vec())) } else { None }
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
