//! Which packets of a stream have been seen (RFC 3711, section 3.3.2).

use super::{Error, Window};

/// Packets this much older than the newest, or more, can't be told from replayed ones. RFC 3711 wants 64 or more.
pub(super) const WINDOW_PACKETS: u64 = u128::BITS as u64;

/// The highest index of a stream and the replay list behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Replay {
    highest: u64,
    /// Bit n: the packet n before the highest has been seen. All zero before the first packet.
    seen: u128,
}

impl Replay {
    /// A stream without packets, whose first one will not be below `start`.
    pub(super) fn starting_at(start: u64) -> Replay {
        Replay { highest: start, seen: 0 }
    }

    /// Goes on from a window.
    pub(super) fn at(window: Window) -> Replay {
        Replay { highest: window.highest, seen: window.seen }
    }

    /// None before the first packet.
    pub(super) fn window(&self) -> Option<Window> {
        (!self.is_empty()).then_some(Window { highest: self.highest, seen: self.seen })
    }

    /// Whether no packet has been seen.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.seen == 0
    }

    pub(super) fn highest(&self) -> u64 {
        self.highest
    }

    /// Whether the packet `index` is a new one; changes nothing.
    #[inline]
    pub(super) fn check(&self, index: u64) -> Result<(), Error> {
        if index > self.highest || self.is_empty() {
            return Ok(());
        }
        let age = self.highest - index;
        if age >= WINDOW_PACKETS || self.seen >> age & 1 != 0 { Err(Error::Replayed) } else { Ok(()) }
    }

    /// Notes the packet `index`, which has been checked and authenticated.
    #[inline]
    pub(super) fn note(&mut self, index: u64) {
        if index > self.highest || self.is_empty() {
            let step = u32::try_from(index.saturating_sub(self.highest)).unwrap_or(u32::MAX);
            self.seen = self.seen.checked_shl(step).unwrap_or(0) | 1;
            self.highest = index;
        } else {
            self.seen |= 1u128.checked_shl((self.highest - index) as u32).unwrap_or(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    proptest! {
        /// Against a list of everything that was seen.
        #[test]
        fn the_window_is_a_list_of_the_last_packets(steps in proptest::collection::vec(-200i64..200, 1..300)) {
            let mut replay = Replay::default();
            let (mut highest, mut seen) = (None::<i64>, HashSet::new());
            let mut at = 1000;
            for step in steps {
                at = (highest.unwrap_or(at) + step).max(0);
                let old = highest.is_some_and(|highest| highest - at >= WINDOW_PACKETS as i64);
                let expected = if old || seen.contains(&at) { Err(Error::Replayed) } else { Ok(()) };
                prop_assert_eq!(replay.check(at as u64), expected);
                if expected.is_ok() {
                    replay.note(at as u64);
                    seen.insert(at);
                    highest = Some(highest.unwrap_or(at).max(at));
                }
            }
        }
    }

    #[test]
    fn long_jumps_forget_everything_before() {
        let mut replay = Replay::default();
        for index in [0, 1, 1 << 40, (1 << 48) - 1] {
            assert_eq!(replay.check(index), Ok(()));
            replay.note(index);
            assert_eq!(replay.check(index), Err(Error::Replayed));
        }
        assert_eq!(replay.check(1 << 40), Err(Error::Replayed));
        assert_eq!(replay.check((1 << 48) - 128), Ok(()));
        assert_eq!(replay.check((1 << 48) - 129), Err(Error::Replayed));
    }
}
