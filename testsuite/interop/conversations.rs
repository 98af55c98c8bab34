//! The recorded conversations, replayed against the daemon on the addresses they were recorded with.

use millrace_testsuite::conversation::{self, Case};
use millrace_testsuite::daemon::{Daemon, Kind, Settings};
use millrace_testsuite::netns::Namespace;
use millrace_testsuite::ng::Encoding;
use millrace_testsuite::system;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What the daemon does not do yet; cases that need it are left out.
const WITHOUT: [&str; 1] = ["transcoding"];

const ADDRESSES: [&str; 5] =
    ["203.0.113.1/32", "203.0.113.2/32", "203.0.113.3/32", "2001:db8:4321::1/128", "2001:db8:4321::2/128"];
const INTERFACES: [&str; 5] = [
    "pub/203.0.113.1",
    "pub/2001:db8:4321::1",
    "priv/203.0.113.2",
    "priv/2001:db8:4321::2",
    "nat/203.0.113.3!192.0.2.77",
];

/// Where the cases are: what `MILLRACE_CONVERSATIONS` names, else the project's own.
fn corpus() -> PathBuf {
    let own = || Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/cases");
    std::env::var_os("MILLRACE_CONVERSATIONS").map_or_else(own, PathBuf::from)
}

/// Whether there are cases, and a daemon of the recorded release.
pub fn available(kind: Kind) -> Result<(), String> {
    if kind == Kind::Rtpengine {
        return Err("recorded from a newer rtpengine than Debian's".into());
    }
    let folder = corpus();
    if folder.is_dir() {
        Ok(())
    } else {
        Err(format!("no folder {}; MILLRACE_CONVERSATIONS names one", folder.display()))
    }
}

/// Replays every case that the daemon can do.
pub fn run(kind: Kind, folder: &Path) -> Result<String, String> {
    let mut cases = conversation::load(&corpus())?;
    cases.retain(|case| !case.needs.iter().any(|need| WITHOUT.contains(&need.as_str())));
    if cases.is_empty() {
        return Err("the folder holds no case".into());
    }
    let home = Namespace::make("recorded")?;
    for address in ADDRESSES {
        home.add_address("lo", address)?;
    }
    // Makes the addresses that the SDP bodies name local, so that nothing sent to them leaves the namespace.
    home.ip(&["route", "add", "local", "198.51.100.0/24", "dev", "lo"])?;
    let mut daemon = Daemon::start(Settings {
        kind,
        interfaces: INTERFACES.map(String::from).into(),
        control: "127.0.0.1:2223".parse().map_err(|_| "no address")?,
        cli: "127.0.0.1:9900".parse().map_err(|_| "no address")?,
        ports: (30_000, 39_999),
        options: Vec::new(),
        namespace: Some(&home),
        cores: None,
        capabilities: None,
        log: folder.join("daemon.log"),
    })?;
    let outcome = replay(&daemon, &cases, &folder.join("failed.txt"));
    daemon.check_alive()?;
    outcome
}

fn replay(daemon: &Daemon, cases: &[Case], report: &Path) -> Result<String, String> {
    let mut client = daemon.client(Encoding::Json)?.patience(Duration::from_secs(3), 1);
    let mut failures = Vec::new();
    for case in cases {
        if system::interrupted() {
            return Err("interrupted".into());
        }
        if let Err(why) =
            conversation::replay(case, &mut |request| client.ask(request).map_err(|error| error.to_string()))
        {
            failures.push(format!("{}\n  {why}\n", case.name));
        }
    }
    let passed = cases.len() - failures.len();
    let sum = format!("{passed} of {} as recorded", cases.len());
    match failures.first() {
        None => Ok(sum),
        Some(first) => {
            fs::write(report, failures.concat()).map_err(|error| format!("{}: {error}", report.display()))?;
            Err(format!("{sum}; all failures are in {}; the first: {first}", report.display()))
        }
    }
}
