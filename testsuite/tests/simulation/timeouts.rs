//! Calls that end by themselves, on the virtual clock.

use super::{alice, bob, carol, two};
use millrace::call::lifecycle::Termination;
use millrace::engine::Output;
use millrace_testsuite::simulation::Stage;
use serde_json::json;
use std::time::Duration;

/// Waits in silence and says why the call ended, if it did.
fn wait(stage: &mut Stage, seconds: u64) -> Option<Termination> {
    stage.world.wait(Duration::from_secs(seconds));
    stage.world.check();
    stage.world.shard.take_outputs().into_iter().find_map(|output| match output {
        Output::Ended { termination, .. } => Some(termination),
        _ => None,
    })
}

#[test]
fn a_call_without_packets_ends() {
    let mut stage = two();
    stage.call(0, 1);
    stage.talk(5000);
    assert_eq!(wait(&mut stage, 58), None);
    stage.talk(1000);
    assert_eq!(wait(&mut stage, 58), None, "packets keep it alive");
    assert_eq!(wait(&mut stage, 3), Some(Termination::Timeout));
    stage.world.check_empty();
}

#[test]
fn one_side_that_talks_keeps_the_call() {
    let mut stage = two();
    stage.call(0, 1);
    stage.leg(1).talks = false;
    stage.run(120_000);
    assert_eq!(stage.world.shard.calls().count(), 1);
    stage.end();
}

#[test]
fn a_held_call_lives_longer() {
    for (held, answered) in [("inactive", "inactive"), ("sendonly", "recvonly"), ("recvonly", "sendonly")] {
        let mut stage = two();
        stage.call(0, 1);
        (stage.leg(0).direction, stage.leg(1).direction) = (held, answered);
        stage.reoffer(0, 1, json!({}));
        stage.answer(0, 1, json!({}));
        assert_eq!(wait(&mut stage, 3590), None, "{held}");
        assert_eq!(wait(&mut stage, 20), Some(Termination::SilentTimeout), "{held}");
        stage.world.check_empty();
    }
}

#[test]
fn an_offer_without_an_answer_ends() {
    let mut stage = two();
    stage.world.shard.settings_mut().timeouts.offer = Duration::from_secs(100);
    stage.offer(0, 1, json!({}));
    assert_eq!(wait(&mut stage, 98), None);
    assert_eq!(wait(&mut stage, 4), Some(Termination::OfferTimeout));
    stage.world.check_empty();
}

#[test]
fn no_call_lives_for_ever_where_that_is_forbidden() {
    let mut stage = two();
    stage.world.shard.settings_mut().timeouts.whole = Duration::from_secs(30);
    stage.call(0, 1);
    stage.run(28_000);
    assert_eq!(stage.world.shard.calls().count(), 1);
    stage.run(3000);
    assert_eq!(wait(&mut stage, 1), Some(Termination::FinalTimeout));
    stage.world.check_empty();
}

#[test]
fn what_came_to_nothing_does_not_stay() {
    let mut stage = two();
    let sdp = stage.phones[0].describe();
    stage.ask("offer", json!({"from-tag": "alice", "sdp": sdp, "sdp-media-remove": ["audio"]}));
    stage.ask("publish", json!({"from-tag": "alice", "sdp": sdp, "codec": {"accept": ["AMR"]}}));
    assert_eq!(stage.world.shard.calls().count(), 1);
    assert_eq!(wait(&mut stage, 62), Some(Termination::Timeout));
    for bad in ["nonsense", "", "v=0\r\no=- 1 1 IN IP4 1.2.3.4\r\ns=-\r\nt=0 0\r\nm=audio 1 RTP/AVP 0\r\n"] {
        assert_eq!(stage.ask("offer", json!({"from-tag": "alice", "sdp": bad}))["result"], "error");
        assert_eq!(stage.world.shard.calls().count(), 0, "{bad}");
        assert!(stage.world.shard.take_outputs().iter().all(|output| matches!(output, Output::Warning { .. })));
    }
    stage.world.check_empty();
}

#[test]
fn a_delayed_delete_is_carried_out_unless_signalling_comes() {
    let mut stage = two();
    stage.call(0, 1);
    stage.must("delete", json!({"from-tag": "alice"}));
    stage.talk(1000);
    stage.assert_talk(0, 1);
    stage.run(20_000);
    stage.reoffer(0, 1, json!({}));
    stage.answer(0, 1, json!({}));
    stage.run(60_000);
    assert_eq!(stage.world.shard.calls().count(), 1, "signalling has cancelled the delete");
    stage.must("delete", json!({"from-tag": "alice", "delete delay": 5}));
    stage.run(4000);
    assert_eq!(stage.world.shard.calls().count(), 1);
    // A message that makes no sense does not save the call.
    stage.ask("offer", json!({"from-tag": "alice", "to-tag": "bob", "sdp": "nonsense"}));
    stage.run(2000);
    assert_eq!(wait(&mut stage, 1), Some(Termination::Regular));
    stage.world.check_empty();
}

#[test]
fn a_delay_of_zero_is_none_be_it_asked_for_or_configured() {
    let mut stage = two();
    stage.call(0, 1);
    stage.must("delete", json!({"delete-delay": 0}));
    stage.world.check_empty();
    stage.world.shard.settings_mut().delete_delay = Duration::ZERO;
    stage.call(0, 1);
    stage.must("delete", json!({"delete-delay": -1}));
    stage.world.check_empty();
}

#[test]
fn a_branch_goes_after_its_delay_and_the_call_stays() {
    let mut stage = Stage::new(vec![alice(), bob(), carol()]);
    for (phone, branch) in [(1, "b1"), (2, "b2")] {
        stage.offer(0, phone, json!({"via-branch": branch}));
    }
    stage.answer(0, 1, json!({"via-branch": "b1"}));
    let tags = |stage: &mut Stage| {
        let report = stage.must("query", json!({}));
        report["tags"].as_object().map(|tags| tags.len())
    };
    stage.must("delete", json!({"via-branch": "b2", "delete delay": 10}));
    stage.run(9000);
    assert_eq!(tags(&mut stage), Some(3));
    // The branch is called anew in time.
    stage.offer(0, 2, json!({"via-branch": "b2"}));
    stage.run(3000);
    assert_eq!(tags(&mut stage), Some(3));
    stage.must("delete", json!({"via-branch": "b2", "delete delay": 10}));
    stage.run(12_000);
    assert_eq!(tags(&mut stage), Some(2));
    stage.talk(500);
    stage.assert_talk(0, 1);
    stage.end();
}

#[test]
fn deletes_are_answered_as_asked() {
    let mut stage = two();
    let unknown = stage.must("delete", json!({}));
    assert_eq!(unknown["warning"], "Call-ID not found or tags didn't match");
    assert_eq!(stage.ask("delete", json!({"flags": ["fatal"]}))["result"], "error");
    stage.call(0, 1);
    assert_eq!(stage.ask("delete", json!({"from-tag": "x", "flags": ["fatal"]}))["result"], "error");
    stage.talk(500);
    let fast = stage.must("delete", json!({"delete delay": 3, "flags": ["fast"]}));
    assert_eq!(fast, json!({"result": "ok"}));
    let report = stage.must("delete", json!({"delete delay": 0}));
    assert_eq!(report["totals"]["RTP"]["packets"], 50);
    stage.world.check_empty();
}
