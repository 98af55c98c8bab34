//! Replays recorded NG conversations against a running daemon and compares every reply.

use clap::{Arg, ArgAction, Command};
use millrace_testsuite::conversation::{self, Case};
use millrace_testsuite::ng::{Client, Encoding};
use millrace_testsuite::system;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    system::catch_interrupts();
    match replay_all(&arguments().get_matches()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(2)
        }
    }
}

fn arguments() -> Command {
    let many = |name: &'static str| Arg::new(name).long(name).action(ArgAction::Append);
    Command::new("millrace-conversations")
        .about("Replays recorded NG conversations against a running daemon and compares every reply.")
        .arg(Arg::new("folder").required(true).help("Folder with the .jsonl files"))
        .arg(
            Arg::new("to")
                .long("to")
                .value_name("ADDRESS")
                .default_value("127.0.0.1:2223")
                .help("Where the daemon listens for NG"),
        )
        .arg(many("group").value_name("NAME").help("Only this group; may be repeated"))
        .arg(many("without").value_name("NEED").help("Leave out cases that need this: encryption, ice, transcoding"))
        .arg(Arg::new("verbose").short('v').action(ArgAction::SetTrue).help("Say why each failed case failed"))
}

/// Replays what was chosen; how many failed.
fn replay_all(arguments: &clap::ArgMatches) -> Result<usize, String> {
    let words = |name: &str| arguments.get_many::<String>(name).into_iter().flatten().cloned().collect::<Vec<_>>();
    let (groups, without) = (words("group"), words("without"));
    let one = |name: &str| arguments.get_one::<String>(name).map(String::as_str).unwrap_or_default();
    let to: SocketAddr = one("to").parse().map_err(|_| "--to takes ADDRESS:PORT")?;
    let mut client =
        Client::connect(to, Encoding::Json).map_err(|error| error.to_string())?.patience(Duration::from_secs(3), 1);
    let is_chosen = |case: &Case| {
        (groups.is_empty() || groups.contains(&case.group)) && !case.needs.iter().any(|need| without.contains(need))
    };
    let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for case in conversation::load(Path::new(one("folder")))?.iter().filter(|case| is_chosen(case)) {
        if system::interrupted() {
            return Err("interrupted".into());
        }
        let (passed, total) = counts.entry(case.group.clone()).or_default();
        *total += 1;
        match conversation::replay(case, &mut |request| client.ask(request).map_err(|error| error.to_string())) {
            Ok(()) => *passed += 1,
            Err(why) if arguments.get_flag("verbose") => println!("FAILED {}\n  {why}", case.name),
            Err(_) => {}
        }
    }
    for (group, (passed, total)) in &counts {
        println!("{group:12} {passed:5} of {total:5}");
    }
    let (passed, total) = counts.values().fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
    println!("{passed} passed, {} failed", total - passed);
    Ok(total - passed)
}
