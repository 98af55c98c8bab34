//! What the daemon does with some of root's capabilities, and what it says of those that are missing.

use crate::Scenario;
use crate::cover::Cover;
use crate::fastpath::{self, PCMA, packet};
use crate::scenarios::at;
use crate::sip::Role;
use crate::stage::{CALLEE, CALLER, Networks, start_daemon_allowed};
use millrace_testsuite::daemon::Kind;
use millrace_testsuite::ng::Encoding;
use std::path::Path;
use std::time::Duration;

pub const ALL: &[Scenario] = &[Scenario {
    name: "privileges",
    what: "the daemon with a few capabilities, and without one of them at a time",
    needs: fastpath::ours,
    run,
}];

const PACKETS: u16 = 300;
const PACE: Duration = Duration::from_millis(2);
/// What README says that the daemon takes.
const ALL_OF_THEM: [&str; 5] = ["bpf", "perfmon", "net_admin", "net_raw", "ipc_lock"];

/// What is missing, what the log says of the fast path and of shared sockets, and which way packets take.
const TRIALS: [(Option<&str>, [&str; 2], &str); 6] = [
    (None, ["past the network stack (AF_XDP)", "media ports share one socket"], "xdp"),
    (Some("ipc_lock"), ["AF_XDP: missing CAP_IPC_LOCK", "media ports share one socket"], "xdp"),
    (Some("bpf"), ["userspace: missing CAP_BPF", "has a socket: missing CAP_BPF"], "no way"),
    (Some("perfmon"), ["userspace: missing CAP_PERFMON", "media ports share one socket"], "no way"),
    (Some("net_admin"), ["userspace: missing CAP_NET_ADMIN", "has a socket: missing CAP_NET_ADMIN"], "no way"),
    (Some("net_raw"), ["AF_XDP: missing CAP_NET_RAW", "has a socket: missing CAP_NET_RAW"], "xdp"),
];

fn run(kind: Kind, folder: &Path) -> Result<String, String> {
    let mut notes = Vec::new();
    for (missing, lines, way) in TRIALS {
        let name = missing.map_or("all five".to_owned(), |name| format!("without {name}"));
        let folder = folder.join(missing.unwrap_or("all"));
        std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        let allowed: Vec<&str> = ALL_OF_THEM.into_iter().filter(|one| Some(*one) != missing).collect();
        let took = call(kind, &folder, &allowed).map_err(|why| format!("{name}: {why}"))?;
        let log = std::fs::read_to_string(folder.join("daemon.log")).map_err(|error| error.to_string())?;
        if let Some(line) = lines.into_iter().find(|line| !log.contains(line)) {
            return Err(format!("{name}: the log does not say \"{line}\":\n{log}"));
        }
        if missing.is_none() && log.contains("not all of the fast path") {
            return Err(format!("{name}: something is missing all the same:\n{log}"));
        }
        if took != way {
            return Err(format!("{name}: packets go by {took}:\n{log}"));
        }
        notes.push(format!("{name}: {way}"));
    }
    Ok(notes.join(", "))
}

/// Places a call, all of whose packets arrive; the way they take.
fn call(kind: Kind, folder: &Path, capabilities: &[&str]) -> Result<String, String> {
    let fault = |error: std::io::Error| error.to_string();
    let networks = Networks::make()?;
    let daemon = start_daemon_allowed(&networks, kind, capabilities, folder)?;
    let mut client = daemon.client(Encoding::Bencode)?;
    let (caller, callee) = (at(CALLER, 6000)?, at(CALLEE, 7000)?);
    let ([to, _], _) = fastpath::set_up(&mut client, caller, callee, Cover::None)?;
    let mouth = networks.socket(Role::Caller, caller)?;
    let ear = networks.socket(Role::Callee, callee)?;
    ear.set_read_timeout(Some(Duration::from_secs(1))).map_err(fault)?;
    let mut heard = [0; 2048];
    for number in 0..PACKETS {
        mouth.send_to(&packet(number, PCMA, &[0xd5; 160]), to).map_err(fault)?;
        ear.recv(&mut heard).map_err(|error| format!("packet {number} does not arrive: {error}"))?;
        // Addresses are learned and an entry is installed meanwhile.
        std::thread::sleep(PACE);
    }
    fastpath::caller_way(&mut client)
}
