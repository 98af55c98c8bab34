//! Connectivity checks by those who know no password, or an old one.

use crate::stage::{ATTACKER, Pace, Stage, settings};
use crate::{Answers, Scenario};
use millrace::base::random::{Random, Seeded};
use millrace::ice::Credentials;
use millrace::wire::stun::{BINDING, Class, Message, RoleAttribute, TransactionId, Writer};
use millrace_testsuite::peer::{Call, Keying, Peer, Settings, connect, drive, new_contexts};
use serde_json::json;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

pub const ALL: &[Scenario] = &[
    Scenario {
        name: "checks",
        what: "checks without credentials, with wrong ones, damaged, huge, from an attacker and from spoofed sources",
        expected: "silence, or errors that are few and no longer than what they answer; the selected pair stays",
        answers: Answers::Some,
        run: checks,
    },
    Scenario {
        name: "old-credentials",
        what: "checks with the credentials from before an ICE restart",
        expected: "no success, the selected pair stays",
        answers: Answers::Some,
        run: old_credentials,
    },
];

/// Room for the longest message that is made here.
const MESSAGE_BYTES: usize = 4096;
const CHECKS_PER_SECOND: u64 = 3000;
const TALK: Duration = Duration::from_secs(4);

/// A check as the daemon expects it of the peer behind one of its ports, but for the password.
struct Target {
    at: SocketAddr,
    /// The fragments of the daemon and of its peer, and the daemon's password.
    daemon: Credentials,
    peer: String,
}

impl Target {
    fn of(peer: &Peer) -> Result<Target, String> {
        let remote = peer.remote().ok_or("no description")?;
        let daemon = remote.ice.as_ref().ok_or("no ICE")?.credentials.clone();
        let own = peer.agent().ok_or("no agent")?.credentials().ufrag.clone();
        Ok(Target { at: remote.media, daemon, peer: own })
    }
}

/// One kind of bad check.
struct Kind {
    name: &'static str,
    write: fn(&Target, Writer) -> Vec<u8>,
}

fn bytes(writer: Writer) -> Vec<u8> {
    writer.finish().unwrap_or_default().to_vec()
}

/// What a check of a controlling side with a nomination holds.
fn nominating(writer: Writer) -> Writer {
    writer.priority(1 << 30).role(RoleAttribute::Controlling(u64::MAX)).use_candidate()
}

const WRONG: &str = "thisisnotthepasswordatall";

const KINDS: &[Kind] = &[
    Kind {
        name: "wrong fragment",
        write: |t, w| bytes(nominating(w.username("nobody", &t.peer)).integrity(&t.daemon.password).fingerprint()),
    },
    Kind {
        name: "wrong peer",
        write: |t, w| bytes(nominating(w.username(&t.daemon.ufrag, "nobody")).integrity(WRONG).fingerprint()),
    },
    Kind {
        name: "wrong integrity",
        write: |t, w| bytes(nominating(w.username(&t.daemon.ufrag, &t.peer)).integrity(WRONG).fingerprint()),
    },
    Kind { name: "no integrity", write: |t, w| bytes(nominating(w.username(&t.daemon.ufrag, &t.peer)).fingerprint()) },
    Kind {
        name: "wrong fingerprint",
        write: |t, w| {
            let check = nominating(w.username(&t.daemon.ufrag, &t.peer)).integrity(&t.daemon.password).fingerprint();
            let mut bytes = bytes(check);
            if let Some(last) = bytes.last_mut() {
                *last ^= 1;
            }
            bytes
        },
    },
    Kind { name: "no user name", write: |_, w| bytes(nominating(w).integrity(WRONG).fingerprint()) },
    Kind { name: "nothing", write: |_, w| bytes(w) },
    Kind {
        name: "unknown attributes",
        write: |t, w| {
            let check = bytes(w.username(&t.daemon.ufrag, &t.peer).unknown_attributes([1, 2, 3].into_iter()));
            // Ten that must be understood, of a kind that nobody knows.
            extended(check, &[0x7f, 0x00, 0, 4, 1, 2, 3, 4].repeat(10))
        },
    },
    Kind {
        name: "huge attributes",
        write: |t, w| {
            let check = bytes(w.username(&t.daemon.ufrag, &t.peer));
            extended(check, &[&[0x80, 0x77, 0x0f, 0x00][..], &[0xaa; 0x0f00]].concat())
        },
    },
    Kind {
        name: "an attribute beyond the end",
        write: |t, w| {
            let check = bytes(w.username(&t.daemon.ufrag, &t.peer));
            extended(check, &[0x80, 0x77, 0xff, 0xff])
        },
    },
    Kind {
        name: "role conflict",
        write: |t, w| {
            let conflict = w.username(&t.daemon.ufrag, &t.peer).role(RoleAttribute::Controlled(u64::MAX));
            bytes(conflict.integrity(WRONG).fingerprint())
        },
    },
];

/// A message with more attributes behind.
fn extended(mut message: Vec<u8>, attributes: &[u8]) -> Vec<u8> {
    message.extend(attributes);
    let length = (message.len() - 20) as u16;
    message[2..4].copy_from_slice(&length.to_be_bytes());
    message
}

fn check(target: &Target, kind: &Kind, random: &mut Seeded) -> Vec<u8> {
    let mut id = [0; 12];
    random.fill(&mut id);
    let mut buffer = [0; MESSAGE_BYTES];
    (kind.write)(target, Writer::new(&mut buffer, Class::Request, BINDING, TransactionId(id)))
}

fn ice_call(stage: &mut Stage) -> Result<Call, String> {
    let settings = Settings { has_ice: true, ..settings(Keying::Dtls(new_contexts()?)) };
    stage.connected(&settings, &json!({}))
}

/// The pairs that both sides send media on.
fn selected(call: &Call) -> [Option<SocketAddr>; 2] {
    [call.caller.destination(), call.callee.destination()]
}

/// What came back: datagrams, bytes, successes.
#[derive(Default)]
struct Heard {
    answers: usize,
    bytes: usize,
    successes: usize,
}

impl Heard {
    fn listen(&mut self, sources: &[UdpSocket]) {
        let mut buffer = [0; MESSAGE_BYTES];
        for source in sources {
            while let Ok(size) = source.recv(&mut buffer) {
                self.answers += 1;
                self.bytes += size;
                let success = Message::parse(&buffer[..size]).is_ok_and(|message| message.class() == Class::Success);
                self.successes += usize::from(success);
            }
        }
    }
}

fn checks(stage: &mut Stage) -> Result<String, String> {
    let call = ice_call(stage)?;
    let targets = [Target::of(&call.caller)?, Target::of(&call.callee)?];
    let before = selected(&call);
    let mut sources = vec![stage.attacker(&format!("{ATTACKER}:5555"))?];
    for host in 1..100 {
        sources.push(stage.attacker(&format!("192.0.2.{host}:5555"))?);
    }
    let (mut random, mut pace, mut heard, mut asked) = (Seeded(4), Pace::new(CHECKS_PER_SECOND), Heard::default(), 0);
    let mut calls = [call];
    drive(&mut calls, TALK, true, &mut |elapsed| {
        for number in pace.due(elapsed) {
            let number = number as usize;
            let target = &targets[number % 2];
            let datagram = check(target, &KINDS[number / 2 % KINDS.len()], &mut random);
            // Half of them come from one place.
            let source = if number % 4 < 2 { 0 } else { number / 4 % sources.len() };
            asked += sources[source].send_to(&datagram, target.at).unwrap_or(0);
        }
        heard.listen(&sources);
    });
    heard.listen(&sources);
    calls[0].check_whole()?;
    let drops = stage.expect_dropped("bad_check", pace.sent() * 9 / 10)?;
    let Heard { answers, bytes, successes } = heard;
    let note = format!("{} checks, {asked} B; {answers} answers, {bytes} B; bad_check {drops}", pace.sent());
    // Ten at once and five a second, of each of the two agents.
    let most = 2 * (10 + 5 * (TALK.as_secs() as usize + 1));
    match selected(&calls[0]) == before && successes == 0 && bytes <= asked && answers <= most {
        true => Ok(format!("{note}; {} kinds", KINDS.len())),
        false => Err(format!("{note}; {successes} successes; pairs {before:?} and {:?}", selected(&calls[0]))),
    }
    .and_then(|note| single_answers(stage, &calls[0], &sources[0]).map(|longest| format!("{note}; {longest}")))
}

/// Each kind alone: its answer, if any, is no longer than the question.
fn single_answers(stage: &Stage, call: &Call, source: &UdpSocket) -> Result<String, String> {
    let (target, mut random) = (Target::of(&call.callee)?, Seeded(6));
    let mut worst = (0.0, "none");
    for kind in KINDS {
        // The rate of answers is limited.
        std::thread::sleep(Duration::from_millis(250));
        let datagram = check(&target, kind, &mut random);
        source.send_to(&datagram, target.at).map_err(|error| error.to_string())?;
        std::thread::sleep(Duration::from_millis(50));
        let mut heard = Heard::default();
        heard.listen(std::slice::from_ref(source));
        if heard.bytes > datagram.len() || heard.successes > 0 {
            return Err(format!("{}: {} B are answered with {} B", kind.name, datagram.len(), heard.bytes));
        }
        let factor = heard.bytes as f64 / datagram.len() as f64;
        if factor > worst.0 {
            worst = (factor, kind.name);
        }
    }
    let _ = stage;
    Ok(format!("amplified at most {:.2} times ({})", worst.0, worst.1))
}

fn old_credentials(stage: &mut Stage) -> Result<String, String> {
    let mut call = ice_call(stage)?;
    let old = [Target::of(&call.caller)?, Target::of(&call.callee)?];
    call.offer(&mut stage.client, true)?;
    call.answer(&mut stage.client)?;
    let mut calls = [call];
    if connect(&mut calls, Duration::from_secs(5), &mut |_| {}) < 1 {
        return Err("the call does not survive a restart".into());
    }
    // The new generation has its pairs within this time, and what was old is forgotten.
    drive(&mut calls, Duration::from_secs(1), false, &mut |_| {});
    let new = [Target::of(&calls[0].caller)?, Target::of(&calls[0].callee)?];
    let is_new: Vec<bool> = new.iter().zip(&old).map(|(new, old)| new.daemon.ufrag != old.daemon.ufrag).collect();
    if !is_new[0] {
        return Err("the daemon keeps its credentials through a restart".into());
    }
    // It need not begin anew with the other side.
    let old: Vec<Target> = old.into_iter().zip(is_new).filter_map(|(old, is_new)| is_new.then_some(old)).collect();
    let before = selected(&calls[0]);
    let sources = [stage.attacker(&format!("{ATTACKER}:5555"))?];
    let (mut random, mut pace, mut heard) = (Seeded(7), Pace::new(200), Heard::default());
    let authentic = Kind {
        name: "authentic",
        write: |t, w| {
            bytes(nominating(w.username(&t.daemon.ufrag, &t.peer)).integrity(&t.daemon.password).fingerprint())
        },
    };
    calls[0].forget_said();
    drive(&mut calls, TALK, true, &mut |elapsed| {
        for number in pace.due(elapsed) {
            let target = &old[number as usize % old.len()];
            let _ = sources[0].send_to(&check(target, &authentic, &mut random), target.at);
        }
        heard.listen(&sources);
    });
    calls[0].check_whole()?;
    match selected(&calls[0]) == before && heard.successes == 0 {
        true => Ok(format!("{} checks on {} sides, {} refusals", pace.sent(), old.len(), heard.answers)),
        false => {
            Err(format!("{} successes, {} answers; pairs {before:?} and then others", heard.successes, heard.answers))
        }
    }
}
