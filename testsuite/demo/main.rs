//! One call through the daemon on loopback, for people to watch: offer, answer, audio both ways, delete.

mod audio;
mod call;
mod screen;

use clap::{Arg, ArgMatches, Command};
use millrace_testsuite::daemon::{Daemon, Kind, Settings};
use millrace_testsuite::scratch::Scratch;
use millrace_testsuite::{ports, system};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    system::catch_interrupts();
    match demonstrate(&arguments().get_matches()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("\n  FAILED: {why}");
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Command {
    Command::new("millrace-demo")
        .about("Places one call through the media daemon on loopback and shows what is relayed.")
        .arg(
            Arg::new("wav")
                .long("wav")
                .value_name("FILE")
                .help("Audio to send: WAV, 8 kHz, mono, 16 bit [made if absent]"),
        )
        .arg(Arg::new("save").long("save").value_name("DIR").help("Write what each side heard to WAV files in DIR"))
        .arg(
            Arg::new("daemon")
                .long("daemon")
                .value_name("NAME")
                .default_value("millrace")
                .help("millrace or rtpengine"),
        )
}

/// Runs the demo; whether all audio arrived.
fn demonstrate(arguments: &ArgMatches) -> Result<bool, String> {
    let text = |name: &str| arguments.get_one::<String>(name).map(String::as_str);
    let kind = text("daemon").and_then(Kind::named).ok_or("--daemon takes millrace or rtpengine")?;
    let scratch = Scratch::make("demo")?;
    let frames = match text("wav") {
        Some(path) => audio::frames(Path::new(path))?,
        None => {
            let path = scratch.path().join("melody.wav");
            audio::write_melody(&path)?;
            audio::frames(&path)?
        }
    };

    let first = ports::free_block(40).ok_or("no 40 neighbouring UDP ports are free on 127.0.0.1")?;
    let settings = Settings {
        kind,
        interfaces: vec!["127.0.0.1".into()],
        control: ports::free_udp().map_err(|error| error.to_string())?,
        cli: ports::free_tcp().map_err(|error| error.to_string())?,
        ports: (first, first + 39),
        options: Vec::new(),
        namespace: None,
        cores: None,
        capabilities: None,
        log: scratch.path().join("daemon.log"),
    };
    screen::title(kind);
    let control = settings.control;
    let mut daemon = Daemon::start(settings)?;
    screen::row(
        "daemon",
        &format!("{kind}, process {}, NG on {control}, media ports {first} to {}", daemon.pid(), first + 39),
    );
    screen::row("audio", &format!("{} packets each way, PCMU, one every 20 ms", frames.len()));

    let outcome = call::place(&daemon, frames)?;
    daemon.check_alive()?;
    if let Some(folder) = text("save") {
        for heard in &outcome.heard {
            let path = audio::write_heard(Path::new(folder), heard)?;
            screen::row("saved", &path.display().to_string());
        }
    }
    drop(daemon);
    drop(scratch);
    screen::verdict(&outcome);
    Ok(outcome.complete())
}
