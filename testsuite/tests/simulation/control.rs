//! Commands that change what passes without changing who is subscribed to whom.

use super::{alice, bob, carol, two};
use millrace_testsuite::simulation::Stage;
use serde_json::{Value, json};

/// The payload type of telephone-events of the phones.
const EVENT: u8 = 101;
/// One of a codec that has no name.
const UNKNOWN: u8 = 77;

/// alice and bob in a call.
fn calling() -> Stage {
    let mut stage = two();
    stage.call(0, 1);
    stage.talk(200);
    stage
}

/// Talks, and says whether alice hears bob and bob hears alice.
fn heard(stage: &mut Stage) -> (bool, bool) {
    stage.talk(300);
    let count = |stage: &mut Stage, listener: usize| stage.leg(listener).heard.len();
    let (alice, bob) = (count(stage, 0), count(stage, 1));
    assert!([0, 15].contains(&alice) && [0, 15].contains(&bob), "{alice} {bob}");
    (alice > 0, bob > 0)
}

#[test]
fn media_is_blocked_for_the_call_a_party_and_a_flow() {
    let directional = json!({"from-tag": "alice", "flags": ["directional"]});
    let flow = json!({"from-tag": "alice", "to-tag": "bob", "flags": ["directional"]});
    for (keys, expected) in [
        (json!({}), (false, false)),
        (json!({"from-tag": "alice"}), (false, false)),
        (json!({"all": "all", "from-tag": "alice"}), (false, false)),
        (directional.clone(), (true, false)),
        (json!({"address": "198.51.100.10"}), (true, false)),
        (json!({"label": "caller"}), (true, false)),
        (flow.clone(), (true, false)),
        (json!({"from-tag": "alice", "all": "offer-answer", "flags": ["directional"]}), (true, false)),
    ] {
        let mut stage = two();
        stage.offer(0, 1, json!({"label": "caller"}));
        stage.answer(0, 1, json!({}));
        stage.must("block media", keys.clone());
        assert_eq!(heard(&mut stage), expected, "{keys}");
        // Reports and telephone-events pass.
        stage.talk(2000);
        assert_eq!(stage.leg(1).rtcp_heard.len(), 2);
        stage.leg(0).payload_type = EVENT;
        assert!(heard(&mut stage).1, "{keys}");
        stage.leg(0).payload_type = 8;
        stage.must("unblock media", keys.clone());
        assert_eq!(heard(&mut stage), (true, true), "{keys}");
        stage.end();
    }
}

#[test]
fn selections_that_name_nobody_are_refused() {
    let mut stage = calling();
    let directional = |keys: Value| {
        let mut keys = keys;
        keys["flags"] = json!(["directional"]);
        keys
    };
    for (keys, reason) in [
        (json!({"label": "x"}), "No monologue matching the given label"),
        (json!({"address": "x"}), "Failed to parse network address"),
        (json!({"address": "192.0.2.99"}), "Failed to match address to any tag"),
        (directional(json!({"from-tag": "x"})), "From-tag given, but no such tag exists"),
        (directional(json!({"from-tag": "alice", "to-tag": "x"})), "Media flow not found (to-tag not found)"),
        (directional(json!({"from-tag": "alice", "to-label": "x"})), "Media flow not found (to-label not found)"),
        (directional(json!({"from-tag": "alice", "to-tag": "alice"})), "Media flow not found (to-tag not subscribed)"),
        (
            directional(json!({"from-tag": "alice", "all": "except-offer-answer"})),
            "No eligible media subscriptions found",
        ),
    ] {
        let reply = stage.ask("block media", keys.clone());
        assert_eq!(reply["error-reason"], reason, "{keys}");
    }
    assert_eq!(heard(&mut stage), (true, true));
    stage.end();
}

#[test]
fn a_blocked_party_stays_blocked_unless_all_are_unblocked() {
    let mut stage = calling();
    stage.must("block media", json!({"from-tag": "alice", "flags": ["directional"]}));
    stage.must("block media", json!({}));
    stage.must("unblock media", json!({}));
    assert_eq!(heard(&mut stage), (true, false));
    stage.must("unblock media", json!({"all": "all"}));
    assert_eq!(heard(&mut stage), (true, true));
    stage.end();
}

#[test]
fn telephone_events_are_blocked_and_media_passes() {
    for keys in [json!({}), json!({"from-tag": "alice", "flags": ["directional"]})] {
        let mut stage = calling();
        stage.must("block DTMF", keys.clone());
        assert_eq!(heard(&mut stage), (true, true), "{keys}");
        stage.leg(0).payload_type = EVENT;
        assert_eq!(heard(&mut stage), (true, false), "{keys}");
        stage.must("unblock DTMF", keys);
        assert_eq!(heard(&mut stage), (true, true));
        stage.end();
    }
    let mut stage = two();
    stage.offer(0, 1, json!({"flags": ["block DTMF"]}));
    stage.answer(0, 1, json!({}));
    (stage.leg(0).payload_type, stage.leg(1).payload_type) = (EVENT, EVENT);
    assert_eq!(heard(&mut stage), (true, false));
    stage.end();
}

#[test]
fn silenced_media_is_heard_as_silence() {
    let mut stage = calling();
    let silent = |stage: &mut Stage| {
        assert_eq!(heard(stage), (true, true));
        [0, 1].map(|phone| stage.leg(phone).heard.iter().all(|heard| heard.is_silent))
    };
    assert_eq!(silent(&mut stage), [false, false]);
    stage.must("silence media", json!({"from-tag": "alice"}));
    assert_eq!(silent(&mut stage), [false, true]);
    // Nobody knows what silence of this one looks like.
    stage.leg(0).payload_type = UNKNOWN;
    assert_eq!(heard(&mut stage), (true, false));
    stage.leg(0).payload_type = 8;
    stage.must("unsilence media", json!({"from-tag": "alice"}));
    assert_eq!(silent(&mut stage), [false, false]);
    // A flow that is both blocked and silenced needs both undone.
    let flow = json!({"from-tag": "alice", "to-tag": "bob", "flags": ["directional"]});
    stage.must("silence media", flow.clone());
    stage.must("block media", flow.clone());
    stage.must("unsilence media", flow.clone());
    assert_eq!(heard(&mut stage), (true, false));
    stage.must("unblock media", flow);
    assert_eq!(heard(&mut stage), (true, true));
    stage.end();
}

#[test]
fn a_flow_is_blocked_and_others_are_not() {
    let mut stage = Stage::new(vec![alice(), bob(), carol()]);
    (stage.leg(2).direction, stage.leg(2).talks) = ("recvonly", false);
    stage.call(0, 1);
    let reply = stage.must("subscribe request", json!({"from-tag": "alice", "to-tag": "carol"}));
    stage.phones[2].show(reply["sdp"].as_str().expect("a description"));
    let sdp = stage.phones[2].describe();
    stage.must("subscribe answer", json!({"to-tag": "carol", "sdp": sdp}));
    stage.must("block media", json!({"from-tag": "alice", "to-tag": "carol", "flags": ["directional"]}));
    assert_eq!(heard(&mut stage), (true, true));
    stage.assert_deaf(2, 0);
    stage.must("unblock media", json!({"from-tag": "alice", "all": "flows", "flags": ["directional"]}));
    stage.must("block media", json!({"from-tag": "alice", "all": "offer-answer", "flags": ["directional"]}));
    assert_eq!(heard(&mut stage), (true, false));
    stage.assert_hears(2, 0);
    stage.end();
}

#[test]
fn all_traffic_is_dropped_and_flows_again() {
    let mut stage = calling();
    stage.reoffer(0, 1, json!({"drop-traffic": "start"}));
    stage.answer(0, 1, json!({}));
    stage.talk(2000);
    assert!(stage.departed.is_empty() && stage.leg(0).rtcp_heard.is_empty());
    stage.reoffer(0, 1, json!({"drop-traffic": "stop"}));
    stage.answer(0, 1, json!({}));
    stage.talk(1000);
    stage.assert_talk(0, 1);
    stage.end();
}

#[test]
fn labels_are_set_and_reported() {
    let mut stage = two();
    stage.offer(0, 1, json!({"label": "A"}));
    stage.answer(0, 1, json!({"label": "B"}));
    stage.must("block DTMF", json!({"label": "A", "set-label": "C"}));
    let report = stage.must("query", json!({}));
    assert_eq!((&report["tags"]["alice"]["label"], &report["tags"]["bob"]["label"]), (&json!("C"), &json!("B")));
    stage.end();
}

#[test]
fn a_strict_source_keeps_others_out() {
    let mut stage = Stage::new(vec![alice(), bob(), carol()]);
    stage.offer(0, 1, json!({"flags": ["strict source"]}));
    stage.answer(0, 1, json!({"flags": ["strict source"]}));
    stage.run(4000);
    // carol talks to the port that alice was shown.
    stage.leg(2).shown = stage.leg(0).shown.clone();
    stage.talk(1000);
    stage.assert_talk(0, 1);
    stage.assert_deaf(1, 2);
    let report = stage.must("query", json!({}));
    assert_eq!(report["tags"]["alice"]["medias"][0]["streams"][0]["drops"]["wrong_source"], 50);
    stage.end();
}
