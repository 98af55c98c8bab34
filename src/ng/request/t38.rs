//! The T.38 gateway.

use super::Request;
use super::table::{Choice, Choices, Key, Prefix, Section, row};
use crate::ng::Command;
use crate::ng::status::{Scope, T38 as LATER};

/// What to do about fax.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct T38 {
    /// T.38 to audio.
    pub decode: bool,
    /// Audio to T.38.
    pub force: bool,
    /// End the gateway.
    pub stop: bool,
    pub no_ecm: bool,
    pub no_v17: bool,
    pub no_v27ter: bool,
    pub no_v29: bool,
    pub no_v34: bool,
    pub no_iaf: bool,
    /// Forward error correction instead of redundancy.
    pub fec: bool,
    pub version: Option<i64>,
}

const OFFER: Scope = Scope::Only(&[Command::Offer]);

static KEYS: &[Key] = &[
    row("T.38", LATER, "What to do about fax.").aliases(&["T38"]).scope(OFFER).key(|p, v| p.choose_each(&CHOICES, v)),
    row("T.38 version", LATER, "The T.38 version.")
        .aliases(&["T38 version"])
        .scope(OFFER)
        .key(|p, v| p.request.t38.version = p.integer(v)),
];

static PREFIXES: &[Prefix] = &[row("T.38-", LATER, "A value of `T.38`.")
    .aliases(&["T38-"])
    .scope(OFFER)
    .prefix(|p, word| p.choose(&CHOICES, word))];

const fn word(name: &'static str, document: &'static str, set: fn(&mut Request)) -> Choice {
    row(name, LATER, document).choice(set)
}

static CHOICES: Choices = Choices {
    key: "T.38",
    rows: &[
        word("decode", "T.38 to audio.", |r| r.t38.decode = true),
        word("force", "Audio to T.38.", |r| r.t38.force = true),
        word("stop", "End the gateway.", |r| r.t38.stop = true),
        word("no-ECM", "No error correction mode.", |r| r.t38.no_ecm = true),
        row("no-V.17", LATER, "No V.17.").aliases(&["no-V17"]).choice(|r| r.t38.no_v17 = true),
        row("no-V.27ter", LATER, "No V.27ter.").aliases(&["no-V27ter"]).choice(|r| r.t38.no_v27ter = true),
        row("no-V.29", LATER, "No V.29.").aliases(&["no-V29"]).choice(|r| r.t38.no_v29 = true),
        row("no-V.34", LATER, "No V.34.").aliases(&["no-V34"]).choice(|r| r.t38.no_v34 = true),
        word("no-IAF", "No internet-aware fax.", |r| r.t38.no_iaf = true),
        word("FEC", "Forward error correction instead of redundancy.", |r| r.t38.fec = true),
    ],
};

pub(super) static SECTION: Section =
    Section { title: "T.38", keys: KEYS, flags: &[], prefixes: PREFIXES, choices: &[&CHOICES] };
