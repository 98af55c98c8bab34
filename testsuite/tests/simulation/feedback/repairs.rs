//! Retransmissions in streams of their own (RFC 4588): those of the publisher end at the daemon, and each viewer gets
//! what it has lost in its own.

use super::room::{AGAIN, BROWSER, Peer, Repair, Room, Settings, VIDEO};
use super::{PROTECTIONS, assert_heard};
use std::collections::BTreeSet;

/// The retransmissions of a viewer are one stream, in order.
fn assert_one_stream(repairs: &[(u32, u16, u16)]) -> u32 {
    let numbers: Vec<u16> = repairs.iter().map(|repair| repair.1).collect();
    let steps: Vec<u16> = numbers.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
    assert!(steps.iter().all(|step| (1..10).contains(step)), "{steps:?}");
    let sources: BTreeSet<u32> = repairs.iter().map(|repair| repair.0).collect();
    assert_eq!(sources.len(), 1, "{sources:?}");
    repairs[0].0
}

#[test]
fn a_viewer_gets_what_it_lost_in_a_stream_of_its_own() {
    // Under the publisher's key it gets packets as they came.
    for suites in &PROTECTIONS[..2] {
        for repair in [Repair::Named, Repair::Unnamed, Repair::NotFirst] {
            let mut room = Room::new(Settings { suites: *suites, repair, ..BROWSER });
            room.run(100);
            room.viewers[0].loss = 150;
            room.viewers[1].loss = 100;
            room.run(4000);
            room.viewers.iter_mut().for_each(|viewer| viewer.loss = 0);
            room.run(500);
            room.rest(100);
            let last = room.sent;
            room.viewers.iter().for_each(|viewer| assert_heard(viewer, 65_301..=last));
            assert_eq!(room.viewers[2].repairs, []);
            let sources: Vec<u32> = (room.viewers[..2].iter())
                .filter(|viewer| !viewer.repairs.is_empty())
                .map(|viewer| assert_one_stream(&viewer.repairs))
                .collect();
            match repair {
                Repair::Named => assert_eq!(sources, [AGAIN, AGAIN]),
                Repair::NotFirst => assert_eq!(sources.len(), 1, "who did not take them gets packets as they were"),
                _ => assert!(sources.iter().all(|source| ![VIDEO, AGAIN].contains(source)), "{sources:?}"),
            }
            room.end();
        }
    }
}

#[test]
fn viewers_may_number_otherwise() {
    for suites in &PROTECTIONS {
        for repair in [Repair::Nobody, Repair::Named, Repair::NotFirst] {
            let mut room = Room::new(Settings { suites: *suites, repair, renumbers: true, ..BROWSER });
            room.run(100);
            room.viewers[0].loss = 150;
            room.viewers[1].loss = 100;
            room.run(2000);
            room.viewers.iter_mut().for_each(|viewer| viewer.loss = 0);
            room.run(500);
            room.rest(100);
            let last = room.sent;
            if suites.is_some_and(|(own, other)| own == other) {
                // Under one key with AES-GCM there is no other header: they get what the publisher has sent.
                let gets_alien = |viewer: &Peer| viewer.heard.is_empty() && viewer.refused > 20;
                assert!(room.viewers.iter().all(gets_alien));
                room.end();
                continue;
            }
            room.viewers.iter().for_each(|viewer| assert_heard(viewer, 65_301..=last));
            let has_streams: Vec<bool> = room.viewers.iter().map(|viewer| !viewer.repairs.is_empty()).collect();
            assert_eq!(has_streams[..2], [repair == Repair::Named, repair != Repair::Nobody]);
            let has_numbers = !room.viewers[1].transport_numbers.is_empty();
            assert_eq!(has_numbers, repair != Repair::Nobody, "under the viewer's number of the extension");
            room.end();
        }
    }
}

#[test]
fn what_the_publisher_sends_again_goes_on_as_the_packet_that_it_was() {
    for suites in PROTECTIONS {
        for repair in [Repair::Named, Repair::Unnamed, Repair::NotFirst] {
            let mut room = Room::new(Settings { suites, repair, ..BROWSER });
            room.viewers.iter_mut().for_each(|viewer| viewer.asks = false);
            room.run(100);
            room.publisher.loss = 50;
            room.run(5000);
            room.publisher.loss = 0;
            room.run(500);
            room.rest(100);
            let last = room.sent;
            assert!(room.sent_again > 10, "{}", room.sent_again);
            let shares_key = suites.is_some_and(|(own, other)| own == other);
            for (place, viewer) in room.viewers.iter().enumerate() {
                if shares_key {
                    let takes_them = place > 0 || repair != Repair::NotFirst;
                    assert_eq!(viewer.repairs.is_empty(), !takes_them, "under one key they go on as they are");
                    continue;
                }
                assert_eq!(viewer.refused, 0, "{repair:?}");
                let missing = (65_301..=last).filter(|number| !viewer.heard.contains_key(number)).count();
                assert_eq!(missing, 0, "{repair:?}");
                assert_eq!(viewer.repairs, []);
            }
            room.end();
        }
    }
}

#[test]
fn both_legs_may_lose_the_same_packet() {
    let mut room = Room::new(Settings { repair: Repair::Unnamed, ..BROWSER });
    room.run(100);
    room.publisher.loss = 100;
    room.viewers[0].loss = 200;
    room.run(4000);
    (room.publisher.loss, room.viewers[0].loss) = (0, 0);
    room.run(500);
    room.rest(100);
    let last = room.sent;
    for viewer in &room.viewers {
        let missing = (65_301..=last).filter(|number| !viewer.heard.contains_key(number)).count();
        assert_eq!((missing, viewer.refused), (0, 0), "{}", viewer.local);
    }
    room.end();
}

#[test]
fn padding_that_probes_for_bandwidth_reaches_no_viewer() {
    let mut room = Room::new(Settings { repair: Repair::Named, ..BROWSER });
    room.run(200);
    for _ in 0..20 {
        room.probe();
        room.run(10);
    }
    room.rest(50);
    let last = room.sent;
    for viewer in &room.viewers {
        assert_heard(viewer, 65_301..=last);
        assert_eq!(viewer.repairs, []);
    }
    room.end();
}

#[test]
fn viewers_who_speak_for_themselves_get_retransmissions_as_they_are() {
    let mut room = Room::new(Settings { repair: Repair::Named, flags: &["RTCP mirror"], ..BROWSER });
    room.run(100);
    room.viewers[0].loss = 100;
    room.run(3000);
    room.viewers[0].loss = 0;
    room.run(300);
    room.rest(100);
    assert!(room.sent_again > 10);
    for viewer in &room.viewers {
        let all: BTreeSet<u16> = viewer.repairs.iter().map(|repair| repair.1).collect();
        assert!(all.len() > 10, "{}", all.len());
    }
    room.end();
}

#[test]
fn each_viewer_has_transport_wide_numbers_of_its_own() {
    let numbers = |settings: Settings| {
        let mut room = Room::new(settings);
        room.run(100);
        room.publisher.loss = 100;
        room.run(2000);
        room.publisher.loss = 0;
        room.rest(100);
        let numbers: Vec<Vec<u16>> = room.viewers.iter().map(|viewer| viewer.transport_numbers.clone()).collect();
        let heard: Vec<usize> = room.viewers.iter().map(|viewer| viewer.heard.len()).collect();
        room.end();
        (numbers, heard)
    };
    let suites = Some((millrace::base::suite::Suite::AesCm128Sha1_80, millrace::base::suite::Suite::AeadAes128Gcm));
    let (all, heard) = numbers(Settings { repair: Repair::Named, suites, ..BROWSER });
    for (numbers, heard) in all.iter().zip(heard) {
        assert!(numbers.len() >= heard, "every packet has one");
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)), "whatever the publisher lost");
    }
    let (all, _) = numbers(Settings { suites, ..BROWSER });
    assert!(all.iter().all(Vec::is_empty), "packets that come again are the same, and have none");
    let (all, _) = numbers(Settings { flags: &["RTCP mirror"], ..BROWSER });
    assert!(all.iter().flatten().all(|number| *number > 65_300 || *number < 1000), "they are the publisher's");
}
