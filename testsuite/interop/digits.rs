//! Digits that a caller presses come to whoever asked for them, once each, while the call goes on in the kernel.

use crate::Scenario;
use crate::cover::Cover;
use crate::fastpath::{self, PCMA, packet, set_up};
use crate::scenarios::at;
use crate::sip::Role;
use crate::stage::{CALLEE, CALLER, Networks, start_daemon_with};
use millrace::wire::rtp::Header;
use millrace_testsuite::daemon::Kind;
use millrace_testsuite::ng::Encoding;
use serde_json::Value;
use std::net::UdpSocket;
use std::path::Path;
use std::time::Duration;

pub const ALL: &[Scenario] = &[Scenario {
    name: "digits",
    what: "digits are reported once each, while audio stays in the kernel",
    needs: fastpath::ours,
    run,
}];

const EVENT: u8 = 101;
const PACE: Duration = Duration::from_millis(5);
/// 1, 2, * and #.
const DIGITS: [u8; 4] = [1, 2, 10, 11];

fn run(kind: Kind, folder: &Path) -> Result<String, String> {
    let networks = Networks::make()?;
    let ear = networks.proxy.within(|| UdpSocket::bind("127.0.0.1:0")).and_then(|socket| socket);
    let ear = ear.map_err(|error| error.to_string())?;
    ear.set_read_timeout(Some(Duration::from_secs(2))).map_err(|error| error.to_string())?;
    let to = ear.local_addr().map_err(|error| error.to_string())?;
    let daemon = start_daemon_with(&networks, kind, &format!("--dtmf-log-dest={to}"), folder)?;
    let mut client = daemon.client(Encoding::Bencode)?;
    let (caller, callee) = (at(CALLER, 6000)?, at(CALLEE, 7000)?);
    let ([port, _], _) = set_up(&mut client, caller, callee, Cover::None)?;
    let mouth = networks.socket(Role::Caller, caller)?;
    let listener = networks.socket(Role::Callee, callee)?;
    listener.set_nonblocking(true).map_err(|error| error.to_string())?;
    let (mut sequence, mut heard) = (0, 0);
    // What waits takes more of the system's room than its own length.
    let mut drain = || {
        let mut bytes = [0; 2048];
        while listener.recv(&mut bytes).is_ok() {
            heard += 1;
        }
        heard
    };
    let mut say = |datagram: &dyn Fn(u16) -> Vec<u8>| -> Result<(), String> {
        mouth.send_to(&datagram(sequence), port).map_err(|error| error.to_string())?;
        sequence += 1;
        std::thread::sleep(PACE);
        drain();
        Ok(())
    };
    for _ in 0..100 {
        say(&|number| packet(number, PCMA, &[0xd5; 160]))?;
    }
    for digit in DIGITS {
        let timestamp = 100_000 + u32::from(digit) * 8000;
        let event = |end: u8, duration: u16| {
            move |sequence: u16| {
                let [high, low] = duration.to_be_bytes();
                let header = Header { marker: false, payload_type: EVENT, sequence, timestamp, ssrc: fastpath::SSRC };
                header.write(&[digit, end | 10, high, low])
            }
        };
        for duration in [160, 320, 480] {
            say(&event(0, duration))?;
        }
        for _ in 0..3 {
            say(&event(0x80, 640))?;
        }
        for _ in 0..20 {
            say(&|number| packet(number, PCMA, &[0xd5; 160]))?;
        }
    }
    let way = fastpath::caller_way(&mut client)?;
    if way != "xdp" {
        return Err(format!("audio goes by {way}"));
    }
    let told = (0..DIGITS.len()).map(|_| hear(&ear)).collect::<Result<Vec<Value>, String>>()?;
    DIGITS.iter().zip(&told).try_for_each(|(digit, told)| compare(*digit, told))?;
    ear.set_read_timeout(Some(Duration::from_millis(200))).map_err(|error| error.to_string())?;
    if let Ok(more) = hear(&ear) {
        return Err(format!("one more was reported: {more}"));
    }
    let heard = drain();
    if heard != sequence {
        return Err(format!("the callee got {heard} of {sequence} packets"));
    }
    Ok(format!("{} digits of 6 packets each, {heard} of {sequence} packets arrived", told.len()))
}

fn compare(digit: u8, told: &Value) -> Result<(), String> {
    let is_right = told["event"] == digit && told["duration"] == 80 && told["volume"] == 10;
    let is_of_call = told["callid"] == "same" && told["source_tag"] == "a" && told["source_ip"] == CALLER;
    match is_right && is_of_call && told["type"] == "DTMF" {
        true => Ok(()),
        false => Err(format!("digit {digit} is reported as {told}")),
    }
}

fn hear(ear: &UdpSocket) -> Result<Value, String> {
    let mut bytes = [0; 4096];
    let length = ear.recv(&mut bytes).map_err(|error| format!("no digit was reported: {error}"))?;
    serde_json::from_slice(&bytes[..length]).map_err(|error| error.to_string())
}
