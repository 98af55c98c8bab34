//! The SDP body and its SIP context.

use super::parser::{Parser, parse_address, words};
use super::table::{Choices, Flag, Key, Section, row};
use crate::ng::Value;
use crate::ng::status::Status;
use std::net::IpAddr;

const SAME: Status = Status::Same;

/// The body and what SIP says about it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Body {
    /// The SDP; an empty one is not the same as none.
    pub text: Option<String>,
    /// The body is an ICE fragment (RFC 8840), not a whole description.
    pub is_fragment: bool,
    /// Where the SIP message came from.
    pub received_from: Option<IpAddr>,
    pub sip_message_type: Option<SipMessageType>,
    pub sip_code: Option<i64>,
    /// The client understands the result `load limit`.
    pub supports_load_limit: bool,
    pub xmlrpc_callback: Option<IpAddr>,
}

/// Whether the SIP message was a request or a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SipMessageType {
    Request,
    Response,
}

static KEYS: &[Key] = &[
    row("sdp", SAME, "The SDP body.").key(|p, v| p.request.sdp.text = p.text(v)),
    row("received from", SAME, "Where the SIP message came from: `[IP4|IP6, address]` or an address.")
        .key(set_received_from),
    row("SIP message type", SAME, "Whether the SDP came in a SIP request or response.")
        .key(|p, v| p.choose_each(&SIP_MESSAGE_TYPE, v)),
    row("SIP code", SAME, "The status code of the SIP response.")
        .aliases(&["sip-response-code"])
        .key(|p, v| p.request.sdp.sip_code = p.integer(v)),
    row("template", SAME, "A signalling template, expanded at this place of the message.").key(|p, v| {
        for name in words(v) {
            if !p.expand_template(name) {
                p.warn(format!("unknown template `{name}`"));
            }
        }
    }),
    row("supports", SAME, "What the client understands; only `load limit` means something.")
        .key(|p, v| p.request.sdp.supports_load_limit |= words(v).any(|word| word == "load limit")),
    row("xmlrpc-callback", SAME, "The address for `%%` in `b2b-url`.")
        .key(|p, v| p.request.sdp.xmlrpc_callback = p.address(v)),
    row("flags", SAME, "A list of flags.").key(|p, v| p.apply_flags(v)),
    row("rtpp-flags", SAME, "Flags and keys in one string.").key(|p, v| {
        if let Some(string) = p.text(v) {
            p.expand(&string);
        }
    }),
];

static FLAGS: &[Flag] = &[row("fragment", SAME, "The SDP is an ICE fragment.").flag(|r| r.sdp.is_fragment = true)];

static SIP_MESSAGE_TYPE: Choices = Choices {
    key: "SIP message type",
    rows: &[
        row("SIP request", SAME, "A request.")
            .aliases(&["request"])
            .choice(|r| r.sdp.sip_message_type = Some(SipMessageType::Request)),
        row("SIP response", SAME, "A response.")
            .aliases(&["SIP reply", "response", "reply"])
            .choice(|r| r.sdp.sip_message_type = Some(SipMessageType::Response)),
    ],
};

pub(super) static SECTION: Section = Section {
    title: "SDP body and SIP context",
    keys: KEYS,
    flags: FLAGS,
    prefixes: &[],
    choices: &[&SIP_MESSAGE_TYPE],
};

fn set_received_from(parser: &mut Parser, value: &Value) {
    parser.request.sdp.received_from = words(value).find_map(parse_address);
    if parser.request.sdp.received_from.is_none() {
        parser.warn("`received from` holds no address".to_owned());
    }
}
