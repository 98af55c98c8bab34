//! `inject start` and `inject stop`: a party's audio goes to one more, as a whisper does.
//!
//! Nothing is mixed, so this is for a party that hears nobody else: one on hold, one that waits in a call of its own, one
//! whose partner is blocked.

use super::{Failure, connect};
use crate::call::{Call, MediaId, ParticipantId, Subscription, SubscriptionKind};
use crate::ng::Request;

/// Lets the audio of `source` flow to `to`, one way.
///
/// # Errors
/// When the two are one, have no audio that can flow, or `to` hears somebody. Nothing is changed then.
pub fn start(call: &mut Call, source: ParticipantId, to: ParticipantId) -> Result<(), Failure> {
    if source == to {
        return Err(Failure::InjectionToSelf);
    }
    let flows = connect::flows(call, source, to, "audio")?;
    let is_mixed = |(source, sink): &(MediaId, MediaId)| {
        let others = call.subscriptions().iter().filter(|other| other.sink == *sink && !is_injection(other, *source));
        others.into_iter().any(|other| is_heard(call, other))
    };
    if flows.iter().any(is_mixed) {
        return Err(Failure::NeedsMixing);
    }
    for (source, sink) in flows {
        call.subscribe(Subscription::new(source, sink, SubscriptionKind::PublishSubscribe));
    }
    Ok(())
}

/// Ends what the participant of the to-tag is given of the source-tag's audio.
///
/// # Errors
/// When a tag names nobody, or nothing is injected.
pub fn stop(call: &mut Call, request: &Request) -> Result<(), Failure> {
    let dialogue = &request.dialogue;
    let to = call.find_tag(dialogue.to_tag.as_deref().unwrap_or_default()).ok_or(Failure::NoSuchToTag)?;
    let from = call.find_tag(dialogue.source_tag.as_deref().unwrap_or_default()).ok_or(Failure::NoSuchSourceTag)?;
    let before = call.subscriptions().len();
    call.unsubscribe(|call, flow| {
        let (source, sink) = (call.media(flow.source), call.media(flow.sink));
        source.owner == from && sink.owner == to && source.kind == "audio" && is_injection(flow, flow.source)
    });
    if call.subscriptions().len() < before { Ok(()) } else { Err(Failure::NothingInjected) }
}

/// Whether this is the flow that an injection of `source` makes.
fn is_injection(flow: &Subscription, source: MediaId) -> bool {
    flow.source == source && flow.kind == SubscriptionKind::PublishSubscribe && !flow.is_egress
}

/// Whether something comes by a flow: its source talks, its sink listens, and nobody stands between.
fn is_heard(call: &Call, flow: &Subscription) -> bool {
    let (source, sink) = (call.media(flow.source), call.media(flow.sink));
    let speaker = call.participant(source.owner);
    let is_stopped = flow.is_paused || flow.is_blocked || flow.is_silenced;
    let is_muted = speaker.blocks_media || speaker.silences_media || call.blocks_media || call.drops_traffic;
    source.direction.sends() && sink.direction.receives() && !source.is_rejected && !is_stopped && !is_muted
}
