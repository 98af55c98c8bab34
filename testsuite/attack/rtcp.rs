//! RTCP that breaks its rules, from a victim's own address and port, where it is believed most.

use crate::stage::{Pace, Stage, settings};
use crate::{Answers, Scenario};
use millrace::base::suite::Suite;
use millrace_testsuite::peer::{Keying, Peer, Settings, drive};
use serde_json::json;
use std::time::Duration;

pub const ALL: &[Scenario] = &[
    Scenario {
        name: "rtcp-plain",
        what: "BYE, SDES, XR, APP and compounds of wrong lengths, RTCP as RTP and RTP as RTCP",
        expected: "media goes on, a BYE ends nothing, errors are counted",
        answers: Answers::None,
        run: plain,
    },
    Scenario {
        name: "rtcp-srtp",
        what: "the same as SRTCP, without keys, shorter than a tag, and with a forged BYE",
        expected: "all are dropped, media goes on",
        answers: Answers::None,
        run: protected,
    },
];

const TALK: Duration = Duration::from_secs(3);
const PER_SECOND: u64 = 500;

/// RTCP packets for an SSRC whose lengths are wrong, or right and hostile.
fn compounds(ssrc: u32) -> Vec<Vec<u8>> {
    let id = ssrc.to_be_bytes();
    let packet = |count: u8, kind: u8, words: u16, rest: &[u8]| {
        [&[0x80 | count, kind][..], &words.to_be_bytes(), &id, rest].concat()
    };
    let report = packet(0, 200, 6, &[0; 20]);
    let mut all = vec![
        // BYE: a good one, one without SSRC, one that counts 31 sources, a reason longer than the packet.
        packet(1, 203, 1, &[]),
        vec![0x81, 203, 0, 0],
        packet(31, 203, 1, &[]),
        packet(1, 203, 2, &[255, b'b', b'y', b'e']),
        [report.clone(), packet(1, 203, 1, &[])].concat(),
        // SDES: an item longer than its chunk, no end, none of the chunks that are counted.
        packet(1, 202, 2, &[1, 255, b'x', b'x']),
        packet(1, 202, 2, &[1, 2, b'x', b'x']),
        packet(31, 202, 1, &[]),
        // XR: a block longer than the packet, blocks of no length without end; APP without a name.
        packet(0, 207, 2, &[4, 0, 0xff, 0xff]),
        packet(0, 207, 60, &[4, 0, 0, 0].repeat(59)),
        packet(0, 204, 1, &[]),
        // Report blocks that are not there; a feedback packet without its media's SSRC; a block of statistics.
        packet(31, 200, 6, &[0; 20]),
        packet(31, 201, 1, &[]),
        packet(1, 205, 1, &[]),
        packet(15, 206, 2, &[0; 4]),
        // Lengths that lead beyond the end, into the middle, nowhere.
        packet(0, 200, 0xffff, &[0; 20]),
        packet(0, 201, 0, &[]),
        [report.clone(), vec![0x80, 201, 0xff]].concat(),
        vec![0x80, 200],
        vec![0x80, 200, 0, 6],
        vec![0xa0, 200, 0, 1, 0, 0, 0, 255],
        // A compound of hundreds of packets, and one of nothing but the shortest.
        packet(0, 201, 1, &[]).repeat(180),
        [0x80, 201, 0, 0].repeat(360),
        // RTCP's types in RTP's clothes: payload types 72 to 76 with the marker.
        [&[0x80, 0x80 | 72, 0, 1][..], &[0; 4], &id, &[0; 40]].concat(),
        [&[0x80, 0x80 | 76, 0, 1][..], &[0; 4], &id, &[0; 40]].concat(),
    ];
    // Every length of a sender report that is cut off.
    all.extend((0..report.len()).map(|length| report[..length].to_vec()));
    all
}

fn settings_of(keying: Keying, is_muxed: bool) -> Settings {
    Settings { is_muxed, ..settings(keying) }
}

fn plain(stage: &mut Stage) -> Result<String, String> {
    let mut notes = Vec::new();
    for is_muxed in [true, false] {
        let call = stage.connected(&settings_of(Keying::Plain, is_muxed), &json!({}))?;
        let compounds = compounds(call.caller.voice.ssrc);
        let (mut calls, mut sent) = ([call], 0);
        for round in 0..TALK.as_millis() as usize / 20 {
            let caller = &mut calls[0].caller;
            for compound in compounds.iter().cycle().skip(round * 7).take(PER_SECOND as usize / 50) {
                caller.report(compound);
                // RTCP on the port of RTP, and RTP on that of RTCP.
                if !is_muxed {
                    caller.send(compound);
                    let packet = caller.voice.packet(1 << 16);
                    caller.report(&packet);
                }
                sent += 1;
            }
            calls[0].run_for(Duration::from_millis(18), true);
        }
        drive(&mut calls, Duration::ZERO, false, &mut |_| {});
        calls[0].check_heard()?;
        notes.push(format!("{sent} sent, {} arrived", calls[0].callee.reports.len()));
    }
    stage.expect_dropped("malformed", 1)?;
    Ok(format!("{}; drops: {}", notes.join("; "), stage.drops()?))
}

fn protected(stage: &mut Stage) -> Result<String, String> {
    let call = stage.connected(&settings(Keying::Sdes(vec![Suite::AesCm128Sha1_80])), &json!({}))?;
    let mut compounds = compounds(call.caller.voice.ssrc);
    // What is shorter than index and tag, and what has room for them.
    let bye = compounds[0].clone();
    compounds.extend((0..20).map(|more| [&bye[..], &vec![0x80; more]].concat()));
    let mut calls = [call];
    let mut pace = Pace::new(PER_SECOND);
    for round in 0..TALK.as_millis() as u64 / 20 {
        let caller: &mut Peer = &mut calls[0].caller;
        for number in pace.due(Duration::from_millis(20 * round)) {
            caller.send(&compounds[number as usize % compounds.len()]);
        }
        calls[0].run_for(Duration::from_millis(18), true);
    }
    drive(&mut calls, Duration::ZERO, false, &mut |_| {});
    let (arrived, sent) = (calls[0].callee.reports.len(), pace.sent());
    calls[0].check_whole()?;
    let drops = stage.dropped("malformed")? + stage.dropped("wrong_tag")? + stage.dropped("unprotected")?;
    // An empty datagram is a keep-alive, which goes no further and is no fault.
    match arrived == 0 && drops + sent / compounds.len() as u64 + 1 >= sent {
        true => Ok(format!("{sent} sent, drops: {}", stage.drops()?)),
        false => Err(format!("{sent} sent, {arrived} arrived, drops: {}", stage.drops()?)),
    }
}
