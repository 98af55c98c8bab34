//! Media daemons under test, ours and rtpengine: start, wait until they answer, look into them, stop them.

use crate::netns::Namespace;
use crate::ng::{Client, Encoding};
use crate::system;
use serde_json::json;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Which daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Millrace,
    Rtpengine,
}

impl Kind {
    /// Reads the name that command lines use.
    pub fn named(name: &str) -> Option<Kind> {
        [Kind::Millrace, Kind::Rtpengine].into_iter().find(|kind| kind.to_string() == name)
    }

    /// The program: ours beside the running tool unless `MILLRACE_DAEMON` says otherwise, rtpengine as Debian installs it.
    pub fn program(self) -> PathBuf {
        match (self, std::env::var_os("MILLRACE_DAEMON"), std::env::current_exe()) {
            (Kind::Rtpengine, ..) => "rtpengine".into(),
            (Kind::Millrace, Some(program), _) => program.into(),
            (Kind::Millrace, None, Ok(own)) => own.with_file_name("millrace"),
            (Kind::Millrace, None, Err(_)) => "millrace".into(),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Millrace => "millrace",
            Kind::Rtpengine => "rtpengine",
        })
    }
}

/// How to start a daemon.
pub struct Settings<'a> {
    pub kind: Kind,
    /// Arguments of `--interface`.
    pub interfaces: Vec<String>,
    pub control: SocketAddr,
    pub cli: SocketAddr,
    /// First and last media port.
    pub ports: (u16, u16),
    /// Further options.
    pub options: Vec<String>,
    /// Where it runs; none for where this process runs.
    pub namespace: Option<&'a Namespace>,
    /// Cores as `taskset` names them; none for all.
    pub cores: Option<String>,
    /// All that it may do besides what everybody may, by names as `setpriv` has them; none for all that this process may.
    pub capabilities: Option<Vec<String>>,
    /// Where its log goes.
    pub log: PathBuf,
}

/// A running daemon; stopped when the value goes out of scope.
pub struct Daemon<'a> {
    child: Child,
    settings: Settings<'a>,
}

/// Memory in KiB.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    pub resident_kib: u64,
    /// The share of the resident set that is the process's own.
    pub proportional_kib: u64,
}

impl<'a> Daemon<'a> {
    /// Starts the daemon and waits until it answers.
    pub fn start(settings: Settings<'a>) -> Result<Daemon<'a>, String> {
        let mut daemon = Daemon::launch(settings)?;
        daemon.wait_for_answer()?;
        Ok(daemon)
    }

    /// Starts the daemon and waits for nothing.
    pub fn launch(settings: Settings<'a>) -> Result<Daemon<'a>, String> {
        let mut command = command(&settings);
        let log = File::create(&settings.log).map_err(|error| format!("{}: {error}", settings.log.display()))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        system::end_with_parent(&mut command);
        let child = command.spawn().map_err(|error| format!("cannot start {:?}: {error}", command.get_program()))?;
        Ok(Daemon { child, settings })
    }

    /// Ends the daemon by SIGKILL.
    pub fn kill(mut self) -> Result<(), String> {
        let killed = self.child.kill().and_then(|()| self.child.wait());
        killed.map(drop).map_err(|error| format!("{} was not killed: {error}", self.kind()))
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Which daemon it is.
    pub fn kind(&self) -> Kind {
        self.settings.kind
    }

    /// Where it listens for NG.
    pub fn control_address(&self) -> SocketAddr {
        self.settings.control
    }

    /// A new control connection.
    pub fn client(&self, encoding: Encoding) -> Result<Client, String> {
        let control = self.settings.control;
        self.inside(move || Client::connect(control, encoding))
    }

    /// Asks the command line port.
    pub fn cli(&self, command: &str) -> Result<String, String> {
        let (to, command) = (self.settings.cli, format!("{command}\n"));
        self.inside(move || {
            let mut stream = TcpStream::connect(to)?;
            stream.set_read_timeout(Some(Duration::from_secs(3)))?;
            stream.write_all(command.as_bytes())?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Ok(text)
        })
    }

    /// CPU time used so far.
    pub fn cpu_time(&self) -> Result<Duration, String> {
        system::process_cpu_time(self.pid()).map_err(|error| format!("CPU time: {error}"))
    }

    /// Memory in use.
    pub fn memory(&self) -> Result<Memory, String> {
        let path = format!("/proc/{}/smaps_rollup", self.pid());
        let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).ok_or(format!("{path}: no {name}"))
        };
        Ok(Memory { resident_kib: field("Rss:")?, proportional_kib: field("Pss:")? })
    }

    /// How many descriptors are open.
    pub fn descriptors(&self) -> Result<usize, String> {
        let path = format!("/proc/{}/fd", self.pid());
        fs::read_dir(&path).map(Iterator::count).map_err(|error| format!("{path}: {error}"))
    }

    /// Whether it still runs; the reason and the end of its log when not.
    pub fn check_alive(&mut self) -> Result<(), String> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(format!("{} ended: {status}\n{}", self.kind(), tail(&self.settings.log))),
            Err(error) => Err(format!("{}: {error}", self.kind())),
        }
    }

    fn inside<T: Send>(&self, work: impl FnOnce() -> io::Result<T> + Send) -> Result<T, String> {
        let done = match self.settings.namespace {
            Some(namespace) => namespace.within(work).and_then(|result| result),
            None => work(),
        };
        done.map_err(|error| format!("{}: {error}", self.kind()))
    }

    /// Waits until it answers.
    pub fn wait_for_answer(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut client = self.client(Encoding::Bencode)?.patience(Duration::from_millis(100), 1);
        while Instant::now() < deadline && !system::interrupted() {
            self.check_alive()?;
            if client.ask(&json!({"command": "ping"})).is_ok_and(|reply| reply["result"] == "pong") {
                return Ok(());
            }
        }
        Err(format!("{} does not answer ping at {}\n{}", self.kind(), self.settings.control, tail(&self.settings.log)))
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        // A child that has not been waited for keeps its id, so the signal reaches it and nobody else.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = system::signal(self.child.id(), libc::SIGTERM);
        }
        let deadline = Instant::now() + Duration::from_secs(5);
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                eprintln!("{} did not stop on SIGTERM within 5 s; killed", self.kind());
                let _ = self.child.kill();
                let _ = self.child.wait();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn command(settings: &Settings) -> Command {
    let program = settings.kind.program();
    let mut words: Vec<String> = Vec::new();
    if let Some(namespace) = settings.namespace {
        words.extend(["ip", "netns", "exec", namespace.name()].map(String::from));
    }
    if let Some(cores) = &settings.cores {
        words.extend(["taskset", "-c", cores].map(String::from));
    }
    if let Some(capabilities) = &settings.capabilities {
        let all: String = capabilities.iter().map(|name| format!(",+{name}")).collect();
        // As little memory to lock as ordinary users have.
        words.extend(["prlimit", "--memlock=8388608", "setpriv", "--inh-caps=-all"].map(String::from));
        words.push(format!("--bounding-set=-all{all}"));
    }
    words.push(program.to_string_lossy().into_owned());
    if settings.kind == Kind::Rtpengine {
        // There is no kernel module to be had.
        words.push("--table=-1".into());
    }
    words.extend(["-f", "-E", "-L", "3", "--config-file=none", "-n"].map(String::from));
    words.push(settings.control.to_string());
    words.extend(["-c".into(), settings.cli.to_string()]);
    for interface in &settings.interfaces {
        words.extend(["-i".into(), interface.clone()]);
    }
    words.extend(["-m".into(), settings.ports.0.to_string(), "-M".into(), settings.ports.1.to_string()]);
    words.extend(settings.options.iter().cloned());
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    command
}

/// The last lines of a log.
pub fn tail(path: &Path) -> String {
    let text = fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].iter().map(|line| format!("    | {line}\n")).collect()
}
