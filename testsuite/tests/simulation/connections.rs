//! `connect`, `mesh` and `inject`: who hears whom once parties are joined, of one call or of several.

use super::{alice, bob, carol};
use millrace_testsuite::simulation::{Phone, Stage};
use serde_json::{Value, json};

const SECOND: &str = "call-2";
const NOW: &str = "delete delay";

fn dave() -> Phone {
    Phone::audio("dave", "198.51.100.50", 20000, 0xda5e)
}

/// alice and bob talk in one call, carol and dave in another.
fn two_calls() -> Stage {
    let mut stage = Stage::new(vec![alice(), bob(), carol(), dave()]);
    stage.call(0, 1);
    stage.offer(2, 3, json!({"call-id": SECOND}));
    stage.answer(2, 3, json!({"call-id": SECOND}));
    assert_heard(&mut stage, &[(0, 1), (1, 0), (2, 3), (3, 2)]);
    stage
}

/// After some talk, exactly these pairs of speaker and listener have worked.
fn assert_heard(stage: &mut Stage, pairs: &[(usize, usize)]) {
    stage.talk(500);
    for speaker in 0..stage.phones.len() {
        for listener in 0..stage.phones.len() {
            match pairs.contains(&(speaker, listener)) {
                true => stage.assert_hears(listener, speaker),
                false => stage.assert_deaf(listener, speaker),
            }
        }
    }
}

fn refused(stage: &mut Stage, command: &str, keys: Value) -> String {
    let reply = stage.ask(command, keys);
    assert_eq!(reply["result"], "error", "{reply}");
    reply["error-reason"].as_str().expect("a reason").to_owned()
}

/// The call-ids that `list` gives, in order.
fn listed(stage: &mut Stage) -> Vec<String> {
    let reply = stage.must("list", json!({}));
    let mut list: Vec<String> = serde_json::from_value(reply["calls"].clone()).expect("call-ids");
    list.sort();
    list
}

#[test]
fn two_parties_of_two_calls_leave_their_partners_for_each_other() {
    let mut stage = two_calls();
    stage.must("connect", json!({"from-tag": "alice", "to-tag": "carol", "to-call-id": SECOND}));
    assert_heard(&mut stage, &[(0, 2), (2, 0)]);
    assert_eq!(stage.world.shard.calls().count(), 1);
    assert_eq!(listed(&mut stage), ["call-1", SECOND]);
    // The others are still there to be joined.
    stage.must("connect", json!({"call-id": SECOND, "from-tag": "bob", "to-tag": "dave", "to-call-id": "call-1"}));
    assert_heard(&mut stage, &[(0, 2), (2, 0), (1, 3), (3, 1)]);
    stage.end();
}

#[test]
fn a_flow_is_added_beside_the_others() {
    let mut stage = two_calls();
    let keys = |flags: Value| json!({"from-tag": "alice", "to-tag": "carol", "to-call-id": SECOND, "flags": flags});
    let talk = [(0, 1), (1, 0), (2, 3), (3, 2)];
    stage.must("connect", keys(json!(["directional"])));
    assert_heard(&mut stage, &[&talk[..], &[(0, 2)]].concat());
    // Asking twice makes no second copy.
    stage.must("connect", keys(json!(["directional", "bidirectional"])));
    assert_heard(&mut stage, &[&talk[..], &[(0, 2), (2, 0)]].concat());
    // An exchange takes the place of flows that were there.
    stage.must("connect", keys(json!([])));
    assert_heard(&mut stage, &[(0, 2), (2, 0)]);
    stage.end();
}

#[test]
fn a_party_leaves_what_it_was_added_to() {
    let mut stage = two_calls();
    let both = json!(["directional", "bidirectional"]);
    let talk = [(0, 1), (1, 0), (2, 3), (3, 2)];
    let keys = json!({"from-tag": "alice", "to-tag": "carol", "to-call-id": SECOND, "flags": both});
    stage.must("connect", keys.clone());
    stage.must("unsubscribe", json!({"to-tag": "carol"}));
    assert_heard(&mut stage, &[&talk[..], &[(2, 0)]].concat());
    stage.must("connect", keys);
    stage.must("unsubscribe", json!({"to-tag": "carol", "flags": ["bidirectional"]}));
    assert_heard(&mut stage, &talk);
    stage.end();
}

#[test]
fn several_sources_flow_to_one() {
    let mut stage = two_calls();
    let all = json!({"all": "all", "to-tag": "carol", "to-call-id": SECOND, "flags": ["directional"]});
    stage.must("connect", all);
    let talk = [(0, 1), (1, 0), (2, 3), (3, 2)];
    assert_heard(&mut stage, &[&talk[..], &[(0, 2), (1, 2)]].concat());
    let some = json!({"from-tags": ["alice", "carol"], "to-tag": "dave"});
    assert!(refused(&mut stage, "connect", some.clone()).contains("directional"));
    let mut some = some;
    some["flags"] = json!(["directional"]);
    stage.must("connect", some);
    assert_heard(&mut stage, &[&talk[..], &[(0, 2), (1, 2), (0, 3)]].concat());
    stage.end();
}

#[test]
fn either_call_id_finds_and_ends_the_call() {
    let mut stage = two_calls();
    stage.must("connect", json!({"from-tag": "alice", "to-tag": "carol", "to-call-id": SECOND}));
    let by_first = stage.must("query", json!({}));
    let by_second = stage.must("query", json!({"call-id": SECOND}));
    assert_eq!(by_first["tags"], by_second["tags"]);
    assert_eq!(by_first["tags"].as_object().expect("tags").len(), 4);
    // A party is found and taken out by either.
    stage.must("delete", json!({"call-id": SECOND, "from-tag": "bob", NOW: 0, "flags": ["fatal"]}));
    assert_heard(&mut stage, &[(0, 2), (2, 0)]);
    stage.must("block media", json!({"call-id": SECOND, "from-tag": "alice", "flags": ["directional"]}));
    assert_heard(&mut stage, &[(2, 0)]);
    stage.must("delete", json!({"call-id": SECOND, NOW: 0, "flags": ["fatal"]}));
    stage.world.check_empty();
    assert!(listed(&mut stage).is_empty());
    assert_eq!(refused(&mut stage, "query", json!({})), "Unknown call-id");
    assert_eq!(stage.world.shard.totals().managed_sessions, 1);
}

#[test]
fn one_call_times_out_where_two_were_joined() {
    let mut stage = two_calls();
    stage.must("connect", json!({"from-tag": "alice", "to-tag": "carol", "to-call-id": SECOND}));
    stage.world.wait(std::time::Duration::from_secs(62));
    stage.world.check_empty();
    assert_eq!(stage.world.shard.totals().timed_out, 1);
    assert!(listed(&mut stage).is_empty());
}

#[test]
fn a_tag_in_both_calls_changes_nothing() {
    let mut stage = Stage::new(vec![alice(), bob(), alice(), dave()]);
    stage.phones[2].address = "198.51.100.60".parse().expect("an address");
    stage.phones[2].legs[0].ssrc = 0xa2;
    stage.call(0, 1);
    stage.offer(2, 3, json!({"call-id": SECOND}));
    stage.answer(2, 3, json!({"call-id": SECOND}));
    let talk = [(0, 1), (1, 0), (2, 3), (3, 2)];
    let connect = json!({"from-tag": "alice", "to-tag": "dave", "to-call-id": SECOND});
    assert_eq!(refused(&mut stage, "connect", connect), "Failed to merge two calls into one (tag collision)");
    let mesh = json!({"calls": ["call-1", SECOND], "tags": []});
    assert_eq!(refused(&mut stage, "mesh", mesh), "Failed to merge calls (tag collision)");
    assert_heard(&mut stage, &talk);
    assert_eq!(stage.world.shard.calls().count(), 2);
    stage.must("delete", json!({"call-id": SECOND, NOW: 0}));
    stage.end();
}

#[test]
fn what_names_nobody_is_refused() {
    let mut stage = two_calls();
    let cases = [
        (json!({"to-tag": "bob"}), "No from-tag in message"),
        (json!({"from-tag": "alice"}), "No to-tag in message"),
        (json!({"from-tag": "alice", "to-tag": "carol"}), "To-tag not found"),
        (json!({"from-tag": "alice", "to-tag": "bob", "to-call-id": SECOND}), "To-tag not found"),
        (
            json!({"from-tag": "carol", "to-tag": "dave", "to-call-id": SECOND}),
            "From-tag given, but no such tag exists",
        ),
        (json!({"label": "x", "to-tag": "bob"}), "No monologue matching the given label"),
        (json!({"from-tag": "alice", "to-tag": "alice"}), "Invalid dialogue association"),
        (json!({"from-tag": "alice", "to-tag": "bob", "to-call-id": "call-3"}), "Unknown call-ID(s)"),
    ];
    for (keys, reason) in cases {
        assert_eq!(refused(&mut stage, "connect", keys), reason);
    }
    let mesh = |calls: Value, from: &str, to: Value| json!({"calls": calls, "tags": [{"from": from, "to": to}]});
    let both = json!(["call-1", SECOND]);
    let cases = [
        (mesh(json!(["call-1", "call-3"]), "alice", json!(["bob"])), "Unknown call ID(s)"),
        (mesh(both.clone(), "eve", json!(["bob"])), "From-tag given, but no such tag exists"),
        (mesh(both.clone(), "alice", json!(["carol", "eve"])), "To-tag not found"),
        (mesh(both, "alice", json!(["carol", "alice"])), "Invalid dialogue association"),
    ];
    for (keys, reason) in cases {
        assert_eq!(refused(&mut stage, "mesh", keys), reason);
    }
    assert_heard(&mut stage, &[(0, 1), (1, 0), (2, 3), (3, 2)]);
    assert_eq!(stage.world.shard.calls().count(), 2);
    stage.must("delete", json!({"call-id": SECOND, NOW: 0}));
    stage.end();
}

#[test]
fn parties_without_a_common_codec_are_not_joined() {
    let mut stage = Stage::new(vec![alice(), bob()]);
    stage.call(0, 1);
    let body = |codecs: &str| {
        format!(
            "v=0\r\no=- 1 1 IN IP4 198.51.100.70\r\ns=-\r\nc=IN IP4 198.51.100.70\r\nt=0 0\r\nm=audio 7000 RTP/AVP {codecs}\r\n"
        )
    };
    for (number, codecs) in
        ["0 101\r\na=rtpmap:101 telephone-event/8000", "96\r\na=rtpmap:96 PCMA/16000"].iter().enumerate()
    {
        let (call, tag) = (format!("other-{number}"), format!("eve-{number}"));
        let codec = json!({"accept": ["all", "any"]});
        stage.must("publish", json!({"call-id": call, "from-tag": tag, "sdp": body(codecs), "codec": codec}));
        let reason = refused(&mut stage, "connect", json!({"from-tag": "alice", "to-tag": tag, "to-call-id": call}));
        assert_eq!(reason, "The parties have no codec in common, and transcoding is not supported yet");
        let tags = json!([{"from": "alice", "to": ["bob", tag]}]);
        let mesh = json!({"calls": ["call-1", call], "tags": tags, "flags": ["unsubscribe"]});
        assert_eq!(refused(&mut stage, "mesh", mesh), reason);
        stage.must("delete", json!({"call-id": call, NOW: 0}));
    }
    assert_heard(&mut stage, &[(0, 1), (1, 0)]);
    stage.end();
}

#[test]
fn a_mesh_of_calls_is_a_conference() {
    let mut stage = two_calls();
    let everybody = ["alice", "bob", "carol", "dave"];
    let tags: Vec<Value> = (everybody.iter().enumerate())
        .map(|(index, from)| json!({"from": from, "to": everybody[index + 1..]}))
        .collect();
    let keys = json!({"calls": ["call-1", SECOND], "tags": tags, "flags": ["unsubscribe", "bidirectional"]});
    stage.must("mesh", keys.clone());
    let all: Vec<(usize, usize)> =
        (0..4).flat_map(|from| (0..4).map(move |to| (from, to))).filter(|(from, to)| from != to).collect();
    assert_heard(&mut stage, &all);
    stage.must("mesh", keys);
    assert_heard(&mut stage, &all);
    // Some talk among themselves: what flowed from alice ends first.
    let tags = json!([{"from": "alice", "to": ["dave"]}]);
    stage.must("mesh", json!({"calls": [SECOND], "tags": tags, "flags": ["unsubscribe"]}));
    let rest: Vec<(usize, usize)> = all.iter().copied().filter(|pair| pair.0 != 0 || pair.1 == 3).collect();
    assert_heard(&mut stage, &rest);
    assert_eq!(stage.world.shard.calls().count(), 1);
    stage.end();
}

#[test]
fn offers_go_on_after_a_merge() {
    let mut stage = two_calls();
    stage.must("connect", json!({"from-tag": "alice", "to-tag": "carol", "to-call-id": SECOND}));
    // alice moves, under the call-id that her proxy knows; carol under hers.
    stage.phones[0].legs[0].port = 40100;
    stage.offer(0, 2, json!({"to-tag": "carol"}));
    stage.answer(0, 2, json!({"call-id": SECOND}));
    assert_heard(&mut stage, &[(0, 2), (2, 0)]);
    stage.end();
}

#[test]
fn calls_that_move_to_another_shard_go_on() {
    let mut stage = two_calls();
    let talk = [(0, 1), (1, 0), (2, 3), (3, 2)];
    let before = stage.must("query", json!({}));
    assert_eq!(stage.world.move_calls(), 2);
    let after = stage.must("query", json!({}));
    assert_eq!((&before["SSRC"], &before["totals"]), (&after["SSRC"], &after["totals"]));
    assert_eq!(before["tags"], after["tags"]);
    assert_heard(&mut stage, &talk);
    stage.must("connect", json!({"from-tag": "alice", "to-tag": "carol", "to-call-id": SECOND}));
    assert_eq!(stage.world.move_calls(), 1);
    assert_heard(&mut stage, &[(0, 2), (2, 0)]);
    assert_eq!(listed(&mut stage), ["call-1", SECOND]);
    // Ports go on to be opened and closed.
    stage.phones[0].address = "198.51.100.99".parse().expect("an address");
    stage.offer(0, 2, json!({"to-tag": "carol"}));
    stage.answer(0, 2, json!({}));
    assert_heard(&mut stage, &[(0, 2), (2, 0)]);
    stage.end();
}

/// carol's audio into what alice hears; carol is in the second call.
fn whisper() -> Value {
    json!({"to-tag": "alice", "source-tag": "carol", "source-call-id": SECOND})
}

#[test]
fn a_party_that_hears_nobody_else_is_whispered_to() {
    let mut stage = two_calls();
    stage.must("block media", json!({"from-tag": "bob", "flags": ["directional"]}));
    let talk = [(0, 1), (2, 3), (3, 2)];
    stage.must("inject start", whisper());
    assert_heard(&mut stage, &[&talk[..], &[(2, 0)]].concat());
    assert_eq!(stage.world.shard.calls().count(), 1);
    // Once more makes no second copy.
    stage.must("inject start", json!({"to-tag": "alice", "source-tag": "carol"}));
    assert_heard(&mut stage, &[&talk[..], &[(2, 0)]].concat());
    stage.must("inject stop", json!({"call-id": SECOND, "to-tag": "alice", "source-tag": "carol"}));
    assert_heard(&mut stage, &talk);
    let again = json!({"to-tag": "alice", "source-tag": "carol"});
    assert_eq!(refused(&mut stage, "inject stop", again), "Nothing is injected");
    stage.must("unblock media", json!({"from-tag": "bob", "flags": ["directional"]}));
    assert_heard(&mut stage, &[&talk[..], &[(1, 0)]].concat());
    stage.end();
}

#[test]
fn what_can_not_be_injected_changes_nothing() {
    let mut stage = two_calls();
    assert!(refused(&mut stage, "inject start", whisper()).contains("mixing"));
    let reasons = [
        (json!({"to-tag": "alice", "source-tag": "alice"}), "Trying to inject to self"),
        (json!({"to-tag": "nobody", "source-tag": "bob"}), "To-tag not found"),
        (json!({"to-tag": "alice", "source-tag": "carol"}), "Source-tag not found"),
        (json!({"to-tag": "alice"}), "No source-tag in message"),
        (json!({"source-tag": "bob"}), "No to-tag in message"),
        (json!({"to-tag": "alice", "source-tag": "x", "source-call-id": "none"}), "Unknown call-ID(s)"),
        (json!({"call-id": "none", "to-tag": "alice", "source-tag": "bob"}), "Unknown call-ID(s)"),
    ];
    for (keys, reason) in reasons {
        assert_eq!(refused(&mut stage, "inject start", keys), reason);
    }
    assert_eq!(stage.world.shard.calls().count(), 2);
    assert_heard(&mut stage, &[(0, 1), (1, 0), (2, 3), (3, 2)]);
    stage.must("delete", json!({"call-id": SECOND, NOW: 0}));
    stage.end();
}

#[test]
fn parties_that_number_otherwise_understand_each_other() {
    let mut stage = Stage::new(vec![alice(), bob(), carol(), dave()]);
    for phone in [2, 3] {
        stage.leg(phone).payload_type = 96;
    }
    stage.call(0, 1);
    stage.offer(2, 3, json!({"call-id": SECOND}));
    stage.answer(2, 3, json!({"call-id": SECOND}));
    stage.must("connect", json!({"from-tag": "alice", "to-tag": "carol", "to-call-id": SECOND}));
    stage.talk(500);
    for (listener, speaker, number) in [(0, 2, 8), (2, 0, 96)] {
        let ssrc = stage.leg(speaker).ssrc;
        let heard = &stage.leg(listener).heard;
        assert!(heard.len() > 20 && heard.iter().all(|heard| (heard.ssrc, heard.payload_type) == (ssrc, number)));
    }
    // Telephone-events too.
    for phone in &mut stage.phones {
        phone.legs[0].heard.clear();
    }
    (stage.leg(0).payload_type, stage.leg(2).payload_type) = (101, 110);
    stage.talk(500);
    for (listener, number) in [(0, 101), (2, 110)] {
        let heard = &stage.leg(listener).heard;
        assert!(heard.len() > 20 && heard.iter().all(|heard| heard.payload_type == number), "{heard:?}");
    }
    stage.end();
}

#[test]
fn sources_with_one_ssrc_are_told_apart() {
    let mut stage = two_calls();
    stage.phones.iter_mut().flat_map(|phone| &mut phone.legs).for_each(|leg| leg.heard.clear());
    let (alice, carol) = (stage.leg(0).ssrc, stage.leg(2).ssrc);
    stage.leg(1).ssrc = alice;
    let keys = json!({"from-tags": ["alice", "bob"], "to-tag": "carol", "to-call-id": SECOND, "flags": ["directional", "bidirectional"]});
    stage.must("connect", keys);
    stage.run(3000);
    let heard: std::collections::BTreeMap<u32, Vec<u16>> =
        stage.leg(2).heard.iter().fold(Default::default(), |mut all, heard| {
            all.entry(heard.ssrc).or_insert_with(Vec::new).push(heard.sequence);
            all
        });
    let dave = stage.leg(3).ssrc;
    assert_eq!(heard.len(), 3, "alice, bob and dave: {:?}", heard.keys());
    assert!(heard.contains_key(&alice) && heard.contains_key(&dave) && !heard.contains_key(&carol));
    for sequences in heard.values() {
        assert!(sequences.len() > 140, "{}", sequences.len());
        assert!(sequences.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)));
    }
    let other = *heard.keys().find(|ssrc| ![alice, dave].contains(ssrc)).expect("another name");
    let reports: Vec<u32> = stage.leg(2).rtcp_heard.iter().map(|report| report.0).collect();
    for ssrc in [alice, other] {
        assert_eq!(reports.iter().filter(|report| **report == ssrc).count(), 3, "{ssrc:x} in {reports:x?}");
    }
    stage.end();
}
