//! The states of entries, in memory that the kernel shares.

use crate::fastpath::layout::Stream;
use crate::fastpath::table::Slot;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;

/// The map `streams`, mapped.
pub(super) struct Streams {
    first: NonNull<Stream>,
    count: usize,
}

// SAFETY: the memory belongs to the process, not to a thread; each slot has one user at a time.
unsafe impl Send for Streams {}
// SAFETY: the same; reads and writes of slots are volatile.
unsafe impl Sync for Streams {}

impl Streams {
    /// Maps `count` states.
    pub(super) fn map(descriptor: BorrowedFd<'_>, count: usize) -> io::Result<Streams> {
        let (bytes, access) = (count * size_of::<Stream>(), libc::PROT_READ | libc::PROT_WRITE);
        // SAFETY: a fresh mapping at a place of the kernel's choice; an array map has so many bytes.
        let memory =
            unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, libc::MAP_SHARED, descriptor.as_raw_fd(), 0) };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let first = NonNull::new(memory.cast::<Stream>()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Streams { first, count })
    }

    /// The state at a slot. The kernel may be changing it: single values are whole, their sum may be of two moments.
    pub(super) fn read(&self, slot: Slot) -> Stream {
        let Some(place) = self.place(slot) else { return Stream::default() };
        // SAFETY: the slot is within the mapping, which lives as long as `self`, and any bytes are a state.
        unsafe { place.read_volatile() }
    }

    /// Sets the state of a slot whose entry is not installed.
    pub(super) fn write(&self, slot: Slot, state: Stream) {
        if let Some(place) = self.place(slot) {
            // SAFETY: the slot is within the mapping, and nobody else writes it before its entry is installed.
            unsafe { place.write_volatile(state) }
        }
    }

    fn place(&self, slot: Slot) -> Option<NonNull<Stream>> {
        // SAFETY: the index is below the number of states that were mapped.
        ((slot.0 as usize) < self.count).then(|| unsafe { self.first.add(slot.0 as usize) })
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        // SAFETY: pointer and length are those that `mmap` was given and gave; no reference into it exists.
        unsafe { libc::munmap(self.first.as_ptr().cast(), self.count * size_of::<Stream>()) };
    }
}
