//! Real calls through a media daemon: Debian's Kamailio, SIPp, Chromium and baresip, in network namespaces that do not
//! forward.
//!
//! Prints PASS or FAIL with the reason for each scenario; the last line is `N passed, N failed`.

mod baresip;
mod browser;
mod conversations;
mod cover;
mod ctl;
mod echo;
mod events;
mod eyes;
mod fastpath;
mod killed;
mod lrkproxy;
mod measured;
mod privileges;
mod receivers;
mod scenarios;
mod sip;
mod siprec;
mod stage;
mod tap;
mod transports;
mod tree;

use clap::{Arg, ArgAction, Command};
use millrace_testsuite::daemon::Kind;
use millrace_testsuite::{netns, system};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// A named check against one daemon; files go into the folder.
pub struct Scenario {
    pub name: &'static str,
    pub what: &'static str,
    /// Why it cannot run here, if so.
    pub needs: fn(Kind) -> Result<(), String>,
    pub run: fn(Kind, &Path) -> Result<String, String>,
}

const PROGRAMS: [&str; 5] = ["ip", "sysctl", "kamailio", "sipp", "rtpengine-ctl"];

fn main() -> ExitCode {
    system::catch_interrupts();
    system::raise_descriptor_limit();
    let arguments = arguments().get_matches();
    let Some(kind) = arguments.get_one::<String>("daemon").and_then(|name| Kind::named(name)) else {
        eprintln!("--daemon takes millrace or rtpengine");
        return ExitCode::from(2);
    };
    if let Err(why) = able(kind) {
        println!("SKIPPED: interop: {why}");
        println!("0 passed, 0 failed");
        return ExitCode::SUCCESS;
    }
    netns::remove_leftovers();
    let chosen: Vec<&String> = arguments.get_many("scenario").into_iter().flatten().collect();
    let folder = arguments.get_one::<String>("logs").map_or_else(default_logs, PathBuf::from).join(kind.to_string());
    let (mut passed, mut failed) = (0, 0);
    println!("interop: {kind} between real clients; logs in {}", folder.display());
    for scenario in
        scenarios::all().filter(|scenario| chosen.is_empty() || chosen.iter().any(|name| *name == scenario.name))
    {
        if let Err(why) = (scenario.needs)(kind) {
            println!("SKIPPED: {:12} {}: {why}", scenario.name, scenario.what);
            continue;
        }
        match run(scenario, kind, &folder) {
            Ok(note) => {
                passed += 1;
                println!("PASS  {:14} {}: {note}", scenario.name, scenario.what);
            }
            Err(why) => {
                failed += 1;
                println!("FAIL  {:14} {}: {why}", scenario.name, scenario.what);
            }
        }
        if system::interrupted() {
            println!("interrupted");
            failed += 1;
            break;
        }
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A panic in one scenario fails that scenario and leaves the others to run.
fn run(scenario: &Scenario, kind: Kind, folder: &Path) -> Result<String, String> {
    let folder = folder.join(scenario.name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    std::panic::catch_unwind(|| (scenario.run)(kind, &folder)).unwrap_or_else(|_| Err("panicked".into()))
}

fn arguments() -> Command {
    Command::new("millrace-interop")
        .about("Places real calls through a media daemon with Kamailio, SIPp, Chromium and baresip.")
        .after_help(browser::ENVIRONMENT)
        .arg(
            Arg::new("daemon")
                .long("daemon")
                .value_name("NAME")
                .default_value("millrace")
                .help("millrace or rtpengine"),
        )
        .arg(Arg::new("logs").long("logs").value_name("DIR").help("Where logs go [testsuite/out/interop]"))
        .arg(Arg::new("scenario").long("scenario").value_name("NAME").action(ArgAction::Append).help(names()))
}

fn names() -> String {
    let names: Vec<&str> = scenarios::all().map(|scenario| scenario.name).collect();
    format!("Only this one; may be repeated: {}", names.join(", "))
}

fn default_logs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("out/interop")
}

/// Whether the scenarios can run here.
fn able(kind: Kind) -> Result<(), String> {
    netns::available()?;
    let missing: Vec<&str> = PROGRAMS.into_iter().filter(|name| !system::is_installed(name)).collect();
    if !missing.is_empty() {
        return Err(format!("not installed: {}", missing.join(", ")));
    }
    let program = kind.program();
    if system::is_installed(&program) { Ok(()) } else { Err(format!("no daemon at {}", program.display())) }
}
