//! Debian's unmodified rtpengine-ctl against the CLI port, while a call is up.

use crate::scenarios::{self, Call, TALK, TWO_WAY};
use crate::sip::{Role, Step};
use millrace_testsuite::daemon::Kind;
use millrace_testsuite::netns;
use millrace_testsuite::ng::Encoding;
use millrace_testsuite::sdp;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

/// Looks at the call, changes settings, ends the call.
pub fn run(kind: Kind, folder: &Path) -> Result<String, String> {
    let steps = [TWO_WAY, Step::Talk(TALK + Duration::from_secs(6)), Step::Bye(Role::Caller)];
    scenarios::place(kind, folder, &steps, None, |call| {
        call.talk(1)?;
        let id = look_at_lists(call)?;
        look_at_session(call, &id)?;
        change_settings(call)?;
        refuse_beyond_limit(call)?;
        let said = ctl(call, &["terminate", &id])?;
        expect(&said, "successfully terminated")?;
        // rtpengine answers before the session is gone.
        std::thread::sleep(Duration::from_millis(200));
        let left = number_after(&ctl(call, &["list", "numsessions"])?, "Current sessions own:")?;
        if left == 0 {
            Ok("list, set and terminate do what they say".into())
        } else {
            Err(format!("{left} sessions after terminate"))
        }
    })
}

fn ctl(call: &Call, words: &[&str]) -> Result<String, String> {
    let mut command = call.stage.networks.proxy.command("rtpengine-ctl");
    command.args(["-ip", "127.0.0.1", "-port", "9900", "-config-file", "none"]).args(words);
    netns::run(&mut command)
}

/// The lists that monitoring scripts read; gives the call's id.
fn look_at_lists(call: &Call) -> Result<String, String> {
    let sessions = ctl(call, &["list", "numsessions"])?;
    for (name, want) in [("own", 1), ("foreign", 0), ("total", 1)] {
        expect_number(&sessions, &format!("Current sessions {name}:"), want)?;
    }
    let totals = ctl(call, &["list", "totals"])?;
    expect_number(&totals, "Owned sessions", 1)?;
    expect_number(&totals, "Total regular terminated sessions", 0)?;

    let interfaces = ctl(call, &["list", "interfaces"])?;
    for interface in
        ["'external' address '203.0.113.1'", "'internal' address '10.0.0.1'", "'internal' address '2001:db8:2::1'"]
    {
        expect(&interfaces, &format!("Interface {interface}"))?;
    }
    expect_number(&interfaces, "Ports used:", 2)?;

    let statistics = ctl(call, &["list", "jsonstats"])?;
    let statistics: Value = serde_json::from_str(statistics.trim()).map_err(|error| format!("jsonstats: {error}"))?;
    if statistics["currentstatistics"]["sessionsown"] != 1 {
        return Err(format!("jsonstats: sessionsown is {}", statistics["currentstatistics"]["sessionsown"]));
    }

    let all = ctl(call, &["list", "sessions", "all"])?;
    let id = all.lines().find_map(|line| line.split('|').next()?.split_once(':'));
    id.map(|(_, id)| id.trim().to_owned()).ok_or(format!("no session in: {all}"))
}

/// One session in full: its tags, and every packet that was sent.
fn look_at_session(call: &Call, id: &str) -> Result<(), String> {
    let session = ctl(call, &["list", "sessions", id])?;
    expect(&session, &format!("callid: {id}"))?;
    for tag in ["--- Tag 'caller-1', type: FROM_TAG", "--- Tag 'callee-1', type: TO_TAG"] {
        expect(&session, tag)?;
    }
    let packets = format!(", {} p, {} b, 0 e", scenarios::PACKETS, scenarios::PACKETS * 172);
    let ports: Vec<&str> =
        session.lines().filter(|line| line.starts_with("-------- Port") && line.contains(&packets)).collect();
    if ports.len() == 2 { Ok(()) } else { Err(format!("two ports should have received '{packets}': {session}")) }
}

/// What is set is what is listed afterwards.
fn change_settings(call: &Call) -> Result<(), String> {
    for (name, value, list, shown) in [
        ("timeout", "120", "timeout", "TIMEOUT=120"),
        ("loglevel", "4", "loglevel", "core = 4"),
        ("maxsessions", "1", "maxsessions", ": 1"),
    ] {
        expect(&ctl(call, &["set", name, value])?, &format!("Success setting {name} to {value}"))?;
        expect(&ctl(call, &["list", list])?, shown)?;
    }
    Ok(())
}

/// With `maxsessions 1` a second call is refused, in the words that proxies look for; then the limit is lifted.
fn refuse_beyond_limit(call: &Call) -> Result<(), String> {
    let mut client = call.stage.daemon.client(Encoding::Bencode)?;
    let body = sdp::audio(call.ends.caller_at, 1, &[]);
    let mut offer = json!({"command": "offer", "call-id": "one-too-many", "from-tag": "x", "sdp": body});
    let reply = client.ask(&offer).map_err(|error| error.to_string())?;
    if reply["error-reason"] != "Parallel session limit reached" {
        return Err(format!("a call beyond maxsessions got {reply}"));
    }
    offer["supports"] = json!(["load limit"]);
    let reply = client.ask(&offer).map_err(|error| error.to_string())?;
    if reply["result"] != "load limit" {
        return Err(format!("a client that supports it should get result 'load limit', got {reply}"));
    }
    expect(&ctl(call, &["set", "maxsessions", "-1"])?, "Success setting maxsessions to -1")
}

fn expect(text: &str, part: &str) -> Result<(), String> {
    if text.contains(part) { Ok(()) } else { Err(format!("'{part}' is not in: {}", text.trim())) }
}

fn expect_number(text: &str, label: &str, want: u64) -> Result<(), String> {
    let got = number_after(text, label)?;
    if got == want { Ok(()) } else { Err(format!("{label} {got}, not {want}")) }
}

/// The number that follows a label, blanks and a colon.
pub fn number_after(text: &str, label: &str) -> Result<u64, String> {
    let rest = text.split_once(label).map(|(_, rest)| rest.trim_start_matches([' ', ':', '\t']));
    let digits = rest.map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
    digits.and_then(|digits| digits.parse().ok()).ok_or(format!("no number after '{label}' in: {}", text.trim()))
}
