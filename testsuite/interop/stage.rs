//! The stage: caller, proxy and callee in three network namespaces that do not forward, so that SIP passes only
//! through Kamailio and RTP only through the daemon. The addresses are those of the Kamailio example.

use crate::sip::{Phone, Role, Sipp, Step};
use millrace_testsuite::daemon::{Daemon, Kind, Settings};
use millrace_testsuite::netns::{self, Namespace};
use millrace_testsuite::{ng, system};
use std::fs::{self, File};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

pub const CALLER: &str = "203.0.113.10";
pub const CALLER_IP6: &str = "2001:db8:1::10";
pub const CALLEE: &str = "10.0.0.20";
pub const CALLEE_IP6: &str = "2001:db8:2::20";
/// The proxy's addresses towards the caller and towards the callee.
pub const OUTSIDE: &str = "203.0.113.1";
pub const OUTSIDE_IP6: &str = "2001:db8:1::1";
pub const INSIDE: &str = "10.0.0.1";
pub const INSIDE_IP6: &str = "2001:db8:2::1";
pub const PROXY: &str = "203.0.113.1:5060";
const CONTROL: &str = "127.0.0.1:2223";
const CLI: &str = "127.0.0.1:9900";

/// Three namespaces joined caller - proxy - callee.
pub struct Networks {
    pub caller: Namespace,
    pub proxy: Namespace,
    pub callee: Namespace,
}

impl Networks {
    /// Makes namespaces, cables and addresses.
    pub fn make() -> Result<Networks, String> {
        let networks = Networks {
            caller: Namespace::make("caller")?,
            proxy: Namespace::make("proxy")?,
            callee: Namespace::make("callee")?,
        };
        netns::join((&networks.caller, "out"), (&networks.proxy, "external"))?;
        netns::join((&networks.callee, "out"), (&networks.proxy, "internal"))?;
        networks.caller.add_address("out", &format!("{CALLER}/24"))?;
        networks.caller.add_address("out", &format!("{CALLER_IP6}/64"))?;
        networks.proxy.add_address("external", &format!("{OUTSIDE}/24"))?;
        networks.proxy.add_address("external", &format!("{OUTSIDE_IP6}/64"))?;
        networks.proxy.add_address("internal", &format!("{INSIDE}/24"))?;
        networks.proxy.add_address("internal", &format!("{INSIDE_IP6}/64"))?;
        networks.callee.add_address("out", &format!("{CALLEE}/24"))?;
        networks.callee.add_address("out", &format!("{CALLEE_IP6}/64"))?;
        Ok(networks)
    }

    /// Where a role's phone is.
    pub fn home(&self, role: Role) -> &Namespace {
        match role {
            Role::Caller => &self.caller,
            Role::Callee => &self.callee,
        }
    }

    /// A UDP socket of a role's phone.
    pub fn socket(&self, role: Role, at: SocketAddr) -> Result<UdpSocket, String> {
        let socket = self.home(role).within(|| UdpSocket::bind(at)).and_then(|socket| socket);
        socket.map_err(|error| format!("{role:?} cannot bind {at}: {error}"))
    }
}

/// Starts the daemon in the middle of the networks, with one interface for each side.
pub fn start_daemon<'a>(networks: &'a Networks, kind: Kind, folder: &Path) -> Result<Daemon<'a>, String> {
    let interfaces = [format!("external/{OUTSIDE}"), format!("internal/{INSIDE}"), format!("internal/{INSIDE_IP6}")];
    start_daemon_on(networks, kind, interfaces.into(), folder)
}

/// The same with one more option.
pub fn start_daemon_with<'a>(
    networks: &'a Networks,
    kind: Kind,
    option: &str,
    folder: &Path,
) -> Result<Daemon<'a>, String> {
    let interfaces = [("external", OUTSIDE), ("external", OUTSIDE_IP6), ("internal", INSIDE), ("internal", INSIDE_IP6)];
    let interfaces = interfaces.map(|(name, address)| format!("{name}/{address}"));
    Daemon::start(settings(networks, kind, interfaces.into(), vec![option.to_owned()], folder)?)
}

/// Starts the daemon with these options, and waits for nothing.
pub fn launch_daemon<'a>(
    networks: &'a Networks,
    kind: Kind,
    options: &[String],
    folder: &Path,
) -> Result<Daemon<'a>, String> {
    let interfaces = [format!("external/{OUTSIDE}"), format!("internal/{INSIDE}"), format!("internal/{INSIDE_IP6}")];
    Daemon::launch(settings(networks, kind, interfaces.into(), options.to_vec(), folder)?)
}

/// Starts the daemon in the middle of the networks on these `interfaces`.
pub fn start_daemon_on<'a>(
    networks: &'a Networks,
    kind: Kind,
    interfaces: Vec<String>,
    folder: &Path,
) -> Result<Daemon<'a>, String> {
    start_daemon_as(networks, kind, interfaces, Vec::new(), folder)
}

/// The same with further options.
pub fn start_daemon_as<'a>(
    networks: &'a Networks,
    kind: Kind,
    interfaces: Vec<String>,
    options: Vec<String>,
    folder: &Path,
) -> Result<Daemon<'a>, String> {
    Daemon::start(settings(networks, kind, interfaces, options, folder)?)
}

/// The same with these capabilities and no others.
pub fn start_daemon_allowed<'a>(
    networks: &'a Networks,
    kind: Kind,
    capabilities: &[&str],
    folder: &Path,
) -> Result<Daemon<'a>, String> {
    let interfaces = [format!("external/{OUTSIDE}"), format!("internal/{INSIDE}")];
    let options = ["-L", "6"].map(String::from).into();
    let capabilities = Some(capabilities.iter().map(|name| String::from(*name)).collect());
    Daemon::start(Settings { capabilities, ..settings(networks, kind, interfaces.into(), options, folder)? })
}

fn settings<'a>(
    networks: &'a Networks,
    kind: Kind,
    interfaces: Vec<String>,
    mut options: Vec<String>,
    folder: &Path,
) -> Result<Settings<'a>, String> {
    let address = |text: &str| text.parse::<SocketAddr>().map_err(|error| format!("{text}: {error}"));
    // Deleted calls would otherwise stay for half a minute, and BYE could not be seen to free anything.
    options.push("--delete-delay=0".to_owned());
    Ok(Settings {
        kind,
        interfaces,
        control: address(CONTROL)?,
        cli: address(CLI)?,
        ports: (30_000, 30_999),
        options,
        namespace: Some(&networks.proxy),
        cores: None,
        capabilities: None,
        log: folder.join("daemon.log"),
    })
}

/// The networks with a daemon and Kamailio running between them.
pub struct Stage<'a> {
    pub networks: &'a Networks,
    pub daemon: Daemon<'a>,
    /// None once it was stopped.
    kamailio: Option<Kamailio>,
    kamailio_log: PathBuf,
    folder: PathBuf,
}

impl<'a> Stage<'a> {
    /// Starts the daemon and Kamailio; everything they write goes into `folder`. `flags` are what the script says about
    /// the first offer in place of its own `ICE=remove`.
    pub fn open(networks: &'a Networks, kind: Kind, flags: &str, folder: &Path) -> Result<Stage<'a>, String> {
        Stage::open_over(networks, kind, &[], &EXAMPLE.replace(EXAMPLE_FLAGS, flags), folder)
    }

    /// The same with further options of the daemon and this script for Kamailio.
    pub fn open_over(
        networks: &'a Networks,
        kind: Kind,
        options: &[String],
        script: &str,
        folder: &Path,
    ) -> Result<Stage<'a>, String> {
        fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let mut daemon = launch_daemon(networks, kind, options, folder)?;
        daemon.wait_for_answer()?;
        let kamailio = Kamailio::start(&networks.proxy, script, folder)?;
        let kamailio_log = kamailio.log.clone();
        let stage = Stage { networks, daemon, kamailio: Some(kamailio), kamailio_log, folder: folder.to_owned() };
        stage.wait_for_kamailio()?;
        Ok(stage)
    }

    /// Starts both phones on `steps`; a phone's claims may differ from where it is.
    pub fn phones(
        &self,
        steps: &[Step],
        caller_claims: SocketAddr,
        callee_claims: SocketAddr,
    ) -> Result<(Sipp, Sipp), String> {
        let proxy: SocketAddr = PROXY.parse().map_err(|_| "no address")?;
        let at = |ip: IpAddr| SocketAddr::new(ip, 5060);
        let real_caller: IpAddr = CALLER.parse().map_err(|_| "no address")?;
        let callee = Phone { sip: at(callee_claims.ip()), claims: callee_claims };
        let caller = Phone { sip: at(real_caller), claims: caller_claims };
        let start =
            |role, phone| Sipp::start(self.networks.home(role), role, steps, (phone, proxy, callee.sip), &self.folder);
        let second = start(Role::Callee, callee)?;
        self.wait_for_sip(callee.sip)?;
        let first = start(Role::Caller, caller)?;
        Ok((first, second))
    }

    /// Stops Kamailio, and so ends the connections that it keeps to the daemon.
    pub fn stop_proxy(&mut self) {
        self.kamailio = None;
    }

    /// The line with `$rtpestat` that Kamailio wrote for the BYE.
    pub fn logged_statistics(&self) -> Result<String, String> {
        let text = fs::read(&self.kamailio_log).map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&text);
        let line = text.lines().find(|line| line.contains("media of call "));
        line.map(str::to_owned).ok_or("Kamailio logged no media statistics".into())
    }

    fn wait_for_kamailio(&self) -> Result<(), String> {
        let request = "OPTIONS sip:203.0.113.1 SIP/2.0\r\nVia: SIP/2.0/UDP 203.0.113.10:5070;branch=z9hG4bKprobe\r\n\
                       Max-Forwards: 9\r\nFrom: <sip:probe@203.0.113.10>;tag=1\r\nTo: <sip:203.0.113.1>\r\n\
                       Call-ID: probe\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";
        let socket =
            self.networks.socket(Role::Caller, SocketAddr::new(CALLER.parse().map_err(|_| "no address")?, 5070))?;
        let fault = |error: std::io::Error| format!("Kamailio: {error}");
        socket.set_read_timeout(Some(Duration::from_millis(100))).map_err(fault)?;
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut buffer = [0; 2048];
        while Instant::now() < deadline && !system::interrupted() {
            socket.send_to(request.as_bytes(), PROXY).map_err(fault)?;
            match socket.recv(&mut buffer) {
                Ok(_) => return Ok(()),
                Err(error) if ng::is_timeout(&error) => {}
                Err(error) => return Err(fault(error)),
            }
        }
        Err(format!("Kamailio does not answer\n{}", millrace_testsuite::daemon::tail(&self.kamailio_log)))
    }

    /// Waits until somebody has bound the callee's SIP port.
    pub fn wait_for_sip(&self, at: SocketAddr) -> Result<(), String> {
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline && !system::interrupted() {
            if self.networks.callee.within(|| is_bound(at.port())).unwrap_or(false) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err("SIPp does not listen".into())
    }
}

/// Whether somebody in the calling thread's network has bound the UDP port. Trying to bind would get in SIPp's way.
fn is_bound(port: u16) -> bool {
    let local = format!(":{port:04X}");
    let tables = ["udp", "udp6"].map(|table| fs::read_to_string(format!("/proc/thread-self/net/{table}")));
    let mut lines = tables.iter().flatten().flat_map(|text| text.lines());
    lines.any(|line| line.split_whitespace().nth(1).is_some_and(|address| address.ends_with(&local)))
}

/// Kamailio's script.
pub const EXAMPLE: &str = include_str!("../../config/kamailio-rtpengine.cfg.example");
/// What the example says about the first offer, and all that scenarios change in it.
pub const EXAMPLE_FLAGS: &str = "ICE=remove";

struct Kamailio {
    child: Child,
    log: PathBuf,
}

impl Kamailio {
    fn start(home: &Namespace, text: &str, folder: &Path) -> Result<Kamailio, String> {
        let script = folder.join("kamailio.cfg");
        fs::write(&script, text).map_err(|error| format!("kamailio.cfg: {error}"))?;
        let log = folder.join("kamailio.log");
        let run = folder.join("kamailio-run");
        fs::create_dir_all(&run).map_err(|error| format!("{}: {error}", run.display()))?;
        let mut command = home.command("kamailio");
        // -DD stays in the foreground, -E logs to standard error.
        command.args(["-DD", "-E", "-m", "32", "-M", "4", "-f"]).arg(script).arg("-Y").arg(run);
        let output = File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output);
        system::end_with_parent(&mut command);
        let child = command.spawn().map_err(|error| format!("Kamailio: {error}"))?;
        Ok(Kamailio { child, log })
    }
}

impl Drop for Kamailio {
    fn drop(&mut self) {
        // The first process ends its children on SIGTERM; it has not been waited for, so its id is still its own.
        let _ = system::signal(self.child.id(), libc::SIGTERM);
        let deadline = Instant::now() + Duration::from_secs(5);
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                eprintln!("Kamailio did not stop on SIGTERM within 5 s; killed");
                let _ = self.child.kill();
                let _ = self.child.wait();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
