use super::*;

const MODES: [Learning; 4] = [Learning::Off, Learning::Immediate, Learning::Delayed, Learning::Heuristic];
const BOTH: [bool; 2] = [false, true];

/// Every combination of everything that decides.
fn every_situation() -> Vec<Situation> {
    let mut all = vec![];
    for learning in MODES {
        for bits in 0..512u32 {
            let bit = |at: u32| bits >> at & 1 == 1;
            let rules = Rules {
                learning,
                filled: bit(0),
                strict_source: bit(1),
                fixed_address: false,
                media_handover: bit(2),
                asymmetric: bit(3),
            };
            for phase in [Phase::Window, Phase::Open, Phase::Confirmed] {
                for rank in Rank::ALL {
                    for best in std::iter::once(None).chain(Rank::ALL.map(Some)) {
                        all.push(Situation {
                            rules,
                            phase,
                            teaches: bit(4),
                            rank,
                            best,
                            is_best: bit(5),
                            outtalks_best: bit(8),
                            is_nat: bit(6),
                            handover_rests: bit(7),
                        });
                    }
                }
            }
        }
    }
    all
}

#[test]
fn the_rules_hold_in_every_situation() {
    let all = every_situation();
    assert_eq!(all.len(), 4 * 512 * 3 * 5 * 6);
    for situation in all {
        let Situation { rules, phase, teaches, rank, best, is_best, outtalks_best, .. } = situation;
        let Decision { accepted, lesson } = decide(&situation);
        let strict = rules.strict_source && !rules.media_handover;
        let check = |holds: bool, rule: &str| assert!(holds, "{rule}: {situation:?} gave {accepted} {lesson:?}");
        let goes_there = matches!(lesson, Lesson::Redirect | Lesson::Commit | Lesson::Follow);
        let confirmed = phase == Phase::Confirmed;
        let heuristic = rules.learning == Learning::Heuristic && !rules.asymmetric;
        check(rules.filled || (accepted && lesson == Lesson::Nothing), "unfilled passes and teaches nothing");
        check(teaches || lesson == Lesson::Nothing, "what may not teach teaches nothing");
        check(accepted || !goes_there, "nothing is sent to a source that is not heard");
        check(accepted || rules.strict_source, "only a strict source is refused");
        let off_handover = rules.learning == Learning::Off && confirmed;
        check(accepted || !rules.media_handover || off_handover, "handover wins over strict");
        check(!(confirmed && is_best) || (accepted && lesson == Lesson::Nothing), "the peer passes");
        if rules.learning == Learning::Off && !rules.asymmetric {
            check(lesson == Lesson::Nothing, "off never learns");
        }
        if rules.learning == Learning::Delayed && phase == Phase::Window && !rules.asymmetric {
            check(accepted && lesson == Lesson::Nothing, "delayed passes and waits");
        }
        if heuristic && phase == Phase::Window && rank < Rank::SameAddress && !situation.is_nat {
            check(!goes_there, "nothing is sent to a stranger in the window");
            check(!strict || !rules.filled || !accepted, "strict hears no stranger in the window");
        }
        let is_signalled = rank == Rank::Exact;
        if heuristic && phase == Phase::Window && !is_best && best >= Some(rank) && strict && rules.filled {
            let takes_over = is_signalled || (best == Some(rank) && outtalks_best);
            check(!accepted || takes_over, "strict hears nobody but the best candidate");
        }
        if heuristic && phase == Phase::Window && teaches && rules.filled && is_signalled {
            check(accepted, "the signalled source is heard");
            check(lesson == Lesson::Commit, "the signalled source is learned at once");
        }
        if confirmed && strict && !is_best && rules.filled {
            let reclaims = heuristic && teaches && rank >= Rank::Known && Some(rank) > best;
            check(accepted == reclaims, "strict hears the peer alone, or the signalled address that takes over");
        }
        if lesson == Lesson::Follow {
            check(confirmed && rules.media_handover && !situation.handover_rests, "only handover follows");
        }
        let better = best < Some(rank) || (best == Some(rank) && outtalks_best && !is_best);
        check(!matches!(lesson, Lesson::Remember | Lesson::Redirect) || better, "candidates get better");
    }
}

/// The rows of the page: mode, phase, rank, NAT, best candidate; decision without and with a strict source.
#[test]
fn the_table_of_the_page() {
    use Lesson::{Commit, Nothing, Redirect, Remember};
    use Phase::{Confirmed, Open, Window};
    use Rank::{Any, Exact, Known, SameAddress, SamePort};
    let rows = [
        (Learning::Off, Window, Any, false, None, (true, Nothing), (true, Nothing)),
        (Learning::Off, Confirmed, Any, false, Some(Exact), (true, Nothing), (false, Nothing)),
        (Learning::Immediate, Window, Any, false, None, (true, Commit), (true, Commit)),
        (Learning::Immediate, Confirmed, Exact, false, Some(Any), (true, Nothing), (false, Nothing)),
        (Learning::Delayed, Window, Exact, false, None, (true, Nothing), (true, Nothing)),
        (Learning::Delayed, Open, Any, false, None, (true, Commit), (true, Commit)),
        (Learning::Heuristic, Window, Exact, false, None, (true, Commit), (true, Commit)),
        (Learning::Heuristic, Window, Exact, false, Some(Known), (true, Commit), (true, Commit)),
        (Learning::Heuristic, Window, SameAddress, false, None, (true, Redirect), (true, Redirect)),
        (Learning::Heuristic, Window, SameAddress, false, Some(SameAddress), (true, Nothing), (false, Nothing)),
        (Learning::Heuristic, Window, SamePort, false, None, (true, Remember), (false, Remember)),
        (Learning::Heuristic, Window, Any, false, None, (true, Remember), (false, Remember)),
        (Learning::Heuristic, Window, Any, false, Some(SamePort), (true, Nothing), (false, Nothing)),
        (Learning::Heuristic, Window, Any, true, None, (true, Redirect), (true, Redirect)),
        (Learning::Heuristic, Window, Any, true, Some(SameAddress), (true, Nothing), (false, Nothing)),
        (Learning::Heuristic, Open, Any, false, None, (true, Commit), (true, Commit)),
        (Learning::Heuristic, Confirmed, Any, false, Some(Exact), (true, Nothing), (false, Nothing)),
        (Learning::Heuristic, Confirmed, SameAddress, false, Some(Any), (true, Nothing), (false, Nothing)),
        (Learning::Heuristic, Confirmed, Exact, false, Some(Any), (true, Commit), (true, Commit)),
    ];
    for (learning, phase, rank, is_nat, best, plain, strict) in rows {
        for (strict_source, (accepted, lesson)) in [(false, plain), (true, strict)] {
            let rules = Rules {
                learning,
                filled: true,
                strict_source,
                fixed_address: false,
                media_handover: false,
                asymmetric: false,
            };
            let situation = Situation {
                rules,
                phase,
                teaches: true,
                rank,
                best,
                is_best: false,
                outtalks_best: false,
                is_nat,
                handover_rests: false,
            };
            assert_eq!(decide(&situation), Decision { accepted, lesson }, "{situation:?}");
        }
    }
}

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

fn seconds(tenths: u64) -> Mono {
    Mono(tenths * 100_000_000)
}

fn ingress(learning: Learning, signalled: &str) -> Ingress {
    Ingress {
        learning,
        signalled: Some(at(signalled)),
        signalled_at: seconds(100),
        filled: true,
        strict_source: false,
        fixed_address: false,
        media_handover: false,
        asymmetric: false,
        wait_for_peer: false,
        pierce_nat: false,
        payload_types: Default::default(),
    }
}

fn latch(ingress: &Ingress) -> Latch {
    let mut latch = Latch::new();
    latch.signal(ingress);
    latch
}

const PEER: &str = "203.0.113.10:4000";
const PEER_OTHER_PORT: &str = "203.0.113.10:5555";
const PEER_BEHIND_NAT: &str = "203.0.113.10:61000";
const STRANGER: &str = "198.51.100.66:6666";
const PRIVATE: &str = "192.168.1.7:4000";

/// Where packets for the peer go at a moment, in tenths of a second after the signalling event.
fn sends_to(latch: &mut Latch, tenths: u64) -> Option<SocketAddr> {
    latch.destination(seconds(100 + tenths)).ok()
}

fn hears(latch: &mut Latch, tenths: u64, source: &str) -> bool {
    latch.observe(seconds(100 + tenths), at(source), true)
}

#[test]
fn a_stranger_gets_nothing_while_the_public_peer_may_talk() {
    for strict_source in BOTH {
        let mut latch = latch(&Ingress { strict_source, ..ingress(Learning::Heuristic, PEER) });
        for tenths in 0..20 {
            assert_eq!(hears(&mut latch, tenths, STRANGER), !strict_source);
            assert_eq!(sends_to(&mut latch, tenths), Some(at(PEER)));
        }
        assert!(hears(&mut latch, 20, PEER));
        assert!(latch.is_confirmed());
        for tenths in 21..100 {
            assert_eq!(hears(&mut latch, tenths, STRANGER), !strict_source);
            assert_eq!(sends_to(&mut latch, tenths), Some(at(PEER)));
        }
    }
}

#[test]
fn the_best_candidate_is_the_peer_after_the_window() {
    let mut latch = latch(&ingress(Learning::Heuristic, PEER));
    let same_port = "198.51.100.7:4000";
    hears(&mut latch, 1, STRANGER);
    hears(&mut latch, 2, same_port);
    hears(&mut latch, 3, "198.51.100.8:4000");
    assert_eq!(sends_to(&mut latch, 29), Some(at(PEER)));
    assert!(!latch.is_confirmed());
    assert_eq!(sends_to(&mut latch, 30), Some(at(same_port)));
    assert!(latch.is_confirmed());
    assert!(hears(&mut latch, 31, STRANGER));
    assert_eq!(sends_to(&mut latch, 31), Some(at(same_port)));
}

#[test]
fn the_signalled_address_takes_back_what_another_learned() {
    for strict_source in BOTH {
        let mut latch = latch(&Ingress { strict_source, ..ingress(Learning::Heuristic, PEER) });
        hears(&mut latch, 40, STRANGER);
        assert_eq!(sends_to(&mut latch, 40), Some(at(STRANGER)), "nobody else was there in the window");
        assert!(hears(&mut latch, 41, PEER));
        assert_eq!(sends_to(&mut latch, 41), Some(at(PEER)));
        assert_eq!(hears(&mut latch, 42, STRANGER), !strict_source);
        assert_eq!(sends_to(&mut latch, 42), Some(at(PEER)));
    }
}

#[test]
fn another_port_of_the_signalled_address_gets_media_at_once_and_gives_it_back() {
    let mut latch = latch(&ingress(Learning::Heuristic, PEER));
    hears(&mut latch, 1, PEER_OTHER_PORT);
    assert_eq!(sends_to(&mut latch, 1), Some(at(PEER_OTHER_PORT)));
    assert!(!latch.is_confirmed());
    hears(&mut latch, 2, PEER);
    assert_eq!((sends_to(&mut latch, 2), latch.is_confirmed()), (Some(at(PEER)), true));
}

#[test]
fn a_private_signalled_address_with_a_public_source_is_ordinary_nat() {
    let mut latch = latch(&ingress(Learning::Heuristic, PRIVATE));
    assert_eq!(sends_to(&mut latch, 0), Some(at(PRIVATE)));
    hears(&mut latch, 1, PEER);
    assert_eq!(sends_to(&mut latch, 1), Some(at(PEER)));
    hears(&mut latch, 2, STRANGER);
    assert_eq!(sends_to(&mut latch, 2), Some(at(PEER)), "the first one stays");
    hears(&mut latch, 2, PEER);
    assert_eq!((sends_to(&mut latch, 30), latch.is_confirmed()), (Some(at(PEER)), true));
}

#[test]
fn who_was_first_by_guessing_gives_way_to_who_talks() {
    for strict_source in BOTH {
        let mut latch = latch(&Ingress { strict_source, ..ingress(Learning::Heuristic, PRIVATE) });
        assert!(hears(&mut latch, 1, STRANGER));
        assert_eq!(sends_to(&mut latch, 1), Some(at(STRANGER)), "nothing tells it from the peer behind its NAT");
        assert_eq!(hears(&mut latch, 2, PEER_BEHIND_NAT), !strict_source);
        assert!(hears(&mut latch, 2, PEER_BEHIND_NAT));
        assert_eq!(sends_to(&mut latch, 2), Some(at(PEER_BEHIND_NAT)));
        assert_eq!(hears(&mut latch, 3, STRANGER), !strict_source);
        assert_eq!(sends_to(&mut latch, 3), Some(at(PEER_BEHIND_NAT)));
        hears(&mut latch, 4, PEER_BEHIND_NAT);
        hears(&mut latch, 31, PEER_BEHIND_NAT);
        assert!(latch.is_confirmed());
        assert_eq!(sends_to(&mut latch, 31), Some(at(PEER_BEHIND_NAT)));
    }
}

#[test]
fn a_peer_that_moved_within_the_window_is_found() {
    let mut latch = latch(&ingress(Learning::Heuristic, PRIVATE));
    for tenths in 0..10 {
        hears(&mut latch, tenths, PEER_BEHIND_NAT);
    }
    hears(&mut latch, 13, PEER_OTHER_PORT);
    assert_eq!(sends_to(&mut latch, 13), Some(at(PEER_BEHIND_NAT)));
    hears(&mut latch, 14, PEER_OTHER_PORT);
    assert_eq!(sends_to(&mut latch, 14), Some(at(PEER_OTHER_PORT)));
}

#[test]
fn a_private_source_is_no_nat_of_a_private_signalled_address() {
    let mut latch = latch(&ingress(Learning::Heuristic, PRIVATE));
    hears(&mut latch, 1, "192.168.1.66:4000");
    assert_eq!(sends_to(&mut latch, 1), Some(at(PRIVATE)));
}

#[test]
fn without_a_signalled_address_the_first_source_gets_media() {
    let mut latch = latch(&Ingress { signalled: None, ..ingress(Learning::Heuristic, PEER) });
    assert_eq!(latch.destination(seconds(100)), Err(NoDestination::Unknown));
    hears(&mut latch, 1, PEER);
    assert_eq!((sends_to(&mut latch, 1), latch.is_confirmed()), (Some(at(PEER)), false));
    assert_eq!((sends_to(&mut latch, 30), latch.is_confirmed()), (Some(at(PEER)), true));
}

#[test]
fn off_is_final_from_the_start() {
    for strict_source in BOTH {
        let mut latch = latch(&Ingress { strict_source, ..ingress(Learning::Off, PEER) });
        assert!(latch.is_confirmed());
        assert_eq!(hears(&mut latch, 50, STRANGER), !strict_source);
        assert!(hears(&mut latch, 51, PEER));
        assert_eq!(sends_to(&mut latch, 51), Some(at(PEER)));
    }
}

#[test]
fn immediate_learns_from_the_first_packet() {
    let mut latch = latch(&Ingress { strict_source: true, ..ingress(Learning::Immediate, PEER) });
    assert!(hears(&mut latch, 0, STRANGER));
    assert_eq!((sends_to(&mut latch, 0), latch.is_confirmed()), (Some(at(STRANGER)), true));
    assert!(!hears(&mut latch, 1, PEER));
}

#[test]
fn delayed_learns_from_the_first_packet_after_the_window() {
    let mut latch = latch(&ingress(Learning::Delayed, PEER));
    assert!(hears(&mut latch, 29, STRANGER));
    assert_eq!((sends_to(&mut latch, 29), latch.is_confirmed()), (Some(at(PEER)), false));
    assert_eq!((sends_to(&mut latch, 31), latch.is_confirmed()), (Some(at(PEER)), false));
    assert!(hears(&mut latch, 32, STRANGER));
    assert_eq!((sends_to(&mut latch, 32), latch.is_confirmed()), (Some(at(STRANGER)), true));
}

#[test]
fn handover_follows_and_rests() {
    let mut latch = latch(&Ingress { strict_source: true, media_handover: true, ..ingress(Learning::Heuristic, PEER) });
    hears(&mut latch, 1, PEER);
    assert!(hears(&mut latch, 2, STRANGER));
    assert_eq!(sends_to(&mut latch, 2), Some(at(STRANGER)));
    assert!(hears(&mut latch, 3, PEER), "passes, and does not drag media back at once");
    assert_eq!(sends_to(&mut latch, 3), Some(at(STRANGER)));
    assert!(hears(&mut latch, 7, PEER));
    assert_eq!(sends_to(&mut latch, 7), Some(at(PEER)));
}

#[test]
fn an_asymmetric_source_is_never_a_destination() {
    for learning in MODES {
        for strict_source in BOTH {
            let mut latch = latch(&Ingress { strict_source, asymmetric: true, ..ingress(learning, PEER) });
            for tenths in [0, 10, 40] {
                assert!(hears(&mut latch, tenths, STRANGER));
                assert_eq!(sends_to(&mut latch, tenths), Some(at(PEER)));
            }
            assert_eq!(hears(&mut latch, 50, PEER_OTHER_PORT), !strict_source, "its source is tracked all the same");
        }
    }
}

#[test]
fn an_unfilled_stream_passes_and_learns_nothing() {
    let mut latch = latch(&Ingress { filled: false, strict_source: true, ..ingress(Learning::Immediate, PEER) });
    assert!(hears(&mut latch, 50, STRANGER));
    assert_eq!((sends_to(&mut latch, 50), latch.is_confirmed()), (Some(at(PEER)), false));
}

#[test]
fn what_may_not_teach_passes_and_teaches_nothing() {
    for learning in MODES {
        let mut latch = latch(&ingress(learning, PEER));
        let confirmed = latch.is_confirmed();
        for tenths in [0, 40] {
            assert!(latch.observe(seconds(100 + tenths), at(STRANGER), false));
            assert_eq!((sends_to(&mut latch, tenths), latch.is_confirmed()), (Some(at(PEER)), confirmed));
        }
    }
}

#[test]
fn nothing_is_sent_before_the_peer_where_that_is_asked_for() {
    let mut latch = latch(&Ingress { wait_for_peer: true, ..ingress(Learning::Heuristic, PEER) });
    assert_eq!(latch.destination(seconds(101)), Err(NoDestination::AwaitingPeer));
    latch.observe(seconds(101), at(PEER), false);
    assert_eq!(sends_to(&mut latch, 2), Some(at(PEER)));
}

/// A new signalling event two minutes later.
fn resignalled(first: &Ingress, signalled: &str) -> Ingress {
    Ingress { signalled: Some(at(signalled)), signalled_at: seconds(1300), ..first.clone() }
}

#[test]
fn learning_starts_anew_with_signalling_and_media_does_not_stop() {
    let first = ingress(Learning::Heuristic, PRIVATE);
    let mut latch = latch(&first);
    hears(&mut latch, 1, PEER);
    assert_eq!(sends_to(&mut latch, 40), Some(at(PEER)));
    latch.signal(&resignalled(&first, PRIVATE));
    assert!(!latch.is_confirmed());
    assert_eq!(sends_to(&mut latch, 1200), Some(at(PEER)));
    hears(&mut latch, 1201, PEER_OTHER_PORT);
    assert_eq!(sends_to(&mut latch, 1201), Some(at(PEER_OTHER_PORT)), "the peer moved, and is silent where it was");
    hears(&mut latch, 1202, PEER);
    assert_eq!(sends_to(&mut latch, 1202), Some(at(PEER)), "it did not move");
    assert_eq!((sends_to(&mut latch, 1230), latch.is_confirmed()), (Some(at(PEER)), true));
}

#[test]
fn a_new_signalled_address_is_used_at_once() {
    let first = ingress(Learning::Heuristic, PRIVATE);
    let mut latch = latch(&first);
    hears(&mut latch, 1, PEER);
    assert_eq!(sends_to(&mut latch, 40), Some(at(PEER)));
    latch.signal(&resignalled(&first, "203.0.113.99:8000"));
    assert_eq!(sends_to(&mut latch, 1200), Some(at("203.0.113.99:8000")));
}

#[test]
fn a_plan_without_a_signalling_event_keeps_what_was_learned() {
    let first = ingress(Learning::Heuristic, PRIVATE);
    let mut latch = latch(&first);
    hears(&mut latch, 1, PEER);
    hears(&mut latch, 31, PEER);
    latch.signal(&Ingress { strict_source: true, ..first.clone() });
    assert!(latch.is_confirmed());
    assert!(!hears(&mut latch, 32, STRANGER));
}

#[test]
fn a_candidate_of_a_window_that_ended_unseen_is_kept_by_the_next_event() {
    let first = ingress(Learning::Heuristic, PEER);
    let mut latch = latch(&first);
    hears(&mut latch, 1, "198.51.100.7:4000");
    latch.signal(&resignalled(&first, PEER));
    assert_eq!(sends_to(&mut latch, 1201), Some(at("198.51.100.7:4000")));
}

#[test]
fn a_fixed_address_is_kept_and_its_port_learned() {
    for mut situation in every_situation() {
        situation.rules.fixed_address = true;
        let free = Situation { rules: Rules { fixed_address: false, ..situation.rules }, ..situation };
        let is_elsewhere = situation.rules.filled && situation.rank < Rank::SameAddress;
        let expected = if is_elsewhere { Decision { accepted: false, lesson: Lesson::Nothing } } else { decide(&free) };
        assert_eq!(decide(&situation), expected, "{situation:?}");
    }
    let strict = Ingress { strict_source: true, fixed_address: true, ..ingress(Learning::Heuristic, PEER) };
    let mut behind_port = latch(&strict);
    assert!(!hears(&mut behind_port, 1, STRANGER));
    assert!(hears(&mut behind_port, 2, PEER_OTHER_PORT));
    assert_eq!(behind_port.remote(), Some(PEER_OTHER_PORT.parse().unwrap()));
    assert!(!hears(&mut behind_port, 50, STRANGER));
    let private = Ingress { fixed_address: true, ..ingress(Learning::Heuristic, PRIVATE) };
    let mut behind_nat = latch(&private);
    assert!(!hears(&mut behind_nat, 1, PEER_BEHIND_NAT), "not even where a NAT would explain it");
    assert_eq!(behind_nat.remote(), Some(PRIVATE.parse().unwrap()));
}
