//! Digits to whoever asked for them: as JSON, one datagram each.

use crate::control::request::Requests;
use crate::engine::PressedDigit;
use crate::ng::{Dictionary, Value};
use crate::wire::json;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, OnceLock, Weak};

/// Where digits go.
#[derive(Debug, Default)]
pub(super) struct Digits {
    /// Of all calls.
    destination: Option<SocketAddr>,
    /// The way to all connections of NG.
    requests: OnceLock<Weak<Requests>>,
    /// By family, opened when it is first needed.
    sockets: [OnceLock<Option<UdpSocket>>; 2],
}

impl Digits {
    pub(super) fn new(destination: Option<SocketAddr>) -> Digits {
        Digits { destination, ..Digits::default() }
    }

    /// Tells connections of NG, too, from now on.
    pub(super) fn push_to(&self, requests: &Arc<Requests>) {
        let _ = self.requests.set(Arc::downgrade(requests));
    }

    /// Tells of a digit. Never waits: what can't be sent is logged and lost.
    pub(super) fn tell(&self, digit: &PressedDigit) {
        let report = report(digit);
        let mut bytes = Vec::new();
        json::encode(&report, &mut bytes);
        if let Some(requests) = self.requests.get().and_then(Weak::upgrade) {
            requests.push().send(&Dictionary::new().with("notify", "onDTMF").with("data", report));
        }
        let own = digit.destination.filter(|own| self.destination != Some(*own));
        for destination in self.destination.into_iter().chain(own) {
            if let Err(error) = self.send(&bytes, destination) {
                let call_id = &digit.call_id;
                tracing::warn!(target: "core", call_id, "a digit was not reported to {destination}: {error}");
            }
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

/// A digit under rtpengine's names.
pub(super) fn report(digit: &PressedDigit) -> Dictionary {
    let mut report =
        Dictionary::new().with("callid", digit.call_id.as_str()).with("source_tag", digit.source_tag.as_str());
    if let Some(label) = &digit.source_label {
        report.set("source_label", label.as_str());
    }
    let tags: Value = digit.tags.iter().map(String::as_str).collect();
    report.set("tags", tags).set("type", "DTMF").set("timestamp", digit.timestamp_s);
    report.set("source_ip", digit.source_ip.map(|address| address.to_string()).unwrap_or_default());
    report.set("event", u64::from(digit.event)).set("duration", u64::from(digit.duration_ms));
    report.set("volume", u64::from(digit.volume));
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digit_is_reported_as_rtpengine_does() {
        let digit = PressedDigit {
            call_id: "c@x".to_owned(),
            source_tag: "a".to_owned(),
            source_label: None,
            tags: vec!["a".to_owned(), "b".to_owned()],
            source_ip: Some([10, 90, 1, 2].into()),
            timestamp_s: 1_795_170_244,
            event: 1,
            duration_ms: 280,
            volume: 10,
            destination: None,
        };
        let text = r#"{"callid":"c@x","source_tag":"a","tags":["a","b"],"type":"DTMF","timestamp":1795170244,"source_ip":"10.90.1.2","event":1,"duration":280,"volume":10}"#;
        let mut bytes = Vec::new();
        json::encode(&report(&digit), &mut bytes);
        assert_eq!(String::from_utf8(bytes).unwrap(), text);
    }

    #[test]
    fn it_arrives_at_all_who_asked() {
        let ears = [(); 2].map(|()| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let [all, own] = [0, 1].map(|ear: usize| ears[ear].local_addr().unwrap());
        let digit = PressedDigit {
            call_id: String::new(),
            source_tag: String::new(),
            source_label: Some("caller".to_owned()),
            tags: Vec::new(),
            source_ip: None,
            timestamp_s: 0,
            event: 11,
            duration_ms: 0,
            volume: 0,
            destination: Some(own),
        };
        Digits::new(Some(all)).tell(&digit);
        for ear in &ears {
            let mut bytes = [0; 512];
            let length = ear.recv(&mut bytes).unwrap();
            let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
            assert!(text.contains(r#""source_label":"caller""#) && text.contains(r#""event":11"#), "{text}");
        }
    }
}
