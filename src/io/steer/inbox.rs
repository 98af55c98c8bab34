//! The socket that the datagrams of many ports come to.

use super::super::address::{RAW_ADDRESS_BYTES, RawAddress, from_raw};
use super::super::check;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// Datagrams that one system call takes.
pub(super) const MOST: usize = 32;
/// Room for the largest datagram.
const DATAGRAM_BYTES: usize = 65536;
/// What may wait: a tenth of a second of 100,000 packets, each of which counts with about a kibibyte.
const QUEUE_BYTES: libc::c_int = 8 << 20;

/// Room for the control message of one datagram, aligned as the system wants it.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct ControlRoom([u8; 64]);

/// A socket of one family, and what was taken from it last.
pub(super) struct Inbox {
    socket: Socket,
    /// MOST times DATAGRAM_BYTES. Pages that no datagram was long enough for are never touched.
    bytes: Vec<u8>,
    from: Vec<MaybeUninit<RawAddress>>,
    control: Vec<ControlRoom>,
    pieces: Vec<libc::iovec>,
    messages: Vec<libc::mmsghdr>,
    count: usize,
}

// SAFETY: the pointers in `pieces` and `messages` are to the other members, and are written anew before each use.
unsafe impl Send for Inbox {}

/// A datagram in the inbox.
pub(super) struct Arrived<'a> {
    pub(super) from: SocketAddr,
    /// The address and port that it was sent to.
    pub(super) local: SocketAddr,
    pub(super) bytes: &'a mut [u8],
}

impl Inbox {
    /// A socket of a family, with room for much to wait.
    pub(super) fn new(is_ipv6: bool) -> io::Result<Inbox> {
        let socket = open_socket(is_ipv6)?;
        let (level, name) = match is_ipv6 {
            false => (libc::IPPROTO_IP, libc::IP_RECVORIGDSTADDR),
            true => (libc::IPPROTO_IPV6, libc::IPV6_RECVORIGDSTADDR),
        };
        set_option(&socket, level, name, 1)?;
        if set_option(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, QUEUE_BYTES).is_err() {
            socket.set_recv_buffer_size(QUEUE_BYTES as usize)?;
        }
        // SAFETY: an iovec of zeros is an empty one.
        let piece: libc::iovec = unsafe { std::mem::zeroed() };
        // SAFETY: a message of zeros is a legal one without any parts.
        let message: libc::mmsghdr = unsafe { std::mem::zeroed() };
        Ok(Inbox {
            socket,
            bytes: vec![0; MOST * DATAGRAM_BYTES],
            from: vec![MaybeUninit::uninit(); MOST],
            control: vec![ControlRoom([0; 64]); MOST],
            pieces: vec![piece; MOST],
            messages: vec![message; MOST],
            count: 0,
        })
    }

    /// The limit of hops that the system gives to datagrams.
    pub(super) fn hops(&self) -> u8 {
        let hops = match self.socket.domain() {
            Ok(Domain::IPV4) => self.socket.ttl_v4(),
            _ => self.socket.unicast_hops_v6(),
        };
        hops.ok().and_then(|hops| u8::try_from(hops).ok()).unwrap_or(64)
    }

    /// Takes what waits, at most [`MOST`] datagrams; tells how many.
    pub(super) fn receive(&mut self) -> usize {
        for index in 0..MOST {
            let bytes = &mut self.bytes[index * DATAGRAM_BYTES..][..DATAGRAM_BYTES];
            self.pieces[index] = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: DATAGRAM_BYTES };
            let header = &mut self.messages[index].msg_hdr;
            header.msg_name = self.from[index].as_mut_ptr().cast();
            header.msg_namelen = RAW_ADDRESS_BYTES;
            header.msg_iov = &raw mut self.pieces[index];
            header.msg_iovlen = 1;
            header.msg_control = self.control[index].0.as_mut_ptr().cast();
            header.msg_controllen = size_of::<ControlRoom>() as _;
        }
        let (descriptor, messages) = (self.socket.as_raw_fd(), self.messages.as_mut_ptr());
        // SAFETY: each of the MOST headers describes its own part of the other members.
        let count = check(unsafe {
            libc::recvmmsg(descriptor, messages, MOST as libc::c_uint, libc::MSG_DONTWAIT, std::ptr::null_mut())
        });
        // Besides there being nothing, an ICMP error of an earlier datagram may be reported once, and is then gone.
        self.count = count.unwrap_or(0) as usize;
        self.count
    }

    /// The datagram at `index`, which is below what [`Inbox::receive`] told; none when the system did not tell its
    /// addresses.
    #[inline]
    pub(super) fn get(&mut self, index: usize) -> Option<Arrived<'_>> {
        debug_assert!(index < self.count);
        let message = &self.messages[index];
        let from = from_raw(&self.from[index], message.msg_hdr.msg_namelen)?;
        let local = original_destination(&message.msg_hdr)?;
        let bytes = &mut self.bytes[index * DATAGRAM_BYTES..][..(message.msg_len as usize).min(DATAGRAM_BYTES)];
        Some(Arrived { from, local, bytes })
    }
}

impl AsFd for Inbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Inbox {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.socket.as_raw_fd()
    }
}

/// A socket of a family. It must be bound to something, for the kernel to steer to it.
pub(super) fn open_socket(is_ipv6: bool) -> io::Result<Socket> {
    let (domain, loopback, any): (Domain, SocketAddr, SocketAddr) = match is_ipv6 {
        false => (Domain::IPV4, (Ipv4Addr::LOCALHOST, 0).into(), (Ipv4Addr::UNSPECIFIED, 0).into()),
        true => (Domain::IPV6, (Ipv6Addr::LOCALHOST, 0).into(), (Ipv6Addr::UNSPECIFIED, 0).into()),
    };
    let socket = Socket::new_raw(domain, Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))?;
    if is_ipv6 {
        socket.set_only_v6(true)?;
    }
    // A namespace may have no loopback device that is up.
    socket.bind(&loopback.into()).or_else(|_| socket.bind(&any.into()))?;
    Ok(socket)
}

fn set_option(socket: &Socket, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the descriptor is open, pointer and length describe `value`.
    check(unsafe {
        let (value, length) = ((&raw const value).cast(), size_of_val(&value) as libc::socklen_t);
        libc::setsockopt(socket.as_raw_fd(), level, name, value, length)
    })?;
    Ok(())
}

/// The address and port that a datagram was sent to, from its control messages (ip(7), IP_RECVORIGDSTADDR).
#[inline]
fn original_destination(header: &libc::msghdr) -> Option<SocketAddr> {
    // SAFETY: the header describes the control messages that the system has just written.
    let mut message = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !message.is_null() {
        // SAFETY: the macros give a whole header within the described room, or null.
        let (level, kind) = unsafe { ((*message).cmsg_level, (*message).cmsg_type) };
        let length = match (level, kind) {
            (libc::IPPROTO_IP, libc::IP_ORIGDSTADDR) => size_of::<libc::sockaddr_in>(),
            (libc::IPPROTO_IPV6, libc::IPV6_ORIGDSTADDR) => size_of::<libc::sockaddr_in6>(),
            _ => {
                // SAFETY: header and message are those of this loop.
                message = unsafe { libc::CMSG_NXTHDR(header, message) };
                continue;
            }
        };
        let mut address = MaybeUninit::<RawAddress>::uninit();
        // SAFETY: this kind of message holds an address of this length, which is no longer than a RawAddress.
        unsafe {
            std::ptr::copy_nonoverlapping(libc::CMSG_DATA(message), address.as_mut_ptr().cast::<u8>(), length);
        }
        return from_raw(&address, length as libc::socklen_t);
    }
    None
}
