//! The stage: victims, daemon and attacker in three network namespaces. The daemon's host does not forward, and does
//! not check where source addresses belong, so that the attacker can claim to be anybody.

use millrace_testsuite::daemon::{Daemon, Kind, Settings as DaemonSettings};
use millrace_testsuite::netns::{self, Namespace};
use millrace_testsuite::ng::{Client, Encoding};
use millrace_testsuite::peer::{self, Call, Keying, Peer, Settings};
use millrace_testsuite::system;
use serde_json::{Value, json};
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Addresses that are public ones to whoever learns: documentation networks.
pub const DAEMON: &str = "203.0.113.1";
pub const CALLER: &str = "203.0.113.10";
pub const CALLEE: &str = "203.0.113.20";
pub const ATTACKER: &str = "198.51.100.66";
pub const ATTACKERS_GATE: &str = "198.51.100.1";
/// Whatever address of this network the attacker uses, answers reach it.
const ATTACKERS_NETWORK: &str = "192.0.2.0/24";
const CONTROL: &str = "127.0.0.1:2223";
const CLI: &str = "127.0.0.1:9900";
/// The daemon's media ports.
pub const PORTS: (u16, u16) = (30_000, 30_399);
const FIRST_VICTIM_PORT: u16 = 6000;

/// Three namespaces, joined victims - daemon - attacker.
pub struct Networks {
    pub victims: Namespace,
    pub daemon: Namespace,
    pub attacker: Namespace,
}

impl Networks {
    /// Makes namespaces, cables and addresses.
    pub fn make() -> Result<Networks, String> {
        let networks = Networks {
            victims: Namespace::make("victims")?,
            daemon: Namespace::make("daemon")?,
            attacker: Namespace::make("attacker")?,
        };
        let Networks { victims, daemon, attacker } = &networks;
        netns::join((victims, "out"), (daemon, "victims"))?;
        netns::join((attacker, "out"), (daemon, "attacker"))?;
        for interface in ["all", "victims", "attacker"] {
            let setting = format!("net.ipv4.conf.{interface}.rp_filter=0");
            netns::run(daemon.command("sysctl").args(["-q", "-w", &setting]))?;
        }
        daemon.add_address("victims", &format!("{DAEMON}/24"))?;
        daemon.add_address("attacker", &format!("{ATTACKERS_GATE}/24"))?;
        victims.add_address("out", &format!("{CALLER}/24"))?;
        victims.add_address("out", &format!("{CALLEE}/24"))?;
        attacker.add_address("out", &format!("{ATTACKER}/24"))?;
        daemon.ip(&["route", "add", ATTACKERS_NETWORK, "via", ATTACKER])?;
        attacker.ip(&["route", "add", "local", ATTACKERS_NETWORK, "dev", "lo"])?;
        attacker.ip(&["route", "add", "203.0.113.0/24", "via", ATTACKERS_GATE])?;
        // What claims to be a victim: answers go to the victim.
        for address in [CALLER, CALLEE] {
            attacker.add_address("lo", &format!("{address}/32"))?;
        }
        Ok(networks)
    }
}

/// The networks with a daemon between them.
pub struct Stage<'a> {
    pub networks: &'a Networks,
    pub daemon: Daemon<'a>,
    pub client: Client,
    next_port: u16,
    received_before: u64,
    overflows_before: u64,
    log: PathBuf,
}

impl<'a> Stage<'a> {
    /// Starts the daemon with its defaults; it logs into `log`.
    pub fn open(networks: &'a Networks, log: &Path) -> Result<Stage<'a>, String> {
        let address = |text: &str| text.parse::<SocketAddr>().map_err(|error| format!("{text}: {error}"));
        let daemon = Daemon::start(DaemonSettings {
            kind: Kind::Millrace,
            interfaces: vec![DAEMON.to_owned()],
            control: address(CONTROL)?,
            cli: address(CLI)?,
            ports: PORTS,
            options: control_options(),
            namespace: Some(&networks.daemon),
            cores: None,
            capabilities: None,
            log: log.to_owned(),
        })?;
        let client = daemon.client(Encoding::Bencode)?;
        let received_before = received(&networks.attacker)?;
        let overflows_before = count(&networks.daemon, "Udp:", "RcvbufErrors")?;
        Ok(Stage {
            networks,
            daemon,
            client,
            next_port: FIRST_VICTIM_PORT,
            received_before,
            overflows_before,
            log: log.to_owned(),
        })
    }

    /// A call between the victims that is not signalled yet; `options` go into every request for it.
    pub fn call(&mut self, caller: Settings, callee: Settings, options: &Value) -> Result<Call, String> {
        let number = u64::from(self.next_port);
        let (one, other) = (self.peer(CALLER, caller)?, self.peer(CALLEE, callee)?);
        Ok(Call::new(&format!("victims-{number}"), one, other, options))
    }

    /// A call in which both sides do the same, signalled and able to carry media both ways.
    pub fn connected(&mut self, settings: &Settings, options: &Value) -> Result<Call, String> {
        let mut call = self.call(settings.clone(), settings.clone(), &merged(settings, options))?;
        call.place(&mut self.client)?;
        let mut calls = [call];
        if peer::connect(&mut calls, Duration::from_secs(10), &mut |_| {}) < 1 {
            let [call] = &calls;
            let failures = [&call.caller.failures[..], &call.callee.failures].concat();
            return Err(format!("the call does not come about: {failures:?}"));
        }
        peer::drive(&mut calls, Duration::ZERO, false, &mut |_| {});
        let [call] = calls;
        Ok(call)
    }

    fn peer(&mut self, address: &str, settings: Settings) -> Result<Peer, String> {
        let port = self.next_port;
        self.next_port += 2;
        let bind = |port: u16| socket(&self.networks.victims, &format!("{address}:{port}"));
        let control = if settings.is_muxed { None } else { Some(bind(port + 1)?) };
        Peer::new(bind(port)?, control, settings, u64::from(port)).map_err(|error| error.to_string())
    }

    /// A socket of the attacker, at any address that it can claim.
    pub fn attacker(&self, at: &str) -> Result<UdpSocket, String> {
        let socket = socket(&self.networks.attacker, at)?;
        socket.set_nonblocking(true).map_err(|error| error.to_string())?;
        system::set_buffers(&socket, 4 << 20).map_err(|error| error.to_string())?;
        Ok(socket)
    }

    /// UDP datagrams that reached the attacker's host, whatever port they were for.
    pub fn attacker_received(&self) -> Result<u64, String> {
        received(&self.networks.attacker).map(|now| now - self.received_before)
    }

    /// What the daemon has logged.
    pub fn log_text(&self) -> String {
        fs::read(&self.log).map_or_else(|_| String::new(), |text| String::from_utf8_lossy(&text).into_owned())
    }

    /// Lines that the daemon has logged.
    pub fn log_lines(&self) -> usize {
        fs::read(&self.log).map_or(0, |text| text.iter().filter(|byte| **byte == b'\n').count())
    }

    /// Datagrams that came faster than the daemon read them.
    pub fn overflows(&self) -> Result<u64, String> {
        Ok(count(&self.networks.daemon, "Udp:", "RcvbufErrors")? - self.overflows_before)
    }

    /// That a call is whole under a flood. On a machine that has other work, the system may find no time to hand a
    /// flood to the daemon; what is never read because of that, it has not lost.
    pub fn check_flooded(&self, call: &Call) -> Result<(), String> {
        let (overflows, said) = (self.overflows()?, call.caller.said + call.callee.said);
        match call.check_whole() {
            Err(why) if call.foreign() > 0 || overflows == 0 || call.lost() > said as usize / 10 => {
                Err(format!("{why}; {overflows} were never read"))
            }
            _ => Ok(()),
        }
    }

    /// That no packets keep a call out of the kernel, as far as it could be there.
    pub fn check_settled(&mut self, call: &Call) -> Result<(), String> {
        let query = json!({"command": "query", "call-id": call.id});
        let reply = self.client.ask(&query).map_err(|error| error.to_string())?;
        let tags = reply["tags"].as_object().ok_or_else(|| format!("no tags in {reply}"))?;
        let streams = tags.values().map(|tag| &tag["medias"][0]["streams"][0]);
        match streams.filter(|stream| stream["fast path reason"] == "strays").count() {
            0 => Ok(()),
            count => Err(format!("{count} streams are kept out of the kernel")),
        }
    }

    /// How many datagrams the daemon has dropped for a reason.
    pub fn dropped(&mut self, reason: &str) -> Result<u64, String> {
        let reply = self.client.ask(&json!({"command": "statistics"})).map_err(|error| error.to_string())?;
        let count = reply["statistics"]["drops"][reason].as_u64();
        count.ok_or_else(|| format!("statistics say nothing of drops for {reason}"))
    }

    /// Holds a drop counter against what must be in it at least.
    pub fn expect_dropped(&mut self, reason: &str, least: u64) -> Result<u64, String> {
        let count = self.dropped(reason)?;
        if count >= least { Ok(count) } else { Err(format!("{reason} counts {count} drops, not {least}")) }
    }

    /// Every drop reason that counts something.
    pub fn drops(&mut self) -> Result<String, String> {
        let reply = self.client.ask(&json!({"command": "statistics"})).map_err(|error| error.to_string())?;
        let drops = reply["statistics"]["drops"].as_object().ok_or("statistics without drops")?;
        let counts = drops.iter().filter(|(_, count)| count.as_u64() != Some(0));
        Ok(counts.map(|(reason, count)| format!("{reason} {count}")).collect::<Vec<_>>().join(", "))
    }
}

/// The daemon's ports for NG over UDP and TCP and for HTTP, on the attacker's side; of all its addresses one may ask.
pub const NG: u16 = 2223;
pub const TCP: u16 = 2224;
pub const HTTP: u16 = 2225;

fn control_options() -> Vec<String> {
    vec![
        "--delete-delay=0".to_owned(),
        format!("--control-allow={ATTACKER}"),
        format!("--listen-ng={ATTACKERS_GATE}:{NG}"),
        format!("--listen-tcp-ng={ATTACKERS_GATE}:{TCP}"),
        format!("--listen-http={ATTACKERS_GATE}:{HTTP}"),
    ]
}

/// A setting without ICE, on one port, without loss.
pub fn settings(keying: Keying) -> Settings {
    Settings { keying, has_ice: false, is_muxed: true, loss_percent: 0, claims: None }
}

/// What a proxy asks for, so that both sides of a call have the same protection.
pub fn merged(settings: &Settings, options: &Value) -> Value {
    let mut all = match settings.keying {
        Keying::Plain | Keying::Sdes(_) => json!({"DTLS": "off"}),
        Keying::Dtls(_) => json!({"SDES": ["off"]}),
    };
    all["ICE"] = json!(if settings.has_ice { "force" } else { "remove" });
    for (key, value) in options.as_object().into_iter().flatten() {
        all[key] = value.clone();
    }
    all
}

/// Attack packets at a steady rate.
pub struct Pace {
    per_second: u64,
    sent: u64,
    /// What had been sent when the clock began.
    before: u64,
    left_out: u64,
}

impl Pace {
    pub fn new(per_second: u64) -> Pace {
        Pace { per_second, sent: 0, before: 0, left_out: 0 }
    }

    /// The numbers of the packets that are due by now. What is late by more than 10 ms is left out: a burst fills
    /// buffers that a steady flood does not.
    pub fn due(&mut self, elapsed: Duration) -> std::ops::Range<u64> {
        let first = self.sent;
        let target = self.before + elapsed.as_micros() as u64 * self.per_second / 1_000_000 - self.left_out;
        self.sent = target.min(first + self.per_second / 100 + 1).max(first);
        self.left_out += target.saturating_sub(self.sent);
        first..self.sent
    }

    /// The clock begins anew.
    pub fn restart(&mut self) {
        (self.before, self.left_out) = (self.sent, 0);
    }

    /// Packets so far.
    pub fn sent(&self) -> u64 {
        self.sent
    }
}

fn socket(namespace: &Namespace, at: &str) -> Result<UdpSocket, String> {
    namespace.within(|| UdpSocket::bind(at)).and_then(|socket| socket).map_err(|error| format!("{at}: {error}"))
}

/// Datagrams that came in, for a port that is open or not; what ICMP says of ports that are closed is left out.
fn received(namespace: &Namespace) -> Result<u64, String> {
    Ok(count(namespace, "Ip:", "InDelivers")? - count(namespace, "Icmp:", "InMsgs")?)
}

/// A counter of a namespace's network.
fn count(namespace: &Namespace, protocol: &str, name: &str) -> Result<u64, String> {
    let text = namespace.within(|| fs::read_to_string("/proc/thread-self/net/snmp")).and_then(|text| text);
    let text = text.map_err(|error| error.to_string())?;
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(protocol));
    let (names, values) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let mut columns = names.split_whitespace().zip(values.split_whitespace());
    let found = columns.find(|(column, _)| *column == name).and_then(|(_, value)| value.parse().ok());
    found.ok_or_else(|| format!("no counter {name} of {protocol}"))
}
