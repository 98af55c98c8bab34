//! Digits that peers press, as their telephone-events tell (RFC 4733).

use super::Relay;
use super::ingress::Accepted;
use crate::base::id::StreamId;
use crate::wire::rtp::{Header, Packet};
use crate::wire::telephone_event::TelephoneEvent;
use std::net::SocketAddr;

/// What has no clock rate of its own is counted by this one.
const USUAL_RATE_HZ: u32 = 8000;

/// A digit that was pressed and let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digit {
    /// The stream of the peer that pressed it.
    pub stream: StreamId,
    /// See [`TelephoneEvent::event`].
    pub event: u8,
    pub duration_ms: u32,
    /// Power in dBm0 below zero.
    pub volume: u8,
    /// Where the peer is.
    pub from: Option<SocketAddr>,
}

/// The digit that a peer has pressed last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pressed {
    ssrc: u32,
    /// That of all packets of the event.
    timestamp: u32,
    event: TelephoneEvent,
    is_told: bool,
}

impl Relay {
    /// Whether there are digits that nobody has taken yet.
    #[inline]
    pub fn has_digits(&self) -> bool {
        !self.digits.is_empty()
    }

    /// The digits since this was last asked.
    pub fn take_digits(&mut self) -> Vec<Digit> {
        std::mem::take(&mut self.digits)
    }

    /// Notes a packet of an event, if anybody wants to know. A digit is told once: when its end comes, or, where that is
    /// lost, when the next one begins.
    #[cold]
    pub(super) fn note_digit(&mut self, accepted: &Accepted, header: &Header, packet: &[u8]) {
        let Some(stream) = self.streams.get_mut(accepted.stream.0 as usize) else { return };
        if !stream.plan().tells_digits {
            return;
        }
        let Some(event) = Packet::parse(packet).ok().and_then(|packet| TelephoneEvent::read(packet.payload())) else {
            return;
        };
        let known = stream.plan().ingress.payload_types.iter().find(|known| known.number == header.payload_type);
        let rate_hz = known.map(|known| known.clock_rate_hz).filter(|rate_hz| *rate_hz > 0).unwrap_or(USUAL_RATE_HZ);
        let from = stream.remote();
        let digit = |event: TelephoneEvent| Digit {
            stream: accepted.stream,
            event: event.event,
            duration_ms: (u64::from(event.duration) * 1000 / u64::from(rate_hz)) as u32,
            volume: event.volume,
            from,
        };
        let last = stream.pressed.as_deref().copied();
        let is_same = |last: &Pressed| (last.ssrc, last.timestamp) == (header.ssrc, header.timestamp);
        let is_late =
            |last: &Pressed| last.ssrc == header.ssrc && (header.timestamp.wrapping_sub(last.timestamp) as i32) < 0;
        if last.as_ref().is_some_and(|last| is_late(last) || is_same(last) && last.is_told) {
            return;
        }
        if let Some(lost) = last.filter(|last| !is_same(last) && !last.is_told) {
            self.digits.push(digit(lost.event));
        }
        if event.is_end {
            self.digits.push(digit(event));
        }
        let pressed = Pressed { ssrc: header.ssrc, timestamp: header.timestamp, event, is_told: event.is_end };
        stream.pressed = Some(Box::new(pressed));
    }
}
