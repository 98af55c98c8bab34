//! Takes a participant's description into the call model.

use super::{Surroundings, bundle, ice, keying};
use crate::base::address::Family;
use crate::base::learning::Learning;
use crate::call::media::{Behaviour, Signalled};
use crate::call::participant::ReceivedSession;
use crate::call::{Call, Media, ParticipantId};
use crate::ng::{Command, Request};
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

/// Reads `description`, sent by `owner`, into its participant and medias. The medias must exist; those that the
/// description does not have are rejected.
pub fn receive(
    call: &mut Call,
    owner: ParticipantId,
    description: SessionDescription,
    request: &Request,
    around: &Surroundings,
) {
    let SessionDescription { session, medias } = description;
    let mut sections = medias.into_iter();
    for position in 0..call.participant(owner).medias.len() {
        let media = call.media_mut(call.participant(owner).medias[position]);
        match sections.next() {
            Some(section) => receive_media(media, section, &session, request, around),
            None => (media.is_rejected, media.signalled) = (true, Signalled::default()),
        }
    }
    let participant = call.participant_mut(owner);
    participant.bundle = bundle::received(&session);
    participant.session = received_session(session);
}

fn received_session(session: Session) -> ReceivedSession {
    let Session { origin, name, descriptions, bandwidths, timing, mut attributes, .. } = session;
    attributes.retain(|attribute| !is_consumed(attribute));
    ReceivedSession { origin: Some(origin), name, descriptions, bandwidths, timing, attributes }
}

fn is_consumed(attribute: &Attribute) -> bool {
    CONSUMED.contains(&attribute.name.as_str())
}

fn receive_media(
    media: &mut Media,
    section: MediaSection,
    session: &Session,
    request: &Request,
    around: &Surroundings,
) {
    if media.kind != section.kind {
        media.shown_codecs.clear();
    }
    media.is_described = true;
    media.signalled_at = around.now.mono;
    media.is_rejected = section.is_rejected();
    media.codecs = if section.protocol.is_rtp() { Codec::list(&section) } else { Vec::new() };
    media.mid = section.attribute("mid").and_then(|attribute| attribute.value.clone());
    media.ptime_ms = number(&section, "ptime").or(media.ptime_ms);
    media.maxptime_ms = number(&section, "maxptime");
    media.security.received = keying::receive(&section, session, &request.sdes);
    ice::take(media, ice::receive(&section, session));
    let is_kept = media.ice.passthrough.is_some() || request.ice.mode.keeps_candidates();
    media.untouched = is_kept.then(|| Box::new(with_address(&section, session)));
    media.rtcp_mux.is_wanted = section.attribute("rtcp-mux").is_some();
    media.allows_mixed_extensions = has_either(&section, session, "extmap-allow-mixed");
    media.behaviour = behaviour(request, around.learning);
    receive_address(media, &section, session, request);
    receive_direction(media, &section, session);
    media.attributes = passed_on(section.attributes, &section.protocol);
    media.simulcast.clear();
    mask_extensions(media, request);
    media.protocol = Some(section.protocol);
    media.kind = section.kind;
    media.formats = section.formats;
    media.information = section.information;
    media.bandwidths = section.bandwidths;
}

/// Takes out the header extensions that are accepted from the participant and shown to nobody. An answer leaves those
/// alone that an offer has masked.
fn mask_extensions(media: &mut Media, request: &Request) {
    let mask = &request.transport.mask_extensions;
    if request.command == Command::Offer {
        media.masked_extensions.clear();
    }
    if !mask.all && mask.uris.is_empty() {
        return;
    }
    let is_masked = |attribute: &Attribute| attribute.extension_uri().is_some_and(|uri| mask.covers(uri));
    let (masked, shown) = std::mem::take(&mut media.attributes).into_iter().partition(is_masked);
    (media.masked_extensions, media.attributes) = (masked, shown);
}

/// A section that can stand without its session.
fn with_address(section: &MediaSection, session: &Session) -> MediaSection {
    MediaSection { connection: section.connection.or(session.connection), ..section.clone() }
}

fn has_either(section: &MediaSection, session: &Session, name: &str) -> bool {
    section.attributes.iter().chain(&session.attributes).any(|attribute| attribute.name == name)
}

fn number(section: &MediaSection, name: &str) -> Option<u32> {
    section.attribute(name)?.value().trim().parse().ok()
}

/// The attributes that go to the other side as they are, in the order of canonical output: label, header extensions,
/// all others. Those of a payload type come with its codec; for media that is not RTP there are none of that sort.
fn passed_on(mut attributes: Vec<Attribute>, protocol: &Protocol) -> Vec<Attribute> {
    let belongs_to_codec = |attribute: &Attribute| match attribute.name.as_str() {
        "rtpmap" | "fmtp" => protocol.is_rtp(),
        "rtcp-fb" => attribute.value().split(' ').next().is_some_and(|format| format.parse::<u8>().is_ok()),
        _ => false,
    };
    attributes.retain(|attribute| !is_consumed(attribute) && !belongs_to_codec(attribute));
    attributes.sort_by_key(|attribute| match attribute.name.as_str() {
        "label" => 0,
        "extmap" => 1,
        _ => 2,
    });
    attributes.shrink_to_fit();
    attributes
}

fn behaviour(request: &Request, configured: Learning) -> Behaviour {
    let rtp = &request.rtp;
    Behaviour {
        learning: rtp.endpoint_learning.unwrap_or(configured),
        strict_source: rtp.strict_source,
        fixed_address: false,
        media_handover: rtp.media_handover,
        asymmetric: rtp.is_asymmetric,
        wait_for_peer: rtp.nat_wait,
        pierce_nat: rtp.pierce_nat,
    }
}

/// Where the participant wants the media: `media address`, else the SDP's address where that is trusted, else where
/// the SIP message came from.
fn receive_address(media: &mut Media, section: &MediaSection, session: &Session, request: &Request) {
    let network = &request.network;
    let written = section.connection.or(session.connection).map(|connection| connection.address);
    let trusted = written.filter(|_| network.trust_address);
    let effective = network.media_address.or(trusted).or(request.sdp.received_from).or(written);
    // With ICE it says that candidates follow, or stand in another section of the bundle (RFC 8840, section 4.1.1;
    // RFC 8829, section 5.2.1); without, that the media is on hold (RFC 2543, appendix B.5).
    let has_ice = media.ice.received.is_some();
    media.is_zero_address = trusted.is_some_and(|address| address.is_unspecified()) && !has_ice;
    media.family = effective.map(Family::of).or(media.family);
    media.signalled = Signalled::default();
    let Some(address) = effective.filter(|address| !address.is_unspecified() && !section.is_rejected()) else {
        return;
    };
    media.signalled.rtp = Some(SocketAddr::new(address, section.port));
    media.signalled.rtcp = rtcp_address(section, address, effective == trusted);
}

/// Where the participant wants RTCP (RFC 3550, section 11; RFC 3605). An address of its own counts as much as that of
/// RTP does.
fn rtcp_address(section: &MediaSection, address: IpAddr, is_trusted: bool) -> Option<SocketAddr> {
    let written = section.attribute("rtcp").and_then(Attribute::rtcp_address);
    let (own, port) = match written {
        Some(rtcp) => (rtcp.address.filter(|own| is_trusted && !own.is_unspecified()), Some(rtcp.port)),
        None => (None, section.port.checked_add(1)),
    };
    port.filter(|port| *port > 0).map(|port| SocketAddr::new(own.unwrap_or(address), port))
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
