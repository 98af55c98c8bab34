//! From a line to a command, by the table of `rows`.

use super::command::CliCommand;
use super::rows::{CliRow, rows};
use std::fmt::Write;

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
pub(super) fn usage(group: &str) -> String {
    let mut text = String::from("\nSupported commands are:\n\n");
    for row in rows().iter().filter(|row| row.words.starts_with(group)) {
        let command = format!("{} {}", row.words, row.parameters);
        let _ = writeln!(text, "    {command:<58} {}", row.document);
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::super::command::{CallOrder, FastPathList, SETTINGS, Sessions, Setting, Terminated};
    use super::*;

    const MORE: &str = "More parameters required.\n";

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
            ("call a@b info", CliCommand::Call { call_id: id(), order: CallOrder::Show }),
            ("call a@b terminate", CliCommand::Call { call_id: id(), order: CallOrder::End }),
            ("call a@b tag x info", CliCommand::Call { call_id: id(), order: CallOrder::ShowTag("x".to_owned()) }),
            ("metrics", CliCommand::Metrics),
            ("set maxload 3.5", CliCommand::Set(Setting::MaxLoad, 350)),
            ("set maxcpu 50", CliCommand::Set(Setting::MaxProcessor, 500)),
            ("set maxbw 1000", CliCommand::Set(Setting::MaxBandwidth, 1000)),
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
            ("set maxopenfiles 9", "Fail setting maxopenfiles to 9; it takes a whole number of at least 65536\n"),
            ("set timeout x", "Fail setting timeout to x; it takes a whole number from 0 to 4294967295\n"),
            ("capture", MORE),
            ("capture a 5000", "Fail: `5000` is not a whole number from 64 to 2048\n"),
            ("list calls x", "Fail: `x` is not `json`\n"),
            ("list fastpath x", "Fail: `x` is neither `summary` nor `json`\n"),
            ("call a bogus", "Unknown command: bogus\n"),
            ("set maxcpu 101", "Fail setting maxcpu to 101; it takes a number from 0 to 100\n"),
            ("set maxload nan", "Fail setting maxload to nan; it takes a number from 0 to 42949672.95\n"),
            ("call a tag t", MORE),
            (
                "call a tag t delay 5",
                "Fail: `call CALLID tag TAG` does nothing: single parties can be shown, not changed\n",
            ),
            ("ksadd 3", "Fail: `ksadd` does nothing: calls are not kept in Redis\n"),
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
        assert_eq!(Setting::MaxLoad.show(350), "Maximum load average configured on rtpengine: 3.50\n");
        assert_eq!(Setting::MaxLoad.confirm(350), "Success setting maxload to 3.50\n");
        assert_eq!(Setting::MaxSessions.confirm(-1), "Success setting maxsessions to -1; disable feature\n");
        assert_eq!(Setting::Timeout.show(60), "TIMEOUT=60\n");
        assert_eq!(Setting::MaxSessions.show(-1), "Maximum sessions configured on rtpengine: -1\n");
    }
}
