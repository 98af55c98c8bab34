//! Calls whose media relay Kamailio drives by its modules `lrkproxy` and `rtpproxy`.

use crate::scenarios::{Ends, Held, MEDIA_PORT, TALK, TWO_WAY, at};
use crate::sip::{Role, Sipp, Step};
use crate::stage::{CALLEE, CALLER, INSIDE, Networks, OUTSIDE, Stage};
use crate::{Scenario, scenarios};
use millrace_testsuite::daemon::Kind;
use millrace_testsuite::ng::Encoding;
use serde_json::{Value, json};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

pub const ALL: &[Scenario] = &[
    Scenario { name: "lrkproxy", what: "a call by Kamailio's lrkproxy, RTCP too", needs: lrkproxy, run: two_ports },
    Scenario { name: "lrkproxy-gt", what: "the same with one port for both sides", needs: lrkproxy, run: one_port },
    Scenario { name: "lrkproxy-unix", what: "the same over a unix socket", needs: lrkproxy, run: unix_socket },
    Scenario { name: "rtpproxy", what: "a call by Kamailio's rtpproxy", needs: rtpproxy, run: by_rtpproxy },
];

const SCRIPT: &str = include_str!("../../config/kamailio-lrkproxy.cfg.example");
const SOCKET: &str = "udp:127.0.0.1:22333";

fn lrkproxy(kind: Kind) -> Result<(), String> {
    has_module(kind, "lrkproxy.so")
}

fn rtpproxy(kind: Kind) -> Result<(), String> {
    has_module(kind, "rtpproxy.so")
}

fn has_module(kind: Kind, name: &str) -> Result<(), String> {
    if kind != Kind::Millrace && name != "rtpproxy.so" {
        return Err(format!("{kind} does not speak it"));
    }
    let folders = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let mut paths = folders.map(|folder| folder.path().join("kamailio/modules").join(name));
    if paths.any(|path| path.exists()) { Ok(()) } else { Err(format!("Kamailio has no {name}")) }
}

const STEPS: [Step; 3] = [TWO_WAY, Step::Talk(TALK), Step::Bye(Role::Caller)];

/// A call between two networks, each with its address and its port.
fn two_ports(kind: Kind, folder: &Path) -> Result<String, String> {
    let expected = [at(OUTSIDE, 20_002)?, at(INSIDE, 20_000)?];
    by_lrkproxy(kind, SCRIPT, &["--listen-lrk=127.0.0.1".to_owned()], expected, folder)
}

/// Both sides send to one address and one port.
fn one_port(kind: Kind, folder: &Path) -> Result<String, String> {
    let script = SCRIPT.replace("\"gt\", 0", "\"gt\", 1").replace("manage(\"ie\")", "manage(\"ei\")");
    let expected = [at(INSIDE, 20_000)?; 2];
    by_lrkproxy(kind, &script, &["--listen-lrk=127.0.0.1".to_owned()], expected, folder)
}

fn unix_socket(kind: Kind, folder: &Path) -> Result<String, String> {
    let path = folder.join("lrk.sock");
    let script = SCRIPT.replace(SOCKET, &format!("unix:{}", path.display()));
    let options = ["--listen-lrk=127.0.0.1".to_owned(), format!("--listen-lrk=unix:{}", path.display())];
    by_lrkproxy(kind, &script, &options, [at(OUTSIDE, 20_002)?, at(INSIDE, 20_000)?], folder)
}

fn by_lrkproxy(
    kind: Kind,
    script: &str,
    options: &[String],
    expected: [SocketAddr; 2],
    folder: &Path,
) -> Result<String, String> {
    let networks = Networks::make()?;
    // The relay's inner address is one of the proxy's own: nothing is forwarded to reach it.
    networks.caller.ip(&["route", "add", &format!("{INSIDE}/32"), "via", OUTSIDE])?;
    let mut stage = Stage::open_over(&networks, kind, options, script, folder)?;
    let idle = Held::by(&stage.daemon)?;
    let ends = Ends::open(&networks, at(CALLER, MEDIA_PORT)?, at(CALLEE, MEDIA_PORT)?)?;
    let (mut caller, mut callee) = stage.phones(&STEPS, ends.caller_at, ends.callee_at)?;
    let relays = offered(&mut caller, &mut callee)?;
    if relays != expected {
        return Err(format!("the caller was given {}, the callee {}, not {expected:?}", relays[0], relays[1]));
    }
    ends.talk(relays[0], relays[1], 1)?;
    exchange_reports(&networks, relays)?;
    let report = query(&stage)?;
    if report.text.contains("shared_port") {
        return Err(format!("sides that share a port are kept from the kernel: {}", report.text));
    }
    caller.finish()?;
    callee.finish()?;
    // Debian's module sends nothing at BYE, newer ones this.
    let end = format!(
        "1_1 D {CALLER} {} {} {CALLEE} {MEDIA_PORT} {} {} {MEDIA_PORT} 60 {} ",
        expected[1].ip(),
        expected[0].ip(),
        expected[1].port(),
        expected[0].port(),
        report.call_id
    );
    let socket = networks.proxy.within(|| UdpSocket::bind("127.0.0.1:0")).and_then(|socket| socket);
    let socket = socket.map_err(|error| error.to_string())?;
    let reply = ask(&socket, end.as_bytes(), at("127.0.0.1", 22333)?)?;
    if reply != format!("{end}OK").as_bytes() {
        return Err(format!("D was answered with {:?}", String::from_utf8_lossy(&reply)));
    }
    idle.wait_for(&mut stage.daemon)?;
    let counters = stage.daemon.cli("list lrk")?;
    if counters.lines().any(|line| line.starts_with("dropped") && !line.ends_with(" 0")) {
        return Err(format!("some of it was dropped:\n{counters}"));
    }
    Ok(format!("{}; all freed", report.text))
}

fn by_rtpproxy(kind: Kind, folder: &Path) -> Result<String, String> {
    let script = SCRIPT
        .replace("loadmodule \"lrkproxy.so\"", "loadmodule \"rtpproxy.so\"")
        .replace("modparam(\"lrkproxy\", \"gt\", 0)\n", "")
        .replace(
            &format!("\"lrkproxy\", \"lrkproxy_sock\", \"{SOCKET}\""),
            "\"rtpproxy\", \"rtpproxy_sock\", \"udp:127.0.0.1:22222\"",
        )
        .replace("    set_lrkproxy_set(\"0\");\n", "")
        .replace("lrkproxy_manage", "rtpproxy_manage");
    let networks = Networks::make()?;
    let mut stage = Stage::open_over(&networks, kind, &["--listen-udp=127.0.0.1:22222".to_owned()], &script, folder)?;
    let idle = Held::by(&stage.daemon)?;
    let ends = Ends::open(&networks, at(CALLER, MEDIA_PORT)?, at(CALLEE, MEDIA_PORT)?)?;
    let (mut caller, mut callee) = stage.phones(&STEPS, ends.caller_at, ends.callee_at)?;
    let relays = offered(&mut caller, &mut callee)?;
    if relays.map(|relay| relay.ip()) != [at(OUTSIDE, 0)?.ip(), at(INSIDE, 0)?.ip()] {
        return Err(format!("the caller was given {}, the callee {}", relays[0], relays[1]));
    }
    ends.talk(relays[0], relays[1], 1)?;
    exchange_reports(&networks, relays)?;
    let report = query(&stage)?;
    caller.finish()?;
    callee.finish()?;
    idle.wait_for(&mut stage.daemon)?;
    Ok(format!("{}; all freed", report.text))
}

/// Where each phone was told to send.
fn offered(caller: &mut Sipp, callee: &mut Sipp) -> Result<[SocketAddr; 2], String> {
    Ok([caller.offered(1)?.media, callee.offered(1)?.media])
}

/// Sender reports both ways, one port above, byte for byte.
fn exchange_reports(networks: &Networks, relays: [SocketAddr; 2]) -> Result<(), String> {
    let above = |address: SocketAddr| SocketAddr::new(address.ip(), address.port() + 1);
    let caller = networks.socket(Role::Caller, at(CALLER, MEDIA_PORT + 1)?)?;
    let callee = networks.socket(Role::Callee, at(CALLEE, MEDIA_PORT + 1)?)?;
    for (name, from, to, relay) in [("up", &caller, &callee, relays[0]), ("down", &callee, &caller, relays[1])] {
        let report = sender_report(relay.port());
        from.send_to(&report, above(relay)).map_err(|error| error.to_string())?;
        let mut buffer = [0; 256];
        let wait = to.set_read_timeout(Some(Duration::from_secs(2)));
        let bytes = wait.and_then(|()| to.recv(&mut buffer)).map_err(|error| format!("RTCP {name}: {error}"))?;
        if buffer[..bytes] != report {
            return Err(format!("RTCP {name} arrived changed"));
        }
    }
    Ok(())
}

/// A sender report without blocks (RFC 3550, section 6.4.1).
fn sender_report(ssrc: u16) -> Vec<u8> {
    let mut report = vec![0x80, 200, 0, 6, 0, 0];
    report.extend(ssrc.to_be_bytes());
    report.extend((0..20).map(|byte| byte * 3));
    report
}

fn ask(socket: &UdpSocket, request: &[u8], to: SocketAddr) -> Result<Vec<u8>, String> {
    let mut buffer = [0; 1024];
    socket.set_read_timeout(Some(Duration::from_secs(2))).map_err(|error| error.to_string())?;
    socket.send_to(request, to).map_err(|error| error.to_string())?;
    let bytes = socket.recv(&mut buffer).map_err(|error| format!("no reply: {error}"))?;
    Ok(buffer[..bytes].to_vec())
}

struct Report {
    call_id: String,
    text: String,
}

/// What NG's `list` and `query` tell of the only call.
fn query(stage: &Stage) -> Result<Report, String> {
    let mut client = stage.daemon.client(Encoding::Json)?;
    let mut ask = |request: Value| client.ask(&request).map_err(|error| error.to_string());
    let listed = ask(json!({"command": "list"}))?;
    let [Value::String(call_id)] = listed["calls"].as_array().map_or(&[][..], Vec::as_slice) else {
        return Err(format!("not one call: {listed}"));
    };
    let report = ask(json!({"command": "query", "call-id": call_id}))?;
    let (rtp, rtcp) = (&report["totals"]["RTP"]["packets"], &report["totals"]["RTCP"]["packets"]);
    let expected = 2 * scenarios::PACKETS;
    if (rtp, rtcp) != (&json!(expected), &json!(2)) {
        return Err(format!("query counts {rtp} packets of RTP and {rtcp} of RTCP, not {expected} and 2"));
    }
    let ways: Vec<String> =
        report["tags"].as_object().into_iter().flatten().map(|(tag, side)| way(tag, side)).collect();
    Ok(Report { call_id: call_id.clone(), text: format!("query: {rtp} RTP, {rtcp} RTCP; {}", ways.join(", ")) })
}

/// By which way a side's packets went.
fn way(tag: &str, side: &Value) -> String {
    let stream = &side["medias"][0]["streams"][0];
    let path = stream["fast path"].as_str().unwrap_or("no other path");
    format!("{tag} {path} {}", stream["fast path reason"].as_str().unwrap_or_default()).trim_end().to_owned()
}
