//! The description that a participant is shown, in canonical order.

use super::exchange::{Pair, Step};
use super::manipulate;
use super::origin;
use super::parties::Parties;
use super::{Failure, Surroundings, bundle, ice, keying, legacy};
use crate::base::address::Family;
use crate::call::connectivity::Passthrough;
use crate::call::{Call, Media, MediaId, ParticipantId};
use crate::ng::Request;
use crate::ng::request::output::RtcpAttribute;
use crate::sdp::{Attribute, Connection, Direction, MediaSection, Session, SessionDescription, write};
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The name of the header extension that carries `a=mid`.
const MID_EXTENSION: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";

/// Shows the sender's description to the receiver.
///
/// # Errors
/// When nothing would be left but rejected medias.
pub fn exchange(
    call: &mut Call,
    parties: Parties,
    pairs: &[Pair],
    step: Step,
    request: &Request,
    around: &Surroundings,
) -> Result<String, Failure> {
    let mut sections = sections(call, parties, pairs, step, request, around);
    let mut session = session_of(call, parties.sender);
    let receiver = call.participant(parties.receiver);
    if receiver.medias.iter().any(|id| call.media(*id).ice.is_shown && call.media(*id).ice.is_lite) {
        session.attributes.insert(0, Attribute::flag("ice-lite"));
    }
    session.attributes.splice(0..0, group(call, parties, &sections, step, request));
    add_twins(call, parties.receiver, &mut sections, step, request);
    if request.output.loop_protect {
        session.attributes.insert(0, Attribute::with_value("rtpengine", around.instance_id));
    }
    finish(call, parties.receiver, session, sections, request, around)
}

/// `a=group` (RFC 9143). A description that goes through with its own addresses keeps its own, unless this daemon's
/// candidates are a mere choice.
fn group(call: &Call, parties: Parties, sections: &[MediaSection], step: Step, request: &Request) -> Option<Attribute> {
    let receiver = call.participant(parties.receiver);
    if receiver.medias.iter().any(|id| call.media(*id).ice.passthrough == Some(Passthrough::Relay)) {
        let mids = &call.participant(parties.sender).bundle;
        return (step == Step::Offer && !mids.is_empty()).then(|| bundle::group(mids));
    }
    group_of(call, parties.receiver, sections, request)
}

/// `a=group` of what a receiver is shown, where it is shown one.
pub(super) fn group_of(
    call: &Call,
    receiver: ParticipantId,
    sections: &[MediaSection],
    request: &Request,
) -> Option<Attribute> {
    let receiver = call.participant(receiver);
    if !receiver.shows_bundle {
        return None;
    }
    let shown = receiver.medias.iter().zip(sections).filter(|(_, section)| !section.is_rejected());
    let mids: Vec<String> = shown
        .filter_map(|(id, section)| match section.attribute("mid") {
            Some(mid) => mid.value.clone(),
            None => request.transport.generate_mid.then(|| call.media(*id).index.to_string()),
        })
        .collect();
    (!mids.is_empty()).then(|| bundle::group(&mids))
}

/// Plain twins of encrypted medias, for receivers that know no other way to choose.
fn add_twins(
    call: &mut Call,
    receiver: ParticipantId,
    sections: &mut Vec<MediaSection>,
    step: Step,
    request: &Request,
) {
    let participant = call.participant_mut(receiver);
    match step {
        Step::Offer => {
            participant.legacy_places = legacy::expand(sections, request.sdes.osrtp);
            participant.accepts_legacy = request.sdes.osrtp.accept_legacy;
        }
        Step::Answer => legacy::reject_plain(sections, &participant.legacy_places),
    }
}

/// The receiver's `m=` lines never lose their places: one with nothing to show stays as a rejected one (RFC 3264,
/// sections 6 and 8).
fn sections(
    call: &Call,
    parties: Parties,
    pairs: &[Pair],
    step: Step,
    request: &Request,
    around: &Surroundings,
) -> Vec<MediaSection> {
    let receiver = call.participant(parties.receiver);
    let mut senders = vec![None; receiver.medias.len()];
    for (sent, received) in pairs {
        if let Some(received) = received {
            senders[call.media(*received).index - 1] = Some(*sent);
        }
    }
    let shown = receiver.medias.iter().zip(senders).map(|(received, sent)| match sent {
        Some(sent) => section(call, sent, *received, step, request, around),
        None => {
            let media = call.media(*received);
            rejected(media, media)
        }
    });
    shown.collect()
}

/// The session level of `id`'s own description.
pub(super) fn session_of(call: &Call, id: ParticipantId) -> Session {
    let received = &call.participant(id).session;
    Session {
        origin: received.origin.clone().unwrap_or_default(),
        name: received.name.clone(),
        descriptions: received.descriptions.clone(),
        connection: None,
        bandwidths: received.bandwidths.clone(),
        timing: received.timing.clone(),
        attributes: received.attributes.clone(),
    }
}

/// Puts a description together, with the edits and counts that the request asks for, and prints it.
///
/// # Errors
/// When all medias are rejected.
pub(super) fn finish(
    call: &mut Call,
    receiver: ParticipantId,
    session: Session,
    medias: Vec<MediaSection>,
    request: &Request,
    around: &Surroundings,
) -> Result<String, Failure> {
    if medias.iter().all(MediaSection::is_rejected) {
        return Err(Failure::NothingToShow);
    }
    let mut description = SessionDescription { session, medias };
    let address = own_address(call, receiver, around);
    let replacing = request.output.replace;
    let shown = &mut call.participant_mut(receiver).shown;
    origin::replace(&mut description.session, shown, replacing, address);
    manipulate::apply(&mut description, &request.output.edits);
    origin::number(&mut description, shown, replacing);
    Ok(write::write(&description))
}

/// `finish` for a description that is made here and not passed on.
///
/// # Errors
/// When all medias are rejected.
pub(super) fn create(
    call: &mut Call,
    receiver: ParticipantId,
    session: Session,
    medias: Vec<MediaSection>,
    request: &Request,
    around: &Surroundings,
) -> Result<String, Failure> {
    finish(call, receiver, session, medias, request, around).map_err(|failure| match failure {
        Failure::NothingToShow => Failure::NothingToCreate,
        other => other,
    })
}

/// The address that stands in `o=`: that of the first media with ports, else the default interface's.
pub(super) fn own_address(call: &Call, id: ParticipantId, around: &Surroundings) -> Option<IpAddr> {
    let medias = &call.participant(id).medias;
    let of_media = medias.iter().find_map(|media| call.media(*media).ports()).map(|set| set.advertised);
    of_media.or_else(|| around.interfaces.addresses().next().map(|(_, _, local)| local.advertised))
}

/// The section for `received`, which hears `sent`.
fn section(
    call: &Call,
    sent: MediaId,
    received: MediaId,
    step: Step,
    request: &Request,
    around: &Surroundings,
) -> MediaSection {
    let (sender, receiver) = (call.media(sent), call.media(received));
    let is_emptied = sender.is_rtp() && !sender.codecs.is_empty() && receiver.shown_codecs.is_empty();
    let has_no_codec = is_emptied && step == Step::Offer;
    let mid = mid(sender, receiver, step, request);
    // What was not offered is not accepted either.
    let is_refused = step == Step::Answer && receiver.is_rejected;
    if sender.is_rejected || is_refused || has_no_codec {
        let mut section = rejected(sender, receiver);
        // A rejected member of a group says nothing of its formats.
        match step {
            Step::Offer if call.participant(receiver.owner).shows_bundle => section.formats = vec!["0".to_owned()],
            Step::Answer if call.participant(sender.owner).shows_bundle => {
                section.formats.clone_from(&receiver.formats)
            }
            _ => {}
        }
        section.attributes.splice(0..0, mid);
        return section;
    }
    if !sender.is_relayed() {
        return untouched(sender);
    }
    if let (Some(passthrough), Some(original)) = (receiver.ice.passthrough, &sender.untouched) {
        return passed_through(receiver, passthrough, original);
    }
    let transport = call.media(call.transport_of(received));
    let mut section = frame(sender, receiver, transport, request);
    section.attributes.extend(mid);
    let (labels, others) = split_labels(&sender.attributes);
    let mut others = agreed_extensions(others, receiver, step);
    if step == Step::Answer {
        others.splice(0..0, receiver.masked_extensions.iter().cloned());
    }
    section.attributes.extend(labels);
    section.attributes.extend(bundle_only(sender, receiver).filter(|_| step == Step::Offer));
    section.attributes.extend(receiver.shown_codecs.iter().flat_map(|codec| codec.attributes()));
    match step {
        Step::Offer => section.attributes.extend(extensions_of_offer(call, sender, receiver, &others, request)),
        Step::Answer => section.attributes.extend(mixed_extensions(sender, receiver, step, request)),
    }
    section.attributes.extend(others.into_iter().filter(|attribute| !is_stripped(attribute, request)));
    section.attributes.extend(direction(sender, receiver, step, request));
    section.attributes.extend(rtcp(receiver, transport, request));
    let is_rtp = receiver.is_shown_rtp();
    section.attributes.extend(is_rtp.then(|| keying::attributes(transport, around.fingerprints)).into_iter().flatten());
    section.attributes.extend(times(sender, receiver));
    section.attributes.extend(is_rtp.then(|| ice::attributes(transport)).into_iter().flatten());
    section
}

/// A section that keeps its own addresses, with this daemon's candidates added.
fn passed_through(receiver: &Media, passthrough: Passthrough, original: &MediaSection) -> MediaSection {
    let mut section = original.clone();
    section.attributes.extend(ice::added(receiver, passthrough, &ice::candidates(&original.attributes)));
    section
}

/// The `m=`, `i=`, `c=` and `b=` lines. `transport` is the media whose ports the receiver's uses.
pub(super) fn frame(sender: &Media, receiver: &Media, transport: &Media, request: &Request) -> MediaSection {
    let formats = match (receiver.is_shown_rtp(), receiver.shown_codecs.is_empty()) {
        (true, false) => receiver.shown_codecs.iter().map(|codec| codec.payload_type.to_string()).collect(),
        // Nothing of what was offered was accepted; a line without a format would be none at all.
        (true, true) if !sender.codecs.is_empty() => receiver.formats.clone(),
        (_, _) => sender.formats.clone(),
    };
    MediaSection {
        kind: sender.kind.clone(),
        port: transport.ports().map_or(0, |set| set.rtp.address.port()),
        port_count: None,
        protocol: receiver.shown_protocol.clone().unwrap_or_default(),
        formats,
        information: sender.information.clone(),
        connection: shown_address(sender, transport, request).map(|address| Connection { address }),
        bandwidths: sender.bandwidths.clone(),
        attributes: Vec::with_capacity(16),
    }
}

/// The connection address: zero stays zero unless that is replaced, `media address` stands for ours.
fn shown_address(sender: &Media, receiver: &Media, request: &Request) -> Option<IpAddr> {
    if sender.is_zero_address && !receiver.ice.is_shown && !request.output.replace.zero_address {
        return Some(zero(receiver.family));
    }
    request.network.media_address.or(receiver.ports().map(|set| set.advertised))
}

fn zero(family: Option<Family>) -> IpAddr {
    match family {
        Some(Family::Ip6) => Ipv6Addr::UNSPECIFIED.into(),
        _ => Ipv4Addr::UNSPECIFIED.into(),
    }
}

pub(super) fn split_labels(attributes: &[Attribute]) -> (Vec<Attribute>, Vec<Attribute>) {
    attributes.iter().cloned().partition(|attribute| attribute.name == "label")
}

/// A section with port zero.
pub(super) fn rejected(sender: &Media, receiver: &Media) -> MediaSection {
    let is_own = std::ptr::eq(sender, receiver);
    let shown = receiver.shown_protocol.as_ref().filter(|_| !is_own).or(receiver.protocol.as_ref());
    let mut formats = sender.formats.clone();
    if formats.is_empty() {
        formats.extend(sender.shown_codecs.iter().map(|codec| codec.payload_type.to_string()));
    }
    MediaSection {
        kind: sender.kind.clone(),
        port: 0,
        port_count: None,
        protocol: shown.or(sender.protocol.as_ref()).cloned().unwrap_or_default(),
        formats,
        information: None,
        connection: Some(Connection { address: Ipv4Addr::UNSPECIFIED.into() }),
        bandwidths: if is_own { Vec::new() } else { sender.bandwidths.clone() },
        attributes: if is_own { Vec::new() } else { split_labels(&sender.attributes).0 },
    }
}

/// Media that is not relayed keeps its address and lines.
fn untouched(sender: &Media) -> MediaSection {
    let address = sender.signalled.rtp;
    MediaSection {
        kind: sender.kind.clone(),
        port: address.map_or(0, |address| address.port()),
        port_count: None,
        protocol: sender.protocol.clone().unwrap_or_default(),
        formats: sender.formats.clone(),
        information: sender.information.clone(),
        connection: address.map(|address| Connection { address: address.ip() }),
        bandwidths: sender.bandwidths.clone(),
        attributes: sender.attributes.clone(),
    }
}

/// The receiver's own `a=mid`, else what an offer brings, else a generated one.
fn mid(sender: &Media, receiver: &Media, step: Step, request: &Request) -> Option<Attribute> {
    match (&receiver.mid, step) {
        (None, Step::Offer) => match &sender.mid {
            Some(mid) => Some(Attribute::with_value("mid", mid)),
            None => generated_mid(receiver, request).filter(|_| sender.is_rtp()),
        },
        (None, Step::Answer) => None,
        (Some(mid), _) => Some(Attribute::with_value("mid", mid)),
    }
}

fn generated_mid(receiver: &Media, request: &Request) -> Option<Attribute> {
    request.transport.generate_mid.then(|| Attribute::with_value("mid", receiver.index))
}

/// A subscriber's own `a=mid`, else a generated one where that is asked for or a group needs it.
pub(super) fn own_mid(call: &Call, receiver: &Media, request: &Request) -> Option<Attribute> {
    let is_wanted = request.transport.generate_mid || call.participant(receiver.owner).shows_bundle;
    let generated = is_wanted.then(|| receiver.index.to_string());
    receiver.mid.clone().or(generated).map(|mid| Attribute::with_value("mid", mid))
}

/// What a member of a group that was agreed on, or is required, says in an offer (RFC 9143, section 6).
pub(super) fn bundle_only(sender: &Media, receiver: &Media) -> Option<Attribute> {
    (receiver.bundled_in.is_some() && sender.is_rtp()).then(|| Attribute::flag("bundle-only"))
}

/// What stands before the header extensions of an offer, `others` of its attributes: that both forms may be mixed, and
/// the extension that a group needs.
pub(super) fn extensions_of_offer(
    call: &Call,
    sender: &Media,
    receiver: &Media,
    others: &[Attribute],
    request: &Request,
) -> impl Iterator<Item = Attribute> {
    let mid = mid_extension(call, receiver, others, request);
    let mixed = mixed_extensions(sender, receiver, Step::Offer, request);
    let forced = mid.as_ref().map(|_| Attribute::flag("extmap-allow-mixed"));
    mixed.or(forced).into_iter().chain(mid)
}

pub(super) fn is_stripped(attribute: &Attribute, request: &Request) -> bool {
    let strip = &request.transport.strip_extensions;
    attribute.name == "extmap" && (strip.all || attribute.extension_uri().is_some_and(|uri| strip.covers(uri)))
}

/// The attributes without header extensions that an answer has and its offer had not (RFC 8285, section 6).
fn agreed_extensions(mut attributes: Vec<Attribute>, receiver: &Media, step: Step) -> Vec<Attribute> {
    if step == Step::Answer {
        let offered: HashSet<&str> = receiver.attributes.iter().filter_map(Attribute::extension_uri).collect();
        attributes.retain(|attribute| match attribute.extension_uri() {
            Some(uri) => offered.contains(uri),
            None => true,
        });
    }
    attributes
}

/// The header extension that tells bundled medias apart (RFC 9143, section 15), where a group is offered and the
/// sender does not bring it.
fn mid_extension(call: &Call, receiver: &Media, others: &[Attribute], request: &Request) -> Option<Attribute> {
    let is_grouped = call.participant(receiver.owner).shows_bundle && receiver.is_shown_rtp();
    let extensions = || others.iter().filter(|attribute| attribute.name == "extmap");
    let has_it = extensions().any(|attribute| attribute.extension_uri() == Some(MID_EXTENSION));
    if !is_grouped || has_it || request.transport.strip_extensions.all {
        return None;
    }
    let number =
        |attribute: &Attribute| attribute.value().split([' ', '/']).next().and_then(|id| id.parse::<u8>().ok());
    let free = (1..15).find(|id| extensions().all(|attribute| number(attribute) != Some(*id)))?;
    Some(Attribute::with_value("extmap", format_args!("{free} {MID_EXTENSION}")))
}

/// `a=extmap-allow-mixed` (RFC 8285, section 6): offered with every header extension, answered to who offered it.
pub(super) fn mixed_extensions(sender: &Media, receiver: &Media, step: Step, request: &Request) -> Option<Attribute> {
    let has_extensions =
        sender.attributes.iter().any(|attribute| attribute.name == "extmap" && !is_stripped(attribute, request));
    let is_shown = match step {
        Step::Offer => has_extensions,
        Step::Answer => has_extensions && receiver.allows_mixed_extensions && sender.allows_mixed_extensions,
    };
    is_shown.then(|| Attribute::flag("extmap-allow-mixed"))
}

/// The direction attribute: as received with `original sendrecv`, else always present for RTP. An answer never sends
/// what the offerer does not want to receive (RFC 3264, section 6.1).
fn direction(sender: &Media, receiver: &Media, step: Step, request: &Request) -> Option<Attribute> {
    if request.output.original_direction || !sender.is_rtp() {
        return sender.written_direction.map(|direction| Attribute::flag(direction.name()));
    }
    let direction = match step {
        Step::Offer => sender.direction,
        Step::Answer => Direction::new(
            sender.direction.sends() && receiver.direction.receives(),
            sender.direction.receives() && receiver.direction.sends(),
        ),
    };
    Some(Attribute::flag(direction.name()))
}

/// `a=rtcp` (RFC 3605) and `a=rtcp-mux` (RFC 5761).
pub(super) fn rtcp(receiver: &Media, transport: &Media, request: &Request) -> Vec<Attribute> {
    let Some(set) = transport.ports().filter(|_| receiver.is_shown_rtp()) else { return Vec::new() };
    let port = match (receiver.rtcp_mux.is_agreed, set.rtcp) {
        (false, Some(rtcp)) => rtcp.address.port(),
        _ => set.rtp.address.port(),
    };
    let mut list = Vec::with_capacity(2);
    match request.output.rtcp_attribute {
        RtcpAttribute::Omit => {}
        RtcpAttribute::Port => list.push(Attribute::with_value("rtcp", port)),
        RtcpAttribute::Full => {
            let (family, address) = (Family::of(set.advertised), set.advertised);
            list.push(Attribute::with_value("rtcp", format_args!("{port} IN {family} {address}")));
        }
    }
    if receiver.rtcp_mux.is_shown {
        list.push(Attribute::flag("rtcp-mux"));
    }
    list
}

/// `a=ptime` and `a=maxptime`.
pub(super) fn times(sender: &Media, receiver: &Media) -> Vec<Attribute> {
    let ptime = sender.ptime_ms.or(receiver.ptime_ms).map(|ptime_ms| Attribute::with_value("ptime", ptime_ms));
    let maxptime = sender.maxptime_ms.map(|maxptime_ms| Attribute::with_value("maxptime", maxptime_ms));
    ptime.into_iter().chain(maxptime).collect()
}
