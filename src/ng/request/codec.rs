//! Choice of codecs.

use super::parser::{Parser, words};
use super::table::{Flag, Key, Prefix, Section, row};
use crate::ng::rtpp_flags::unescape;
use crate::ng::status::{Scope, Status, TRANSCODING as LATER};
use crate::ng::{Command, Value};

const SAME: Status = Status::Same;
const NOT_READ: Status = Status::NotYet("read and kept; it changes nothing");

/// What to do about codecs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Codecs {
    /// Removed from the outgoing SDP.
    pub strip: Selection,
    /// Exempt from `strip` and `mask` of all.
    pub except: Selection,
    /// As `except`, and gives the order.
    pub offer: Selection,
    /// Treated as not offered, yet passed on.
    pub ignore: Selection,
    /// Added to the outgoing offer.
    pub transcode: Selection,
    /// As `strip`, but usable for transcoding.
    pub mask: Selection,
    /// As `mask`, and engages transcoding.
    pub consume: Selection,
    /// Accepted towards the offerer even if the peer rejects it.
    pub accept: Selection,
    /// Encoder options.
    pub set: Selection,
    /// Packet length towards the answerer.
    pub ptime_ms: Option<u32>,
    /// Packet length towards the offerer.
    pub ptime_reverse_ms: Option<u32>,
    /// Transcode even between equal codecs.
    pub force_transcoding: bool,
    /// An answer may accept a subset.
    pub allow_transcoding: bool,
    /// Keep only the first codec of an answer.
    pub single: bool,
    /// Keep the earlier preference in re-offers.
    pub reuse: bool,
    /// No change of codec towards the answerer.
    pub is_static: bool,
    /// Accept payload type numbers that do not match.
    pub allow_asymmetric: bool,
    /// Reject media left without codecs.
    pub allow_empty_media: bool,
}

/// The codecs of one operation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    /// The keyword `all`.
    pub all: bool,
    /// The keyword `full`.
    pub full: bool,
    /// The keyword `any`.
    pub any: bool,
    /// In the order of the message.
    pub codecs: Vec<CodecSpec>,
}

/// `name/clock/channels/bitrate/ptime/fmtp/options`; parts that are left out or empty are absent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CodecSpec {
    /// The encoding name, compared without regard to case, or a payload type number.
    pub name: String,
    pub clock_rate_hz: Option<u32>,
    /// One when a clock rate is given without channels.
    pub channels: Option<u32>,
    pub bitrate_bps: Option<u32>,
    pub ptime_ms: Option<u32>,
    pub format_parameters: Option<String>,
    pub options: Option<String>,
}

impl Selection {
    /// No keyword and no codec.
    pub fn is_empty(&self) -> bool {
        *self == Selection::default()
    }

    fn add(&mut self, text: &str) {
        match text {
            "all" => self.all = true,
            "full" => self.full = true,
            "any" => self.any = true,
            codec => self.codecs.push(CodecSpec::parse(codec)),
        }
    }
}

impl CodecSpec {
    /// Reads a codec string; `--` stands for `=`. A number that is none counts as absent.
    pub fn parse(text: &str) -> CodecSpec {
        let text = text.replace("--", "=");
        let mut parts = text.splitn(7, '/');
        let mut part = || parts.next().filter(|part| !part.is_empty());
        let name = part().unwrap_or_default().to_owned();
        let clock_rate_hz = part().and_then(|part| part.parse().ok());
        let channels = part().and_then(|part| part.parse().ok());
        CodecSpec {
            name,
            clock_rate_hz,
            channels: channels.or(clock_rate_hz.map(|_| 1)),
            bitrate_bps: part().and_then(|part| part.parse().ok()),
            ptime_ms: part().and_then(|part| part.parse().ok()),
            format_parameters: part().map(str::to_owned),
            options: part().map(str::to_owned),
        }
    }

    /// The payload type, when the codec is given by its number.
    pub fn payload_type(&self) -> Option<u8> {
        self.name.parse().ok().filter(|&number: &u8| number < 128 && self.clock_rate_hz.is_none())
    }
}

const OFFER: Scope = Scope::Only(&[Command::Offer]);
const TRANSCODERS: Scope =
    Scope::Only(&[Command::Offer, Command::SubscribeRequest, Command::Publish, Command::PlayMedia, Command::Create]);

static KEYS: &[Key] = &[
    row("codec", SAME, "A dictionary of operations, each with a list of codecs.").aliases(&["codecs"]).key(set_codec),
    row("ptime", LATER, "Packet length towards the answerer, in milliseconds.")
        .scope(OFFER)
        .key(|p, v| p.request.codecs.ptime_ms = p.unsigned(v)),
    row("ptime-reverse", LATER, "Packet length towards the offerer, in milliseconds.")
        .aliases(&["reverse-ptime"])
        .scope(OFFER)
        .key(|p, v| p.request.codecs.ptime_reverse_ms = p.unsigned(v)),
];

static FLAGS: &[Flag] = &[
    row("always transcode", LATER, "The same as `codec-accept=all`.").flag(|r| r.codecs.accept.all = true),
    row("force transcoding", LATER, "Transcode even between equal codecs.").flag(|r| r.codecs.force_transcoding = true),
    row("allow transcoding", LATER, "An answer may accept a subset.").flag(|r| r.codecs.allow_transcoding = true),
    row("single codec", SAME, "Keep only the first codec of an answer.").flag(|r| r.codecs.single = true),
    row("reuse codecs", NOT_READ, "Keep the earlier preference in re-offers.")
        .aliases(&["no codec renegotiation"])
        .flag(|r| r.codecs.reuse = true),
    row("static codecs", NOT_READ, "No change of codec towards the answerer.")
        .aliases(&["static codec"])
        .flag(|r| r.codecs.is_static = true),
    row("allow asymmetric codecs", NOT_READ, "Accept payload type numbers that do not match.")
        .aliases(&["allow asymmetric codec"])
        .flag(|r| r.codecs.allow_asymmetric = true),
    row("allow no codec media", SAME, "Reject media left without codecs instead of restoring them.")
        .aliases(&["allow no codec medias", "allow empty codec media", "allow empty codec medias"])
        .flag(|r| r.codecs.allow_empty_media = true),
    row("asymmetric codecs", SAME, "Obsolete: ignored.").flag(|_| {}),
    row("symmetric codecs", SAME, "Obsolete: ignored.").flag(|_| {}),
    row("reorder codecs", SAME, "Obsolete: ignored.").flag(|_| {}),
];

/// The operations. Each is also a member of the key `codec` under the name between the hyphens.
static PREFIXES: &[Prefix] = &[
    row("codec-strip-", SAME, "Remove from the outgoing SDP.").prefix(|p, v| p.request.codecs.strip.add(&unescape(v))),
    row("codec-except-", SAME, "Exempt from `strip` and `mask` of all.")
        .prefix(|p, v| p.request.codecs.except.add(&unescape(v))),
    row(
        "codec-offer-",
        Status::Different("`codecs-offer`, as documented, is read too"),
        "As `except`, and gives the order.",
    )
    .aliases(&["codecs-offer-"])
    .prefix(|p, v| p.request.codecs.offer.add(&unescape(v))),
    row("codec-ignore-", SAME, "Treat as not offered, yet pass on.")
        .prefix(|p, v| p.request.codecs.ignore.add(&unescape(v))),
    row("codec-transcode-", LATER, "Add to the outgoing offer.")
        .aliases(&["transcode-"])
        .scope(TRANSCODERS)
        .prefix(|p, v| p.request.codecs.transcode.add(&unescape(v))),
    row("codec-mask-", LATER, "As `strip`, but usable for transcoding.")
        .scope(TRANSCODERS)
        .prefix(|p, v| p.request.codecs.mask.add(&unescape(v))),
    row("codec-consume-", LATER, "As `mask`, and engages transcoding.")
        .scope(TRANSCODERS)
        .prefix(|p, v| p.request.codecs.consume.add(&unescape(v))),
    row("codec-accept-", LATER, "Accept towards the offerer even if the peer rejects it.")
        .scope(TRANSCODERS)
        .prefix(|p, v| p.request.codecs.accept.add(&unescape(v))),
    row("codec-set-", LATER, "Encoder options.")
        .scope(TRANSCODERS)
        .prefix(|p, v| p.request.codecs.set.add(&unescape(v))),
];

pub(super) static SECTION: Section =
    Section { title: "Codecs", keys: KEYS, flags: FLAGS, prefixes: PREFIXES, choices: &[] };

fn set_codec(parser: &mut Parser, value: &Value) {
    let Some(dictionary) = value.as_dictionary() else { return parser.warn("`codec` is not a dictionary".to_owned()) };
    for (operation, codecs) in dictionary.iter() {
        let prefix = format!("codec-{operation}");
        for codec in words(codecs) {
            if !parser.apply_prefix(&prefix, codec) {
                parser.warn(format!("unknown value `{operation}` of `codec`"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codec_strings_are_taken_apart() {
        let opus = CodecSpec::parse("opus/48000/2/32000/40/useinbandfec--1;stereo--1/complexity--8");
        assert_eq!(
            (opus.clock_rate_hz, opus.channels, opus.bitrate_bps, opus.ptime_ms),
            (Some(48000), Some(2), Some(32000), Some(40))
        );
        assert_eq!(opus.format_parameters.as_deref(), Some("useinbandfec=1;stereo=1"));
        assert_eq!(opus.options.as_deref(), Some("complexity=8"));
        assert_eq!(CodecSpec::parse("PCMU").channels, None);
        assert_eq!(CodecSpec::parse("PCMU/8000").channels, Some(1));
        assert_eq!(CodecSpec::parse("opus/48000/2///useinbandfec--1").ptime_ms, None);
        assert_eq!(CodecSpec::parse("101").payload_type(), Some(101));
        assert_eq!(CodecSpec::parse("G722").payload_type(), None);
        assert_eq!(CodecSpec::parse("").name, "");
    }
}
