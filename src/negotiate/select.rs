//! Which participants a command is about.

use super::Failure;
use crate::call::participant::Role;
use crate::call::{Call, Media, MediaId, ParticipantId};
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
    let is_there = |media: &Media| media.signalled.rtp.is_some_and(|rtp| rtp.ip() == address);
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

/// The medias that a subscription takes, in the order of their making; rejected ones are left out.
///
/// # Errors
/// When a label or address names nobody, nothing is left, or a publication that failed is among them.
pub fn sources(call: &Call, request: &Request) -> Result<Vec<MediaId>, Failure> {
    let chosen = source_participants(call, request)?;
    let is_source = |media: &Media| {
        media.is_described
            && media.is_relayed()
            && match (&chosen, call.participant(media.owner).role) {
                (_, Role::Subscriber) => false,
                (Some(chosen), _) => chosen.contains(&media.owner),
                (None, role) => role != Role::Other,
            }
    };
    let mut list: Vec<(MediaId, &Media)> = call.medias().filter(|(_, media)| is_source(media)).collect();
    if list.is_empty() && request.dialogue.all == All::None {
        return Err(Failure::NoMedias);
    }
    list.retain(|(_, media)| !media.is_rejected || is_unserved(call, media));
    if list.is_empty() || list.iter().any(|(_, media)| is_unserved(call, media)) {
        return Err(Failure::NothingToCreate);
    }
    list.sort_by_key(|(_, media)| media.serial);
    Ok(list.into_iter().map(|(id, _)| id).collect())
}

/// Whether the media was published, but with no codec that is acceptable.
fn is_unserved(call: &Call, media: &Media) -> bool {
    let is_wanted = media.signalled.rtp.is_some() && media.is_rejected;
    is_wanted && call.participant(media.owner).role == Role::Other
}

/// Whose medias a subscription takes; none for those of all who exchange offers and answers.
fn source_participants(call: &Call, request: &Request) -> Result<Option<Vec<ParticipantId>>, Failure> {
    let dialogue = &request.dialogue;
    if dialogue.all != All::None {
        return Ok(None);
    }
    if !dialogue.from_tags.is_empty() {
        return Ok(Some(dialogue.from_tags.iter().filter_map(|tag| call.find_tag(tag)).collect()));
    }
    match target(call, request, true) {
        Ok(Selection::Participant(chosen)) => Ok(Some(vec![chosen])),
        Ok(Selection::WholeCall) | Err(Failure::NoSuchFromTag) => Err(Failure::NoMedias),
        Err(failure) => Err(failure),
    }
}
