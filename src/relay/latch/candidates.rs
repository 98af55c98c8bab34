//! Sources that were heard in the learning window.

use super::decide::Rank;
use crate::base::time::Mono;
use std::net::SocketAddr;
use std::time::Duration;

/// Sources that are remembered. More at once are the work of somebody who guesses.
const CANDIDATES: usize = 3;

/// A candidate that was silent for this long gives way to one of its rank that talks.
pub const SILENCE: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, Copy)]
struct Candidate {
    source: SocketAddr,
    rank: Rank,
    packets: u32,
    last: Mono,
}

/// The sources of one learning window, and which of them is the best so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Candidates {
    heard: [Option<Candidate>; CANDIDATES],
    best: Option<usize>,
}

/// How a source compares with the best candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) best: Option<Rank>,
    pub(super) is_best: bool,
    /// It sent more than the best, or the best fell silent.
    pub(super) outtalks_best: bool,
}

impl Candidates {
    pub(super) fn clear(&mut self) {
        *self = Candidates::default();
    }

    /// The best candidate.
    pub(super) fn best(&self) -> Option<(Rank, SocketAddr)> {
        let best = self.heard[self.best?]?;
        Some((best.rank, best.source))
    }

    /// Counts a packet of `source`.
    pub(super) fn note(&mut self, now: Mono, source: SocketAddr, rank: Rank) {
        let place = self.place(source);
        let packets = match self.heard[place] {
            Some(known) if known.source == source => known.packets.saturating_add(1),
            _ => 1,
        };
        self.heard[place] = Some(Candidate { source, rank, packets, last: now });
    }

    fn find(&self, source: SocketAddr) -> Option<usize> {
        self.heard.iter().position(|candidate| candidate.is_some_and(|candidate| candidate.source == source))
    }

    /// The place of `source`, a free one, or that of whoever sent the least and is not the best.
    fn place(&self, source: SocketAddr) -> usize {
        let others = (0..CANDIDATES).filter(|&place| Some(place) != self.best);
        let least = others.min_by_key(|&place| self.heard[place].map(|candidate| (candidate.packets, candidate.last)));
        self.find(source).or(least).unwrap_or(0)
    }

    /// How `source` compares with the best candidate.
    pub(super) fn standing(&self, now: Mono, source: SocketAddr) -> Standing {
        let Some(best) = self.best.and_then(|best| self.heard[best]) else {
            return Standing { best: None, is_best: false, outtalks_best: false };
        };
        let packets = self.find(source).and_then(|place| self.heard[place]).map_or(0, |own| own.packets);
        Standing {
            best: Some(best.rank),
            is_best: best.source == source,
            outtalks_best: packets > best.packets || (packets > 0 && now.since(best.last) >= SILENCE),
        }
    }

    /// Makes `source`, which has been noted, the best.
    pub(super) fn prefer(&mut self, source: SocketAddr) {
        self.best = self.find(source);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([198, 51, 100, 1], port))
    }

    fn ms(milliseconds: u64) -> Mono {
        Mono(milliseconds * 1_000_000)
    }

    #[test]
    fn who_sends_more_outtalks_the_best() {
        let mut candidates = Candidates::default();
        candidates.note(ms(0), at(1), Rank::Any);
        assert_eq!(candidates.standing(ms(0), at(1)), Standing { best: None, is_best: false, outtalks_best: false });
        candidates.prefer(at(1));
        assert!(candidates.standing(ms(0), at(1)).is_best);
        for (packets, outtalks) in [(1, false), (2, true)] {
            candidates.note(ms(20 * packets), at(2), Rank::Any);
            assert_eq!(candidates.standing(ms(20 * packets), at(2)).outtalks_best, outtalks);
        }
    }

    #[test]
    fn who_is_silent_gives_way() {
        let mut candidates = Candidates::default();
        (0..9).for_each(|_| candidates.note(ms(0), at(1), Rank::Any));
        candidates.prefer(at(1));
        candidates.note(ms(499), at(2), Rank::Any);
        assert!(!candidates.standing(ms(499), at(2)).outtalks_best);
        assert!(candidates.standing(ms(500), at(2)).outtalks_best);
        assert!(!candidates.standing(ms(500), at(3)).outtalks_best, "it has not been heard");
    }

    #[test]
    fn guessers_do_not_push_out_who_talks() {
        let mut candidates = Candidates::default();
        candidates.note(ms(0), at(1), Rank::Any);
        candidates.prefer(at(1));
        (0..3).for_each(|_| candidates.note(ms(1), at(2), Rank::Any));
        (100..200).for_each(|port| candidates.note(ms(u64::from(port)), at(port), Rank::SamePort));
        candidates.note(ms(300), at(2), Rank::Any);
        assert!(candidates.standing(ms(300), at(2)).outtalks_best);
        assert_eq!(candidates.best(), Some((Rank::Any, at(1))));
    }
}
