//! DTLS-SRTP, SDES and opportunistic SRTP (RFC 5763, 4568, 8643).

use super::Request;
use super::parser::Parser;
use super::table::{Choice, Choices, Flag, Key, Prefix, Section, fold, row};
use crate::base::suite::{HashFunction, Suite};
use crate::ng::status::{Scope, Status};
use crate::ng::{Command, Value};

const SAME: Status = Status::Same;
const VERIFIED: Status =
    Status::Different("without it, packets that pass with equal keys are authenticated all the same");

/// What to do about DTLS-SRTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dtls {
    pub is_off: bool,
    /// Prefer the server role.
    pub is_passive: bool,
    /// The fingerprint's hash function; none takes the peer's or SHA-256.
    pub fingerprint: Option<HashFunction>,
    /// Generate and honour `a=tls-id`.
    pub tls_id: bool,
}

impl Default for Dtls {
    fn default() -> Dtls {
        Dtls { is_off: false, is_passive: false, fingerprint: None, tls_id: true }
    }
}

/// What to do about SDES and opportunistic SRTP.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sdes {
    pub is_off: bool,
    /// Session parameters: set, cleared, or copied from the offerer.
    pub unencrypted_srtp: Option<bool>,
    pub unencrypted_srtcp: Option<bool>,
    pub unauthenticated_srtp: Option<bool>,
    /// Suites that are removed and not added.
    pub without: Vec<Suite>,
    /// When not empty, the only suites.
    pub only: Vec<Suite>,
    /// Add no suites beyond those received.
    pub add_none: bool,
    /// The order of suites in the output.
    pub order: Vec<Suite>,
    /// The order in which a suite for the offerer is chosen.
    pub offerer_preference: Vec<Suite>,
    /// Keep the padding of keys.
    pub pad: bool,
    /// Append `|2^31` to keys.
    pub lifetime: bool,
    /// Keep the negotiated suite.
    pub is_static: bool,
    /// With both DTLS and SDES offered, choose SDES.
    pub prefer: bool,
    /// Decrypt and encrypt anew even if the keys of both sides are equal.
    pub recrypt: bool,
    pub osrtp: Osrtp,
}

/// Opportunistic SRTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Osrtp {
    pub offer: bool,
    pub offer_legacy: bool,
    pub accept_rfc: bool,
    pub accept_legacy: bool,
}

static KEYS: &[Key] = &[
    row("DTLS", SAME, "What to do about DTLS-SRTP.").aliases(&["DTLS-reverse"]).key(|p, v| p.choose_each(&DTLS, v)),
    row("DTLS-fingerprint", SAME, "The hash function of the fingerprint.").key(set_fingerprint),
    row("SDES", SAME, "What to do about SDES, and with which suites.")
        .key(|p, v| super::parser::words(v).for_each(|word| set_sdes(p, word))),
    row("OSRTP", SAME, "What to do about opportunistic SRTP.").key(|p, v| p.choose_each(&OSRTP, v)),
];

static FLAGS: &[Flag] = &[
    row("no-tls-id", SAME, "Neither generate nor honour `a=tls-id`.").flag(|r| r.dtls.tls_id = false),
    row("pad crypto", SAME, "The same as `SDES-pad`.").flag(|r| r.sdes.pad = true),
    row("recrypt", VERIFIED, "Decrypt and encrypt anew even if the keys of both sides are equal.")
        .flag(|r| r.sdes.recrypt = true),
];

static PREFIXES: &[Prefix] = &[
    row("SDES-", SAME, "A value of `SDES`.").prefix(set_sdes),
    row("OSRTP-", SAME, "A value of `OSRTP`.").prefix(|p, word| p.choose(&OSRTP, word)),
];

const NOT_ANSWER: Scope = Scope::Except(&[Command::Answer]);

static DTLS: Choices = Choices {
    key: "DTLS",
    rows: &[
        row("off", SAME, "Neither offer nor accept DTLS-SRTP.")
            .aliases(&["no", "disable", "disabled"])
            .choice(|r| r.dtls.is_off = true),
        row("passive", SAME, "Prefer the server role.").scope(NOT_ANSWER).choice(|r| r.dtls.is_passive = true),
        row("active", SAME, "Prefer the client role.").scope(NOT_ANSWER).choice(|r| r.dtls.is_passive = false),
    ],
};

const fn sdes(name: &'static str, document: &'static str, set: fn(&mut Request)) -> Choice {
    row(name, SAME, document).choice(set)
}

static SDES: Choices = Choices {
    key: "SDES",
    rows: &[
        row("off", SAME, "No SDES.").aliases(&["no", "disable", "disabled"]).choice(|r| r.sdes.is_off = true),
        sdes("unencrypted_srtp", "Set UNENCRYPTED_SRTP.", |r| r.sdes.unencrypted_srtp = Some(true)),
        sdes("unencrypted_srtcp", "Set UNENCRYPTED_SRTCP.", |r| r.sdes.unencrypted_srtcp = Some(true)),
        sdes("unauthenticated_srtp", "Set UNAUTHENTICATED_SRTP.", |r| r.sdes.unauthenticated_srtp = Some(true)),
        sdes("encrypted_srtp", "Clear UNENCRYPTED_SRTP.", |r| r.sdes.unencrypted_srtp = Some(false)),
        sdes("encrypted_srtcp", "Clear UNENCRYPTED_SRTCP.", |r| r.sdes.unencrypted_srtcp = Some(false)),
        sdes("authenticated_srtp", "Clear UNAUTHENTICATED_SRTP.", |r| r.sdes.unauthenticated_srtp = Some(false)),
        sdes("nonew", "Add no suites beyond those received.", |r| r.sdes.add_none = true),
        sdes("pad", "Keep the padding of keys.", |r| r.sdes.pad = true),
        sdes("lifetime", "Append `|2^31` to keys.", |r| r.sdes.lifetime = true),
        sdes("static", "Keep the negotiated suite.", |r| r.sdes.is_static = true),
        row("prefer", SAME, "With both DTLS and SDES offered, choose SDES.")
            .aliases(&["priority"])
            .choice(|r| r.sdes.prefer = true),
    ],
};

/// The values of `SDES` that carry suites: how they begin, and the list that the suites go to.
type SuiteList = (&'static str, fn(&mut Sdes) -> &mut Vec<Suite>);
static SUITE_LISTS: &[SuiteList] = &[
    ("no-", |sdes| &mut sdes.without),
    ("only-", |sdes| &mut sdes.only),
    ("order:", |sdes| &mut sdes.order),
    ("offerer-pref:", |sdes| &mut sdes.offerer_preference),
];

static OSRTP: Choices = Choices {
    key: "OSRTP",
    rows: &[
        row("offer", SAME, "Convert a plain offer to opportunistic SRTP.")
            .aliases(&["offer-RFC"])
            .choice(|r| r.sdes.osrtp.offer = true),
        sdes("offer-legacy", "Offer each medium plain and encrypted.", |r| r.sdes.osrtp.offer_legacy = true),
        sdes("accept-RFC", "Accept what the answerer did not.", |r| r.sdes.osrtp.accept_rfc = true),
        sdes("accept-legacy", "Treat duplicated media as SRTP.", |r| r.sdes.osrtp.accept_legacy = true),
        sdes("accept", "Both of the former.", |r| {
            r.sdes.osrtp.accept_rfc = true;
            r.sdes.osrtp.accept_legacy = true;
        }),
    ],
};

pub(super) static SECTION: Section = Section {
    title: "DTLS, SDES, opportunistic SRTP",
    keys: KEYS,
    flags: FLAGS,
    prefixes: PREFIXES,
    choices: &[&DTLS, &SDES, &OSRTP],
};

fn set_fingerprint(parser: &mut Parser, value: &Value) {
    let name = value.as_text().unwrap_or_default();
    match HashFunction::from_name(name) {
        Some(hash) => parser.request.dtls.fingerprint = Some(hash),
        None => parser.warn(format!("unknown hash function `{name}`")),
    }
}

fn set_sdes(parser: &mut Parser, word: &str) {
    let folded = fold(word);
    if SDES.find(word).is_none()
        && let Some((start, list)) = SUITE_LISTS.iter().find(|row| folded.starts_with(row.0))
    {
        for name in word[start.len()..].split(';').map(str::trim).filter(|name| !name.is_empty()) {
            match Suite::from_name(name) {
                Some(suite) => list(&mut parser.request.sdes).push(suite),
                None => parser.warn(format!("unknown crypto suite `{name}`")),
            }
        }
        return;
    }
    parser.choose(&SDES, word);
}
