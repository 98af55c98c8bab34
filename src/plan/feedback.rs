//! What is said to senders in place of receivers whose RTCP does not reach them.

use super::repair::{self, Repair};
use super::{Component, ForwardingPlan, StreamId};
use crate::call::{Call, MediaId};
use crate::sdp::attribute::TRANSPORT_WIDE_EXTENSION;
use crate::sdp::{Attribute, Codec};
use smallvec::SmallVec;

/// What a sender gets in place of its receivers' RTCP.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Feedback {
    /// Payload types of video of which receivers may ask for lost packets (RFC 4585, section 6.2.1): packets are kept
    /// for some receiver.
    pub kept: SmallVec<[u8; 8]>,
    /// How the sender sends packets again (RFC 4588).
    pub repair: Repair,
    /// Streams whose receivers speak to the sender themselves, and hear its retransmissions as they are.
    pub reached: SmallVec<[StreamId; 2]>,
    /// No receiver speaks to the sender: it gets reports, requests for what it lost on its own way here, and
    /// `bandwidth`.
    pub is_sole: bool,
    pub bandwidth: Option<Bandwidth>,
}

/// How a sender learns of the bandwidth that it may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bandwidth {
    /// From arrival times, by the header extension of this number.
    Transport(u8),
    /// By an estimate (`goog-remb`).
    Estimate,
}

/// What was negotiated with the sender of everything that comes in through a media's port.
fn negotiated(call: &Call, id: MediaId) -> Feedback {
    let owner = call.participant(call.media(id).owner);
    let medias = owner.medias.iter().filter(|other| call.transport_of(**other) == id).map(|other| call.media(*other));
    let medias = medias.filter(|media| media.is_rtp() && !media.is_rejected);
    let mut feedback = Feedback { is_sole: true, ..Feedback::default() };
    let mut has = [false; 2];
    for media in medias {
        let is_repair = |codec: &&Codec| codec.name.eq_ignore_ascii_case("rtx");
        let knows = |codec: &Codec, what: &str| codec.feedback.iter().any(|value| value == what);
        if media.kind == "video" {
            let kept = media.codecs.iter().filter(|codec| knows(codec, "nack") && !is_repair(codec));
            feedback.kept.extend(kept.map(|codec| codec.payload_type));
            feedback.repair.payload_types.extend(repair::payload_types(media));
            feedback.repair.sources.extend(repair::sources(media));
        }
        has[0] |= media.codecs.iter().any(|codec| knows(codec, "transport-cc"));
        has[1] |= media.codecs.iter().any(|codec| knows(codec, "goog-remb"));
    }
    feedback.bandwidth = match (transport_wide_number(call, id).filter(|_| has[0]), has[1]) {
        (Some(number), _) => Some(Bandwidth::Transport(number)),
        (None, true) => Some(Bandwidth::Estimate),
        (None, false) => None,
    };
    feedback
}

/// The number of the header extension with transport-wide sequence numbers in what comes in through a media's port.
fn transport_wide_number(call: &Call, id: MediaId) -> Option<u8> {
    let medias = &call.participant(call.media(id).owner).medias;
    let medias = medias.iter().filter(|other| call.transport_of(**other) == id).map(|other| call.media(*other));
    let attributes = medias.flat_map(|media| media.attributes.iter().chain(&media.masked_extensions));
    let extensions = attributes.filter_map(Attribute::extension);
    extensions.filter(|(_, uri)| *uri == TRANSPORT_WIDE_EXTENSION).map(|found| found.0).next()
}

/// Receivers that do not speak to the sender get transport-wide sequence numbers of their own: what they receive is not
/// what the sender has numbered. Where packets are sent again as they were, numbers would differ the second time under
/// one SRTP index: there the extension is left out.
fn number_anew(plan: &mut ForwardingPlan, unreached: &[StreamId], feedback: &Feedback, number: Option<u8>) {
    let Some(number) = number.filter(|number| (1..15).contains(number)) else { return };
    let ForwardingPlan { media, bundle, tables, .. } = plan;
    let branches = bundle.iter_mut().flat_map(|bundle| &mut bundle.branches);
    let branches = branches.map(|branch| (Some(&branch.payload_types), &mut branch.media));
    for (own, sinks) in branches.chain([(None, media)]) {
        let kept = || feedback.kept.iter().filter(|kept| own.is_none_or(|own| own.contains(kept)));
        for sink in sinks.iter_mut().filter(|sink| !sink.passes && unreached.contains(&sink.egress)) {
            let repair = sink.repair.and_then(|place| tables.as_ref()?.repairs.get(place.index()));
            let is_repaired = |kept: &u8| repair.is_some_and(|repair| repair.repairing(*kept).is_some());
            match kept().all(is_repaired) {
                _ if sink.masked_extensions >> number & 1 == 1 => {}
                true => sink.transport_wide = Some(number),
                false => sink.masked_extensions |= 1 << number,
            }
        }
    }
}

/// Whether some receiver of what comes in through a media's port asks for lost packets.
fn has_asking_receiver(call: &Call, id: MediaId) -> bool {
    let flows = call.subscriptions().iter().filter(|flow| call.transport_of(flow.source) == id);
    let mut codecs = flows.flat_map(|flow| &call.media(flow.sink).codecs);
    codecs.any(|codec| codec.feedback.iter().any(|value| value == "nack"))
}

/// Adds to the plans of senders what their receivers do not say themselves.
pub(super) fn add(call: &Call, plans: &mut [(StreamId, ForwardingPlan)]) {
    plans.sort_unstable_by_key(|(id, _)| *id);
    for (id, media) in call.medias() {
        let place = media.rtp_stream.and_then(|rtp| plans.binary_search_by_key(&rtp, |(id, _)| *id).ok());
        let Some(place) = place.filter(|place| plans[*place].1.component != Component::Opaque) else { continue };
        let (reached, unreached) = receivers(plans, place);
        if unreached.is_empty() {
            continue;
        }
        let mut feedback = negotiated(call, id);
        let transport_wide = transport_wide_number(call, id);
        number_anew(&mut plans[place].1, &unreached, &feedback, transport_wide);
        feedback.reached = reached;
        if !feedback.reached.is_empty() {
            (feedback.is_sole, feedback.bandwidth) = (false, None);
            if !has_asking_receiver(call, id) {
                feedback.kept.clear();
            }
        }
        let is_of_use = feedback.is_sole || !feedback.kept.is_empty();
        plans[place].1.feedback = is_of_use.then(|| Box::new(feedback));
    }
}

/// The streams of receivers whose RTCP reaches the sender of a stream, and of those whose RTCP does not.
fn receivers(plans: &[(StreamId, ForwardingPlan)], place: usize) -> (SmallVec<[StreamId; 2]>, Vec<StreamId>) {
    let plan_of = |id: StreamId| plans.binary_search_by_key(&id, |(id, _)| *id).ok().map(|found| &plans[found].1);
    let (origin, plan) = &plans[place];
    let (mut reached, mut unreached) = (SmallVec::new(), Vec::new());
    let mut before = None;
    for sink in plan.media_sinks() {
        let receiver = sink.egress;
        let rewrite = sink.rewrite.and_then(|place| plan.tables().rewrites.get(place.index()));
        let gets_layer = rewrite.is_some_and(|rewrite| rewrite.choice.is_some());
        // The medias of a bundle go to one receiver by one stream.
        if before.replace(receiver) == Some(receiver) {
            continue;
        }
        let arrives = plan_of(receiver).and_then(|plan| plan.reports).and_then(plan_of);
        let mut goes_to = arrives.into_iter().flat_map(ForwardingPlan::control_sinks).map(|sink| sink.egress);
        match !gets_layer
            && goes_to.any(|id| id == *origin || plan_of(id).is_some_and(|plan| plan.sources == Some(*origin)))
        {
            true => reached.push(receiver),
            false => unreached.push(receiver),
        }
    }
    (reached, unreached)
}
