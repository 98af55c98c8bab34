//! What is said to senders in place of receivers whose RTCP does not reach them.

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
    /// Payload types of retransmissions (RFC 4588).
    pub retransmissions: SmallVec<[u8; 8]>,
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
    let mut number = None;
    for media in medias {
        let is_repair = |codec: &&Codec| codec.name.eq_ignore_ascii_case("rtx");
        let knows = |codec: &Codec, what: &str| codec.feedback.iter().any(|value| value == what);
        if media.kind == "video" {
            let kept = media.codecs.iter().filter(|codec| knows(codec, "nack") && !is_repair(codec));
            feedback.kept.extend(kept.map(|codec| codec.payload_type));
            let repair = media.codecs.iter().filter(is_repair);
            feedback.retransmissions.extend(repair.map(|codec| codec.payload_type));
        }
        has[0] |= media.codecs.iter().any(|codec| knows(codec, "transport-cc"));
        has[1] |= media.codecs.iter().any(|codec| knows(codec, "goog-remb"));
        let extensions = media.attributes.iter().chain(&media.masked_extensions).filter_map(Attribute::extension);
        let transport_wide = extensions.filter(|(_, uri)| *uri == TRANSPORT_WIDE_EXTENSION).map(|found| found.0).next();
        number = number.or(transport_wide);
    }
    feedback.bandwidth = match (has[0].then_some(number).flatten(), has[1]) {
        (Some(number), _) => Some(Bandwidth::Transport(number)),
        (None, true) => Some(Bandwidth::Estimate),
        (None, false) => None,
    };
    feedback
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
        if !unreached {
            continue;
        }
        let mut feedback = negotiated(call, id);
        if reached {
            (feedback.is_sole, feedback.bandwidth) = (false, None);
            if !has_asking_receiver(call, id) {
                feedback.kept.clear();
            }
        }
        let is_of_use = feedback.is_sole || !feedback.kept.is_empty();
        plans[place].1.feedback = is_of_use.then(|| Box::new(feedback));
    }
}

/// Whether RTCP of some receiver of a stream reaches its sender, and whether that of some receiver does not.
fn receivers(plans: &[(StreamId, ForwardingPlan)], place: usize) -> (bool, bool) {
    let plan_of = |id: StreamId| plans.binary_search_by_key(&id, |(id, _)| *id).ok().map(|found| &plans[found].1);
    let (origin, plan) = &plans[place];
    let (mut reached, mut unreached) = (false, false);
    let mut before = None;
    for receiver in plan.media_sinks().map(|sink| sink.egress) {
        // The medias of a bundle go to one receiver by one stream.
        if before.replace(receiver) == Some(receiver) {
            continue;
        }
        let arrives = plan_of(receiver).and_then(|plan| plan.reports).and_then(plan_of);
        let mut goes_to = arrives.into_iter().flat_map(ForwardingPlan::control_sinks).map(|sink| sink.egress);
        let is_reached =
            goes_to.any(|id| id == *origin || plan_of(id).is_some_and(|plan| plan.sources == Some(*origin)));
        (reached, unreached) = (reached || is_reached, unreached || !is_reached);
    }
    (reached, unreached)
}
