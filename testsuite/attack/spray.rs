//! RTP sprayed over the daemon's ports by somebody who knows nothing of any call (CVE-2025-53399).

use crate::stage::{ATTACKER, PORTS, Pace, Stage, merged, settings};
use crate::{Answers, Scenario};
use millrace::base::suite::Suite;
use millrace::wire::demux::{Protocol, classify};
use millrace_testsuite::peer::{Call, Keying, Peer, Settings, connect, drive, new_contexts};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

pub const ALL: &[Scenario] = &[
    Scenario {
        name: "spray",
        what: "RTP over all ports from before the offer to the hangup, 32 calls",
        expected: "the default and every protected call give the attacker nothing and lose nothing",
        answers: Answers::Some,
        run: matrix,
    },
    Scenario {
        name: "spray-default",
        what: "the same with nothing said about learning, from two ports",
        expected: "no byte for the attacker, no packet lost, with a strict source none injected",
        answers: Answers::None,
        run: by_default,
    },
];

const LEARNING: [&str; 4] = ["off", "immediate", "delayed", "heuristic"];
const PROTECTIONS: [&str; 4] = ["RTP", "SDES same", "SDES different", "DTLS"];
/// Sprayed packets in a second: each port gets ten.
const SPRAYED_PER_SECOND: u64 = 4000;
/// Longer than the daemon learns.
const TALK_BEFORE_REPORTS: Duration = Duration::from_millis(3700);

/// One row of the matrix, and what is counted of it.
struct Row {
    learning: &'static str,
    is_strict: bool,
    protection: &'static str,
    /// Foreign packets that a victim got before the answer: until then there is nothing to tell friend from foe by.
    early: usize,
}

impl Row {
    fn name(&self) -> String {
        format!("{} {}{}", self.protection, self.learning, if self.is_strict { " strict" } else { "" })
    }

    /// What the row must show: packets that bled to the attacker, foreign ones after the answer, lost ones.
    fn judge(&self, bled: usize, call: &Call) -> Result<(), String> {
        let refused = call.caller.refused + call.callee.refused;
        let (foreign, lost) = (call.foreign() + refused - self.early, call.lost());
        let fault = |what: &str| Err(format!("{}: {what}: bled {bled}, foreign {foreign}, lost {lost}", self.name()));
        if call.caller.said < 100 || call.callee.said < 100 {
            return fault("the victims did not talk");
        }
        let is_protected = self.protection != "RTP";
        // Two of the modes are taken over by whoever comes first, as they always were.
        let is_legacy = !is_protected && ["immediate", "delayed"].contains(&self.learning);
        match (is_legacy, self.learning) {
            (false, _) if bled > 0 || lost > 0 => fault("taken over"),
            (true, "immediate") if bled + lost == 0 => fault("not what the mode is"),
            (true, _) => Ok(()),
            _ if (is_protected || self.is_strict) && foreign > 0 => fault("injected"),
            _ if !is_protected && !self.is_strict && foreign == 0 => fault("nothing was injected: no attack"),
            _ => Ok(()),
        }
    }
}

fn matrix(stage: &mut Stage) -> Result<String, String> {
    let contexts = new_contexts()?;
    let (mut rows, mut calls) = (Vec::new(), Vec::new());
    for learning in LEARNING {
        for is_strict in [false, true] {
            for protection in PROTECTIONS {
                let (caller, callee) = match protection {
                    "RTP" => (Keying::Plain, Keying::Plain),
                    "SDES same" => (sdes(Suite::AesCm128Sha1_80), sdes(Suite::AesCm128Sha1_80)),
                    "SDES different" => (sdes(Suite::AesCm128Sha1_80), sdes(Suite::AeadAes256Gcm)),
                    _ => (Keying::Dtls(contexts.clone()), Keying::Dtls(contexts.clone())),
                };
                let flags: &[&str] = if is_strict { &["strict source"] } else { &[] };
                let options = json!({"endpoint-learning": learning, "flags": flags});
                calls.push(new_call(stage, &settings(caller), settings(callee), &options)?);
                rows.push(Row { learning, is_strict, protection, early: 0 });
            }
        }
    }
    let mut attacker = Sprayer::new(&[stage.attacker(&format!("{ATTACKER}:5555"))?])?;
    run_calls(stage, &mut calls, &mut attacker, &mut |index, early| rows[index].early = early)?;
    let mut bled_rows = Vec::new();
    for (row, call) in rows.iter().zip(&calls) {
        let bled = attacker.bled(call);
        row.judge(bled, call)?;
        if bled > 0 {
            bled_rows.push(format!("{} {bled}", row.name()));
        }
    }
    let early: usize = rows.iter().map(|row| row.early).sum();
    Ok(format!(
        "{} sprayed; packets bled: {}; {early} injected before the answer; drops: {}",
        attacker.pace.sent(),
        bled_rows.join(", "),
        stage.drops()?
    ))
}

fn by_default(stage: &mut Stage) -> Result<String, String> {
    let mut calls = Vec::new();
    for flags in [json!([]), json!(["strict source"])] {
        for is_muxed in [true, false] {
            let one = Settings { is_muxed, ..settings(Keying::Plain) };
            calls.push(new_call(stage, &one, one.clone(), &json!({"flags": flags}))?);
        }
    }
    let mut early = [0; 4];
    // One of the attacker's ports is that of a victim.
    let port = calls[0].caller.address().port();
    let sockets = [stage.attacker(&format!("{ATTACKER}:5555"))?, stage.attacker(&format!("{ATTACKER}:{port}"))?];
    let mut attacker = Sprayer::new(&sockets)?;
    run_calls(stage, &mut calls, &mut attacker, &mut |index, count| early[index] = count)?;
    for (index, call) in calls.iter().enumerate() {
        call.check_heard()?;
        if attacker.bled(call) > 0 {
            return Err(format!("{}: {} packets of the victims bled", call.id, attacker.bled(call)));
        }
        if index >= 2 && call.foreign() > early[index] {
            return Err(format!("{}: {} foreign packets in spite of a strict source", call.id, call.foreign()));
        }
    }
    let foreign: Vec<usize> = calls.iter().zip(early).map(|(call, early)| call.foreign() - early).collect();
    Ok(format!("{} sprayed; injected after the answer {foreign:?}, before it {early:?}", attacker.pace.sent()))
}

fn sdes(suite: Suite) -> Keying {
    Keying::Sdes(vec![suite])
}

fn new_call(stage: &mut Stage, caller: &Settings, callee: Settings, options: &Value) -> Result<Call, String> {
    let options = merged(caller, options);
    stage.call(caller.clone(), callee, &options)
}

/// Spray, offers, spray, answers, talk under spray, hangup, spray. `early` is told what foreign packets each call's
/// caller had got before the answer.
fn run_calls(
    stage: &mut Stage,
    calls: &mut [Call],
    attacker: &mut Sprayer,
    early: &mut dyn FnMut(usize, usize),
) -> Result<(), String> {
    attacker.spray_for(calls, Duration::from_millis(300));
    calls.iter_mut().try_for_each(|call| call.offer(&mut stage.client, false))?;
    attacker.spray_for(calls, Duration::from_millis(500));
    for (index, call) in calls.iter_mut().enumerate() {
        early(index, call.foreign() + call.caller.refused + call.callee.refused);
        call.answer(&mut stage.client)?;
    }
    attacker.begin();
    let ready = connect(calls, Duration::from_secs(5), &mut |elapsed| attacker.spray(elapsed));
    if ready < calls.len() {
        return Err(format!("{ready} of {} calls came about", calls.len()));
    }
    // Who sent a handshake's last flight knows its keys before the other side does.
    let time = Duration::from_millis(100);
    attacker.spray_for(calls, time);
    attacker.begin();
    drive(calls, TALK_BEFORE_REPORTS, true, &mut |elapsed| attacker.spray(elapsed));
    // The first reports come late, and not from both at once (RFC 3550, section 6.2).
    attacker.begin();
    calls.iter_mut().for_each(|call| report(&mut call.caller));
    drive(calls, Duration::from_millis(200), true, &mut |elapsed| attacker.spray(elapsed));
    attacker.begin();
    calls.iter_mut().for_each(|call| report(&mut call.callee));
    drive(calls, Duration::from_millis(200), true, &mut |elapsed| attacker.spray(elapsed));
    calls.iter().try_for_each(|call| call.delete(&mut stage.client))?;
    attacker.spray_for(calls, Duration::from_millis(200));
    Ok(())
}

/// A sender report without blocks (RFC 3550, section 6.4.1).
fn report(peer: &mut Peer) {
    let ssrc = peer.voice.ssrc;
    peer.report(&[&[0x80, 200, 0, 6][..], &ssrc.to_be_bytes(), &[0; 20]].concat());
}

/// The attacker: sends to each port in turn, and notes whose packets come back.
struct Sprayer {
    sockets: Vec<UdpSocket>,
    pace: Pace,
    ports: Vec<SocketAddr>,
    heard: HashMap<u32, usize>,
}

impl Sprayer {
    fn new(sockets: &[UdpSocket]) -> Result<Sprayer, String> {
        let sockets = sockets.iter().map(UdpSocket::try_clone).collect::<Result<_, _>>();
        let daemon = crate::stage::DAEMON.parse().map_err(|_| "no address")?;
        Ok(Sprayer {
            sockets: sockets.map_err(|error| error.to_string())?,
            pace: Pace::new(SPRAYED_PER_SECOND),
            ports: (PORTS.0..=PORTS.1).map(|port| SocketAddr::new(daemon, port)).collect(),
            heard: HashMap::new(),
        })
    }

    /// The clock of `spray` begins anew.
    fn begin(&mut self) {
        self.pace.restart();
    }

    fn spray_for(&mut self, calls: &mut [Call], time: Duration) {
        self.begin();
        drive(calls, time, false, &mut |elapsed| self.spray(elapsed));
    }

    fn spray(&mut self, elapsed: Duration) {
        for number in self.pace.due(elapsed) {
            let to = self.ports[number as usize % self.ports.len()];
            let socket = &self.sockets[(number as usize / self.ports.len()) % self.sockets.len()];
            let mut packet = vec![0x80, 8];
            packet.extend((number as u16).to_be_bytes());
            packet.extend((number as u32 * 160).to_be_bytes());
            packet.extend([0x66; 4]);
            packet.extend([0xd5; 160]);
            // The daemon's host answers for closed ports; that is no hindrance.
            let _ = socket.send_to(&packet, to);
        }
        let mut buffer = [0; 2048];
        for socket in &self.sockets {
            while let Some(size) = receive(socket, &mut buffer) {
                let at = if classify(&buffer[..size]) == Protocol::Rtcp { 4..8 } else { 8..12 };
                let ssrc = buffer[..size].get(at).and_then(|bytes| bytes.first_chunk());
                *self.heard.entry(ssrc.map_or(0, |bytes| u32::from_be_bytes(*bytes))).or_default() += 1;
            }
        }
    }

    /// Packets of a call that reached the attacker.
    fn bled(&self, call: &Call) -> usize {
        let of = |peer: &Peer| self.heard.get(&peer.voice.ssrc).copied().unwrap_or(0);
        of(&call.caller) + of(&call.callee)
    }
}

/// The size of the next datagram. What ICMP said of earlier ones is passed over.
fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> Option<usize> {
    loop {
        match socket.recv(buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {}
            result => return result.ok(),
        }
    }
}
