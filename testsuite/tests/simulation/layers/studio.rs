//! A publisher that sends one picture in three layers, and viewers who get one each.

use millrace::base::random::{Random, Seeded};
use millrace::base::time::Mono;
use millrace::relay::Verdict;
use millrace::rtp::picture::{Format, Numbers};
use millrace::sdp;
use millrace::wire::demux::{self, Protocol};
use millrace::wire::rtcp::{Compound, Packet, SenderInfo, Writer, feedback, packet_type};
use millrace::wire::rtp;
use millrace_testsuite::simulation::{Datagram, World};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

const DELAY: Duration = Duration::from_millis(5);
const FRAME_INTERVAL_MS: u64 = 33;
const NACK_INTERVAL_MS: u64 = 40;
/// Ticks of the video clock in a frame.
pub const FRAME_TICKS: u32 = 2970;
const RATE: u64 = 90;
/// The payload types of the video and of its retransmissions.
const VIDEO: u8 = 96;
const AGAIN: u8 = 97;
/// The header extensions with the name of a layer, and of the layer that is repaired.
const RID: u8 = 4;
const REPAIRED_RID: u8 = 5;
/// Packets that carry the name of their layer; later ones are known by their SSRC.
const NAMED_PACKETS: u32 = 60;
/// The names of the layers, as the publisher lists them.
pub const NAMES: [&str; 3] = ["q", "h", "f"];
const VIEWER: u32 = 9;

/// One layer as it is sent.
pub struct Layer {
    ssrc: u32,
    sequence: u16,
    first_timestamp: u32,
    numbers: Numbers,
    packets: u32,
    /// Sent packets by number.
    kept: BTreeMap<u16, Vec<u8>>,
    wants_key: bool,
    pub is_paused: bool,
    /// Key frames that were asked for.
    pub requests: usize,
}

/// A packet as a viewer has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    pub layer: usize,
    pub frame: u32,
    pub index: u8,
    pub count: u8,
    pub is_key: bool,
    pub timestamp: u32,
    pub numbers: Numbers,
}

pub struct Viewer {
    local: SocketAddr,
    remote: SocketAddr,
    pub tag: String,
    pub loss: u32,
    random: Seeded,
    /// By extended number.
    pub parts: BTreeMap<u32, Part>,
    highest: u32,
    pub sources: Vec<u32>,
    pub repair_sources: Vec<u32>,
    /// SSRC and timestamp of sender reports, and when they came.
    pub reports: Vec<(u32, u32, Mono)>,
    /// What its description has been.
    pub shown: String,
}

pub struct Studio {
    pub world: World,
    local: SocketAddr,
    remote: SocketAddr,
    pub layers: Vec<Layer>,
    pub viewers: Vec<Viewer>,
    pub loss: u32,
    random: Seeded,
    repair_sequence: u16,
    under_way: BTreeMap<(Mono, u64), Datagram>,
    count: u64,
    elapsed_ms: u64,
    frame: u32,
    pub reports_time: bool,
    pub answered: String,
}

fn address(host: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([198, 51, 100, host], port))
}

fn description(local: SocketAddr, lines: &str) -> String {
    let (ip, port) = (local.ip(), local.port());
    format!(
        "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=video {port} RTP/AVPF {VIDEO} {AGAIN}\r\n\
         a=rtpmap:{VIDEO} VP8/90000\r\na=rtcp-fb:{VIDEO} nack\r\na=rtcp-fb:{VIDEO} nack pli\r\n\
         a=rtpmap:{AGAIN} rtx/90000\r\na=fmtp:{AGAIN} apt={VIDEO}\r\na=rtcp-mux\r\n{lines}"
    )
}

fn remote(shown: &str) -> SocketAddr {
    let shown = sdp::parse(shown).expect("a description");
    let section = &shown.medias[0];
    let address = section.connection.or(shown.session.connection).expect("an address").address;
    SocketAddr::new(address, section.port)
}

impl Layer {
    fn new(place: u32) -> Layer {
        Layer {
            ssrc: 0x1000 + place,
            // Some wrap soon.
            sequence: [65_000, 20, 40_000][place as usize],
            first_timestamp: [u32::MAX - 90_000, 5, 777_777][place as usize],
            numbers: Numbers { picture: [32_700, 5, 100][place as usize], base: [250, 1, 9][place as usize] },
            packets: 0,
            kept: BTreeMap::new(),
            wants_key: true,
            is_paused: false,
            requests: 0,
        }
    }

    fn timestamp(&self, elapsed_ms: u64) -> u32 {
        self.first_timestamp.wrapping_add((elapsed_ms * RATE) as u32)
    }
}

fn with_extension(mut header: Vec<u8>, id: u8, name: &str, payload: &[u8]) -> Vec<u8> {
    header[0] |= 0x10;
    header.extend_from_slice(&[0xbe, 0xde, 0, 1, id << 4, name.as_bytes()[0], 0, 0]);
    header.extend_from_slice(payload);
    header
}

impl Studio {
    /// A publisher, and one viewer for each layer that is asked for.
    pub fn new(wishes: &[Option<&str>]) -> Studio {
        let local = address(10, 40_000);
        let mut studio = Studio {
            world: World::recorded(),
            local,
            remote: local,
            layers: (0..3).map(Layer::new).collect(),
            viewers: Vec::new(),
            loss: 0,
            random: Seeded(1),
            repair_sequence: 0,
            under_way: BTreeMap::new(),
            count: 0,
            elapsed_ms: 0,
            frame: 0,
            reports_time: true,
            answered: String::new(),
        };
        let names = NAMES.join(";");
        let lines: String = NAMES.iter().map(|name| format!("a=rid:{name} send\r\n")).collect();
        let lines = format!(
            "a=sendonly\r\na=extmap:{RID} urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n\
             a=extmap:{REPAIRED_RID} urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id\r\n{lines}a=simulcast:send {names}\r\n"
        );
        let sdp = description(local, &lines);
        let codec = json!({"accept": ["all", "any"]});
        let shown = studio.ask(json!({"command": "publish", "from-tag": "p", "sdp": sdp, "codec": codec}));
        studio.answered = shown["sdp"].as_str().expect("a description").to_owned();
        studio.remote = remote(&studio.answered);
        wishes.iter().for_each(|wish| studio.join(*wish));
        studio
    }

    /// One more viewer.
    pub fn join(&mut self, wish: Option<&str>) {
        let mut viewer = Viewer::new(self.viewers.len());
        self.subscribe(&mut viewer, wish);
        self.viewers.push(viewer);
    }

    /// The last viewer leaves.
    pub fn leave(&mut self) -> Viewer {
        let viewer = self.viewers.pop().expect("a viewer");
        self.ask(json!({"command": "unsubscribe", "to-tag": viewer.tag}));
        viewer
    }

    pub fn ask(&mut self, request: Value) -> Value {
        let reply = self.try_ask(request);
        assert_eq!(reply["result"], "ok", "{reply}");
        reply
    }

    pub fn try_ask(&mut self, mut request: Value) -> Value {
        request["call-id"] = json!("studio");
        self.world.ask(&request)
    }

    fn subscribe(&mut self, viewer: &mut Viewer, wish: Option<&str>) {
        let mut keys = json!({"command": "subscribe request", "from-tag": "p"});
        if !viewer.tag.is_empty() {
            keys["to-tag"] = json!(viewer.tag);
        }
        if let Some(wish) = wish {
            keys["layer"] = json!(wish);
        }
        let shown = self.ask(keys);
        viewer.shown = shown["sdp"].as_str().expect("a description").to_owned();
        viewer.remote = remote(&viewer.shown);
        viewer.tag = shown["to-tag"].as_str().expect("a tag").to_owned();
        let sdp = description(viewer.local, "a=recvonly\r\n");
        self.ask(json!({"command": "subscribe answer", "to-tag": viewer.tag, "sdp": sdp}));
    }

    /// A viewer asks for another layer; its ports stay.
    pub fn change(&mut self, place: usize, wish: Option<&str>) {
        let mut viewer = self.viewers.remove(place);
        let before = viewer.remote;
        self.subscribe(&mut viewer, wish);
        assert_eq!(viewer.remote, before, "the ports stay");
        self.viewers.insert(place, viewer);
    }

    pub fn end(mut self) {
        self.ask(json!({"command": "delete", "delete delay": 0, "flags": ["fatal"]}));
        self.world.check_empty();
    }

    fn send(&mut self, datagram: Datagram) {
        self.count += 1;
        self.under_way.insert((self.world.now.mono + DELAY, self.count), datagram);
    }

    fn publish(&mut self, bytes: Vec<u8>) {
        if demux::classify(&bytes) == Protocol::Rtp && self.random.below(1000) < self.loss {
            return;
        }
        self.send(Datagram { from: self.local, to: self.remote, bytes });
    }

    /// Lets time pass, with video.
    pub fn run(&mut self, milliseconds: u64) {
        for _ in 0..milliseconds {
            if self.elapsed_ms.is_multiple_of(FRAME_INTERVAL_MS) {
                self.frame += 1;
                (0..3)
                    .filter(|place| !self.layers[*place].is_paused)
                    .collect::<Vec<_>>()
                    .into_iter()
                    .for_each(|place| self.show(place));
            }
            if self.elapsed_ms % 1000 == 500 && self.reports_time {
                (0..3).for_each(|place| self.report(place));
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
        let paused: Vec<bool> = self.layers.iter().map(|layer| layer.is_paused).collect();
        self.layers.iter_mut().for_each(|layer| layer.is_paused = true);
        self.run(milliseconds);
        self.layers.iter_mut().zip(paused).for_each(|(layer, was)| layer.is_paused = was);
    }

    /// One frame of one layer.
    fn show(&mut self, place: usize) {
        let (frame, elapsed_ms) = (self.frame, self.elapsed_ms);
        let layer = &mut self.layers[place];
        let is_key = std::mem::take(&mut layer.wants_key);
        layer.numbers = layer.numbers.next();
        let count = (1u8 << place) + u8::from(is_key);
        let mut packets = Vec::new();
        for index in 0..count {
            let first = if index == 0 { 0x90 } else { 0x80 };
            let [high, low] = layer.numbers.picture.to_be_bytes();
            let mut payload = vec![first, 0xc0, high | 0x80, low, layer.numbers.base, u8::from(!is_key)];
            payload.extend_from_slice(&frame.to_be_bytes());
            payload.extend_from_slice(&[place as u8, index, count, u8::from(is_key)]);
            payload.resize(300, 7);
            layer.sequence = layer.sequence.wrapping_add(1);
            let header = rtp::Header {
                marker: index + 1 == count,
                payload_type: VIDEO,
                sequence: layer.sequence,
                timestamp: layer.timestamp(elapsed_ms),
                ssrc: layer.ssrc,
            };
            layer.packets += 1;
            let bytes = match layer.packets <= NAMED_PACKETS {
                true => with_extension(header.write(&[]), RID, NAMES[place], &payload),
                false => header.write(&payload),
            };
            layer.kept.insert(layer.sequence, header.write(&payload));
            packets.push(bytes);
        }
        packets.into_iter().for_each(|bytes| self.publish(bytes));
    }

    fn report(&mut self, place: usize) {
        let layer = &self.layers[place];
        let info = SenderInfo {
            ntp: (self.elapsed_ms << 32) / 1000,
            rtp_timestamp: layer.timestamp(self.elapsed_ms),
            packets: layer.packets,
            payload_bytes: layer.packets * 300,
        };
        let bytes = Writer::new().sender_report(layer.ssrc, &info, &[]).canonical_name(layer.ssrc, "p").finish();
        self.publish(bytes);
    }

    fn ask_again(&mut self, viewer: usize) {
        let viewer = &self.viewers[viewer];
        let missing = viewer.missing();
        let (Some(ssrc), false) = (viewer.sources.first().copied(), missing.is_empty()) else { return };
        let kind = (packet_type::TRANSPORT_FEEDBACK, feedback::NACK);
        let writer = Writer::new().receiver_report(VIEWER, &[]).feedback(kind, VIEWER, ssrc, |bytes| {
            for number in missing {
                bytes.extend_from_slice(&(number as u16).to_be_bytes());
                bytes.extend_from_slice(&[0, 0]);
            }
        });
        let datagram = Datagram { from: viewer.local, to: viewer.remote, bytes: writer.finish() };
        self.send(datagram);
    }

    /// A viewer has lost the picture.
    pub fn lose_picture(&mut self, viewer: usize) {
        let viewer = &self.viewers[viewer];
        let kind = (packet_type::PAYLOAD_FEEDBACK, feedback::PICTURE_LOSS);
        let writer = Writer::new().receiver_report(VIEWER, &[]).feedback(kind, VIEWER, viewer.sources[0], |_| ());
        let datagram = Datagram { from: viewer.local, to: viewer.remote, bytes: writer.finish() };
        self.send(datagram);
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
        let now = self.world.now.mono;
        if datagram.to == self.local {
            return self.answer(&datagram.bytes);
        }
        if let Some(viewer) = self.viewers.iter_mut().find(|viewer| viewer.local == datagram.to) {
            return viewer.hear(now, &datagram.bytes);
        }
        let (verdict, sent) = self.world.deliver(&datagram).expect("an open port");
        assert!(!matches!(verdict, Verdict::Dropped(reason) if reason.is_error()), "{verdict:?}");
        sent.into_iter().for_each(|datagram| self.send(datagram));
    }

    /// The publisher makes key frames and sends again what it is asked for.
    fn answer(&mut self, report: &[u8]) {
        for packet in Compound::new(report) {
            let Packet::Feedback { is_payload_specific, format, media, control, .. } = packet.expect("whole") else {
                continue;
            };
            let place = self.layers.iter().position(|layer| layer.ssrc == media);
            match (is_payload_specific, format, place) {
                (true, feedback::PICTURE_LOSS, Some(place)) => {
                    let layer = &mut self.layers[place];
                    (layer.wants_key, layer.requests) = (true, layer.requests + 1);
                }
                (false, feedback::NACK, Some(place)) => {
                    let lost: Vec<u16> = feedback::nack_sequences(control).collect();
                    lost.into_iter().for_each(|sequence| self.show_again(place, sequence));
                }
                _ => panic!("feedback {format} about {media:x}"),
            }
        }
    }

    fn show_again(&mut self, place: usize, sequence: u16) {
        let Some(kept) = self.layers[place].kept.get(&sequence) else { return };
        self.repair_sequence += 1;
        let packet = rtp::Packet::parse(kept).expect("RTP");
        let header = rtp::Header {
            payload_type: AGAIN,
            sequence: self.repair_sequence,
            ssrc: 0x2000 + place as u32,
            ..packet.header()
        };
        let payload = [&sequence.to_be_bytes()[..], packet.payload()].concat();
        let bytes = with_extension(header.write(&[]), REPAIRED_RID, NAMES[place], &payload);
        self.publish(bytes);
    }
}

impl Viewer {
    fn new(place: usize) -> Viewer {
        let local = address(50 + place as u8, 40_000);
        Viewer {
            local,
            remote: local,
            tag: String::new(),
            loss: 0,
            random: Seeded(70 + place as u64),
            parts: BTreeMap::new(),
            highest: 0,
            sources: Vec::new(),
            repair_sources: Vec::new(),
            reports: Vec::new(),
            shown: String::new(),
        }
    }

    fn hear(&mut self, now: Mono, bytes: &[u8]) {
        if demux::classify(bytes) != Protocol::Rtp {
            for packet in Compound::new(bytes) {
                match packet.expect("whole") {
                    Packet::SenderReport { ssrc, info, .. } => self.reports.push((ssrc, info.rtp_timestamp, now)),
                    Packet::SourceDescription(_) => {}
                    other => panic!("{other:?}"),
                }
            }
            return;
        }
        if self.random.below(1000) < self.loss {
            return;
        }
        let packet = rtp::Packet::parse(bytes).expect("RTP");
        let extension = packet.extension().map(|extension| extension.data.to_vec()).unwrap_or_default();
        assert!(extension.iter().all(|byte| *byte == 0), "names of layers are not the viewer's business");
        let (mut header, mut payload) = (packet.header(), packet.payload());
        if header.payload_type == AGAIN {
            let (number, rest) = payload.split_first_chunk().expect("a number");
            (header.sequence, payload) = (u16::from_be_bytes(*number), rest);
            note(&mut self.repair_sources, header.ssrc);
        } else {
            note(&mut self.sources, header.ssrc);
        }
        let number = match self.parts.is_empty() {
            true => 0x1_0000 | u32::from(header.sequence),
            false => millrace::base::sequence::extend(self.highest, header.sequence),
        };
        self.highest = self.highest.max(number);
        let numbers = Format::Vp8.numbers(payload).read(payload);
        let [a, b, c, d, layer, index, count, is_key] = payload[6..14] else { panic!("{payload:?}") };
        let part = Part {
            layer: usize::from(layer),
            frame: u32::from_be_bytes([a, b, c, d]),
            index,
            count,
            is_key: is_key == 1,
            timestamp: header.timestamp,
            numbers,
        };
        let known = self.parts.insert(number, part);
        assert!(known.is_none_or(|known| known == part), "{known:?} and {part:?} under {number}");
    }

    fn missing(&self) -> Vec<u32> {
        let Some((first, _)) = self.parts.first_key_value() else { return Vec::new() };
        (*first..self.highest).filter(|number| !self.parts.contains_key(number)).collect()
    }

    /// Which layers have come, without repetitions.
    pub fn layers(&self) -> Vec<usize> {
        let mut layers: Vec<usize> = self.parts.values().map(|part| part.layer).collect();
        layers.dedup();
        layers
    }

    /// What has come is one stream without a gap that a decoder can follow: whole frames, each numbered after the one
    /// before, beginning with a key frame at the start and at every change of layer.
    pub fn assert_continuous(&self) {
        assert_eq!(self.missing(), [0; 0]);
        assert_eq!(self.sources.len(), 1, "{:x?}", self.sources);
        let mut before: Option<Part> = None;
        for (number, part) in &self.parts {
            match before {
                Some(last) if last.index + 1 < last.count => {
                    let next = Part { index: last.index + 1, ..last };
                    assert_eq!(*part, next, "{number}: a frame goes on");
                }
                Some(last) => {
                    assert_eq!(part.index, 0, "{number}: a frame begins");
                    assert_eq!(part.numbers, last.numbers.next(), "{number}");
                    let step = part.timestamp.wrapping_sub(last.timestamp);
                    assert!((1..90_000 * 3).contains(&step), "{number}: time goes on, by {step}");
                    assert!(part.is_key || part.layer == last.layer, "{number}: a layer begins with a key frame");
                    // At a change one picture may come in both layers.
                    let next = last.frame + u32::from(part.layer == last.layer);
                    assert!(part.frame >= next, "{number}");
                }
                None => assert!(part.is_key && part.index == 0, "{part:?}"),
            }
            before = Some(*part);
        }
    }
}

fn note(list: &mut Vec<u32>, ssrc: u32) {
    if !list.contains(&ssrc) {
        list.push(ssrc);
    }
}
