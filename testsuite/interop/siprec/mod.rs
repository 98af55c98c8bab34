//! Calls that are recorded as OpenSIPS and Kamailio have it done (SIPREC, RFC 7866): a fork for each party, paused,
//! resumed and ended while the parties talk.

mod proxy;
mod recording;
mod room;

use crate::Scenario;
use crate::scenarios::Held;
use crate::stage::{Networks, start_daemon};
use millrace::base::suite::Suite;
use millrace_testsuite::daemon::Kind;
use millrace_testsuite::ng::Encoding;
use millrace_testsuite::peer::Keying;
use proxy::{Module, Proxy, Wanted};
use recording::Recording;
use room::Room;
use std::path::Path;

pub const ALL: &[Scenario] = &[
    Scenario { name: "siprec", what: "OpenSIPS records a call", needs: newer, run: opensips },
    Scenario { name: "siprec-kamailio", what: "Kamailio 6 records a call", needs: newer, run: kamailio },
    Scenario { name: "siprec-srtp", what: "recorders of an encrypted call", needs: newer, run: encrypted },
    Scenario { name: "siprec-failing", what: "recorders that fail cost the call nothing", needs: newer, run: failing },
];

/// Debian's rtpengine knows neither `inactive` nor `rtpp-flags`, and ends a subscription twice.
fn newer(kind: Kind) -> Result<(), String> {
    if kind == Kind::Rtpengine { Err("newer than Debian's rtpengine".into()) } else { Ok(()) }
}

/// Packets of each party in each part of a scenario.
const PART: u32 = 50;

fn opensips(kind: Kind, folder: &Path) -> Result<String, String> {
    with_call(kind, folder, Module::OpenSips, Keying::Plain, |room, proxy| record(room, proxy, Wanted::default()))
}

fn kamailio(kind: Kind, folder: &Path) -> Result<String, String> {
    with_call(kind, folder, Module::Kamailio, Keying::Plain, |room, proxy| record(room, proxy, Wanted::default()))
}

/// The caller speaks SRTP, the callee does not; the recorder as the parties, plain, with keys in its SDP, with DTLS.
fn encrypted(kind: Kind, folder: &Path) -> Result<String, String> {
    let caller = Keying::Sdes(vec![Suite::AesCm128Sha1_80]);
    with_call(kind, folder, Module::OpenSips, caller, |room, proxy| {
        let mut notes = Vec::new();
        for protocol in [None, Some("RTP/AVP"), Some("RTP/SAVP"), Some("UDP/TLS/RTP/SAVP")] {
            let name = protocol.unwrap_or("as the parties");
            let note = record(room, proxy, Wanted { protocol, ..Wanted::default() });
            notes.push(format!("{name}: {}", note.map_err(|why| format!("{name}: {why}"))?));
        }
        Ok(notes.join("; "))
    })
}

/// Places a call between a caller with keys of its own and a plain callee, runs `body` while they talk, and demands
/// that neither has lost a packet and that everything is freed.
fn with_call(
    kind: Kind,
    folder: &Path,
    module: Module,
    caller: Keying,
    body: impl FnOnce(&Room, &Proxy) -> Result<String, String>,
) -> Result<String, String> {
    let networks = Networks::make()?;
    let mut daemon = start_daemon(&networks, kind, folder)?;
    let idle = Held::by(&daemon)?;
    let note = {
        let proxy = Proxy::new(module, daemon.client(Encoding::Bencode)?, folder.join("control.log"));
        let room = Room::open(&networks, caller, Keying::Plain)?;
        let offer = proxy.offer(&room.people().caller.offer(false))?;
        let answer = room.people().callee.answer(&offer)?;
        let answer = proxy.answer(&answer)?;
        room.people().caller.accept(&answer)?;
        room.people().is_talking = true;
        let note = body(&room, &proxy)?;
        room.talk(PART)?;
        room.people().is_talking = false;
        let arrived = room.wait_for("last packets", |people| people.passed() == people.said());
        room.people().check_call().and(arrived)?;
        proxy.delete()?;
        let [up, down] = room.said();
        format!("{note}; {up} and {down} packets between the parties, none lost")
    };
    idle.wait_for(&mut daemon)?;
    Ok(format!("{note}; all freed"))
}

/// One recording from its beginning to its end: moved to other ports, refreshed, paused, resumed, ended.
fn record(room: &Room, proxy: &Proxy, wanted: Wanted) -> Result<String, String> {
    room.talk(PART)?;
    let before = room.passed();
    let mut recording = Recording::begin(room, proxy, wanted)?;
    let from = room.said();
    room.talk(PART)?;
    let moving = room.passed();
    let mut sum = recording.check_whole(from, moving, "before it moved")?;
    recording.check_clean()?;

    recording.move_away(wanted)?;
    let from = room.said();
    room.talk(PART)?;
    recording.refresh(wanted)?;
    room.talk(PART)?;
    let paused = room.passed();
    recording.refresh(Wanted { is_paused: true, ..wanted })?;
    let silent = room.said();
    room.talk(PART)?;
    let still = room.passed();
    recording.refresh(wanted)?;
    let resumed = room.said();
    room.talk(PART)?;

    let ended = room.passed();
    recording.end()?;
    let gone = room.said();
    room.talk(PART)?;
    let last = room.said();
    for (from, to, part) in
        [([0; 2], before, "before it began"), (silent, still, "while paused"), (gone, last, "after the end")]
    {
        recording.check_silent(from, to, part)?;
    }
    for (from, to, part) in [(from, paused, "until the pause"), (resumed, ended, "after the pause")] {
        sum += recording.check_whole(from, to, part)?;
    }
    recording.check_clean()?;
    Ok(format!("{sum} packets recorded of {sum}, none while paused"))
}

/// Recorders beside a good one: one is not there, one declines lines, one never answers, one is taken out twice.
fn failing(kind: Kind, folder: &Path) -> Result<String, String> {
    let plain = fail_beside(kind, folder, Keying::Plain, "RTP/AVP")?;
    let caller = Keying::Sdes(vec![Suite::AesCm128Sha1_80]);
    let encrypted = fail_beside(kind, folder, caller, "RTP/SAVP")?;
    Ok(format!("plain: {plain}; encrypted: {encrypted}"))
}

fn fail_beside(kind: Kind, folder: &Path, caller: Keying, protocol: &str) -> Result<String, String> {
    with_call(kind, folder, Module::OpenSips, caller, |room, proxy| {
        let wanted = Wanted { protocol: Some(protocol), ..Wanted::default() };
        let good = Recording::begin(room, proxy, wanted)?;
        let from = room.said();

        let absent = Recording::begin(room, proxy, wanted)?;
        room.talk(PART)?;
        absent.close_ports()?;
        room.talk(PART)?;

        let declined: Vec<Recording> = [[true, false], [false, true], [true, true]]
            .into_iter()
            .map(|lines| Recording::begin_without(room, proxy, wanted, lines))
            .collect::<Result<_, _>>()?;
        let half = room.said();
        room.talk(PART)?;
        let heard = room.passed();
        for recording in &declined {
            recording.check_whole(half, heard, "with a line declined")?;
        }

        let silent = proxy.subscribe(wanted)?;
        room.talk(PART)?;
        let tag = silent["to-tag"].as_str().ok_or("no to-tag")?;
        for expected in ["ok", "error"] {
            let reply = proxy.unsubscribe(tag)?;
            if reply["result"] != expected {
                return Err(format!("unsubscribe: {reply}, where {expected} was expected"));
            }
        }
        let nonsense = proxy.subscribe_answer(tag, "nonsense")?;
        if nonsense["result"] != "error" {
            return Err(format!("an answer of nobody: {nonsense}"));
        }
        // This one stays without an answer to the end of the call.
        proxy.subscribe(wanted)?;
        absent.end()?;
        room.talk(PART)?;
        let sum = good.check_whole(from, room.passed(), "beside the failing ones")?;
        good.check_clean()?;
        Ok(format!("{sum} packets recorded of {sum} beside them"))
    })
}
