//! Which ports are open, in memory that the kernel shares, and which ones others hold.

use crate::relay::OpenError;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// Ports of an address.
pub(super) const PORTS: usize = 65536;
const WORDS: usize = PORTS / 64;
/// What the program keeps of a port (`struct port`): the shard's mark comes first, the rest is the program's.
const PORT_BYTES: usize = 4;

/// A port of one of the table's addresses, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::io) struct Place {
    pub(super) address: usize,
    pub(super) port: u16,
}

/// The map `open_ports`, mapped, and its addresses in order.
#[derive(Debug)]
pub(super) struct Table {
    addresses: Vec<IpAddr>,
    /// For each address and port PORT_BYTES, of which the first is 0 when closed, else the number of the shard and one.
    first: NonNull<AtomicU8>,
    /// One bit for each address and port: another program has bound it.
    occupied: Vec<AtomicU64>,
}

// SAFETY: the memory belongs to the process, not to a thread, and is only reached as atomics.
unsafe impl Send for Table {}
// SAFETY: the same.
unsafe impl Sync for Table {}

impl Table {
    /// Maps the ports of `addresses`.
    pub(super) fn map(descriptor: BorrowedFd<'_>, addresses: Vec<IpAddr>) -> io::Result<Table> {
        let (bytes, access) = (addresses.len() * PORTS * PORT_BYTES, libc::PROT_READ | libc::PROT_WRITE);
        // SAFETY: a fresh mapping at a place of the kernel's choice; an array map has so many bytes.
        let memory =
            unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, libc::MAP_SHARED, descriptor.as_raw_fd(), 0) };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let first = NonNull::new(memory.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        let occupied = (0..addresses.len() * WORDS).map(|_| AtomicU64::new(0)).collect();
        Ok(Table { addresses, first, occupied })
    }

    pub(super) fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// The families that there are addresses of: 0 is IPv4, 1 is IPv6.
    pub(super) fn families(&self) -> impl Iterator<Item = usize> {
        [false, true]
            .into_iter()
            .enumerate()
            .filter(|(_, is_ipv6)| self.addresses.iter().any(|address| address.is_ipv6() == *is_ipv6))
            .map(|(family, _)| family)
    }

    /// The place of a local address and port; none when the address is not among the table's.
    #[inline]
    pub(super) fn place(&self, local: SocketAddr) -> Option<Place> {
        let address = self.addresses.iter().position(|address| *address == local.ip())?;
        Some(Place { address, port: local.port() })
    }

    pub(super) fn address(&self, place: Place) -> IpAddr {
        self.addresses[place.address]
    }

    /// Opens a port that nobody has for the shard that `mark` stands for.
    ///
    /// # Errors
    /// `InUse`.
    pub(super) fn claim(&self, place: Place, mark: u8) -> Result<(), OpenError> {
        if self.is_occupied(place) {
            return Err(OpenError::InUse);
        }
        let claimed = self.mark(place).compare_exchange(0, mark, Ordering::AcqRel, Ordering::Relaxed);
        claimed.map(drop).map_err(|_| OpenError::InUse)
    }

    /// Gives an open port to another shard, or closes it with a mark of 0.
    pub(super) fn pass(&self, place: Place, mark: u8) {
        self.mark(place).store(mark, Ordering::Release);
    }

    /// Notes what others hold: `bound` are local addresses of sockets. Open ports are this program's own.
    pub(super) fn occupy(&self, bound: &[SocketAddr]) {
        let mut words = vec![0u64; self.occupied.len()];
        for local in bound.iter().filter(|local| local.port() != 0) {
            let held = self.addresses.iter().enumerate().filter(|(_, address)| is_held(local, **address));
            for (address, _) in held {
                let place = Place { address, port: local.port() };
                if self.mark(place).load(Ordering::Relaxed) == 0 {
                    let (word, bit) = bit(place);
                    words[word] |= bit;
                }
            }
        }
        for (word, new) in self.occupied.iter().zip(words) {
            word.store(new, Ordering::Relaxed);
        }
    }

    fn is_occupied(&self, place: Place) -> bool {
        let (word, bit) = bit(place);
        self.occupied[word].load(Ordering::Relaxed) & bit != 0
    }

    fn mark(&self, place: Place) -> &AtomicU8 {
        assert!(place.address < self.addresses.len());
        let index = place.address * PORTS + usize::from(place.port);
        // SAFETY: the mapping has PORTS times PORT_BYTES for each address and lives as long as `self`.
        unsafe { self.first.add(index * PORT_BYTES).as_ref() }
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        // SAFETY: pointer and length are those that `mmap` was given and gave; no reference into it exists.
        unsafe { libc::munmap(self.first.as_ptr().cast(), self.addresses.len() * PORTS * PORT_BYTES) };
    }
}

/// Whether a socket that is bound to `local` has datagrams to `address`. A wildcard of IPv6 may stand for IPv4 too; the
/// system does not tell.
fn is_held(local: &SocketAddr, address: IpAddr) -> bool {
    match (local.ip(), address) {
        (IpAddr::V6(bound), _) if bound.is_unspecified() => true,
        (IpAddr::V4(bound), IpAddr::V4(_)) if bound.is_unspecified() => true,
        (bound, address) => bound.to_canonical() == address,
    }
}

fn bit(place: Place) -> (usize, u64) {
    let port = usize::from(place.port);
    (place.address * WORDS + port / 64, 1 << (port % 64))
}
