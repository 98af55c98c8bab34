//! The statistics of a call as `query` and `delete` report them.

use crate::base::address::Family;
use crate::base::recheck::Recheck;
use crate::call::security::Keying;
use crate::call::{Call, Media, Participant, ParticipantId};
use crate::fastpath::reason::Reason;
use crate::relay::{Relay, Stream, Traffic};
use crate::rtp::Source;
use crate::rtp::mos::Report;
use crate::rtp::quality::{Entry, Quality};
use crate::wire::value::{Dictionary, Value};
use std::net::SocketAddr;

/// Where a report tells of SSRCs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SsrcReporting {
    /// In the dictionary `SSRC` and in the lists of medias.
    #[default]
    Full,
    /// In the lists of medias.
    Inline,
    /// In the dictionary; the lists of medias have numbers alone.
    Global,
    /// Nowhere.
    None,
}

impl SsrcReporting {
    fn has_dictionary(self) -> bool {
        matches!(self, SsrcReporting::Full | SsrcReporting::Global)
    }

    /// A list of a media, out of full entries.
    fn list(self, entries: impl Iterator<Item = Dictionary>) -> Value {
        match self {
            SsrcReporting::Full | SsrcReporting::Inline => entries.collect(),
            SsrcReporting::Global => {
                let number =
                    |entry: Dictionary| Dictionary(entry.0.into_iter().filter(|(key, _)| key == "SSRC").collect());
                entries.map(number).collect()
            }
            SsrcReporting::None => Value::List(Vec::new()),
        }
    }
}

/// The report over `reported`, or over every participant when there is none to choose.
pub fn query(call: &Call, relay: &Relay, reported: Option<&[ParticipantId]>, ssrcs: SsrcReporting) -> Dictionary {
    let is_reported = |id: &ParticipantId| reported.is_none_or(|list| list.contains(id));
    let participants: Vec<(ParticipantId, &Participant)> =
        call.participants().filter(|(id, _)| is_reported(id)).collect();
    let mut report = head(call);
    let (mut sources, mut tags) = (Dictionary::new(), Dictionary::new());
    let (mut rtp, mut rtcp) = (Traffic::default(), Traffic::default());
    for (id, participant) in participants {
        for media in participant.medias.iter().map(|media| call.media(*media)) {
            if let Some(stream) = stream(relay, media.rtp_stream) {
                add(&mut rtp, stream.received());
                for source in stream.sources().iter().filter(|_| ssrcs.has_dictionary()) {
                    sources.set(source.ssrc().to_string(), source_report(source));
                }
            }
            if let Some(stream) = stream(relay, media.rtcp_stream) {
                add(&mut rtcp, stream.received());
            }
        }
        tags.set(participant.display_tag(id), participant_report(call, relay, id, participant, ssrcs));
    }
    if ssrcs.has_dictionary() {
        report.set("SSRC", sources);
    }
    report.set("tags", tags);
    report.set("totals", Dictionary::new().with("RTP", traffic(rtp)).with("RTCP", traffic(rtcp)));
    report
}

fn head(call: &Call) -> Dictionary {
    let created = call.created.unix;
    let mut report = Dictionary::new()
        .with("created", created.seconds())
        .with("created_us", created.microseconds_part())
        .with("created_ts", created.0)
        .with("last signal", call.last_signal.unix.seconds())
        .with("last redis update", 0);
    if let Some(metadata) = &call.metadata {
        report.set("metadata", metadata.as_str());
    }
    report
}

fn stream(relay: &Relay, id: Option<crate::base::id::StreamId>) -> Option<&Stream> {
    relay.stream(id?)
}

fn add(sum: &mut Traffic, traffic: Traffic) {
    sum.packets += traffic.packets;
    sum.bytes += traffic.bytes;
    sum.errors += traffic.errors;
}

fn traffic(traffic: Traffic) -> Dictionary {
    Dictionary::new().with("packets", traffic.packets).with("bytes", traffic.bytes).with("errors", traffic.errors)
}

fn participant_report(
    call: &Call,
    relay: &Relay,
    id: ParticipantId,
    participant: &Participant,
    ssrcs: SsrcReporting,
) -> Dictionary {
    let mut report = Dictionary::new();
    if let Some(tag) = &participant.tag {
        report.set("tag", tag.as_str());
    }
    if !participant.aliases.is_empty() {
        report.set("tag-aliases", participant.aliases.clone());
    }
    let texts =
        [("via-branch", &participant.via_branch), ("label", &participant.label), ("metadata", &participant.metadata)];
    for (key, text) in texts {
        if let Some(text) = text {
            report.set(key, text.as_str());
        }
    }
    let related = |list: Vec<(ParticipantId, crate::call::SubscriptionKind)>| -> Value {
        let entry = |(other, kind): (ParticipantId, crate::call::SubscriptionKind)| {
            Dictionary::new().with("tag", call.participant(other).display_tag(other)).with("type", kind.name())
        };
        list.into_iter().map(entry).collect()
    };
    let medias = participant.medias.iter().map(|media| media_report(relay, call.media(*media), ssrcs));
    report
        .set("created", participant.created.unix.seconds())
        .set("subscriptions", related(call.sources_of(id)))
        .set("subscribers", related(call.sinks_of(id)))
        .set("medias", medias.collect::<Value>())
        .set("VSC", Value::List(Vec::new()));
    report
}

fn media_report(relay: &Relay, media: &Media, ssrcs: SsrcReporting) -> Dictionary {
    let mut report = Dictionary::new().with("index", media.index as u64).with("type", media.kind.as_str());
    if let Some(protocol) = &media.protocol {
        report.set("protocol", protocol.to_string());
    }
    let rtp = stream(relay, media.rtp_stream);
    if let Some(codec) = rtp.and_then(|rtp| codec_in_use(media, rtp)) {
        report.set("codec", codec);
    }
    let rtcp = stream(relay, media.rtcp_stream).filter(|_| media.is_rtp() && !media.rtcp_mux.is_agreed);
    let streams = rtp.map(|stream| stream_report(media, stream, "RTP", media.signalled.rtp)).into_iter();
    let streams = streams.chain(rtcp.map(|stream| stream_report(media, stream, "RTCP", media.signalled.rtcp)));
    report.set("streams", streams.collect::<Value>()).set("flags", media_flags(media));
    let ingress = rtp.iter().flat_map(|stream| stream.sources()).map(source_report);
    let egress = rtp.iter().flat_map(|stream| stream.outgoing()).map(|outgoing| {
        Dictionary::new()
            .with("SSRC", outgoing.ssrc())
            .with("bytes", outgoing.bytes())
            .with("packets", outgoing.packets())
            .with("last RTP timestamp", outgoing.last_timestamp())
            .with("last RTP seq", outgoing.last_sequence())
    });
    report.set("ingress SSRCs", ssrcs.list(ingress)).set("egress SSRCs", ssrcs.list(egress));
    report
}

/// The codec of most packets that arrived, as `name/clock[/channels]`.
pub fn codec_in_use(media: &Media, rtp: &Stream) -> Option<String> {
    let number = rtp.main_payload_type()?;
    let mut known = media.shown_codecs.iter().chain(&media.codecs);
    known.find(|codec| codec.payload_type == number && !codec.name.is_empty()).map(|codec| codec.encoding())
}

fn media_flags(media: &Media) -> Value {
    let ice = media.ice.received.as_ref();
    let dtls = match &media.security.keying {
        Keying::Dtls(dtls) => Some(dtls),
        _ => None,
    };
    let flags = [
        ("initialized", media.ports().is_some()),
        ("rtcp-mux", media.rtcp_mux.is_agreed),
        ("DTLS-SRTP", dtls.is_some()),
        ("SDES", matches!(media.security.keying, Keying::Sdes { .. })),
        ("passthrough", media.ice.passthrough.is_some()),
        ("ICE", media.ice.is_agreed()),
        ("asymmetric", media.behaviour.asymmetric),
        ("send", media.direction.receives()),
        ("recv", media.direction.sends()),
        ("DTLS role active", dtls.is_some_and(|dtls| dtls.is_client)),
        ("DTLS role passive", dtls.is_some_and(|dtls| !dtls.is_client)),
        ("trickle ICE", ice.is_some_and(|ice| ice.is_trickling)),
        ("ICE controlling", !media.ice.is_controlled),
        ("ICE-lite peer", ice.is_some_and(|ice| ice.is_lite)),
        ("ICE-lite self", media.ice.is_lite),
    ];
    flags.iter().filter(|(_, is_set)| *is_set).map(|(name, _)| *name).collect()
}

fn stream_report(media: &Media, stream: &Stream, component: &str, advertised: Option<SocketAddr>) -> Dictionary {
    let mut report = Dictionary::new();
    if media.ports().is_some() {
        report.set("local port", stream.local().port());
    }
    let last_packet = stream.last_packet_unix().seconds();
    let last_elsewhere = stream.last_packet_elsewhere().seconds();
    report
        .set("local address", stream.local().ip().to_string())
        .set("family", Family::of(stream.local().ip()).long_name())
        .set("endpoint", endpoint(stream.remote().or(advertised)))
        .set("advertised endpoint", endpoint(advertised))
        .set("last packet", last_packet)
        .set("last kernel packet", last_elsewhere)
        .set("last user packet", last_packet);
    if let Some(ssrc) = stream.first_ssrc() {
        report.set("SSRC", ssrc);
    }
    if let Some(suite) = stream.suite() {
        report.set("crypto suite", suite);
    }
    let flags = [
        (component, true),
        ("RTCP", component == "RTP" && media.rtcp_mux.is_agreed),
        ("filled", advertised.is_some()),
        ("confirmed", stream.is_confirmed()),
        ("kernelized", stream.is_away()),
        ("no kernel support", stays_for_good(stream)),
        ("DTLS fingerprint verified", stream.is_peer_verified()),
        ("strict source address", media.behaviour.strict_source),
        ("media handover", media.behaviour.media_handover),
    ];
    let flags: Value = flags.iter().filter(|(_, is_set)| *is_set).map(|(name, _)| *name).collect();
    report.set("flags", flags).set("stats", traffic(stream.received())).set("stats_out", traffic(stream.sent()));
    report.set("drops", drops(stream));
    if let Some(path) = stream.other_path() {
        report.set("fast path", path);
    } else if let Some(reason) = stream.reason_to_stay() {
        report.set("fast path", stream.way_here().unwrap_or("userspace")).set("fast path reason", reason);
    }
    report
}

/// The kernel will not forward it, as the call is now.
fn stays_for_good(stream: &Stream) -> bool {
    let reason = stream.reason_to_stay().and_then(|name| Reason::ALL.iter().find(|reason| reason.name() == name));
    reason.is_some_and(|reason| reason.recheck() == Recheck::Never)
}

/// Drops by reason, those that occurred.
fn drops(stream: &Stream) -> Dictionary {
    let mut report = Dictionary::new();
    for (reason, count) in stream.dropped().iter().chain(stream.withheld().iter()) {
        if count > 0 {
            report.set(reason.name(), count);
        }
    }
    report
}

fn endpoint(address: Option<SocketAddr>) -> Dictionary {
    let Some(address) = address else { return Dictionary::new() };
    Dictionary::new()
        .with("family", Family::of(address.ip()).long_name())
        .with("address", address.ip().to_string())
        .with("port", address.port())
}

fn source_report(source: &Source) -> Dictionary {
    let mut report = Dictionary::new()
        .with("SSRC", source.ssrc())
        .with("bytes", source.bytes())
        .with("packets", source.packets())
        .with("last RTP timestamp", source.last_timestamp())
        .with("last RTP seq", source.last_sequence());
    if let Some(quality) = source.quality().filter(|quality| quality.is_reported()) {
        add_quality(&mut report, quality);
    }
    report
}

fn add_quality(report: &mut Dictionary, quality: &Quality) {
    report.set("cumulative loss", quality.cumulative_lost());
    if let Some((average, samples)) = quality.average() {
        report.set("average MOS", values(&average).with("samples", samples));
    }
    for (key, entry) in [("lowest MOS", quality.lowest()), ("highest MOS", quality.highest())] {
        if let Some(entry) = entry {
            report.set(key, entry_report(&entry));
        }
    }
    let entries: Value = quality.progression().map(|entry| entry_report(&entry)).collect();
    report.set("MOS progression", Dictionary::new().with("interval", quality.interval_s()).with("entries", entries));
}

fn values(report: &Report) -> Dictionary {
    Dictionary::new()
        .with("MOS", report.mos_tenths)
        .with("round-trip time", report.round_trip_us)
        .with("round-trip time leg", report.round_trip_leg_us)
        .with("jitter", report.jitter_ms)
        .with("packet loss", report.loss_percent)
}

fn entry_report(entry: &Entry) -> Dictionary {
    values(&entry.report).with("reported at", entry.reported_at.seconds())
}
