//! Behaviour of the relay.

use super::parser::{Parser, words};
use super::table::{Choices, Flag, Key, Prefix, Section, fold, row};
use crate::base::learning::Learning;
use crate::ng::Command;
use crate::ng::status::{Scope, Status};

const SAME: Status = Status::Same;
const NOT_READ: Status = Status::NotYet("read and kept; it changes nothing");

/// How packets are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rtp {
    /// No endpoint learning for this peer.
    pub is_asymmetric: bool,
    /// None is as configured.
    pub endpoint_learning: Option<Learning>,
    pub strict_source: bool,
    pub media_handover: bool,
    /// Keep local ports although the remote port changed.
    pub port_latching: bool,
    /// For ICE peers change the local port when the remote port changed.
    pub no_port_latching: bool,
    /// Forget what was learned about the endpoints.
    pub reset: bool,
    /// Send empty packets until something arrives.
    pub pierce_nat: bool,
    /// Send nothing until something arrived.
    pub nat_wait: bool,
    pub generate_rtcp: Option<bool>,
    pub rtcp_mirror: bool,
    pub media_echo: Option<MediaEcho>,
    /// Start or stop dropping all packets of the call.
    pub drop_traffic: Option<bool>,
    pub block_short: bool,
    pub no_jitter_buffer: bool,
    /// Log everything about this call.
    pub debug: bool,
    pub no_redis_update: bool,
}

/// Which side hears itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaEcho {
    /// Nobody: all media is dropped.
    Blackhole,
    Forward,
    Backwards,
    Both,
}

static KEYS: &[Key] = &[
    row("endpoint-learning", SAME, "How the remote address is learned.")
        .key(|p, v| words(v).for_each(|word| set_learning(p, word))),
    row("generate RTCP", RTCP, "Consume RTCP and originate own.").key(|p, v| {
        for word in words(v) {
            match fold(word).as_ref() {
                "on" => p.request.rtp.generate_rtcp = Some(true),
                "off" => p.request.rtp.generate_rtcp = Some(false),
                _ => p.warn(format!("unknown value `{word}` of `generate RTCP`")),
            }
        }
    }),
    row("media echo", ECHO, "Send a side's media back to it, under an SSRC of its own; the other side's goes nowhere.")
        .key(|p, v| p.choose_each(&MEDIA_ECHO, v)),
    row("drop-traffic", SAME, "Start or stop dropping all packets of the call; `start` wins.")
        .key(|p, v| p.choose_each(&DROP_TRAFFIC, v)),
];

const ECHO: Status = Status::Different("RTCP is not sent back; who is echoed gets reports of the daemon's own");
const RTCP: Status = Status::NotYet("read and kept; RTCP is relayed as it comes");
const RESET: Status = Status::NotYet("there is nothing to forget: ICE and SRTP are not built");
const REDIS: Status = Status::NotYet("read and kept; persistence is not built");

static FLAGS: &[Flag] = &[
    row("asymmetric", SAME, "No endpoint learning for this peer.").flag(|r| r.rtp.is_asymmetric = true),
    row("symmetric", Status::Different("the default; not logged as unknown"), "Endpoint learning as configured.")
        .flag(|_| {}),
    row("strict source", SAME, "After learning, drop packets from other addresses.")
        .flag(|r| r.rtp.strict_source = true),
    row("media handover", SAME, "After learning, follow a changed source address.")
        .flag(|r| r.rtp.media_handover = true),
    row("port latching", SAME, "Keep local ports although the remote port changed.")
        .flag(|r| r.rtp.port_latching = true),
    row("no port latching", SAME, "For ICE peers change the local port with the remote one.")
        .flag(|r| r.rtp.no_port_latching = true),
    row("reset", RESET, "Forget what was learned about the endpoints.")
        .scope(Scope::Only(&[Command::Offer]))
        .flag(|r| r.rtp.reset = true),
    row("pierce NAT", SAME, "Send empty packets until something arrives.").flag(|r| r.rtp.pierce_nat = true),
    row("NAT-wait", SAME, "Send nothing until something arrived.").flag(|r| r.rtp.nat_wait = true),
    row(
        "unidirectional",
        Status::Different("one-way media takes the fast path without it"),
        "Allow offload of one-way media.",
    )
    .flag(|_| {}),
    row("generate RTCP", RTCP, "The same as `generate RTCP=on`.").flag(|r| r.rtp.generate_rtcp = Some(true)),
    row("RTCP mirror", SAME, "A subscriber's RTCP goes back to the publisher.")
        .aliases(&["mirror RTCP"])
        .flag(|r| r.rtp.rtcp_mirror = true),
    row(
        "block short",
        Status::NotYet("read and kept; short packets are relayed"),
        "Drop undersized packets of fixed-size codecs.",
    )
    .aliases(&["block shorts", "block short packets"])
    .flag(|r| r.rtp.block_short = true),
    row("no-jitter-buffer", crate::ng::status::TRANSCODING, "Disable the jitter buffer for the call.")
        .flag(|r| r.rtp.no_jitter_buffer = true),
    row("debug", NOT_READ, "Log everything about this call.").aliases(&["debugging"]).flag(|r| r.rtp.debug = true),
    row("no-redis-update", REDIS, "Skip persistence for this message.").flag(|r| r.rtp.no_redis_update = true),
];

static PREFIXES: &[Prefix] = &[row("endpoint-learning-", SAME, "A value of `endpoint-learning`.").prefix(set_learning)];

static MEDIA_ECHO: Choices = Choices {
    key: "media echo",
    rows: &[
        row("blackhole", SAME, "Drop all media.")
            .aliases(&["sinkhole"])
            .choice(|r| r.rtp.media_echo = Some(MediaEcho::Blackhole)),
        row("forward", SAME, "The receiver hears itself.")
            .aliases(&["fwd", "fw"])
            .choice(|r| r.rtp.media_echo = Some(MediaEcho::Forward)),
        row("backwards", SAME, "The sender hears itself.")
            .aliases(&["backward", "reverse", "back", "bkw", "bk"])
            .choice(|r| r.rtp.media_echo = Some(MediaEcho::Backwards)),
        row("both", SAME, "Both hear themselves.").choice(|r| r.rtp.media_echo = Some(MediaEcho::Both)),
    ],
};

static DROP_TRAFFIC: Choices = Choices {
    key: "drop-traffic",
    rows: &[
        row("start", SAME, "Drop all packets.").choice(|r| r.rtp.drop_traffic = Some(true)),
        row("stop", SAME, "No longer.").choice(|r| {
            r.rtp.drop_traffic.get_or_insert(false);
        }),
    ],
};

pub(super) static SECTION: Section = Section {
    title: "Behaviour of the relay",
    keys: KEYS,
    flags: FLAGS,
    prefixes: PREFIXES,
    choices: &[&MEDIA_ECHO, &DROP_TRAFFIC],
};

fn set_learning(parser: &mut Parser, word: &str) {
    match Learning::from_name(word) {
        Some(learning) => parser.request.rtp.endpoint_learning = Some(learning),
        None => parser.warn(format!("unknown value `{word}` of `endpoint-learning`")),
    }
}
