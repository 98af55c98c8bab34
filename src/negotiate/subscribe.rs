//! `subscribe request`, `subscribe answer`, `unsubscribe`: receivers of media that others send (RFC 7866 forks,
//! rooms of a selective forwarding unit).

use super::local_ports::{self, Place};
use super::{Failure, Surroundings, bundle, codecs, exchange, ice, keying, receive, rtcp_mux, select, show, simulcast};
use crate::base::address::Family;
use crate::call::layer::Layer;
use crate::call::media::RtcpMux;
use crate::call::participant::Role;
use crate::call::{Call, Media, MediaId, ParticipantId, Subscription, SubscriptionKind};
use crate::ng::Request;
use crate::sdp::format::counterpart;
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
    /// What is done here for the source: to receive only from one that only sends.
    pub mode: Direction,
}

/// The offer to a new receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    pub sdp: String,
    pub to_tag: String,
    /// One entry a media section.
    pub medias: Vec<Subscribed>,
    /// How many medias flow into them; more than there are sections with `mix`.
    pub flows: usize,
}

/// Works off `subscribe request`.
///
/// # Errors
/// See [`Failure`].
pub fn request(call: &mut Call, request: &Request, around: &mut Surroundings) -> Result<Offer, Failure> {
    let sources = select::sources(call, request)?;
    let layer = layer(call, &sources, request)?;
    let subscriber = subscriber(call, request, around);
    if let Some(label) = request.dialogue.set_label.as_ref().or(request.dialogue.to_label.as_ref()) {
        call.participant_mut(subscriber).label = Some(label.clone());
    }
    let groups = arrange(call, subscriber, group(call, &sources, request.control.mix));
    end_subscriptions(call, subscriber);
    let sinks = sinks(call, subscriber, &groups);
    bundle::subscribe(call, subscriber, &sinks.iter().flatten().copied().collect::<Vec<_>>(), request);
    let mut sections = Vec::with_capacity(groups.len());
    let mut medias = Vec::with_capacity(groups.len());
    for (position, (group, sink)) in groups.iter().zip(sinks).enumerate() {
        let Some(sink) = sink else {
            sections.push(vacant(call, subscriber, position, around));
            continue;
        };
        join(call, group, sink, layer, request);
        prepare(call, group, sink, request, around)?;
        sections.push(section(call, group[0], sink, request, around));
        medias.push(subscribed(call, group[0]));
    }
    let mut session = session(call, &sources);
    session.attributes.extend(show::group_of(call, subscriber, &sections, request));
    let sdp = show::create(call, subscriber, session, sections, request, around)?;
    let to_tag = call.participant(subscriber).tag.clone().unwrap_or_default();
    Ok(Offer { sdp, to_tag, medias, flows: sources.len() })
}

/// Gives each group of sources its `m=` line: the one that its first source had before, else one of the same media type
/// that is free, else a new one. Lines that are not used any more stay, without sources (RFC 3264, section 8).
fn arrange(call: &Call, subscriber: ParticipantId, groups: Vec<Vec<MediaId>>) -> Vec<Vec<MediaId>> {
    let present = &call.participant(subscriber).medias;
    let mut lines = vec![Vec::new(); present.len()];
    let mut others = Vec::with_capacity(groups.len());
    for group in groups {
        let is_former = |subscription: &&Subscription| {
            subscription.source == group[0] && call.media(subscription.sink).owner == subscriber
        };
        let former = call.subscriptions().iter().find(is_former).map(|former| call.media(former.sink).index - 1);
        match former {
            Some(position) if lines[position].is_empty() => lines[position] = group,
            _ => others.push(group),
        }
    }
    for group in others {
        let kind = &call.media(group[0]).kind;
        let is_free = |(line, id): (&Vec<MediaId>, &MediaId)| line.is_empty() && call.media(*id).kind == *kind;
        match lines.iter().zip(present).position(is_free) {
            Some(position) => lines[position] = group,
            None => lines.push(group),
        }
    }
    lines
}

/// The media of each line that has sources.
fn sinks(call: &mut Call, subscriber: ParticipantId, groups: &[Vec<MediaId>]) -> Vec<Option<MediaId>> {
    let sink = |(position, group): (usize, &Vec<MediaId>)| {
        let kind = call.media(*group.first()?).kind.clone();
        Some(call.media_at(subscriber, position, &kind))
    };
    groups.iter().enumerate().map(sink).collect()
}

/// The section of a line without sources.
fn vacant(call: &mut Call, subscriber: ParticipantId, position: usize, around: &mut Surroundings) -> MediaSection {
    let id = call.participant(subscriber).medias[position];
    local_ports::release(call, id, around);
    let media = call.media_mut(id);
    media.is_rejected = true;
    show::rejected(media, media)
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

/// The participant of the to-tag, or a new one. A to-tag of somebody who is no subscriber is passed over: proxies
/// send the to-tag of the dialogue that a fork is made of.
fn subscriber(call: &mut Call, request: &Request, around: &mut Surroundings) -> ParticipantId {
    let given = request.dialogue.to_tag.as_deref().filter(|tag| !tag.is_empty());
    let known = given.and_then(|tag| call.find_tag(tag));
    if let Some(id) = known.filter(|id| call.participant(*id).role == Role::Subscriber) {
        call.participant_mut(id).delete_at = None;
        return id;
    }
    let generated = || around.random.hex(64);
    let tag = given.filter(|_| known.is_none()).map_or_else(generated, str::to_owned);
    call.add_participant(Some(&tag), None, Role::Subscriber, around.now)
}

/// Ends what flows to `subscriber` by subscription, and back.
fn end_subscriptions(call: &mut Call, subscriber: ParticipantId) {
    call.unsubscribe(|call, subscription| {
        let owners = [call.media(subscription.source).owner, call.media(subscription.sink).owner];
        subscription.kind == SubscriptionKind::PublishSubscribe && owners.contains(&subscriber)
    });
}

/// The layer that is asked for.
fn layer(call: &Call, sources: &[MediaId], request: &Request) -> Result<Layer, Failure> {
    let Some(text) = request.control.layer.as_deref() else { return Ok(Layer::default()) };
    let layer = Layer::parse(text).ok_or(Failure::NoSuchLayer)?;
    let is_there = |rid| sources.iter().any(|id| call.media(*id).simulcast.contains(&rid));
    match layer {
        Layer::Named(rid) if !is_there(rid) => Err(Failure::NoSuchLayer),
        layer => Ok(layer),
    }
}

fn join(call: &mut Call, group: &[MediaId], sink: MediaId, layer: Layer, request: &Request) {
    for source in group {
        let plain = Subscription::new(*source, sink, SubscriptionKind::PublishSubscribe);
        call.subscribe(Subscription {
            mirrors_rtcp: request.rtp.rtcp_mirror,
            is_egress: request.control.egress,
            is_paused: request.control.is_inactive,
            layer,
            ..plain
        });
        if request.control.is_bidirectional {
            call.subscribe(Subscription { source: sink, sink: *source, ..plain });
        }
    }
}

fn prepare(
    call: &mut Call,
    group: &[MediaId],
    sink: MediaId,
    request: &Request,
    around: &mut Surroundings,
) -> Result<(), Failure> {
    let (from, last) = (call.media(group[0]), call.media(group[group.len() - 1]));
    let protocol = match request.transport.protocol {
        Some(named) if from.is_rtp() => Protocol::parse(named.name()),
        _ => from.protocol.clone().unwrap_or_default(),
    };
    let (kind, family) = (from.kind.clone(), from.family);
    let (ptime_ms, maxptime_ms) = (from.ptime_ms, last.maxptime_ms);
    let mut source_mux = RtcpMux { is_wanted: from.rtcp_mux.is_wanted, ..RtcpMux::default() };
    let offered = codecs::offered(&from.codecs, &request.codecs);
    let shown_codecs = if offered.is_empty() { from.codecs.clone() } else { offered };
    let media = call.media_mut(sink);
    media.kind = kind;
    media.shown_protocol = Some(protocol.clone());
    media.protocol = Some(protocol);
    media.signalled_at = around.now.mono;
    (media.ptime_ms, media.maxptime_ms) = (ptime_ms, maxptime_ms);
    media.direction = Direction::RecvOnly;
    media.is_rejected = false;
    media.shown_codecs = shown_codecs;
    // A subscription is negotiated anew each time.
    media.rtcp_mux.is_agreed = false;
    rtcp_mux::on_offer(&mut source_mux, &mut media.rtcp_mux, exchange::wishes(request));
    prepare_transport(call, group, sink, request, around);
    let media = call.media(sink);
    if media.bundled_in.is_some() {
        local_ports::release(call, sink, around);
        return Ok(());
    }
    let network = &request.network;
    let place = Place {
        named: network.interface.as_deref().or(network.to_interface.as_deref()),
        family: network.address_family.or(media.family).or(family).unwrap_or(Family::Ip4),
        other_side: None,
        is_latched: true,
        needs_all_addresses: media.ice.is_shown,
        needs_rtcp: media.is_rtp() && !media.rtcp_mux.is_agreed,
    };
    local_ports::ensure(call, sink, place, around)
}

/// Keys and ICE that the subscriber is offered.
fn prepare_transport(call: &mut Call, group: &[MediaId], sink: MediaId, request: &Request, around: &mut Surroundings) {
    let (from, to) = call.media_pair_mut(group[0], sink);
    if to.bundled_in.is_none() {
        keying::subscribe(to, from, request, around);
    }
    let (from, to) = call.media_pair_mut(group[group.len() - 1], sink);
    ice::subscribe(to, from, request, around);
}

fn section(call: &Call, source: MediaId, sink: MediaId, request: &Request, around: &Surroundings) -> MediaSection {
    let (from, to) = (call.media(source), call.media(sink));
    let transport = call.media(call.transport_of(sink));
    let mut section = show::frame(from, to, transport, request);
    section.attributes.extend(show::own_mid(call, to, request));
    let (labels, mut others) = show::split_labels(&from.attributes);
    others.retain(|line| !simulcast::is_hidden(from, line));
    match request.control.siprec {
        true => section.attributes.push(Attribute::with_value("label", from.serial)),
        false => section.attributes.extend(labels),
    }
    section.attributes.extend(show::bundle_only(from, to));
    section.attributes.extend(to.shown_codecs.iter().flat_map(Codec::attributes));
    section.attributes.extend(show::extensions_of_offer(call, from, to, &others, request));
    section.attributes.extend(others.into_iter().filter(|attribute| !show::is_stripped(attribute, request)));
    let direction = match (request.control.is_inactive, request.control.is_bidirectional) {
        (true, _) => Direction::Inactive,
        (false, true) => Direction::new(true, from.direction.receives()),
        (false, false) => Direction::SendOnly,
    };
    section.attributes.extend(from.is_rtp().then(|| Attribute::flag(direction.name())));
    section.attributes.extend(show::rtcp(to, transport, request));
    section.attributes.extend(keying::attributes(transport, around.fingerprints));
    section.attributes.extend(show::times(to, to));
    section.attributes.extend(ice::attributes(transport));
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
        mode: Direction::new(media.direction.receives(), media.direction.sends()),
    }
}

/// Works off `subscribe answer`.
///
/// # Errors
/// See [`Failure`].
pub fn answer(call: &mut Call, request: &Request, around: &mut Surroundings) -> Result<(), Failure> {
    let subscriber = named_subscriber(call, request)?;
    let description = exchange::parse(request.sdp.text.as_deref().unwrap_or_default())?;
    exchange::check_addresses(&description)?;
    let medias = call.participant(subscriber).medias.clone();
    let is_usable = |(section, id): (&MediaSection, &MediaId)| {
        request.codecs.allow_transcoding || accepts_all(section, call.media(*id))
    };
    if description.medias.len() != medias.len() || !description.medias.iter().zip(&medias).all(is_usable) {
        return Err(Failure::UnusableAnswer);
    }
    call.participant_mut(subscriber).delete_at = None;
    receive::receive(call, subscriber, description, request, around);
    exchange::complete(call, subscriber, request, around);
    Ok(())
}

/// Whether the receiver accepts every codec that it was offered, under whatever numbers: otherwise some packets would
/// have to be transcoded. Without that for retransmissions it gets packets again as they were.
fn accepts_all(section: &MediaSection, offered: &Media) -> bool {
    let taken = Codec::list(section);
    let is_accepted = |codec: &Codec| {
        let is_optional = codec.is_supplemental() || codec.repaired_payload_type().is_some();
        let is_known = || taken.iter().any(|other| other.payload_type == codec.payload_type);
        is_optional || is_known() || counterpart(codec, &offered.shown_codecs, &taken).is_some()
    };
    section.is_rejected() || !offered.is_rtp() || offered.shown_codecs.iter().all(is_accepted)
}

fn named_subscriber(call: &Call, request: &Request) -> Result<ParticipantId, Failure> {
    let named = call.find_tag(request.dialogue.to_tag.as_deref().unwrap_or_default());
    named.filter(|id| call.participant(*id).role == Role::Subscriber).ok_or(Failure::NoSuchToTag)
}

/// Works off `unsubscribe`: ends what the participant of the to-tag receives as a subscriber; with `directional` only
/// what it receives from the from-tag, and with `bidirectional` what flows the other way as well. Returns the
/// participant when it leaves the call altogether.
///
/// # Errors
/// When a tag names nobody.
pub fn unsubscribe(call: &mut Call, request: &Request) -> Result<Option<ParticipantId>, Failure> {
    let dialogue = &request.dialogue;
    let id = call.find_tag(dialogue.to_tag.as_deref().unwrap_or_default()).ok_or(Failure::NoSuchToTag)?;
    let from_tag = dialogue.from_tag.as_deref().filter(|tag| dialogue.is_directional && !tag.is_empty());
    let Some(from_tag) = from_tag else {
        if call.participant(id).role == Role::Subscriber {
            return Ok(Some(id));
        }
        let is_both_ways = request.control.is_bidirectional;
        call.unsubscribe(|call, subscription| {
            let (source, sink) = (call.media(subscription.source).owner, call.media(subscription.sink).owner);
            let is_own = sink == id || is_both_ways && source == id;
            subscription.kind == SubscriptionKind::PublishSubscribe && is_own
        });
        return Ok(None);
    };
    let from = call.find_tag(from_tag).ok_or(Failure::NoSuchFromTag)?;
    let is_both_ways = request.control.is_bidirectional;
    call.unsubscribe(|call, subscription| {
        let (source, sink) = (call.media(subscription.source).owner, call.media(subscription.sink).owner);
        (source, sink) == (from, id) || is_both_ways && (sink, source) == (from, id)
    });
    Ok(None)
}
