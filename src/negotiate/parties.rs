//! Finds the two sides of an exchange, or makes them.

use super::Failure;
use crate::base::time::Now;
use crate::call::participant::Role;
use crate::call::{Call, ParticipantId};
use crate::ng::Request;
use crate::ng::request::dialogue::AliasKey;
use crate::ng::request::sdp::SipMessageType;
use crate::sdp::SessionDescription;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The sender of a description and who will be shown it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parties {
    pub sender: ParticipantId,
    pub receiver: ParticipantId,
}

/// The parties of an offer: the from-tag is the sender, whichever side of the dialogue that is. The receiver is the
/// to-tag where there is one, else the callee of the same branch that has not answered, else a new one.
///
/// # Errors
/// When both tags name one participant.
pub fn of_offer(
    call: &mut Call,
    description: &SessionDescription,
    request: &Request,
    now: Now,
) -> Result<Parties, Failure> {
    let from_tag = request.dialogue.from_tag.as_deref().unwrap_or_default();
    let to_tag = request.dialogue.to_tag.as_deref().filter(|tag| !tag.is_empty());
    check_tags(call, from_tag, to_tag)?;
    let branch = request.dialogue.via_branch.as_deref();
    let sender = call.find_tag(from_tag).unwrap_or_else(|| alias_or_new(call, from_tag, description, request, now));
    let receiver = match to_tag {
        Some(tag) => call.find_tag(tag).or_else(|| adopt(call, sender, tag, branch)),
        None => pending_callee(call, sender, branch),
    };
    let receiver = receiver.unwrap_or_else(|| {
        let receiver = call.add_participant(to_tag, branch, Role::Answerer, now);
        call.participant_mut(receiver).called_by = Some(sender);
        receiver
    });
    Ok(Parties { sender, receiver })
}

/// The parties of an answer, whose tags keep the roles of the transaction: the to-tag is the sender. A to-tag that is
/// not known yet names the callee of the same branch, as an alias if that one has answered already under another tag.
///
/// # Errors
/// When both tags name one participant.
pub fn of_answer(call: &mut Call, request: &Request, now: Now) -> Result<Parties, Failure> {
    let from_tag = request.dialogue.from_tag.as_deref().unwrap_or_default();
    let to_tag = request.dialogue.to_tag.as_deref().unwrap_or_default();
    check_tags(call, from_tag, Some(to_tag))?;
    let branch = request.dialogue.via_branch.as_deref();
    let known = call.find_tag(from_tag);
    let receiver = known.unwrap_or_else(|| call.add_participant(Some(from_tag), None, Role::Offerer, now));
    let sender = call
        .find_tag(to_tag)
        .or_else(|| adopt(call, receiver, to_tag, branch))
        .or_else(|| (!request.dialogue.is_new_branch).then(|| alias(call, receiver, to_tag, branch)).flatten())
        .unwrap_or_else(|| {
            let sender = call.add_participant(Some(to_tag), branch, Role::Answerer, now);
            call.participant_mut(sender).called_by = Some(receiver);
            sender
        });
    let is_final_response = request.sdp.sip_message_type == Some(SipMessageType::Response)
        && request.sdp.sip_code.is_some_and(|code| code >= 200)
        && !request.dialogue.is_provisional;
    call.participant_mut(sender).is_final |= is_final_response;
    Ok(Parties { sender, receiver })
}

/// Nobody exchanges offers with himself.
fn check_tags(call: &Call, from_tag: &str, to_tag: Option<&str>) -> Result<(), Failure> {
    let Some(to_tag) = to_tag else { return Ok(()) };
    let sender = call.find_tag(from_tag);
    match from_tag == to_tag || sender.is_some() && sender == call.find_tag(to_tag) {
        true => Err(Failure::InvalidDialogue),
        false => Ok(()),
    }
}

/// The participant of a from-tag that is not known yet: with `alias-key` the one whose offer had the same description,
/// or media address, else a new one.
fn alias_or_new(
    call: &mut Call,
    tag: &str,
    description: &SessionDescription,
    request: &Request,
    now: Now,
) -> ParticipantId {
    let key = alias_key(description, request);
    let same = call.participants().find(|(_, other)| key.is_some() && other.alias_key == key).map(|(id, _)| id);
    if let Some(id) = same {
        call.participant_mut(id).aliases.push(tag.to_owned());
        return id;
    }
    let id = call.add_participant(Some(tag), None, Role::Offerer, now);
    call.participant_mut(id).alias_key = key;
    id
}

/// A digest of what makes a new from-tag an alias.
fn alias_key(description: &SessionDescription, request: &Request) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    match request.dialogue.alias_key {
        AliasKey::Off => return None,
        AliasKey::Sdp => (AliasKey::Sdp as u8, request.sdp.text.as_deref()).hash(&mut hasher),
        AliasKey::Address => {
            let media = description.medias.first()?;
            let connection = media.connection.or(description.session.connection)?;
            (AliasKey::Address as u8, connection.address, media.port).hash(&mut hasher);
        }
    }
    Some(hasher.finish())
}

/// A callee of `caller` that has no tag yet, of the same branch.
fn pending_callee(call: &Call, caller: ParticipantId, branch: Option<&str>) -> Option<ParticipantId> {
    let peers = call.offer_answer_peers(caller);
    let on_branch = |id: &&ParticipantId| call.participant(**id).via_branch.as_deref() == branch;
    let is_pending = |id: &&ParticipantId| call.participant(**id).tag.is_none();
    let same_branch = peers.iter().rev().filter(on_branch);
    match branch {
        Some(_) => same_branch.into_iter().next().copied(),
        None => same_branch.into_iter().find(is_pending).copied(),
    }
}

/// Gives `tag` to the callee of `caller` that waits for one.
fn adopt(call: &mut Call, caller: ParticipantId, tag: &str, branch: Option<&str>) -> Option<ParticipantId> {
    let is_pending = |id: &ParticipantId| call.participant(*id).tag.is_none();
    let any_branch = || call.offer_answer_peers(caller).into_iter().rev().find(is_pending);
    let id = pending_callee(call, caller, branch).filter(is_pending).or_else(any_branch)?;
    call.participant_mut(id).tag = Some(tag.to_owned());
    Some(id)
}

/// Makes `tag` another name of the callee that has answered `caller`.
fn alias(call: &mut Call, caller: ParticipantId, tag: &str, branch: Option<&str>) -> Option<ParticipantId> {
    let peers = call.offer_answer_peers(caller);
    let on_branch = |id: &&ParticipantId| branch.is_some() && call.participant(**id).via_branch.as_deref() == branch;
    let id = *peers.iter().rev().find(on_branch).or(peers.last())?;
    let participant = call.participant_mut(id);
    if participant.is_final {
        return None;
    }
    participant.aliases.push(tag.to_owned());
    Some(id)
}
