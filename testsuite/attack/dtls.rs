//! Handshakes under attack (CVE-2023-51275), and on a network that loses packets.

use crate::stage::{ATTACKER, CALLEE, DAEMON, Pace, Stage, merged, settings};
use crate::{Answers, Scenario};
use millrace::base::random::{Random, Seeded};
use millrace_testsuite::peer::{Call, Keying, Settings, connect, drive, new_contexts};
use serde_json::json;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

pub const ALL: &[Scenario] = &[
    Scenario {
        name: "hello-ice",
        what: "ClientHellos with the NULL cipher, 10,000 a second, from a source that ICE has not validated",
        expected: "dropped as not_validated; the handshakes complete, and nothing is begun anew",
        answers: Answers::None,
        run: hello_ice,
    },
    Scenario {
        name: "hello-plain",
        what: "100,000 ClientHellos from 200 sources, to a call without ICE",
        expected: "the handshakes complete; little memory; no answer is longer than its request",
        answers: Answers::Some,
        run: hello_plain,
    },
    Scenario {
        name: "hello-nat",
        what: "10,000 ClientHellos a second from elsewhere, while the client is not where its description says",
        expected: "the handshakes complete; packets go to the client, who has shown its certificate",
        answers: Answers::Some,
        run: hello_nat,
    },
    Scenario {
        name: "wrong-certificate",
        what: "a handshake with another certificate than was signalled, from the right address",
        expected: "that attempt fails and no packet passes; the next, with the right one, succeeds",
        answers: Answers::None,
        run: wrong_certificate,
    },
    Scenario {
        name: "forged-records",
        what: "alerts, close_notify, renegotiation and fragments that a victim did not send, from its address",
        expected: "the handshakes complete and the keys stay; memory is bounded",
        answers: Answers::None,
        run: forged_records,
    },
    Scenario {
        name: "handshake-loss",
        what: "60 handshakes while 10 % of the datagrams are lost on each way",
        expected: "all complete within 20 s, and media follows",
        answers: Answers::None,
        run: loss,
    },
];

/// What a daemon may gain in memory under any of these.
const MEMORY_KIB: u64 = 32 << 10;
const SPRAYED_PER_SECOND: u64 = 10_000;

/// A record of a handshake message, in one fragment of `whole` bytes (RFC 6347, sections 4.1 and 4.2.2).
fn record(kind: u8, epoch: u16, body: &[u8]) -> Vec<u8> {
    let length = body.len() as u16;
    [&[kind, 0xfe, 0xfd][..], &epoch.to_be_bytes(), &[0; 6], &length.to_be_bytes(), body].concat()
}

fn message(kind: u8, number: u16, whole: u32, offset: u32, fragment: &[u8]) -> Vec<u8> {
    let short = |value: u32| [(value >> 16) as u8, (value >> 8) as u8, value as u8];
    let header = [&[kind][..], &short(whole), &number.to_be_bytes(), &short(offset), &short(fragment.len() as u32)];
    [&header.concat(), fragment].concat()
}

/// A ClientHello that offers TLS_NULL_WITH_NULL_NULL alone, each with another random value.
fn client_hello(random: &mut Seeded) -> Vec<u8> {
    let mut value = [0; 32];
    random.fill(&mut value);
    let body = [&[0xfe, 0xfd][..], &value, &[0, 0, 0, 2, 0, 0, 1, 0]].concat();
    record(22, 0, &message(1, 0, body.len() as u32, 0, &body))
}

fn dtls_settings(has_ice: bool) -> Result<Settings, String> {
    Ok(Settings { has_ice, ..settings(Keying::Dtls(new_contexts()?)) })
}

/// The daemon's two ports of a call.
fn ports(call: &Call) -> Result<[SocketAddr; 2], String> {
    let of = |peer: &millrace_testsuite::peer::Peer| peer.remote().map(|remote| remote.media);
    of(&call.caller).zip(of(&call.callee)).map(|(one, other)| [one, other]).ok_or_else(|| "no description".to_owned())
}

/// Places a call under a spray of ClientHellos, before and during its handshakes and while it talks.
struct Spray {
    sources: Vec<UdpSocket>,
    random: Seeded,
    pace: Pace,
    sent_bytes: usize,
    answered_bytes: usize,
}

impl Spray {
    fn attack(&mut self, to: [SocketAddr; 2], elapsed: Duration) {
        for number in self.pace.due(elapsed) {
            let hello = client_hello(&mut self.random);
            let source = &self.sources[number as usize / 2 % self.sources.len()];
            if source.send_to(&hello, to[number as usize % 2]).is_ok() {
                self.sent_bytes += hello.len();
            }
        }
        let mut buffer = [0; 2048];
        for source in &self.sources {
            while let Ok(size) = source.recv(&mut buffer) {
                self.answered_bytes += size;
            }
        }
    }

    /// The daemon's share of a core, and what it gained in memory, in KiB.
    fn run(&mut self, stage: &mut Stage, call: Call, talk: Duration) -> Result<(f64, u64), String> {
        let to = ports(&call)?;
        let (used, memory, start) = (stage.daemon.cpu_time()?, stage.daemon.memory()?.resident_kib, Instant::now());
        let mut calls = [call];
        // The victims are late.
        let early = Instant::now();
        while early.elapsed() < Duration::from_millis(500) {
            self.attack(to, early.elapsed());
            std::thread::sleep(Duration::from_millis(1));
        }
        self.pace.restart();
        if connect(&mut calls, Duration::from_secs(10), &mut |elapsed| self.attack(to, elapsed)) < 1 {
            return Err("the handshakes do not complete".into());
        }
        self.pace.restart();
        drive(&mut calls, Duration::from_millis(100), false, &mut |elapsed| self.attack(to, elapsed));
        self.pace.restart();
        drive(&mut calls, talk, true, &mut |elapsed| self.attack(to, elapsed));
        let share = (stage.daemon.cpu_time()? - used).as_secs_f64() / start.elapsed().as_secs_f64();
        let gained = stage.daemon.memory()?.resident_kib.saturating_sub(memory);
        stage.check_flooded(&calls[0])?;
        let failures = [&calls[0].caller.failures[..], &calls[0].callee.failures].concat();
        match failures.is_empty() && gained < MEMORY_KIB {
            true => Ok((share, gained)),
            false => Err(format!("{failures:?}, {gained} KiB gained")),
        }
    }
}

fn hello_ice(stage: &mut Stage) -> Result<String, String> {
    let settings = dtls_settings(true)?;
    let mut call = stage.call(settings.clone(), settings.clone(), &merged(&settings, &json!({})))?;
    call.place(&mut stage.client)?;
    let sources = vec![stage.attacker(&format!("{ATTACKER}:5555"))?];
    let mut spray =
        Spray { sources, random: Seeded(1), pace: Pace::new(SPRAYED_PER_SECOND), sent_bytes: 0, answered_bytes: 0 };
    let (share, gained) = spray.run(stage, call, Duration::from_secs(5))?;
    let least = (spray.pace.sent() * 9 / 10).saturating_sub(stage.overflows()?);
    let drops = stage.expect_dropped("not_validated", least)?;
    let (lines, cpu) = (stage.log_lines(), share * 100.0);
    if lines > 60 || share > 0.6 {
        return Err(format!("{lines} lines of log, {cpu:.1} % of a core"));
    }
    Ok(format!(
        "{} sent, not_validated {drops}, {cpu:.1} % of a core, {gained} KiB, {lines} log lines",
        spray.pace.sent()
    ))
}

fn hello_plain(stage: &mut Stage) -> Result<String, String> {
    let settings = dtls_settings(false)?;
    let mut call = stage.call(settings.clone(), settings.clone(), &merged(&settings, &json!({})))?;
    call.place(&mut stage.client)?;
    let sources = (1..=200).map(|host| stage.attacker(&format!("192.0.2.{host}:5555"))).collect::<Result<_, _>>()?;
    let mut spray =
        Spray { sources, random: Seeded(2), pace: Pace::new(SPRAYED_PER_SECOND), sent_bytes: 0, answered_bytes: 0 };
    let (share, gained) = spray.run(stage, call, Duration::from_secs(10))?;
    let (sent, answered) = (spray.sent_bytes, spray.answered_bytes);
    let (lines, cpu) = (stage.log_lines(), share * 100.0);
    let note = format!(
        "{} half open, {sent} B asked, {answered} B answered, {cpu:.1} % of a core, {gained} KiB, {lines} log lines, {}",
        spray.pace.sent(),
        stage.drops()?
    );
    if answered > sent || lines > 60 || share > 0.8 { Err(note) } else { Ok(note) }
}

fn hello_nat(stage: &mut Stage) -> Result<String, String> {
    let settings = dtls_settings(false)?;
    let claims = Some(IpAddr::V4(Ipv4Addr::new(10, 9, 9, 9)));
    let callee = Settings { claims, ..settings.clone() };
    let mut call = stage.call(settings.clone(), callee, &merged(&settings, &json!({})))?;
    call.place(&mut stage.client)?;
    let sources = vec![stage.attacker(&format!("{ATTACKER}:5555"))?];
    let mut spray =
        Spray { sources, random: Seeded(8), pace: Pace::new(SPRAYED_PER_SECOND), sent_bytes: 0, answered_bytes: 0 };
    spray.run(stage, call, Duration::from_secs(4))?;
    let (sent, answered) = (spray.sent_bytes, spray.answered_bytes);
    if answered > sent {
        return Err(format!("{sent} B asked, {answered} B answered"));
    }
    Ok(format!("{} sent, {answered} of {sent} B answered, drops: {}", spray.pace.sent(), stage.drops()?))
}

fn wrong_certificate(stage: &mut Stage) -> Result<String, String> {
    let settings = dtls_settings(false)?;
    let mut call = stage.call(settings.clone(), settings.clone(), &merged(&settings, &json!({})))?;
    let wrong = new_contexts()?;
    call.place(&mut stage.client)?;
    // The callee is the client of its handshake: it may begin again.
    call.callee.pretend(&wrong);
    let mut calls = [call];
    connect(&mut calls, Duration::from_secs(3), &mut |_| {});
    drive(&mut calls, Duration::from_millis(500), true, &mut |_| {});
    let [call] = &mut calls;
    let passed = call.callee.hearing.received() + call.caller.hearing.received() + call.foreign();
    if passed > 0 {
        return Err(format!("{passed} packets passed with the wrong certificate"));
    }
    call.callee.be_honest();
    call.forget_said();
    if connect(&mut calls, Duration::from_secs(10), &mut |_| {}) < 1 {
        let [call] = &calls;
        return Err(format!("no handshake after the wrong one: {:?} {:?}", call.caller.failures, call.callee.failures));
    }
    drive(&mut calls, Duration::from_millis(100), false, &mut |_| {});
    let [call] = &mut calls;
    call.forget_said();
    drive(&mut calls, Duration::from_secs(1), true, &mut |_| {});
    calls[0].check_heard()?;
    Ok(format!("nothing passed; then {} packets each way; drops: {}", calls[0].caller.said, stage.drops()?))
}

/// Records that anybody can write, of both epochs.
fn forged_record(number: u64, random: &mut Seeded) -> Vec<u8> {
    let mut noise = [0; 64];
    random.fill(&mut noise);
    match number % 8 {
        // close_notify; fatal handshake_failure; both, and noise, where protected records belong.
        0 => record(21, 0, &[1, 0]),
        1 => record(21, 0, &[2, 40]),
        2 => record(21, 1, &[1, 0]),
        3 => record(21, 1, &noise),
        // HelloRequest and a ClientHello under the keys' epoch, without keys.
        4 => record(22, 1, &message(0, 0, 0, 0, &[])),
        5 => record(22, 1, &client_hello(random)[13..]),
        // Pieces of messages that never become whole, at all places.
        6 => record(22, 0, &message(11, (number % 50) as u16, 16_000, (number * 61 % 15_000) as u32, &noise)),
        _ => record(23, 1, &noise),
    }
}

fn forged_records(stage: &mut Stage) -> Result<String, String> {
    let settings = dtls_settings(false)?;
    let mut call = stage.call(settings.clone(), settings.clone(), &merged(&settings, &json!({})))?;
    call.place(&mut stage.client)?;
    let to = ports(&call)?;
    // The same address and port as the victims', from the attacker's host.
    let sources = [
        stage.attacker(&call.caller.address().to_string())?,
        stage.attacker(&format!("{CALLEE}:{}", call.callee.address().port()))?,
    ];
    let (memory, mut random, mut pace) = (stage.daemon.memory()?.resident_kib, Seeded(3), Pace::new(2000));
    let mut attack = |elapsed: Duration| {
        for number in pace.due(elapsed) {
            let place = number as usize % 2;
            let _ = sources[place].send_to(&forged_record(number / 2, &mut random), to[place]);
        }
    };
    let mut calls = [call];
    if connect(&mut calls, Duration::from_secs(15), &mut attack) < 1 {
        return Err("the handshakes do not complete".into());
    }
    drive(&mut calls, Duration::from_millis(300), false, &mut |_| {});
    pace.restart();
    let mut attack = |elapsed: Duration| {
        for number in pace.due(elapsed) {
            let place = number as usize % 2;
            let forged = match number % 5 {
                0 => client_hello(&mut random),
                _ => forged_record(number / 2, &mut random),
            };
            let _ = sources[place].send_to(&forged, to[place]);
        }
    };
    drive(&mut calls, Duration::from_secs(4), true, &mut attack);
    calls[0].check_whole()?;
    let failures = [&calls[0].caller.failures[..], &calls[0].callee.failures].concat();
    let gained = stage.daemon.memory()?.resident_kib.saturating_sub(memory);
    if !failures.is_empty() || gained > MEMORY_KIB {
        return Err(format!("{failures:?}, {gained} KiB gained"));
    }
    Ok(format!("{} records to {DAEMON}, {gained} KiB gained, drops: {}", pace.sent(), stage.drops()?))
}

const LOSSY_CALLS: usize = 30;

fn loss(stage: &mut Stage) -> Result<String, String> {
    let settings = Settings { loss_percent: 10, ..dtls_settings(false)? };
    let mut calls = Vec::new();
    for _ in 0..LOSSY_CALLS {
        let mut call = stage.call(settings.clone(), settings.clone(), &merged(&settings, &json!({})))?;
        call.place(&mut stage.client)?;
        calls.push(call);
    }
    let start = Instant::now();
    let ready = connect(&mut calls, Duration::from_secs(20), &mut |_| {});
    let time = start.elapsed().as_secs_f64();
    if ready < LOSSY_CALLS {
        return Err(format!("{ready} of {LOSSY_CALLS} calls after {time:.1} s"));
    }
    drive(&mut calls, Duration::from_secs(4), true, &mut |_| {});
    let share = |call: &Call| {
        let heard = call.caller.hearing.received() + call.callee.hearing.received();
        heard as f64 / f64::from(call.caller.said + call.callee.said)
    };
    let worst = calls.iter().map(share).fold(1.0, f64::min);
    // Two ways of 90 % make 81 %.
    if worst < 0.6 || calls.iter().any(|call| call.foreign() > 0) {
        return Err(format!("of one call's packets {:.0} % arrived", worst * 100.0));
    }
    Ok(format!("{} of {} in {time:.1} s; {:.0} % of packets at least", 2 * ready, 2 * LOSSY_CALLS, worst * 100.0))
}
