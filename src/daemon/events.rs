//! What happens to calls, to the log and to whoever asked: as JSON, one datagram each, and to connections of NG.

use super::export::callbacks::Callbacks;
use crate::config;
use crate::control::request::Requests;
use crate::engine::{AffectedMedia, Event, Happening};
use crate::ng::{Dictionary, Value};
use crate::wire::json;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, OnceLock, Weak};

/// Where events go.
#[derive(Debug, Default)]
pub(super) struct Events {
    config: config::events::Events,
    /// The way to all connections of NG.
    requests: OnceLock<Weak<Requests>>,
    callbacks: OnceLock<Callbacks>,
    /// By family, opened when it is first needed.
    sockets: [OnceLock<Option<UdpSocket>>; 2],
}

impl Events {
    pub(super) fn new(config: &config::events::Events) -> Events {
        Events { config: config.clone(), ..Events::default() }
    }

    /// Tells connections of NG, too, from now on, where they are to be told.
    pub(super) fn push_to(&self, requests: &Arc<Requests>) {
        let _ = self.requests.set(Arc::downgrade(requests));
    }

    /// Calls a server, too, from now on.
    pub(super) fn call_back(&self, callbacks: Callbacks) {
        let _ = self.callbacks.set(callbacks);
    }

    /// Tells of an event. Never waits: what can't be sent is logged and lost.
    pub(super) fn tell(&self, event: &Event) {
        log(event);
        let (all, pushes, own) = match &event.happening {
            Happening::Digit(digit) => (self.config.digits, self.config.pushes_digits, digit.destination),
            _ => (self.config.others, self.config.pushes_others, None),
        };
        let own = own.filter(|own| all != Some(*own));
        let requests = self.requests.get().filter(|_| pushes).and_then(Weak::upgrade);
        if let (Happening::TimedOut(timed_out), Some(callbacks)) = (&event.happening, self.callbacks.get()) {
            callbacks.timed_out(event, timed_out);
        }
        if all.is_none() && own.is_none() && requests.is_none() {
            return;
        }
        let report = report(event);
        let mut bytes = Vec::new();
        json::encode(&report, &mut bytes);
        for destination in all.into_iter().chain(own) {
            if let Err(error) = self.send(&bytes, destination) {
                let call_id = &event.call_id;
                tracing::warn!(target: "core", call_id, "an event was not reported to {destination}: {error}");
            }
        }
        if let Some(requests) = requests {
            requests.push().send(&Dictionary::new().with("notify", names(event).1).with("data", report));
        }
    }

    fn send(&self, bytes: &[u8], destination: SocketAddr) -> io::Result<()> {
        let open = || {
            let any: IpAddr = match destination {
                SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
            };
            let socket = UdpSocket::bind((any, 0)).ok()?;
            socket.set_nonblocking(true).ok()?;
            Some(socket)
        };
        let socket = self.sockets[usize::from(destination.is_ipv6())].get_or_init(open).as_ref();
        socket.ok_or(io::ErrorKind::AddrNotAvailable)?.send_to(bytes, destination)?;
        Ok(())
    }
}

/// The type of an event, and what a notification of it is called.
fn names(event: &Event) -> (&'static str, &'static str) {
    match &event.happening {
        Happening::Digit(_) => ("DTMF", "onDTMF"),
        Happening::FirstPacket { .. } => ("first-packet", "onFirstPacket"),
        Happening::OneWay { .. } => ("one-way", "onOneWay"),
        Happening::BothWays(_) => ("both-ways", "onBothWays"),
        Happening::TimedOut(_) => ("timeout", "onTimeout"),
    }
}

/// What an operator who looks for missing audio wants to read. Digits are nobody's business, and the end of a call is told
/// with its other figures.
fn log(event: &Event) {
    let call_id = &event.call_id;
    let tag = event.source.as_ref().map_or("", |source| &source.tag);
    match &event.happening {
        Happening::FirstPacket { media: AffectedMedia { index, kind }, .. } => {
            tracing::debug!(target: "core", call_id, "the first packet of `{tag}` has come, m= line {index} ({kind})");
        }
        Happening::OneWay { media: AffectedMedia { index, kind }, silent_ms } => tracing::info!(
            target: "core",
            call_id,
            "one-way: `{tag}` has sent nothing for {} s, m= line {index} ({kind}); the other side has",
            silent_ms / 1000
        ),
        Happening::BothWays(AffectedMedia { index, kind }) => {
            tracing::info!(target: "core", call_id, "both ways: `{tag}` sends, m= line {index} ({kind})");
        }
        Happening::Digit(_) | Happening::TimedOut(_) => {}
    }
}

/// An event under rtpengine's names, where it has some.
fn report(event: &Event) -> Dictionary {
    let mut report = Dictionary::new().with("callid", event.call_id.as_str());
    if let Some(source) = &event.source {
        report.set("source_tag", source.tag.as_str());
        if let Some(label) = &source.label {
            report.set("source_label", label.as_str());
        }
    }
    let tags: Value = event.tags.iter().map(String::as_str).collect();
    report.set("tags", tags).set("type", names(event).0).set("timestamp", event.timestamp_s);
    let address = event.source.as_ref().and_then(|source| source.address);
    if event.source.is_some() {
        report.set("source_ip", address.map(|address| address.ip().to_string()).unwrap_or_default());
    }
    match &event.happening {
        Happening::Digit(digit) => {
            report.set("event", u64::from(digit.event)).set("duration", u64::from(digit.duration_ms));
            report.set("volume", u64::from(digit.volume));
        }
        Happening::FirstPacket { media, ssrc } => {
            report.set("source_port", u64::from(address.map_or(0, |address| address.port())));
            put_media(&mut report, media);
            if let Some(ssrc) = ssrc {
                report.set("ssrc", u64::from(*ssrc));
            }
        }
        Happening::OneWay { media, silent_ms } => {
            put_media(&mut report, media);
            report.set("silent", *silent_ms);
        }
        Happening::BothWays(media) => put_media(&mut report, media),
        Happening::TimedOut(timed_out) => {
            report.set("reason", timed_out.termination.name()).set("duration", timed_out.duration_ms);
        }
    }
    report
}

fn put_media(report: &mut Dictionary, media: &AffectedMedia) {
    report.set("media", media.index as u64).set("kind", media.kind.as_str());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::lifecycle::Termination;
    use crate::engine::{EventSource, PressedDigit, TimedOut};

    fn event(happening: Happening) -> Event {
        let source = EventSource { tag: "a".to_owned(), label: None, address: Some(([10, 90, 1, 2], 4000).into()) };
        let source = (!matches!(happening, Happening::TimedOut(_))).then_some(source);
        let tags = vec!["a".to_owned(), "b".to_owned()];
        Event { call_id: "c@x".to_owned(), tags, timestamp_s: 1_795_170_244, source, happening }
    }

    fn digit(destination: Option<SocketAddr>) -> Event {
        event(Happening::Digit(PressedDigit { event: 1, duration_ms: 280, volume: 10, destination }))
    }

    #[test]
    fn a_digit_is_reported_as_rtpengine_does() {
        let text = r#"{"callid":"c@x","source_tag":"a","tags":["a","b"],"type":"DTMF","timestamp":1795170244,"source_ip":"10.90.1.2","event":1,"duration":280,"volume":10}"#;
        assert_eq!(json_of(&digit(None)), text);
    }

    #[test]
    fn media_and_timeouts_are_reported_under_the_same_names() {
        let media = || AffectedMedia { index: 1, kind: "audio".to_owned() };
        let begin = r#"{"callid":"c@x","source_tag":"a","tags":["a","b"],"type":"#;
        let first = event(Happening::FirstPacket { media: media(), ssrc: Some(7) });
        let rest = r#""first-packet","timestamp":1795170244,"source_ip":"10.90.1.2","source_port":4000,"media":1,"kind":"audio","ssrc":7}"#;
        assert_eq!(json_of(&first), format!("{begin}{rest}"));
        let one_way = event(Happening::OneWay { media: media(), silent_ms: 10_000 });
        let rest =
            r#""one-way","timestamp":1795170244,"source_ip":"10.90.1.2","media":1,"kind":"audio","silent":10000}"#;
        assert_eq!(json_of(&one_way), format!("{begin}{rest}"));
        let termination = Termination::SilentTimeout;
        let timed_out = TimedOut { termination, duration_ms: 5000, dialogues: Vec::new(), proxy: None };
        let text = r#"{"callid":"c@x","tags":["a","b"],"type":"timeout","timestamp":1795170244,"reason":"SILENT_TIMEOUT","duration":5000}"#;
        assert_eq!(json_of(&event(Happening::TimedOut(timed_out))), text);
    }

    fn json_of(event: &Event) -> String {
        let mut bytes = Vec::new();
        json::encode(&report(event), &mut bytes);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn it_arrives_at_all_who_asked_for_its_kind() {
        let ears = [(); 3].map(|()| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let [digits, own, others] = [0, 1, 2].map(|ear: usize| ears[ear].local_addr().unwrap());
        let config =
            config::events::Events { digits: Some(digits), others: Some(others), ..config::events::Events::default() };
        let events = Events::new(&config);
        events.tell(&digit(Some(own)));
        events.tell(&event(Happening::BothWays(AffectedMedia { index: 2, kind: "video".to_owned() })));
        for (ear, kind) in ears.iter().zip(["DTMF", "DTMF", "both-ways"]) {
            let mut bytes = [0; 512];
            let length = ear.recv(&mut bytes).unwrap();
            let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
            assert!(text.contains(&format!(r#""type":"{kind}""#)), "{text}");
            ear.set_nonblocking(true).unwrap();
            assert!(ear.recv(&mut bytes).is_err(), "more than it asked for");
        }
    }
}
