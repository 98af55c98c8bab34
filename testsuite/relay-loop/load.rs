//! Calls of two endpoints on loopback, each sending one RTP packet every 20 ms, paced by one busy thread.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// The time between two packets of an endpoint.
const PTIME: Duration = Duration::from_millis(20);
/// RTP header and 20 ms of G.711.
const PACKET_BYTES: usize = 172;

/// One end of a call.
pub struct Endpoint {
    socket: UdpSocket,
    /// The relay's port for this end.
    relay: SocketAddr,
    ssrc: u32,
}

/// What a run of load saw.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outcome {
    pub sent: u64,
    pub received: u64,
    /// Packets that were sent more than a packet time late: the machine was too busy to measure on.
    pub late: u64,
}

impl Endpoint {
    pub fn new(socket: UdpSocket, relay: SocketAddr, ssrc: u32) -> std::io::Result<Endpoint> {
        socket.set_nonblocking(true)?;
        Ok(Endpoint { socket, relay, ssrc })
    }

    fn send(&self, sequence: u16) -> bool {
        let mut packet = [0xd5; PACKET_BYTES];
        packet[..2].copy_from_slice(&[0x80, 8]);
        packet[2..4].copy_from_slice(&sequence.to_be_bytes());
        packet[4..8].copy_from_slice(&(u32::from(sequence) * 160).to_be_bytes());
        packet[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        self.socket.send_to(&packet, self.relay).is_ok()
    }

    fn drain(&self) -> u64 {
        let mut buffer = [0; 2048];
        std::iter::from_fn(|| self.socket.recv(&mut buffer).ok()).count() as u64
    }
}

/// Sends from all endpoints for `duration`. `burst` packets leave back to back; one spreads them evenly. No thread
/// ever sleeps on the endpoints' sockets, so that the relay does not pay for waking it.
pub fn run(endpoints: &[Endpoint], burst: usize, duration: Duration) -> Outcome {
    let mut outcome = Outcome::default();
    let gap = PTIME.as_nanos() as u64 * burst as u64 / endpoints.len() as u64;
    let start = Instant::now();
    let total = duration.as_nanos() as u64 / PTIME.as_nanos() as u64 * endpoints.len() as u64;
    for number in 0..total {
        if number.is_multiple_of(burst as u64) {
            let due = Duration::from_nanos(number / burst as u64 * gap);
            while start.elapsed() < due {
                std::hint::spin_loop();
            }
            outcome.late += u64::from(start.elapsed() > due + PTIME);
        }
        let endpoint = &endpoints[(number % endpoints.len() as u64) as usize];
        outcome.received += endpoint.drain();
        outcome.sent += u64::from(endpoint.send((number / endpoints.len() as u64) as u16));
    }
    std::thread::sleep(Duration::from_millis(50));
    outcome.received += endpoints.iter().map(Endpoint::drain).sum::<u64>();
    outcome
}
