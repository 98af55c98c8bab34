//! What an operator sees of the fast path: `millracectl` in the daemon's network, while a call is up.

use crate::Scenario;
use crate::cover::Cover;
use crate::fastpath::{PCMA, SSRC, ours, packet, set_up};
use crate::scenarios::at;
use crate::sip::Role;
use crate::stage::{CALLEE, CALLER, Networks, start_daemon_with};
use millrace_testsuite::daemon::{Daemon, Kind};
use millrace_testsuite::ng::Encoding;
use millrace_testsuite::{netns, system};
use serde_json::Value;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub const ALL: &[Scenario] = &[
    Scenario { name: "fastpath-list", what: "millracectl shows entries and counters", needs: ours, run: list },
    Scenario { name: "capture", what: "a call captured on both paths, read by tshark", needs: tshark, run: capture },
];

fn tshark(kind: Kind) -> Result<(), String> {
    ours(kind)?;
    if system::is_installed("tshark") { Ok(()) } else { Err("tshark is not installed".into()) }
}

/// Between two packets.
const PACE: Duration = Duration::from_millis(4);
/// While addresses are learned and entries are installed.
const WARM_UP: u16 = 200;
const PACKETS: u16 = 50;

/// Beside the daemon, or this program.
fn program() -> PathBuf {
    Kind::Millrace.program().with_file_name("millracectl")
}

/// `millracectl` in the daemon's network.
pub fn ctl(networks: &Networks) -> Command {
    networks.proxy.command(&program().to_string_lossy())
}

fn list(kind: Kind, folder: &Path) -> Result<String, String> {
    let networks = Networks::make()?;
    let daemon = start_daemon_with(&networks, kind, "--fastpath=xdp", folder)?;
    let talk = Talk::open(&networks, &daemon)?;
    talk.both_ways(0, WARM_UP)?;
    let before = entry(&json(&networks)?)?["packets"].as_u64().ok_or("no count of packets")?;
    talk.both_ways(WARM_UP, PACKETS)?;
    let after = json(&networks)?;
    let entry = entry(&after)?;
    let counted = entry["packets"].as_u64().unwrap_or_default() - before;
    if counted != u64::from(PACKETS) {
        return Err(format!("{counted} packets counted, {PACKETS} sent: {entry}"));
    }
    let output = &entry["outputs"][0];
    let told = (&entry["expects"], &entry["flags"][0], &entry["SSRC"], &output["to"], &output["interface"]);
    let (caller, callee) = (format!("{CALLER}:6000"), format!("{CALLEE}:7000"));
    if told != (&caller.into(), &"strict".into(), &SSRC.into(), &callee.into(), &"internal".into()) {
        return Err(format!("an entry that says something else: {entry}"));
    }
    let summary = &after["summary"];
    let forwarded = summary["verdicts"]["forwarded"].as_u64().unwrap_or_default();
    if summary["entries"] != 2 || forwarded < 2 * u64::from(PACKETS) || summary["userspace"]["not_rtp"] != 2 {
        return Err(format!("counters: {summary}"));
    }
    let text = netns::run(ctl(&networks).arg("fastpath"))?;
    let parts = ["local 203.0.113.1:", "    call same\n", "output from 10.0.0.1:", "Streams in userspace (not_rtp)"];
    if let Some(part) = parts.iter().find(|part| !text.contains(**part)) {
        return Err(format!("'{part}' is not in: {text}"));
    }
    let totals = netns::run(ctl(&networks).args(["list", "totals"]))?;
    if !totals.contains("Packets seen by XDP (forwarded)") {
        return Err(format!("no verdicts in: {totals}"));
    }
    let table = netns::run(ctl(&networks).args(["top", "--once"]))?;
    if !table.contains(" 1 calls, 0 packets/s, 0 kbit/s, 2 of 2 medias in the kernel") || !table.contains("  same\n") {
        return Err(format!("a table of one call: {table}"));
    }
    let calls = netns::run(ctl(&networks).args(["list", "calls"]))?;
    let all = 2 * u64::from(WARM_UP + PACKETS);
    if !calls.contains(&format!("  {all}  ")) {
        return Err(format!("{all} packets should be listed: {calls}"));
    }
    Ok(format!("2 entries, {forwarded} packets forwarded"))
}

fn json(networks: &Networks) -> Result<Value, String> {
    let text = netns::run(ctl(networks).args(["fastpath", "--json"]))?;
    serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))
}

/// The entry for what the caller sends.
fn entry(list: &Value) -> Result<&Value, String> {
    let entries = list["entries"].as_array().ok_or("no entries")?;
    let found = entries.iter().find(|entry| entry["expects"].as_str().is_some_and(|at| at.starts_with(CALLER)));
    found.ok_or(format!("no entry for {CALLER} in {list}"))
}

/// Two ends of a call.
pub struct Talk {
    ends: [UdpSocket; 2],
    /// Where each sends to.
    to: [SocketAddr; 2],
}

impl Talk {
    /// Sets a call up.
    pub fn open(networks: &Networks, daemon: &Daemon) -> Result<Talk, String> {
        let (caller, callee) = (at(CALLER, 6000)?, at(CALLEE, 7000)?);
        let mut client = daemon.client(Encoding::Bencode)?;
        let ([for_caller, for_callee], _) = set_up(&mut client, caller, callee, Cover::None)?;
        let ends = [networks.socket(Role::Caller, caller)?, networks.socket(Role::Callee, callee)?];
        Ok(Talk { ends, to: [for_caller, for_callee] })
    }

    /// One RTCP receiver report from each end to where the other's RTP goes: it is no RTP, and goes by the daemon.
    pub fn report(&self) -> Result<(), String> {
        for (end, to) in self.ends.iter().zip(self.to) {
            let mut report = vec![0x81, 201, 0, 7];
            report.extend(SSRC.to_be_bytes());
            report.extend([0; 24]);
            end.send_to(&report, to).map_err(|error| error.to_string())?;
        }
        std::thread::sleep(Duration::from_millis(50));
        Ok(())
    }

    /// A datagram of the caller's.
    pub fn caller_sends(&self, datagram: &[u8]) -> Result<(), String> {
        self.ends[0].send_to(datagram, self.to[0]).map(drop).map_err(|error| error.to_string())
    }

    /// RTP packets from each end, numbered from `first`.
    pub fn both_ways(&self, first: u16, count: u16) -> Result<(), String> {
        for number in first..first + count {
            for (end, to) in self.ends.iter().zip(self.to) {
                let sent = end.send_to(&packet(number, PCMA, &[0xd5; 160]), to);
                sent.map_err(|error| error.to_string())?;
            }
            std::thread::sleep(PACE);
        }
        // What still goes by the daemon is counted soon after.
        std::thread::sleep(Duration::from_millis(50));
        Ok(())
    }
}

/// `millracectl capture` at work.
struct Capture {
    child: Child,
    file: PathBuf,
}

impl Capture {
    /// Starts, and waits until the file has its beginning: the daemon captures from then on.
    fn start(networks: &Networks, file: PathBuf, limits: &[&str]) -> Result<Capture, String> {
        let mut command = ctl(networks);
        command.args(["capture", "same", "-w"]).arg(&file).args(limits).stdin(Stdio::null()).stderr(Stdio::piped());
        system::end_with_parent(&mut command);
        let child = command.spawn().map_err(|error| format!("millracectl: {error}"))?;
        let capture = Capture { child, file };
        let deadline = Instant::now() + Duration::from_secs(5);
        while std::fs::metadata(&capture.file).map_or(0, |file| file.len()) == 0 {
            if Instant::now() > deadline {
                return Err("the capture does not begin".into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(capture)
    }

    /// Interrupts it, and waits for its end; what it said.
    fn stop(self) -> Result<String, String> {
        system::signal(self.child.id(), libc::SIGINT).map_err(|error| error.to_string())?;
        self.wait()
    }

    fn wait(self) -> Result<String, String> {
        let output = self.child.wait_with_output().map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(said) } else { Err(format!("millracectl: {}: {said}", output.status)) }
    }
}

/// Lines of tshark's fields over the packets of a file that a filter lets through.
fn read(file: &Path, ports: &[SocketAddr], filter: &str, fields: &[&str]) -> Result<Vec<Vec<String>>, String> {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(file).args(["-n", "-T", "fields", "-Y", filter]);
    command.args(["-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"]);
    for port in ports {
        command.args(["-d", &format!("udp.port=={},rtp", port.port())]);
    }
    for field in fields {
        command.args(["-e", field]);
    }
    let output = command.output().map_err(|error| format!("tshark: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let complaint = said.lines().find(|line| !line.starts_with("Running as user"));
    if let (false, _) | (_, Some(_)) = (output.status.success(), complaint) {
        return Err(format!("tshark: {}: {said}", output.status));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect())
}

fn capture(kind: Kind, folder: &Path) -> Result<String, String> {
    let networks = Networks::make()?;
    let daemon = start_daemon_with(&networks, kind, "--fastpath=xdp", folder)?;
    let talk = Talk::open(&networks, &daemon)?;
    let whole = Capture::start(&networks, folder.join("whole.pcapng"), &[])?;
    let short = Capture::start(&networks, folder.join("short.pcapng"), &["--packets", "7", "--snap-length", "64"])?;
    // The first packets go by the daemon, and those of usual kinds by XDP as soon as there are entries.
    talk.both_ways(0, WARM_UP)?;
    talk.report()?;
    talk.both_ways(WARM_UP, PACKETS)?;
    let flags = entry(&json(&networks)?)?["flags"].to_string();
    if !flags.contains("captured") {
        return Err(format!("an entry that is not captured: {flags}"));
    }
    let files = [whole.file.clone(), short.file.clone()];
    let (said, said_of_short) = (whole.stop()?, short.wait()?);
    let flags = entry(&json(&networks)?)?["flags"].to_string();
    if flags.contains("captured") {
        return Err(format!("an entry that is still captured: {flags}"));
    }
    // Before files are read, which may take longer than a call lives without packets.
    ends_of_captures(&networks, &daemon, &talk, folder)?;
    let sent = u64::from(WARM_UP + PACKETS);
    let note = check(&files[0], &talk, sent)?;
    // Each packet comes and leaves, of two ends; and so does each report.
    let copies = 4 * sent + 4;
    if !said.contains(&format!("{copies} packets captured, 0 lost")) {
        return Err(format!("{copies} packets should be captured: {said}"));
    }
    let lengths = read(&files[1], &[], "frame", &["frame.cap_len", "frame.len"])?;
    let is_cut = |length: &Vec<String>| length[0].parse().is_ok_and(|bytes: u32| (64..=92).contains(&bytes));
    if !said_of_short.contains("7 packets captured") || lengths.len() != 7 || !lengths.iter().all(is_cut) {
        return Err(format!("seven packets, cut short: {said_of_short}, {lengths:?}"));
    }
    Ok(note)
}

/// Every packet of both ends, as it came and as it left, by one of the two ways.
fn check(file: &Path, talk: &Talk, sent: u64) -> Result<String, String> {
    let fields = ["frame.interface_name", "frame.packet_flags_direction", "rtp.seq", "rtp.payload"];
    let mut by_xdp = 0;
    let local = ["10.0.0.1", "203.0.113.1"];
    let sides = [(CALLER, local[1]), (local[0], CALLEE), (CALLEE, local[0]), (local[1], CALLER)];
    for (index, (from, to)) in sides.into_iter().enumerate() {
        let filter = format!("rtp && ip.src == {from} && ip.dst == {to}");
        let packets = read(file, &talk.to, &filter, &fields)?;
        let direction = ["0x00000001", "0x00000002"][index % 2];
        let mut numbers: Vec<u64> = Vec::new();
        for packet in &packets {
            if packet[1] != direction || packet[3] != "d5".repeat(160) {
                return Err(format!("from {from} to {to}: {packet:?}"));
            }
            numbers.extend(packet[2].parse::<u64>());
        }
        by_xdp += packets.iter().filter(|packet| packet[0] != "millrace").count() as u64;
        numbers.sort_unstable();
        if numbers != (0..sent).collect::<Vec<_>>() {
            return Err(format!("from {from} to {to}: {} of {sent} packets: {numbers:?}", numbers.len()));
        }
    }
    let reports = read(file, &talk.to, "rtcp", &["frame.interface_name"])?;
    if reports.len() != 4 || reports.iter().any(|report| report[0] != "millrace") {
        return Err(format!("four copies of reports by the daemon: {reports:?}"));
    }
    let all = 4 * sent;
    if by_xdp < 2 * u64::from(PACKETS) || by_xdp == all {
        return Err(format!("{by_xdp} of {all} copies are of XDP"));
    }
    // A sender on a veth leaves checksums to the device; those that are made up are right.
    let made_up = "frame.interface_name == \"millrace\" && (ip.checksum.status == 0 || udp.checksum.status == 0)";
    let wrong = read(file, &talk.to, &format!("_ws.malformed || ({made_up})"), &["frame.number"])?;
    if !wrong.is_empty() {
        return Err(format!("malformed, or with a wrong checksum: {wrong:?}"));
    }
    Ok(format!("{all} copies of {} packets, {by_xdp} of them by XDP; 4 of RTCP", 2 * sent))
}

/// A capture ends with its client, however that ends, and with its call; one of no call does not begin.
fn ends_of_captures(networks: &Networks, daemon: &Daemon, talk: &Talk, folder: &Path) -> Result<(), String> {
    let mut killed = Capture::start(networks, folder.join("killed.pcapng"), &[])?;
    killed.child.kill().and_then(|()| killed.child.wait()).map_err(|error| error.to_string())?;
    let last = Capture::start(networks, folder.join("last.pcapng"), &["--seconds", "60"])?;
    talk.both_ways(1000, 5)?;
    let file = last.file.clone();
    std::thread::sleep(Duration::from_millis(300));
    let mut client = daemon.client(Encoding::Bencode)?;
    let delete = serde_json::json!({"command": "delete", "call-id": "same", "from-tag": "a"});
    client.ask(&delete).map_err(|error| error.to_string())?;
    let said = last.wait()?;
    if !said.contains("The call is over") || read(&file, &talk.to, "rtp", &["rtp.seq"])?.len() != 20 {
        return Err(format!("20 packets until the call is over: {said}"));
    }
    match netns::run(ctl(networks).args(["capture", "same", "-w", "none.pcapng"])) {
        Err(why) if why.contains("Call Id not found") => Ok(()),
        other => Err(format!("a capture of no call: {other:?}")),
    }
}
