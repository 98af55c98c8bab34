//! More datagrams to one port than anybody can read.

use crate::stage::{ATTACKER, Stage, settings};
use crate::{Answers, Scenario};
use millrace::base::suite::Suite;
use millrace_testsuite::peer::{Keying, drive};
use serde_json::json;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

pub const ALL: &[Scenario] = &[Scenario {
    name: "flood",
    what: "RTP to one port as fast as a host can, while another call talks",
    expected: "the other call does not notice",
    answers: Answers::None,
    run: flood,
}];

const TALK: Duration = Duration::from_secs(4);
/// Less would be no flood.
const LEAST_SENT: u64 = 100_000;

fn flood(stage: &mut Stage) -> Result<String, String> {
    let settings = settings(Keying::Sdes(vec![Suite::AesCm128Sha1_80]));
    let flooded = stage.connected(&settings, &json!({}))?;
    let to = flooded.caller.remote().ok_or("no description")?.media;
    let mut calls = [stage.connected(&settings, &json!({}))?];
    let sprayer = Flooder::start(stage.attacker(&format!("{ATTACKER}:5555"))?, to);
    let used = stage.daemon.cpu_time()?;
    drive(&mut calls, TALK, true, &mut |_| {});
    let cpu = (stage.daemon.cpu_time()? - used).as_secs_f64() / TALK.as_secs_f64();
    let sent = sprayer.stop();
    // What was sent last is still on its way.
    drive(&mut calls, Duration::from_millis(200), false, &mut |_| {});
    let [call] = &calls;
    let (lost, said) = (call.lost(), call.caller.said + call.callee.said);
    let note = format!("{sent} sent, {lost} of {said} lost, {:.0} % of a core, {}", cpu * 100.0, stage.drops()?);
    match sent >= LEAST_SENT && lost == 0 && call.foreign() == 0 {
        true => Ok(note),
        false => Err(note),
    }
}

struct Flooder {
    ends: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Flooder {
    fn start(socket: UdpSocket, to: SocketAddr) -> Flooder {
        let ends = Arc::new(AtomicBool::new(false));
        let told = ends.clone();
        let thread = std::thread::spawn(move || {
            let mut packet = [0xd5; 172];
            packet[..2].copy_from_slice(&[0x80, 8]);
            let mut sent = 0u64;
            while !told.load(Ordering::Relaxed) {
                packet[2..4].copy_from_slice(&(sent as u16).to_be_bytes());
                sent += u64::from(socket.send_to(&packet, to).is_ok());
            }
            sent
        });
        Flooder { ends, thread }
    }

    /// How many it sent.
    fn stop(self) -> u64 {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or(0)
    }
}
