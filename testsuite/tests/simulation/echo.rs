//! Media that goes back to where it came from (`media echo`).

use super::two;
use millrace_testsuite::simulation::Stage;
use serde_json::json;
use std::collections::BTreeSet;

/// The SSRCs that a phone hears.
fn heard(stage: &mut Stage, phone: usize) -> BTreeSet<u32> {
    stage.leg(phone).heard.iter().map(|heard| heard.ssrc).collect()
}

#[test]
fn each_side_hears_itself_or_nobody() {
    for (mode, expected) in
        [("sinkhole", [false, false]), ("fw", [false, true]), ("backwards", [true, false]), ("both", [true, true])]
    {
        let mut stage = two();
        stage.offer(0, 1, json!({"media echo": mode}));
        stage.answer(0, 1, json!({}));
        // It stays that way until a message says otherwise.
        for again in [false, true] {
            if again {
                stage.reoffer(0, 1, json!({}));
                stage.answer(0, 1, json!({}));
            }
            stage.talk(2000);
            for (phone, expected) in expected.into_iter().enumerate() {
                let own = [stage.leg(0).ssrc, stage.leg(1).ssrc];
                let names = heard(&mut stage, phone);
                assert_eq!(names.len(), usize::from(expected), "{mode}: {names:?}");
                let name = names.into_iter().find(|name| own.contains(name));
                assert_eq!(name, None, "{mode}: a sender that is sent its own SSRC takes it for a collision");
                let count = if expected { 100 } else { 0 };
                assert_eq!(stage.leg(phone).heard.len(), count, "{mode}");
                let is_other = |(sender, _): &(u32, u16)| own.contains(sender);
                assert!(!stage.leg(phone).rtcp_heard.iter().any(is_other), "{mode}: reports of phones go nowhere");
            }
        }
        stage.end();
    }
}

#[test]
fn an_answer_turns_the_sides_around() {
    let mut stage = two();
    stage.offer(0, 1, json!({}));
    stage.answer(0, 1, json!({"media-echo": "forward"}));
    stage.talk(200);
    assert_eq!((heard(&mut stage, 0).len(), heard(&mut stage, 1).len()), (1, 0));
    stage.end();
}
