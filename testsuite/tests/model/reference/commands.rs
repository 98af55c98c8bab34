//! Receivers' answers, parties that are created, muting, injection.

use super::{Link, Media, Place, Reference, Role, body};
use crate::action::{Line, Muting, Whom};
use serde_json::{Value, json};

/// One answers every line with the kind that it was shown.
fn filled(medias: &[Media], lines: &[Line]) -> Vec<Line> {
    let fill = |(index, media): (usize, &Media)| {
        let plain = Line { kind: "audio", direction: "recvonly", is_rejected: false, is_muxed: false, port: 9000 };
        Line { kind: media.kind, ..lines.get(index).copied().unwrap_or(plain) }
    };
    medias.iter().enumerate().map(fill).collect()
}

impl Reference {
    pub(super) fn answer_subscription(&mut self, viewer: &str, lines: &[Line]) -> Option<(Value, bool)> {
        let lines = filled(&self.party(viewer)?.medias, lines);
        let request = json!({"command": "subscribe answer", "to-tag": viewer, "sdp": body(viewer, &lines)});
        self.complete(viewer, &lines);
        Some((request, true))
    }

    /// Takes the answer to an offer that was made here.
    fn complete(&mut self, name: &str, lines: &[Line]) {
        self.describe(name, lines);
        for media in self.party_mut(name).expect("a party").medias.iter_mut().filter(|media| media.is_rejected) {
            media.is_open = false;
        }
    }

    /// A viewer leaves the call, a party only what it was subscribed to; from one party it loses everything.
    pub(super) fn unsubscribe(&mut self, of: &str, from: Option<&str>, is_both_ways: bool) -> (Value, bool) {
        let mut request = json!({"command": "unsubscribe", "to-tag": of});
        let mut flags = Vec::new();
        if let Some(from) = from {
            request["from-tag"] = json!(from);
            flags.push("directional");
        }
        if is_both_ways {
            flags.push("bidirectional");
        }
        request["flags"] = json!(flags);
        if !self.has_tag(of) || from.is_some_and(|from| !self.has_tag(from)) {
            return (request, false);
        }
        let is_viewer = self.party(of).is_some_and(|party| party.role == Role::Viewer);
        match from {
            Some(from) => {
                let is_between = |source: &Place, sink: &Place| source.0 == from && sink.0 == of;
                self.end(|link| {
                    is_between(&link.source, &link.sink) || is_both_ways && is_between(&link.sink, &link.source)
                });
            }
            None if is_viewer => {
                self.parties.retain(|party| party.name != of);
                self.links.retain(|link| link.source.0 != of && link.sink.0 != of);
            }
            None => {
                let is_own = |link: &Link| link.sink.0 == of || is_both_ways && link.source.0 == of;
                self.end(|link| link.is_subscription && is_own(link));
            }
        }
        (request, true)
    }

    pub(super) fn create(&mut self, name: &str, kinds: &[&'static str]) -> Option<(Value, bool)> {
        if self.party(name).is_some_and(|party| party.pending_of.is_some()) {
            return None;
        }
        let codec = |kind: &str| if kind == "audio" { "PCMA" } else { "H264" };
        let medias: Vec<Value> = kinds.iter().map(|kind| json!({"type": kind, "codecs": [codec(kind)]})).collect();
        let request = json!({"command": "create", "from-tag": name, "medias": medias});
        self.add(name, Role::Publisher, None);
        if self.party(name)?.medias.is_empty() {
            kinds.iter().for_each(|kind| drop(self.add_media(name, kind)));
        }
        for media in &mut self.party_mut(name)?.medias {
            media.is_open = !media.is_rejected && media.kind != "message";
        }
        let is_ok = self.party(name)?.medias.iter().any(|media| media.is_open);
        Some((request, is_ok))
    }

    pub(super) fn answer_creation(&mut self, name: &str, lines: &[Line]) -> Option<(Value, bool)> {
        let lines = filled(&self.party(name).filter(|party| party.pending_of.is_none())?.medias, lines);
        let request = json!({"command": "create answer", "from-tag": name, "sdp": body(name, &lines)});
        self.complete(name, &lines);
        Some((request, true))
    }

    pub(super) fn mute(
        &mut self,
        what: Muting,
        is_on: bool,
        whom: Whom,
        party_name: impl Fn(usize) -> String,
    ) -> (Value, bool) {
        let command = match (what, is_on) {
            (Muting::Media, true) => "block media",
            (Muting::Media, false) => "unblock media",
            (Muting::Dtmf, true) => "block DTMF",
            (Muting::Dtmf, false) => "unblock DTMF",
            (Muting::Silence, true) => "silence media",
            (Muting::Silence, false) => "unsilence media",
        };
        let mut request = json!({"command": command});
        match whom {
            Whom::Call => {}
            Whom::Everybody => request["flags"] = json!(["all"]),
            Whom::Party(from) | Whom::Flow(from, _) => {
                request["flags"] = json!(["directional"]);
                request["from-tag"] = json!(party_name(from));
            }
        }
        let is_ok = match whom {
            Whom::Call | Whom::Everybody => self.mute_call(what, is_on, whom == Whom::Everybody),
            Whom::Flow(from, to) if what != Muting::Dtmf => {
                request["to-tag"] = json!(party_name(to));
                self.mute_flows(what, is_on, &party_name(from), &party_name(to))
            }
            Whom::Party(from) | Whom::Flow(from, _) => self.mute_party(what, is_on, &party_name(from)),
        };
        (request, is_ok)
    }

    fn mute_call(&mut self, what: Muting, is_on: bool, is_all: bool) -> bool {
        match what {
            Muting::Media => self.blocks_media = is_on,
            Muting::Dtmf => self.blocks_dtmf = is_on,
            Muting::Silence => {}
        }
        let unblocks_all = !is_on && is_all;
        for party in &mut self.parties {
            match what {
                Muting::Media => party.blocks_media &= !unblocks_all,
                Muting::Dtmf => party.blocks_dtmf &= !unblocks_all,
                Muting::Silence => party.is_silenced = is_on,
            }
        }
        if self.parties.is_empty() {
            *self = Reference::default();
        }
        !self.parties.is_empty()
    }

    fn mute_party(&mut self, what: Muting, is_on: bool, name: &str) -> bool {
        let Some(party) = self.party_mut(name).filter(|party| party.pending_of.is_none()) else { return false };
        match what {
            Muting::Media => party.blocks_media = is_on,
            Muting::Dtmf => party.blocks_dtmf = is_on,
            Muting::Silence => party.is_silenced = is_on,
        }
        true
    }

    fn mute_flows(&mut self, what: Muting, is_on: bool, from: &str, to: &str) -> bool {
        if !self.has_tag(from) || !self.has_tag(to) {
            return false;
        }
        let mut is_any = false;
        for link in self.links.iter_mut().filter(|link| link.source.0 == from && link.sink.0 == to) {
            match what {
                Muting::Silence => link.is_silenced = is_on,
                Muting::Media | Muting::Dtmf => link.is_blocked = is_on,
            }
            is_any = true;
        }
        is_any
    }

    /// Gives `to` the audio of `source`; false when it would have to be mixed with what `to` hears.
    pub fn inject(&mut self, source: &str, to: &str) -> bool {
        let mut pairs = self.connectable(source, to);
        pairs.retain(|(place, _)| self.media(place).kind == "audio");
        let is_other = |link: &Link, pair: &(Place, Place)| {
            link.sink == pair.1 && (link.source != pair.0 || !link.is_subscription || link.is_egress)
        };
        let is_mixed =
            |pair: &(Place, Place)| self.links.iter().any(|link| is_other(link, pair) && self.is_heard(link));
        if source == to || pairs.is_empty() || pairs.iter().any(is_mixed) {
            return false;
        }
        pairs.iter().for_each(|(source, sink)| self.link(Link::new(source, sink, true)));
        true
    }

    fn is_heard(&self, link: &Link) -> bool {
        let (source, sink) = (self.media(&link.source), self.media(&link.sink));
        let speaker = self.party(&link.source.0).expect("a party");
        let is_muted =
            self.blocks_media || speaker.blocks_media || speaker.is_silenced || link.is_blocked || link.is_silenced;
        source.sends && sink.receives && !source.is_rejected && !link.is_paused && !is_muted
    }

    /// Source and sink of one of the flows that `inject stop` ends.
    pub(super) fn injection(&self, which: usize) -> Option<(String, String)> {
        let is_injection =
            |link: &&Link| link.is_subscription && !link.is_egress && self.media(&link.source).kind == "audio";
        let list: Vec<&Link> = self.links.iter().filter(is_injection).collect();
        let link = list.get(which % list.len().max(1))?;
        Some((link.source.0.clone(), link.sink.0.clone()))
    }

    pub(super) fn stop_injection(&mut self, to: &str, source: &str) -> (Value, bool) {
        let request = json!({"command": "inject stop", "to-tag": to, "source-tag": source});
        if !self.has_tag(to) || !self.has_tag(source) {
            return (request, false);
        }
        let audio: Vec<Place> = (self.links.iter().map(|link| link.source.clone()))
            .filter(|place| self.media(place).kind == "audio")
            .collect();
        let ended = self.end(|link| {
            let is_injection = link.is_subscription && !link.is_egress && audio.contains(&link.source);
            is_injection && link.source.0 == source && link.sink.0 == to
        });
        (request, ended > 0)
    }
}
