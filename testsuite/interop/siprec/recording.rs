//! A recorder with a line for each party: what it is offered, what it answers, what it hears.

use super::proxy::{CALLEE_TAG, CALLER_TAG, Proxy, Wanted};
use super::room::Room;
use millrace::base::suite::Suite;
use millrace_testsuite::peer::{Keying, new_contexts};
use serde_json::Value;
use std::sync::atomic::{AtomicU16, Ordering};

/// A recorder, which leaves its ports when the value goes out of scope.
pub struct Recording<'a> {
    room: &'a Room<'a>,
    proxy: &'a Proxy,
    to_tag: String,
    /// Positions of its legs in the room, the caller's first; none for a line that was declined.
    legs: Vec<Option<usize>>,
    /// The offer that it answered last.
    offer: String,
}

impl<'a> Recording<'a> {
    /// Begins with both lines.
    pub fn begin(room: &'a Room, proxy: &'a Proxy, wanted: Wanted) -> Result<Recording<'a>, String> {
        Recording::begin_without(room, proxy, wanted, [false; 2])
    }

    /// Begins; the recorder declines the lines that `declines` says.
    pub fn begin_without(
        room: &'a Room,
        proxy: &'a Proxy,
        wanted: Wanted,
        declines: [bool; 2],
    ) -> Result<Recording<'a>, String> {
        let reply = proxy.subscribe(wanted)?;
        let offer = check(&reply, wanted)?;
        let to_tag = reply["to-tag"].as_str().ok_or("no to-tag")?.to_owned();
        let mut recording = Recording { room, proxy, to_tag, legs: Vec::new(), offer };
        recording.open_ports(declines)?;
        recording.answer(wanted)?;
        recording.wait_for_keys(wanted)?;
        Ok(recording)
    }

    fn open_ports(&mut self, declines: [bool; 2]) -> Result<(), String> {
        self.legs.clear();
        for (line, section) in sections(&self.offer).iter().enumerate() {
            let keying = keying_of(section)?;
            self.legs.push(if declines[line] { None } else { Some(self.room.add_leg(new_port(), line, keying)?) });
        }
        Ok(())
    }

    fn wait_for_keys(&self, wanted: Wanted) -> Result<(), String> {
        if !wanted.protocol.is_some_and(|protocol| protocol.contains("TLS")) {
            return Ok(());
        }
        let legs: Vec<usize> = self.legs.iter().flatten().copied().collect();
        self.room.wait_for("handshakes", |people| legs.iter().all(|leg| people.legs[*leg].is_ready()))?;
        // The daemon has its keys when the recorder has them, or a moment later.
        self.room.talk(10)
    }

    /// Sends a re-INVITE with other ports: its description comes as an answer, and what it is shown in return is asked
    /// for anew, without another answer.
    pub fn move_away(&mut self, wanted: Wanted) -> Result<(), String> {
        self.open_ports([false; 2])?;
        self.answer(wanted)?;
        self.ask_anew(wanted)?;
        self.wait_for_keys(wanted)
    }

    /// Is asked anew, as after a re-INVITE: the ports must stay as they are.
    pub fn refresh(&mut self, wanted: Wanted) -> Result<(), String> {
        self.ask_anew(wanted)?;
        self.answer(wanted)
    }

    fn ask_anew(&mut self, wanted: Wanted) -> Result<(), String> {
        let to_tag = self.to_tag.clone();
        let wanted = Wanted { to_tag: Some(&to_tag), ..wanted };
        let reply = self.proxy.subscribe(wanted)?;
        let offer = check(&reply, wanted)?;
        if reply["to-tag"] != self.to_tag.as_str() || ports(&offer) != ports(&self.offer) {
            return Err(format!("asked anew, it is another: {:?}, then {:?}", ports(&self.offer), ports(&offer)));
        }
        self.offer = offer;
        Ok(())
    }

    fn answer(&mut self, wanted: Wanted) -> Result<(), String> {
        let direction = if wanted.is_paused { "a=inactive" } else { "a=recvonly" };
        let mut answer = String::new();
        for (section, leg) in sections(&self.offer).iter().zip(&self.legs) {
            let label = attribute(section, "label").unwrap_or_default();
            let own = match leg {
                Some(leg) => self.room.people().legs[*leg].answer(section)?,
                None => declined(section),
            };
            let media = own.find("m=").ok_or("an answer without a media line")?;
            if answer.is_empty() {
                answer.push_str(&own[..media]);
            }
            answer.push_str(&own[media..].replace("a=sendrecv", direction));
            answer.push_str(&format!("a=label:{label}\r\n"));
        }
        let reply = self.proxy.subscribe_answer(&self.to_tag, &answer)?;
        if reply["result"] == "ok" { Ok(()) } else { Err(format!("subscribe answer: {reply}\n{answer}")) }
    }

    /// Is ended by the SIP server.
    pub fn end(&self) -> Result<(), String> {
        let reply = self.proxy.unsubscribe(&self.to_tag)?;
        if reply["result"] == "ok" { Ok(()) } else { Err(format!("unsubscribe: {reply}")) }
    }

    /// Goes away without a word: what is sent to it is refused by its host.
    pub fn close_ports(&self) -> Result<(), String> {
        let mut people = self.room.people();
        self.legs.iter().flatten().try_for_each(|leg| people.legs[*leg].hang_up()).map_err(|error| error.to_string())
    }

    /// That each line has every packet numbered from `from` to `to`; how many these are.
    pub fn check_whole(&self, from: [u32; 2], to: [u32; 2], part: &str) -> Result<u32, String> {
        let mut sum = 0;
        for (line, leg) in self.lines() {
            sum += to[line] - from[line];
            let missing =
                |leg: usize| move |people: &super::room::People| people.legs[leg].hearing.missing(from[line], to[line]);
            let complete = self.room.wait_for("record", |people| missing(leg)(people) == 0);
            complete.map_err(|why| {
                let (lacks, of) = (missing(leg)(&self.room.people()), to[line] - from[line]);
                format!("{part}, line {line} lacks {lacks} of {of} packets: {why}")
            })?;
        }
        Ok(sum)
    }

    /// That no line has a packet numbered from `from` to `to`.
    pub fn check_silent(&self, from: [u32; 2], to: [u32; 2], part: &str) -> Result<(), String> {
        let people = self.room.people();
        for (line, leg) in self.lines() {
            let sent = to[line].saturating_sub(from[line]);
            let heard = sent as usize - people.legs[leg].hearing.missing(from[line], to[line]);
            if sent == 0 || heard > 0 {
                return Err(format!("{part}, line {line} got {heard} of {sent} packets"));
            }
        }
        Ok(())
    }

    /// That nothing came twice, damaged, of anybody else, or with keys that do not fit.
    pub fn check_clean(&self) -> Result<(), String> {
        let people = self.room.people();
        for (line, leg) in self.lines() {
            let leg = &people.legs[leg];
            let others = (leg.hearing.duplicates, leg.hearing.strangers, leg.refused);
            if others != (0, 0, 0) || !leg.failures.is_empty() {
                return Err(format!("line {line} got {others:?} twice, strange, refused; {:?}", leg.failures));
            }
        }
        Ok(())
    }

    fn lines(&self) -> impl Iterator<Item = (usize, usize)> {
        self.legs.iter().enumerate().filter_map(|(line, leg)| Some((line, (*leg)?)))
    }
}

/// A port of the recorder that no other leg has had.
fn new_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(7000);
    NEXT.fetch_add(2, Ordering::Relaxed)
}

/// Checks what OpenSIPS reads of a reply; gives the offer.
fn check(reply: &Value, wanted: Wanted) -> Result<String, String> {
    let wrong = |what: &str| format!("{what} in {reply}");
    let offer = reply["sdp"].as_str().ok_or_else(|| wrong("no sdp"))?;
    let entries = reply["tag-medias"].as_array().ok_or_else(|| wrong("no tag-medias"))?;
    let sections = sections(offer);
    if sections.len() != 2 || entries.len() != 2 {
        return Err(wrong("not two lines"));
    }
    let direction = if wanted.is_paused { "a=inactive" } else { "a=sendonly" };
    for ((section, entry), tag) in sections.iter().zip(entries).zip([CALLER_TAG, CALLEE_TAG]) {
        let label = entry["medias"][0]["label"].as_str().ok_or_else(|| wrong("no label"))?;
        let named = &reply["media-labels"][label];
        if label.parse::<u32>().is_err() || attribute(section, "label") != Some(label) {
            return Err(wrong("a label that is no number, or not that of its line"));
        }
        if entry["tag"] != tag || named["tag"] != tag || entry["medias"][0]["mode"] != "sendrecv" {
            return Err(wrong("another tag or mode"));
        }
        if !section.lines().any(|line| line == direction) {
            return Err(wrong("another direction"));
        }
    }
    Ok(offer.to_owned())
}

/// Each media section, as a description of its own.
fn sections(sdp: &str) -> Vec<String> {
    let mut parts = sdp.split("m=");
    let session = parts.next().unwrap_or_default();
    parts.map(|part| format!("{session}m={part}")).collect()
}

fn attribute<'a>(section: &'a str, name: &str) -> Option<&'a str> {
    let lines = section.lines().filter_map(|line| line.strip_prefix("a="));
    lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(':')).next()
}

/// The ports of the media lines.
fn ports(sdp: &str) -> Vec<&str> {
    sdp.lines().filter_map(|line| line.strip_prefix("m=")?.split(' ').nth(1)).collect()
}

/// What a recorder that takes what it is offered does about keys.
fn keying_of(section: &str) -> Result<Keying, String> {
    let line = section.lines().find(|line| line.starts_with("m=")).unwrap_or_default();
    match line.split(' ').nth(2) {
        Some("RTP/AVP") => Ok(Keying::Plain),
        Some("RTP/SAVP") => Ok(Keying::Sdes(vec![Suite::AesCm128Sha1_80])),
        Some("UDP/TLS/RTP/SAVP") => Ok(Keying::Dtls(new_contexts()?)),
        _ => Err(format!("an unexpected protocol: {line}")),
    }
}

/// The answer to a line that is not wanted (RFC 3264, section 6).
fn declined(section: &str) -> String {
    let line = section.lines().find(|line| line.starts_with("m=")).unwrap_or_default();
    let kept: Vec<&str> = line.split(' ').skip(2).collect();
    format!(
        "v=0\r\no=- 4711 1 IN IP4 203.0.113.10\r\ns=-\r\nc=IN IP4 203.0.113.10\r\nt=0 0\r\nm=audio 0 {}\r\n",
        kept.join(" ")
    )
}
