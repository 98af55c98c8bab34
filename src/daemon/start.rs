//! From the command line to a daemon that serves, and to its end.

use super::build;
use super::captures::Captures;
use super::console::{self, Console};
use super::export::Exports;
use super::listeners::{self, Listeners, Places};
use super::logging::{self, Levels};
use super::media_sockets;
use super::notify::Notifier;
use super::process::{Pidfile, Request as SignalRequest, Signals};
use super::protocols;
use super::router::Router;
use super::service::{Daemon, connect};
use super::shard_thread::Front;
use crate::config::{self, Config, Loaded, Outcome};
use crate::control::Service;
use crate::control::http::tls::Certificates;
use crate::control::request::Requests;
use crate::control::udp::{Datagrams, UdpListener};
use crate::io::background::{self, Background, Fork};
use crate::io::control_socket::PathMtu;
use crate::io::host::Host;
use crate::io::xdp::FastPath;
use crate::io::{clock, limits};
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;

/// Runs the daemon as the command line says; the exit status is 0 for a clean stop and 1 for an error.
pub fn main() -> ExitCode {
    // Before memory is taken. A kernel without huge pages has nothing to refuse.
    let _ = limits::refuse_huge_pages();
    let arguments: Vec<String> = std::env::args().collect();
    let loaded = match config::load(&arguments, &Host) {
        Ok(Outcome::Print(text)) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Ok(Outcome::Run(loaded)) => *loaded,
        Err(errors) => {
            errors.iter().for_each(|error| eprintln!("{error}"));
            return ExitCode::FAILURE;
        }
    };
    let places = match Places::resolve(&loaded.config) {
        Ok(places) => places,
        Err(errors) => {
            errors.iter().for_each(|error| eprintln!("{error}"));
            return ExitCode::FAILURE;
        }
    };
    let parent = match (loaded.config.process.foreground, background::fork) {
        (true, _) => None,
        (false, fork) => match fork() {
            Ok(Fork::Parent(status)) => return status,
            Ok(Fork::Child(parent)) => Some(parent),
            Err(error) => {
                eprintln!("cannot go to the background: {error}");
                return ExitCode::FAILURE;
            }
        },
    };
    let levels = logging::start(&loaded.config.log);
    match run(&arguments, loaded, places, levels, parent) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(target: "core", "{error}");
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(
    arguments: &[String],
    loaded: Loaded,
    places: Places,
    levels: Arc<Levels>,
    parent: Option<Background>,
) -> io::Result<()> {
    let config = loaded.config.clone();
    prepare(&config);
    let runtime = runtime(config.control.threads)?;
    // Bound before any thread starts: a port that is taken must end the start.
    let path_mtu = path_mtu(&config);
    let _inside = runtime.enter();
    let (ng, listeners) = (places.bind(path_mtu)?, Listeners::bind(&places, &config.control)?);
    let others = protocols::Listeners::bind(&places.others, &config, &places.interfaces, path_mtu)?;
    let pidfile = config.process.pidfile.as_deref().map(|path| Pidfile::write(Path::new(path))).transpose()?;
    let mut fast_path = build::fast_path(&config, &places.interfaces, places.ng.first().copied())?;
    let (ring, captured) = fast_path.as_mut().and_then(FastPath::take_captures).unzip();
    let captures = Arc::new(Captures::new(captured));
    ring.into_iter().for_each(|ring| drop(runtime.spawn(captures.clone().read_ring(ring))));
    let exports = Exports::start(&config);
    let mut steering = media_sockets::steering(&config, &places.interfaces, build::shard_count(&config));
    let (router, threads) = build::shards(
        &config,
        &places.interfaces,
        fast_path.as_mut(),
        steering.as_mut(),
        &captures,
        exports.reports(),
    )?;
    let console = Console {
        loaded: Mutex::new(loaded),
        levels,
        control_tos: AtomicI64::new(0),
        sockets: ng.iter().map(UdpListener::socket).chain(others.sockets()).collect(),
    };
    let daemon = Arc::new(Daemon {
        router,
        started: clock::mono(),
        requests: OnceLock::new(),
        console,
        lrk: OnceLock::new(),
        verdicts: fast_path.as_ref().and_then(build::verdict_counters),
        captures,
        receivers: exports.receivers(),
        interval: Mutex::new(None),
        tasks: runtime.handle().clone(),
    });
    console::apply(&daemon, &config);
    daemon.router.watch_limits(&runtime);
    let requests = take_requests(&daemon, &config);
    exports.attach(&daemon, &requests, &config, places.ng.first().copied());
    let mut signals = Signals::new()?;
    listen(&daemon, ng, &requests, others.serve(&daemon, requests.access(), runtime.handle()));
    let certificates = listeners.run(&requests);
    let notifier = Notifier::from_environment();
    announce(&notifier, &places);
    parent.map_or(Ok(()), Background::running)?;
    let reload = || reload(arguments, &daemon, &requests, certificates.as_deref());
    runtime.block_on(serve(&daemon, &mut signals, &notifier, &places, reload));
    tell(notifier.stopping());
    drop(pidfile);
    stop(&daemon.router, threads);
    fast_path.iter().for_each(build::account);
    // After the shards, whose entries and ports they serve.
    drop(fast_path);
    drop(steering);
    Ok(())
}

/// Says what is odd about the configuration, and takes all the descriptors that may be had.
fn prepare(config: &Config) {
    config.warnings.iter().for_each(|warning| tracing::warn!(target: "core", "{warning}"));
    if let Err(error) = limits::raise_descriptors() {
        tracing::warn!(target: "core", "the limit of open files stays as it is: {error}");
    }
}

/// What all control protocols hand NG's requests to.
fn take_requests(daemon: &Arc<Daemon>, config: &Config) -> Arc<Requests> {
    let service: Arc<dyn Service> = daemon.clone();
    let requests = Requests::new(service, build::defaults(config), clock::now);
    requests.access().set(listeners::rules(&config.control));
    connect(daemon, &requests);
    daemon.router.events.push_to(&requests);
    requests
}

/// Where control connections are served, and statistics sent.
fn runtime(threads: usize) -> io::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(threads).thread_name("control").enable_all().build()
}

/// Has the shards take control messages.
fn listen(daemon: &Daemon, ng: Vec<UdpListener>, requests: &Arc<Requests>, others: protocols::Served) {
    let ng = ng.into_iter().map(|listener| (listener, requests.clone() as Arc<dyn Datagrams>));
    let front = Arc::new(Front { listeners: ng.chain(others).collect(), access: requests.access().clone() });
    daemon.router.dispatch.shards.iter().for_each(|shard| shard.listen(front.clone()));
}

fn path_mtu(config: &Config) -> PathMtu {
    match config.control.path_mtu {
        config::PathMtu::System => PathMtu::System,
        config::PathMtu::Want => PathMtu::Discover,
        config::PathMtu::Dont => PathMtu::Ignore,
    }
}

fn announce(notifier: &Notifier, places: &Places) {
    let status = places.describe();
    tracing::info!(target: "core", "millrace {} is running: {status}", env!("CARGO_PKG_VERSION"));
    tell(notifier.ready(&status));
}

fn tell(told: io::Result<()>) {
    if let Err(error) = told {
        tracing::warn!(target: "core", "the service manager was not told: {error}");
    }
}

/// Obeys signals until one ends the daemon.
async fn serve(daemon: &Arc<Daemon>, signals: &mut Signals, notifier: &Notifier, places: &Places, reload: impl Fn()) {
    loop {
        match signals.next().await {
            SignalRequest::Stop => {
                tracing::info!(target: "core", "asked to stop");
                return;
            }
            SignalRequest::Reload => {
                tell(notifier.reloading(clock::mono()));
                reload();
                announce(notifier, places);
            }
            SignalRequest::LessLog => daemon.console.levels.step(-1),
            SignalRequest::MoreLog => daemon.console.levels.step(1),
        }
    }
}

fn reload(arguments: &[String], daemon: &Daemon, requests: &Requests, certificates: Option<&Certificates>) {
    certificates.into_iter().for_each(Certificates::reload);
    let mut loaded = daemon.console.loaded.lock().unwrap_or_else(PoisonError::into_inner);
    match loaded.reload(arguments, &Host) {
        Ok((new, needs_restart)) => {
            for option in needs_restart {
                tracing::warn!(target: "core", "{option} has changed, which takes effect at the next start");
            }
            *loaded = new;
            let config = loaded.config.clone();
            drop(loaded);
            console::apply(daemon, &config);
            daemon.console.levels.set_all(&config.log);
            requests.set_defaults(build::defaults(&config));
            requests.access().set(listeners::rules(&config.control));
            tracing::info!(target: "core", "configuration loaded anew");
        }
        Err(errors) => {
            errors.iter().for_each(|error| tracing::error!(target: "core", "not loaded anew: {error}"));
        }
    }
}

fn stop(router: &Router, threads: Vec<JoinHandle<()>>) {
    router.dispatch.shards.iter().for_each(|shard| shard.stop());
    for thread in threads {
        if thread.join().is_err() {
            tracing::error!(target: "core", "a shard ended by a fault");
        }
    }
}
