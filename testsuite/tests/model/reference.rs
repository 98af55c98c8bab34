//! Who hears whom in one call, told by simple means.

mod commands;

use super::action::{Action, Line, PARTIES, Receiver, Sources, Way};
use millrace::call::Call;
use millrace::plan::Block;
use millrace_testsuite::simulation::lines;
use proptest::test_runner::TestCaseError;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;

/// A party's line, counted from one.
pub type Place = (String, usize);
/// From one line to another.
pub type Flow = (Place, Place);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Caller,
    Publisher,
    Viewer,
}

#[derive(Debug, Clone)]
struct Media {
    /// Counts the lines of the call in the order of their coming.
    number: usize,
    kind: &'static str,
    is_described: bool,
    is_rejected: bool,
    receives: bool,
    sends: bool,
    /// The party has been shown a port for it.
    is_open: bool,
}

#[derive(Debug, Clone)]
struct Party {
    name: String,
    role: Role,
    /// Whose offer waits for this party's first answer.
    pending_of: Option<String>,
    blocks_media: bool,
    blocks_dtmf: bool,
    is_silenced: bool,
    medias: Vec<Media>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Link {
    source: Place,
    sink: Place,
    is_subscription: bool,
    is_paused: bool,
    is_egress: bool,
    is_blocked: bool,
    is_silenced: bool,
}

/// One call.
#[derive(Debug, Clone, Default)]
pub struct Reference {
    parties: Vec<Party>,
    links: Vec<Link>,
    blocks_media: bool,
    blocks_dtmf: bool,
    next_number: usize,
}

impl Link {
    fn new(source: &Place, sink: &Place, is_subscription: bool) -> Link {
        Link {
            source: source.clone(),
            sink: sink.clone(),
            is_subscription,
            is_paused: false,
            is_egress: false,
            is_blocked: false,
            is_silenced: false,
        }
    }
}

impl Media {
    /// A line of which its owner has said nothing yet is what it is shown as.
    fn show(&mut self, kind: &'static str) {
        if !self.is_described {
            self.kind = kind;
        }
    }
}

impl Line {
    /// Fax and messages have no direction.
    fn receives(&self) -> bool {
        let has_direction = ["audio", "video"].contains(&self.kind);
        !has_direction || ["sendrecv", "recvonly"].contains(&self.direction)
    }

    fn sends(&self) -> bool {
        let has_direction = ["audio", "video"].contains(&self.kind);
        !has_direction || ["sendrecv", "sendonly"].contains(&self.direction)
    }
}

/// What passes neither passes not.
fn strictest(one: Option<Block>, other: Option<Block>) -> Option<Block> {
    match (one, other) {
        (Some(one), Some(other)) if one != other => Some(Block::All),
        (one, other) => one.or(other),
    }
}

fn body(name: &str, lines: &[Line]) -> String {
    let number = name.bytes().last().unwrap_or_default();
    let mut text =
        format!("v=0\r\no={name} 1 1 IN IP4 198.51.100.{number}\r\ns=-\r\nc=IN IP4 198.51.100.{number}\r\nt=0 0\r\n");
    for (index, line) in lines.iter().enumerate() {
        let port = if line.is_rejected { 0 } else { line.port + 2 * index as u16 };
        let mux = if line.is_muxed { "a=rtcp-mux\r\n" } else { "" };
        let direction = line.direction;
        let _ = match line.kind {
            "audio" => write!(text, "m=audio {port} RTP/AVP 8\r\na={direction}\r\n{mux}"),
            "video" => write!(text, "m=video {port} RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na={direction}\r\n{mux}"),
            "image" => write!(text, "m=image {port} udptl t38\r\n"),
            _ => write!(text, "m=message {port} TCP/MSRP *\r\n"),
        };
    }
    text
}

/// A party's tag. The last one has the same in every call.
pub fn party_name(call: usize, number: usize) -> String {
    if number + 1 == PARTIES { format!("p{number}") } else { format!("c{call}p{number}") }
}

fn viewer_name(call: usize, number: usize) -> String {
    format!("c{call}v{number}")
}

impl Reference {
    pub fn parties(&self) -> usize {
        self.parties.len()
    }

    fn party(&self, name: &str) -> Option<&Party> {
        self.parties.iter().find(|party| party.name == name)
    }

    fn party_mut(&mut self, name: &str) -> Option<&mut Party> {
        self.parties.iter_mut().find(|party| party.name == name)
    }

    fn media(&self, place: &Place) -> &Media {
        &self.party(&place.0).expect("a party").medias[place.1 - 1]
    }

    fn media_mut(&mut self, place: &Place) -> &mut Media {
        &mut self.party_mut(&place.0).expect("a party").medias[place.1 - 1]
    }

    /// How many subscriptions there are, whether anything flows or not.
    pub fn links(&self) -> usize {
        self.links.len()
    }

    /// Every flow, with what is blocked of it.
    pub fn flows(&self) -> BTreeMap<Flow, Option<Block>> {
        let mut flows = BTreeMap::new();
        for link in self.links.iter().filter(|link| !link.is_egress && self.media(&link.source).is_open) {
            let block = self.block_of(link);
            if self.media(&link.sink).is_open {
                flows.insert((link.source.clone(), link.sink.clone()), block);
            }
            let is_listener = |other: &&Link| other.is_egress && other.source == link.sink;
            for listener in self.links.iter().filter(is_listener) {
                if self.media(&listener.sink).is_open && listener.sink != link.source {
                    let block = strictest(block, self.block_of_listener(listener));
                    // Of two reasons to hear, the better one counts.
                    let flow = flows.entry((link.source.clone(), listener.sink.clone())).or_insert(block);
                    *flow = flow.and(block);
                }
            }
        }
        flows
    }

    fn block_of(&self, link: &Link) -> Option<Block> {
        let (source, sink) = (self.media(&link.source), self.media(&link.sink));
        let speaker = self.party(&link.source.0).expect("a party");
        if source.is_rejected || sink.is_rejected || !sink.receives || link.is_paused {
            return Some(Block::All);
        }
        let is_dropped = self.blocks_media || speaker.blocks_media || link.is_blocked;
        let is_silenced = speaker.is_silenced || link.is_silenced;
        match (is_dropped, is_silenced, self.blocks_dtmf || speaker.blocks_dtmf) {
            (true, _, true) => Some(Block::All),
            (true, _, false) => Some(Block::Media),
            (false, true, true) => Some(Block::SilenceWithoutEvents),
            (false, true, false) => Some(Block::Silence),
            (false, false, true) => Some(Block::Dtmf),
            (false, false, false) => None,
        }
    }

    fn block_of_listener(&self, link: &Link) -> Option<Block> {
        let sink = self.media(&link.sink);
        if sink.is_rejected || !sink.receives || link.is_paused {
            return Some(Block::All);
        }
        let silence = link.is_silenced.then_some(Block::Silence);
        if link.is_blocked { Some(Block::Media) } else { silence }
    }

    /// Carries an action out under the call-id of number `call`; returns the request and whether it succeeds. None when
    /// it makes no sense in this state, or is about several calls.
    pub fn apply(&mut self, call: usize, action: &Action) -> Option<(Value, bool)> {
        let party_name = |number: usize| party_name(call, number);
        let viewer_name = |number: usize| viewer_name(call, number);
        match action {
            Action::Offer { from, to, lines, is_ip6 } => {
                self.offer(&party_name(*from), &party_name(*to), lines, *is_ip6)
            }
            Action::Answer { from, to, lines } => self.answer(&party_name(*from), &party_name(*to), lines),
            Action::Publish { from, lines } => self.publish(&party_name(*from), lines),
            Action::Subscribe { viewer, sources, way, is_mixed, is_paused } => {
                let sources: Option<Vec<String>> = match sources {
                    Sources::All => None,
                    Sources::One(number) => Some(vec![party_name(*number)]),
                    Sources::Several(numbers) => Some(numbers.iter().copied().map(party_name).collect()),
                };
                Some(self.subscribe(&viewer_name(*viewer), sources, *way, *is_mixed, *is_paused))
            }
            Action::SubscribeAnswer { viewer, lines } => self.answer_subscription(&viewer_name(*viewer), lines),
            Action::Unsubscribe { of, from, is_bidirectional } => {
                let of = match of {
                    Receiver::Viewer(number) => viewer_name(*number),
                    Receiver::Party(number) => party_name(*number),
                };
                Some(self.unsubscribe(&of, from.map(party_name).as_deref(), *is_bidirectional))
            }
            Action::Create { party, kinds } => self.create(&party_name(*party), kinds),
            Action::CreateAnswer { party, lines } => self.answer_creation(&party_name(*party), lines),
            Action::Mute { what, is_on, whom } => Some(self.mute(*what, *is_on, *whom, party_name)),
            Action::InjectStop { which, to, source } => {
                let named = (party_name(*source), party_name(*to));
                let (source, to) = self.injection(*which).unwrap_or(named);
                Some(self.stop_injection(&to, &source))
            }
            Action::DeleteParty { party } => {
                let name = party_name(*party);
                let is_known = self.party(&name).is_some_and(|party| party.pending_of.is_none());
                let request = json!({"command": "delete", "from-tag": name, "delete delay": 0, "flags": ["fatal"]});
                Some((request, is_known))
            }
            Action::DeleteCall => {
                let request = json!({"command": "delete", "delete delay": 0, "flags": ["fatal"]});
                Some((request, !self.parties.is_empty()))
            }
            Action::Connect { .. } | Action::Mesh { .. } | Action::InjectStart { .. } | Action::Move => None,
        }
    }

    /// Forgets who is gone after a delete.
    pub fn remain(&mut self, call: Option<&Call>) {
        if call.is_none() {
            *self = Reference::default();
        }
        let is_there = |party: &Party| {
            let Some(call) = call else { return false };
            let is_pending = |other: &millrace::call::Participant| {
                other.tag.is_none() && other.via_branch.as_deref() == Some(&party.name)
            };
            match party.pending_of {
                None => call.find_tag(&party.name).is_some(),
                Some(_) => call.participants().any(|(_, other)| is_pending(other)),
            }
        };
        self.parties.retain(is_there);
        let names: Vec<String> = self.parties.iter().map(|party| party.name.clone()).collect();
        self.links.retain(|link| names.contains(&link.source.0) && names.contains(&link.sink.0));
    }

    fn add(&mut self, name: &str, role: Role, pending_of: Option<&str>) {
        if self.party(name).is_none() {
            let pending_of = pending_of.map(str::to_owned);
            self.parties.push(Party {
                name: name.to_owned(),
                role,
                pending_of,
                blocks_media: false,
                blocks_dtmf: false,
                is_silenced: false,
                medias: Vec::new(),
            });
        }
    }

    fn add_media(&mut self, name: &str, kind: &'static str) -> Place {
        let media = Media {
            number: self.next_number,
            kind,
            is_described: false,
            is_rejected: false,
            receives: true,
            sends: true,
            is_open: false,
        };
        self.next_number += 1;
        let party = self.party_mut(name).expect("a party");
        party.medias.push(media);
        (name.to_owned(), party.medias.len())
    }

    /// Takes in a description.
    fn describe(&mut self, name: &str, lines: &[Line]) {
        for (index, line) in lines.iter().enumerate() {
            if self.party(name).is_some_and(|party| party.medias.len() == index) {
                self.add_media(name, line.kind);
            }
            let media = self.media_mut(&(name.to_owned(), index + 1));
            media.kind = line.kind;
            media.is_described = true;
            media.is_rejected = line.is_rejected;
            (media.receives, media.sends) = (line.receives(), line.sends());
        }
        for media in self.party_mut(name).expect("a party").medias.iter_mut().skip(lines.len()) {
            media.is_rejected = true;
        }
    }

    /// The line of `other` that exchanges offers and answers with a line.
    fn partner(&self, place: &Place, other: &str) -> Option<Place> {
        let is_of = |link: &&Link| !link.is_subscription && link.source == *place && link.sink.0 == other;
        self.links.iter().find(is_of).map(|link| link.sink.clone())
    }

    /// One flow has one link; an exchange takes the place of a subscription.
    fn link(&mut self, link: Link) {
        let flow = |other: &Link| (other.source.clone(), other.sink.clone(), other.is_egress);
        match self.links.iter_mut().find(|other| flow(other) == flow(&link)) {
            Some(present) if present.is_subscription && !link.is_subscription => *present = link,
            Some(_) => {}
            None => self.links.push(link),
        }
    }

    /// Whether a tag names somebody here and in `other`; none when two are waited for under the same name, which
    /// cannot be told apart afterwards.
    pub fn collides_with(&self, other: &Reference) -> Option<bool> {
        let is_pending = |party: &Party| party.pending_of.is_some();
        let common = self.parties.iter().filter_map(|party| Some((party, other.party(&party.name)?)));
        let mut outcome = Some(false);
        for (own, other) in common {
            outcome = if is_pending(own) || is_pending(other) { None } else { return Some(true) };
        }
        outcome
    }

    /// Takes in everything of another call.
    pub fn absorb(&mut self, mut other: Reference) {
        let first = self.next_number;
        other.parties.iter_mut().flat_map(|party| &mut party.medias).for_each(|media| media.number += first);
        self.next_number += other.next_number;
        self.blocks_media |= other.blocks_media;
        self.blocks_dtmf |= other.blocks_dtmf;
        self.parties.append(&mut other.parties);
        self.links.append(&mut other.links);
    }

    /// Whether somebody with a tag has this name.
    pub fn has_tag(&self, name: &str) -> bool {
        self.party(name).is_some_and(|party| party.pending_of.is_none())
    }

    /// Ends what flows from `name`, and to it where it `is_both_ways`. Half an exchange is a subscription.
    pub fn unlink(&mut self, name: &str, is_both_ways: bool) {
        self.end(|link| link.source.0 == name || is_both_ways && link.sink.0 == name);
    }

    /// Ends the links for which `ends` is true; how many these are.
    fn end(&mut self, ends: impl Fn(&Link) -> bool) -> usize {
        let (ended, rest) = std::mem::take(&mut self.links).into_iter().partition(|link| ends(link));
        self.links = rest;
        let ended: Vec<Link> = ended;
        for link in &mut self.links {
            let is_other_way = |other: &Link| other.source == link.sink && other.sink == link.source;
            link.is_subscription |= ended.iter().any(|other| !other.is_subscription && is_other_way(other));
        }
        ended.len()
    }

    /// Joins two parties, by an exchange or by flows; false when there is nothing to join.
    pub fn connect(&mut self, from: &str, to: &str, is_exchange: bool, is_both_ways: bool) -> bool {
        let pairs = self.connectable(from, to);
        if from == to || pairs.is_empty() {
            return false;
        }
        if is_exchange {
            let is_party = |name: &str| name == from || name == to;
            self.links.retain(|link| link.is_subscription || is_party(&link.source.0) == is_party(&link.sink.0));
        }
        for (source, sink) in pairs {
            self.link(Link::new(&source, &sink, !is_exchange));
            if is_exchange || is_both_ways {
                self.link(Link::new(&sink, &source, !is_exchange));
            }
        }
        true
    }

    /// Lines of two parties that can be joined: partners stay partners, others go by their kind.
    fn connectable(&self, from: &str, to: &str) -> Vec<(Place, Place)> {
        let places = |name: &str| -> Vec<Place> {
            let count = self.party(name).map_or(0, |party| party.medias.len());
            (1..=count).map(|index| (name.to_owned(), index)).collect()
        };
        let is_usable = |place: &Place| {
            let media = self.media(place);
            media.is_described && !media.is_rejected && media.kind != "message"
        };
        let mut pairs: Vec<(Place, Place)> =
            places(from).into_iter().filter_map(|place| Some((place.clone(), self.partner(&place, to)?))).collect();
        for place in places(from).into_iter().filter(is_usable) {
            let is_taken = |other: &Place| pairs.iter().any(|pair| pair.0 == place || pair.1 == *other);
            let fits = |other: &Place| is_usable(other) && self.media(other).kind == self.media(&place).kind;
            let found = places(to).into_iter().find(|other| !is_taken(other) && fits(other));
            pairs.extend(found.map(|found| (place, found)));
        }
        let is_same_kind = |place: &Place, other: &Place| self.media(place).kind == self.media(other).kind;
        pairs.retain(|(place, other)| is_usable(place) && is_usable(other) && is_same_kind(place, other));
        pairs
    }

    /// Joins the lines of `from` to those of `to`; a line of `from` may stay alone in an answer.
    fn pair(&mut self, from: &str, to: &str, lines: &[Line], may_add: bool) -> Vec<(Place, Option<Place>)> {
        let mut pairs = Vec::new();
        for (index, line) in lines.iter().enumerate() {
            if self.party(from).is_some_and(|party| party.medias.len() == index) {
                self.add_media(from, line.kind);
            }
            let place = (from.to_owned(), index + 1);
            let partner = self.partner(&place, to).or_else(|| {
                let same = (to.to_owned(), index + 1);
                let is_there = self.party(to).is_some_and(|party| party.medias.len() > index);
                let same = Some(same).filter(|same| is_there && self.partner(same, from).is_none());
                let found = same.or_else(|| may_add.then(|| self.add_media(to, line.kind)))?;
                self.link(Link::new(&place, &found, false));
                self.link(Link::new(&found, &place, false));
                Some(found)
            });
            pairs.push((place, partner));
        }
        let count = self.party(from).map_or(0, |party| party.medias.len());
        for index in lines.len()..count {
            let place = (from.to_owned(), index + 1);
            let partner = self.partner(&place, to);
            pairs.push((place, partner));
        }
        pairs
    }

    fn offer(&mut self, from: &str, to: &str, lines: &[Line], is_ip6: bool) -> Option<(Value, bool)> {
        let sender = self.party(from);
        if from == to || sender.is_some_and(|party| party.pending_of.is_some()) {
            return None;
        }
        let is_pending = self.party(to).is_some_and(|party| party.pending_of.is_some());
        if is_pending && self.party(to).is_some_and(|party| party.pending_of.as_deref() != Some(from)) {
            return None;
        }
        let is_known = self.party(to).is_some() && !is_pending;
        let family = if is_ip6 { "IP6" } else { "IP4" };
        let mut request =
            json!({"command": "offer", "from-tag": from, "sdp": body(from, lines), "address family": family});
        let key = if is_known { "to-tag" } else { "via-branch" };
        request[key] = json!(to);
        if lines.is_empty() {
            return Some((request, false));
        }
        self.add(from, Role::Caller, None);
        self.add(to, Role::Caller, Some(from).filter(|_| !is_known));
        let pairs = self.pair(from, to, lines, true);
        self.describe(from, lines);
        for (place, partner) in pairs {
            let is_over = self.media(&place).is_rejected || self.media(&place).kind == "message";
            if let Some(partner) = partner {
                let kind = self.media(&place).kind;
                let media = self.media_mut(&partner);
                media.is_open = !is_over;
                media.show(kind);
            }
        }
        Some((request, lines.iter().any(|line| !line.is_rejected)))
    }

    fn answer(&mut self, from: &str, to: &str, lines: &[Line]) -> Option<(Value, bool)> {
        let is_pending = |party: &Party| party.pending_of.is_some();
        let answerer = self.party(to)?;
        if from == to || self.party(from).is_none_or(is_pending) {
            return None;
        }
        if answerer.pending_of.as_deref().is_some_and(|caller| caller != from) {
            return None;
        }
        let body = body(to, lines);
        let request = json!({"command": "answer", "from-tag": from, "to-tag": to, "via-branch": to, "sdp": body});
        if lines.is_empty() {
            return Some((request, false));
        }
        self.party_mut(to)?.pending_of = None;
        let may_add = self.party(from)?.medias.is_empty();
        let pairs = self.pair(to, from, lines, may_add);
        self.describe(to, lines);
        let is_party = |name: &str| name == from || name == to;
        self.links.retain(|link| link.is_subscription || is_party(&link.source.0) == is_party(&link.sink.0));
        let mut is_anything_shown = false;
        for (place, partner) in pairs {
            let Some(partner) = partner else { continue };
            let (sent, received) = (self.media(&place).clone(), self.media(&partner).clone());
            let is_over = sent.is_rejected || received.is_rejected;
            let is_open = !is_over && sent.kind != "message";
            is_anything_shown |= !is_over;
            let media = self.media_mut(&partner);
            media.is_open = is_open;
            media.show(sent.kind);
            let own = self.media_mut(&place);
            own.is_open &= is_open;
        }
        Some((request, is_anything_shown))
    }

    fn publish(&mut self, from: &str, lines: &[Line]) -> Option<(Value, bool)> {
        if self.party(from).is_some_and(|party| party.pending_of.is_some()) {
            return None;
        }
        let codec = json!({"accept": ["all", "any"]});
        let request = json!({"command": "publish", "from-tag": from, "sdp": body(from, lines), "codec": codec});
        if lines.is_empty() {
            // The call is there all the same, without anybody in it.
            return None;
        }
        self.add(from, Role::Publisher, None);
        self.describe(from, lines);
        let is_open = |media: &Media| !media.is_rejected && media.kind != "message";
        for media in &mut self.party_mut(from)?.medias {
            media.is_open = is_open(media);
            media.is_rejected = !media.is_open;
        }
        let is_ok = self.party(from)?.medias.iter().any(|media| media.is_open);
        Some((request, is_ok))
    }

    fn subscribe(
        &mut self,
        viewer: &str,
        of: Option<Vec<String>>,
        way: Way,
        is_mixed: bool,
        is_paused: bool,
    ) -> (Value, bool) {
        let mut request = json!({"command": "subscribe request", "to-tag": viewer});
        match of.as_deref() {
            Some([name]) => request["from-tag"] = json!(name),
            Some(names) => request["from-tags"] = json!(names),
            None => {}
        }
        let named = [
            (of.is_none(), "all"),
            (is_paused, "inactive"),
            (is_mixed, "mix"),
            (way == Way::Both, "bidirectional"),
            (way == Way::Egress, "egress"),
        ];
        request["flags"] = named.iter().filter(|(is_set, _)| *is_set).map(|(_, name)| *name).collect();
        let sources = self.sources(of.as_deref());
        if sources.is_empty() {
            return (request, false);
        }
        self.add(viewer, Role::Viewer, None);
        let groups = self.group(sources, is_mixed);
        let places = self.arrange(viewer, &groups);
        let is_own = |place: &Place| place.0 == viewer;
        self.end(|link| link.is_subscription && (is_own(&link.source) || is_own(&link.sink)));
        let medias = &mut self.party_mut(viewer).expect("just added").medias;
        medias.iter_mut().for_each(|media| (media.is_rejected, media.is_open) = (true, false));
        for (group, position) in groups.into_iter().zip(places) {
            let kind = self.media(&group[0]).kind;
            while self.party(viewer).is_some_and(|party| party.medias.len() <= position) {
                self.add_media(viewer, kind);
            }
            let sink = (viewer.to_owned(), position + 1);
            let media = self.media_mut(&sink);
            (media.kind, media.is_rejected, media.is_open, media.receives) = (kind, false, true, true);
            media.sends = false;
            for source in group {
                let is_egress = way == Way::Egress;
                self.link(Link { is_paused, is_egress, ..Link::new(&source, &sink, true) });
                if way == Way::Both {
                    self.link(Link::new(&sink, &source, true));
                }
            }
        }
        (request, true)
    }

    /// The sources of each line: one, or all of one kind.
    fn group(&self, sources: Vec<Place>, is_mixed: bool) -> Vec<Vec<Place>> {
        let mut groups: Vec<Vec<Place>> = Vec::new();
        for source in sources {
            let is_same_kind = |group: &&mut Vec<Place>| self.media(&group[0]).kind == self.media(&source).kind;
            match groups.iter_mut().find(is_same_kind).filter(|_| is_mixed) {
                Some(group) => group.push(source),
                None => groups.push(vec![source]),
            }
        }
        groups
    }

    /// The lines that can be subscribed to, in the order of their coming.
    fn sources(&self, of: Option<&[String]>) -> Vec<Place> {
        let is_chosen = |party: &&Party| match of {
            Some(names) => party.role != Role::Viewer && names.contains(&party.name) && party.pending_of.is_none(),
            None => party.role == Role::Caller,
        };
        let mut list: Vec<(usize, Place)> = Vec::new();
        for party in self.parties.iter().filter(is_chosen) {
            for (index, media) in party.medias.iter().enumerate() {
                if media.is_described && !media.is_rejected && media.kind != "message" {
                    list.push((media.number, (party.name.clone(), index + 1)));
                }
            }
        }
        list.sort();
        list.into_iter().map(|(_, place)| place).collect()
    }

    /// The position of each group's line: the former one of its first source, else a vacant one of the same kind, else
    /// a new one.
    fn arrange(&self, viewer: &str, groups: &[Vec<Place>]) -> Vec<usize> {
        let medias = &self.party(viewer).expect("a party").medias;
        let mut is_taken = vec![false; medias.len()];
        let mut places: Vec<Option<usize>> = Vec::new();
        for group in groups {
            let is_former = |link: &&Link| link.is_subscription && link.source == group[0] && link.sink.0 == viewer;
            let former = self.links.iter().find(is_former).map(|link| link.sink.1 - 1);
            let former = former.filter(|position| !is_taken[*position]);
            places.push(former);
            former.into_iter().for_each(|position| is_taken[position] = true);
        }
        let found = places.into_iter().zip(groups).map(|(former, group)| {
            former.unwrap_or_else(|| {
                let kind = self.media(&group[0]).kind;
                let is_free = |position: &usize| {
                    !is_taken[*position] && medias.get(*position).is_some_and(|media| media.kind == kind)
                };
                let position = (0..medias.len()).find(is_free).unwrap_or(is_taken.len());
                is_taken.resize(is_taken.len().max(position + 1), true);
                is_taken[position] = true;
                position
            })
        });
        found.collect()
    }

    /// A viewer is shown a line for each of its medias, rejected where nothing flows.
    pub fn check_lines(&self, call: usize, action: &Action, sdp: &str) -> Result<(), TestCaseError> {
        let Action::Subscribe { viewer, .. } = action else { return Ok(()) };
        let medias = &self.party(&viewer_name(call, *viewer)).expect("a viewer").medias;
        let expected: Vec<(String, bool)> = medias.iter().map(|media| (media.kind.to_owned(), media.is_open)).collect();
        let shown: Vec<(String, bool)> = lines(sdp).into_iter().map(|line| (line.kind, line.rtp.is_some())).collect();
        proptest::prop_assert_eq!(shown, expected);
        Ok(())
    }
}
