//! Plain calls: offer, answer, talk, delete.

use super::{ALICE, BOB, alice, bob, two};
use millrace_testsuite::simulation::{Conditions, Datagram, Leg, Network, Phone, Stage, Talk, World};
use serde_json::json;
use std::collections::BTreeMap;

#[test]
fn both_sides_hear_each_other_and_nobody_else() {
    let mut stage = two();
    stage.call(0, 1);
    stage.talk(2000);
    stage.assert_talk(0, 1);
    assert_eq!(stage.leg(0).rtp_sent, 100);
    assert!(stage.strays.is_empty() && stage.refused == 0);
    stage.end();
}

#[test]
fn query_counts_what_was_sent() {
    let mut stage = two();
    stage.call(0, 1);
    stage.talk(5000);
    let report = stage.must("query", json!({}));
    let (rtp, rtcp) = (&report["totals"]["RTP"], &report["totals"]["RTCP"]);
    assert_eq!((rtp["packets"].as_u64(), rtp["bytes"].as_u64()), (Some(500), Some(500 * 172)));
    assert_eq!((rtcp["packets"].as_u64(), rtcp["bytes"].as_u64()), (Some(10), Some(10 * 28)));
    assert_eq!((rtp["errors"].as_u64(), rtcp["errors"].as_u64()), (Some(0), Some(0)));
    for (tag, own, other) in [("alice", ALICE, BOB), ("bob", BOB, ALICE)] {
        let media = &report["tags"][tag]["medias"][0];
        for (list, ssrc) in [("ingress SSRCs", own), ("egress SSRCs", other)] {
            let entry = &media[list][0];
            let counted = (entry["SSRC"].as_u64(), entry["packets"].as_u64(), entry["last RTP seq"].as_u64());
            assert_eq!(counted, (Some(u64::from(ssrc)), Some(250), Some(250)), "{tag} {list}");
        }
        assert_eq!(media["codec"], "PCMA/8000");
        assert_eq!(media["streams"][0]["stats"]["packets"], 250);
        assert_eq!(media["streams"][0]["stats_out"]["packets"], 250);
    }
    assert_eq!(report["SSRC"].as_object().map(|entries| entries.len()), Some(2));
    stage.end();
}

#[test]
fn early_media_flows_before_the_final_answer() {
    let mut stage = two();
    stage.offer(0, 1, json!({}));
    // Before any answer nothing reaches the caller: nobody there has been told where to send.
    stage.talk(200);
    assert!(stage.departed.is_empty());
    let provisional = json!({"SIP message type": "SIP response", "SIP code": 183});
    stage.answer(0, 1, provisional);
    stage.talk(1000);
    stage.assert_talk(0, 1);
    stage.answer(0, 1, json!({"SIP message type": "SIP response", "SIP code": 200}));
    stage.talk(1000);
    stage.assert_talk(0, 1);
    stage.end();
}

/// How often each packet passed the engine's door, by SSRC, sequence number and port.
fn counts(list: impl Iterator<Item = Talk>) -> BTreeMap<(u32, u16), usize> {
    let mut counts = BTreeMap::new();
    list.for_each(|talk| *counts.entry((talk.ssrc, talk.sequence)).or_default() += 1);
    counts
}

#[test]
fn what_a_bad_network_leaves_is_relayed_packet_for_packet() {
    for seed in 1..=10 {
        let network = Network::new(seed, Conditions::ROUGH);
        let mut stage = Stage::with(World::recorded(), network, vec![alice(), bob()]);
        stage.call(0, 1);
        stage.talk(10_000);
        let arrived = counts(stage.arrived.iter().map(|(talk, _)| *talk));
        assert_eq!(arrived, counts(stage.departed.iter().copied()), "seed {seed}");
        assert!(stage.arrived.len() > 900 && stage.arrived.len() < 1000, "{}", stage.arrived.len());
        stage.end();
    }
}

#[test]
fn phones_behind_nats_are_found() {
    for seed in 1..=5 {
        let mut network = Network::new(seed, Conditions { loss: 20, ..Conditions::CALM });
        let inner = |text: &str| text.parse().expect("an address");
        network.add_nat(inner("10.0.0.5"), inner("192.0.2.10"));
        network.add_nat(inner("192.168.1.7"), inner("192.0.2.20"));
        let phones =
            vec![Phone::audio("alice", "10.0.0.5", 40000, ALICE), Phone::audio("bob", "192.168.1.7", 50000, BOB)];
        let mut stage = Stage::with(World::recorded(), network, phones);
        stage.call(0, 1);
        stage.run(4000);
        stage.forget();
        stage.network.conditions = Conditions::CALM;
        stage.talk(2000);
        stage.assert_talk(0, 1);
        stage.end();
    }
}

#[test]
fn a_nat_that_forgets_is_followed_where_signalling_allows_it() {
    let mut network = Network::new(3, Conditions::CALM);
    let inner = "10.0.0.5".parse().expect("an address");
    network.add_nat(inner, "192.0.2.10".parse().expect("an address"));
    let phones = vec![Phone::audio("alice", "10.0.0.5", 40000, ALICE), bob()];
    let mut stage = Stage::with(World::recorded(), network, phones);
    stage.offer(0, 1, json!({"flags": ["media handover"]}));
    stage.answer(0, 1, json!({}));
    stage.run(4000);
    stage.network.restart_nat(inner);
    stage.run(1000);
    stage.talk(2000);
    stage.assert_talk(0, 1);
    stage.end();
}

#[test]
fn ip4_talks_to_ip6() {
    let phones = vec![alice(), Phone::audio("bob", "2001:db8::20", 50000, BOB)];
    let mut stage = Stage::new(phones);
    stage.offer(0, 1, json!({"address family": "IP6"}));
    assert!(stage.leg(1).shown.as_ref().is_some_and(|shown| shown.rtp.is_some_and(|rtp| rtp.is_ipv6())));
    stage.answer(0, 1, json!({}));
    assert!(stage.leg(0).shown.as_ref().is_some_and(|shown| shown.rtp.is_some_and(|rtp| rtp.is_ipv4())));
    stage.talk(1000);
    stage.assert_talk(0, 1);
    stage.end();
}

#[test]
fn rtcp_is_multiplexed_on_one_side_alone() {
    for (muxed, flags) in [(0, json!({"rtcp-mux": ["demux"]})), (1, json!({"rtcp-mux": ["offer"]}))] {
        let mut stage = two();
        stage.leg(muxed).wants_mux = true;
        stage.offer(0, 1, flags.clone());
        stage.answer(0, 1, json!({}));
        let is_muxed = |leg: &Leg| leg.shown.as_ref().is_some_and(|shown| shown.is_muxed);
        assert_eq!([is_muxed(stage.leg(0)), is_muxed(stage.leg(1))], [muxed == 0, muxed == 1], "{flags}");
        stage.talk(3000);
        stage.assert_talk(0, 1);
        let at = |leg: &Leg| leg.rtcp_heard.iter().all(|(_, port)| *port == leg.port);
        assert_eq!((at(stage.leg(0)), at(stage.leg(1))), (muxed == 0, muxed == 1));
        // Two ports for the side that has two, one for the other.
        assert_eq!(stage.world.ports.open().count(), 3);
        stage.end();
    }
}

#[test]
fn interfaces_are_bridged() {
    let mut stage = two();
    stage.offer(0, 1, json!({"direction": ["priv", "pub"]}));
    stage.answer(0, 1, json!({}));
    let shown = |leg: &Leg| leg.shown.as_ref().and_then(|shown| shown.rtp).map(|rtp| rtp.ip().to_string());
    assert_eq!(shown(stage.leg(0)).as_deref(), Some("203.0.113.2"));
    assert_eq!(shown(stage.leg(1)).as_deref(), Some("203.0.113.1"));
    stage.talk(1000);
    stage.assert_talk(0, 1);
    stage.end();
}

#[test]
fn a_group_of_interfaces_serves_from_all_its_members_and_stays_with_one() {
    let entries = ["pub:1/203.0.113.1", "pub:2/203.0.113.2", "other/203.0.113.9"];
    let mut seen = BTreeMap::new();
    for _ in 0..2 {
        let mut world = World::new(&entries, (30000, 30019));
        let mut offer = |call: usize, tag: &str| {
            let sdp = alice().describe();
            let request = json!({"command": "offer", "call-id": call.to_string(), "from-tag": tag, "sdp": sdp});
            let reply = world.ask(&request);
            world.check();
            let line = millrace_testsuite::simulation::lines(reply["sdp"].as_str().expect("a description")).remove(0);
            line.rtp.expect("a port")
        };
        for call in 0..20 {
            let rtp = offer(call, "alice");
            assert_eq!(rtp, offer(call, "alice"), "the ports of a call change");
            *seen.entry(rtp.ip().to_string()).or_insert(0) += 1;
        }
        world.end_all();
        world.check_empty();
    }
    // Twenty calls fill both members, though each has room for ten.
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [("203.0.113.1".to_owned(), 20), ("203.0.113.2".to_owned(), 20)]);
}

#[test]
fn the_type_of_service_is_set_and_changed_on_all_ports() {
    let mut stage = two();
    stage.offer(0, 1, json!({"TOS": 184}));
    stage.answer(0, 1, json!({}));
    let values = |stage: &Stage| stage.world.ports.tos.values().copied().collect::<Vec<_>>();
    assert_eq!(values(&stage), [184; 4]);
    stage.reoffer(0, 1, json!({}));
    assert_eq!(values(&stage), [184; 4]);
    stage.reoffer(0, 1, json!({"TOS": 32}));
    assert_eq!(values(&stage), [32; 4]);
    stage.end();
}

/// Who is offered a bundle is promised mids, also where the other side brings none (RFC 9143, section 15).
#[test]
fn packets_get_the_mid_that_was_promised() {
    let mut stage = two();
    stage.offer(0, 1, json!({"bundle": ["offer"], "flags": ["generate-mid"]}));
    let promised = "extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid";
    let shown = stage.leg(1).shown.clone().expect("a section");
    assert!(shown.attributes.iter().any(|attribute| attribute == promised), "{shown:?}");
    stage.leg(1).attributes = vec!["mid:1", promised];
    stage.answer(0, 1, json!({}));
    let head = [8, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
    let plain = [&[0x80][..], &head, &[9, 9]].concat();
    let extended = [&[0x90][..], &head, &[0xbe, 0xde, 0, 1, 0x10, b'1', 0, 0, 9, 9]].concat();
    for (speaker, from, arrives) in [(0, "198.51.100.10:40000", &extended), (1, "198.51.100.20:50000", &plain)] {
        let to = stage.leg(speaker).shown.as_ref().and_then(|shown| shown.rtp).expect("a port");
        let datagram = Datagram { from: from.parse().unwrap(), to, bytes: plain.clone() };
        let (_, sent) = stage.world.deliver(&datagram).expect("an open port");
        assert_eq!(sent.iter().map(|datagram| &datagram.bytes).collect::<Vec<_>>(), [arrives]);
    }
}
