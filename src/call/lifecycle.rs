//! When calls end by themselves.

use super::Call;
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
    let is_offered = call.medias().any(|(_, media)| media.is_described);
    if !call.is_answered && is_offered {
        return (idle >= timeouts.offer).then_some(Termination::OfferTimeout);
    }
    let is_held =
        call.medias().all(|(_, media)| media.is_rejected || !media.direction.sends() || media.is_zero_address);
    match is_held {
        true => (idle >= timeouts.silent).then_some(Termination::SilentTimeout),
        false => (idle >= timeouts.media).then_some(Termination::Timeout),
    }
}
