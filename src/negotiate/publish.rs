//! `publish`: takes a sender's media without a receiver, and answers it here.

use super::exchange::Step;
use super::local_ports::{self, Place};
use super::{Failure, Surroundings, bundle, codecs, exchange, ice, keying, receive, rtcp_mux, show, simulcast};
use crate::base::address::Family;
use crate::call::media::RtcpMux;
use crate::call::participant::Role;
use crate::call::{Call, Media, MediaId, ParticipantId};
use crate::ng::Request;
use crate::sdp::attribute::TRANSPORT_WIDE_EXTENSION;
use crate::sdp::{Attribute, Codec, Direction, MediaSection, Origin, Session};

/// Encodings that the daemon could take part in itself.
const SUPPORTED: [&str; 12] =
    ["PCMU", "PCMA", "G722", "G723", "G729", "GSM", "opus", "speex", "AMR", "AMR-WB", "L16", "telephone-event"];

/// Works off a publication by `tag` and returns the answer for the publisher.
///
/// # Errors
/// See [`Failure`]; a media without a codec that is acceptable fails the whole.
pub fn publish(call: &mut Call, tag: &str, request: &Request, around: &mut Surroundings) -> Result<String, Failure> {
    let description = exchange::parse(request.sdp.text.as_deref().unwrap_or_default())?;
    if description.medias.is_empty() {
        return Err(Failure::NothingToCreate);
    }
    exchange::check_addresses(&description)?;
    let known = call.find_tag(tag);
    let publisher = known.unwrap_or_else(|| call.add_participant(Some(tag), None, Role::Other, around.now));
    exchange::note_sender(call, publisher, request);
    for (position, section) in description.medias.iter().enumerate() {
        call.media_at(publisher, position, &section.kind);
    }
    receive::receive(call, publisher, description, request, around);
    call.is_answered = true;
    let medias = call.participant(publisher).medias.clone();
    let refused = medias.iter().filter(|id| !accept(call.media_mut(**id), request)).count();
    if refused > 0 {
        return Err(Failure::NothingToCreate);
    }
    bundle::accept(call, publisher, request);
    number_one_transport(call, &medias);
    let mut sections = Vec::with_capacity(medias.len());
    for id in medias {
        match call.media(id).is_rejected {
            true => local_ports::release(call, id, around),
            false => open(call, id, request, around)?,
        }
        sections.push(section(call, id, request, around));
    }
    let mut session = made_here(call, publisher, around);
    session.attributes.extend(group(call, publisher));
    show::create(call, publisher, session, sections, request, around)
}

/// Takes transport-wide sequence numbers from one transport only, the one with video where there is one: their sender
/// numbers what it sends to all ports in one sequence, and what is told of one port would call lost what went to
/// another.
fn number_one_transport(call: &mut Call, medias: &[MediaId]) {
    let is_numbered = |id: &&MediaId| {
        let media = call.media(**id);
        !media.is_rejected && media.attributes.iter().any(is_transport_wide)
    };
    let is_video = |id: &&MediaId| is_numbered(id) && call.media(**id).kind == "video";
    let first = medias.iter().find(is_video).or_else(|| medias.iter().find(is_numbered));
    let Some(chosen) = first.map(|id| call.transport_of(*id)) else { return };
    for id in medias {
        if call.transport_of(*id) == chosen {
            continue;
        }
        let media = call.media_mut(*id);
        media.attributes.retain(|attribute| !is_transport_wide(attribute));
        for codec in media.codecs.iter_mut().chain(&mut media.shown_codecs) {
            codec.feedback.retain(|value| value != "transport-cc");
        }
    }
}

fn is_transport_wide(attribute: &Attribute) -> bool {
    attribute.extension_uri() == Some(TRANSPORT_WIDE_EXTENSION)
}

/// `a=group` of the answer (RFC 9143, section 7.3): the mids of what was taken.
fn group(call: &Call, publisher: ParticipantId) -> Option<Attribute> {
    let participant = call.participant(publisher);
    let medias = participant.medias.iter().map(|id| call.media(*id)).filter(|media| !media.is_rejected);
    let is_member = |mid: &String| participant.bundle.contains(mid);
    let mids: Vec<String> = medias.filter_map(|media| media.mid.clone().filter(is_member)).collect();
    (participant.shows_bundle && !mids.is_empty()).then(|| bundle::group(&mids))
}

/// Reduces a media to the codecs that are accepted; false when none is left.
fn accept(media: &mut Media, request: &Request) -> bool {
    // Media that is not relayed has nobody here to speak to.
    media.is_rejected |= !media.is_relayed();
    if media.is_rejected || !media.is_rtp() {
        return true;
    }
    media.codecs = accepted(&media.codecs, request);
    media.shown_codecs = media.codecs.clone();
    media.simulcast = simulcast::offered(media);
    media.is_rejected = media.codecs.iter().all(Codec::is_supplemental);
    !media.is_rejected
}

fn accepted(list: &[Codec], request: &Request) -> Vec<Codec> {
    let accept = &request.codecs.accept;
    let is_supported = |codec: &&Codec| SUPPORTED.iter().any(|name| name.eq_ignore_ascii_case(&codec.name));
    let supported: Vec<Codec> = list.iter().filter(is_supported).cloned().collect();
    match (accept.all, accept.any) {
        (true, true) => list.to_vec(),
        (true, false) => supported,
        (false, true) => codecs::first_with_supplements(list),
        (false, false) if accept.codecs.is_empty() => codecs::first_with_supplements(&supported),
        (false, false) => {
            let is_wanted = |codec: &&Codec| codecs::names(accept, codec) || codec.is_supplemental();
            let wanted: Vec<Codec> = list.iter().filter(is_wanted).cloned().collect();
            codecs::first_with_supplements(&wanted)
        }
    }
}

fn open(call: &mut Call, id: MediaId, request: &Request, around: &mut Surroundings) -> Result<(), Failure> {
    let media = call.media_mut(id);
    // The daemon answers for itself and takes rtcp-mux whenever it is offered.
    let mut ourselves = RtcpMux { is_wanted: true, is_shown: true, is_required: true, is_agreed: true, reply: None };
    media.shown_protocol.clone_from(&media.protocol);
    media.rtcp_mux.reply = None;
    rtcp_mux::on_answer(&mut ourselves, &mut media.rtcp_mux, exchange::wishes(request));
    keying::note_wishes(media, request);
    ice::note_wishes(media, request);
    ice::answer(media, None, request, around);
    if media.bundled_in.is_some() {
        local_ports::release(call, id, around);
        return Ok(());
    }
    keying::answer(media, None, request, around);
    let network = &request.network;
    let place = Place {
        named: network.interface.as_deref().or(network.from_interface.as_deref()),
        family: network.address_family.or(media.family).unwrap_or(Family::Ip4),
        other_side: media.signalled.rtp,
        is_latched: request.rtp.port_latching,
        needs_all_addresses: media.ice.is_shown,
        needs_rtcp: media.is_rtp() && !media.rtcp_mux.is_agreed,
    };
    local_ports::ensure(call, id, place, around)?;
    local_ports::match_mux(call, id, around);
    Ok(())
}

fn section(call: &Call, id: MediaId, request: &Request, around: &Surroundings) -> MediaSection {
    let media = call.media(id);
    if media.is_rejected {
        return show::rejected(media, media);
    }
    let transport = call.media(call.transport_of(id));
    let mut section = show::frame(media, media, transport, request);
    section.information = None;
    section.bandwidths.clear();
    section.attributes.extend(media.mid.as_deref().map(|mid| Attribute::with_value("mid", mid)));
    section.attributes.extend(media.shown_codecs.iter().flat_map(Codec::attributes));
    section.attributes.extend(show::mixed_extensions(media, media, Step::Answer, request));
    let is_extension = |attribute: &&Attribute| attribute.name == "extmap" && !show::is_stripped(attribute, request);
    section.attributes.extend(media.attributes.iter().filter(is_extension).cloned());
    section.attributes.extend(simulcast::answer(media));
    let sends_too = request.control.is_bidirectional;
    let direction = Direction::new(sends_too && media.direction.receives(), media.direction.sends());
    section.attributes.extend(media.is_rtp().then(|| Attribute::flag(direction.name())));
    section.attributes.extend(show::rtcp(media, transport, request));
    section.attributes.extend(keying::attributes(transport, around.fingerprints));
    section.attributes.extend(show::times(media, media));
    section.attributes.extend(ice::attributes(transport));
    section
}

/// The session level of a description that is made here.
pub(super) fn made_here(call: &Call, id: ParticipantId, around: &mut Surroundings) -> Session {
    let address = show::own_address(call, id, around);
    let session_id = u64::from(around.random.u32()) << 20 | u64::from(around.random.u32() >> 12);
    let mut origin = Origin { session_id: session_id.to_string(), version: "1".to_owned(), ..Origin::default() };
    if let Some(address) = address {
        origin.family = Family::of(address);
        origin.address = address.to_string();
    }
    Session { origin, name: around.software.to_owned(), ..Session::default() }
}
