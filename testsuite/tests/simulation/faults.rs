//! Ports that can't be had.

use super::{alice, bob, two};
use millrace_testsuite::simulation::{Conditions, Network, Stage, World};
use serde_json::json;
use std::net::SocketAddr;

/// A stage whose range holds `pairs` pairs of ports.
fn narrow(pairs: u16) -> Stage {
    let world = World::new(&["pub/203.0.113.1"], (30000, 29999 + 2 * pairs));
    Stage::with(world, Network::new(1, Conditions::CALM), vec![alice(), bob()])
}

#[test]
fn a_call_that_runs_out_of_ports_is_destroyed() {
    for pairs in 0..2 {
        let mut stage = narrow(pairs);
        let sdp = stage.phones[0].describe();
        let offer = stage.ask("offer", json!({"from-tag": "alice", "sdp": sdp}));
        if pairs == 0 {
            assert_eq!(offer["error-reason"], "Ran out of ports");
        } else {
            let answer = stage.ask("answer", json!({"from-tag": "alice", "to-tag": "bob", "sdp": sdp}));
            assert_eq!(answer["error-reason"], "Ran out of ports");
        }
        stage.world.check_empty();
    }
}

#[test]
fn other_calls_do_not_notice() {
    let mut stage = narrow(3);
    stage.call(0, 1);
    let sdp = bob().describe();
    let offer = |tag: &str| json!({"command": "offer", "call-id": tag, "from-tag": tag, "sdp": sdp});
    assert_eq!(stage.world.ask(&offer("x"))["result"], "ok");
    assert_eq!(stage.world.ask(&offer("y"))["error-reason"], "Ran out of ports");
    stage.world.check();
    stage.talk(500);
    stage.assert_talk(0, 1);
    stage.must("delete", json!({"delete delay": 0}));
    assert_eq!(stage.world.ask(&offer("y"))["result"], "ok", "ports have come back");
    stage.world.end_all();
    stage.world.check_empty();
}

#[test]
fn ports_of_others_are_passed_over() {
    for odd in [0, 1] {
        let mut stage = narrow(5);
        let taken =
            (30000..30008).step_by(2).map(|even| SocketAddr::new("203.0.113.1".parse().expect("v4"), even + odd));
        stage.world.ports.taken = taken.collect();
        let sdp = stage.phones[0].describe();
        stage.must("offer", json!({"from-tag": "alice", "sdp": sdp}));
        assert_eq!(stage.world.ports.open().map(|port| port.port()).collect::<Vec<_>>(), [30008, 30009]);
        // Nothing is left of the pairs of which only one port could be opened.
        let answer = stage.ask("answer", json!({"from-tag": "alice", "to-tag": "bob", "sdp": sdp}));
        assert_eq!(answer["error-reason"], "Ran out of ports");
        stage.world.check_empty();
    }
}

#[test]
fn without_descriptors_a_call_ends_and_others_go_on() {
    let mut stage = two();
    stage.call(0, 1);
    for free in 0..4 {
        stage.world.ports.limit = Some(4 + free);
        let sdp = bob().describe();
        let tags = json!({"command": "offer", "call-id": "2", "from-tag": "x", "sdp": sdp});
        let mut replies = vec![stage.world.ask(&tags)];
        let answer = json!({"command": "answer", "call-id": "2", "from-tag": "x", "to-tag": "y", "sdp": sdp});
        replies.push(stage.world.ask(&answer));
        let failed: Vec<_> = replies.iter().filter_map(|reply| reply["error-reason"].as_str()).collect();
        let expected = if free < 2 { &["Ran out of ports", "Unknown call-id"][..] } else { &["Ran out of ports"] };
        assert_eq!(failed, expected, "{free} descriptors left");
        stage.world.check();
        stage.talk(200);
        stage.assert_hears(0, 1);
    }
    stage.end();
}

#[test]
fn an_rtcp_port_that_somebody_took_costs_new_ports_and_no_more() {
    let mut stage = two();
    for phone in 0..2 {
        stage.leg(phone).wants_mux = true;
    }
    stage.call(0, 1);
    let rtp = stage.leg(1).shown.as_ref().and_then(|line| line.rtp).expect("a port");
    stage.world.ports.taken.insert(SocketAddr::new(rtp.ip(), rtp.port() + 1));
    for phone in 0..2 {
        stage.leg(phone).wants_mux = false;
    }
    stage.reoffer(0, 1, json!({}));
    stage.answer(0, 1, json!({}));
    stage.talk(2000);
    stage.assert_hears(0, 1);
    stage.assert_hears(1, 0);
    stage.end();
}
