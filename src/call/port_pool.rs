//! Which port numbers of a local address are free (RFC 3550, section 11: RTP even, RTCP one above).
//!
//! Numbers are given out at random, so that they can't be predicted, and in pairs. A pair that has just been freed
//! is not reused at once: late packets of the old call must not reach a new one.

use crate::base::random::Random;
use std::collections::VecDeque;

/// How many freed pairs are held back before they are given out again, while others are free.
const RESTING_PAIRS: usize = 64;

/// The pairs of one local address.
#[derive(Debug, Clone)]
pub struct PortPool {
    /// Even ports that are free, in no order.
    free: Vec<u16>,
    /// Even ports freed lately, oldest first.
    resting: VecDeque<u16>,
    total_ports: usize,
    range: (u16, u16),
}

impl PortPool {
    /// All pairs within `min..=max`, both ports of a pair inside and neither in `excluded`.
    pub fn new(min: u16, max: u16, excluded: &[u16]) -> PortPool {
        let first = min.saturating_add(min % 2);
        let usable = |even: &u16| *even < max && !excluded.contains(even) && !excluded.contains(&(even + 1));
        let free: Vec<u16> = (first..max).step_by(2).filter(usable).collect();
        let total_ports = free.len() * 2;
        PortPool { free, resting: VecDeque::new(), total_ports, range: (first, max) }
    }

    /// Takes a pair out and returns its even port; none when all are in use.
    pub fn take(&mut self, random: &mut dyn Random) -> Option<u16> {
        if self.free.is_empty() {
            return self.resting.pop_front();
        }
        let index = random.below(self.free.len() as u32) as usize;
        Some(self.free.swap_remove(index))
    }

    /// Whether a pair lies in the range, excluded or not.
    pub fn covers(&self, even: u16) -> bool {
        self.range.0 <= even && even < self.range.1
    }

    /// Takes a certain pair out by its even port; whether it was free.
    pub fn reserve(&mut self, even: u16) -> bool {
        let free = self.free.iter().position(|&free| free == even);
        let resting = self.resting.iter().position(|&resting| resting == even);
        match (free, resting) {
            (Some(index), _) => drop(self.free.swap_remove(index)),
            (None, Some(index)) => drop(self.resting.remove(index)),
            (None, None) => return false,
        }
        true
    }

    /// Puts a pair back by its even port.
    pub fn put(&mut self, even: u16) {
        self.resting.push_back(even);
        if self.resting.len() > RESTING_PAIRS {
            self.free.extend(self.resting.pop_front());
        }
    }

    /// Ports of the range, in use or not.
    pub fn total(&self) -> usize {
        self.total_ports
    }

    /// Ports that can be given out.
    pub fn free(&self) -> usize {
        (self.free.len() + self.resting.len()) * 2
    }

    /// Ports given out.
    pub fn used(&self) -> usize {
        self.total() - self.free()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Seeded;

    #[test]
    fn every_pair_is_given_out_once_and_comes_back() {
        let (mut pool, mut random) = (PortPool::new(30001, 30010, &[30004]), Seeded(1));
        let mut taken: Vec<u16> = std::iter::from_fn(|| pool.take(&mut random)).collect();
        assert_eq!(pool.used(), 6);
        taken.sort_unstable();
        assert_eq!(taken, [30002, 30006, 30008]);
        taken.into_iter().for_each(|even| pool.put(even));
        assert_eq!((pool.used(), pool.free(), pool.total()), (0, 6, 6));
        assert!(pool.take(&mut random).is_some());
    }

    #[test]
    fn a_reserved_pair_is_not_given_out() {
        let (mut pool, mut random) = (PortPool::new(30000, 30005, &[]), Seeded(3));
        assert!(pool.reserve(30002));
        assert!(!pool.reserve(30002) && !pool.reserve(40000));
        assert_eq!(pool.used(), 2);
        let mut taken: Vec<u16> = std::iter::from_fn(|| pool.take(&mut random)).collect();
        taken.sort_unstable();
        assert_eq!(taken, [30000, 30004]);
        pool.put(30002);
        assert!(pool.reserve(30002), "a pair that rests is free");
        pool.put(30002);
        assert_eq!(pool.take(&mut random), Some(30002));
        assert!([29998, 30006].iter().all(|even| !pool.covers(*even)) && pool.covers(30004));
    }

    #[test]
    fn a_freed_pair_rests() {
        let (mut pool, mut random) = (PortPool::new(30000, 30399, &[]), Seeded(2));
        let first = pool.take(&mut random).unwrap();
        pool.put(first);
        assert!((0..RESTING_PAIRS).all(|_| pool.take(&mut random) != Some(first)));
    }
}
