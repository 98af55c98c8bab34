//! A caller that hears itself, by way of the kernel.

use crate::Scenario;
use crate::fastpath::{self, PCMA, packet};
use crate::scenarios::at;
use crate::sip::Role;
use crate::stage::{CALLEE, CALLER, Networks, start_daemon_with};
use millrace::wire::rtp::Packet;
use millrace_testsuite::daemon::Kind;
use millrace_testsuite::ng::{Client, Encoding};
use millrace_testsuite::sdp;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

pub const ALL: &[Scenario] = &[Scenario {
    name: "echo",
    what: "a caller hears itself under another SSRC, by way of the kernel",
    needs: fastpath::ours,
    run,
}];

const PACKETS: u16 = 200;

fn run(kind: Kind, folder: &Path) -> Result<String, String> {
    let networks = Networks::make()?;
    let daemon = start_daemon_with(&networks, kind, "--fastpath=auto", folder)?;
    let mut client = daemon.client(Encoding::Json)?;
    let (caller, callee) = (at(CALLER, 6000)?, at(CALLEE, 7000)?);
    let port = set_up(&mut client, caller, callee)?;
    let fault = |error: std::io::Error| error.to_string();
    let mouth = networks.socket(Role::Caller, caller)?;
    mouth.set_read_timeout(Some(Duration::from_secs(1))).map_err(fault)?;
    let (mut names, mut bytes) = (BTreeSet::new(), [0; 2048]);
    for number in 0..PACKETS {
        let said = packet(number, PCMA, &[number as u8; 160]);
        mouth.send_to(&said, port).map_err(fault)?;
        let length =
            mouth.recv(&mut bytes).map_err(|error| format!("nothing comes back for packet {number}: {error}"))?;
        let heard = Packet::parse(&bytes[..length]).map_err(|error| format!("{error:?}"))?;
        if heard.header().sequence != number || heard.payload() != &said[12..] {
            return Err(format!("something else comes back for packet {number}"));
        }
        names.insert(heard.header().ssrc);
        std::thread::sleep(Duration::from_millis(5));
    }
    if names.len() != 1 || names.contains(&fastpath::SSRC) {
        return Err(format!("it is known by {names:x?}, and said {:x}", fastpath::SSRC));
    }
    match fastpath::caller_way(&mut client)?.as_str() {
        "xdp" => Ok(format!("{PACKETS} packets came back")),
        way => Err(format!("echoed media goes by {way}")),
    }
}

/// Places the call; where the caller sends to.
fn set_up(client: &mut Client, caller: SocketAddr, callee: SocketAddr) -> Result<SocketAddr, String> {
    let mut ask = |request: Value| {
        let reply = client.ask(&request).map_err(|error| error.to_string())?;
        if reply["result"] == "ok" { Ok(reply) } else { Err(format!("{}: {reply}", request["command"])) }
    };
    ask(json!({
        "command": "offer", "call-id": "same", "from-tag": "a", "sdp": sdp::audio(caller, 1, &[]),
        "direction": ["external", "internal"], "media echo": "backwards",
    }))?;
    let answer = sdp::audio(callee, 1, &[]);
    let reply = ask(json!({"command": "answer", "call-id": "same", "from-tag": "a", "to-tag": "b", "sdp": answer}))?;
    sdp::media_address(reply["sdp"].as_str().unwrap_or_default()).ok_or(format!("no address in {reply}"))
}
