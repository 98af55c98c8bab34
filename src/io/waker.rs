//! Wakes an event loop from another thread.

use super::{check, check_length};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// Tells an event loop that something waits for it. Many wakes before the loop looks are one.
#[derive(Debug)]
pub struct Waker {
    event: OwnedFd,
    pending: AtomicBool,
}

impl Waker {
    pub(super) fn new() -> io::Result<Waker> {
        // SAFETY: the call takes two numbers.
        let event = check(unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) })?;
        // SAFETY: the descriptor was just made and belongs to nobody else.
        Ok(Waker { event: unsafe { OwnedFd::from_raw_fd(event) }, pending: AtomicBool::new(false) })
    }

    /// Makes the loop call its handler's `wake` soon. What was queued before this call is seen there.
    pub fn wake(&self) {
        if self.pending.swap(true, Ordering::AcqRel) {
            return;
        }
        let one = 1u64.to_ne_bytes();
        // The only failure is a counter at its limit, which wakes the loop all the same.
        // SAFETY: pointer and length describe `one`.
        let _ = check_length(unsafe { libc::write(self.event.as_raw_fd(), one.as_ptr().cast(), one.len()) });
    }

    /// Whether the loop was woken since the last call.
    pub(super) fn take(&self) -> bool {
        self.pending.load(Ordering::Relaxed) && self.pending.swap(false, Ordering::AcqRel)
    }

    /// Takes the event out of the queue. It may come after `take` has seen the wake.
    pub(super) fn drain(&self) {
        let mut count = [0u8; 8];
        // SAFETY: pointer and length describe `count`.
        let _ = check_length(unsafe { libc::read(self.event.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) });
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}
