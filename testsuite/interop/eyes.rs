//! What an operator sees of the fast path: `millracectl` in the daemon's network, while a call is up.

use crate::Scenario;
use crate::fastpath::{PCMA, SSRC, ours, packet, set_up};
use crate::scenarios::at;
use crate::sip::Role;
use crate::stage::{CALLEE, CALLER, Networks, start_daemon_with};
use millrace_testsuite::daemon::{Daemon, Kind};
use millrace_testsuite::netns;
use millrace_testsuite::ng::Encoding;
use serde_json::Value;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

pub const ALL: &[Scenario] =
    &[Scenario { name: "fastpath-list", what: "millracectl shows entries and counters", needs: ours, run: list }];

/// Between two packets.
const PACE: Duration = Duration::from_millis(4);
/// While addresses are learned and entries are installed.
const WARM_UP: u16 = 200;
const PACKETS: u16 = 50;

/// Beside the daemon, or this program.
fn program() -> PathBuf {
    Kind::Millrace.program().with_file_name("millracectl")
}

fn ctl(networks: &Networks) -> Command {
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
struct Talk {
    ends: [UdpSocket; 2],
    /// Where each sends to.
    to: [SocketAddr; 2],
}

impl Talk {
    fn open(networks: &Networks, daemon: &Daemon) -> Result<Talk, String> {
        let (caller, callee) = (at(CALLER, 6000)?, at(CALLEE, 7000)?);
        let mut client = daemon.client(Encoding::Bencode)?;
        let [for_caller, for_callee] = set_up(&mut client, caller, callee)?;
        let ends = [networks.socket(Role::Caller, caller)?, networks.socket(Role::Callee, callee)?];
        Ok(Talk { ends, to: [for_caller, for_callee] })
    }

    fn both_ways(&self, first: u16, count: u16) -> Result<(), String> {
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
