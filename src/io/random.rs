//! The system's random numbers.

use crate::base::random::Random;
use ring::rand::{SecureRandom, SystemRandom};

/// How many bytes are asked for at once: a port number takes a few, and asking costs a system call.
const RESERVE_BYTES: usize = 256;

/// The operating system's generator, good for secrets and unpredictable port numbers.
#[derive(Debug)]
pub struct SystemRandomness {
    system: SystemRandom,
    reserve: [u8; RESERVE_BYTES],
    /// How many bytes of the reserve, from its end, are still to be handed out.
    left: usize,
}

impl SystemRandomness {
    pub fn new() -> SystemRandomness {
        SystemRandomness { system: SystemRandom::new(), reserve: [0; RESERVE_BYTES], left: 0 }
    }

    #[allow(clippy::expect_used)]
    fn ask(system: &SystemRandom, bytes: &mut [u8]) {
        // Going on with predictable numbers would be worse than ending.
        system.fill(bytes).expect("getrandom fails only where the kernel has no random numbers at all");
    }
}

impl Default for SystemRandomness {
    fn default() -> SystemRandomness {
        SystemRandomness::new()
    }
}

impl Random for SystemRandomness {
    fn fill(&mut self, bytes: &mut [u8]) {
        if bytes.len() > RESERVE_BYTES {
            return SystemRandomness::ask(&self.system, bytes);
        }
        if bytes.len() > self.left {
            SystemRandomness::ask(&self.system, &mut self.reserve);
            self.left = RESERVE_BYTES;
        }
        let start = RESERVE_BYTES - self.left;
        let taken = &mut self.reserve[start..start + bytes.len()];
        bytes.copy_from_slice(taken);
        // What was handed out may be a secret: it is not kept.
        taken.fill(0);
        self.left -= bytes.len();
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

    #[test]
    fn every_length_is_filled() {
        let mut random = SystemRandomness::new();
        for length in [1, 7, 100, RESERVE_BYTES, RESERVE_BYTES + 1, 5 * RESERVE_BYTES] {
            let mut filled = vec![0; length];
            // A byte stays zero in one fill of 256: not in twenty.
            for _ in 0..20 {
                let mut bytes = vec![0; length];
                random.fill(&mut bytes);
                filled.iter_mut().zip(bytes).for_each(|(sum, byte)| *sum |= byte);
            }
            assert!(filled.iter().all(|byte| *byte != 0), "{length}");
        }
    }
}
