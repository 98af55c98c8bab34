//! Takes a participant's description into the call model.

use super::{Failure, Surroundings};
use crate::base::address::Family;
use crate::call::media::{Behaviour, Signalled};
use crate::call::participant::ReceivedSession;
use crate::call::{Call, Media, MediaId, ParticipantId};
use crate::ng::Request;
use crate::sdp::{Attribute, Codec, Direction, MediaSection, Protocol, Session, SessionDescription};
use std::net::{IpAddr, SocketAddr};

/// Attributes that negotiation consumes wherever they stand; what is shown instead is made anew.
const CONSUMED: [&str; 24] = [
    "bundle-only",
    "candidate",
    "crypto",
    "end-of-candidates",
    "extmap-allow-mixed",
    "fingerprint",
    "group",
    "ice-lite",
    "ice-options",
    "ice-pwd",
    "ice-ufrag",
    "inactive",
    "maxptime",
    "mid",
    "ptime",
    "recvonly",
    "remote-candidates",
    "rtcp",
    "rtcp-mux",
    "rtpengine",
    "sendonly",
    "sendrecv",
    "setup",
    "tls-id",
];

/// Reads `description`, sent by `owner`, into its participant and medias. The medias must exist.
///
/// # Errors
/// When a media that is not rejected has no connection address.
pub fn receive(
    call: &mut Call,
    owner: ParticipantId,
    description: &SessionDescription,
    request: &Request,
    around: &Surroundings,
) -> Result<(), Failure> {
    call.participant_mut(owner).session = session(&description.session);
    let medias = call.participant(owner).medias.clone();
    for (position, id) in medias.into_iter().enumerate() {
        match description.medias.get(position) {
            Some(section) => receive_media(call, id, section, &description.session, request, around)?,
            None => call.media_mut(id).is_rejected = true,
        }
    }
    Ok(())
}

fn session(session: &Session) -> ReceivedSession {
    ReceivedSession {
        origin: Some(session.origin.clone()),
        name: session.name.clone(),
        descriptions: session.descriptions.clone(),
        bandwidths: session.bandwidths.clone(),
        timing: session.timing.clone(),
        attributes: session.attributes.iter().filter(|attribute| !is_consumed(attribute)).cloned().collect(),
    }
}

fn is_consumed(attribute: &Attribute) -> bool {
    CONSUMED.contains(&attribute.name.as_str())
}

fn receive_media(
    call: &mut Call,
    id: MediaId,
    section: &MediaSection,
    session: &Session,
    request: &Request,
    around: &Surroundings,
) -> Result<(), Failure> {
    if section.protocol.is_secure() && !section.is_rejected() {
        return Err(Failure::Secure);
    }
    let media = call.media_mut(id);
    if media.kind != section.kind {
        media.kind.clone_from(&section.kind);
        media.shown_codecs.clear();
    }
    media.is_described = true;
    media.signalled_at = around.now.mono;
    media.is_rejected = section.is_rejected();
    media.protocol = Some(section.protocol.clone());
    media.formats.clone_from(&section.formats);
    media.codecs = if section.protocol.is_rtp() { Codec::list(section) } else { Vec::new() };
    media.information.clone_from(&section.information);
    media.bandwidths.clone_from(&section.bandwidths);
    media.mid = section.attribute("mid").and_then(|attribute| attribute.value.clone());
    media.ptime_ms = number(section, "ptime").or(media.ptime_ms);
    media.maxptime_ms = number(section, "maxptime");
    media.rtcp_mux.is_wanted = section.attribute("rtcp-mux").is_some();
    media.allows_mixed_extensions = has_either(section, session, "extmap-allow-mixed");
    media.attributes = passed_on(section, &media.codecs);
    media.behaviour = behaviour(media, request);
    receive_address(media, section, session, request)?;
    receive_direction(media, section, session);
    Ok(())
}

fn has_either(section: &MediaSection, session: &Session, name: &str) -> bool {
    section.attributes.iter().chain(&session.attributes).any(|attribute| attribute.name == name)
}

fn number(section: &MediaSection, name: &str) -> Option<u32> {
    section.attribute(name)?.value().trim().parse().ok()
}

/// The attributes that go to the other side as they are, header extensions first. Those of a payload type come with
/// its codec; for media that is not RTP there are none of that sort.
fn passed_on(section: &MediaSection, codecs: &[Codec]) -> Vec<Attribute> {
    let belongs_to_codec = |attribute: &Attribute| match attribute.name.as_str() {
        "rtpmap" | "fmtp" => section.protocol.is_rtp(),
        "rtcp-fb" => attribute.value().split(' ').next().is_some_and(|format| format.parse::<u8>().is_ok()),
        _ => false,
    };
    let is_passed = |attribute: &&Attribute| !is_consumed(attribute) && !belongs_to_codec(attribute);
    let mut list: Vec<Attribute> = section.attributes.iter().filter(is_passed).cloned().collect();
    debug_assert!(codecs.len() <= section.formats.len());
    // The order of canonical output: label, header extensions, all others.
    list.sort_by_key(|attribute| match attribute.name.as_str() {
        "label" => 0,
        "extmap" => 1,
        _ => 2,
    });
    list
}

fn behaviour(media: &Media, request: &Request) -> Behaviour {
    let rtp = &request.rtp;
    Behaviour {
        learning: rtp.endpoint_learning.unwrap_or(media.behaviour.learning),
        strict_source: rtp.strict_source,
        media_handover: rtp.media_handover,
        asymmetric: rtp.is_asymmetric,
        wait_for_peer: rtp.nat_wait,
        pierce_nat: rtp.pierce_nat,
    }
}

/// Where the participant wants the media: `media address`, else the SDP's address where that is trusted, else where
/// the SIP message came from.
fn receive_address(
    media: &mut Media,
    section: &MediaSection,
    session: &Session,
    request: &Request,
) -> Result<(), Failure> {
    let connection = section.connection.or(session.connection);
    let network = &request.network;
    let written = match (connection, section.is_rejected()) {
        (Some(connection), _) => Some(connection.address),
        (None, true) => None,
        (None, false) => return Err(Failure::IncompleteSdp),
    };
    let trusted = written.filter(|_| network.trust_address);
    let effective = network.media_address.or(trusted).or(request.sdp.received_from).or(written);
    media.is_zero_address = trusted.is_some_and(|address| address.is_unspecified());
    media.family = effective.map(Family::of).or(media.family);
    media.signalled = Signalled::default();
    let Some(address) = effective.filter(|address| !address.is_unspecified() && !section.is_rejected()) else {
        return Ok(());
    };
    media.signalled.rtp = Some(SocketAddr::new(address, section.port));
    media.signalled.rtcp = rtcp_address(section, address);
    Ok(())
}

/// Where the participant wants RTCP (RFC 3550, section 11; RFC 3605).
fn rtcp_address(section: &MediaSection, address: IpAddr) -> Option<SocketAddr> {
    let written = section.attribute("rtcp").and_then(Attribute::rtcp_address);
    match written {
        Some(rtcp) => {
            let own = rtcp.address.filter(|own| !own.is_unspecified());
            Some(SocketAddr::new(own.unwrap_or(address), rtcp.port))
        }
        None => section.port.checked_add(1).map(|port| SocketAddr::new(address, port)),
    }
}

fn receive_direction(media: &mut Media, section: &MediaSection, session: &Session) {
    let find = |list: &[Attribute]| list.iter().rev().find_map(|attribute| Direction::from_name(&attribute.name));
    media.written_direction = find(&section.attributes).or_else(|| find(&session.attributes));
    let direction = media.written_direction.unwrap_or_default();
    media.direction = Direction::new(direction.sends(), direction.receives() && !media.is_zero_address);
}

/// The protocol a media is shown to the other side with, where the request names none.
pub fn default_protocol(sender: &Media, receiver: &Media) -> Protocol {
    let sent = sender.protocol.clone().unwrap_or_default();
    match &receiver.protocol {
        Some(present) if present.is_rtp() && sent.is_rtp() => present.clone(),
        _ => sent,
    }
}
