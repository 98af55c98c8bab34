//! The fast path and userspace do the same: one list of datagrams, of all kinds, is sent through a call twice, once with
//! each; what arrives and what the daemon counts must be equal. The order may differ where packets change from one way to the
//! other: one has no queue before it.

use crate::Scenario;
use crate::cover::{Cover, put_on, take_off};
use crate::scenarios::{at, parsed};
use crate::sip::Role;
use crate::stage::{CALLEE, CALLEE_IP6, CALLER, Networks, start_daemon_with};
use crate::tap::Tap;
use millrace::base::suite::Suite;
use millrace::srtp::{Parameters, Protector};
use millrace_testsuite::daemon::Kind;
use millrace_testsuite::ng::{Client, Encoding};
use millrace_testsuite::sdp;
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

pub const ALL: &[Scenario] = &[
    Scenario { name: "same-bytes", what: "XDP forwards as userspace does", needs: ours, run: ip4 },
    Scenario { name: "same-bytes-ip6", what: "the same from IPv4 to IPv6", needs: ours, run: ip4_to_ip6 },
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
    Scenario { name: "same-bytes-sdes", what: "the same from SDES to plain RTP", needs: ours, run: sdes_to_plain },
    Scenario { name: "same-bytes-keys", what: "the same from one SDES key to another", needs: ours, run: other_keys },
    Scenario { name: "same-bytes-pass", what: "the same with SDES passed through", needs: ours, run: equal_keys },
    Scenario { name: "same-bytes-gcm", what: "the same from one AES-GCM key to another", needs: ours, run: gcm },
];

/// rtpengine has no second path here.
pub fn ours(kind: Kind) -> Result<(), String> {
    if kind == Kind::Millrace { Ok(()) } else { Err("Debian's rtpengine has no XDP programs".into()) }
}

const SSRC: u32 = 0x00c0_ffee;
const PCMA: u8 = 8;
const EVENT: u8 = 101;
/// Between two datagrams: longer than packets gather, so that order does not depend on the way.
const PACE: Duration = Duration::from_millis(2);
/// Packets of what is usual that come twice.
const TWICE: u64 = 2;
/// Packets while addresses are learned and the entry is installed.
const WARM_UP: u16 = 250;

fn ip4(kind: Kind, folder: &Path) -> Result<String, String> {
    compare(kind, folder, (CALLEE, 0), Cover::None)
}

fn ip4_to_ip6(kind: Kind, folder: &Path) -> Result<String, String> {
    compare(kind, folder, (CALLEE_IP6, 0), Cover::None)
}

fn sdes_to_plain(kind: Kind, folder: &Path) -> Result<String, String> {
    compare(kind, folder, (CALLEE, 0), Cover::Caller(Suite::AesCm128Sha1_80))
}

fn other_keys(kind: Kind, folder: &Path) -> Result<String, String> {
    compare(kind, folder, (CALLEE, 0), Cover::Both(Suite::AesCm128Sha1_80))
}

fn equal_keys(kind: Kind, folder: &Path) -> Result<String, String> {
    compare(kind, folder, (CALLEE, 0), Cover::Same(Suite::AesCm128Sha1_80))
}

fn gcm(kind: Kind, folder: &Path) -> Result<String, String> {
    compare(kind, folder, (CALLEE, 0), Cover::Both(Suite::AeadAes128Gcm))
}

fn copies(kind: Kind, folder: &Path) -> Result<String, String> {
    compare(kind, folder, (CALLEE_IP6, 4), Cover::None)
}

fn protected_copies(kind: Kind, folder: &Path) -> Result<String, String> {
    compare(kind, folder, (CALLEE, 4), Cover::Caller(Suite::AesCm128Sha1_80))
}

fn many_copies(kind: Kind, folder: &Path) -> Result<String, String> {
    compare(kind, folder, (CALLEE, 31), Cover::None)
}

/// With so many who listen to the caller besides the callee.
fn compare(kind: Kind, folder: &Path, receivers: (&str, u16), cover: Cover) -> Result<String, String> {
    let slow = pass(kind, folder, receivers, cover, "off")?;
    let fast = pass(kind, folder, receivers, cover, "xdp")?;
    let (mut slow_sorted, mut fast_sorted) = (slow.arrived.clone(), fast.arrived.clone());
    slow_sorted.sort();
    fast_sorted.sort();
    if slow_sorted != fast_sorted {
        let only = |of: &[Arrived], not: &[Arrived]| {
            let all: Vec<String> = of.iter().filter(|one| !not.contains(one)).map(|one| head(one)).collect();
            format!("{} in all, {} of them alone: {}", of.len(), all.len(), all[..all.len().min(5)].join(", "))
        };
        let [slow, fast] = [only(&slow_sorted, &fast_sorted), only(&fast_sorted, &slow_sorted)];
        return Err(format!("by userspace {slow}; by XDP {fast}"));
    }
    if slow.counts != fast.counts {
        return Err(format!("userspace counts {}, XDP {}", slow.counts, fast.counts));
    }
    let (alike, kernel) = (slow.arrived.len(), fast.in_kernel);
    Ok(format!("{alike} datagrams alike, {kernel} and more of them forwarded in the kernel; the same counts"))
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
    counts: Value,
    /// Packets that never came to the daemon, at least.
    in_kernel: u64,
}

fn pass(kind: Kind, folder: &Path, (callee, listeners): (&str, u16), cover: Cover, mode: &str) -> Result<Run, String> {
    let folder = folder.join(mode);
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let networks = Networks::make()?;
    let daemon = start_daemon_with(&networks, kind, &format!("--fastpath={mode}"), &folder)?;
    let mut client = daemon.client(Encoding::Bencode)?;
    let (caller, callee) = (at(CALLER, 6000)?, at(callee, 7000)?);
    let (to, on_arrival) = set_up(&mut client, caller, callee, cover)?;
    let mouth = networks.socket(Role::Caller, caller)?;
    let stranger = networks.socket(Role::Caller, at(CALLER, 6666)?)?;
    // Somebody is there: a port that is closed would answer.
    let mut ears = vec![networks.socket(Role::Callee, callee)?];
    let mut keys: Vec<(u16, Parameters)> = on_arrival.map(|own| (callee.port(), own)).into_iter().collect();
    for number in 0..listeners {
        let (ear, own) = listen(&mut client, &networks, number, cover)?;
        keys.extend(own.map(|own| (ear.1, own)));
        ears.push(ear.0);
    }
    let taps = [(&networks.callee, callee.ip()), (&networks.callee, parsed(CALLEE)?), (&networks.caller, caller.ip())];
    let is_new = |at: &usize| taps[..*at].iter().all(|known| known.1 != taps[*at].1);
    let taps = (0..taps.len()).filter(is_new).map(|at| Tap::start(taps[at].0, taps[at].1));
    let taps: Vec<Tap> = taps.collect::<Result<_, String>>()?;
    let talk = Talk { mouth: &mouth, stranger: &stranger, to, cover: RefCell::new(cover.on()) };
    for number in 0..WARM_UP {
        talk.say(&packet(number, PCMA, &[0xd5; 160]))?;
    }
    let is_away = |query: &Value| caller_stream(query).is_some_and(|stream| stream["fast path"] == "xdp");
    if (mode == "xdp") != is_away(&query(&mut client)?) {
        return Err(format!("{mode}: {}", query(&mut client)?["tags"]));
    }
    let usual = talk.usual()?;
    if (mode == "xdp") != is_away(&query(&mut client)?) {
        return Err(format!("{mode}: usual packets came to the daemon: {}", query(&mut client)?["tags"]));
    }
    let counted = caller_stream(&query(&mut client)?).and_then(|stream| stream["stats"]["packets"].as_u64());
    if counted != Some(u64::from(WARM_UP) + usual) {
        return Err(format!("{mode}: {counted:?} packets counted, {WARM_UP} and {usual} sent"));
    }
    talk.unusual()?;
    std::thread::sleep(Duration::from_millis(200));
    let counts = counts(&query(&mut client)?);
    let mut arrived = Vec::new();
    for tap in taps {
        arrived.extend(tap.finish_by_port()?);
    }
    let mut arrived_plain: Vec<Arrived> = Vec::new();
    for (port, parameters) in keys {
        let is_own = |arrived: &Arrived| arrived.0 == port || arrived.0 == port + 1;
        let own: Vec<Vec<u8>> =
            arrived.iter().filter(|arrived| is_own(arrived)).map(|arrived| arrived.1.clone()).collect();
        arrived.retain(|arrived| !is_own(arrived));
        let plain = take_off(&parameters, &own).map_err(|why| format!("{mode}, to {port}: {why}"))?;
        arrived_plain.extend(plain.into_iter().map(|payload| (port, payload)));
    }
    arrived.append(&mut arrived_plain);
    client.ask(&json!({"command": "delete", "call-id": "same", "from-tag": "a"})).map_err(|error| error.to_string())?;
    Ok(Run { arrived, counts, in_kernel: usual })
}

/// Where the caller's packets go, and what is on them when the callee gets them.
fn set_up(
    client: &mut Client,
    caller: SocketAddr,
    callee: SocketAddr,
    cover: Cover,
) -> Result<(SocketAddr, Option<Parameters>), String> {
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
        "direction": ["external", "internal"], "flags": cover.flags(), "transport-protocol": cover.protocols()[1],
        "address family": if callee.is_ipv4() { "IP4" } else { "IP6" },
    }))?;
    let shown = reply["sdp"].as_str().unwrap_or_default();
    let answer = describe(callee, false, shown);
    let reply = ask(json!({"command": "answer", "call-id": "same", "from-tag": "a", "to-tag": "b", "sdp": answer}))?;
    let to = sdp::media_address(reply["sdp"].as_str().unwrap_or_default()).ok_or(format!("no address in {reply}"))?;
    Ok((to, cover.off(shown)?))
}

/// A socket and its port.
type Ear = (UdpSocket, u16);

/// Has somebody listen to the caller: on either side in turns, some of them with another number for events, and, where
/// the caller has keys, some with keys of their own.
fn listen(
    client: &mut Client,
    networks: &Networks,
    number: u16,
    cover: Cover,
) -> Result<(Ear, Option<Parameters>), String> {
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
    Ok(((networks.socket(role, at(address, port)?)?, port), parameters))
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
fn packet(sequence: u16, payload_type: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, payload_type];
    packet.extend(sequence.to_be_bytes());
    packet.extend((u32::from(sequence) * 160).to_be_bytes());
    packet.extend(SSRC.to_be_bytes());
    packet.extend(payload);
    packet
}
