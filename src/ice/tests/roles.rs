//! Conflicts of roles, and nominations of all sorts of peers.

use super::*;
use crate::wire::stun::RoleAttribute;

#[test]
fn conflicts_of_roles_are_settled_both_ways() {
    for role in [Role::Controlling, Role::Controlled] {
        for seed in 0..50 {
            let mut net = Net::new(
                side(seed * 2, role, false, &[(1, "192.0.2.1:30000")]),
                side(seed * 2 + 1, role, false, &[(1, "203.0.113.1:40000")]),
            );
            net.exchange();
            net.connect(1000);
            net.assert_agreement();
            let roles = net.sides.iter().map(|side| side.agent.role()).collect::<HashSet<_>>();
            assert_eq!(roles.len(), 2);
            let changed =
                net.sides.iter().filter(|side| side.events.iter().any(|(_, e)| matches!(e, Event::RoleChanged(_))));
            assert_eq!(changed.count(), 1);
        }
    }
}

#[test]
fn the_larger_tie_breaker_stays_controlling() {
    for (ours, theirs, expected) in [(5, 4, Role::Controlling), (4, 5, Role::Controlled), (5, 5, Role::Controlling)] {
        for role in [Role::Controlling, Role::Controlled] {
            let mut net = Net::simple(1);
            net.agent(OFFERER).tie_breaker = ours;
            net.agent(OFFERER).role = role;
            let mut forged = Forged::right(&net.sides[OFFERER].agent, &net.sides[ANSWERER].agent);
            forged.role = Some(match role {
                Role::Controlling => RoleAttribute::Controlling(theirs),
                Role::Controlled => RoleAttribute::Controlled(theirs),
            });
            let bytes = forged.bytes();
            net.inject(OFFERER, PortToken(1), address("203.0.113.1:40000"), &bytes);
            assert_eq!(net.sides[OFFERER].agent.role(), expected, "{ours} {theirs} {role:?}");
            // Who gives in answers with success, who insists with 487.
            let is_error = net.flying[0].bytes[1] & 0x10 != 0;
            assert_eq!(is_error, role == expected);
        }
    }
}

/// The answerer, controlled, with two ports of the peer's that check and name themselves.
fn named_by(net: &mut Net, port: u16, priority: u32) {
    let (to, by) = (&net.sides[ANSWERER].agent, &net.sides[OFFERER].agent);
    let transaction = [port as u8; 12];
    let forged = Forged { uses_candidate: true, priority, transaction, ..Forged::right(to, by) };
    let bytes = forged.bytes();
    let from = SocketAddr::new([192, 0, 2, 1].into(), port);
    assert_eq!(net.inject(ANSWERER, PortToken(1), from, &bytes).0, Outcome::Consumed);
}

fn lite_answerer() -> Net {
    let mut net = Net::new(
        side(1, Role::Controlling, false, &[(1, "192.0.2.1:30000")]),
        side(2, Role::Controlled, true, &[(1, "203.0.113.1:40000")]),
    );
    net.describe_to(ANSWERER, |description| description.candidates.clear());
    net
}

fn selected_port(net: &Net) -> Option<u16> {
    net.sides[ANSWERER].agent.selected(1).map(|pair| pair.remote.port())
}

#[test]
fn of_aggressive_nominations_the_best_counts() {
    for order in [[(1, 10), (2, 30), (3, 20)], [(3, 20), (2, 30), (1, 10)], [(2, 30), (1, 10), (3, 20)]] {
        let mut net = lite_answerer();
        for (port, priority) in order {
            named_by(&mut net, port, priority);
        }
        assert_eq!(selected_port(&net), Some(2));
        assert!(net.sides[ANSWERER].agent.is_validated(1, address("192.0.2.1:3")));
    }
}

#[test]
fn an_aggressive_peer_connects_to_a_full_agent() {
    let ports = [(1, "192.0.2.1:1"), (1, "192.0.2.1:2")];
    let mut net = Net::new(
        side(1, Role::Controlling, false, &ports),
        side(2, Role::Controlled, false, &[(1, "203.0.113.1:40000")]),
    );
    // The offerer answers checks but does not send any: the test sends its aggressive ones.
    let description = net.sides[ANSWERER].description();
    net.agent(OFFERER).set_remote(Mono(0), RemoteDescription { candidates: Vec::new(), ..description });
    net.describe_to(ANSWERER, |description| description.candidates.clear());
    named_by(&mut net, 2, 10);
    net.agent(OFFERER).is_lite = true;
    assert!(net.run_until(Duration::from_secs(1), |net| selected_port(net) == Some(2)));
    named_by(&mut net, 1, 30);
    assert!(net.run_until(Duration::from_secs(1), |net| selected_port(net) == Some(1)));
    named_by(&mut net, 2, 10);
    net.run(1);
    assert_eq!(selected_port(&net), Some(1));
    assert_eq!(net.sides[ANSWERER].selections(), 2);
}

#[test]
fn a_peer_that_moves_is_followed_to_a_worse_pair() {
    let mut net = lite_answerer();
    named_by(&mut net, 1, 30);
    net.run(2);
    named_by(&mut net, 2, 20);
    assert_eq!(selected_port(&net), Some(1), "both may be of one aggressive round");
    net.run(2);
    named_by(&mut net, 2, 20);
    assert_eq!(selected_port(&net), Some(2));
    net.run(2);
    named_by(&mut net, 2, 20);
    named_by(&mut net, 1, 30);
    assert_eq!(selected_port(&net), Some(1));
}

#[test]
fn a_nomination_by_the_controlled_side_is_ignored() {
    // Nobody answers for the second component, so that the controlling side does not nominate either.
    let mut net = Net::new(
        side(1, Role::Controlling, false, &[(1, "192.0.2.1:30000"), (2, "192.0.2.1:30001")]),
        side(2, Role::Controlled, false, &[(1, "203.0.113.1:40000")]),
    );
    net.describe_to(OFFERER, |_| {});
    let (to, by) = (&net.sides[OFFERER].agent, &net.sides[ANSWERER].agent);
    let bytes = Forged { uses_candidate: true, ..Forged::right(to, by) }.bytes();
    net.inject(OFFERER, PortToken(1), address("203.0.113.1:40000"), &bytes);
    net.run(1);
    assert!(net.sides[OFFERER].agent.pairs[0].is_valid);
    assert_eq!(net.sides[OFFERER].agent.selected(1), None);
}

#[test]
fn without_consent_the_controlling_side_names_another_pair() {
    let ports = [(1, "203.0.113.1:1"), (1, "203.0.113.2:2")];
    let mut net = Net::new(
        side(1, Role::Controlling, false, &[(1, "192.0.2.1:30000")]),
        side(2, Role::Controlled, false, &ports),
    );
    net.delay = Duration::from_millis(60);
    net.exchange();
    net.connect(1000);
    net.run(10);
    let first = net.sides[OFFERER].agent.selected(1).unwrap().remote;
    assert_eq!(first.ip(), address("203.0.113.1:1").ip());
    // The peer checks its other address, and so do we.
    let (to, by) = (&net.sides[OFFERER].agent, &net.sides[ANSWERER].agent);
    let bytes = Forged::right(to, by).bytes();
    net.inject(OFFERER, PortToken(1), address("203.0.113.2:2"), &bytes);
    net.run(2);
    assert_eq!(net.sides[OFFERER].agent.selected(1).unwrap().remote, first);
    net.dead.insert(first.ip());
    net.run(45);
    assert!(net.sides[OFFERER].has(Event::ConsentLost { component: 1 }));
    assert_eq!(net.sides[OFFERER].agent.selected(1).unwrap().remote, address("203.0.113.2:2"));
    net.assert_agreement();
}

#[test]
fn who_loses_a_conflict_takes_another_tie_breaker() {
    let mut net = Net::simple(1);
    net.agent(OFFERER).tie_breaker = 4;
    net.agent(ANSWERER).tie_breaker = 5;
    net.agent(ANSWERER).role = Role::Controlling;
    net.describe_to(OFFERER, |_| {});
    net.run(1);
    let agent = &net.sides[OFFERER].agent;
    assert_eq!((agent.role(), agent.pairs[0].is_valid), (Role::Controlled, true));
    assert_ne!(agent.tie_breaker, 4);
}

#[test]
fn a_better_pair_that_is_a_little_late_is_waited_for() {
    let ports = [(1, "203.0.113.1:1"), (1, "203.0.113.2:2")];
    for (late_ms, expected) in [(40, 1), (160, 2)] {
        let mut net = Net::new(
            side(1, Role::Controlling, false, &[(1, "192.0.2.1:30000")]),
            side(2, Role::Controlled, false, &ports),
        );
        net.delay = Duration::from_millis(5);
        let better = net.sides[ANSWERER].candidates().remove(0);
        net.describe_to(OFFERER, |description| {
            description.candidates.remove(0);
            description.is_trickling = true;
        });
        net.run_until(Duration::from_millis(5), |_| false);
        let now = net.now;
        net.dead.insert(better.address.ip());
        net.agent(OFFERER).add_remote_candidates(now, [better.clone()]);
        net.run_until(Duration::from_millis(late_ms), |_| false);
        // Its first check was lost; the peer's own finds the way.
        net.dead.clear();
        let bytes = Forged::right(&net.sides[OFFERER].agent, &net.sides[ANSWERER].agent).bytes();
        net.inject(OFFERER, PortToken(1), better.address, &bytes);
        assert!(net.run_until(Duration::from_secs(1), |net| net.sides[OFFERER].agent.is_complete()));
        assert_eq!(net.sides[OFFERER].agent.selected(1).unwrap().remote.port(), expected);
    }
}
