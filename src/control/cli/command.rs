//! What a command line asks for.

/// A command of the command line interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CliCommand {
    ListNumSessions,
    ListSessions(Sessions),
    ListTotals,
    ListCounters,
    ListJsonStatistics,
    ListInterfaces,
    ListTranscoders,
    ListLrk,
    ListFastPath(FastPathList),
    ListCalls {
        is_json: bool,
    },
    /// A capture of a call, as pcapng; what is kept of each packet, in bytes.
    Capture {
        call_id: String,
        snap: u16,
    },
    Get(Setting),
    Set(Setting, i64),
    /// The common log level, or that of a subsystem by its place in `config::log::SUBSYSTEMS`.
    GetLogLevel(Option<usize>),
    SetLogLevel(Option<usize>, u8),
    Terminate(Terminated),
    Debug {
        call_id: String,
        is_on: bool,
    },
    /// The options that the daemon was started with.
    ParametersAtStart,
    ParametersNow,
    ParametersChanged,
    /// Undo what `set` changed.
    ParametersRevert,
}

/// What is listed of the fast path, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FastPathList {
    pub is_json: bool,
    /// Counters only, no entries.
    pub is_summary: bool,
}

/// The sessions that are listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sessions {
    All,
    Own,
    Foreign,
    Recording,
    Call(String),
}

/// The sessions that are ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Terminated {
    All,
    Own,
    Foreign,
    Call(String),
}

/// A number that can be shown, and most often changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Setting {
    MaxOpenFiles,
    MaxSessions,
    Timeout,
    SilentTimeout,
    OfferTimeout,
    FinalTimeout,
    ControlTos,
    DeleteDelay,
}

/// A setting's word on the command line, how it is shown, and the numbers that it can be set to.
#[derive(Debug)]
pub(super) struct SettingRow {
    pub(super) setting: Setting,
    pub(super) word: &'static str,
    pub(super) shown_after: &'static str,
    pub(super) range: (i64, i64),
    pub(super) document: &'static str,
}

const fn row(
    setting: Setting,
    word: &'static str,
    shown_after: &'static str,
    range: (i64, i64),
    document: &'static str,
) -> SettingRow {
    SettingRow { setting, word, shown_after, range, document }
}

const SECONDS: (i64, i64) = (0, u32::MAX as i64);

/// In the order of `Setting`.
pub(super) static SETTINGS: &[SettingRow] = &[
    row(
        Setting::MaxOpenFiles,
        "maxopenfiles",
        "Maximum open files configured on rtpengine: ",
        (65536, i64::MAX),
        "the descriptors that the process may have open",
    ),
    row(
        Setting::MaxSessions,
        "maxsessions",
        "Maximum sessions configured on rtpengine: ",
        (-1, u32::MAX as i64),
        "the calls beyond which new ones are refused; -1 is no limit",
    ),
    row(Setting::Timeout, "timeout", "TIMEOUT=", SECONDS, "the seconds without media after which a call ends"),
    row(Setting::SilentTimeout, "silenttimeout", "SILENT_TIMEOUT=", SECONDS, "the same for calls on hold"),
    row(
        Setting::OfferTimeout,
        "offertimeout",
        "OFFER_TIMEOUT=",
        SECONDS,
        "the seconds after which an unanswered offer ends",
    ),
    row(
        Setting::FinalTimeout,
        "finaltimeout",
        "FINAL_TIMEOUT=",
        SECONDS,
        "the longest life of a call in seconds; 0 is no limit",
    ),
    row(
        Setting::ControlTos,
        "controltos",
        "Type of service of control sockets: ",
        (0, 255),
        "the type of service of control sockets",
    ),
    row(Setting::DeleteDelay, "deletedelay", "Delete delay: ", SECONDS, "the seconds that a deleted call lives on"),
];

impl Setting {
    /// The word on the command line.
    pub fn word(self) -> &'static str {
        SETTINGS[self as usize].word
    }

    /// The text that shows a value.
    pub fn show(self, value: i64) -> String {
        format!("{}{value}\n", SETTINGS[self as usize].shown_after)
    }

    /// The text that confirms a change.
    pub fn confirm(self, value: i64) -> String {
        format!("Success setting {} to {value}\n", self.word())
    }
}
