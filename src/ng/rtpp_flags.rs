//! The string syntax of `rtpp-flags` and of signalling templates, read into the dictionary that a
//! client would otherwise have sent.
//!
//! Tokens are separated by spaces. `word` is a flag, `key=value` a key; `key=[a b]` is a list, `key=[a=1 b=[x]]` a
//! dictionary, told apart by a `=` in the first element. In codec strings and SDP attributes `--` stands for `=` and
//! `..` for a space.

use super::request::table::fold;
use crate::base::protocol::TransportProtocol;
use crate::wire::value::{DEPTH_LIMIT, Dictionary, Value};

/// What a flag string says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parsed {
    pub dictionary: Dictionary,
    /// Parts of the string that are ignored, for the log.
    pub warnings: Vec<String>,
}

/// Transport protocols in words: the full name, or `RTP`, `SRTP`, `AVP`, `AVPF` and `DTLS` put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TransportWords {
    full: Option<TransportProtocol>,
    any: bool,
    secure: bool,
    feedback: bool,
    dtls: bool,
}

impl TransportWords {
    /// Takes a word if it is one of these; a full name replaces what came before.
    pub fn take(&mut self, word: &str) -> bool {
        match word {
            "RTP" | "AVP" => {}
            "SRTP" => self.secure = true,
            "AVPF" => self.feedback = true,
            "DTLS" => self.dtls = true,
            _ => match TransportProtocol::from_name(word).filter(|protocol| protocol.is_rtp()) {
                Some(protocol) => *self = TransportWords { full: Some(protocol), ..Default::default() },
                None => return false,
            },
        }
        self.any = true;
        true
    }

    /// The protocol that the words make; DTLS together with SRTP makes none.
    pub fn protocol(&self) -> Option<TransportProtocol> {
        use TransportProtocol::*;
        let full = self.full;
        let secure = self.secure || full.is_some_and(|protocol| protocol.is_secure() && !protocol.is_dtls());
        let feedback = self.feedback || full.is_some_and(TransportProtocol::has_feedback);
        let dtls = self.dtls || full.is_some_and(TransportProtocol::is_dtls);
        match (self.any, dtls, secure, feedback) {
            (false, ..) | (_, true, true, _) => None,
            (_, true, _, false) => Some(UdpTlsRtpSavp),
            (_, true, _, true) => Some(UdpTlsRtpSavpf),
            (_, _, true, false) => Some(RtpSavp),
            (_, _, true, true) => Some(RtpSavpf),
            (_, _, false, false) => Some(RtpAvp),
            (_, _, false, true) => Some(RtpAvpf),
        }
    }
}

/// Reads a flag string. Nothing in it is an error; what makes no sense is named in the warnings.
pub fn parse(string: &str) -> Parsed {
    let mut reader = Reader { rest: string, warnings: Vec::new() };
    let mut collector = Collector::default();
    while let Some((key, value)) = reader.token() {
        match key {
            None => collector.flag(value),
            Some(key) => collector.key(key, value),
        }
    }
    let mut parsed = collector.finish();
    parsed.warnings.append(&mut reader.warnings);
    parsed
}

/// Cuts the string into tokens.
struct Reader<'a> {
    rest: &'a str,
    warnings: Vec<String>,
}

impl<'a> Reader<'a> {
    /// The next token: its key if it has one, and its value.
    fn token(&mut self) -> Option<(Option<&'a str>, Value)> {
        self.rest = self.rest.trim_start_matches(' ');
        if self.rest.is_empty() {
            return None;
        }
        let end = self.rest.find([' ', '=']).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        let Some(rest) = rest.strip_prefix('=') else {
            self.rest = rest;
            return Some((None, Value::from(word)));
        };
        self.rest = rest;
        let value = if rest.starts_with('[') { self.bracket(DEPTH_LIMIT) } else { Value::from(self.word(&[' '])) };
        Some((Some(word), value))
    }

    fn word(&mut self, ends: &[char]) -> &'a str {
        let end = self.rest.find(ends).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    /// A list or dictionary; `rest` begins with its opening bracket.
    fn bracket(&mut self, levels_left: usize) -> Value {
        self.rest = &self.rest[1..];
        if levels_left == 0 {
            self.warnings.push("brackets nested too deeply; the rest is ignored".to_owned());
            self.rest = "";
            return Value::List(Vec::new());
        }
        let mut entries: Vec<(Option<&'a str>, Value)> = Vec::new();
        while !self.at_closing_bracket() {
            entries.push(self.element(levels_left - 1));
        }
        if entries.first().is_some_and(|entry| entry.0.is_some()) { self.dictionary(entries) } else { list(entries) }
    }

    /// Skips spaces; true when the closing bracket, or the end of the string, has been passed.
    fn at_closing_bracket(&mut self) -> bool {
        self.rest = self.rest.trim_start_matches(' ');
        if self.rest.is_empty() {
            self.warnings.push("a closing bracket is missing".to_owned());
            return true;
        }
        match self.rest.strip_prefix(']') {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn element(&mut self, levels_left: usize) -> (Option<&'a str>, Value) {
        if self.rest.starts_with('[') {
            return (None, self.bracket(levels_left));
        }
        let word = self.word(&[' ', ']', '=']);
        let Some(rest) = self.rest.strip_prefix('=') else { return (None, Value::from(word)) };
        self.rest = rest;
        let value = if rest.starts_with('[') { self.bracket(levels_left) } else { Value::from(self.word(&[' ', ']'])) };
        (Some(word), value)
    }

    fn dictionary(&mut self, entries: Vec<(Option<&'a str>, Value)>) -> Value {
        let mut dictionary = Dictionary::new();
        for (key, value) in entries {
            match key {
                Some(key) => drop(dictionary.set(key.to_owned(), value)),
                None => self.warnings.push("an element without `=` in a dictionary is ignored".to_owned()),
            }
        }
        Value::Dictionary(dictionary)
    }
}

/// A list keeps an element that looks like `key=value` as the word it is.
fn list(entries: Vec<(Option<&str>, Value)>) -> Value {
    let member = |(key, value): (Option<&str>, Value)| match (key, value) {
        (Some(key), Value::Text(text)) => Value::Text(format!("{key}={text}")),
        (_, value) => value,
    };
    entries.into_iter().map(member).collect()
}

/// Puts the tokens together as the message that they stand for.
#[derive(Default)]
struct Collector {
    parsed: Parsed,
    directions: Vec<Value>,
    transport: TransportWords,
}

impl Collector {
    fn flag(&mut self, word: Value) {
        let text = word.as_text().unwrap_or_default();
        if matches!(text, "internal" | "external") {
            self.direction(word);
        } else if !self.transport.take(text) {
            self.push_flag(word);
        }
    }

    /// Appends to the list `flags`; one list serves until a key comes between.
    fn push_flag(&mut self, flag: Value) {
        match self.parsed.dictionary.0.last_mut() {
            Some((key, Value::List(flags))) if key == "flags" => flags.push(flag),
            _ => drop(self.parsed.dictionary.set("flags", Value::List(vec![flag]))),
        }
    }

    fn key(&mut self, key: &str, value: Value) {
        let folded = fold(key);
        match folded.as_ref() {
            "direction" => return self.direction(value),
            "to-tag" => self.push_flag(Value::from("to-tag")),
            "from-tag" => self.push_flag(Value::from("directional")),
            _ => {}
        }
        let is_escaped = folded.starts_with("codec") || folded == "transcode" || folded == "sdp-attr";
        self.parsed.dictionary.set(key.to_owned(), if is_escaped { unescape_all(value) } else { value });
    }

    fn direction(&mut self, value: Value) {
        match value {
            Value::List(list) => list.into_iter().for_each(|member| self.direction(member)),
            value if self.directions.len() < 2 => self.directions.push(value),
            _ => self.parsed.warnings.push("a third direction is ignored".to_owned()),
        }
    }

    fn finish(mut self) -> Parsed {
        if !self.directions.is_empty() {
            self.parsed.dictionary.set("direction", Value::List(self.directions));
        }
        if let Some(protocol) = self.transport.protocol() {
            self.parsed.dictionary.set("transport-protocol", protocol.name());
        }
        self.parsed
    }
}

fn unescape_all(value: Value) -> Value {
    match value {
        Value::Text(text) => Value::Text(unescape(&text)),
        Value::List(list) => list.into_iter().map(unescape_all).collect(),
        Value::Dictionary(dictionary) => Value::Dictionary(Dictionary(
            dictionary.0.into_iter().map(|(key, value)| (key, unescape_all(value))).collect(),
        )),
        number => number,
    }
}

/// `--` back to `=` and `..` to a space.
pub fn unescape(text: &str) -> String {
    text.replace("--", "=").replace("..", " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::json;
    use proptest::prelude::*;

    fn shown(string: &str) -> String {
        let mut out = Vec::new();
        json::encode(&parse(string).dictionary, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn tokens_become_flags_and_keys() {
        assert_eq!(shown("a  b x=1 c"), r#"{"flags":["a","b"],"x":"1","flags":["c"]}"#);
        assert_eq!(shown(" sdp-media-remove=[video] "), r#"{"sdp-media-remove":["video"]}"#);
        assert_eq!(shown("metadata=a=b,c"), r#"{"metadata":"a=b,c"}"#);
    }

    #[test]
    fn brackets_nest() {
        assert_eq!(
            shown("codec=[mask=[all] transcode=[PCMA opus/48000/2]]"),
            r#"{"codec":{"mask":["all"],"transcode":["PCMA","opus/48000/2"]}}"#
        );
        assert_eq!(
            shown("medias=[[type=audio codecs=[G722 PCMA]] [type=video]]"),
            r#"{"medias":[{"type":"audio","codecs":["G722","PCMA"]},{"type":"video"}]}"#
        );
        assert_eq!(shown("x=[a b=c]"), r#"{"x":["a","b=c"]}"#);
        assert_eq!(shown("x=[] y=[[]]"), r#"{"x":[],"y":[[]]}"#);
    }

    #[test]
    fn escapes_count_in_codecs_and_attributes_only() {
        assert_eq!(shown("call-id=a--b..c"), r#"{"call-id":"a--b..c"}"#);
        assert_eq!(shown("sdp-attr=[audio=[add=[x..y--z]]]"), r#"{"sdp-attr":{"audio":{"add":["x y=z"]}}}"#);
        assert_eq!(shown("codec-set=opus/48000/2///stereo--1"), r#"{"codec-set":"opus/48000/2///stereo=1"}"#);
    }

    #[test]
    fn tags_bring_their_flags() {
        assert_eq!(shown("to-tag=t"), r#"{"flags":["to-tag"],"to-tag":"t"}"#);
        assert_eq!(shown("from-tag=f"), r#"{"flags":["directional"],"from-tag":"f"}"#);
    }

    #[test]
    fn directions_are_collected() {
        assert_eq!(shown("direction=a x direction=b"), r#"{"flags":["x"],"direction":["a","b"]}"#);
        assert_eq!(shown("external internal"), r#"{"direction":["external","internal"]}"#);
        assert_eq!(shown("direction=[a b]"), r#"{"direction":["a","b"]}"#);
        assert_eq!(parse("direction=a direction=b internal").warnings.len(), 1);
    }

    #[test]
    fn transport_words_are_put_together() {
        let expected = [
            ("RTP/AVP", Some("RTP/AVP")),
            ("UDP/TLS/RTP/SAVPF", Some("UDP/TLS/RTP/SAVPF")),
            ("RTP", Some("RTP/AVP")),
            ("SRTP", Some("RTP/SAVP")),
            ("SRTP AVPF", Some("RTP/SAVPF")),
            ("AVPF", Some("RTP/AVPF")),
            ("DTLS", Some("UDP/TLS/RTP/SAVP")),
            ("DTLS ICE=force AVPF", Some("UDP/TLS/RTP/SAVPF")),
            ("DTLS SRTP", None),
            ("ICE=force", None),
        ];
        for (string, protocol) in expected {
            let dictionary = parse(string).dictionary;
            assert_eq!(dictionary.get("transport-protocol").and_then(Value::as_text), protocol, "{string}");
        }
    }

    #[test]
    fn broken_strings_are_read_as_far_as_they_go() {
        for (string, warnings) in [("x=[a", 1), ("x=[a=1 b]", 1), ("x=]", 0), ("=", 0), ("x=[=]", 0)] {
            assert_eq!(parse(string).warnings.len(), warnings, "{string}");
        }
        assert!(!parse(&format!("x={}", "[".repeat(60_000))).warnings.is_empty());
    }

    proptest! {
        #[test]
        fn any_string_is_read(string in "[a-c=\\[\\] .-]{0,60}") {
            parse(&string);
        }
    }
}
