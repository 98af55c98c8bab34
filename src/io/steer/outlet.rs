//! The raw socket through which datagrams leave from any port of one local address.

use super::super::address::{RawAddress, to_raw};
use super::super::check;
use super::super::headers::{HEAD_ROOM, LONGEST_PAYLOAD, Origin, write_ipv4, write_ipv6};
use super::super::receiver::open_error;
use crate::relay::{OpenError, PortToken};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::os::fd::AsRawFd;

/// Datagrams that one system call sends.
const MOST: usize = 64;
/// What may be under way: an interface's queue has the packets of all ports.
const QUEUE_BYTES: libc::c_int = 8 << 20;
const IPPROTO_RAW: i32 = 255;

/// A datagram that waits, by where it lies in the batch.
#[derive(Debug, Clone)]
pub(in crate::io) struct Waiting {
    pub(in crate::io) from: PortToken,
    pub(in crate::io) to: SocketAddr,
    /// The payload, in front of which is the room for headers.
    pub(in crate::io) payload: Range<usize>,
    header_bytes: usize,
}

/// A raw socket, which can only send, and what waits at it.
pub(super) struct Outlet {
    socket: Socket,
    local: IpAddr,
    waiting: Vec<Waiting>,
    sent: usize,
    names: Vec<RawAddress>,
    pieces: Vec<libc::iovec>,
    messages: Vec<libc::mmsghdr>,
}

// SAFETY: the pointers in `pieces` and `messages` are written anew before each use.
unsafe impl Send for Outlet {}

impl Outlet {
    /// An outlet of a local address. Being bound to it, it is routed as a socket there would be.
    pub(super) fn open(local: IpAddr) -> Result<Outlet, OpenError> {
        let local_address = SocketAddr::new(local, 0);
        let open = || {
            let kind = Type::RAW.nonblocking().cloexec();
            let protocol = Some(Protocol::from(IPPROTO_RAW));
            let socket = Socket::new_raw(Domain::for_address(local_address), kind, protocol)?;
            let value = QUEUE_BYTES;
            // SAFETY: the descriptor is open, pointer and length describe `value`.
            let forced = check(unsafe {
                let (value, length) = ((&raw const value).cast(), size_of_val(&value) as libc::socklen_t);
                libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, value, length)
            });
            if forced.is_err() {
                socket.set_send_buffer_size(QUEUE_BYTES as usize)?;
            }
            socket.bind(&local_address.into())?;
            Ok(socket)
        };
        Ok(Outlet {
            socket: open().map_err(|error| open_error(&error))?,
            local,
            waiting: Vec::with_capacity(MOST),
            sent: 0,
            names: Vec::with_capacity(MOST),
            pieces: Vec::with_capacity(MOST),
            messages: Vec::with_capacity(MOST),
        })
    }

    /// Writes the headers of a datagram, whose room and payload are `packet`, and keeps it for [`Outlet::send`].
    ///
    /// # Errors
    /// For destinations that no socket at this address would send to.
    #[inline]
    pub(super) fn queue(
        &mut self,
        origin: Origin,
        (from, to): (PortToken, SocketAddr),
        payload: &Range<usize>,
        bytes: &mut [u8],
    ) -> io::Result<()> {
        if to.port() == 0 || to.ip().is_unspecified() || payload.len() > LONGEST_PAYLOAD {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let packet = &mut bytes[payload.start - HEAD_ROOM..payload.end];
        let header_bytes = match (self.local, to) {
            (IpAddr::V4(local), SocketAddr::V4(to)) => write_ipv4(packet, origin, local, *to.ip(), to.port()),
            (IpAddr::V6(local), SocketAddr::V6(to)) if to.ip().to_ipv4_mapped().is_none() => {
                write_ipv6(packet, origin, local, *to.ip(), to.port())
            }
            _ => return Err(io::ErrorKind::AddrNotAvailable.into()),
        };
        self.waiting.push(Waiting { from, to, payload: payload.clone(), header_bytes });
        Ok(())
    }

    /// Whether as many wait as one system call sends.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= MOST
    }

    /// Sends what waits; `bytes` are those of the batch. It stops at the first datagram that is not taken, and gives
    /// that one with the reason: call it again for the others.
    #[inline]
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<(), (Waiting, io::Error)> {
        self.prepare(bytes);
        while self.sent < self.waiting.len() {
            let rest = &mut self.messages[self.sent..];
            // SAFETY: each header describes an address in `names` and a packet in `bytes`, which are only read.
            let taken = check(unsafe {
                let (messages, count) = (rest.as_mut_ptr(), rest.len() as libc::c_uint);
                libc::sendmmsg(self.socket.as_raw_fd(), messages, count, libc::MSG_DONTWAIT)
            });
            match taken {
                Ok(count) => self.sent += count.max(1) as usize,
                Err(error) => {
                    let refused = self.waiting[self.sent].clone();
                    self.sent += 1;
                    return Err((refused, error));
                }
            }
        }
        self.waiting.clear();
        self.sent = 0;
        Ok(())
    }

    fn prepare(&mut self, bytes: &[u8]) {
        self.names.clear();
        self.pieces.clear();
        self.messages.clear();
        for waiting in &self.waiting {
            let (name, name_bytes) = to_raw(destination(waiting.to));
            self.names.push(name);
            let packet = &bytes[waiting.payload.start - waiting.header_bytes..waiting.payload.end];
            self.pieces.push(libc::iovec { iov_base: packet.as_ptr().cast_mut().cast(), iov_len: packet.len() });
            // SAFETY: a message of zeros is a legal one without any parts.
            let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
            message.msg_hdr.msg_namelen = name_bytes;
            message.msg_hdr.msg_iovlen = 1;
            self.messages.push(message);
        }
        for ((message, name), piece) in self.messages.iter_mut().zip(&mut self.names).zip(&mut self.pieces) {
            message.msg_hdr.msg_name = (&raw mut *name).cast();
            message.msg_hdr.msg_iov = piece;
        }
    }
}

/// The destination as raw sockets of IPv6 want it: the number of a protocol stands where a port would (ipv6(7)), and 0
/// is the socket's own.
fn destination(to: SocketAddr) -> SocketAddr {
    let mut to = to;
    to.set_port(0);
    to
}
