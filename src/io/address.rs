//! Socket addresses as the operating system writes them.

use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Room for an address of either family.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) union RawAddress {
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

/// The length of `RawAddress`.
pub(super) const RAW_ADDRESS_BYTES: libc::socklen_t = size_of::<RawAddress>() as libc::socklen_t;

/// The system's form of `address` with its length.
#[inline]
pub(super) fn to_raw(address: SocketAddr) -> (RawAddress, libc::socklen_t) {
    match address {
        SocketAddr::V4(address) => {
            let v4 = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: address.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
                sin_zero: [0; 8],
            };
            (RawAddress { v4 }, size_of::<libc::sockaddr_in>() as libc::socklen_t)
        }
        SocketAddr::V6(address) => {
            let v6 = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: address.port().to_be(),
                sin6_flowinfo: address.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: address.ip().octets() },
                sin6_scope_id: address.scope_id(),
            };
            (RawAddress { v6 }, size_of::<libc::sockaddr_in6>() as libc::socklen_t)
        }
    }
}

/// Reads an address that the system wrote, `length` bytes long; none for other families.
#[inline]
pub(super) fn from_raw(raw: &MaybeUninit<RawAddress>, length: libc::socklen_t) -> Option<SocketAddr> {
    let length = length as usize;
    if length < size_of::<libc::sockaddr_in>() {
        return None;
    }
    // SAFETY: at least a sockaddr_in was written, and its every value is legal.
    let v4 = unsafe { raw.assume_init_ref().v4 };
    if libc::c_int::from(v4.sin_family) == libc::AF_INET {
        let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
        return Some(SocketAddr::V4(SocketAddrV4::new(ip, u16::from_be(v4.sin_port))));
    }
    if libc::c_int::from(v4.sin_family) != libc::AF_INET6 || length < size_of::<libc::sockaddr_in6>() {
        return None;
    }
    // SAFETY: a whole sockaddr_in6 was written, and its every value is legal.
    let v6 = unsafe { raw.assume_init_ref().v6 };
    let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
    Some(SocketAddr::V6(SocketAddrV6::new(ip, u16::from_be(v6.sin6_port), 0, v6.sin6_scope_id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_both_ways() {
        for text in ["203.0.113.1:40000", "[2001:db8::1]:1", "[fe80::1%3]:65535", "0.0.0.0:0"] {
            let address: SocketAddr = text.parse().unwrap();
            let (raw, length) = to_raw(address);
            assert_eq!(from_raw(&MaybeUninit::new(raw), length), Some(address), "{text}");
            assert_eq!(from_raw(&MaybeUninit::new(raw), 0), None);
        }
    }
}
