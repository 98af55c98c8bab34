//! UDP sockets of control protocols: they tell which local address a datagram came to, and answer from that address.

use super::address::{RAW_ADDRESS_BYTES, RawAddress, from_raw, to_raw};
use super::{check, check_length};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// Room for the control messages of one datagram, aligned as the system wants it.
#[repr(C, align(8))]
struct ControlRoom([u8; 128]);

/// A bound socket that does not block.
#[derive(Debug)]
pub struct ControlSocket(Socket);

/// Where a datagram came from, and which local address it came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    pub from: SocketAddr,
    /// None when the system does not tell.
    pub local: Option<IpAddr>,
}

/// What IPv4 sockets do about the path's MTU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathMtu {
    /// As the system is configured.
    System,
    /// Discover it.
    Discover,
    /// Let routers fragment.
    Ignore,
}

/// To wait for input.
impl AsFd for ControlSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl ControlSocket {
    /// Binds to `local`, which may be a wildcard; an IPv6 socket is for IPv6 alone.
    pub fn bind(local: SocketAddr, path_mtu: PathMtu) -> io::Result<ControlSocket> {
        let socket = Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        let control = ControlSocket(socket);
        match local {
            SocketAddr::V4(_) => {
                control.set_option(libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
                control.set_path_mtu(path_mtu)?;
            }
            SocketAddr::V6(_) => {
                control.0.set_only_v6(true)?;
                control.set_option(libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
            }
        }
        // Room for a burst of requests; a host that grants less grants what it can.
        let _ = control.0.set_recv_buffer_size(4 << 20);
        control.0.bind(&local.into())?;
        Ok(control)
    }

    /// Sets the type of service of what is sent.
    pub fn set_tos(&self, tos: u8) -> io::Result<()> {
        match self.0.domain()? {
            Domain::IPV4 => self.0.set_tos_v4(u32::from(tos)),
            _ => self.0.set_tclass_v6(u32::from(tos)),
        }
    }

    /// The address that the socket is bound to.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()?.as_socket().ok_or_else(|| io::ErrorKind::Unsupported.into())
    }

    /// Takes a datagram, cut to the length of `buffer`.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Route)> {
        let mut from = MaybeUninit::<RawAddress>::uninit();
        let mut room = ControlRoom([0; 128]);
        let mut piece = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        // SAFETY: a msghdr of zeros is a legal one without any parts.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_name = from.as_mut_ptr().cast();
        header.msg_namelen = RAW_ADDRESS_BYTES;
        header.msg_iov = &raw mut piece;
        header.msg_iovlen = 1;
        header.msg_control = room.0.as_mut_ptr().cast();
        header.msg_controllen = room.0.len() as _;
        // SAFETY: the header describes `from`, `buffer` and `room`, which outlive the call.
        let bytes = check_length(unsafe { libc::recvmsg(self.0.as_raw_fd(), &mut header, 0) })?;
        let from = from_raw(&from, header.msg_namelen).ok_or(io::ErrorKind::InvalidData)?;
        Ok((bytes, Route { from, local: local_address(&header) }))
    }

    /// Sends a datagram back along a route.
    pub fn send(&self, datagram: &[u8], route: Route) -> io::Result<()> {
        let (mut address, length) = to_raw(route.from);
        let mut room = ControlRoom([0; 128]);
        let mut piece = libc::iovec { iov_base: datagram.as_ptr().cast_mut().cast(), iov_len: datagram.len() };
        // SAFETY: a msghdr of zeros is a legal one without any parts.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_name = (&raw mut address).cast();
        header.msg_namelen = length;
        header.msg_iov = &raw mut piece;
        header.msg_iovlen = 1;
        if let Some(local) = route.local {
            write_source(&mut header, &mut room, local);
        }
        // SAFETY: the header describes `address`, `datagram` and `room`, which the call only reads.
        check_length(unsafe { libc::sendmsg(self.0.as_raw_fd(), &header, libc::MSG_NOSIGNAL) })?;
        Ok(())
    }

    fn set_path_mtu(&self, path_mtu: PathMtu) -> io::Result<()> {
        let value = match path_mtu {
            PathMtu::System => return Ok(()),
            PathMtu::Discover => libc::IP_PMTUDISC_WANT,
            PathMtu::Ignore => libc::IP_PMTUDISC_DONT,
        };
        self.set_option(libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, value)
    }

    fn set_option(&self, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
        // SAFETY: the descriptor is open, pointer and length describe `value`.
        check(unsafe {
            let (pointer, length) = ((&raw const value).cast(), size_of_val(&value) as libc::socklen_t);
            libc::setsockopt(self.0.as_raw_fd(), level, name, pointer, length)
        })?;
        Ok(())
    }
}

/// The local address among the control messages of a received datagram.
fn local_address(header: &libc::msghdr) -> Option<IpAddr> {
    // SAFETY: the header describes the control messages that the system has just written.
    let mut message = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !message.is_null() {
        // SAFETY: the macros give a whole header within the described room, or null.
        let (level, kind) = unsafe { ((*message).cmsg_level, (*message).cmsg_type) };
        // SAFETY: the data of a control message follows its header.
        let data = unsafe { libc::CMSG_DATA(message) };
        match (level, kind) {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                // SAFETY: this kind of message holds an in_pktinfo, whose alignment is not promised.
                let info = unsafe { data.cast::<libc::in_pktinfo>().read_unaligned() };
                return Some(Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes()).into());
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                // SAFETY: this kind of message holds an in6_pktinfo, whose alignment is not promised.
                let info = unsafe { data.cast::<libc::in6_pktinfo>().read_unaligned() };
                return Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
            }
            // SAFETY: header and message are those of this loop.
            _ => message = unsafe { libc::CMSG_NXTHDR(header, message) },
        }
    }
    None
}

/// Writes the control message that makes `local` the source address.
fn write_source(header: &mut libc::msghdr, room: &mut ControlRoom, local: IpAddr) {
    match local {
        IpAddr::V4(address) => {
            let source = libc::in_addr { s_addr: u32::from_ne_bytes(address.octets()) };
            let info = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: source, ipi_addr: libc::in_addr { s_addr: 0 } };
            write_message(header, room, (libc::IPPROTO_IP, libc::IP_PKTINFO), info);
        }
        IpAddr::V6(address) => {
            let source = libc::in6_addr { s6_addr: address.octets() };
            let info = libc::in6_pktinfo { ipi6_addr: source, ipi6_ifindex: 0 };
            write_message(header, room, (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO), info);
        }
    }
}

fn write_message<T: Copy>(
    header: &mut libc::msghdr,
    room: &mut ControlRoom,
    (level, kind): (libc::c_int, libc::c_int),
    info: T,
) {
    let bytes = size_of::<T>() as libc::c_uint;
    header.msg_control = room.0.as_mut_ptr().cast();
    // SAFETY: these macros only compute lengths; the room is larger than either message.
    let (space, length) = unsafe { (libc::CMSG_SPACE(bytes), libc::CMSG_LEN(bytes)) };
    header.msg_controllen = space as _;
    // SAFETY: the room holds one message of this length, so the first header and its data lie within it.
    unsafe {
        let message = libc::CMSG_FIRSTHDR(header);
        (*message).cmsg_level = level;
        (*message).cmsg_type = kind;
        (*message).cmsg_len = length as _;
        libc::CMSG_DATA(message).cast::<T>().write_unaligned(info);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::time::Duration;

    fn receive(socket: &ControlSocket) -> (Vec<u8>, Route) {
        let mut buffer = vec![0; 65535];
        for _ in 0..200 {
            match socket.receive(&mut buffer) {
                Ok((bytes, route)) => return (buffer[..bytes].to_vec(), route),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(Duration::from_millis(5)),
                Err(error) => panic!("{error}"),
            }
        }
        panic!("nothing came");
    }

    fn answer_comes_from_the_address_asked(wildcard: &str, asked: &str, client: &str) {
        let Ok(socket) = ControlSocket::bind(wildcard.parse().unwrap(), PathMtu::Ignore) else {
            assert!(wildcard.starts_with('['), "IPv4 is always there");
            return;
        };
        socket.set_tos(184).unwrap();
        let port = socket.local_address().unwrap().port();
        let asked = SocketAddr::new(asked.parse().unwrap(), port);
        let client = UdpSocket::bind(client).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        client.send_to(&[7; 40_000], asked).unwrap();
        let (datagram, route) = receive(&socket);
        assert_eq!((datagram.len(), route.from, route.local), (40_000, client.local_addr().unwrap(), Some(asked.ip())));
        socket.send(b"reply", route).unwrap();
        let mut buffer = [0; 100];
        assert_eq!(client.recv_from(&mut buffer).unwrap(), (5, asked));
    }

    #[test]
    fn ipv4() {
        answer_comes_from_the_address_asked("0.0.0.0:0", "127.0.0.9", "127.0.0.5:0");
    }

    #[test]
    fn ipv6() {
        answer_comes_from_the_address_asked("[::]:0", "::1", "[::1]:0");
    }
}
