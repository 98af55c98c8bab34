//! ICE in descriptions (RFC 8839): what a participant says of it, what it is shown.

use super::Surroundings;
use crate::base::random::Random;
use crate::call::connectivity::{OwnIce, Passthrough, ReceivedIce};
use crate::call::{Media, PortSet};
use crate::ice::Credentials;
use crate::ng::Request;
use crate::ng::request::ice::{IceLite, IceMode};
use crate::sdp::{Attribute, MediaSection, Session};
use std::net::{IpAddr, SocketAddr};

/// The longest that are taken (RFC 8839, section 5.4).
const LONGEST_CREDENTIAL: usize = 256;

/// Type preferences (RFC 8445, section 5.1.2.2).
const HOST_PREFERENCE: u32 = 126;
const RELAY_PREFERENCE: u32 = 0;

/// Reads the attributes of a section, and of the session where the section has none. None without credentials.
pub fn receive(section: &MediaSection, session: &Session) -> Option<ReceivedIce> {
    let either = |name: &str| section.attribute(name).or_else(|| find(&session.attributes, name));
    let credential = |name: &str| {
        let value = either(name)?.value().trim();
        (!value.is_empty() && value.len() <= LONGEST_CREDENTIAL).then(|| value.to_owned())
    };
    let options = either("ice-options").map(Attribute::value).unwrap_or_default();
    let has_option = |name: &str| options.split_ascii_whitespace().any(|option| option == name);
    Some(ReceivedIce {
        ufrag: credential("ice-ufrag")?,
        pwd: credential("ice-pwd")?,
        is_lite: either("ice-lite").is_some(),
        is_trickling: has_option("trickle"),
        has_ice2: has_option("ice2"),
        candidates: candidates(&section.attributes),
        has_ended: either("end-of-candidates").is_some(),
    })
}

fn find<'a>(list: &'a [Attribute], name: &str) -> Option<&'a Attribute> {
    list.iter().find(|attribute| attribute.name == name)
}

/// What stands after `a=candidate:`, line by line.
pub fn candidates(attributes: &[Attribute]) -> Vec<String> {
    let lines = attributes.iter().filter(|attribute| attribute.name == "candidate");
    lines.map(|attribute| attribute.value().to_owned()).collect()
}

/// Takes what a description says into its media. New credentials restart ICE (RFC 8445, section 9): this end gets new
/// ones too.
pub fn take(media: &mut Media, received: Option<ReceivedIce>) {
    let is_restarted = match (&media.ice.received, &received) {
        (Some(before), Some(after)) => (&before.ufrag, &before.pwd) != (&after.ufrag, &after.pwd),
        _ => false,
    };
    media.ice.is_restarting |= is_restarted;
    media.ice.received = received;
}

/// An exchange is complete: the agent may speak to whom the last description names.
pub fn settle(media: &mut Media) {
    media.ice.peer.clone_from(&media.ice.received);
}

/// Notes what an offer asks of the answer to its sender.
pub fn note_wishes(sender: &mut Media, request: &Request) {
    sender.ice.is_refused = request.ice.reject;
    sender.ice.is_controlled = true;
    if let Some(lite) = request.ice.lite {
        sender.ice.is_lite = matches!(lite, IceLite::Backward | IceLite::Both);
    }
}

/// Decides whether a subscriber is offered ICE: as [`offer`], but trickling where the source does.
pub fn subscribe(receiver: &mut Media, source: &Media, request: &Request, around: &mut Surroundings) {
    offer(receiver, source, request, around);
    let is_trickling = source.ice.received.as_ref().is_some_and(|received| received.is_trickling);
    if let Some(own) = receiver.ice.own.as_mut() {
        own.is_trickling |= is_trickling;
    }
}

/// Decides whether `receiver` is offered ICE on behalf of `sender`.
pub fn offer(receiver: &mut Media, sender: &Media, request: &Request, around: &mut Surroundings) {
    let has_ice = sender.ice.received.is_some();
    let ice = &mut receiver.ice;
    ice.passthrough = passthrough(sender, request);
    ice.is_shown = receiver.shown_protocol.as_ref().is_none_or(|protocol| protocol.is_rtp())
        && match (ice.passthrough, request.ice.mode) {
            (Some(_), _) | (_, IceMode::Remove) => false,
            (None, IceMode::Default | IceMode::ForceRelay) => has_ice || ice.received.is_some(),
            (None, IceMode::Force | IceMode::Optional) => true,
        };
    ice.is_controlled = false;
    if let Some(lite) = request.ice.lite {
        ice.is_lite = matches!(lite, IceLite::Forward | IceLite::Both);
    }
    if ice.is_shown {
        let peer = ice.received.as_ref();
        let is_trickling = request.ice.trickle || peer.is_some_and(|peer| peer.is_trickling);
        let has_ice2 = request.ice.ice2 || peer.is_some_and(|peer| peer.has_ice2);
        show(receiver, is_trickling, has_ice2, around.random);
    }
}

/// The sender's own addresses go to the other side when its candidates are kept.
fn passthrough(sender: &Media, request: &Request) -> Option<Passthrough> {
    match request.ice.mode {
        _ if !sender.is_rtp() => None,
        IceMode::ForceRelay => Some(Passthrough::Relay),
        IceMode::Optional if sender.ice.received.is_some() => Some(Passthrough::Optional),
        _ => None,
    }
}

/// Decides whether the answer to `offerer` has ICE: where the offer had it, whatever the other side does.
///
/// Where the other side was shown the offerer's own addresses, the offerer is shown the other side's.
pub fn answer(offerer: &mut Media, other: Option<Passthrough>, request: &Request, around: &mut Surroundings) {
    let has_ice = offerer.ice.received.is_some();
    offerer.ice.passthrough = other.filter(|_| has_ice).map(|_| Passthrough::Optional);
    offerer.ice.is_withheld = has_ice && request.ice.mode == IceMode::Remove;
    let is_refused = offerer.ice.is_refused || request.ice.reject || offerer.ice.is_withheld;
    offerer.ice.is_shown = offerer.ice.received.is_some() && !is_refused && offerer.ice.passthrough.is_none();
    if let Some(received) = offerer.ice.received.as_ref().filter(|_| offerer.ice.is_shown) {
        let (is_trickling, has_ice2) = (received.is_trickling || request.ice.trickle, received.has_ice2);
        show(offerer, is_trickling, has_ice2, around.random);
    }
    settle(offerer);
}

fn show(media: &mut Media, is_trickling: bool, has_ice2: bool, random: &mut dyn Random) {
    let fresh = || {
        let Credentials { ufrag, password } = Credentials::generate(random);
        OwnIce { ufrag, pwd: password, is_trickling, has_ice2 }
    };
    if std::mem::take(&mut media.ice.is_restarting) {
        media.ice.own = None;
    }
    let own = media.ice.own.get_or_insert_with(fresh);
    (own.is_trickling, own.has_ice2) = (is_trickling, has_ice2);
}

/// A local address on which a component is served.
#[derive(Debug, Clone, Copy)]
struct Served {
    advertised: IpAddr,
    base: SocketAddr,
    component: u16,
    /// Its place among the addresses, the preferred one first.
    place: u32,
}

/// What stands in the description of a media that does ICE.
pub fn attributes(media: &Media) -> Vec<Attribute> {
    let (Some(own), Some(set)) = (media.ice.own.as_ref().filter(|_| media.ice.is_shown), media.ports()) else {
        return withheld(media);
    };
    let mut list = vec![Attribute::with_value("ice-ufrag", &own.ufrag), Attribute::with_value("ice-pwd", &own.pwd)];
    let options = match (own.is_trickling, own.has_ice2) {
        (true, true) => Some("trickle ice2"),
        (true, false) => Some("trickle"),
        (false, true) => Some("ice2"),
        (false, false) => None,
    };
    list.extend(options.map(|options| Attribute::with_value("ice-options", options)));
    list.extend(served(media, set).map(|served| {
        let priority = priority(HOST_PREFERENCE, 65535 - served.place, served.component);
        candidate(served, priority, "typ host")
    }));
    if own.is_trickling {
        list.push(Attribute::flag("end-of-candidates"));
    }
    list
}

/// An answer from which ICE was removed still says that candidates could trickle, as clients have come to see.
fn withheld(media: &Media) -> Vec<Attribute> {
    let is_trickling = media.ice.received.as_ref().is_some_and(|received| received.is_trickling);
    match media.ice.is_withheld && is_trickling {
        true => vec![Attribute::with_value("ice-options", "trickle"), Attribute::flag("end-of-candidates")],
        false => Vec::new(),
    }
}

/// The candidates that are added to those of the other side.
pub fn added(media: &Media, passthrough: Passthrough, others: &[String]) -> Vec<Attribute> {
    let Some(set) = media.ports().filter(|_| !others.is_empty()) else { return Vec::new() };
    let lowest = others.iter().filter_map(|line| host_priority(line)).min();
    let added = served(media, set).map(|served| match passthrough {
        Passthrough::Relay => {
            let priority = priority(RELAY_PREFERENCE, 65535 - served.place, served.component);
            let related = format!("typ relay raddr {} rport {}", served.advertised, served.base.port());
            candidate(served, priority, &related)
        }
        Passthrough::Optional => candidate(served, below(lowest, served), "typ host"),
    });
    added.collect()
}

/// The priority of a host candidate's line.
fn host_priority(line: &str) -> Option<u32> {
    let mut words = line.split_ascii_whitespace();
    let priority = words.nth(3)?.parse().ok()?;
    words.skip(2).collect::<Vec<_>>().starts_with(&["typ", "host"]).then_some(priority)
}

/// A priority beside the lowest of the other side's, which is what clients of such daemons have come to see.
fn below(lowest: Option<u32>, served: Served) -> u32 {
    let lowest = lowest.unwrap_or(priority(HOST_PREFERENCE, 65535, 1));
    let (kind, local) = (lowest >> 24, (lowest >> 8) & 0xffff);
    let (kind, first) = if local == 0xffff { (kind.saturating_sub(1), 0) } else { (kind, local + 1) };
    match first.checked_sub(served.place) {
        Some(local) => priority(kind, local, served.component),
        None => u32::MAX - u32::from(served.component - 1),
    }
}

/// RFC 8445, section 5.1.2.1.
fn priority(kind: u32, local: u32, component: u16) -> u32 {
    kind << 24 | local << 8 | (256 - u32::from(component))
}

/// Every address and component that the media is served on: component by component, the shown address first.
fn served<'a>(media: &'a Media, set: &'a PortSet) -> impl Iterator<Item = Served> + 'a {
    let is_muxed = media.rtcp_mux.is_agreed;
    let component = move |component: u16| {
        let own = if component == 1 { Some(set.rtp) } else { set.rtcp };
        let own = own.map(|port| (set.advertised, port));
        let further = set.further.iter().filter_map(move |further| {
            let port = if component == 1 { Some(further.rtp) } else { further.rtcp };
            port.map(|port| (further.advertised, port))
        });
        own.into_iter().chain(further).enumerate().map(move |(place, (advertised, port))| Served {
            advertised,
            base: port.address,
            component,
            place: place as u32,
        })
    };
    let second = (!is_muxed).then(|| component(2)).into_iter().flatten();
    component(1).chain(second)
}

fn candidate(served: Served, priority: u32, rest: &str) -> Attribute {
    let Served { advertised, base, component, .. } = served;
    let foundation = foundation(base.ip());
    let port = base.port();
    Attribute::with_value(
        "candidate",
        format_args!("{foundation} {component} UDP {priority} {advertised} {port} {rest}"),
    )
}

/// Equal for candidates of one base (RFC 8445, section 5.1.1.3), over all medias and calls.
fn foundation(base: IpAddr) -> String {
    let text = base.to_string();
    let digest = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{digest:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priorities_follow_the_formula() {
        assert_eq!(priority(HOST_PREFERENCE, 65535, 1), 2_130_706_431);
        assert_eq!(priority(HOST_PREFERENCE, 65534, 2), 2_130_706_174);
        assert_eq!(priority(RELAY_PREFERENCE, 65535, 1), 16_777_215);
    }

    #[test]
    fn host_candidates_are_told_from_others() {
        assert_eq!(host_priority("1 1 UDP 2130706431 198.51.100.10 40028 typ host"), Some(2_130_706_431));
        assert_eq!(host_priority("2 1 UDP 1694498815 203.0.113.99 50028 typ srflx raddr 1.2.3.4 rport 5"), None);
        assert_eq!(host_priority("nonsense"), None);
    }
}
