//! The cost of forwarding RTP on a host between two others: nftables, our programs in the kernel, our daemon, Debian's
//! rtpengine, in one topology and one run. With SRTP, too: audio that leaves plain, and packets as long as video's that leave
//! with other keys.
//!
//! Sender and receiver are programs in the kernel, too (`ebpf/generator.c`): what is counted is the processor time of the
//! thread that sends, in which the kernel works off what it is given, of the kernel's own threads for the rest, and of
//! the daemon. The same load, dropped where it arrives, is taken off.

use crate::compare::INTERVAL;
use crate::control::{Control, check_interrupt};
use crate::cover::Cover;
use crate::report::middle;
use millrace_testsuite::daemon::{Daemon, Kind, Settings};
use millrace_testsuite::netns::{self, Namespace};
use millrace_testsuite::scratch::Scratch;
use millrace_testsuite::system;
use millrace_testsuite::system::generator::{Flow, Generator};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

pub(crate) const CALLER: &str = "203.0.113.10";
pub(crate) const OUTSIDE: &str = "203.0.113.1";
pub(crate) const CALLEE: &str = "10.0.0.20";
pub(crate) const INSIDE: &str = "10.0.0.1";
pub(crate) const CONTROL: &str = "127.0.0.1:2223";
pub(crate) const CLI: &str = "127.0.0.1:9900";
/// The first port of the phones, and of the host between.
pub(crate) const FIRST_PHONE: u16 = 20_000;
const FIRST_PORT: u16 = 30_000;
/// Long enough for addresses to be learned and entries to be installed.
const WARM_UP: Duration = Duration::from_secs(2);
/// Frames that are sent at once: fewer than a cable between namespaces holds.
const BURST: u32 = 192;
/// Frames that the kernel makes at once.
const BATCH: u32 = 64;
/// Headers of Ethernet, IPv4 and UDP.
const HEADER_BYTES: usize = 14 + 20 + 8;

/// What is sent.
struct Media {
    name: &'static str,
    what: &'static str,
    /// Of RTP, without what SRTP appends.
    packet_bytes: usize,
    cover: Cover,
    ways: &'static [Way],
    /// Calls at most: what is protected beforehand takes memory.
    most_calls: usize,
    /// What XDP, or what the daemon does by itself, may cost of what others cost.
    goals: &'static [(Way, f64)],
}

const MEDIA: [Media; 3] = [
    Media {
        name: "plain",
        what: "plain audio",
        packet_bytes: 172,
        cover: Cover::None,
        ways: &Way::ALL,
        most_calls: usize::MAX,
        goals: &[(Way::Nftables, 1.0 / 2.5), (Way::Rtpengine, 0.1)],
    },
    Media {
        name: "audio",
        what: "audio, SDES to plain",
        packet_bytes: 172,
        cover: Cover::Caller,
        ways: &[Way::Dropped, Way::Xdp, Way::AfXdp, Way::Userspace, Way::Rtpengine],
        most_calls: 200,
        goals: &[(Way::Rtpengine, 0.25)],
    },
    Media {
        name: "video",
        what: "video, SDES to SDES",
        packet_bytes: 1212,
        cover: Cover::Both,
        ways: &[Way::Dropped, Way::Xdp, Way::Userspace, Way::Rtpengine],
        most_calls: 100,
        goals: &[(Way::Rtpengine, 1.0 / 3.0)],
    },
];

/// What is between the ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Dropped,
    Nftables,
    Xdp,
    Tc,
    /// In the daemon, past the network stack.
    AfXdp,
    Userspace,
    Rtpengine,
}

impl Way {
    const ALL: [Way; 7] = [Way::Dropped, Way::Nftables, Way::Xdp, Way::Tc, Way::AfXdp, Way::Userspace, Way::Rtpengine];

    /// On the command line.
    fn short(self) -> &'static str {
        match self {
            Way::Dropped => "dropped",
            Way::Nftables => "nftables",
            Way::Xdp => "xdp",
            Way::Tc => "tc",
            Way::AfXdp => "af_xdp",
            Way::Userspace => "sockets",
            Way::Rtpengine => "rtpengine",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Way::Dropped => "received and dropped",
            Way::Nftables => "nftables DNAT and SNAT",
            Way::Xdp => "millrace, XDP",
            Way::Tc => "millrace, TC",
            Way::AfXdp => "millrace, AF_XDP",
            Way::Userspace => "millrace, sockets",
            Way::Rtpengine => "rtpengine, userspace",
        }
    }
}

/// The names of all media.
pub fn media_names() -> impl Iterator<Item = &'static str> {
    MEDIA.iter().map(|media| media.name)
}

/// The names of the ways that can be left out: all but what is taken off from the others.
pub fn way_names() -> impl Iterator<Item = &'static str> {
    Way::ALL.iter().filter(|way| **way != Way::Dropped).map(|way| way.short())
}

/// The load.
pub struct Plan {
    /// Names of media and of ways.
    pub media: Vec<String>,
    pub ways: Vec<String>,
    pub rounds: usize,
    pub seconds: u64,
    /// With RTP one way, 50 packets a second.
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
    let mut met = true;
    for media in MEDIA.iter().filter(|media| plan.media.iter().any(|name| name == media.name)) {
        let calls = plan.calls.min(media.most_calls);
        met &= compare(&Plan { calls, media: Vec::new(), ways: plan.ways.clone(), ..*plan }, media)?;
    }
    Ok(met)
}

fn compare(plan: &Plan, media: &Media) -> Result<bool, String> {
    println!(
        "\nforwarding between two hosts, {}: {} flows, {}-byte packets, 50 a second each, {} s a run, medians of {}\n",
        media.what, plan.calls, media.packet_bytes, plan.seconds, plan.rounds
    );
    let is_wanted = |way: &&Way| **way == Way::Dropped || plan.ways.iter().any(|name| name == way.short());
    let ways: Vec<Way> = media.ways.iter().filter(is_wanted).copied().collect();
    let mut rounds: Vec<Vec<Figures>> = ways.iter().map(|_| Vec::new()).collect();
    for _ in 0..plan.rounds {
        for (way, rounds) in ways.iter().zip(&mut rounds) {
            rounds.push(measure(plan, media, *way).map_err(|why| format!("{}: {why}", way.name()))?);
            check_interrupt()?;
        }
    }
    let medians: Vec<f64> =
        rounds.iter().map(|figures| middle(figures.iter().map(|figures| figures.ns_a_packet).collect())).collect();
    println!("{:26}{:>16}{:>16}{:>20}", "", "ns a packet", "less reception", "lost");
    for ((way, median), rounds) in ways.iter().zip(&medians).zip(&rounds) {
        let (lost, packets) = rounds.iter().fold((0, 0), |sum, one| (sum.0 + one.lost, sum.1 + one.packets));
        println!("{:26}{median:>16.0}{:>16.0}{:>20}", way.name(), median - medians[0], format!("{lost} of {packets}"));
    }
    let own = |way: Way| ways.iter().position(|one| *one == way).map(|place| medians[place] - medians[0]);
    let mut met = true;
    for (other, goal) in media.goals {
        let (Some(ours), Some(theirs)) = (own(Way::Xdp), own(*other)) else { continue };
        let ratio = ours / theirs;
        let verdict = if ratio <= *goal { "met" } else { "MISSED" };
        println!("  XDP is {ratio:.3} of {}; goal {goal:.2} {verdict}", other.name());
        met &= ratio <= *goal;
    }
    Ok(met)
}

/// Two ends and a host between them.
pub(crate) struct Topology {
    pub(crate) caller: Namespace,
    pub(crate) proxy: Namespace,
    pub(crate) callee: Namespace,
}

impl Topology {
    pub(crate) fn make() -> Result<Topology, String> {
        let (caller, proxy) = (Namespace::make("caller")?, Namespace::make("proxy")?);
        let callee = Namespace::make("callee")?;
        netns::join((&caller, "out"), (&proxy, "external"))?;
        netns::join((&callee, "out"), (&proxy, "internal"))?;
        caller.add_address("out", &format!("{CALLER}/24"))?;
        callee.add_address("out", &format!("{CALLEE}/24"))?;
        proxy.add_address("external", &format!("{OUTSIDE}/24"))?;
        proxy.add_address("internal", &format!("{INSIDE}/24"))?;
        for home in [&caller, &callee] {
            home.ip(&["link", "add", SPARE, "type", "veth", "peer", "name", "spare-end"])?;
        }
        Ok(Topology { caller, proxy, callee })
    }
}

/// The end of a cable that leads nowhere, in the namespaces of those who send.
const SPARE: &str = "spare";

/// A generator that sends from `home`, with room for so many packets that are made before.
pub(crate) fn generator(home: &Namespace, stock: usize) -> Result<Generator, String> {
    let mut generator = Generator::load(stock)?;
    let (spare, _) = interface(home, SPARE)?;
    home.within(|| generator.stand_at(spare)).map_err(|error| error.to_string())??;
    Ok(generator)
}

/// The number and the hardware address of an interface.
pub(crate) fn interface(home: &Namespace, name: &str) -> Result<(u32, [u8; 6]), String> {
    let text = home.ip(&["-o", "link", "show", name])?;
    let fault = || format!("{name}: {text}");
    let number = text.split(':').next().and_then(|number| number.trim().parse().ok()).ok_or_else(fault)?;
    let address = text.split("link/ether ").nth(1).and_then(|rest| rest.split(' ').next()).ok_or_else(fault)?;
    let bytes: Vec<u8> = address.split(':').filter_map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    Ok((number, bytes.try_into().map_err(|_| fault())?))
}

/// A frame between addresses of hosts and of their devices, with so many bytes of RTP; the generator fills in ports and
/// numbers.
pub(crate) fn frame(
    (from, source): ([u8; 6], &str),
    (to, destination): ([u8; 6], &str),
    bytes: usize,
) -> Result<Vec<u8>, String> {
    let address = |text: &str| text.parse::<std::net::Ipv4Addr>().map_err(|error| format!("{text}: {error}"));
    let mut frame = [&to[..], &from, &[8, 0]].concat();
    let mut ip = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0];
    ip[2..4].copy_from_slice(&(28 + bytes as u16).to_be_bytes());
    ip.extend(address(source)?.octets());
    ip.extend(address(destination)?.octets());
    let sum: u32 = ip.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    let sum = !((sum >> 16) + (sum & 0xffff)) as u16;
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    frame.extend(ip);
    frame.extend([0, 0, 0, 0]);
    frame.extend((8 + bytes as u16).to_be_bytes());
    frame.extend([0, 0, 0x80, 8]);
    frame.resize(HEADER_BYTES + bytes, 0xd5);
    Ok(frame)
}

fn measure(plan: &Plan, media: &Media, way: Way) -> Result<Figures, String> {
    let topology = Topology::make()?;
    let scratch = Scratch::make("forward")?;
    let (out, from) = interface(&topology.caller, "out")?;
    let (external, to) = interface(&topology.proxy, "external")?;
    let (sink, _) = interface(&topology.callee, "out")?;
    let stock = media.cover.stock(plan.calls, packets_of_a_run(plan), media.packet_bytes);
    let frame = frame((from, CALLER), (to, OUTSIDE), stock.first().map_or(media.packet_bytes, Vec::len))?;
    let mut generator = generator(&topology.caller, stock.len())?;
    generator.set_stock(&stock)?;
    let inside = |home: &Namespace, generator: &mut Generator, interface: u32| {
        home.within(|| generator.drop_at(interface)).map_err(|error| error.to_string()).and_then(|done| done)
    };
    inside(&topology.callee, &mut generator, sink)?;
    let mut daemon = None;
    let flows = match way {
        Way::Dropped => {
            inside(&topology.proxy, &mut generator, external)?;
            flows((0..plan.calls).map(|index| Ok(FIRST_PORT + index as u16)))?
        }
        Way::Nftables => translate(plan, &topology.proxy, scratch.path())?,
        _ => {
            let started = start(way, &topology.proxy, scratch.path())?;
            let flows = set_up(plan, media.cover, &started)?;
            daemon = Some(started);
            flows
        }
    };
    generator.set_flows(&flows, out, &frame)?;
    let work = || load(plan, &mut generator, &frame, daemon.as_ref());
    let figures = topology.caller.within(work).map_err(|error| error.to_string())??;
    if figures.packets < figures.lost * 2 {
        return Err(format!("{} of {} packets were lost", figures.lost, figures.packets));
    }
    Ok(figures)
}

/// From each phone's port to the host's.
fn flows(to: impl Iterator<Item = Result<u16, String>>) -> Result<Vec<Flow>, String> {
    let flow = |(index, to): (usize, Result<u16, String>)| {
        let phone = FIRST_PHONE + index as u16;
        Ok(Flow::new(index, phone, to?, phone))
    };
    to.enumerate().map(flow).collect()
}

/// As many as a run can send, and some more.
fn packets_of_a_run(plan: &Plan) -> usize {
    let time = WARM_UP + Duration::from_secs(plan.seconds + 1);
    plan.calls * (time.as_millis() / INTERVAL.as_millis()) as usize + 4 * BURST as usize
}

fn set_up(plan: &Plan, cover: Cover, daemon: &Daemon) -> Result<Vec<Flow>, String> {
    let mut control = Control::of(daemon)?;
    let phone = |address: &str, index: usize| -> Result<SocketAddr, String> {
        let port = FIRST_PHONE + index as u16;
        format!("{address}:{port}").parse().map_err(|_| format!("{address} is no address"))
    };
    flows((0..plan.calls).map(|index| {
        let (caller, callee) = (phone(CALLER, index)?, phone(CALLEE, index)?);
        match cover {
            Cover::None => control.set_up(index, caller, callee).map(|(_, from_caller)| from_caller.port()),
            _ => cover.set_up(&mut control, index, caller, callee),
        }
    }))
}

/// Sends at the pace of all flows, and counts.
fn load(plan: &Plan, generator: &mut Generator, frame: &[u8], daemon: Option<&Daemon>) -> Result<Figures, String> {
    let used = || -> Result<Duration, String> {
        let own = daemon.map_or(Ok(Duration::ZERO), Daemon::cpu_time)?;
        Ok(system::thread_time() + kernel_threads() + own)
    };
    let each = INTERVAL * BURST / plan.calls.max(1) as u32;
    let send_for = |generator: &mut Generator, time: Duration| -> Result<u64, String> {
        let (begin, mut sent) = (Instant::now(), 0);
        while begin.elapsed() < time {
            check_interrupt()?;
            generator.send(frame, BURST, BATCH)?;
            sent += u64::from(BURST);
            let due = begin + each * (sent / u64::from(BURST)) as u32;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        // What is still in queues belongs to what was sent.
        std::thread::sleep(Duration::from_millis(50));
        Ok(sent)
    };
    send_for(generator, WARM_UP)?;
    let (before, counts_before) = (used()?, generator.counts()?);
    let packets = send_for(generator, Duration::from_secs(plan.seconds))?;
    let (after, counts) = (used()?, generator.counts()?);
    if daemon.is_some() && counts.astray > 0 {
        return Err(format!("{} packets arrived at another phone than theirs", counts.astray));
    }
    let arrived = counts.arrived - counts_before.arrived;
    let ns_a_packet = (after - before).as_nanos() as f64 / packets.max(1) as f64;
    Ok(Figures { ns_a_packet, lost: packets.saturating_sub(arrived), packets })
}

pub(crate) fn start<'a>(way: Way, proxy: &'a Namespace, folder: &Path) -> Result<Daemon<'a>, String> {
    let address = |text: &str| text.parse::<SocketAddr>().map_err(|error| format!("{text}: {error}"));
    let (kind, options) = match way {
        Way::Xdp => (Kind::Millrace, vec!["--fastpath=xdp".to_owned(), "--no-fallback".to_owned()]),
        Way::Tc => (Kind::Millrace, vec!["--fastpath=tc".to_owned(), "--no-fallback".to_owned()]),
        Way::AfXdp => (Kind::Millrace, vec!["--fastpath=af-xdp".to_owned(), "--no-fallback".to_owned()]),
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
        capabilities: None,
        log: folder.join("daemon.log"),
    })
}

/// A port of the host between for each call, translated by rules of nftables.
fn translate(plan: &Plan, proxy: &Namespace, folder: &Path) -> Result<Vec<Flow>, String> {
    netns::run(proxy.command("sysctl").args(["-q", "-w", "net.ipv4.ip_forward=1"]))?;
    let mut destinations = String::new();
    for index in 0..plan.calls as u16 {
        let _ = writeln!(destinations, "{} : {CALLEE} . {},", FIRST_PORT + index, FIRST_PHONE + index);
    }
    let rules = format!(
        "table ip media {{\n map to {{ type inet_service : ipv4_addr . inet_service; elements = {{ {destinations} }} }}\n \
         chain in {{ type nat hook prerouting priority dstnat; dnat ip to udp dport map @to; }}\n \
         chain out {{ type nat hook postrouting priority srcnat; oifname internal snat to {INSIDE}; }}\n}}\n"
    );
    let file = folder.join("rules.nft");
    std::fs::write(&file, rules).map_err(|error| format!("{}: {error}", file.display()))?;
    netns::run(proxy.command("nft").arg("-f").arg(&file))?;
    flows((0..plan.calls).map(|index| Ok(FIRST_PORT + index as u16)))
}

/// What the kernel's threads for packets have used so far.
pub(crate) fn kernel_threads() -> Duration {
    let of = |pid: &str| -> Option<u64> {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        let is_one = name.starts_with("ksoftirqd/") || name.starts_with("napi/");
        let text = is_one.then(|| std::fs::read_to_string(format!("/proc/{pid}/schedstat")).ok())??;
        text.split(' ').next()?.parse().ok()
    };
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    Duration::from_nanos(entries.filter_map(|entry| of(entry.file_name().to_str()?)).sum())
}
