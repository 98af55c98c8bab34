//! A browser's call with a plain phone, recorded by one recorder from its first packet on, and by another that takes
//! keys, pauses and talks where nobody listens.

use super::phone::Phone;
use super::studio::{Side, Studio, with_studio};
use super::{PCMU, browser_to};
use crate::sip::Role;
use millrace_testsuite::daemon::Kind;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

/// In the order of a recording's lines.
const SPEAKERS: [Role; 2] = [Role::Caller, Role::Callee];
/// What is under way arrives in this time.
const SETTLING: Duration = Duration::from_millis(300);
/// How long a pause lasts.
const PAUSE: Duration = Duration::from_millis(700);

pub(super) fn run(kind: Kind, folder: &Path) -> Result<String, String> {
    with_studio(kind, folder, |studio| {
        let browser = studio.browser(Role::Caller)?;
        let caller = Side::open(&browser, Role::Caller, json!({"audioCodecs": [PCMU]}))?;
        let phone = Phone::new(studio, "RTP/AVP")?;
        let offer = caller.describe("offer", json!({}))?;
        let offer = studio.offer(Role::Caller, &offer, &browser_to("RTP/AVP"))?;
        let answer = studio.answer(Role::Caller, &phone.answer(&offer)?, &json!({}))?;
        // The browser cannot send anything yet, so that this one misses nothing.
        let first = Recorder::begin(studio, "RTP/AVP", 7000)?;
        caller.page.call("accept", json!({"sdp": answer}))?;
        caller.wait_for_connection()?;
        caller.wait_for_tone()?;
        first.wait_for_tones()?;

        let mut second = Recorder::begin(studio, "RTP/SAVP", 7100)?;
        second.wait_for_tones()?;
        second.ask(studio, json!(["all", "siprec", "inactive"]))?;
        std::thread::sleep(SETTLING);
        let before = second.packets();
        std::thread::sleep(PAUSE);
        if second.packets() != before {
            return Err(format!("paused at {before:?}, it has {:?} packets", second.packets()));
        }
        second.ask(studio, json!(["all", "siprec"]))?;
        std::thread::sleep(SETTLING);
        second.wait_for_tones()?;
        if second.packets().iter().zip(before).any(|(now, before)| *now <= before) {
            return Err(format!("resumed at {before:?}, it has {:?} packets", second.packets()));
        }
        second.end(studio)?;
        caller.wait_for_tone()?;
        phone.wait_for_tone()?;

        let heard_by_browser = caller.statistics()?["audioPackets"].as_u64().unwrap_or(0);
        studio.ask("delete", json!({}))?;
        std::thread::sleep(SETTLING);
        let heard = phone.heard();
        let [up, down] = first.packets();
        let gaps = first.lines.each_ref().map(|line| line.heard().gaps);
        if up != heard.packets || (down as u64) < heard_by_browser || gaps != [0, 0] {
            return Err(format!(
                "the phone got {} packets and the browser {heard_by_browser}, the recorder {up} and {down}, gaps {gaps:?}",
                heard.packets
            ));
        }
        Ok(format!("{up} packets of the browser and {down} of the phone recorded, without a gap; tones on both lines"))
    })
}

/// A recorder with a line for each party.
struct Recorder {
    lines: [Phone; 2],
    to_tag: Option<String>,
    protocol: &'static str,
}

impl Recorder {
    /// Begins at `port` and the one after next.
    fn begin(studio: &Studio, protocol: &'static str, port: u16) -> Result<Recorder, String> {
        let line = |port| Phone::recorder(studio, port, protocol);
        let mut recorder = Recorder { lines: [line(port)?, line(port + 2)?], to_tag: None, protocol };
        recorder.ask(studio, json!(["all", "siprec"]))?;
        Ok(recorder)
    }

    /// Asks for a subscription, or anew for the one it has, and answers.
    fn ask(&mut self, studio: &Studio, flags: Value) -> Result<(), String> {
        let mut request = json!({
            "flags": flags, "transport-protocol": self.protocol, "ICE": "remove", "DTLS": "off", "rtcp-mux": ["demux"],
            "received-from": ["IP4", "0.0.0.0"], "from-tag": "1",
        });
        if let Some(tag) = &self.to_tag {
            request["to-tag"] = tag.as_str().into();
        }
        let reply = studio.ask("subscribe request", request)?;
        let offer = reply["sdp"].as_str().ok_or("no sdp")?;
        let tag = reply["to-tag"].as_str().ok_or("no to-tag")?.to_owned();
        let (session, medias) = offer.split_once("m=").ok_or("no media")?;
        let mut answer = String::new();
        for (line, media) in self.lines.iter().zip(medias.split("m=")) {
            let own = if self.protocol == "RTP/AVP" {
                // A plain recorder stays silent.
                line.offer()
            } else {
                line.answer(&format!("{session}m={media}"))?
            };
            let at = if answer.is_empty() { 0 } else { own.find("m=").ok_or("no media")? };
            answer.push_str(&own[at..]);
            answer.push_str("a=recvonly\r\n");
        }
        studio.ask("subscribe answer", json!({"to-tag": tag, "from-tag": "callee", "sdp": answer}))?;
        self.to_tag = Some(tag);
        Ok(())
    }

    fn end(&self, studio: &Studio) -> Result<(), String> {
        studio.ask("unsubscribe", json!({"to-tag": self.to_tag, "from-tag": "callee"})).map(drop)
    }

    /// Waits until each line carries the tone of its party.
    fn wait_for_tones(&self) -> Result<(), String> {
        self.lines.iter().zip(SPEAKERS).try_for_each(|(line, speaker)| line.wait_for_tone_of(speaker))?;
        let refused = self.lines.iter().map(|line| line.heard().refused).sum::<usize>();
        if refused == 0 { Ok(()) } else { Err(format!("{refused} packets with other keys")) }
    }

    fn packets(&self) -> [usize; 2] {
        self.lines.each_ref().map(|line| line.heard().packets)
    }
}
