//! Calls of Chromium: with plain phones, with SRTP phones, and with each other. The control client plays the SIP server.

mod phone;
mod recorded;
mod room;
mod simulcast;
mod studio;

use crate::Scenario;
use crate::sip::Role;
use millrace_testsuite::daemon::Kind;
use phone::Phone;
pub use room::ENVIRONMENT;
use serde_json::{Value, json};
use std::path::Path;
use studio::{Side, Studio, available, with_studio};

pub const ALL: &[Scenario] = &[
    Scenario { name: "webrtc-to-rtp", what: "a browser calls a plain phone", needs: available, run: to_plain },
    Scenario { name: "rtp-to-webrtc", what: "a plain phone calls a browser", needs: available, run: from_plain },
    Scenario { name: "webrtc-flag", what: "the same with the flag WebRTC", needs: own_flag, run: from_plain_by_flag },
    Scenario { name: "siprec-webrtc", what: "a browser's call is recorded", needs: own_flag, run: recorded::run },
    Scenario { name: "webrtc-to-sdes", what: "a browser calls an SRTP phone", needs: available, run: to_sdes },
    Scenario { name: "browsers", what: "audio and video on one port", needs: own_flag, run: on_one_port },
    Scenario { name: "unbundled", what: "audio and video on two ports", needs: available, run: on_two_ports },
    Scenario { name: "ice-restart", what: "each side restarts ICE", needs: available, run: restart },
    Scenario { name: "renegotiate", what: "video added, hold, resume", needs: available, run: renegotiate },
    Scenario { name: "trickle", what: "candidates that come one by one", needs: available, run: trickle },
    Scenario {
        name: "room",
        what: "four tabs in a room, a fifth behind losses",
        needs: room::available,
        run: room::run,
    },
    Scenario {
        name: "simulcast",
        what: "three layers, and viewers who change theirs",
        needs: own_flag,
        run: simulcast::run,
    },
];

/// Debian's rtpengine knows neither the flag WebRTC nor bundles.
fn own_flag(kind: Kind) -> Result<(), String> {
    if kind == Kind::Rtpengine { Err("newer than Debian's rtpengine".into()) } else { available(kind) }
}

/// What Kamailio scripts say about a browser's offer that goes to a plain phone.
fn browser_to(protocol: &str) -> Value {
    json!({
        "transport-protocol": protocol, "ICE": "remove", "rtcp-mux": ["demux"], "DTLS": "off",
        "flags": ["trust-address"], "direction": ["external", "internal"],
    })
}

/// What they say about a plain phone's offer that goes to a browser.
fn to_browser() -> Value {
    json!({
        "transport-protocol": "UDP/TLS/RTP/SAVPF", "ICE": "force", "rtcp-mux": ["offer"], "SDES": ["off"],
        "flags": ["trust-address", "generate-mid"], "direction": ["internal", "external"],
    })
}

/// Between browsers: ICE and DTLS end at the daemon on both sides.
fn between_browsers() -> Value {
    json!({
        "transport-protocol": "UDP/TLS/RTP/SAVPF", "ICE": "force", "SDES": ["off"],
        "rtcp-mux": ["offer"], "flags": ["trust-address"],
    })
}

/// The same with all media of each side on one port.
fn bundled() -> Value {
    with(between_browsers(), "bundle", json!(["accept", "offer"]))
}

/// What only the first offer says.
fn first(flags: Value) -> Value {
    with(flags, "direction", json!(["external", "internal"]))
}

fn with(mut flags: Value, key: &str, value: Value) -> Value {
    flags[key] = value;
    flags
}

const PCMU: &str = "audio/PCMU";

fn to_plain(kind: Kind, folder: &Path) -> Result<String, String> {
    to_phone(kind, folder, "RTP/AVP")
}

fn to_sdes(kind: Kind, folder: &Path) -> Result<String, String> {
    to_phone(kind, folder, "RTP/SAVP")
}

fn to_phone(kind: Kind, folder: &Path, protocol: &'static str) -> Result<String, String> {
    with_studio(kind, folder, |studio| {
        let browser = studio.browser(Role::Caller)?;
        let caller = Side::open(&browser, Role::Caller, json!({"audioCodecs": [PCMU]}))?;
        let phone = Phone::new(studio, protocol)?;
        let offer = caller.describe("offer", json!({}))?;
        let offer = studio.offer(Role::Caller, &offer, &browser_to(protocol))?;
        for kept in ["a=candidate", "a=ice-", "a=fingerprint", "a=setup", "a=rtcp-mux"] {
            if offer.contains(kept) {
                return Err(format!("the phone is offered {kept}"));
            }
        }
        let answer = studio.answer(Role::Caller, &phone.answer(&offer)?, &json!({}))?;
        caller.page.call("accept", json!({"sdp": answer}))?;
        talk_with_phone(&caller, &phone)
    })
}

fn from_plain(kind: Kind, folder: &Path) -> Result<String, String> {
    from_phone(kind, folder, &to_browser())
}

fn from_plain_by_flag(kind: Kind, folder: &Path) -> Result<String, String> {
    from_phone(kind, folder, &json!({"flags": ["WebRTC", "trust-address"], "direction": ["internal", "external"]}))
}

/// The phone, on the callee's side of the network, calls the browser.
fn from_phone(kind: Kind, folder: &Path, flags: &Value) -> Result<String, String> {
    with_studio(kind, folder, |studio| {
        let browser = studio.browser(Role::Caller)?;
        let called = Side::open(&browser, Role::Caller, json!({"audioCodecs": [PCMU]}))?;
        let phone = Phone::new(studio, "RTP/AVP")?;
        let offer = studio.offer(Role::Callee, &phone.offer(), flags)?;
        let answer = called.describe("answer", json!({"sdp": offer}))?;
        phone.accept(&studio.answer(Role::Callee, &answer, &json!({}))?)?;
        talk_with_phone(&called, &phone)
    })
}

fn talk_with_phone(side: &Side, phone: &Phone) -> Result<String, String> {
    side.wait_for_connection()?;
    phone.wait_for_tone()?;
    side.wait_for_tone()?;
    let (heard, now) = (phone.heard(), side.statistics()?);
    if heard.refused + heard.strangers > 0 {
        return Err(format!("the phone got {} refused packets and {} others", heard.refused, heard.strangers));
    }
    Ok(format!("tones both ways; {} packets to the phone, {} to the browser", heard.packets, now["audioPackets"]))
}

fn on_one_port(kind: Kind, folder: &Path) -> Result<String, String> {
    see_each_other(kind, folder, "max-bundle", &bundled(), 1)
}

fn on_two_ports(kind: Kind, folder: &Path) -> Result<String, String> {
    see_each_other(kind, folder, "max-compat", &between_browsers(), 2)
}

fn see_each_other(kind: Kind, folder: &Path, policy: &str, flags: &Value, ports: usize) -> Result<String, String> {
    with_pair(kind, folder, json!({"bundlePolicy": policy, "video": true}), flags, |_, sides| {
        for side in sides {
            // Reports of the other side tell that SRTCP passes.
            side.wait_for("pictures and reports", |now| {
                now["framesDecoded"].as_u64() > Some(10) && now["reports"].as_u64() > Some(0)
            })?;
            let remotes = side.statistics()?["remotes"].clone();
            if remotes.as_array().map(Vec::len) != Some(ports) {
                return Err(format!("{ports} transports expected, not those to {remotes}"));
            }
        }
        let frames = [sides[0].statistics()?, sides[1].statistics()?].map(|now| now["framesDecoded"].clone());
        Ok(format!("tones both ways; {} and {} frames decoded", frames[0], frames[1]))
    })
}

/// Two browsers in a call, connected and hearing each other, in the order caller, callee.
fn with_pair(
    kind: Kind,
    folder: &Path,
    options: Value,
    flags: &Value,
    body: impl FnOnce(&Studio, &[Side; 2]) -> Result<String, String>,
) -> Result<String, String> {
    with_studio(kind, folder, |studio| {
        let browsers = [studio.browser(Role::Caller)?, studio.browser(Role::Callee)?];
        let sides = [
            Side::open(&browsers[0], Role::Caller, options.clone())?,
            Side::open(&browsers[1], Role::Callee, options)?,
        ];
        exchange(studio, [&sides[0], &sides[1]], Role::Caller, &first(flags.clone()), json!({}))?;
        for side in &sides {
            side.wait_for_connection()?;
            side.wait_for_tone()?;
        }
        body(studio, &sides)
    })
}

/// One offer and its answer through the daemon; `sides` are the offerer and the other.
fn exchange(studio: &Studio, sides: [&Side; 2], offerer: Role, flags: &Value, options: Value) -> Result<(), String> {
    let offer = studio.offer(offerer, &sides[0].describe("offer", options)?, flags)?;
    let answer = sides[1].describe("answer", json!({"sdp": offer}))?;
    let answer = studio.answer(offerer, &answer, &json!({}))?;
    sides[0].page.call("accept", json!({"sdp": answer})).map(drop)
}

/// The caller restarts ICE, then the callee; media flows before, between and after.
fn restart(kind: Kind, folder: &Path) -> Result<String, String> {
    with_pair(kind, folder, json!({"video": true}), &bundled(), |studio, sides| {
        let media = ["audioPackets", "framesDecoded"];
        for (offerer, [from, to]) in [(Role::Caller, [0, 1]), (Role::Callee, [1, 0])] {
            exchange(studio, [&sides[from], &sides[to]], offerer, &bundled(), json!({"restart": true}))?;
            for side in sides {
                side.wait_for_connection()?;
                // So much takes longer than the old path would carry media without a check that succeeds.
                side.wait_for_growth(&media, 30)?;
                side.wait_for_tone()?;
            }
        }
        Ok("media goes on after both".into())
    })
}

/// Audio first; then each side adds video, hold, and resume.
fn renegotiate(kind: Kind, folder: &Path) -> Result<String, String> {
    with_pair(kind, folder, json!({}), &bundled(), |studio, sides| {
        let flags = bundled();
        let pair = [&sides[0], &sides[1]];
        sides.iter().try_for_each(|side| side.page.call("addVideo", json!({})).map(drop))?;
        exchange(studio, pair, Role::Caller, &flags, json!({}))?;
        for side in sides {
            side.wait_for_growth(&["audioPackets", "framesDecoded"], 10)?;
        }

        sides[0].page.call("direct", json!({"direction": "inactive"}))?;
        exchange(studio, pair, Role::Caller, &flags, json!({}))?;
        std::thread::sleep(std::time::Duration::from_millis(300));
        let held = [sides[0].statistics()?, sides[1].statistics()?];
        std::thread::sleep(std::time::Duration::from_millis(500));
        for (side, before) in sides.iter().zip(&held) {
            let now = side.statistics()?;
            if now["audioPackets"] != before["audioPackets"] {
                return Err(format!("audio on hold: {before}, then {now}"));
            }
        }

        sides.iter().try_for_each(|side| side.page.call("direct", json!({"direction": "sendrecv"})).map(drop))?;
        exchange(studio, pair, Role::Caller, &flags, json!({}))?;
        for side in sides {
            side.wait_for_growth(&["audioPackets", "framesDecoded"], 10)?;
            side.wait_for_tone()?;
        }
        Ok("video came, all stopped on hold and went on".into())
    })
}

/// Offer and answer without candidates; they follow one by one (RFC 8840).
fn trickle(kind: Kind, folder: &Path) -> Result<String, String> {
    with_studio(kind, folder, |studio| {
        let browsers = [studio.browser(Role::Caller)?, studio.browser(Role::Callee)?];
        let sides =
            [Side::open(&browsers[0], Role::Caller, json!({}))?, Side::open(&browsers[1], Role::Callee, json!({}))?];
        let offer = sides[0].describe("offer", json!({"trickle": true}))?;
        let offer = studio.offer(Role::Caller, &offer, &first(bundled()))?;
        let answer = sides[1].describe("answer", json!({"sdp": offer, "trickle": true}))?;
        let answer = studio.answer(Role::Caller, &answer, &json!({}))?;
        sides[0].page.call("accept", json!({"sdp": answer}))?;
        let mut count = 0;
        for (side, role) in sides.iter().zip([Role::Caller, Role::Callee]) {
            for candidate in side.page.call("trickled", json!({}))?.as_array().into_iter().flatten() {
                let text = |name: &str| candidate[name].as_str().unwrap_or_default();
                let fragment = format!(
                    "a=ice-ufrag:{}\r\na=ice-pwd:{}\r\nm=audio 9 RTP/AVP 0\r\na=mid:{}\r\na={}\r\n",
                    text("ufrag"),
                    text("pwd"),
                    text("mid"),
                    text("candidate")
                );
                studio.fragment(role, &fragment)?;
                count += 1;
            }
        }
        for side in &sides {
            side.wait_for_connection()?;
            side.wait_for_tone()?;
        }
        Ok(format!("{count} candidates followed; tones both ways"))
    })
}
