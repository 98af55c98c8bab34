use super::compile::{LONGEST_MEAN_BYTES, LONGEST_MEAN_BYTES_GCM};
use super::entry::Passing;
use super::layout::{self, Endpoint, Flow, Slots, Target};
use super::verdict::Verdict;
use super::*;
use crate::base::id::CaptureId;
use crate::base::learning::Learning;
use crate::base::random::Seeded;
use crate::base::suite::Suite;
use crate::base::time::Mono;
use crate::plan::{
    Bandwidth, Block, Component, EXTENSION_NUMBERS, Feedback, ForwardingPlan, Handshake, MidElement, PayloadType,
    Place, Rewrite, Security, Sink, StreamId, Tables,
};
use crate::rtp::Loan;
use crate::srtp::{MasterKey, Mki, Parameters, Window};
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
    PayloadType { number, clock_rate_hz, is_dtmf, silence: None }
}

fn plan(media: &[Sink]) -> ForwardingPlan {
    let ingress = crate::plan::Ingress {
        learning: Learning::Heuristic,
        signalled: Some(at(ALICE)),
        signalled_at: Mono(0),
        filled: true,
        strict_source: false,
        fixed_address: false,
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
    let heard = Some(Heard { ssrc: 7, payload_type: 8, clock_rate_hz: 8000, mean_bytes: 172 });
    let mut ingress = Ingress {
        plan: &bare,
        local: at(FOR_ALICE),
        has_several_ports: false,
        shares_port: false,
        source: Some(at(ALICE)),
        is_strict: false,
        heard,
        keys: None,
        may_open: true,
        captures: &[],
        may_capture: true,
    };
    let mut egress = Egress {
        plan: &bare,
        local: at(FOR_BOB),
        destination: Some(at(BOB)),
        shown_ssrc: Some(7),
        keys: None,
        tos: 184,
    };
    change(&mut from, &mut to, &mut ingress, &mut egress);
    let egresses = vec![Some(Egress { plan: &to, ..egress }); from.media.len()];
    compile(&Ingress { plan: &from, ..ingress }, &egresses)
}

/// What the receiver of the simplest case gets.
fn output() -> Output {
    let payload_types = smallvec![Some(8), Some(101)];
    Output {
        from: at(FOR_BOB),
        to: at(BOB),
        tos: 184,
        ssrc: 7,
        payload_types,
        silences: smallvec![None; 2],
        protect: None,
        passes: false,
        mid: None,
    }
}

fn keys(suite: Suite, seed: u64) -> Parameters {
    Parameters::new(suite, MasterKey::generate(suite, &mut Seeded(seed)))
}

/// The same with SRTP, whose keys come from handshakes: what comes, and what leaves.
fn compiled_with(
    receive: Option<&Parameters>,
    send: Option<&Parameters>,
    change: impl FnOnce(&mut ForwardingPlan, &mut Ingress),
) -> Result<Entry, Reason> {
    let handshake = Handshake { is_client: false, fingerprints: Vec::new(), generation: 1 };
    let security = |is_secure| match is_secure {
        true => Security::Handshake(Box::new(handshake.clone())),
        false => Security::Plain,
    };
    let (mut from, mut to) = (plan(&[Sink::plain(StreamId(2))]), plan(&[]));
    (from.security, to.security) = (security(receive.is_some()), security(send.is_some()));
    let heard = Heard { ssrc: 7, payload_type: 8, clock_rate_hz: 8000, mean_bytes: 182 };
    let bare = plan(&[]);
    let mut ingress = Ingress {
        plan: &bare,
        local: at(FOR_ALICE),
        has_several_ports: false,
        shares_port: false,
        source: Some(at(ALICE)),
        is_strict: false,
        heard: Some(heard),
        keys: receive,
        may_open: true,
        captures: &[],
        may_capture: true,
    };
    change(&mut from, &mut ingress);
    let (local, destination) = (at(FOR_BOB), Some(at(BOB)));
    let egress = Egress { plan: &to, local, destination, shown_ssrc: Some(7), keys: send, tos: 0 };
    let egresses = vec![Some(egress); from.media.len()];
    compile(&Ingress { plan: &from, ..ingress }, &egresses)
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
            shares_port: false,
            ssrc: 7,
            clock_rate_hz: 8000,
            payload_types,
            action: Action::Forward(output()),
            captures: SmallVec::new(),
            protection: None,
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
        (Reason::NoKeys, |from, _, _, _| from.security = Security::Pending),
        (Reason::NoKeys, |_, to, _, _| to.security = Security::Pending),
        (Reason::Bundle, |from, _, _, _| {
            from.bundle = Some(Box::new(crate::plan::Bundle { mid_extension: None, branches: Vec::new() }));
        }),
        (Reason::Feedback, |from, _, _, _| {
            from.feedback = Some(Box::new(Feedback { bandwidth: Some(Bandwidth::Estimate), ..Feedback::default() }));
        }),
        (Reason::NoReceiver, |from, _, _, _| from.media.clear()),
        (Reason::ManyReceivers, |from, _, _, _| from.media = smallvec![Sink::plain(StreamId(4)); 33]),
        (Reason::Rewritten, |from, _, _, _| from.media[0].masked_extensions = 2),
        (Reason::Rewritten, |from, _, _, _| rewritten(from, &[], Some([1; EXTENSION_NUMBERS]))),
        (Reason::Rewritten, |from, _, _, _| from.media[0].transport_wide = Some(3)),
        (Reason::NoPackets, |_, _, _, egress| egress.shown_ssrc = None),
        (Reason::SeveralPorts, |_, _, ingress, _| ingress.has_several_ports = true),
        (Reason::SharedPort, |from, _, ingress, _| {
            ingress.shares_port = true;
            from.media.push(Sink::plain(StreamId(4)));
        }),
        (Reason::NotRouted, |_, _, ingress, _| ingress.local = at("[fe80::2]:30000")),
        (Reason::SourceUnknown, |_, _, ingress, _| ingress.source = None),
        (Reason::DestinationUnknown, |_, _, _, egress| egress.destination = Some(at(FOR_BOB))),
        (Reason::NoPackets, |_, _, ingress, _| ingress.heard = None),
    ];
    for (reason, change) in cases {
        assert_eq!(compiled(change), Err(reason));
    }
    for link_local in ["[fe80::1]:7000", "0.0.0.0:7000", "[::]:7000"] {
        let entry = compiled(|_, _, _, egress| egress.destination = Some(at(link_local)));
        assert_eq!(entry, Err(Reason::NotRouted), "{link_local}");
    }
}

/// The receiver of the simplest case knows some formats by other numbers, or header extensions.
fn rewritten(from: &mut ForwardingPlan, numbers: &[(u8, Option<u8>)], extensions: Option<[u8; EXTENSION_NUMBERS]>) {
    let rewrite = Rewrite { payload_types: numbers.iter().copied().collect(), extensions, ..Rewrite::default() };
    from.tables = Some(Box::new(Tables { rewrites: vec![rewrite], ..Tables::default() }));
    from.media[0].rewrite = Place::new(0);
}

#[test]
fn a_receiver_has_numbers_of_its_own() {
    let entry = compiled(|from, _, _, egress| {
        rewritten(from, &[(101, Some(97))], None);
        egress.shown_ssrc = Some(9);
    });
    let entry = entry.unwrap();
    let expected = Output { ssrc: 9, payload_types: smallvec![Some(8), Some(97)], ..output() };
    assert_eq!(entry.action, Action::Forward(expected.clone()));
    assert!(expected.renumbers(&entry) && !output().renumbers(&entry));
    let way = Flow::new(&entry, Target::Hop(2)).way;
    assert_eq!((way.renumbers, way.ssrc, way.payload_types), (1, 9, [8, 97, 255, 255, 255, 255, 255, 255]));
}

/// Who does not get all has copies of its own, which are counted.
#[test]
fn who_gets_less_than_all_gets_copies() {
    type Change = fn(&mut ForwardingPlan, &mut ForwardingPlan, &mut Ingress, &mut Egress);
    let cases: [([Option<u8>; 2], Change); 3] = [
        ([None, Some(101)], |from, _, _, _| from.media[0].block = Some(Block::Media)),
        ([Some(8), None], |from, _, _, _| from.media[0].block = Some(Block::Dtmf)),
        ([Some(8), None], |from, _, _, _| rewritten(from, &[(101, None)], None)),
    ];
    for (numbers, change) in cases {
        let expected = Output { payload_types: numbers.into_iter().collect(), ..output() };
        assert_eq!(compiled(change).map(|entry| entry.action), Ok(Action::Copy(vec![expected])));
    }
}

#[test]
fn silence_stands_in_for_media_and_not_for_events() {
    let silenced = |byte, block| {
        move |from: &mut ForwardingPlan, _: &mut ForwardingPlan, _: &mut Ingress, _: &mut Egress| {
            from.ingress.payload_types[0].silence = byte;
            from.media[0].block = Some(block);
        }
    };
    for (byte, kind) in [(0xff, 1), (0xd5, 2), (0xfa, 3)] {
        let entry = compiled(silenced(Some(byte), Block::Silence)).unwrap();
        let expected = Output { silences: smallvec![Some(byte), None], ..output() };
        assert_eq!((&entry.action, entry.protection.as_deref()), (&Action::Forward(expected), Some(&Protection::NONE)));
        let flow = Flow::new(&entry, Target::Hop(3));
        assert_eq!((flow.way.silences, flow.is_srtp()), (kind, true));
    }
    let without_events = compiled(silenced(Some(0xd5), Block::SilenceWithoutEvents)).unwrap();
    let [Output { payload_types, silences, .. }] = without_events.outputs() else { panic!("{without_events:?}") };
    assert_eq!(
        (payload_types.as_slice(), silences.as_slice()),
        ([Some(8), None].as_slice(), [Some(0xd5), None].as_slice())
    );
    assert_eq!(layout::Copy::new(&without_events, &without_events.outputs()[0], 3).flags, 1);
    // A codec that has none to fill in, a byte that the program does not know, and no program.
    let unknown = compiled(silenced(None, Block::Silence)).unwrap();
    assert_eq!(unknown.outputs()[0].payload_types.as_slice(), [None, Some(101)]);
    assert_eq!(compiled(silenced(Some(1), Block::Silence)), Err(Reason::Silenced));
    let without = |from: &mut ForwardingPlan, to: &mut ForwardingPlan, ingress: &mut Ingress, egress: &mut Egress| {
        silenced(Some(0xd5), Block::Silence)(from, to, ingress, egress);
        ingress.may_open = false;
    };
    assert_eq!(compiled(without), Err(Reason::Silenced));
}

#[test]
fn several_receivers_get_copies() {
    let entry = compiled(|from, _, _, _| from.media = smallvec![Sink::plain(StreamId(4)); 32]).unwrap();
    assert_eq!(entry.action, Action::Copy(vec![output(); 32]));
    let flow = Flow::new(&entry, Target::Group(9));
    assert_eq!((flags(&flow), flow.group), (0, 9));
    let copy = layout::Copy::new(&entry, &output(), 3);
    assert_eq!((copy.way.next_hop, copy.packets, copy.way.renumbers), (3, 0, 0));
    let one_blocked = compiled(|from, _, _, _| {
        from.media.push(Sink { block: Some(Block::All), ..Sink::plain(StreamId(4)) });
    });
    assert_eq!(one_blocked.map(|entry| entry.action), Ok(Action::Forward(output())));
    // Which packets are on their way through the old group is not known.
    let other = compiled(|from, _, _, _| from.media = smallvec![Sink::plain(StreamId(4)); 31]).unwrap();
    assert_eq!(diff(Some(&entry), Some(other.clone())), Step::Renew(other));
    // Reports to the sender are made from counters.
    let feedback = Feedback { is_sole: true, ..Feedback::default() };
    assert!(compiled(|from, _, _, _| from.feedback = Some(Box::new(feedback))).is_ok());
}

#[test]
fn a_mid_is_put_into_what_is_protected() {
    let (ours, mid) = (keys(Suite::AesCm128Sha1_80, 1), MidElement::new(3, "audio"));
    let entry = compiled_with(None, Some(&ours), |from, _| from.media[0].mid = mid).unwrap();
    let protection = entry.protection.unwrap();
    assert_eq!((protection.mid, protection.growth_bytes()), (mid, 10 + 12));
    let inserted = [0xbe, 0xde, 0, 2, 0x34, b'a', b'u', b'd', b'i', b'o', 0, 0];
    let keys = layout::Keys::new(&protection).unwrap();
    assert_eq!((keys.insert_bytes, &keys.insert[..12]), (12, &inserted[..]));
    let longest = MidElement::new(14, "1234567890123456");
    let longest = Protection { open: None, protect: Some(ours.clone()), passes: false, mid: longest };
    assert_eq!(layout::Keys::new(&longest).map(|keys| keys.insert_bytes), Some(24));
    assert_eq!(compiled_with(Some(&ours), None, |from, _| from.media[0].mid = mid), Err(Reason::Rewritten));
}

/// Each copy has the keys of its receiver; where some have the sender's, its packets are made again as they came.
#[test]
fn copies_are_protected() {
    let (ours, theirs) = (keys(Suite::AesCm128Sha1_80, 1), keys(Suite::AeadAes128Gcm, 2));
    let two = |passes: [bool; 2]| {
        compiled_with(Some(&ours), Some(&theirs), |from, _| {
            from.media = passes.iter().map(|passes| Sink { passes: *passes, ..Sink::plain(StreamId(2)) }).collect();
        })
    };
    let protect = |entry: &Entry| -> Vec<_> {
        entry.outputs().iter().map(|output| (output.protect.as_deref().cloned(), output.passes)).collect()
    };
    let entry = two([false, false]).unwrap();
    assert_eq!(protect(&entry), [(Some(theirs.clone()), false), (Some(theirs.clone()), false)]);
    let opened = entry.protection.as_deref().unwrap();
    assert_eq!((opened.open.as_ref(), &opened.protect, opened.passes), (Some(&ours), &None, false));
    assert_eq!(layout::Copy::new(&entry, &entry.outputs()[0], 0).flags, 1);
    let mixed = two([true, false]).unwrap();
    assert_eq!(protect(&mixed), [(Some(ours.clone()), true), (Some(theirs.clone()), false)]);
    assert_eq!(layout::Copy::new(&mixed, &mixed.outputs()[0], 0).flags, 3);
    let all_pass = two([true, true]).unwrap();
    assert_eq!(protect(&all_pass), [(None, false), (None, false)]);
    assert!(all_pass.protection.unwrap().passes);
    let plain = compiled_with(None, Some(&theirs), |from, _| from.media.push(Sink::plain(StreamId(2)))).unwrap();
    assert_eq!((protect(&plain)[1].0.as_ref(), plain.protection.is_none()), (Some(&theirs), true));
}

#[test]
fn srtp_is_opened_and_protected_below() {
    let (ours, theirs) = (keys(Suite::AesCm128Sha1_80, 1), keys(Suite::Aes256CmSha1_32, 2));
    for (receive, send, growth_bytes) in [
        (Some(&ours), None, -10),
        (None, Some(&theirs), 4),
        (Some(&ours), Some(&theirs), -6),
        (Some(&theirs), Some(&ours), 6),
    ] {
        let protection = compiled_with(receive, send, |_, _| {}).unwrap().protection.unwrap();
        assert_eq!((protection.open.as_ref(), protection.protect.as_ref()), (receive, send));
        assert_eq!((protection.growth_bytes(), protection.passes), (growth_bytes, false));
        let keys = layout::Keys::new(&protection).unwrap();
        assert_eq!(keys.steps, if receive.is_some() { 3 } else { 0 } + if send.is_some() { 4 } else { 0 });
    }
    let passed = compiled_with(Some(&ours), Some(&ours), |from, _| from.media[0].passes = true).unwrap();
    let protection = passed.protection.clone().unwrap();
    assert_eq!((protection.passes, protection.protect.as_ref(), protection.growth_bytes()), (true, None, 0));
    assert_eq!(layout::Keys::new(&protection).unwrap().steps, 1);
    assert_eq!(flags(&Flow::new(&passed, Target::Hop(0))), 4);
    let blocked = compiled_with(Some(&ours), Some(&theirs), |from, _| from.media[0].block = Some(Block::All));
    let protection = blocked.unwrap().protection.unwrap();
    assert_eq!((protection.open.as_ref(), protection.protect), (Some(&ours), None));
}

#[test]
fn every_reason_of_srtp_has_its_case() {
    let good = keys(Suite::AesCm128Sha1_80, 1);
    let with = |change: fn(&mut Parameters)| {
        let mut parameters = good.clone();
        change(&mut parameters);
        parameters
    };
    for odd in [
        Parameters { unencrypted_srtp: true, ..keys(Suite::AeadAes128Gcm, 1) },
        with(|parameters| parameters.mki = Mki::new(&[1])),
        with(|parameters| parameters.unauthenticated_srtp = true),
    ] {
        assert_eq!(compiled_with(Some(&odd), None, |_, _| {}), Err(Reason::Suite), "{odd:?}");
        assert_eq!(compiled_with(Some(&good), Some(&odd), |_, _| {}), Err(Reason::Suite), "{odd:?}");
    }
    assert!(compiled_with(Some(&with(|parameters| parameters.unencrypted_srtcp = true)), None, |_, _| {}).is_ok());
    assert!(compiled_with(Some(&with(|parameters| parameters.unencrypted_srtp = true)), None, |_, _| {}).is_ok());
    assert_eq!(compiled_with(Some(&good), None, |_, ingress| ingress.may_open = false), Err(Reason::Encrypted));
    assert_eq!(compiled_with(Some(&good), None, |_, ingress| ingress.keys = None), Err(Reason::NoKeys));
    let gcm = keys(Suite::AeadAes128Gcm, 1);
    for (receive, send, longest) in [
        (&good, None, LONGEST_MEAN_BYTES[0]),
        (&good, Some(&good), LONGEST_MEAN_BYTES[1]),
        (&gcm, None, LONGEST_MEAN_BYTES_GCM[0]),
        (&gcm, Some(&good), LONGEST_MEAN_BYTES_GCM[1]),
        (&good, Some(&gcm), LONGEST_MEAN_BYTES_GCM[1]),
    ] {
        let of = |mean_bytes| {
            compiled_with(Some(receive), send, |_, ingress| ingress.heard.as_mut().unwrap().mean_bytes = mean_bytes)
        };
        assert!(of(longest).is_ok());
        assert_eq!(of(longest + 1), Err(Reason::LargeSrtp));
    }
    for (both, longest) in [(&good, LONGEST_MEAN_BYTES[2]), (&gcm, LONGEST_MEAN_BYTES_GCM[2])] {
        let of = |mean_bytes| {
            compiled_with(Some(both), Some(both), |from, ingress| {
                from.media[0].passes = true;
                ingress.heard.as_mut().unwrap().mean_bytes = mean_bytes;
            })
        };
        assert!(of(longest).is_ok());
        assert_eq!(of(longest + 1), Err(Reason::LargeSrtp));
    }
}

/// The state of SRTP belongs to its keys, and to the stream that it leaves by.
#[test]
fn other_keys_begin_anew() {
    let (ours, theirs) = (keys(Suite::AesCm128Sha1_80, 1), keys(Suite::AesCm128Sha1_80, 2));
    let entry = compiled_with(Some(&ours), None, |_, _| {}).unwrap();
    let rekeyed = compiled_with(Some(&theirs), None, |_, _| {}).unwrap();
    assert_eq!(diff(Some(&entry), Some(rekeyed.clone())), Step::Renew(rekeyed));
    let mut elsewhere = entry.clone();
    let to_alice = Output { to: at(ALICE), ..output() };
    elsewhere.action = Action::Forward(to_alice.clone());
    assert_eq!(diff(Some(&entry), Some(elsewhere.clone())), Step::Reroute(elsewhere.clone()));
    elsewhere.action = Action::Forward(Output { from: at(FOR_ALICE), ..to_alice });
    assert_eq!(diff(Some(&entry), Some(elsewhere.clone())), Step::Renew(elsewhere));
    let shown = format!("{entry:?}");
    assert!(shown.contains("MasterKey(16 + 14 bytes)") && !shown.contains("key: ["), "{shown}");
}

#[test]
fn windows_survive_the_way_through_the_kernel() {
    for window in [
        Window { highest: 5, seen: 0b10_1001 },
        Window { highest: 0x1_0000_0003, seen: u128::MAX },
        Window { highest: 1000, seen: 1 << 127 | 1 },
    ] {
        assert_eq!(Window::from(&Slots::from(Some(window))), window);
    }
    // A program was interrupted between its slot and the highest number.
    let mut slots = Slots::from(Some(Window { highest: 9, seen: 0b11 }));
    slots.slots[10] = 11;
    assert_eq!(Window::from(&slots), Window { highest: 10, seen: 0b111 });
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

/// Those of a flow, without those of payload types.
fn flags(flow: &Flow) -> u32 {
    flow.flags & 0x00ff_ffff
}

#[test]
fn an_entry_fills_the_maps() {
    let entry = compiled(|_, _, _, _| {}).unwrap();
    let flow = Flow::new(&entry, Target::Hop(9));
    assert_eq!((flow.flags, flow.group, flow.clock_rate_hz), (0b10 << 24, 0, 8000));
    assert_eq!((flow.way.next_hop, flow.way.tos, flow.way.renumbers), (9, 184, 0));
    assert_eq!(flow.payload_types, [8, 101, 255, 255, 255, 255, 255, 255]);
    let Endpoint { address, port, .. } = flow.source;
    assert_eq!((&address[10..], port), ([0xff, 0xff, 198, 51, 100, 10].as_slice(), 6000u16.to_be_bytes()));
    assert_eq!(flow.way.destination.address[..4], [0x20, 1, 0x0d, 0xb8]);
    let dropped = compiled(|from, _, ingress, _| {
        from.media[0].block = Some(Block::All);
        ingress.is_strict = true;
    });
    assert_eq!(flags(&Flow::new(&dropped.unwrap(), Target::Hop(0))), 3);
    let loan =
        Loan { ssrc: 1, highest: 2, window: 3, last_sequence: 4, has_transit: true, packets: 5, ..Loan::default() };
    assert_eq!(Loan::from(&layout::Stream::from(&loan)), loan);
}

/// Whoever comes to look on, or goes, changes nothing that is counted.
#[test]
fn a_capture_is_a_flag_of_its_entry() {
    let entry = compiled(|_, _, _, _| {}).unwrap();
    let captured = compiled(|_, _, ingress, _| ingress.captures = &[CaptureId(1)]).unwrap();
    assert_eq!((flags(&Flow::new(&entry, Target::Hop(0))), flags(&Flow::new(&captured, Target::Hop(0)))), (0, 128));
    assert_eq!(diff(Some(&entry), Some(captured.clone())), Step::Reroute(captured));
    let in_userspace = compiled(|_, _, ingress, _| {
        ingress.captures = &[CaptureId(1)];
        ingress.may_capture = false;
    });
    assert_eq!(in_userspace, Err(Reason::Captured));
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
    let direction = 2 * 60 * 4 + 18 * 4 + 32;
    for (name, ours, bytes) in [
        ("endpoint", size_of::<Endpoint>(), 20),
        ("way", size_of::<layout::Way>(), 40 + 12 + 8),
        ("flow", size_of::<Flow>(), 8 + 12 + 2 * 20 + 60 + 8),
        ("interface_lines", size_of::<layout::InterfaceLines>(), 8),
        ("run", size_of::<layout::Run>(), 8),
        ("group", size_of::<layout::Group>(), 8 + 16 + 4 * 8 + 32 * 4),
        ("copy", size_of::<layout::Copy>(), 3 * 8 + 60 + 4),
        ("stream", size_of::<layout::Stream>(), 32 + 16 * 4 + 64 + 32),
        ("next_hop", size_of::<layout::NextHop>(), 20),
        ("direction", size_of::<layout::Direction>(), direction),
        ("keys", size_of::<layout::Keys>(), 8 + 4 + 24 + 4 + 2 * direction),
        ("window", size_of::<Slots>(), 129 * 8),
        ("order", size_of::<layout::Order>(), 8 + 2 * 129 * 8),
        ("tables", size_of::<layout::Tables>(), 4096),
    ] {
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
        let counts = rest.split('[').skip(1).map(|count| match count.trim_end_matches(']') {
            "MOST_PAYLOAD_TYPES" => 8,
            "MOST_ROUND_KEYS" => 60,
            "WINDOW_SLOTS" => 128,
            "MOST_RUNS" => 4,
            "MOST_COPIES" => 32,
            "MOST_INSERTED" => 24,
            number => number.parse().unwrap(),
        });
        let count: usize = counts.product();
        let bytes = match kind {
            "__u8" => 1,
            "__u16" | "__be16" => 2,
            "__u32" | "__be32" => 4,
            "__u64" => 8,
            "struct endpoint" => 20,
            "struct run" => 8,
            "struct way" => size_in(header, "way"),
            "struct bpf_spin_lock" => 4,
            "struct schedule" => size_in(header, "schedule"),
            "struct direction" => size_in(header, "direction"),
            "struct window" => size_in(header, "window"),
            other => panic!("{other}"),
        };
        bytes * count
    };
    body.lines().filter(|line| line.contains(';')).map(field).sum()
}
