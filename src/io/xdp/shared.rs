//! Maps of states and counters, in memory that the kernel shares.

use aya::Pod;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

/// An array map of `T`, mapped.
pub(super) struct Shared<T: Pod> {
    first: NonNull<T>,
    count: usize,
}

// SAFETY: the memory belongs to the process, not to a thread; each slot has one user at a time.
unsafe impl<T: Pod> Send for Shared<T> {}
// SAFETY: the same; reads and writes of slots are volatile.
unsafe impl<T: Pod> Sync for Shared<T> {}

impl<T: Pod> Shared<T> {
    /// Maps `count` elements.
    pub(super) fn map(descriptor: BorrowedFd<'_>, count: usize) -> io::Result<Shared<T>> {
        let (bytes, access) = (count * size_of::<T>(), libc::PROT_READ | libc::PROT_WRITE);
        // SAFETY: a fresh mapping at a place of the kernel's choice; an array map has so many bytes.
        let memory =
            unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, libc::MAP_SHARED, descriptor.as_raw_fd(), 0) };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let first = NonNull::new(memory.cast::<T>()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Shared { first, count })
    }

    /// The element at an index. The kernel may be changing it: single values are whole, their sum may be of two moments.
    pub(super) fn read(&self, index: u32) -> T
    where
        T: Default,
    {
        let Some(place) = self.place(index) else { return T::default() };
        // SAFETY: the index is within the mapping, which lives as long as `self`, and any bytes are an element.
        unsafe { place.read_volatile() }
    }

    /// Sets an element that no entry in the kernel points to.
    pub(super) fn write(&self, index: u32, element: T) {
        if let Some(place) = self.place(index) {
            // SAFETY: the index is within the mapping, and nobody else writes it before an entry is installed.
            unsafe { place.write_volatile(element) }
        }
    }

    /// The first eight bytes of an element, which programs read while they change.
    pub(super) fn word(&self, index: u32) -> Option<&AtomicU64> {
        const { assert!(size_of::<T>() >= 8 && align_of::<T>() == 8) };
        let place = self.place(index)?;
        // SAFETY: the element is within the mapping, which lives as long as `self`, as long and aligned as the word is.
        Some(unsafe { AtomicU64::from_ptr(place.as_ptr().cast()) })
    }

    fn place(&self, index: u32) -> Option<NonNull<T>> {
        // SAFETY: the index is below the number of elements that were mapped.
        ((index as usize) < self.count).then(|| unsafe { self.first.add(index as usize) })
    }
}

impl<T: Pod> Drop for Shared<T> {
    fn drop(&mut self) {
        // SAFETY: pointer and length are those that `mmap` was given and gave; no reference into it exists.
        unsafe { libc::munmap(self.first.as_ptr().cast(), self.count * size_of::<T>()) };
    }
}
