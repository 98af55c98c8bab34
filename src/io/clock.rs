//! The only reader of clocks.

use crate::base::time::{Mono, Now, Unix};

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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

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
}
