//! The call: two endpoints, one offer, one answer, audio both ways, one delete.

use crate::screen;
use millrace_testsuite::daemon::Daemon;
use millrace_testsuite::endpoint::{HEADER_BYTES, Reception, Stream, receive};
use millrace_testsuite::ng::{Client, Encoding};
use millrace_testsuite::sdp;
use millrace_testsuite::system::{interrupted, now_ns};
use serde_json::{Value, json};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const CALL_ID: &str = "millrace-demo";
const PCMU: u8 = 0;
/// How long after the last packet was sent one may still arrive.
const GRACE: Duration = Duration::from_millis(300);

/// How one direction stands.
#[derive(Debug, Clone, Copy, Default)]
pub struct Progress {
    pub received: usize,
    pub lost: usize,
    pub jitter_ms: f64,
    pub delay_p50_ms: f64,
    pub delay_p99_ms: f64,
}

/// What one side heard.
pub struct Heard {
    pub speaker: &'static str,
    pub listener: &'static str,
    /// The frames in order; none where one is missing.
    pub frames: Vec<Option<Vec<u8>>>,
    pub progress: Progress,
    /// Every packet arrived once, with the bytes that were sent, and nothing else did.
    pub perfect: bool,
}

/// How the call went.
pub struct Outcome {
    pub heard: [Heard; 2],
    /// RTP packets that the daemon says it relayed.
    pub counted_by_daemon: Option<u64>,
}

impl Outcome {
    /// Whether all audio arrived.
    pub fn complete(&self) -> bool {
        self.heard.iter().all(|heard| heard.perfect)
    }
}

struct Party {
    name: &'static str,
    socket: UdpSocket,
    address: SocketAddr,
    speech: Stream,
}

impl Party {
    fn new(name: &'static str, ssrc: u32, frames: Vec<Vec<u8>>) -> std::io::Result<Party> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let address = socket.local_addr()?;
        Ok(Party { name, socket, address, speech: Stream::new(ssrc, PCMU, frames) })
    }
}

/// Places the call and shows it second by second.
pub fn place(daemon: &Daemon, frames: Vec<Vec<u8>>) -> Result<Outcome, String> {
    let party = |name, ssrc, frames| Party::new(name, ssrc, frames).map_err(|error| format!("{name}: {error}"));
    let alice = party("alice", 0x0a11_ce00, frames.clone())?;
    let bob = party("bob", 0x00b0_b000, frames)?;
    let mut client = daemon.client(Encoding::Bencode)?;

    let for_bob = exchange(&mut client, "offer", &alice, json!({}))?;
    let for_alice = exchange(&mut client, "answer", &bob, json!({"to-tag": "bob"}))?;
    let heard = converse(&alice, for_alice, &bob, for_bob)?;

    let query = ask(&mut client, &json!({"command": "query", "call-id": CALL_ID}))?;
    let counted_by_daemon = query["totals"]["RTP"]["packets"].as_u64();
    ask(&mut client, &json!({"command": "delete", "call-id": CALL_ID, "from-tag": "alice", "delete delay": 0}))?;
    wait_until_free(&[for_alice, for_bob])?;
    screen::row("delete", "the call is over, its ports are free again");
    Ok(Outcome { heard, counted_by_daemon })
}

/// Waits until nobody holds the addresses any more.
fn wait_until_free(addresses: &[SocketAddr]) -> Result<(), String> {
    for address in addresses {
        let is_free = || UdpSocket::bind(address).is_ok();
        let deadline_ns = now_ns() + 1_000_000_000;
        while !is_free() {
            if now_ns() > deadline_ns {
                return Err(format!("the daemon still holds {address} one second after delete"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    Ok(())
}

/// Sends one party's SDP; the address in the daemon's, to which the other party sends.
fn exchange(client: &mut Client, command: &str, from: &Party, more: Value) -> Result<SocketAddr, String> {
    let mut request = json!({
        "command": command, "call-id": CALL_ID, "from-tag": "alice",
        "sdp": sdp::audio(from.address, 1, &["a=sendrecv"]),
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        request[key] = value.clone();
    }
    let reply = ask(client, &request)?;
    let rewritten = reply["sdp"].as_str().unwrap_or_default();
    let relay = sdp::media_address(rewritten).ok_or(format!("{command}: no media address in '{rewritten}'"))?;
    screen::row(
        command,
        &format!("{:5} receives at {}; the daemon stands in for it at {relay}", from.name, from.address),
    );
    Ok(relay)
}

fn ask(client: &mut Client, request: &Value) -> Result<Value, String> {
    let command = &request["command"];
    let reply = client.ask(request).map_err(|error| format!("{command}: {error}"))?;
    if reply["result"] == "ok" { Ok(reply) } else { Err(format!("{command}: the daemon says {reply}")) }
}

/// Speaks and listens on both sides until everything was said and had time to arrive.
fn converse(alice: &Party, for_alice: SocketAddr, bob: &Party, for_bob: SocketAddr) -> Result<[Heard; 2], String> {
    let ears = [(alice, bob), (bob, alice)].map(|(speaker, listener)| Ear::new(speaker, listener));
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let listeners = ears.each_ref().map(|ear| scope.spawn(|| ear.listen(&over)));
        let speakers = [(alice, for_alice), (bob, for_bob)]
            .map(|(party, to)| scope.spawn(move || party.speech.send(&party.socket, to)));
        let watch = scope.spawn(|| watch(&ears, &over));
        let mut said = Ok(());
        for speaker in speakers {
            said = said.and(speaker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        std::thread::sleep(GRACE);
        over.store(true, Ordering::Relaxed);
        for listener in listeners {
            said = said.and(listener.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        drop(watch.join());
        said.map_err(|error| format!("RTP: {error}"))
    })?;
    if interrupted() {
        return Err("interrupted".into());
    }
    Ok(ears.map(Ear::heard))
}

/// Prints one line a second.
fn watch(ears: &[Ear; 2], over: &AtomicBool) {
    screen::heading(ears[0].speaker.name, ears[1].speaker.name);
    let start = now_ns();
    for second in 1.. {
        while now_ns() < start + second * 1_000_000_000 {
            if over.load(Ordering::Relaxed) || interrupted() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        screen::second(second, ears.each_ref().map(Ear::progress));
    }
}

/// One side's ear for the other.
struct Ear<'a> {
    speaker: &'a Party,
    listener: &'a Party,
    state: Mutex<(Reception<'a>, Vec<Option<Vec<u8>>>)>,
}

impl<'a> Ear<'a> {
    fn new(speaker: &'a Party, listener: &'a Party) -> Ear<'a> {
        let frames = vec![None; speaker.speech.packets()];
        Ear { speaker, listener, state: Mutex::new((Reception::of(&speaker.speech), frames)) }
    }

    fn listen(&self, over: &AtomicBool) -> std::io::Result<()> {
        receive(
            &self.listener.socket,
            || over.load(Ordering::Relaxed),
            |datagram, _, at_ns| {
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                let (reception, frames) = &mut *state;
                reception.take(datagram, at_ns);
                if let Some(place) = reception.index_of(datagram).and_then(|index| frames.get_mut(index)) {
                    *place = Some(datagram[HEADER_BYTES..].to_vec());
                }
            },
        )
    }

    fn progress(&self) -> Progress {
        let (reception, _) = &*self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let ms = |ns: u64| ns as f64 / 1e6;
        Progress {
            received: reception.received,
            lost: reception.overdue(now_ns(), Duration::from_millis(200)),
            jitter_ms: reception.jitter_ns / 1e6,
            delay_p50_ms: ms(reception.delays.quantile_ns(0.50)),
            delay_p99_ms: ms(reception.delays.quantile_ns(0.99)),
        }
    }

    fn heard(self) -> Heard {
        let progress = self.progress();
        let (reception, frames) = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        let perfect = reception.is_perfect();
        Heard { speaker: self.speaker.name, listener: self.listener.name, frames, progress, perfect }
    }
}
