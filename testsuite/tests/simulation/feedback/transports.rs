//! A publisher of audio and video, which numbers the packets of both in one sequence (transport-wide), on one port or
//! on two.

use super::statuses;
use millrace::wire::demux::{self, Protocol};
use millrace::wire::rtcp::{Compound, Packet, feedback};
use millrace::wire::rtp;
use millrace_testsuite::simulation::{Datagram, World, lines};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

const AUDIO: (u8, u32) = (111, 0xa);
const VIDEO: (u8, u32) = (96, 0xb);
const NUMBERS: &str = "extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";

/// A browser's description of `ports` for audio and video; on one port they are a bundle.
fn describe(ports: [u16; 2], mids: [&str; 2], direction: &str) -> String {
    let section = |kind: &str, port: u16, mid: &str, codec: &str| {
        format!("m={kind} {port} RTP/AVPF {codec}a=mid:{mid}\r\na={NUMBERS}\r\na=rtcp-mux\r\na={direction}\r\n")
    };
    let audio = "111\r\na=rtpmap:111 opus/48000/2\r\na=rtcp-fb:111 transport-cc\r\n";
    let video = "96\r\na=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 goog-remb\r\na=rtcp-fb:96 transport-cc\r\n";
    let group = if ports[0] == ports[1] { format!("a=group:BUNDLE {}\r\n", mids.join(" ")) } else { String::new() };
    format!(
        "v=0\r\no=- 1 1 IN IP4 198.51.100.10\r\ns=-\r\nc=IN IP4 198.51.100.10\r\nt=0 0\r\n{group}{}{}",
        section("audio", ports[0], mids[0], audio),
        section("video", ports[1], mids[1], video)
    )
}

fn ask(world: &mut World, mut request: Value) -> Value {
    request["call-id"] = "room".into();
    let reply = world.ask(&request);
    assert_eq!(reply["result"], "ok", "{request}: {reply}");
    reply
}

fn addresses(sdp: &Value) -> Vec<SocketAddr> {
    lines(sdp.as_str().expect("a description")).iter().map(|line| line.rtp.expect("a port")).collect()
}

/// What comes of 50 packets, one every 10 ms and each fifth of them audio, for the publisher and for one viewer.
struct Outcome {
    answer: String,
    /// The transport-wide numbers that feedback speaks of, and whether they are said to have arrived.
    told: BTreeMap<u16, bool>,
    /// Packets by port and payload type.
    heard: BTreeMap<(u16, u8), usize>,
}

fn publish(ports: [u16; 2]) -> Outcome {
    let mut world = World::recorded();
    let keys = json!({"command": "publish", "from-tag": "p", "sdp": describe(ports, ["0", "1"], "sendonly"),
        "codec": {"accept": ["all", "any"]}, "bundle": ["accept"]});
    let answer = ask(&mut world, keys)["sdp"].clone();
    let to = addresses(&answer);
    let offer = ask(&mut world, json!({"command": "subscribe request", "from-tag": "p"}));
    let sdp = describe([9000, 9002], ["0", "1"], "recvonly");
    ask(&mut world, json!({"command": "subscribe answer", "to-tag": offer["to-tag"], "sdp": sdp}));
    let shown = lines(answer.as_str().expect("a description"));
    let is_numbered = [0, 1].map(|media: usize| shown[media].attributes.iter().any(|text| text == NUMBERS));
    let mut outcome = Outcome {
        answer: answer.as_str().unwrap_or_default().to_owned(),
        told: BTreeMap::new(),
        heard: BTreeMap::new(),
    };
    let mut numbered = 0_u16;
    for sequence in 0..50_u16 {
        let media = usize::from(!sequence.is_multiple_of(5));
        let (payload_type, ssrc) = [AUDIO, VIDEO][media];
        let header = rtp::Header { marker: false, payload_type, sequence, timestamp: 0, ssrc };
        let mut bytes = header.write(&[]);
        if is_numbered[media] {
            bytes[0] |= 0x10;
            bytes.extend_from_slice(&[0xbe, 0xde, 0, 1, 3 << 4 | 1]);
            bytes.extend_from_slice(&numbered.to_be_bytes());
            bytes.push(0);
            numbered += 1;
        }
        bytes.extend_from_slice(&[0; 4]);
        let from = SocketAddr::from(([198, 51, 100, 10], ports[media]));
        let (_, mut sent) = world.deliver(&Datagram { from, to: to[media], bytes }).expect("an open port");
        sent.extend(world.wait(Duration::from_millis(10)));
        sent.iter().for_each(|datagram| outcome.take(datagram));
    }
    ask(&mut world, json!({"command": "delete", "delete delay": 0}));
    world.check_empty();
    outcome
}

impl Outcome {
    fn take(&mut self, datagram: &Datagram) {
        if demux::classify(&datagram.bytes) == Protocol::Rtp {
            let packet = rtp::Packet::parse(&datagram.bytes).expect("RTP");
            *self.heard.entry((datagram.to.port(), packet.header().payload_type)).or_default() += 1;
            return;
        }
        for packet in Compound::new(&datagram.bytes) {
            if let Packet::Feedback { is_payload_specific: false, format: feedback::TRANSPORT_WIDE, control, .. } =
                packet.expect("whole")
            {
                self.told.extend(statuses(control).iter().map(|(number, at)| (*number, at.is_some())));
            }
        }
    }

    /// Each port of the viewer hears one media, whole; every number that was told of has arrived.
    fn check(&self, least: usize) {
        assert_eq!(self.heard, BTreeMap::from([((9000, AUDIO.0), 10), ((9002, VIDEO.0), 40)]));
        assert!(self.told.len() > least && self.told.values().all(|arrived| *arrived), "{:?}", self.told);
    }
}

#[test]
fn of_a_publishers_bundle_all_arrival_times_are_told() {
    let outcome = publish([40_000, 40_000]);
    assert!(outcome.answer.contains("\r\na=group:BUNDLE 0 1\r\n"), "{}", outcome.answer);
    let ports: Vec<_> = lines(&outcome.answer).into_iter().map(|line| line.rtp).collect();
    assert_eq!(ports[0], ports[1], "one port for both");
    outcome.check(40);
}

/// On two ports each would take what the other has received for lost.
#[test]
fn of_two_ports_one_tells_of_arrival_times() {
    let outcome = publish([40_000, 40_002]);
    let shown = lines(&outcome.answer);
    let knows = |media: usize, what: &str| shown[media].attributes.iter().any(|text| text.contains(what));
    assert_eq!([knows(0, "transport-"), knows(1, NUMBERS), knows(1, "transport-cc")], [false, true, true]);
    outcome.check(30);
}

/// The description that a subscription shows, with the addresses of its lines.
fn subscribe(world: &mut World, keys: Value) -> (Value, Vec<SocketAddr>) {
    let mut request = json!({"command": "subscribe request", "from-tag": "p"});
    request.as_object_mut().expect("a dictionary").extend(keys.as_object().expect("a dictionary").clone());
    let offer = ask(world, request);
    let ports = addresses(&offer["sdp"]);
    (offer, ports)
}

fn count(sdp: &Value, text: &str) -> usize {
    sdp.as_str().unwrap_or_default().matches(text).count()
}

/// What a viewer hears of one packet of each of the publisher's medias, by port and payload type.
fn heard(world: &mut World, to: &[SocketAddr], sequence: u16) -> Vec<(SocketAddr, u8)> {
    let mut heard = Vec::new();
    for (media, (payload_type, ssrc)) in [AUDIO, VIDEO].into_iter().enumerate() {
        let header = rtp::Header { marker: false, payload_type, sequence, timestamp: 0, ssrc };
        let bytes = header.write(&[0; 4]);
        let from = SocketAddr::from(([198, 51, 100, 10], 40_000));
        let (_, sent) = world.deliver(&Datagram { from, to: to[media], bytes }).expect("an open port");
        let rtp = sent.iter().filter(|datagram| demux::classify(&datagram.bytes) == Protocol::Rtp);
        heard.extend(
            rtp.map(|datagram| (datagram.to, rtp::Packet::parse(&datagram.bytes).expect("RTP").header().payload_type)),
        );
    }
    heard
}

#[test]
fn a_subscriber_is_offered_a_bundle_where_the_request_accepts_it() {
    let mut world = World::recorded();
    let keys = json!({"command": "publish", "from-tag": "p", "sdp": describe([40_000; 2], ["0", "1"], "sendonly"),
        "codec": {"accept": ["all", "any"]}, "bundle": ["accept"]});
    let to = addresses(&ask(&mut world, keys)["sdp"]);
    for (keys, has_group, is_shared) in [
        (json!({}), false, false),
        (json!({"flags": ["WebRTC"]}), false, false),
        (json!({"bundle": ["accept"]}), true, false),
        (json!({"bundle": ["offer"]}), true, false),
        (json!({"bundle": ["accept", "reject"]}), false, false),
        (json!({"bundle": ["require"]}), true, true),
        (json!({"bundle": ["accept"], "flags": ["WebRTC"]}), true, true),
    ] {
        let (offer, ports) = subscribe(&mut world, keys.clone());
        assert_eq!(count(&offer["sdp"], "a=group:BUNDLE 1 2\r\n") == 1, has_group, "{keys}: {offer}");
        assert_eq!(count(&offer["sdp"], "hdrext:sdes:mid") == 2, has_group, "{keys}: {offer}");
        assert_eq!(ports[0] == ports[1], is_shared, "{keys}: {offer}");
        assert_eq!(count(&offer["sdp"], "a=bundle-only") > 0, is_shared, "{keys}: {offer}");
        ask(&mut world, json!({"command": "unsubscribe", "to-tag": offer["to-tag"]}));
    }
    let (offer, ports) = subscribe(&mut world, json!({"bundle": ["accept"]}));
    let sdp = describe([9000; 2], ["1", "2"], "recvonly");
    ask(&mut world, json!({"command": "subscribe answer", "to-tag": offer["to-tag"], "sdp": sdp}));
    let viewer = SocketAddr::from(([198, 51, 100, 10], 9000));
    let both = vec![(viewer, AUDIO.0), (viewer, VIDEO.0)];
    assert_eq!(heard(&mut world, &to, 1), both);
    // Asked again, it stays the bundle that it has become.
    let (again, shown) = subscribe(&mut world, json!({"to-tag": offer["to-tag"]}));
    assert_eq!((shown[0], shown[1]), (ports[0], ports[0]), "{again}");
    assert_eq!(count(&again["sdp"], "a=group:BUNDLE 1 2\r\n"), 1, "{again}");
    let sdp = describe([9000; 2], ["1", "2"], "recvonly");
    ask(&mut world, json!({"command": "subscribe answer", "to-tag": offer["to-tag"], "sdp": sdp}));
    assert_eq!(heard(&mut world, &to, 2), both);
    // Who declines the group has a port for each line again.
    let (declined, ports) = subscribe(&mut world, json!({"bundle": ["accept"]}));
    assert_ne!(ports[0], ports[1]);
    let sdp = describe([9100, 9102], ["1", "2"], "recvonly");
    ask(&mut world, json!({"command": "subscribe answer", "to-tag": declined["to-tag"], "sdp": sdp}));
    let apart = [(9100, AUDIO.0), (9102, VIDEO.0)];
    let apart = apart.map(|(port, payload_type)| (SocketAddr::from(([198, 51, 100, 10], port)), payload_type));
    let heard = heard(&mut world, &to, 3);
    assert!(apart.iter().all(|one| heard.contains(one)) && heard.len() == 4, "{heard:?}");
    ask(&mut world, json!({"command": "delete", "delete delay": 0}));
    world.check_empty();
}
