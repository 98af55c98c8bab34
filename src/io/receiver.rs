//! The portable receiver: one socket a port.

use super::address::{RAW_ADDRESS_BYTES, RawAddress, from_raw, to_raw};
use super::check_length;
use super::epoll::{Epoll, Events};
use crate::relay::ports::{OpenError, PortToken, Ports};
use slab::Slab;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// The number in the queue that is no port.
pub(super) const WAKER: u32 = u32::MAX;
/// The number of the timer.
pub(super) const TIMER: u32 = WAKER - 1;
/// Descriptors that are watched have the numbers from here on.
pub(super) const WATCHED: u32 = TIMER - WATCHED_LIMIT;
/// How many descriptors can be watched besides ports.
pub const WATCHED_LIMIT: u32 = 1024;

/// Local ports, each a socket, and the queue in which they report that datagrams have come.
#[derive(Debug)]
pub struct Receiver {
    epoll: Epoll,
    sockets: Slab<Port>,
}

#[derive(Debug)]
struct Port {
    socket: Socket,
    /// The turn of the loop in which it was ready last.
    turn: u32,
}

/// A datagram in the caller's buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    pub bytes: usize,
    pub from: SocketAddr,
}

impl Receiver {
    /// A receiver without ports.
    pub fn new() -> io::Result<Receiver> {
        Ok(Receiver { epoll: Epoll::new()?, sockets: Slab::new() })
    }

    /// Lets input on `descriptor` end a wait; it is told to the handler by `number`, which is below
    /// [`WATCHED_LIMIT`]. Of several loops that watch one descriptor one is woken.
    ///
    /// # Errors
    /// When the system has no room for it.
    pub fn watch(&self, descriptor: BorrowedFd<'_>, number: u32) -> io::Result<()> {
        debug_assert!(number < WATCHED_LIMIT);
        self.epoll.add_shared(descriptor, WATCHED + number)
    }

    /// Lets input on `descriptor` end a wait.
    pub(super) fn add_own(&self, descriptor: BorrowedFd<'_>, number: u32) -> io::Result<()> {
        self.epoll.add(descriptor, number)
    }

    /// Waits for datagrams.
    pub(super) fn wait(&self, events: &mut Events, timeout_ms: Option<u32>) -> io::Result<()> {
        self.epoll.wait(events, timeout_ms)
    }

    /// Takes away the error of a port that was ready without a datagram: one that stays would end every wait at once.
    #[cold]
    pub(super) fn clear_error(&self, port: PortToken) {
        let _ = self.sockets.get(port.0 as usize).map(|port| port.socket.take_error());
    }

    /// Notes that a port is ready in a turn; whether it was in the one before.
    #[inline]
    pub(super) fn came_back(&mut self, port: PortToken, turn: u32) -> bool {
        let Some(port) = self.sockets.get_mut(port.0 as usize) else { return false };
        std::mem::replace(&mut port.turn, turn) == turn.wrapping_sub(1)
    }

    /// Takes the next datagram of a port, cut to the length of `buffer`; none when there is none.
    #[inline]
    pub fn receive(&self, port: PortToken, buffer: &mut [u8]) -> Option<Received> {
        let socket = &self.sockets.get(port.0 as usize)?.socket;
        let mut from = MaybeUninit::<RawAddress>::uninit();
        let mut length = RAW_ADDRESS_BYTES;
        // SAFETY: pointers and lengths describe `buffer` and `from`, and the call writes no more than those lengths.
        let result = unsafe {
            let data = buffer.as_mut_ptr().cast();
            let address = from.as_mut_ptr().cast();
            libc::recvfrom(socket.as_raw_fd(), data, buffer.len(), libc::MSG_DONTWAIT, address, &mut length)
        };
        // Besides there being nothing, an ICMP error of an earlier datagram may be reported once, and is then gone.
        let bytes = check_length(result).ok()?;
        Some(Received { bytes, from: from_raw(&from, length)? })
    }

    /// Sends one datagram.
    #[inline]
    pub fn send(&self, port: PortToken, to: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        let socket = &self.sockets.get(port.0 as usize).ok_or(io::ErrorKind::NotConnected)?.socket;
        let (address, length) = to_raw(to);
        // SAFETY: pointers and lengths describe `datagram` and `address`, which the call only reads.
        check_length(unsafe {
            let address = (&raw const address).cast();
            let data = datagram.as_ptr().cast();
            libc::sendto(socket.as_raw_fd(), data, datagram.len(), libc::MSG_DONTWAIT, address, length)
        })?;
        Ok(())
    }

    /// The number of open ports.
    pub fn len(&self) -> usize {
        self.sockets.len()
    }

    pub fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }
}

impl Ports for Receiver {
    fn open(&mut self, local: SocketAddr) -> Result<PortToken, OpenError> {
        let socket = open_socket(local).map_err(|error| open_error(&error))?;
        let entry = self.sockets.vacant_entry();
        let port = PortToken(entry.key() as u32);
        self.epoll.add(socket.as_fd(), port.0).map_err(|error| open_error(&error))?;
        entry.insert(Port { socket, turn: 0 });
        Ok(port)
    }

    fn close(&mut self, port: PortToken) {
        // Closing the only descriptor of a socket takes it out of the queue.
        drop(self.sockets.try_remove(port.0 as usize));
    }

    fn set_tos(&mut self, port: PortToken, tos: u8) {
        let Some(Port { socket, .. }) = self.sockets.get(port.0 as usize) else { return };
        // A host that refuses an octet sends with its own; media goes on.
        let _ = match socket.domain() {
            Ok(Domain::IPV4) => socket.set_tos_v4(u32::from(tos)),
            _ => socket.set_tclass_v6(u32::from(tos)),
        };
    }
}

/// A bound socket that does not block, made with as few system calls as can be: set-up time is spent here.
fn open_socket(local: SocketAddr) -> io::Result<Socket> {
    let kind = Type::DGRAM.nonblocking().cloexec();
    let socket = Socket::new_raw(Domain::for_address(local), kind, Some(Protocol::UDP))?;
    match local {
        SocketAddr::V4(_) => set_fragmentable(&socket)?,
        SocketAddr::V6(_) => socket.set_only_v6(true)?,
    }
    socket.bind(&local.into())?;
    Ok(socket)
}

/// Lets routers fragment what is sent over IPv4. A relay can't make its packets smaller when a path turns out narrow,
/// and where ICMP is filtered it would not even hear of it. Over IPv6 the system fragments as the path asks.
fn set_fragmentable(socket: &Socket) -> io::Result<()> {
    let value: libc::c_int = libc::IP_PMTUDISC_DONT;
    // SAFETY: the descriptor is open, pointer and length describe `value`.
    super::check(unsafe {
        let (value, length) = ((&raw const value).cast(), size_of_val(&value) as libc::socklen_t);
        libc::setsockopt(socket.as_raw_fd(), libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, value, length)
    })?;
    Ok(())
}

fn open_error(error: &io::Error) -> OpenError {
    match error.raw_os_error() {
        Some(libc::EADDRINUSE) => OpenError::InUse,
        Some(libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT) => OpenError::NoSuchAddress,
        Some(libc::EACCES | libc::EPERM) => OpenError::NotPermitted,
        Some(libc::EMFILE | libc::ENFILE) => OpenError::OutOfDescriptors,
        Some(libc::ENOMEM | libc::ENOBUFS | libc::ENOSPC) => OpenError::OutOfMemory,
        other => OpenError::Other(other.unwrap_or(0)),
    }
}

#[cfg(test)]
mod tests;
