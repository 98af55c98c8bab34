//! DTMF: blocking, triggers, generation.

use super::parser::{Parser, integer_from_text, words};
use super::table::{Choice, Choices, Flag, Key, Section, row};
use crate::ng::status::{DTMF as LATER, PLAYBACK, Status};
use crate::ng::{Encoding, Value};
use std::net::SocketAddr;

/// What to do about DTMF.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dtmf {
    /// Flag `inject DTMF`: make `play DTMF` possible.
    pub inject: bool,
    /// Flag `detect DTMF`: look for tones in the audio.
    pub detect: bool,
    /// Flag `block DTMF`.
    pub block: bool,
    pub security: Option<DtmfSecurity>,
    pub security_trigger: Option<DtmfSecurity>,
    pub security_trigger_end: Option<DtmfSecurity>,
    pub trigger: Option<String>,
    pub trigger_end: Option<String>,
    pub trigger_end_time_ms: Option<u32>,
    pub trigger_end_digits: Option<u32>,
    pub delay_ms: Option<u32>,
    /// The replacement digit, or the one to play.
    pub digit: Option<Digit>,
    /// Tones, used in turn.
    pub frequencies_hz: Vec<u32>,
    /// As received; a positive number is meant negative.
    pub volume_db: Option<i64>,
    /// As received.
    pub duration_ms: Option<u32>,
    /// As received.
    pub pause_ms: Option<u32>,
    /// The delay of all media in the codec handlers; zero turns it off.
    pub delay_buffer_ms: Option<u32>,
    pub log_destination: Option<SocketAddr>,
}

/// What stands in for a blocked event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DtmfSecurity {
    #[default]
    Drop,
    Silence,
    Tone,
    Random,
    Zero,
    Dtmf,
    Off,
}

/// A digit as asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Digit {
    /// The event of RFC 4733: 0 to 9, 10 `*`, 11 `#`, 12 to 15 `A` to `D`.
    Event(u8),
    OutOfRange,
}

impl Digit {
    /// Reads a number from 0 to 15, or one of `0` to `9`, `*`, `#`, `A` to `D`.
    fn from_value(value: &Value) -> Digit {
        let number = match value {
            Value::Integer(number) => Some(*number),
            Value::Text(text) => {
                let symbol = "0123456789*#ABCD".find(text.to_ascii_uppercase().as_str()).filter(|_| text.len() == 1);
                symbol.map(|event| event as i64).or_else(|| integer_from_text(text, Encoding::Bencode))
            }
            _ => None,
        };
        match number {
            Some(number @ 0..=15) => Digit::Event(number as u8),
            _ => Digit::OutOfRange,
        }
    }
}

static KEYS: &[Key] = &[
    row("DTMF-security", LATER, "What stands in for blocked events.").key(|p, v| p.choose_each(&SECURITY, v)),
    row("DTMF-security-trigger", LATER, "The mode after `trigger`.").key(|p, v| p.choose_each(&SECURITY_TRIGGER, v)),
    row("DTMF-security-trigger-end", LATER, "The mode after `trigger-end`.")
        .key(|p, v| p.choose_each(&SECURITY_TRIGGER_END, v)),
    row("trigger", LATER, "Digits that switch blocking on.").key(|p, v| p.request.dtmf.trigger = p.text(v)),
    row("trigger-end", LATER, "Digits that switch it off.")
        .aliases(&["end-trigger"])
        .key(|p, v| p.request.dtmf.trigger_end = p.text(v)),
    row("trigger-end-time", LATER, "Milliseconds after which it ends.")
        .aliases(&["end-trigger-time"])
        .key(|p, v| p.request.dtmf.trigger_end_time_ms = p.unsigned(v)),
    row("trigger-end-digits", LATER, "Digits after which it ends.")
        .aliases(&["end-trigger-digits"])
        .key(|p, v| p.request.dtmf.trigger_end_digits = p.unsigned(v)),
    row("DTMF-delay", LATER, "Milliseconds by which events are delayed.")
        .key(|p, v| p.request.dtmf.delay_ms = p.unsigned(v)),
    row("digit", LATER, "The replacement digit, or the one to play.")
        .aliases(&["code"])
        .key(|p, v| p.request.dtmf.digit = Some(Digit::from_value(v))),
    row("frequency", LATER, "Tones in hertz, used in turn.").aliases(&["frequencies"]).key(set_frequencies),
    row("volume", PLAYBACK, "Volume of generated tones in -dB.").key(|p, v| p.request.dtmf.volume_db = p.integer(v)),
    row("duration", PLAYBACK, "Length of a played digit in milliseconds.")
        .key(|p, v| p.request.dtmf.duration_ms = p.unsigned(v)),
    row("pause", PLAYBACK, "Pause after a played digit in milliseconds; in `stop recording`, whether to pause.")
        .key(set_pause),
    row("delay-buffer", LATER, "Milliseconds by which all media is delayed.")
        .key(|p, v| p.request.dtmf.delay_buffer_ms = p.unsigned(v)),
    row("DTMF-log-dest", Status::Same, "Address and port to report events to, besides those of `dtmf-log-dest`.")
        .aliases(&["DTMF-log-destination"])
        .key(set_log_destination),
];

static FLAGS: &[Flag] = &[
    row("inject DTMF", LATER, "Make `play DTMF` possible.").flag(|r| r.dtmf.inject = true),
    row("detect DTMF", LATER, "Look for tones in the audio.").flag(|r| r.dtmf.detect = true),
    row("block DTMF", Status::Same, "The same as the command `block DTMF`.").flag(|r| r.dtmf.block = true),
];

macro_rules! security_choices {
    ($name:ident, $key:literal, $field:ident) => {
        static $name: Choices = Choices {
            key: $key,
            rows: &[
                security("drop", "Nothing.", |r| r.dtmf.$field = Some(DtmfSecurity::Drop)),
                security("silence", "Silence.", |r| r.dtmf.$field = Some(DtmfSecurity::Silence)),
                security("tone", "A tone.", |r| r.dtmf.$field = Some(DtmfSecurity::Tone)),
                security("random", "Random digits.", |r| r.dtmf.$field = Some(DtmfSecurity::Random)),
                security("zero", "The digit 0.", |r| r.dtmf.$field = Some(DtmfSecurity::Zero)),
                security("DTMF", "The given digit.", |r| r.dtmf.$field = Some(DtmfSecurity::Dtmf)),
                security("off", "Events pass.", |r| r.dtmf.$field = Some(DtmfSecurity::Off)),
            ],
        };
    };
}

const fn security(name: &'static str, document: &'static str, set: fn(&mut super::Request)) -> Choice {
    row(name, LATER, document).choice(set)
}

security_choices!(SECURITY, "DTMF-security", security);
security_choices!(SECURITY_TRIGGER, "DTMF-security-trigger", security_trigger);
security_choices!(SECURITY_TRIGGER_END, "DTMF-security-trigger-end", security_trigger_end);

pub(super) static SECTION: Section = Section {
    title: "DTMF",
    keys: KEYS,
    flags: FLAGS,
    prefixes: &[],
    choices: &[&SECURITY, &SECURITY_TRIGGER, &SECURITY_TRIGGER_END],
};

fn set_frequencies(parser: &mut Parser, value: &Value) {
    let numbers: Vec<Value> = match value {
        Value::List(list) => list.clone(),
        Value::Text(_) => words(value).map(Value::from).collect(),
        other => vec![other.clone()],
    };
    parser.request.dtmf.frequencies_hz = numbers.iter().filter_map(|number| parser.unsigned(number)).collect();
}

fn set_pause(parser: &mut Parser, value: &Value) {
    match value.as_text() {
        Some("yes" | "on" | "true") => parser.request.recording.pause = true,
        Some("no" | "off" | "false") => parser.request.recording.pause = false,
        _ => parser.request.dtmf.pause_ms = parser.unsigned(value),
    }
}

fn set_log_destination(parser: &mut Parser, value: &Value) {
    let text = value.as_text().unwrap_or_default();
    parser.request.dtmf.log_destination = text.parse().ok();
    if parser.request.dtmf.log_destination.is_none() {
        parser.warn(format!("`{text}` is not an address and port"));
    }
}
