//! Finding a pair: kinds of agents, networks, candidates.

use super::*;

#[test]
fn two_full_agents_connect_in_a_few_round_trips() {
    let mut net = Net::simple(1);
    net.exchange();
    net.connect(300);
    net.assert_agreement();
    assert_eq!(net.sides[OFFERER].selections(), 1);
    assert!(net.sides.iter().all(|side| side.events.len() == 1));
}

#[test]
fn many_seeds_connect() {
    for seed in 0..200 {
        let mut net = Net::simple(seed * 2);
        net.exchange();
        net.connect(300);
        net.assert_agreement();
    }
}

#[test]
fn a_full_agent_controls_a_lite_one_whoever_offered() {
    for lite in [OFFERER, ANSWERER] {
        let mut net = Net::new(
            side(1, Role::Controlling, lite == OFFERER, &[(1, "192.0.2.1:30000")]),
            side(2, Role::Controlled, lite == ANSWERER, &[(1, "203.0.113.1:40000")]),
        );
        net.exchange();
        net.connect(300);
        net.assert_agreement();
        assert_eq!(net.sides[lite].agent.role(), Role::Controlled);
        assert_eq!(net.sides[1 - lite].agent.role(), Role::Controlling);
        assert!(net.sides[lite].sent >= 2, "the lite side answers");
        net.run(100);
        assert!(!net.sides[1 - lite].has(Event::ConsentLost { component: 1 }), "the lite side answers for consent");
        assert_eq!(net.sides[lite].agent.next_due(), None, "a lite side has nothing to do of its own accord");
    }
}

#[test]
fn two_lite_agents_take_the_best_pair_without_checks() {
    let ports = |a, b| [(1, a), (1, b)];
    let mut net = Net::new(
        side(1, Role::Controlling, true, &ports("192.0.2.1:30000", "[2001:db8::1]:30000")),
        side(2, Role::Controlled, true, &ports("203.0.113.1:40000", "[2001:db8::2]:40000")),
    );
    net.exchange();
    net.connect(0);
    assert_eq!(net.sides[OFFERER].agent.selected(1).unwrap().remote, address("203.0.113.1:40000"));
    net.assert_agreement();
    net.run(60);
    assert!(net.sides.iter().all(|side| side.sent == 0));
    assert!(!net.sides[OFFERER].agent.is_validated(1, address("[2001:db8::2]:40000")));
}

#[test]
fn two_components_are_both_selected() {
    let mut net = Net::new(
        side(1, Role::Controlling, false, &[(1, "192.0.2.1:30000"), (2, "192.0.2.1:30001")]),
        side(2, Role::Controlled, false, &[(1, "203.0.113.1:40000"), (2, "203.0.113.1:40001")]),
    );
    net.exchange();
    net.connect(600);
    net.assert_agreement();
    let rtcp = net.sides[OFFERER].agent.selected(2).unwrap();
    assert_eq!((rtcp.local, rtcp.remote), (address("192.0.2.1:30001"), address("203.0.113.1:40001")));
    assert!(!net.sides[OFFERER].agent.is_validated(1, rtcp.remote), "an address is validated for its component");
}

#[test]
fn with_mux_the_second_component_is_dropped() {
    let mut net = Net::new(
        side(1, Role::Controlling, false, &[(1, "192.0.2.1:30000"), (2, "192.0.2.1:30001")]),
        side(2, Role::Controlled, false, &[(1, "203.0.113.1:40000")]),
    );
    net.exchange();
    net.run(5);
    assert!(!net.sides[OFFERER].agent.is_complete(), "the RTCP component has nobody to talk to");
    let now = net.now;
    net.agent(OFFERER).set_component_count(now, 1);
    net.connect(300);
    net.assert_agreement();
    assert_eq!(net.inject(OFFERER, PortToken(2), address("203.0.113.1:40000"), &[]).0, Outcome::NotForUs);
}

#[test]
fn one_dead_family_does_not_hold_up_the_other() {
    let mut net = Net::new(
        side(1, Role::Controlling, false, &[(1, "[2001:db8::1]:30000"), (1, "192.0.2.1:30000")]),
        side(2, Role::Controlled, false, &[(1, "[2001:db8::2]:40000"), (1, "203.0.113.1:40000")]),
    );
    net.dead.insert(address("[2001:db8::1]:0").ip());
    net.exchange();
    net.connect(600);
    net.assert_agreement();
    assert!(net.sides[OFFERER].agent.selected(1).unwrap().remote.is_ipv4());
    net.run(60);
    assert_eq!(net.sides[OFFERER].selections(), 1);
}

#[test]
fn of_two_families_that_work_the_preferred_is_taken() {
    let mut net = Net::new(
        side(1, Role::Controlling, false, &[(1, "[2001:db8::1]:30000"), (1, "192.0.2.1:30000")]),
        side(2, Role::Controlled, false, &[(1, "[2001:db8::2]:40000"), (1, "203.0.113.1:40000")]),
    );
    net.exchange();
    net.connect(600);
    net.assert_agreement();
    assert!(net.sides[OFFERER].agent.selected(1).unwrap().remote.is_ipv6());
}

#[test]
fn peers_behind_nat_are_found_by_their_checks() {
    for nat in [Nat::Restricted, Nat::Symmetric] {
        for (inside, proxy_is_lite) in [(OFFERER, false), (ANSWERER, false), (OFFERER, true), (ANSWERER, true)] {
            let mut net = Net::new(
                side(1, Role::Controlling, proxy_is_lite && inside != OFFERER, &[(1, "192.0.2.1:30000")]),
                side(2, Role::Controlled, proxy_is_lite && inside != ANSWERER, &[(1, "203.0.113.1:40000")]),
            );
            net.sides[inside].nat = nat;
            net.exchange();
            net.connect(1500);
            net.assert_agreement();
            let seen = net.sides[1 - inside].agent.selected(1).unwrap().remote;
            assert_eq!(seen.ip(), address("198.51.100.9:1").ip());
        }
    }
}

#[test]
fn a_peer_without_candidates_is_found_by_its_checks() {
    let mut net = Net::simple(1);
    net.describe_to(OFFERER, |description| description.candidates.clear());
    net.describe_to(ANSWERER, |_| {});
    net.connect(300);
    net.assert_agreement();
}

#[test]
fn candidates_that_trickle_in_are_checked() {
    let mut net = Net::simple(1);
    for index in [OFFERER, ANSWERER] {
        net.describe_to(index, |description| {
            description.candidates.clear();
            description.is_trickling = true;
        });
    }
    net.run(60);
    assert!(net.sides.iter().all(|side| side.events.is_empty()), "nothing has failed: more may come");
    let candidates = net.sides[ANSWERER].candidates();
    let now = net.now;
    net.agent(OFFERER).add_remote_candidates(now, candidates);
    net.connect(300);
    net.assert_agreement();
}

#[test]
fn a_trickled_candidate_of_another_generation_is_ignored() {
    let mut net = Net::simple(1);
    net.describe_to(OFFERER, |description| {
        description.candidates[0].ufrag = Some("other".into());
        description.is_trickling = true;
    });
    net.run(1);
    assert_eq!(net.sides[OFFERER].sent, 0);
}

#[test]
fn a_peer_that_cannot_be_reached_fails_after_the_end_of_candidates() {
    let mut net = Net::simple(1);
    net.dead.insert(address("203.0.113.1:1").ip());
    net.describe_to(OFFERER, |description| description.is_trickling = true);
    net.run(60);
    assert!(!net.sides[OFFERER].has(Event::Failed));
    let now = net.now;
    net.agent(OFFERER).end_of_candidates(now);
    net.run(1);
    assert!(net.sides[OFFERER].has(Event::Failed));
    assert_eq!(net.sides[OFFERER].sent, 7);
}

#[test]
fn failure_waits_for_the_checks_of_the_peer() {
    let mut net = Net::simple(1);
    net.describe_to(OFFERER, |description| description.candidates.clear());
    net.run(39);
    assert!(!net.sides[OFFERER].has(Event::Failed));
    net.run(1);
    assert!(net.sides[OFFERER].has(Event::Failed));
    net.describe_to(ANSWERER, |_| {});
    net.connect(300);
    net.assert_agreement();
}

#[test]
fn early_checks_are_answered_and_remembered() {
    let mut net = Net::simple(1);
    // The answerer's description has not come: the offerer's is known to it already.
    net.describe_to(ANSWERER, |_| {});
    net.run(10);
    assert!(net.sides[OFFERER].agent.is_validated(1, address("203.0.113.1:40000")));
    assert!(!net.sides[OFFERER].agent.is_complete());
    net.describe_to(OFFERER, |description| description.candidates.clear());
    net.connect(300);
    net.assert_agreement();
}

#[test]
fn a_third_lost_connects_within_seconds() {
    let mut times = Vec::new();
    for seed in 0..300 {
        let mut net = Net::simple(seed * 2);
        net.random = Seeded(seed);
        net.loss_percent = 30;
        net.exchange();
        net.connect(8000);
        net.assert_agreement();
        times.push(net.elapsed());
    }
    times.sort();
    assert!(times[150] < Duration::from_secs(2) && times[299] < Duration::from_secs(8));
    assert!(times[299] > Duration::from_millis(500), "some were slowed");
}

#[test]
fn loss_does_not_end_consent() {
    let mut net = Net::simple(3);
    net.exchange();
    net.connect(300);
    net.loss_percent = 8;
    net.run(3600);
    assert!(net.sides.iter().all(|side| side.events.len() == 1));
}

#[test]
fn consent_is_asked_for_every_few_seconds() {
    let mut net = Net::simple(1);
    net.exchange();
    net.connect(300);
    let before = net.sides[OFFERER].sent;
    net.run(3000);
    // Its own 600 questions and as many answers.
    assert!((1150..=1260).contains(&(net.sides[OFFERER].sent - before)), "{}", net.sides[OFFERER].sent - before);
}

#[test]
fn checks_are_paced_and_many_candidates_are_bounded() {
    let mut net = Net::simple(1);
    let mut many: Vec<Candidate> = (0..500u16)
        .map(|at| Candidate::host(at.to_string(), 1, SocketAddr::new([100, 64, 0, 1].into(), 1000 + at), at))
        .collect();
    let right = net.sides[ANSWERER].candidates().remove(0);
    many.insert(0, Candidate { priority: 1, ..right });
    net.describe_to(OFFERER, |description| description.candidates = many);
    let sent_in_a_second = {
        net.run(1);
        net.sides[OFFERER].sent
    };
    assert!((20..=42).contains(&sent_in_a_second), "{sent_in_a_second}");
    net.describe_to(ANSWERER, |description| description.candidates.clear());
    net.connect(6000);
    net.assert_agreement();
    assert!(net.sides[OFFERER].agent.remotes.len() <= MOST_SIGNALLED + MOST_PEER_REFLEXIVE);
    assert!(net.sides[OFFERER].agent.pairs.len() <= MOST_PAIRS);
}

#[test]
fn the_same_foundation_waits_for_its_first_pair() {
    let mut net = Net::new(
        side(1, Role::Controlling, false, &[(1, "192.0.2.1:30000"), (2, "192.0.2.1:30001")]),
        side(2, Role::Controlled, false, &[(1, "203.0.113.1:40000"), (2, "203.0.113.1:40001")]),
    );
    net.dead.insert(address("203.0.113.1:1").ip());
    net.describe_to(OFFERER, |_| {});
    let states = |net: &Net| net.sides[OFFERER].agent.pairs.iter().map(|pair| pair.state).collect::<Vec<_>>();
    assert_eq!(states(&net), [pairs::State::Waiting, pairs::State::Frozen]);
    net.run(10);
    assert_eq!(states(&net), [pairs::State::InProgress, pairs::State::Frozen]);
    net.run(31);
    assert_eq!(states(&net), [pairs::State::Failed, pairs::State::InProgress]);
}

#[test]
fn no_check_begins_after_the_selection() {
    let mut net = Net::simple(1);
    let others: Vec<Candidate> = (1..=50u16)
        .map(|at| Candidate::host(at.to_string(), 1, SocketAddr::new([100, 64, 0, 1].into(), at), at))
        .collect();
    net.describe_to(OFFERER, |description| description.candidates.extend(others));
    net.describe_to(ANSWERER, |_| {});
    net.connect(400);
    net.run(3);
    assert!(net.sides[OFFERER].sent < 10, "{}", net.sides[OFFERER].sent);
    assert_eq!(net.sides[OFFERER].agent.pairs.len(), 1);
}

#[test]
fn a_foundation_that_works_is_tried_at_once() {
    let ports = |ip: &'static str| [(1, ip), (2, ip)];
    let mut net = Net::new(
        side(1, Role::Controlling, false, &ports("192.0.2.1:30000")),
        side(2, Role::Controlled, false, &ports("203.0.113.1:40000")),
    );
    let others: Vec<Candidate> = (1..=20u16)
        .map(|at| Candidate::host(format!("x{at}"), 1, SocketAddr::new([100, 64, 0, 1].into(), at), 9))
        .collect();
    net.describe_to(OFFERER, |description| description.candidates.extend(others));
    net.run_until(Duration::from_millis(49), |_| false);
    let alike = net.sides[OFFERER].agent.pairs.iter().find(|pair| pair.component == 2).unwrap();
    assert_eq!(alike.state, pairs::State::Waiting, "the first component's pair was answered");
}

#[test]
fn of_too_many_pairs_the_best_are_kept() {
    let mut net = Net::new(
        side(1, Role::Controlling, false, &[(1, "192.0.2.1:30000"), (1, "192.0.2.2:30000")]),
        side(2, Role::Controlled, false, &[(1, "203.0.113.1:40000")]),
    );
    let rising: Vec<Candidate> = (1..=60u16)
        .map(|at| Candidate::host(at.to_string(), 1, SocketAddr::new([100, 64, 0, 1].into(), at), at))
        .collect();
    net.describe_to(OFFERER, |description| description.candidates = rising);
    let agent = &net.sides[OFFERER].agent;
    assert_eq!(agent.pairs.len(), MOST_PAIRS);
    let kept =
        |port: u16| agent.pairs.iter().filter(|p| agent.remotes[usize::from(p.remote)].address.port() == port).count();
    assert_eq!((kept(1), kept(10), kept(11), kept(60)), (0, 0, 2, 2));
}

#[test]
fn a_typical_agent_is_small() {
    let mut net = Net::simple(1);
    net.exchange();
    net.connect(300);
    let agent = &net.sides[OFFERER].agent;
    let heap = agent.pairs.capacity() * size_of::<Pair>() + agent.remotes.capacity() * size_of::<Remote>();
    assert!(size_of::<Agent>() + heap < 2048, "{} and {heap}", size_of::<Agent>());
}
