//! Which processor a thread runs on.

use super::check;
use std::io;

/// Keeps the calling thread on one processor, counted from 0.
pub fn pin(processor: usize) -> io::Result<()> {
    // SAFETY: a cpu_set_t is an array of integers, for which zeros are a value.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    if processor >= 8 * size_of::<libc::cpu_set_t>() {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: the number has been checked against the size of the set.
    unsafe { libc::CPU_SET(processor, &mut set) };
    // SAFETY: pointer and size describe `set`; 0 is the calling thread.
    check(unsafe { libc::sched_setaffinity(0, size_of_val(&set), &set) })?;
    Ok(())
}

/// The processors that the calling thread may run on.
pub fn allowed() -> io::Result<Vec<usize>> {
    // SAFETY: as in `pin`.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: pointer and size describe `set`; 0 is the calling thread.
    check(unsafe { libc::sched_getaffinity(0, size_of_val(&set), &mut set) })?;
    // SAFETY: every number is below the size of the set.
    Ok((0..8 * size_of_val(&set)).filter(|&processor| unsafe { libc::CPU_ISSET(processor, &set) }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_thread_is_allowed_one_processor() {
        let pinned = std::thread::spawn(|| {
            let last = *allowed().unwrap().last().unwrap();
            pin(last).unwrap();
            (allowed().unwrap(), last)
        });
        let (allowed, last) = pinned.join().unwrap();
        assert_eq!(allowed, [last]);
        assert!(pin(usize::MAX).is_err());
    }
}
