//! The command tree: every command line that is understood, as a table.

use super::command::{CallOrder, CliCommand, FastPathList, SETTINGS, Sessions, SettingRow, Terminated};
use super::table::usage;
use crate::config::log::SUBSYSTEMS;
use std::sync::LazyLock;

/// A command.
#[derive(Debug, Clone)]
pub struct CliRow {
    /// The words that it begins with, separated by spaces.
    pub words: String,
    /// What follows the words.
    pub parameters: &'static str,
    pub document: String,
    pub status: CliStatus,
    make: Make,
}

/// How a command compares with rtpengine's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CliStatus {
    /// It does what rtpengine's does.
    Same,
    /// It does something else, and this is why.
    Different(&'static str),
    /// It is answered with this, and nothing is done.
    Nothing(&'static str),
    /// rtpengine has none such.
    Ours,
}

/// How parameters become a command; the error is the answer.
#[derive(Debug, Clone, Copy)]
enum Make {
    Plain(fn(&[&str]) -> Result<CliCommand, String>),
    Get(&'static SettingRow),
    Set(&'static SettingRow),
    Never,
}

const MORE: &str = "More parameters required.\n";
const NO_REDIS: CliStatus = CliStatus::Nothing("calls are not kept in Redis");
const NO_OTHERS: CliStatus = CliStatus::Nothing("calls are not shared with other daemons: all are this daemon's own");
const NO_PLAYBACK: CliStatus = CliStatus::Nothing("media is not played, so there are no files to keep");
const NO_TAG_CHANGES: CliStatus = CliStatus::Nothing("single parties can be shown, not changed");
const NO_CALL_DEBUG: CliStatus =
    CliStatus::Nothing("the log level can't be raised for single calls; see `set loglevel`");
const OWN_WORDS: CliStatus =
    CliStatus::Different("the answer names this setting, where rtpengine says `timeout` of all four");
const OWN_ERRORS: CliStatus = CliStatus::Different("a number that is out of range is refused in other words");
const WHOLE_LIST: CliStatus =
    CliStatus::Different("every option with its value, by its name in the configuration file");

/// Every command, in the order of `usage`.
pub fn rows() -> &'static [CliRow] {
    static ROWS: LazyLock<Vec<CliRow>> = LazyLock::new(|| {
        let settings = SETTINGS.iter().flat_map(|setting| {
            let is_timeout = setting.word.ends_with("timeout") && setting.word != "timeout";
            let set_status = if is_timeout { OWN_WORDS } else { OWN_ERRORS };
            let get = ("list", "", "Show", Make::Get(setting), CliStatus::Same);
            let set = ("set", "NUMBER", "Change", Make::Set(setting), set_status);
            [get, set].map(|(verb, parameters, does, make, status)| CliRow {
                words: format!("{verb} {}", setting.word),
                parameters,
                document: format!("{does} {}.", setting.document),
                status,
                make,
            })
        });
        plain_rows().into_iter().chain(settings).chain(rows_without_effect()).collect()
    });
    &ROWS
}

fn plain(
    words: &str,
    parameters: &'static str,
    document: &str,
    make: fn(&[&str]) -> Result<CliCommand, String>,
) -> CliRow {
    let (words, document) = (words.to_owned(), document.to_owned());
    CliRow { words, parameters, document, status: CliStatus::Same, make: Make::Plain(make) }
}

fn plain_rows() -> Vec<CliRow> {
    use CliCommand::*;
    use CliStatus::{Different, Ours};
    vec![
        plain("usage", "", "Show all commands.", |_| Err(usage(""))),
        plain("list numsessions", "", "Count the calls.", |_| Ok(ListNumSessions)),
        plain("list sessions", "all|own|foreign|recording|CALLID", "List calls, or show one.", sessions),
        plain("list totals", "", "Show statistics.", |_| Ok(ListTotals))
            .with(Different("has the fast path's counters too")),
        plain("list counters", "", "Show rates.", |_| Ok(ListCounters)),
        plain("list jsonstats", "", "Show statistics as JSON.", |_| Ok(ListJsonStatistics))
            .with(Different("has `drops` and `fastpath` too; lists of rtpengine's own threads and buffers are empty")),
        plain("list interfaces", "", "Show the interfaces and their ports.", |_| Ok(ListInterfaces)),
        plain("list transcoders", "", "Show the transcoders in use.", |_| Ok(ListTranscoders)),
        plain("list calls", "[json]", "List calls with what they have received.", |words| match *words {
            [] => Ok(ListCalls { is_json: false }),
            ["json"] => Ok(ListCalls { is_json: true }),
            [other, ..] => Err(format!("Fail: `{other}` is not `json`\n")),
        })
        .with(Ours),
        plain(
            "list fastpath",
            "[summary] [json]",
            "Show what is forwarded in the kernel, and why the rest is not.",
            fast_path,
        )
        .with(Ours),
        plain("metrics", "", "Show all metrics as Prometheus reads them.", |_| Ok(Metrics)).with(Ours),
        plain("list lrk", "", "Show what clients of LRKProxy have asked for.", |_| Ok(ListLrk)).with(Ours),
        plain("list loglevels", "", "Show the subsystems with log levels.", |_| Err(log_subsystems())),
        plain("list loglevel", "[SUBSYSTEM]", "Show log levels.", |words| match words.first() {
            Some(name) => Ok(GetLogLevel(Some(subsystem(name)?))),
            None => Ok(GetLogLevel(None)),
        }),
        plain("set loglevel", "[SUBSYSTEM] LEVEL", "Change a log level, 0 to 7.", set_log_level)
            .with(Different("a subsystem that does not exist is refused")),
        plain("terminate", "CALLID|all|own|foreign", "End calls.", terminate),
        plain("call", "CALLID info|terminate|tag TAG info", "Show or end a call, or show one party of it.", call),
        plain("capture", "CALLID [BYTES]", "Copy a call's packets, until you hang up (pcapng).", capture).with(Ours),
        plain("params start", "", "Show the options at the start.", |_| Ok(ParametersAtStart)).with(WHOLE_LIST),
        plain("params current", "", "Show the options.", |_| Ok(ParametersNow)).with(WHOLE_LIST),
        plain("params diff", "", "Show the options that were changed.", |_| Ok(ParametersChanged)),
        plain("params revert", "", "Undo the changes.", |_| Ok(ParametersRevert)).with(Different("says that it has")),
        plain("kslist", "", "Show the keyspaces of Redis.", |_| Err("\nSubscribed-on keyspaces:\n\n".to_owned()))
            .with(Different("there are none, ever: calls are not kept in Redis")),
        plain("media list", "files|dbs|caches|players", "Show what is kept to be played.", |words| match *words {
            [] => Err(MORE.to_owned()),
            ["files" | "dbs" | "caches" | "players", ..] => Err(String::new()),
            [other, ..] => Err(format!("Unknown command: {other}\n")),
        })
        .with(Different("there is nothing, ever: media is not played")),
    ]
}

/// Commands that mean nothing here. They say so.
fn rows_without_effect() -> Vec<CliRow> {
    let row = |words: &str, parameters: &'static str, document: &str, status| CliRow {
        words: words.to_owned(),
        parameters,
        document: document.to_owned(),
        status,
        make: Make::Never,
    };
    let mut rows = Vec::new();
    for word in ["redisallowederrors", "redisdisabletime", "redisconnecttimeout", "rediscmdtimeout"] {
        rows.push(row(&format!("list {word}"), "", "Of Redis.", NO_REDIS));
        rows.push(row(&format!("set {word}"), "NUMBER", "Of Redis.", NO_REDIS));
    }
    rows.push(row("set redisdisable", "0|1", "Of Redis.", NO_REDIS));
    rows.push(row("debug", "CALLID [on|off]", "Log everything about a call.", NO_CALL_DEBUG));
    rows.extend(["active", "standby"].map(|words| row(words, "", "Whose calls all are.", NO_OTHERS)));
    rows.extend(["ksadd", "ksrm"].map(|words| row(words, "NUMBER", "A keyspace of Redis.", NO_REDIS)));
    rows.extend(
        ["add", "reload", "evict"]
            .map(|verb| row(&format!("media {verb}"), "KIND [NAME]", "Files to be played.", NO_PLAYBACK)),
    );
    rows
}

impl CliRow {
    fn with(mut self, status: CliStatus) -> CliRow {
        self.status = status;
        self
    }

    /// What it is answered with that does nothing.
    fn refusal(&self) -> Option<String> {
        match self.status {
            CliStatus::Nothing(_) => Some(nothing(&self.words, self.status)),
            _ => None,
        }
    }

    /// The command, or what the line is answered with at once.
    pub(super) fn make(&self, parameters: &[&str]) -> Result<CliCommand, String> {
        if let Some(refusal) = self.refusal() {
            return Err(refusal);
        }
        match self.make {
            Make::Plain(make) => make(parameters),
            Make::Get(setting) => Ok(CliCommand::Get(setting.setting)),
            Make::Set(setting) => {
                let text = parameters.first().ok_or(MORE)?;
                let number = setting.parse(text).ok_or_else(|| not_in_range(text, setting))?;
                Ok(CliCommand::Set(setting.setting, number))
            }
            Make::Never => Err(MORE.to_owned()),
        }
    }
}

fn not_in_range(text: &str, setting: &SettingRow) -> String {
    let (min, max) = setting.range;
    let (word, whole) = (setting.word, if setting.decimals == 0 { "whole " } else { "" });
    match max {
        i64::MAX => format!("Fail setting {word} to {text}; it takes a {whole}number of at least {min}\n"),
        max => {
            let max = max as f64 / 10_f64.powi(setting.decimals.into());
            format!("Fail setting {word} to {text}; it takes a {whole}number from {min} to {max}\n")
        }
    }
}

fn number(text: &str, (min, max): (i64, i64)) -> Result<i64, String> {
    let number = text.parse().ok().filter(|number| (min..=max).contains(number));
    number.ok_or_else(|| match max {
        i64::MAX => format!("Fail: `{text}` is not a whole number of at least {min}\n"),
        max => format!("Fail: `{text}` is not a whole number from {min} to {max}\n"),
    })
}

fn sessions(parameters: &[&str]) -> Result<CliCommand, String> {
    let which = match *parameters.first().ok_or(MORE)? {
        "all" => Sessions::All,
        "own" => Sessions::Own,
        "foreign" => Sessions::Foreign,
        "recording" => Sessions::Recording,
        call_id => Sessions::Call(call_id.to_owned()),
    };
    Ok(CliCommand::ListSessions(which))
}

/// What can be kept of each packet: no more is copied in the kernel.
const SNAP_BYTES: (i64, i64) = (64, 2048);

fn capture(parameters: &[&str]) -> Result<CliCommand, String> {
    let call_id = (*parameters.first().ok_or(MORE)?).to_owned();
    let snap = parameters.get(1).map_or(Ok(SNAP_BYTES.1), |text| number(text, SNAP_BYTES))?;
    Ok(CliCommand::Capture { call_id, snap: snap as u16 })
}

fn fast_path(parameters: &[&str]) -> Result<CliCommand, String> {
    let mut list = FastPathList::default();
    for word in parameters {
        match *word {
            "json" => list.is_json = true,
            "summary" => list.is_summary = true,
            other => return Err(format!("Fail: `{other}` is neither `summary` nor `json`\n")),
        }
    }
    Ok(CliCommand::ListFastPath(list))
}

fn terminate(parameters: &[&str]) -> Result<CliCommand, String> {
    let which = match *parameters.first().ok_or(MORE)? {
        "all" => Terminated::All,
        "own" => Terminated::Own,
        "foreign" => Terminated::Foreign,
        call_id => Terminated::Call(call_id.to_owned()),
    };
    Ok(CliCommand::Terminate(which))
}

fn call(parameters: &[&str]) -> Result<CliCommand, String> {
    let call_id = (*parameters.first().ok_or(MORE)?).to_owned();
    let order = match *parameters.get(1).ok_or(MORE)? {
        "info" => CallOrder::Show,
        "terminate" => CallOrder::End,
        "debug" => return Err(nothing("call CALLID debug", NO_CALL_DEBUG)),
        "tag" => match *parameters.get(3).ok_or(MORE)? {
            "info" => CallOrder::ShowTag(parameters[2].to_owned()),
            "delay" | "detect-dtmf" => return Err(nothing("call CALLID tag TAG", NO_TAG_CHANGES)),
            other => return Err(format!("Unknown command: {other}\n")),
        },
        other => return Err(format!("Unknown command: {other}\n")),
    };
    Ok(CliCommand::Call { call_id, order })
}

fn nothing(words: &str, status: CliStatus) -> String {
    let why = if let CliStatus::Nothing(why) = status { why } else { "" };
    format!("Fail: `{words}` does nothing: {why}\n")
}

fn set_log_level(parameters: &[&str]) -> Result<CliCommand, String> {
    let level = |text: &str| number(text, (0, 7)).map(|level| level as u8);
    match *parameters {
        [] => Err(MORE.to_owned()),
        [text] if text.starts_with(|first: char| first.is_ascii_digit() || first == '-') => {
            Ok(CliCommand::SetLogLevel(None, level(text)?))
        }
        [name] => subsystem(name).and(Err(MORE.to_owned())),
        [name, text, ..] => Ok(CliCommand::SetLogLevel(Some(subsystem(name)?), level(text)?)),
    }
}

fn subsystem(name: &str) -> Result<usize, String> {
    let place = SUBSYSTEMS.iter().position(|row| row.0 == name);
    place.ok_or_else(|| format!("Unknown subsystem: {name}\n"))
}

fn log_subsystems() -> String {
    SUBSYSTEMS.iter().map(|(name, what)| format!("{name} - {what}\n")).collect()
}
