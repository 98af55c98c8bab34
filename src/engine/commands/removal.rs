//! `delete`: ends a call or one participant of it.

use super::{CommandError, Lent, Reply};
use crate::base::time::Now;
use crate::call::lifecycle::Termination;
use crate::call::{Call, ParticipantId};
use crate::engine::Shard;
use crate::ng::{Dictionary, Request};
use crate::observe;
use std::time::Duration;

/// What a delete is about.
enum Target {
    Call,
    Participant(ParticipantId),
}

impl Shard {
    pub(super) fn delete(&mut self, now: Now, request: &Request, lent: &mut Lent) -> Reply {
        let call_id = request.call_id()?;
        let found = self.by_id.get(call_id).copied();
        let target = found.and_then(|index| Some((index, target(&self.calls[index], request)?)));
        let Some((index, target)) = target else { return not_found(request) };
        let reply = match request.control.is_fast {
            true => Dictionary::new(),
            false => observe::query::query(&self.calls[index], &self.relay, None),
        };
        match target {
            Target::Call => self.delete_call(now, index, request, lent),
            Target::Participant(id) => self.delete_participant(now, index, id, request, lent),
        }
        Ok(reply)
    }

    fn delete_call(&mut self, now: Now, index: usize, request: &Request, lent: &mut Lent) {
        match self.delay(request) {
            Duration::ZERO => self.end_call(now, index, Termination::Regular, lent.ports, lent.numbers),
            delay => self.calls[index].delete_at = Some(now.mono + delay),
        }
    }

    fn delay(&self, request: &Request) -> Duration {
        let given = request.control.delete_delay_s.and_then(|seconds| u64::try_from(seconds).ok());
        given.map_or(self.settings.delete_delay, Duration::from_secs)
    }

    /// Takes out a participant and those who are left without anybody to talk to. The call goes with the last one.
    fn delete_participant(&mut self, now: Now, index: usize, id: ParticipantId, request: &Request, lent: &mut Lent) {
        let leaving = leaving(&self.calls[index], id);
        if leaving.len() == self.calls[index].participants().count() {
            return self.delete_call(now, index, request, lent);
        }
        self.remove_participants(now, index, &leaving, lent);
    }

    /// Takes participants out of a call, closes their ports and replans what is left.
    pub(super) fn remove_participants(&mut self, now: Now, index: usize, leaving: &[ParticipantId], lent: &mut Lent) {
        let call = &mut self.calls[index];
        let medias = leaving.iter().flat_map(|id| call.remove_participant(*id)).collect();
        self.close_medias(now, index, medias, lent.ports, lent.numbers);
        self.replan(now, index);
    }
}

fn not_found(request: &Request) -> Reply {
    match request.control.is_fatal {
        true => Err(CommandError::NothingToDelete),
        false => Ok(Dictionary::new().with("warning", CommandError::NothingToDelete.to_string())),
    }
}

/// Who is meant: without tags and branch the whole call; a branch without a to-tag names its callee; else the to-tag
/// where it counts (flag `to-tag`), else the from-tag. A to-tag that names nobody while the caller's offer is not
/// answered yet means the whole call.
fn target(call: &Call, request: &Request) -> Option<Target> {
    let dialogue = &request.dialogue;
    let to_tag = dialogue.to_tag.as_deref().filter(|tag| dialogue.match_to_tag && !tag.is_empty());
    let from_tag = dialogue.from_tag.as_deref().filter(|tag| !tag.is_empty());
    let branch = dialogue.via_branch.as_deref().filter(|branch| !branch.is_empty());
    let by_branch = || {
        let on_branch = |participant: &crate::call::Participant| participant.via_branch.as_deref() == branch;
        call.participants().find(|(_, participant)| on_branch(participant)).map(|(id, _)| id)
    };
    if to_tag.is_none()
        && branch.is_some()
        && let Some(id) = by_branch()
    {
        return Some(Target::Participant(id));
    }
    let Some(tag) = to_tag.or(from_tag) else { return Some(Target::Call) };
    if let Some(id) = call.find_tag(tag) {
        return Some(Target::Participant(id));
    }
    let caller = to_tag.and(from_tag).and_then(|tag| call.find_tag(tag))?;
    let is_pending = call.offer_answer_peers(caller).iter().any(|peer| call.participant(*peer).tag.is_none());
    is_pending.then_some(Target::Call)
}

/// `id` and everybody who has no media partner without those who leave.
fn leaving(call: &Call, id: ParticipantId) -> Vec<ParticipantId> {
    let mut leaving = vec![id];
    loop {
        let has_partner = |other: ParticipantId| {
            let related = call.sources_of(other).into_iter().chain(call.sinks_of(other));
            related.into_iter().any(|(partner, _)| !leaving.contains(&partner))
        };
        let alone =
            call.participants().map(|(other, _)| other).find(|other| !leaving.contains(other) && !has_partner(*other));
        match alone {
            Some(other) => leaving.push(other),
            None => return leaving,
        }
    }
}
