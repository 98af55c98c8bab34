//! What is told of calls and their media, on the virtual clock.

use super::two;
use millrace::call::lifecycle::Termination;
use millrace::engine::{Event, Happening, Output, TimedOut};
use millrace_testsuite::simulation::Stage;
use serde_json::json;
use std::net::IpAddr;
use std::time::Duration;

fn events(stage: &mut Stage) -> Vec<Event> {
    let outputs = stage.world.shard.take_outputs().into_iter();
    outputs.filter_map(|output| if let Output::Event(event) = output { Some(event) } else { None }).collect()
}

/// What was told, by tag; the seconds of silence with it.
fn told(stage: &mut Stage) -> Vec<(String, &'static str, u64)> {
    let name = |event: Event| {
        let (what, silent_ms) = match event.happening {
            Happening::FirstPacket { .. } => ("first", 0),
            Happening::OneWay { silent_ms, .. } => ("one-way", silent_ms),
            Happening::BothWays(_) => ("both-ways", 0),
            Happening::TimedOut(_) => ("timeout", 0),
            Happening::Digit(_) => ("digit", 0),
        };
        (event.source.map(|source| source.tag).unwrap_or_default(), what, silent_ms / 1000)
    };
    let mut told: Vec<_> = events(stage).into_iter().map(name).collect();
    told.sort();
    told
}

fn row(tag: &str, what: &'static str, seconds: u64) -> (String, &'static str, u64) {
    (tag.to_owned(), what, seconds)
}

#[test]
fn first_packets_are_told_once() {
    let mut stage = two();
    stage.offer(0, 1, json!({"label": "caller"}));
    stage.answer(0, 1, json!({}));
    stage.run(1500);
    let events = events(&mut stage);
    let event = events.iter().find(|event| event.source.as_ref().is_some_and(|source| source.tag == "alice"));
    let Event { source: Some(source), happening: Happening::FirstPacket { media, ssrc }, tags, .. } = event.unwrap()
    else {
        panic!("{events:?}")
    };
    assert_eq!((source.label.as_deref(), media.index, media.kind.as_str()), (Some("caller"), 1, "audio"));
    assert_eq!((*ssrc, tags.len()), (Some(stage.phones[0].legs[0].ssrc), 2));
    assert_eq!(source.address.map(|address| address.port()), Some(stage.phones[0].legs[0].port));
    assert_eq!(events.len(), 2);
    stage.run(20_000);
    assert_eq!(told(&mut stage), []);
    stage.end();
}

#[test]
fn a_party_that_is_not_heard_is_told_of() {
    let mut stage = two();
    stage.call(0, 1);
    stage.leg(1).talks = false;
    stage.run(9000);
    assert_eq!(told(&mut stage), [row("alice", "first", 0)]);
    stage.run(3000);
    assert_eq!(told(&mut stage), [row("bob", "one-way", 10)], "it never came");
    stage.run(20_000);
    assert_eq!(told(&mut stage), [], "once is enough");
    stage.leg(1).talks = true;
    stage.run(2000);
    assert_eq!(told(&mut stage), [row("bob", "both-ways", 0), row("bob", "first", 0)]);
    stage.leg(0).talks = false;
    stage.run(12_000);
    assert_eq!(told(&mut stage), [row("alice", "one-way", 10)], "it has stopped");
    stage.leg(0).talks = true;
    stage.run(2000);
    assert_eq!(told(&mut stage), [row("alice", "both-ways", 0)]);
    stage.end();
}

#[test]
fn silence_that_is_agreed_on_is_not_told_of() {
    type Change = fn(&mut Stage);
    let cases: [(&str, Change); 4] = [
        ("nobody sends", |stage| (stage.leg(0).talks, stage.leg(1).talks) = (false, false)),
        ("one holds the other", |stage| {
            (stage.leg(0).direction, stage.leg(1).direction) = ("sendonly", "recvonly");
            stage.reoffer(0, 1, json!({}));
            stage.answer(0, 1, json!({}));
            stage.leg(1).talks = false;
        }),
        ("signalling goes on", |stage| {
            stage.leg(1).talks = false;
            for _ in 0..4 {
                stage.run(5000);
                stage.reoffer(0, 1, json!({}));
                stage.answer(0, 1, json!({}));
            }
        }),
        ("nobody wants to know", |stage| {
            stage.world.shard.settings_mut().one_way_after = Duration::ZERO;
            stage.leg(1).talks = false;
        }),
    ];
    for (case, change) in cases {
        let mut stage = two();
        stage.call(0, 1);
        stage.run(1500);
        assert_eq!(told(&mut stage).len(), 2);
        change(&mut stage);
        stage.run(if case == "signalling goes on" { 5000 } else { 30_000 });
        assert_eq!(told(&mut stage), [], "{case}");
        stage.end();
    }
}

#[test]
fn an_offer_that_is_not_answered_is_not_one_way() {
    let mut stage = two();
    stage.offer(0, 1, json!({}));
    stage.run(20_000);
    assert!(told(&mut stage).iter().all(|(_, what, _)| *what == "first"));
    stage.end();
}

fn timed_out(stage: &mut Stage, seconds: u64) -> Option<TimedOut> {
    stage.world.wait(Duration::from_secs(seconds));
    events(stage).into_iter().find_map(|event| match event.happening {
        Happening::TimedOut(timed_out) => Some(timed_out),
        _ => None,
    })
}

#[test]
fn a_timeout_is_told_with_what_a_sip_server_needs() {
    let mut stage = two();
    stage.call(0, 1);
    let told = timed_out(&mut stage, 62).expect("a timeout");
    assert_eq!((told.termination, told.proxy), (Termination::Timeout, Some(IpAddr::from([127, 0, 0, 1]))));
    assert_eq!(told.dialogues, [("alice".to_owned(), "bob".to_owned())]);
    assert!((60_000..62_000).contains(&told.duration_ms));
    let mut stage = two();
    stage.offer(0, 1, json!({"xmlrpc-callback": "192.0.2.9"}));
    let told = timed_out(&mut stage, 3602).expect("a timeout");
    assert_eq!((told.termination, told.proxy), (Termination::OfferTimeout, Some(IpAddr::from([192, 0, 2, 9]))));
    assert_eq!(told.dialogues, [], "nobody has answered");
}

#[test]
fn the_end_of_a_call_by_request_is_no_event() {
    let mut stage = two();
    stage.call(0, 1);
    stage.must("delete", json!({"delete delay": 0}));
    assert_eq!(told(&mut stage), []);
}
