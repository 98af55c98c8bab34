//! The ports of a shard: each a socket, or steered to one that many share.

use super::address::{RAW_ADDRESS_BYTES, RawAddress, from_raw, to_raw};
use super::batch::Datagram;
use super::check_length;
use super::epoll::{Epoll, Events};
use super::steer::{Arrival, SteeredPort, SteeredPorts};
use super::xdp::ShardLines;
use crate::relay::ports::{OpenError, PortInTransit, PortToken, Ports};
use slab::Slab;
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::HashMap;
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
/// The sockets that many ports share have the numbers from here on, one for each family.
pub(super) const SHARED: u32 = WATCHED - FAMILIES;
const FAMILIES: u32 = 2;
/// Lines past the network stack have the numbers from here on.
pub(super) const LINES: u32 = SHARED - MOST_LINES;
/// `MOST_LINES`.
const MOST_LINES: u32 = 4096;

/// Local ports, and the queue in which they report that datagrams have come.
pub struct Receiver {
    epoll: Epoll,
    ports: Slab<Port>,
    steered: Option<SteeredPorts>,
    lines: Option<ShardLines>,
    /// Ports with sockets, where packets to them may come by lines.
    by_address: HashMap<SocketAddr, PortToken>,
}

#[derive(Debug)]
enum Port {
    Own {
        socket: Socket,
        local: SocketAddr,
        tos: u8,
        /// The turn of the loop in which it was ready last.
        turn: u32,
    },
    Steered(SteeredPort),
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
        Ok(Receiver {
            epoll: Epoll::new()?,
            ports: Slab::new(),
            steered: None,
            lines: None,
            by_address: HashMap::new(),
        })
    }

    /// Opens ports without a socket each from now on, where their address is served so.
    ///
    /// # Errors
    /// When the system has no room for it.
    pub fn steer(&mut self, steered: SteeredPorts) -> io::Result<()> {
        for family in 0..FAMILIES {
            if let Some(descriptor) = steered.descriptor(family as usize) {
                self.epoll.add(descriptor, SHARED + family)?;
            }
        }
        self.steered = Some(steered);
        Ok(())
    }

    /// Takes packets to ports that will be opened by lines as well, and sends what answers these by lines.
    ///
    /// # Errors
    /// When the system has no room for it.
    pub fn use_lines(&mut self, lines: ShardLines) -> io::Result<()> {
        for (descriptor, number) in lines.descriptors().zip(LINES..SHARED) {
            self.epoll.add(descriptor, number)?;
        }
        self.lines = Some(lines);
        Ok(())
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

    fn insert(&mut self, socket: Socket, local: SocketAddr) -> Result<PortToken, OpenError> {
        let entry = self.ports.vacant_entry();
        let port = PortToken(entry.key() as u32);
        self.epoll.add(socket.as_fd(), port.0).map_err(|error| open_error(&error))?;
        entry.insert(Port::Own { socket, local, tos: 0, turn: 0 });
        if self.lines.is_some() {
            self.by_address.insert(local, port);
        }
        Ok(port)
    }

    /// The socket of a port that has one.
    fn socket(&self, port: PortToken) -> Option<&Socket> {
        match self.ports.get(port.0 as usize)? {
            Port::Own { socket, .. } => Some(socket),
            Port::Steered(_) => None,
        }
    }

    /// Waits for datagrams.
    pub(super) fn wait(&self, events: &mut Events, timeout_ms: Option<u32>) -> io::Result<()> {
        self.epoll.wait(events, timeout_ms)
    }

    /// Takes away the error of a port that was ready without a datagram: one that stays would end every wait at once.
    #[cold]
    pub(super) fn clear_error(&self, port: PortToken) {
        let _ = self.socket(port).map(Socket::take_error);
    }

    /// Notes that a port is ready in a turn; whether it was in the one before.
    #[inline]
    pub(super) fn came_back(&mut self, port: PortToken, now: u32) -> bool {
        match self.ports.get_mut(port.0 as usize) {
            Some(Port::Own { turn, .. }) => std::mem::replace(turn, now) == now.wrapping_sub(1),
            _ => false,
        }
    }

    /// Takes what waits at the socket that ports of a family share; tells how many datagrams, and whether there may be
    /// more.
    #[inline]
    pub(super) fn receive_shared(&mut self, family: u32) -> (usize, bool) {
        self.steered.as_mut().map_or((0, false), |steered| steered.receive(family as usize))
    }

    /// A datagram that was taken there; none when its port was closed before.
    #[inline]
    pub(super) fn shared(&mut self, family: u32, index: usize) -> Option<Arrival<'_>> {
        self.steered.as_mut()?.get(family as usize, index)
    }

    /// Takes what has come by a line; tells how many frames, and whether there may be more. They are to be given back by
    /// [`Receiver::recycle_line`].
    #[inline]
    pub(super) fn receive_line(&mut self, line: u32) -> (usize, bool) {
        self.lines.as_mut().map_or((0, false), |lines| lines.receive(line as usize))
    }

    /// A datagram that was taken there; none when there is no good one for an open port.
    #[inline]
    pub(super) fn lifted(&mut self, line: u32, index: usize) -> Option<Arrival<'_>> {
        let lifted = self.lines.as_mut()?.get(line as usize, index)?;
        let steered = self.steered.as_ref().and_then(|steered| steered.port_at(lifted.local));
        let port = steered.or_else(|| self.by_address.get(&lifted.local).copied())?;
        Some(Arrival { port, from: lifted.from, bytes: lifted.bytes })
    }

    /// Gives frames back that were taken there.
    #[inline]
    pub(super) fn recycle_line(&mut self, line: u32) {
        self.lines.iter_mut().for_each(|lines| lines.recycle(line as usize));
    }

    /// Whether a datagram was queued at a line.
    #[inline]
    fn queue_at_line(&mut self, datagram: &Datagram, bytes: &mut [u8]) -> bool {
        let origin = match self.ports.get(datagram.from.0 as usize) {
            Some(Port::Own { local, tos, .. }) => (*local, *tos),
            Some(Port::Steered(port)) => port.origin(),
            None => return false,
        };
        self.lines.as_mut().is_some_and(|lines| lines.queue(origin, datagram.to, &datagram.payload, bytes))
    }

    /// Takes the next datagram of a port that has a socket, cut to the length of `buffer`; none when there is none.
    #[inline]
    pub fn receive(&self, port: PortToken, buffer: &mut [u8]) -> Option<Received> {
        let socket = self.socket(port)?;
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

    /// Sends datagrams, whose payloads lie in `bytes`; `failed` hears of each port whose datagram was not taken.
    pub(super) fn send_all(&mut self, datagrams: &[Datagram], bytes: &mut [u8], mut failed: impl FnMut(PortToken)) {
        for datagram in datagrams {
            if datagram.is_lifted && self.queue_at_line(datagram, bytes) {
                continue;
            }
            let Datagram { from, to, payload, .. } = datagram;
            let result = match self.ports.get(from.0 as usize) {
                Some(Port::Own { socket, .. }) => send_to(socket, *to, &bytes[payload.clone()]).map(|()| None),
                Some(Port::Steered(port)) => match &mut self.steered {
                    Some(steered) => steered.queue(port, (*from, *to), payload, bytes),
                    None => Err(io::ErrorKind::NotConnected.into()),
                },
                None => Err(io::ErrorKind::NotConnected.into()),
            };
            match result {
                Ok(None) => {}
                Ok(Some(outlet)) => self.send_queued(outlet, bytes, &mut failed),
                Err(_) => failed(*from),
            }
        }
        self.lines.iter_mut().for_each(ShardLines::send);
        for outlet in 0..self.steered.as_ref().map_or(0, SteeredPorts::outlets) {
            self.send_queued(outlet, bytes, &mut failed);
        }
    }

    fn send_queued(&mut self, outlet: usize, bytes: &[u8], failed: &mut impl FnMut(PortToken)) {
        let Some(steered) = &mut self.steered else { return };
        while let Err((waiting, error)) = steered.send(outlet, bytes) {
            let port = match self.ports.get_mut(waiting.from.0 as usize) {
                Some(Port::Steered(port)) if error.raw_os_error() == Some(libc::EMSGSIZE) => port,
                _ => {
                    failed(waiting.from);
                    continue;
                }
            };
            let sent = port.fragmenting().and_then(|socket| send_to(socket, waiting.to, &bytes[waiting.payload]));
            if sent.is_err() {
                failed(waiting.from);
            }
        }
    }

    /// The number of open ports.
    pub fn len(&self) -> usize {
        self.ports.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ports.is_empty()
    }
}

impl Ports for Receiver {
    fn open(&mut self, local: SocketAddr) -> Result<PortToken, OpenError> {
        let token = PortToken(self.ports.vacant_key() as u32);
        if let Some(opened) = self.steered.as_mut().and_then(|steered| steered.open(local, token)) {
            self.ports.insert(Port::Steered(opened?));
            return Ok(token);
        }
        let socket = open_socket(local).map_err(|error| open_error(&error))?;
        self.insert(socket, local)
    }

    fn release(&mut self, port: PortToken) -> Option<PortInTransit> {
        match self.ports.try_remove(port.0 as usize)? {
            Port::Own { socket, local, .. } => {
                // It can only fail for a descriptor that is not in the queue.
                let _ = self.epoll.remove(socket.as_fd());
                self.by_address.remove(&local);
                Some(Box::new((socket, local)))
            }
            Port::Steered(port) => {
                self.steered.iter_mut().for_each(|steered| steered.forget(&port));
                Some(Box::new(port))
            }
        }
    }

    fn take_over(&mut self, port: PortInTransit) -> Result<PortToken, OpenError> {
        let port = match port.downcast::<(Socket, SocketAddr)>() {
            Ok(port) => return self.insert(port.0, port.1),
            Err(port) => port.downcast::<SteeredPort>().map_err(|_| OpenError::Other(0))?,
        };
        let token = PortToken(self.ports.vacant_key() as u32);
        self.steered.as_mut().ok_or(OpenError::Other(0))?.take_over(&port, token)?;
        self.ports.insert(Port::Steered(*port));
        Ok(token)
    }

    fn close(&mut self, port: PortToken) {
        // Closing the only descriptor of a socket takes it out of the queue.
        match self.ports.try_remove(port.0 as usize) {
            Some(Port::Steered(port)) => self.steered.iter_mut().for_each(|steered| steered.forget(&port)),
            Some(Port::Own { local, .. }) => drop(self.by_address.remove(&local)),
            None => {}
        }
    }

    fn set_tos(&mut self, port: PortToken, tos: u8) {
        match self.ports.get_mut(port.0 as usize) {
            Some(Port::Own { socket, tos: known, .. }) => {
                *known = tos;
                set_tos(socket, tos);
            }
            Some(Port::Steered(port)) => port.set_tos(tos),
            None => {}
        }
    }
}

/// Sends one datagram.
#[inline]
fn send_to(socket: &Socket, to: SocketAddr, datagram: &[u8]) -> io::Result<()> {
    let (address, length) = to_raw(to);
    // SAFETY: pointers and lengths describe `datagram` and `address`, which the call only reads.
    check_length(unsafe {
        let address = (&raw const address).cast();
        let data = datagram.as_ptr().cast();
        libc::sendto(socket.as_raw_fd(), data, datagram.len(), libc::MSG_DONTWAIT, address, length)
    })?;
    Ok(())
}

pub(super) fn set_tos(socket: &Socket, tos: u8) {
    // A host that refuses an octet sends with its own; media goes on.
    let _ = match socket.domain() {
        Ok(Domain::IPV4) => socket.set_tos_v4(u32::from(tos)),
        _ => socket.set_tclass_v6(u32::from(tos)),
    };
}

/// A bound socket that does not block, made with as few system calls as can be: set-up time is spent here.
pub(super) fn open_socket(local: SocketAddr) -> io::Result<Socket> {
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

pub(super) fn open_error(error: &io::Error) -> OpenError {
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
