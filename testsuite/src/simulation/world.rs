//! The engine with everything that it borrows.

use super::surroundings::{FakePorts, Numbers, interfaces};
use millrace::base::id::StreamId;
use millrace::base::random::Seeded;
use millrace::base::suite::HASH_FUNCTIONS;
use millrace::base::time::{Mono, Now, Unix};
use millrace::call::lifecycle::Termination;
use millrace::call::{Call, Interfaces, LocalPort, Media, PortSource};
use millrace::dtls::{self, CertificateKind, Contexts, Identity, Signature};
use millrace::engine::{Handshakes, Lent, Pair, PairError, PairKey, Settings, Shard};
use millrace::ng::{Defaults, Dictionary, Request, message};
use millrace::relay::{PortToken, Transmit, Verdict};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// The interfaces that the recorded conversations were made with.
pub const RECORDED_INTERFACES: [&str; 5] = [
    "pub/203.0.113.1",
    "pub/2001:db8:4321::1",
    "priv/203.0.113.2",
    "priv/2001:db8:4321::2",
    "nat/203.0.113.3!192.0.2.77",
];

/// A datagram on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub bytes: Vec<u8>,
}

/// The engine and its surroundings.
pub struct World {
    pub shard: Shard,
    pub ports: FakePorts,
    pub now: Now,
    interfaces: Arc<Interfaces>,
    numbers: Numbers,
    random: Seeded,
    next_timer: Mono,
    contexts: Arc<Contexts>,
    handshakes: Handshakes,
}

/// Collects what is sent during one call of the engine.
#[derive(Default)]
struct Outbox(Vec<(PortToken, SocketAddr, Vec<u8>)>);

impl Transmit for Outbox {
    fn send(&mut self, from: PortToken, to: SocketAddr, datagram: &[u8]) {
        self.0.push((from, to, datagram.to_vec()));
    }
}

impl Outbox {
    fn datagrams(self, ports: &FakePorts) -> Vec<Datagram> {
        let translate = |(token, to, bytes)| Datagram { from: ports.address(token), to, bytes };
        self.0.into_iter().map(translate).collect()
    }
}

impl World {
    /// An engine without calls on the interfaces of `entries` (`NAME/ADDRESS[!ADVERTISED]`), with a range of ports.
    pub fn new(entries: &[&str], range: (u16, u16)) -> World {
        let interfaces = Arc::new(interfaces(entries, range));
        let numbers = Numbers::new(&interfaces);
        let now = Now { mono: Mono(1_000_000_000), unix: Unix(1_700_000_000_000_000) };
        let contexts = contexts(now.unix);
        let settings = Settings {
            interfaces: interfaces.clone(),
            timeouts: Default::default(),
            delete_delay: Duration::from_secs(30),
            learning: Default::default(),
            tos: None,
            tells_digits: false,
            one_way_after: Duration::from_secs(10),
            instance_id: "0123456789abcdef".to_owned(),
            fingerprints: HASH_FUNCTIONS.iter().map(|row| contexts.identity().fingerprint(row.0).clone()).collect(),
            ssrc_reporting: Default::default(),
            software: "millrace-test".to_owned(),
        };
        World {
            shard: Shard::new(settings, Default::default(), [0; 32]),
            ports: FakePorts::default(),
            now,
            interfaces,
            numbers,
            random: Seeded(2),
            next_timer: now.mono,
            handshakes: Handshakes::new(contexts.clone()),
            contexts,
        }
    }

    /// The certificate and settings of the engine's handshakes; peers may use them as well.
    pub fn contexts(&self) -> Arc<Contexts> {
        self.contexts.clone()
    }

    /// Does what the engine asks of handshakes, until it asks for no more.
    fn shake_hands(&mut self, outbox: &mut Outbox) {
        let mut events = Vec::new();
        self.handshakes.timer(&mut events);
        loop {
            for command in self.shard.take_handshake_commands() {
                self.handshakes.handle(command, &mut events);
            }
            if events.is_empty() {
                break;
            }
            for event in events.drain(..) {
                self.shard.handshake_event(self.now, event, outbox);
            }
        }
        if self.shard.take_earlier() {
            self.next_timer = self.now.mono;
        }
    }

    /// The engine on the interfaces of the recorded conversations.
    pub fn recorded() -> World {
        World::new(&RECORDED_INTERFACES, (30000, 39999))
    }

    /// Works off a request and returns the reply.
    pub fn ask(&mut self, request: &Value) -> Value {
        let text = request.to_string();
        serde_json::from_slice(&self.ask_bytes(text.as_bytes())).expect("replies are JSON")
    }

    /// The same in bytes, JSON or bencode, without a cookie.
    pub fn ask_bytes(&mut self, body: &[u8]) -> Vec<u8> {
        let (encoding, reply) = match message::decode(body) {
            Ok((encoding, dictionary)) => {
                let reply = match Request::parse(&dictionary, encoding, &Defaults::default()) {
                    Ok(request) => self.command(&request),
                    Err(error) => message::error_reply(&error.to_string()),
                };
                (encoding, reply)
            }
            Err(error) => (error.encoding, message::error_reply(&error.error.to_string())),
        };
        message::encode(encoding, &reply)
    }

    fn command(&mut self, request: &Request) -> Dictionary {
        self.pass(Duration::from_millis(1));
        let mut lent = Lent { ports: &mut self.ports, numbers: &mut self.numbers, random: &mut self.random };
        let reply = self.shard.command(self.now, request, "127.0.0.1:1", &mut lent);
        // As in the daemon, timers are looked at after each command.
        self.next_timer = self.now.mono;
        reply
    }

    /// Has two sides relayed that a client names without SDP.
    pub fn put_pair(&mut self, pair: &Pair) -> Result<(), PairError> {
        self.pass(Duration::from_millis(1));
        let mut lent = Lent { ports: &mut self.ports, numbers: &mut self.numbers, random: &mut self.random };
        let outcome = self.shard.put_pair(self.now, pair, "127.0.0.1:1", &mut lent);
        self.next_timer = self.now.mono;
        outcome
    }

    /// Ends such a pair.
    pub fn end_pair(&mut self, key: &PairKey) -> bool {
        self.pass(Duration::from_millis(1));
        let mut lent = Lent { ports: &mut self.ports, numbers: &mut self.numbers, random: &mut self.random };
        self.shard.end_pair(self.now, key, &mut lent)
    }

    /// Moves the clock, without timers.
    fn pass(&mut self, duration: Duration) {
        self.now.mono = self.now.mono + duration;
        self.now.unix.0 += duration.as_micros() as u64;
    }

    /// When the engine wants to be called next.
    pub fn next_timer(&self) -> Mono {
        self.next_timer
    }

    /// Lets time pass with the engine's timers running; returns what they send.
    pub fn wait(&mut self, duration: Duration) -> Vec<Datagram> {
        let end = self.now.mono + duration;
        let mut sent = Vec::new();
        while self.next_timer <= end {
            self.pass(self.next_timer.since(self.now.mono));
            let mut outbox = Outbox::default();
            let next = self.shard.timer(self.now, &mut self.ports, &mut self.numbers, &mut outbox);
            assert!(next > self.now.mono, "the engine asks for a timer in the past");
            self.next_timer = next;
            self.shake_hands(&mut outbox);
            sent.extend(outbox.datagrams(&self.ports));
        }
        self.pass(end.since(self.now.mono));
        sent
    }

    /// A datagram arrives at a local address; returns what is sent in turn. None when no port is open there.
    pub fn deliver(&mut self, datagram: &Datagram) -> Option<(Verdict, Vec<Datagram>)> {
        let token = self.ports.token(datagram.to)?;
        let mut outbox = Outbox::default();
        let mut bytes = datagram.bytes.clone();
        let verdict = self.shard.datagram(self.now, token, datagram.from, &mut bytes, &mut outbox);
        self.shake_hands(&mut outbox);
        Some((verdict, outbox.datagrams(&self.ports)))
    }

    /// The end of a turn of the event loop: ways are looked at. Returns what is sent.
    pub fn end_turn(&mut self) -> Vec<Datagram> {
        let mut outbox = Outbox::default();
        self.shard.settle_ways(self.now, &mut outbox);
        outbox.datagrams(&self.ports)
    }

    /// Whether an address is one of the engine's.
    pub fn is_own(&self, address: IpAddr) -> bool {
        self.interfaces.addresses().any(|(_, _, local)| local.address == address)
    }

    /// Has every call move to another shard, which knows nothing yet and numbers everything otherwise. Returns the
    /// number of calls that could.
    pub fn move_calls(&mut self) -> usize {
        let settings = self.shard.settings_mut().clone();
        let mut there = Shard::new(settings, Default::default(), [1; 32]);
        let mut ids: Vec<String> = self.shard.calls().map(|call| call.id.clone()).collect();
        ids.reverse();
        let departures = ids.iter().filter_map(|id| self.shard.depart(self.now, id, &mut self.ports));
        let departures: Vec<_> = departures.filter_map(Result::ok).collect();
        let count = departures.len();
        if count < ids.len() {
            for departure in departures {
                self.shard.arrive(self.now, departure, &mut self.ports, &mut self.numbers);
            }
            return 0;
        }
        for departure in departures {
            there.arrive(self.now, departure, &mut self.ports, &mut self.numbers);
        }
        assert_eq!(self.shard.calls().count() + self.shard.relay().streams().count(), 0, "something stayed behind");
        for command in self.shard.take_handshake_commands() {
            self.handshakes.handle(command, &mut Vec::new());
        }
        self.shard = there;
        self.next_timer = self.now.mono;
        self.check();
        count
    }

    /// Ends every call, as at the end of the process.
    pub fn end_all(&mut self) {
        self.shard.end_all(self.now, Termination::Forced, &mut self.ports, &mut self.numbers);
    }

    /// Holds what the engine has against what its calls say that it has. Panics when something is left over or
    /// missing.
    pub fn check(&self) {
        let calls: Vec<&Call> = self.shard.calls().collect();
        let medias = || calls.iter().flat_map(|call| call.medias()).map(|(_, media)| media);
        let ports: BTreeSet<SocketAddr> = medias().flat_map(ports_of).map(|port| port.address).collect();
        let open: BTreeSet<SocketAddr> = self.ports.open().collect();
        assert_eq!(open, ports, "open ports, and those of calls");
        let of_pool = medias().flat_map(|media| &media.port_sets).filter(|set| set.source == PortSource::Pool);
        let sets: usize = of_pool.map(|set| 1 + set.further.len()).sum();
        assert_eq!(self.numbers.used(), 2 * sets, "numbers that are given out");
        let streams: BTreeSet<u32> = medias().flat_map(streams_of).collect();
        let relayed: BTreeSet<u32> = self.shard.relay().streams().map(|(id, _)| id.0).collect();
        assert_eq!(relayed, streams, "streams of the relay, and those of calls");
        for port in medias().flat_map(ports_of) {
            assert_eq!(self.ports.address(port.token), port.address);
            let stream = self.shard.relay().stream_at(port.token);
            assert!(stream.is_some_and(|id| streams.contains(&id.0)), "{} serves no stream", port.address);
        }
        calls.iter().for_each(|call| self.check_call(call));
    }

    /// Every plan sends to streams of its own call only, through ports that are open.
    fn check_call(&self, call: &Call) {
        let mut owners = BTreeMap::new();
        for (_, media) in call.medias() {
            owners.extend(streams_of(media).map(|stream| (stream, media)));
        }
        for subscription in call.subscriptions() {
            // Both panic when there is no such media.
            assert_ne!(call.media(subscription.source).serial, call.media(subscription.sink).serial);
        }
        for id in owners.keys() {
            let stream = self.shard.relay().stream(StreamId(*id)).expect("checked before");
            for sink in stream.plan().media.iter().chain(&stream.plan().control) {
                let media = owners.get(&sink.egress.0).unwrap_or_else(|| panic!("{sink:?} of another call"));
                let relay = self.shard.relay().stream(sink.egress).expect("checked before");
                let is_open = ports_of(media).any(|port| port.token == relay.port());
                assert!(is_open, "{sink:?} sends from a port that is closed");
            }
        }
    }

    /// After all calls have been deleted nothing may be left of them.
    pub fn check_empty(&self) {
        self.check();
        assert_eq!(self.shard.calls().count(), 0, "a call is left");
        assert_eq!(self.ports.open().count(), 0, "a port is left open");
    }
}

fn ports_of(media: &Media) -> impl Iterator<Item = LocalPort> + use<> {
    let sets = media.port_sets.clone();
    sets.into_iter().flat_map(|set| set.ports().collect::<Vec<_>>())
}

fn streams_of(media: &Media) -> impl Iterator<Item = u32> + use<> {
    media.rtp_stream.into_iter().chain(media.rtcp_stream).map(|id| id.0)
}

fn contexts(now: Unix) -> Arc<Contexts> {
    let identity = Identity::generate(CertificateKind::EcdsaP256, Signature::Sha256, now).expect("a certificate");
    let settings = dtls::Settings::default();
    Arc::new(Contexts::new(Arc::new(identity), &settings, &mut Seeded(3)).expect("the default settings"))
}
