//! Measurements of media daemons. Nothing here is a test: it prints what it saw, and says so when a goal was missed.

mod arguments;
mod calls;
mod compare;
mod control;
mod copies;
mod cover;
mod dtls;
mod endurance;
mod fanout;
mod forward;
mod kernel;
mod load;
mod lrk;
mod report;
mod requests;
mod srtp;

use clap::ArgMatches;
use endurance::Size;
use millrace_testsuite::daemon::Kind;
use millrace_testsuite::netns::{self, Namespace};
use millrace_testsuite::system::{self, Priority};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    system::catch_interrupts();
    system::raise_descriptor_limit();
    // A namespace keeps other traffic on loopback away from the figures, and the load away from other programs.
    let home = netns::available().and_then(|()| Namespace::make("bench"));
    let prepared = home.as_ref().map(|home| home.enter().and_then(|()| Priority::raise()));
    match &prepared {
        Ok(Ok(_)) => println!("measuring in a network namespace of its own, with raised priority"),
        Ok(Err(error)) => println!("measuring without raised priority: {error}"),
        Err(why) => println!("measuring on the machine's own loopback, without raised priority: {why}"),
    }
    match run(&arguments::all().get_matches()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("FAILED: {why}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &ArgMatches) -> Result<bool, String> {
    let Some((name, arguments)) = arguments.subcommand() else { return Err("no measurement named".into()) };
    let number = |name: &str| arguments.get_one::<u64>(name).copied().unwrap_or_default();
    let names = |name: &str| arguments.get_many::<String>(name).into_iter().flatten().cloned().collect();
    let generator_core = || number("generator-core") as usize;
    match name {
        "all" => all(),
        "compare" => compare(arguments),
        "dtls" => dtls::run(number("seconds")),
        "fanout" => {
            let plan = fanout::Plan {
                rounds: number("rounds").max(1) as usize,
                seconds: number("seconds").max(1),
                copies_a_second: number("copies-a-second").max(1),
                daemon_cores: arguments.get_one::<String>("daemon-cores").cloned().unwrap_or_default(),
                generator_core: generator_core(),
            };
            fanout::run(&plan, &kinds(arguments)?)
        }
        "cycles" => endurance::cycles(daemon(arguments)?, number("count") as usize),
        "large" => {
            let (calls, packets_a_second) = (number("calls") as usize, number("packets-a-second"));
            let daemon_cores = arguments.get_one::<String>("daemon-cores").cloned();
            let (seconds, generator_core) = (number("seconds"), generator_core());
            let size = Size { calls, packets_a_second, seconds, daemon_cores, generator_core };
            endurance::large(daemon(arguments)?, &size)
        }
        "forward" => forward::run(&forward::Plan {
            media: names("media"),
            ways: names("ways"),
            rounds: number("rounds").max(1) as usize,
            seconds: number("seconds").max(1),
            calls: number("calls") as usize,
            generator_core: generator_core(),
        }),
        "calls" | "changes" | "lrk" => calls::run(&calls::Plan {
            calls: number("calls") as usize,
            packets_a_second: number("packets-a-second").max(1),
            seconds: number("seconds").max(1),
            changes_a_second: if name == "changes" { number("changes-a-second").max(1) } else { 0 },
            generator_core: generator_core(),
            by_lrk: name == "lrk",
        }),
        "copies" => copies::run(&copies::Plan {
            rounds: number("rounds").max(1) as usize,
            seconds: number("seconds").max(1),
            copies_a_second: number("copies-a-second").max(1),
            generator_core: generator_core(),
        }),
        "kernel" => kernel::run(number("packets").max(1) as usize),
        "requests" => requests::run(&requests::Plan {
            streams: number("streams") as usize,
            packets_a_second: number("packets-a-second").max(1),
            requests_a_second: number("requests-a-second").max(4),
            seconds: number("seconds").max(1),
        }),
        "srtp" => srtp::run(number("rounds").max(1) as usize, number("batches").max(1) as usize),
        _ => endurance::ceiling(generator_core()).map(|()| true),
    }
}

/// Every measurement; whether every goal was met.
fn all() -> Result<bool, String> {
    let mut met = true;
    for name in [
        "srtp", "ceiling", "compare", "fanout", "forward", "copies", "calls", "changes", "lrk", "kernel", "cycles",
        "large", "dtls", "requests",
    ] {
        met &= run(&arguments::all().get_matches_from(["millrace-bench", name]))?;
    }
    Ok(met)
}

fn daemon(arguments: &ArgMatches) -> Result<Kind, String> {
    let name = arguments.get_one::<String>("daemon").map(String::as_str).unwrap_or_default();
    Kind::named(name).ok_or("--daemon takes millrace or rtpengine".into())
}

/// The daemon that is named, or both.
fn kinds(arguments: &ArgMatches) -> Result<Vec<Kind>, String> {
    match arguments.get_one::<String>("daemon") {
        Some(_) => Ok(vec![daemon(arguments)?]),
        None => Ok(vec![Kind::Millrace, Kind::Rtpengine]),
    }
}

fn compare(arguments: &ArgMatches) -> Result<bool, String> {
    let number = |name: &str| arguments.get_one::<u64>(name).copied().unwrap_or_default();
    let text = |name: &str| arguments.get_one::<String>(name).cloned();
    let plan = compare::Plan {
        rounds: number("rounds").max(1) as usize,
        calls: number("calls") as usize,
        seconds: number("seconds").max(1),
        cycles: number("cycles") as usize,
        offers: number("offers") as usize,
        daemon_cores: text("daemon-cores").unwrap_or_default(),
        generator_core: number("generator-core") as usize,
    };
    let report = compare::run(&plan, &kinds(arguments)?)?;
    report.print();
    let path = text("json").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("out/bench.json"), PathBuf::from);
    report.write(&path)?;
    println!("\nall rounds are in {}", path.display());
    Ok(report.goals_met())
}
