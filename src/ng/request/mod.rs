//! A request, read into typed fields.
//!
//! Each submodule holds one part of `Request` beside the table rows that set it. The same option may come as a key,
//! as a flag, as a flag with a value (`codec-strip-opus`) or within the string `rtpp-flags`; all end in one field.

pub mod codec;
pub mod control;
pub mod dialogue;
pub mod dtmf;
pub mod ice;
pub mod network;
pub mod output;
mod parser;
pub mod player;
pub mod recording;
pub mod rtp;
pub mod sdp;
pub mod srtp;
pub mod t38;
pub mod table;
pub mod transport;

use super::{Command, Dictionary, Encoding, Value};
use parser::Parser;
use std::collections::HashMap;

/// What the configuration says about requests that say nothing themselves.
#[derive(Debug, Clone, Default)]
pub struct Defaults {
    pub templates: Templates,
    /// Trust the SIP source address, not the SDP's (option `sip-source`).
    pub sip_source: bool,
    /// Prefer the server role in DTLS (option `dtls-passive`).
    pub dtls_passive: bool,
}

/// Signalling templates by name, in any case (option `templates`).
#[derive(Debug, Clone, Default)]
pub struct Templates(HashMap<String, String>);

/// A request. A field that the message does not set has the value that rtpengine would assume.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    pub command: Command,
    pub dialogue: dialogue::Dialogue,
    pub sdp: sdp::Body,
    pub network: network::Network,
    pub transport: transport::Transport,
    pub ice: ice::Ice,
    pub dtls: srtp::Dtls,
    pub sdes: srtp::Sdes,
    pub codecs: codec::Codecs,
    pub dtmf: dtmf::Dtmf,
    pub player: player::Player,
    pub recording: recording::Recording,
    pub rtp: rtp::Rtp,
    pub output: output::Output,
    pub t38: t38::T38,
    pub control: control::Control,
    /// Unknown keys, flags and values, for the log.
    pub warnings: Vec<String>,
    /// What was asked for and is not built, for the log.
    pub unbuilt: Vec<Unbuilt>,
}

/// A key, flag or value that asks for something that is not built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unbuilt {
    pub name: &'static str,
    /// What is done instead.
    pub instead: &'static str,
}

/// Why a request fails; the text is the reply's `error-reason`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    #[error("Invalid data (no payload)")]
    NoPayload,
    #[error("Invalid NG data format")]
    UnknownFormat,
    #[error("Could not decode bencode dictionary")]
    UndecodableBencode,
    #[error("Failed to parse JSON document")]
    UnparsableJson,
    #[error("{}", match .0 { Encoding::Bencode => "Could not decode bencode dictionary", Encoding::Json => "Could not decode JSON dictionary" })]
    NotADictionary(Encoding),
    #[error("Dictionary contains no key \"command\"")]
    NoCommand,
    #[error("Unrecognized command")]
    UnknownCommand,
    #[error("No SDP body in message")]
    NoSdp,
    #[error("No call-id in message")]
    NoCallId,
    #[error("No from-tag in message")]
    NoFromTag,
    #[error("No to-tag in message")]
    NoToTag,
    #[error("No source-tag in message")]
    NoSourceTag,
    #[error("unsupported sdp section")]
    UnknownSdpSection,
    #[error("unsupported sdp manipulation")]
    UnknownSdpManipulation,
    #[error("unsupported sdp media type")]
    UnknownMediaType,
}

impl Request {
    /// Reads a message. Templates are applied first, `default` and then the one named like the command, then the
    /// message's keys in their order, so that a later one overrides an earlier one.
    pub fn parse(message: &Dictionary, encoding: Encoding, defaults: &Defaults) -> Result<Request, RequestError> {
        let command = message.get("command").and_then(Value::as_text).ok_or(RequestError::NoCommand)?;
        let command = Command::from_name(command).ok_or(RequestError::UnknownCommand)?;
        let mut parser = Parser::new(command, encoding, defaults);
        parser.expand_template("default");
        parser.expand_template(command.name());
        parser.apply(message);
        parser.finish()
    }

    fn new(command: Command, defaults: &Defaults) -> Request {
        Request {
            command,
            dialogue: Default::default(),
            sdp: Default::default(),
            network: network::Network { trust_address: !defaults.sip_source, ..Default::default() },
            transport: Default::default(),
            ice: Default::default(),
            dtls: srtp::Dtls { is_passive: defaults.dtls_passive, ..Default::default() },
            sdes: Default::default(),
            codecs: Default::default(),
            dtmf: Default::default(),
            player: Default::default(),
            recording: Default::default(),
            rtp: Default::default(),
            output: Default::default(),
            t38: Default::default(),
            control: Default::default(),
            warnings: Vec::new(),
            unbuilt: Vec::new(),
        }
    }

    /// The call-id, or the error of a message without.
    pub fn call_id(&self) -> Result<&str, RequestError> {
        present(&self.dialogue.call_id).ok_or(RequestError::NoCallId)
    }

    /// The from-tag, or the error of a message without.
    pub fn from_tag(&self) -> Result<&str, RequestError> {
        present(&self.dialogue.from_tag).ok_or(RequestError::NoFromTag)
    }

    /// The to-tag, or the error of a message without.
    pub fn to_tag(&self) -> Result<&str, RequestError> {
        present(&self.dialogue.to_tag).ok_or(RequestError::NoToTag)
    }

    /// The source-tag, or the error of a message without.
    pub fn source_tag(&self) -> Result<&str, RequestError> {
        present(&self.dialogue.source_tag).ok_or(RequestError::NoSourceTag)
    }

    /// The SDP body, which may be empty, or the error of a message without.
    pub fn sdp_body(&self) -> Result<&str, RequestError> {
        self.sdp.text.as_deref().ok_or(RequestError::NoSdp)
    }
}

impl Templates {
    /// Adds a template; one of the same name is replaced.
    pub fn insert(&mut self, name: &str, flags: impl Into<String>) {
        self.0.insert(table::fold(name).into_owned(), flags.into());
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(table::fold(name).as_ref()).map(String::as_str)
    }
}

fn present(field: &Option<String>) -> Option<&str> {
    field.as_deref().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests;
