//! What calls with browsers need: a daemon between two networks, the control client that plays the SIP server, and
//! browsers and phones at both ends.

use crate::scenarios::{Held, at};
use crate::sip::Role;
use crate::stage::{CALLEE, CALLER, INSIDE, INSIDE_IP6, Networks, OUTSIDE, start_daemon};
use millrace_testsuite::chromium::{Chromium, Page};
use millrace_testsuite::daemon::Kind;
use millrace_testsuite::ng::{Client, Encoding};
use millrace_testsuite::scratch::Scratch;
use millrace_testsuite::system;
use millrace_testsuite::talker::Talker;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::fs::OpenOptions;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const SCRIPT: &str = include_str!("page.js");
const MEDIA_PORT: u16 = 6000;
/// What a recorder says, where it says something: nobody is to hear it.
const RECORDER_HZ: f64 = 1600.0;
/// How long anything that has to happen may take.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The tone of each side in Hz.
pub fn tone_hz(role: Role) -> f64 {
    match role {
        Role::Caller => 450.0,
        Role::Callee => 1000.0,
    }
}

/// A daemon with nobody calling yet.
pub struct Studio<'a> {
    networks: &'a Networks,
    client: RefCell<Client>,
    folder: PathBuf,
    scratch: Scratch,
}

/// Opens the studio, runs `body`, deletes the call, and demands that everything is freed afterwards.
pub fn with_studio(
    kind: Kind,
    folder: &Path,
    body: impl FnOnce(&Studio) -> Result<String, String>,
) -> Result<String, String> {
    let networks = Networks::make()?;
    // Without a route to the world, a browser takes itself for offline and gathers no candidates.
    networks.caller.ip(&["route", "add", "default", "via", OUTSIDE])?;
    networks.callee.ip(&["route", "add", "default", "via", INSIDE])?;
    let mut daemon = start_daemon(&networks, kind, folder)?;
    let idle = Held::by(&daemon)?;
    let note = {
        let client = RefCell::new(daemon.client(Encoding::Bencode)?);
        let scratch = Scratch::make("browser")?;
        let studio = Studio { networks: &networks, client, folder: folder.to_owned(), scratch };
        let note = body(&studio).map_err(|why| format!("{why}; {}", studio.numbers()))?;
        studio.command("delete", Role::Caller, json!({}))?;
        note
    };
    idle.wait_for(&mut daemon)?;
    Ok(format!("{note}; all freed"))
}

impl Studio<'_> {
    /// Starts a browser on one side.
    pub fn browser(&self, role: Role) -> Result<Chromium, String> {
        let name = format!("{role:?}").to_lowercase();
        let profile = self.scratch.path().join(&name);
        std::fs::create_dir(&profile).map_err(|error| format!("{}: {error}", profile.display()))?;
        Chromium::start(self.networks.home(role), &profile, &self.folder.join(format!("{name}-chromium.log")))
    }

    /// Starts a phone on the callee's side that sends its tone.
    pub fn phone(&self) -> Result<(Talker, SocketAddr), String> {
        let place = at(CALLEE, MEDIA_PORT)?;
        Ok((Talker::start(self.networks.socket(Role::Callee, place)?, tone_hz(Role::Callee))?, place))
    }

    /// A recorder's ear on the caller's side, at a port of its own.
    pub fn ear(&self, port: u16) -> Result<(Talker, SocketAddr), String> {
        let place = at(CALLER, port)?;
        Ok((Talker::start(self.networks.socket(Role::Caller, place)?, RECORDER_HZ)?, place))
    }

    /// Passes an offer of `role` through the daemon; what the other side gets.
    pub fn offer(&self, role: Role, sdp: &str, extra: &Value) -> Result<String, String> {
        self.pass("offer", role, sdp, extra)
    }

    /// Passes the answer to an offer of `offerer` through the daemon; what the offerer gets.
    pub fn answer(&self, offerer: Role, sdp: &str, extra: &Value) -> Result<String, String> {
        self.pass("answer", offerer, sdp, extra)
    }

    /// Passes ICE candidates of `role` to the daemon, as a SIP server does with an INFO (RFC 8840). Fragments of the
    /// callee go as answers.
    pub fn fragment(&self, role: Role, sdp: &str) -> Result<(), String> {
        let command = if role == Role::Caller { "offer" } else { "answer" };
        self.command(command, Role::Caller, json!({"sdp": sdp, "flags": ["fragment"]})).map(drop)
    }

    fn pass(&self, command: &str, offerer: Role, sdp: &str, extra: &Value) -> Result<String, String> {
        let mut request = json!({"sdp": sdp, "replace": ["origin", "session-connection"]});
        for (key, value) in extra.as_object().into_iter().flatten() {
            request[key] = value.clone();
        }
        let reply = self.command(command, offerer, request)?;
        reply["sdp"].as_str().map(str::to_owned).ok_or(format!("{command}: no SDP in {reply}"))
    }

    fn command(&self, command: &str, offerer: Role, mut request: Value) -> Result<Value, String> {
        let (from, to) = match offerer {
            Role::Caller => ("caller", "callee"),
            Role::Callee => ("callee", "caller"),
        };
        request["from-tag"] = from.into();
        // The first offer knows nothing of the other side.
        if command != "offer" || request.get("direction").is_none() {
            request["to-tag"] = to.into();
        }
        self.ask(command, request)
    }

    /// A command about the call that must succeed.
    pub fn ask(&self, command: &str, mut request: Value) -> Result<Value, String> {
        request["command"] = command.into();
        request["call-id"] = "browser-call".into();
        let reply = self.client.borrow_mut().ask(&request).map_err(|error| format!("{command}: {error}"))?;
        self.note(&request, &reply);
        if reply["result"] == "ok" { Ok(reply) } else { Err(format!("{command}: {reply}")) }
    }

    /// Keeps what was asked and answered beside the other logs.
    fn note(&self, request: &Value, reply: &Value) {
        let file = OpenOptions::new().create(true).append(true).open(self.folder.join("control.log"));
        for (name, value) in [("request", request), ("reply", reply)] {
            let mut rest = value.clone();
            let sdp = rest.as_object_mut().and_then(|fields| fields.remove("sdp"));
            let sdp = sdp.as_ref().and_then(Value::as_str).unwrap_or_default().replace('\r', "");
            if let Ok(mut file) = file.as_ref() {
                let _ = writeln!(file, "{name} {rest}\n{sdp}");
            }
        }
    }

    /// The daemon's own count, for a failure's report.
    fn numbers(&self) -> String {
        let query = json!({"command": "query", "call-id": "browser-call"});
        let reply = self.client.borrow_mut().ask(&query).unwrap_or_default();
        let _ = std::fs::write(self.folder.join("query.json"), format!("{reply:#}"));
        format!("the daemon counts {}", reply["totals"])
    }
}

/// A page that is one side of a call.
pub struct Side<'a> {
    pub page: Page<'a>,
    role: Role,
}

impl<'a> Side<'a> {
    /// Opens a page; `options` are those of its script's `start`, without the tone.
    pub fn open(browser: &'a Chromium, role: Role, mut options: Value) -> Result<Side<'a>, String> {
        let page = browser.open(SCRIPT)?;
        options["hz"] = tone_hz(role).into();
        page.call("start", options)?;
        Ok(Side { page, role })
    }

    /// A description from the page: `function` is `offer` or `answer`.
    pub fn describe(&self, function: &str, argument: Value) -> Result<String, String> {
        let sdp = self.page.call(function, argument)?;
        sdp.as_str().map(str::to_owned).ok_or(format!("{function} gave {sdp}"))
    }

    /// What the page counts.
    pub fn statistics(&self) -> Result<Value, String> {
        self.page.call("statistics", json!({}))
    }

    /// Waits until the connection is up; demands that it leads to the daemon and nowhere else.
    pub fn wait_for_connection(&self) -> Result<(), String> {
        let own: &[&str] = if self.role == Role::Caller { &[OUTSIDE] } else { &[INSIDE, INSIDE_IP6] };
        self.wait_for("a connection", |now| now["state"] == "connected")?;
        let now = self.statistics()?;
        let remotes = now["remotes"].as_array().cloned().unwrap_or_default();
        let is_own = |at: &str| own.iter().any(|address| at.starts_with(&format!("{address}:")));
        let is_daemon = |remote: &Value| remote.as_str().is_some_and(is_own);
        if !remotes.is_empty() && remotes.iter().all(is_daemon) {
            return Ok(());
        }
        Err(format!("{:?}: connected with {remotes:?}, not with {own:?}", self.role))
    }

    /// Waits until what the page counts is as wanted.
    pub fn wait_for(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Result<(), String> {
        wait_for(|| {
            let now = self.statistics()?;
            if is_so(&now) { Ok(Ok(())) } else { Ok(Err(format!("{:?}: no {what}: {now}", self.role))) }
        })
    }

    /// Waits until the page hears the other side's tone.
    pub fn wait_for_tone(&self) -> Result<(), String> {
        let want_hz = tone_hz(if self.role == Role::Caller { Role::Callee } else { Role::Caller });
        wait_for(|| {
            let heard = self.page.call("listen", json!({}))?;
            let (hz, db) = (heard["hz"].as_f64().unwrap_or(0.0), heard["db"].as_f64().unwrap_or(-200.0));
            let is_there = (hz - want_hz).abs() < 15.0 && db > -60.0;
            let now = self.statistics()?;
            Ok(if is_there { Ok(()) } else { Err(format!("{:?} hears {hz:.0} Hz at {db:.0} dB: {now}", self.role)) })
        })
    }

    /// Waits until the counts named grow by `more` from where they are now.
    pub fn wait_for_growth(&self, counts: &[&str], more: u64) -> Result<(), String> {
        let before = self.statistics()?;
        let number = |from: &Value, name: &&str| from[*name].as_u64().unwrap_or(0);
        let what = format!("growth of {} since {before}", counts.join(", "));
        self.wait_for(&what, |now| counts.iter().all(|name| number(now, name) >= number(&before, name) + more))
    }
}

/// Waits until `look` sees what it looks for; what it sees instead at the end is the fault.
pub fn wait_for(mut look: impl FnMut() -> Result<Result<(), String>, String>) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match look()? {
            Ok(()) => return Ok(()),
            Err(why) if Instant::now() > deadline || system::interrupted() => return Err(why),
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// Whether there is a browser.
pub fn available(_: Kind) -> Result<(), String> {
    if system::is_installed(millrace_testsuite::chromium::PROGRAM) {
        Ok(())
    } else {
        Err(format!("no {}", millrace_testsuite::chromium::PROGRAM))
    }
}
