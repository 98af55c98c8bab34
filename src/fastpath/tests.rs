use super::entry::Passing;
use super::layout::{self, Endpoint, Flow};
use super::verdict::Verdict;
use super::*;
use crate::base::learning::Learning;
use crate::base::time::Mono;
use crate::plan::{Block, Component, ForwardingPlan, PayloadType, Place, Security, Sink, StreamId};
use crate::rtp::Loan;
use smallvec::{SmallVec, smallvec};
use std::net::SocketAddr;

const ALICE: &str = "198.51.100.10:6000";
const FOR_ALICE: &str = "192.0.2.1:30000";
const FOR_BOB: &str = "192.0.2.1:30002";
const BOB: &str = "[2001:db8::20]:7000";

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn payload_type(number: u8, clock_rate_hz: u32, is_dtmf: bool) -> PayloadType {
    PayloadType { number, clock_rate_hz, is_dtmf }
}

fn plan(media: &[Sink]) -> ForwardingPlan {
    let ingress = crate::plan::Ingress {
        learning: Learning::Heuristic,
        signalled: Some(at(ALICE)),
        signalled_at: Mono(0),
        filled: true,
        strict_source: false,
        media_handover: false,
        asymmetric: false,
        wait_for_peer: false,
        pierce_nat: false,
        payload_types: smallvec![
            payload_type(8, 8000, false),
            payload_type(111, 48_000, false),
            payload_type(101, 8000, true),
        ],
    };
    let media = media.iter().copied().collect();
    ForwardingPlan { media, ..ForwardingPlan::new(Component::Rtp, ingress) }
}

/// Compiles what `change` has made of the simplest case, a sender of PCMA to one receiver.
fn compiled(
    change: impl FnOnce(&mut ForwardingPlan, &mut ForwardingPlan, &mut Ingress, &mut Egress),
) -> Result<Entry, Reason> {
    let bare = plan(&[]);
    let (mut to, mut from) = (plan(&[]), plan(&[Sink::plain(StreamId(2))]));
    let heard = Some(Heard { ssrc: 7, payload_type: 8, clock_rate_hz: 8000 });
    let mut ingress = Ingress {
        plan: &bare,
        local: at(FOR_ALICE),
        has_several_ports: false,
        source: Some(at(ALICE)),
        is_strict: false,
        heard,
    };
    let mut egress =
        Egress { plan: &bare, local: at(FOR_BOB), destination: Some(at(BOB)), renames_sources: false, tos: 184 };
    change(&mut from, &mut to, &mut ingress, &mut egress);
    compile(&Ingress { plan: &from, ..ingress }, Some(&Egress { plan: &to, ..egress }))
}

fn passing(number: u8, is_event: bool) -> Passing {
    Passing { number, is_event }
}

#[test]
fn the_simplest_call_is_forwarded_below() {
    let entry = compiled(|_, _, _, _| {}).unwrap();
    let payload_types: SmallVec<_> = smallvec![passing(8, false), passing(101, true)];
    assert_eq!(
        entry,
        Entry {
            local: at(FOR_ALICE),
            source: at(ALICE),
            is_strict: false,
            ssrc: 7,
            clock_rate_hz: 8000,
            payload_types,
            action: Action::Forward { from: at(FOR_BOB), to: at(BOB), tos: 184 },
        }
    );
}

#[test]
fn what_nobody_is_to_hear_is_dropped_below_though_the_receiver_is_unknown() {
    let entry = compiled(|from, _, _, egress| {
        from.media[0].block = Some(Block::All);
        egress.destination = None;
    });
    assert_eq!(entry.map(|entry| entry.action), Ok(Action::Drop));
}

#[test]
fn every_reason_has_its_case() {
    type Change = fn(&mut ForwardingPlan, &mut ForwardingPlan, &mut Ingress, &mut Egress);
    let cases: [(Reason, Change); 18] = [
        (Reason::NotRtp, |from, _, _, _| from.component = Component::Rtcp),
        (Reason::NotRtp, |from, _, _, _| from.component = Component::Opaque),
        (Reason::Encrypted, |from, _, _, _| from.security = Security::Pending),
        (Reason::Encrypted, |_, to, _, _| to.security = Security::Pending),
        (Reason::Bundle, |from, _, _, _| {
            from.bundle = Some(Box::new(crate::plan::Bundle { mid_extension: None, branches: Vec::new() }));
        }),
        (Reason::Feedback, |from, _, _, _| from.feedback = Some(Box::default())),
        (Reason::NoReceiver, |from, _, _, _| from.media.clear()),
        (Reason::ManyReceivers, |from, _, _, _| from.media.push(Sink::plain(StreamId(4)))),
        (Reason::Rewritten, |from, _, _, _| from.media[0].masked_extensions = 2),
        (Reason::Rewritten, |from, _, _, _| from.media[0].rewrite = Place::new(0)),
        (Reason::Rewritten, |from, _, _, _| from.media[0].transport_wide = Some(3)),
        (Reason::Rewritten, |_, _, _, egress| egress.renames_sources = true),
        (Reason::PartlyBlocked, |from, _, _, _| from.media[0].block = Some(Block::Dtmf)),
        (Reason::SeveralPorts, |_, _, ingress, _| ingress.has_several_ports = true),
        (Reason::NotRouted, |_, _, ingress, _| ingress.local = at("127.0.0.1:30000")),
        (Reason::SourceUnknown, |_, _, ingress, _| ingress.source = None),
        (Reason::DestinationUnknown, |_, _, _, egress| egress.destination = Some(at(FOR_BOB))),
        (Reason::NoPackets, |_, _, ingress, _| ingress.heard = None),
    ];
    for (reason, change) in cases {
        assert_eq!(compiled(change), Err(reason));
    }
    for link_local in ["[fe80::1]:7000", "127.0.0.1:7000", "[::1]:7000", "0.0.0.0:7000"] {
        let entry = compiled(|_, _, _, egress| egress.destination = Some(at(link_local)));
        assert_eq!(entry, Err(Reason::NotRouted), "{link_local}");
    }
}

#[test]
fn a_table_of_entries_is_followed_step_by_step() {
    let entry = compiled(|_, _, _, _| {}).unwrap();
    let elsewhere = compiled(|_, _, _, egress| egress.destination = Some(at(ALICE))).unwrap();
    let blocked = compiled(|from, _, _, _| from.media[0].block = Some(Block::All)).unwrap();
    let renewed = compiled(|_, _, ingress, _| ingress.heard.as_mut().unwrap().ssrc = 8).unwrap();
    assert_eq!(diff(None, None), Step::Keep);
    assert_eq!(diff(None, Some(entry.clone())), Step::Install(entry.clone()));
    assert_eq!(diff(Some(&entry), Some(entry.clone())), Step::Keep);
    assert_eq!(diff(Some(&entry), Some(elsewhere.clone())), Step::Reroute(elsewhere));
    assert_eq!(diff(Some(&entry), Some(blocked.clone())), Step::Reroute(blocked));
    assert_eq!(diff(Some(&entry), Some(renewed.clone())), Step::Renew(renewed));
    assert_eq!(diff(Some(&entry), None), Step::Withdraw);
}

#[test]
fn an_entry_fills_the_maps() {
    let entry = compiled(|_, _, _, _| {}).unwrap();
    let flow = Flow::new(&entry, Slot(5), 9);
    assert_eq!((flow.flags, flow.stream, flow.next_hop, flow.clock_rate_hz, flow.tos), (0, 5, 9, 8000, 184));
    assert_eq!((flow.places[8], flow.places[101], flow.places[111], flow.events), (0, 1, 255, 0b10));
    let Endpoint { address, port, .. } = flow.source;
    assert_eq!((&address[10..], port), ([0xff, 0xff, 198, 51, 100, 10].as_slice(), 6000u16.to_be_bytes()));
    assert_eq!(flow.destination.address[..4], [0x20, 1, 0x0d, 0xb8]);
    let dropped = compiled(|from, _, ingress, _| {
        from.media[0].block = Some(Block::All);
        ingress.is_strict = true;
    });
    assert_eq!(Flow::new(&dropped.unwrap(), Slot(0), 0).flags, 3);
    let loan =
        Loan { ssrc: 1, highest: 2, window: 3, last_sequence: 4, has_transit: true, packets: 5, ..Loan::default() };
    assert_eq!(Loan::from(&layout::Stream::from(&loan)), loan);
}

/// `ebpf/layout.h`, as far as Rust repeats it.
#[test]
fn both_sides_lay_the_maps_out_alike() {
    let header = include_str!("../../ebpf/layout.h");
    let verdicts = header.split_once("enum verdict {").and_then(|(_, rest)| rest.split_once("VERDICTS,")).unwrap().0;
    let names: Vec<&str> = verdicts.lines().filter_map(|line| line.trim().strip_prefix("VERDICT_")).collect();
    let names: Vec<String> = names.iter().map(|line| line.split(',').next().unwrap().to_lowercase()).collect();
    let ours: Vec<&str> = Verdict::ALL.iter().map(|verdict| verdict.name()).collect();
    assert_eq!(names, ours);
    for (name, bytes) in [("endpoint", 20), ("flow", 16 + 60 + 4 + 128), ("stream", 32 + 14 * 4 + 64), ("next_hop", 20)]
    {
        let ours = match name {
            "endpoint" => size_of::<Endpoint>(),
            "flow" => size_of::<Flow>(),
            "stream" => size_of::<layout::Stream>(),
            _ => size_of::<layout::NextHop>(),
        };
        assert_eq!((name, ours), (name, bytes));
        assert_eq!(size_in(header, name), bytes, "struct {name} of layout.h");
    }
}

/// The size of a structure in bytes: the sum of its fields, which leave no gaps.
fn size_in(header: &str, name: &str) -> usize {
    let body = header.split_once(&format!("struct {name} {{")).and_then(|(_, rest)| rest.split_once("\n};")).unwrap().0;
    let field = |line: &str| -> usize {
        let declaration = line.split(';').next().unwrap().trim();
        let (kind, rest) = declaration.rsplit_once(' ').unwrap();
        let count = rest.split_once('[').map_or(1, |(_, count)| match count.trim_end_matches(']') {
            "MOST_PAYLOAD_TYPES" => 8,
            number => number.parse().unwrap(),
        });
        let bytes = match kind {
            "__u8" => 1,
            "__u16" | "__be16" => 2,
            "__u32" | "__be32" => 4,
            "__u64" => 8,
            "struct endpoint" => 20,
            other => panic!("{other}"),
        };
        bytes * count
    };
    body.lines().filter(|line| line.contains(';')).map(field).sum()
}
