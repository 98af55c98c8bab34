//! One message of an offer/answer exchange (RFC 3264), from the description received to the one shown.

use super::local_ports::{self, Place};
use super::parties::{self, Parties};
use super::rtcp_mux::{self, Wishes};
use super::{Failure, Surroundings, codecs, receive, show};
use crate::base::address::Family;
use crate::call::{Call, MediaId, ParticipantId, Subscription, SubscriptionKind};
use crate::ng::Request;
use crate::sdp::{self, Protocol, SessionDescription};

/// Whether a description offers or answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Offer,
    Answer,
}

/// A media of the sender and the one of the receiver that it goes with; none where the receiver is not to see it.
pub type Pair = (MediaId, Option<MediaId>);

/// Works off an offer and returns the description for the other side.
///
/// # Errors
/// See [`Failure`].
pub fn offer(call: &mut Call, request: &Request, around: &mut Surroundings) -> Result<String, Failure> {
    let text = request.sdp.text.as_deref().unwrap_or_default();
    let description = parse(text)?;
    if request.output.loop_protect && is_own(&description, around.instance_id) {
        return Ok(text.to_owned());
    }
    let parties = parties::of_offer(call, request, around.now)?;
    label(call, parties.sender, request);
    let pairs = pair_up(call, parties, &description, request);
    receive::receive(call, parties.sender, &description, request, around)?;
    for (sent, received) in &pairs {
        if let Some(received) = received {
            prepare(call, *sent, *received, Step::Offer, request, around)?;
        }
    }
    show::exchange(call, parties, &pairs, Step::Offer, request, around)
}

/// Works off an answer and returns the description for the offerer.
///
/// # Errors
/// See [`Failure`].
pub fn answer(call: &mut Call, request: &Request, around: &mut Surroundings) -> Result<String, Failure> {
    let description = parse(request.sdp.text.as_deref().unwrap_or_default())?;
    let parties = parties::of_answer(call, request, around.now)?;
    label(call, parties.sender, request);
    let pairs = pair_up(call, parties, &description, request);
    receive::receive(call, parties.sender, &description, request, around)?;
    make_exclusive(call, parties);
    for (sent, received) in &pairs {
        if let Some(received) = received {
            prepare(call, *sent, *received, Step::Answer, request, around)?;
        }
    }
    call.is_answered = true;
    show::exchange(call, parties, &pairs, Step::Answer, request, around)
}

/// Reads a body; an empty one is a description without medias.
pub(super) fn parse(text: &str) -> Result<SessionDescription, Failure> {
    match text.trim().is_empty() {
        true => Ok(SessionDescription::default()),
        false => Ok(sdp::parse(text)?),
    }
}

fn is_own(description: &SessionDescription, instance_id: &str) -> bool {
    let is_mark = |attribute: &sdp::Attribute| attribute.name == "rtpengine" && attribute.value() == instance_id;
    description.session.attributes.iter().any(is_mark)
}

pub(super) fn label(call: &mut Call, id: ParticipantId, request: &Request) {
    let participant = call.participant_mut(id);
    if let Some(label) = &request.dialogue.label {
        participant.label = Some(label.clone());
    }
}

/// Joins the sender's medias to the receiver's, both ways, in the order of the sender's `m=` lines. Medias that are
/// not known yet are made; removed media types (`sdp-media-remove`) get no partner.
fn pair_up(call: &mut Call, parties: Parties, description: &SessionDescription, request: &Request) -> Vec<Pair> {
    let mut pairs = Vec::with_capacity(description.medias.len());
    for (position, section) in description.medias.iter().enumerate() {
        let sent = call.media_at(parties.sender, position, &section.kind);
        if request.output.remove_media.iter().any(|kind| kind.covers(&section.kind)) {
            pairs.push((sent, None));
            continue;
        }
        let received = partner(call, sent, parties.receiver).unwrap_or_else(|| {
            let next = call.participant(parties.receiver).medias.len();
            let received = call.media_at(parties.receiver, next, &section.kind);
            call.media_mut(received).behaviour = call.media(sent).behaviour;
            received
        });
        call.subscribe(Subscription::new(sent, received, SubscriptionKind::OfferAnswer));
        call.subscribe(Subscription::new(received, sent, SubscriptionKind::OfferAnswer));
        pairs.push((sent, Some(received)));
    }
    pairs
}

/// The media of `other` that `id` exchanges offers and answers with, or a free one at the same place.
pub(super) fn partner(call: &Call, id: MediaId, other: ParticipantId) -> Option<MediaId> {
    let is_partner = |candidate: &MediaId| {
        call.subscriptions().iter().any(|subscription| {
            subscription.kind == SubscriptionKind::OfferAnswer
                && (subscription.source, subscription.sink) == (id, *candidate)
        })
    };
    let medias = &call.participant(other).medias;
    let is_free = |candidate: &MediaId| {
        !call.subscriptions().iter().any(|subscription| {
            subscription.kind == SubscriptionKind::OfferAnswer
                && subscription.source == *candidate
                && call.media(subscription.sink).owner == call.media(id).owner
        })
    };
    let same_place = || medias.get(call.media(id).index - 1).copied().filter(is_free);
    medias.iter().copied().find(is_partner).or_else(same_place)
}

/// Once one callee has answered, the offerer and the other branches no longer hear each other.
fn make_exclusive(call: &mut Call, parties: Parties) {
    call.unsubscribe(|call, subscription| {
        let owners = (call.media(subscription.source).owner, call.media(subscription.sink).owner);
        let of_offerer = owners.0 == parties.receiver || owners.1 == parties.receiver;
        let of_answerer = owners.0 == parties.sender || owners.1 == parties.sender;
        subscription.kind == SubscriptionKind::OfferAnswer && of_offerer && !of_answerer
    });
}

/// Brings the receiver's media in line with what the sender's has become.
fn prepare(
    call: &mut Call,
    sent: MediaId,
    received: MediaId,
    step: Step,
    request: &Request,
    around: &mut Surroundings,
) -> Result<(), Failure> {
    let sender = call.media(sent).clone();
    let receiver = call.media_mut(received);
    receiver.kind.clone_from(&sender.kind);
    receiver.signalled_at = around.now.mono;
    let protocol = match step {
        Step::Offer => protocol_of_offer(&sender, receiver, request),
        Step::Answer if request.transport.accept_protocol => sender.protocol.clone().unwrap_or_default(),
        Step::Answer => receive::default_protocol(&sender, receiver),
    };
    if protocol.is_secure() {
        return Err(Failure::Secure);
    }
    receiver.protocol = Some(protocol);
    prepare_codecs(call, sent, received, step, request);
    prepare_mux(call, sent, received, step, request);
    if sender.is_rejected || call.media(received).is_rejected && step == Step::Answer {
        local_ports::release(call, received, around);
        if step == Step::Answer {
            local_ports::release(call, sent, around);
        }
        return Ok(());
    }
    match sender.is_relayed() {
        true => prepare_ports(call, sent, received, step, request, around),
        false => Ok(()),
    }
}

fn protocol_of_offer(sender: &crate::call::Media, receiver: &crate::call::Media, request: &Request) -> Protocol {
    match request.transport.protocol {
        Some(named) if sender.is_rtp() => Protocol::parse(named.name()),
        _ => receive::default_protocol(sender, receiver),
    }
}

fn prepare_codecs(call: &mut Call, sent: MediaId, received: MediaId, step: Step, request: &Request) {
    let sender = call.media_mut(sent);
    let shown = match step {
        Step::Offer => {
            sender.ignored = (sender.codecs.iter())
                .filter(|codec| codecs::names(&request.codecs.ignore, codec))
                .map(|codec| codec.payload_type)
                .collect();
            let list = codecs::offered(&sender.codecs, &request.codecs);
            match list.is_empty() && !request.codecs.allow_empty_media {
                true => sender.codecs.clone(),
                false => list,
            }
        }
        Step::Answer => {
            let answer = sender.codecs.clone();
            let offerer = call.media(received);
            codecs::answered(&answer, &offerer.codecs, &offerer.ignored, request.codecs.single)
        }
    };
    call.media_mut(received).shown_codecs = shown;
}

fn prepare_mux(call: &mut Call, sent: MediaId, received: MediaId, step: Step, request: &Request) {
    let (mut sender, mut receiver) = (call.media(sent).rtcp_mux, call.media(received).rtcp_mux);
    match step {
        Step::Offer => rtcp_mux::on_offer(&mut sender, &mut receiver, wishes(request)),
        Step::Answer => rtcp_mux::on_answer(&mut sender, &mut receiver, wishes(request)),
    }
    call.media_mut(sent).rtcp_mux = sender;
    call.media_mut(received).rtcp_mux = receiver;
}

pub(super) fn wishes(request: &Request) -> Wishes {
    let mux = request.transport.rtcp_mux;
    Wishes { offer: mux.offer, require: mux.require, demux: mux.demux, accept: mux.accept, reject: mux.reject }
}

fn prepare_ports(
    call: &mut Call,
    sent: MediaId,
    received: MediaId,
    step: Step,
    request: &Request,
    around: &mut Surroundings,
) -> Result<(), Failure> {
    let network = &request.network;
    if step == Step::Offer && network.from_interface.is_some() {
        let media = call.media(sent);
        let family = media.family.unwrap_or(Family::Ip4);
        let interface =
            local_ports::choose_interface(media.interface, network.from_interface.as_deref(), family, around);
        call.media_mut(sent).interface = Some(interface);
    }
    let other_family = call.media(sent).family;
    let other_side = call.media(sent).signalled.rtp;
    let receiver = call.media(received);
    let wanted = network.address_family.filter(|_| step == Step::Offer);
    let family = wanted.or(receiver.family).or(other_family).unwrap_or(Family::Ip4);
    let named = network.to_interface.as_deref().filter(|_| step == Step::Offer);
    let interface = local_ports::choose_interface(receiver.interface, named, family, around);
    let needs_rtcp = receiver.is_rtp() && !receiver.rtcp_mux.is_agreed;
    let media = call.media_mut(received);
    media.family = Some(family);
    media.interface = Some(interface);
    let place = Place { interface, other_side, is_latched: request.rtp.port_latching, needs_rtcp };
    local_ports::ensure(call, received, place, around)
}
