//! A moment to be woken at, as a descriptor. A wait with a time limit would program the processor's timer at every
//! turn of the loop, which costs more than a request; this is programmed only when the moment changes.

use super::check;
use crate::base::time::Mono;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Becomes readable at the moment that was last set.
#[derive(Debug)]
pub(super) struct Timer {
    descriptor: OwnedFd,
    armed: Option<Mono>,
}

impl Timer {
    /// A timer that is not set.
    pub(super) fn new() -> io::Result<Timer> {
        // SAFETY: the call takes numbers.
        let descriptor =
            check(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK | libc::TFD_CLOEXEC) })?;
        // SAFETY: the descriptor was just made and belongs to nobody else.
        Ok(Timer { descriptor: unsafe { OwnedFd::from_raw_fd(descriptor) }, armed: None })
    }

    /// Sets the moment, or none. One that has passed is told at once.
    pub(super) fn set(&mut self, at: Option<Mono>) -> io::Result<()> {
        if self.armed == at {
            return Ok(());
        }
        // A moment of zero would switch the timer off.
        let nanoseconds = at.map_or(0, |at| at.0.max(1));
        let value = libc::timespec {
            tv_sec: (nanoseconds / 1_000_000_000) as libc::time_t,
            tv_nsec: (nanoseconds % 1_000_000_000) as libc::c_long,
        };
        let never = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let setting = libc::itimerspec { it_interval: never, it_value: value };
        // SAFETY: the descriptor is open, and the pointer is to a setting.
        check(unsafe {
            let (descriptor, flags) = (self.descriptor.as_raw_fd(), libc::TFD_TIMER_ABSTIME);
            libc::timerfd_settime(descriptor, flags, &raw const setting, std::ptr::null_mut())
        })?;
        self.armed = at;
        Ok(())
    }

    /// The moment has come: it is not told again.
    pub(super) fn drain(&mut self) {
        let mut expirations = [0u8; 8];
        // SAFETY: pointer and length describe the array.
        let _ = unsafe { libc::read(self.descriptor.as_raw_fd(), expirations.as_mut_ptr().cast(), expirations.len()) };
        self.armed = None;
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
