//! `connect`: two parties are joined who have each exchanged offers with somebody else, or with this daemon.
//!
//! No description is made: everybody keeps the ports and keys that they have, and what one sends goes to the other.
//! Nothing is transcoded, so both must have agreed upon the same codec; payload types and header extensions are
//! renumbered.

use super::exchange::make_exclusive;
use super::parties::Parties;
use super::{Failure, select};
use crate::call::participant::Role;
use crate::call::{Call, Media, MediaId, ParticipantId, Subscription, SubscriptionKind};
use crate::ng::Request;
use crate::ng::request::dialogue::All;
use crate::sdp::Codec;
use crate::sdp::format::counterpart;

/// Whose media goes to `to`: one participant, or with `from-tags` and `all` several.
///
/// # Errors
/// When a label, address or tag names nobody, or nobody is left besides `to`.
pub fn sources(call: &Call, request: &Request, to: ParticipantId) -> Result<Vec<ParticipantId>, Failure> {
    let dialogue = &request.dialogue;
    if dialogue.all != All::None {
        let exchanges = |role: Role| role == Role::Offerer || role == Role::Answerer;
        let others = call.participants().filter(|(id, other)| *id != to && exchanges(other.role));
        let sources: Vec<ParticipantId> = others.filter(|(id, _)| is_described(call, *id)).map(|(id, _)| id).collect();
        return if sources.is_empty() { Err(Failure::NoMedias) } else { Ok(sources) };
    }
    if !dialogue.from_tags.is_empty() {
        return dialogue.from_tags.iter().map(|tag| call.find_tag(tag).ok_or(Failure::NoSuchFromTag)).collect();
    }
    match select::target(call, request, true)? {
        select::Selection::Participant(chosen) => Ok(vec![chosen]),
        select::Selection::WholeCall => Err(Failure::NoMedias),
    }
}

fn is_described(call: &Call, id: ParticipantId) -> bool {
    call.participant(id).medias.iter().any(|media| call.media(*media).is_described)
}

/// Works off `connect`: as by an exchange of offers, or with `directional` one way, beside what is there.
///
/// # Errors
/// When several sources were to exchange media with `to`, or media can't flow. The call may be half changed then.
pub fn connect(
    call: &mut Call,
    sources: &[ParticipantId],
    to: ParticipantId,
    request: &Request,
) -> Result<(), Failure> {
    for id in sources.iter().chain([&to]) {
        call.participant_mut(*id).delete_at = None;
    }
    match (request.dialogue.is_directional, sources) {
        (false, [from]) => join(call, *from, to),
        (false, _) => Err(Failure::SeveralSources),
        (true, _) => sources.iter().try_for_each(|from| add_flow(call, *from, to, request.control.is_bidirectional)),
    }
}

/// Makes two participants partners of an exchange, in the place of their former ones.
fn join(call: &mut Call, from: ParticipantId, to: ParticipantId) -> Result<(), Failure> {
    let pairs = pairs(call, from, to)?;
    check(call, &pairs, true)?;
    make_exclusive(call, Parties { sender: from, receiver: to });
    for (source, sink) in pairs {
        call.subscribe(Subscription::new(source, sink, SubscriptionKind::OfferAnswer));
        call.subscribe(Subscription::new(sink, source, SubscriptionKind::OfferAnswer));
    }
    call.is_answered = true;
    Ok(())
}

/// Lets media flow from one participant to another, and back where it `is_both_ways`; other flows stay.
///
/// # Errors
/// When there is no media that can flow.
pub(super) fn add_flow(
    call: &mut Call,
    from: ParticipantId,
    to: ParticipantId,
    is_both_ways: bool,
) -> Result<(), Failure> {
    let pairs = pairs(call, from, to)?;
    check(call, &pairs, is_both_ways)?;
    for (source, sink) in pairs {
        call.subscribe(Subscription::new(source, sink, SubscriptionKind::PublishSubscribe));
        if is_both_ways {
            call.subscribe(Subscription::new(sink, source, SubscriptionKind::PublishSubscribe));
        }
    }
    call.is_answered = true;
    Ok(())
}

/// The flows of one kind of media that one participant can have from another.
///
/// # Errors
/// When there is no media that can flow.
pub(super) fn flows(
    call: &Call,
    from: ParticipantId,
    to: ParticipantId,
    kind: &str,
) -> Result<Vec<(MediaId, MediaId)>, Failure> {
    let mut pairs = pairs(call, from, to)?;
    pairs.retain(|(source, _)| call.media(*source).kind == kind);
    check(call, &pairs, false)?;
    if pairs.is_empty() { Err(Failure::NoMedias) } else { Ok(pairs) }
}

/// Which medias belong together: those that exchange media already, then others of one kind, in the order of their
/// lines. Medias that are left over stay alone.
fn pairs(call: &Call, from: ParticipantId, to: ParticipantId) -> Result<Vec<(MediaId, MediaId)>, Failure> {
    if from == to {
        return Err(Failure::InvalidDialogue);
    }
    let sinks = &call.participant(to).medias;
    let mut partners: Vec<(MediaId, MediaId)> = (call.subscriptions().iter())
        .filter(|flow| flow.kind == SubscriptionKind::OfferAnswer)
        .map(|flow| (flow.source, flow.sink))
        .filter(|(source, sink)| call.media(*source).owner == from && call.media(*sink).owner == to)
        .collect();
    for source in &call.participant(from).medias {
        let is_free = |sink: &MediaId| partners.iter().all(|pair| pair.0 != *source && pair.1 != *sink);
        let fits = |sink: &MediaId| is_free(sink) && fits(call.media(*source), call.media(*sink));
        if let Some(sink) = sinks.iter().copied().find(fits) {
            partners.push((*source, sink));
        }
    }
    partners.retain(|(source, sink)| fits(call.media(*source), call.media(*sink)));
    if partners.is_empty() { Err(Failure::NoMedias) } else { Ok(partners) }
}

/// Media that this daemon relays for a party that has said what it wants. What passes with the other side's own
/// candidates and keys belongs to that other side.
fn is_usable(media: &Media) -> bool {
    media.is_described && media.is_relayed() && !media.is_rejected && media.ice.passthrough.is_none()
}

fn fits(source: &Media, sink: &Media) -> bool {
    let is_same_protocol = source.is_rtp() && sink.is_rtp() || source.protocol == sink.protocol;
    source.kind == sink.kind && is_same_protocol && is_usable(source) && is_usable(sink)
}

fn check(call: &Call, pairs: &[(MediaId, MediaId)], is_both_ways: bool) -> Result<(), Failure> {
    let is_understood = |(source, sink): &(MediaId, MediaId)| {
        let (source, sink) = (call.media(*source), call.media(*sink));
        understands(sink, source) && (!is_both_ways || understands(source, sink))
    };
    if pairs.iter().all(is_understood) { Ok(()) } else { Err(Failure::NoCommonCodec) }
}

/// Whether `sink` takes a codec that `source` may send, under whatever number.
fn understands(sink: &Media, source: &Media) -> bool {
    let sent = source.sent_codecs();
    let is_taken = |codec: &&Codec| !codec.is_supplemental() && counterpart(codec, sent, &sink.codecs).is_some();
    !source.is_rtp() || sent.iter().any(|codec| is_taken(&codec))
}
