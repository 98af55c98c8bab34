//! The system's random numbers.

use crate::base::random::Random;
use ring::rand::{SecureRandom, SystemRandom};

/// The operating system's generator, good for secrets and unpredictable port numbers.
#[derive(Debug, Clone)]
pub struct SystemRandomness(SystemRandom);

impl SystemRandomness {
    pub fn new() -> SystemRandomness {
        SystemRandomness(SystemRandom::new())
    }
}

impl Default for SystemRandomness {
    fn default() -> SystemRandomness {
        SystemRandomness::new()
    }
}

impl Random for SystemRandomness {
    #[allow(clippy::expect_used)]
    fn fill(&mut self, bytes: &mut [u8]) {
        // Going on with predictable numbers would be worse than ending.
        self.0.fill(bytes).expect("getrandom fails only where the kernel has no random numbers at all");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_differ() {
        let mut random = SystemRandomness::new();
        let numbers: std::collections::HashSet<u32> = (0..64).map(|_| random.u32()).collect();
        assert!(numbers.len() > 60, "{}", numbers.len());
    }
}
