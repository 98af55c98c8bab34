//! The only reader of clocks.

use crate::base::time::{Mono, Now, Unix};
use std::time::Duration;

fn read(clock: libc::clockid_t) -> libc::timespec {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one timespec to the pointer, and both clocks exist on every Linux, so it can't fail.
    unsafe { libc::clock_gettime(clock, &mut time) };
    time
}

/// The monotonic clock, the one that `bpf_ktime_get_ns` reads too.
pub fn mono() -> Mono {
    let time = read(libc::CLOCK_MONOTONIC);
    Mono(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// The wall clock.
pub fn unix() -> Unix {
    let time = read(libc::CLOCK_REALTIME);
    Unix(time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000)
}

/// This moment on both clocks.
pub fn now() -> Now {
    Now { mono: mono(), unix: unix() }
}

/// Both clocks for one thread: the wall clock is looked at once a second and carried on by the monotonic one.
#[derive(Debug)]
pub struct Clock {
    compared: Now,
}

/// After this the clocks are compared anew.
const COMPARE_EVERY: Duration = Duration::from_secs(1);

impl Clock {
    pub fn new() -> Clock {
        Clock { compared: now() }
    }

    /// This moment.
    #[inline]
    pub fn now(&mut self) -> Now {
        let mono = mono();
        let passed = mono.since(self.compared.mono);
        if passed >= COMPARE_EVERY {
            self.compared = now();
            return self.compared;
        }
        Now { mono, unix: Unix(self.compared.unix.0 + passed.as_micros() as u64) }
    }
}

impl Default for Clock {
    fn default() -> Clock {
        Clock::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    #[test]
    fn both_clocks_run() {
        let before = now();
        std::thread::sleep(Duration::from_millis(5));
        let after = now();
        assert!(after.mono.since(before.mono) >= Duration::from_millis(5));
        assert!(after.unix > before.unix);
        let system = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        assert!(system.abs_diff(after.unix.seconds()) <= 1);
    }

    #[test]
    fn a_carried_clock_agrees_with_the_system() {
        let mut clock = Clock::new();
        for _ in 0..3 {
            std::thread::sleep(Duration::from_millis(2));
            let (carried, system) = (clock.now(), now());
            assert!(system.mono.since(carried.mono) < Duration::from_millis(100));
            assert!(carried.unix.0.abs_diff(system.unix.0) < 100_000);
        }
    }
}
