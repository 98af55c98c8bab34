//! What a command line asks for.

use crate::base::number::rounded_up;

/// A command of the command line interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CliCommand {
    ListNumSessions,
    ListSessions(Sessions),
    ListTotals,
    ListCounters,
    Metrics,
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
    /// Something with one call.
    Call {
        call_id: String,
        order: CallOrder,
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

/// What is done with a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallOrder {
    Show,
    /// One party of it.
    ShowTag(String),
    End,
}

/// A number that can be shown, and most often changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Setting {
    MaxOpenFiles,
    MaxSessions,
    MaxProcessor,
    MaxLoad,
    MaxBandwidth,
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
    /// As numbers are kept: see `decimals`.
    pub(super) range: (i64, i64),
    /// Numbers have this many, and are kept as whole numbers of the smallest.
    pub(super) decimals: u8,
    /// What `set` calls it in its answer.
    confirmed_as: &'static str,
    pub(super) document: &'static str,
}

const fn row(
    setting: Setting,
    word: &'static str,
    shown_after: &'static str,
    range: (i64, i64),
    document: &'static str,
) -> SettingRow {
    SettingRow { setting, word, shown_after, range, decimals: 0, confirmed_as: word, document }
}

impl SettingRow {
    const fn decimals(mut self, decimals: u8) -> SettingRow {
        self.decimals = decimals;
        self
    }

    const fn confirmed_as(mut self, name: &'static str) -> SettingRow {
        self.confirmed_as = name;
        self
    }

    /// The number of a text, as it is kept; none when it is none, or out of range.
    pub(super) fn parse(&self, text: &str) -> Option<i64> {
        let number = match self.decimals {
            0 => text.parse().ok()?,
            decimals => {
                let number: f64 = text.parse().ok().filter(|number: &f64| number.is_finite())?;
                rounded_up(number * 10_f64.powi(decimals.into()))
            }
        };
        (self.range.0..=self.range.1).contains(&number).then_some(number)
    }

    fn number(&self, value: i64) -> String {
        match usize::from(self.decimals) {
            0 => value.to_string(),
            decimals => format!("{:.decimals$}", value as f64 / 10_f64.powi(decimals as i32)),
        }
    }
}

const SECONDS: (i64, i64) = (0, u32::MAX as i64);

/// In the order of `Setting`.
pub(super) static SETTINGS: &[SettingRow] = &[
    row(
        Setting::MaxOpenFiles,
        "maxopenfiles",
        "Maximum open-files configured on rtpengine: ",
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
    row(
        Setting::MaxProcessor,
        "maxcpu",
        "Maximum CPU usage configured on rtpengine: ",
        (0, 1_000),
        "the use of all processors in percent at which new calls are refused; 0 is no limit",
    )
    .decimals(1),
    row(
        Setting::MaxLoad,
        "maxload",
        "Maximum load average configured on rtpengine: ",
        (0, u32::MAX as i64),
        "the 1-minute load average at which new calls are refused; 0 is no limit",
    )
    .decimals(2),
    row(
        Setting::MaxBandwidth,
        "maxbw",
        "Maximum bandwidth configured on rtpengine: ",
        (0, i64::MAX),
        "the received bytes per second at which new calls are refused; 0 is no limit",
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
    row(Setting::ControlTos, "controltos", "", (0, 255), "the type of service of control sockets"),
    row(Setting::DeleteDelay, "deletedelay", "", SECONDS, "the seconds that a deleted call lives on")
        .confirmed_as("delete-delay"),
];

impl Setting {
    /// The word on the command line.
    pub fn word(self) -> &'static str {
        SETTINGS[self as usize].word
    }

    /// A value as options have it.
    pub fn number(self, value: i64) -> String {
        SETTINGS[self as usize].number(value)
    }

    /// The text that shows a value.
    pub fn show(self, value: i64) -> String {
        let row = &SETTINGS[self as usize];
        format!("{}{}\n", row.shown_after, row.number(value))
    }

    /// The text that confirms a change.
    pub fn confirm(self, value: i64) -> String {
        let row = &SETTINGS[self as usize];
        let note = if self == Setting::MaxSessions && value < 0 { "; disable feature" } else { "" };
        format!("Success setting {} to {}{note}\n", row.confirmed_as, row.number(value))
    }
}
