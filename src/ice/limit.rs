//! A token bucket for answers to those who have not authenticated.

use crate::base::time::Mono;
use std::time::Duration;

/// Answers that may go out at once.
const BURST: u8 = 10;
/// The time in which one more is allowed.
const INTERVAL: Duration = Duration::from_millis(200);

#[derive(Debug, Clone)]
pub(super) struct Bucket {
    tokens: u8,
    filled_at: Mono,
}

impl Bucket {
    pub(super) fn new() -> Bucket {
        Bucket { tokens: BURST, filled_at: Mono(0) }
    }

    /// Takes a token if there is one.
    pub(super) fn take(&mut self, now: Mono) -> bool {
        let earned = now.since(self.filled_at).as_nanos() / INTERVAL.as_nanos();
        if earned > 0 {
            self.tokens = u128::from(self.tokens).saturating_add(earned).min(u128::from(BURST)) as u8;
            self.filled_at = now;
        }
        let has_token = self.tokens > 0;
        self.tokens = self.tokens.saturating_sub(1);
        has_token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_gets_the_burst_and_then_five_a_second() {
        let mut bucket = Bucket::new();
        let milliseconds = |count: u64| Mono(count * 1_000_000);
        let first = (0..1000).filter(|_| bucket.take(milliseconds(5000))).count();
        assert_eq!(first, 10);
        let later = (5000..15000).filter(|&at| bucket.take(milliseconds(at))).count();
        assert_eq!(later, 49);
        assert_eq!((0..100).filter(|_| bucket.take(milliseconds(60_000))).count(), 10);
    }
}
