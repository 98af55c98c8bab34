//! Restarts, forks, and consent that ends.

use super::*;

fn connected() -> Net {
    let mut net = Net::simple(1);
    net.exchange();
    net.connect(300);
    net.run(7);
    net
}

fn new_credentials(net: &mut Net, index: usize) -> Credentials {
    Credentials::generate(&mut net.sides[index].random)
}

/// Restarts a side, with nothing told to the other.
fn restart(net: &mut Net, index: usize) {
    let credentials = new_credentials(net, index);
    net.agent(index).restart(credentials);
}

#[test]
fn a_restart_keeps_what_was_selected_until_the_new_selection() {
    let mut net = connected();
    let before = net.sides[OFFERER].agent.selected(1);
    let old = net.sides[OFFERER].agent.clone();
    restart(&mut net, OFFERER);
    assert_eq!(net.sides[OFFERER].agent.selected(1), before);
    assert!(net.sides[OFFERER].agent.is_validated(1, address("203.0.113.1:40000")));
    // The answer takes a minute: consent goes on with the old credentials in both directions.
    net.run(60);
    assert!(net.sides.iter().all(|side| side.events.len() == 1));
    assert_eq!(net.sides[OFFERER].agent.selected(1), before);
    let bytes = Forged::right(&old, &net.sides[ANSWERER].agent).bytes();
    assert_eq!(net.inject(OFFERER, PortToken(1), address("203.0.113.1:40000"), &bytes).0, Outcome::Consumed);

    restart(&mut net, ANSWERER);
    net.exchange();
    net.connect(300);
    net.assert_agreement();
    assert!(net.sides.iter().all(|side| side.selections() == 2));
    net.run(60);
    assert!(net.sides.iter().all(|side| side.events.len() == 2));
}

#[test]
fn old_credentials_hold_no_longer_than_the_old_selection() {
    let mut net = connected();
    let (old, old_peer) = (net.sides[OFFERER].agent.clone(), net.sides[ANSWERER].agent.clone());
    restart(&mut net, OFFERER);
    restart(&mut net, ANSWERER);
    // During the restart they answer, and teach nothing: neither a source nor a nomination.
    let forged = Forged { uses_candidate: true, ..Forged::right(&old, &old_peer) };
    let bytes = forged.bytes();
    let stranger = address("192.0.2.66:6");
    assert_eq!(net.inject(OFFERER, PortToken(1), stranger, &bytes).0, Outcome::Consumed);
    assert!(!net.sides[OFFERER].agent.is_validated(1, stranger));
    net.exchange();
    net.connect(300);
    let selected = net.sides[OFFERER].agent.selected(1);
    let (outcome, _) = net.inject(OFFERER, PortToken(1), stranger, &bytes);
    assert_eq!(outcome, Outcome::Dropped(Reason::WrongUsername));
    assert_eq!(net.sides[OFFERER].agent.selected(1), selected);
    assert!(!net.sides[OFFERER].agent.is_validated(1, stranger));
}

#[test]
fn checks_of_the_new_generation_may_come_before_the_answer() {
    let mut net = connected();
    restart(&mut net, OFFERER);
    restart(&mut net, ANSWERER);
    net.describe_to(ANSWERER, |_| {});
    net.run(5);
    net.describe_to(OFFERER, |description| description.candidates.clear());
    net.connect(300);
    net.assert_agreement();
}

#[test]
fn a_restart_moves_to_another_address() {
    let mut net = connected();
    let moved = address("203.0.113.77:41000");
    net.sides[ANSWERER].agent.remove_local(PortToken(1));
    net.sides[ANSWERER].ports.clear();
    assert_eq!(net.sides[ANSWERER].agent.selected(1), None);
    let local = LocalCandidate { component: 1, address: moved, local_preference: 9, token: PortToken(8) };
    let now = net.now;
    restart(&mut net, OFFERER);
    restart(&mut net, ANSWERER);
    net.agent(ANSWERER).add_local(now, local);
    net.sides[ANSWERER].ports.push(local);
    net.exchange();
    net.connect(300);
    net.assert_agreement();
    assert_eq!(net.sides[OFFERER].agent.selected(1).unwrap().remote, moved);
    assert!(!net.sides[OFFERER].agent.is_validated(1, address("203.0.113.1:40000")));
}

#[test]
fn another_branch_of_a_fork_takes_over_with_its_answer() {
    let mut net = connected();
    let mut branch = side(77, Role::Controlled, false, &[(1, "203.0.113.50:50000")]);
    let description = net.sides[OFFERER].description();
    branch.agent.set_remote(net.now, description);
    // Before its answer came, its checks are left unanswered, and are sent again.
    let bytes = Forged::right(&net.sides[OFFERER].agent, &branch.agent).bytes();
    let (outcome, answered) = net.inject(OFFERER, PortToken(1), address("203.0.113.50:50000"), &bytes);
    assert_eq!((outcome, answered), (Outcome::Dropped(Reason::WrongUsername), 0));
    net.sides[ANSWERER] = branch;
    net.describe_to(OFFERER, |_| {});
    net.connect(300);
    net.assert_agreement();
}

#[test]
fn consent_ends_after_thirty_seconds_and_a_restart_brings_it_back() {
    let mut net = connected();
    let peer = address("203.0.113.1:40000");
    net.dead.insert(peer.ip());
    net.run(23);
    assert!(net.sides[OFFERER].agent.is_complete());
    net.run(8);
    for side in &net.sides {
        assert!(side.has(Event::ConsentLost { component: 1 }));
        assert_eq!(side.agent.selected(1), None);
    }
    let sent = net.sides[OFFERER].sent;
    net.run(60);
    assert_eq!(net.sides[OFFERER].sent, sent, "nothing is sent without consent");
    net.dead.clear();
    net.run(60);
    assert_eq!(net.sides[OFFERER].agent.selected(1), None);
    restart(&mut net, OFFERER);
    restart(&mut net, ANSWERER);
    net.exchange();
    net.connect(300);
    net.assert_agreement();
}

#[test]
fn the_same_credentials_do_not_renew_lost_consent() {
    let mut net = connected();
    net.dead.insert(address("203.0.113.1:1").ip());
    net.run(40);
    net.dead.clear();
    let (to, by) = (&net.sides[ANSWERER].agent, &net.sides[OFFERER].agent);
    let bytes = Forged { uses_candidate: true, ..Forged::right(to, by) }.bytes();
    assert_eq!(net.inject(ANSWERER, PortToken(1), address("192.0.2.1:30000"), &bytes).0, Outcome::Consumed);
    net.run(2);
    assert_eq!(net.sides[ANSWERER].agent.selected(1), None);
    // Another address of the peer's is another matter.
    let bytes =
        Forged { uses_candidate: true, ..Forged::right(&net.sides[ANSWERER].agent, &net.sides[OFFERER].agent) }.bytes();
    net.sides[OFFERER].ports[0].address = address("192.0.2.7:30000");
    net.inject(ANSWERER, PortToken(1), address("192.0.2.7:30000"), &bytes);
    net.run(2);
    assert_eq!(net.sides[ANSWERER].agent.selected(1).unwrap().remote, address("192.0.2.7:30000"));
}
