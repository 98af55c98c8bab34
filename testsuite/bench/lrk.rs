//! Calls by LRKProxy's protocol: the client gives the ports out, and says nothing when they are over.

use crate::control::check_interrupt;
use crate::forward::{CALLEE, CALLER, INSIDE, OUTSIDE};
use millrace_testsuite::daemon::Daemon;
use millrace_testsuite::netns::Namespace;
use std::io;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

/// The first port of the relay, two a call on each of its addresses.
const FIRST: u16 = 10_000;
const LAST: u16 = 60_999;
/// The ports of calls by NG, of which there are none.
pub const OTHER_PORTS: (u16, u16) = (61_000, 65_535);
const LISTEN: &str = "127.0.0.1:22333";
/// How long a call lives without packets; longer than it takes to set all up.
const IDLE: Duration = Duration::from_secs(30);
/// Requests under way: what the socket's buffer holds.
const WINDOW: usize = 64;
const PATIENCE: Duration = Duration::from_secs(2);

/// What the daemon is started with.
pub fn options() -> Vec<String> {
    vec![format!("--listen-lrk={LISTEN}"), format!("--lrk-port-min={FIRST}"), format!("--lrk-port-max={LAST}")]
}

/// Sets calls up between phones whose port is `phone`; where the callers and the callees send to.
pub fn set_up(proxy: &Namespace, calls: usize, phone: impl Fn(usize) -> u16) -> Result<Vec<(u16, u16)>, String> {
    let fault = |error: io::Error| format!("LRK: {error}");
    let socket = proxy.within(|| UdpSocket::bind("127.0.0.1:0")).and_then(|socket| socket).map_err(fault)?;
    socket.connect(LISTEN).and_then(|()| socket.set_read_timeout(Some(PATIENCE))).map_err(fault)?;
    let port = |number: usize| FIRST + 2 * number as u16;
    let numbers: Vec<usize> = (0..calls).collect();
    for window in numbers.chunks(WINDOW) {
        check_interrupt()?;
        for number in window {
            let (phone, port, idle) = (phone(*number), port(*number), IDLE.as_secs());
            let request = format!(
                "{number}_1 S {CALLER} {INSIDE} {OUTSIDE} {CALLEE} {phone} {port} {port} {phone} {idle} call-{number} "
            );
            socket.send(request.as_bytes()).map_err(fault)?;
        }
        let mut buffer = [0; 512];
        for _ in window {
            let bytes = socket.recv(&mut buffer).map_err(fault)?;
            if !buffer[..bytes].ends_with(b" OK") {
                return Err(format!("LRK: {}", String::from_utf8_lossy(&buffer[..bytes])));
            }
        }
    }
    Ok((0..calls).map(|number| (port(number), port(number))).collect())
}

/// Waits until every call has expired; how long that took.
pub fn expire(daemon: &Daemon) -> Result<Duration, String> {
    let began = Instant::now();
    while began.elapsed() < IDLE + Duration::from_secs(15) {
        check_interrupt()?;
        if daemon.cli("list numsessions")?.contains("Current sessions own: 0\n") {
            return Ok(began.elapsed());
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    Err(format!("calls are left: {}", daemon.cli("list numsessions")?))
}
