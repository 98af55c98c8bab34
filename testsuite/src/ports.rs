//! Addresses on loopback that nobody uses.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

/// A free UDP port.
pub fn free_udp() -> io::Result<SocketAddr> {
    UdpSocket::bind("127.0.0.1:0")?.local_addr()
}

/// A free TCP port.
pub fn free_tcp() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

/// The first of `count` neighbouring free UDP ports, an even one.
pub fn free_block(count: u16) -> Option<u16> {
    let is_free = |port: u16| UdpSocket::bind(("127.0.0.1", port)).is_ok();
    (30_000..60_000 - count).step_by(100).find(|first| (*first..first + count).all(is_free))
}
