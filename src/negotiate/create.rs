//! `create` and `create answer`: a party that nobody has offered for, made an offer here.

use super::local_ports::{self, Place};
use super::publish::made_here;
use super::{Failure, Surroundings, exchange, ice, keying, receive, rtcp_mux, show};
use crate::base::address::Family;
use crate::base::protocol::MediaType;
use crate::call::media::RtcpMux;
use crate::call::participant::Role;
use crate::call::security::ReceivedSecurity;
use crate::call::{Call, Media, MediaId};
use crate::ng::Request;
use crate::ng::request::codec::CodecSpec;
use crate::sdp::{Attribute, Codec, Direction, MediaSection, Protocol, payload_type};

/// Encodings without a payload type of their own that can be asked for, with clock rate and channels.
const DYNAMIC: [(&str, u32, u8); 12] = [
    ("opus", 48000, 2),
    ("telephone-event", 8000, 1),
    ("iLBC", 8000, 1),
    ("speex", 8000, 1),
    ("AMR", 8000, 1),
    ("AMR-WB", 16000, 1),
    ("EVS", 16000, 1),
    ("VP8", 90000, 1),
    ("VP9", 90000, 1),
    ("H264", 90000, 1),
    ("H265", 90000, 1),
    ("AV1", 90000, 1),
];
/// The first payload type for those (RFC 3551, section 6).
const FIRST_DYNAMIC: u8 = 96;
/// What a party speaks unless the request says otherwise.
const DEFAULT_CODECS: [&str; 2] = ["PCMU", "PCMA"];

/// Works off `create` for the party of `tag` and returns the offer to it.
///
/// # Errors
/// See [`Failure`]; a media of which no codec is known fails the whole.
pub fn create(call: &mut Call, tag: &str, request: &Request, around: &mut Surroundings) -> Result<String, Failure> {
    let known = call.find_tag(tag);
    let party = known.unwrap_or_else(|| call.add_participant(Some(tag), None, Role::Other, around.now));
    exchange::note_sender(call, party, request);
    if call.participant(party).medias.is_empty() {
        for (position, (kind, codecs)) in wanted(request)?.into_iter().enumerate() {
            let id = call.media_at(party, position, &kind);
            call.media_mut(id).shown_codecs = codecs;
        }
    }
    let mut sections = Vec::new();
    for id in call.participant(party).medias.clone() {
        let media = call.media(id);
        if media.is_rejected || !media.is_relayed() {
            sections.push(show::rejected(media, media));
            local_ports::release(call, id, around);
            continue;
        }
        prepare(call, id, request, around)?;
        sections.push(section(call, id, request, around));
    }
    let session = made_here(call, party, around);
    show::create(call, party, session, sections, request, around)
}

/// The medias that are asked for: audio in G.711, unless others are named.
fn wanted(request: &Request) -> Result<Vec<(String, Vec<Codec>)>, Failure> {
    let named: Vec<CodecSpec> = request.codecs.offer.codecs.clone();
    let medias = &request.control.media;
    if medias.is_empty() {
        return Ok(vec![("audio".to_owned(), codecs(&named)?)]);
    }
    let media = |media: &crate::ng::request::control::MediaRequest| {
        let kind = media.media_type.unwrap_or(MediaType::Audio).name().to_owned();
        Ok((kind, codecs(if media.codecs.is_empty() { &named } else { &media.codecs })?))
    };
    medias.iter().map(media).collect()
}

fn codecs(named: &[CodecSpec]) -> Result<Vec<Codec>, Failure> {
    let defaults: Vec<CodecSpec> = DEFAULT_CODECS.iter().map(|name| CodecSpec::parse(name)).collect();
    let specs = if named.is_empty() { &defaults } else { named };
    let mut list: Vec<Codec> = Vec::with_capacity(specs.len());
    for spec in specs {
        let next = list.iter().map(|codec| codec.payload_type + 1).max().unwrap_or(0).max(FIRST_DYNAMIC);
        list.extend(codec(spec, next));
    }
    if list.is_empty() { Err(Failure::NothingToCreate) } else { Ok(list) }
}

/// None for an encoding that nothing is known of.
fn codec(spec: &CodecSpec, next: u8) -> Option<Codec> {
    let of_table = payload_type::STATIC.iter().find(|row| row.1.eq_ignore_ascii_case(&spec.name));
    let (name, rate_hz, channels, number) = match of_table {
        Some(&(number, name, rate_hz, channels)) => (name, rate_hz, channels, number),
        None => {
            let row = DYNAMIC.iter().find(|row| row.0.eq_ignore_ascii_case(&spec.name))?;
            (row.0, row.1, row.2, next)
        }
    };
    let rate_hz = spec.clock_rate_hz.unwrap_or(rate_hz);
    let channels = spec.channels.and_then(|channels| u8::try_from(channels).ok()).unwrap_or(channels);
    let mut codec = Codec::new(number, name, rate_hz, channels);
    codec.parameters.clone_from(&spec.format_parameters);
    Some(codec)
}

fn prepare(call: &mut Call, id: MediaId, request: &Request, around: &mut Surroundings) -> Result<(), Failure> {
    let media = call.media_mut(id);
    let named = request.transport.protocol.map(|protocol| Protocol::parse(protocol.name()));
    let protocol = named.or_else(|| media.protocol.clone()).unwrap_or_default();
    media.shown_protocol = Some(protocol.clone());
    media.protocol = Some(protocol);
    media.signalled_at = around.now.mono;
    let mut nobody = RtcpMux::default();
    rtcp_mux::on_offer(&mut nobody, &mut media.rtcp_mux, exchange::wishes(request));
    keying::offer_anew(media, &ReceivedSecurity::default(), request, around);
    let blank = Media::new(0, media.owner, media.index, &media.kind);
    ice::offer(media, &blank, request, around);
    let network = &request.network;
    let place = Place {
        named: network.interface.as_deref().or(network.to_interface.as_deref()),
        family: network.address_family.or(media.family).unwrap_or(Family::Ip4),
        other_side: None,
        is_latched: true,
        needs_all_addresses: media.ice.is_shown,
        needs_rtcp: media.is_rtp() && !media.rtcp_mux.is_agreed,
    };
    local_ports::ensure(call, id, place, around)
}

fn section(call: &Call, id: MediaId, request: &Request, around: &Surroundings) -> MediaSection {
    let media = call.media(id);
    let mut section = show::frame(media, media, media, request);
    section.attributes.extend(show::own_mid(call, media, request));
    section.attributes.extend(media.shown_codecs.iter().flat_map(Codec::attributes));
    section.attributes.push(Attribute::flag(Direction::SendRecv.name()));
    section.attributes.extend(show::rtcp(media, media, request));
    section.attributes.extend(keying::attributes(media, around.fingerprints));
    section.attributes.extend(ice::attributes(media));
    section
}

/// Works off `create answer`.
///
/// # Errors
/// See [`Failure`].
pub fn answer(call: &mut Call, tag: &str, request: &Request, around: &mut Surroundings) -> Result<(), Failure> {
    let party = call.find_tag(tag).ok_or(Failure::NoSuchFromTag)?;
    let description = exchange::parse(request.sdp.text.as_deref().unwrap_or_default())?;
    exchange::check_addresses(&description)?;
    if description.medias.len() != call.participant(party).medias.len() {
        return Err(Failure::UnusableAnswer);
    }
    call.participant_mut(party).delete_at = None;
    call.is_answered = true;
    receive::receive(call, party, description, request, around);
    exchange::complete(call, party, request, around);
    Ok(())
}
