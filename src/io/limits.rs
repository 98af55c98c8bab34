//! Limits of the process.

use super::check;
use std::io;

/// Raises the number of descriptors that the process may have open as far as it may itself, and tells that number.
pub fn raise_descriptors() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the call writes one rlimit to the pointer.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) })?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the call reads one rlimit from the pointer.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) })?;
    Ok(limit.rlim_cur)
}

/// Has memory come by small pages from now on (prctl(2), `PR_SET_THP_DISABLE`). By huge ones it grows by 2 MiB at a time, most
/// of which few calls leave unused.
pub fn refuse_huge_pages() -> io::Result<()> {
    let (on, unused): (libc::c_ulong, libc::c_ulong) = (1, 0);
    // SAFETY: the call takes numbers alone.
    check(unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, on, unused, unused, unused) }).map(drop)
}

/// The number of descriptors that the process may have open.
pub fn descriptors() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the call writes one rlimit to the pointer.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) })?;
    Ok(limit.rlim_cur)
}

/// Changes the number of descriptors that the process may have open.
pub fn set_descriptors(count: u64) -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the call writes one rlimit to the pointer.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) })?;
    limit.rlim_cur = count;
    // SAFETY: the call reads one rlimit from the pointer.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn huge_pages_are_off_for_the_whole_process() {
        refuse_huge_pages().unwrap();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        // Kernels before 5.0 don't tell.
        assert!(status.lines().filter(|line| line.starts_with("THP_enabled:")).all(|line| line.ends_with('0')));
    }

    #[test]
    fn the_soft_limit_becomes_the_hard_limit() {
        let raised = raise_descriptors().unwrap();
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the call writes one rlimit to the pointer.
        check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) }).unwrap();
        assert_eq!((limit.rlim_cur, limit.rlim_max), (raised, raised));
    }
}
