//! `query`: statistics of a call.

use super::{CommandError, Reply};
use crate::call::ParticipantId;
use crate::engine::Shard;
use crate::ng::Request;
use crate::observe;

impl Shard {
    pub(super) fn query(&self, request: &Request) -> Reply {
        let index = self.known(request, CommandError::UnknownCallId)?;
        let call = &self.calls[index];
        let given = [&request.dialogue.to_tag, &request.dialogue.from_tag];
        let tag = given.into_iter().flatten().find(|tag| !tag.is_empty());
        let Some(tag) = tag else {
            return Ok(observe::query::query(call, &self.relay, None, self.settings.ssrc_reporting));
        };
        let chosen = call.find_tag(tag);
        let mut reported: Vec<ParticipantId> = chosen.into_iter().collect();
        reported.extend(chosen.into_iter().flat_map(|id| call.sources_of(id)).map(|(source, _)| source));
        Ok(observe::query::query(call, &self.relay, Some(&reported), self.settings.ssrc_reporting))
    }
}
