//! What one receiver may ask for.

use crate::base::time::Mono;
use crate::relay::handshake::Rate;
use std::time::Duration;

/// A packet that is under way to a receiver is not sent to it again.
const UNDER_WAY: Duration = Duration::from_millis(20);
/// Packets a second that one receiver gets again, or that are asked of the sender for it.
const MOST_PACKETS: u32 = 200;
/// Packets whose last time is remembered.
const REMEMBERED: usize = 256;
/// What a receiver has said of its bandwidth holds for so long.
const ESTIMATE_HOLDS: Duration = Duration::from_secs(5);

/// What one receiver has asked for.
#[derive(Debug, Default)]
pub(in crate::relay) struct Receiver {
    recent: Vec<(u32, u16, Mono)>,
    next: usize,
    rate: Rate,
    estimate: Option<(u64, Mono)>,
}

impl Receiver {
    /// Whether the packet may be sent to it again now.
    pub(super) fn may_have(&mut self, now: Mono, ssrc: u32, sequence: u16) -> bool {
        let known = self.recent.iter().position(|entry| (entry.0, entry.1) == (ssrc, sequence));
        let is_under_way = known.is_some_and(|place| now.since(self.recent[place].2) < UNDER_WAY);
        if is_under_way || !self.rate.take(now, MOST_PACKETS) {
            return false;
        }
        match known {
            Some(place) => self.recent[place].2 = now,
            None if self.recent.len() < REMEMBERED => self.recent.push((ssrc, sequence, now)),
            None => {
                self.recent[self.next] = (ssrc, sequence, now);
                self.next = (self.next + 1) % REMEMBERED;
            }
        }
        true
    }

    /// The receiver has said how many bits a second it can take.
    pub(super) fn set_estimate(&mut self, now: Mono, bitrate: u64) {
        self.estimate = Some((bitrate, now));
    }

    pub(super) fn estimate(&self, now: Mono) -> Option<u64> {
        self.estimate.filter(|(_, at)| now.since(*at) < ESTIMATE_HOLDS).map(|(bitrate, _)| bitrate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Mono {
        Mono(1_000_000_000 + milliseconds * 1_000_000)
    }

    #[test]
    fn a_packet_under_way_is_not_sent_again() {
        let mut receiver = Receiver::default();
        for (now, sequence, may_have) in
            [(0, 7, true), (5, 7, false), (5, 8, true), (19, 7, false), (20, 7, true), (39, 7, false), (40, 7, true)]
        {
            assert_eq!(receiver.may_have(at(now), 1, sequence), may_have, "{now} ms");
        }
        assert!(receiver.may_have(at(41), 2, 7), "another SSRC");
    }

    #[test]
    fn a_receiver_gets_a_bounded_number_of_packets() {
        let mut receiver = Receiver::default();
        let granted = (0..3000u64).filter(|now| receiver.may_have(at(*now), 1, *now as u16)).count();
        assert!((600..=800).contains(&granted), "{granted} in three seconds");
        assert_eq!(receiver.recent.len(), REMEMBERED);
    }

    #[test]
    fn an_estimate_gets_old() {
        let mut receiver = Receiver::default();
        receiver.set_estimate(at(0), 300_000);
        assert_eq!(receiver.estimate(at(4999)), Some(300_000));
        assert_eq!(receiver.estimate(at(5000)), None);
    }
}
