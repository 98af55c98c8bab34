//! Calls through the control protocol: one after the other, and many at once.

use crate::load::{Endpoints, Load};
use millrace_testsuite::daemon::Daemon;
use millrace_testsuite::histogram::Histogram;
use millrace_testsuite::ng::{self, Client, Encoding};
use millrace_testsuite::sdp;
use millrace_testsuite::system::{interrupted, now_ns};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

/// A control connection that names its calls.
pub struct Control {
    client: Client,
    address: SocketAddr,
}

impl Control {
    /// Connects to the daemon.
    pub fn of(daemon: &Daemon) -> Result<Control, String> {
        Ok(Control { client: daemon.client(Encoding::Bencode)?, address: daemon.control_address() })
    }

    /// The reply to a request that has to succeed.
    pub fn ask(&mut self, request: &Value) -> Result<Value, String> {
        let reply = self.client.ask(request).map_err(|error| error.to_string())?;
        if reply["result"] == "ok" {
            Ok(reply)
        } else {
            Err(format!("{} of call {}: {reply}", request["command"], request["call-id"]))
        }
    }

    /// Offer and answer of call `number`; where the callee's and the caller's packets go to.
    pub fn set_up(
        &mut self,
        number: usize,
        caller: SocketAddr,
        callee: SocketAddr,
    ) -> Result<(SocketAddr, SocketAddr), String> {
        let for_callee = self.ask(&offer(number, caller))?;
        let for_caller = self.ask(&answer(number, callee))?;
        let address = |reply: &Value| {
            sdp::media_address(reply["sdp"].as_str().unwrap_or_default()).ok_or(format!("no address in {reply}"))
        };
        Ok((address(&for_callee)?, address(&for_caller)?))
    }

    /// Ends call `number` at once.
    pub fn delete(&mut self, number: usize) -> Result<(), String> {
        self.ask(&delete(number)).map(drop)
    }

    /// Sets up `count` calls and adds their flows to the load.
    pub fn open_calls(&mut self, count: usize, endpoints: &Endpoints, load: &mut Load) -> Result<(), String> {
        for number in 0..count {
            let (caller, callee) = (2 * number, 2 * number + 1);
            let (from_callee, from_caller) =
                self.set_up(number, endpoints.address(caller), endpoints.address(callee))?;
            load.add_flow(caller, from_caller);
            load.add_flow(callee, from_callee);
            check_interrupt()?;
        }
        Ok(())
    }

    /// Ends calls 0 to `count`.
    pub fn close_calls(&mut self, count: usize) -> Result<(), String> {
        (0..count).try_for_each(|number| self.delete(number))
    }

    /// Offer, answer and delete, `count` times.
    pub fn cycle(&mut self, count: usize, endpoints: &Endpoints) -> Result<(), String> {
        (0..count).try_for_each(|number| {
            check_interrupt()?;
            self.set_up(number, endpoints.address(2 * number), endpoints.address(2 * number + 1))?;
            self.delete(number)
        })
    }

    /// Offer, answer and delete, `count` times, each command with `window` calls in flight.
    pub fn cycle_pipelined(&self, count: usize, endpoints: &Endpoints, window: usize) -> Result<(), String> {
        let caller = |number: usize| endpoints.address(2 * number);
        let callee = |number: usize| endpoints.address(2 * number + 1);
        let to = self.address;
        for first in (0..count).step_by(window) {
            let calls = || first..count.min(first + window);
            pipeline(to, calls().map(|number| offer(number, caller(number))), window)?;
            pipeline(to, calls().map(|number| answer(number, callee(number))), window)?;
            pipeline(to, calls().map(delete), window)?;
        }
        Ok(())
    }

    /// The time one request takes.
    pub fn time(&mut self, request: &Value) -> Result<u64, String> {
        let before = now_ns();
        let reply = self.client.ask(request).map_err(|error| error.to_string())?;
        let took = now_ns() - before;
        if reply["result"] == "error" { Err(format!("{request}: {reply}")) } else { Ok(took) }
    }
}

/// An error when the user asked to stop.
pub fn check_interrupt() -> Result<(), String> {
    if interrupted() { Err("interrupted".into()) } else { Ok(()) }
}

/// The offer of a call.
pub fn offer(number: usize, caller: SocketAddr) -> Value {
    json!({"command": "offer", "call-id": call_id(number), "from-tag": "a", "sdp": sdp::audio(caller, 1, &[])})
}

/// The answer to the offer of a call.
pub fn answer(number: usize, callee: SocketAddr) -> Value {
    let sdp = sdp::audio(callee, 1, &[]);
    json!({"command": "answer", "call-id": call_id(number), "from-tag": "a", "to-tag": "b", "sdp": sdp})
}

/// The delete of a call.
pub fn delete(number: usize) -> Value {
    json!({"command": "delete", "call-id": call_id(number), "from-tag": "a", "delete delay": 0})
}

/// The query of a call.
pub fn query(number: usize) -> Value {
    json!({"command": "query", "call-id": call_id(number)})
}

fn call_id(number: usize) -> String {
    format!("bench-call-{number}")
}

/// How fast many requests at once are answered.
pub struct Throughput {
    pub per_second: f64,
    pub reply_times: Histogram,
}

/// Sends `requests` with `window` of them in flight.
pub fn pipeline(to: SocketAddr, requests: impl Iterator<Item = Value>, window: usize) -> Result<Throughput, String> {
    let fault = |error: std::io::Error| error.to_string();
    let socket = UdpSocket::bind("127.0.0.1:0").map_err(fault)?;
    socket.connect(to).map_err(fault)?;
    socket.set_read_timeout(Some(Duration::from_secs(3))).map_err(fault)?;
    // Encoded beforehand, so that the client's own work does not count.
    let datagrams: Vec<(String, Vec<u8>)> = requests.map(|request| datagram(&request)).collect();
    let mut waiting: HashMap<&str, u64> = HashMap::new();
    let mut reply_times = Histogram::default();
    let mut buffer = vec![0; 65_536];
    let (start, mut next) = (now_ns(), 0);
    while next < datagrams.len() || !waiting.is_empty() {
        check_interrupt()?;
        while next < datagrams.len() && waiting.len() < window {
            waiting.insert(&datagrams[next].0, now_ns());
            socket.send(&datagrams[next].1).map_err(fault)?;
            next += 1;
        }
        let size =
            socket.recv(&mut buffer).map_err(|_| format!("no reply to one of {} requests in 3 s", waiting.len()))?;
        let at = now_ns();
        let (cookie, body) = buffer[..size].split_at(buffer[..size].iter().position(|byte| *byte == b' ').unwrap_or(0));
        let Some(sent) = std::str::from_utf8(cookie).ok().and_then(|cookie| waiting.remove(cookie)) else { continue };
        reply_times.add(at - sent);
        if !body.windows(12).any(|part| part == b"6:result2:ok") {
            return Err(format!("a request was refused: {}", String::from_utf8_lossy(body)));
        }
    }
    let seconds = (now_ns() - start) as f64 / 1e9;
    Ok(Throughput { per_second: datagrams.len() as f64 / seconds, reply_times })
}

/// A request with its cookie.
fn datagram(request: &Value) -> (String, Vec<u8>) {
    let cookie = ng::new_cookie();
    let mut bytes = format!("{cookie} ").into_bytes();
    ng::encode(request, &mut bytes);
    (cookie, bytes)
}
