//! Calls of two sides that a client names by addresses and local ports, without SDP.

use millrace::engine::{Pair, PairError, PairKey, PairSide};
use millrace::relay::{DropReason, OpenError, Verdict};
use millrace_testsuite::simulation::{Datagram, FakeKernel, Fate, World};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;

const A: &str = "203.0.113.10:6000";
const B: &str = "10.0.0.20:7000";
const OUTSIDE: &str = "203.0.113.1:20002";
const INSIDE: &str = "10.0.0.1:20000";

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn above(text: &str) -> SocketAddr {
    SocketAddr::new(at(text).ip(), at(text).port() + 1)
}

fn world() -> World {
    World::new(&["external/203.0.113.1", "internal/10.0.0.1", "nat/10.0.0.9!198.51.100.9"], (30_000, 30_999))
}

fn pair() -> Pair {
    Pair {
        call_id: "call".to_owned(),
        caller: PairSide { remote: at(A), local: at(OUTSIDE) },
        callee: PairSide { remote: at(B), local: at(INSIDE) },
        idle_timeout: Some(Duration::from_secs(20)),
    }
}

fn shared() -> Pair {
    let local = at(INSIDE);
    let pair = pair();
    Pair { caller: PairSide { local, ..pair.caller }, callee: PairSide { local, ..pair.callee }, ..pair }
}

fn key(pair: &Pair) -> PairKey {
    let (caller_local, callee_local) = (Some(pair.caller.local), Some(pair.callee.local));
    PairKey { call_id: pair.call_id.clone(), caller_local, callee_local }
}

fn rtp(ssrc: u8) -> Vec<u8> {
    let mut packet = vec![0x80, 8, 0, 1, 0, 0, 0, 160, 0, 0, 0, ssrc];
    packet.extend([ssrc; 160]);
    packet
}

fn rtcp(ssrc: u8) -> Vec<u8> {
    let mut packet = vec![0x80, 200, 0, 6, 0, 0, 0, ssrc];
    packet.extend([ssrc; 20]);
    packet
}

/// What comes out for a datagram: where from, where to, and that it is unchanged.
fn relay(world: &mut World, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) -> Option<(SocketAddr, SocketAddr)> {
    let (verdict, sent) = world.deliver(&Datagram { from, to, bytes: bytes.clone() }).expect("an open port");
    match (verdict, &sent[..]) {
        (Verdict::Forwarded, [one]) => {
            assert_eq!(one.bytes, bytes);
            Some((one.from, one.to))
        }
        (Verdict::Dropped(DropReason::WrongSource), []) => None,
        other => panic!("{other:?}"),
    }
}

fn check_both_ways(world: &mut World, pair: &Pair) {
    let (a, b) = (pair.caller, pair.callee);
    let up = |port: SocketAddr| SocketAddr::new(port.ip(), port.port() + 1);
    assert_eq!(relay(world, a.remote, a.local, rtp(1)), Some((b.local, b.remote)));
    assert_eq!(relay(world, b.remote, b.local, rtp(2)), Some((a.local, a.remote)));
    assert_eq!(relay(world, up(a.remote), up(a.local), rtcp(1)), Some((up(b.local), up(b.remote))));
    assert_eq!(relay(world, up(b.remote), up(b.local), rtcp(2)), Some((up(a.local), up(a.remote))));
}

#[test]
fn both_sides_hear_each_other_until_the_end() {
    for pair in [pair(), shared()] {
        let mut world = world();
        world.put_pair(&pair).unwrap();
        world.check();
        check_both_ways(&mut world, &pair);
        let report = world.ask(&json!({"command": "query", "call-id": "call"}));
        assert_eq!((&report["totals"]["RTP"]["packets"], &report["totals"]["RTCP"]["packets"]), (&json!(2), &json!(2)));
        assert!(report["tags"].get(format!("caller@{}", pair.caller.local)).is_some(), "{report}");
        assert_eq!(world.ask(&json!({"command": "list"}))["calls"], json!(["call"]));
        assert!(world.end_pair(&key(&pair)) && !world.end_pair(&key(&pair)));
        world.check_empty();
    }
}

#[test]
fn a_port_is_learned_and_an_address_is_not() {
    for pair in [pair(), shared()] {
        let mut world = world();
        world.put_pair(&pair).unwrap();
        let (behind_nat, stranger) = (at("203.0.113.10:61000"), at("203.0.113.66:6000"));
        assert_eq!(relay(&mut world, stranger, pair.caller.local, rtp(9)), None);
        assert_eq!(relay(&mut world, behind_nat, pair.caller.local, rtp(1)), Some((pair.callee.local, at(B))));
        assert_eq!(relay(&mut world, at(B), pair.callee.local, rtp(2)), Some((pair.caller.local, behind_nat)));
        world.wait(Duration::from_secs(5));
        // Signalling that says the same again takes nothing back.
        world.put_pair(&pair).unwrap();
        assert_eq!(relay(&mut world, stranger, pair.caller.local, rtp(9)), None);
        assert_eq!(relay(&mut world, at(B), pair.callee.local, rtp(2)), Some((pair.caller.local, behind_nat)));
        // A side that moves is followed.
        let moved = PairSide { remote: at("203.0.113.11:6000"), ..pair.caller };
        world.put_pair(&Pair { caller: moved, ..pair.clone() }).unwrap();
        assert_eq!(relay(&mut world, behind_nat, pair.caller.local, rtp(1)), None);
        assert_eq!(relay(&mut world, at(B), pair.callee.local, rtp(2)), Some((pair.caller.local, moved.remote)));
        world.check();
    }
}

#[test]
fn two_sides_at_one_address_are_told_apart_by_their_ports() {
    let mut world = world();
    let mut pair = shared();
    pair.caller.remote = at("10.0.0.20:6000");
    world.put_pair(&pair).unwrap();
    check_both_ways(&mut world, &pair);
}

#[test]
fn a_call_expires_when_it_has_been_silent() {
    let mut world = world();
    world.put_pair(&shared()).unwrap();
    world.wait(Duration::from_secs(15));
    check_both_ways(&mut world, &shared());
    world.wait(Duration::from_secs(15));
    assert_eq!(world.shard.calls().count(), 1);
    world.wait(Duration::from_secs(10));
    world.check_empty();
    // Without a time of its own it lives as long as others.
    world.put_pair(&Pair { idle_timeout: None, ..pair() }).unwrap();
    world.wait(Duration::from_secs(50));
    assert_eq!(world.shard.calls().count(), 1);
    world.wait(Duration::from_secs(15));
    world.check_empty();
}

#[test]
fn a_call_may_have_several_pairs() {
    let mut world = world();
    let second = Pair {
        caller: PairSide { local: at("203.0.113.1:20006"), ..pair().caller },
        callee: PairSide { local: at("10.0.0.1:20004"), ..pair().callee },
        ..pair()
    };
    world.put_pair(&pair()).unwrap();
    world.put_pair(&second).unwrap();
    check_both_ways(&mut world, &pair());
    check_both_ways(&mut world, &second);
    assert!(world.end_pair(&key(&pair())));
    world.check();
    check_both_ways(&mut world, &second);
    // One that was cancelled is known by its port for the callee alone.
    assert!(world.end_pair(&PairKey { caller_local: None, ..key(&second) }));
    world.check_empty();
}

#[test]
fn what_can_t_be_had_is_refused_and_leaves_nothing_behind() {
    let mut world = world();
    let put = |world: &mut World, call_id: &str, caller: &str, callee: &str| {
        let pair = Pair {
            call_id: call_id.to_owned(),
            caller: PairSide { local: at(caller), ..pair().caller },
            callee: PairSide { local: at(callee), ..pair().callee },
            idle_timeout: None,
        };
        world.put_pair(&pair)
    };
    assert_eq!(put(&mut world, "1", "192.0.2.1:1", INSIDE), Err(PairError::NoInterface(at("192.0.2.1:1").ip())));
    world.ports.taken.insert(above(INSIDE));
    assert_eq!(put(&mut world, "1", OUTSIDE, INSIDE), Err(PairError::Port(at(INSIDE), OpenError::InUse)));
    world.check_empty();
    world.ports.taken.clear();
    put(&mut world, "1", OUTSIDE, INSIDE).unwrap();
    assert_eq!(put(&mut world, "2", OUTSIDE, "10.0.0.1:20004"), Err(PairError::Port(at(OUTSIDE), OpenError::InUse)));
    // From the range of other calls, and by the address that clients are shown.
    put(&mut world, "3", "203.0.113.1:30000", "198.51.100.9:20000").unwrap();
    let families = Pair { callee: PairSide { remote: at("[2001:db8::1]:1"), ..pair().callee }, ..pair() };
    assert!(matches!(world.put_pair(&Pair { call_id: "4".into(), ..families }), Err(PairError::Families(..))));
    assert_eq!(world.shard.calls().count(), 2);
    let offer =
        "v=0\r\no=- 1 1 IN IP4 203.0.113.10\r\ns=-\r\nc=IN IP4 203.0.113.10\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
    let reply = world.ask(&json!({"command": "offer", "call-id": "5", "from-tag": "a", "sdp": offer}));
    assert_eq!(reply["result"], Value::from("ok"));
    world.end_all();
    world.check_empty();
}

#[test]
fn a_held_side_gets_nothing() {
    let mut world = world();
    let held = Pair { callee: PairSide { remote: at("0.0.0.0:7000"), ..pair().callee }, ..pair() };
    world.put_pair(&held).unwrap();
    let (verdict, sent) = world.deliver(&Datagram { from: at(A), to: at(OUTSIDE), bytes: rtp(1) }).unwrap();
    assert_eq!((verdict, sent), (Verdict::Dropped(DropReason::NoDestination), vec![]));
    world.put_pair(&pair()).unwrap();
    check_both_ways(&mut world, &pair());
}

#[test]
fn a_subscriber_may_hear_a_side_that_loses_the_other() {
    let mut world = world();
    world.put_pair(&shared()).unwrap();
    let tag = format!("callee@{INSIDE}");
    let request = json!({"command": "subscribe request", "call-id": "call", "from-tag": tag});
    let reply = world.ask(&request);
    assert_eq!(reply["result"], Value::from("ok"), "{reply}");
    assert_eq!(world.move_calls(), 0, "a port with two sides stays where it is");
    let caller = format!("caller@{INSIDE}");
    world.ask(&json!({"command": "delete", "call-id": "call", "from-tag": caller, "delete delay": 0}));
    world.check();
    world.end_all();
    world.check_empty();
}

#[test]
fn a_port_of_two_sides_has_an_entry_for_each() {
    let mut world = world();
    let kernel = FakeKernel::default();
    world.shard.use_table(Box::new(kernel.clone()));
    world.put_pair(&shared()).unwrap();
    check_both_ways(&mut world, &shared());
    world.end_turn();
    assert_eq!(kernel.counts(), (2, 2));
    for (from, to, ssrc) in [(at(A), at(B), 1), (at(B), at(A), 2)] {
        let sent = Datagram { from: at(INSIDE), to, bytes: rtp(ssrc) };
        let fate = kernel.receive(world.now.mono, &Datagram { from, to: at(INSIDE), bytes: rtp(ssrc) });
        assert!(matches!(fate, Fate::Sent(datagram) if datagram == sent));
    }
    let stranger = Datagram { from: at("203.0.113.66:6000"), to: at(INSIDE), bytes: rtp(1) };
    assert!(matches!(kernel.receive(world.now.mono, &stranger), Fate::Passed), "one that neither side expects");
    assert!(world.end_pair(&key(&shared())));
    assert_eq!(kernel.counts(), (0, 2));
    world.check_empty();
}
