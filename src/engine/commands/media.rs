//! Commands that change what happens to media without changing who hears whom.

use super::{CommandError, Reply};
use crate::base::time::Now;
use crate::call::{Call, ParticipantId, SubscriptionKind};
use crate::engine::{Output, Shard};
use crate::negotiate::Failure;
use crate::negotiate::select::{self, Selection};
use crate::ng::request::dialogue::All;
use crate::ng::{Dictionary, Request};

impl Shard {
    pub(super) fn set_media_block(&mut self, now: Now, request: &Request, is_blocked: bool) -> Reply {
        let index = self.known(request, CommandError::UnknownCallIdOfMediaCommand)?;
        let call = &mut self.calls[index];
        let names_flow = request.dialogue.to_tag.is_some() || request.dialogue.to_label.is_some();
        let names_flows = !matches!(request.dialogue.all, All::None | All::All);
        if names_flow || names_flows {
            block_flows(call, request, is_blocked)?;
        } else {
            match select::target(call, request, request.dialogue.is_directional)? {
                Selection::Participant(id) => call.participant_mut(id).blocks_media = is_blocked,
                Selection::WholeCall => {
                    call.blocks_media = is_blocked;
                    let is_all = request.dialogue.all == All::All;
                    every_participant(call, !is_blocked && is_all, |participant| participant.blocks_media = false);
                }
            }
        }
        self.replan(now, index);
        Ok(Dictionary::new())
    }

    pub(super) fn set_dtmf_block(&mut self, now: Now, request: &Request, is_blocked: bool) -> Reply {
        let index = self.known(request, CommandError::UnknownCallIdOfMediaCommand)?;
        let call = &mut self.calls[index];
        match select::target(call, request, request.dialogue.is_directional)? {
            Selection::Participant(id) => call.participant_mut(id).blocks_dtmf = is_blocked,
            Selection::WholeCall => {
                call.blocks_dtmf = is_blocked;
                let is_all = request.dialogue.all == All::All;
                every_participant(call, !is_blocked && is_all, |participant| participant.blocks_dtmf = false);
            }
        }
        self.replan(now, index);
        Ok(Dictionary::new())
    }

    /// Silence is not generated yet: silenced media is dropped, which sounds the same where the receiver conceals it.
    pub(super) fn set_silence(&mut self, now: Now, request: &Request, is_silenced: bool) -> Reply {
        let index = self.known(request, CommandError::UnknownCallIdOfMediaCommand)?;
        let call = &mut self.calls[index];
        let silence = |participant: &mut crate::call::Participant| participant.silences_media = is_silenced;
        match select::target(call, request, true)? {
            Selection::Participant(id) => silence(call.participant_mut(id)),
            Selection::WholeCall => every_participant(call, true, silence),
        }
        self.replan(now, index);
        self.warn(request, "silence is not generated yet; the media is dropped");
        Ok(Dictionary::new())
    }

    /// Streaming of PCM is not built; the command is accepted with a warning so that scripts go on.
    pub(super) fn forwarding(&mut self, request: &Request) -> Reply {
        let index = self.known(request, CommandError::UnknownCallIdOfMediaCommand)?;
        select::target(&self.calls[index], request, request.dialogue.is_directional)?;
        self.warn(request, "PCM forwarding is not supported yet");
        Ok(Dictionary::new())
    }

    fn warn(&mut self, request: &Request, text: &str) {
        let call_id = request.dialogue.call_id.clone().unwrap_or_default();
        self.outputs.push(Output::Warning { call_id, text: format!("{}: {text}", request.command.name()) });
    }

    pub(super) fn recording(&mut self, request: &Request) -> Reply {
        self.known(request, CommandError::UnknownCallId)?;
        Err(CommandError::NotBuilt("Recording is not supported yet"))
    }

    pub(super) fn playback(&mut self, request: &Request) -> Reply {
        let index = self.known(request, CommandError::UnknownCallIdOfMediaCommand)?;
        select::target(&self.calls[index], request, true)?;
        Err(CommandError::NotBuilt("Media playback is not supported yet"))
    }
}

fn every_participant(call: &mut Call, applies: bool, mut change: impl FnMut(&mut crate::call::Participant)) {
    let ids: Vec<ParticipantId> = call.participants().map(|(id, _)| id).filter(|_| applies).collect();
    ids.into_iter().for_each(|id| change(call.participant_mut(id)));
}

/// Blocks the flows from the chosen participant to the named one, or those of the named kind.
fn block_flows(call: &mut Call, request: &Request, is_blocked: bool) -> Result<(), Failure> {
    let source = match (&request.dialogue.label, request.dialogue.from_tag.as_deref()) {
        (Some(label), _) => call.find_label(label).ok_or(Failure::NoSuchLabel)?,
        (None, tag) => call.find_tag(tag.unwrap_or_default()).ok_or(Failure::NoSuchFromTag)?,
    };
    let destination = select::destination(call, request)?;
    let all = request.dialogue.all;
    let flows: Vec<(ParticipantId, ParticipantId, SubscriptionKind)> = (call.subscriptions().iter())
        .map(|flow| (call.media(flow.source).owner, call.media(flow.sink).owner, flow.kind))
        .collect();
    let mut is_any = false;
    for (flow, (from, to, kind)) in call.subscriptions_mut().zip(flows) {
        let is_kind = match all {
            All::OfferAnswer => kind == SubscriptionKind::OfferAnswer,
            All::ExceptOfferAnswer => kind != SubscriptionKind::OfferAnswer,
            All::None | All::All | All::Flows => true,
        };
        if from == source && destination.is_none_or(|destination| destination == to) && is_kind {
            flow.is_blocked = is_blocked;
            is_any = true;
        }
    }
    match (is_any, destination) {
        (true, _) => Ok(()),
        (false, Some(_)) => Err(Failure::NotSubscribed),
        (false, None) => Err(Failure::NoFlows),
    }
}
