//! RTP endpoints: one side speaks a known stream, the other holds what arrives against it.

use crate::histogram::Histogram;
use crate::system::{interrupted, now_ns};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Bytes of an RTP header without extensions (RFC 3550, section 5.1).
pub const HEADER_BYTES: usize = 12;

/// What one side says: every packet is known beforehand, the moment of sending is noted when it happens.
pub struct Stream {
    pub ssrc: u32,
    pub payload_type: u8,
    pub first_sequence: u16,
    pub first_timestamp: u32,
    /// From packet to packet.
    pub interval: Duration,
    /// Timestamp units from packet to packet.
    pub samples: u32,
    pub frames: Vec<Vec<u8>>,
    /// When each packet was sent, in `now_ns`; 0 before.
    sent_at_ns: Vec<AtomicU64>,
}

impl Stream {
    /// A stream of G.711 frames of 20 ms.
    pub fn new(ssrc: u32, payload_type: u8, frames: Vec<Vec<u8>>) -> Stream {
        let sent_at_ns = frames.iter().map(|_| AtomicU64::new(0)).collect();
        Stream {
            ssrc,
            payload_type,
            first_sequence: ssrc as u16,
            first_timestamp: ssrc.wrapping_mul(0x9e37),
            interval: Duration::from_millis(20),
            samples: 160,
            frames,
            sent_at_ns,
        }
    }

    /// A stream of `packets` frames of 160 bytes, each different from the others.
    pub fn counting(ssrc: u32, payload_type: u8, packets: usize) -> Stream {
        let frame = |index: usize| (0..160).map(|byte| (index * 31 + byte * 7 + ssrc as usize) as u8).collect();
        Stream::new(ssrc, payload_type, (0..packets).map(frame).collect())
    }

    /// How many packets the stream has.
    pub fn packets(&self) -> usize {
        self.frames.len()
    }

    /// The bytes of packet `index`.
    pub fn packet(&self, index: usize) -> Vec<u8> {
        let marker = if index == 0 { 0x80 } else { 0 };
        let sequence = self.first_sequence.wrapping_add(index as u16);
        let timestamp = self.first_timestamp.wrapping_add(self.samples * index as u32);
        let mut packet = vec![0x80, marker | self.payload_type];
        packet.extend(sequence.to_be_bytes());
        packet.extend(timestamp.to_be_bytes());
        packet.extend(self.ssrc.to_be_bytes());
        packet.extend(&self.frames[index]);
        packet
    }

    /// Sends everything at its pace; stops early when the user interrupts. A full socket buffer counts as lost.
    pub fn send(&self, socket: &UdpSocket, to: SocketAddr) -> io::Result<()> {
        let start = now_ns();
        for index in 0..self.packets() {
            let due = start + self.interval.as_nanos() as u64 * index as u64;
            std::thread::sleep(Duration::from_nanos(due.saturating_sub(now_ns())));
            if interrupted() {
                return Ok(());
            }
            let packet = self.packet(index);
            self.sent_at_ns[index].store(now_ns().max(1), Ordering::Relaxed);
            match socket.send_to(&packet, to) {
                Err(error) if error.kind() != io::ErrorKind::ConnectionRefused => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// What has arrived of a stream.
pub struct Reception<'a> {
    stream: &'a Stream,
    seen: Vec<bool>,
    /// Different packets of the stream that arrived as they were sent.
    pub received: usize,
    /// Packets that arrived more than once.
    pub duplicates: usize,
    /// Packets of the stream whose header or payload differs from what was sent.
    pub damaged: usize,
    /// Datagrams that are no packet of the stream.
    pub strangers: usize,
    /// Packets that arrived after one with a higher number.
    pub reordered: usize,
    /// From sending to receiving.
    pub delays: Histogram,
    /// Interarrival jitter in nanoseconds (RFC 3550, section 6.4.1).
    pub jitter_ns: f64,
    highest: Option<usize>,
    last_transit_ns: Option<i64>,
}

impl<'a> Reception<'a> {
    /// Nothing so far of `stream`.
    pub fn of(stream: &'a Stream) -> Reception<'a> {
        Reception {
            stream,
            seen: vec![false; stream.packets()],
            received: 0,
            duplicates: 0,
            damaged: 0,
            strangers: 0,
            reordered: 0,
            delays: Histogram::default(),
            jitter_ns: 0.0,
            highest: None,
            last_transit_ns: None,
        }
    }

    /// How many packets are missing.
    pub fn missing(&self) -> usize {
        self.seen.iter().filter(|seen| !**seen).count()
    }

    /// Whether every packet arrived once, unchanged, and nothing else did.
    pub fn is_perfect(&self) -> bool {
        self.missing() + self.duplicates + self.damaged + self.strangers == 0
    }

    /// How many packets are missing that were sent longer than `patience` before `now_ns`.
    pub fn overdue(&self, now_ns: u64, patience: Duration) -> usize {
        let latest_ns = now_ns.saturating_sub(patience.as_nanos() as u64);
        let is_overdue =
            |(seen, at): &(&bool, &AtomicU64)| !**seen && (1..latest_ns).contains(&at.load(Ordering::Relaxed));
        self.seen.iter().zip(&self.stream.sent_at_ns).filter(is_overdue).count()
    }

    /// Takes one datagram that arrived at `at_ns`.
    pub fn take(&mut self, datagram: &[u8], at_ns: u64) {
        let Some(index) = self.index_of(datagram) else {
            self.strangers += 1;
            return;
        };
        if datagram != self.stream.packet(index) {
            self.damaged += 1;
        } else if std::mem::replace(&mut self.seen[index], true) {
            self.duplicates += 1;
        } else {
            self.received += 1;
            self.time(index, at_ns);
        }
    }

    /// The place in the stream that the sequence number says, for datagrams of its source.
    pub fn index_of(&self, datagram: &[u8]) -> Option<usize> {
        let header = datagram.first_chunk::<HEADER_BYTES>()?;
        let sequence = u16::from_be_bytes([header[2], header[3]]);
        let ssrc = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
        let index = usize::from(sequence.wrapping_sub(self.stream.first_sequence));
        (ssrc == self.stream.ssrc && index < self.stream.packets()).then_some(index)
    }

    fn time(&mut self, index: usize, at_ns: u64) {
        let sent_ns = self.stream.sent_at_ns[index].load(Ordering::Relaxed);
        self.delays.add(at_ns.saturating_sub(sent_ns));
        let transit_ns = at_ns as i64 - self.stream.interval.as_nanos() as i64 * index as i64;
        if let Some(last_ns) = self.last_transit_ns.replace(transit_ns) {
            self.jitter_ns += ((transit_ns - last_ns).abs() as f64 - self.jitter_ns) / 16.0;
        }
        match self.highest {
            Some(highest) if index < highest => self.reordered += 1,
            _ => self.highest = Some(index),
        }
    }
}

/// Receives into `take` until `done` says so; every datagram comes with its moment.
pub fn receive(
    socket: &UdpSocket,
    mut done: impl FnMut() -> bool,
    mut take: impl FnMut(&[u8], SocketAddr, u64),
) -> io::Result<()> {
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    let mut buffer = [0; 2048];
    while !done() && !interrupted() {
        match socket.recv_from(&mut buffer) {
            Ok((size, from)) => take(&buffer[..size], from, now_ns()),
            Err(error) if crate::ng::is_timeout(&error) => {}
            // An ICMP message about an earlier packet; nothing was received.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_can_go_wrong_is_counted() {
        let stream = Stream::counting(0x1234_fffe, 8, 6);
        let mut reception = Reception::of(&stream);
        assert_eq!((reception.missing(), reception.is_perfect()), (6, false));
        for index in [0, 1, 3, 2, 3] {
            stream.sent_at_ns[index].store(1000, Ordering::Relaxed);
            reception.take(&stream.packet(index), 3000);
        }
        let mut damaged = stream.packet(4);
        damaged[40] ^= 1;
        reception.take(&damaged, 3000);
        reception.take(b"short", 3000);
        reception.take(&Stream::counting(7, 8, 1).packet(0), 3000);
        assert_eq!((reception.received, reception.missing(), reception.duplicates), (4, 2, 1));
        assert_eq!((reception.damaged, reception.strangers, reception.reordered), (1, 2, 1));
        assert_eq!((reception.delays.count(), reception.delays.max_ns()), (4, 2000));
    }

    #[test]
    fn a_whole_stream_is_perfect() {
        let stream = Stream::counting(5, 0, 3);
        let mut reception = Reception::of(&stream);
        (0..3).for_each(|index| reception.take(&stream.packet(index), 20_000_000 * (index as u64 + 1)));
        assert!(reception.is_perfect());
        assert!(reception.jitter_ns < 1.0);
    }
}
