//! The rings that a socket of AF_XDP shares with the kernel (Documentation/networking/af_xdp.rst).

use crate::io::check;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

/// Memory that is shared with the kernel.
#[derive(Debug)]
pub(super) struct Mapping {
    first: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the memory belongs to the process, not to a thread; who may touch which part of it is for its users to say.
unsafe impl Send for Mapping {}
// SAFETY: the same.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Memory of its own, zeroed, on a page.
    pub(super) fn anonymous(bytes: usize) -> io::Result<Mapping> {
        Mapping::map(bytes, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
    }

    fn map(bytes: usize, flags: libc::c_int, descriptor: libc::c_int, offset: libc::off_t) -> io::Result<Mapping> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a fresh mapping at a place of the kernel's choice.
        let memory = unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, flags, descriptor, offset) };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let first = NonNull::new(memory.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Mapping { first, bytes })
    }

    pub(super) fn address(&self) -> u64 {
        self.first.as_ptr() as u64
    }

    /// Where something of `bytes` at `offset` lies; none if it is not all within.
    pub(super) fn at(&self, offset: usize, bytes: usize) -> Option<NonNull<u8>> {
        let is_within = offset.checked_add(bytes).is_some_and(|end| end <= self.bytes);
        // SAFETY: the offset is within the mapping.
        is_within.then(|| unsafe { self.first.add(offset) })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this length, and whoever holds pointers into it holds it.
        unsafe { libc::munmap(self.first.as_ptr().cast(), self.bytes) };
    }
}

/// Which ring of a socket: the option that sizes it, and the offset at which it is mapped.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Receive,
    Transmit,
    Fill,
    Completion,
}

impl Kind {
    fn option(self) -> libc::c_int {
        match self {
            Kind::Receive => libc::XDP_RX_RING,
            Kind::Transmit => libc::XDP_TX_RING,
            Kind::Fill => libc::XDP_UMEM_FILL_RING,
            Kind::Completion => libc::XDP_UMEM_COMPLETION_RING,
        }
    }

    fn place(self) -> libc::off_t {
        match self {
            Kind::Receive => libc::XDP_PGOFF_RX_RING,
            Kind::Transmit => libc::XDP_PGOFF_TX_RING,
            Kind::Fill => libc::XDP_UMEM_PGOFF_FILL_RING as libc::off_t,
            Kind::Completion => libc::XDP_UMEM_PGOFF_COMPLETION_RING as libc::off_t,
        }
    }

    fn offsets(self, all: &libc::xdp_mmap_offsets) -> libc::xdp_ring_offset {
        match self {
            Kind::Receive => all.rx,
            Kind::Transmit => all.tx,
            Kind::Fill => all.fr,
            Kind::Completion => all.cr,
        }
    }
}

/// One end of a ring of `T`: this one writes where the kernel reads, or reads where it writes.
#[derive(Debug)]
pub(super) struct Ring<T> {
    producer: NonNull<AtomicU32>,
    consumer: NonNull<AtomicU32>,
    slots: NonNull<T>,
    size: u32,
    /// How far this end has got; the other hears of it by `publish`.
    at: u32,
    /// How far the other end had got when it was looked at last.
    other: u32,
    _memory: Mapping,
}

// SAFETY: the pointers are into the mapping that it owns.
unsafe impl<T: Send> Send for Ring<T> {}

impl<T: Copy> Ring<T> {
    /// Makes a ring of a socket, with room for `size` elements, a power of two.
    pub(super) fn make(socket: BorrowedFd<'_>, kind: Kind, size: u32) -> io::Result<Ring<T>> {
        debug_assert!(size.is_power_of_two());
        set_option(socket, kind.option(), &size)?;
        let all = offsets(socket)?;
        let offsets = kind.offsets(&all);
        let bytes = offsets.desc as usize + size as usize * size_of::<T>();
        let flags = libc::MAP_SHARED | libc::MAP_POPULATE;
        let memory = Mapping::map(bytes, flags, socket.as_raw_fd(), kind.place())?;
        let place = |offset: u64, bytes: usize| memory.at(offset as usize, bytes).ok_or(io::ErrorKind::InvalidData);
        let producer = place(offsets.producer, size_of::<AtomicU32>())?.cast();
        let consumer = place(offsets.consumer, size_of::<AtomicU32>())?.cast();
        let slots = place(offsets.desc, size as usize * size_of::<T>())?.cast();
        Ok(Ring { producer, consumer, slots, size, at: 0, other: 0, _memory: memory })
    }

    fn slot(&self, at: u32) -> NonNull<T> {
        // SAFETY: there are `size` slots.
        unsafe { self.slots.add((at & (self.size - 1)) as usize) }
    }

    fn producer(&self) -> &AtomicU32 {
        // SAFETY: it is within the mapping, aligned, and only reached as an atomic.
        unsafe { self.producer.as_ref() }
    }

    fn consumer(&self) -> &AtomicU32 {
        // SAFETY: the same.
        unsafe { self.consumer.as_ref() }
    }

    /// Writes an element; false when there is no room. The kernel sees it after [`Ring::publish`].
    #[inline]
    pub(super) fn push(&mut self, element: T) -> bool {
        if self.at.wrapping_sub(self.other) == self.size {
            self.other = self.consumer().load(Ordering::Acquire);
        }
        if self.at.wrapping_sub(self.other) >= self.size {
            return false;
        }
        // SAFETY: the kernel has read what was in this slot, and does not look at it before it is published.
        unsafe { self.slot(self.at).write(element) };
        self.at = self.at.wrapping_add(1);
        true
    }

    /// Shows the kernel what was pushed.
    #[inline]
    pub(super) fn publish(&mut self) {
        self.producer().store(self.at, Ordering::Release);
    }

    /// Whether the kernel has still to take some of what was published.
    #[inline]
    pub(super) fn is_behind(&self) -> bool {
        self.consumer().load(Ordering::Acquire) != self.at
    }

    /// Takes an element; none when there is none. Its slot is the kernel's again after [`Ring::release`].
    #[inline]
    pub(super) fn pop(&mut self) -> Option<T> {
        if self.other == self.at {
            self.other = self.producer().load(Ordering::Acquire);
            if self.other == self.at {
                return None;
            }
        }
        // SAFETY: the kernel has written this slot, and leaves it alone until it is released.
        let element = unsafe { self.slot(self.at).read() };
        self.at = self.at.wrapping_add(1);
        Some(element)
    }

    /// Gives the kernel the slots of what was popped.
    #[inline]
    pub(super) fn release(&mut self) {
        self.consumer().store(self.at, Ordering::Release);
    }
}

/// Sets an option of AF_XDP to the bytes of a value.
pub(super) fn set_option<T>(socket: BorrowedFd<'_>, name: libc::c_int, value: &T) -> io::Result<()> {
    // SAFETY: the descriptor is open, pointer and length describe `value`.
    check(unsafe {
        let (value, length) = ((&raw const *value).cast(), size_of::<T>() as libc::socklen_t);
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_XDP, name, value, length)
    })?;
    Ok(())
}

fn offsets(socket: BorrowedFd<'_>) -> io::Result<libc::xdp_mmap_offsets> {
    // SAFETY: numbers, all of which may be zero.
    let mut offsets: libc::xdp_mmap_offsets = unsafe { std::mem::zeroed() };
    let mut length = size_of::<libc::xdp_mmap_offsets>() as libc::socklen_t;
    // SAFETY: the descriptor is open, pointer and length describe `offsets`.
    check(unsafe {
        let value = (&raw mut offsets).cast();
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_XDP, libc::XDP_MMAP_OFFSETS, value, &mut length)
    })?;
    // Before Linux 5.4 they were shorter.
    if length as usize != size_of::<libc::xdp_mmap_offsets>() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    Ok(offsets)
}
