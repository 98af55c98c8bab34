//! RTP that is made to look like a victim's, from elsewhere.

use crate::stage::{ATTACKER, CALLER, Pace, Stage, settings};
use crate::{Answers, Scenario};
use millrace_testsuite::peer::{Keying, Voice, drive};
use serde_json::json;
use std::net::UdpSocket;
use std::time::Duration;

pub const ALL: &[Scenario] = &[
    Scenario {
        name: "inject-strict",
        what: "RTP with a victim's SSRC, sequence and timestamp, strict source",
        expected: "every packet is dropped as wrong_source, whether its address or only its port is another",
        answers: Answers::None,
        run: strict,
    },
    Scenario {
        name: "inject-loose",
        what: "the same without strict source",
        expected: "packets pass, as clients ask for it; nothing goes to the attacker and nothing is lost",
        answers: Answers::None,
        run: loose,
    },
];

const TALK: Duration = Duration::from_secs(4);

/// A packet of `voice` that is due now, with another payload.
pub fn forged(voice: Voice, number: u32) -> Vec<u8> {
    let mut packet = voice.packet(number);
    packet[12..].fill(0xd5);
    packet
}

struct Injected {
    sent: u64,
    foreign: usize,
    drops: u64,
}

fn inject(stage: &mut Stage, flags: &[&str]) -> Result<Injected, String> {
    let call = stage.connected(&settings(Keying::Plain), &json!({"flags": flags}))?;
    let voice = call.caller.voice;
    let to = call.caller.remote().ok_or("no description")?.media;
    let mut calls = [call];
    drive(&mut calls, Duration::from_millis(100), true, &mut |_| {});
    let sources: [UdpSocket; 2] =
        [stage.attacker(&format!("{ATTACKER}:5555"))?, stage.attacker(&format!("{CALLER}:5555"))?];
    let mut pace = Pace::new(200);
    drive(&mut calls, TALK, true, &mut |elapsed| {
        for number in pace.due(elapsed) {
            let packet = forged(voice, 5 + (elapsed.as_millis() / 20) as u32);
            let _ = sources[number as usize % 2].send_to(&packet, to);
        }
    });
    calls[0].check_heard()?;
    Ok(Injected { sent: pace.sent(), foreign: calls[0].foreign(), drops: stage.dropped("wrong_source")? })
}

fn strict(stage: &mut Stage) -> Result<String, String> {
    let Injected { sent, foreign, drops } = inject(stage, &["strict source"])?;
    match (foreign, drops == sent) {
        (0, true) => Ok(format!("{sent} forged, wrong_source {drops}")),
        _ => Err(format!("{sent} forged, {foreign} passed, wrong_source {drops}")),
    }
}

fn loose(stage: &mut Stage) -> Result<String, String> {
    let Injected { sent, foreign, drops } = inject(stage, &[])?;
    match foreign as u64 == sent && drops == 0 {
        true => Ok(format!("{sent} forged and passed")),
        false => Err(format!("{sent} forged, {foreign} passed, wrong_source {drops}")),
    }
}
