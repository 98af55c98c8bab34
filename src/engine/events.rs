//! What happens to calls and their media, for whoever asked to be told.

use super::Shard;
use super::output::Output;
use crate::base::time::Now;
use crate::call::lifecycle::Termination;
use crate::call::participant::Role;
use crate::call::{Call, Media, ParticipantId, SubscriptionKind};
use crate::relay::digits::Digit;
use std::net::{IpAddr, SocketAddr};

/// Something that happened, with its call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub call_id: String,
    /// The tags of all parties.
    pub tags: Vec<String>,
    /// Seconds since 1970.
    pub timestamp_s: u64,
    /// The party whose packets it is about; none: the call as a whole.
    pub source: Option<EventSource>,
    pub happening: Happening,
}

/// A party as events name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventSource {
    pub tag: String,
    pub label: Option<String>,
    /// Where its media comes from.
    pub address: Option<SocketAddr>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// A party has pressed a digit.
    Digit(PressedDigit),
    /// The first packet of a media has come.
    FirstPacket { media: AffectedMedia, ssrc: Option<u32> },
    /// Nothing comes from a party that should send, while the other side's packets do.
    OneWay { media: AffectedMedia, silent_ms: u64 },
    /// Its packets have come after all, or come again.
    BothWays(AffectedMedia),
    /// A call has ended because what it waited for did not come in time.
    TimedOut(TimedOut),
}

/// A digit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PressedDigit {
    /// 0 to 9, 10 is `*`, 11 `#`, 12 to 15 `A` to `D` (RFC 4733, section 3.2).
    pub event: u8,
    pub duration_ms: u32,
    /// Power in dBm0 below zero.
    pub volume: u8,
    /// Whom a request has named for this call.
    pub destination: Option<SocketAddr>,
}

/// A media of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AffectedMedia {
    /// The position of the `m=` line, from one.
    pub index: usize,
    /// `audio`, `video`, ...
    pub kind: String,
}

/// The end of a call by a timeout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimedOut {
    pub termination: Termination,
    pub duration_ms: u64,
    /// The tags of each offerer and who answered it.
    pub dialogues: Vec<(String, String)>,
    /// The SIP proxy of the call: who asked for it, unless a request named another address.
    pub proxy: Option<IpAddr>,
}

impl Event {
    /// Of `call`, about one of its parties or the whole.
    pub(super) fn new(call: &Call, timestamp_s: u64, source: Option<EventSource>, happening: Happening) -> Event {
        let tags = call.participants().filter_map(|(_, participant)| participant.tag.clone());
        Event { call_id: call.id.clone(), tags: tags.collect(), timestamp_s, source, happening }
    }
}

impl EventSource {
    /// A participant of `call`.
    pub(super) fn new(call: &Call, id: ParticipantId, address: Option<SocketAddr>) -> EventSource {
        let participant = call.participant(id);
        EventSource { tag: participant.display_tag(id), label: participant.label.clone(), address }
    }
}

impl From<&Media> for AffectedMedia {
    fn from(media: &Media) -> AffectedMedia {
        AffectedMedia { index: media.index, kind: media.kind.clone() }
    }
}

impl Shard {
    /// Makes outputs of the digits that the relay has noticed.
    #[cold]
    pub(super) fn tell_digits(&mut self, now: Now) {
        for digit in self.relay.take_digits() {
            let owner = self.relay.stream(digit.stream).map(|stream| stream.owner_call() as usize);
            let call = owner.and_then(|owner| self.calls.get(owner));
            self.outputs.extend(call.and_then(|call| pressed(call, &digit, now)).map(Output::Event));
        }
    }

    /// Tells that a call is about to end by a timeout.
    pub(super) fn tell_timeout(&mut self, now: Now, call: &Call, termination: Termination) {
        if matches!(termination, Termination::Regular | Termination::Forced) {
            return;
        }
        let duration_ms = now.mono.since(call.created.mono).as_millis() as u64;
        let proxy = call.callback_address.or_else(|| Some(call.created_from.parse::<SocketAddr>().ok()?.ip()));
        let timed_out = TimedOut { termination, duration_ms, dialogues: dialogues(call), proxy };
        let event = Event::new(call, now.unix.seconds(), None, Happening::TimedOut(timed_out));
        self.outputs.push(Output::Event(event));
    }
}

fn pressed(call: &Call, digit: &Digit, now: Now) -> Option<Event> {
    let (_, media) = call.medias().find(|(_, media)| media.rtp_stream == Some(digit.stream))?;
    let pressed = PressedDigit {
        event: digit.event,
        duration_ms: digit.duration_ms,
        volume: digit.volume,
        destination: call.digit_destination,
    };
    let source = EventSource::new(call, media.owner, digit.from);
    Some(Event::new(call, now.unix.seconds(), Some(source), Happening::Digit(pressed)))
}

/// The tags of each offerer and those who answered it, in the order of their coming.
fn dialogues(call: &Call) -> Vec<(String, String)> {
    let tag = |id: ParticipantId| call.participant(id).tag.clone();
    let mut pairs: Vec<(ParticipantId, ParticipantId)> = Vec::new();
    let exchanges = call.subscriptions().iter().filter(|pair| pair.kind == SubscriptionKind::OfferAnswer);
    let owners = exchanges.map(|pair| (call.media(pair.source).owner, call.media(pair.sink).owner));
    let forked = call.participants().filter_map(|(id, participant)| Some((participant.called_by?, id)));
    for (one, other) in forked.chain(owners) {
        let is_known = pairs.iter().any(|pair| *pair == (one, other) || *pair == (other, one));
        let is_turned = call.participant(one).role != Role::Offerer && call.participant(other).role == Role::Offerer;
        if !is_known {
            pairs.push(if is_turned { (other, one) } else { (one, other) });
        }
    }
    pairs.into_iter().filter_map(|(from, to)| Some((tag(from)?, tag(to)?))).collect()
}
