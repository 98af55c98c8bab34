//! ICE (RFC 8445).

use super::Request;
use super::table::{Choice, Choices, Flag, Key, Section, row};
use crate::ng::Command;
use crate::ng::status::{Scope, Status};

const SAME: Status = Status::Same;
const LATER: Status = Status::NotYet("read and kept; media with ICE on both sides is never left untouched");

/// What to do about ICE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ice {
    pub mode: IceMode,
    pub trickle: bool,
    pub ice2: bool,
    /// Which sides get ICE-lite; none keeps the earlier setting.
    pub lite: Option<IceLite>,
    /// Refuse the offered ICE towards the offerer at once.
    pub reject: bool,
    /// Leave the media of both sides untouched; none decides by the SDP.
    pub passthrough: Option<bool>,
}

/// What becomes of the ICE attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IceMode {
    /// As `Force` if the SDP has ICE, else no ICE.
    #[default]
    Default,
    Remove,
    Force,
    ForceRelay,
    Optional,
}

/// The sides towards which this end is an ICE-lite one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IceLite {
    Off,
    Forward,
    Backward,
    Both,
}

impl IceMode {
    /// The candidates of a description go to the other side.
    pub fn keeps_candidates(self) -> bool {
        matches!(self, IceMode::ForceRelay | IceMode::Optional)
    }
}

static KEYS: &[Key] = &[
    row("ICE", SAME, "What to do about ICE.").key(|p, v| p.choose_each(&ICE, v)),
    row("ICE-lite", SAME, "The sides towards which ICE-lite is used.")
        .scope(Scope::Only(&[Command::Offer, Command::SubscribeRequest]))
        .key(|p, v| p.choose_each(&ICE_LITE, v)),
    row("passthrough", LATER, "Leave the media of both sides untouched.")
        .aliases(&["passthru"])
        .key(|p, v| p.choose_each(&PASSTHROUGH, v)),
];

static FLAGS: &[Flag] = &[
    row("reject ICE", SAME, "Refuse the offered ICE towards the offerer.")
        .aliases(&["ICE reject"])
        .flag(|r| r.ice.reject = true),
    row("trickle ICE", SAME, "Advertise trickle ICE.").aliases(&["ICE trickle"]).flag(|r| r.ice.trickle = true),
    row("passthrough", LATER, "Leave the media of both sides untouched.")
        .aliases(&["passthru"])
        .flag(|r| r.ice.passthrough = Some(true)),
    row("no-passthrough", LATER, "Do not.").aliases(&["no-passthru"]).flag(|r| r.ice.passthrough = Some(false)),
];

const fn word(name: &'static str, status: Status, document: &'static str, set: fn(&mut Request)) -> Choice {
    row(name, status, document).choice(set)
}

static ICE: Choices = Choices {
    key: "ICE",
    rows: &[
        word("remove", SAME, "Strip ICE from the output.", |r| r.ice.mode = IceMode::Remove),
        word("force", SAME, "Strip ICE and insert own candidates.", |r| r.ice.mode = IceMode::Force),
        word("default", SAME, "`force` if the SDP has ICE.", |r| r.ice.mode = IceMode::Default),
        word("force-relay", SAME, "Keep foreign candidates, add a relay candidate.", |r| {
            r.ice.mode = IceMode::ForceRelay
        }),
        word("optional", SAME, "Add an own candidate of low priority.", |r| r.ice.mode = IceMode::Optional),
        word("trickle", SAME, "Advertise trickle ICE.", |r| r.ice.trickle = true),
        word("ice2", SAME, "Advertise `ice2`.", |r| r.ice.ice2 = true),
        lite(
            row("lite-forward", SAME, "`ICE-lite=forward`.").aliases(&["lite", "lite-fw", "lite-fwd", "lite-offer"]),
            FORWARD,
        ),
        lite(
            row("lite-backward", SAME, "`ICE-lite=backward`.").aliases(&[
                "lite-backwards",
                "lite-reverse",
                "lite-answer",
                "lite-back",
                "lite-bkw",
                "lite-bk",
            ]),
            BACKWARD,
        ),
        lite(row("lite-both", SAME, "`ICE-lite=both`."), BOTH),
        lite(row("lite-off", SAME, "`ICE-lite=off`.").aliases(&["lite-no", "lite-none", "no-lite"]), OFF),
    ],
};

const FORWARD: fn(&mut Request) = |r| r.ice.lite = Some(IceLite::Forward);
const BACKWARD: fn(&mut Request) = |r| r.ice.lite = Some(IceLite::Backward);
const BOTH: fn(&mut Request) = |r| r.ice.lite = Some(IceLite::Both);
const OFF: fn(&mut Request) = |r| r.ice.lite = Some(IceLite::Off);

const fn lite(row: super::table::Row, set: fn(&mut Request)) -> Choice {
    row.scope(Scope::Only(&[Command::Offer, Command::SubscribeRequest])).choice(set)
}

static ICE_LITE: Choices = Choices {
    key: "ICE-lite",
    rows: &[
        row("forward", SAME, "Towards the receiver.").aliases(&["offer", "fwd", "fw"]).choice(FORWARD),
        row("backward", SAME, "Towards the sender.")
            .aliases(&["backwards", "reverse", "answer", "back", "bkw", "bk"])
            .choice(BACKWARD),
        row("both", SAME, "Both.").choice(BOTH),
        row("off", SAME, "Neither.").aliases(&["none", "no"]).choice(OFF),
    ],
};

static PASSTHROUGH: Choices = Choices {
    key: "passthrough",
    rows: &[
        row("on", LATER, "Leave the media untouched.")
            .aliases(&["yes", "enable", "enabled"])
            .choice(|r| r.ice.passthrough = Some(true)),
        row("off", LATER, "Do not.")
            .aliases(&["no", "disable", "disabled"])
            .choice(|r| r.ice.passthrough = Some(false)),
    ],
};

pub(super) static SECTION: Section =
    Section { title: "ICE", keys: KEYS, flags: FLAGS, prefixes: &[], choices: &[&ICE, &ICE_LITE, &PASSTHROUGH] };
