//! Calls as MQTT subscribers read them: one JSON object a call, with its parties, medias and sources.

use super::query::codec_in_use;
use crate::call::{Call, Media};
use crate::relay::{Relay, Stream};
use crate::rtp::Source;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// What a source's counters were when it was told of last; from it come rates.
type Counters = [(&'static str, i64); 5];

/// What was told last, by call and source.
#[derive(Debug, Default)]
pub struct Told(HashMap<u64, Counters>);

/// A call as it is now. `interface` gives the name of an address's interface. Rates are filled in by [`Told::add_rates`].
pub fn call(call: &Call, relay: &Relay, interface: &dyn Fn(std::net::IpAddr) -> String) -> Value {
    let legs: Vec<Value> = call
        .participants()
        .map(|(id, participant)| {
            let medias = participant.medias.iter().map(|id| media(call.media(*id), relay, interface));
            let mut leg = json!({"tag": participant.display_tag(id), "medias": medias.collect::<Vec<_>>()});
            if let Some(label) = &participant.label {
                leg["label"] = json!(label);
            }
            leg
        })
        .collect();
    json!({"call_id": call.id, "legs": legs})
}

fn media(media: &Media, relay: &Relay, interface: &dyn Fn(std::net::IpAddr) -> String) -> Value {
    let mut report = json!({
        "media_index": media.index, "type": media.kind, "protocol": media.protocol.as_ref().map(ToString::to_string),
        // Nothing is transcoded.
        "transcoding": false,
    });
    let Some(stream) = media.rtp_stream.and_then(|id| relay.stream(id)) else {
        report["status"] = json!("inactive");
        return report;
    };
    let status = match (media.direction.sends(), media.direction.receives()) {
        (true, true) => "sendrecv",
        (true, false) => "sendonly",
        (false, true) => "recvonly",
        (false, false) => "inactive",
    };
    let local = stream.local();
    report["status"] = json!(status);
    report["interface"] = json!(interface(local.ip()));
    report["address"] = json!(local.ip().to_string());
    report["port"] = json!(local.port());
    if let Some(remote) = stream.remote() {
        report["endpoint_address"] = json!(remote.ip().to_string());
        report["endpoint_port"] = json!(remote.port());
    }
    if let Some(suite) = stream.suite() {
        report["crypto_suite"] = json!(suite);
    }
    report["ingress"] = stream.sources().iter().map(|source| ingress(media, stream, source)).collect();
    let egress = stream.outgoing().iter();
    report["egress"] = egress
        .map(|outgoing| {
            json!({"SSRC": outgoing.ssrc(), "metrics": {"packets": outgoing.packets(), "bytes": outgoing.bytes()}})
        })
        .collect();
    report
}

fn ingress(media: &Media, stream: &Stream, source: &Source) -> Value {
    let mut metrics = json!({
        "packets": source.packets(), "bytes": source.bytes(), "lost": source.lost(), "duplicates": source.duplicates(),
    });
    if let Some(jitter_ms) = source.jitter_ms() {
        metrics["jitter"] = json!(jitter_ms);
    }
    if let Some(quality) = source.quality().filter(|quality| quality.is_reported()) {
        metrics["lost_rtcp"] = json!(quality.cumulative_lost());
        if let Some(last) = quality.progression().last() {
            metrics["MOS"] = json!(f64::from(last.report.mos_tenths) / 10.0);
            metrics["RTT"] = json!(last.report.round_trip_us);
            metrics["RTT_leg"] = json!(last.report.round_trip_leg_us);
        }
    }
    let mut report = json!({"SSRC": source.ssrc(), "clock_rate": source.clock_rate_hz(), "metrics": metrics});
    let codec = media.codecs.iter().find(|codec| codec.payload_type == source.payload_type());
    if let Some(name) = codec_in_use(media, stream) {
        report["codec"] = json!(name.split('/').next());
    }
    if let Some(codec) = codec {
        report["codec_params"] = json!(codec.channels.to_string());
        report["codec_format"] = json!(codec.parameters.as_deref().unwrap_or_default());
    }
    report
}

const COUNTED: [&str; 5] = ["packets", "bytes", "lost", "lost_rtcp", "duplicates"];

impl Told {
    /// Adds to each source of `calls`, which are all calls, what its counters have grown by a second since the last time,
    /// `between` ago. What was not told of before has no rates.
    pub fn add_rates(&mut self, calls: &mut [Value], between: Duration) {
        let seconds = between.as_secs_f64().max(0.001);
        let mut now = HashMap::with_capacity(self.0.len());
        for call in calls {
            let id = call["call_id"].as_str().unwrap_or_default().to_owned();
            for leg in members(call, "legs") {
                let tag = leg["tag"].as_str().unwrap_or_default().to_owned();
                for media in members(leg, "medias") {
                    let index = media["media_index"].as_u64();
                    for way in ["ingress", "egress"] {
                        for source in members(media, way) {
                            let mut hasher = DefaultHasher::new();
                            (&id, &tag, index, way, source["SSRC"].as_u64()).hash(&mut hasher);
                            let Some(metrics) = source["metrics"].as_object_mut() else { continue };
                            let counters = COUNTED.map(|name| (name, count(metrics, name)));
                            let key = hasher.finish();
                            if let Some(before) = self.0.get(&key) {
                                add(metrics, &counters, before, seconds);
                            }
                            now.insert(key, counters);
                        }
                    }
                }
            }
        }
        self.0 = now;
    }
}

fn members<'a>(value: &'a mut Value, key: &str) -> impl Iterator<Item = &'a mut Value> {
    value.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten()
}

fn count(metrics: &Map<String, Value>, name: &str) -> i64 {
    metrics.get(name).and_then(Value::as_i64).unwrap_or_default()
}

fn add(metrics: &mut Map<String, Value>, now: &Counters, before: &Counters, seconds: f64) {
    for ((name, now), (_, before)) in now.iter().zip(before) {
        if metrics.contains_key(*name) {
            metrics.insert(format!("{name}_per_second"), json!((now - before) as f64 / seconds));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_what_counters_grew_by() {
        let calls = |packets: u64| {
            let source = json!({"SSRC": 7, "metrics": {"packets": packets, "bytes": packets * 100}});
            vec![json!({"call_id": "a", "legs": [{"tag": "t", "medias": [{"media_index": 1, "ingress": [source]}]}]})]
        };
        let mut told = Told::default();
        let mut first = calls(10);
        told.add_rates(&mut first, Duration::ZERO);
        assert_eq!(first, calls(10));
        let mut second = calls(30);
        told.add_rates(&mut second, Duration::from_secs(2));
        let metrics = &second[0]["legs"][0]["medias"][0]["ingress"][0]["metrics"];
        assert_eq!((&metrics["packets_per_second"], &metrics["bytes_per_second"]), (&json!(10.0), &json!(1000.0)));
        assert_eq!(metrics.get("lost_per_second"), None);
        told.add_rates(&mut [], Duration::from_secs(1));
        assert!(told.0.is_empty());
    }
}
