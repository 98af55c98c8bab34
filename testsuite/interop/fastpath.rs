//! The fast path and userspace do the same: one list of datagrams, of all kinds, is sent through a call twice, once with
//! each; what arrives and what the daemon counts must be equal. The order may differ where packets change from one way to the
//! other: one has no queue before it.

use crate::Scenario;
use crate::cover::{Cover, put_on, take_off};
use crate::scenarios::{at, parsed};
use crate::sip::Role;
use crate::stage::{
    CALLEE, CALLEE_IP6, CALLER, CALLER_IP6, INSIDE, Networks, OUTSIDE, start_daemon_as, start_daemon_with,
};
use crate::tap::Tap;
use millrace::base::suite::Suite;
use millrace::srtp::{Parameters, Protector};
use millrace_testsuite::daemon::{Daemon, Kind};
use millrace_testsuite::netns::{self, Namespace};
use millrace_testsuite::ng::{Client, Encoding};
use millrace_testsuite::sdp;
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::net::{SocketAddr, UdpSocket};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub const ALL: &[Scenario] = &[
    Scenario { name: "same-bytes", what: "XDP forwards as userspace does", needs: ours, run: ip4 },
    Scenario { name: "same-bytes-ip6", what: "the same from IPv4 to IPv6", needs: ours, run: ip4_to_ip6 },
    Scenario { name: "same-bytes-tc", what: "TC forwards as userspace does", needs: ours, run: tc },
    Scenario {
        name: "same-bytes-af-xdp",
        what: "the daemon forwards alike what comes past the network stack",
        needs: ours,
        run: af_xdp,
    },
    Scenario { name: "same-bytes-af-xdp-ip6", what: "the same to IPv6", needs: ours, run: af_xdp_ip6 },
    Scenario { name: "same-bytes-af-xdp-keys", what: "the same between SDES keys", needs: ours, run: af_xdp_keys },
    Scenario { name: "same-bytes-tc-ip6", what: "the same over IPv6", needs: ours, run: tc_ip6 },
    Scenario { name: "tc-family", what: "TC leaves another family to userspace", needs: ours, run: tc_family },
    Scenario {
        name: "same-bytes-copies",
        what: "the same to five, with numbers of their own",
        needs: ours,
        run: copies,
    },
    Scenario {
        name: "same-bytes-copies-srtp",
        what: "the same from SDES to five, some of them with keys of their own",
        needs: ours,
        run: protected_copies,
    },
    Scenario { name: "same-bytes-32", what: "the same to 32", needs: ours, run: many_copies },
    Scenario {
        name: "same-bytes-loopback",
        what: "the same between two on the daemon's host, and from one there to another host",
        needs: ours,
        run: loopback,
    },
    Scenario { name: "same-bytes-sdes", what: "the same from SDES to plain RTP", needs: ours, run: sdes_to_plain },
    Scenario { name: "same-bytes-keys", what: "the same from one SDES key to another", needs: ours, run: other_keys },
    Scenario { name: "same-bytes-pass", what: "the same with SDES passed through", needs: ours, run: equal_keys },
    Scenario { name: "same-bytes-silence", what: "the same with silence in place of media", needs: ours, run: silence },
    Scenario {
        name: "same-bytes-silence-srtp",
        what: "the same from SDES to five, silence for all or for one",
        needs: ours,
        run: silenced_copies,
    },
    Scenario { name: "same-bytes-gcm", what: "the same from one AES-GCM key to another", needs: ours, run: gcm },
];

/// rtpengine has no second path here.
pub fn ours(kind: Kind) -> Result<(), String> {
    if kind == Kind::Millrace { Ok(()) } else { Err("Debian's rtpengine has no XDP programs".into()) }
}

pub const SSRC: u32 = 0x00c0_ffee;
pub const PCMA: u8 = 8;
const EVENT: u8 = 101;
/// Between two datagrams: longer than packets gather, so that order does not depend on the way.
const PACE: Duration = Duration::from_millis(2);
/// Packets of what is usual that come twice.
const TWICE: u64 = 2;
/// Packets while addresses are learned and the entry is installed.
const WARM_UP: u16 = 250;

/// The two ends of a call, who protects what, and how many listen to the caller besides the callee.
#[derive(Clone, Copy)]
struct Ends {
    caller: &'static str,
    callee: &'static str,
    cover: Cover,
    listeners: u16,
    /// Who gets silence in place of what the caller says.
    silence: Silence,
    /// Which of them are on the daemon's host.
    here: [bool; 2],
}

impl Ends {
    /// The daemon's interfaces on both sides.
    fn directions(self) -> [&'static str; 2] {
        let [caller, callee] = self.here;
        [if caller { HERE } else { "external" }, if callee { HERE } else { "internal" }]
    }

    fn home(self, networks: &Networks, role: Role) -> &Namespace {
        let is_here = self.here[usize::from(role == Role::Callee)];
        if is_here { &networks.proxy } else { networks.home(role) }
    }

    fn socket(self, networks: &Networks, role: Role, at: SocketAddr) -> Result<UdpSocket, String> {
        let socket = self.home(networks, role).within(|| UdpSocket::bind(at)).and_then(|socket| socket);
        socket.map_err(|error| format!("{role:?} cannot bind {at}: {error}"))
    }
}

/// The interface of the daemon for those on its host.
const HERE: &str = "here";

#[derive(Clone, Copy)]
enum Silence {
    Nobody,
    Callee,
    All,
}

impl Silence {
    fn ask(self, client: &mut Client) -> Result<(), String> {
        let flow = match self {
            Silence::Nobody => return Ok(()),
            Silence::Callee => json!({"to-tag": "b", "flags": ["directional"]}),
            Silence::All => json!({}),
        };
        let mut request = json!({"command": "silence media", "call-id": "same", "from-tag": "a"});
        for (key, value) in flow.as_object().into_iter().flatten() {
            request[key] = value.clone();
        }
        let reply = client.ask(&request).map_err(|error| error.to_string())?;
        if reply["result"] == "ok" { Ok(()) } else { Err(format!("silence media: {reply}")) }
    }
}

const IP4: Ends = Ends {
    caller: CALLER,
    callee: CALLEE,
    cover: Cover::None,
    listeners: 0,
    silence: Silence::Nobody,
    here: [false; 2],
};
const IP4_TO_IP6: Ends = Ends { callee: CALLEE_IP6, ..IP4 };
const IP6: Ends = Ends { caller: CALLER_IP6, callee: CALLEE_IP6, ..IP4 };
const HERE_IP4: Ends = Ends { caller: "127.0.0.1", callee: "127.0.0.5", here: [true; 2], ..IP4 };
const HERE_IP6: Ends = Ends { caller: "::1", callee: "::1", ..HERE_IP4 };
/// At an address that other hosts know.
const FROM_HERE: Ends = Ends { caller: OUTSIDE, here: [true, false], ..IP4 };

/// How a call is to be forwarded.
#[derive(Clone, Copy)]
struct Mode {
    /// The folder for its files.
    name: &'static str,
    option: &'static str,
    /// What `query` says.
    path: &'static str,
    /// What the cables to the proxy are told at their far ends.
    cables: &'static [&'static str],
}

impl Mode {
    /// Nobody leaves checksums to a device.
    fn is_whole(self) -> bool {
        self.cables == WHOLE_CHECKSUMS
    }

    fn prepare(self, networks: &Networks) -> Result<(), String> {
        for home in [&networks.caller, &networks.callee] {
            if !self.cables.is_empty() {
                netns::run(home.command("ethtool").args(["-K", "out"]).args(self.cables))?;
            }
        }
        for device in ["external", "internal"].iter().filter(|_| self.is_whole()) {
            netns::run(networks.proxy.command("ethtool").args(["-K", device, "tx", "off"]))?;
        }
        Ok(())
    }
}

/// Without GRO at their far ends, the devices of the proxy send no frames of XDP programs.
const NO_GRO: &[&str] = &["gro", "off"];
/// The sender makes the checksum itself, so that the receiver looks at it.
const WHOLE_CHECKSUMS: &[&str] = &["gro", "off", "tx", "off"];

const SLOW: Mode = Mode { name: "off", option: "off", path: "userspace", cables: &[] };
const XDP: Mode = Mode { name: "xdp", option: "xdp", path: "xdp", cables: &[] };
const AF_XDP: Mode = Mode { name: "af-xdp", option: "af-xdp", path: "af_xdp", cables: &[] };
const AF_XDP_WHOLE: Mode = Mode { name: "af-xdp-whole", cables: WHOLE_CHECKSUMS, ..AF_XDP };
const LOOPBACK: Mode = Mode { name: "loopback", option: "auto", path: "loopback", cables: &[] };
const TC: Mode = Mode { name: "tc", option: "tc", path: "tc", cables: NO_GRO };
const TC_BY_ITSELF: Mode = Mode { name: "auto", option: "auto", path: "tc", cables: NO_GRO };
const TC_WHOLE: Mode = Mode { name: "tc-whole", option: "tc", path: "tc", cables: WHOLE_CHECKSUMS };

fn ip4(kind: Kind, folder: &Path) -> Result<String, String> {
    compare(kind, folder, IP4, &[XDP])
}

fn ip4_to_ip6(kind: Kind, folder: &Path) -> Result<String, String> {
    compare(kind, folder, IP4_TO_IP6, &[XDP])
}

fn loopback(kind: Kind, folder: &Path) -> Result<String, String> {
    let cases = [("ip4", HERE_IP4), ("ip6", HERE_IP6), ("out", FROM_HERE)];
    let note = |(name, ends)| Ok(format!("{name}: {}", compare(kind, &folder.join(name), ends, &[LOOPBACK])?));
    cases.into_iter().map(note).collect::<Result<Vec<String>, String>>().map(|notes| notes.join("; "))
}

fn sdes_to_plain(kind: Kind, folder: &Path) -> Result<String, String> {
    compare(kind, folder, Ends { cover: Cover::Caller(Suite::AesCm128Sha1_80), ..IP4 }, &[XDP])
}

fn other_keys(kind: Kind, folder: &Path) -> Result<String, String> {
    compare(kind, folder, Ends { cover: Cover::Both(Suite::AesCm128Sha1_80), ..IP4 }, &[XDP])
}

fn equal_keys(kind: Kind, folder: &Path) -> Result<String, String> {
    compare(kind, folder, Ends { cover: Cover::Same(Suite::AesCm128Sha1_80), ..IP4 }, &[XDP])
}

fn gcm(kind: Kind, folder: &Path) -> Result<String, String> {
    compare(kind, folder, Ends { cover: Cover::Both(Suite::AeadAes128Gcm), ..IP4 }, &[XDP])
}

fn silence(kind: Kind, folder: &Path) -> Result<String, String> {
    compare(kind, folder, Ends { silence: Silence::All, ..IP4_TO_IP6 }, &[XDP])
}

fn silenced_copies(kind: Kind, folder: &Path) -> Result<String, String> {
    let cover = Cover::Caller(Suite::AesCm128Sha1_80);
    let [all, callee] = [Silence::All, Silence::Callee].map(|silence| {
        let folder = folder.join(if matches!(silence, Silence::All) { "all" } else { "callee" });
        compare(kind, &folder, Ends { cover, listeners: 4, silence, ..IP4 }, &[XDP])
    });
    Ok(format!("for all: {}; for one: {}", all?, callee?))
}

fn copies(kind: Kind, folder: &Path) -> Result<String, String> {
    compare(kind, folder, Ends { listeners: 4, ..IP4_TO_IP6 }, &[XDP])
}

fn protected_copies(kind: Kind, folder: &Path) -> Result<String, String> {
    let cover = Cover::Caller(Suite::AesCm128Sha1_80);
    compare(kind, folder, Ends { cover, listeners: 4, ..IP4 }, &[XDP])
}

fn many_copies(kind: Kind, folder: &Path) -> Result<String, String> {
    compare(kind, folder, Ends { listeners: 31, ..IP4 }, &[XDP])
}

fn af_xdp(kind: Kind, folder: &Path) -> Result<String, String> {
    compare(kind, folder, IP4, &[AF_XDP, AF_XDP_WHOLE])
}

fn af_xdp_ip6(kind: Kind, folder: &Path) -> Result<String, String> {
    compare(kind, folder, IP4_TO_IP6, &[AF_XDP])
}

fn af_xdp_keys(kind: Kind, folder: &Path) -> Result<String, String> {
    compare(kind, folder, Ends { cover: Cover::Both(Suite::AesCm128Sha1_80), ..IP4 }, &[AF_XDP])
}

fn tc(kind: Kind, folder: &Path) -> Result<String, String> {
    compare(kind, folder, IP4, &[TC, TC_BY_ITSELF, TC_WHOLE])
}

fn tc_ip6(kind: Kind, folder: &Path) -> Result<String, String> {
    compare(kind, folder, IP6, &[TC, TC_WHOLE])
}

/// A call that changes the family stays in userspace where there is TC alone, and `query` says why.
fn tc_family(kind: Kind, folder: &Path) -> Result<String, String> {
    let networks = Networks::make()?;
    let daemon = start_daemon_with(&networks, kind, "--fastpath=tc", folder)?;
    let mut client = daemon.client(Encoding::Bencode)?;
    let (caller, callee) = (at(CALLER, 6000)?, at(CALLEE_IP6, 7000)?);
    let ([to, _], _) = set_up(&mut client, caller, callee, Cover::None)?;
    let mouth = networks.socket(Role::Caller, caller)?;
    let _ear = networks.socket(Role::Callee, callee)?;
    for number in 0..WARM_UP {
        mouth.send_to(&packet(number, PCMA, &[0xd5; 160]), to).map_err(|error| error.to_string())?;
        std::thread::sleep(PACE);
    }
    let query = query(&mut client)?;
    let stream = caller_stream(&query).ok_or("no stream")?;
    match (stream["fast path"].as_str(), stream["fast path reason"].as_str()) {
        (Some("userspace"), Some("tc_family")) => Ok("tc_family".to_owned()),
        other => Err(format!("query says {other:?}")),
    }
}

/// Packets that the network stack of the host between has sent.
fn sent_by_stack(networks: &Networks) -> Result<u64, String> {
    let read = |file: &str| netns::run(networks.proxy.command("cat").arg(file));
    let ip4 = read("/proc/self/net/snmp")?;
    let mut lines = ip4.lines().filter_map(|line| line.strip_prefix("Ip: "));
    let (names, values) = (lines.next().ok_or("no names")?, lines.next().ok_or("no values")?);
    let mut fields = names.split(' ').zip(values.split(' '));
    let of_ip4 = fields.find(|(name, _)| *name == "OutRequests").map(|(_, value)| value);
    let ip6 = read("/proc/self/net/snmp6")?;
    let of_ip6 = ip6.lines().find_map(|line| line.strip_prefix("Ip6OutRequests"));
    [of_ip4, of_ip6]
        .into_iter()
        .flatten()
        .map(|value| value.trim().parse::<u64>().map_err(|error| error.to_string()))
        .sum()
}

/// Sends the list through userspace, then by each mode.
fn compare(kind: Kind, folder: &Path, ends: Ends, modes: &[Mode]) -> Result<String, String> {
    let slow = pass(kind, folder, ends, SLOW)?;
    let mut notes = Vec::new();
    for mode in modes {
        let fast = pass(kind, folder, ends, *mode)?;
        for (what, slow, fast) in [("wire", &slow.arrived, &fast.arrived), ("socket", &slow.heard, &fast.heard)] {
            compare_datagrams(slow, fast).map_err(|why| format!("{}, {what}: {why}", mode.name))?;
        }
        if slow.counts != fast.counts {
            return Err(format!("userspace counts {}, {} {}", slow.counts, mode.name, fast.counts));
        }
        notes.push(format!("{}: {} and more of them that way", mode.name, fast.in_kernel));
    }
    let alike = slow.arrived.len().max(slow.heard.len());
    if alike == 0 {
        return Err("nothing arrived".to_owned());
    }
    Ok(format!("{alike} datagrams alike, {}; the same counts", notes.join(", ")))
}

fn compare_datagrams(slow: &[Arrived], fast: &[Arrived]) -> Result<(), String> {
    let (mut slow, mut fast) = (slow.to_vec(), fast.to_vec());
    slow.sort();
    fast.sort();
    if slow == fast {
        return Ok(());
    }
    let only = |of: &[Arrived], not: &[Arrived]| {
        let all: Vec<String> = of.iter().filter(|one| !not.contains(one)).map(head).collect();
        format!("{} in all, {} of them alone: {}", of.len(), all.len(), all[..all.len().min(5)].join(", "))
    };
    Err(format!("by sockets {}; that way {}", only(&slow, &fast), only(&fast, &slow)))
}

/// A port, and the payload of a datagram to it.
type Arrived = (u16, Vec<u8>);

/// The length of a datagram and its first bytes.
fn head((port, datagram): &Arrived) -> String {
    format!("to {port} {} bytes {:02x?}", datagram.len(), &datagram[..datagram.len().min(12)])
}

/// What one way made of the list.
struct Run {
    /// What came to the callee and to listeners.
    arrived: Vec<Arrived>,
    /// What the callee's socket got of it.
    heard: Vec<Arrived>,
    counts: Value,
    /// Packets that went the way of the mode, at least.
    in_kernel: u64,
}

fn pass(kind: Kind, folder: &Path, ends: Ends, mode: Mode) -> Result<Run, String> {
    let folder = folder.join(mode.name);
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let networks = Networks::make()?;
    mode.prepare(&networks)?;
    let daemon = start(&networks, kind, ends, mode, &folder)?;
    let mut client = daemon.client(Encoding::Bencode)?;
    let (caller, callee) = (at(ends.caller, 6000)?, at(ends.callee, 7000)?);
    let ([to, _], on_arrival) = set_up_between(&mut client, (caller, callee), ends.directions(), ends.cover)?;
    let mouth = ends.socket(&networks, Role::Caller, caller)?;
    let stranger = ends.socket(&networks, Role::Caller, at(ends.caller, 6666)?)?;
    // Somebody is there: a port that is closed would answer. And who hears checks what a tap does not.
    let ear = Ear::start(ends.socket(&networks, Role::Callee, callee)?)?;
    let mut keys: Vec<(u16, Parameters)> = on_arrival.map(|own| (callee.port(), own)).into_iter().collect();
    let mut sockets = Vec::new();
    for number in 0..ends.listeners {
        let (socket, own) = listen(&mut client, &networks, number, ends.cover)?;
        let port = socket.local_addr().map_err(|error| error.to_string())?.port();
        keys.extend(own.map(|own| (port, own)));
        sockets.push(socket);
    }
    let taps = tap(&networks, ends, caller, callee)?;
    let talk = Talk { mouth: &mouth, stranger: &stranger, to, cover: RefCell::new(ends.cover.on()) };
    talk.warm_up(0..WARM_UP / 5)?;
    // Everybody knows the caller's SSRC by now.
    ends.silence.ask(&mut client)?;
    talk.warm_up(WARM_UP / 5..WARM_UP)?;
    let goes_its_way = |query: &Value| caller_stream(query).is_some_and(|stream| stream["fast path"] == mode.path);
    let is_in_kernel = mode.path != "userspace";
    let name = mode.name;
    let first = query(&mut client)?;
    if is_in_kernel && !goes_its_way(&first) {
        return Err(format!("{name}: {}", first["tags"]));
    }
    let by_stack = sent_by_stack(&networks)?;
    let usual = talk.usual()?;
    let by_caller = if ends.here[0] { usual } else { 0 };
    let by_stack = (sent_by_stack(&networks)? - by_stack).saturating_sub(by_caller);
    if is_in_kernel && by_stack > usual / 4 {
        return Err(format!("{name}: the host's stack has sent {by_stack} packets while there were {usual}"));
    }
    let second = query(&mut client)?;
    if is_in_kernel && !goes_its_way(&second) {
        return Err(format!("{name}: usual packets came to the daemon: {}", second["tags"]));
    }
    let counted = caller_stream(&second).and_then(|stream| stream["stats"]["packets"].as_u64());
    if counted != Some(u64::from(WARM_UP) + usual) {
        return Err(format!("{name}: {counted:?} packets counted, {WARM_UP} and {usual} sent"));
    }
    talk.unusual()?;
    std::thread::sleep(Duration::from_millis(200));
    let counts = counts(&query(&mut client)?);
    let mut heard: Vec<Arrived> = ear.finish()?.into_iter().map(|payload| (callee.port(), payload)).collect();
    let mut arrived = Vec::new();
    for tap in taps {
        let tapped = tap.finish_with_checksums()?;
        if tapped.wrong_checksums > 0 || mode.is_whole() && tapped.partial_checksums > 0 {
            let (wrong, partial) = (tapped.wrong_checksums, tapped.partial_checksums);
            return Err(format!("{name}: {wrong} checksums are wrong, {partial} partial"));
        }
        arrived.extend(tapped.payloads);
    }
    for of in [&mut arrived, &mut heard] {
        uncover(&keys, of).map_err(|why| format!("{name}: {why}"))?;
    }
    client.ask(&json!({"command": "delete", "call-id": "same", "from-tag": "a"})).map_err(|error| error.to_string())?;
    Ok(Run { arrived, heard, counts, in_kernel: usual })
}

fn start<'a>(networks: &'a Networks, kind: Kind, ends: Ends, mode: Mode, folder: &Path) -> Result<Daemon<'a>, String> {
    let option = format!("--fastpath={}", mode.option);
    if ends.here == [false; 2] {
        return start_daemon_with(networks, kind, &option, folder);
    }
    // The loopback device has a program where one of its addresses is listed.
    let here = if ends.caller == OUTSIDE {
        [(HERE, OUTSIDE), ("local", "127.0.0.1")]
    } else {
        [(HERE, "127.0.0.1"), (HERE, "::1")]
    };
    let interfaces = [("internal", INSIDE)].into_iter().chain(here);
    let interfaces = interfaces.map(|(name, address)| format!("{name}/{address}")).collect();
    start_daemon_as(networks, kind, interfaces, vec![option], folder)
}

/// Taps wherever something may arrive, but at the loopback device: there they see frames before the program does.
fn tap(networks: &Networks, ends: Ends, caller: SocketAddr, callee: SocketAddr) -> Result<Vec<Tap>, String> {
    let homes = [(&networks.callee, callee.ip()), (&networks.callee, parsed(CALLEE)?), (&networks.caller, caller.ip())];
    let is_there = |at: usize| !ends.here[usize::from(at < 2)];
    let is_new = |at: &usize| is_there(*at) && homes[..*at].iter().all(|known| known.1 != homes[*at].1);
    (0..homes.len()).filter(is_new).map(|at| Tap::start(homes[at].0, homes[at].1)).collect()
}

/// A socket that is read.
struct Ear {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Vec<u8>>>,
}

impl Ear {
    fn start(socket: UdpSocket) -> Result<Ear, String> {
        socket.set_read_timeout(Some(Duration::from_millis(50))).map_err(|error| error.to_string())?;
        let over = Arc::new(AtomicBool::new(false));
        let flag = over.clone();
        let thread = std::thread::spawn(move || {
            let (mut heard, mut buffer) = (Vec::new(), [0; 4096]);
            while !flag.load(Ordering::Relaxed) {
                let Ok(bytes) = socket.recv(&mut buffer) else { continue };
                heard.push(buffer[..bytes].to_vec());
            }
            heard
        });
        Ok(Ear { over, thread })
    }

    fn finish(self) -> Result<Vec<Vec<u8>>, String> {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| "the ear panicked".into())
    }
}

/// Takes off what is on datagrams to ports with keys, to which RTCP may go besides, one higher.
fn uncover(keys: &[(u16, Parameters)], arrived: &mut Vec<Arrived>) -> Result<(), String> {
    for (port, parameters) in keys {
        let is_own = |arrived: &Arrived| arrived.0 == *port || arrived.0 == port + 1;
        let own: Vec<Vec<u8>> = arrived.iter().filter(|one| is_own(one)).map(|one| one.1.clone()).collect();
        arrived.retain(|arrived| !is_own(arrived));
        let plain = take_off(parameters, &own).map_err(|why| format!("to {port}: {why}"))?;
        arrived.extend(plain.into_iter().map(|payload| (*port, payload)));
    }
    Ok(())
}

/// Places the call; where caller and callee send to, and what is on the caller's packets when the callee gets them.
pub fn set_up(
    client: &mut Client,
    caller: SocketAddr,
    callee: SocketAddr,
    cover: Cover,
) -> Result<([SocketAddr; 2], Option<Parameters>), String> {
    set_up_between(client, (caller, callee), ["external", "internal"], cover)
}

/// The same between two interfaces of the daemon.
fn set_up_between(
    client: &mut Client,
    (caller, callee): (SocketAddr, SocketAddr),
    directions: [&str; 2],
    cover: Cover,
) -> Result<([SocketAddr; 2], Option<Parameters>), String> {
    let mut ask = |request: Value| {
        let reply = client.ask(&request).map_err(|error| error.to_string())?;
        if reply["result"] == "ok" { Ok(reply) } else { Err(format!("{}: {reply}", request["command"])) }
    };
    let describe = |address: SocketAddr, is_caller: bool, shown: &str| {
        let protocol = cover.protocols()[usize::from(!is_caller)];
        let crypto = cover.line(is_caller, shown);
        let extra = [Some("a=rtpmap:101 telephone-event/8000"), crypto.as_deref()];
        let extra: Vec<&str> = extra.into_iter().flatten().collect();
        sdp::audio(address, 1, &extra).replace("RTP/AVP 0 8", &format!("{protocol} 8 0 101"))
    };
    let reply = ask(json!({
        "command": "offer", "call-id": "same", "from-tag": "a", "sdp": describe(caller, true, ""), "DTLS": "off",
        "direction": directions, "flags": cover.flags(), "transport-protocol": cover.protocols()[1],
        "address family": if callee.is_ipv4() { "IP4" } else { "IP6" },
    }))?;
    let shown = reply["sdp"].as_str().unwrap_or_default();
    let answer = describe(callee, false, shown);
    let answered = ask(json!({"command": "answer", "call-id": "same", "from-tag": "a", "to-tag": "b", "sdp": answer}))?;
    let address = |reply: &Value| {
        let body = reply["sdp"].as_str().unwrap_or_default();
        sdp::media_address(body).ok_or(format!("no address in {reply}"))
    };
    Ok(([address(&answered)?, address(&reply)?], cover.off(shown)?))
}

/// Has somebody listen to the caller: on either side in turns, some of them with another number for events, and, where
/// the caller has keys, some with keys of their own.
fn listen(
    client: &mut Client,
    networks: &Networks,
    number: u16,
    cover: Cover,
) -> Result<(UdpSocket, Option<Parameters>), String> {
    let (role, interface, address, port) = match number % 2 {
        0 => (Role::Callee, "internal", CALLEE, 7100 + 2 * number),
        _ => (Role::Caller, "external", CALLER, 6100 + 2 * number),
    };
    let (event, tag) = (if number % 4 < 2 { EVENT } else { 97 }, format!("listener-{number}"));
    let mut ask = |request: Value| {
        let reply = client.ask(&request).map_err(|error| error.to_string())?;
        if reply["result"] == "ok" { Ok(reply) } else { Err(format!("{}: {reply}", request["command"])) }
    };
    let own = match (cover, number) {
        (Cover::None, _) | (_, 3..) => Cover::None,
        (_, 0) => Cover::Both(Suite::AesCm128Sha1_80),
        _ => Cover::Both(Suite::AeadAes128Gcm),
    };
    let protocol = own.protocols()[0];
    let reply = ask(json!({
        "command": "subscribe request", "call-id": "same", "from-tag": "a", "to-tag": tag, "interface": interface,
        "transport-protocol": protocol,
    }))?;
    let shown = reply["sdp"].as_str().unwrap_or_default();
    let (event, crypto) = (format!("a=rtpmap:{event} telephone-event/8000"), own.line(false, shown));
    let extra: Vec<&str> = [Some(event.as_str()), crypto.as_deref()].into_iter().flatten().collect();
    let answer = sdp::audio(at(address, port)?, 1, &extra);
    let numbers = event.trim_start_matches("a=rtpmap:").split(' ').next().unwrap_or_default();
    let answer = answer.replace("RTP/AVP 0 8", &format!("{protocol} 8 0 {numbers}"));
    ask(json!({
        "command": "subscribe answer", "call-id": "same", "from-tag": "a", "to-tag": tag,
        "sdp": answer.replace("a=sendrecv", "a=recvonly"),
    }))?;
    let parameters = own.off(shown)?;
    Ok((networks.socket(role, at(address, port)?)?, parameters))
}

/// The way that the caller's RTP takes, as the daemon says.
pub fn caller_way(client: &mut Client) -> Result<String, String> {
    let query = query(client)?;
    let stream = caller_stream(&query).ok_or("no stream")?;
    Ok(stream["fast path"].as_str().unwrap_or("no way").to_owned())
}

fn query(client: &mut Client) -> Result<Value, String> {
    client.ask(&json!({"command": "query", "call-id": "same"})).map_err(|error| error.to_string())
}

fn caller_stream(query: &Value) -> Option<&Value> {
    query["tags"]["a"]["medias"][0]["streams"].get(0)
}

/// What must not tell which way packets took.
fn counts(query: &Value) -> Value {
    let stream = |tag: &str| {
        let stream = &query["tags"][tag]["medias"][0]["streams"][0];
        let keys = ["stats", "stats_out", "drops", "SSRC", "endpoint", "ingress SSRCs", "egress SSRCs"];
        Value::Object(keys.iter().map(|key| ((*key).to_owned(), stream[*key].clone())).collect())
    };
    let tags = query["tags"].as_object().into_iter().flatten();
    let streams: serde_json::Map<_, _> = tags.map(|(tag, _)| (tag.clone(), stream(tag))).collect();
    json!({"streams": streams, "totals": query["totals"], "SSRC": query["SSRC"]})
}

/// Who sends what to the port that the caller was given.
struct Talk<'a> {
    mouth: &'a UdpSocket,
    stranger: &'a UdpSocket,
    to: SocketAddr,
    /// What is put on each datagram.
    cover: RefCell<Option<Protector>>,
}

impl Talk<'_> {
    fn say(&self, datagram: &[u8]) -> Result<(), String> {
        self.send(self.mouth, datagram)
    }

    fn is_covered(&self) -> bool {
        self.cover.borrow().is_some()
    }

    fn send(&self, socket: &UdpSocket, datagram: &[u8]) -> Result<(), String> {
        let covered = self.cover.borrow_mut().as_mut().map(|cover| put_on(cover, datagram));
        self.send_as_it_is(socket, covered.as_deref().unwrap_or(datagram))
    }

    /// A packet whose tag is another, where there are tags.
    fn forge(&self, datagram: &[u8]) -> Result<(), String> {
        let covered = self.cover.borrow_mut().as_mut().map(|cover| put_on(cover, datagram));
        let Some(mut forged) = covered else { return self.say(datagram) };
        if let Some(last) = forged.last_mut() {
            *last ^= 1;
        }
        self.send_as_it_is(self.mouth, &forged)
    }

    fn send_as_it_is(&self, socket: &UdpSocket, datagram: &[u8]) -> Result<(), String> {
        let due = Instant::now() + PACE;
        socket.send_to(datagram, self.to).map_err(|error| error.to_string())?;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        Ok(())
    }

    fn warm_up(&self, mut numbers: Range<u16>) -> Result<(), String> {
        numbers.try_for_each(|number| self.say(&packet(number, PCMA, &[0x55; 160])))
    }

    /// What an entry takes; how many packets of it count.
    fn usual(&self) -> Result<u64, String> {
        let mut next = WARM_UP;
        let sent = Cell::new(0);
        let say = |datagram: &[u8]| {
            sent.set(sent.get() + 1);
            self.say(datagram)
        };
        let mut numbers = Vec::new();
        numbers.extend(next..next + 100);
        next += 100;
        // Gaps, packets that are late, twice, in another order, and lost for good.
        numbers.extend([next + 3, next + 1, next + 1, next, next + 4, next + 4, next + 9, next + 5, next + 8]);
        next += 10;
        numbers.extend([next + 80, next + 79, next + 20, next + 1, next + 81]);
        next += 82;
        for number in numbers {
            say(&packet(number, PCMA, &[0xd5; 160]))?;
        }
        for bytes in (0..70).chain([127, 128, 129, 500, 511, 512, 513, 1000, 1023, 1024, 1025, 1400, 1440]) {
            let payload: Vec<u8> = (0..bytes).map(|index| (index * 7 + bytes) as u8).collect();
            say(&packet(next, PCMA, &payload))?;
            next += 1;
        }
        for number in 0..8 {
            say(&packet(next, EVENT, &[1, 10, 0, number * 20]))?;
            next += 1;
        }
        // Marker, padding, two contributing sources, a header extension.
        let mut odd = packet(next, PCMA | 0x80, &[7; 80]);
        say(&odd)?;
        odd = packet(next + 1, PCMA, &[0, 0, 0, 4]);
        odd[0] |= 0x20;
        say(&odd)?;
        odd = packet(next + 2, PCMA, &[9; 88]);
        odd[0] |= 2;
        say(&odd)?;
        odd = packet(next + 3, PCMA, &[0xbe, 0xde, 0, 1, 0x10, 5, 0, 0, 1, 2, 3]);
        odd[0] |= 0x10;
        say(&odd)?;
        for number in 0..50 {
            say(&packet(next + 4 + number, PCMA, &[0x55; 160]))?;
            // A stranger in between, who is dropped.
            if number % 10 == 0 {
                self.send(self.stranger, &packet(next + 5 + number, PCMA, &[0xaa; 160]))?;
            }
            if number % 10 == 5 && self.is_covered() {
                self.forge(&packet(next + 5 + number, PCMA, &[0x55; 160]))?;
            }
        }
        // Those that came twice are replays where there is SRTP.
        Ok(sent.get() - if self.is_covered() { TWICE } else { 0 })
    }

    /// What comes to the daemon, whatever the way of the rest.
    fn unusual(&self) -> Result<(), String> {
        let mut next: u16 = 2000;
        let mut usual = |count: u16| -> Result<(), String> {
            for _ in 0..count {
                self.say(&packet(next, PCMA, &[0xd5; 160]))?;
                next += 1;
            }
            Ok(())
        };
        // A jump that is no restart yet, and one that is. Where that can be, it is forged: SRTP does not go back.
        usual(60)?;
        self.forge(&packet(9000, PCMA, &[1; 160]))?;
        usual(60)?;
        for unlike in [
            vec![],
            vec![0],
            vec![0x80, PCMA],
            vec![0x80, 200, 0, 6, 0, 0xc0, 0xff, 0xee, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[7; 12]].concat(),
            vec![22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 5],
            [&[0x40, PCMA][..], &[0; 30]].concat(),
        ] {
            self.say(&unlike)?;
            usual(20)?;
        }
        let mut other = packet(1, PCMA, &[3; 160]);
        other[8..12].copy_from_slice(&0x0bad_cafe_u32.to_be_bytes());
        self.say(&other)?;
        usual(60)?;
        self.say(&packet(9, 55, &[4; 160]))?;
        usual(60)?;
        // More than a frame holds: the pieces are put together before the daemon sees them.
        self.say(&[&packet(9, 0, &[4; 160])[..], &[6; 3000]].concat())?;
        usual(200)
    }
}

/// An RTP packet whose timestamp goes with its number.
pub fn packet(sequence: u16, payload_type: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, payload_type];
    packet.extend(sequence.to_be_bytes());
    packet.extend((u32::from(sequence) * 160).to_be_bytes());
    packet.extend(SSRC.to_be_bytes());
    packet.extend(payload);
    packet
}
