//! The command tree: every command line that is understood, as a table.

use super::command::{CliCommand, FastPathList, SETTINGS, Sessions, SettingRow, Terminated};
use crate::config::log::SUBSYSTEMS;
use std::fmt::Write;
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

/// What becomes of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CliStatus {
    Works,
    /// It is answered with this.
    NotBuilt(&'static str),
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
const NO_REDIS: CliStatus = CliStatus::NotBuilt("persistence is not built");
const NO_PLAYBACK: CliStatus = CliStatus::NotBuilt("media playback is not built");
const NO_LIMIT: CliStatus = CliStatus::NotBuilt("calls are refused by their number only (maxsessions)");

/// Every command, in the order of `usage`.
pub fn rows() -> &'static [CliRow] {
    static ROWS: LazyLock<Vec<CliRow>> = LazyLock::new(|| {
        let settings = SETTINGS.iter().flat_map(|setting| {
            let get = ("list", "", "Show", Make::Get(setting));
            let set = ("set", "NUMBER", "Change", Make::Set(setting));
            [get, set].map(|(verb, parameters, does, make)| CliRow {
                words: format!("{verb} {}", setting.word),
                parameters,
                document: format!("{does} {}.", setting.document),
                status: CliStatus::Works,
                make,
            })
        });
        plain_rows().into_iter().chain(settings).chain(rows_not_built()).collect()
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
    CliRow { words, parameters, document, status: CliStatus::Works, make: Make::Plain(make) }
}

fn plain_rows() -> Vec<CliRow> {
    use CliCommand::*;
    vec![
        plain("usage", "", "Show all commands.", |_| Err(usage(""))),
        plain("list numsessions", "", "Count the calls.", |_| Ok(ListNumSessions)),
        plain("list sessions", "all|own|foreign|recording|CALLID", "List calls, or show one.", sessions),
        plain("list totals", "", "Show statistics.", |_| Ok(ListTotals)),
        plain("list counters", "", "Show rates.", |_| Ok(ListCounters)),
        plain("list jsonstats", "", "Show statistics as JSON.", |_| Ok(ListJsonStatistics)),
        plain("list interfaces", "", "Show the interfaces and their ports.", |_| Ok(ListInterfaces)),
        plain("list transcoders", "", "Show the transcoders in use.", |_| Ok(ListTranscoders)),
        plain("list calls", "[json]", "List calls with what they have received.", |words| match *words {
            [] => Ok(ListCalls { is_json: false }),
            ["json"] => Ok(ListCalls { is_json: true }),
            [other, ..] => Err(format!("Fail: `{other}` is not `json`\n")),
        }),
        plain(
            "list fastpath",
            "[summary] [json]",
            "Show what is forwarded in the kernel, and why the rest is not.",
            fast_path,
        ),
        plain("list lrk", "", "Show what clients of LRKProxy have asked for.", |_| Ok(ListLrk)),
        plain("list loglevels", "", "Show the subsystems with log levels.", |_| Err(log_subsystems())),
        plain("list loglevel", "[SUBSYSTEM]", "Show a log level.", |words| match words.first() {
            Some(name) => Ok(GetLogLevel(Some(subsystem(name)?))),
            None => Ok(GetLogLevel(None)),
        }),
        plain("set loglevel", "[SUBSYSTEM] LEVEL", "Change a log level, 0 to 7.", set_log_level),
        plain("terminate", "CALLID|all|own|foreign", "End calls.", terminate),
        plain("debug", "CALLID [on|off]", "Log everything about a call.", debug),
        plain("call", "CALLID info|terminate|debug [on|off]", "Show, end or debug a call.", call),
        plain("capture", "CALLID [BYTES]", "Copy a call's packets, until you hang up (pcapng).", capture),
        plain("params start", "", "Show the options at the start.", |_| Ok(ParametersAtStart)),
        plain("params current", "", "Show the options.", |_| Ok(ParametersNow)),
        plain("params diff", "", "Show the options that were changed.", |_| Ok(ParametersChanged)),
        plain("params revert", "", "Undo the changes.", |_| Ok(ParametersRevert)),
    ]
}

fn rows_not_built() -> Vec<CliRow> {
    let row = |words: &str, parameters: &'static str, status| CliRow {
        words: words.to_owned(),
        parameters,
        document: "Not built.".to_owned(),
        status,
        make: Make::Never,
    };
    let mut rows = Vec::new();
    for word in ["maxcpu", "maxload", "maxbw"] {
        rows.push(row(&format!("list {word}"), "", NO_LIMIT));
        rows.push(row(&format!("set {word}"), "NUMBER", NO_LIMIT));
    }
    for word in ["redisallowederrors", "redisdisabletime", "redisconnecttimeout", "rediscmdtimeout"] {
        rows.push(row(&format!("list {word}"), "", NO_REDIS));
        rows.push(row(&format!("set {word}"), "NUMBER", NO_REDIS));
    }
    rows.push(row("set redisdisable", "0|1", NO_REDIS));
    rows.extend(["active", "standby", "kslist"].map(|words| row(words, "", NO_REDIS)));
    rows.extend(["ksadd", "ksrm"].map(|words| row(words, "NUMBER", NO_REDIS)));
    rows.extend(
        ["list", "add", "reload", "evict"].map(|verb| row(&format!("media {verb}"), "KIND [NAME]", NO_PLAYBACK)),
    );
    rows
}

/// The command of a line, or the text that answers it at once. `get` is `list`; `help` lists what may follow.
pub(super) fn parse(line: &str) -> Result<CliCommand, String> {
    let mut words: Vec<&str> = line.split_whitespace().collect();
    if words.first() == Some(&"get") {
        words[0] = "list";
    }
    if let Some(at) = words.iter().position(|word| *word == "help")
        && is_group(&words[..at])
    {
        return Err(usage(&words[..at].join(" ")));
    }
    match rows().iter().find(|row| begins_with(&words, row)) {
        Some(row) => row.make(&words[row.words.split(' ').count()..]),
        None => Err(unknown(&words)),
    }
}

fn begins_with(words: &[&str], row: &CliRow) -> bool {
    let mut given = words.iter();
    row.words.split(' ').all(|word| given.next() == Some(&word))
}

/// Commands begin with these words and go on.
fn is_group(words: &[&str]) -> bool {
    words.is_empty() || rows().iter().any(|row| row.words.starts_with(&format!("{} ", words.join(" "))))
}

fn unknown(words: &[&str]) -> String {
    let known = (0..=words.len()).rev().find(|&count| is_group(&words[..count])).unwrap_or(0);
    match words.get(known..) {
        Some([]) | None => format!("Incomplete command: {}\n{}", words.join(" "), usage(&words.join(" "))),
        Some(rest) => format!("Unknown command: {}\n", rest.join(" ")),
    }
}

/// The commands that begin with these words.
fn usage(group: &str) -> String {
    let mut text = String::from("\nSupported commands are:\n\n");
    for row in rows().iter().filter(|row| row.words.starts_with(group)) {
        let command = format!("{} {}", row.words, row.parameters);
        let _ = writeln!(text, "    {command:<58} {}", row.document);
    }
    text.push('\n');
    text
}

impl CliRow {
    fn make(&self, parameters: &[&str]) -> Result<CliCommand, String> {
        if let CliStatus::NotBuilt(why) = self.status {
            return Err(format!("`{}` does nothing: {why}\n", self.words));
        }
        match self.make {
            Make::Plain(make) => make(parameters),
            Make::Get(setting) => Ok(CliCommand::Get(setting.setting)),
            Make::Set(setting) => {
                let number = number(parameters.first().ok_or(MORE)?, setting.range)?;
                Ok(CliCommand::Set(setting.setting, number))
            }
            Make::Never => Err(MORE.to_owned()),
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

fn debug(parameters: &[&str]) -> Result<CliCommand, String> {
    let call_id = (*parameters.first().ok_or(MORE)?).to_owned();
    let is_on = match parameters.get(1).copied() {
        None | Some("on" | "enable") => true,
        Some("off" | "disable") => false,
        Some(other) => return Err(format!("Fail: `{other}` is neither `on` nor `off`\n")),
    };
    Ok(CliCommand::Debug { call_id, is_on })
}

fn call(parameters: &[&str]) -> Result<CliCommand, String> {
    let call_id = *parameters.first().ok_or(MORE)?;
    match *parameters.get(1).ok_or(MORE)? {
        "info" => Ok(CliCommand::ListSessions(Sessions::Call(call_id.to_owned()))),
        "terminate" => Ok(CliCommand::Terminate(Terminated::Call(call_id.to_owned()))),
        "debug" => debug(&[&[call_id], &parameters[2..]].concat()),
        "tag" => Err("`call CALLID tag` does nothing: changing single parties is not built\n".to_owned()),
        other => Err(format!("Unknown command: {other}\n")),
    }
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

#[cfg(test)]
mod tests {
    use super::super::command::Setting;
    use super::*;

    #[test]
    fn lines_become_commands() {
        let id = || "a@b".to_owned();
        let expected = [
            ("list totals", CliCommand::ListTotals),
            ("  get   totals now ", CliCommand::ListTotals),
            ("list numsessions", CliCommand::ListNumSessions),
            ("list sessions all", CliCommand::ListSessions(Sessions::All)),
            ("list sessions a@b", CliCommand::ListSessions(Sessions::Call(id()))),
            ("terminate a@b", CliCommand::Terminate(Terminated::Call(id()))),
            ("terminate all", CliCommand::Terminate(Terminated::All)),
            ("debug a@b", CliCommand::Debug { call_id: id(), is_on: true }),
            ("call a@b debug off", CliCommand::Debug { call_id: id(), is_on: false }),
            ("call a@b info", CliCommand::ListSessions(Sessions::Call(id()))),
            ("list timeout", CliCommand::Get(Setting::Timeout)),
            ("set maxsessions -1", CliCommand::Set(Setting::MaxSessions, -1)),
            ("set controltos 184", CliCommand::Set(Setting::ControlTos, 184)),
            ("set loglevel 7", CliCommand::SetLogLevel(None, 7)),
            ("set loglevel ice 3", CliCommand::SetLogLevel(Some(7), 3)),
            ("list loglevel control", CliCommand::GetLogLevel(Some(11))),
            ("capture a@b", CliCommand::Capture { call_id: id(), snap: 2048 }),
            ("capture a@b 64", CliCommand::Capture { call_id: id(), snap: 64 }),
            ("list calls json", CliCommand::ListCalls { is_json: true }),
            ("list fastpath", CliCommand::ListFastPath(FastPathList::default())),
            ("list fastpath json", CliCommand::ListFastPath(FastPathList { is_json: true, is_summary: false })),
            ("params diff", CliCommand::ParametersChanged),
        ];
        for (line, command) in expected {
            assert_eq!(parse(line), Ok(command), "{line}");
        }
    }

    #[test]
    fn other_lines_are_answered() {
        let expected = [
            ("bogus", "Unknown command: bogus\n"),
            ("list bogus x", "Unknown command: bogus x\n"),
            ("list sessions", MORE),
            ("terminate", MORE),
            ("set timeout", MORE),
            ("set loglevel ice", MORE),
            ("set loglevel 8", "Fail: `8` is not a whole number from 0 to 7\n"),
            ("set loglevel gnu 3", "Unknown subsystem: gnu\n"),
            ("set maxopenfiles 9", "Fail: `9` is not a whole number of at least 65536\n"),
            ("set timeout x", "Fail: `x` is not a whole number from 0 to 4294967295\n"),
            ("capture", MORE),
            ("capture a 5000", "Fail: `5000` is not a whole number from 64 to 2048\n"),
            ("list calls x", "Fail: `x` is not `json`\n"),
            ("list fastpath x", "Fail: `x` is neither `summary` nor `json`\n"),
            ("call a bogus", "Unknown command: bogus\n"),
            ("ksadd 3", "`ksadd` does nothing: persistence is not built\n"),
        ];
        for (line, text) in expected {
            assert_eq!(parse(line), Err(text.to_owned()), "{line}");
        }
        assert!(parse("list loglevels").unwrap_err().contains("control - Control protocols"));
        assert!(parse("").unwrap_err().starts_with("Incomplete command: \n"));
        assert!(parse("set").unwrap_err().starts_with("Incomplete command: set\n"));
    }

    #[test]
    fn usage_and_help_list_what_there_is() {
        let usage = parse("usage").unwrap_err();
        assert_eq!(usage, parse("help").unwrap_err());
        assert!(rows().iter().all(|row| usage.contains(&row.words)));
        let help = parse("list help").unwrap_err();
        assert!(help.contains("list totals") && !help.contains("set timeout"));
        assert_eq!(parse("list sessions help"), Ok(CliCommand::ListSessions(Sessions::Call("help".to_owned()))));
    }

    #[test]
    fn settings_stand_where_their_names_say() {
        for (index, row) in SETTINGS.iter().enumerate() {
            assert_eq!(row.setting as usize, index);
        }
        assert_eq!(Setting::Timeout.show(60), "TIMEOUT=60\n");
        assert_eq!(Setting::MaxSessions.show(-1), "Maximum sessions configured on rtpengine: -1\n");
    }
}
