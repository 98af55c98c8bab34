//! Commands that change what happens to media without changing who hears whom.

use super::{CommandError, Reply};
use crate::base::time::Now;
use crate::call::{Call, Participant, ParticipantId, Subscription, SubscriptionKind};
use crate::engine::{Output, Shard};
use crate::negotiate::Failure;
use crate::negotiate::select::{self, Selection};
use crate::ng::request::dialogue::All;
use crate::ng::request::dtmf::DtmfSecurity;
use crate::ng::{Dictionary, Request};

impl Shard {
    pub(super) fn set_media_block(&mut self, now: Now, request: &Request, is_blocked: bool) -> Reply {
        let index = self.known(request, CommandError::UnknownCallIdOfMediaCommand)?;
        let call = &mut self.calls[index];
        match selected(call, request, request.dialogue.is_directional)? {
            Selection::Participant(id) => match names_flows(request) {
                true => change_flows(call, id, request, |flow| flow.is_blocked = is_blocked)?,
                false => call.participant_mut(id).blocks_media = is_blocked,
            },
            Selection::WholeCall => {
                call.blocks_media = is_blocked;
                let unblocks_all = !is_blocked && request.dialogue.all == All::All;
                every_participant(call, unblocks_all, |participant| participant.blocks_media = false);
            }
        }
        self.replan(now, index);
        Ok(Dictionary::new())
    }

    pub(super) fn set_dtmf_block(&mut self, now: Now, request: &Request, is_blocked: bool) -> Reply {
        let index = self.known(request, CommandError::UnknownCallIdOfMediaCommand)?;
        let is_triggered = request.dtmf.trigger.is_some() && request.dtmf.security.is_none();
        if is_triggered {
            self.warn(request, "triggers are not supported yet; events pass");
        }
        let is_off = is_triggered || request.dtmf.security == Some(DtmfSecurity::Off);
        let is_blocked = is_blocked && !is_off;
        let call = &mut self.calls[index];
        match selected(call, request, request.dialogue.is_directional)? {
            Selection::Participant(id) => call.participant_mut(id).blocks_dtmf = is_blocked,
            Selection::WholeCall => {
                call.blocks_dtmf = is_blocked;
                let unblocks_all = !is_blocked && request.dialogue.all == All::All;
                every_participant(call, unblocks_all, |participant| participant.blocks_dtmf = false);
            }
        }
        self.replan(now, index);
        Ok(Dictionary::new())
    }

    /// Media is replaced by silence where its codec is G.711 or G.722 and the receiver has a key of its own, else dropped.
    pub(super) fn set_silence(&mut self, now: Now, request: &Request, is_silenced: bool) -> Reply {
        let index = self.known(request, CommandError::UnknownCallIdOfMediaCommand)?;
        let call = &mut self.calls[index];
        let silence = |participant: &mut Participant| participant.silences_media = is_silenced;
        match selected(call, request, true)? {
            Selection::Participant(id) => match names_flows(request) {
                true => change_flows(call, id, request, |flow| flow.is_silenced = is_silenced)?,
                false => silence(call.participant_mut(id)),
            },
            Selection::WholeCall => every_participant(call, true, silence),
        }
        self.replan(now, index);
        Ok(Dictionary::new())
    }

    /// Streaming of PCM is not built; the command is accepted with a warning so that scripts go on.
    pub(super) fn forwarding(&mut self, request: &Request) -> Reply {
        let index = self.known(request, CommandError::UnknownCallIdOfMediaCommand)?;
        selected(&mut self.calls[index], request, request.dialogue.is_directional)?;
        self.warn(request, "PCM forwarding is not supported yet");
        Ok(Dictionary::new())
    }

    pub(super) fn warn(&mut self, request: &Request, text: &str) {
        let call_id = request.dialogue.call_id.clone().unwrap_or_default();
        self.outputs.push(Output::Warning { call_id, text: format!("{}: {text}", request.command.name()) });
    }

    pub(super) fn recording(&mut self, request: &Request) -> Reply {
        self.known(request, CommandError::UnknownCallId)?;
        Err(CommandError::NotBuilt("Recording is not supported yet"))
    }

    pub(super) fn playback(&mut self, request: &Request) -> Reply {
        let index = self.known(request, CommandError::UnknownCallIdOfMediaCommand)?;
        selected(&mut self.calls[index], request, true)?;
        Err(CommandError::NotBuilt("Media playback is not supported yet"))
    }
}

/// The participant that a command is about, with the label that the request gives it.
fn selected(call: &mut Call, request: &Request, from_tag_counts: bool) -> Result<Selection, Failure> {
    let selection = select::target(call, request, from_tag_counts)?;
    if let (Selection::Participant(id), Some(label)) = (&selection, &request.dialogue.set_label) {
        call.participant_mut(*id).label = Some(label.clone());
    }
    Ok(selection)
}

fn every_participant(call: &mut Call, applies: bool, mut change: impl FnMut(&mut Participant)) {
    let ids: Vec<ParticipantId> = call.participants().map(|(id, _)| id).filter(|_| applies).collect();
    ids.into_iter().for_each(|id| change(call.participant_mut(id)));
}

/// Whether a command with a participant is about some of its flows only.
fn names_flows(request: &Request) -> bool {
    let dialogue = &request.dialogue;
    let is_given = |field: &Option<String>| field.as_deref().is_some_and(|text| !text.is_empty());
    let is_kind = !matches!(dialogue.all, All::None | All::All);
    is_given(&dialogue.to_tag) || is_given(&dialogue.to_label) || is_kind
}

/// Changes the flows from `source` to the named participant, or those of the named kind.
fn change_flows(
    call: &mut Call,
    source: ParticipantId,
    request: &Request,
    change: impl Fn(&mut Subscription),
) -> Result<(), Failure> {
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
            change(flow);
            is_any = true;
        }
    }
    match (is_any, destination) {
        (true, _) => Ok(()),
        (false, Some(_)) => Err(Failure::NotSubscribed),
        (false, None) => Err(Failure::NoFlows),
    }
}
