//! One message of an offer/answer exchange (RFC 3264), from the description received to the one shown.

use super::local_ports::{self, Place};
use super::parties::{self, Parties};
use super::rtcp_mux::{self, Wishes};
use super::{Failure, Surroundings, bundle, codecs, ice, keying, legacy, receive, show};
use crate::base::address::Family;
use crate::call::media::RtcpMux;
use crate::call::participant::Echo;
use crate::call::security::Keying;
use crate::call::{Call, Media, MediaId, ParticipantId, Subscription, SubscriptionKind};
use crate::ng::Request;
use crate::ng::request::rtp::MediaEcho;
use crate::sdp::{self, MediaSection, Protocol, SessionDescription};

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
/// See [`Failure`]. Only running out of ports, and an offer of which nothing is left to show, leave traces in the
/// call.
pub fn offer(call: &mut Call, request: &Request, around: &mut Surroundings) -> Result<String, Failure> {
    let text = request.sdp.text.as_deref().unwrap_or_default();
    let description = parse(text)?;
    if request.output.loop_protect && is_own(&description, around.instance_id) {
        return Ok(text.to_owned());
    }
    check(&description)?;
    let parties = parties::of_offer(call, &description, request, around.now)?;
    run(call, parties, description, Step::Offer, request, around)
}

/// Works off an answer and returns the description for the offerer.
///
/// # Errors
/// As for [`offer`].
pub fn answer(call: &mut Call, request: &Request, around: &mut Surroundings) -> Result<String, Failure> {
    let description = parse(request.sdp.text.as_deref().unwrap_or_default())?;
    check(&description)?;
    let parties = parties::of_answer(call, request, around.now)?;
    run(call, parties, description, Step::Answer, request, around)
}

fn run(
    call: &mut Call,
    parties: Parties,
    mut description: SessionDescription,
    step: Step,
    request: &Request,
    around: &mut Surroundings,
) -> Result<String, Failure> {
    note_sender(call, parties.sender, request);
    call.participant_mut(parties.receiver).delete_at = None;
    set_echo(call, parties, request.rtp.media_echo);
    let is_twinned = collapse_twins(call, parties, &mut description, step, request);
    let pairs = pair_up(call, parties, &description, step, is_twinned, request);
    receive::receive(call, parties.sender, description, request, around);
    if step == Step::Answer {
        make_exclusive(call, parties);
        call.is_answered = true;
        bundle::settle(call, parties.sender, pairs.iter().map(|(sent, _)| *sent));
    }
    bundle::arrange(call, parties.receiver, &pairs, step, request);
    for (sent, received) in &pairs {
        if let Some(received) = received {
            prepare(call, *sent, *received, step, request, around)?;
        }
    }
    show::exchange(call, parties, &pairs, step, request, around)
}

/// Has both sides' media go back, or nowhere, where a message says so; it stays that way.
fn set_echo(call: &mut Call, parties: Parties, echo: Option<MediaEcho>) {
    let (sender, receiver) = match echo {
        None => return,
        Some(MediaEcho::Blackhole) => (Echo::Discarded, Echo::Discarded),
        Some(MediaEcho::Forward) => (Echo::Discarded, Echo::Returned),
        Some(MediaEcho::Backwards) => (Echo::Returned, Echo::Discarded),
        Some(MediaEcho::Both) => (Echo::Returned, Echo::Returned),
    };
    call.participant_mut(parties.sender).echo = sender;
    call.participant_mut(parties.receiver).echo = receiver;
}

/// Makes one media of each plain one and its encrypted twin, where that is wanted. True where twins that were offered
/// have come back and stay two medias.
fn collapse_twins(
    call: &mut Call,
    parties: Parties,
    description: &mut SessionDescription,
    step: Step,
    request: &Request,
) -> bool {
    let is_wanted = request.sdes.osrtp.accept_legacy;
    let sender = call.participant_mut(parties.sender);
    let places = match step {
        Step::Offer => legacy::places(&description.medias),
        Step::Answer => std::mem::take(&mut sender.legacy_places),
    };
    let is_accepted = is_wanted || step == Step::Answer && sender.accepts_legacy;
    if !is_accepted {
        return step == Step::Answer && !places.is_empty();
    }
    let found = legacy::collapse(&mut description.medias, &places);
    if step == Step::Offer {
        sender.legacy_places = found;
    }
    false
}

/// Refuses what would fail half-way, before anything is changed: an established call survives a message that makes
/// no sense.
fn check(description: &SessionDescription) -> Result<(), Failure> {
    if description.medias.is_empty() {
        return Err(Failure::NothingToShow);
    }
    check_addresses(description)
}

/// Every media that is not rejected has an address.
pub(super) fn check_addresses(description: &SessionDescription) -> Result<(), Failure> {
    let session = description.session.connection;
    let has_address = |section: &MediaSection| section.is_rejected() || section.connection.or(session).is_some();
    match description.medias.iter().all(has_address) {
        true => Ok(()),
        false => Err(Failure::IncompleteSdp),
    }
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

/// Settles the medias of a participant who has answered an offer that was made here.
pub(super) fn complete(call: &mut Call, id: ParticipantId, request: &Request, around: &mut Surroundings) {
    let medias = call.participant(id).medias.clone();
    bundle::settle(call, id, medias.iter().copied());
    for id in medias {
        let media = call.media_mut(id);
        rtcp_mux::on_answer(&mut media.rtcp_mux, &mut RtcpMux::default(), wishes(request));
        ice::settle(media);
        if media.bundled_in.is_none() {
            keying::settle(media, request);
        }
        match media.is_rejected || media.bundled_in.is_some() {
            true => local_ports::release(call, id, around),
            false => local_ports::match_mux(call, id, around),
        }
    }
}

/// What a message says of its sender.
pub(super) fn note_sender(call: &mut Call, id: ParticipantId, request: &Request) {
    let participant = call.participant_mut(id);
    participant.delete_at = None;
    participant.blocks_dtmf |= request.dtmf.block;
    if let Some(label) = request.dialogue.label.as_ref().or(request.dialogue.set_label.as_ref()) {
        participant.label = Some(label.clone());
    }
}

/// Joins the sender's medias to the receiver's, both ways, in the order of the sender's `m=` lines. Medias that are
/// not known yet are made. No partner get media types that are removed from offers (`sdp-media-remove`), and medias
/// of an answer that were not offered. Medias that the description no longer has keep their partners: both go.
fn pair_up(
    call: &mut Call,
    parties: Parties,
    description: &SessionDescription,
    step: Step,
    is_twinned: bool,
    request: &Request,
) -> Vec<Pair> {
    let mut partners = Partners::of(call, parties);
    let is_new_receiver = call.participant(parties.receiver).medias.is_empty();
    let mut pairs = Vec::with_capacity(description.medias.len());
    for (position, section) in description.medias.iter().enumerate() {
        let sent = call.media_at(parties.sender, position, &section.kind);
        if request.output.remove_media.iter().any(|kind| kind.covers(&section.kind)) {
            pairs.push((sent, None));
            continue;
        }
        let known = partners.known(position);
        let received = known.or_else(|| partners.free(call, position)).or_else(|| {
            let next = call.participant(parties.receiver).medias.len();
            let is_welcome = step == Step::Offer || is_new_receiver || is_twinned;
            is_welcome.then(|| call.media_at(parties.receiver, next, &section.kind))
        });
        if let (None, Some(received)) = (known, received) {
            partners.take(call, received);
            call.subscribe(Subscription::new(sent, received, SubscriptionKind::OfferAnswer));
            call.subscribe(Subscription::new(received, sent, SubscriptionKind::OfferAnswer));
        }
        pairs.push((sent, received));
    }
    let forgotten = call.participant(parties.sender).medias.iter().enumerate().skip(description.medias.len());
    pairs.extend(forgotten.map(|(position, sent)| (*sent, partners.known(position))));
    pairs
}

/// Which medias of the two sides of an exchange belong together.
struct Partners {
    receiver: ParticipantId,
    /// By the position of the sender's media.
    known: Vec<Option<MediaId>>,
    /// By the position of the receiver's media.
    is_taken: Vec<bool>,
}

impl Partners {
    fn of(call: &Call, parties: Parties) -> Partners {
        let count = |id: ParticipantId| call.participant(id).medias.len();
        let mut known = vec![None; count(parties.sender)];
        let mut is_taken = vec![false; count(parties.receiver)];
        for subscription in call.subscriptions() {
            let (source, sink) = (call.media(subscription.source), call.media(subscription.sink));
            if subscription.kind == SubscriptionKind::OfferAnswer
                && (source.owner, sink.owner) == (parties.sender, parties.receiver)
            {
                known[source.index - 1] = Some(subscription.sink);
                is_taken[sink.index - 1] = true;
            }
        }
        Partners { receiver: parties.receiver, known, is_taken }
    }

    fn known(&self, position: usize) -> Option<MediaId> {
        self.known.get(position).copied().flatten()
    }

    /// The receiver's media at the same place, when it has no partner.
    fn free(&self, call: &Call, position: usize) -> Option<MediaId> {
        let is_taken = self.is_taken.get(position).copied().unwrap_or(false);
        call.participant(self.receiver).medias.get(position).copied().filter(|_| !is_taken)
    }

    fn take(&mut self, call: &Call, received: MediaId) {
        let position = call.media(received).index - 1;
        if self.is_taken.len() <= position {
            self.is_taken.resize(position + 1, false);
        }
        self.is_taken[position] = true;
    }
}

/// Once a callee has answered, the two hear each other and no longer those with whom either has exchanged offers
/// before: other branches of a fork, or a party that was replaced.
pub(super) fn make_exclusive(call: &mut Call, parties: Parties) {
    let is_party = |id: ParticipantId| id == parties.sender || id == parties.receiver;
    call.unsubscribe(|call, subscription| {
        let (source, sink) = (call.media(subscription.source).owner, call.media(subscription.sink).owner);
        subscription.kind == SubscriptionKind::OfferAnswer && is_party(source) != is_party(sink)
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
    let (sender, receiver) = (call.media(sent), call.media(received));
    let (kind, is_relayed) = (sender.kind.clone(), sender.is_relayed());
    let protocol = match step {
        Step::Offer => protocol_of_offer(sender, receiver, request),
        Step::Answer if request.transport.accept_protocol => sender.protocol.clone().unwrap_or_default(),
        Step::Answer => receive::default_protocol(sender, receiver),
    };
    let receiver = call.media_mut(received);
    receiver.signalled_at = around.now.mono;
    if !receiver.is_described {
        receiver.kind = kind;
    }
    if !receiver.is_described || receiver.is_rtp() && protocol.is_rtp() {
        receiver.protocol = Some(protocol.clone());
    }
    receiver.shown_protocol = Some(protocol);
    prepare_codecs(call, sent, received, step, request);
    prepare_mux(call, sent, received, step, request);
    prepare_ice(call, sent, received, step, request, around);
    prepare_security(call, sent, received, step, request, around);
    let is_over = call.media(sent).is_rejected || step == Step::Answer && call.media(received).is_rejected;
    if step == Step::Answer && call.media(sent).bundled_in.is_some() {
        local_ports::release(call, sent, around);
    }
    if is_over || !is_relayed || call.media(received).bundled_in.is_some() {
        local_ports::release(call, received, around);
        if step == Step::Answer && (is_over || !is_relayed) {
            local_ports::release(call, sent, around);
        }
        return Ok(());
    }
    prepare_ports(call, sent, received, step, request, around)?;
    if step == Step::Answer {
        local_ports::match_mux(call, sent, around);
        local_ports::match_mux(call, received, around);
    }
    Ok(())
}

fn protocol_of_offer(sender: &Media, receiver: &Media, request: &Request) -> Protocol {
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
            let (sender, offerer) = (call.media(sent), call.media(received));
            let exchange =
                codecs::Exchange { offer: &offerer.codecs, shown: &sender.shown_codecs, ignored: &offerer.ignored };
            codecs::answered(&sender.codecs, exchange, request.codecs.single)
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

fn prepare_security(
    call: &mut Call,
    sent: MediaId,
    received: MediaId,
    step: Step,
    request: &Request,
    around: &mut Surroundings,
) {
    let transport = call.transport_of(sent);
    if let (Step::Answer, true) = (step, transport == sent) {
        keying::settle(call.media_mut(sent), request);
    }
    if call.media(received).bundled_in.is_some() {
        keying::note_wishes(call.media_mut(sent), request);
        return;
    }
    let (sender, receiver) = call.media_pair_mut(transport, received);
    if receiver.ice.passthrough.is_some() {
        (sender.security.keying, receiver.security.keying) = (Keying::None, Keying::None);
        return;
    }
    match step {
        Step::Offer => {
            keying::offer(receiver, &sender.security.received, request, around);
            keying::note_wishes(call.media_mut(sent), request);
            keying::await_keys(call.media_mut(sent));
        }
        Step::Answer => keying::answer(receiver, Some(sender), request, around),
    }
}

fn prepare_ice(
    call: &mut Call,
    sent: MediaId,
    received: MediaId,
    step: Step,
    request: &Request,
    around: &mut Surroundings,
) {
    let (sender, receiver) = call.media_pair_mut(sent, received);
    match step {
        Step::Offer => {
            ice::note_wishes(sender, request);
            ice::offer(receiver, sender, request, around);
        }
        Step::Answer => {
            ice::settle(sender);
            ice::answer(receiver, sender.ice.passthrough, request, around);
        }
    }
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
    let is_offer = step == Step::Offer;
    if let (true, Some(name)) = (is_offer, network.from_interface.as_deref()) {
        local_ports::assign(call, sent, name, around);
    }
    let (sender, receiver) = (call.media(sent), call.media(received));
    let named = network.to_interface.as_deref().filter(|_| is_offer);
    let wanted = network.address_family.filter(|_| is_offer).or_else(|| legacy_family(named?, around));
    let place = Place {
        named,
        family: wanted.or(receiver.family).or(sender.family).unwrap_or(Family::Ip4),
        other_side: sender.signalled.rtp,
        is_latched: request.rtp.port_latching || receiver.ice.is_agreed() && !request.rtp.no_port_latching,
        needs_all_addresses: receiver.ice.is_shown || receiver.ice.passthrough.is_some(),
        needs_rtcp: receiver.is_shown_rtp() && !receiver.rtcp_mux.is_agreed,
    };
    local_ports::ensure(call, received, place, around)
}

/// Interfaces called `internal` and `external`, where none are configured, stand for address families.
fn legacy_family(named: &str, around: &Surroundings) -> Option<Family> {
    match named {
        _ if around.interfaces.named(named).is_some() => None,
        "internal" => Some(Family::Ip4),
        "external" => Some(Family::Ip6),
        _ => None,
    }
}
