//! `delete`: ends a call or one participant of it.

use super::{CommandError, Lent, Reply};
use crate::base::time::Now;
use crate::call::lifecycle::{self, Termination};
use crate::call::participant::Role;
use crate::call::{Call, ParticipantId, PortNumbers};
use crate::engine::Shard;
use crate::ng::{Dictionary, Request};
use crate::observe;
use crate::relay::Ports;
use std::collections::BTreeSet;
use std::time::Duration;

/// What a delete is about.
enum Target {
    Call,
    Participant(ParticipantId),
    /// A participant by its branch: others may still answer.
    Branch(ParticipantId),
}

impl Shard {
    pub(super) fn delete(&mut self, now: Now, request: &Request, lent: &mut Lent) -> Reply {
        let call_id = request.call_id()?;
        let found = self.by_id.get(call_id).copied();
        let target = found.and_then(|index| Some((index, target(&self.calls[index], request)?)));
        let Some((index, target)) = target else { return not_found(request) };
        let reply = match request.control.is_fast {
            true => Dictionary::new(),
            false => observe::query::query(&self.calls[index], &self.relay, None, self.settings.ssrc_reporting),
        };
        let delay = self.delay(request);
        match target {
            Target::Call => self.delete_call(now, index, delay, lent),
            Target::Participant(id) => self.delete_participant(now, index, id, false, delay, lent),
            Target::Branch(id) => self.delete_participant(now, index, id, true, delay, lent),
        }
        Ok(reply)
    }

    fn delete_call(&mut self, now: Now, index: usize, delay: Duration, lent: &mut Lent) {
        match delay {
            Duration::ZERO => self.end_call(now, index, Termination::Regular, lent.ports, lent.numbers),
            delay => self.calls[index].delete_at = Some(now.mono + delay),
        }
    }

    fn delay(&self, request: &Request) -> Duration {
        let given = request.control.delete_delay_s.and_then(|seconds| u64::try_from(seconds).ok());
        given.map_or(self.settings.delete_delay, Duration::from_secs)
    }

    /// Takes out a participant and those who are left without anybody to talk to. The call goes with the last one.
    fn delete_participant(
        &mut self,
        now: Now,
        index: usize,
        id: ParticipantId,
        is_branch: bool,
        delay: Duration,
        lent: &mut Lent,
    ) {
        let leaving = leaving(&self.calls[index], &[id], is_branch);
        if leaving.len() == self.calls[index].participants().count() {
            return self.delete_call(now, index, delay, lent);
        }
        match delay {
            Duration::ZERO => self.remove_participants(now, index, &leaving, lent),
            delay => self.calls[index].participant_mut(id).delete_at = Some(now.mono + delay),
        }
    }

    /// Takes participants out of a call, closes their ports and replans what is left.
    pub(super) fn remove_participants(&mut self, now: Now, index: usize, leaving: &[ParticipantId], lent: &mut Lent) {
        self.take_out(now, index, leaving, lent.ports, lent.numbers);
    }
}

impl Shard {
    fn take_out(
        &mut self,
        now: Now,
        index: usize,
        leaving: &[ParticipantId],
        ports: &mut dyn Ports,
        numbers: &mut dyn PortNumbers,
    ) {
        let call = &mut self.calls[index];
        let medias = leaving.iter().flat_map(|id| call.remove_participant(*id)).collect();
        self.close_medias(now, index, medias, ports, numbers);
        self.replan(now, index);
    }

    /// Takes out the participants of a call whose delayed delete is due.
    pub(in crate::engine) fn remove_due(
        &mut self,
        now: Now,
        index: usize,
        ports: &mut dyn Ports,
        numbers: &mut dyn PortNumbers,
    ) {
        let due = lifecycle::due_participants(&self.calls[index], now);
        let leaving = leaving(&self.calls[index], &due, true);
        match leaving.len() == self.calls[index].participants().count() {
            true => self.end_call(now, index, Termination::Regular, ports, numbers),
            false => self.take_out(now, index, &leaving, ports, numbers),
        }
    }
}

fn not_found(request: &Request) -> Reply {
    match request.control.is_fatal {
        true => Err(CommandError::NothingToDelete),
        false => Ok(Dictionary::new().with("warning", CommandError::NothingToDelete.to_string())),
    }
}

/// Who is meant: without tags and branch the whole call; a branch without a to-tag names its callee; else the to-tag
/// where it counts (flag `to-tag`), else the from-tag, else the branch after all. A to-tag that names nobody while the
/// caller's offer is not answered yet means the whole call.
fn target(call: &Call, request: &Request) -> Option<Target> {
    let dialogue = &request.dialogue;
    let given = |field: &'_ Option<String>| field.clone().filter(|text| !text.is_empty());
    let to_tag = given(&dialogue.to_tag).filter(|_| dialogue.match_to_tag);
    let (from_tag, branch) = (given(&dialogue.from_tag), given(&dialogue.via_branch));
    let Some(tag) = to_tag.as_ref().or(from_tag.as_ref()).or(branch.as_ref()) else { return Some(Target::Call) };
    let of_branch = call.participants().find(|(_, other)| branch.is_some() && other.via_branch == branch);
    let of_branch = of_branch.map(|(id, _)| id);
    let first = of_branch.filter(|_| to_tag.is_none());
    let of_tag = || call.find_tag(tag).map(Target::Participant);
    if let Some(target) = first.map(Target::Branch).or_else(of_tag).or(of_branch.map(Target::Branch)) {
        return Some(target);
    }
    let caller = to_tag.and(from_tag).and_then(|tag| call.find_tag(&tag))?;
    let is_pending = call.offer_answer_peers(caller).iter().any(|peer| call.participant(*peer).tag.is_none());
    is_pending.then_some(Target::Call)
}

/// `first` and everybody who has nobody left to talk to without those who leave. A callee stays with its caller while
/// another branch is heard; a branch that has not answered keeps its caller when `branches_wait`. Who publishes waits
/// for receivers.
fn leaving(call: &Call, first: &[ParticipantId], branches_wait: bool) -> Vec<ParticipantId> {
    let flows = call.subscriptions().iter().map(|flow| (call.media(flow.source).owner, call.media(flow.sink).owner));
    let mut pairs: Vec<(ParticipantId, ParticipantId)> =
        flows.flat_map(|(from, to)| [(from, to), (to, from)]).collect();
    for (id, participant) in call.participants() {
        let caller = participant.called_by;
        pairs.extend(caller.map(|caller| (id, caller)));
        pairs.extend(caller.filter(|_| branches_wait && participant.tag.is_none()).map(|caller| (caller, id)));
    }
    pairs.sort_unstable();
    pairs.dedup();
    let partners = |id: ParticipantId| {
        let start = pairs.partition_point(|pair| pair.0 < id);
        pairs[start..].iter().take_while(move |pair| pair.0 == id).map(|pair| pair.1)
    };
    let mut leaving = BTreeSet::from_iter(first.iter().copied());
    let bound: Vec<ParticipantId> =
        call.participants().filter(|(_, participant)| participant.role != Role::Other).map(|(id, _)| id).collect();
    let mut count = 0;
    while count != leaving.len() {
        count = leaving.len();
        for id in &bound {
            if partners(*id).all(|partner| leaving.contains(&partner)) {
                leaving.insert(*id);
            }
        }
    }
    leaving.into_iter().collect()
}
