//! Durations counted in buckets, for quantiles over millions of packets.

/// Sub-buckets of each power of two; a quantile is at most 1/64 above the truth.
const SUB: usize = 64;
const SUB_BITS: u32 = SUB.trailing_zeros();

/// A histogram of nanoseconds, exact below 64 and within 1.6 % above.
#[derive(Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    count: u64,
    max_ns: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { counts: vec![0; SUB * (65 - SUB_BITS as usize)], count: 0, max_ns: 0 }
    }
}

impl Histogram {
    /// Counts one duration.
    pub fn add(&mut self, ns: u64) {
        self.counts[bucket(ns)] += 1;
        self.count += 1;
        self.max_ns = self.max_ns.max(ns);
    }

    /// Counts everything that `other` counted.
    pub fn merge(&mut self, other: &Histogram) {
        for (own, other) in self.counts.iter_mut().zip(&other.counts) {
            *own += other;
        }
        self.count += other.count;
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// How many durations were counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The longest duration; 0 when there is none.
    pub fn max_ns(&self) -> u64 {
        self.max_ns
    }

    /// The duration that a share `quantile` (0 to 1) does not exceed; 0 when nothing was counted.
    pub fn quantile_ns(&self, quantile: f64) -> u64 {
        let rank = ((self.count as f64 * quantile).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return upper_edge(index).min(self.max_ns);
            }
        }
        0
    }
}

fn bucket(ns: u64) -> usize {
    if ns < SUB as u64 {
        return ns as usize;
    }
    let shift = 63 - ns.leading_zeros() - SUB_BITS;
    SUB * (shift as usize + 1) + ((ns >> shift) as usize & (SUB - 1))
}

/// The greatest duration that falls into the bucket.
fn upper_edge(index: usize) -> u64 {
    if index < SUB {
        return index as u64;
    }
    let shift = (index / SUB - 1) as u32;
    let low = ((SUB + index % SUB) as u64) << shift;
    low + ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_falls_into_the_bucket_whose_edge_is_just_above() {
        for shift in 0..64 {
            for offset in [0, 1, 3] {
                let ns = (1u64 << shift).saturating_add(offset << (shift / 2));
                let edge = upper_edge(bucket(ns));
                assert!(edge >= ns && edge - ns <= ns / 64, "{ns} {edge}");
            }
        }
        assert!(bucket(u64::MAX) < Histogram::default().counts.len());
    }

    #[test]
    fn quantiles() {
        let mut one = Histogram::default();
        let mut two = Histogram::default();
        assert_eq!(one.quantile_ns(0.5), 0);
        (1..=50).for_each(|ns| one.add(ns));
        (51..=100).for_each(|ns| two.add(ns * 1000));
        one.merge(&two);
        assert_eq!((one.count(), one.max_ns()), (100, 100_000));
        assert_eq!(one.quantile_ns(0.25), 25);
        assert_eq!(one.quantile_ns(1.0), 100_000);
        assert!((99_000..=100_000).contains(&one.quantile_ns(0.99)));
    }
}
