//! The fast path and userspace do the same: one list of datagrams, of all kinds, is sent through a call twice, once with
//! each; what arrives and what the daemon counts must be equal. The order may differ where packets change from one way to the
//! other: one has no queue before it.

use crate::Scenario;
use crate::scenarios::{at, parsed};
use crate::sip::Role;
use crate::stage::{CALLEE, CALLEE_IP6, CALLER, Networks, start_daemon_with};
use crate::tap::Tap;
use millrace_testsuite::daemon::Kind;
use millrace_testsuite::ng::{Client, Encoding};
use millrace_testsuite::sdp;
use serde_json::{Value, json};
use std::cell::Cell;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

pub const ALL: &[Scenario] = &[
    Scenario { name: "same-bytes", what: "XDP forwards as userspace does", needs: ours, run: ip4 },
    Scenario { name: "same-bytes-ip6", what: "the same from IPv4 to IPv6", needs: ours, run: ip4_to_ip6 },
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
/// Packets while addresses are learned and the entry is installed.
const WARM_UP: u16 = 250;

fn ip4(kind: Kind, folder: &Path) -> Result<String, String> {
    compare(kind, folder, CALLEE)
}

fn ip4_to_ip6(kind: Kind, folder: &Path) -> Result<String, String> {
    compare(kind, folder, CALLEE_IP6)
}

fn compare(kind: Kind, folder: &Path, callee: &str) -> Result<String, String> {
    let slow = pass(kind, folder, callee, "off")?;
    let fast = pass(kind, folder, callee, "xdp")?;
    let (mut slow_sorted, mut fast_sorted) = (slow.arrived.clone(), fast.arrived.clone());
    slow_sorted.sort();
    fast_sorted.sort();
    if slow_sorted != fast_sorted {
        let only = |of: &[Vec<u8>], not: &[Vec<u8>]| {
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

/// The length of a datagram and its first bytes.
fn head(datagram: &[u8]) -> String {
    format!("{} bytes {:02x?}", datagram.len(), &datagram[..datagram.len().min(12)])
}

/// What one way made of the list.
struct Run {
    /// Payloads at the callee, in order.
    arrived: Vec<Vec<u8>>,
    counts: Value,
    /// Packets that never came to the daemon, at least.
    in_kernel: u64,
}

fn pass(kind: Kind, folder: &Path, callee: &str, mode: &str) -> Result<Run, String> {
    let folder = folder.join(mode);
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let networks = Networks::make()?;
    let daemon = start_daemon_with(&networks, kind, &format!("--fastpath={mode}"), &folder)?;
    let mut client = daemon.client(Encoding::Bencode)?;
    let (caller, callee) = (at(CALLER, 6000)?, at(callee, 7000)?);
    let [to, _] = set_up(&mut client, caller, callee)?;
    let mouth = networks.socket(Role::Caller, caller)?;
    let stranger = networks.socket(Role::Caller, at(CALLER, 6666)?)?;
    // Somebody is there: a port that is closed would answer.
    let _ear = networks.socket(Role::Callee, callee)?;
    let tap = Tap::start(&networks.callee, parsed(&callee.ip().to_string())?)?;
    let talk = Talk { mouth: &mouth, stranger: &stranger, to };
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
    let arrived = tap.finish()?;
    client.ask(&json!({"command": "delete", "call-id": "same", "from-tag": "a"})).map_err(|error| error.to_string())?;
    Ok(Run { arrived, counts, in_kernel: usual })
}

/// Places the call; where caller and callee send to.
pub fn set_up(client: &mut Client, caller: SocketAddr, callee: SocketAddr) -> Result<[SocketAddr; 2], String> {
    let mut ask = |request: Value| {
        let reply = client.ask(&request).map_err(|error| error.to_string())?;
        if reply["result"] == "ok" { Ok(reply) } else { Err(format!("{}: {reply}", request["command"])) }
    };
    let describe = |address: SocketAddr| {
        let extra = ["a=rtpmap:101 telephone-event/8000"];
        sdp::audio(address, 1, &extra).replace("RTP/AVP 0 8", "RTP/AVP 8 0 101")
    };
    let for_callee = ask(json!({
        "command": "offer", "call-id": "same", "from-tag": "a", "sdp": describe(caller),
        "direction": ["external", "internal"], "flags": ["strict source"],
        "address family": if callee.is_ipv4() { "IP4" } else { "IP6" },
    }))?;
    let for_caller =
        ask(json!({"command": "answer", "call-id": "same", "from-tag": "a", "to-tag": "b", "sdp": describe(callee)}))?;
    let address = |reply: &Value| {
        let body = reply["sdp"].as_str().unwrap_or_default();
        sdp::media_address(body).ok_or(format!("no address in {reply}"))
    };
    Ok([address(&for_caller)?, address(&for_callee)?])
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
        keys.iter().map(|key| ((*key).to_owned(), stream[*key].clone())).collect::<serde_json::Map<_, _>>()
    };
    json!({"a": stream("a"), "b": stream("b"), "totals": query["totals"], "SSRC": query["SSRC"]})
}

/// Who sends what to the port that the caller was given.
struct Talk<'a> {
    mouth: &'a UdpSocket,
    stranger: &'a UdpSocket,
    to: SocketAddr,
}

impl Talk<'_> {
    fn say(&self, datagram: &[u8]) -> Result<(), String> {
        self.send(self.mouth, datagram)
    }

    fn send(&self, socket: &UdpSocket, datagram: &[u8]) -> Result<(), String> {
        let due = Instant::now() + PACE;
        socket.send_to(datagram, self.to).map_err(|error| error.to_string())?;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        Ok(())
    }

    /// What an entry takes; how many packets that were.
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
        }
        Ok(sent.get())
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
        // A jump that is no restart yet, and one that is.
        usual(60)?;
        self.say(&packet(9000, PCMA, &[1; 160]))?;
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
