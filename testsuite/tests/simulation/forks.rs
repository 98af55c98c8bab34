//! One caller, several branches.

use super::{alice, bob, carol};
use millrace_testsuite::simulation::Stage;
use serde_json::json;

/// alice has called bob on branch b1 and carol on branch b2; nobody has answered.
fn forked() -> Stage {
    let mut stage = Stage::new(vec![alice(), bob(), carol()]);
    stage.offer(0, 1, json!({"via-branch": "b1"}));
    stage.offer(0, 2, json!({"via-branch": "b2"}));
    stage
}

#[test]
fn the_branch_that_answered_last_is_heard() {
    let mut stage = forked();
    stage.answer(0, 1, json!({"via-branch": "b1"}));
    stage.talk(500);
    stage.assert_talk(0, 1);
    stage.assert_deaf(0, 2);
    stage.answer(0, 2, json!({"via-branch": "b2"}));
    stage.talk(500);
    stage.assert_talk(0, 2);
    stage.assert_deaf(0, 1);
    stage.assert_deaf(1, 0);
    // Early media of the first branch again, and then it wins.
    stage.answer(0, 1, json!({"via-branch": "b1"}));
    stage.talk(500);
    stage.assert_talk(0, 1);
    stage.assert_deaf(0, 2);
    stage.end();
}

#[test]
fn the_branch_that_lost_is_deleted_and_the_call_goes_on() {
    for keys in [
        json!({"via-branch": "b1", "from-tag": "alice"}),
        json!({"from-tag": "alice", "to-tag": "bob", "flags": ["to-tag"]}),
        json!({"from-tag": "bob"}),
    ] {
        let mut stage = forked();
        stage.answer(0, 1, json!({"via-branch": "b1"}));
        stage.answer(0, 2, json!({"via-branch": "b2"}));
        let before = stage.world.ports.open().count();
        let mut request = keys.clone();
        request["delete delay"] = json!(0);
        stage.must("delete", request);
        assert_eq!(stage.world.ports.open().count(), before - 2, "{keys}");
        stage.talk(500);
        stage.assert_talk(0, 2);
        let report = stage.must("query", json!({}));
        assert_eq!(report["tags"].as_object().map(|tags| tags.len()), Some(2), "{keys}");
        stage.end();
    }
}

#[test]
fn branches_that_are_not_answered_go_with_the_caller() {
    let mut stage = forked();
    stage.must("delete", json!({"from-tag": "alice", "delete delay": 0}));
    stage.world.check_empty();
    let mut stage = forked();
    stage.answer(0, 2, json!({"via-branch": "b2"}));
    stage.must("delete", json!({"from-tag": "alice", "delete delay": 0}));
    stage.world.check_empty();
}

#[test]
fn a_branch_that_fails_leaves_the_others_ringing() {
    let mut stage = forked();
    stage.answer(0, 1, json!({"via-branch": "b1"}));
    stage.talk(300);
    stage.assert_talk(0, 1);
    stage.must("delete", json!({"via-branch": "b1", "from-tag": "alice", "delete delay": 0}));
    stage.answer(0, 2, json!({"via-branch": "b2"}));
    stage.talk(300);
    stage.assert_talk(0, 2);
    // The callee hangs up: the caller has nobody left.
    stage.must("delete", json!({"from-tag": "carol", "delete delay": 0}));
    stage.world.check_empty();
}

#[test]
fn who_hangs_up_ends_the_call_though_a_branch_was_never_heard_of_again() {
    for tag in ["alice", "bob"] {
        let mut stage = forked();
        stage.answer(0, 1, json!({"via-branch": "b1"}));
        stage.must("delete", json!({"from-tag": tag, "delete delay": 0}));
        stage.world.check_empty();
    }
}

#[test]
fn a_to_tag_that_is_unknown_ends_a_call_that_is_not_answered() {
    let mut stage = forked();
    stage.must(
        "delete",
        json!({"from-tag": "alice", "to-tag": "nobody", "flags": ["to-tag", "fatal"], "delete delay": 0}),
    );
    stage.world.check_empty();
    let mut stage = Stage::new(vec![alice(), bob()]);
    stage.call(0, 1);
    let keys = json!({"from-tag": "alice", "to-tag": "nobody", "flags": ["to-tag", "fatal"], "delete delay": 0});
    assert_eq!(stage.ask("delete", keys)["result"], "error");
    stage.end();
}

#[test]
fn a_changed_to_tag_is_an_alias_unless_it_is_final_or_new() {
    for (keys, participants) in [
        (json!({}), 2),
        (json!({"flags": ["new branch"]}), 3),
        (json!({"SIP message type": "SIP response", "SIP code": 180}), 2),
    ] {
        let mut stage = Stage::new(vec![alice(), bob()]);
        stage.call(0, 1);
        stage.phones[1].name = "bobby";
        stage.answer(0, 1, keys.clone());
        let report = stage.must("query", json!({}));
        assert_eq!(report["tags"].as_object().map(|tags| tags.len()), Some(participants), "{keys}");
        if participants == 2 {
            stage.talk(300);
            stage.assert_talk(0, 1);
        }
        stage.end();
    }
    let mut stage = Stage::new(vec![alice(), bob()]);
    stage.offer(0, 1, json!({}));
    stage.answer(0, 1, json!({"SIP message type": "SIP response", "SIP code": 200}));
    stage.phones[1].name = "bobby";
    stage.answer(0, 1, json!({}));
    let report = stage.must("query", json!({}));
    assert_eq!(report["tags"].as_object().map(|tags| tags.len()), Some(3));
    stage.end();
}

#[test]
fn an_aliased_from_tag_is_the_same_caller() {
    for key in ["SDP", "address"] {
        let mut stage = Stage::new(vec![alice(), bob()]);
        let sdp = stage.phones[0].describe();
        for tag in ["alice", "alicia"] {
            stage.must("offer", json!({"from-tag": tag, "sdp": sdp, "alias-key": key}));
        }
        let report = stage.must("query", json!({}));
        assert_eq!(report["tags"]["alice"]["tag-aliases"], json!(["alicia"]), "{key}");
        assert_eq!(report["tags"].as_object().map(|tags| tags.len()), Some(2), "{key}");
        stage.must("offer", json!({"from-tag": "other", "sdp": sdp}));
        let report = stage.must("query", json!({}));
        assert!(report["tags"]["other"].is_object(), "without the key nothing is an alias");
        stage.end();
    }
}

#[test]
fn a_party_that_is_replaced_is_no_longer_heard() {
    let mut stage = Stage::new(vec![alice(), bob(), carol()]);
    stage.call(0, 1);
    stage.talk(300);
    // carol takes the place of alice towards bob.
    stage.reoffer(2, 1, json!({}));
    stage.answer(2, 1, json!({}));
    stage.talk(500);
    stage.assert_talk(2, 1);
    stage.assert_deaf(0, 1);
    stage.assert_deaf(1, 0);
    stage.end();
}
