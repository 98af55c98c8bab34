//! The cost of forwarding plain RTP on a host between two others: nftables, our programs in the kernel, our daemon,
//! Debian's rtpengine, in one topology and one run.
//!
//! Counted is the processor time of everything that a packet passes: the generator's thread, in which the kernel works
//! off what it sends, the kernel's own threads for the rest, and the daemon. The same load without anything between
//! the ends is taken off.

use crate::compare::INTERVAL;
use crate::control::{Control, check_interrupt};
use crate::load::{Endpoints, Load};
use crate::report::middle;
use millrace_testsuite::daemon::{Daemon, Kind, Settings};
use millrace_testsuite::netns::{self, Namespace};
use millrace_testsuite::scratch::Scratch;
use millrace_testsuite::system;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

const CALLER: &str = "203.0.113.10";
const OUTSIDE: &str = "203.0.113.1";
const CALLEE: &str = "10.0.0.20";
const INSIDE: &str = "10.0.0.1";
const CONTROL: &str = "127.0.0.1:2223";
const CLI: &str = "127.0.0.1:9900";
const FIRST_PORT: u16 = 30_000;
/// Long enough for addresses to be learned and entries to be installed.
const WARM_UP: Duration = Duration::from_secs(2);
/// The generator sleeps so long between two looks at what is due.
const NAP: Duration = Duration::from_micros(300);
/// What XDP may cost of what others cost.
const GOALS: [(Way, f64); 2] = [(Way::Nftables, 1.0 / 2.5), (Way::Rtpengine, 0.1)];

/// What is between the ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Direct,
    Nftables,
    Xdp,
    Userspace,
    Rtpengine,
}

impl Way {
    const ALL: [Way; 5] = [Way::Direct, Way::Nftables, Way::Xdp, Way::Userspace, Way::Rtpengine];

    fn name(self) -> &'static str {
        match self {
            Way::Direct => "nothing between",
            Way::Nftables => "nftables DNAT and SNAT",
            Way::Xdp => "millrace, XDP",
            Way::Userspace => "millrace, userspace",
            Way::Rtpengine => "rtpengine, userspace",
        }
    }
}

/// The load.
pub struct Plan {
    pub rounds: usize,
    pub seconds: u64,
    /// With RTP both ways, 50 packets a second each.
    pub calls: usize,
    pub generator_core: usize,
}

/// What one run saw.
#[derive(Debug, Clone, Copy)]
struct Figures {
    ns_a_packet: f64,
    lost: u64,
    packets: u64,
}

/// Measures every way in turns and prints the medians. Whether the goals were met.
pub fn run(plan: &Plan) -> Result<bool, String> {
    system::pin_to_core(plan.generator_core).map_err(|error| format!("core {}: {error}", plan.generator_core))?;
    println!(
        "\nforwarding between two hosts: {} calls, 172-byte packets, 50 a second each way, {} s a run, medians of {}\n",
        plan.calls, plan.seconds, plan.rounds
    );
    let mut rounds: Vec<Vec<Figures>> = Way::ALL.iter().map(|_| Vec::new()).collect();
    for _ in 0..plan.rounds {
        for (way, rounds) in Way::ALL.into_iter().zip(&mut rounds) {
            rounds.push(measure(plan, way).map_err(|why| format!("{}: {why}", way.name()))?);
            check_interrupt()?;
        }
    }
    let medians: Vec<f64> =
        rounds.iter().map(|figures| middle(figures.iter().map(|figures| figures.ns_a_packet).collect())).collect();
    println!("{:26}{:>16}{:>16}{:>20}", "", "ns a packet", "less the ends", "lost");
    for ((way, median), rounds) in Way::ALL.into_iter().zip(&medians).zip(&rounds) {
        let (lost, packets) = rounds.iter().fold((0, 0), |sum, one| (sum.0 + one.lost, sum.1 + one.packets));
        println!("{:26}{median:>16.0}{:>16.0}{:>20}", way.name(), median - medians[0], format!("{lost} of {packets}"));
    }
    let own = |way: Way| {
        let place = Way::ALL.iter().position(|one| *one == way).unwrap_or(0);
        medians[place] - medians[0]
    };
    let mut met = true;
    for (other, goal) in GOALS {
        let ratio = own(Way::Xdp) / own(other);
        let verdict = if ratio <= goal { "met" } else { "MISSED" };
        println!("  XDP is {ratio:.3} of {}; goal {goal:.2} {verdict}", other.name());
        met &= ratio <= goal;
    }
    Ok(met)
}

/// Two ends, and what is between them.
struct Topology {
    caller: Namespace,
    proxy: Option<Namespace>,
    callee: Namespace,
}

impl Topology {
    fn make(way: Way) -> Result<Topology, String> {
        let (caller, callee) = (Namespace::make("caller")?, Namespace::make("callee")?);
        if way == Way::Direct {
            netns::join((&caller, "out"), (&callee, "out"))?;
            caller.add_address("out", &format!("{CALLER}/24"))?;
            callee.add_address("out", &format!("{CALLEE}/24"))?;
            caller.ip(&["route", "add", "10.0.0.0/24", "dev", "out"])?;
            callee.ip(&["route", "add", "203.0.113.0/24", "dev", "out"])?;
            return Ok(Topology { caller, proxy: None, callee });
        }
        let proxy = Namespace::make("proxy")?;
        netns::join((&caller, "out"), (&proxy, "external"))?;
        netns::join((&callee, "out"), (&proxy, "internal"))?;
        caller.add_address("out", &format!("{CALLER}/24"))?;
        callee.add_address("out", &format!("{CALLEE}/24"))?;
        proxy.add_address("external", &format!("{OUTSIDE}/24"))?;
        proxy.add_address("internal", &format!("{INSIDE}/24"))?;
        // Calls say nothing of interfaces: the callee is given the outer address.
        callee.ip(&["route", "add", "default", "via", INSIDE])?;
        Ok(Topology { caller, proxy: Some(proxy), callee })
    }

    /// Callers are the even endpoints.
    fn endpoints(&self) -> Result<Endpoints, String> {
        let opened = Endpoints::open_at(|index| match index % 2 {
            0 => (&self.caller, CALLER),
            _ => (&self.callee, CALLEE),
        });
        opened.map_err(|error| error.to_string())
    }
}

fn measure(plan: &Plan, way: Way) -> Result<Figures, String> {
    let topology = Topology::make(way)?;
    let endpoints = topology.endpoints()?;
    let scratch = Scratch::make("forward")?;
    let mut load = Load::new(&endpoints, INTERVAL).with_nap(NAP);
    let mut daemon = None;
    match (way, &topology.proxy) {
        (Way::Direct, _) => (0..2 * plan.calls).for_each(|index| load.add_flow(index, endpoints.address(index ^ 1))),
        (Way::Nftables, Some(proxy)) => translate(plan, proxy, &endpoints, &mut load, scratch.path())?,
        (_, Some(proxy)) => {
            let started = start(way, proxy, scratch.path())?;
            Control::of(&started)?.open_calls(plan.calls, &endpoints, &mut load)?;
            daemon = Some(started);
        }
        (_, None) => return Err("no host between".into()),
    }
    let mut marks = Vec::new();
    let used = || {
        Ok(system::thread_time() + kernel_threads() + daemon.as_ref().map_or(Ok(Duration::ZERO), Daemon::cpu_time)?)
    };
    let outcome = load
        .run(WARM_UP, Duration::from_secs(plan.seconds), || marks.push(used()))
        .map_err(|error: std::io::Error| error.to_string())?;
    let marks: Result<Vec<Duration>, String> = marks.into_iter().collect();
    let [before, after] = <[_; 2]>::try_from(marks?).map_err(|_| "the run was cut short")?;
    if outcome.received * 2 < outcome.sent {
        return Err(format!("only {} of {} packets arrived", outcome.received, outcome.sent));
    }
    Ok(Figures {
        ns_a_packet: (after - before).as_nanos() as f64 / outcome.sent.max(1) as f64,
        lost: outcome.lost(),
        packets: outcome.sent,
    })
}

fn start<'a>(way: Way, proxy: &'a Namespace, folder: &Path) -> Result<Daemon<'a>, String> {
    let address = |text: &str| text.parse::<SocketAddr>().map_err(|error| format!("{text}: {error}"));
    let (kind, options) = match way {
        Way::Xdp => (Kind::Millrace, vec!["--fastpath=xdp".to_owned(), "--no-fallback".to_owned()]),
        Way::Userspace => (Kind::Millrace, vec!["--fastpath=off".to_owned()]),
        _ => (Kind::Rtpengine, Vec::new()),
    };
    Daemon::start(Settings {
        kind,
        interfaces: vec![format!("external/{OUTSIDE}"), format!("internal/{INSIDE}")],
        control: address(CONTROL)?,
        cli: address(CLI)?,
        ports: (FIRST_PORT, 39_999),
        options,
        namespace: Some(proxy),
        cores: None,
        log: folder.join("daemon.log"),
    })
}

/// A port of the host between for each direction of each call, translated by rules of nftables.
fn translate(
    plan: &Plan,
    proxy: &Namespace,
    endpoints: &Endpoints,
    load: &mut Load,
    folder: &Path,
) -> Result<(), String> {
    netns::run(proxy.command("sysctl").args(["-q", "-w", "net.ipv4.ip_forward=1"]))?;
    let mut destinations = String::new();
    for index in 0..2 * plan.calls {
        let (port, own) = (FIRST_PORT + index as u16, if index % 2 == 0 { OUTSIDE } else { INSIDE });
        let to = endpoints.address(index ^ 1);
        let _ = writeln!(destinations, "{own} . {port} : {} . {},", to.ip(), to.port());
        load.add_flow(index, format!("{own}:{port}").parse().map_err(|_| "no address")?);
    }
    let rules = format!(
        "table ip media {{\n map to {{ type ipv4_addr . inet_service : ipv4_addr . inet_service; elements = {{ {destinations} }} }}\n \
         chain in {{ type nat hook prerouting priority dstnat; dnat ip to ip daddr . udp dport map @to; }}\n \
         chain out {{ type nat hook postrouting priority srcnat; oifname external snat to {OUTSIDE}; oifname internal snat to {INSIDE}; }}\n}}\n"
    );
    let file = folder.join("rules.nft");
    std::fs::write(&file, rules).map_err(|error| format!("{}: {error}", file.display()))?;
    netns::run(proxy.command("nft").arg("-f").arg(&file)).map(drop)
}

/// What the kernel's threads for packets have used so far.
fn kernel_threads() -> Duration {
    let of = |pid: &str| -> Option<u64> {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        let is_one = name.starts_with("ksoftirqd/") || name.starts_with("napi/");
        let text = is_one.then(|| std::fs::read_to_string(format!("/proc/{pid}/schedstat")).ok())??;
        text.split(' ').next()?.parse().ok()
    };
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    Duration::from_nanos(entries.filter_map(|entry| of(entry.file_name().to_str()?)).sum())
}
