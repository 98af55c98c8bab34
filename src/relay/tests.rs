use super::*;
use crate::base::time::Unix;
use crate::plan::{Block, Component, Ingress, Learning, PayloadType, Sink};
use crate::wire::rtcp::{ReceptionReport, SenderInfo, Writer};
use crate::wire::rtp::Header;
use smallvec::smallvec;

/// Everything that was sent, in order.
#[derive(Default)]
struct Sent(Vec<(PortToken, SocketAddr, Vec<u8>)>);

impl Transmit for Sent {
    fn send(&mut self, from: PortToken, to: SocketAddr, datagram: &[u8]) {
        self.0.push((from, to, datagram.to_vec()));
    }
}

impl Sent {
    fn take(&mut self) -> Vec<(u32, SocketAddr, Vec<u8>)> {
        self.0.drain(..).map(|(port, to, datagram)| (port.0, to, datagram)).collect()
    }

    /// Ports and destinations alone.
    fn take_ways(&mut self) -> Vec<(u32, SocketAddr)> {
        self.take().into_iter().map(|(port, to, _)| (port, to)).collect()
    }
}

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

fn ms(milliseconds: u64) -> Now {
    Now {
        mono: Mono(10_000_000_000 + milliseconds * 1_000_000),
        unix: Unix(1_700_000_000_000_000 + milliseconds * 1000),
    }
}

fn rtp(payload_type: u8, sequence: u16, ssrc: u32) -> Vec<u8> {
    Header { payload_type, ssrc, ..header(sequence) }.write(&[0xd5; 160])
}

fn header(sequence: u16) -> Header {
    Header { marker: false, payload_type: 8, sequence, timestamp: u32::from(sequence) * 160, ssrc: 7 }
}

fn plan(component: Component, signalled: &str, media: &[StreamId], control: &[StreamId]) -> ForwardingPlan {
    let sinks = |streams: &[StreamId]| streams.iter().map(|&egress| Sink::plain(egress)).collect();
    let ingress = Ingress {
        learning: Learning::Heuristic,
        signalled: Some(at(signalled)),
        signalled_at: ms(0).mono,
        filled: true,
        strict_source: false,
        fixed_address: false,
        media_handover: false,
        asymmetric: false,
        wait_for_peer: false,
        pierce_nat: false,
        payload_types: smallvec![
            PayloadType { number: 8, clock_rate_hz: 8000, is_dtmf: false, silence: Some(0xd5) },
            PayloadType { number: 101, clock_rate_hz: 8000, is_dtmf: true, silence: None },
        ],
    };
    ForwardingPlan {
        media: sinks(media),
        control: sinks(control),
        sources: None,
        ..ForwardingPlan::new(component, ingress)
    }
}

const ALICE: &str = "198.51.100.10:6000";
const ALICE_RTCP: &str = "198.51.100.10:6001";
const BOB: &str = "198.51.100.20:7000";
const BOB_RTCP: &str = "198.51.100.20:7001";
const STRANGER: &str = "198.51.100.66:6666";

/// A call of two: streams 0 and 1 towards alice (RTP, RTCP), 2 and 3 towards bob, on ports of the same numbers.
fn call() -> (Relay, [StreamId; 4], Sent) {
    let mut relay = Relay::new(mos::Kind::Conversational, [0; 32]);
    let ids = [0, 1, 2, 3].map(|port| {
        let local = SocketAddr::new("203.0.113.1".parse().unwrap(), 30_000 + port as u16);
        relay.add(ms(0), PortToken(port), local, 1)
    });
    let [a, ac, b, bc] = ids;
    let plans = [
        (a, plan(Component::Rtp, ALICE, &[b], &[bc]), a),
        (ac, plan(Component::Rtcp, ALICE_RTCP, &[], &[bc]), a),
        (b, plan(Component::Rtp, BOB, &[a], &[ac]), b),
        (bc, plan(Component::Rtcp, BOB_RTCP, &[], &[ac]), b),
    ];
    for (id, plan, sources) in plans {
        assert!(relay.set_plan(ms(0), id, ForwardingPlan { sources: Some(sources), ..plan }));
    }
    (relay, ids, Sent::default())
}

fn replan(relay: &mut Relay, id: StreamId, change: impl FnOnce(&mut ForwardingPlan)) {
    let mut plan = relay.stream(id).unwrap().plan().clone();
    change(&mut plan);
    assert!(relay.set_plan(ms(0), id, plan));
}

#[test]
fn packets_pass_both_ways_untouched_and_are_counted() {
    let (mut relay, [a, _, b, _], mut sent) = call();
    for sequence in 0..3 {
        let mut packet = rtp(8, sequence, 7);
        let verdict = relay.datagram(ms(20 * u64::from(sequence)), PortToken(0), at(ALICE), &mut packet, &mut sent);
        assert_eq!(verdict, Verdict::Forwarded);
        assert_eq!(sent.take(), [(2, at(BOB), rtp(8, sequence, 7))]);
    }
    assert_eq!(relay.datagram(ms(70), PortToken(2), at(BOB), &mut rtp(8, 9, 9), &mut sent), Verdict::Forwarded);
    assert_eq!(sent.take(), [(0, at(ALICE), rtp(8, 9, 9))]);
    let (alice, bob) = (relay.stream(a).unwrap(), relay.stream(b).unwrap());
    let traffic = |packets: u64| Traffic { packets, bytes: packets * 172, errors: 0 };
    assert_eq!((alice.received(), alice.sent()), (traffic(3), traffic(1)));
    assert_eq!((bob.received(), bob.sent()), (traffic(1), traffic(3)));
    assert_eq!((alice.first_packet(), alice.last_packet()), (Some(ms(0)), ms(40)));
    assert!(alice.is_confirmed() && bob.is_confirmed());
    assert_eq!((alice.first_ssrc(), bob.first_ssrc()), (Some(7), Some(9)));
    let source = &alice.sources()[0];
    assert_eq!((source.ssrc(), source.packets(), source.bytes(), source.last_sequence()), (7, 3, 516, 2));
    assert_eq!(source.last_timestamp(), 320);
    let outgoing = &bob.outgoing()[0];
    assert_eq!((outgoing.ssrc(), outgoing.packets(), outgoing.bytes()), (7, 3, 516));
    assert_eq!((outgoing.last_sequence(), outgoing.last_timestamp(), outgoing.origin()), (2, 320, a.0));
    assert_eq!(alice.main_payload_type(), Some(8));
    let [interface] = relay.interfaces() else { panic!("{:?}", relay.interfaces()) };
    assert_eq!((interface.received, interface.sent), (traffic(4), traffic(4)));
}

#[test]
fn rtcp_takes_its_own_way_from_either_port() {
    let (mut relay, ids, mut sent) = call();
    let report = Writer::new().receiver_report(7, &[]).finish();
    for port in [0, 1] {
        let verdict = relay.datagram(ms(0), PortToken(port), at(ALICE_RTCP), &mut report.clone(), &mut sent);
        assert_eq!(verdict, Verdict::Forwarded);
        assert_eq!(sent.take(), [(3, at(BOB_RTCP), report.clone())]);
    }
    assert!(!relay.stream(ids[0]).unwrap().is_confirmed(), "RTCP on an RTP port does not confirm");
    assert!(relay.stream(ids[1]).unwrap().is_confirmed());
    let packet = rtp(8, 0, 7);
    let verdict = relay.datagram(ms(0), PortToken(1), at(ALICE_RTCP), &mut packet.clone(), &mut sent);
    assert_eq!(verdict, Verdict::Forwarded);
    assert_eq!(sent.take(), [(3, at(BOB_RTCP), packet)], "what it may be, it stays between the RTCP ports");
    assert!(relay.stream(ids[1]).unwrap().sources().is_empty());
}

#[test]
fn rtcp_is_learned_where_its_media_is() {
    let (mut relay, [a, ac, ..], mut sent) = call();
    let report = Writer::new().receiver_report(7, &[]).finish();
    // Somebody is there before the first RTCP, within the window and after it.
    for milliseconds in [0, 2900, 3100] {
        relay.datagram(ms(milliseconds), PortToken(1), at(STRANGER), &mut report.clone(), &mut sent);
        relay.datagram(ms(milliseconds), PortToken(0), at(ALICE), &mut rtp(8, 1, 7), &mut sent);
    }
    sent.take();
    relay.datagram(ms(5000), PortToken(3), at(BOB_RTCP), &mut report.clone(), &mut sent);
    assert_eq!(sent.take_ways(), [(1, at(ALICE_RTCP))]);
    assert!(relay.stream(a).unwrap().is_confirmed() && !relay.stream(ac).unwrap().is_confirmed());
    // Nor does it pass where sources are checked.
    replan(&mut relay, ac, |plan| plan.ingress.strict_source = true);
    let verdict = relay.datagram(ms(5100), PortToken(1), at(STRANGER), &mut report.clone(), &mut sent);
    assert_eq!(verdict, Verdict::Dropped(DropReason::WrongSource));
    // A peer that is elsewhere than it signalled is found by its RTP, and its RTCP then too.
    let (mut relay, _, mut sent) = call();
    relay.datagram(ms(0), PortToken(0), at("198.51.100.77:5000"), &mut rtp(8, 1, 7), &mut sent);
    relay.datagram(ms(3100), PortToken(0), at("198.51.100.77:5000"), &mut rtp(8, 2, 7), &mut sent);
    relay.datagram(ms(3200), PortToken(1), at("198.51.100.77:5001"), &mut report.clone(), &mut sent);
    sent.take();
    relay.datagram(ms(5000), PortToken(3), at(BOB_RTCP), &mut report.clone(), &mut sent);
    assert_eq!(sent.take_ways(), [(1, at("198.51.100.77:5001"))]);
}

#[test]
fn a_stranger_who_floods_handshakes_does_not_silence_another() {
    let (mut relay, [a, ..], mut sent) = call();
    let handshake = crate::plan::Handshake { is_client: false, fingerprints: Vec::new(), generation: 1 };
    replan(&mut relay, a, |plan| plan.security = crate::plan::Security::Handshake(Box::new(handshake)));
    let hello = [22, 0xfe, 0xfd, 0, 0];
    let mut knock =
        |relay: &mut Relay, from: &str| relay.datagram(ms(0), PortToken(0), at(from), &mut hello.clone(), &mut sent);
    let refused = (0..1000).filter(|_| knock(&mut relay, STRANGER) == Verdict::Dropped(DropReason::TooMany)).count();
    assert!((900..1000).contains(&refused), "{refused}");
    for from in ["198.51.100.77:5000", ALICE] {
        assert_eq!(knock(&mut relay, from), Verdict::Consumed, "{from}");
    }
}

#[test]
fn a_muxed_port_sends_rtcp_to_the_separate_port_of_the_other_side_and_back() {
    let (mut relay, [a, _, b, bc], mut sent) = call();
    replan(&mut relay, a, |plan| plan.component = Component::Muxed);
    replan(&mut relay, b, |plan| plan.control = smallvec![Sink::plain(a)]);
    replan(&mut relay, bc, |plan| plan.control = smallvec![Sink::plain(a)]);
    let report = Writer::new().receiver_report(7, &[]).finish();
    relay.datagram(ms(0), PortToken(0), at(ALICE), &mut report.clone(), &mut sent);
    relay.datagram(ms(0), PortToken(0), at(ALICE), &mut rtp(8, 0, 7), &mut sent);
    relay.datagram(ms(0), PortToken(3), at(BOB_RTCP), &mut report.clone(), &mut sent);
    assert_eq!(sent.take_ways(), [(3, at(BOB_RTCP)), (2, at(BOB)), (0, at(ALICE))]);
}

#[test]
fn one_packet_goes_to_every_sink_that_can_take_it() {
    let (mut relay, [a, _, b, _], mut sent) = call();
    let recorder = relay.add(ms(0), PortToken(7), at("203.0.113.1:30020"), 1);
    let silent = relay.add(ms(0), PortToken(8), at("203.0.113.1:30022"), 1);
    relay.set_plan(ms(0), recorder, plan(Component::Rtp, "198.51.100.30:8000", &[], &[]));
    replan(&mut relay, a, |plan| {
        plan.media = [silent, b, recorder].map(Sink::plain).into_iter().collect();
    });
    let verdict = relay.datagram(ms(0), PortToken(0), at(ALICE), &mut rtp(8, 0, 7), &mut sent);
    assert_eq!(verdict, Verdict::Forwarded);
    assert_eq!(sent.take_ways(), [(2, at(BOB)), (7, at("198.51.100.30:8000"))]);
    assert_eq!(relay.stream(silent).unwrap().withheld().get(DropReason::NoDestination), 1);
    assert_eq!(relay.stream(a).unwrap().dropped(), &DropCounters::default());
    assert_eq!(relay.interfaces()[0].sent.packets, 2);
}

#[test]
fn blocks_tell_media_from_events() {
    for (block, media, event, rtcp) in [
        (None, true, true, true),
        (Some(Block::All), false, false, false),
        (Some(Block::Media), false, true, true),
        (Some(Block::Dtmf), true, false, true),
        (Some(Block::Silence), true, true, true),
        (Some(Block::SilenceWithoutEvents), true, false, true),
    ] {
        let (mut relay, [a, ..], mut sent) = call();
        replan(&mut relay, a, |plan| {
            plan.media[0].block = block;
            plan.control[0].block = block;
        });
        let report = Writer::new().receiver_report(7, &[]).finish();
        for (mut datagram, passes) in
            [(rtp(8, 0, 7), media), (rtp(101, 1, 7), event), (rtp(8, 2, 7), media), (report, rtcp)]
        {
            let expected = if passes { Verdict::Forwarded } else { Verdict::Dropped(DropReason::Blocked) };
            assert_eq!(relay.datagram(ms(0), PortToken(0), at(ALICE), &mut datagram, &mut sent), expected, "{block:?}");
        }
        assert_eq!(relay.stream(a).unwrap().received().packets, 4, "blocked packets were received");
        assert_eq!(relay.stream(a).unwrap().received().errors, 0);
    }
}

#[test]
fn silence_takes_the_place_of_a_payload_and_of_nothing_else() {
    let (mut relay, [a, ..], mut sent) = call();
    replan(&mut relay, a, |plan| plan.media[0].block = Some(Block::Silence));
    let spoken = |payload_type| Header { payload_type, ..header(3) }.write(&[0x11; 160]);
    // With a contributing source and padding of 4 bytes.
    let mut odd = spoken(8);
    odd.splice(12..12, [1, 2, 3, 4]);
    odd[0] |= 0x21;
    odd.extend([0, 0, 0, 4]);
    for (mut datagram, silent) in [(spoken(8), 12..172), (odd, 16..176), (spoken(101), 0..0)] {
        let mut expected = datagram.clone();
        expected[silent].fill(0xd5);
        relay.datagram(ms(0), PortToken(0), at(ALICE), &mut datagram, &mut sent);
        assert_eq!(sent.take(), [(2, at(BOB), expected)]);
    }
    // A codec that nobody knows the silence of.
    let verdict = relay.datagram(ms(0), PortToken(0), at(ALICE), &mut spoken(111), &mut sent);
    assert_eq!((verdict, sent.take()), (Verdict::Dropped(DropReason::Blocked), vec![]));
}

#[test]
fn a_digit_is_told_once() {
    let event = |sequence: u16, timestamp: u32, payload: [u8; 4]| {
        Header { payload_type: 101, timestamp, ..header(sequence) }.write(&payload)
    };
    // Pressed for 120 ms, its end three times; pressed, and the end is lost; pressed again; and a late packet.
    let packets = [
        event(1, 1000, [5, 10, 0, 160]),
        event(2, 1000, [5, 10, 1, 64]),
        event(3, 1000, [5, 0x8a, 3, 192]),
        event(4, 1000, [5, 0x8a, 3, 192]),
        event(5, 1000, [5, 0x8a, 3, 192]),
        event(6, 3000, [11, 7, 0, 160]),
        event(7, 3000, [11, 7, 0, 240]),
        event(8, 9000, [1, 0x87, 0, 80]),
        event(2, 1000, [5, 10, 1, 64]),
    ];
    for tells in [true, false] {
        let (mut relay, [a, ..], mut sent) = call();
        replan(&mut relay, a, |plan| {
            plan.tells_digits = tells;
            plan.media[0].block = Some(Block::Dtmf);
        });
        for packet in &packets {
            relay.datagram(ms(0), PortToken(0), at(ALICE), &mut packet.clone(), &mut sent);
        }
        let told: Vec<_> =
            relay.take_digits().into_iter().map(|digit| (digit.event, digit.duration_ms, digit.volume)).collect();
        assert_eq!(told, if tells { vec![(5, 120, 10), (11, 30, 7), (1, 10, 7)] } else { vec![] });
    }
}

#[test]
fn every_reason_to_drop_is_counted_where_it_belongs() {
    type Change = fn(&mut Relay, &[StreamId; 4]);
    let cases: [(DropReason, Change); 6] = [
        (DropReason::NoSink, |relay, [a, ..]| replan(relay, *a, |plan| plan.media.clear())),
        (DropReason::NoSink, |relay, [_, _, b, _]| drop(relay.remove(*b))),
        (DropReason::NoDestination, |relay, [_, _, b, _]| replan(relay, *b, |plan| plan.ingress.signalled = None)),
        (DropReason::AwaitingPeer, |relay, [_, _, b, _]| replan(relay, *b, |plan| plan.ingress.wait_for_peer = true)),
        (DropReason::SelfLoop, |relay, [_, _, b, _]| {
            replan(relay, *b, |plan| plan.ingress.signalled = Some(at("203.0.113.1:30002")));
        }),
        (DropReason::NoDestination, |relay, [_, _, b, _]| {
            replan(relay, *b, |plan| plan.ingress.signalled = Some(at("[2001:db8::1]:5000")));
        }),
    ];
    for (reason, change) in cases {
        let (mut relay, ids, mut sent) = call();
        change(&mut relay, &ids);
        let verdict = relay.datagram(ms(0), PortToken(0), at(ALICE), &mut rtp(8, 0, 7), &mut sent);
        assert_eq!(verdict, Verdict::Dropped(reason));
        assert_eq!(relay.stream(ids[0]).unwrap().dropped().get(reason), 1);
        assert_eq!(relay.dropped().get(reason), 1);
        assert_eq!(relay.stream(ids[0]).unwrap().received().packets, 1);
        assert!(sent.take().is_empty());
    }
}

#[test]
fn what_is_refused_at_the_door_is_an_error_and_not_received() {
    let (mut relay, ids, mut sent) = call();
    replan(&mut relay, ids[0], |plan| plan.ingress.strict_source = true);
    relay.datagram(ms(0), PortToken(0), at(ALICE), &mut rtp(8, 0, 7), &mut sent);
    sent.take();
    let cases: [(&str, &[u8], DropReason); 3] = [
        (STRANGER, &rtp(8, 1, 7), DropReason::WrongSource),
        (ALICE, &[0x80, 8, 0], DropReason::Malformed),
        (ALICE, &[0x80, 200, 0, 1], DropReason::Malformed),
    ];
    for (source, datagram, reason) in cases {
        let verdict = relay.datagram(ms(0), PortToken(0), at(source), &mut datagram.to_vec(), &mut sent);
        assert_eq!(verdict, Verdict::Dropped(reason));
        assert!(relay.stream(ids[0]).unwrap().dropped().get(reason) > 0);
    }
    assert_eq!(relay.stream(ids[0]).unwrap().received(), Traffic { packets: 1, bytes: 172, errors: 3 });
    assert_eq!(relay.interfaces()[0].received, Traffic { packets: 1, bytes: 172, errors: 3 });
    let verdict = relay.datagram(ms(0), PortToken(99), at(ALICE), &mut rtp(8, 0, 7), &mut sent);
    assert_eq!(verdict, Verdict::Dropped(DropReason::UnknownPort));
    assert_eq!(relay.dropped().get(DropReason::UnknownPort), 1);
    assert!(sent.take().is_empty());
}

#[test]
fn packets_never_pass_from_one_call_to_another() {
    let (mut relay, [a, _, b, _], mut sent) = call();
    relay.remove(b);
    let other = relay.add(ms(0), PortToken(2), at("203.0.113.1:30002"), 2);
    assert_eq!(other, b, "the place is used again");
    relay.set_plan(ms(0), other, plan(Component::Rtp, "198.51.100.99:9000", &[], &[]));
    let verdict = relay.datagram(ms(0), PortToken(0), at(ALICE), &mut rtp(8, 0, 7), &mut sent);
    assert_eq!(verdict, Verdict::Dropped(DropReason::NoSink));
    assert!(sent.take().is_empty());
    assert_eq!(relay.stream(a).unwrap().dropped().get(DropReason::NoSink), 1);
}

#[test]
fn keep_alives_end_here_and_other_protocols_pass_untouched() {
    let (mut relay, ids, mut sent) = call();
    assert_eq!(relay.datagram(ms(0), PortToken(0), at(STRANGER), &mut [], &mut sent), Verdict::Consumed);
    assert!(sent.take().is_empty());
    for first in [0, 16, 20, 64, b'\r', b't', 0xff] {
        let datagram = vec![first; 20];
        let verdict = relay.datagram(ms(0), PortToken(0), at(ALICE), &mut datagram.clone(), &mut sent);
        assert_eq!(verdict, Verdict::Forwarded);
        assert_eq!(sent.take(), [(2, at(BOB), datagram)]);
    }
    let alice = relay.stream(ids[0]).unwrap();
    assert_eq!((alice.remote(), alice.is_confirmed()), (Some(at(ALICE)), true), "they teach as RTP does");
    assert!(alice.sources().is_empty());
}

#[test]
fn opaque_components_relay_anything() {
    let (mut relay, [a, _, b, _], mut sent) = call();
    for (id, signalled, other) in [(a, ALICE, b), (b, BOB, a)] {
        relay.set_plan(ms(0), id, plan(Component::Opaque, signalled, &[other], &[]));
    }
    for datagram in [vec![0xff; 3], vec![0x80], rtp(8, 0, 7), vec![0x80, 200]] {
        let verdict = relay.datagram(ms(0), PortToken(0), at(ALICE), &mut datagram.clone(), &mut sent);
        assert_eq!(verdict, Verdict::Forwarded);
        assert_eq!(sent.take(), [(2, at(BOB), datagram)]);
    }
    assert!(relay.stream(a).unwrap().is_confirmed());
}

#[test]
fn a_removed_stream_is_its_own_record_and_its_port_is_deaf() {
    let (mut relay, [a, ..], mut sent) = call();
    for sequence in [0, 1, 3] {
        relay.datagram(ms(0), PortToken(0), at(ALICE), &mut rtp(8, sequence, 7), &mut sent);
    }
    let alice = relay.remove(a).unwrap();
    assert_eq!((alice.port(), alice.received().packets, alice.owner_call()), (PortToken(0), 3, 1));
    assert_eq!(alice.sources()[0].lost(), 1);
    assert_eq!(relay.interfaces()[0].sequence.lost, 1);
    assert!(relay.remove(a).is_none());
    assert!(!relay.set_plan(ms(0), a, plan(Component::Rtp, ALICE, &[], &[])));
    let verdict = relay.datagram(ms(0), PortToken(0), at(ALICE), &mut rtp(8, 4, 7), &mut sent);
    assert_eq!(verdict, Verdict::Dropped(DropReason::UnknownPort));
    assert_eq!(relay.streams().count(), 3);
}

#[test]
fn a_stream_with_a_further_port_answers_on_both_and_leaves_both() {
    let (mut relay, [a, ..], mut sent) = call();
    assert!(relay.attach(a, PortToken(9), at("203.0.113.1:30040")));
    for port in [0, 9] {
        let verdict = relay.datagram(ms(0), PortToken(port), at(ALICE), &mut rtp(8, port as u16, 7), &mut sent);
        assert_eq!(verdict, Verdict::Forwarded);
    }
    sent.take();
    relay.datagram(ms(0), PortToken(2), at(BOB), &mut rtp(8, 0, 9), &mut sent);
    assert_eq!(sent.take_ways(), [(9, at(ALICE))], "it sends from the new one");
    relay.remove(a);
    for port in [0, 9] {
        assert_eq!(relay.stream_at(PortToken(port)), None);
    }
    assert_eq!(relay.stream_at(PortToken(2)), Some(StreamId(2)));
    assert!(!relay.attach(a, PortToken(9), at("203.0.113.1:30040")));
}

#[test]
fn a_failed_send_is_an_error_of_the_stream_that_sent() {
    let (mut relay, [_, _, b, _], _) = call();
    relay.send_failed(PortToken(2));
    relay.send_failed(PortToken(1000));
    assert_eq!(relay.stream(b).unwrap().sent().errors, 1);
    assert_eq!(relay.interfaces()[0].sent.errors, 1);
}

#[test]
fn a_flood_of_ssrcs_takes_no_more_than_its_share() {
    let (mut relay, [a, _, b, _], mut sent) = call();
    for sequence in 0..5 {
        relay.datagram(ms(0), PortToken(0), at(ALICE), &mut rtp(8, sequence, 7), &mut sent);
    }
    for ssrc in 1000..2000 {
        relay.datagram(ms(0), PortToken(0), at(STRANGER), &mut rtp(8, 0, ssrc), &mut sent);
    }
    let (alice, bob) = (relay.stream(a).unwrap(), relay.stream(b).unwrap());
    assert_eq!((alice.sources().len(), bob.outgoing().len()), (stream::MAX_SOURCES, stream::MAX_SOURCES));
    assert_eq!((alice.sources()[0].ssrc(), alice.sources()[0].packets()), (7, 5), "the talking one stays");
    assert_eq!(alice.first_ssrc(), Some(7));
}

#[test]
fn empty_packets_pierce_until_something_arrives() {
    let (mut relay, [a, _, b, _], mut sent) = call();
    for id in [a, b] {
        replan(&mut relay, id, |plan| plan.ingress.pierce_nat = true);
    }
    assert_eq!(relay.timer(ms(0), &mut sent), Some(ms(50).mono));
    assert_eq!(sent.take(), [(0, at(ALICE), vec![]), (2, at(BOB), vec![])]);
    assert_eq!(relay.timer(ms(49), &mut sent), Some(ms(50).mono));
    assert!(sent.take().is_empty());
    relay.datagram(ms(49), PortToken(0), at(ALICE), &mut [], &mut sent);
    assert_eq!(relay.timer(ms(50), &mut sent), Some(ms(100).mono));
    assert_eq!(sent.take(), [(2, at(BOB), vec![])]);
    let mut due = Some(ms(100).mono);
    let mut count = 2;
    while let Some(mono) = due {
        due = relay.timer(Now { mono, unix: Unix(0) }, &mut sent);
        count += sent.take().len();
    }
    assert_eq!(count, 20);
}

/// A sender report of bob's source and reception reports on it, through their own ports.
#[test]
fn round_trip_times_and_scores_come_from_rtcp() {
    let (mut relay, [a, _, b, _], mut sent) = call();
    for sequence in 0..2 {
        relay.datagram(ms(20 * u64::from(sequence)), PortToken(0), at(ALICE), &mut rtp(8, sequence, 7), &mut sent);
        relay.datagram(ms(20 * u64::from(sequence)), PortToken(2), at(BOB), &mut rtp(8, sequence, 9), &mut sent);
    }
    let info = |ntp: u64| SenderInfo { ntp: ntp << 16, rtp_timestamp: 0, packets: 0, payload_bytes: 0 };
    let report = |ssrc, last_sender_report| ReceptionReport {
        ssrc,
        fraction_lost: 3,
        cumulative_lost: 32,
        jitter: 8,
        last_sender_report,
        ..ReceptionReport::default()
    };
    let mut send = |relay: &mut Relay, milliseconds, port, from, datagram: Writer| {
        let verdict = relay.datagram(ms(milliseconds), PortToken(port), at(from), &mut datagram.finish(), &mut sent);
        assert_eq!(verdict, Verdict::Forwarded);
    };
    send(&mut relay, 1000, 1, ALICE_RTCP, Writer::new().sender_report(7, &info(11), &[]));
    send(&mut relay, 1020, 3, BOB_RTCP, Writer::new().sender_report(9, &info(22), &[report(7, 11)]));
    send(&mut relay, 1025, 1, ALICE_RTCP, Writer::new().sender_report(7, &info(12), &[report(9, 22)]));
    let (alice, bob) = (relay.stream(a).unwrap(), relay.stream(b).unwrap());
    let of_alice = alice.sources()[0].quality().unwrap();
    assert_eq!((of_alice.last_leg_us(), of_alice.average(), of_alice.cumulative_lost()), (Some(20_000), None, 32));
    let of_bob = bob.sources()[0].quality().unwrap();
    let expected =
        mos::Report { mos_tenths: 41, round_trip_us: 25_000, round_trip_leg_us: 5000, jitter_ms: 1, loss_percent: 1 };
    assert_eq!(of_bob.average(), Some((expected, 1)));
    assert_eq!(of_bob.lowest().unwrap().reported_at, ms(1025).unix);
    let quality = relay.interfaces()[0].quality;
    assert_eq!((quality.mos.count, quality.mos.sum), (1, 4.1));
    assert_eq!((quality.round_trip_us.count, quality.round_trip_us.sum), (2, 25_000.0));
    assert_eq!((quality.round_trip_leg_us.count, quality.round_trip_leg_us.sum), (2, 25_000.0));
    assert_eq!((quality.measured_jitter_ms.count, quality.measured_jitter_ms.sum), (3, 0.0));
    assert_eq!(relay.stream(StreamId(1)).unwrap().first_ssrc(), Some(7));
}

#[test]
fn rtcp_that_ends_badly_is_relayed_and_counted() {
    let (mut relay, _, mut sent) = call();
    let mut datagram = Writer::new().receiver_report(7, &[]).finish();
    datagram.extend_from_slice(&[0x80, 203, 0xff, 0xff]);
    for _ in 0..2 {
        let verdict = relay.datagram(ms(0), PortToken(1), at(ALICE_RTCP), &mut datagram.clone(), &mut sent);
        assert_eq!(verdict, Verdict::Forwarded);
    }
    assert_eq!(relay.interfaces()[0].malformed_reports, 2);
}
