//! The daemon is killed under traffic: what is forwarded in the kernel goes on, a daemon that comes after it takes it over or
//! removes it, and a daemon that ends in order leaves nothing.

use crate::Scenario;
use crate::ctl;
use crate::fastpath::ours;
use crate::scenarios::at;
use crate::sip::Role;
use crate::stage::{CALLEE, CALLER, Networks, launch_daemon};
use millrace::sdp::Attribute;
use millrace::sdp::crypto::Crypto;
use millrace::srtp::{MasterKey, Parameters, Protector, Unprotector};
use millrace_testsuite::daemon::{Daemon, Kind};
use millrace_testsuite::netns;
use millrace_testsuite::ng::{Client, Encoding};
use millrace_testsuite::scratch::Scratch;
use millrace_testsuite::{sdp, system};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub const ALL: &[Scenario] = &[
    Scenario { name: "killed", what: "media outlives a killed daemon", needs: ours, run: keep },
    Scenario { name: "killed-tc", what: "the same where TC forwards", needs: ours, run: keep_tc },
    Scenario { name: "killed-srtp", what: "the same with SRTP on one side", needs: ours, run: keep_srtp },
    Scenario { name: "killed-copies", what: "the same with a third who listens", needs: ours, run: keep_copies },
    Scenario { name: "killed-flush", what: "what a killed daemon left is removed", needs: ours, run: flush },
];

const KILLS: u64 = 50;
/// Of these kills, every fifth comes while the daemon starts.
const EARLY: u64 = 5;
const PACE: Duration = Duration::from_millis(10);
/// How long media may be silent, in seconds.
const SILENT_S: u64 = 2;
/// The key that the caller sends with.
const KEY: &str = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd";
/// For what the kernel frees a little later.
const PATIENCE: Duration = Duration::from_secs(5);

fn keep(kind: Kind, folder: &Path) -> Result<String, String> {
    survive(kind, folder, &Networks::make()?, &PLAIN, KILLS)
}

fn keep_srtp(kind: Kind, folder: &Path) -> Result<String, String> {
    survive(kind, folder, &Networks::make()?, &SRTP, KILLS / 5)
}

fn keep_copies(kind: Kind, folder: &Path) -> Result<String, String> {
    survive(kind, folder, &Networks::make()?, &COPIES, KILLS / 5)
}

fn keep_tc(kind: Kind, folder: &Path) -> Result<String, String> {
    let networks = Networks::make()?;
    for home in [&networks.caller, &networks.callee] {
        netns::run(home.command("ethtool").args(["-K", "out", "gro", "off"]))?;
    }
    survive(kind, folder, &networks, &BY_TC, KILLS / 5)
}

fn survive(kind: Kind, folder: &Path, networks: &Networks, play: &Play, kills: u64) -> Result<String, String> {
    let pins = Bpffs::mount()?;
    let path = play.path;
    let theatre = Theatre { networks, kind, folder, pins: &pins, play, restart: "keep" };
    let mut objects = Objects::default();
    let mut daemon = theatre.start(0)?;
    objects.add(&daemon)?;
    let call = Call::set_up(networks, &daemon, "first", [6000, 7000], play.is_secure)?;
    let listener = if play.has_listener { Some(listen(networks, &daemon, "first")?) } else { None };
    let mut longest = Duration::ZERO;
    let (received, rest) = call.talk(|| {
        wait_for(path, || call.ways(&daemon))?;
        for kill in 1..=kills {
            let (next, down) = theatre.kill(daemon, kill)?;
            daemon = next;
            objects.add(&daemon)?;
            longest = longest.max(down);
            std::thread::sleep(Duration::from_millis(kill * 7 % 200));
        }
        let ports = ports_used(&daemon)?;
        let own = if play.has_listener { 6 } else { 4 };
        if ports != own {
            return Err(format!("{ports} ports are in use, {own} belong to the call that goes on"));
        }
        newcomer(networks, &daemon, path)?;
        Ok(daemon)
    })?;
    if let Some(listener) = &listener {
        let heard = drain(listener)?;
        if heard != received[0] {
            return Err(format!("of {} packets {heard} came to the listener", received[0]));
        }
    }
    daemon = rest;
    let deadline = Instant::now() + Duration::from_secs(SILENT_S) + PATIENCE;
    while ports_used(&daemon)? > 0 {
        if Instant::now() > deadline {
            return Err("the ports of the call were not freed after it had ended".to_owned());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    newcomer(networks, &daemon, path)?;
    drop(daemon);
    objects.are_gone(networks, &pins)?;
    let down_ms = longest.as_millis();
    Ok(format!("{kills} kills, {received:?} packets, none lost, the daemon down for up to {down_ms} ms; nothing left"))
}

fn flush(kind: Kind, folder: &Path) -> Result<String, String> {
    let networks = Networks::make()?;
    let pins = Bpffs::mount()?;
    let theatre = Theatre { networks: &networks, kind, folder, pins: &pins, play: &PLAIN, restart: "flush" };
    let mut old = Objects::default();
    let mut daemon = theatre.start(0)?;
    old.add(&daemon)?;
    let call = Call::set_up(&networks, &daemon, "first", [6000, 7000], false)?;
    let (received, next) = call
        .talk(|| {
            wait_for("xdp", || call.ways(&daemon))?;
            daemon.kill()?;
            std::thread::sleep(Duration::from_millis(500));
            Ok(())
        })
        .and_then(|(received, ())| Ok((received, theatre.start(1)?)))?;
    daemon = next;
    old.are_gone_from_kernel()?;
    if ports_used(&daemon)? != 0 {
        return Err("ports are in use".to_owned());
    }
    let rest = call.talk_for(Duration::from_millis(300))?;
    if rest != [0, 0] {
        return Err(format!("a call that was flushed goes on: {rest:?} packets"));
    }
    newcomer(&networks, &daemon, "xdp")?;
    let mut new = Objects::default();
    new.add(&daemon)?;
    drop(daemon);
    new.are_gone(&networks, &pins)?;
    Ok(format!("{received:?} packets, none lost while it was down; flushed, then a new call; nothing left"))
}

/// What is played.
struct Play {
    /// The way of the call, which is also the option.
    path: &'static str,
    /// The caller speaks SRTP.
    is_secure: bool,
    /// Somebody listens to the caller.
    has_listener: bool,
}

const PLAIN: Play = Play { path: "xdp", is_secure: false, has_listener: false };
const BY_TC: Play = Play { path: "tc", ..PLAIN };
const SRTP: Play = Play { is_secure: true, ..PLAIN };
const COPIES: Play = Play { has_listener: true, ..SRTP };

/// Where daemons play one after the other.
struct Theatre<'a> {
    networks: &'a Networks,
    kind: Kind,
    folder: &'a Path,
    pins: &'a Bpffs,
    play: &'a Play,
    restart: &'static str,
}

impl<'a> Theatre<'a> {
    fn launch(&self, number: u64) -> Result<Daemon<'a>, String> {
        let folder = self.folder.join(format!("daemon-{number}"));
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let options = [
            format!("--fastpath={}", self.play.path),
            format!("--fastpath-srtp={}", if self.play.is_secure { "on" } else { "off" }),
            format!("--fastpath-pin={}/millrace", self.pins.path.display()),
            format!("--fastpath-restart={}", self.restart),
            format!("--timeout={SILENT_S}"),
            "--media-sockets=shared".to_owned(),
            "-L".to_owned(),
            "6".to_owned(),
        ];
        launch_daemon(self.networks, self.kind, &options, &folder)
    }

    fn start(&self, number: u64) -> Result<Daemon<'a>, String> {
        let mut daemon = self.launch(number)?;
        daemon.wait_for_answer()?;
        Ok(daemon)
    }

    /// Kills the daemon, sometimes another one that is about to start, and starts the next; how long none was there.
    fn kill(&self, daemon: Daemon<'a>, number: u64) -> Result<(Daemon<'a>, Duration), String> {
        daemon.kill()?;
        let since = Instant::now();
        std::thread::sleep(Duration::from_millis(number * 37 % 300));
        if number.is_multiple_of(EARLY) {
            let early = self.launch(number)?;
            std::thread::sleep(Duration::from_millis(number * 4));
            early.kill()?;
        }
        Ok((self.start(number)?, since.elapsed()))
    }
}

/// A bpffs that all namespaces see, unmounted when it goes out of scope.
struct Bpffs {
    path: PathBuf,
    _scratch: Scratch,
}

impl Bpffs {
    fn mount() -> Result<Bpffs, String> {
        let scratch = Scratch::make("bpffs")?;
        let path = scratch.path().join("bpffs");
        fs::create_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        netns::run(Command::new("mount").args(["-t", "bpf", "bpf"]).arg(&path))?;
        Ok(Bpffs { path, _scratch: scratch })
    }

    fn is_empty(&self) -> Result<(), String> {
        let entries = fs::read_dir(&self.path).map_err(|error| format!("{}: {error}", self.path.display()))?;
        let names = entries.flatten().map(|entry| entry.path().display().to_string());
        // The kernel's own have dots, which nobody else's may have.
        let left: Vec<String> = names.filter(|name| !name.ends_with(".debug")).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("pins are left: {left:?}")) }
    }
}

impl Drop for Bpffs {
    fn drop(&mut self) {
        if let Err(why) = netns::run(Command::new("umount").arg(&self.path)) {
            eprintln!("{why}");
        }
    }
}

/// Has somebody listen to the caller of a call; a socket with room for all that comes.
fn listen(networks: &Networks, daemon: &Daemon, call_id: &str) -> Result<UdpSocket, String> {
    let mut client: Client = daemon.client(Encoding::Bencode)?;
    let mut ask = |request: Value| client.ask(&request).map_err(|error| error.to_string());
    let reply = ask(json!({
        "command": "subscribe request", "call-id": call_id, "from-tag": "a", "transport-protocol": "RTP/AVP",
        "interface": "internal",
    }))?;
    let to = at(CALLEE, 7300)?;
    let answer = sdp::audio(to, 1, &["a=recvonly"]);
    let reply = ask(json!({
        "command": "subscribe answer", "call-id": call_id, "from-tag": "a", "to-tag": reply["to-tag"], "sdp": answer,
    }))?;
    if reply["result"] != "ok" {
        return Err(format!("subscribe answer: {reply}"));
    }
    let socket = networks.socket(Role::Callee, to)?;
    system::set_buffers(&socket, 16 << 20).map_err(|error| error.to_string())?;
    socket.set_nonblocking(true).map_err(|error| error.to_string())?;
    Ok(socket)
}

/// How many datagrams have come.
fn drain(socket: &UdpSocket) -> Result<u32, String> {
    let (mut count, mut buffer) = (0, [0; 2048]);
    while socket.recv(&mut buffer).is_ok() {
        count += 1;
    }
    Ok(count)
}

/// What daemons had in the kernel, by kind and number.
#[derive(Default)]
struct Objects(BTreeSet<(&'static str, u32)>);

impl Objects {
    /// Notes what a daemon holds. It has to have its programs for XDP and for its ports.
    fn add(&mut self, daemon: &Daemon) -> Result<(), String> {
        let folder = format!("/proc/{}/fdinfo", daemon.pid());
        let entries = fs::read_dir(&folder).map_err(|error| format!("{folder}: {error}"))?;
        let texts: Vec<String> = entries.flatten().flat_map(|entry| fs::read_to_string(entry.path())).collect();
        let before = self.0.len();
        for (line, kind) in texts.iter().flat_map(|text| text.lines()).filter_map(|line| {
            ["map_id:", "prog_id:", "link_id:"].into_iter().find(|kind| line.starts_with(kind)).map(|kind| (line, kind))
        }) {
            let number = line[kind.len()..].trim().parse().map_err(|_| format!("no number in {line}"))?;
            self.0.insert((kind, number));
        }
        if self.0.len() == before {
            return Err("the daemon has no programs".to_owned());
        }
        let has_steering = texts.iter().any(|text| text.contains("link_type:\tnetns"));
        if has_steering { Ok(()) } else { Err("the daemon's ports have no program that steers them".to_owned()) }
    }

    fn left(&self) -> Vec<(&'static str, u32)> {
        let programs: BTreeSet<u32> = aya::programs::loaded_programs().flatten().map(|info| info.id()).collect();
        let maps: BTreeSet<u32> = aya::maps::loaded_maps().flatten().map(|info| info.id()).collect();
        let links: BTreeSet<u32> = aya::programs::loaded_links().flatten().map(|info| info.id()).collect();
        let is_there = |(kind, number): &(&str, u32)| match *kind {
            "map_id:" => maps.contains(number),
            "prog_id:" => programs.contains(number),
            _ => links.contains(number),
        };
        self.0.iter().filter(|object| is_there(object)).copied().collect()
    }

    /// The kernel frees some of it a little later.
    fn are_gone_from_kernel(&self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = self.left();
            if left.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("of {} objects in the kernel are left: {left:?}", self.0.len()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn are_gone(&self, networks: &Networks, pins: &Bpffs) -> Result<(), String> {
        pins.is_empty()?;
        let links = networks.proxy.ip(&["link", "show"])?;
        if links.contains("xdp") {
            return Err(format!("a program is left on an interface: {links}"));
        }
        self.are_gone_from_kernel()
    }
}

/// What both sides have heard of each other.
struct Exchange<T> {
    /// How often each packet came to the callee, and to the caller.
    received: [Vec<u32>; 2],
    /// How many were sent there.
    sent: [u32; 2],
    done: T,
}

/// A call between two sockets.
struct Call {
    name: &'static str,
    /// Caller and callee, and where each of them sends to.
    ends: [(UdpSocket, SocketAddr); 2],
    /// What the caller sends with, and gets, if that is SRTP.
    keys: Option<[Parameters; 2]>,
}

impl Call {
    fn set_up(
        networks: &Networks,
        daemon: &Daemon,
        name: &'static str,
        ports: [u16; 2],
        is_secure: bool,
    ) -> Result<Call, String> {
        let (caller, callee) = (at(CALLER, ports[0])?, at(CALLEE, ports[1])?);
        let mut client = daemon.client(Encoding::Bencode)?;
        let mut ask = |mut request: Value, described: String| {
            request["call-id"] = name.into();
            request["from-tag"] = "a".into();
            request["sdp"] = described.into();
            let reply = client.ask(&request).map_err(|error| error.to_string())?;
            let described = reply["sdp"].as_str().unwrap_or_default().to_owned();
            let address = sdp::media_address(&described).ok_or(format!("no address in {reply}"))?;
            Ok::<_, String>((address, described))
        };
        let own = is_secure.then_some(KEY);
        let offer = match own {
            Some(key) => sdp::audio(caller, 1, &[key]).replace("RTP/AVP", "RTP/SAVP"),
            None => sdp::audio(caller, 1, &[]),
        };
        let request =
            json!({"command": "offer", "direction": ["external", "internal"], "transport-protocol": "RTP/AVP"});
        let (for_callee, _) = ask(request, offer)?;
        let answer = json!({"command": "answer", "to-tag": "b"});
        let (for_caller, described) = ask(answer, sdp::audio(callee, 1, &[]))?;
        let keys = match own {
            Some(key) => Some([parameters(key)?, parameters(&described)?]),
            None => None,
        };
        let mouth = networks.socket(Role::Caller, caller)?;
        let ear = networks.socket(Role::Callee, callee)?;
        Ok(Call { name, ends: [(mouth, for_caller), (ear, for_callee)], keys })
    }

    /// The way of each direction.
    fn ways(&self, daemon: &Daemon) -> Result<[String; 2], String> {
        let mut client: Client = daemon.client(Encoding::Bencode)?;
        let request = json!({"command": "query", "call-id": self.name});
        let reply = client.ask(&request).map_err(|error| error.to_string())?;
        let way = |tag: &str| {
            let stream = &reply["tags"][tag]["medias"][0]["streams"][0];
            let reason = stream["fast path reason"].as_str().unwrap_or_default();
            format!("{}{reason}", stream["fast path"].as_str().unwrap_or("unknown"))
        };
        Ok(["a", "b"].map(way))
    }

    /// Lets both sides talk while `meanwhile` is done, and demands that each packet arrives once; how many came each way.
    fn talk<T>(&self, meanwhile: impl FnOnce() -> Result<T, String>) -> Result<([u32; 2], T), String> {
        let Exchange { received, sent, done } = self.exchange(meanwhile)?;
        for (counts, sent) in received.iter().zip(sent) {
            let lost: Vec<usize> = (0..sent as usize).filter(|number| counts.get(*number) != Some(&1)).collect();
            if !lost.is_empty() {
                let some = &lost[..lost.len().min(20)];
                return Err(format!("of {sent} packets {} did not arrive once: {some:?}", lost.len()));
            }
        }
        Ok((sent, done))
    }

    /// Lets both sides talk for some time; how many packets came each way.
    fn talk_for(&self, time: Duration) -> Result<[u32; 2], String> {
        let exchange = self.exchange(|| {
            std::thread::sleep(time);
            Ok(())
        })?;
        Ok(exchange.received.map(|counts| counts.iter().sum()))
    }

    /// Lets both sides talk while `meanwhile` is done.
    fn exchange<T>(&self, meanwhile: impl FnOnce() -> Result<T, String>) -> Result<Exchange<T>, String> {
        let (is_silent, is_over) = (AtomicBool::new(false), AtomicBool::new(false));
        let [(caller, from_caller), (callee, from_callee)] = &self.ends;
        std::thread::scope(|scope| {
            let (is_silent_here, is_over_here) = (&is_silent, &is_over);
            let [send, receive] =
                self.keys.as_ref().map_or([None, None], |[send, receive]| [Some(send), Some(receive)]);
            let ears = [(callee, None), (caller, receive)]
                .map(|(socket, keys)| scope.spawn(move || hear(socket, keys, is_over_here)));
            let mouths = [(caller, from_caller, 0xca11, send), (callee, from_callee, 0xca22, None)]
                .map(|(socket, to, ssrc, keys)| scope.spawn(move || speak(socket, *to, ssrc, keys, is_silent_here)));
            let done = meanwhile();
            is_silent.store(true, Ordering::Relaxed);
            let sent = mouths.map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            std::thread::sleep(Duration::from_millis(200));
            is_over.store(true, Ordering::Relaxed);
            let received = ears.map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            let (done, [one, other], [up, down]) = (done?, sent, received);
            Ok(Exchange { received: [up?, down?], sent: [one?, other?], done })
        })
    }
}

/// The keys of a description's first line of SDES.
fn parameters(described: &str) -> Result<Parameters, String> {
    let line = described.lines().find_map(|line| line.trim().strip_prefix("a=crypto:")).ok_or("no key is offered")?;
    let crypto = Crypto::parse(&Attribute::with_value("crypto", line)).ok_or(format!("no key in {line}"))?;
    let master = MasterKey::from_concatenated(crypto.suite, crypto.key.expose()).ok_or("a key of another length")?;
    Ok(Parameters::new(crypto.suite, master))
}

/// Sends numbered packets until it is to be silent; how many.
fn speak(
    socket: &UdpSocket,
    to: SocketAddr,
    ssrc: u32,
    keys: Option<&Parameters>,
    is_silent: &AtomicBool,
) -> Result<u32, String> {
    let (mut number, mut due) = (0u32, Instant::now());
    let mut protector = keys.map(Protector::new);
    while !is_silent.load(Ordering::Relaxed) && !system::interrupted() {
        let mut packet = vec![0x80, 8];
        packet.extend((number as u16).to_be_bytes());
        packet.extend((number * 80).to_be_bytes());
        packet.extend(ssrc.to_be_bytes());
        packet.extend(number.to_be_bytes());
        packet.extend([0xd5; 76]);
        if let Some(protector) = &mut protector {
            let length = packet.len();
            packet.resize(length + 16, 0);
            let length = protector.protect_rtp(&mut packet, length).map_err(|error| error.to_string())?;
            packet.truncate(length);
        }
        match socket.send_to(&packet, to) {
            // A port that is closed says so.
            Err(error) if error.kind() != std::io::ErrorKind::ConnectionRefused => return Err(error.to_string()),
            _ => number += 1,
        }
        due += PACE;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    Ok(number)
}

/// Counts packets by their number.
fn hear(socket: &UdpSocket, keys: Option<&Parameters>, is_over: &AtomicBool) -> Result<Vec<u32>, String> {
    let mut counts = Vec::new();
    let mut unprotector = keys.map(Unprotector::new);
    let mut buffer = [0; 2048];
    socket.set_read_timeout(Some(Duration::from_millis(50))).map_err(|error| error.to_string())?;
    while !is_over.load(Ordering::Relaxed) {
        let Ok(mut bytes) = socket.recv(&mut buffer) else { continue };
        if let Some(unprotector) = &mut unprotector {
            bytes = unprotector.unprotect_rtp(&mut buffer[..bytes]).map_err(|error| format!("SRTP: {error}"))?;
        }
        let Some(number) = buffer[..bytes].get(12..16).filter(|_| bytes == 92) else { continue };
        let number = u32::from_be_bytes([number[0], number[1], number[2], number[3]]) as usize;
        counts.resize(counts.len().max(number + 1), 0);
        counts[number] += 1;
    }
    Ok(counts)
}

/// Waits until both directions have a way.
fn wait_for(way: &str, ways: impl Fn() -> Result<[String; 2], String>) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = ways()?;
        if found.iter().all(|one| one == way) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("the ways are {found:?}"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Another call, from its beginning to its end.
fn newcomer(networks: &Networks, daemon: &Daemon, path: &str) -> Result<(), String> {
    let call = Call::set_up(networks, daemon, "second", [6100, 7100], false)?;
    call.talk(|| wait_for(path, || call.ways(daemon)))?;
    let mut client = daemon.client(Encoding::Bencode)?;
    client.ask(&json!({"command": "delete", "call-id": "second"})).map_err(|error| error.to_string())?;
    Ok(())
}

fn ports_used(daemon: &Daemon) -> Result<u64, String> {
    let text = daemon.cli("list interfaces")?;
    text.match_indices("Ports used:").map(|(at, name)| ctl::number_after(&text[at..], name)).sum()
}
