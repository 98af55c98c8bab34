//! Recording.

use super::parser::Parser;
use super::table::{Choices, Flag, Key, Section, row};
use crate::ng::Value;
use crate::ng::status::RECORDING as LATER;

/// What is recorded, and where to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recording {
    pub record_call: Option<RecordCall>,
    /// An absolute file name.
    pub file: Option<String>,
    /// An absolute directory.
    pub directory: Option<String>,
    /// A pattern of file names.
    pub pattern: Option<String>,
    /// Delete what was recorded.
    pub discard: bool,
    /// Leave this party out.
    pub exclude: bool,
    pub skip_database: bool,
    /// `stop recording` only pauses.
    pub pause: bool,
    /// Play to this party when recording starts.
    pub announcement: bool,
    /// Let this party control recording by star codes.
    pub star_codes_on: bool,
    pub star_codes: StarCodes,
    pub slot_offer: Option<u32>,
    pub slot_answer: Option<u32>,
    pub slots: Option<u32>,
}

/// `record call`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordCall {
    On,
    Off,
    Discard,
}

/// Digits that control recording.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StarCodes {
    pub start: Option<String>,
    pub stop: Option<String>,
    pub start_stop: Option<String>,
    pub pause: Option<String>,
    pub pause_resume: Option<String>,
    pub start_pause_resume: Option<String>,
}

static KEYS: &[Key] = &[
    row("record call", LATER, "Start or stop recording.").key(|p, v| p.choose_each(&RECORD_CALL, v)),
    row("output-destination", LATER, "The file to record to.")
        .aliases(&["output-dest", "output-file", "recording-destination", "recording-dest", "recording-file"])
        .key(|p, v| p.request.recording.file = p.text(v)),
    row("recording-dir", LATER, "The directory to record to.")
        .aliases(&[
            "recording-path",
            "recording-directory",
            "recording-folder",
            "output-path",
            "output-dir",
            "output-directory",
            "output-folder",
        ])
        .key(|p, v| p.request.recording.directory = p.text(v)),
    row("recording-pattern", LATER, "The pattern of file names.")
        .aliases(&["output-pattern"])
        .key(|p, v| p.request.recording.pattern = p.text(v)),
    star_code("vsc-start-rec", &["vsc-start-recording"], |p, v| p.request.recording.star_codes.start = p.text(v)),
    star_code("vsc-stop-rec", &["vsc-stop-recording"], |p, v| p.request.recording.star_codes.stop = p.text(v)),
    star_code("vsc-start-stop-rec", &["vsc-start-stop-recording"], |p, v| {
        p.request.recording.star_codes.start_stop = p.text(v);
    }),
    star_code("vsc-pause-rec", &["vsc-pause-recording"], |p, v| p.request.recording.star_codes.pause = p.text(v)),
    star_code("vsc-pause-resume-rec", &["vsc-pause-resume-recording"], |p, v| {
        p.request.recording.star_codes.pause_resume = p.text(v);
    }),
    star_code("vsc-start-pause-resume-rec", &["vsc-start-pause-resume-recording"], |p, v| {
        p.request.recording.star_codes.start_pause_resume = p.text(v);
    }),
    row("recording-media-slot-offer", LATER, "The sender's channel of the mix.")
        .key(|p, v| p.request.recording.slot_offer = p.unsigned(v)),
    row("recording-media-slot-answer", LATER, "The receiver's channel of the mix.")
        .key(|p, v| p.request.recording.slot_answer = p.unsigned(v)),
    row("recording-media-slots", LATER, "How many channels the mix has.")
        .key(|p, v| p.request.recording.slots = p.unsigned(v)),
];

const fn star_code(name: &'static str, aliases: &'static [&'static str], set: fn(&mut Parser, &Value)) -> Key {
    row(name, LATER, "Digits that control recording.").aliases(aliases).key(set)
}

static FLAGS: &[Flag] = &[
    row("record call", LATER, "The same as `record call=on`.").flag(|r| r.recording.record_call = Some(RecordCall::On)),
    row("discard recording", LATER, "Delete what was recorded.").flag(|r| r.recording.discard = true),
    row("exclude recording", LATER, "Leave this party out.").flag(|r| r.recording.exclude = true),
    row("skip-recording-db", LATER, "Write nothing to the database.")
        .aliases(&["skip recording database"])
        .flag(|r| r.recording.skip_database = true),
    row("pause", LATER, "`stop recording` only pauses.").flag(|r| r.recording.pause = true),
    row("recording announcement", LATER, "Play to this party when recording starts.")
        .flag(|r| r.recording.announcement = true),
    row("recording-vsc", LATER, "Let this party control recording by star codes.")
        .flag(|r| r.recording.star_codes_on = true),
];

static RECORD_CALL: Choices = Choices {
    key: "record call",
    rows: &[
        row("on", LATER, "Start.").aliases(&["yes"]).choice(|r| r.recording.record_call = Some(RecordCall::On)),
        row("off", LATER, "Stop.").aliases(&["no"]).choice(|r| r.recording.record_call = Some(RecordCall::Off)),
        row("discard", LATER, "Stop and delete.").choice(|r| r.recording.record_call = Some(RecordCall::Discard)),
    ],
};

pub(super) static SECTION: Section =
    Section { title: "Recording", keys: KEYS, flags: FLAGS, prefixes: &[], choices: &[&RECORD_CALL] };
