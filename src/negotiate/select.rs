//! Which participants a command is about.

use super::Failure;
use crate::call::participant::Role;
use crate::call::{Call, MediaId, ParticipantId};
use crate::ng::Request;
use crate::ng::request::dialogue::All;

/// Who is meant: the whole call, or some participants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    WholeCall,
    Participant(ParticipantId),
}

/// The participant that a media command is about: `all` before `label` before `address` before the from-tag, which
/// counts only when `from_tag_counts`.
///
/// # Errors
/// When a label, address or tag names nobody.
pub fn target(call: &Call, request: &Request, from_tag_counts: bool) -> Result<Selection, Failure> {
    let dialogue = &request.dialogue;
    if dialogue.all == All::All {
        return Ok(Selection::WholeCall);
    }
    if let Some(label) = &dialogue.label {
        return call.find_label(label).map(Selection::Participant).ok_or(Failure::NoSuchLabel);
    }
    if let Some(address) = &dialogue.address {
        let address: std::net::IpAddr = address.parse().map_err(|_| Failure::MalformedAddress)?;
        return by_address(call, address).map(Selection::Participant).ok_or(Failure::NoSuchAddress);
    }
    match dialogue.from_tag.as_deref().filter(|_| from_tag_counts) {
        Some(tag) => call.find_tag(tag).map(Selection::Participant).ok_or(Failure::NoSuchFromTag),
        None => Ok(Selection::WholeCall),
    }
}

/// The participant whose description named `address`.
fn by_address(call: &Call, address: std::net::IpAddr) -> Option<ParticipantId> {
    let is_there = |media: &crate::call::Media| media.signalled.rtp.is_some_and(|rtp| rtp.ip() == address);
    call.medias().find(|(_, media)| is_there(media)).map(|(_, media)| media.owner)
}

/// The other end of a flow: `to-tag` or `to-label`; none when the request names neither.
///
/// # Errors
/// When the tag or label names nobody.
pub fn destination(call: &Call, request: &Request) -> Result<Option<ParticipantId>, Failure> {
    if let Some(tag) = request.dialogue.to_tag.as_deref().filter(|tag| !tag.is_empty()) {
        return call.find_tag(tag).map(Some).ok_or(Failure::NoSuchFlowTag);
    }
    match &request.dialogue.to_label {
        Some(label) => call.find_label(label).map(Some).ok_or(Failure::NoSuchFlowLabel),
        None => Ok(None),
    }
}

/// The medias that a subscription takes, in the order of their making, and whether they are all of one participant.
///
/// # Errors
/// When a label or address names nobody, or nothing is left.
pub fn sources(call: &Call, request: &Request) -> Result<Vec<MediaId>, Failure> {
    let dialogue = &request.dialogue;
    let is_chosen: Box<dyn Fn(ParticipantId) -> bool> = if dialogue.all != All::None {
        Box::new(|_| true)
    } else if !dialogue.from_tags.is_empty() {
        let chosen: Vec<ParticipantId> = dialogue.from_tags.iter().filter_map(|tag| call.find_tag(tag)).collect();
        Box::new(move |id| chosen.contains(&id))
    } else {
        match target(call, request, true) {
            Ok(Selection::Participant(chosen)) => Box::new(move |id| id == chosen),
            Ok(Selection::WholeCall) | Err(Failure::NoSuchFromTag) => return Err(Failure::NoMedias),
            Err(failure) => return Err(failure),
        }
    };
    let is_source = |media: &crate::call::Media| {
        media.is_described && is_chosen(media.owner) && call.participant(media.owner).role != Role::Subscriber
    };
    let list: Vec<MediaId> = call.medias().filter(|(_, media)| is_source(media)).map(|(id, _)| id).collect();
    match list.is_empty() {
        true => Err(Failure::NoMedias),
        false => Ok(list),
    }
}
