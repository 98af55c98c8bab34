//! `subscribe request`, `subscribe answer`, `unsubscribe`: receivers of media that others send (RFC 7866 forks,
//! rooms of a selective forwarding unit).

use super::local_ports::{self, Place};
use super::{Failure, Surroundings, codecs, exchange, receive, rtcp_mux, select, show};
use crate::base::address::Family;
use crate::call::media::RtcpMux;
use crate::call::participant::Role;
use crate::call::{Call, Media, MediaId, ParticipantId, Subscription, SubscriptionKind};
use crate::ng::Request;
use crate::sdp::{Attribute, Codec, Direction, MediaSection, Protocol, Session};

/// One media of a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribed {
    pub tag: String,
    /// The label of the source's participant.
    pub participant_label: Option<String>,
    /// The position of the source's `m=` line, from one.
    pub index: usize,
    pub kind: String,
    /// The number in `a=label`.
    pub label: String,
    /// What the source does.
    pub direction: Direction,
}

/// The offer to a new receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    pub sdp: String,
    pub to_tag: String,
    /// One entry a media section.
    pub medias: Vec<Subscribed>,
}

/// Works off `subscribe request`.
///
/// # Errors
/// See [`Failure`].
pub fn request(call: &mut Call, request: &Request, around: &mut Surroundings) -> Result<Offer, Failure> {
    let sources = select::sources(call, request)?;
    if sources
        .iter()
        .any(|id| call.media(*id).is_rejected && call.media(*id).port_sets.is_empty() && is_published(call, *id))
    {
        return Err(Failure::NothingToCreate);
    }
    let groups = group(call, &sources, request.control.mix);
    let subscriber = subscriber(call, request, around);
    let label = request.dialogue.set_label.clone().or(request.dialogue.to_label.clone());
    let participant = call.participant_mut(subscriber);
    participant.label = label.or(participant.label.take());
    end_subscriptions(call, subscriber);
    let mut sections = Vec::with_capacity(groups.len());
    let mut medias = Vec::with_capacity(groups.len());
    for (position, group) in groups.iter().enumerate() {
        let first = group[0];
        let sink = call.media_at(subscriber, position, &call.media(first).kind.clone());
        join(call, group, sink, request);
        prepare(call, first, sink, request, around)?;
        sections.push(section(call, first, sink, request));
        medias.push(subscribed(call, first));
    }
    let session = session(call, &sources);
    let sdp = show::finish(call, subscriber, session, sections, request, around).map_err(|failure| match failure {
        Failure::NothingToShow => Failure::NothingToCreate,
        other => other,
    })?;
    let to_tag = call.participant(subscriber).tag.clone().unwrap_or_default();
    Ok(Offer { sdp, to_tag, medias })
}

fn is_published(call: &Call, id: MediaId) -> bool {
    call.participant(call.media(id).owner).role == Role::Other
}

/// The sources of each media section: one, or with `mix` all of one media type.
fn group(call: &Call, sources: &[MediaId], mix: bool) -> Vec<Vec<MediaId>> {
    if !mix {
        return sources.iter().map(|id| vec![*id]).collect();
    }
    let mut groups: Vec<Vec<MediaId>> = Vec::new();
    for id in sources {
        match groups.iter_mut().find(|group| call.media(group[0]).kind == call.media(*id).kind) {
            Some(group) => group.push(*id),
            None => groups.push(vec![*id]),
        }
    }
    groups
}

fn subscriber(call: &mut Call, request: &Request, around: &mut Surroundings) -> ParticipantId {
    let given = request.dialogue.to_tag.clone().filter(|tag| !tag.is_empty());
    let tag = given.unwrap_or_else(|| around.random.hex(64));
    let known = call.find_tag(&tag);
    known.unwrap_or_else(|| call.add_participant(Some(&tag), None, Role::Subscriber, around.now))
}

fn end_subscriptions(call: &mut Call, subscriber: ParticipantId) {
    call.unsubscribe(|call, subscription| {
        subscription.kind == SubscriptionKind::PublishSubscribe && call.media(subscription.sink).owner == subscriber
    });
}

fn join(call: &mut Call, group: &[MediaId], sink: MediaId, request: &Request) {
    for source in group {
        call.subscribe(Subscription {
            mirrors_rtcp: request.rtp.rtcp_mirror,
            is_egress: request.control.egress,
            ..Subscription::new(*source, sink, SubscriptionKind::PublishSubscribe)
        });
        if request.control.is_bidirectional {
            call.subscribe(Subscription::new(sink, *source, SubscriptionKind::PublishSubscribe));
        }
    }
}

fn prepare(
    call: &mut Call,
    source: MediaId,
    sink: MediaId,
    request: &Request,
    around: &mut Surroundings,
) -> Result<(), Failure> {
    let from = call.media(source).clone();
    let protocol = match request.transport.protocol {
        Some(named) if from.is_rtp() => Protocol::parse(named.name()),
        _ => from.protocol.clone().unwrap_or_default(),
    };
    if protocol.is_secure() {
        return Err(Failure::Secure);
    }
    let media = call.media_mut(sink);
    media.kind.clone_from(&from.kind);
    media.protocol = Some(protocol);
    media.signalled_at = around.now.mono;
    media.ptime_ms = from.ptime_ms;
    media.direction = if request.control.is_inactive { Direction::Inactive } else { Direction::RecvOnly };
    let offered = codecs::offered(&from.codecs, &request.codecs);
    media.shown_codecs = if offered.is_empty() { from.codecs.clone() } else { offered };
    let mut source_mux = RtcpMux { is_wanted: from.rtcp_mux.is_wanted, ..RtcpMux::default() };
    rtcp_mux::on_offer(&mut source_mux, &mut media.rtcp_mux, exchange::wishes(request));
    let family = request.network.address_family.or(media.family).or(from.family).unwrap_or(Family::Ip4);
    let (present, needs_rtcp) = (media.interface, media.is_rtp() && !media.rtcp_mux.is_agreed);
    let named = request.network.interface.as_deref().or(request.network.to_interface.as_deref());
    let interface = local_ports::choose_interface(present, named, family, around);
    let media = call.media_mut(sink);
    media.family = Some(family);
    media.interface = Some(interface);
    let place = Place { interface, other_side: None, is_latched: true, needs_rtcp };
    local_ports::ensure(call, sink, place, around)
}

fn section(call: &Call, source: MediaId, sink: MediaId, request: &Request) -> MediaSection {
    let (from, to) = (call.media(source), call.media(sink));
    let mut section = show::frame(from, to, request);
    section.attributes.extend(show::mid(from, to, exchange::Step::Offer, request));
    let (labels, others) = show::split_labels(&from.attributes);
    match request.control.siprec {
        true => section.attributes.push(Attribute::with_value("label", from.serial)),
        false => section.attributes.extend(labels),
    }
    section.attributes.extend(to.shown_codecs.iter().flat_map(Codec::attributes));
    section.attributes.extend(show::mixed_extensions(from, to, exchange::Step::Offer, request));
    section.attributes.extend(others.into_iter().filter(|attribute| !show::is_stripped(attribute, request)));
    let direction = match (request.control.is_inactive, request.control.is_bidirectional) {
        (true, _) => Direction::Inactive,
        (false, true) => Direction::SendRecv,
        (false, false) => Direction::SendOnly,
    };
    section.attributes.extend(from.is_rtp().then(|| Attribute::flag(direction.name())));
    section.attributes.extend(show::rtcp(to, request));
    section.attributes.extend(show::times(from, to));
    section
}

/// The session level is the first source's; its attributes only when all medias are its own.
fn session(call: &Call, sources: &[MediaId]) -> Session {
    let owner = call.media(sources[0]).owner;
    let is_single = sources.iter().all(|id| call.media(*id).owner == owner);
    let mut session = show::session_of(call, owner);
    session.bandwidths.clear();
    if !is_single {
        session.attributes.clear();
    }
    session
}

fn subscribed(call: &Call, source: MediaId) -> Subscribed {
    let media = call.media(source);
    let participant = call.participant(media.owner);
    Subscribed {
        tag: participant.display_tag(media.owner),
        participant_label: participant.label.clone(),
        index: media.index,
        kind: media.kind.clone(),
        label: media.serial.to_string(),
        direction: media.direction,
    }
}

/// Works off `subscribe answer`.
///
/// # Errors
/// See [`Failure`].
pub fn answer(call: &mut Call, request: &Request, around: &mut Surroundings) -> Result<(), Failure> {
    let to_tag = request.dialogue.to_tag.as_deref().unwrap_or_default();
    let subscriber = call.find_tag(to_tag).ok_or(Failure::NoSuchToTag)?;
    let description = exchange::parse(request.sdp.text.as_deref().unwrap_or_default())?;
    let medias = call.participant(subscriber).medias.clone();
    if description.medias.len() != medias.len() {
        return Err(Failure::UnusableAnswer);
    }
    receive::receive(call, subscriber, &description, request, around)?;
    for id in medias {
        let media = call.media_mut(id);
        if !request.codecs.allow_transcoding && !accepts_all(media) {
            return Err(Failure::UnusableAnswer);
        }
        let mut ourselves = RtcpMux::default();
        rtcp_mux::on_answer(&mut media.rtcp_mux, &mut ourselves, exchange::wishes(request));
        let is_rejected = media.is_rejected;
        if is_rejected {
            local_ports::release(call, id, around);
        }
    }
    Ok(())
}

/// Whether the receiver accepts every codec that it was offered: otherwise some packets would have to be transcoded.
fn accepts_all(media: &Media) -> bool {
    let is_accepted = |offered: &Codec| {
        offered.is_supplemental() || media.codecs.iter().any(|codec| codec.payload_type == offered.payload_type)
    };
    media.is_rejected || !media.is_rtp() || media.shown_codecs.iter().all(is_accepted)
}

/// The participant that `unsubscribe` takes out.
///
/// # Errors
/// When there is no such tag.
pub fn leaving(call: &Call, request: &Request) -> Result<ParticipantId, Failure> {
    call.find_tag(request.dialogue.to_tag.as_deref().unwrap_or_default()).ok_or(Failure::NoSuchToTag)
}
