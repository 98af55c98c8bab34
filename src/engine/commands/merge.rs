//! `connect`, `mesh` and `inject`: parties are joined, and the calls that they are in become one.

use super::{CommandError, Lent, Reply};
use crate::base::id::StreamId;
use crate::base::time::Now;
use crate::call::{Call, Media};
use crate::engine::{Output, Shard};
use crate::negotiate::{Failure, connect, inject, mesh};
use crate::ng::request::dialogue::All;
use crate::ng::{Dictionary, Request};

/// What calls would be as one. Nothing is changed until it is taken on.
struct Candidate {
    call: Call,
    /// Where the merged call is, and those that become part of it.
    index: usize,
    absorbed: Vec<usize>,
}

impl Shard {
    pub(super) fn connect(&mut self, now: Now, request: &Request, lent: &mut Lent) -> Reply {
        let index = self.known(request, CommandError::UnknownCallIds)?;
        let dialogue = &request.dialogue;
        let is_chosen = dialogue.all != All::None || !dialogue.from_tags.is_empty();
        if !is_chosen && dialogue.label.is_none() && dialogue.address.is_none() {
            request.from_tag()?;
        }
        let to_tag = request.to_tag()?;
        let other = self.second(index, dialogue.to_call_id.as_deref())?;
        // Whoever is to be heard is in the first call, and who is to hear in the second.
        let to = self.calls[other].find_tag(to_tag).ok_or(Failure::NoSuchToTag)?;
        let mut candidate = self.merged(&[index, other]).ok_or(CommandError::TagCollision)?;
        let to = if other == index { to } else { candidate.call.find_tag(to_tag).ok_or(Failure::NoSuchToTag)? };
        let sources = connect::sources(&self.calls[index], request, to)?;
        connect::connect(&mut candidate.call, &sources, to, request)?;
        self.take_on(now, candidate, request, lent);
        Ok(Dictionary::new())
    }

    pub(super) fn mesh(&mut self, now: Now, request: &Request, lent: &mut Lent) -> Reply {
        let calls = &request.dialogue.calls;
        if calls.is_empty() {
            request.call_id()?;
        }
        let indices: Option<Vec<usize>> = calls.iter().map(|id| self.by_id.get(id).copied()).collect();
        let indices = indices.filter(|indices| !indices.is_empty()).ok_or(CommandError::UnknownCallsOfMesh)?;
        self.current = calls.first().cloned();
        let mut candidate = self.merged(&indices).ok_or(CommandError::TagCollisionOfMesh)?;
        mesh::mesh(&mut candidate.call, request)?;
        self.take_on(now, candidate, request, lent);
        Ok(Dictionary::new())
    }

    /// Injects a party of this call or of another, which then become one.
    pub(super) fn inject_start(&mut self, now: Now, request: &Request, lent: &mut Lent) -> Reply {
        let index = self.known(request, CommandError::UnknownCallIds)?;
        let (to_tag, source_tag) = (request.to_tag()?, request.source_tag()?);
        let other = self.second(index, request.dialogue.source_call_id.as_deref())?;
        let to = self.calls[index].find_tag(to_tag).ok_or(Failure::NoSuchToTag)?;
        self.calls[other].find_tag(source_tag).ok_or(Failure::NoSuchSourceTag)?;
        let mut candidate = self.merged(&[index, other]).ok_or(CommandError::TagCollision)?;
        let source = candidate.call.find_tag(source_tag).ok_or(Failure::NoSuchSourceTag)?;
        inject::start(&mut candidate.call, source, to)?;
        self.take_on(now, candidate, request, lent);
        Ok(Dictionary::new())
    }

    pub(super) fn inject_stop(&mut self, now: Now, request: &Request, lent: &mut Lent) -> Reply {
        let index = self.known(request, CommandError::UnknownCallIds)?;
        request.to_tag()?;
        request.source_tag()?;
        self.negotiate(now, index, request, lent, |call, _| inject::stop(call, request))?;
        Ok(Dictionary::new())
    }

    /// The second call that a request names, or else the first again.
    fn second(&self, first: usize, id: Option<&str>) -> Result<usize, CommandError> {
        match id.filter(|id| !id.is_empty()) {
            Some(id) => self.by_id.get(id).copied().ok_or(CommandError::UnknownCallIds),
            None => Ok(first),
        }
    }

    /// The calls at `indices` as one, under the first one's call-id; none when a tag is used in two of them.
    fn merged(&self, indices: &[usize]) -> Option<Candidate> {
        let (index, others) = indices.split_first()?;
        let mut candidate = Candidate { call: self.calls[*index].clone(), index: *index, absorbed: Vec::new() };
        for other in others {
            if other == index || candidate.absorbed.contains(other) {
                continue;
            }
            let call = &self.calls[*other];
            if candidate.call.collides_with(call) {
                return None;
            }
            candidate.call.absorb(call.clone());
            candidate.absorbed.push(*other);
        }
        Some(candidate)
    }

    /// Puts the merged call in the place of those that it is made of.
    fn take_on(&mut self, now: Now, candidate: Candidate, request: &Request, lent: &mut Lent) {
        let Candidate { call, index, absorbed } = candidate;
        for other in absorbed {
            let part = self.calls.remove(other);
            for (_, media) in part.medias() {
                streams(media).for_each(|id| self.relay.set_owner(id, index as u32));
            }
            if part.tos != call.tos {
                let ports = part.medias().flat_map(|(_, media)| &media.port_sets).flat_map(|set| set.ports());
                ports.for_each(|port| lent.ports.set_tos(port.token, call.tos.unwrap_or_default()));
            }
            self.by_id.extend(part.ids().map(|id| (id.to_owned(), index)));
            self.outputs.push(Output::Merged { call_id: part.id, into: call.id.clone() });
        }
        self.calls[index] = call;
        if !self.waiting.is_empty() {
            self.apply_waiting(index);
        }
        self.signal(now, index, request, lent);
        self.replan(now, index);
    }
}

fn streams(media: &Media) -> impl Iterator<Item = StreamId> {
    media.rtp_stream.into_iter().chain(media.rtcp_stream)
}
