//! Who is not the peer gets nothing, and changes nothing.

use super::*;
use crate::wire::stun::{RoleAttribute, TransactionId, Writer};
use proptest::prelude::*;

const STRANGER: &str = "198.51.100.66:6666";

fn connected() -> Net {
    let mut net = Net::simple(1);
    net.exchange();
    net.connect(300);
    net.flying.clear();
    net
}

/// Sends `bytes` from the stranger to both sides; nothing may change, nor more come back than was sent.
fn assert_harmless(net: &mut Net, bytes: &[u8], expected: Outcome) {
    for index in [OFFERER, ANSWERER] {
        let before = net.sides[index].agent.selected(1);
        let (outcome, answered) = net.inject(index, PortToken(1), address(STRANGER), bytes);
        assert_eq!(outcome, expected);
        assert!(answered <= bytes.len(), "{answered} bytes for {}", bytes.len());
        net.run(1);
        assert_eq!(net.sides[index].agent.selected(1), before);
        assert!(!net.sides[index].agent.is_validated(1, address(STRANGER)));
    }
    assert!(net.flying.iter().all(|flying| flying.to != address(STRANGER)), "no check goes to a stranger");
}

#[test]
fn wrong_credentials_change_nothing() {
    let mut net = connected();
    let (offerer, answerer) = (net.sides[OFFERER].agent.clone(), net.sides[ANSWERER].agent.clone());
    let right = || Forged { uses_candidate: true, ..Forged::right(&offerer, &answerer) };
    let wrong_username = Forged { username: Some(("nobody", "knows")), ..right() };
    let no_username = Forged { username: None, ..right() };
    let no_integrity = Forged { password: None, ..right() };
    for (forged, reason) in [
        (wrong_username, Reason::WrongUsername),
        (no_username, Reason::NoCredentials),
        (no_integrity, Reason::NoCredentials),
    ] {
        assert_harmless(&mut net, &forged.bytes(), Outcome::Dropped(reason));
    }
    let wrong_password = Forged { password: Some("not the password at all"), ..right() };
    let outcome = net.inject(OFFERER, PortToken(1), address(STRANGER), &wrong_password.bytes()).0;
    assert_eq!(outcome, Outcome::Dropped(Reason::WrongIntegrity));
    let other_sender = Forged { username: Some((&offerer.credentials().ufrag, "else")), ..right() };
    let (outcome, answered) = net.inject(OFFERER, PortToken(1), address(STRANGER), &other_sender.bytes());
    assert_eq!((outcome, answered), (Outcome::Dropped(Reason::WrongUsername), 0));
    assert!(!net.sides[OFFERER].agent.is_validated(1, address(STRANGER)));
}

#[test]
fn a_wrong_fingerprint_is_dropped() {
    let mut net = connected();
    let mut bytes = Forged::right(&net.sides[OFFERER].agent, &net.sides[ANSWERER].agent).bytes();
    *bytes.last_mut().unwrap() ^= 1;
    assert_harmless(&mut net, &bytes, Outcome::Dropped(Reason::Malformed));
}

#[test]
fn every_changed_bit_of_a_right_check_is_noticed() {
    let net = connected();
    let (offerer, answerer) = (&net.sides[OFFERER].agent, &net.sides[ANSWERER].agent);
    let role = Some(RoleAttribute::Controlled(9));
    for has_fingerprint in [true, false] {
        let bytes = Forged { has_fingerprint, role, ..Forged::right(offerer, answerer) }.bytes();
        // Without its type, FINGERPRINT is an unknown attribute after the integrity, and nobody's concern.
        let fingerprint_type = if has_fingerprint { bytes.len() - 8..bytes.len() - 6 } else { 0..0 };
        for bit in (0..bytes.len() * 8).filter(|bit| !fingerprint_type.contains(&(bit / 8))) {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let mut agent = offerer.clone();
            let outcome = agent.stun(net.now, PortToken(1), address(STRANGER), &changed, &mut |_, _, _: &[u8]| {});
            // A changed class makes an indication of it, which does nothing.
            let is_indication = changed[1] & 0x10 != 0 && changed[0] & 1 == 0;
            assert!(outcome != Outcome::Consumed || is_indication, "bit {bit}");
            assert!(!agent.is_validated(1, address(STRANGER)));
        }
    }
}

#[test]
fn a_flood_is_answered_rarely_and_with_less() {
    let mut net = connected();
    let bytes =
        Forged { username: Some(("nobody", "knows")), ..Forged::right(&net.sides[0].agent, &net.sides[1].agent) }
            .bytes();
    let mut answers = 0;
    for at in 0..10_000u32 {
        let from = SocketAddr::new(IpAddr::from(at.to_be_bytes()), 5000);
        let (_, answered) = net.inject(OFFERER, PortToken(1), from, &bytes);
        assert!(answered <= bytes.len());
        answers += u32::from(answered > 0);
        net.now = net.now + Duration::from_micros(100);
    }
    assert!((1..=15).contains(&answers), "{answers} answers in a second");
    let agent = &net.sides[OFFERER].agent;
    assert!(agent.remotes.len() <= 2 && agent.pairs.len() <= 2);
}

#[test]
fn a_request_without_anything_gets_nothing() {
    let mut net = connected();
    let mut buffer = [0; 64];
    let bare = Writer::new(&mut buffer, Class::Request, BINDING, TransactionId([1; 12])).finish().unwrap();
    let (outcome, answered) = net.inject(OFFERER, PortToken(1), address(STRANGER), bare);
    assert_eq!((outcome, answered), (Outcome::Dropped(Reason::NoCredentials), 0));
}

/// A check with an attribute more before its integrity.
fn with_attribute(to: &Agent, by: &Agent, kind: u16, value: &[u8]) -> Vec<u8> {
    let bare = Forged { password: None, has_fingerprint: false, ..Forged::right(to, by) }.bytes();
    let mut bytes = bare;
    bytes.extend(kind.to_be_bytes());
    bytes.extend((value.len() as u16).to_be_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    let length = (bytes.len() + 24 - 20) as u16;
    bytes[2..4].copy_from_slice(&length.to_be_bytes());
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, to.credentials().password.as_bytes());
    let tag = ring::hmac::sign(&key, &bytes);
    bytes.extend([0, 8, 0, 20]);
    bytes.extend(tag.as_ref());
    bytes
}

#[test]
fn unknown_attributes_that_must_be_understood_get_420() {
    let mut net = connected();
    let (to, by) = (&net.sides[OFFERER].agent, &net.sides[ANSWERER].agent);
    let (unknown, optional) = (with_attribute(to, by, 0x7777, &[1]), with_attribute(to, by, 0xc057, &[1]));
    let (outcome, answered) = net.inject(OFFERER, PortToken(1), address(STRANGER), &unknown);
    assert_eq!(outcome, Outcome::Dropped(Reason::UnknownAttributes));
    assert!(answered > 0 && answered <= unknown.len());
    let answer = net.flying.last().unwrap().bytes.clone();
    let answer = Message::parse(&answer).unwrap();
    assert_eq!(answer.error_code(), Some(420));
    assert!(answer.is_authentic(&net.sides[OFFERER].agent.credentials().password));
    assert!(!net.sides[OFFERER].agent.is_validated(1, address(STRANGER)));
    assert_eq!(net.inject(OFFERER, PortToken(1), address("203.0.113.1:40000"), &optional).0, Outcome::Consumed);
}

#[test]
fn huge_attributes_are_dropped() {
    let mut net = connected();
    let (to, by) = (&net.sides[OFFERER].agent, &net.sides[ANSWERER].agent);
    let huge = with_attribute(to, by, 0x8022, &[0; 60_000]);
    let large = with_attribute(to, by, 0x8022, &[0; 1200]);
    assert_harmless(&mut net, &huge, Outcome::Dropped(Reason::TooLong));
    assert_eq!(net.inject(OFFERER, PortToken(1), address("203.0.113.1:40000"), &large).0, Outcome::Consumed);
}

#[test]
fn authenticated_sources_are_bounded() {
    let mut net = connected();
    let selected = net.sides[OFFERER].agent.selected(1);
    for at in 0..1000u16 {
        let bytes = Forged::right(&net.sides[OFFERER].agent, &net.sides[ANSWERER].agent).bytes();
        let from = SocketAddr::new([198, 51, 100, 1].into(), 1000 + at);
        assert_eq!(net.inject(OFFERER, PortToken(1), from, &bytes).0, Outcome::Consumed);
    }
    let agent = &net.sides[OFFERER].agent;
    assert!(agent.remotes.len() <= MOST_SIGNALLED + MOST_PEER_REFLEXIVE && agent.pairs.len() <= MOST_PAIRS);
    assert_eq!(agent.selected(1), selected);
    assert!(agent.is_validated(1, address("203.0.113.1:40000")));
}

#[test]
fn forged_answers_neither_validate_nor_renew_consent() {
    let mut net = Net::simple(1);
    net.dead.insert(address("203.0.113.1:1").ip());
    net.describe_to(OFFERER, |_| {});
    let mut sent = Vec::new();
    let now = net.now;
    let Side { agent, random, .. } = &mut net.sides[OFFERER];
    agent.timer(now, random, &mut |_, _, bytes: &[u8]| sent.extend_from_slice(bytes));
    let id = Message::parse(&sent).unwrap().transaction_id();
    let answer = |class, password: &str| {
        let mut buffer = [0; 128];
        let writer = Writer::new(&mut buffer, class, BINDING, id).mapped_address(address("192.0.2.1:30000"));
        let writer = if password.is_empty() { writer } else { writer.integrity(password) };
        writer.fingerprint().finish().unwrap().to_vec()
    };
    let peer = address("203.0.113.1:40000");
    let right = net.sides[ANSWERER].agent.credentials().password.clone();
    for (class, password, from, expected) in [
        (Class::Success, "", peer, Outcome::Dropped(Reason::WrongIntegrity)),
        (Class::Success, "guessed", peer, Outcome::Dropped(Reason::WrongIntegrity)),
        (Class::Error, "", peer, Outcome::Dropped(Reason::WrongIntegrity)),
        (Class::Success, &right, address(STRANGER), Outcome::Dropped(Reason::WrongSource)),
    ] {
        let mut agent = net.sides[OFFERER].agent.clone();
        let outcome = agent.stun(now, PortToken(1), from, &answer(class, password), &mut |_, _, _: &[u8]| {});
        assert_eq!(outcome, expected);
        assert!(!agent.is_validated(1, peer) && !agent.is_validated(1, address(STRANGER)));
    }
    assert_eq!(net.inject(OFFERER, PortToken(1), peer, &answer(Class::Success, &right)).0, Outcome::Consumed);
    assert!(net.sides[OFFERER].agent.is_validated(1, peer));
    let again = net.inject(OFFERER, PortToken(1), peer, &answer(Class::Success, &right)).0;
    assert_eq!(again, Outcome::Dropped(Reason::UnknownTransaction));
}

#[test]
fn forged_answers_do_not_renew_consent() {
    let mut net = connected();
    let (peer, password) = (address("203.0.113.1:40000"), net.sides[ANSWERER].agent.credentials().password.clone());
    // Nothing arrives but what is forged.
    net.delay = Duration::from_secs(10_000);
    for _ in 0..35 {
        net.run(1);
        for flying in std::mem::take(&mut net.flying).iter().filter(|flying| flying.to == peer) {
            let id = Message::parse(&flying.bytes).unwrap().transaction_id();
            for (password, from) in [("guessed", peer), (&*password, address(STRANGER))] {
                let mut buffer = [0; 128];
                let writer = Writer::new(&mut buffer, Class::Success, BINDING, id);
                let bytes = writer.mapped_address(from).integrity(password).fingerprint().finish().unwrap();
                assert!(matches!(net.inject(OFFERER, PortToken(1), from, bytes).0, Outcome::Dropped(_)));
            }
        }
    }
    assert!(net.sides[OFFERER].has(Event::ConsentLost { component: 1 }));
}

#[test]
fn candidates_of_the_host_itself_are_not_checked() {
    let mut net = Net::simple(1);
    let texts = ["127.0.0.1:22", "0.0.0.0:9", "224.0.0.1:9", "255.255.255.255:9", "192.0.2.9:0", "[::1]:22"];
    let bad = texts.iter().enumerate().map(|(at, text)| Candidate::host(at.to_string(), 1, address(text), 7));
    let bad: Vec<_> = bad.collect();
    net.describe_to(OFFERER, |description| description.candidates = bad);
    net.run(10);
    assert_eq!(net.sides[OFFERER].sent, 0);
}

#[test]
fn other_methods_and_ports_are_not_for_this_agent() {
    let mut net = connected();
    let mut buffer = [0; 64];
    let allocate = Writer::new(&mut buffer, Class::Request, 3, TransactionId([1; 12])).finish().unwrap().to_vec();
    assert_eq!(net.inject(OFFERER, PortToken(1), address(STRANGER), &allocate).0, Outcome::NotForUs);
    assert_eq!(net.inject(OFFERER, PortToken(9), address(STRANGER), &allocate).0, Outcome::NotForUs);
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0..200usize, change: u8) {
        let mut net = Net::simple(1);
        net.describe_to(OFFERER, |_| {});
        let token = PortToken(1);
        prop_assert_ne!(net.inject(OFFERER, token, address(STRANGER), &bytes).0, Outcome::Consumed);
        let mut right = Forged::right(&net.sides[OFFERER].agent, &net.sides[ANSWERER].agent).bytes();
        let at = at % right.len();
        right[at] = right[at].wrapping_add(change);
        net.inject(OFFERER, token, address(STRANGER), &right);
        net.run(1);
    }

    #[test]
    fn no_order_of_calls_panics(steps in proptest::collection::vec((0..12u8, any::<u16>()), 0..60)) {
        let mut net = Net::new(
            side(1, Role::Controlling, false, &[(1, "192.0.2.1:30000"), (2, "192.0.2.1:30001")]),
            side(2, Role::Controlled, false, &[(1, "203.0.113.1:40000"), (2, "203.0.113.1:40001")]),
        );
        for (step, argument) in steps {
            let index = usize::from(argument & 1);
            let now = net.now;
            match step {
                0 => net.describe_to(index, |_| {}),
                1 => net.describe_to(index, |description| description.is_lite = argument & 2 != 0),
                2 => net.agent(index).restart(Credentials { ufrag: format!("u{argument}"), password: "p".into() }),
                3 => net.agent(index).set_component_count(now, argument as u8 & 3),
                4 => net.agent(index).remove_local(PortToken(u32::from(argument) & 3)),
                5 => net.agent(index).end_of_candidates(now),
                6 => {
                    let local = net.sides[index].ports[usize::from(argument >> 1 & 1)];
                    net.agent(index).add_local(now, local);
                }
                7 => {
                    let (to, by) = (&net.sides[index].agent, &net.sides[1 - index].agent);
                    let bytes = Forged { uses_candidate: argument & 2 != 0, ..Forged::right(to, by) }.bytes();
                    let from = SocketAddr::new([192, 0, 2, 9].into(), argument);
                    net.inject(index, PortToken(u32::from(argument >> 2 & 1) + 1), from, &bytes);
                }
                8 => net.loss_percent = u32::from(argument) % 101,
                9 => net.run(u64::from(argument % 50)),
                _ => { net.run_until(Duration::from_millis(u64::from(argument % 300)), |_| false); }
            }
            net.collect_events(index);
            prop_assert!(net.sides[index].agent.pairs.len() <= MOST_PAIRS);
        }
    }
}
