//! SRTP that is not what the keys make: in place of a call's own, before and after its keys are known.

use crate::inject::forged;
use crate::stage::{ATTACKER, Pace, Stage, merged, settings};
use crate::{Answers, Scenario};
use millrace::base::random::{Random, Seeded};
use millrace::base::suite::Suite;
use millrace_testsuite::peer::{Call, Hearing, Keying, Peer, Voice, connect, drive, new_contexts};
use millrace_testsuite::system::interrupted;
use serde_json::json;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

pub const ALL: &[Scenario] = &[
    Scenario {
        name: "sdes-tags",
        what: "SDES with equal keys: no tag, a wrong tag, a flipped bit, with and without recrypt",
        expected: "dropped with wrong_tag, whether packets are decrypted or not; the call stays in the kernel, where it is",
        answers: Answers::None,
        run: sdes_tags,
    },
    Scenario {
        name: "dtls-tags",
        what: "DTLS-SRTP: plain RTP and bad tags before and after the keys",
        expected: "dropped, and nothing is learned from them",
        answers: Answers::None,
        run: dtls_tags,
    },
    Scenario {
        name: "replay",
        what: "SRTP and SRTCP again, inside and outside of the window",
        expected: "each replay is dropped and counted once",
        answers: Answers::None,
        run: replay,
    },
    Scenario {
        name: "rollover",
        what: "sequence numbers that wrap while packets overtake each other; new and equal SSRCs",
        expected: "every packet arrives",
        answers: Answers::None,
        run: rollover,
    },
    Scenario {
        name: "bad-packets",
        what: "100,000 bad SRTP packets from a victim's address and port, with jumps of the sequence",
        expected: "all are dropped, none ends the call (CVE-2021-41105)",
        answers: Answers::None,
        run: bad_packets,
    },
];

const SUITE: Suite = Suite::AesCm128Sha1_80;

fn sdes() -> Keying {
    Keying::Sdes(vec![SUITE])
}

/// Equal keys on both sides, and different ones.
fn protected_calls(stage: &mut Stage) -> Result<[Call; 2], String> {
    let same = stage.connected(&settings(sdes()), &json!({}))?;
    let options = merged(&settings(sdes()), &json!({}));
    let mut different = stage.call(settings(sdes()), settings(Keying::Sdes(vec![Suite::AeadAes128Gcm])), &options)?;
    different.place(&mut stage.client)?;
    Ok([same, different])
}

/// Packets that pretend to be the next of a voice, without its key.
fn bad_packet(voice: Voice, number: u32, kind: u64, random: &mut Seeded) -> Vec<u8> {
    let mut packet = forged(voice, number);
    let tag_bytes = [0, 10, 4, 16, 200][kind as usize % 5];
    let start = packet.len();
    packet.resize(start + tag_bytes, 0);
    random.fill(&mut packet[start..]);
    packet
}

/// Bad packets to the daemon's port for the caller: from elsewhere, and from the caller's own address and port.
struct Forger {
    outside: UdpSocket,
    random: Seeded,
    pace: Pace,
}

impl Forger {
    fn new(stage: &Stage, per_second: u64) -> Result<Forger, String> {
        let outside = stage.attacker(&format!("{ATTACKER}:5555"))?;
        Ok(Forger { outside, random: Seeded(5), pace: Pace::new(per_second) })
    }

    fn attack(&mut self, caller: &mut Peer, elapsed: Duration) {
        let Some(to) = caller.remote().map(|remote| remote.media) else { return };
        for number in self.pace.due(elapsed) {
            let packet = bad_packet(caller.voice, caller.said, number / 2, &mut self.random);
            match number % 2 {
                0 => drop(self.outside.send_to(&packet, to)),
                _ => caller.send(&packet),
            }
        }
    }
}

/// Runs one call with an attack that needs its caller.
fn drive_one(call: &mut Call, time: Duration, talks: bool, attack: &mut dyn FnMut(&mut Peer, Duration)) {
    let start = Instant::now();
    let mut next_packet = Duration::ZERO;
    while start.elapsed() < time && !interrupted() {
        let elapsed = start.elapsed();
        attack(&mut call.caller, elapsed);
        call.run_for(Duration::from_millis(1), talks && elapsed >= next_packet);
        if elapsed >= next_packet {
            next_packet += Duration::from_millis(20);
        }
    }
    drive(std::slice::from_mut(call), Duration::ZERO, false, &mut |_| {});
}

fn sdes_tags(stage: &mut Stage) -> Result<String, String> {
    let mut notes = Vec::new();
    for flags in [json!([]), json!(["recrypt"])] {
        let before = stage.dropped("wrong_tag")? + stage.dropped("malformed")?;
        let mut call = stage.connected(&settings(sdes()), &json!({"flags": flags}))?;
        let mut forger = Forger::new(stage, 200)?;
        // Before the victims' first packets, too: learning is still open then.
        drive_one(&mut call, Duration::from_millis(500), false, &mut |caller, elapsed| forger.attack(caller, elapsed));
        forger.pace.restart();
        drive_one(&mut call, Duration::from_secs(2), true, &mut |caller, elapsed| forger.attack(caller, elapsed));
        stage.check_settled(&call)?;
        flip_bits(&mut call);
        drive_one(&mut call, Duration::from_millis(200), true, &mut |_, _| {});
        call.check_whole()?;
        let drops = stage.dropped("wrong_tag")? + stage.dropped("malformed")? - before;
        let sent = forger.pace.sent() + FLIPS;
        if drops != sent {
            return Err(format!("{flags}: {sent} bad packets, {drops} dropped as such"));
        }
        notes.push(format!("{flags}: {drops} dropped"));
    }
    Ok(notes.join("; "))
}

const FLIPS: u64 = 40;

/// Sends good packets with one flipped bit each, and then as they should have been.
fn flip_bits(call: &mut Call) {
    for number in 0..FLIPS as usize {
        let packet = call.caller.next_packet();
        let mut flipped = packet.clone();
        // Anywhere but in the first byte, which says what the packet is.
        let at = 1 + number * (packet.len() - 1) / FLIPS as usize;
        flipped[at] ^= if at == 1 { 1 } else { 1 << (number % 8) };
        call.caller.send(&flipped);
        call.caller.send(&packet);
    }
}

fn dtls_tags(stage: &mut Stage) -> Result<String, String> {
    let settings = settings(Keying::Dtls(new_contexts()?));
    let mut call = stage.call(settings.clone(), settings.clone(), &merged(&settings, &json!({})))?;
    call.place(&mut stage.client)?;
    let mut forger = Forger::new(stage, 400)?;
    // Nobody reads, so no handshake comes about.
    for round in 0..50 {
        forger.attack(&mut call.caller, Duration::from_millis(round * 10));
        std::thread::sleep(Duration::from_millis(10));
    }
    let before = stage.dropped("no_keys")?;
    let early = forger.pace.sent();
    if before < early {
        return Err(format!("{early} packets before the keys, no_keys {before}"));
    }
    let mut calls = [call];
    if connect(&mut calls, Duration::from_secs(10), &mut |_| {}) < 1 {
        return Err("the handshakes fail after the attack".into());
    }
    let [mut call] = calls;
    drive_one(&mut call, Duration::from_millis(100), false, &mut |_, _| {});
    forger.pace.restart();
    drive_one(&mut call, Duration::from_secs(2), true, &mut |caller, elapsed| forger.attack(caller, elapsed));
    call.check_whole()?;
    let late = forger.pace.sent() - early;
    let drops = stage.dropped("wrong_tag")? + stage.dropped("malformed")?;
    if drops < late {
        return Err(format!("{late} packets after the keys, {drops} dropped as bad"));
    }
    Ok(format!("{early} before the keys: no_keys {before}; {late} after: wrong tag or malformed {drops}"))
}

/// A sender report of the peer.
fn report(peer: &Peer, number: u8) -> Vec<u8> {
    [&[0x80, 200, 0, 6][..], &peer.voice.ssrc.to_be_bytes(), &[number; 20]].concat()
}

fn replay(stage: &mut Stage) -> Result<String, String> {
    let mut notes = Vec::new();
    for mut call in protected_calls(stage)? {
        let before = stage.dropped("replayed")?;
        let (mut packets, mut reports) = (Vec::new(), Vec::new());
        for number in 0..200 {
            let packet = call.caller.next_packet();
            call.caller.send(&packet);
            packets.push(packet);
            if number % 20 == 0 {
                let compound = report(&call.caller, number);
                let compound = call.caller.protect(&compound);
                call.caller.send(&compound);
                reports.push(compound);
            }
            call.callee.say();
            call.run_for(Duration::from_millis(2), false);
        }
        let again: Vec<&Vec<u8>> = packets.iter().rev().chain(&reports).collect();
        for packet in &again {
            call.caller.send(packet);
            call.run_for(Duration::from_millis(1), false);
        }
        drive_one(&mut call, Duration::from_millis(100), true, &mut |_, _| {});
        call.check_whole()?;
        let drops = stage.dropped("replayed")? - before;
        if drops != again.len() as u64 || call.callee.reports.len() != reports.len() {
            let arrived = call.callee.reports.len();
            return Err(format!("{} replays, replayed {drops}; {arrived} reports arrived", again.len()));
        }
        notes.push(format!("{} of {} packets", drops, again.len()));
    }
    Ok(format!("dropped once each: {}", notes.join(", ")))
}

fn rollover(stage: &mut Stage) -> Result<String, String> {
    for mut call in protected_calls(stage)? {
        let voice = Voice { first_sequence: 65_400, ..call.caller.voice };
        set_voice(&mut call, voice);
        for _ in 0..100 {
            // Of each four, the last comes first.
            let mut packets: Vec<Vec<u8>> = (0..4).map(|_| call.caller.next_packet()).collect();
            packets.reverse();
            packets.iter().for_each(|packet| call.caller.send(packet));
            call.callee.say();
            call.run_for(Duration::from_millis(4), false);
        }
        drive_one(&mut call, Duration::from_millis(100), true, &mut |_, _| {});
        call.check_whole().map_err(|why| format!("wrap: {why}"))?;
        // Another source, from a sequence number elsewhere; then the one that the other side has.
        for ssrc in [call.caller.voice.ssrc ^ 1, call.callee.voice.ssrc] {
            set_voice(&mut call, Voice { ssrc, first_sequence: 40_000 });
            drive_one(&mut call, Duration::from_millis(500), true, &mut |_, _| {});
            call.check_whole().map_err(|why| format!("SSRC {ssrc:08x}: {why}"))?;
        }
    }
    Ok("400 packets over the wrap, two other SSRCs, with equal and different keys".into())
}

/// The caller speaks with another voice from now on.
fn set_voice(call: &mut Call, voice: Voice) {
    call.caller.voice = voice;
    call.caller.said = 0;
    call.callee.hearing = Hearing::of(voice);
}

const BAD_PACKETS: u64 = 100_000;
const BAD_PACKETS_PER_SECOND: u64 = 10_000;

fn bad_packets(stage: &mut Stage) -> Result<String, String> {
    let [call, _] = protected_calls(stage)?;
    let mut call = call;
    let mut random = Seeded(9);
    let mut pace = Pace::new(BAD_PACKETS_PER_SECOND);
    let time = Duration::from_millis(1000 * BAD_PACKETS / BAD_PACKETS_PER_SECOND + 100);
    let used = stage.daemon.cpu_time()?;
    drive_one(&mut call, time, true, &mut |caller, elapsed| {
        for number in pace.due(elapsed) {
            // Near, far ahead, far behind, and of sources that nobody has.
            let ahead = [0, 1, 30_000, 40_000, 65_000][number as usize % 5];
            let strange = if number % 7 == 0 { number as u32 } else { 0 };
            let voice = Voice { ssrc: caller.voice.ssrc ^ strange, ..caller.voice };
            let packet = bad_packet(voice, caller.said + ahead, 1, &mut random);
            caller.send(&packet);
        }
    });
    let cpu = (stage.daemon.cpu_time()? - used).as_secs_f64() / time.as_secs_f64();
    let (sent, overflows) = (pace.sent(), stage.overflows()?);
    let note = format!("{sent} sent, {}, {:.0} % of a core", stage.drops()?, cpu * 100.0);
    stage.check_flooded(&call).map_err(|why| format!("{why}; {note}"))?;
    // What is far behind is refused before its tag is looked at.
    let drops = stage.dropped("wrong_tag")? + stage.dropped("replayed")?;
    if drops + overflows >= sent { Ok(note) } else { Err(format!("{note}; {overflows} were never read")) }
}
