//! The load: many calls' RTP from one spinning thread, each packet with its flow and moment of sending inside.
//!
//! All calls of a side share a few sockets. A media proxy sees as many remote addresses less, and everything else as
//! in life; the generator gets by with few system calls, so that two cores are enough for both.

use millrace::srtp::{Parameters, Protector};
use millrace_testsuite::histogram::Histogram;
use millrace_testsuite::system::batch::{DATAGRAM_BYTES, Inbox, Outbox};
use millrace_testsuite::system::{interrupted, now_ns, set_buffers};
use socket2::SockAddr;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

/// Bytes of a packet: RTP header and 20 ms of G.711.
pub const PACKET_BYTES: usize = 172;
const SOCKETS: usize = 8;
/// How long after the last packet one may still arrive.
const DRAIN_NS: u64 = 500_000_000;

/// The sockets of all endpoints.
pub struct Endpoints {
    sockets: Vec<UdpSocket>,
    addresses: Vec<SocketAddr>,
}

impl Endpoints {
    /// Opens the sockets with buffers for a burst of the whole load.
    pub fn open() -> io::Result<Endpoints> {
        let sockets: Vec<UdpSocket> =
            (0..SOCKETS).map(|_| UdpSocket::bind("127.0.0.1:0")).collect::<io::Result<_>>()?;
        sockets.iter().try_for_each(|socket| set_buffers(socket, 16 << 20))?;
        let addresses = sockets.iter().map(UdpSocket::local_addr).collect::<io::Result<_>>()?;
        Ok(Endpoints { sockets, addresses })
    }

    /// Where endpoint `index` receives: callers and callees take turns, so that they never share a socket.
    pub fn address(&self, index: usize) -> SocketAddr {
        self.addresses[index % SOCKETS]
    }
}

/// One direction of one call.
struct Flow {
    socket: usize,
    to: SockAddr,
    sequence: u16,
    timestamp: u32,
    highest: Option<u16>,
    /// The number of the first packet that counts.
    first_measured: Option<u16>,
    protector: Option<Box<Protector>>,
}

/// All flows of a measurement.
pub struct Load<'a> {
    endpoints: &'a Endpoints,
    flows: Vec<Flow>,
    interval_ns: u64,
}

/// What was measured between the two marks.
#[derive(Default)]
pub struct Outcome {
    pub sent: u64,
    pub received: u64,
    /// Packets with a number that their flow had passed already: late or twice.
    pub out_of_order: u64,
    /// Packets that could not be handed to the system.
    pub refused: u64,
    /// From sending to receiving.
    pub delays: Histogram,
    /// How late the generator was, packet by packet.
    pub lateness: Histogram,
    /// How long the generator was away from its sockets at a time.
    pub absences: Histogram,
    pub wall: Duration,
}

impl Outcome {
    /// Packets that were sent and did not arrive.
    pub fn lost(&self) -> u64 {
        self.sent.saturating_sub(self.received)
    }

    /// Whether the generator kept its pace: 99 % of its packets within 2 ms.
    pub fn kept_pace(&self) -> bool {
        self.refused == 0 && self.lateness.quantile_ns(0.99) < 2_000_000
    }
}

impl<'a> Load<'a> {
    /// A load that sends a packet of each flow every `interval`; the flows' starts are spread over it.
    pub fn new(endpoints: &'a Endpoints, interval: Duration) -> Load<'a> {
        Load { endpoints, flows: Vec::new(), interval_ns: interval.as_nanos() as u64 }
    }

    /// Adds the flow of endpoint `index` to where the daemon receives for the other side.
    pub fn add_flow(&mut self, index: usize, to: SocketAddr) {
        self.add(index, to, None);
    }

    /// Adds a flow that is protected on its way to the daemon.
    pub fn add_protected_flow(&mut self, index: usize, to: SocketAddr, parameters: &Parameters) {
        self.add(index, to, Some(Box::new(Protector::new(parameters))));
    }

    fn add(&mut self, index: usize, to: SocketAddr, protector: Option<Box<Protector>>) {
        let (socket, to) = (index % SOCKETS, to.into());
        let flow = Flow { socket, to, sequence: 1, timestamp: 0, highest: None, first_measured: None, protector };
        self.flows.push(flow);
    }

    /// Runs for `warm_up` and then for `time`; `mark` is called at the start and at the end of the measured part.
    pub fn run(&mut self, warm_up: Duration, time: Duration, mut mark: impl FnMut()) -> io::Result<Outcome> {
        let start_ns = now_ns() + 1_000_000;
        let from_ns = start_ns + warm_up.as_nanos() as u64;
        let until_ns = from_ns + time.as_nanos() as u64;
        let mut outcome = Outcome { wall: time, ..Outcome::default() };
        let mut outboxes: Vec<Outbox> = (0..SOCKETS).map(|_| Outbox::default()).collect();
        let mut inbox = Inbox::default();
        let (mut next, mut marks) = (0u64, 0);
        let mut turned_ns = start_ns;
        loop {
            let now = now_ns();
            if now >= from_ns {
                outcome.absences.add(now - std::mem::replace(&mut turned_ns, now));
            } else {
                turned_ns = now;
            }
            let due_marks = u32::from(now >= from_ns) + u32::from(now >= until_ns);
            while marks < due_marks {
                mark();
                marks += 1;
            }
            if interrupted() || now > until_ns + DRAIN_NS {
                return Ok(outcome);
            }
            if now < until_ns {
                next = self.send_due(next, start_ns, from_ns, &mut outboxes, &mut outcome)?;
            }
            for socket in &self.endpoints.sockets {
                let count = inbox.receive(socket)?;
                let at_ns = now_ns();
                (0..count).for_each(|index| self.take(inbox.datagram(index), at_ns, &mut outcome));
            }
        }
    }

    /// Sends what is due, in order of its moment; the number of the next packet.
    fn send_due(
        &mut self,
        mut next: u64,
        start_ns: u64,
        from_ns: u64,
        outboxes: &mut [Outbox],
        outcome: &mut Outcome,
    ) -> io::Result<u64> {
        let flows = self.flows.len() as u64;
        loop {
            let due_ns = start_ns + next * self.interval_ns / flows;
            let now = now_ns();
            let flow = &mut self.flows[(next % flows) as usize];
            if due_ns > now || outboxes[flow.socket].is_full() {
                break;
            }
            let ssrc = (next % flows) as u32;
            let to = flow.to.clone();
            outboxes[flow.socket].push(&to, |bytes| write_packet(bytes, flow, ssrc, now));
            if now >= from_ns {
                flow.first_measured.get_or_insert(flow.sequence);
                outcome.sent += 1;
                outcome.lateness.add(now - due_ns);
            }
            flow.sequence = flow.sequence.wrapping_add(1);
            flow.timestamp = flow.timestamp.wrapping_add(160);
            next += 1;
        }
        for (outbox, socket) in outboxes.iter_mut().zip(&self.endpoints.sockets) {
            let waiting = outbox.len();
            outcome.refused += (waiting - outbox.send(socket)?) as u64;
        }
        Ok(next)
    }

    fn take(&mut self, datagram: &[u8], at_ns: u64, outcome: &mut Outcome) {
        let Some((ssrc, sequence, sent_ns)) = read_packet(datagram) else { return };
        let Some(flow) = self.flows.get_mut(ssrc as usize) else { return };
        let is_old = flow.highest.is_some_and(|highest| sequence.wrapping_sub(highest) as i16 <= 0);
        if !is_old {
            flow.highest = Some(sequence);
        }
        if flow.first_measured.is_some_and(|first| sequence.wrapping_sub(first) as i16 >= 0) {
            outcome.received += 1;
            outcome.out_of_order += u64::from(is_old);
            if datagram.len() == PACKET_BYTES {
                outcome.delays.add(at_ns.saturating_sub(sent_ns));
            }
        }
    }
}

fn write_packet(bytes: &mut [u8; DATAGRAM_BYTES], flow: &mut Flow, ssrc: u32, now: u64) -> usize {
    bytes[0] = 0x80;
    bytes[1] = 8;
    bytes[2..4].copy_from_slice(&flow.sequence.to_be_bytes());
    bytes[4..8].copy_from_slice(&flow.timestamp.to_be_bytes());
    bytes[8..12].copy_from_slice(&ssrc.to_be_bytes());
    bytes[12..20].copy_from_slice(&now.to_be_bytes());
    match &mut flow.protector {
        // A buffer of this length has room for every tag.
        Some(protector) => protector.protect_rtp(bytes, PACKET_BYTES).unwrap_or(0),
        None => PACKET_BYTES,
    }
}

/// SSRC, sequence number and moment of sending of a packet of the load; the last only where it is plain.
fn read_packet(datagram: &[u8]) -> Option<(u32, u16, u64)> {
    let (header, _) = datagram.split_first_chunk::<20>().filter(|_| datagram.len() >= PACKET_BYTES)?;
    let [_, _, s1, s2, _, _, _, _, a, b, c, d, time @ ..] = *header;
    Some((u32::from_be_bytes([a, b, c, d]), u16::from_be_bytes([s1, s2]), u64::from_be_bytes(time)))
}
