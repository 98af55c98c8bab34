//! The scenarios. Each opens its own stage, so that none depends on another.

use crate::sip::{Offered, Role, Sipp, Step};
use crate::stage::{CALLEE, CALLEE_IP6, CALLER, EXAMPLE_FLAGS, INSIDE, Networks, OUTSIDE, Stage};
use crate::tap::{Tap, recorded_packets};
use crate::{
    Scenario, baresip, browser, conversations, ctl, echo, events, eyes, fastpath, killed, lrkproxy, measured,
    privileges, receivers, siprec, transports, tree,
};
use millrace_testsuite::daemon::{Daemon, Kind};
use millrace_testsuite::endpoint::{Reception, Stream, receive};
use millrace_testsuite::netns;
use millrace_testsuite::system;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// All of them, in the order in which they run.
pub fn all() -> impl Iterator<Item = &'static Scenario> {
    [
        PHONES,
        tree::ALL,
        transports::ALL,
        measured::ALL,
        receivers::ALL,
        fastpath::ALL,
        killed::ALL,
        eyes::ALL,
        events::ALL,
        echo::ALL,
        privileges::ALL,
        lrkproxy::ALL,
        siprec::ALL,
        browser::ALL,
        baresip::ALL,
    ]
    .into_iter()
    .flatten()
}

const PHONES: &[Scenario] = &[
    Scenario { name: "isolation", what: "nothing passes but through the daemon", needs: nothing, run: isolation },
    Scenario { name: "call", what: "a call with G.711 both ways, $rtpestat, BYE", needs: nothing, run: call },
    Scenario { name: "ip4-to-ip6", what: "an IPv4 caller and an IPv6 callee", needs: nothing, run: ip4_to_ip6 },
    Scenario { name: "hold", what: "hold and resume by re-INVITE", needs: nothing, run: hold },
    Scenario { name: "cancel", what: "CANCEL while it rings", needs: nothing, run: cancel },
    Scenario { name: "callee-bye", what: "the callee hangs up", needs: nothing, run: callee_bye },
    Scenario { name: "nat", what: "a caller whose SDP and source addresses differ", needs: nothing, run: nat },
    Scenario { name: "rtpengine-ctl", what: "Debian's rtpengine-ctl on the CLI port", needs: nothing, run: ctl::run },
    Scenario {
        name: "conversations",
        what: "recorded NG conversations",
        needs: conversations::available,
        run: conversations::run,
    },
];

pub fn nothing(_: Kind) -> Result<(), String> {
    Ok(())
}

/// The G.711 recording that Debian's SIPp brings along.
const RECORDING: &str = "/usr/share/sip-tester/g711a.pcap";
/// How long it plays, and a little longer.
const RECORDING_TIME: Duration = Duration::from_millis(7600);
/// PCMA.
const PAYLOAD_TYPE: u8 = 8;
/// How long one exchange of own packets may take, signalling included.
pub const TALK: Duration = Duration::from_millis(3000);
pub const PACKETS: usize = 100;
pub const MEDIA_PORT: u16 = 6000;

pub const TWO_WAY: Step = Step::Invite { offer: "sendrecv", answer: "sendrecv" };

/// Datagrams from the caller's network to the callee's, sent by way of the proxy's host, must not arrive.
fn isolation(_: Kind, _: &Path) -> Result<String, String> {
    let networks = Networks::make()?;
    networks.caller.ip(&["route", "add", "10.0.0.0/24", "via", OUTSIDE])?;
    networks.callee.ip(&["route", "add", "203.0.113.0/24", "via", INSIDE])?;
    let ear = networks.socket(Role::Callee, at(CALLEE, MEDIA_PORT)?)?;
    let mouth = networks.socket(Role::Caller, at(CALLER, MEDIA_PORT)?)?;
    let crossed = || -> Result<usize, String> {
        let (mut heard, over) = (0, Instant::now() + Duration::from_millis(500));
        mouth.send_to(b"through", at(CALLEE, MEDIA_PORT)?).map_err(|error| error.to_string())?;
        receive(&ear, || Instant::now() > over, |_, _, _| heard += 1).map_err(|error| error.to_string())?;
        Ok(heard)
    };
    if crossed()? != 0 {
        return Err("a datagram crossed".into());
    }
    netns::run(networks.proxy.command("sysctl").args(["-q", "-w", "net.ipv4.ip_forward=1"]))?;
    match crossed()? {
        1 => Ok("a datagram crosses with forwarding and not without".into()),
        count => Err(format!("with forwarding {count} datagrams crossed, not 1")),
    }
}

/// SIPp plays its recording on both sides; every packet is counted where it arrives, byte for byte.
fn call(kind: Kind, folder: &Path) -> Result<String, String> {
    let recording = recorded_packets(RECORDING)?;
    let steps = [TWO_WAY, Step::Play(RECORDING), Step::Talk(RECORDING_TIME), Step::Bye(Role::Caller)];
    place(kind, folder, &steps, None, |call| {
        let networks = call.stage.networks;
        let taps = [Tap::start(&networks.callee, parsed(CALLEE)?)?, Tap::start(&networks.caller, parsed(CALLER)?)?];
        let offered = call.offered(1)?.map(|offered| offered.media.ip().to_string());
        if offered != [OUTSIDE, INSIDE] {
            return Err(format!("the caller was given {}, the callee {}", offered[0], offered[1]));
        }
        let statistics = call.hang_up(2 * recording.len())?;
        for (name, tap) in ["to callee", "to caller"].into_iter().zip(taps) {
            let datagrams = tap.finish()?.into_iter().filter(|datagram| is_rtp(datagram)).collect::<Vec<_>>();
            let whole = recording.iter().filter(|packet| datagrams.contains(packet)).count();
            if (whole, datagrams.len()) != (recording.len(), recording.len()) {
                return Err(format!(
                    "{name}: {whole} of {} packets, in {} datagrams",
                    recording.len(),
                    datagrams.len()
                ));
            }
        }
        Ok(format!("{0} of {0} packets each way; {statistics}", recording.len()))
    })
}

fn ip4_to_ip6(kind: Kind, folder: &Path) -> Result<String, String> {
    let steps = [TWO_WAY, Step::Talk(TALK), Step::Bye(Role::Caller)];
    let places = Places { callee: CALLEE_IP6, ..Places::default() };
    place(kind, folder, &steps, Some(places), |call| {
        let [for_caller, for_callee] = call.offered(1)?;
        if !for_caller.media.is_ipv4() || !for_callee.media.is_ipv6() {
            return Err(format!("families: the caller got {}, the callee {}", for_caller.media, for_callee.media));
        }
        call.talk(1)?;
        call.hang_up(2 * PACKETS)
    })
}

fn hold(kind: Kind, folder: &Path) -> Result<String, String> {
    let steps = [
        TWO_WAY,
        Step::Talk(TALK),
        Step::Invite { offer: "sendonly", answer: "recvonly" },
        Step::Talk(Duration::from_millis(500)),
        TWO_WAY,
        Step::Talk(TALK),
        Step::Bye(Role::Caller),
    ];
    place(kind, folder, &steps, None, |call| {
        let first = call.offered(1)?;
        call.talk(1)?;
        let held = call.offered(2)?.map(|offered| offered.direction);
        if held != ["recvonly", "sendonly"] {
            return Err(format!("on hold the caller got '{}', the callee '{}'", held[0], held[1]));
        }
        let resumed = call.offered(3)?;
        if resumed != first {
            return Err(format!("addresses changed on the way: {first:?}, then {resumed:?}"));
        }
        call.talk(3)?;
        call.hang_up(4 * PACKETS)
    })
}

fn cancel(kind: Kind, folder: &Path) -> Result<String, String> {
    place(kind, folder, &[Step::InviteAndCancel], None, |call| {
        call.callee.offered(1)?;
        let ringing = Held::by(&call.stage.daemon)?;
        if ringing.sessions != 1 || ringing.ports <= call.idle.ports {
            return Err(format!("while it rang the daemon held {ringing:?}"));
        }
        Ok("held while ringing".into())
    })
}

fn callee_bye(kind: Kind, folder: &Path) -> Result<String, String> {
    place(kind, folder, &[TWO_WAY, Step::Talk(TALK), Step::Bye(Role::Callee)], None, |call| {
        call.talk(1)?;
        call.hang_up(2 * PACKETS)
    })
}

/// The caller's SDP names an address that nobody can reach; the daemon must learn where its packets come from.
fn nat(kind: Kind, folder: &Path) -> Result<String, String> {
    let steps = [TWO_WAY, Step::Talk(TALK + Duration::from_millis(500)), Step::Bye(Role::Caller)];
    let places = Places { caller_claims: Some("192.168.77.5"), ..Places::default() };
    place(kind, folder, &steps, Some(places), |call| {
        let [for_caller, _] = call.offered(1)?;
        // The first packet opens the way back, as it does through any NAT.
        let opener = Stream::counting(0xfeed, PAYLOAD_TYPE, 1);
        let mut reception = Reception::of(&opener);
        opener.send(&call.ends.caller, for_caller.media).map_err(|error| error.to_string())?;
        let deadline = Instant::now() + Duration::from_millis(300);
        let late = || Instant::now() > deadline;
        receive(&call.ends.callee, late, |datagram, _, at_ns| reception.take(datagram, at_ns))
            .map_err(|error| error.to_string())?;
        if !reception.is_perfect() {
            return Err("the first packet did not reach the callee".into());
        }
        call.talk(1)?;
        call.hang_up(2 * PACKETS + 1)
    })
}

/// Where the phones are.
#[derive(Clone, Copy)]
pub struct Places {
    callee: &'static str,
    /// What the caller's SDP and Contact say, when that is not where it is.
    caller_claims: Option<&'static str>,
}

impl Default for Places {
    fn default() -> Places {
        Places { callee: CALLEE, caller_claims: None }
    }
}

/// A call that is up.
pub struct Call<'a> {
    pub stage: &'a Stage<'a>,
    pub ends: Ends,
    idle: Held,
    caller: Sipp,
    callee: Sipp,
}

/// Opens the stage, lets the phones call each other, runs `body`, and demands that everything is freed afterwards.
pub fn place(
    kind: Kind,
    folder: &Path,
    steps: &[Step],
    places: Option<Places>,
    body: impl FnOnce(&mut Call) -> Result<String, String>,
) -> Result<String, String> {
    place_over(|networks| Stage::open(networks, kind, EXAMPLE_FLAGS, folder), steps, places, body)
}

/// The same on a stage that `open` makes.
pub fn place_over(
    open: impl for<'a> FnOnce(&'a Networks) -> Result<Stage<'a>, String>,
    steps: &[Step],
    places: Option<Places>,
    body: impl FnOnce(&mut Call) -> Result<String, String>,
) -> Result<String, String> {
    let places = places.unwrap_or_default();
    let networks = Networks::make()?;
    let mut stage = open(&networks)?;
    let idle = Held::by(&stage.daemon)?;
    let note = {
        let ends = Ends::open(&networks, at(CALLER, MEDIA_PORT)?, at(places.callee, MEDIA_PORT)?)?;
        let claims = at(places.caller_claims.unwrap_or(CALLER), MEDIA_PORT)?;
        let (caller, callee) = stage.phones(steps, claims, ends.callee_at)?;
        let mut call = Call { stage: &stage, ends, idle, caller, callee };
        let note = body(&mut call)?;
        call.finish()?;
        note
    };
    stage.stop_proxy();
    idle.wait_for(&mut stage.daemon)?;
    Ok(format!("{note}; all freed"))
}

impl Call<'_> {
    /// The `count`th SDP that each phone received, the caller's first.
    fn offered(&mut self, count: usize) -> Result<[Offered; 2], String> {
        Ok([self.caller.offered(count)?, self.callee.offered(count)?])
    }

    /// Lets both ends talk, to where the `count`th SDP says.
    pub fn talk(&mut self, count: usize) -> Result<(), String> {
        let [for_caller, for_callee] = self.offered(count)?;
        self.ends.talk(for_caller.media, for_callee.media, count as u32)
    }

    /// Waits for the end, and for `$rtpestat` to count `packets`.
    pub fn hang_up(&mut self, packets: usize) -> Result<String, String> {
        self.finish()?;
        expect_statistics(self.stage, packets)
    }

    /// Waits for the end.
    pub fn finish(&mut self) -> Result<(), String> {
        self.caller.finish()?;
        self.callee.finish()
    }
}

/// The media ends of a call: our own sockets where the phones say they receive.
pub struct Ends {
    caller: UdpSocket,
    callee: UdpSocket,
    pub caller_at: SocketAddr,
    pub callee_at: SocketAddr,
}

impl Ends {
    /// Binds both.
    pub fn open(networks: &Networks, caller_at: SocketAddr, callee_at: SocketAddr) -> Result<Ends, String> {
        let caller = networks.socket(Role::Caller, caller_at)?;
        let callee = networks.socket(Role::Callee, callee_at)?;
        Ok(Ends { caller, callee, caller_at, callee_at })
    }

    /// Sends `PACKETS` each way at once and demands that each arrives once and unchanged.
    pub fn talk(&self, from_caller_to: SocketAddr, from_callee_to: SocketAddr, round: u32) -> Result<(), String> {
        let (up, down) = (
            Stream::counting(0xca11_e400 + round, PAYLOAD_TYPE, PACKETS),
            Stream::counting(0xca11_ee00 + round, PAYLOAD_TYPE, PACKETS),
        );
        let (mut at_callee, mut at_caller) = (Reception::of(&up), Reception::of(&down));
        let over = AtomicBool::new(false);
        let outcome = std::thread::scope(|scope| {
            let at_callee = scope.spawn(|| listen(&self.callee, &mut at_callee, &over));
            let at_caller = scope.spawn(|| listen(&self.caller, &mut at_caller, &over));
            let other = scope.spawn(|| down.send(&self.callee, from_callee_to));
            let mut outcome = up.send(&self.caller, from_caller_to);
            outcome = outcome.and(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            std::thread::sleep(Duration::from_millis(200));
            over.store(true, Ordering::Relaxed);
            for ear in [at_callee, at_caller] {
                outcome = outcome.and(ear.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            outcome
        });
        outcome.map_err(|error| format!("RTP: {error}"))?;
        for (name, reception) in [("caller to callee", &at_callee), ("callee to caller", &at_caller)] {
            if !reception.is_perfect() {
                return Err(format!(
                    "{name}: {} of {PACKETS} packets, {} twice, {} damaged, {} others",
                    reception.received, reception.duplicates, reception.damaged, reception.strangers
                ));
            }
        }
        Ok(())
    }
}

fn listen(socket: &UdpSocket, reception: &mut Reception, over: &AtomicBool) -> std::io::Result<()> {
    let done = || over.load(Ordering::Relaxed);
    receive(socket, done, |datagram, _, at_ns| reception.take(datagram, at_ns))
}

/// What a daemon holds. Ports need no descriptors, unless each has a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    sessions: u64,
    ports: u64,
    descriptors: usize,
}

impl Held {
    /// What it holds now. The connection of the question itself may still be among the descriptors for a moment: the
    /// fewest of some looks count.
    pub fn by(daemon: &Daemon) -> Result<Held, String> {
        let text = daemon.cli("list numsessions")?;
        let sessions = ctl::number_after(&text, "Current sessions own:")?;
        let text = daemon.cli("list interfaces")?;
        let used = text.match_indices("Ports used:").map(|(at, name)| ctl::number_after(&text[at..], name));
        let ports = used.sum::<Result<u64, String>>()?;
        let mut descriptors = daemon.descriptors()?;
        for _ in 0..3 {
            std::thread::sleep(Duration::from_millis(10));
            descriptors = descriptors.min(daemon.descriptors()?);
        }
        Ok(Held { sessions, ports, descriptors })
    }

    /// Waits until the daemon holds no more than this again.
    pub fn wait_for(&self, daemon: &mut Daemon) -> Result<(), String> {
        self.wait_within(daemon, Duration::from_secs(5))
    }

    /// The same with another patience.
    pub fn wait_within(&self, daemon: &mut Daemon, patience: Duration) -> Result<(), String> {
        let deadline = Instant::now() + patience;
        loop {
            daemon.check_alive()?;
            let now = Held::by(daemon)?;
            let is_free = (now.sessions, now.ports) == (self.sessions, self.ports);
            if is_free && now.descriptors <= self.descriptors {
                return Ok(());
            }
            if Instant::now() > deadline || system::interrupted() {
                return Err(format!("not all was freed: {now:?} where {self:?} was before"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// `$rtpestat` as Kamailio read it at BYE must count `packets` of RTP without errors.
fn expect_statistics(stage: &Stage, packets: usize) -> Result<String, String> {
    let line = stage.logged_statistics()?;
    let rtp = line.split_once("RTP: ").and_then(|(_, rest)| rest.split(';').next());
    let rtp = rtp.ok_or(format!("no $rtpestat in: {line}"))?;
    if rtp.contains(&format!(" {packets} packets, 0 errors")) {
        return Ok(format!("$rtpestat {rtp}"));
    }
    Err(format!("$rtpestat should count {packets} packets without errors: {line}"))
}

/// An address of the stage.
pub fn at(address: &str, port: u16) -> Result<SocketAddr, String> {
    Ok(SocketAddr::new(parsed(address)?, port))
}

pub fn parsed(address: &str) -> Result<std::net::IpAddr, String> {
    address.parse().map_err(|_| format!("'{address}' is no address"))
}

fn is_rtp(datagram: &[u8]) -> bool {
    datagram.len() >= 12 && datagram[0] >> 6 == 2 && datagram[1] & 0x7f < 64
}
