use super::*;
use crate::io::Batch;
use crate::relay::Transmit;
use std::net::UdpSocket;
use std::time::Duration;

fn any(ip: &str) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), 0)
}

/// A port of the receiver at a number that was free a moment ago, with its address.
fn open(receiver: &mut Receiver, ip: &str) -> (PortToken, SocketAddr) {
    for _ in 0..100 {
        let local = UdpSocket::bind(any(ip)).unwrap().local_addr().unwrap();
        if let Ok(port) = receiver.open(local) {
            return (port, local);
        }
    }
    panic!("no free port on {ip}");
}

fn peer(ip: &str) -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind(any(ip)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// Sends one datagram by way of a batch.
fn send(receiver: &mut Receiver, port: PortToken, to: SocketAddr, datagram: &[u8]) -> Result<(), PortToken> {
    let (mut batch, mut failed) = (Batch::new(), None);
    batch.send(port, to, datagram);
    batch.flush(receiver, |port| failed = Some(port));
    failed.map_or(Ok(()), Err)
}

fn option(receiver: &Receiver, port: PortToken, level: libc::c_int, name: libc::c_int) -> libc::c_int {
    let mut value: libc::c_int = -1;
    let mut length = size_of_val(&value) as libc::socklen_t;
    let socket = receiver.socket(port).unwrap().as_raw_fd();
    // SAFETY: pointer and length describe `value`.
    unsafe { libc::getsockopt(socket, level, name, (&raw mut value).cast(), &mut length) };
    value
}

#[test]
fn datagrams_pass_in_both_families() {
    for ip in ["127.0.0.1", "::1"] {
        let mut receiver = Receiver::new().unwrap();
        let (port, local) = open(&mut receiver, ip);
        let (socket, address) = peer(ip);
        socket.send_to(b"hello", local).unwrap();
        let mut events = Events::new();
        receiver.wait(&mut events, Some(2000)).unwrap();
        assert_eq!((events.len(), events.get(0).number, events.get(0).is_error), (1, port.0, false));
        let mut buffer = [0; 100];
        assert_eq!(receiver.receive(port, &mut buffer), Some(Received { bytes: 5, from: address }));
        assert_eq!(&buffer[..5], b"hello");
        assert_eq!(receiver.receive(port, &mut buffer), None);
        send(&mut receiver, port, address, b"back").unwrap();
        assert_eq!(socket.recv_from(&mut buffer).unwrap(), (4, local));
    }
}

#[test]
fn a_port_is_taken_over_with_what_waits_at_it() {
    let (mut first, mut second) = (Receiver::new().unwrap(), Receiver::new().unwrap());
    open(&mut second, "127.0.0.1");
    let (port, local) = open(&mut first, "127.0.0.1");
    let (socket, address) = peer("127.0.0.1");
    socket.send_to(b"early", local).unwrap();
    let released = first.release(port).unwrap();
    assert!(first.is_empty() && first.release(port).is_none());
    let mut events = Events::new();
    first.wait(&mut events, Some(0)).unwrap();
    assert_eq!(events.len(), 0, "a port that was given away is not reported");
    socket.send_to(b"between", local).unwrap();
    let port = second.take_over(released).unwrap();
    let mut buffer = [0; 100];
    for expected in [&b"early"[..], b"between"] {
        second.wait(&mut events, Some(2000)).unwrap();
        assert_eq!(events.get(0).number, port.0);
        let received = second.receive(port, &mut buffer).unwrap();
        assert_eq!((&buffer[..received.bytes], received.from), (expected, address));
    }
    send(&mut second, port, address, b"back").unwrap();
    assert_eq!(socket.recv_from(&mut buffer).unwrap(), (4, local));
    assert!(second.take_over(Box::new(())).is_err(), "nothing else is a port");
}

#[test]
fn errors_name_their_cause() {
    let mut receiver = Receiver::new().unwrap();
    let (_, local) = open(&mut receiver, "127.0.0.1");
    assert_eq!(receiver.open(local), Err(OpenError::InUse));
    assert_eq!(receiver.open("192.0.2.1:40000".parse().unwrap()), Err(OpenError::NoSuchAddress));
    assert_eq!(receiver.open("[2001:db8::99]:40000".parse().unwrap()), Err(OpenError::NoSuchAddress));
    assert_eq!(receiver.len(), 1, "what failed left nothing behind");
}

#[test]
fn a_closed_port_is_free_for_others() {
    let mut receiver = Receiver::new().unwrap();
    let (port, local) = open(&mut receiver, "127.0.0.1");
    receiver.close(port);
    receiver.close(port);
    assert!(receiver.is_empty());
    drop(UdpSocket::bind(local).unwrap());
    assert_eq!(receiver.open(local), Ok(port), "the token is used again");
    assert!(send(&mut receiver, PortToken(77), local, b"").is_err());
    assert_eq!(receiver.receive(PortToken(77), &mut [0; 4]), None);
}

#[test]
fn sockets_are_bound_to_their_address_alone() {
    let mut receiver = Receiver::new().unwrap();
    let (_, local) = open(&mut receiver, "127.0.0.1");
    let other = SocketAddr::new("127.0.0.2".parse().unwrap(), local.port());
    assert!(receiver.open(other).is_ok(), "the same number at another address");
    let (port, _) = open(&mut receiver, "::1");
    assert_eq!(option(&receiver, port, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY), 1);
}

#[test]
fn packets_may_be_fragmented_and_carry_the_service_octet() {
    let mut receiver = Receiver::new().unwrap();
    let (port, _) = open(&mut receiver, "127.0.0.1");
    assert_eq!(option(&receiver, port, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER), libc::IP_PMTUDISC_DONT);
    receiver.set_tos(port, 184);
    assert_eq!(option(&receiver, port, libc::IPPROTO_IP, libc::IP_TOS), 184);
    let (port, _) = open(&mut receiver, "::1");
    receiver.set_tos(port, 184);
    assert_eq!(option(&receiver, port, libc::IPPROTO_IPV6, libc::IPV6_TCLASS), 184);
    receiver.set_tos(PortToken(77), 184);
}

#[test]
fn a_datagram_longer_than_the_buffer_is_cut() {
    let mut receiver = Receiver::new().unwrap();
    let (port, local) = open(&mut receiver, "127.0.0.1");
    let (socket, address) = peer("127.0.0.1");
    socket.send_to(&[7; 200], local).unwrap();
    assert_eq!(receiver.receive(port, &mut [0; 16]), Some(Received { bytes: 16, from: address }));
}

#[test]
fn every_cause_has_its_error() {
    for (cause, expected) in [
        (libc::EADDRINUSE, OpenError::InUse),
        (libc::EADDRNOTAVAIL, OpenError::NoSuchAddress),
        (libc::EAFNOSUPPORT, OpenError::NoSuchAddress),
        (libc::EACCES, OpenError::NotPermitted),
        (libc::EMFILE, OpenError::OutOfDescriptors),
        (libc::ENFILE, OpenError::OutOfDescriptors),
        (libc::ENOBUFS, OpenError::OutOfMemory),
        (libc::EIO, OpenError::Other(libc::EIO)),
    ] {
        assert_eq!(open_error(&io::Error::from_raw_os_error(cause)), expected);
    }
}
