//! Browser tabs in a room: the page and the server of `make room`, over `publish` and `subscribe`.

use crate::scenarios::Held;
use crate::stage::{INSIDE, Networks, OUTSIDE, start_daemon_as};
use millrace_testsuite::chromium::{Chromium, Page};
use millrace_testsuite::daemon::{Kind, tail};
use millrace_testsuite::netns::{self, Namespace};
use millrace_testsuite::scratch::Scratch;
use millrace_testsuite::system;
use serde_json::{Value, json};
use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

const PORT: u16 = 8080;
/// How long anything that has to happen may take: a bandwidth is found out step by step, and five tabs are much for a
/// small machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a browser assumes of its bandwidth before it hears of it.
const FIRST_BITRATE: f64 = 300_000.0;
/// When the server lets those go whose pages are silent, and a little later.
const MISSED_AFTER: Duration = Duration::from_secs(20);
/// Sets how long the room is looked at before somebody leaves, and how long with losses.
const SECONDS: &str = "MILLRACE_ROOM_SECONDS";
/// The same for users.
pub const ENVIRONMENT: &str = "Environment:\n  MILLRACE_ROOM_SECONDS  How long the scenario room watches four tabs, and then five [8]\n  \
                               MILLRACE_DAEMON        The millrace to test, in place of the one beside this program";
const DEFAULT_SECONDS: u64 = 8;
/// Datagrams that are lost on the way to the fifth tab, and as many on the way from it.
const LOSS: &str = "0.05";
/// Who has sound and picture on ports of their own.
const UNBUNDLED: usize = 1;
const NAMES: [&str; 5] = ["Ann", "Bob", "Cleo", "Dan", "Eve"];

/// The daemon is ours: Debian's rtpengine knows no `publish`.
pub fn available(kind: Kind) -> Result<(), String> {
    if !system::is_installed("iptables") {
        return Err("no iptables".into());
    }
    super::own_flag(kind)
}

/// The server of `make room`, in front of a daemon that runs already.
struct Server {
    child: Child,
}

impl Server {
    fn start(home: &Namespace, control: SocketAddr, folder: &Path) -> Result<Server, String> {
        let own = std::env::current_exe().map_err(|error| format!("no own path: {error}"))?;
        let program = own.with_file_name("millrace-room");
        let log = folder.join("room.log");
        let output = File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        let errors = output.try_clone().map_err(|error| error.to_string())?;
        let mut command = home.command(&program.to_string_lossy());
        command.args(["--address", "0.0.0.0", "--port", &PORT.to_string(), "--control", &control.to_string()]);
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        system::end_with_parent(&mut command);
        let child = command.spawn().map_err(|error| format!("{}: {error}", program.display()))?;
        let server = Server { child };
        let deadline = Instant::now() + Duration::from_secs(5);
        while home.within(|| TcpStream::connect(("127.0.0.1", PORT))).map_or(true, |tried| tried.is_err()) {
            if Instant::now() > deadline || system::interrupted() {
                return Err(format!("{} does not serve its page\n{}", program.display(), tail(&log)));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The child has not been waited for, so its id is still its own.
        let _ = system::signal(self.child.id(), libc::SIGTERM);
        let deadline = Instant::now() + Duration::from_secs(5);
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                eprintln!("millrace-room did not stop on SIGTERM within 5 s; killed");
                let _ = self.child.kill();
                let _ = self.child.wait();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Somebody in the room.
pub(super) struct Tab<'a> {
    pub(super) page: Page<'a>,
    number: usize,
    /// What it says to the page beside its name, tone and colour.
    options: Value,
}

/// Of each sender by its number in `NAMES`, a tone and a colour of its own.
fn hz(number: usize) -> f64 {
    400.0 + 200.0 * number as f64
}

fn hue(number: usize) -> f64 {
    72.0 * number as f64
}

impl<'a> Tab<'a> {
    fn open(browser: &'a Chromium, server: &str, number: usize) -> Result<Tab<'a>, String> {
        Tab::enter(browser, server, number, json!({"unbundled": number == UNBUNDLED}))
    }

    /// Opens the page and joins with these options of it.
    pub(super) fn enter(browser: &'a Chromium, server: &str, number: usize, options: Value) -> Result<Tab<'a>, String> {
        let url = format!("http://{server}:{PORT}/?room=kitchen&synthetic=1");
        let tab = Tab { page: browser.visit(&url, "window.millraceRoom")?, number, options };
        tab.join()?;
        Ok(tab)
    }

    pub(super) fn name(&self) -> &'static str {
        NAMES[self.number]
    }

    fn join(&self) -> Result<(), String> {
        let mut options = self.options.clone();
        for (key, value) in [
            ("room", "kitchen".into()),
            ("name", self.name().into()),
            ("synthetic", true.into()),
            ("hz", hz(self.number).into()),
            ("hue", hue(self.number).into()),
        ] {
            options[key] = value;
        }
        self.page.call("millraceRoom.join", options).map(drop)
    }

    fn leave(&self) -> Result<(), String> {
        self.page.call("millraceRoom.leave", Value::Null).map(drop)
    }

    pub(super) fn look(&self) -> Result<Value, String> {
        self.page.call("millraceRoom.look", Value::Null)
    }

    /// Why this tab does not receive just `senders`, each with its tone, its colour, and more pictures than `before`;
    /// the view of the page when it does.
    fn receives(&self, senders: &[usize], before: Option<&Value>) -> Result<Result<Value, String>, String> {
        let now = self.look()?;
        let others = now["others"].as_object().cloned().unwrap_or_default();
        let count = others.len();
        let fault = |why: &str, what: &Value| Ok(Err(format!("{}: {why}: {what}", self.name())));
        if count != senders.len() {
            return fault(&format!("{count} others, not {}", senders.len()), &now);
        }
        for sender in senders {
            let name = NAMES[*sender];
            let Some(seen) = others.get(name) else { return fault(&format!("no {name}"), &now) };
            let frames = |view: &Value| view["framesDecoded"].as_f64().unwrap_or(0.0);
            // A subscription that was made anew counts from zero.
            let earlier = before.map_or(0.0, |before| frames(&before["others"][name]));
            let number = |key: &str| seen[key].as_f64().unwrap_or(-1000.0);
            let turn = (number("hue") - hue(*sender)).rem_euclid(360.0);
            if seen["transports"] != 1 {
                return fault(&format!("more than one transport from {name}"), seen);
            }
            if (number("hz") - hz(*sender)).abs() > 15.0 || number("db") < -60.0 {
                return fault(&format!("does not hear {name}"), seen);
            }
            if turn.min(360.0 - turn) > 25.0 {
                return fault(&format!("does not see {name}"), seen);
            }
            if frames(seen) < earlier + 5.0 {
                return fault(&format!("no new pictures of {name} after {earlier}"), seen);
            }
        }
        Ok(Ok(now))
    }
}

/// Waits until `look` gives something; what it says instead at the end is the fault.
pub(super) fn wait_for<T>(mut look: impl FnMut() -> Result<Result<T, String>, String>) -> Result<T, String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match look()? {
            Ok(found) => return Ok(found),
            Err(why) if Instant::now() > deadline || system::interrupted() => return Err(why),
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// Waits until each tab receives all the others, with new pictures since `before`; what each sees then.
fn all_receive(tabs: &[&Tab], before: Option<&[Value]>) -> Result<Vec<Value>, String> {
    let each = tabs.iter().enumerate().map(|(place, tab)| {
        let senders: Vec<usize> = tabs.iter().map(|tab| tab.number).filter(|number| *number != tab.number).collect();
        wait_for(|| tab.receives(&senders, before.and_then(|before| before.get(place))))
    });
    each.collect()
}

/// Looks again and again until the time is over, each time for new pictures and the tones of all; the last view.
fn watch(tabs: &[&Tab], time: Duration) -> Result<Vec<Value>, String> {
    let started = Instant::now();
    let mut views = all_receive(tabs, None)?;
    while started.elapsed() < time && !system::interrupted() {
        std::thread::sleep(Duration::from_secs(1));
        views = all_receive(tabs, Some(&views))?;
    }
    Ok(views)
}

fn time() -> Result<Duration, String> {
    match std::env::var(SECONDS) {
        Ok(text) => text.parse().map(Duration::from_secs).map_err(|_| format!("{SECONDS} is a number of seconds")),
        Err(_) => Ok(Duration::from_secs(DEFAULT_SECONDS)),
    }
}

pub fn run(kind: Kind, folder: &Path) -> Result<String, String> {
    in_room(kind, folder, |networks, near, far| meet(networks, near, far, &folder.join("views.json")))
}

/// Lets a browser on each side of the daemon meet in a room, and sees that everything is freed afterwards.
pub(super) fn in_room(
    kind: Kind,
    folder: &Path,
    meet: impl FnOnce(&Networks, &Chromium, &Chromium) -> Result<String, String>,
) -> Result<String, String> {
    let networks = Networks::make()?;
    // Without a route to the world, a browser takes itself for offline and gathers no candidates.
    networks.caller.ip(&["route", "add", "default", "via", OUTSIDE])?;
    networks.callee.ip(&["route", "add", "default", "via", INSIDE])?;
    let interfaces = [OUTSIDE, INSIDE].map(|address| format!("room/{address}"));
    // Losses are made by the firewall, which does not see what comes and goes by AF_XDP.
    let options = vec!["--fastpath-af-xdp=off".to_owned()];
    let mut daemon = start_daemon_as(&networks, kind, interfaces.into(), options, folder)?;
    let idle = Held::by(&daemon)?;
    let note = {
        let scratch = Scratch::make("room-browser")?;
        let server = Server::start(&networks.proxy, daemon.control_address(), folder)?;
        let near = browser(&networks.caller, &scratch, "near", folder)?;
        let far = browser(&networks.callee, &scratch, "far", folder)?;
        let note = meet(&networks, &near, &far);
        drop((near, far));
        // Closed tabs have said goodbye, or, where that was lost on the way, are missed after a while.
        let outcome = note.and_then(|note| idle.wait_within(&mut daemon, MISSED_AFTER).map(|()| note));
        drop(server);
        outcome?
    };
    idle.wait_for(&mut daemon)?;
    Ok(format!("{note}; all freed"))
}

fn browser(home: &Namespace, scratch: &Scratch, name: &str, folder: &Path) -> Result<Chromium, String> {
    let profile = scratch.path().join(name);
    std::fs::create_dir(&profile).map_err(|error| format!("{}: {error}", profile.display()))?;
    Chromium::start(home, &profile, &folder.join(format!("{name}-chromium.log")))
}

fn meet(networks: &Networks, near: &Chromium, far: &Chromium, file: &Path) -> Result<String, String> {
    let time = time()?;
    let tabs = (0..4).map(|number| Tab::open(near, OUTSIDE, number)).collect::<Result<Vec<_>, _>>()?;
    let all: Vec<&Tab> = tabs.iter().collect();
    let four = watch(&all, time)?;
    let bitrates = wait_for_bandwidth(&all)?;

    let (last, stayed) = all.split_last().ok_or("no tabs")?;
    last.leave()?;
    all_receive(stayed, None)?;
    last.join()?;
    let again = all_receive(&all, None)?;
    undisturbed(stayed, &four, &again)?;

    lose_datagrams(networks)?;
    let lossy = Tab::open(far, INSIDE, 4)?;
    let five: Vec<&Tab> = all.iter().copied().chain([&lossy]).collect();
    let with_loss = watch(&five, time)?;
    let repaired = wait_for(|| repairs(&lossy))?;
    let views = json!({"four": four, "again": again, "lossy": with_loss});
    std::fs::write(file, format!("{views:#}")).map_err(|error| format!("{}: {error}", file.display()))?;
    lossy.page.close()?;
    all_receive(&all, None)?;
    for tab in tabs {
        tab.page.close()?;
    }
    Ok(format!("{bitrates}; behind losses {}; {repaired}", summary(with_loss.last().unwrap_or(&Value::Null))))
}

/// How losses are made good both ways, once they are by streams of retransmissions (RFC 4588): what comes again in the
/// stream itself would be counted as if it had never been lost.
fn repairs(lossy: &Tab) -> Result<Result<String, String>, String> {
    let view = lossy.look()?;
    let others = view["others"].as_object().cloned().unwrap_or_default();
    let number = |of: &Value, name: &str| of[name].as_f64().unwrap_or(0.0);
    let is_repaired = |of: &Value| number(of, "retransmitted") > 0.0 && number(of, "videoLost") > 0.0;
    let sent = &view["sent"];
    let is_repairing = number(sent, "retransmitted") > 0.0 && number(sent, "repairStreams") > 0.0;
    if others.is_empty() || !others.values().all(is_repaired) || !is_repairing {
        return Ok(Err(format!("{} gets or sends no retransmissions in streams of their own: {view}", lossy.name())));
    }
    let each = others.iter().map(|(name, of)| {
        let (again, lost, all) = (number(of, "retransmitted"), number(of, "videoLost"), number(of, "videoPackets"));
        format!("{again} of {lost} lost and {all} received from {name}")
    });
    Ok(Ok(format!("packets again as rtx: {}", each.collect::<Vec<_>>().join(", "))))
}

/// Whether the tabs that stayed receive each other by the same subscriptions as before.
fn undisturbed(stayed: &[&Tab], before: &[Value], after: &[Value]) -> Result<(), String> {
    for (tab, (before, after)) in stayed.iter().zip(before.iter().zip(after)) {
        for other in stayed.iter().filter(|other| other.number != tab.number) {
            let subscription = |view: &Value| view["others"][other.name()]["subscription"].clone();
            if subscription(before) != subscription(after) {
                return Err(format!("{} had to subscribe to {} again", tab.name(), other.name()));
            }
        }
    }
    Ok(())
}

/// Waits until everybody sends more than a browser begins with: it was told of its bandwidth.
fn wait_for_bandwidth(tabs: &[&Tab]) -> Result<String, String> {
    let each = tabs.iter().map(|tab| {
        wait_for(|| {
            let sent = tab.look()?["sent"].take();
            let rate = |name: &str| sent[name].as_f64().unwrap_or(0.0);
            let (available, target) = (rate("availableOutgoingBitrate"), rate("targetBitrate"));
            let is_told = available.min(target) > 1.2 * FIRST_BITRATE;
            let found = format!("{:.0} of {:.0}", target / 1000.0, available / 1000.0);
            Ok(if is_told { Ok(found) } else { Err(format!("{} sends {found} kbit/s: {sent}", tab.name())) })
        })
    });
    let found = each.collect::<Result<Vec<_>, _>>()?;
    Ok(format!("kbit/s sent of those available: {}", found.join(", ")))
}

/// Drops one datagram in twenty at the daemon and at the fifth tab, each on its way in: whoever sends does not notice.
fn lose_datagrams(networks: &Networks) -> Result<(), String> {
    for (home, interface) in [(&networks.proxy, "internal"), (&networks.callee, "out")] {
        let mut command = home.command("iptables");
        command.args(["-A", "INPUT", "-i", interface, "-p", "udp", "-m", "statistic", "--mode", "random"]);
        netns::run(command.args(["--probability", LOSS, "-j", "DROP"]))?;
    }
    Ok(())
}

/// What a tab counts of the others, summed up.
fn summary(view: &Value) -> String {
    let sum = |name: &str| -> f64 {
        let others = view["others"].as_object().into_iter().flat_map(|others| others.values());
        others.map(|other| other[name].as_f64().unwrap_or(0.0)).sum()
    };
    let sent = |name: &str| view["sent"][name].as_f64().unwrap_or(0.0);
    format!(
        "{} frames decoded, {} freezes, {} NACKs, {} retransmitted packets, {} PLIs received; {} retransmitted packets \
         and {} PLIs for what it sends at {:.0} kbit/s",
        sum("framesDecoded"),
        sum("freezes"),
        sum("nacks"),
        sum("retransmitted"),
        sum("plis"),
        sent("retransmitted"),
        sent("plis"),
        sent("targetBitrate") / 1000.0
    )
}
