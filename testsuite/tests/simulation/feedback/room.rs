//! A publisher of video and its viewers, each on a leg with losses of its own.

use millrace::base::random::{Random, Seeded};
use millrace::base::suite::Suite;
use millrace::base::time::Mono;
use millrace::relay::Verdict;
use millrace::sdp::{self, Crypto, MediaSection};
use millrace::srtp::{MasterKey, Parameters, Protector, Unprotector};
use millrace::wire::demux::{self, Protocol};
use millrace::wire::rtcp::{Compound, Packet, Writer, feedback, packet_type};
use millrace::wire::rtp;
use millrace_testsuite::simulation::{Datagram, World};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// The SSRC of the video.
pub const VIDEO: u32 = 0x71de0;
/// The SSRC under which the publisher sends video again.
pub const AGAIN: u32 = 0xa6a1;
/// How somebody numbers things: the payload types of the video and of its retransmissions, the header extension with
/// transport-wide sequence numbers.
type Numbers = [u8; 3];
const NUMBERS: Numbers = [97, 98, 3];
/// The same for those who number otherwise; one number means something else.
const OTHER_NUMBERS: Numbers = [100, 97, 5];
const DELAY: Duration = Duration::from_millis(5);
const PACKET_INTERVAL_MS: u64 = 10;
const NACK_INTERVAL_MS: u64 = 40;

/// One media of somebody, RTP and RTCP on one port.
pub struct Peer {
    pub local: SocketAddr,
    pub remote: Option<SocketAddr>,
    /// RTP that is lost on the way to it, or from it, in a thousand.
    pub loss: u32,
    random: Seeded,
    seed: u64,
    suite: Option<Suite>,
    keys: Option<(Unprotector, Protector)>,
    /// How often each packet of the video has come, by number since the beginning.
    pub heard: BTreeMap<u32, u32>,
    /// RTCP that has come, plain.
    pub reports: Vec<Vec<u8>>,
    /// RTP that came and was not authentic, or was another packet than the one of its number.
    pub refused: usize,
    /// A viewer asks for what it misses.
    pub asks: bool,
    /// Retransmissions that have come: SSRC, number, number of the packet.
    pub repairs: Vec<(u32, u16, u16)>,
    /// The transport-wide numbers that have come.
    pub transport_numbers: Vec<u16>,
    takes_repairs: bool,
    numbers: Numbers,
}

/// Everybody, and the engine between them.
pub struct Room {
    pub world: World,
    pub publisher: Peer,
    pub viewers: Vec<Peer>,
    under_way: BTreeMap<(Mono, u64), Datagram>,
    count: u64,
    elapsed_ms: u64,
    /// The number of the last packet.
    pub sent: u32,
    repairs: Repair,
    /// Retransmissions that the publisher has sent.
    pub sent_again: u16,
    /// When packets arrived at the engine, by transport-wide sequence number.
    pub arrivals: BTreeMap<u16, Mono>,
    is_silent: bool,
}

/// What the room is about.
#[derive(Clone, Copy)]
pub struct Settings {
    /// The suites of the publisher and of the viewers.
    pub suites: Option<(Suite, Suite)>,
    /// `a=rtcp-fb` of the publisher.
    pub feedback: &'static [&'static str],
    pub flags: &'static [&'static str],
    pub repair: Repair,
    /// The viewers number otherwise than the publisher.
    pub renumbers: bool,
}

/// Who negotiates retransmissions in streams of their own (RFC 4588).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Repair {
    Nobody,
    /// Everybody, and the publisher names its SSRCs.
    Named,
    /// Everybody; SSRCs are not named.
    Unnamed,
    /// The publisher, and all viewers but the first.
    NotFirst,
}

pub const BROWSER: Settings = Settings {
    suites: None,
    feedback: &["nack", "nack pli", "goog-remb", "transport-cc"],
    flags: &[],
    repair: Repair::Nobody,
    renumbers: false,
};

impl Peer {
    fn new(host: u8, suite: Option<Suite>) -> Peer {
        Peer {
            local: SocketAddr::from(([198, 51, 100, host], 40_000)),
            remote: None,
            loss: 0,
            random: Seeded(u64::from(host)),
            seed: u64::from(host),
            suite,
            keys: None,
            heard: BTreeMap::new(),
            reports: Vec::new(),
            refused: 0,
            asks: true,
            repairs: Vec::new(),
            transport_numbers: Vec::new(),
            takes_repairs: false,
            numbers: NUMBERS,
        }
    }

    fn key(&self) -> Option<Crypto> {
        let suite = self.suite?;
        let key = MasterKey::generate(suite, &mut Seeded(self.seed));
        let key = millrace::base::secret::Secret::new(&[key.key(), key.salt()].concat());
        Some(Crypto { tag: 1, suite, key, mki: None, parameters: Default::default() })
    }

    fn describe(&self, feedback: &[&str], direction: &str, tag: u32) -> String {
        let (ip, port) = (self.local.ip(), self.local.port());
        let profile = if self.suite.is_some() { "RTP/SAVPF" } else { "RTP/AVPF" };
        let key = self.key().map(|key| Crypto { tag, ..key });
        let crypto: String = key.iter().map(|key| format!("a={}\r\n", key.attribute(false, false))).collect();
        let [media, again, extension] = self.numbers;
        let (format, repair) = match self.takes_repairs {
            true => (format!(" {again}"), format!("a=rtpmap:{again} rtx/90000\r\na=fmtp:{again} apt={media}\r\n")),
            false => Default::default(),
        };
        let feedback: String = feedback.iter().map(|value| format!("a=rtcp-fb:{media} {value}\r\n")).collect();
        format!(
            "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=video {port} {profile} {media}{format}\r\n\
             a=rtpmap:{media} VP8/90000\r\n{feedback}{repair}a=extmap:{extension} \
             http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n\
             a=rtcp-mux\r\na={direction}\r\n{crypto}"
        )
    }

    /// Takes in what the daemon shows; the number of its line with a key.
    fn take(&mut self, shown: &str) -> u32 {
        let shown = sdp::parse(shown).expect("a description");
        let section: &MediaSection = &shown.medias[0];
        let address = section.connection.or(shown.session.connection).expect("an address").address;
        self.remote = Some(SocketAddr::new(address, section.port));
        let Some(suite) = self.suite else { return 0 };
        let lines = section.attributes.iter().filter(|attribute| attribute.name == "crypto");
        let theirs = lines.filter_map(Crypto::parse).find(|crypto| crypto.suite == suite).expect("the suite");
        let own = self.key().expect("it has a suite");
        self.keys = Some((Unprotector::new(&parameters(&theirs)), Protector::new(&parameters(&own))));
        theirs.tag
    }

    fn protect(&mut self, mut bytes: Vec<u8>, is_rtp: bool) -> Datagram {
        let length = bytes.len();
        if let Some((_, outbound)) = &mut self.keys {
            bytes.resize(length + 64, 0);
            let whole = match is_rtp {
                true => outbound.protect_rtp_again(&mut bytes, length),
                false => outbound.protect_rtcp(&mut bytes, length),
            };
            bytes.truncate(whole.expect("there is room"));
        }
        Datagram { from: self.local, to: self.remote.expect("somebody to talk to"), bytes }
    }

    /// A datagram arrives.
    fn hear(&mut self, mut bytes: Vec<u8>) {
        let is_rtp = demux::classify(&bytes) == Protocol::Rtp;
        let length = match (&mut self.keys, is_rtp) {
            (None, _) => Ok(bytes.len()),
            (Some((inbound, _)), true) => inbound.unprotect_rtp(&mut bytes),
            (Some((inbound, _)), false) => inbound.unprotect_rtcp(&mut bytes),
        };
        let Ok(length) = length else {
            self.refused += 1;
            return;
        };
        bytes.truncate(length);
        if !is_rtp {
            self.reports.push(bytes);
            return;
        }
        let mut packet = rtp::Packet::parse(&bytes).expect("RTP");
        self.transport_numbers.extend(transport_number(&bytes, self.numbers[2]));
        let restored;
        let (header, payload) = (packet.header(), packet.payload());
        if let Some((number, rest)) =
            payload.split_first_chunk().filter(|_| header.payload_type == self.numbers[1] && self.takes_repairs)
        {
            let number = u16::from_be_bytes(*number);
            self.repairs.push((header.ssrc, header.sequence, number));
            let original = rtp::Header { payload_type: self.numbers[0], sequence: number, ssrc: VIDEO, ..header };
            restored = original.write(rest);
            packet = rtp::Packet::parse(&restored).expect("RTP");
        }
        match packet.payload().first_chunk().map(|number| u32::from_be_bytes(*number)) {
            Some(number) if number as u16 == packet.header().sequence && self.is_video(&packet.header()) => {
                *self.heard.entry(number).or_default() += 1;
            }
            _ => self.refused += 1,
        }
    }

    fn is_video(&self, header: &rtp::Header) -> bool {
        (header.ssrc, header.payload_type) == (VIDEO, self.numbers[0])
    }

    /// What it has not heard of the numbers between those that it has.
    fn missing(&self) -> Vec<u16> {
        let (Some(first), Some(last)) = (self.heard.keys().next(), self.heard.keys().next_back()) else {
            return Vec::new();
        };
        (*first..*last).filter(|number| !self.heard.contains_key(number)).map(|number| number as u16).collect()
    }

    /// The feedback packets that have come: format, whether payload-specific, media, control information.
    pub fn feedback(&self) -> Vec<(u8, bool, u32, Vec<u8>)> {
        let packets = self.reports.iter().flat_map(|report| Compound::new(report)).map(|packet| packet.expect("whole"));
        let feedback = packets.filter_map(|packet| match packet {
            Packet::Feedback { is_payload_specific, format, media, control, .. } => {
                Some((format, is_payload_specific, media, control.to_vec()))
            }
            _ => None,
        });
        feedback.collect()
    }
}

fn parameters(crypto: &Crypto) -> Parameters {
    let master = MasterKey::from_concatenated(crypto.suite, crypto.key.expose()).expect("the suite's lengths");
    Parameters::new(crypto.suite, master)
}

impl Room {
    /// A publisher and three viewers.
    pub fn new(settings: Settings) -> Room {
        let (own, others) = settings.suites.unzip();
        let mut room = Room {
            world: World::recorded(),
            publisher: Peer::new(10, own),
            viewers: (51..54).map(|host| Peer::new(host, others)).collect(),
            under_way: BTreeMap::new(),
            count: 0,
            elapsed_ms: 0,
            // The sequence numbers wrap soon.
            sent: 65_300,
            repairs: settings.repair,
            sent_again: 0,
            arrivals: BTreeMap::new(),
            is_silent: false,
        };
        let has_repairs = settings.repair != Repair::Nobody;
        room.publisher.takes_repairs = has_repairs;
        for (place, viewer) in room.viewers.iter_mut().enumerate() {
            viewer.numbers = if settings.renumbers { OTHER_NUMBERS } else { NUMBERS };
            viewer.takes_repairs = has_repairs && (place > 0 || settings.repair != Repair::NotFirst);
        }
        let mut sdp = room.publisher.describe(settings.feedback, "sendonly", 1);
        if settings.repair == Repair::Named {
            sdp.push_str(&format!("a=ssrc-group:FID {VIDEO} {AGAIN}\r\n"));
        }
        let codec = json!({"accept": ["all", "any"]});
        let shown = room.ask(json!({"command": "publish", "from-tag": "p", "sdp": sdp, "codec": codec}));
        room.publisher.take(shown["sdp"].as_str().expect("a description"));
        for place in 0..room.viewers.len() {
            let keys = json!({"command": "subscribe request", "from-tag": "p", "flags": settings.flags});
            let shown = room.ask(keys);
            let viewer = &mut room.viewers[place];
            let tag = viewer.take(shown["sdp"].as_str().expect("a description"));
            let sdp = viewer.describe(settings.feedback, "recvonly", tag);
            room.ask(json!({"command": "subscribe answer", "to-tag": shown["to-tag"], "sdp": sdp}));
        }
        room
    }

    fn ask(&mut self, mut request: Value) -> Value {
        request["call-id"] = json!("room");
        let reply = self.world.ask(&request);
        assert_eq!(reply["result"], "ok", "{request}: {reply}");
        reply
    }

    /// Takes the call down; nothing may be left.
    pub fn end(mut self) {
        self.ask(json!({"command": "delete", "delete delay": 0, "flags": ["fatal"]}));
        self.world.check_empty();
    }

    fn send(&mut self, datagram: Datagram) {
        self.count += 1;
        self.under_way.insert((self.world.now.mono + DELAY, self.count), datagram);
    }

    /// A peer's RTCP.
    pub fn say(&mut self, viewer: Option<usize>, writer: Writer) {
        let peer = viewer.map_or(&mut self.publisher, |viewer| &mut self.viewers[viewer]);
        let datagram = peer.protect(writer.finish(), false);
        self.send(datagram);
    }

    /// The video packet `number`.
    fn show(&mut self, number: u32) {
        let header = rtp::Header {
            marker: false,
            payload_type: NUMBERS[0],
            sequence: number as u16,
            timestamp: number * 900,
            ssrc: VIDEO,
        };
        // Under one index there is one packet: what is sent again has the same extension as before.
        self.send_video(header, number as u16, &payload(number));
    }

    /// The same in a stream of retransmissions.
    fn show_again(&mut self, number: u32) {
        self.sent_again += 1;
        let header = rtp::Header {
            marker: false,
            payload_type: NUMBERS[1],
            sequence: self.sent_again,
            timestamp: number * 900,
            ssrc: AGAIN,
        };
        let payload = [&(number as u16).to_be_bytes()[..], &payload(number)].concat();
        // Far from the numbers of the first time.
        self.send_video(header, (self.sent as u16).wrapping_add(0x4000), &payload);
    }

    /// A packet of padding, by which a sender finds out how much bandwidth there is.
    pub fn probe(&mut self) {
        self.sent_again += 1;
        let (payload_type, sequence) = (NUMBERS[1], self.sent_again);
        let header = rtp::Header { marker: false, payload_type, sequence, timestamp: 0, ssrc: AGAIN };
        let mut bytes = header.write(&[0; 200]);
        bytes[0] |= 0x20;
        bytes[211] = 200;
        let datagram = self.publisher.protect(bytes, true);
        self.send(datagram);
    }

    fn send_video(&mut self, header: rtp::Header, transport: u16, payload: &[u8]) {
        let mut bytes = header.write(&[]);
        bytes[0] |= 0x10;
        bytes.extend_from_slice(&[0xbe, 0xde, 0, 1, NUMBERS[2] << 4 | 1]);
        bytes.extend_from_slice(&transport.to_be_bytes());
        bytes.push(0);
        bytes.extend_from_slice(payload);
        let datagram = self.publisher.protect(bytes, true);
        if self.publisher.random.below(1000) < self.publisher.loss {
            return;
        }
        self.send(datagram);
    }

    /// Lets time pass, with video.
    pub fn run(&mut self, milliseconds: u64) {
        for _ in 0..milliseconds {
            if self.elapsed_ms.is_multiple_of(PACKET_INTERVAL_MS) && !self.is_silent {
                self.sent += 1;
                self.show(self.sent);
            }
            if self.elapsed_ms.is_multiple_of(NACK_INTERVAL_MS) {
                (0..self.viewers.len()).for_each(|viewer| self.ask_again(viewer));
            }
            self.step();
            self.elapsed_ms += 1;
        }
    }

    /// Lets time pass without video.
    pub fn rest(&mut self, milliseconds: u64) {
        self.is_silent = true;
        self.run(milliseconds);
        self.is_silent = false;
    }

    fn ask_again(&mut self, viewer: usize) {
        let missing = self.viewers[viewer].missing();
        if missing.is_empty() || !self.viewers[viewer].asks {
            return;
        }
        self.say(Some(viewer), nack(&missing));
    }

    fn step(&mut self) {
        let now = self.world.now.mono;
        while self.under_way.first_key_value().is_some_and(|((at, _), _)| *at <= now) {
            let Some((_, datagram)) = self.under_way.pop_first() else { break };
            self.carry(datagram);
        }
        for datagram in self.world.wait(Duration::from_millis(1)) {
            self.send(datagram);
        }
    }

    fn carry(&mut self, datagram: Datagram) {
        if datagram.to == self.publisher.local {
            self.publisher.hear(datagram.bytes);
            self.answer_nack();
            return;
        }
        if let Some(viewer) = self.viewers.iter_mut().find(|viewer| viewer.local == datagram.to) {
            let is_rtp = demux::classify(&datagram.bytes) == Protocol::Rtp;
            if !is_rtp || viewer.random.below(1000) >= viewer.loss {
                viewer.hear(datagram.bytes);
            }
            return;
        }
        let transport = transport_number(&datagram.bytes, NUMBERS[2]);
        let (verdict, sent) = self.world.deliver(&datagram).expect("an open port");
        if let Some(number) = transport.filter(|_| verdict == Verdict::Forwarded) {
            self.arrivals.entry(number).or_insert(self.world.now.mono);
        }
        sent.into_iter().for_each(|datagram| self.send(datagram));
    }

    /// The publisher sends again what it is asked for.
    fn answer_nack(&mut self) {
        let Some(report) = self.publisher.reports.last() else { return };
        let control = Compound::new(report).find_map(|packet| match packet.expect("whole") {
            Packet::Feedback { is_payload_specific: false, format: feedback::NACK, control, .. } => {
                Some(control.to_vec())
            }
            _ => None,
        });
        for sequence in feedback::nack_sequences(&control.unwrap_or_default()) {
            let age = u32::from((self.sent as u16).wrapping_sub(sequence));
            match self.repairs {
                Repair::Nobody => self.show(self.sent - age),
                _ => self.show_again(self.sent - age),
            }
        }
    }
}

fn payload(number: u32) -> Vec<u8> {
    let mut payload = number.to_be_bytes().to_vec();
    payload.resize(180, number as u8);
    payload
}

fn transport_number(bytes: &[u8], extension: u8) -> Option<u16> {
    let packet = rtp::Packet::parse_encrypted(bytes).ok().filter(|_| demux::classify(bytes) == Protocol::Rtp)?;
    let data = packet.extension()?.data;
    if data[0] != extension << 4 | 1 {
        return None;
    }
    Some(u16::from_be_bytes([data[1], data[2]]))
}

/// A generic NACK for the video.
pub fn nack(missing: &[u16]) -> Writer {
    let kind = (packet_type::TRANSPORT_FEEDBACK, feedback::NACK);
    Writer::new().receiver_report(9, &[]).feedback(kind, 9, VIDEO, |bytes| {
        for sequence in missing {
            bytes.extend_from_slice(&sequence.to_be_bytes());
            bytes.extend_from_slice(&[0, 0]);
        }
    })
}
