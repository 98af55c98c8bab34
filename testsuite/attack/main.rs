//! Attacks on the media and control ports of a running daemon: victims, daemon and attacker each in a network namespace of its own.
//!
//! Prints PASS or FAIL with what was counted for each scenario; the last line is `N passed, N failed`.

mod control;
mod dtls;
mod flood;
mod headers;
mod inject;
mod rtcp;
mod spray;
mod srtp;
mod stage;
mod stun;

use clap::{Arg, ArgAction, Command};
use millrace_testsuite::daemon::Kind;
use millrace_testsuite::{netns, system};
use stage::{Networks, Stage};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

/// One attack.
pub struct Scenario {
    pub name: &'static str,
    pub what: &'static str,
    /// What has to come of it.
    pub expected: &'static str,
    /// UDP datagrams that may reach the attacker.
    pub answers: Answers,
    pub run: fn(&mut Stage) -> Result<String, String>,
}

/// What the attacker may get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    None,
    /// The scenario counts them itself.
    Some,
}

/// The scenarios, in the order they run.
const ALL: &[&[Scenario]] =
    &[spray::ALL, flood::ALL, inject::ALL, srtp::ALL, dtls::ALL, stun::ALL, rtcp::ALL, headers::ALL, control::ALL];

fn main() -> ExitCode {
    system::catch_interrupts();
    system::raise_descriptor_limit();
    let arguments = arguments().get_matches();
    if let Err(why) = netns::available() {
        println!("SKIPPED: attacks: {why}");
        println!("0 passed, 0 failed");
        return ExitCode::SUCCESS;
    }
    netns::remove_leftovers();
    let chosen: Vec<&String> = arguments.get_many("scenario").into_iter().flatten().collect();
    let logs = arguments.get_one::<String>("logs").map_or_else(default_logs, PathBuf::from);
    println!("attacks on {}; logs in {}", Kind::Millrace.program().display(), logs.display());
    let networks = match std::fs::create_dir_all(&logs).map_err(|error| error.to_string()).and(Networks::make()) {
        Ok(networks) => networks,
        Err(why) => {
            println!("FAIL  {why}");
            return ExitCode::FAILURE;
        }
    };
    let (mut passed, mut failed) = (0, 0);
    for scenario in ALL.iter().flat_map(|group| group.iter()) {
        if system::interrupted() || !chosen.is_empty() && !chosen.iter().any(|name| scenario.name.starts_with(*name)) {
            continue;
        }
        let start = Instant::now();
        let (verdict, text) = match run(scenario, &networks, &logs) {
            Ok(note) => ("PASS", note),
            Err(why) => ("FAIL", format!("{why}\n      expected: {}", scenario.expected)),
        };
        *(if verdict == "PASS" { &mut passed } else { &mut failed }) += 1;
        let seconds = start.elapsed().as_secs_f64();
        println!("{verdict}  {:20} {}: {text} ({seconds:.1} s)", scenario.name, scenario.what);
    }
    if system::interrupted() {
        println!("interrupted");
        failed += 1;
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A panic in one scenario fails that scenario and leaves the others to run.
fn run(scenario: &Scenario, networks: &Networks, logs: &Path) -> Result<String, String> {
    let attempt = || {
        let mut stage = Stage::open(networks, &logs.join(format!("{}.log", scenario.name)))?;
        let note = (scenario.run)(&mut stage)?;
        stage.daemon.check_alive()?;
        let answers = stage.attacker_received()?;
        match scenario.answers {
            Answers::None if answers > 0 => Err(format!("{answers} datagrams reached the attacker; {note}")),
            _ => Ok(note),
        }
    };
    std::panic::catch_unwind(attempt).unwrap_or_else(|_| Err("panicked".into()))
}

fn arguments() -> Command {
    Command::new("millrace-attack")
        .about("Attacks a running daemon's media ports, in network namespaces.")
        .arg(Arg::new("logs").long("logs").value_name("DIR").help("Where logs go [testsuite/out/attack]"))
        .arg(
            Arg::new("scenario")
                .long("scenario")
                .value_name("NAME")
                .action(ArgAction::Append)
                .help(format!("Only those whose names begin like this; may be repeated: {}", names())),
        )
}

fn names() -> String {
    let names: Vec<&str> = ALL.iter().flat_map(|group| group.iter()).map(|scenario| scenario.name).collect();
    names.join(", ")
}

fn default_logs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("out/attack")
}
