//! Choice of interfaces and addresses.

use super::parser::{Parser, words};
use super::table::{Flag, Key, Section, row};
use crate::base::address::Family;
use crate::ng::status::{Scope, Status};
use crate::ng::{Command, Value};
use std::net::IpAddr;

const SAME: Status = Status::Same;

/// Which local interfaces and which addresses are used.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Network {
    /// The logical interface towards the sender.
    pub from_interface: Option<String>,
    /// The logical interface towards the receiver.
    pub to_interface: Option<String>,
    /// The one interface of commands that need only one.
    pub interface: Option<String>,
    pub inbound_peer: Option<IpAddr>,
    pub outbound_peer: Option<IpAddr>,
    pub peer: Option<IpAddr>,
    /// The family of the rewritten SDP.
    pub address_family: Option<Family>,
    /// Where the sender's media is, whatever its SDP says.
    pub media_address: Option<IpAddr>,
    pub tos: Tos,
    /// Addresses in SDP are used; otherwise `received from` is.
    pub trust_address: bool,
}

/// The type-of-service octet of a call's media.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tos {
    /// As configured.
    #[default]
    Configured,
    /// Left to the system.
    Untouched,
    Octet(u8),
}

static KEYS: &[Key] = &[
    row("direction", GROUPS, "Two logical interfaces, towards sender and receiver.").key(set_direction),
    row("from-interface", SAME, "The logical interface towards the sender.")
        .key(|p, v| p.request.network.from_interface = p.text(v)),
    row("to-interface", SAME, "The logical interface towards the receiver.")
        .key(|p, v| p.request.network.to_interface = p.text(v)),
    row("interface", SAME, "The logical interface of commands with one party.")
        .key(|p, v| p.request.network.interface = p.text(v)),
    row("inbound-peer", PEER, "A host towards the sender, to find the interface by.")
        .key(|p, v| p.request.network.inbound_peer = p.address(v)),
    row("outbound-peer", PEER, "A host towards the receiver, to find the interface by.")
        .key(|p, v| p.request.network.outbound_peer = p.address(v)),
    row("peer", PEER, "A host to find the one interface by.").key(|p, v| p.request.network.peer = p.address(v)),
    row("address family", SAME, "`IP4` or `IP6` for the rewritten SDP.").key(set_family),
    row("media address", SAME, "Where the sender's media is, whatever its SDP says.")
        .key(|p, v| p.request.network.media_address = p.address(v)),
    row("TOS", SAME, "Type of service of the call's media; negative leaves it alone.")
        .scope(Scope::Only(&[Command::Offer]))
        .key(set_tos),
];

const GROUPS: Status =
    Status::Different("of a group `BASE` of interfaces `BASE:SUFFIX` any member is chosen, not each in its turn");
const PEER: Status = Status::NotYet("read and kept; the interface is not looked up by route");

static FLAGS: &[Flag] = &[
    row("trust address", SAME, "Use the addresses in SDP (the default unless `sip-source`).")
        .flag(|r| r.network.trust_address = true),
    row("SIP source address", SAME, "Use `received from` instead of the addresses in SDP.")
        .flag(|r| r.network.trust_address = false),
];

pub(super) static SECTION: Section =
    Section { title: "Network selection", keys: KEYS, flags: FLAGS, prefixes: &[], choices: &[] };

fn set_direction(parser: &mut Parser, value: &Value) {
    let mut names = words(value).map(str::to_owned);
    parser.request.network.from_interface = names.next();
    parser.request.network.to_interface = names.next();
    if names.next().is_some() {
        parser.warn("a third direction is ignored".to_owned());
    }
}

fn set_family(parser: &mut Parser, value: &Value) {
    let text = value.as_text().unwrap_or_default();
    parser.request.network.address_family = Family::from_sdp(text);
    if parser.request.network.address_family.is_none() {
        parser.warn(format!("unknown address family `{text}`"));
    }
}

fn set_tos(parser: &mut Parser, value: &Value) {
    if let Some(number) = parser.integer(value) {
        parser.request.network.tos = match u8::try_from(number) {
            Ok(octet) => Tos::Octet(octet),
            Err(_) if number < 0 => Tos::Untouched,
            Err(_) => Tos::Configured,
        };
    }
}
