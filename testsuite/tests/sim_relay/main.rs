//! The relay in a simulated network: seeded loss, reordering, doubling and NAT, in virtual time, with exact outcomes.

mod world;

use millrace::plan::{ForwardingPlan, Learning, StreamId};
use millrace::relay::{DropReason, Traffic, Verdict};
use std::collections::HashSet;
use world::{Arrival, Host, Link, World, at, packet, plan};

const RELAY_A: &str = "203.0.113.1:30000";
const RELAY_B: &str = "203.0.113.1:30002";
const ALICE: &str = "198.51.100.10:6000";
const BOB: &str = "198.51.100.20:7000";
const ATTACKER: &str = "192.0.2.66:6666";
const CALM: Link = Link { loss: 0, doubles: 0, spread_ms: 0 };

/// SSRCs.
const FROM_ALICE: u32 = 1;
const FROM_BOB: u32 = 2;
const FROM_ATTACKER: u32 = 66;

/// Two streams that forward to each other, with signalled addresses.
fn streams(
    world: &mut World,
    learning: Learning,
    alice: &str,
    bob: &str,
    change: fn(&mut ForwardingPlan),
) -> [StreamId; 2] {
    let (a, b) = (world.add_stream(RELAY_A), world.add_stream(RELAY_B));
    for (id, signalled, sink) in [(a, alice, b), (b, bob, a)] {
        let mut plan = plan(learning, signalled, 0, &[sink]);
        change(&mut plan);
        world.set_plan(id, plan);
    }
    [a, b]
}

/// A call of alice and bob, who both talk for `talk_ms` from 10 ms on.
fn call(seed: u64, link: Link, talk_ms: u64) -> (World, [StreamId; 2]) {
    let mut world = World::new(seed, link);
    let ids = streams(&mut world, Learning::Heuristic, ALICE, BOB, |_| ());
    world.add_host(Host::new(ALICE, RELAY_A, FROM_ALICE, 10..10 + talk_ms));
    world.add_host(Host::new(BOB, RELAY_B, FROM_BOB, 15..15 + talk_ms));
    (world, ids)
}

/// Ends the streams; nothing may be left.
fn end(mut world: World, ids: &[StreamId]) {
    assert!(world.is_quiet(), "something is still under way");
    for &id in ids {
        assert!(world.relay.remove(id).is_some());
    }
    assert_eq!(world.relay.streams().count(), 0);
}

#[test]
fn a_calm_network_carries_every_packet_once_in_order_and_untouched() {
    let (mut world, ids) = call(1, CALM, 10_000);
    world.run(20_000);
    for (host, peer) in [(0, FROM_BOB), (1, FROM_ALICE)] {
        assert_eq!(world.hosts[host].heard(peer), (0..500).collect::<Vec<u16>>());
        let expected: Vec<_> = (0..500).map(|number| packet(peer, number)).collect();
        let received: Vec<_> = world.hosts[host].received.iter().map(|(_, datagram)| datagram.clone()).collect();
        assert_eq!(received, expected);
    }
    for id in ids {
        let stream = world.relay.stream(id).expect("a stream");
        let traffic = Traffic { packets: 500, bytes: 500 * 172, errors: 0 };
        assert_eq!((stream.received(), stream.sent()), (traffic, traffic));
        let source = &stream.sources()[0];
        assert_eq!((source.lost(), source.duplicates(), source.reordered(), source.jitter()), (0, 0, 0, 0));
    }
    assert!(world.strays.is_empty());
    end(world, &ids);
}

#[test]
fn a_bad_network_is_relayed_packet_for_packet_and_accounted_exactly() {
    for seed in 1..=20 {
        let link = Link { loss: 7, doubles: 5, spread_ms: 90 };
        let (mut world, ids) = call(seed, link, 20_000);
        world.run(30_000);
        assert!(world.arrivals.iter().all(|arrival| arrival.verdict == Verdict::Forwarded));
        let expected: Vec<_> = world
            .arrivals
            .iter()
            .map(|arrival| if arrival.port == 0 { (1, at(BOB)) } else { (0, at(ALICE)) })
            .zip(world.arrivals.iter().map(|arrival| arrival.datagram.clone()))
            .map(|((port, to), datagram)| (port, to, datagram))
            .collect();
        assert_eq!(world.departures, expected, "seed {seed}: the same packets in the same order");
        for (port, id) in ids.into_iter().enumerate() {
            check_account(&mut world, seed, port as u32, id);
        }
        end(world, &[]);
    }
}

/// Compares a source's account with what the network did. Takes the stream out.
fn check_account(world: &mut World, seed: u64, port: u32, id: StreamId) {
    let arrived: Vec<u16> = world.arrivals.iter().filter(|arrival| arrival.port == port).map(sequence).collect();
    let distinct: HashSet<u16> = arrived.iter().copied().collect();
    let (first, last) = (arrived[0], *distinct.iter().max().expect("packets"));
    let late = arrived.iter().scan(0, |newest: &mut u16, &number| {
        let is_late = number < *newest;
        *newest = number.max(*newest);
        Some(is_late)
    });
    let late_or_double = late.filter(|&is_late| is_late).count();
    let stream = world.relay.remove(id).expect("a stream");
    let [source] = stream.sources() else { panic!("one source") };
    assert_eq!(source.packets(), arrived.len() as u64, "seed {seed}");
    assert_eq!(source.extended_highest_sequence(), u32::from(last), "seed {seed}");
    let before_first = distinct.iter().filter(|&&number| number < first).count();
    let expected = u64::from(last - first) + 1;
    assert_eq!(source.lost(), expected - (distinct.len() - before_first) as u64, "seed {seed}");
    // A double of a packet older than the first can't be told from a late one.
    let doubles = (arrived.len() - distinct.len()) as u64;
    if before_first == 0 {
        assert_eq!(source.duplicates(), doubles, "seed {seed}");
    }
    assert!(source.reordered() <= late_or_double as u64, "seed {seed}");
    assert_eq!(source.resets(), 0);
    assert!(source.jitter_ms().is_some_and(|jitter| (5..60).contains(&jitter)), "{:?}", source.jitter_ms());
}

fn sequence(arrival: &Arrival) -> u16 {
    u16::from_be_bytes([arrival.datagram[2], arrival.datagram[3]])
}

#[test]
fn a_seed_decides_everything() {
    let link = Link { loss: 10, doubles: 10, spread_ms: 50 };
    let run = |seed| {
        let (mut world, _) = call(seed, link, 2000);
        world.run(5000);
        (world.arrivals, world.departures)
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

#[test]
fn peers_behind_nat_hear_each_other_from_the_first_packet() {
    let mut world = World::new(1, CALM);
    let ids = streams(&mut world, Learning::Heuristic, "192.168.1.2:6000", "10.0.0.7:7000", |_| ());
    let alice = world.add_host(Host::new("198.51.100.10:61000", RELAY_A, FROM_ALICE, 10..5010));
    let bob = world.add_host(Host::new("198.51.100.20:62000", RELAY_B, FROM_BOB, 12..5012));
    world.run(10_000);
    // The very first packet of alice went to bob's private address, as bob had not been heard.
    assert_eq!(world.hosts[bob].heard(FROM_ALICE), (1..250).collect::<Vec<u16>>());
    assert_eq!(world.hosts[alice].heard(FROM_BOB), (0..250).collect::<Vec<u16>>());
    assert_eq!(world.strays.into_iter().collect::<Vec<_>>(), [(at("10.0.0.7:7000"), 1)]);
    world.strays = Default::default();
    end(world, &ids);
}

#[test]
fn a_new_nat_binding_is_followed_by_handover_or_signalling_alone() {
    for (handover, expected) in [(false, 50), (true, 149)] {
        let mut world = World::new(1, CALM);
        let change: fn(&mut ForwardingPlan) = if handover { |plan| plan.ingress.media_handover = true } else { |_| () };
        let ids = streams(&mut world, Learning::Heuristic, "192.168.1.2:6000", BOB, change);
        let alice = world.add_host(Host::new("198.51.100.10:61000", RELAY_A, FROM_ALICE, 10..20_010));
        world.add_host(Host::new(BOB, RELAY_B, FROM_BOB, 5015..8015));
        world.run(6015);
        world.hosts[alice].address = at("198.51.100.10:62222");
        world.run(9000);
        assert_eq!(world.hosts[alice].heard(FROM_BOB).len(), expected, "handover {handover}");
        world.run(30_000);
        end(world, &ids);
    }
}

#[test]
fn signalling_finds_a_moved_peer_without_a_gap_for_those_who_stayed() {
    let mut world = World::new(1, CALM);
    let [a, b] = streams(&mut world, Learning::Heuristic, "192.168.1.2:6000", "10.0.0.7:7000", |_| ());
    let alice = world.add_host(Host::new("198.51.100.10:61000", RELAY_A, FROM_ALICE, 10..10_010));
    let bob = world.add_host(Host::new("198.51.100.20:62000", RELAY_B, FROM_BOB, 12..10_012));
    world.run(5000);
    world.hosts[alice].address = at("198.51.100.10:63333");
    world.run(6000);
    world.set_plan(a, plan(Learning::Heuristic, "192.168.1.2:6000", 6000, &[b]));
    world.set_plan(b, plan(Learning::Heuristic, "10.0.0.7:7000", 6000, &[a]));
    world.run(20_000);
    assert_eq!(world.hosts[bob].heard(FROM_ALICE), (1..500).collect::<Vec<u16>>(), "no gap towards bob");
    let heard = world.hosts[alice].heard(FROM_BOB);
    let missed: Vec<u16> = (0..500).filter(|number| !heard.contains(number)).collect();
    assert_eq!(missed, (249..300).collect::<Vec<u16>>(), "from the move to the first packet after the offer");
    end(world, &[a, b]);
}

/// What an attacker gets who sprays both ports from before the peers talk until after they end.
struct Spray {
    /// Packets of the call that reached the attacker.
    bled: usize,
    /// Packets of the attacker that reached a peer.
    injected: usize,
    /// Packets of a peer that the other did not get.
    missed: usize,
    refused: u64,
}

fn spray(learning: Learning, strict: bool, alice: &str, bob: &str) -> Spray {
    let mut world = World::new(1, CALM);
    let change: fn(&mut ForwardingPlan) = if strict { |plan| plan.ingress.strict_source = true } else { |_| () };
    let ids = streams(&mut world, learning, alice, bob, change);
    world.add_host(Host::new(ALICE, RELAY_A, FROM_ALICE, 110..10_110));
    world.add_host(Host::new(BOB, RELAY_B, FROM_BOB, 115..10_115));
    let attacker = world.add_host(Host::new(ATTACKER, RELAY_A, FROM_ATTACKER, 0..11_000));
    world.add_host(Host::new("192.0.2.66:6667", RELAY_B, FROM_ATTACKER, 1..11_000));
    world.run(20_000);
    let heard = |host: usize, ssrc| world.hosts[host].heard(ssrc).len();
    let bled = [attacker, attacker + 1].map(|host| heard(host, FROM_ALICE) + heard(host, FROM_BOB)).iter().sum();
    let outcome = Spray {
        bled,
        injected: heard(0, FROM_ATTACKER) + heard(1, FROM_ATTACKER),
        missed: 1000 - heard(0, FROM_BOB) - heard(1, FROM_ALICE),
        refused: world.relay.dropped().get(DropReason::WrongSource),
    };
    end(world, &ids);
    outcome
}

#[test]
fn an_attacker_gets_nothing_by_default() {
    for strict in [false, true] {
        let outcome = spray(Learning::Heuristic, strict, ALICE, BOB);
        assert_eq!((outcome.bled, outcome.missed), (0, 0), "strict {strict}");
        assert_eq!(outcome.injected, if strict { 0 } else { 1100 });
        assert_eq!(outcome.refused, if strict { 1100 } else { 0 });
    }
}

#[test]
fn behind_nat_an_attacker_who_came_first_gets_no_more_than_five_packets() {
    for strict in [false, true] {
        let outcome = spray_slowly(strict);
        assert!(outcome.bled <= 5, "{} packets bled", outcome.bled);
        assert!(outcome.missed <= 10, "{} packets missed", outcome.missed);
        assert!(!strict || outcome.injected <= 5, "{} packets injected", outcome.injected);
    }
}

/// An attacker who goes through a range of ports comes by twice a second.
fn spray_slowly(strict: bool) -> Spray {
    let mut world = World::new(1, CALM);
    let change: fn(&mut ForwardingPlan) = if strict { |plan| plan.ingress.strict_source = true } else { |_| () };
    let ids = streams(&mut world, Learning::Heuristic, "192.168.1.2:6000", "10.0.0.7:7000", change);
    world.add_host(Host::new("198.51.100.10:61000", RELAY_A, FROM_ALICE, 110..10_110));
    world.add_host(Host::new("198.51.100.20:62000", RELAY_B, FROM_BOB, 115..10_115));
    for start in (0..11_000).step_by(500) {
        world.add_host(Host::new(ATTACKER, RELAY_A, FROM_ATTACKER, start..start + 1));
        world.add_host(Host::new(ATTACKER, RELAY_B, FROM_ATTACKER, start + 1..start + 2));
    }
    world.run(20_000);
    let heard = |host: usize, ssrc| world.hosts[host].heard(ssrc).len();
    let outcome = Spray {
        bled: world.departures.iter().filter(|(_, to, datagram)| *to == at(ATTACKER) && datagram[11] != 66).count(),
        injected: heard(0, FROM_ATTACKER) + heard(1, FROM_ATTACKER),
        missed: 1000 - heard(0, FROM_BOB) - heard(1, FROM_ALICE),
        refused: world.relay.dropped().get(DropReason::WrongSource),
    };
    end(world, &ids);
    outcome
}

#[test]
fn other_modes_behave_as_documented() {
    // Off: nothing bleeds; without a strict source, what is injected passes.
    let outcome = spray(Learning::Off, false, ALICE, BOB);
    assert_eq!((outcome.bled, outcome.injected, outcome.missed, outcome.refused), (0, 1100, 0, 0));
    let outcome = spray(Learning::Off, true, ALICE, BOB);
    assert_eq!((outcome.bled, outcome.injected, outcome.missed, outcome.refused), (0, 0, 0, 1100));
    // Immediate: who comes first has the call.
    let outcome = spray(Learning::Immediate, false, ALICE, BOB);
    assert_eq!((outcome.bled, outcome.injected, outcome.missed), (1000, 1, 1000));
    let outcome = spray(Learning::Immediate, true, ALICE, BOB);
    assert_eq!((outcome.bled, outcome.injected, outcome.missed, outcome.refused), (0, 1, 1000, 1000));
    // Delayed: who comes first after the window, here the attacker towards alice and bob himself on his side. Before
    // that, all goes as signalled.
    let outcome = spray(Learning::Delayed, false, ALICE, BOB);
    assert_eq!((outcome.bled, outcome.missed), (355, 355));
}

#[test]
fn piercing_opens_the_way_for_a_peer_that_waits() {
    let mut world = World::new(1, CALM);
    let ids = streams(&mut world, Learning::Heuristic, ALICE, BOB, |plan| plan.ingress.pierce_nat = true);
    world.add_host(Host::new(ALICE, RELAY_A, FROM_ALICE, 210..211));
    world.run(5000);
    let to_alice = world.departures.iter().filter(|(_, to, datagram)| *to == at(ALICE) && datagram.is_empty());
    assert_eq!(to_alice.count(), 5, "every 50 ms until alice was heard");
    let to_bob = world.departures.iter().filter(|(_, to, datagram)| *to == at(BOB) && datagram.is_empty());
    assert_eq!(to_bob.count(), 20, "and not for ever");
    end(world, &ids);
}
