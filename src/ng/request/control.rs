//! Modifiers of single commands.

use super::codec::CodecSpec;
use super::parser::{Parser, parse_address, words};
use super::table::{Flag, Key, Section, fold, row};
use crate::base::protocol::MediaType;
use crate::ng::status::{Scope, Status};
use crate::ng::{Command, Dictionary, Value};
use std::net::SocketAddr;

const SAME: Status = Status::Same;

/// What changes how a command works.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Control {
    /// `subscribe request`: make an inactive offer.
    pub is_inactive: bool,
    /// Media flows both ways.
    pub is_bidirectional: bool,
    /// One medium of each type carries all flows.
    pub mix: bool,
    /// Subscribe to what is sent to the source, not to what it sends.
    pub egress: bool,
    /// `mesh`: drop existing subscriptions first.
    pub unsubscribe: bool,
    /// `subscribe request`: label the media and describe them in the reply.
    pub siprec: bool,
    /// `subscribe request`: which layer of a simulcast.
    pub layer: Option<String>,
    /// `delete`: an unknown call is an error.
    pub is_fatal: bool,
    /// `delete`: no statistics in the reply.
    pub is_fast: bool,
    /// `delete`: seconds until the call is gone; negative and none are as configured.
    pub delete_delay_s: Option<i64>,
    /// `list`: how many call-ids.
    pub limit: Option<i64>,
    /// `cli`: the command line.
    pub cli_line: Option<String>,
    /// The media of `create` and `transform`.
    pub media: Vec<MediaRequest>,
}

/// One medium that `create` makes or `transform` transcodes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MediaRequest {
    pub id: Option<String>,
    pub media_type: Option<MediaType>,
    pub codecs: Vec<CodecSpec>,
    /// `transform`: from what to what.
    pub conversions: Vec<Conversion>,
    /// `transform`: where to.
    pub destination: Option<SocketAddr>,
}

/// A codec pair of `transform`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversion {
    pub input: PayloadType,
    pub output: PayloadType,
}

/// A payload type of `transform`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PayloadType {
    pub codec: CodecSpec,
    pub number: Option<u32>,
}

const MEDIAS: Status = Status::NotYet("`create` makes them; `transform` is not built");

const LAYER: Status = Status::Different(
    "an addition: a publisher's simulcast is taken apart, and a subscriber gets one layer as one stream; the same \
     subscription asked for again, with the same to-tag, changes the layer and keeps the ports",
);

static KEYS: &[Key] = &[
    row("delete-delay", SAME, "Seconds until a deleted call is gone.")
        .key(|p, v| p.request.control.delete_delay_s = p.integer(v)),
    row("limit", SAME, "How many call-ids `list` gives.").key(|p, v| p.request.control.limit = p.integer(v)),
    row("body", SAME, "The command line of `cli`.").key(|p, v| p.request.control.cli_line = p.text(v)),
    row("layer", LAYER, "Which layer of a simulcast: `highest` (the default), `lowest`, or its `a=rid`.")
        .scope(Scope::Only(&[Command::SubscribeRequest]))
        .key(|p, v| p.request.control.layer = p.text(v)),
    row("medias", MEDIAS, "The media of `create` and `transform`.").aliases(&["media"]).key(set_media),
];

static FLAGS: &[Flag] = &[
    row("inactive", SAME, "`subscribe request`: make an inactive offer.").flag(|r| r.control.is_inactive = true),
    row("bidirectional", SAME, "Media flows both ways.").flag(|r| r.control.is_bidirectional = true),
    row("mix", SAME, "One medium of each type carries all flows.").aliases(&["mixed"]).flag(|r| r.control.mix = true),
    row("egress", SAME, "Subscribe to what is sent to the source.").flag(|r| r.control.egress = true),
    row("unsubscribe", SAME, "`mesh`: drop existing subscriptions first.").flag(|r| r.control.unsubscribe = true),
    row("SIPREC", SAME, "Label the media and describe them in the reply.").flag(|r| r.control.siprec = true),
    row("fatal", SAME, "`delete`: an unknown call is an error.").flag(|r| r.control.is_fatal = true),
    row("fast", SAME, "`delete`: no statistics in the reply.").flag(|r| r.control.is_fast = true),
];

pub(super) static SECTION: Section =
    Section { title: "Modifiers of single commands", keys: KEYS, flags: FLAGS, prefixes: &[], choices: &[] };

fn set_media(parser: &mut Parser, value: &Value) {
    let Value::List(list) = value else { return parser.warn("`medias` is not a list".to_owned()) };
    for member in list {
        match member.as_dictionary() {
            Some(entry) => {
                let media = media_request(parser, entry);
                parser.request.control.media.push(media);
            }
            None => parser.warn("a member of `medias` is not a dictionary".to_owned()),
        }
    }
}

fn media_request(parser: &mut Parser, entry: &Dictionary) -> MediaRequest {
    let mut media = MediaRequest::default();
    for (key, value) in entry.iter() {
        match fold(key).as_ref() {
            "id" => media.id = parser.text(value),
            "type" => media.media_type = value.as_text().map(|name| MediaType::from_name(name).unwrap_or_default()),
            "codec" | "codecs" => {
                media.codecs.extend(words(value).map(CodecSpec::parse));
                media.conversions = conversions(parser, value);
            }
            "destination" => media.destination = value.as_dictionary().and_then(|entry| destination(parser, entry)),
            _ => parser.warn(format!("unknown key `{key}` of `medias`")),
        }
    }
    media
}

fn conversions(parser: &mut Parser, value: &Value) -> Vec<Conversion> {
    let Value::List(list) = value else { return Vec::new() };
    let mut side = |entry: &Dictionary, name: &str| Some(payload_type(parser, entry.get(name)?.as_dictionary()?));
    let pair = |entry: &Dictionary| Some(Conversion { input: side(entry, "input")?, output: side(entry, "output")? });
    list.iter().filter_map(Value::as_dictionary).filter_map(pair).collect()
}

fn payload_type(parser: &mut Parser, entry: &Dictionary) -> PayloadType {
    let mut payload = PayloadType::default();
    for (key, value) in entry.iter() {
        match fold(key).as_ref() {
            "codec" => payload.codec.name = parser.text(value).unwrap_or_default(),
            "payload-type" => payload.number = parser.unsigned(value),
            "clock-rate" => payload.codec.clock_rate_hz = parser.unsigned(value),
            "channels" => payload.codec.channels = parser.unsigned(value),
            "format" => payload.codec.format_parameters = parser.text(value),
            "options" => payload.codec.options = parser.text(value),
            _ => parser.warn(format!("unknown key `{key}` of a payload type")),
        }
    }
    payload
}

/// The family says nothing that the address does not.
fn destination(parser: &mut Parser, entry: &Dictionary) -> Option<SocketAddr> {
    let address = parse_address(entry.get("address")?.as_text()?)?;
    let port = u16::try_from(parser.unsigned(entry.get("port")?)?).ok()?;
    Some(SocketAddr::new(address, port))
}
