//! The text protocol of rtpproxy, over UDP. `protocol-docs/rtpproxy.md` says what of it there is.
//!
//! Each of a call's streams is two participants, whose tags are the SIP tags with the stream's number: `U` is an offer of
//! one, `L` its answer.

mod message;

use super::reply_cache::{Admission, ReplyCache};
use super::udp::Datagrams;
use super::{Deliver, Service, sdpless};
use crate::base::time::Now;
use crate::ng::{Dictionary, Value};
use message::{CallName, Command, Sides};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tracing::{debug, info, warn};

/// The version that is spoken.
const VERSION: &str = "20040107";
/// Dates of features that are there.
const FEATURES: [&str; 3] = [VERSION, "20050322", "20060704"];
const FAILURE: &str = "E8";
/// `L` for what is not known.
const UNKNOWN: &str = "0 0.0.0.0";

/// All listeners of the protocol: they share one memory of replies.
pub struct RtpproxyFront {
    service: Arc<dyn Service>,
    /// How long a call lives without packets.
    timeout: Duration,
    cache: Mutex<ReplyCache>,
    clock: fn() -> Now,
}

impl RtpproxyFront {
    /// Hands requests to `service`; `clock` tells the time.
    pub fn new(service: Arc<dyn Service>, timeout: Duration, clock: fn() -> Now) -> Arc<RtpproxyFront> {
        Arc::new(RtpproxyFront { service, timeout, cache: Mutex::default(), clock })
    }

    /// Works off a command; `finish` is called with the reply.
    fn work(&self, command: Command, client: SocketAddr, finish: impl FnOnce(String) + Send + 'static) {
        match command {
            Command::Version => finish(VERSION.to_owned()),
            Command::Feature(date) => finish(u8::from(FEATURES.contains(&date.as_str())).to_string()),
            Command::Update(sides) => self.describe("offer", sides, client, finish),
            Command::Lookup(sides) => self.describe("answer", sides, client, finish),
            Command::Delete { call } => {
                info!(target: "control", call_id = call.call_id, "rtpproxy: received 'D' from {client}");
                sdpless::ask(&*self.service, &named("delete", &call), client, |reply| {
                    let is_known = sdpless::error(reply).is_none() && reply.get("warning").is_none();
                    finish(if is_known { "0" } else { FAILURE }.to_owned());
                });
            }
            Command::Query { call, from_tag, to_tag } => {
                let (timeout, clock) = (self.timeout, self.clock);
                sdpless::ask(&*self.service, &named("query", &call), client, move |reply| {
                    let tags = [Some(from_tag.as_str()), to_tag.as_deref()];
                    finish(statistics(reply, tags, timeout, clock()).unwrap_or_else(|| FAILURE.to_owned()));
                });
            }
        }
    }

    fn describe(
        &self,
        command: &'static str,
        sides: Sides,
        client: SocketAddr,
        finish: impl FnOnce(String) + Send + 'static,
    ) {
        info!(target: "control", call_id = sides.call.call_id, "rtpproxy: received {command} from {client}");
        let mut request = named(command, &sides.call);
        request.set("sdp", sdpless::body(&[sides.stream])).set("from-tag", sides.from_tag);
        if let Some(tag) = sides.to_tag {
            request.set("to-tag", tag);
        }
        if !sides.direction.is_empty() {
            request.set("direction", sides.direction.into_iter().collect::<Value>());
        }
        let flags = ["trust address"].into_iter().chain(sides.is_asymmetric.then_some("asymmetric"));
        request.set("flags", flags.collect::<Value>());
        sdpless::ask(&*self.service, &request, client, move |reply| {
            let shown = sdpless::shown(reply);
            finish(match (sdpless::error(reply), shown) {
                (None, Some((address, ports))) => {
                    let family = if address.is_ipv4() { 4 } else { 6 };
                    format!("{} {address} {family}", ports.first().copied().unwrap_or_default())
                }
                (Some("Unknown call-id"), _) => UNKNOWN.to_owned(),
                (error, _) => {
                    warn!(target: "control", "rtpproxy: {command} fails: {}", error.unwrap_or("no address"));
                    FAILURE.to_owned()
                }
            });
        });
    }

    fn cache(&self) -> MutexGuard<'_, ReplyCache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Datagrams for RtpproxyFront {
    fn datagram(self: Arc<Self>, datagram: &[u8], client: SocketAddr, deliver: Deliver) {
        let text = String::from_utf8_lossy(datagram);
        let Some((cookie, text)) = message::split(&text) else {
            debug!(target: "control", "rtpproxy: message without cookie from {client} is dropped");
            return;
        };
        let now = (self.clock)().mono;
        let admission = self.cache().admit(now, cookie.as_bytes(), deliver);
        match admission {
            Admission::New => {}
            Admission::Answered(reply, deliver) => return deliver(&reply),
            Admission::Waiting => return,
            Admission::Overload => {
                warn!(target: "control", "rtpproxy: too many requests in work; one from {client} is dropped");
                return;
            }
        }
        let (front, cookie) = (self.clone(), cookie.to_owned());
        let finish = move |reply: String| {
            let now = (front.clock)().mono;
            let reply = format!("{cookie} {reply}\n").into_bytes();
            let waiting = front.cache().finish(now, cookie.as_bytes(), &reply);
            waiting.into_iter().for_each(|deliver| deliver(&reply));
        };
        match message::parse(text) {
            Some(command) => self.work(command, client, finish),
            None => {
                warn!(target: "control", "rtpproxy: not understood, from {client}: {text:?}");
                finish(FAILURE.to_owned());
            }
        }
    }
}

fn named(command: &str, call: &CallName) -> Dictionary {
    let mut request = sdpless::request(command, &call.call_id);
    if let Some(branch) = &call.via_branch {
        request.set("via-branch", branch.as_str());
    }
    request
}

/// The remaining time in seconds; packets from the one side, from the other, sent, and dropped.
fn statistics(reply: &Dictionary, tags: [Option<&str>; 2], timeout: Duration, now: Now) -> Option<String> {
    let Some(Value::Dictionary(all)) = reply.get("tags") else { return None };
    let streams = |tag: &str| -> Vec<&Dictionary> {
        let medias = all.get(tag).and_then(Value::as_dictionary).map_or_else(Vec::new, |side| members(side, "medias"));
        // RTP comes first of a media's.
        medias.into_iter().filter_map(|media| members(media, "streams").first().copied()).collect()
    };
    let number = |stream: &Dictionary, table: &str, key: &str| {
        let table = stream.get(table).and_then(Value::as_dictionary);
        table.and_then(|table| table.get(key)).map(integer).unwrap_or_default()
    };
    let sides = tags.map(|tag| tag.map(streams).unwrap_or_default());
    let packets = |side: &[&Dictionary], table| side.iter().map(|stream| number(stream, table, "packets")).sum::<i64>();
    let [from, to] = [0, 1].map(|side: usize| packets(&sides[side], "stats"));
    let sent = sides.iter().map(|side| packets(side, "stats_out")).sum::<i64>();
    let last = sides.iter().flatten().filter_map(|stream| stream.get("last packet").map(integer)).max();
    let idle_s = now.unix.seconds() as i64 - last.unwrap_or_default();
    let left_s = (timeout.as_secs() as i64 - idle_s).max(0);
    Some(format!("{left_s} {from} {to} {sent} {}", (from + to - sent).max(0)))
}

fn members<'a>(dictionary: &'a Dictionary, key: &str) -> Vec<&'a Dictionary> {
    match dictionary.get(key) {
        Some(Value::List(list)) => list.iter().filter_map(Value::as_dictionary).collect(),
        _ => Vec::new(),
    }
}

fn integer(value: &Value) -> i64 {
    if let Value::Integer(number) = value { *number } else { 0 }
}

#[cfg(test)]
mod tests;
