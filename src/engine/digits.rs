//! Digits that parties of calls press, for whoever asked to be told.

use super::Shard;
use super::output::Output;
use crate::base::time::Now;
use crate::call::Call;
use crate::relay::digits::Digit;
use std::net::{IpAddr, SocketAddr};

/// A digit with its call and its party.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PressedDigit {
    pub call_id: String,
    /// The party that pressed it.
    pub source_tag: String,
    pub source_label: Option<String>,
    /// The tags of all parties.
    pub tags: Vec<String>,
    /// Where its media comes from.
    pub source_ip: Option<IpAddr>,
    /// Seconds since 1970.
    pub timestamp_s: u64,
    /// 0 to 9, 10 is `*`, 11 `#`, 12 to 15 `A` to `D` (RFC 4733, section 3.2).
    pub event: u8,
    pub duration_ms: u32,
    /// Power in dBm0 below zero.
    pub volume: u8,
    /// Whom a request has named for this call.
    pub destination: Option<SocketAddr>,
}

impl Shard {
    /// Makes outputs of the digits that the relay has noticed.
    #[cold]
    pub(super) fn tell_digits(&mut self, now: Now) {
        for digit in self.relay.take_digits() {
            let owner = self.relay.stream(digit.stream).map(|stream| stream.owner_call() as usize);
            let call = owner.and_then(|owner| self.calls.get(owner));
            self.outputs.extend(call.and_then(|call| pressed(call, &digit, now)).map(Output::Digit));
        }
    }
}

fn pressed(call: &Call, digit: &Digit, now: Now) -> Option<PressedDigit> {
    let (_, media) = call.medias().find(|(_, media)| media.rtp_stream == Some(digit.stream))?;
    let source = call.participant(media.owner);
    let tags = call.participants().filter_map(|(_, participant)| participant.tag.clone());
    Some(PressedDigit {
        call_id: call.id.clone(),
        source_tag: source.display_tag(media.owner),
        source_label: source.label.clone(),
        tags: tags.collect(),
        source_ip: digit.from.map(|from| from.ip()),
        timestamp_s: now.unix.seconds(),
        event: digit.event,
        duration_ms: digit.duration_ms,
        volume: digit.volume,
        destination: call.digit_destination,
    })
}
