//! Those who are sent statistics: what a Graphite, a Homer and an MQTT broker get while a call is up, and that the daemon goes on
//! without them.

use crate::Scenario;
use crate::eyes::{Talk, ctl};
use crate::fastpath::ours;
use crate::stage::{CALLER, Networks, launch_daemon};
use millrace_testsuite::daemon::{Daemon, Kind};
use millrace_testsuite::netns::{self, Namespace};
use millrace_testsuite::ng::Encoding;
use millrace_testsuite::system;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

pub const ALL: &[Scenario] = &[
    Scenario { name: "graphite", what: "lines of text, while somebody listens and not", needs: ours, run: graphite },
    Scenario { name: "homer", what: "HEP over UDP and TCP, without keys", needs: ours, run: homer },
    Scenario { name: "mqtt", what: "JSON through Debian's mosquitto", needs: mosquitto, run: mqtt },
];

fn mosquitto(kind: Kind) -> Result<(), String> {
    ours(kind)?;
    let missing = ["mosquitto", "mosquitto_sub"].into_iter().find(|name| !system::is_installed(name));
    missing.map_or(Ok(()), |name| Err(format!("{name} is not installed")))
}

const PACKETS: u16 = 50;
/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(15);

fn start<'a>(networks: &'a Networks, kind: Kind, options: &[&str], folder: &Path) -> Result<Daemon<'a>, String> {
    let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
    let mut daemon = launch_daemon(networks, kind, &options, folder)?;
    daemon.wait_for_answer()?;
    Ok(daemon)
}

fn listener(home: &Namespace, at: &str) -> Result<TcpListener, String> {
    let listener = home.within(|| TcpListener::bind(at)).and_then(|listener| listener);
    listener.map_err(|error| format!("{at}: {error}"))
}

fn graphite(kind: Kind, folder: &Path) -> Result<String, String> {
    let networks = Networks::make()?;
    let ear = listener(&networks.proxy, "127.0.0.1:2003")?;
    let options = ["--graphite=127.0.0.1:2003", "--graphite-interval=1", "--graphite-prefix=relay.", "--fastpath=auto"];
    let daemon = start(&networks, kind, &options, folder)?;
    let (stream, _) = ear.accept().map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(|error| error.to_string())?;
    let mut lines = BufReader::new(stream).lines();
    let talk = Talk::open(&networks, &daemon)?;
    talk.both_ways(0, PACKETS)?;
    let (mut relayed, mut offers, mut sessions) = (0.0, 0.0, 0.0);
    let deadline = Instant::now() + PATIENCE;
    while relayed < f64::from(2 * PACKETS) || sessions < 1.0 {
        let line = lines.next().ok_or("the daemon has hung up")?.map_err(|error| error.to_string())?;
        let (name, value) = reading(&line)?;
        match name {
            "relayed_packets" => relayed += value,
            "offer_count" => offers = value,
            "current_sessions_own" => sessions = value,
            _ => {}
        }
        if Instant::now() > deadline {
            return Err(format!("{relayed} packets reported, {} sent", 2 * PACKETS));
        }
    }
    if relayed != f64::from(2 * PACKETS) || offers != 1.0 {
        return Err(format!("{relayed} packets and {offers} offers reported, {} and 1 sent", 2 * PACKETS));
    }
    let statistics = netns::run(ctl(&networks).args(["list", "jsonstats"]))?;
    let statistics: Value = serde_json::from_str(&statistics).map_err(|error| format!("jsonstats: {error}"))?;
    if !statistics["intervalstatistics"]["maxofferdelay"].is_string() {
        return Err(format!("no intervals in {statistics}"));
    }
    drop((lines, ear));
    let deadline = Instant::now() + PATIENCE;
    while metric(&networks, "millrace_export_dropped_total{receiver=\"graphite\"}")? < 1.0 {
        if Instant::now() > deadline {
            return Err("nothing is counted as dropped, though nobody listens".into());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    let ear = listener(&networks.proxy, "127.0.0.1:2003")?;
    ear.accept().map_err(|error| error.to_string())?;
    Ok(format!("{relayed} packets reported; connected anew after a break"))
}

/// A line of Graphite: its name without the prefix, and its value.
fn reading(line: &str) -> Result<(&str, f64), String> {
    let mut words = line.split(' ');
    let (name, value, time) = (words.next(), words.next(), words.next());
    let name = name.and_then(|name| name.strip_prefix("relay."));
    let value = value.and_then(|value| value.parse::<f64>().ok());
    let time = time.and_then(|time| time.parse::<u64>().ok()).filter(|time| *time > 1_500_000_000);
    match (name, value, time, words.next()) {
        (Some(name), Some(value), Some(_), None) => Ok((name, value)),
        _ => Err(format!("not a line for Graphite: {line}")),
    }
}

fn metric(networks: &Networks, series: &str) -> Result<f64, String> {
    let text = netns::run(ctl(networks).arg("metrics"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.and_then(|number| number.parse().ok()).ok_or(format!("{series} is not in:\n{text}"))
}

/// A key that must not be seen.
const KEY: &str = "d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj";

fn homer(kind: Kind, folder: &Path) -> Result<String, String> {
    let mut notes = Vec::new();
    for protocol in ["udp", "tcp"] {
        let networks = Networks::make()?;
        let home = &networks.proxy;
        let socket = home.within(|| UdpSocket::bind("127.0.0.1:9060")).and_then(|socket| socket);
        let socket = socket.map_err(|error| error.to_string())?;
        let ear = listener(home, "127.0.0.1:9060")?;
        let protocol_option = format!("--homer-protocol={protocol}");
        let options =
            ["--homer=127.0.0.1:9060", &protocol_option, "--homer-enable-ng", "--homer-id=77", "--fastpath=auto"];
        let daemon = start(&networks, kind, &options, folder)?;
        let talk = Talk::open(&networks, &daemon)?;
        talk.both_ways(0, PACKETS)?;
        talk.report()?;
        let mut client = daemon.client(Encoding::Json)?;
        let crypto = format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}");
        let body = format!(
            "v=0\r\no=- 1 1 IN IP4 {CALLER}\r\ns=-\r\nc=IN IP4 {CALLER}\r\nt=0 0\r\nm=audio 6200 RTP/SAVP 8\r\n{crypto}\r\n"
        );
        let offer = json!({"command": "offer", "call-id": "secret", "from-tag": "x", "sdp": body});
        let reply = client.ask(&offer).map_err(|error| error.to_string())?;
        if reply["result"] != "ok" || !reply["sdp"].as_str().is_some_and(|sdp| sdp.contains("inline:")) {
            return Err(format!("a key should be shown: {reply}"));
        }
        // Two reports; an offer and an answer, and the other offer, each with its reply.
        let packets = match protocol {
            "udp" => by_datagrams(&socket, 8)?,
            _ => by_stream(&ear, 8)?,
        };
        notes.push(format!("{protocol}: {}", look_at(&packets)?));
    }
    Ok(notes.join(", "))
}

/// A packet of HEP, taken apart.
#[derive(Debug, Default)]
struct Captured {
    from: Option<(IpAddr, u16)>,
    to: Option<(IpAddr, u16)>,
    seconds: u32,
    protocol: u8,
    capture_id: u32,
    call_id: String,
    payload: Vec<u8>,
}

fn by_datagrams(socket: &UdpSocket, count: usize) -> Result<Vec<Captured>, String> {
    socket.set_read_timeout(Some(PATIENCE)).map_err(|error| error.to_string())?;
    let mut buffer = [0; 65_536];
    let mut next = || {
        let bytes = socket.recv(&mut buffer).map_err(|error| format!("Homer hears no more: {error}"))?;
        captured(&buffer[..bytes])
    };
    std::iter::repeat_with(&mut next).take(count).collect()
}

fn by_stream(ear: &TcpListener, count: usize) -> Result<Vec<Captured>, String> {
    let (mut stream, _) = ear.accept().map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(|error| error.to_string())?;
    let mut next = || {
        let mut packet = vec![0; 6];
        let fault = |error| format!("Homer hears no more: {error}");
        stream.read_exact(&mut packet).map_err(fault)?;
        packet.resize(usize::from(u16::from_be_bytes([packet[4], packet[5]])).max(6), 0);
        stream.read_exact(&mut packet[6..]).map_err(fault)?;
        captured(&packet)
    };
    std::iter::repeat_with(&mut next).take(count).collect()
}

fn captured(packet: &[u8]) -> Result<Captured, String> {
    let length = packet.get(4..6).map(|bytes| usize::from(u16::from_be_bytes([bytes[0], bytes[1]])));
    if packet.get(..4) != Some(b"HEP3") || length != Some(packet.len()) {
        return Err(format!("not a packet of HEP 3: {packet:?}"));
    }
    let mut found = Captured::default();
    let (mut addresses, mut ports) = (Vec::new(), Vec::new());
    let mut rest = &packet[6..];
    while !rest.is_empty() {
        let header: [u8; 6] = rest.get(..6).and_then(|header| header.try_into().ok()).ok_or("half a chunk")?;
        let [0, 0, high, low, ..] = header else { return Err("a chunk of some vendor".into()) };
        let content = rest.get(6..usize::from(u16::from_be_bytes([header[4], header[5]]))).ok_or("half a chunk")?;
        rest = &rest[6 + content.len()..];
        let number = content.iter().take(4).fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte));
        match u16::from_be_bytes([high, low]) {
            3 | 4 => addresses.push(IpAddr::from(<[u8; 4]>::try_from(content).map_err(|_| "an odd address")?)),
            7 | 8 => ports.push(number as u16),
            9 => found.seconds = number,
            11 => found.protocol = number as u8,
            12 => found.capture_id = number,
            15 => found.payload = content.to_vec(),
            17 => found.call_id = String::from_utf8_lossy(content).into_owned(),
            _ => {}
        }
    }
    let mut places = addresses.into_iter().zip(ports);
    (found.from, found.to) = (places.next(), places.next());
    Ok(found)
}

fn look_at(packets: &[Captured]) -> Result<String, String> {
    if let Some(wrong) = packets.iter().find(|packet| packet.capture_id != 77 || packet.seconds < 1_500_000_000) {
        return Err(format!("capture id or time: {wrong:?}"));
    }
    let (reports, messages): (Vec<&Captured>, Vec<&Captured>) = packets.iter().partition(|packet| packet.protocol == 5);
    let caller: (IpAddr, u16) = (CALLER.parse().map_err(|_| "no address")?, 6000);
    let of_caller = reports.iter().find(|report| report.from == Some(caller)).ok_or("no report of the caller")?;
    let report: Value = serde_json::from_slice(&of_caller.payload).map_err(|error| error.to_string())?;
    if of_caller.call_id != "same" || report["type"] != 201 || report["report_blocks"][0]["packets_lost"] != 0 {
        return Err(format!("a report that says something else: {of_caller:?} {report}"));
    }
    let texts: Vec<String> =
        messages.iter().map(|message| String::from_utf8_lossy(&message.payload).into_owned()).collect();
    if messages.iter().any(|message| message.protocol != 61) || texts.iter().any(|text| text.contains("4:ping")) {
        return Err(format!("other messages than those of calls: {texts:?}"));
    }
    let requests = messages.iter().filter(|message| message.to.is_some_and(|to| to.1 == 2223)).count();
    let secret: Vec<&String> = texts.iter().filter(|text| text.contains("inline:")).collect();
    if (reports.len(), messages.len(), requests, secret.len()) != (2, 6, 3, 2) {
        return Err(format!(
            "{} reports, {} messages, {requests} of them requests, {} with keys: {texts:?}",
            reports.len(),
            messages.len(),
            secret.len()
        ));
    }
    let shows_key = |text: &&String| text.split("inline:").skip(1).any(|after| !after.starts_with('*'));
    if texts.iter().any(|text| text.contains(&KEY[..8])) || secret.iter().any(shows_key) {
        return Err(format!("a key is shown: {secret:?}"));
    }
    Ok(format!("{} reports, {} messages", reports.len(), messages.len()))
}

/// A broker, which ends with this value.
struct Broker(Child);

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn broker(home: &Namespace, folder: &Path) -> Result<Broker, String> {
    let log = File::create(folder.join("mosquitto.log")).map_err(|error| error.to_string())?;
    let mut command = home.command("mosquitto");
    command.args(["-p", "1883"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    system::end_with_parent(&mut command);
    command.spawn().map(Broker).map_err(|error| format!("mosquitto: {error}"))
}

/// Messages of the topic.
fn hear(home: &Namespace, count: usize) -> Result<Vec<Value>, String> {
    let mut command = home.command("mosquitto_sub");
    command.args(["-h", "127.0.0.1", "-t", "relay", "-W", "10", "-C", &count.to_string()]);
    let text = netns::run(&mut command)?;
    text.lines().map(|line| serde_json::from_str(line).map_err(|error| format!("{error}: {line}"))).collect()
}

fn mqtt(kind: Kind, folder: &Path) -> Result<String, String> {
    for scope in ["summary", "call", "media"] {
        let networks = Networks::make()?;
        let home = &networks.proxy;
        let scope_option = format!("--mqtt-publish-scope={scope}");
        let options = [
            "--mqtt-host=127.0.0.1",
            "--mqtt-publish-topic=relay",
            "--mqtt-publish-interval=300",
            "--mqtt-publish-qos=1",
            &scope_option,
            "--fastpath=auto",
        ];
        // Nobody answers at first.
        let daemon = start(&networks, kind, &options, folder)?;
        let talk = Talk::open(&networks, &daemon)?;
        talk.both_ways(0, PACKETS)?;
        let _broker = broker(home, folder)?;
        let deadline = Instant::now() + PATIENCE;
        // What waited from before the call may come first.
        while let Err(why) = hear(home, 2).and_then(|messages| said(scope, &messages)) {
            if Instant::now() > deadline {
                return Err(format!("{scope}: {why}"));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    Ok("a call in messages of three scopes, from a broker that came late".into())
}

fn said(scope: &str, messages: &[Value]) -> Result<(), String> {
    let message = messages.last().ok_or("no message")?;
    let call = if scope == "summary" { &message["calls"][0] } else { message };
    let mut medias: Vec<&Value> = match scope {
        "media" => messages.iter().collect(),
        _ => call["legs"].as_array().into_iter().flatten().flat_map(|leg| leg["medias"].as_array()).flatten().collect(),
    };
    medias.sort_by_key(|media| media["address"].to_string());
    let all = u64::from(PACKETS);
    let heard = |media: &&Value| {
        let metrics = &media["ingress"][0]["metrics"];
        media["ingress"][0]["codec"] == "PCMA" && metrics["packets"] == all && metrics["lost"] == 0
    };
    let is_whole = message["timestamp"].is_f64() && call["call_id"] == "same";
    let has_totals = scope != "summary" || message["currentstatistics"]["sessionsown"] == 1;
    let at_caller = medias.iter().any(|media| media["endpoint_address"] == CALLER && media["endpoint_port"] == 6000);
    if is_whole && has_totals && at_caller && medias.len() == 2 && medias.iter().all(heard) {
        return Ok(());
    }
    Err(format!("something else: {messages:?}"))
}
