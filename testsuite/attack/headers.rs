//! RTP headers and datagrams that break rules below or above UDP.

use crate::stage::{Stage, settings};
use crate::{Answers, Scenario};
use millrace::base::suite::Suite;
use millrace_testsuite::peer::{Call, Keying, drive, new_contexts};
use serde_json::json;
use std::time::Duration;

pub const ALL: &[Scenario] = &[Scenario {
    name: "headers",
    what: "RTP headers that overflow, all versions, short and 64 KB datagrams, IP options; plain, SDES, DTLS-SRTP",
    expected: "passed or dropped, media goes on",
    answers: Answers::None,
    run: headers,
}];

/// The longest datagram that UDP over IPv4 carries.
const LARGEST_BYTES: usize = 65_507;

/// Datagrams for an SSRC, each broken in another way.
fn datagrams(ssrc: u32) -> Vec<Vec<u8>> {
    let packet = |first: u8, kind: u8, rest: &[u8]| {
        [&[first, kind][..], &[0x20, 0, 0, 0, 0, 0], &ssrc.to_be_bytes(), rest].concat()
    };
    let mut all = vec![
        // 15 contributing sources that are not there, and half of them.
        packet(0x8f, 8, &[]),
        packet(0x8f, 8, &[0; 30]),
        // An extension without a header, longer than the packet, as long as can be.
        packet(0x90, 8, &[]),
        packet(0x90, 8, &[0xbe, 0xde, 0, 10]),
        packet(0x90, 8, &[0xbe, 0xde, 0xff, 0xff, 0, 0, 0, 0]),
        packet(0x9f, 8, &[0xff; 61]),
        // One-byte and two-byte elements that leave their extension.
        packet(0x90, 8, &[0xbe, 0xde, 0, 1, 0x1f, 0, 0, 0]),
        packet(0x90, 8, &[0x10, 0, 0, 1, 1, 255, 0, 0]),
        packet(0x90, 8, &[0xbe, 0xde, 0, 1, 0xf0, 0, 0, 0]),
        // Padding of none, of more than there is, of everything.
        packet(0xa0, 8, &[0]),
        packet(0xa0, 8, &[255]),
        packet(0xa0, 8, &[]),
        packet(0xa0, 8, &[2, 2]),
        packet(0xbf, 255, &[255; 40]),
        packet(0x80, 8, &[]),
    ];
    for version in 0..4u8 {
        all.push(packet(version << 6, 8, &[0; 160]));
        all.push(packet(version << 6 | 0x3f, 0xff, &[0xff; 160]));
    }
    all.extend((0..=12).map(|length| packet(0x80, 8, &[])[..length].to_vec()));
    all.extend((0..=255).map(|first| vec![first; 40]));
    for length in [1472, 1473, 9000, 65_000, LARGEST_BYTES] {
        all.push(packet(0x80, 8, &vec![0x55; length - 12]));
        all.push(packet(0x90, 8, &vec![0xff; length - 12]));
        all.push([&[0x80, 200, 0, 6][..], &ssrc.to_be_bytes(), &vec![0; length - 8]].concat());
    }
    all
}

fn attack(stage: &mut Stage, call: Call) -> Result<String, String> {
    let datagrams = datagrams(call.caller.voice.ssrc);
    let mut calls = [call];
    drive(&mut calls, Duration::from_millis(100), true, &mut |_| {});
    let [call] = &mut calls;
    for has_options in [false, true] {
        call.caller.set_ip_options(has_options).map_err(|error| format!("IP options: {error}"))?;
        for chunk in datagrams.chunks(6) {
            chunk.iter().for_each(|datagram| call.caller.send(datagram));
            call.run_for(Duration::from_millis(10), true);
        }
    }
    call.caller.set_ip_options(false).map_err(|error| format!("IP options: {error}"))?;
    drive(&mut calls, Duration::from_millis(500), true, &mut |_| {});
    let [call] = &mut calls;
    let is_plain = call.caller.outbound().is_none();
    let overflows = stage.overflows()?;
    let fault = |why: String| format!("{why}; {overflows} datagrams were never read");
    match is_plain {
        true => call.check_heard().map_err(fault)?,
        false => call.check_whole().map_err(fault)?,
    }
    if !is_plain && call.foreign() > 0 {
        return Err(format!("{} broken packets passed without a key", call.foreign()));
    }
    Ok(format!("{} passed", call.foreign()))
}

fn headers(stage: &mut Stage) -> Result<String, String> {
    let mut notes = Vec::new();
    let keyings = [
        ("plain", Keying::Plain),
        ("SDES", Keying::Sdes(vec![Suite::AesCm128Sha1_80])),
        ("DTLS-SRTP", Keying::Dtls(new_contexts()?)),
    ];
    for (name, keying) in keyings {
        let call = stage.connected(&settings(keying), &json!({}))?;
        notes.push(format!("{name}: {}", attack(stage, call).map_err(|why| format!("{name}: {why}"))?));
    }
    Ok(format!("{}; drops: {}", notes.join(", "), stage.drops()?))
}
