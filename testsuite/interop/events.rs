//! What the daemon tells unasked: digits once each while their call goes on in the kernel; first packets, media that flows one
//! way only, and the end of a call that nobody ended.

use crate::Scenario;
use crate::cover::Cover;
use crate::eyes::Talk;
use crate::fastpath::{self, PCMA, packet, set_up};
use crate::scenarios::{self, Call, TWO_WAY, at};
use crate::sip::{Role, Step};
use crate::stage::{CALLEE, CALLER, EXAMPLE, Networks, Stage, launch_daemon, start_daemon_with};
use millrace::wire::rtp::Header;
use millrace_testsuite::daemon::Kind;
use millrace_testsuite::ng::{self, Encoding};
use serde_json::Value;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::time::Duration;

pub const ALL: &[Scenario] = &[
    Scenario {
        name: "digits",
        what: "digits are reported once each, while audio stays in the kernel",
        needs: fastpath::ours,
        run: digits,
    },
    Scenario {
        name: "events",
        what: "one-way media, digits and a timeout, by UDP, over NG's TCP and to a server of XML-RPC",
        needs: fastpath::ours,
        run: events,
    },
    Scenario {
        name: "xmlrpc",
        what: "Kamailio is told of a call without media, and hangs up on both sides",
        needs: kamailio_needs,
        run: kamailio,
    },
];

const XMLRPC: &str = "/usr/lib/x86_64-linux-gnu/kamailio/modules/xmlrpc.so";

fn kamailio_needs(kind: Kind) -> Result<(), String> {
    fastpath::ours(kind)?;
    if Path::new(XMLRPC).exists() { Ok(()) } else { Err(format!("Kamailio has no {XMLRPC}")) }
}

const EVENT: u8 = 101;
const PACE: Duration = Duration::from_millis(5);
/// 1, 2, * and #.
const DIGITS: [u8; 4] = [1, 2, 10, 11];

fn digits(kind: Kind, folder: &Path) -> Result<String, String> {
    let networks = Networks::make()?;
    let ear = networks.proxy.within(|| UdpSocket::bind("127.0.0.1:0")).and_then(|socket| socket);
    let ear = ear.map_err(|error| error.to_string())?;
    ear.set_read_timeout(Some(Duration::from_secs(2))).map_err(|error| error.to_string())?;
    let to = ear.local_addr().map_err(|error| error.to_string())?;
    let daemon = start_daemon_with(&networks, kind, &format!("--dtmf-log-dest={to}"), folder)?;
    let mut client = daemon.client(Encoding::Bencode)?;
    let (caller, callee) = (at(CALLER, 6000)?, at(CALLEE, 7000)?);
    let ([port, _], _) = set_up(&mut client, caller, callee, Cover::None)?;
    let mouth = networks.socket(Role::Caller, caller)?;
    let listener = networks.socket(Role::Callee, callee)?;
    listener.set_nonblocking(true).map_err(|error| error.to_string())?;
    let (mut sequence, mut heard) = (0, 0);
    // What waits takes more of the system's room than its own length.
    let mut drain = || {
        let mut bytes = [0; 2048];
        while listener.recv(&mut bytes).is_ok() {
            heard += 1;
        }
        heard
    };
    let mut say = |datagram: &dyn Fn(u16) -> Vec<u8>| -> Result<(), String> {
        mouth.send_to(&datagram(sequence), port).map_err(|error| error.to_string())?;
        sequence += 1;
        std::thread::sleep(PACE);
        drain();
        Ok(())
    };
    for _ in 0..100 {
        say(&|number| packet(number, PCMA, &[0xd5; 160]))?;
    }
    for digit in DIGITS {
        let timestamp = 100_000 + u32::from(digit) * 8000;
        let event = |end: u8, duration: u16| {
            move |sequence: u16| {
                let [high, low] = duration.to_be_bytes();
                let header = Header { marker: false, payload_type: EVENT, sequence, timestamp, ssrc: fastpath::SSRC };
                header.write(&[digit, end | 10, high, low])
            }
        };
        for duration in [160, 320, 480] {
            say(&event(0, duration))?;
        }
        for _ in 0..3 {
            say(&event(0x80, 640))?;
        }
        for _ in 0..20 {
            say(&|number| packet(number, PCMA, &[0xd5; 160]))?;
        }
    }
    let way = fastpath::caller_way(&mut client)?;
    if way != "xdp" {
        return Err(format!("audio goes by {way}"));
    }
    let told = (0..DIGITS.len()).map(|_| hear(&ear)).collect::<Result<Vec<Value>, String>>()?;
    DIGITS.iter().zip(&told).try_for_each(|(digit, told)| compare(*digit, told))?;
    ear.set_read_timeout(Some(Duration::from_millis(200))).map_err(|error| error.to_string())?;
    if let Ok(more) = hear(&ear) {
        return Err(format!("one more was reported: {more}"));
    }
    let heard = drain();
    if heard != sequence {
        return Err(format!("the callee got {heard} of {sequence} packets"));
    }
    Ok(format!("{} digits of 6 packets each, {heard} of {sequence} packets arrived", told.len()))
}

/// The server that is called back.
const SERVER: &str = "127.0.0.1:8080";

fn events(kind: Kind, folder: &Path) -> Result<String, String> {
    let networks = Networks::make()?;
    let io = |error: io::Error| error.to_string();
    let ear = networks.proxy.within(|| UdpSocket::bind("127.0.0.1:0")).and_then(|socket| socket).map_err(io)?;
    ear.set_read_timeout(Some(Duration::from_secs(8))).map_err(io)?;
    let server = networks.proxy.within(|| TcpListener::bind(SERVER)).and_then(|server| server).map_err(io)?;
    let to = ear.local_addr().map_err(io)?;
    let options = [
        format!("--event-dest={to}"),
        format!("--b2b-url=http://%%:{}/RPC2", SERVER.rsplit(':').next().unwrap_or_default()),
        "--xmlrpc-format=2".into(),
        "--event-ng-tcp".into(),
        "--dtmf-log-ng-tcp".into(),
        "--listen-tcp-ng=127.0.0.1:2224".into(),
        "--one-way-after=2".into(),
        "--timeout=3".into(),
        "--fastpath=auto".into(),
    ];
    let mut daemon = launch_daemon(&networks, kind, &options, folder)?;
    daemon.wait_for_answer()?;
    let listener = networks.proxy.within(|| TcpStream::connect("127.0.0.1:2224")).and_then(|stream| stream);
    let mut pushed = Pushed::over(listener.map_err(io)?)?;
    let talk = Talk::open(&networks, &daemon)?;
    let mut told = Vec::new();
    let mut next = |kind: &str, tag: &str| -> Result<(), String> {
        let event = hear(&ear)?;
        let is_right = event["type"] == kind && event["source_tag"].as_str().unwrap_or_default() == tag;
        told.push(kind.to_owned());
        if is_right && event["callid"] == "same" { Ok(()) } else { Err(format!("not `{kind}` of `{tag}`: {event}")) }
    };
    let digit = |number: u16, end: u8| {
        let header =
            Header { marker: false, payload_type: EVENT, sequence: number, timestamp: 7, ssrc: fastpath::SSRC };
        header.write(&[9, end | 10, 2, 128])
    };
    for number in 0..300 {
        let is_event = (200..203).contains(&number);
        let audio = || packet(number, PCMA, &[0xd5; 160]);
        talk.caller_sends(&if is_event { digit(number, if number == 202 { 0x80 } else { 0 }) } else { audio() })?;
        std::thread::sleep(Duration::from_millis(10));
    }
    next("first-packet", "a")?;
    next("one-way", "b")?;
    talk.both_ways(300, 250)?;
    next("first-packet", "b")?;
    next("both-ways", "b")?;
    next("timeout", "")?;
    let call = called_back(&server)?;
    let texts: Vec<&str> = call.split("<string>").skip(1).filter_map(|rest| rest.split('<').next()).collect();
    if !call.starts_with("POST /RPC2 HTTP/1.1") || !call.contains("dlg.terminate_dlg") || texts != ["same", "a", "b"] {
        return Err(format!("the server was called with {call}"));
    }
    let names = pushed.take(6)?;
    let expected = ["onFirstPacket", "onDTMF", "onOneWay", "onFirstPacket", "onBothWays", "onTimeout"];
    let (mut sorted, mut wanted) = (names.clone(), expected.to_vec());
    sorted.sort();
    wanted.sort_unstable();
    if sorted != wanted {
        return Err(format!("over TCP came {names:?}"));
    }
    Ok(format!("{} by UDP, {} over TCP, {} called back", told.len(), names.len(), texts.join(" ")))
}

fn kamailio(kind: Kind, folder: &Path) -> Result<String, String> {
    let modules = "loadmodule \"dialog.so\"\nloadmodule \"xmlrpc.so\"\nmodparam(\"xmlrpc\", \"route\", \"XMLRPC\")\n";
    let script = EXAMPLE
        .replace("mhomed=yes", &format!("mhomed=yes\nlisten=tcp:{SERVER}"))
        .replace("modparam(\"rr\"", &format!("{modules}modparam(\"rr\""))
        .replace("    record_route();", "    dlg_manage();\n    record_route();")
        .replace("route[RELAY] {", "route[XMLRPC] {\n    dispatch_rpc();\n}\n\nroute[RELAY] {");
    let options = [format!("--b2b-url=http://{SERVER}/RPC2"), "--xmlrpc-format=2".into(), "--timeout=3".into()];
    let steps = [TWO_WAY, Step::HungUp];
    let body = |call: &mut Call| {
        call.talk(1)?;
        call.finish()?;
        Ok("both were hung up on, though neither has said BYE".to_owned())
    };
    scenarios::place_over(|networks| Stage::open_over(networks, kind, &options, &script, folder), &steps, None, body)
}

/// What a server is called with; it answers as Kamailio does.
fn called_back(server: &TcpListener) -> Result<String, String> {
    let (mut stream, _) = server.accept().map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).map_err(|error| error.to_string())?;
    let mut text = String::new();
    let mut bytes = [0; 4096];
    while !text.contains("</methodCall>") {
        let length = stream.read(&mut bytes).map_err(|error| format!("{error} after {text}"))?;
        if length == 0 {
            return Err(format!("closed after {text}"));
        }
        text.push_str(&String::from_utf8_lossy(&bytes[..length]));
    }
    let body = "<?xml version=\"1.0\"?><methodResponse><params></params></methodResponse>";
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(answer.as_bytes()).map_err(|error| error.to_string())?;
    Ok(text)
}

/// Notifications on a connection of NG.
struct Pushed {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl Pushed {
    /// Waits for the reply to a ping, after which the connection is known to the daemon.
    fn over(mut stream: TcpStream) -> Result<Pushed, String> {
        stream.set_read_timeout(Some(Duration::from_secs(8))).map_err(|error| error.to_string())?;
        stream.write_all(b"1_1 d7:command4:pinge").map_err(|error| error.to_string())?;
        let mut pushed = Pushed { stream, bytes: Vec::new() };
        let reply = pushed.next()?;
        if reply["result"] == "pong" { Ok(pushed) } else { Err(format!("a ping is answered with {reply}")) }
    }

    /// The names of the next ones.
    fn take(&mut self, count: usize) -> Result<Vec<String>, String> {
        let name = |message: Value| message["notify"].as_str().map(str::to_owned).ok_or(format!("no event: {message}"));
        (0..count).map(|_| self.next().and_then(name)).collect()
    }

    /// The next message without its cookie. Each ends where its dictionary does.
    fn next(&mut self) -> Result<Value, String> {
        let mut room = [0; 4096];
        loop {
            let start = self.bytes.iter().position(|byte| *byte == b' ').map(|blank| blank + 1);
            let ends = start.into_iter().flat_map(|start| (start + 1..=self.bytes.len()).map(move |end| (start, end)));
            let mut whole = ends.filter_map(|(start, end)| Some((end, ng::read(&self.bytes[start..end]).ok()?)));
            if let Some((end, message)) = whole.next() {
                self.bytes.drain(..end);
                return Ok(message);
            }
            let length = self.stream.read(&mut room).map_err(|error| format!("nothing more comes: {error}"))?;
            if length == 0 {
                return Err("the daemon has hung up".into());
            }
            self.bytes.extend_from_slice(&room[..length]);
        }
    }
}

fn compare(digit: u8, told: &Value) -> Result<(), String> {
    let is_right = told["event"] == digit && told["duration"] == 80 && told["volume"] == 10;
    let is_of_call = told["callid"] == "same" && told["source_tag"] == "a" && told["source_ip"] == CALLER;
    match is_right && is_of_call && told["type"] == "DTMF" {
        true => Ok(()),
        false => Err(format!("digit {digit} is reported as {told}")),
    }
}

fn hear(ear: &UdpSocket) -> Result<Value, String> {
    let mut bytes = [0; 4096];
    let length = ear.recv(&mut bytes).map_err(|error| format!("nothing was reported: {error}"))?;
    serde_json::from_slice(&bytes[..length]).map_err(|error| error.to_string())
}
