//! What a publisher is told, and what viewers get again, where their RTCP does not reach it.

mod repairs;
mod room;
mod transports;

use millrace::base::suite::Suite;
use millrace::base::time::Mono;
use millrace::wire::rtcp::{Compound, Packet, SenderInfo, Writer, feedback, packet_type};
use room::{BROWSER, Peer, Room, Settings, VIDEO, nack};
use std::collections::{BTreeMap, BTreeSet};

/// Plain; with keys of each viewer's own; with the publisher's key for all.
const PROTECTIONS: [Option<(Suite, Suite)>; 3] =
    [None, Some((Suite::AesCm128Sha1_80, Suite::AeadAes128Gcm)), Some((Suite::AeadAes128Gcm, Suite::AeadAes128Gcm))];

/// The packets of one format that the publisher was sent.
fn told(peer: &Peer, is_payload_specific: bool, format: u8) -> Vec<Vec<u8>> {
    let all = peer.feedback().into_iter();
    all.filter(|entry| (entry.0, entry.1) == (format, is_payload_specific)).map(|entry| entry.3).collect()
}

/// A viewer has heard all numbers, each once.
fn assert_heard(viewer: &Peer, numbers: std::ops::RangeInclusive<u32>) {
    let heard: Vec<(u32, u32)> = viewer.heard.iter().map(|(number, copies)| (*number, *copies)).collect();
    assert_eq!(heard, numbers.map(|number| (number, 1)).collect::<Vec<_>>(), "{}", viewer.local);
    assert_eq!(viewer.refused, 0, "{}", viewer.local);
}

#[test]
fn what_a_viewer_loses_is_sent_again_to_it_alone() {
    for suites in PROTECTIONS {
        let mut room = Room::new(Settings { suites, ..BROWSER });
        room.run(100);
        room.viewers[0].loss = 150;
        room.run(8000);
        // The end of a stream shows no gap.
        room.viewers[0].loss = 0;
        room.run(500);
        room.rest(100);
        let last = room.sent;
        assert!(last > 65_536 + 400, "the numbers have wrapped");
        room.viewers.iter().for_each(|viewer| assert_heard(viewer, 65_301..=last));
        assert_eq!(told(&room.publisher, false, feedback::NACK), [[0; 0]; 0], "the publisher has lost nothing");
        room.end();
    }
}

#[test]
fn what_the_publisher_loses_is_asked_of_it() {
    for suites in PROTECTIONS {
        let mut room = Room::new(Settings { suites, ..BROWSER });
        room.viewers.iter_mut().for_each(|viewer| viewer.asks = false);
        room.run(100);
        room.publisher.loss = 50;
        room.run(5000);
        room.publisher.loss = 0;
        room.run(500);
        room.rest(100);
        let nacks = told(&room.publisher, false, feedback::NACK);
        assert!(nacks.len() > 10, "{}", nacks.len());
        let mut asked: BTreeMap<u16, usize> = BTreeMap::new();
        nacks
            .iter()
            .flat_map(|control| feedback::nack_sequences(control))
            .for_each(|n| *asked.entry(n).or_default() += 1);
        assert!(asked.values().all(|times| *times <= 3), "{asked:?}");
        for viewer in &room.viewers {
            assert_eq!(viewer.refused, 0);
            // One packet in twenty is lost, one in a hundred and sixty thousand four times.
            let missing = (65_301..=room.sent).filter(|number| !viewer.heard.contains_key(number)).count();
            assert_eq!(missing, 0, "{}", viewer.local);
        }
        room.end();
    }
}

#[test]
fn a_packet_that_nobody_has_is_asked_for_once() {
    let mut room = Room::new(BROWSER);
    room.run(100);
    room.publisher.loss = 1000;
    room.run(10);
    room.publisher.loss = 0;
    let missing = room.sent as u16;
    room.run(5);
    // Nothing newer has come yet, so that nobody can know of a gap.
    for viewer in 0..3 {
        room.say(Some(viewer), nack(&[missing]));
    }
    room.run(60);
    let nacks = told(&room.publisher, false, feedback::NACK);
    assert_eq!(nacks.iter().flat_map(|control| feedback::nack_sequences(control)).collect::<Vec<_>>(), [missing]);
    room.viewers.iter().for_each(|viewer| assert_heard(viewer, 65_301..=65_301 + viewer.heard.len() as u32 - 1));
    room.end();
}

#[test]
fn a_viewer_can_not_ask_without_end() {
    let mut room = Room::new(BROWSER);
    room.run(3000);
    let sequences: Vec<u16> = (0..300).map(|age| (room.sent as u16).wrapping_sub(age)).collect();
    for _ in 0..20 {
        (0..20).for_each(|_| room.say(Some(1), nack(&sequences)));
        room.run(50);
    }
    room.rest(100);
    let again: u32 = room.viewers[1].heard.values().map(|copies| copies - 1).sum();
    assert!((200..=450).contains(&again), "{again} in a second and a bit");
    for viewer in [0, 2] {
        assert_heard(&room.viewers[viewer], 65_301..=room.sent);
    }
    room.end();
}

#[test]
fn key_frames_that_all_want_are_asked_for_once() {
    let mut room = Room::new(BROWSER);
    room.run(1000);
    let before = told(&room.publisher, true, feedback::PICTURE_LOSS).len();
    for viewer in 0..3 {
        let kind = (packet_type::PAYLOAD_FEEDBACK, feedback::PICTURE_LOSS);
        room.say(Some(viewer), Writer::new().receiver_report(9, &[]).feedback(kind, 9, VIDEO, |_| ()));
    }
    room.run(100);
    assert_eq!(told(&room.publisher, true, feedback::PICTURE_LOSS).len(), before + 1);
    room.end();
}

/// What transport-wide feedback says: the number of each packet it tells of, and when it arrived in units of 250 us.
fn statuses(control: &[u8]) -> Vec<(u16, Option<i64>)> {
    let word = |at: usize| u16::from_be_bytes([control[at], control[at + 1]]);
    let count = usize::from(word(2));
    let mut ticks = i64::from(u32::from_be_bytes([0, control[4], control[5], control[6]])) * 256;
    let (mut at, mut symbols) = (8, Vec::new());
    while symbols.len() < count {
        let chunk = word(at);
        match chunk >> 14 {
            0 | 1 => symbols.extend(std::iter::repeat_n(chunk >> 13 & 3, usize::from(chunk & 0x1fff))),
            2 => symbols.extend((0..14).rev().map(|bit| chunk >> bit & 1)),
            _ => symbols.extend((0..7).rev().map(|place| chunk >> (2 * place) & 3)),
        }
        at += 2;
    }
    let mut list = Vec::new();
    for (place, symbol) in symbols[..count].iter().enumerate() {
        let delta = match symbol {
            0 => None,
            1 => Some(i64::from(control[at])),
            _ => Some(i64::from(word(at) as i16)),
        };
        at += usize::from(*symbol);
        ticks += delta.unwrap_or(0);
        list.push((word(0).wrapping_add(place as u16), delta.map(|_| ticks)));
    }
    list
}

#[test]
fn arrival_times_are_told_as_they_were() {
    let mut room = Room::new(Settings { feedback: &["transport-cc", "goog-remb"], ..BROWSER });
    room.run(100);
    room.publisher.loss = 100;
    room.run(5000);
    room.publisher.loss = 0;
    room.run(100);
    room.rest(300);
    let told = told(&room.publisher, false, feedback::TRANSPORT_WIDE);
    assert!((45..=55).contains(&told.len()), "{} in five seconds", told.len());
    let counters: Vec<u8> = told.iter().map(|control| control[7]).collect();
    assert!(counters.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)));
    let all: BTreeMap<u16, Option<i64>> = told.iter().flat_map(|control| statuses(control)).collect();
    let lost: BTreeSet<u16> = all.iter().filter(|(_, ticks)| ticks.is_none()).map(|(number, _)| *number).collect();
    assert!(lost.len() > 30, "{}", lost.len());
    assert!(lost.iter().all(|number| !room.arrivals.contains_key(number)));
    let modulo = |Mono(nanoseconds)| (nanoseconds / 250_000 % (1 << 32)) as i64;
    for (number, at) in &room.arrivals {
        assert_eq!(all[number], Some(modulo(*at)), "{number}");
    }
    assert!(told_remb(&room).is_empty(), "one way of telling is enough");
    room.end();
}

fn told_remb(room: &Room) -> Vec<u64> {
    let told = told(&room.publisher, true, feedback::APPLICATION_LAYER);
    told.iter().map(|control| feedback::remb_bitrate(control).expect("REMB")).collect()
}

#[test]
fn the_slowest_viewer_sets_the_bitrate() {
    let mut room = Room::new(Settings { feedback: &["nack", "goog-remb"], ..BROWSER });
    room.run(3100);
    assert_eq!(told_remb(&room), [5_000_000 >> 5 << 5; 3]);
    room.publisher.reports.clear();
    for (viewer, bitrate) in [(0, 2_000_000), (1, 400_000), (2, 3_000_000)] {
        room.say(Some(viewer), Writer::new().receiver_report(9, &[]).remb(9, bitrate, &[VIDEO]));
    }
    room.run(1000);
    assert_eq!(told_remb(&room), [400_000]);
    room.say(Some(2), Writer::new().receiver_report(9, &[]).remb(9, 10, &[VIDEO]));
    room.run(1000);
    assert_eq!(told_remb(&room)[1..], [150_000 >> 1 << 1], "nobody presses it below a floor");
    room.end();
}

#[test]
fn the_publisher_gets_reports() {
    // Nothing is repaired, so that the loss shows.
    let mut room = Room::new(Settings { feedback: &["transport-cc"], ..BROWSER });
    room.run(1500);
    let info = SenderInfo { ntp: 0x0102_0304_0506_0708, rtp_timestamp: 0, packets: 1, payload_bytes: 1 };
    room.say(None, Writer::new().sender_report(VIDEO, &info, &[]));
    room.publisher.loss = 250;
    room.viewers.iter_mut().for_each(|viewer| viewer.asks = false);
    room.run(2600);
    let mut reports = Vec::new();
    for compound in &room.publisher.reports {
        let packets: Vec<Packet> = Compound::new(compound).map(|packet| packet.expect("whole")).collect();
        if let [Packet::ReceiverReport { reports: blocks, .. }, Packet::SourceDescription(_)] = packets[..] {
            reports.extend(blocks.iter());
        }
    }
    assert_eq!(reports.len(), 4, "one a second");
    assert!(reports.iter().all(|report| report.ssrc == VIDEO));
    assert_eq!((reports[0].fraction_lost, reports[0].last_sender_report), (0, 0));
    assert!((20..120).contains(&reports[3].fraction_lost), "{:?}", reports[3]);
    assert!(reports[3].highest_sequence > 0x1_0000, "the numbers have wrapped");
    // A report came a good two seconds before the last one.
    assert_eq!(reports[3].last_sender_report, 0x0304_0506);
    assert!((2 << 16..3 << 16).contains(&reports[3].delay_since_last), "{:?}", reports[3]);
    room.end();
}

#[test]
fn where_viewers_speak_for_themselves_nobody_speaks_for_them() {
    for flags in [&["RTCP mirror"], &["bidirectional"]] {
        let mut room = Room::new(Settings { flags, ..BROWSER });
        room.viewers[0].loss = 100;
        room.run(3000);
        let senders: BTreeSet<u32> =
            room.publisher.reports.iter().filter_map(|bytes| millrace::wire::rtcp::first_sender(bytes)).collect();
        assert_eq!(senders, BTreeSet::from([9]), "{flags:?}");
        room.end();
    }
}
