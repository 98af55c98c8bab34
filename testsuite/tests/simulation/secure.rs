//! Calls with SRTP, DTLS and ICE, in any mix.

use millrace::base::suite::Suite;
use millrace::sdp::{self, SessionDescription};
use millrace_testsuite::simulation::secure_phone::{Keys, SecurePhone};
use millrace_testsuite::simulation::{Datagram, World};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::time::Duration;

/// A call between two phones.
pub(super) struct Call {
    pub(super) world: World,
    pub(super) phones: [SecurePhone; 2],
}

impl Call {
    pub(super) fn new(keys: [Keys; 2], has_ice: [bool; 2]) -> Call {
        let at = |host: u8, port| std::net::SocketAddr::from(([198, 51, 100, host], port));
        let phones = [
            SecurePhone::new(at(10, 40000), keys[0], has_ice[0]),
            SecurePhone::new(at(20, 50000), keys[1], has_ice[1]),
        ];
        Call { world: World::recorded(), phones }
    }

    fn ask(&mut self, command: &str, sdp: &str, more: Value) -> SessionDescription {
        let mut request = json!({"command": command, "call-id": "c", "from-tag": "a", "sdp": sdp});
        let more = more.as_object().expect("keys").clone();
        request.as_object_mut().expect("a dictionary").extend(more);
        let reply = self.world.ask(&request);
        assert_eq!(reply["result"], "ok", "{reply}");
        sdp::parse(reply["sdp"].as_str().expect("a description")).expect("it is well-formed")
    }

    /// Offer with `flags`, answer; `setups` are what the two phones say of their roles.
    pub(super) fn set_up(&mut self, protocols: [&str; 2], setups: [&str; 2], flags: Value) {
        let offer = self.phones[0].describe(&self.world, protocols[0], setups[0]);
        let shown = self.ask("offer", &offer, flags);
        let answer = self.phones[1].describe(&self.world, protocols[1], setups[1]);
        // The answerer has seen the offer before it answers.
        self.phones[1].take(&self.world, &shown, 0, setups[1] == "active");
        let shown = self.ask("answer", &answer, json!({"to-tag": "b"}));
        let is_client = shown.medias[0].attribute("setup").is_some_and(|setup| setup.value() == "passive");
        self.phones[0].take(&self.world, &shown, 0, is_client);
    }

    /// Lets time pass with everything that is sent meanwhile.
    pub(super) fn pass(&mut self, milliseconds: u64) {
        for _ in 0..milliseconds / 5 {
            let mut under_way: VecDeque<Datagram> = self.world.wait(Duration::from_millis(5)).into();
            for phone in &mut self.phones {
                under_way.extend(phone.poll(self.world.now.mono));
            }
            self.carry(under_way);
        }
    }

    pub(super) fn carry(&mut self, mut under_way: VecDeque<Datagram>) {
        while let Some(datagram) = under_way.pop_front() {
            if self.world.is_own(datagram.to.ip()) {
                under_way.extend(self.world.deliver(&datagram).map(|(_, sent)| sent).unwrap_or_default());
            } else if let Some(phone) = self.phones.iter_mut().find(|phone| phone.local == datagram.to) {
                under_way.extend(phone.hear(self.world.now.mono, &datagram));
            }
        }
    }

    /// Both talk, on one shard and then on another; everything must be heard, and nothing else.
    fn talk(&mut self) {
        self.talk_here();
        assert_eq!(self.world.move_calls(), 1);
        self.talk_here();
    }

    fn talk_here(&mut self) {
        for phone in &self.phones {
            assert!(phone.is_keyed(), "{} has no keys", phone.local);
        }
        self.phones.iter_mut().for_each(|phone| phone.heard.clear());
        let mut said = [Vec::new(), Vec::new()];
        for number in 0..50u8 {
            for (place, said) in said.iter_mut().enumerate() {
                let payload = vec![number ^ (place as u8) << 7; 160];
                let datagram = self.phones[place].say(&payload);
                said.push(payload);
                self.carry([datagram].into());
            }
            self.pass(20);
        }
        assert_eq!(self.phones[0].heard, said[1], "what the offerer hears");
        assert_eq!(self.phones[1].heard, said[0], "what the answerer hears");
        assert_eq!((self.phones[0].refused, self.phones[1].refused), (0, 0));
    }

    pub(super) fn end(mut self) {
        self.world.check();
        let reply = self.world.ask(&json!({"command": "delete", "call-id": "c", "delete-delay": 0}));
        assert_eq!(reply["result"], "ok");
        self.world.check_empty();
    }
}

pub(super) const CM: Keys = Keys::Sdes(Suite::AesCm128Sha1_80);
const GCM: Keys = Keys::Sdes(Suite::AeadAes128Gcm);

#[test]
fn every_suite_is_bridged_to_plain() {
    for &(suite, _) in millrace::base::suite::SUITES {
        let mut call = Call::new([Keys::Sdes(suite), Keys::None], [false; 2]);
        call.set_up(["RTP/SAVP", "RTP/AVP"], ["", ""], json!({"transport-protocol": "RTP/AVP"}));
        call.talk();
        call.end();
    }
}

#[test]
fn plain_is_bridged_to_every_suite() {
    for &(suite, _) in millrace::base::suite::SUITES {
        let mut call = Call::new([Keys::None, Keys::Sdes(suite)], [false; 2]);
        call.set_up(["RTP/AVP", "RTP/SAVP"], ["", ""], json!({"transport-protocol": "RTP/SAVP", "DTLS": "off"}));
        call.talk();
        call.end();
    }
}

#[test]
fn equal_suites_pass_and_others_are_translated() {
    for (keys, flags) in [([CM, CM], json!({})), ([CM, GCM], json!({})), ([CM, CM], json!({"flags": ["recrypt"]}))] {
        let mut call = Call::new(keys, [false; 2]);
        let mut flags = flags;
        flags["DTLS"] = json!("off");
        call.set_up(["RTP/SAVP", "RTP/SAVP"], ["", ""], flags);
        call.talk();
        call.end();
    }
}

#[test]
fn what_is_not_authentic_is_dropped_and_teaches_nothing() {
    let mut call = Call::new([CM, CM], [false; 2]);
    call.set_up(["RTP/SAVP", "RTP/SAVP"], ["", ""], json!({"DTLS": "off"}));
    call.talk();
    for phone in 0..2 {
        let mut forged = call.phones[phone].say(&[9; 160]);
        forged.bytes[20] ^= 1;
        forged.from = std::net::SocketAddr::from(([203, 0, 113, 200], 4000));
        let (verdict, sent) = call.world.deliver(&forged).expect("a port");
        assert_eq!(sent, [], "{verdict:?}");
        assert!(matches!(verdict, millrace::relay::Verdict::Dropped(_)), "{verdict:?}");
    }
    call.talk();
    call.end();
}

#[test]
fn a_handshake_brings_keys_in_either_role() {
    for (setups, flags) in [
        (["actpass", "active"], json!({})),
        (["actpass", "passive"], json!({})),
        (["actpass", "active"], json!({"DTLS": "passive"})),
        (["active", "passive"], json!({})),
        (["passive", "active"], json!({})),
    ] {
        let mut call = Call::new([Keys::Dtls, Keys::Dtls], [false; 2]);
        call.set_up(["UDP/TLS/RTP/SAVP"; 2], setups, flags);
        call.pass(200);
        call.talk();
        call.end();
    }
}

#[test]
fn a_wrong_certificate_brings_no_keys() {
    let mut call = Call::new([Keys::Dtls, Keys::None], [false; 2]);
    let offer = call.phones[0].describe(&call.world, "UDP/TLS/RTP/SAVP", "actpass");
    let line = offer.lines().find(|line| line.starts_with("a=fingerprint")).expect("a fingerprint").to_owned();
    let last = line.chars().last().expect("digits");
    let other = if last == '0' { '1' } else { '0' };
    let forged = format!("{}{other}", &line[..line.len() - 1]);
    let shown = call.ask("offer", &offer.replace(&line, &forged), json!({"transport-protocol": "RTP/AVP"}));
    let answer = call.phones[1].describe(&call.world, "RTP/AVP", "");
    call.phones[1].take(&call.world, &shown, 0, false);
    let shown = call.ask("answer", &answer, json!({"to-tag": "b"}));
    call.phones[0].take(&call.world, &shown, 0, false);
    call.pass(200);
    for number in 0..10 {
        let datagram = call.phones[1].say(&[number; 160]);
        call.carry([datagram].into());
    }
    assert_eq!((call.phones[0].heard.len(), call.phones[0].refused), (0, 0));
    call.end();
}

#[test]
fn ice_finds_the_way_for_plain_and_protected_media() {
    for keys in [Keys::None, CM, Keys::Dtls] {
        let protocol = match keys {
            Keys::None => "RTP/AVP",
            Keys::Sdes(_) => "RTP/SAVP",
            Keys::Dtls => "UDP/TLS/RTP/SAVPF",
        };
        for lite in [json!({}), json!({"ICE-lite": "both"})] {
            let mut call = Call::new([keys, keys], [true; 2]);
            call.set_up([protocol; 2], ["actpass", "active"], lite);
            call.pass(1500);
            call.talk();
            call.end();
        }
    }
}

#[test]
fn a_browser_talks_to_a_plain_phone() {
    let mut call = Call::new([Keys::Dtls, Keys::None], [true, false]);
    let flags = json!({"transport-protocol": "RTP/AVP", "ICE": "remove", "rtcp-mux": ["demux"]});
    call.set_up(["UDP/TLS/RTP/SAVPF", "RTP/AVP"], ["actpass", ""], flags);
    call.pass(1500);
    call.talk();
    call.end();
    let mut call = Call::new([Keys::None, Keys::Dtls], [false, true]);
    call.set_up(["RTP/AVP", "UDP/TLS/RTP/SAVPF"], ["", "active"], json!({"flags": ["WebRTC"]}));
    call.pass(1500);
    call.talk();
    call.end();
}

#[test]
fn a_party_is_created_and_answers() {
    let mut world = World::recorded();
    let medias = json!([{"type": "audio", "codecs": ["G722", "PCMA"]}, {"type": "video", "codecs": ["VP8"]}]);
    let create = json!({"command": "create", "transport-protocol": "RTP/SAVP", "DTLS": "off", "medias": medias});
    let reply = world.ask(&create);
    assert_eq!(reply["result"], "ok", "{reply}");
    let shown = sdp::parse(reply["sdp"].as_str().expect("a description")).expect("it is well-formed");
    let formats: Vec<&[String]> = shown.medias.iter().map(|media| &media.formats[..]).collect();
    assert_eq!(formats, [&["9".to_owned(), "8".to_owned()][..], &["96".to_owned()][..]]);
    let answer = |medias: usize| {
        let media = "m=audio 9000 RTP/SAVP 8\r\n\
            a=crypto:7 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n";
        let session = "v=0\r\no=- 1 1 IN IP4 198.51.100.20\r\ns=-\r\nc=IN IP4 198.51.100.20\r\nt=0 0\r\n";
        json!({"command": "create answer", "call-id": reply["call-id"], "from-tag": reply["from-tag"],
            "sdp": format!("{session}{}", media.repeat(medias))})
    };
    assert_eq!(world.ask(&answer(1))["result"], "error", "it has to answer both");
    assert_eq!(world.ask(&answer(2))["result"], "ok");
    world.check();
    let keyed = world.shard.relay().streams().filter(|(_, stream)| stream.suite().is_some()).count();
    assert_eq!(keyed, 4, "RTP and RTCP of two medias");
    world.ask(&json!({"command": "delete", "call-id": reply["call-id"], "delete-delay": 0}));
    world.check_empty();
}

#[test]
fn one_who_shakes_hands_can_record_a_party_with_keys_in_its_description() {
    let mut call = Call::new([Keys::Sdes(Suite::AesCm128Sha1_80), Keys::None], [false; 2]);
    call.set_up(["RTP/SAVP", "RTP/AVP"], ["", ""], json!({"transport-protocol": "RTP/AVP"}));
    for (off, keys) in [(json!([]), true), (json!(["off"]), false)] {
        let fork = json!({"from-tag": "a", "transport-protocol": "UDP/TLS/RTP/SAVP", "SDES": off});
        let shown = call.ask("subscribe request", "", fork);
        let media = &shown.medias[0];
        assert!(media.attribute("fingerprint").is_some() && media.attribute("setup").is_some(), "{shown:?}");
        assert_eq!(media.attribute("crypto").is_some(), keys);
    }
    call.end();
}

#[test]
fn a_handshake_under_way_keeps_the_call_where_it_is() {
    let mut call = Call::new([Keys::Dtls, Keys::None], [false; 2]);
    call.set_up(["UDP/TLS/RTP/SAVP", "RTP/AVP"], ["passive", ""], json!({"transport-protocol": "RTP/AVP"}));
    assert_eq!(call.world.move_calls(), 0);
    call.world.check();
    call.pass(500);
    call.talk();
    call.end();
}

/// Each party answers an offer that was made here, in a call of its own; then they are connected.
#[test]
fn parties_are_connected_whatever_protects_their_media() {
    let protocol = |keys: Keys| match keys {
        Keys::None => "RTP/AVP",
        Keys::Sdes(_) => "RTP/SAVP",
        Keys::Dtls => "UDP/TLS/RTP/SAVPF",
    };
    let cases =
        [([CM, Keys::None], false), ([GCM, CM], false), ([Keys::Dtls, CM], false), ([Keys::Dtls, Keys::None], true)];
    for (keys, has_ice) in cases {
        let mut call = Call::new(keys, [has_ice, false]);
        for (place, (id, tag)) in [("c", "a"), ("d", "b")].into_iter().enumerate() {
            let ice = if has_ice && place == 0 { "force" } else { "remove" };
            let keys = json!({"call-id": id, "from-tag": tag, "transport-protocol": protocol(keys[place]), "ICE": ice,
                "rtcp-mux": ["offer"]});
            let shown = call.ask("create", "", keys);
            let answer = call.phones[place].describe(&call.world, protocol_of(&shown), "active");
            call.phones[place].take(&call.world, &shown, 0, true);
            let answer = json!({"command": "create answer", "call-id": id, "from-tag": tag, "sdp": answer});
            assert_eq!(call.world.ask(&answer)["result"], "ok");
        }
        call.pass(2000);
        let connect = json!({"command": "connect", "call-id": "c", "from-tag": "a", "to-tag": "b", "to-call-id": "d"});
        assert_eq!(call.world.ask(&connect)["result"], "ok");
        call.talk();
        call.end();
    }
}

fn protocol_of(description: &SessionDescription) -> &'static str {
    let protocol = description.medias[0].protocol.to_string();
    ["RTP/AVP", "RTP/SAVP", "UDP/TLS/RTP/SAVPF"].into_iter().find(|known| *known == protocol).expect("a known one")
}
