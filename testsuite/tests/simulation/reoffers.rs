//! What changes within a call: hold, moved ports, medias that come and go.

use super::{ALICE, BOB, two};
use millrace_testsuite::simulation::{Leg, Phone, Stage, assert_hears};
use serde_json::json;

/// alice and bob with audio and video.
fn two_with_video() -> Stage {
    let legs = |port, ssrc| vec![Leg::new("audio", port, ssrc), Leg::new("video", port + 2, ssrc + 1)];
    Stage::new(vec![
        Phone::new("alice", "198.51.100.10", legs(40000, ALICE)),
        Phone::new("bob", "198.51.100.20", legs(50000, BOB)),
    ])
}

#[test]
fn hold_and_resume() {
    for (held, answered, hears) in [
        ("sendonly", "recvonly", [false, true]),
        ("inactive", "inactive", [false, false]),
        ("recvonly", "sendonly", [true, false]),
    ] {
        let mut stage = two();
        stage.call(0, 1);
        stage.talk(500);
        stage.assert_talk(0, 1);
        stage.leg(0).direction = held;
        stage.leg(1).direction = answered;
        stage.reoffer(0, 1, json!({}));
        stage.answer(0, 1, json!({}));
        assert_eq!(stage.leg(1).shown.as_ref().map(|shown| shown.direction.as_str()), Some(held));
        assert_eq!(stage.leg(0).shown.as_ref().map(|shown| shown.direction.as_str()), Some(answered));
        // Phones that talk all the same are not passed on.
        stage.talk(1000);
        for (listener, hears) in hears.into_iter().enumerate() {
            match hears {
                true => stage.assert_hears(listener, 1 - listener),
                false => stage.assert_deaf(listener, 1 - listener),
            }
        }
        (stage.leg(0).direction, stage.leg(1).direction) = ("sendrecv", "sendrecv");
        stage.reoffer(0, 1, json!({}));
        stage.answer(0, 1, json!({}));
        stage.talk(1000);
        stage.assert_talk(0, 1);
        stage.end();
    }
}

#[test]
fn hold_by_a_zero_address() {
    let mut stage = two();
    stage.call(0, 1);
    stage.phones[0].writes_zero_address = true;
    stage.reoffer(0, 1, json!({}));
    assert!(stage.leg(1).shown.as_ref().is_some_and(|shown| shown.rtp.is_none()), "zero is passed on");
    stage.answer(0, 1, json!({}));
    stage.talk(500);
    stage.assert_deaf(0, 1);
    stage.phones[0].writes_zero_address = false;
    stage.reoffer(0, 1, json!({}));
    stage.answer(0, 1, json!({}));
    stage.talk(500);
    stage.assert_talk(0, 1);
    stage.end();
}

/// With ICE, candidates may follow, or stand in another section of a bundle.
#[test]
fn a_zero_address_with_ice_is_no_hold() {
    let mut stage = two();
    stage.phones[0].writes_zero_address = true;
    stage.leg(0).attributes = vec!["ice-ufrag:abcd", "ice-pwd:abcdefghijklmnopqrstuv"];
    stage.offer(0, 1, json!({"ICE": "remove"}));
    let shown = stage.leg(1).shown.clone().expect("a section");
    assert_eq!((shown.direction.as_str(), shown.rtp.is_some()), ("sendrecv", true));
}

#[test]
fn either_side_offers_anew() {
    let mut stage = two();
    stage.call(0, 1);
    let before: Vec<_> = stage.phones.iter().map(|phone| phone.legs[0].shown.clone()).collect();
    for (offerer, answerer) in [(1, 0), (0, 1), (1, 0)] {
        stage.reoffer(offerer, answerer, json!({}));
        stage.answer(offerer, answerer, json!({}));
        let after: Vec<_> = stage.phones.iter().map(|phone| phone.legs[0].shown.clone()).collect();
        assert_eq!(before, after, "nobody moved");
        stage.talk(500);
        stage.assert_talk(0, 1);
    }
    assert_eq!(stage.world.ports.opened, 4);
    stage.end();
}

#[test]
fn moved_ports_are_followed_and_old_ones_still_heard() {
    let mut stage = two();
    stage.call(0, 1);
    stage.talk(500);
    let old = stage.leg(1).shown.clone();
    stage.leg(0).port = 42000;
    stage.reoffer(0, 1, json!({}));
    let new = stage.leg(1).shown.clone();
    assert_ne!(old.as_ref().map(|line| line.rtp), new.as_ref().map(|line| line.rtp));
    // bob has the offer, and goes on to use the old port until he has answered.
    stage.leg(1).shown = old;
    stage.talk(500);
    stage.assert_hears(0, 1);
    stage.leg(1).shown = new;
    stage.answer(0, 1, json!({}));
    stage.talk(1000);
    stage.assert_talk(0, 1);
    stage.end();
}

#[test]
fn ports_stay_with_port_latching() {
    let mut stage = two();
    stage.call(0, 1);
    let old = stage.leg(1).shown.clone();
    stage.leg(0).port = 42000;
    stage.reoffer(0, 1, json!({"flags": ["port latching"]}));
    assert_eq!(stage.leg(1).shown, old);
    stage.answer(0, 1, json!({"flags": ["port latching"]}));
    stage.talk(500);
    stage.assert_talk(0, 1);
    stage.end();
}

#[test]
fn a_phone_that_moves_on_every_offer_does_not_eat_ports() {
    let mut stage = two();
    stage.call(0, 1);
    for port in (42000..42100).step_by(2) {
        stage.leg(0).port = port;
        stage.reoffer(0, 1, json!({}));
        stage.answer(0, 1, json!({}));
    }
    assert!(stage.world.ports.open().count() <= 10, "{} ports", stage.world.ports.open().count());
    stage.talk(500);
    stage.assert_talk(0, 1);
    stage.end();
}

#[test]
fn video_is_added_and_removed() {
    let mut stage = two();
    stage.call(0, 1);
    for (phone, port, ssrc) in [(0, 40002, ALICE + 1), (1, 50002, BOB + 1)] {
        stage.phones[phone].legs.push(Leg::new("video", port, ssrc));
    }
    stage.reoffer(0, 1, json!({}));
    stage.answer(0, 1, json!({}));
    stage.talk(1000);
    stage.assert_talk(0, 1);
    assert_hears(&stage.phones[0].legs[1], &stage.phones[1].legs[1]);
    assert_hears(&stage.phones[1].legs[1], &stage.phones[0].legs[1]);
    for phone in &mut stage.phones {
        phone.legs[1].port = 0;
    }
    stage.reoffer(1, 0, json!({}));
    stage.answer(1, 0, json!({}));
    assert_eq!(stage.world.ports.open().count(), 4, "the ports of video are closed");
    stage.talk(500);
    stage.assert_talk(0, 1);
    for (phone, port) in [(0, 40002), (1, 50002)] {
        stage.phones[phone].legs[1].port = port;
    }
    stage.reoffer(0, 1, json!({}));
    stage.answer(0, 1, json!({}));
    stage.talk(500);
    stage.assert_talk(0, 1);
    assert_hears(&stage.phones[0].legs[1], &stage.phones[1].legs[1]);
    stage.end();
}

#[test]
fn a_media_is_rejected_by_the_answer() {
    let mut stage = two_with_video();
    stage.phones[1].legs[0].port = 0;
    stage.call(0, 1);
    assert!(stage.leg(0).shown.as_ref().is_some_and(|shown| shown.rtp.is_none()));
    stage.talk(500);
    assert_hears(&stage.phones[0].legs[1], &stage.phones[1].legs[1]);
    assert!(stage.phones[0].legs[0].heard.is_empty() && stage.phones[1].legs[0].heard.is_empty());
    assert_eq!(stage.world.ports.open().count(), 4);
    stage.end();
}

#[test]
fn lines_that_are_left_out_are_rejected_at_their_places() {
    let mut stage = two_with_video();
    stage.call(0, 1);
    let sdp = stage.phones[1].describe();
    let (audio, _) = sdp.split_once("m=video").expect("a second line");
    let reply = stage.must("offer", json!({"from-tag": "bob", "to-tag": "alice", "sdp": audio}));
    stage.phones[0].show(reply["sdp"].as_str().expect("a description"));
    assert!(stage.phones[0].legs[1].shown.as_ref().is_some_and(|shown| shown.rtp.is_none()));
    stage.end();
}

#[test]
fn hidden_lines_stay_hidden_when_the_other_side_offers() {
    let mut stage = Stage::new(vec![
        Phone::new(
            "alice",
            "198.51.100.10",
            vec![Leg::new("video", 40002, ALICE + 1), Leg::new("audio", 40000, ALICE)],
        ),
        Phone::audio("bob", "198.51.100.20", 50000, BOB),
    ]);
    stage.offer(0, 1, json!({"sdp-media-remove": ["video"]}));
    stage.answer(0, 1, json!({}));
    let shown = |stage: &Stage| {
        let lines = stage.phones[0].legs.iter().map(|leg| leg.shown.as_ref().expect("a line"));
        lines.map(|line| (line.kind.clone(), line.rtp.is_some())).collect::<Vec<_>>()
    };
    let expected = [("video".to_owned(), false), ("audio".to_owned(), true)];
    assert_eq!(shown(&stage), expected);
    stage.reoffer(1, 0, json!({}));
    assert_eq!(shown(&stage), expected);
    stage.phones[0].legs[0].port = 0;
    stage.answer(1, 0, json!({}));
    stage.talk(500);
    assert_hears(&stage.phones[0].legs[1], &stage.phones[1].legs[0]);
    assert_hears(&stage.phones[1].legs[0], &stage.phones[0].legs[1]);
    stage.end();
}

#[test]
fn a_fax_takes_the_line_of_the_voice() {
    let mut stage = two();
    stage.call(0, 1);
    stage.talk(500);
    for phone in 0..2 {
        stage.leg(phone).kind = "image";
    }
    stage.reoffer(1, 0, json!({}));
    let line = stage.leg(0).shown.clone().expect("a line");
    assert_eq!((line.kind.as_str(), line.protocol.as_str(), line.formats), ("image", "udptl", vec!["t38".to_owned()]));
    stage.answer(1, 0, json!({}));
    stage.talk(500);
    stage.assert_hears(0, 1);
    stage.assert_hears(1, 0);
    assert_eq!(stage.world.ports.open().count(), 2, "fax has no RTCP");
    for phone in 0..2 {
        stage.leg(phone).kind = "audio";
    }
    stage.reoffer(1, 0, json!({}));
    stage.answer(1, 0, json!({}));
    stage.talk(1000);
    stage.assert_talk(0, 1);
    stage.end();
}

#[test]
fn a_fax_that_is_refused_leaves_the_voice_alone() {
    let mut stage = two();
    stage.call(0, 1);
    let sdp = stage.phones[1].describe().replace("m=audio 50000 RTP/AVP 8 101", "m=image 50000 udptl t38");
    stage.must("offer", json!({"from-tag": "bob", "to-tag": "alice", "sdp": sdp}));
    // The phone answers 488: nothing else is signalled, and both talk on.
    stage.talk(1000);
    stage.assert_hears(0, 1);
    stage.assert_hears(1, 0);
    stage.end();
}

#[test]
fn rtcp_mux_is_agreed_and_given_up_again() {
    let mut stage = two();
    stage.call(0, 1);
    assert_eq!(stage.world.ports.open().count(), 4);
    (stage.leg(0).wants_mux, stage.leg(1).wants_mux) = (true, true);
    stage.reoffer(0, 1, json!({}));
    stage.answer(0, 1, json!({}));
    stage.talk(2000);
    stage.assert_talk(0, 1);
    assert_eq!(stage.world.ports.open().count(), 2);
    (stage.leg(0).wants_mux, stage.leg(1).wants_mux) = (false, false);
    stage.reoffer(0, 1, json!({}));
    stage.answer(0, 1, json!({}));
    stage.talk(2000);
    stage.assert_talk(0, 1);
    stage.end();
}

#[test]
fn an_offer_that_makes_no_sense_does_not_harm_the_call() {
    let mut stage = two();
    stage.call(0, 1);
    let whole = stage.phones[0].describe();
    let bad = [
        String::new(),
        "nonsense".to_owned(),
        "v=0\r\no=- 1 1 IN IP4 1.2.3.4\r\ns=-\r\nt=0 0\r\n".to_owned(),
        whole.replace("c=IN IP4 198.51.100.10\r\n", ""),
        format!("{whole}m=video x RTP/AVP 97\r\n"),
    ];
    for sdp in bad {
        for (command, from, to) in [("offer", "alice", "bob"), ("answer", "bob", "alice")] {
            let reply = stage.ask(command, json!({"from-tag": from, "to-tag": to, "sdp": sdp}));
            assert_eq!(reply["result"], "error", "{sdp}");
        }
        let own = stage.ask("offer", json!({"from-tag": "alice", "to-tag": "alice", "sdp": whole}));
        assert_eq!(own["error-reason"], "Invalid dialogue association");
        stage.talk(200);
        stage.assert_hears(0, 1);
        stage.assert_hears(1, 0);
    }
    let report = stage.must("query", json!({}));
    assert_eq!(report["tags"].as_object().map(|tags| tags.len()), Some(2));
    stage.end();
}

#[test]
fn an_ice_fragment_leaves_the_call_alone() {
    let mut stage = two();
    stage.call(0, 1);
    let keys = json!({
        "from-tag": "alice",
        "to-tag": "bob",
        "flags": ["fragment"],
        "sdp": "a=ice-ufrag:abcd\r\na=ice-pwd:efgh\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\na=end-of-candidates\r\n",
    });
    for command in ["offer", "answer"] {
        assert_eq!(stage.must(command, keys.clone()), json!({"result": "ok"}));
    }
    stage.talk(500);
    stage.assert_talk(0, 1);
    stage.end();
}
