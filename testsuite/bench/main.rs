//! Measurements of media daemons. Nothing here is a test: it prints what it saw, and says so when a goal was missed.

mod compare;
mod control;
mod dtls;
mod endurance;
mod load;
mod report;
mod srtp;

use clap::{Arg, ArgMatches, Command, value_parser};
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
    match run(&arguments().get_matches()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("FAILED: {why}");
            ExitCode::from(2)
        }
    }
}

fn number(name: &'static str, default: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name("N").default_value(default).value_parser(value_parser!(u64)).help(help)
}

fn arguments() -> Command {
    let daemon = Arg::new("daemon").long("daemon").value_name("NAME").help("millrace or rtpengine");
    let core = number("generator-core", "1", "The core that the load generator spins on");
    Command::new("millrace-bench")
        .about("Measures media daemons on loopback.")
        .subcommand_required(true)
        .subcommand(
            Command::new("compare")
                .about("Both daemons side by side, in turns")
                .arg(daemon.clone().help("Measure only this one"))
                .arg(number("rounds", "3", "Rounds; the medians count"))
                .arg(number("calls", "200", "Calls with RTP both ways"))
                .arg(number("seconds", "20", "Measured seconds a round"))
                .arg(number("cycles", "4000", "Offer, answer, delete cycles for the CPU of a set-up"))
                .arg(number("offers", "1000", "Offers for their rate, calls for memory"))
                .arg(
                    Arg::new("daemon-cores")
                        .long("daemon-cores")
                        .value_name("LIST")
                        .default_value("0")
                        .help("As taskset names them"),
                )
                .arg(core.clone())
                .arg(
                    Arg::new("json")
                        .long("json")
                        .value_name("FILE")
                        .help("Where to write the figures [testsuite/out/bench.json]"),
                ),
        )
        .subcommand(
            Command::new("cycles")
                .about("Many offer, answer, delete cycles: is everything back afterwards?")
                .arg(daemon.clone().default_value("millrace"))
                .arg(number("count", "100000", "Cycles")),
        )
        .subcommand(
            Command::new("large")
                .about("Many calls relaying while the control port is asked")
                .arg(daemon.default_value("millrace"))
                .arg(number("calls", "4000", "Open calls, four ports each"))
                .arg(number("packets-a-second", "100000", "Packets in all"))
                .arg(number("seconds", "10", "Measured seconds"))
                .arg(
                    Arg::new("daemon-cores")
                        .long("daemon-cores")
                        .value_name("LIST")
                        .help("As taskset names them [all]"),
                )
                .arg(core.clone()),
        )
        .subcommand(
            Command::new("srtp")
                .about("Protecting and unprotecting packets, beside libsrtp2")
                .arg(number("rounds", "9", "Rounds; the medians count"))
                .arg(number("batches", "100", "Batches of 64 packets a round")),
        )
        .subcommand(Command::new("dtls").about("DTLS-SRTP handshakes and the memory of associations").arg(number(
            "seconds",
            "5",
            "Measured seconds for each kind of certificate",
        )))
        .subcommand(Command::new("all").about("Everything, with its defaults"))
        .subcommand(Command::new("ceiling").about("What the generator can do without a daemon").arg(core))
}

fn run(arguments: &ArgMatches) -> Result<bool, String> {
    let Some((name, arguments)) = arguments.subcommand() else { return Err("no measurement named".into()) };
    let number = |name: &str| arguments.get_one::<u64>(name).copied().unwrap_or_default();
    let generator_core = || number("generator-core") as usize;
    match name {
        "all" => all(),
        "compare" => compare(arguments),
        "dtls" => dtls::run(number("seconds")),
        "cycles" => endurance::cycles(daemon(arguments)?, number("count") as usize),
        "large" => {
            let (calls, packets_a_second) = (number("calls") as usize, number("packets-a-second"));
            let daemon_cores = arguments.get_one::<String>("daemon-cores").cloned();
            let (seconds, generator_core) = (number("seconds"), generator_core());
            let size = Size { calls, packets_a_second, seconds, daemon_cores, generator_core };
            endurance::large(daemon(arguments)?, &size)
        }
        "srtp" => srtp::run(number("rounds").max(1) as usize, number("batches").max(1) as usize),
        _ => endurance::ceiling(generator_core()).map(|()| true),
    }
}

/// Every measurement; whether every goal was met.
fn all() -> Result<bool, String> {
    let mut met = true;
    for name in ["srtp", "ceiling", "compare", "cycles", "large", "dtls"] {
        met &= run(&self::arguments().get_matches_from(["millrace-bench", name]))?;
    }
    Ok(met)
}

fn daemon(arguments: &ArgMatches) -> Result<Kind, String> {
    let name = arguments.get_one::<String>("daemon").map(String::as_str).unwrap_or_default();
    Kind::named(name).ok_or("--daemon takes millrace or rtpengine".into())
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
    let kinds = match text("daemon") {
        Some(_) => vec![daemon(arguments)?],
        None => vec![Kind::Millrace, Kind::Rtpengine],
    };
    let report = compare::run(&plan, &kinds)?;
    report.print();
    let path = text("json").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("out/bench.json"), PathBuf::from);
    report.write(&path)?;
    println!("\nall rounds are in {}", path.display());
    Ok(report.goals_met())
}
