//! Attacks on control ports by a host that may speak to them, and by one that may not. A call goes on meanwhile and loses
//! nothing; afterwards the daemon answers as before.

use crate::stage::{ATTACKER, ATTACKERS_GATE, HTTP, NG, Pace, Stage, TCP, settings};
use crate::{Answers, Scenario};
use millrace::base::suite::Suite;
use millrace_testsuite::peer::{Call, Keying, drive};
use serde_json::json;
use socket2::{Domain, Socket, Type};
use std::collections::HashSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

pub const ALL: &[Scenario] = &[
    Scenario {
        name: "documents",
        what: "NG documents that nest, lie about lengths or never end, over UDP and TCP",
        expected: "an error or nothing, at once; the call does not notice",
        answers: Answers::Some,
        run: documents,
    },
    Scenario {
        name: "replayed-requests",
        what: "the same cookie again with another body, 50,000 requests a second, requests of a stranger",
        expected: "the first reply again, no second action; nothing for the stranger; the call does not notice",
        answers: Answers::Some,
        run: replayed_requests,
    },
    Scenario {
        name: "http",
        what: "heads that drip, a body of a gigabyte, frames that lie, text that is none, commands that are none",
        expected: "a status of 400 and up or the end of the connection; the call does not notice",
        answers: Answers::Some,
        run: http,
    },
    Scenario {
        name: "keys",
        what: "keys of SDES in logs at debug level, statistics, lists, query",
        expected: "none",
        answers: Answers::None,
        run: keys,
    },
];

/// How long an attack goes on at least.
const TALK: Duration = Duration::from_secs(3);
const REQUESTS_A_SECOND: u64 = 50_000;
/// An address of the attacker's host that may not ask.
const STRANGER: &str = "192.0.2.77";

/// A call that talks while `attack` runs in the attacker's network, and what that reports.
fn under_attack<T: Send>(
    stage: &mut Stage,
    attack: impl FnOnce() -> Result<T, String> + Send,
) -> Result<(T, String), String> {
    let mut calls = [stage.connected(&settings(Keying::Sdes(vec![Suite::AesCm128Sha1_80])), &json!({}))?];
    let attacker = &stage.networks.attacker;
    let outcome = std::thread::scope(|scope| {
        let attacking = scope.spawn(|| attacker.within(attack).map_err(|error| error.to_string())?);
        drive(&mut calls, TALK, true, &mut |_| {});
        while !attacking.is_finished() {
            drive(&mut calls, Duration::from_millis(200), true, &mut |_| {});
        }
        attacking.join().unwrap_or_else(|_| Err("the attack panicked".into()))
    })?;
    drive(&mut calls, Duration::from_millis(200), false, &mut |_| {});
    let [call] = &calls;
    stage.check_flooded(call)?;
    let reply = stage.client.ask(&json!({"command": "ping"})).map_err(|error| error.to_string())?;
    if reply["result"] != "pong" {
        return Err(format!("afterwards a ping gets {reply}"));
    }
    Ok((outcome, said(call)))
}

fn said(call: &Call) -> String {
    format!("{} of {} packets lost", call.lost(), call.caller.said + call.callee.said)
}

fn at(port: u16) -> Result<SocketAddr, String> {
    format!("{ATTACKERS_GATE}:{port}").parse().map_err(|_| "no address".to_owned())
}

fn udp(from: &str) -> Result<UdpSocket, String> {
    let fault = |error: std::io::Error| format!("{from}: {error}");
    let socket = UdpSocket::bind((from, 0)).map_err(fault)?;
    socket.connect(at(NG)?).map_err(fault)?;
    socket.set_read_timeout(Some(Duration::from_secs(2))).map_err(fault)?;
    Ok(socket)
}

fn tcp(port: u16) -> Result<TcpStream, String> {
    let stream = TcpStream::connect(at(port)?).map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).map_err(|error| error.to_string())?;
    Ok(stream)
}

/// Everything that comes until the daemon closes; a connection that it resets counts as closed.
fn rest(stream: &mut TcpStream) -> Result<Vec<u8>, String> {
    let (mut all, mut part) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut part) {
            Ok(0) => return Ok(all),
            Ok(bytes) => all.extend_from_slice(&part[..bytes]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Err("the connection stays open".into()),
            Err(_) => return Ok(all),
        }
    }
}

fn hostile_documents() -> Vec<Vec<u8>> {
    let repeated = |text: &str, count: usize| text.repeat(count).into_bytes();
    let mut documents = vec![
        repeated("d1:a", 15_000),
        [b"d1:a".to_vec(), repeated("l", 60_000)].concat(),
        [b"{\"a\":".to_vec(), repeated("[", 60_000)].concat(),
        repeated("{\"a\":", 10_000),
        [b"{\"a\":\"".to_vec(), vec![0xff; 60_000]].concat(),
        [b"d7:command5:query".to_vec(), repeated("7:call-id1:x", 5_000), b"e".to_vec()].concat(),
    ];
    let short = [
        "d99999999999:xe",
        "d18446744073709551617:xe",
        "d-1:xe",
        "d7:commandi-0ee",
        "d7:commandi007ee",
        "d7:commandi99999999999999999999ee",
        "d7:command4:pin",
        "d7:command4:ping",
        "dd1:ae1:be",
        "di1ei2ee",
        "{\"command\":\"ping\"",
        "{\"command\":1e999999}",
        "{\"command\":\"\\ud800\"}",
        "[]",
        "x",
        "",
    ];
    documents.extend(short.map(|text| text.as_bytes().to_vec()));
    documents
}

fn documents(stage: &mut Stage) -> Result<String, String> {
    let ((count, longest), said) = under_attack(stage, || {
        let (socket, mut buffer, mut longest) = (udp(ATTACKER)?, vec![0; 65_536], Duration::ZERO);
        let documents = hostile_documents();
        for (number, document) in documents.iter().enumerate() {
            let message = [format!("h{number} ").as_bytes(), document].concat();
            let began = Instant::now();
            socket.send(&message).map_err(|error| error.to_string())?;
            let bytes = socket.recv(&mut buffer).map_err(|error| format!("document {number}: no reply: {error}"))?;
            longest = longest.max(began.elapsed());
            if !buffer[..bytes].windows(5).any(|part| part == b"error") {
                return Err(format!("document {number} is taken for a request"));
            }
            let mut stream = tcp(TCP)?;
            let message = [format!("t{number} ").as_bytes(), document].concat();
            // The daemon may have closed before all was sent.
            let _ = stream.write_all(&message).and_then(|()| stream.shutdown(std::net::Shutdown::Write));
            rest(&mut stream)?;
        }
        // What has no cookie, and what is far too long.
        socket.send(b"d7:command4:pinge").map_err(|error| error.to_string())?;
        let mut stream = tcp(TCP)?;
        let _ = (0..100).try_for_each(|_| stream.write_all(&b"x d9:".repeat(20_000)));
        rest(&mut stream)?;
        Ok((documents.len(), longest))
    })?;
    match longest < Duration::from_millis(500) {
        true => Ok(format!("{count} documents, the slowest reply after {} ms; {said}", longest.as_millis())),
        false => Err(format!("a document took {longest:?}")),
    }
}

fn replayed_requests(stage: &mut Stage) -> Result<String, String> {
    let (sent, said) = under_attack(stage, || {
        let (socket, mut buffer) = (udp(ATTACKER)?, vec![0; 65_536]);
        let mut ask = |message: &str| -> Result<Vec<u8>, String> {
            socket.send(message.as_bytes()).map_err(|error| error.to_string())?;
            let bytes = socket.recv(&mut buffer).map_err(|error| format!("{message}: {error}"))?;
            Ok(buffer[..bytes].to_vec())
        };
        let first = ask("replay d7:command4:pinge")?;
        for other in ["replay d7:command4:listee", "replay {\"command\":\"offer\"}", "replay d7:command4:pinge"] {
            if ask(other)? != first {
                return Err(format!("{other} got another reply"));
            }
        }
        // An address that may not ask, from the same host.
        let stranger = udp(STRANGER)?;
        stranger.set_read_timeout(Some(Duration::from_millis(500))).map_err(|error| error.to_string())?;
        stranger.send(b"stranger d7:command4:pinge").map_err(|error| error.to_string())?;
        if stranger.recv(&mut [0; 100]).is_ok() {
            return Err("a stranger is answered".into());
        }
        for (port, request) in [(TCP, "stranger d7:command4:pinge"), (HTTP, "GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")] {
            let answer = String::from_utf8_lossy(&ask_as_stranger(port, request)?).into_owned();
            if answer.contains("pong") {
                return Err(format!("a stranger at port {port} is answered: {answer}"));
            }
        }
        Ok(flood(&socket))
    })?;
    match sent >= REQUESTS_A_SECOND {
        true => Ok(format!("{sent} requests; {said}")),
        false => Err(format!("only {sent} requests were sent")),
    }
}

/// What comes until the end of a stranger's connection, which the daemon may refuse or close before anything is said.
fn ask_as_stranger(port: u16, request: &str) -> Result<Vec<u8>, String> {
    let fault = |error: std::io::Error| format!("{STRANGER}: {error}");
    let from: SocketAddr = format!("{STRANGER}:0").parse().map_err(|_| "no address")?;
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).map_err(fault)?;
    socket.bind(&from.into()).map_err(fault)?;
    if socket.connect_timeout(&at(port)?.into(), Duration::from_secs(2)).is_err() {
        return Ok(Vec::new());
    }
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(5))).map_err(fault)?;
    let _ = stream.write_all(request.as_bytes());
    rest(&mut stream)
}

/// Requests that each look new, for two seconds.
fn flood(socket: &UdpSocket) -> u64 {
    let (mut pace, began) = (Pace::new(REQUESTS_A_SECOND), Instant::now());
    while began.elapsed() < Duration::from_secs(2) {
        for number in pace.due(began.elapsed()) {
            let _ = socket.send(format!("f{number} d7:command4:pinge").as_bytes());
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    pace.sent()
}

const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: ng.rtpengine.com\r\n\r\n";

fn http(stage: &mut Stage) -> Result<String, String> {
    let (refused, said) = under_attack(stage, || {
        let mut slow: Vec<TcpStream> = (0..250).map(|_| tcp(HTTP)).collect::<Result<_, _>>()?;
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(3) {
            slow.iter_mut().for_each(|stream| drop(stream.write_all(b"X")));
            std::thread::sleep(Duration::from_millis(100));
        }
        let mut refused = 0;
        let length = "Content-Type: application/x-rtpengine-ng\r\nContent-Length: 1000000000";
        for request in [
            format!("POST /ng HTTP/1.1\r\nHost: x\r\n{length}\r\n\r\n1 d"),
            "GET /cli/../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_owned(),
            "GET /play/../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_owned(),
            "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\r\n\r\n".to_owned(),
        ] {
            let mut stream = tcp(HTTP)?;
            stream.write_all(request.as_bytes()).map_err(|error| error.to_string())?;
            let response = String::from_utf8_lossy(&rest(&mut stream)?).into_owned();
            if response.contains("root:") || response.contains("daemon:") {
                return Err(format!("a file is given away: {response}"));
            }
            refused += 1;
        }
        // A frame that announces 2^63 bytes, a text that is no UTF-8, a reserved opcode, a control frame in pieces.
        let frames: [&[u8]; 4] = [
            &[0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0],
            &[0x81, 0x82, 0, 0, 0, 0, 0xff, 0xfe],
            &[0x83, 0x80, 0, 0, 0, 0],
            &[0x09, 0x80, 0, 0, 0, 0],
        ];
        for frame in frames {
            let mut stream = tcp(HTTP)?;
            stream
                .write_all(UPGRADE.as_bytes())
                .and_then(|()| stream.write_all(frame))
                .map_err(|error| error.to_string())?;
            let answer = rest(&mut stream)?;
            if !answer.starts_with(b"HTTP/1.1 101 ") {
                return Err(format!("no WebSocket: {}", String::from_utf8_lossy(&answer)));
            }
            refused += 1;
        }
        // The slow ones are not waited for.
        let open = slow.iter_mut().map(rest).filter(|ended| ended.is_err()).count();
        if open > 0 { Err(format!("{open} slow heads are still waited for")) } else { Ok(refused + slow.len()) }
    })?;
    Ok(format!("{refused} connections refused; {said}"))
}

/// The keys in a description.
fn inline_keys(sdp: &str) -> impl Iterator<Item = String> {
    let words = sdp.split("inline:").skip(1);
    words.map(|rest| rest.split(['|', ' ', '\r', '\n']).next().unwrap_or_default().to_owned())
}

fn keys(stage: &mut Stage) -> Result<String, String> {
    stage.daemon.cli("set loglevel 7")?;
    let own = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";
    let sdp = format!(
        "v=0\r\no=- 1 1 IN IP4 203.0.113.10\r\ns=-\r\nc=IN IP4 203.0.113.10\r\nt=0 0\r\nm=audio 6000 RTP/SAVP 8\r\n\
         a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{own}\r\n"
    );
    let mut secrets: HashSet<String> = HashSet::from([own.to_owned()]);
    let mut ask = |request: serde_json::Value| stage.client.ask(&request).map_err(|error| error.to_string());
    let id = "keyed";
    let offer = json!({"command": "offer", "call-id": id, "from-tag": "a", "sdp": sdp, "DTLS": "off"});
    let answer = json!({"command": "answer", "call-id": id, "from-tag": "a", "to-tag": "b", "sdp": sdp});
    for request in [offer, answer] {
        let reply = ask(request)?;
        secrets.extend(inline_keys(reply["sdp"].as_str().ok_or_else(|| format!("no description: {reply}"))?));
    }
    let mut places = vec![
        ("query", ask(json!({"command": "query", "call-id": id}))?.to_string()),
        ("list", ask(json!({"command": "list"}))?.to_string()),
        ("statistics", ask(json!({"command": "statistics"}))?.to_string()),
    ];
    for (name, line) in [
        ("list sessions", "list sessions keyed"),
        ("list sessions all", "list sessions all"),
        ("list calls", "list calls json"),
        ("list fastpath", "list fastpath json"),
        ("list totals", "list totals"),
    ] {
        places.push((name, stage.daemon.cli(line)?));
    }
    // Media makes the log say what it says about keys.
    let mut calls = [
        stage.connected(&settings(Keying::Sdes(vec![Suite::AeadAes256Gcm])), &json!({}))?,
        stage.connected(&settings(Keying::Sdes(vec![Suite::AesCm128Sha1_80])), &json!({}))?,
    ];
    drive(&mut calls, Duration::from_millis(500), true, &mut |_| {});
    let log = stage.log_text();
    if !log.contains("Received 'offer'") || log.lines().count() < 5 {
        return Err("the log has nothing".into());
    }
    if log.contains("inline:") {
        return Err("the log has a crypto attribute".into());
    }
    places.push(("log", log));
    for (name, text) in &places {
        if let Some(secret) = secrets.iter().find(|secret| secret.len() < 20 || text.contains(&secret[..20])) {
            return Err(format!("{name} shows the key {secret}"));
        }
    }
    Ok(format!("{} keys in none of {} places", secrets.len(), places.len()))
}
