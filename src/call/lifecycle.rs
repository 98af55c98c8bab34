//! When calls end by themselves.

use super::participant::Role;
use super::{Call, Media, Participant, ParticipantId, Subscription, SubscriptionKind};
use crate::base::time::{Mono, Now};
use std::time::Duration;

/// How long calls live without what they wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// No packet on any stream of the call.
    pub media: Duration,
    /// The same while the call's media is held or muted.
    pub silent: Duration,
    /// An offer without an answer.
    pub offer: Duration,
    /// The whole life of a call; zero means no end.
    pub whole: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        let seconds = Duration::from_secs;
        Timeouts { media: seconds(60), silent: seconds(3600), offer: seconds(3600), whole: Duration::ZERO }
    }
}

/// Why a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Termination {
    /// By a client's request.
    Regular,
    /// By an operator.
    Forced,
    Timeout,
    SilentTimeout,
    OfferTimeout,
    FinalTimeout,
}

impl Termination {
    /// The name in call records.
    pub fn name(self) -> &'static str {
        match self {
            Termination::Regular => "REGULAR",
            Termination::Forced => "FORCED",
            Termination::Timeout => "TIMEOUT",
            Termination::SilentTimeout => "SILENT_TIMEOUT",
            Termination::OfferTimeout => "OFFER_TIMEOUT",
            Termination::FinalTimeout => "FINAL_TIMEOUT",
        }
    }
}

/// Whether `call`, whose last packet on any stream arrived at `last_packet`, has outlived its time, and why.
pub fn expired(call: &Call, last_packet: Option<Mono>, now: Now, timeouts: &Timeouts) -> Option<Termination> {
    if call.delete_at.is_some_and(|at| at <= now.mono) {
        return Some(Termination::Regular);
    }
    if !timeouts.whole.is_zero() && now.mono.since(call.created.mono) >= timeouts.whole {
        return Some(Termination::FinalTimeout);
    }
    let idle = now.mono.since(last_packet.unwrap_or_default().max(call.last_signal.mono));
    let has_passed = |timeout: Duration, termination| (idle >= timeout).then_some(termination);
    let is_offered = call.medias().any(|(_, media)| !media.port_sets.is_empty() || !media.is_relayed());
    match () {
        _ if !call.is_answered && is_offered => has_passed(timeouts.offer, Termination::OfferTimeout),
        _ if is_quiet(call) => has_passed(timeouts.silent, Termination::SilentTimeout),
        _ => has_passed(call.idle_timeout.unwrap_or(timeouts.media), Termination::Timeout),
    }
}

/// Whether no packets are to be expected: media is held or muted on one side at least of every exchange. The holding
/// side may well announce that it sends (`sendonly`) and have nothing to play.
fn is_quiet(call: &Call) -> bool {
    let is_there = |media: &Media| media.is_described && !media.is_rejected;
    let role = |media: &Media| call.participant(media.owner).role;
    let is_exchange = |subscription: &&Subscription| subscription.kind == SubscriptionKind::OfferAnswer;
    let mut exchanges = call.subscriptions().iter().filter(is_exchange);
    let is_live = exchanges.any(|pair| call.media(pair.source).talks() && call.media(pair.sink).talks())
        || call.medias().any(|(_, media)| role(media) == Role::Other && media.talks());
    let is_muted = |media: &Media| is_there(media) && role(media) != Role::Subscriber && !media.talks();
    !is_live && call.medias().any(|(_, media)| is_muted(media))
}

/// The participants whose delayed delete is due.
pub fn due_participants(call: &Call, now: Now) -> Vec<ParticipantId> {
    let is_due = |participant: &Participant| participant.delete_at.is_some_and(|at| at <= now.mono);
    call.participants().filter(|(_, participant)| is_due(participant)).map(|(id, _)| id).collect()
}
