//! The system's readiness queue.

use super::check;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Events that one wait can return: enough to spread its cost, few enough to look at commands often.
const EVENTS: usize = 128;

/// A set of descriptors, each with a number, that is waited on for input.
#[derive(Debug)]
pub(super) struct Epoll {
    queue: OwnedFd,
}

/// What a wait returned.
pub(super) struct Events {
    events: Box<[libc::epoll_event; EVENTS]>,
    ready: usize,
}

/// One descriptor that is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ready {
    pub(super) number: u32,
    /// There is nothing to read but an error to take away.
    pub(super) is_error: bool,
}

impl Epoll {
    pub(super) fn new() -> io::Result<Epoll> {
        // SAFETY: the call takes one number.
        let queue = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the descriptor was just made and belongs to nobody else.
        Ok(Epoll { queue: unsafe { OwnedFd::from_raw_fd(queue) } })
    }

    /// Waits for input on `descriptor` too, until it is closed.
    pub(super) fn add(&self, descriptor: BorrowedFd<'_>, number: u32) -> io::Result<()> {
        self.add_for(libc::EPOLLIN as u32, descriptor, number)
    }

    /// The same for a descriptor that several queues wait for: input wakes one of them.
    pub(super) fn add_shared(&self, descriptor: BorrowedFd<'_>, number: u32) -> io::Result<()> {
        self.add_for((libc::EPOLLIN | libc::EPOLLEXCLUSIVE) as u32, descriptor, number)
    }

    fn add_for(&self, events: u32, descriptor: BorrowedFd<'_>, number: u32) -> io::Result<()> {
        let mut event = libc::epoll_event { events, u64: u64::from(number) };
        let (queue, descriptor) = (self.queue.as_raw_fd(), descriptor.as_raw_fd());
        // SAFETY: both descriptors are open, and the pointer is to an event.
        check(unsafe { libc::epoll_ctl(queue, libc::EPOLL_CTL_ADD, descriptor, &mut event) })?;
        Ok(())
    }

    /// Waits for input on `descriptor` no more.
    pub(super) fn remove(&self, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        let (queue, descriptor) = (self.queue.as_raw_fd(), descriptor.as_raw_fd());
        // SAFETY: both descriptors are open; the kernel reads no event for this operation (since Linux 2.6.9).
        check(unsafe { libc::epoll_ctl(queue, libc::EPOLL_CTL_DEL, descriptor, std::ptr::null_mut()) })?;
        Ok(())
    }

    /// Waits until something is ready, but not longer than `timeout_ms`; for ever when there is none.
    pub(super) fn wait(&self, events: &mut Events, timeout_ms: Option<u32>) -> io::Result<()> {
        events.ready = 0;
        let timeout =
            timeout_ms.map_or(-1, |milliseconds| libc::c_int::try_from(milliseconds).unwrap_or(libc::c_int::MAX));
        let room = events.events.as_mut_ptr();
        // SAFETY: the array has room for EVENTS events.
        let ready = check(unsafe { libc::epoll_wait(self.queue.as_raw_fd(), room, EVENTS as libc::c_int, timeout) });
        match ready {
            Ok(ready) => events.ready = ready as usize,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

impl Events {
    pub(super) fn new() -> Events {
        Events { events: Box::new([libc::epoll_event { events: 0, u64: 0 }; EVENTS]), ready: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.ready
    }

    /// `index` is below `len`.
    pub(super) fn get(&self, index: usize) -> Ready {
        let event = self.events[index];
        Ready { number: event.u64 as u32, is_error: event.events & libc::EPOLLIN as u32 == 0 }
    }
}
