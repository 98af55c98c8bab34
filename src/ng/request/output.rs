//! What the rewritten SDP looks like.

use super::parser::{Parser, words};
use super::table::{Choice, Choices, Flag, Key, Prefix, Section, fold, row};
use super::{Request, RequestError};
use crate::base::protocol::MediaType;
use crate::ng::rtpp_flags::unescape;
use crate::ng::status::Status;
use crate::ng::{Dictionary, Value};

const SAME: Status = Status::Same;

/// What is printed, kept, replaced, added and removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Output {
    pub rtcp_attribute: RtcpAttribute,
    /// Keep the received direction attributes.
    pub original_direction: bool,
    /// Mark the SDP as processed, and leave marked SDP alone.
    pub loop_protect: bool,
    pub replace: Replace,
    /// Edits of the finished text, in the order of the message.
    pub edits: Vec<Edit>,
    /// Media removed from the outgoing offer.
    pub remove_media: Vec<MediaType>,
}

/// How `a=rtcp` is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RtcpAttribute {
    /// With the port.
    #[default]
    Port,
    /// With port and address.
    Full,
    Omit,
}

/// What of the session description is made ours or kept constant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Replace {
    /// The address in `o=`.
    pub origin: bool,
    /// All of `o=`.
    pub origin_full: bool,
    pub username: bool,
    pub session_name: bool,
    pub sdp_version: bool,
    pub force_increment_version: bool,
    /// 0.0.0.0 becomes a real address.
    pub zero_address: bool,
}

/// One edit of `sdp-attr`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    pub section: EditSection,
    pub change: Change,
}

/// The part of an SDP that is edited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EditSection {
    Session,
    Media(MediaType),
}

/// What happens to an attribute; texts are without `a=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Add(String),
    Remove(String),
    Substitute { from: String, to: String },
}

static KEYS: &[Key] = &[
    row("replace", SAME, "What is made ours or kept constant.").key(|p, v| p.choose_each(&REPLACE, v)),
    row("sdp-attr", SAME, "Attributes to add, remove and substitute in the finished SDP.").key(set_edits),
    row("sdp-media-remove", SAME, "Media types removed from the outgoing offer.").key(set_remove_media),
];

static FLAGS: &[Flag] = &[
    row("no rtcp attribute", SAME, "Omit `a=rtcp`.").flag(|r| r.output.rtcp_attribute = RtcpAttribute::Omit),
    row("full rtcp attribute", SAME, "Print `a=rtcp` with address.")
        .flag(|r| r.output.rtcp_attribute = RtcpAttribute::Full),
    row("original sendrecv", SAME, "Keep the received direction attributes.")
        .flag(|r| r.output.original_direction = true),
    row("loop protect", SAME, "Mark the SDP as processed, and leave marked SDP alone.")
        .flag(|r| r.output.loop_protect = true),
];

static PREFIXES: &[Prefix] = &[
    row("replace-", SAME, "A value of `replace`.").prefix(|p, word| p.choose(&REPLACE, word)),
    row("sdp-attr-add-", SAME, "`SECTION-VALUE`: an attribute to add.")
        .prefix(|p, v| edit_from_flag(p, v, |text| Some(Change::Add(text)))),
    row("sdp-attr-remove-", SAME, "`SECTION-VALUE`: an attribute to remove.")
        .prefix(|p, v| edit_from_flag(p, v, |text| Some(Change::Remove(text)))),
    row("sdp-attr-substitute-", SAME, "`SECTION-FROM>TO`: an attribute to substitute.")
        .aliases(&["sdp-attr-substitude-"])
        .prefix(|p, v| edit_from_flag(p, v, substitution)),
];

const fn replace(name: &'static str, document: &'static str, set: fn(&mut Request)) -> Choice {
    row(name, SAME, document).choice(set)
}

static REPLACE: Choices = Choices {
    key: "replace",
    rows: &[
        replace("origin", "The address in `o=`.", |r| r.output.replace.origin = true),
        replace("origin-full", "All of `o=` is kept constant.", |r| r.output.replace.origin_full = true),
        replace("username", "The user name in `o=` is kept constant.", |r| r.output.replace.username = true),
        replace("session name", "`s=` is kept constant.", |r| r.output.replace.session_name = true),
        replace("SDP version", "Own the version, increase it on change.", |r| r.output.replace.sdp_version = true),
        replace("force-increment-sdp-ver", "Always increase the version.", |r| {
            r.output.replace.force_increment_version = true;
        }),
        replace("zero address", "Replace 0.0.0.0 by a real address.", |r| r.output.replace.zero_address = true),
        row("session-connection", Status::Different("not logged as unknown"), "Obsolete: `c=` is always rewritten.")
            .choice(|_| {}),
    ],
};

pub(super) static SECTION: Section =
    Section { title: "SDP output", keys: KEYS, flags: FLAGS, prefixes: PREFIXES, choices: &[&REPLACE] };

impl EditSection {
    fn from_name(name: &str) -> Option<EditSection> {
        match fold(name).as_ref() {
            "none" | "global" => Some(EditSection::Session),
            media => MediaType::from_name(media).map(EditSection::Media),
        }
    }
}

/// `{section: {add: [..], remove: [..], substitute: [from, to] or [[from, to]..]}}`.
fn set_edits(parser: &mut Parser, value: &Value) {
    let Some(sections) = value.as_dictionary() else { return parser.fail(RequestError::UnknownSdpManipulation) };
    for (name, commands) in sections.iter() {
        let Some(section) = EditSection::from_name(name) else { return parser.fail(RequestError::UnknownSdpSection) };
        let Some(commands) = commands.as_dictionary() else { return parser.fail(RequestError::UnknownSdpManipulation) };
        set_section_edits(parser, section, commands);
    }
}

fn set_section_edits(parser: &mut Parser, section: EditSection, commands: &Dictionary) {
    for (command, values) in commands.iter() {
        let changes: Vec<Change> = match fold(command).as_ref() {
            "add" => attributes(values).map(|text| Change::Add(text.to_owned())).collect(),
            "remove" => attributes(values).map(|text| Change::Remove(text.to_owned())).collect(),
            "substitute" => substitutions(values),
            _ => return parser.fail(RequestError::UnknownSdpManipulation),
        };
        parser.request.output.edits.extend(changes.into_iter().map(|change| Edit { section, change }));
    }
}

/// The strings of a list, or one string, whole: an attribute may hold commas.
fn attributes(values: &Value) -> impl Iterator<Item = &str> {
    let list = if let Value::List(list) = values { list.as_slice() } else { std::slice::from_ref(values) };
    list.iter().filter_map(Value::as_text)
}

fn substitutions(values: &Value) -> Vec<Change> {
    let pair = |list: &Value| {
        let mut texts = attributes(list).map(str::to_owned);
        Some(Change::Substitute { from: texts.next()?, to: texts.next()? })
    };
    match values {
        Value::List(list) if list.iter().any(|member| matches!(member, Value::List(_))) => {
            list.iter().filter_map(pair).collect()
        }
        single => pair(single).into_iter().collect(),
    }
}

fn edit_from_flag(parser: &mut Parser, text: &str, change: fn(String) -> Option<Change>) {
    let Some((name, rest)) = text.split_once('-') else { return parser.warn(format!("no attribute in `{text}`")) };
    let Some(section) = EditSection::from_name(name) else { return parser.fail(RequestError::UnknownSdpSection) };
    match change(unescape(rest)) {
        Some(change) => parser.request.output.edits.push(Edit { section, change }),
        None => parser.warn(format!("no `>` in `{rest}`")),
    }
}

fn substitution(text: String) -> Option<Change> {
    let (from, to) = text.split_once('>')?;
    Some(Change::Substitute { from: from.to_owned(), to: to.to_owned() })
}

fn set_remove_media(parser: &mut Parser, value: &Value) {
    for word in words(value) {
        match MediaType::from_name(word) {
            Some(media) => parser.request.output.remove_media.push(media),
            None if fold(word) == "other" => parser.request.output.remove_media.push(MediaType::Other),
            None => return parser.fail(RequestError::UnknownMediaType),
        }
    }
}
