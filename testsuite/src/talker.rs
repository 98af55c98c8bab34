//! A phone's media end in a thread of its own: sends a tone in PCMU, plain or as SRTP, and listens.

use crate::ng::is_timeout;
use crate::system::now_ns;
use crate::tone::{self, FRAME_SAMPLES};
use millrace::srtp::{Parameters, Protector, Unprotector};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Payload type of PCMU (RFC 3551, section 6).
const PCMU: u8 = 0;
const FRAME_NS: u64 = 20_000_000;
const RATE_HZ: f64 = 8000.0;
/// How much of what was heard is kept: a second.
const MEMORY_SAMPLES: usize = 8000;
/// What an unprotected packet lacks.
const TAG_ROOM_BYTES: usize = 32;

/// Where the phone sends, and with which keys.
pub struct Peer {
    pub to: SocketAddr,
    /// The keys of what it sends and of what it receives; none for plain RTP.
    pub keys: Option<(Parameters, Parameters)>,
}

/// What a phone has heard so far.
#[derive(Debug, Clone, Default)]
pub struct Heard {
    /// RTP packets of PCMU.
    pub packets: usize,
    /// RTP packets that could not be unprotected.
    pub refused: usize,
    /// Datagrams that are no RTP of PCMU.
    pub strangers: usize,
    /// Packets whose sequence number does not follow that of the packet before.
    pub gaps: usize,
    last_sequence: Option<u16>,
    /// The newest samples, 8000 a second.
    samples: Vec<i16>,
}

impl Heard {
    /// How much of the last second's energy is at `hz`, from 0 to 1; none while there was less than a second.
    pub fn share(&self, hz: f64) -> f64 {
        if self.samples.len() < MEMORY_SAMPLES { 0.0 } else { tone::share(&self.samples, RATE_HZ, hz) }
    }
}

/// The running phone; it ends when the value goes out of scope.
pub struct Talker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    over: AtomicBool,
    heard: Mutex<Heard>,
    /// A peer that the thread has not yet taken.
    next: Mutex<Option<Peer>>,
}

impl Talker {
    /// Listens on `socket`; sends a tone of `hz` as soon as there is a peer.
    pub fn start(socket: UdpSocket, hz: f64) -> Result<Talker, String> {
        socket.set_nonblocking(false).map_err(|error| error.to_string())?;
        let shared = Arc::<Shared>::default();
        let thread = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || Line::new(socket, hz).run(&shared)
        });
        Ok(Talker { shared, thread: Some(thread) })
    }

    /// Sends to `peer` from now on.
    pub fn call(&self, peer: Peer) {
        *locked(&self.shared.next) = Some(peer);
    }

    /// What was heard so far.
    pub fn heard(&self) -> Heard {
        locked(&self.shared.heard).clone()
    }
}

impl Drop for Talker {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread's own state.
struct Line {
    socket: UdpSocket,
    hz: f64,
    to: Option<SocketAddr>,
    keys: Option<(Protector, Unprotector)>,
    frames_sent: usize,
}

impl Line {
    fn new(socket: UdpSocket, hz: f64) -> Line {
        Line { socket, hz, to: None, keys: None, frames_sent: 0 }
    }

    fn run(mut self, shared: &Shared) {
        let mut due_ns = now_ns();
        let mut buffer = [0; 2048];
        while !shared.over.load(Ordering::Relaxed) {
            if let Some(peer) = locked(&shared.next).take() {
                self.to = Some(peer.to);
                self.keys = peer.keys.map(|(out, inward)| (Protector::new(&out), Unprotector::new(&inward)));
            }
            let left = Duration::from_nanos(due_ns.saturating_sub(now_ns()));
            if left.is_zero() {
                due_ns += FRAME_NS;
                self.speak();
                continue;
            }
            // Neither can fail: the time is not zero, and whatever else a receive gives, the next one is tried.
            let _ = self.socket.set_read_timeout(Some(left));
            match self.socket.recv(&mut buffer) {
                Ok(size) => self.listen(&mut buffer[..size], &mut locked(&shared.heard)),
                Err(error) if is_timeout(&error) => {}
                Err(_) => std::thread::yield_now(),
            }
        }
    }

    fn speak(&mut self) {
        let Some(to) = self.to else { return };
        let index = self.frames_sent;
        self.frames_sent += 1;
        let mut packet = vec![0x80, PCMU];
        packet.extend((index as u16).to_be_bytes());
        packet.extend((index as u32).wrapping_mul(FRAME_SAMPLES as u32).to_be_bytes());
        packet.extend(0x7a1c_e400_u32.to_be_bytes());
        packet.extend(tone::frame(self.hz, index));
        if let Some((protector, _)) = &mut self.keys {
            let length = packet.len();
            packet.resize(length + TAG_ROOM_BYTES, 0);
            match protector.protect_rtp(&mut packet, length) {
                Ok(length) => packet.truncate(length),
                Err(_) => return,
            }
        }
        // A packet that cannot be sent is lost, as on any network.
        let _ = self.socket.send_to(&packet, to);
    }

    fn listen(&mut self, datagram: &mut [u8], heard: &mut Heard) {
        if datagram.len() < 12 || datagram[0] >> 6 != 2 || datagram[1] & 0x7f != PCMU {
            heard.strangers += 1;
            return;
        }
        let length = match &mut self.keys {
            Some((_, unprotector)) => unprotector.unprotect_rtp(datagram).unwrap_or(0),
            None => datagram.len(),
        };
        let datagram = &datagram[..length];
        let Some(payload) = payload(datagram) else {
            heard.refused += 1;
            return;
        };
        heard.packets += 1;
        let sequence = u16::from_be_bytes([datagram[2], datagram[3]]);
        let follows = heard.last_sequence.is_none_or(|last| sequence == last.wrapping_add(1));
        heard.gaps += usize::from(!follows);
        heard.last_sequence = Some(sequence);
        heard.samples.extend(payload.iter().map(|byte| tone::from_mu_law(*byte)));
        let excess = heard.samples.len().saturating_sub(MEMORY_SAMPLES);
        heard.samples.drain(..excess);
    }
}

/// What follows the header, its sources and its extension (RFC 3550, section 5.1).
fn payload(packet: &[u8]) -> Option<&[u8]> {
    let first = *packet.first()?;
    let sources = 12 + usize::from(first & 15) * 4;
    let extension = match packet.get(sources..sources + 4) {
        Some(header) if first & 0x10 != 0 => 4 + usize::from(u16::from_be_bytes([header[2], header[3]])) * 4,
        _ => 0,
    };
    packet.get(sources + extension..)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::srtp::parameters;
    use millrace::base::suite::Suite;

    fn two() -> [UdpSocket; 2] {
        [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap())
    }

    /// What one side of a call says to the other, until `count` frames are over.
    fn overheard(count: usize, keys: &mut [Option<(Parameters, Parameters)>; 2]) -> Heard {
        let [one, other] = two();
        let to = one.local_addr().unwrap();
        let mut speaker = Line::new(other, 450.0);
        let mut listener = Line::new(one, 1000.0);
        for (line, keys) in [&mut speaker, &mut listener].into_iter().zip(keys) {
            line.to = Some(to);
            line.keys = keys.take().map(|(out, inward)| (Protector::new(&out), Unprotector::new(&inward)));
        }
        let mut heard = Heard::default();
        let mut buffer = [0; 2048];
        for _ in 0..count {
            speaker.speak();
            let size = listener.socket.recv(&mut buffer).unwrap();
            listener.listen(&mut buffer[..size], &mut heard);
        }
        heard
    }

    #[test]
    fn a_second_of_tone_is_recognized() {
        let heard = overheard(50, &mut [None, None]);
        assert_eq!((heard.packets, heard.refused, heard.strangers, heard.gaps), (50, 0, 0, 0));
        assert!(heard.share(450.0) > 0.99);
        assert!(heard.share(1000.0) < 0.01);
        assert_eq!(overheard(49, &mut [None, None]).share(450.0), 0.0);
    }

    #[test]
    fn srtp_needs_the_right_key() {
        let [one, other] = [1, 2].map(|seed| parameters(Suite::AesCm128Sha1_80, seed));
        let pair = |out: &Parameters, inward: &Parameters| Some((out.clone(), inward.clone()));
        let heard = overheard(50, &mut [pair(&one, &other), pair(&other, &one)]);
        assert!(heard.share(450.0) > 0.99);
        let heard = overheard(5, &mut [pair(&one, &other), pair(&one, &other)]);
        assert_eq!((heard.packets, heard.refused), (0, 5));
    }
}
