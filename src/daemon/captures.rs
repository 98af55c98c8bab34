//! Packets of calls that somebody captures: shards and the kernel's ring put copies in, and a task for each capture takes
//! them out and writes them as pcapng to whoever asked. What finds no room is counted and gone.

use super::listing::ask;
use super::service::Daemon;
use super::shard_thread::ShardHandle;
use crate::base::id::CaptureId;
use crate::base::time::Now;
use crate::control::{CliReply, CliWriter};
use crate::fastpath::verdict::Verdict;
use crate::io::clock;
use crate::io::host::interface_name;
use crate::io::xdp::{CaptureRing, CapturedPorts};
use crate::wire::pcapng::{self, Link, headers};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// How many there may be at once.
const MOST_CAPTURES: usize = 16;
/// Packets that may wait for one client; each takes as much as its capture keeps of it.
const PACKETS_WAITING: usize = 2048;
/// What is given to a client at once.
const PART_BYTES: usize = 64 * 1024;
/// Copies of a packet may be so late.
const GRACE: Duration = Duration::from_millis(60);

/// A packet on its way to a client.
struct Packet {
    /// Since 1970.
    time_ns: u64,
    is_outbound: bool,
    seen: Seen,
    length: usize,
    bytes: Vec<u8>,
}

/// Where a packet was seen.
enum Seen {
    Datagram { from: SocketAddr, to: SocketAddr },
    Frame { interface: u32, verdict: Verdict },
}

struct Sink {
    packets: mpsc::Sender<Packet>,
    snap: usize,
    lost: Arc<AtomicU64>,
    /// Told when the call is over.
    over: Option<oneshot::Sender<()>>,
}

/// All captures of the daemon.
#[derive(Default)]
pub(super) struct Captures {
    /// Read for each datagram.
    active: AtomicUsize,
    next: AtomicU32,
    sinks: Mutex<HashMap<CaptureId, Sink>>,
    /// None where the kernel captures nothing.
    ports: Option<Arc<CapturedPorts>>,
    /// Frames that found no room in the kernel's ring.
    lost_in_kernel: AtomicU64,
}

/// What the task of a capture works with.
struct Ends {
    id: CaptureId,
    packets: mpsc::Receiver<Packet>,
    lost: Arc<AtomicU64>,
    over: oneshot::Receiver<()>,
}

impl Captures {
    pub(super) fn new(ports: Option<Arc<CapturedPorts>>) -> Captures {
        Captures { ports, ..Captures::default() }
    }

    /// Whether there are any.
    #[inline]
    pub(super) fn are_active(&self) -> bool {
        self.active.load(Ordering::Relaxed) > 0
    }

    /// A map is whole between calls, so one whose user panicked may be used on.
    fn lock(&self) -> MutexGuard<'_, HashMap<CaptureId, Sink>> {
        self.sinks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, snap: usize) -> Option<Ends> {
        let mut sinks = self.lock();
        if sinks.len() >= MOST_CAPTURES {
            return None;
        }
        let id = CaptureId(self.next.fetch_add(1, Ordering::Relaxed));
        let (sender, packets) = mpsc::channel(PACKETS_WAITING);
        let (tell_over, over) = oneshot::channel();
        let lost = Arc::new(AtomicU64::new(0));
        sinks.insert(id, Sink { packets: sender, snap, lost: lost.clone(), over: Some(tell_over) });
        self.active.store(sinks.len(), Ordering::Relaxed);
        Some(Ends { id, packets, lost, over })
    }

    fn remove(&self, id: CaptureId) {
        let mut sinks = self.lock();
        sinks.remove(&id);
        self.active.store(sinks.len(), Ordering::Relaxed);
        drop(sinks);
        self.ports.iter().for_each(|ports| ports.forget(id));
    }

    /// The call of a capture is over.
    pub(super) fn over(&self, id: CaptureId) {
        // The capture may have ended by itself.
        let _ = self.lock().get_mut(&id).and_then(|sink| sink.over.take()).map(|over| over.send(()));
    }

    fn put(&self, ids: &[CaptureId], packet: impl Fn(usize) -> Packet) {
        let sinks = self.lock();
        for sink in ids.iter().filter_map(|id| sinks.get(id)) {
            if sink.packets.try_send(packet(sink.snap)).is_err() {
                sink.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// A datagram that came to the daemon, or leaves it.
    #[cold]
    pub(super) fn datagram(
        &self,
        ids: &[CaptureId],
        now: Now,
        (from, to): (SocketAddr, SocketAddr),
        is_outbound: bool,
        datagram: &[u8],
    ) {
        self.put(ids, |snap| Packet {
            time_ns: now.unix.0.saturating_mul(1000),
            is_outbound,
            seen: Seen::Datagram { from, to },
            length: datagram.len(),
            bytes: datagram[..datagram.len().min(snap)].to_vec(),
        });
    }

    /// Takes frames from the kernel's ring, for as long as the daemon runs.
    pub(super) async fn read_ring(self: Arc<Captures>, ring: CaptureRing) {
        let mut ring = match ring.watched() {
            Ok(ring) => ring,
            Err(error) => return tracing::warn!(target: "core", "frames can't be captured: {error}"),
        };
        loop {
            let mut guard = match ring.readable_mut().await {
                Ok(guard) => guard,
                Err(error) => return tracing::warn!(target: "core", "no frames are captured any more: {error}"),
            };
            guard.clear_ready();
            let now = clock::now();
            let unix_ns = now.unix.0.saturating_mul(1000);
            let ring = guard.get_inner_mut();
            while let Some(frame) = ring.next_frame() {
                let ago_ns = now.mono.0.saturating_sub(frame.time_ns);
                self.put(&frame.captures, |snap| Packet {
                    time_ns: unix_ns.saturating_sub(ago_ns),
                    is_outbound: frame.is_outbound,
                    seen: Seen::Frame { interface: frame.interface, verdict: frame.verdict },
                    length: frame.length,
                    bytes: frame.bytes[..frame.bytes.len().min(snap)].to_vec(),
                });
            }
            self.lost_in_kernel.store(ring.lost(), Ordering::Relaxed);
        }
    }
}

/// Answers with a capture of a call, until the client sends no more, is gone, or the call is over.
pub(super) fn start(daemon: &Daemon, call_id: String, snap: usize, reply: CliReply) {
    let captures = daemon.captures.clone();
    let Some(ends) = captures.add(snap) else {
        return reply.send(format!("There are {MOST_CAPTURES} captures already.\n"));
    };
    let home = daemon.router.shard(&call_id).clone();
    let shards = daemon.router.dispatch.shards.clone();
    daemon.tasks.spawn(async move {
        let (id, asked) = (ends.id, call_id.clone());
        let is_known = ask(&home, move |work| work.shard.capture(id, &asked)).await == Some(true);
        let writer = match is_known {
            true => reply.begin(true),
            false => {
                reply.send(format!("\nCall Id not found ({call_id}).\n\n"));
                None
            }
        };
        match writer {
            Some(writer) => run(&captures, ends, snap, writer, &shards).await,
            None => take_off(&captures, id, &shards).await,
        }
        tracing::info!(target: "control", call_id, "a capture has ended");
    });
}

/// Nothing is copied for a capture any more once this is done, but for what is on its way.
async fn take_off(captures: &Captures, id: CaptureId, shards: &[ShardHandle]) {
    for shard in shards {
        ask(shard, move |work| work.shard.end_capture(id)).await;
    }
    tokio::time::sleep(GRACE).await;
    captures.remove(id);
}

async fn run(captures: &Captures, mut ends: Ends, snap: usize, writer: CliWriter, shards: &[ShardHandle]) {
    let lost_before = captures.lost_in_kernel.load(Ordering::Relaxed);
    let CliWriter { parts, mut stop } = writer;
    let mut file = File::new(snap);
    loop {
        if !file.bytes.is_empty() && parts.send(std::mem::take(&mut file.bytes)).await.is_err() {
            break;
        }
        tokio::select! {
            Some(packet) = ends.packets.recv() => {
                file.write(&packet);
                while file.bytes.len() < PART_BYTES && let Ok(packet) = ends.packets.try_recv() {
                    file.write(&packet);
                }
            }
            _ = &mut stop => break,
            _ = &mut ends.over => {
                tokio::time::sleep(GRACE).await;
                break;
            }
            () = parts.closed() => break,
        }
    }
    take_off(captures, ends.id, shards).await;
    while let Ok(packet) = ends.packets.try_recv() {
        file.write(&packet);
    }
    let lost_in_kernel = captures.lost_in_kernel.load(Ordering::Relaxed).saturating_sub(lost_before);
    file.close(ends.lost.load(Ordering::Relaxed), lost_in_kernel);
    // The client may have gone.
    let _ = parts.send(file.bytes).await;
}

/// A capture as it is written.
struct File {
    bytes: Vec<u8>,
    snap: usize,
    /// By number of interface, none for the daemon itself: its place in the file, and packets so far.
    interfaces: HashMap<Option<u32>, (u32, u64)>,
    /// Room for a packet.
    packet: Vec<u8>,
}

impl File {
    fn new(snap: usize) -> File {
        let mut file = File { bytes: Vec::new(), snap, interfaces: HashMap::new(), packet: Vec::new() };
        pcapng::section(&mut file.bytes, concat!("millrace ", env!("CARGO_PKG_VERSION")));
        file.place(None);
        file
    }

    /// The place of an interface, which is described when it comes up first.
    fn place(&mut self, interface: Option<u32>) -> u32 {
        let next = self.interfaces.len() as u32;
        let entry = *self.interfaces.entry(interface).or_insert_with(|| {
            let (out, snap) = (&mut self.bytes, self.snap);
            match interface {
                None => {
                    let what = "datagrams that the daemon received and sent, with headers made up";
                    pcapng::interface(out, Link::Ip, "millrace", what, snap + headers::LONGEST);
                }
                Some(index) => {
                    let name = interface_name(index).unwrap_or_else(|| index.to_string());
                    pcapng::interface(out, Link::Ethernet, &name, "frames that the XDP program took", snap);
                }
            }
            (next, 0)
        });
        entry.0
    }

    fn write(&mut self, packet: &Packet) {
        self.packet.clear();
        let (interface, comment) = match &packet.seen {
            Seen::Datagram { from, to } => {
                headers::write(&mut self.packet, *from, *to, &packet.bytes, packet.length);
                (None, String::new())
            }
            Seen::Frame { interface, verdict: Verdict::Forwarded } => (Some(*interface), String::new()),
            Seen::Frame { interface, verdict } => (Some(*interface), format!("dropped: {}", verdict.name())),
        };
        let head = self.packet.len();
        self.packet.extend_from_slice(&packet.bytes);
        let place = self.place(interface);
        self.interfaces.entry(interface).and_modify(|(_, packets)| *packets += 1);
        let written = pcapng::Packet {
            interface: place,
            time_ns: packet.time_ns,
            is_outbound: packet.is_outbound,
            length: head + packet.length,
            bytes: &self.packet,
            comment: &comment,
        };
        pcapng::packet(&mut self.bytes, &written);
    }

    /// Says at the end what was counted.
    fn close(&mut self, lost: u64, lost_in_kernel: u64) {
        let time_ns = clock::now().unix.0.saturating_mul(1000);
        let mut counted: Vec<(u32, u64)> = self.interfaces.values().copied().collect();
        counted.sort_unstable();
        for (place, packets) in counted {
            let lost = if place == 0 { lost + lost_in_kernel } else { 0 };
            let comment = match (place, lost_in_kernel) {
                (0, 1..) => format!("{lost_in_kernel} of the lost frames were of all captures together"),
                _ => String::new(),
            };
            pcapng::statistics(&mut self.bytes, place, time_ns, (packets, lost), &comment);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(captures: &Captures, id: CaptureId) {
        let at = |text: &str| text.parse().unwrap();
        let way = (at("192.0.2.1:1"), at("192.0.2.2:2"));
        captures.datagram(&[id], Now::default(), way, true, &[0x80; 100]);
    }

    #[test]
    fn what_nobody_takes_is_counted_and_not_kept() {
        let captures = Captures::default();
        assert!(!captures.are_active());
        let mut ends = captures.add(40).unwrap();
        assert!(captures.are_active());
        (0..PACKETS_WAITING + 5).for_each(|_| packet(&captures, ends.id));
        packet(&captures, CaptureId(77));
        let mut count = 0;
        while let Ok(packet) = ends.packets.try_recv() {
            assert_eq!((packet.length, packet.bytes.len()), (100, 40));
            count += 1;
        }
        assert_eq!((count, ends.lost.load(Ordering::Relaxed)), (PACKETS_WAITING, 5));
        captures.over(ends.id);
        assert!(ends.over.try_recv().is_ok());
        captures.remove(ends.id);
        assert!(!captures.are_active());
    }

    #[test]
    fn there_is_a_limit() {
        let captures = Captures::default();
        let all: Vec<Ends> = (0..MOST_CAPTURES).map(|_| captures.add(64).unwrap()).collect();
        assert!(captures.add(64).is_none());
        captures.remove(all[3].id);
        assert!(captures.add(64).is_some());
    }

    #[test]
    fn a_file_describes_interfaces_before_their_packets() {
        let mut file = File::new(64);
        let at = |text: &str| text.parse().unwrap();
        let seen = Seen::Datagram { from: at("192.0.2.1:1"), to: at("192.0.2.2:2") };
        file.write(&Packet { time_ns: 1, is_outbound: false, seen, length: 100, bytes: vec![0x80; 64] });
        for _ in 0..2 {
            let seen = Seen::Frame { interface: u32::MAX, verdict: Verdict::WrongSource };
            file.write(&Packet { time_ns: 2, is_outbound: false, seen, length: 60, bytes: vec![1; 60] });
        }
        file.close(3, 0);
        let (mut rest, mut kinds, mut dropped) = (file.bytes.as_slice(), Vec::new(), 0);
        while let Some((kind, block)) = pcapng::first_block(rest).unwrap() {
            kinds.push(kind);
            dropped += pcapng::dropped(block).unwrap_or(0);
            rest = &rest[block.len()..];
        }
        assert_eq!((kinds, rest.len(), dropped), (vec![pcapng::SECTION_HEADER, 1, 6, 1, 6, 6, 5, 5], 0, 3));
        assert!(file.bytes.windows(21).any(|part| part == b"dropped: wrong_source"));
    }
}
