//! Applies the keys of a message, in their order, to a request.

use super::dialogue::Dialogue;
use super::table::{Choices, Row, find_flag, find_key, find_prefix, find_prefix_key};
use super::{Defaults, Request, RequestError, Unbuilt};
use crate::base::protocol::TransportProtocol;
use crate::ng::status::Status;
use crate::ng::{Command, Dictionary, Encoding, Value, rtpp_flags};
use std::net::IpAddr;

/// How deep templates and flag strings may name templates and flag strings.
const EXPANSION_LIMIT: u8 = 8;

/// A request in the making.
pub struct Parser<'a> {
    pub request: Request,
    pub encoding: Encoding,
    pub defaults: &'a Defaults,
    /// The key that is being applied, for warnings.
    key: String,
    /// The first thing wrong enough to fail the request.
    error: Option<RequestError>,
    expansions: u8,
    /// Keys of tags that a string of `rtpp-flags` has given.
    worded_tags: Vec<String>,
}

impl<'a> Parser<'a> {
    pub(super) fn new(command: Command, encoding: Encoding, defaults: &'a Defaults) -> Parser<'a> {
        let request = Request::new(command, defaults);
        Parser { request, encoding, defaults, key: String::new(), error: None, expansions: 0, worded_tags: Vec::new() }
    }

    pub(super) fn finish(self) -> Result<Request, RequestError> {
        self.error.map_or(Ok(self.request), Err)
    }

    /// Applies every entry of a dictionary.
    pub fn apply(&mut self, dictionary: &Dictionary) {
        for (name, value) in dictionary.iter() {
            self.apply_key(name, value);
        }
    }

    fn apply_key(&mut self, name: &str, value: &Value) {
        name.clone_into(&mut self.key);
        if let Some(key) = find_key(name) {
            if self.covers(&key.row) {
                (key.set)(self, value);
            }
        } else if let Some(prefix) = find_prefix_key(name) {
            if self.covers(&prefix.row) {
                words(value).for_each(|word| (prefix.set)(self, word));
            }
        } else {
            self.warn(format!("unknown key `{name}`"));
        }
    }

    /// Applies a list of flags, then the transport words among them.
    pub fn apply_flags(&mut self, value: &Value) {
        let mut transport = rtpp_flags::TransportWords::default();
        for flag in words(value) {
            if !transport.take(flag) {
                self.apply_flag(flag);
            }
        }
        if let Some(protocol) = transport.protocol() {
            self.request.transport.protocol = Some(protocol);
        }
    }

    fn apply_flag(&mut self, name: &str) {
        if let Some(flag) = find_flag(name) {
            if self.covers(&flag.row) {
                (flag.set)(&mut self.request);
            }
        } else if let Some((prefix, value)) = find_prefix(name) {
            if self.covers(&prefix.row) {
                (prefix.set)(self, value);
            }
        } else {
            self.warn(format!("unknown flag `{name}`"));
        }
    }

    /// Applies a flag that carries a value, written as prefix and value; false when no such prefix is known.
    pub fn apply_prefix(&mut self, prefix: &str, value: &str) -> bool {
        let Some(row) = find_prefix_key(prefix) else { return false };
        if self.covers(&row.row) {
            (row.set)(self, value);
        }
        true
    }

    /// Whether a row means something in this request; notes it where what it asks for is not built.
    fn covers(&mut self, row: &Row) -> bool {
        let covers = row.scope.covers(self.request.command);
        if let (true, Status::NotYet(instead)) = (covers, row.status) {
            self.request.unbuilt.push(Unbuilt { name: row.name, instead });
        }
        covers
    }

    /// Applies a string of `rtpp-flags`.
    pub fn expand(&mut self, string: &str) {
        if self.expansions == EXPANSION_LIMIT {
            self.warn("templates or flag strings within each other, too many".to_owned());
            return;
        }
        self.expansions += 1;
        let parsed = rtpp_flags::parse(string);
        self.request.warnings.extend(parsed.warnings);
        self.apply(&parsed.dictionary);
        self.expansions -= 1;
    }

    /// Takes a tag into a field. A tag in the words of a script stands before the one that the SIP server's module adds
    /// of itself, whatever their order: that is the tag of the dialogue at hand.
    pub fn take_tag(&mut self, value: &Value, field: fn(&mut Dialogue) -> &mut Option<String>) {
        if self.expansions > 0 {
            self.worded_tags.push(self.key.clone());
        } else if self.worded_tags.contains(&self.key) {
            return;
        }
        *field(&mut self.request.dialogue) = self.text(value);
    }

    /// Applies a signalling template; false when there is none of that name.
    pub fn expand_template(&mut self, name: &str) -> bool {
        let Some(template) = self.defaults.templates.get(name) else { return false };
        self.expand(template);
        true
    }

    /// Something in the message that is ignored, for the log.
    pub fn warn(&mut self, text: String) {
        self.request.warnings.push(text);
    }

    fn warn_of_value(&mut self, shown: &str) {
        self.warn(format!("unknown value `{shown}` of `{}`", self.key));
    }

    /// Fails the request, unless it has failed already.
    pub fn fail(&mut self, error: RequestError) {
        self.error.get_or_insert(error);
    }

    /// The text of a value; a number is taken for its digits.
    pub fn text(&mut self, value: &Value) -> Option<String> {
        match value {
            Value::Text(text) => Some(text.clone()),
            Value::Integer(number) => Some(number.to_string()),
            _ => {
                self.warn_of_value("(a list or dictionary)");
                None
            }
        }
    }

    /// The number of a value, given as an integer or as a string in the notation of the message's format.
    pub fn integer(&mut self, value: &Value) -> Option<i64> {
        let number = match value {
            Value::Integer(number) => Some(*number),
            Value::Text(text) => integer_from_text(text, self.encoding),
            _ => None,
        };
        if number.is_none() {
            self.warn_of_value(value.as_text().unwrap_or("(a list or dictionary)"));
        }
        number
    }

    /// A number that may not be negative; one beyond 32 bits counts as the largest there is.
    pub fn unsigned(&mut self, value: &Value) -> Option<u32> {
        let number = self.integer(value)?;
        if number < 0 {
            self.warn_of_value(&number.to_string());
            return None;
        }
        Some(u32::try_from(number).unwrap_or(u32::MAX))
    }

    /// An IP address, with or without brackets.
    pub fn address(&mut self, value: &Value) -> Option<IpAddr> {
        let text = value.as_text().unwrap_or_default();
        let address = parse_address(text);
        if address.is_none() {
            self.warn_of_value(text);
        }
        address
    }

    /// Applies each word of a value.
    pub fn choose_each(&mut self, choices: &Choices, value: &Value) {
        words(value).for_each(|word| self.choose(choices, word));
    }

    /// Applies one word.
    pub fn choose(&mut self, choices: &Choices, word: &str) {
        match choices.find(word) {
            Some(choice) if self.covers(&choice.row) => (choice.set)(&mut self.request),
            Some(_) => {}
            None => self.warn(format!("unknown value `{word}` of `{}`", choices.key)),
        }
    }

    /// A transport protocol by its name.
    pub fn transport_protocol(&mut self, name: &str) -> Option<TransportProtocol> {
        let protocol = TransportProtocol::from_name(name);
        if protocol.is_none() {
            self.warn_of_value(name);
        }
        protocol
    }
}

/// The strings of a list, or of one string split at commas. Members that are not strings are skipped.
pub(super) fn words(value: &Value) -> impl Iterator<Item = &str> {
    let (list, string) = match value {
        Value::List(list) => (list.as_slice(), ""),
        Value::Text(string) => (&[][..], string.as_str()),
        _ => (&[][..], ""),
    };
    let split = string.split(',').map(str::trim).filter(|word| !word.is_empty());
    list.iter().filter_map(Value::as_text).chain(split)
}

/// An IP address, with or without brackets.
pub(super) fn parse_address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok()
}

/// A whole number: decimal, and in JSON also `0x` hexadecimal and octal with a leading zero, as C reads them.
pub(super) fn integer_from_text(text: &str, encoding: Encoding) -> Option<i64> {
    if encoding == Encoding::Bencode {
        return text.parse().ok();
    }
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (digits, radix) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hexadecimal) => (hexadecimal, 16),
        None if digits.len() > 1 && digits.starts_with('0') => (&digits[1..], 8),
        None => (digits, 10),
    };
    if !digits.starts_with(|first: char| first.is_digit(radix)) {
        return None;
    }
    let magnitude = i64::from_str_radix(digits, radix).ok()?;
    Some(if negative { -magnitude } else { magnitude })
}
