//! Simulcast (RFC 8853): a publisher sends layers, and each viewer gets one continuous stream.

mod studio;

use serde_json::json;
use studio::{FRAME_TICKS, NAMES, Studio};

fn attributes(sdp: &str) -> Vec<&str> {
    sdp.lines().filter_map(|line| line.strip_prefix("a=")).collect()
}

#[test]
fn descriptions_speak_of_layers_to_the_publisher_alone() {
    let studio = Studio::new(&[None]);
    let answer = attributes(&studio.answered);
    for line in ["rid:q recv", "rid:h recv", "rid:f recv", "simulcast:recv q;h;f"] {
        assert!(answer.contains(&line), "{line} in {answer:?}");
    }
    let shown = attributes(&studio.viewers[0].shown);
    assert!(
        !shown.iter().any(|line| line.contains("rid") || line.contains("simulcast") || line.contains("rtp-stream-id"))
    );
    studio.end();
}

#[test]
fn each_viewer_gets_the_layer_that_it_wants() {
    let mut studio = Studio::new(&[None, Some("highest"), Some("lowest"), Some("h"), Some("f")]);
    studio.run(4000);
    studio.rest(50);
    for (viewer, last) in studio.viewers.iter().zip([2, 2, 0, 1, 2]) {
        viewer.assert_continuous();
        assert_eq!(viewer.layers().last(), Some(&last), "{:?}", viewer.layers());
        assert!(viewer.parts.values().filter(|part| part.layer == last).count() > 50);
        assert!(viewer.layers().len() <= 3, "{:?}", viewer.layers());
    }
    let shown: std::collections::BTreeSet<u32> = studio.viewers.iter().map(|viewer| viewer.sources[0]).collect();
    assert!(shown.iter().all(|ssrc| *ssrc > 0x2fff || *ssrc < 0x1000), "no SSRC of the publisher's: {shown:x?}");
    studio.end();
}

#[test]
fn layers_are_known_before_anybody_comes_and_after_all_have_left() {
    let mut studio = Studio::new(&[]);
    studio.run(3000);
    for _ in 0..2 {
        studio.join(None);
        studio.run(1500);
        studio.rest(50);
        let viewer = studio.leave();
        viewer.assert_continuous();
        assert_eq!(viewer.layers(), [2]);
        studio.run(1000);
    }
    studio.join(Some("h"));
    studio.run(500);
    studio.world.move_calls();
    studio.run(1500);
    studio.rest(50);
    studio.viewers[0].assert_continuous();
    assert_eq!(studio.viewers[0].layers(), [1]);
    studio.end();
}

#[test]
fn a_viewer_changes_its_layer() {
    for reports_time in [true, false] {
        let mut studio = Studio::new(&[Some("q"), Some("f")]);
        studio.reports_time = reports_time;
        studio.run(2000);
        for (wish, place) in [("f", 2), ("h", 1), ("q", 0), ("highest", 2), ("lowest", 0)] {
            studio.change(0, Some(wish));
            studio.run(1500);
            assert_eq!(studio.viewers[0].layers().last(), Some(&place), "{wish}");
        }
        studio.rest(50);
        let [first, second] = &studio.viewers[..] else { panic!("two viewers") };
        first.assert_continuous();
        second.assert_continuous();
        assert!(first.layers().ends_with(&[0, 2, 1, 0, 2, 0]), "{:?}", first.layers());
        if reports_time {
            // The layers have one clock: no frame is out of step.
            let parts: Vec<_> = first.parts.values().collect();
            for pair in parts.windows(2).skip(200) {
                let step = pair[1].timestamp.wrapping_sub(pair[0].timestamp);
                let frames = pair[1].frame - pair[0].frame;
                assert!(step.abs_diff(frames * FRAME_TICKS) <= 2, "{step} in {frames} frames");
            }
        }
        studio.end();
    }
}

#[test]
fn losses_on_both_legs_are_mended_over_switches() {
    let mut studio = Studio::new(&[Some("q"), Some("f"), None]);
    studio.run(1000);
    studio.loss = 20;
    studio.viewers.iter_mut().for_each(|viewer| viewer.loss = 60);
    for wish in ["f", "h", "q", "f"] {
        studio.change(0, Some(wish));
        studio.run(2000);
    }
    studio.loss = 0;
    studio.viewers.iter_mut().for_each(|viewer| viewer.loss = 0);
    studio.run(500);
    studio.rest(200);
    for viewer in &studio.viewers {
        viewer.assert_continuous();
        assert_eq!(viewer.repair_sources.len(), 1, "one stream of retransmissions: {:x?}", viewer.repair_sources);
    }
    assert!(studio.viewers[0].layers().len() >= 5, "{:?}", studio.viewers[0].layers());
    studio.end();
}

#[test]
fn a_layer_that_ends_is_replaced_and_comes_back() {
    let mut studio = Studio::new(&[None, Some("h"), Some("q")]);
    studio.run(2500);
    studio.layers[2].is_paused = true;
    studio.run(2500);
    let last = |studio: &Studio| -> Vec<usize> {
        studio.viewers.iter().map(|viewer| *viewer.layers().last().expect("something")).collect()
    };
    assert_eq!(last(&studio), [1, 1, 0]);
    studio.layers[1].is_paused = true;
    studio.run(2500);
    assert_eq!(last(&studio), [0, 0, 0]);
    studio.layers[1].is_paused = false;
    studio.layers[2].is_paused = false;
    // Nobody makes a key frame unasked.
    studio.run(2500);
    assert_eq!(last(&studio), [2, 1, 0]);
    studio.rest(50);
    studio.viewers.iter().for_each(|viewer| viewer.assert_continuous());
    studio.end();
}

#[test]
fn feedback_goes_to_the_layer_that_it_is_about() {
    let mut studio = Studio::new(&[Some("f"), Some("q")]);
    studio.run(3000);
    let before: Vec<usize> = studio.layers.iter().map(|layer| layer.requests).collect();
    studio.lose_picture(1);
    studio.run(200);
    studio.lose_picture(0);
    studio.run(200);
    let after: Vec<usize> = studio.layers.iter().map(|layer| layer.requests).collect();
    assert_eq!(after, [before[0] + 1, before[1], before[2] + 1]);
    studio.end();
}

#[test]
fn reports_are_those_of_the_layer_that_a_viewer_gets() {
    let mut studio = Studio::new(&[Some("f"), Some("q")]);
    studio.run(4000);
    studio.change(0, Some("h"));
    studio.run(4000);
    for viewer in &studio.viewers {
        let own: Vec<_> = viewer.reports.iter().filter(|report| report.0 == viewer.sources[0]).collect();
        assert_eq!(own.len(), viewer.reports.len(), "no other layer's");
        assert!(own.len() >= 6, "{}", own.len());
        // On one line with the stream: what was shown at that time has that timestamp.
        for pair in own.windows(2).skip(1) {
            let step = pair[1].1.wrapping_sub(pair[0].1);
            assert!(step.abs_diff(90_000) <= 200, "{step} in a second");
        }
    }
    studio.end();
}

#[test]
fn a_layer_that_nobody_sends_is_refused() {
    let mut studio = Studio::new(&[Some("q")]);
    studio.run(500);
    for wish in ["x", "", "a;b"] {
        let reply = studio.try_ask(json!({"command": "subscribe request", "from-tag": "p", "layer": wish}));
        assert_eq!(
            (&reply["result"], &reply["error-reason"]),
            (&json!("error"), &json!("No source has a layer of that name"))
        );
    }
    assert_eq!(NAMES.len(), studio.layers.len());
    studio.run(500);
    studio.viewers[0].assert_continuous();
    studio.end();
}
