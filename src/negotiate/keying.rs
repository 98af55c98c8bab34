//! Which keys protect a media: SDES (RFC 4568), DTLS-SRTP (RFC 5763, 8842) and opportunistic SRTP (RFC 8643).
//!
//! Three steps, whatever the command: [`receive`] reads what a participant says, [`offer`] decides what another one is
//! offered in its stead, [`answer`] settles both sides when the answer is there.

use super::Surroundings;
use crate::base::fingerprint::Fingerprint;
use crate::base::protocol::TransportProtocol;
use crate::base::random::Random;
use crate::base::secret::Secret;
use crate::base::suite::{HashFunction, SUITES, Suite};
use crate::call::Media;
use crate::call::security::{DtlsKeying, Keying, ReceivedSecurity, ShownDtls, Wishes};
use crate::ng::Request;
use crate::ng::request::srtp::Sdes;
use crate::sdp::{Attribute, Crypto, MediaSection, Session, Setup};

/// Length of a generated `a=tls-id` (RFC 8842, section 4: at least 20).
const TLS_ID_DIGITS: usize = 32;
/// Lines with keys that are taken from one media; every suite twice and some.
const MOST_CRYPTOS: usize = 32;
/// Fingerprints that are taken from one media.
const MOST_FINGERPRINTS: usize = 8;

/// Reads the attributes of a section, and of the session where the section has none.
pub fn receive(section: &MediaSection, session: &Session, sdes: &Sdes) -> ReceivedSecurity {
    let lines = section.attributes.iter().filter(|attribute| attribute.name == "crypto");
    let mut cryptos: Vec<Crypto> = lines.filter_map(Crypto::parse).take(MOST_CRYPTOS).collect();
    restrict(&mut cryptos, sdes);
    let of = |list: &[Attribute], name: &str| -> Vec<String> {
        list.iter().filter(|attribute| attribute.name == name).map(|attribute| attribute.value().to_owned()).collect()
    };
    let either = |name: &str| {
        let own = of(&section.attributes, name);
        if own.is_empty() { of(&session.attributes, name) } else { own }
    };
    let is_secure = section.protocol.is_secure();
    let is_opportunistic = section.protocol.is_rtp() && !is_secure && !cryptos.is_empty();
    if !is_secure && !is_opportunistic {
        return ReceivedSecurity::default();
    }
    let fingerprints = either("fingerprint");
    ReceivedSecurity {
        cryptos,
        fingerprints: fingerprints.iter().filter_map(|text| text.parse().ok()).take(MOST_FINGERPRINTS).collect(),
        setup: either("setup").first().and_then(|name| Setup::from_name(name)),
        tls_id: either("tls-id").into_iter().next(),
        is_opportunistic,
    }
}

/// Takes the suites out that are not wanted; the topmost stays where none would be left, for the answer to who
/// offered it.
fn restrict(cryptos: &mut Vec<Crypto>, sdes: &Sdes) {
    let topmost = cryptos.first().cloned();
    cryptos.retain(|crypto| is_wanted(crypto.suite, sdes));
    if cryptos.is_empty() {
        cryptos.extend(topmost);
    }
}

/// `SDES-nonew` goes before both lists, `SDES-only-` before `SDES-no-`.
fn is_wanted(suite: Suite, sdes: &Sdes) -> bool {
    match (sdes.add_none, sdes.only.is_empty()) {
        (true, _) => true,
        (false, false) => sdes.only.contains(&suite),
        (false, true) => !sdes.without.contains(&suite),
    }
}

/// What the next answer to `media` shall prefer, as its offer wants it.
pub fn note_wishes(sender: &mut Media, request: &Request) {
    sender.security.recrypts = request.sdes.recrypt;
    sender.security.shown.wishes = Wishes {
        is_passive: request.dtls.is_passive,
        prefers_sdes: request.sdes.prefer,
        accepts_opportunistic: request.sdes.osrtp.accept_rfc,
    };
}

/// Decides what a party is offered that nobody has offered for. Suites are listed whatever is said of SDES, as clients
/// have come to see.
pub fn offer_anew(receiver: &mut Media, received: &ReceivedSecurity, request: &Request, around: &mut Surroundings) {
    offer(receiver, received, request, around);
    if receiver.shown_protocol.as_ref().is_some_and(|protocol| protocol.is_secure()) {
        receiver.security.shown.cryptos = offered_suites(receiver, received, &request.sdes, around.random);
    }
}

/// Decides what a subscriber is offered. Where the source is settled with keys in its description, the subscriber may
/// use those: packets can pass as they are. A request that names a protocol of DTLS is for one who shakes hands.
pub fn subscribe(receiver: &mut Media, source: &Media, request: &Request, around: &mut Surroundings) {
    let is_secure = receiver.shown_protocol.as_ref().is_some_and(|protocol| protocol.is_secure());
    let transport = &request.transport;
    let names_dtls = !transport.is_webrtc && transport.protocol.is_some_and(TransportProtocol::is_dtls);
    let (Keying::Sdes { receive, .. }, false) = (&source.security.keying, names_dtls) else {
        return offer(receiver, &source.security.received, request, around);
    };
    let received = ReceivedSecurity { cryptos: vec![receive.clone()], ..ReceivedSecurity::default() };
    offer_anew(receiver, &received, request, around);
    if is_secure {
        receiver.security.shown.dtls = None;
    }
}

/// Decides what `receiver` is offered on behalf of a sender who said `received`.
pub fn offer(receiver: &mut Media, received: &ReceivedSecurity, request: &Request, around: &mut Surroundings) {
    let is_rtp = receiver.is_shown_rtp();
    let is_secure = receiver.shown_protocol.as_ref().is_some_and(|protocol| protocol.is_secure());
    let passes_on = received.is_opportunistic && request.transport.protocol.is_none();
    let is_opportunistic = is_rtp && !is_secure && (request.sdes.osrtp.offer || passes_on);
    let agreed = &receiver.security.keying;
    let stays_opportunistic = receiver.security.shown.is_opportunistic && agreed.is_secure();
    let is_opportunistic = is_opportunistic || is_rtp && !is_secure && stays_opportunistic;
    let has_keys = is_secure || is_opportunistic;
    let is_sdes = has_keys && !request.sdes.is_off && is_sdes_open(receiver);
    let is_dtls = has_keys && !request.dtls.is_off && !matches!(agreed, Keying::Sdes { .. });
    receiver.security.shown.is_opportunistic = is_opportunistic || is_secure && request.sdes.osrtp.offer_legacy;
    receiver.security.shown.pads_keys = request.sdes.pad;
    receiver.security.shown.adds_lifetime = request.sdes.lifetime;
    receiver.security.shown.cryptos = match is_sdes {
        true => offered_suites(receiver, received, &request.sdes, around.random),
        false => Vec::new(),
    };
    receiver.security.shown.dtls =
        is_dtls.then(|| ShownDtls { setup: Setup::ActivePassive, hash: hash_for(receiver, request.dtls.fingerprint) });
    if is_dtls {
        ensure_tls_id(receiver, around.random);
    }
    if is_secure && !receiver.is_described && receiver.security.keying == Keying::None {
        receiver.security.keying = Keying::Pending;
    }
}

/// Until its offer is answered, nothing passes from somebody who wants protection and nothing else.
pub fn await_keys(offerer: &mut Media) {
    let is_first = offerer.shown_protocol.is_none();
    if is_first && offerer.security.received.is_required() && offerer.security.keying == Keying::None {
        offerer.security.keying = Keying::Pending;
    }
}

/// Once a handshake was agreed upon with a participant who never had keys in its description, none are offered.
fn is_sdes_open(receiver: &Media) -> bool {
    match receiver.security.keying {
        Keying::Dtls(_) => !receiver.security.shown.cryptos.is_empty(),
        _ => true,
    }
}

/// The sender's suites with its keys, then those already shown, then the rest with new keys.
fn offered_suites(receiver: &Media, received: &ReceivedSecurity, sdes: &Sdes, random: &mut dyn Random) -> Vec<Crypto> {
    let mut list: Vec<Crypto> = Vec::with_capacity(SUITES.len());
    let earlier = &receiver.security.shown.cryptos;
    for crypto in received.cryptos.iter().chain(earlier).filter(|crypto| is_wanted(crypto.suite, sdes)) {
        let is_new = list.iter().all(|other| other.suite != crypto.suite && other.tag != crypto.tag);
        if is_new || received.cryptos.iter().any(|own| std::ptr::eq(own, crypto)) {
            list.push(crypto.clone());
        }
    }
    let mut parameters = received.cryptos.first().map(|crypto| crypto.parameters).unwrap_or_default();
    if !sdes.add_none {
        for (suite, _) in SUITES.iter().filter(|(suite, _)| is_wanted(*suite, sdes)) {
            if list.iter().all(|crypto| crypto.suite != *suite) {
                let tag = list.iter().map(|crypto| crypto.tag).max().unwrap_or(0).saturating_add(1);
                list.push(generate(tag, *suite, random));
            }
        }
    }
    parameters.unencrypted_srtp = sdes.unencrypted_srtp.unwrap_or(parameters.unencrypted_srtp);
    parameters.unencrypted_srtcp = sdes.unencrypted_srtcp.unwrap_or(parameters.unencrypted_srtcp);
    parameters.unauthenticated_srtp = sdes.unauthenticated_srtp.unwrap_or(parameters.unauthenticated_srtp);
    list.iter_mut().for_each(|crypto| crypto.parameters = parameters);
    let place = |crypto: &Crypto| sdes.order.iter().position(|suite| *suite == crypto.suite);
    list.sort_by_key(|crypto| place(crypto).unwrap_or(sdes.order.len()));
    list
}

fn generate(tag: u32, suite: Suite, random: &mut dyn Random) -> Crypto {
    let mut key = vec![0; suite.key_bytes() + suite.salt_bytes()];
    random.fill(&mut key);
    let crypto = Crypto { tag, suite, key: Secret::new(&key), mki: None, parameters: Default::default() };
    zeroize::Zeroize::zeroize(&mut key);
    crypto
}

/// The hash asked for, else the one that the participant itself uses.
fn hash_for(media: &Media, asked: Option<HashFunction>) -> HashFunction {
    let own = media.security.received.fingerprints.first().map(|fingerprint| fingerprint.hash);
    asked.or(own).unwrap_or_default()
}

fn ensure_tls_id(media: &mut Media, random: &mut dyn Random) {
    media.security.shown.tls_id.get_or_insert_with(|| random.hex(TLS_ID_DIGITS));
}

/// Settles what was offered to `answerer`, from what it has answered.
pub fn settle(answerer: &mut Media, request: &Request) {
    answerer.security.recrypts |= request.sdes.recrypt;
    let security = &mut answerer.security;
    let has_sdes = !security.received.cryptos.is_empty() && !security.shown.cryptos.is_empty();
    let has_dtls = security.received.has_dtls() && security.shown.dtls.is_some();
    let prefers_sdes = request.sdes.prefer || security.shown.wishes.prefers_sdes;
    let is_secure = answerer.protocol.as_ref().is_some_and(|protocol| protocol.is_secure());
    let security = &mut answerer.security;
    security.keying = match (has_dtls && !(has_sdes && prefers_sdes), has_sdes) {
        (true, _) => {
            // Without `a=setup` the answerer is the client (RFC 4145, section 4.1).
            let is_client = security.received.setup == Some(Setup::Passive);
            dtls(&security.keying, &security.received, is_client)
        }
        (false, true) => sdes(security.received.cryptos.first(), &mut security.shown.cryptos),
        (false, false) if is_secure => Keying::Pending,
        (false, false) => Keying::None,
    };
}

/// SDES as `chosen` by the answerer: our key is the one that was offered with its tag.
fn sdes(chosen: Option<&Crypto>, offered: &mut Vec<Crypto>) -> Keying {
    let Some(chosen) = chosen else { return Keying::Pending };
    let by_tag = offered.iter().find(|crypto| crypto.tag == chosen.tag && crypto.suite == chosen.suite);
    let Some(send) = by_tag.or_else(|| offered.iter().find(|crypto| crypto.suite == chosen.suite)).cloned() else {
        return Keying::Pending;
    };
    *offered = vec![send.clone()];
    Keying::Sdes { receive: chosen.clone(), send }
}

/// The association goes on unless the certificate, the roles or the tls-id change (RFC 8842, section 5.1).
fn dtls(present: &Keying, received: &ReceivedSecurity, is_client: bool) -> Keying {
    let (fingerprints, tls_id) = (received.fingerprints.clone(), received.tls_id.clone());
    let fresh =
        |generation| DtlsKeying { is_client, fingerprints: fingerprints.clone(), generation, tls_id: tls_id.clone() };
    Keying::Dtls(match present {
        Keying::Dtls(present) if *present == fresh(present.generation) => present.clone(),
        Keying::Dtls(present) => fresh(present.generation.wrapping_add(1)),
        _ => fresh(0),
    })
}

/// Answers the offer of `offerer`. `other` is how the other side was settled, if there is one: its suite and key are
/// used again where the offerer has the suite too, so that packets can pass as they are.
pub fn answer(offerer: &mut Media, other: Option<&Media>, request: &Request, around: &mut Surroundings) {
    let is_secure = offerer.security.received.is_required()
        || offerer.protocol.as_ref().is_some_and(|protocol| protocol.is_secure());
    let is_opportunistic = !is_secure && is_opportunism_accepted(offerer, other, request);
    offerer.security.shown.is_opportunistic = is_opportunistic;
    offerer.security.shown.pads_keys = request.sdes.pad;
    offerer.security.shown.adds_lifetime = request.sdes.lifetime;
    let received = &offerer.security.received;
    let prefers_sdes = request.sdes.prefer || offerer.security.shown.wishes.prefers_sdes;
    let has_sdes = !received.cryptos.is_empty();
    let has_dtls = received.has_dtls() && !(has_sdes && (prefers_sdes || request.dtls.is_off));
    match (is_secure || is_opportunistic, has_dtls, has_sdes) {
        (false, ..) | (true, false, false) => {
            offerer.security.shown.dtls = None;
            offerer.security.shown.cryptos.clear();
            offerer.security.keying = if is_secure { Keying::Pending } else { Keying::None };
        }
        (true, true, _) => answer_dtls(offerer, request, around),
        (true, false, true) => answer_sdes(offerer, other, &request.sdes, around.random),
    }
}

/// Opportunistic keys are used where the other side uses keys too or was shown none, or whenever that is wanted.
fn is_opportunism_accepted(offerer: &Media, other: Option<&Media>, request: &Request) -> bool {
    let wishes = offerer.security.shown.wishes;
    let is_wanted = request.sdes.osrtp.accept_rfc || wishes.accepts_opportunistic;
    let is_declined = |other: &Media| {
        let security = &other.security;
        let has_keys = security.shown.dtls.is_some() || !security.shown.cryptos.is_empty();
        has_keys && security.shown.is_opportunistic && !security.keying.is_secure()
    };
    offerer.security.received.is_opportunistic && (is_wanted || !other.is_some_and(is_declined))
}

fn answer_dtls(offerer: &mut Media, request: &Request, around: &mut Surroundings) {
    ensure_tls_id(offerer, around.random);
    let hash = hash_for(offerer, request.dtls.fingerprint);
    let security = &mut offerer.security;
    let is_client = match security.received.setup {
        Some(Setup::Active) => false,
        Some(Setup::Passive) => true,
        _ => match &security.keying {
            // The roles stay as they are as long as the association does (RFC 8842, section 5.3).
            Keying::Dtls(present) if present.fingerprints == security.received.fingerprints => present.is_client,
            _ => !security.shown.wishes.is_passive,
        },
    };
    let setup = if is_client { Setup::Active } else { Setup::Passive };
    security.shown.dtls = Some(ShownDtls { setup, hash });
    security.shown.cryptos.clear();
    security.keying = dtls(&security.keying, &security.received, is_client);
}

fn answer_sdes(offerer: &mut Media, other: Option<&Media>, sdes: &Sdes, random: &mut dyn Random) {
    let security = &mut offerer.security;
    let passed_on = match other.map(|other| &other.security.keying) {
        Some(Keying::Sdes { receive, .. }) => Some(receive),
        _ => None,
    };
    let offered = &security.received.cryptos;
    let same = passed_on.and_then(|other| offered.iter().find(|crypto| crypto.suite == other.suite));
    let preferred =
        || sdes.offerer_preference.iter().find_map(|suite| offered.iter().find(|crypto| crypto.suite == *suite));
    let Some(receive) = same.or_else(preferred).or(offered.first()).cloned() else { return };
    let passed_on = passed_on.filter(|_| same.is_some()).map(|other| other.key.clone());
    let present = match &security.keying {
        Keying::Sdes { send, .. } if send.suite == receive.suite => Some(send.key.clone()),
        _ => None,
    };
    let key = present.or(passed_on).unwrap_or_else(|| generate(receive.tag, receive.suite, random).key);
    let send = Crypto { key, mki: None, ..receive.clone() };
    security.shown.cryptos = vec![send.clone()];
    security.shown.dtls = None;
    security.keying = Keying::Sdes { receive, send };
}

/// The attributes that show a media's security.
pub fn attributes(media: &Media, own: &[Fingerprint]) -> Vec<Attribute> {
    let shown = &media.security.shown;
    let mut list: Vec<Attribute> =
        shown.cryptos.iter().map(|crypto| crypto.attribute(shown.pads_keys, shown.adds_lifetime)).collect();
    if let Some(dtls) = shown.dtls {
        list.push(Attribute::with_value("setup", dtls.setup.name()));
        let fingerprint = own.iter().find(|fingerprint| fingerprint.hash == dtls.hash);
        list.extend(fingerprint.map(|fingerprint| Attribute::with_value("fingerprint", fingerprint)));
        list.extend(shown.tls_id.as_ref().map(|id| Attribute::with_value("tls-id", id)));
    }
    list
}
