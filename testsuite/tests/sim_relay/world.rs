//! A network in virtual time around one relay: hosts, NATs, and links that lose, double and displace datagrams.

use millrace::base::random::{Random, Seeded};
use millrace::base::time::{Mono, Now, Unix};
use millrace::plan::{Component, ForwardingPlan, Ingress, Learning, PayloadType, Sink, StreamId};
use millrace::relay::{PortToken, Relay, Transmit, Verdict};
use millrace::rtp::mos;
use millrace::wire::rtp::{Header, Packet};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// The virtual moment at which everything begins, in milliseconds.
const START_MS: u64 = 5000;
/// The time between two packets of a host.
pub const PTIME_MS: u64 = 20;

pub fn at(address: &str) -> SocketAddr {
    address.parse().expect("a socket address")
}

/// A moment in milliseconds after the beginning.
pub fn ms(milliseconds: u64) -> Now {
    let milliseconds = START_MS + milliseconds;
    Now { mono: Mono(milliseconds * 1_000_000), unix: Unix(1_700_000_000_000_000 + milliseconds * 1000) }
}

/// What a link does, in percent; `spread_ms` displaces datagrams by up to that time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Link {
    pub loss: u32,
    pub doubles: u32,
    pub spread_ms: u32,
}

/// Somebody who sends RTP every 20 ms.
#[derive(Debug)]
pub struct Host {
    /// Where its datagrams come from, as others see it; what is sent there reaches it.
    pub address: SocketAddr,
    pub relay: SocketAddr,
    pub ssrc: u32,
    pub sends_ms: std::ops::Range<u64>,
    /// Datagrams that reached it, with the moment.
    pub received: Vec<(u64, Vec<u8>)>,
}

impl Host {
    pub fn new(address: &str, relay: &str, ssrc: u32, sends_ms: std::ops::Range<u64>) -> Host {
        Host { address: at(address), relay: at(relay), ssrc, sends_ms, received: vec![] }
    }

    /// Sequence numbers of what was received of one SSRC, in order of arrival.
    pub fn heard(&self, ssrc: u32) -> Vec<u16> {
        let headers = self.received.iter().filter_map(|(_, datagram)| Some(Packet::parse(datagram).ok()?.header()));
        headers.filter(|header| header.ssrc == ssrc).map(|header| header.sequence).collect()
    }
}

/// The packet that a host sends at its `number`th moment.
pub fn packet(ssrc: u32, number: u64) -> Vec<u8> {
    let header =
        Header { marker: number == 0, payload_type: 8, sequence: number as u16, timestamp: number as u32 * 160, ssrc };
    header.write(&[ssrc as u8; 160])
}

#[derive(Debug)]
enum Event {
    Talk { host: usize, number: u64 },
    ToRelay { port: PortToken, from: SocketAddr, datagram: Vec<u8> },
    ToHost { address: SocketAddr, datagram: Vec<u8> },
    Timer,
}

/// One datagram at the relay's door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    pub port: u32,
    pub from: SocketAddr,
    pub datagram: Vec<u8>,
    pub verdict: Verdict,
}

/// Everything at once.
pub struct World {
    pub relay: Relay,
    pub hosts: Vec<Host>,
    pub link: Link,
    pub now_ms: u64,
    /// What arrived at the relay, in order.
    pub arrivals: Vec<Arrival>,
    /// What the relay sent, in order, as it left.
    pub departures: Vec<(u32, SocketAddr, Vec<u8>)>,
    /// What reached an address where nobody is.
    pub strays: BTreeMap<SocketAddr, usize>,
    ports: BTreeMap<SocketAddr, PortToken>,
    random: Seeded,
    queue: BTreeMap<(u64, u64), Event>,
    order: u64,
}

/// Collects what the relay sends during one call of it.
#[derive(Default)]
struct Outbox(Vec<(u32, SocketAddr, Vec<u8>)>);

impl Transmit for Outbox {
    fn send(&mut self, from: PortToken, to: SocketAddr, datagram: &[u8]) {
        self.0.push((from.0, to, datagram.to_vec()));
    }
}

impl World {
    pub fn new(seed: u64, link: Link) -> World {
        World {
            relay: Relay::new(mos::Kind::Conversational, [0; 32]),
            hosts: vec![],
            link,
            now_ms: 0,
            arrivals: vec![],
            departures: vec![],
            strays: BTreeMap::new(),
            ports: BTreeMap::new(),
            random: Seeded(seed),
            queue: BTreeMap::new(),
            order: 0,
        }
    }

    /// Opens a local port for a stream of call 1.
    pub fn add_stream(&mut self, local: &str) -> StreamId {
        let port = PortToken(self.ports.len() as u32);
        self.ports.insert(at(local), port);
        self.relay.add(ms(self.now_ms), port, at(local), 1)
    }

    pub fn set_plan(&mut self, id: StreamId, plan: ForwardingPlan) {
        assert!(self.relay.set_plan(ms(self.now_ms), id, plan));
        self.schedule(self.now_ms, Event::Timer);
    }

    pub fn add_host(&mut self, host: Host) -> usize {
        self.hosts.push(host);
        let index = self.hosts.len() - 1;
        let first = self.hosts[index].sends_ms.start;
        self.schedule(first, Event::Talk { host: index, number: 0 });
        index
    }

    fn schedule(&mut self, at_ms: u64, event: Event) {
        self.order += 1;
        self.queue.insert((at_ms, self.order), event);
    }

    /// Lets time pass until `until_ms`.
    pub fn run(&mut self, until_ms: u64) {
        while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 < until_ms) {
            let ((at_ms, _), event) = entry.remove_entry();
            self.now_ms = at_ms;
            self.handle(event);
        }
        self.now_ms = until_ms;
    }

    /// Whether nothing is under way any more.
    pub fn is_quiet(&self) -> bool {
        self.queue.is_empty()
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Talk { host, number } => self.talk(host, number),
            Event::ToRelay { port, from, datagram } => self.arrive(port, from, datagram),
            Event::ToHost { address, datagram } => self.deliver(address, datagram),
            Event::Timer => self.timer(),
        }
    }

    fn talk(&mut self, index: usize, number: u64) {
        let host = &self.hosts[index];
        let (from, to, ends_ms) = (host.address, host.relay, host.sends_ms.end);
        let datagram = packet(host.ssrc, number);
        if let Some(&port) = self.ports.get(&to) {
            for delay_ms in self.delays() {
                let datagram = datagram.clone();
                self.schedule(self.now_ms + delay_ms, Event::ToRelay { port, from, datagram });
            }
        }
        if self.now_ms + PTIME_MS < ends_ms {
            self.schedule(self.now_ms + PTIME_MS, Event::Talk { host: index, number: number + 1 });
        }
    }

    /// When the copies of one datagram arrive; none when it is lost.
    fn delays(&mut self) -> Vec<u64> {
        let Link { loss, doubles, spread_ms } = self.link;
        let copies = match self.random.below(100) {
            fate if fate < loss => 0,
            fate if fate < loss + doubles => 2,
            _ => 1,
        };
        (0..copies).map(|_| u64::from(5 + self.random.below(spread_ms + 1))).collect()
    }

    fn arrive(&mut self, port: PortToken, from: SocketAddr, mut datagram: Vec<u8>) {
        let mut outbox = Outbox::default();
        let original = datagram.clone();
        let verdict = self.relay.datagram(ms(self.now_ms), port, from, &mut datagram, &mut outbox);
        self.arrivals.push(Arrival { port: port.0, from, datagram: original, verdict });
        self.send_out(outbox);
    }

    fn timer(&mut self) {
        let mut outbox = Outbox::default();
        let due = self.relay.timer(ms(self.now_ms), &mut outbox);
        self.send_out(outbox);
        if let Some(due) = due {
            self.schedule((due.0 / 1_000_000) - START_MS, Event::Timer);
        }
    }

    fn send_out(&mut self, outbox: Outbox) {
        for (port, address, datagram) in outbox.0 {
            for delay_ms in self.delays() {
                let datagram = datagram.clone();
                self.schedule(self.now_ms + delay_ms, Event::ToHost { address, datagram });
            }
            self.departures.push((port, address, datagram));
        }
    }

    fn deliver(&mut self, address: SocketAddr, datagram: Vec<u8>) {
        let now_ms = self.now_ms;
        match self.hosts.iter_mut().find(|host| host.address == address) {
            Some(host) => host.received.push((now_ms, datagram)),
            None => *self.strays.entry(address).or_default() += 1,
        }
    }
}

/// A plan for a plain RTP port: what arrives goes to `sinks`.
pub fn plan(learning: Learning, signalled: &str, signalled_at_ms: u64, sinks: &[StreamId]) -> ForwardingPlan {
    let ingress = Ingress {
        learning,
        signalled: Some(at(signalled)),
        signalled_at: ms(signalled_at_ms).mono,
        filled: true,
        strict_source: false,
        fixed_address: false,
        media_handover: false,
        asymmetric: false,
        wait_for_peer: false,
        pierce_nat: false,
        payload_types: [PayloadType { number: 8, clock_rate_hz: 8000, is_dtmf: false, silence: None }]
            .into_iter()
            .collect(),
    };
    ForwardingPlan {
        media: sinks.iter().map(|&egress| Sink::plain(egress)).collect(),
        control: Default::default(),
        sources: None,
        ..ForwardingPlan::new(Component::Rtp, ingress)
    }
}
