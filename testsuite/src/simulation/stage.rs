//! Phones, the network and the engine together.

use super::network::{Conditions, Network};
use super::phone::{Leg, Phone};
use super::world::{Datagram, World};
use millrace::relay::Verdict;
use millrace::wire::rtp::Packet;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;

/// Between two packets of a phone.
const PACKET_INTERVAL_MS: u64 = 20;
/// Between two reports of a phone.
const REPORT_INTERVAL_MS: u64 = 1000;

/// An RTP packet at the engine's door, on its way in or out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Talk {
    pub ssrc: u32,
    pub sequence: u16,
    /// The engine's port.
    pub local: SocketAddr,
    pub remote: SocketAddr,
}

/// Everything at once. Phones are named by their place in `phones`; their tags are their names.
pub struct Stage {
    pub world: World,
    pub network: Network,
    pub phones: Vec<Phone>,
    /// RTP that arrived at the engine, with what became of it.
    pub arrived: Vec<(Talk, Verdict)>,
    /// RTP that the engine sent.
    pub departed: Vec<Talk>,
    /// Datagrams from the engine that reached nobody.
    pub strays: Vec<Datagram>,
    /// Datagrams to addresses of the engine where no port is open.
    pub refused: usize,
    elapsed_ms: u64,
    call_id: String,
}

impl Stage {
    /// A stage with the interfaces of the recorded conversations and a network without faults.
    pub fn new(phones: Vec<Phone>) -> Stage {
        Stage::with(World::recorded(), Network::new(1, Conditions::CALM), phones)
    }

    pub fn with(world: World, network: Network, phones: Vec<Phone>) -> Stage {
        Stage {
            world,
            network,
            phones,
            arrived: Vec::new(),
            departed: Vec::new(),
            strays: Vec::new(),
            refused: 0,
            elapsed_ms: 0,
            call_id: "call-1".to_owned(),
        }
    }

    /// The first line of a phone.
    pub fn leg(&mut self, phone: usize) -> &mut Leg {
        &mut self.phones[phone].legs[0]
    }

    /// Sends a request about the call, with more keys, and returns the reply.
    pub fn ask(&mut self, command: &str, keys: Value) -> Value {
        let mut request = json!({"command": command, "call-id": self.call_id});
        let (Some(request_keys), Value::Object(more)) = (request.as_object_mut(), keys) else { panic!("keys") };
        request_keys.extend(more);
        let reply = self.world.ask(&request);
        self.world.check();
        reply
    }

    /// The same, and the reply must be `ok`.
    pub fn must(&mut self, command: &str, keys: Value) -> Value {
        let reply = self.ask(command, keys);
        assert_eq!(reply["result"], "ok", "{command}: {reply}");
        reply
    }

    /// An offer of one phone, shown to another. `keys` are added to the request.
    pub fn offer(&mut self, from: usize, to: usize, keys: Value) -> Value {
        let sdp = self.phones[from].describe();
        let reply = self.must("offer", merged(json!({"from-tag": self.phones[from].name, "sdp": sdp}), keys));
        self.phones[to].show(reply["sdp"].as_str().expect("a description"));
        reply
    }

    /// An offer within the dialogue.
    pub fn reoffer(&mut self, from: usize, to: usize, keys: Value) -> Value {
        self.offer(from, to, merged(json!({"to-tag": self.phones[to].name}), keys))
    }

    /// The answer of one phone to another's offer.
    pub fn answer(&mut self, offerer: usize, answerer: usize, keys: Value) -> Value {
        let sdp = self.phones[answerer].describe();
        let tags = json!({"from-tag": self.phones[offerer].name, "to-tag": self.phones[answerer].name, "sdp": sdp});
        let reply = self.must("answer", merged(tags, keys));
        self.phones[offerer].show(reply["sdp"].as_str().expect("a description"));
        reply
    }

    /// Offer and answer.
    pub fn call(&mut self, offerer: usize, answerer: usize) {
        self.offer(offerer, answerer, json!({}));
        self.answer(offerer, answerer, json!({}));
    }

    /// Lets phones talk, the network carry and the engine run.
    pub fn run(&mut self, milliseconds: u64) {
        for _ in 0..milliseconds {
            if self.elapsed_ms.is_multiple_of(PACKET_INTERVAL_MS) {
                self.speak(Phone::talk);
            }
            if self.elapsed_ms % REPORT_INTERVAL_MS == REPORT_INTERVAL_MS / 2 {
                self.speak(Phone::report);
            }
            self.step();
        }
    }

    /// Lets arrive what is on its way, in silence.
    pub fn settle(&mut self) {
        while !self.network.is_empty() {
            self.step();
        }
    }

    /// Talks for a while and then waits until all has arrived; what was heard before is forgotten.
    pub fn talk(&mut self, milliseconds: u64) {
        self.forget();
        self.run(milliseconds);
        self.settle();
    }

    /// Forgets what was said, heard and logged so far.
    pub fn forget(&mut self) {
        self.settle();
        (self.arrived, self.departed, self.strays) = Default::default();
        self.refused = 0;
        for leg in self.phones.iter_mut().flat_map(|phone| &mut phone.legs) {
            (leg.heard, leg.rtcp_heard) = Default::default();
            (leg.rtp_sent, leg.rtcp_sent) = (0, 0);
        }
    }

    fn speak(&mut self, what: fn(&mut Phone) -> Vec<Datagram>) {
        let now = self.world.now.mono;
        for datagram in self.phones.iter_mut().flat_map(what) {
            self.network.send(now, datagram);
        }
    }

    fn step(&mut self) {
        let now = self.world.now.mono;
        while let Some(datagram) = self.network.arrival(now) {
            self.carry(&datagram);
        }
        for datagram in self.world.wait(Duration::from_millis(1)) {
            self.network.send(now, datagram);
        }
        self.elapsed_ms += 1;
    }

    /// Brings a datagram to the engine or to a phone.
    fn carry(&mut self, datagram: &Datagram) {
        if let Some((verdict, sent)) = self.world.deliver(datagram) {
            self.arrived.extend(talk(&datagram.bytes, datagram.to, datagram.from).map(|talk| (talk, verdict)));
            for datagram in sent {
                self.departed.extend(talk(&datagram.bytes, datagram.from, datagram.to));
                self.network.send(self.world.now.mono, datagram);
            }
        } else if self.world.is_own(datagram.to.ip()) {
            self.refused += 1;
        } else if !self.phones.iter_mut().any(|phone| phone.hear(datagram)) {
            self.strays.push(datagram.clone());
        }
    }

    /// The first line of `listener` has heard all that the first line of `speaker` said since `forget`, once and in
    /// order, and nothing else of it.
    pub fn assert_hears(&self, listener: usize, speaker: usize) {
        assert_hears(&self.phones[listener].legs[0], &self.phones[speaker].legs[0]);
    }

    /// The first line of `listener` has heard nothing of the first line of `speaker`.
    pub fn assert_deaf(&self, listener: usize, speaker: usize) {
        let heard = self.phones[listener].legs[0].sequences(self.phones[speaker].legs[0].ssrc);
        assert!(heard.is_empty(), "{} hears {}", self.phones[listener].name, self.phones[speaker].name);
    }

    /// Both hear each other, and their reports arrive too.
    pub fn assert_talk(&self, first: usize, second: usize) {
        for (listener, speaker) in [(first, second), (second, first)] {
            self.assert_hears(listener, speaker);
            let ssrc = self.phones[speaker].legs[0].ssrc;
            let reports = self.phones[listener].legs[0].rtcp_heard.iter().filter(|(sender, _)| *sender == ssrc);
            assert_eq!(reports.count() as u64, self.phones[speaker].legs[0].rtcp_sent);
        }
    }

    /// Deletes the call at once; nothing may be left.
    pub fn end(mut self) {
        self.must("delete", json!({"delete delay": 0, "flags": ["fatal"]}));
        self.world.check_empty();
    }
}

/// `listener` has heard all that `speaker` said, once and in order.
pub fn assert_hears(listener: &Leg, speaker: &Leg) {
    let heard = listener.sequences(speaker.ssrc);
    assert!(speaker.rtp_sent > 0, "{} said nothing", speaker.ssrc);
    assert_eq!(heard.len() as u64, speaker.rtp_sent, "packets of {} heard by {}", speaker.ssrc, listener.ssrc);
    assert!(heard.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)), "{heard:?}");
}

/// The RTP packet in a datagram.
fn talk(bytes: &[u8], local: SocketAddr, remote: SocketAddr) -> Option<Talk> {
    let is_rtcp = bytes.get(1).is_some_and(|kind| (192..224).contains(kind));
    let header = Packet::parse(bytes).ok().filter(|_| !is_rtcp)?.header();
    Some(Talk { ssrc: header.ssrc, sequence: header.sequence, local, remote })
}

/// The keys of both; those of `more` win.
fn merged(mut keys: Value, more: Value) -> Value {
    if let (Some(keys), Value::Object(more)) = (keys.as_object_mut(), more) {
        keys.extend(more);
    }
    keys
}
