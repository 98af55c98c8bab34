//! Calls as `list sessions` prints them.

use super::query;
use crate::base::time::Now;
use crate::call::participant::Role;
use crate::call::{Call, Media, Participant, ParticipantId};
use crate::relay::{Relay, Stream};
use std::fmt::Write;
use std::net::SocketAddr;

/// One line a call, as in `list sessions all`.
pub fn line(call: &Call) -> String {
    format!(
        "ID: {:>60} | del:{} | creat:{:>12} | prx:{} | redis:-1 | frgn:n | rec:n\n",
        call.id,
        yes_no(call.delete_at.is_some()).chars().next().unwrap_or('n'),
        call.created.unix.seconds(),
        call.created_from
    )
}

fn yes_no(is_set: bool) -> &'static str {
    if is_set { "yes" } else { "no" }
}

/// Everything about one call, as in `list sessions CALLID`.
pub fn details(call: &Call, relay: &Relay, now: Now) -> String {
    let mut text = String::from("\n");
    let _ = writeln!(text, "callid: {}", call.id);
    let _ = writeln!(text, "deletionmark: {}", yes_no(call.delete_at.is_some()));
    let _ = writeln!(text, "created: {}", call.created.unix.seconds());
    let _ = writeln!(text, "proxy: {}", call.created_from);
    let _ = writeln!(text, "tos: {}", call.tos.unwrap_or_default());
    let _ = writeln!(text, "last_signal: {}", call.last_signal.unix.seconds());
    text += "redis_keyspace: -1\nlast redis update: 0\nforeign: no\nrecording: no\n\n";
    for (id, participant) in call.participants() {
        participant_details(&mut text, call, relay, id, participant, now);
    }
    text.push('\n');
    text
}

/// One party of a call; none when there is no such tag.
pub fn tag_details(call: &Call, relay: &Relay, tag: &str, now: Now) -> Option<String> {
    let id = call.find_tag(tag)?;
    let mut text = String::new();
    participant_details(&mut text, call, relay, id, call.participant(id), now);
    Some(text)
}

fn participant_details(
    text: &mut String,
    call: &Call,
    relay: &Relay,
    id: ParticipantId,
    participant: &Participant,
    now: Now,
) {
    let role = match participant.role {
        Role::Offerer => "FROM_TAG",
        Role::Answerer => "TO_TAG",
        Role::Subscriber | Role::Other => "UNKNOWN",
    };
    let _ = writeln!(
        text,
        "--- Tag '{}', type: {role}, label '{}', branch '{}', callduration {:.6}",
        participant.display_tag(id),
        participant.label.as_deref().unwrap_or_default(),
        participant.via_branch.as_deref().unwrap_or_default(),
        now.mono.since(participant.created.mono).as_secs_f64()
    );
    relations(text, call, id);
    for media in participant.medias.iter().map(|media| call.media(*media)) {
        media_details(text, relay, media);
    }
}

fn relations(text: &mut String, call: &Call, id: ParticipantId) {
    let tag = |media| {
        let owner = call.media(media).owner;
        (call.participant(owner).display_tag(owner), call.media(media).index)
    };
    for subscription in call.subscriptions().iter().filter(|other| call.media(other.sink).owner == id) {
        let (tag, index) = tag(subscription.source);
        let _ = writeln!(text, "---     subscribed to media with monologue tag '{tag}' (index: {index})");
    }
    for subscription in call.subscriptions().iter().filter(|other| call.media(other.source).owner == id) {
        let (tag, index) = tag(subscription.sink);
        let _ = writeln!(text, "---     subscription of media with monologue tag '{tag}' (index: {index})");
    }
}

fn media_details(text: &mut String, relay: &Relay, media: &Media) {
    let rtp = media.rtp_stream.and_then(|id| relay.stream(id));
    let protocol = media.protocol.as_ref().map_or("unknown protocol".to_owned(), ToString::to_string);
    let codec = rtp.and_then(|rtp| query::codec_in_use(media, rtp)).unwrap_or("unknown codec".to_owned());
    let _ = writeln!(text, "------ Media #{} ({} over {protocol}) using {codec}", media.index, media.kind);
    if let Some(rtp) = rtp {
        port_details(text, rtp, media.signalled.rtp, "");
    }
    let rtcp = media.rtcp_stream.filter(|_| !media.rtcp_mux.is_agreed).and_then(|id| relay.stream(id));
    if let Some(rtcp) = rtcp {
        port_details(text, rtcp, media.signalled.rtcp, " (RTCP)");
    }
}

fn port_details(text: &mut String, stream: &Stream, signalled: Option<SocketAddr>, component: &str) {
    let remote = stream.remote().or(signalled);
    let (address, port) = remote.map_or(("0.0.0.0".to_owned(), 0), |remote| (remote.ip().to_string(), remote.port()));
    let received = stream.received();
    let _ = writeln!(
        text,
        "-------- Port {:>15}:{:<5} <> {:>15}:{:<5}{component}, SSRC {:x}, {} p, {} b, {} e, {} uts {} kts",
        stream.local().ip(),
        stream.local().port(),
        address,
        port,
        stream.first_ssrc().unwrap_or_default(),
        received.packets,
        received.bytes,
        received.errors,
        stream.last_packet_unix().seconds(),
        stream.last_packet_elsewhere().seconds()
    );
}
