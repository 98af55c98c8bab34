//! When to let packets gather before the next turn of the loop.
//!
//! At 20,000 packets a second that come one by one, waking up for each costs more than relaying it: turns are then kept
//! apart, so that each finds several. Packets that come rarely, or many at once with a pause after them, are not held
//! up, as nothing would be saved. Nor does a turn wait while a port has more than a turn takes from it: somebody who
//! floods a port would else fill its buffer, and what its peer sends would be lost.

use crate::base::time::Mono;
use std::time::Duration;

/// A wait that ends sooner did not put the thread to sleep.
const BRIEF: Duration = Duration::from_micros(10);

/// Decides from how long the waits last.
#[derive(Debug)]
pub(super) struct Gather {
    /// The time between the beginnings of two turns while packets gather.
    period: Duration,
    active: bool,
    napped: bool,
    /// The last turn found its ports ready without a wait, and one of them had been ready in the turn before.
    is_behind: bool,
    at_once: bool,
    waits_since: Mono,
}

impl Gather {
    /// Keeps turns `period` apart when that saves something; zero never does.
    pub(super) fn new(period: Duration) -> Gather {
        Gather { period, active: false, napped: false, is_behind: false, at_once: false, waits_since: Mono(0) }
    }

    /// How long to sleep at `now`, when the last turn began at `turned` and may be followed by a pause.
    pub(super) fn nap(&mut self, now: Mono, turned: Mono, may_pause: bool) -> Option<Duration> {
        self.waits_since = now;
        let rest = self.period.saturating_sub(now.since(turned));
        self.napped = self.active && may_pause && !self.is_behind && !rest.is_zero();
        self.napped.then_some(rest)
    }

    /// The sleep is over.
    pub(super) fn rise(&mut self, now: Mono) {
        self.waits_since = now;
    }

    /// Something was ready at `now`. If that took a sleep, packets came one by one or not at all; if not, nothing has
    /// been learned.
    pub(super) fn ready(&mut self, now: Mono) {
        let waited = now.since(self.waits_since);
        self.is_behind = false;
        self.at_once = waited < BRIEF;
        if !self.at_once {
            self.active = !self.napped && waited < self.period;
        }
    }

    /// A port of this turn was ready in the last one as well: where nobody waited, it may have more.
    pub(super) fn came_back(&mut self) {
        self.is_behind = self.at_once;
    }

    /// A socket that many ports share has more than a turn takes.
    pub(super) fn fell_behind(&mut self) {
        self.is_behind = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_micros(500);

    /// Runs turns of 5 us a packet over packets at these moments, in microseconds; gives the number of times the
    /// thread slept, and the longest that a packet waited.
    fn run(arrivals: &[u64]) -> (usize, u64) {
        let mut gather = Gather::new(PERIOD);
        let (mut now, mut turned, mut sleeps, mut longest, mut next) = (0, 0, 0, 0, 0);
        let at = |microseconds: u64| Mono(microseconds * 1000);
        while next < arrivals.len() {
            if let Some(nap) = gather.nap(at(now), at(turned), true) {
                now += nap.as_micros() as u64;
                sleeps += 1;
                gather.rise(at(now));
            }
            if arrivals[next] > now {
                sleeps += 1;
                now = arrivals[next];
            }
            gather.ready(at(now));
            turned = now;
            let ready = arrivals[next..].iter().take_while(|&&arrival| arrival <= turned).count();
            longest = longest.max(turned - arrivals[next]);
            next += ready;
            now += 5 * ready as u64;
        }
        (sleeps, longest)
    }

    #[test]
    fn single_packets_in_quick_succession_gather() {
        let arrivals: Vec<u64> = (0..20_000).map(|number| 1000 + number * 50).collect();
        let (sleeps, longest) = run(&arrivals);
        assert!(sleeps < 2100, "{sleeps} sleeps in a second");
        assert!(longest <= 500, "{longest} us");
    }

    #[test]
    fn rare_packets_are_not_held_up() {
        let arrivals: Vec<u64> = (0..1000).map(|number| 1000 + number * 600).collect();
        assert_eq!(run(&arrivals), (1000, 0));
    }

    #[test]
    fn bursts_with_a_pause_after_them_are_not_held_up() {
        let arrivals: Vec<u64> =
            (0..1000).flat_map(|burst| (0..20).map(move |n| 1000 + burst * 1000 + n * 3)).collect();
        let (sleeps, longest) = run(&arrivals);
        assert!(sleeps <= 1010, "{sleeps} sleeps for 1000 bursts");
        assert!(longest < 70, "{longest} us");
    }

    #[test]
    fn it_ends_with_the_traffic() {
        let dense = (0..1000).map(|number| 1000 + number * 50);
        let sparse = (0..100).map(|number| 100_000 + number * 2000);
        let arrivals: Vec<u64> = dense.chain(sparse).collect();
        let (sleeps, _) = run(&arrivals);
        assert!(sleeps < 220, "{sleeps} sleeps");
    }

    #[test]
    fn a_port_that_has_more_is_not_left_waiting() {
        let mut gather = Gather::new(PERIOD);
        let at = |microseconds: u64| Mono(microseconds * 1000);
        // Packets that come one by one, until turns are kept apart.
        assert_eq!(gather.nap(at(0), at(0), true), None);
        gather.ready(at(50));
        assert!(gather.nap(at(60), at(50), true).is_some());
        gather.rise(at(550));
        // What was ready at once, and was in the last turn, may have more; what was waited for has none.
        gather.ready(at(551));
        gather.came_back();
        assert_eq!(gather.nap(at(560), at(551), true), None);
        gather.ready(at(561));
        gather.came_back();
        assert_eq!(gather.nap(at(570), at(561), true), None);
        gather.ready(at(600));
        gather.came_back();
        assert!(gather.nap(at(610), at(600), true).is_some());
    }

    #[test]
    fn a_period_of_zero_never_naps() {
        let mut gather = Gather::new(Duration::ZERO);
        for number in 0..100 {
            assert_eq!(gather.nap(Mono(number * 50_000), Mono(number * 50_000), true), None);
            gather.ready(Mono(number * 50_000 + 40_000));
        }
    }
}
