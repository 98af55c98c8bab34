//! Several medias on one port (RFC 9143): which share a transport, and the group that says so.

use super::exchange::{Pair, Step};
use crate::call::{Call, MediaId, ParticipantId};
use crate::ng::Request;
use crate::sdp::{Attribute, Session};

/// The mids that a description groups together, in its order.
pub fn received(session: &Session) -> Vec<String> {
    let groups = session.attributes.iter().filter(|attribute| attribute.name == "group");
    let bundle = groups.filter_map(|attribute| attribute.value().strip_prefix("BUNDLE ")).next();
    bundle.map(|mids| mids.split_ascii_whitespace().map(str::to_owned).collect()).unwrap_or_default()
}

/// Decides which medias of the receiver share the transport of the first, before ports are opened.
pub fn arrange(call: &mut Call, receiver: ParticipantId, pairs: &[Pair], step: Step, request: &Request) {
    let bundle = request.transport.bundle;
    let members: Vec<MediaId> =
        pairs.iter().filter_map(|(sent, received)| received.filter(|_| !call.media(*sent).is_rejected)).collect();
    match step {
        Step::Offer => {
            if let Some((sender, _)) = pairs.first() {
                let sender = call.media(*sender).owner;
                call.participant_mut(sender).accepts_bundle = bundle.accept && !bundle.reject;
            }
            let is_known = call.participant(receiver).shows_bundle && !call.participant(receiver).is_strict_bundle;
            let is_shown = !bundle.reject && (bundle.offer || is_known);
            call.participant_mut(receiver).shows_bundle = is_shown;
            call.participant_mut(receiver).is_strict_bundle = bundle.strict;
            let is_shared =
                is_shown && (bundle.require || members.iter().any(|id| call.media(*id).bundled_in.is_some()));
            join(call, &members, |_| is_shared);
        }
        Step::Answer => {
            let participant = call.participant(receiver);
            let is_wanted = participant.accepts_bundle || bundle.accept || participant.shows_bundle;
            let is_shown = is_wanted && !bundle.reject && !participant.bundle.is_empty();
            let group = if is_shown { participant.bundle.clone() } else { Vec::new() };
            call.participant_mut(receiver).shows_bundle = is_shown;
            join(call, &members, |mid| mid.is_some_and(|mid| group.iter().any(|member| member == mid)));
        }
    }
}

/// Decides which medias of a publisher share the transport of the first: it is answered here, as it offered, where the
/// request accepts bundles.
pub fn accept(call: &mut Call, publisher: ParticipantId, request: &Request) {
    let bundle = request.transport.bundle;
    let is_wanted = (bundle.accept || bundle.require) && !bundle.reject;
    let participant = call.participant_mut(publisher);
    participant.shows_bundle = is_wanted && !participant.bundle.is_empty();
    let group = if participant.shows_bundle { participant.bundle.clone() } else { Vec::new() };
    let members: Vec<MediaId> =
        participant.medias.clone().into_iter().filter(|id| !call.media(*id).is_rejected).collect();
    join(call, &members, |mid| mid.is_some_and(|mid| group.iter().any(|member| member == mid)));
}

/// Decides whether a subscriber is offered a group of `members`, its medias that are in use, and whether they share the
/// transport of the first before it has answered. The flag `WebRTC` alone offers none.
pub fn subscribe(call: &mut Call, subscriber: ParticipantId, members: &[MediaId], request: &Request) {
    let bundle = request.transport.bundle;
    let is_asked_for = bundle.accept || bundle.offer && !request.transport.is_webrtc;
    let was_shared = members.iter().any(|id| call.media(*id).bundled_in.is_some());
    for id in call.participant(subscriber).medias.clone() {
        call.media_mut(id).bundled_in = None;
    }
    let participant = call.participant_mut(subscriber);
    let is_known = participant.shows_bundle && !participant.is_strict_bundle;
    participant.shows_bundle = !bundle.reject && (is_asked_for || is_known);
    participant.is_strict_bundle = bundle.strict;
    let is_shared = participant.shows_bundle && (bundle.require || was_shared);
    join(call, members, |_| is_shared);
}

/// What an answer of `sender` says of the group that it was offered: with it, all members share the first one's
/// transport. An answer without a group leaves a required one as it is: its acceptance was assumed.
pub fn settle(call: &mut Call, sender: ParticipantId, medias: impl Iterator<Item = MediaId>) {
    let participant = call.participant(sender);
    if !participant.shows_bundle || participant.bundle.is_empty() {
        return;
    }
    let group = participant.bundle.clone();
    let members: Vec<MediaId> = medias.filter(|id| !call.media(*id).is_rejected).collect();
    join(call, &members, |mid| mid.is_some_and(|mid| group.iter().any(|member| member == mid)));
}

/// Puts the `members` whose mid is in the group on the transport of the first of them.
fn join(call: &mut Call, members: &[MediaId], is_in_group: impl Fn(Option<&str>) -> bool) {
    let mut first = None;
    for id in members {
        let is_member = is_in_group(call.media(*id).mid.as_deref());
        call.media_mut(*id).bundled_in = first.filter(|_| is_member);
        if is_member {
            first.get_or_insert(*id);
        }
    }
}

/// `a=group` for a description with these mids.
pub fn group(mids: &[String]) -> Attribute {
    Attribute::with_value("group", format_args!("BUNDLE {}", mids.join(" ")))
}
