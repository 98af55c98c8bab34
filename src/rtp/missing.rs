//! Packets that a sender is asked for once more (RFC 4585, section 6.2.1): which, when, and how often.

use crate::base::time::Mono;
use std::time::Duration;

/// A packet that is merely late is not asked for.
const PATIENCE: Duration = Duration::from_millis(10);
/// Between two requests for one packet.
const RETRY: Duration = Duration::from_millis(40);
const TRIES: u8 = 3;
/// What has not come by then is of no use any more.
const GIVE_UP: Duration = Duration::from_millis(500);
/// A packet that only receivers miss is asked for once in this time, whoever wants it.
const WANTED: Duration = Duration::from_millis(100);
/// Packets that are waited for at once.
const MOST_ENTRIES: usize = 256;

/// The packets that are waited for.
#[derive(Debug)]
pub struct Missing(Vec<Entry>);

#[derive(Debug, Clone, Copy)]
struct Entry {
    ssrc: u32,
    sequence: u16,
    tries: u8,
    due: Mono,
    expires: Mono,
}

/// One entry of a generic NACK: a packet, and which of the sixteen after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    pub ssrc: u32,
    pub sequence: u16,
    pub following: u16,
}

impl Missing {
    pub fn new() -> Missing {
        Missing(Vec::with_capacity(MOST_ENTRIES))
    }

    /// A gap showed in what the sender sends.
    pub fn lost(&mut self, now: Mono, ssrc: u32, sequence: u16) {
        self.add(Entry { ssrc, sequence, tries: TRIES, due: now + PATIENCE, expires: now + GIVE_UP });
    }

    /// A receiver misses a packet that is not here.
    pub fn wanted(&mut self, now: Mono, ssrc: u32, sequence: u16) {
        self.add(Entry { ssrc, sequence, tries: 1, due: now, expires: now + WANTED });
    }

    fn add(&mut self, entry: Entry) {
        let is_same = |other: &Entry| (other.ssrc, other.sequence) == (entry.ssrc, entry.sequence);
        if self.0.len() < MOST_ENTRIES && !self.0.iter().any(is_same) {
            self.0.push(entry);
        }
    }

    /// A packet has come after all.
    pub fn arrived(&mut self, ssrc: u32, sequence: u16) {
        self.0.retain(|entry| (entry.ssrc, entry.sequence) != (ssrc, sequence));
    }

    /// The SSRC whose packet `sequence` is waited for; none where that are none or several.
    pub fn only_source_of(&self, sequence: u16) -> Option<u32> {
        let mut entries = self.0.iter().filter(|entry| entry.sequence == sequence);
        entries.next().filter(|_| entries.next().is_none()).map(|entry| entry.ssrc)
    }

    /// When `ask` has something to do next.
    pub fn next_due(&self) -> Option<Mono> {
        self.0.iter().map(|entry| entry.due).min()
    }

    /// Calls `ask` for all that has to be asked for now, the packets of one SSRC together.
    pub fn ask(&mut self, now: Mono, mut ask: impl FnMut(Lost)) {
        self.0.retain(|entry| now < entry.expires);
        self.0.sort_unstable_by_key(|entry| (entry.ssrc, entry.sequence));
        let mut open: Option<Lost> = None;
        for entry in self.0.iter_mut().filter(|entry| entry.due <= now) {
            entry.tries = entry.tries.saturating_sub(1);
            entry.due = if entry.tries > 0 { (now + RETRY).min(entry.expires) } else { entry.expires };
            match &mut open {
                Some(lost) if lost.ssrc == entry.ssrc && (1..=16).contains(&(entry.sequence - lost.sequence)) => {
                    lost.following |= 1 << (entry.sequence - lost.sequence - 1);
                }
                _ => {
                    let next = Lost { ssrc: entry.ssrc, sequence: entry.sequence, following: 0 };
                    open.replace(next).into_iter().for_each(&mut ask);
                }
            }
        }
        open.into_iter().for_each(ask);
    }
}

impl Default for Missing {
    fn default() -> Missing {
        Missing::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Mono {
        Mono(milliseconds * 1_000_000)
    }

    fn asked(missing: &mut Missing, milliseconds: u64) -> Vec<(u32, u16, u16)> {
        let mut list = Vec::new();
        missing.ask(at(milliseconds), |lost| list.push((lost.ssrc, lost.sequence, lost.following)));
        list
    }

    #[test]
    fn a_gap_is_asked_for_three_times() {
        let mut missing = Missing::new();
        missing.lost(at(0), 1, 7);
        assert_eq!(missing.next_due(), Some(at(10)));
        assert_eq!(asked(&mut missing, 9), []);
        for due in [10, 50, 90] {
            assert_eq!(missing.next_due(), Some(at(due)));
            assert_eq!(asked(&mut missing, due), [(1, 7, 0)]);
        }
        missing.wanted(at(100), 1, 7);
        assert_eq!(asked(&mut missing, 499), []);
        assert_eq!(missing.next_due(), Some(at(500)));
        assert_eq!(asked(&mut missing, 500), []);
        assert_eq!(missing.next_due(), None);
    }

    #[test]
    fn what_comes_is_not_asked_for() {
        let mut missing = Missing::new();
        (5..9).for_each(|sequence| missing.lost(at(0), 1, sequence));
        missing.lost(at(0), 2, 6);
        missing.arrived(1, 6);
        assert_eq!([5, 6, 9].map(|sequence| missing.only_source_of(sequence)), [Some(1), Some(2), None]);
        missing.lost(at(0), 2, 5);
        assert_eq!(missing.only_source_of(5), None, "it may be either's");
        missing.arrived(2, 5);
        missing.arrived(1, 8);
        assert_eq!(asked(&mut missing, 10), [(1, 5, 0b10), (2, 6, 0)]);
    }

    #[test]
    fn wishes_of_receivers_are_merged() {
        let mut missing = Missing::new();
        for (now, expected) in [(0, 1), (0, 0), (30, 0), (99, 0), (100, 0), (101, 1)] {
            missing.wanted(at(now), 1, 7);
            assert_eq!(asked(&mut missing, now).len(), expected, "{now} ms");
        }
    }

    #[test]
    fn entries_hold_seventeen_packets_and_do_not_wrap() {
        let mut missing = Missing::new();
        for number in 65_530..65_560u32 {
            missing.lost(at(0), 1, number as u16);
        }
        assert_eq!(asked(&mut missing, 10), [(1, 0, 0xffff), (1, 17, 0x3f), (1, 65_530, 0x1f)]);
        (0..1000).for_each(|sequence| missing.lost(at(0), 3, sequence));
        assert_eq!(missing.0.len(), MOST_ENTRIES);
    }
}
