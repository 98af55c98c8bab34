//! Rooms for browsers: a web page on which several tabs see and hear each other, over the daemon's `publish` and
//! `subscribe`.

mod media;
mod rooms;
mod server;

use clap::{Arg, ArgAction, ArgMatches, Command};
use media::Media;
use millrace_testsuite::daemon::{Daemon, Kind, Settings};
use millrace_testsuite::ng::{Client, Encoding};
use millrace_testsuite::scratch::Scratch;
use millrace_testsuite::{ports, system};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// A room of twelve needs twelve ports for publishers and 132 for subscriptions, twice as many without a bundle.
const MEDIA_PORTS: u16 = 1000;

fn main() -> ExitCode {
    system::catch_interrupts();
    match run(&arguments().get_matches()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("millrace-room: {why}");
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Command {
    Command::new("millrace-room")
        .about("Serves a page on which browsers see and hear each other, through a media daemon that it starts.")
        .arg(
            Arg::new("address")
                .long("address")
                .value_name("ADDRESS")
                .value_parser(clap::value_parser!(IpAddr))
                .default_value("127.0.0.1")
                .help("Where the page is served. Nobody is asked for a password: any address but loopback is open to all who reach it"),
        )
        .arg(
            Arg::new("port")
                .long("port")
                .value_name("PORT")
                .value_parser(clap::value_parser!(u16))
                .default_value("8080")
                .help("The page's TCP port; 0 for any"),
        )
        .arg(
            Arg::new("media")
                .long("media")
                .value_name("ADDRESS")
                .value_parser(clap::value_parser!(IpAddr))
                .action(ArgAction::Append)
                .help("Where media goes, an address that browsers reach; may be repeated [--address]"),
        )
        .arg(
            Arg::new("control")
                .long("control")
                .value_name("ADDRESS:PORT")
                .value_parser(clap::value_parser!(SocketAddr))
                .conflicts_with("media")
                .help("Use the daemon that listens for NG there instead of starting one"),
        )
}

fn run(arguments: &ArgMatches) -> Result<(), String> {
    let address = arguments.get_one::<IpAddr>("address").copied().ok_or("no address")?;
    let port = arguments.get_one::<u16>("port").copied().ok_or("no port")?;
    let listener = TcpListener::bind((address, port)).map_err(|error| {
        format!("cannot serve the page at {address}, port {port}: {error} (--port chooses another)")
    })?;
    let at = listener.local_addr().map_err(|error| error.to_string())?;
    if let Some(control) = arguments.get_one::<SocketAddr>("control") {
        return serve(listener, at, *control, || Ok(()));
    }
    let media: Vec<IpAddr> = match arguments.get_many("media") {
        Some(list) => list.copied().collect(),
        None if address.is_unspecified() => return Err(format!("--address {address} needs --media: where media goes")),
        None => vec![address],
    };
    let scratch = Scratch::make("room")?;
    let first = ports::free_block(MEDIA_PORTS).ok_or("no block of UDP ports is free")?;
    let mut daemon = Daemon::start(Settings {
        kind: Kind::Millrace,
        // One interface with several addresses: every one is a candidate.
        interfaces: media.iter().map(|address| format!("room/{address}")).collect(),
        control: ports::free_udp().map_err(|error| error.to_string())?,
        cli: ports::free_tcp().map_err(|error| error.to_string())?,
        ports: (first, first + MEDIA_PORTS - 1),
        options: Vec::new(),
        namespace: None,
        cores: None,
        capabilities: None,
        log: scratch.path().join("daemon.log"),
    })?;
    let control = daemon.control_address();
    println!("daemon    process {}, NG on {control}, media ports {first} to {}", daemon.pid(), first + MEDIA_PORTS - 1);
    serve(listener, at, control, || daemon.check_alive())
}

/// Serves until interrupted, or until `check` fails.
fn serve(
    listener: TcpListener,
    at: SocketAddr,
    control: SocketAddr,
    mut check: impl FnMut() -> Result<(), String>,
) -> Result<(), String> {
    let client = Client::connect(control, Encoding::Bencode).map_err(|error| format!("NG at {control}: {error}"))?;
    let media = Media::new(client.patience(Duration::from_millis(500), 4));
    media.ping()?;
    let state = Arc::new(server::State::new(media));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start threads: {error}"))?;
    let server = runtime.spawn(server::serve(listener, Arc::clone(&state)));
    runtime.spawn(server::remove_the_silent(Arc::clone(&state)));
    announce(at);
    let outcome = loop {
        if system::interrupted() {
            break Ok(());
        }
        if server.is_finished() {
            break Err("the page is not served any more".to_owned());
        }
        if let Err(why) = check() {
            break Err(why);
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    runtime.shutdown_timeout(Duration::from_secs(1));
    state.close();
    outcome
}

fn announce(at: SocketAddr) {
    let host = if at.ip().is_unspecified() { "localhost".to_owned() } else { SocketAddr::new(at.ip(), 0).to_string() };
    let host = host.strip_suffix(":0").unwrap_or(&host);
    println!("open      http://{host}:{}/ in two or more tabs, and join the same room", at.port());
    if !at.ip().is_loopback() && !at.ip().is_unspecified() {
        println!(
            "note      browsers lend cameras only to pages of https and localhost; others get a test picture and a tone"
        );
    }
    println!("stop      with Ctrl-C");
}
