//! Receivers beside the call: recorders (SIPREC), rooms with publishers and viewers.

use super::{ALICE, BOB, CAROL, alice, bob, carol};
use millrace_testsuite::simulation::{Leg, Phone, Stage, assert_hears, lines};
use serde_json::{Value, json};

/// A recorder with one line for each of alice and bob, who only listens.
fn recorder() -> Phone {
    let legs = vec![Leg::new("audio", 8000, 1), Leg::new("audio", 8002, 2)];
    let mut phone = Phone::new("recorder", "198.51.100.40", legs);
    for leg in &mut phone.legs {
        (leg.direction, leg.talks) = ("recvonly", false);
    }
    phone
}

/// alice and bob talk; phone 2 is the recorder.
fn recorded() -> Stage {
    let mut stage = Stage::new(vec![alice(), bob(), recorder()]);
    stage.call(0, 1);
    stage.talk(500);
    stage
}

/// Subscribes phone `viewer` and answers for it; returns the reply and the tag of the subscription.
fn subscribe(stage: &mut Stage, viewer: usize, keys: Value) -> (Value, String) {
    let reply = stage.must("subscribe request", keys);
    stage.phones[viewer].show(reply["sdp"].as_str().expect("a description"));
    let tag = reply["to-tag"].as_str().expect("a tag").to_owned();
    let sdp = stage.phones[viewer].describe();
    stage.must("subscribe answer", json!({"to-tag": tag, "sdp": sdp}));
    (reply, tag)
}

/// What the recorder's two lines have heard of alice and bob.
fn assert_recorded(stage: &Stage) {
    for (line, speaker) in [(0, 0), (1, 1)] {
        assert_hears(&stage.phones[2].legs[line], &stage.phones[speaker].legs[0]);
        assert_eq!(stage.phones[2].legs[line].heard.len() as u64, stage.phones[speaker].legs[0].rtp_sent);
    }
}

fn assert_silent(phone: &Phone) {
    assert!(phone.legs.iter().all(|leg| leg.heard.is_empty()), "{} hears", phone.name);
}

#[test]
fn a_recorder_hears_each_side_on_a_line_of_its_own() {
    let mut stage = recorded();
    let keys = json!({"flags": ["all", "SIPREC"], "from-tag": "1"});
    let (reply, tag) = subscribe(&mut stage, 2, keys);
    assert_eq!(reply["from-tags"], json!(["alice", "bob"]));
    let shown = lines(reply["sdp"].as_str().expect("a description"));
    assert!(shown.iter().all(|line| line.direction == "sendonly"));
    let labels: Vec<&str> =
        shown.iter().filter_map(|line| line.attributes.iter().find_map(|text| text.strip_prefix("label:"))).collect();
    for (entry, label) in reply["tag-medias"].as_array().expect("a list").iter().zip(labels) {
        assert_eq!(entry["medias"][0]["label"], label);
        assert_eq!(reply["media-labels"][label]["tag"], entry["tag"]);
    }
    stage.talk(1000);
    stage.assert_talk(0, 1);
    assert_recorded(&stage);
    stage.must("unsubscribe", json!({"to-tag": tag, "from-tag": "bob"}));
    stage.talk(500);
    stage.assert_talk(0, 1);
    assert_silent(&stage.phones[2]);
    assert_eq!(stage.world.ports.open().count(), 4);
    stage.end();
}

#[test]
fn a_recording_pauses_and_resumes_on_the_same_ports() {
    let mut stage = recorded();
    let (first, tag) = subscribe(&mut stage, 2, json!({"flags": ["all", "SIPREC"]}));
    let ports = |reply: &Value| {
        let shown = lines(reply["sdp"].as_str().expect("a description"));
        shown.iter().map(|line| line.rtp).collect::<Vec<_>>()
    };
    // A recorder that answers as if nothing had happened hears nothing all the same.
    let (paused, same) = subscribe(&mut stage, 2, json!({"flags": ["all", "SIPREC", "inactive"], "to-tag": tag}));
    assert_eq!((ports(&paused), same.as_str()), (ports(&first), tag.as_str()));
    stage.talk(500);
    stage.assert_talk(0, 1);
    assert_silent(&stage.phones[2]);
    let (resumed, _) = subscribe(&mut stage, 2, json!({"flags": ["all", "SIPREC"], "to-tag": tag}));
    assert_eq!(ports(&resumed), ports(&first));
    stage.talk(500);
    assert_recorded(&stage);
    stage.end();
}

#[test]
fn a_recorder_that_fails_leaves_nothing_behind() {
    let mut stage = recorded();
    let reply = stage.must("subscribe request", json!({"flags": ["all"]}));
    let tag = reply["to-tag"].clone();
    let one_line = bob().describe();
    for sdp in [one_line.as_str(), "", "nonsense"] {
        let answer = stage.ask("subscribe answer", json!({"to-tag": tag, "sdp": sdp}));
        assert_eq!(answer["result"], "error", "{sdp}");
    }
    let unknown = stage.ask("subscribe answer", json!({"to-tag": "bob", "sdp": one_line}));
    assert_eq!(unknown["error-reason"], "To-tag not found");
    stage.talk(500);
    stage.assert_talk(0, 1);
    stage.must("unsubscribe", json!({"to-tag": tag}));
    assert_eq!(stage.world.ports.open().count(), 4);
    stage.end();
}

#[test]
fn a_line_that_goes_leaves_the_other_lines_in_their_places() {
    let mut stage = recorded();
    let (_, tag) = subscribe(&mut stage, 2, json!({"flags": ["all", "SIPREC"]}));
    let (reply, _) = {
        let reply = stage.must("subscribe request", json!({"from-tag": "bob", "to-tag": tag}));
        stage.phones[2].show(reply["sdp"].as_str().expect("a description"));
        (reply, ())
    };
    let shown = lines(reply["sdp"].as_str().expect("a description"));
    assert!(shown[0].rtp.is_none() && shown[1].rtp.is_some());
    stage.phones[2].legs[0].port = 0;
    let sdp = stage.phones[2].describe();
    stage.must("subscribe answer", json!({"to-tag": tag, "sdp": sdp}));
    stage.talk(500);
    assert!(stage.phones[2].legs[0].heard.is_empty());
    assert_hears(&stage.phones[2].legs[1], &stage.phones[1].legs[0]);
    stage.end();
}

#[test]
fn a_tag_of_the_dialogue_does_not_become_a_recorder() {
    let mut stage = recorded();
    let (reply, tag) = subscribe(&mut stage, 2, json!({"flags": ["all"], "to-tag": "bob"}));
    assert_ne!(reply["to-tag"], "bob");
    stage.talk(500);
    stage.assert_talk(0, 1);
    assert_recorded(&stage);
    stage.must("unsubscribe", json!({"to-tag": tag}));
    // The parties themselves are not taken out by it.
    stage.must("unsubscribe", json!({"to-tag": "bob"}));
    stage.talk(500);
    stage.assert_talk(0, 1);
    stage.end();
}

/// Three viewers of what phone 0 publishes.
fn room() -> (Stage, Vec<String>) {
    let viewer = |name, address, ssrc| {
        let mut phone = Phone::audio(name, address, 9000, ssrc);
        (phone.legs[0].direction, phone.legs[0].talks) = ("recvonly", false);
        phone
    };
    let mut publisher = alice();
    publisher.legs[0].direction = "sendonly";
    let phones = vec![
        publisher,
        viewer("v1", "198.51.100.51", 11),
        viewer("v2", "198.51.100.52", 12),
        viewer("v3", "2001:db8::53", 13),
    ];
    let mut stage = Stage::new(phones);
    let sdp = stage.phones[0].describe();
    let reply = stage.must("publish", json!({"from-tag": "alice", "sdp": sdp}));
    stage.phones[0].show(reply["sdp"].as_str().expect("a description"));
    let tags = (1..=3)
        .map(|viewer| {
            let family = if viewer == 3 { "IP6" } else { "IP4" };
            let keys = json!({"from-tag": "alice", "address family": family, "flags": ["RTCP mirror"]});
            subscribe(&mut stage, viewer, keys).1
        })
        .collect();
    (stage, tags)
}

#[test]
fn a_publisher_is_heard_by_all_who_subscribe() {
    let (mut stage, tags) = room();
    for viewer in 1..=3 {
        // Viewers send reports all the same, and the publisher gets them.
        stage.leg(viewer).talks = false;
    }
    stage.talk(1000);
    for viewer in 1..=3 {
        stage.assert_hears(viewer, 0);
    }
    stage.must("unsubscribe", json!({"to-tag": tags[1]}));
    stage.talk(500);
    stage.assert_hears(1, 0);
    stage.assert_deaf(2, 0);
    stage.assert_hears(3, 0);
    stage.must("delete", json!({"from-tag": tags[0], "delete delay": 0}));
    stage.talk(500);
    stage.assert_deaf(1, 0);
    stage.assert_hears(3, 0);
    stage.end();
}

#[test]
fn mirrored_reports_reach_the_publisher() {
    let (mut stage, _) = room();
    for viewer in 1..=3 {
        stage.leg(viewer).talks = true;
    }
    stage.talk(2000);
    let mut senders: Vec<u32> = stage.leg(0).rtcp_heard.iter().map(|(ssrc, _)| *ssrc).collect();
    senders.sort_unstable();
    assert_eq!(senders, [11, 11, 12, 12, 13, 13]);
    assert!(stage.leg(0).heard.is_empty(), "what viewers say goes nowhere");
    stage.end();
}

#[test]
fn a_publisher_without_viewers_outlives_others() {
    let (mut stage, _) = room();
    let sdp = carol().describe();
    stage.must("publish", json!({"from-tag": "carol", "sdp": sdp}));
    stage.must("delete", json!({"from-tag": "alice", "delete delay": 0}));
    let report = stage.must("query", json!({}));
    let tags: Vec<&String> = report["tags"].as_object().expect("tags").keys().collect();
    assert_eq!(tags, ["carol"]);
    stage.end();
}

#[test]
fn what_is_sent_to_a_party_is_heard_by_an_egress_subscription() {
    let mut listener = Phone::audio("listener", "198.51.100.60", 9000, 21);
    (listener.legs[0].direction, listener.legs[0].talks) = ("recvonly", false);
    let mut stage = Stage::new(vec![alice(), bob(), listener]);
    stage.call(0, 1);
    let (_, tag) = subscribe(&mut stage, 2, json!({"from-tag": "bob", "flags": ["egress"]}));
    stage.talk(500);
    stage.assert_talk(0, 1);
    stage.assert_hears(2, 0);
    stage.assert_deaf(2, 1);
    // What bob is not sent the listener does not hear either.
    stage.must("block media", json!({"from-tag": "alice", "flags": ["directional"]}));
    stage.talk(500);
    stage.assert_deaf(2, 0);
    stage.must("unblock media", json!({"from-tag": "alice", "flags": ["directional"]}));
    stage.must("unsubscribe", json!({"to-tag": tag}));
    stage.talk(500);
    stage.assert_talk(0, 1);
    assert_silent(&stage.phones[2]);
    stage.end();
}

#[test]
fn one_flow_of_a_subscription_ends() {
    let mut stage = recorded();
    let (_, tag) = subscribe(&mut stage, 2, json!({"flags": ["all"]}));
    stage.must("unsubscribe", json!({"to-tag": tag, "from-tag": "alice", "flags": ["directional"]}));
    stage.talk(500);
    stage.assert_talk(0, 1);
    assert!(stage.phones[2].legs[0].heard.is_empty());
    assert_hears(&stage.phones[2].legs[1], &stage.phones[1].legs[0]);
    stage.end();
}

#[test]
fn a_bidirectional_subscriber_is_heard_too() {
    let mut stage = Stage::new(vec![alice(), bob(), carol()]);
    stage.call(0, 1);
    let (reply, tag) = subscribe(&mut stage, 2, json!({"from-tag": "alice", "flags": ["bidirectional"]}));
    assert_eq!(lines(reply["sdp"].as_str().expect("a description"))[0].direction, "sendrecv");
    stage.talk(500);
    assert_eq!(stage.leg(0).sequences(CAROL).len(), 25);
    assert_eq!(stage.leg(2).sequences(ALICE).len(), 25);
    assert!(stage.leg(1).sequences(CAROL).is_empty() && stage.leg(2).sequences(BOB).is_empty());
    stage.must("unsubscribe", json!({"to-tag": tag}));
    stage.talk(500);
    stage.assert_talk(0, 1);
    stage.assert_deaf(0, 2);
    stage.end();
}

#[test]
fn a_mix_puts_all_flows_on_one_line() {
    let mut listener = Phone::audio("listener", "198.51.100.60", 9000, 21);
    (listener.legs[0].direction, listener.legs[0].talks) = ("recvonly", false);
    let mut stage = Stage::new(vec![alice(), bob(), listener]);
    stage.call(0, 1);
    subscribe(&mut stage, 2, json!({"flags": ["all", "mix"]}));
    stage.talk(500);
    stage.assert_hears(2, 0);
    stage.assert_hears(2, 1);
    stage.end();
}
