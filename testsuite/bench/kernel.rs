//! What a packet costs in the kernel's programs, one by one through the kernel's own trial run, beside the same work of
//! userspace's SRTP; and what loading the programs costs.

use crate::report::middle;
use millrace::base::suite::Suite;
use millrace::fastpath::Protection;
use millrace::io::xdp::Programs;
use millrace::srtp::{Parameters, Protector, Unprotector, Windows};
use millrace_testsuite::kernel::{Kernel, Outcome, SSRC, obstacle};
use millrace_testsuite::srtp::{parameters, rtp_packet};
use millrace_testsuite::system::{self, now_ns};
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::process::Command;

const SUITES: [Suite; 6] = [
    Suite::AesCm128Sha1_80,
    Suite::Aes256CmSha1_80,
    Suite::AeadAes128Gcm,
    Suite::AeadAes256Gcm,
    Suite::F8Sha1_80,
    Suite::NullSha1_80,
];
const PACKET_BYTES: [usize; 2] = [172, 1212];
const FIRST: u16 = 100;

/// What is done about SRTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Plain,
    Unprotect,
    Protect,
    Both,
    Authenticate,
}

impl Way {
    const ALL: [(Way, &str); 5] = [
        (Way::Plain, "plain"),
        (Way::Unprotect, "unprotect"),
        (Way::Protect, "protect"),
        (Way::Both, "both"),
        (Way::Authenticate, "pass on"),
    ];

    fn protection(self, suite: Suite) -> Option<Protection> {
        let open = (self != Way::Protect).then(|| parameters(suite, 1));
        let protect = matches!(self, Way::Protect | Way::Both).then(|| parameters(suite, 2));
        (self != Way::Plain).then(|| Protection { open, protect, passes: self == Way::Authenticate, mid: None })
    }
}

/// Prints nanoseconds a packet, medians of so many.
pub fn run(packets: usize) -> Result<bool, String> {
    if let Some(why) = obstacle() {
        println!("SKIPPED: packets in the kernel: {why}");
        return Ok(true);
    }
    load()?;
    keep_log()?;
    println!(
        "\none packet in the kernel and its SRTP in userspace, ns, medians of {packets}; the clock is part of it\n"
    );
    print!("{:28}", "");
    Way::ALL.iter().for_each(|(_, name)| print!("{name:>20}"));
    println!();
    for suite in SUITES {
        for bytes in PACKET_BYTES {
            print!("{:28}", format!("{}, {bytes} B", suite.name()));
            for (way, _) in Way::ALL {
                let (kernel, userspace) = measure(way, suite, bytes, packets.min(20_000))?;
                print!("{:>20}", format!("{kernel:.0} / {userspace:.0}"));
            }
            println!();
        }
    }
    Ok(true)
}

/// How many instructions the verifier had to look at when this was written down last, by program.
const VERIFIED: &str = include_str!("verified.txt");

/// A count beside the one that was written down.
fn compared(name: &str, count: u32) -> String {
    let known = VERIFIED.lines().filter_map(|line| line.split_once(' ')).find(|(known, _)| *known == name);
    match known.and_then(|(_, count)| count.parse::<f64>().ok()) {
        Some(before) => format!("{name} {count} ({:+.0} %)", 100.0 * (f64::from(count) / before - 1.0)),
        None => format!("{name} {count} (new)"),
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// How often programs are loaded.
const LOADS: usize = 9;

/// How long loading takes, and how many instructions the verifier has looked at.
fn load() -> Result<(), String> {
    for (with_srtp, what) in [(false, "for plain RTP"), (true, "for SRTP too")] {
        let (mut at_start, mut for_copies, mut counts) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..LOADS {
            let start = now_ns();
            let mut programs = Programs::load(4, true, with_srtp).map_err(|why| why.to_string())?;
            at_start.push((now_ns() - start) as f64 / 1e6);
            let start = now_ns();
            programs.load_late("egress").map_err(|why| why.to_string())?;
            for_copies.push((now_ns() - start) as f64 / 1e6);
            counts = programs.verified().map(|(name, count)| compared(name, count)).collect();
        }
        println!(
            "loaded {what} in {:.1} ms, what makes copies, when they are first wanted, in {:.1} ms (medians of {LOADS})\n  verified instructions, and against verified.txt: {}",
            median(&mut at_start),
            median(&mut for_copies),
            counts.join(", ")
        );
    }
    Ok(())
}

/// Keeps what the verifier says of each program, for whoever wonders what it looks at so often.
fn keep_log() -> Result<(), String> {
    let fault = |error: std::io::Error| format!("the verifier's log: {error}");
    if !system::is_installed("bpftool") {
        println!("there is no bpftool: the verifier's log is not kept");
        return Ok(());
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("out");
    fs::create_dir_all(&folder).map_err(fault)?;
    let object = folder.join("programs.o");
    fs::write(&object, Programs::object()).map_err(fault)?;
    let pins = Path::new("/sys/fs/bpf").join(format!("millrace-bench-{}", std::process::id()));
    let output =
        Command::new("bpftool").args(["-d", "prog", "loadall"]).args([&object, &pins]).output().map_err(fault)?;
    // Nothing is there where it has failed.
    let _ = fs::remove_dir_all(&pins);
    let log = folder.join("verifier.log");
    fs::write(&log, [output.stdout, output.stderr].concat()).map_err(fault)?;
    let outcome = if output.status.success() { "" } else { ", which ends with a failure" };
    println!("the verifier's log is in {}{outcome}", log.display());
    Ok(())
}

/// Medians in the kernel and in userspace.
fn measure(way: Way, suite: Suite, bytes: usize, packets: usize) -> Result<(f64, f64), String> {
    let protection = way.protection(suite);
    let open = protection.as_ref().and_then(|protection| protection.open.clone());
    let protect = protection.as_ref().and_then(|protection| protection.protect.clone());
    let mut sender = open.as_ref().map(Protector::new);
    let mut userspace = Userspace { open: open.as_ref(), protect: protect.as_ref(), ..Userspace::new(way) };
    userspace.begin();
    userspace.relay(&protected(&mut sender, FIRST, bytes)?);
    let windows = userspace.windows();
    let kernel = Kernel::new(protection, u32::from(FIRST), &windows)?;
    let (mut in_kernel, mut here) = (Vec::new(), Vec::new());
    for number in 1..=packets as u16 {
        let packet = protected(&mut sender, FIRST + number, bytes)?;
        let (outcome, duration_ns) = kernel.send(&packet)?;
        if !matches!(outcome, Outcome::Sent(_)) {
            return Err(format!("a packet was not sent on: {outcome:?}"));
        }
        in_kernel.push(f64::from(duration_ns));
        here.push(userspace.relay(&packet));
    }
    Ok((middle(in_kernel), middle(here)))
}

fn protected(sender: &mut Option<Protector>, number: u16, bytes: usize) -> Result<Vec<u8>, String> {
    let mut packet = rtp_packet(number, bytes);
    if let Some(sender) = sender {
        packet.resize(bytes + 16, 0);
        let length = sender.protect_rtp(&mut packet, bytes).map_err(|error| error.to_string())?;
        packet.truncate(length);
    }
    Ok(packet)
}

/// The daemon's SRTP of one relayed stream.
struct Userspace<'a> {
    way: Way,
    open: Option<&'a Parameters>,
    protect: Option<&'a Parameters>,
    inbound: Option<Unprotector>,
    outbound: Option<Protector>,
}

impl Userspace<'_> {
    fn new(way: Way) -> Userspace<'static> {
        Userspace { way, open: None, protect: None, inbound: None, outbound: None }
    }

    fn begin(&mut self) {
        self.inbound = self.open.map(Unprotector::new);
        self.outbound = self.protect.map(Protector::new);
    }

    fn windows(&self) -> Windows {
        Windows {
            opened: self.inbound.as_ref().and_then(|inbound| inbound.rtp_window(SSRC)),
            protected: self.outbound.as_ref().and_then(|outbound| outbound.rtp_window(SSRC)),
        }
    }

    /// The nanoseconds that it takes.
    fn relay(&mut self, packet: &[u8]) -> f64 {
        let mut buffer = packet.to_vec();
        let mut length = buffer.len();
        buffer.resize(length + 16, 0);
        let start = now_ns();
        if let Some(inbound) = &mut self.inbound {
            match self.way {
                Way::Authenticate => drop(black_box(inbound.authenticate_rtp(&mut buffer[..length]))),
                _ => length = inbound.unprotect_rtp(&mut buffer[..length]).unwrap_or(length),
            }
        }
        if let Some(outbound) = &mut self.outbound {
            black_box(outbound.protect_rtp(&mut buffer, length).ok());
        }
        (now_ns() - start) as f64
    }
}
