//! Every command of the CLI by Debian's unmodified rtpengine-ctl, beside Debian's rtpengine where that has it.

use crate::Scenario;
use crate::eyes::Talk;
use crate::fastpath::ours;
use crate::stage::{CALLEE, Networks, start_daemon_with};
use millrace::control::cli::{CliRow, CliStatus, rows};
use millrace_testsuite::daemon::{Daemon, Kind, Settings};
use millrace_testsuite::netns::{self, Namespace};
use millrace_testsuite::system;
use std::path::Path;

pub const ALL: &[Scenario] =
    &[Scenario { name: "ctl-tree", what: "every command of rtpengine-ctl, beside rtpengine", needs: both, run: tree }];

fn both(kind: Kind) -> Result<(), String> {
    ours(kind)?;
    if system::is_installed("rtpengine") { Ok(()) } else { Err("rtpengine is not installed".into()) }
}

/// How an answer is compared.
#[derive(Clone, Copy, PartialEq)]
enum Like {
    /// Word for word, but for numbers.
    Same,
    /// It begins alike.
    Begin(usize),
    /// All that rtpengine names before a colon, we name.
    Labels,
}

/// What both are asked. Not asked are `set controltos` and `ksadd`, at which 10.5 dies, and `ksrm` with it.
const ASKED: &[(&str, Like)] = &[
    ("list numsessions", Like::Same),
    ("get numsessions", Like::Same),
    ("list sessions all", Like::Same),
    ("list sessions own", Like::Same),
    ("list sessions foreign", Like::Same),
    ("list sessions nobody", Like::Same),
    ("list sessions", Like::Same),
    ("list totals", Like::Labels),
    ("list counters", Like::Same),
    ("list maxopenfiles", Like::Begin(44)),
    ("list maxsessions", Like::Same),
    ("list maxcpu", Like::Same),
    ("list maxload", Like::Same),
    ("list maxbw", Like::Same),
    ("list timeout", Like::Same),
    ("list silenttimeout", Like::Same),
    ("list offertimeout", Like::Same),
    ("list finaltimeout", Like::Same),
    ("list loglevels", Like::Begin(4)),
    ("list loglevel ice", Like::Same),
    ("list controltos", Like::Same),
    ("list deletedelay", Like::Same),
    ("list transcoders", Like::Same),
    ("set maxsessions 5", Like::Same),
    ("set maxsessions -1", Like::Same),
    ("set maxsessions x", Like::Begin(29)),
    ("set maxopenfiles 9", Like::Begin(12)),
    ("set maxcpu 50", Like::Same),
    ("list maxcpu", Like::Same),
    ("set maxcpu 0", Like::Same),
    ("set maxload 3.5", Like::Same),
    ("list maxload", Like::Same),
    ("set maxload 0", Like::Same),
    ("set maxbw 1000", Like::Same),
    ("list maxbw", Like::Same),
    ("set maxbw 0", Like::Same),
    ("set timeout 70", Like::Same),
    ("params diff", Like::Same),
    ("set timeout 60", Like::Same),
    ("set timeout", Like::Same),
    ("set silenttimeout 3600", Like::Begin(16)),
    ("set loglevel 4", Like::Same),
    ("set loglevel ice 3", Like::Same),
    ("set loglevel", Like::Same),
    ("set deletedelay 0", Like::Same),
    ("terminate", Like::Same),
    ("terminate nobody", Like::Same),
    ("terminate own", Like::Same),
    ("terminate foreign", Like::Same),
    ("call", Like::Same),
    ("call nobody info", Like::Same),
    ("call nobody terminate", Like::Same),
    ("kslist", Like::Same),
    ("terminate all", Like::Same),
];

fn tree(kind: Kind, folder: &Path) -> Result<String, String> {
    let networks = Networks::make()?;
    let daemon = start_daemon_with(&networks, kind, "--fastpath=off", folder)?;
    let _reference = Daemon::start(reference(&networks, folder)?)?;
    let mut differences = Vec::new();
    for (line, like) in ASKED {
        let [own, other] = [&networks.proxy, &networks.callee].map(|home| ask(home, line));
        let (own, other) = (own?, other?);
        if !is_like(&own, &other, *like) {
            differences.push(format!("`{line}`: {:?}, rtpengine: {:?}", own.trim(), other.trim()));
        }
    }
    if !differences.is_empty() {
        return Err(differences.join("\n      "));
    }
    let talk = Talk::open(&networks, &daemon)?;
    talk.both_ways(0, 20)?;
    let shown = ask(&networks.proxy, "call same tag a info")?;
    if !shown.contains("--- Tag 'a', type: FROM_TAG") || !shown.contains(", 20 p, ") || shown.contains("Tag 'b'") {
        return Err(format!("one party with 20 packets: {shown}"));
    }
    let lines: usize = rows().iter().map(|row| look_at(&networks.proxy, row)).sum::<Result<usize, String>>()?;
    let ended = ask(&networks.proxy, "call same terminate")?;
    if ended.trim() != "Call 'same' terminated." {
        return Err(format!("call same terminate: {ended}"));
    }
    Ok(format!("{} answers as rtpengine's; {} commands, {lines} lines", ASKED.len(), rows().len()))
}

fn reference<'a>(networks: &'a Networks, folder: &Path) -> Result<Settings<'a>, String> {
    let address = |text: &str| text.parse().map_err(|error| format!("{text}: {error}"));
    Ok(Settings {
        kind: Kind::Rtpengine,
        interfaces: vec![CALLEE.to_owned()],
        control: address("127.0.0.1:2223")?,
        cli: address("127.0.0.1:9900")?,
        ports: (40_000, 40_100),
        options: vec!["--delete-delay=0".to_owned()],
        namespace: Some(&networks.callee),
        cores: None,
        capabilities: None,
        log: folder.join("rtpengine.log"),
    })
}

fn ask(home: &Namespace, line: &str) -> Result<String, String> {
    let mut command = home.command("rtpengine-ctl");
    command.args(["-ip", "127.0.0.1", "-port", "9900", "-config-file", "none"]).args(line.split(' '));
    netns::run(&mut command).map_err(|why| format!("`{line}`: {why}"))
}

/// A command with parameters that let it do something harmless; its answer says something, and where it does nothing it says so.
fn look_at(home: &Namespace, row: &CliRow) -> Result<usize, String> {
    let parameters = match row.words.as_str() {
        "list sessions" => "all",
        "set maxopenfiles" => "65536",
        words if words.starts_with("set max") => "-1",
        "set timeout" | "set silenttimeout" | "set offertimeout" => "60",
        "set loglevel" => "4",
        words if words.starts_with("set ") => "0",
        "terminate" | "debug" => "nobody",
        "capture" => "nobody",
        "call" => "same info",
        "media list" => return Ok(0),
        words if words.starts_with("media ") => "files",
        "ksadd" | "ksrm" => "1",
        _ => "",
    };
    let line = format!("{} {parameters}", row.words);
    let said = ask(home, line.trim_end())?;
    let says_nothing_is_done = said.starts_with("Fail: ") && said.contains("does nothing: ");
    if said.trim().is_empty() && row.words != "params diff" || said.contains("does not answer") {
        return Err(format!("`{line}` is not answered: {said}"));
    }
    match row.status {
        CliStatus::Nothing(_) if !says_nothing_is_done => {
            Err(format!("`{line}` should say that it does nothing: {said}"))
        }
        CliStatus::Nothing(_) => Ok(said.lines().count()),
        _ if says_nothing_is_done => Err(format!("`{line}` does nothing: {said}")),
        _ => Ok(said.lines().count()),
    }
}

fn is_like(own: &str, other: &str, like: Like) -> bool {
    match like {
        Like::Same => without_numbers(own) == without_numbers(other),
        Like::Begin(bytes) => own.get(..bytes).is_some_and(|begin| other.starts_with(begin)),
        Like::Labels => labels(other).all(|label| labels(own).any(|known| known == label)),
    }
}

/// Each run of digits as one sign.
fn without_numbers(text: &str) -> String {
    let mut shown = String::new();
    for character in text.trim_end().chars() {
        match character {
            '0'..='9' if shown.ends_with('#') => {}
            '0'..='9' => shown.push('#'),
            other => shown.push(other),
        }
    }
    shown
}

/// What stands before colons; figures of intervals are given with Graphite only.
fn labels(text: &str) -> impl Iterator<Item = &str> {
    let is_interval = |label: &&str| ["Min", "Max managed", "Graphite"].iter().any(|begin| label.starts_with(begin));
    let labels = text.lines().filter_map(|line| line.split_once(':').map(|(label, _)| label.trim()));
    labels.filter(move |label| !is_interval(label))
}
