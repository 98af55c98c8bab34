//! What the configuration asks of the host: files, environment, names, addresses.

use crate::config::System;
use crate::config::interface::Resolver;
use std::ffi::CStr;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs, UdpSocket};

/// This host.
#[derive(Debug, Clone, Copy)]
pub struct Host;

impl System for Host {
    fn read_file(&self, path: &str) -> io::Result<String> {
        std::fs::read_to_string(path)
    }

    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

impl Resolver for Host {
    fn host(&self, name: &str) -> Vec<IpAddr> {
        let mut addresses: Vec<IpAddr> =
            (name, 0).to_socket_addrs().map(|found| found.map(|address| address.ip()).collect()).unwrap_or_default();
        addresses.dedup();
        addresses
    }

    fn local_addresses(&self) -> Vec<(String, IpAddr)> {
        let mut list: *mut libc::ifaddrs = std::ptr::null_mut();
        // SAFETY: the call writes a pointer to a list that it allocates, or fails.
        if unsafe { libc::getifaddrs(&mut list) } != 0 {
            return Vec::new();
        }
        let mut addresses = Vec::new();
        let mut entry = list;
        while !entry.is_null() {
            // SAFETY: entry is a member of the list, which is freed after the loop.
            let member = unsafe { &*entry };
            // SAFETY: the address of a member is null or a whole sockaddr of its family.
            if let Some(address) = unsafe { ip_address(member.ifa_addr) } {
                // SAFETY: the name of a member is a C string.
                let name = unsafe { CStr::from_ptr(member.ifa_name) };
                addresses.push((name.to_string_lossy().into_owned(), address));
            }
            entry = member.ifa_next;
        }
        // SAFETY: the list came from getifaddrs and nothing points into it any more.
        unsafe { libc::freeifaddrs(list) };
        addresses
    }

    fn can_bind(&self, address: IpAddr) -> bool {
        UdpSocket::bind((address, 0)).is_ok()
    }
}

/// The name of an interface by its number; none when there is none.
pub fn interface_name(index: u32) -> Option<String> {
    let mut name = [0; libc::IF_NAMESIZE];
    // SAFETY: there is room for the longest name.
    if unsafe { libc::if_indextoname(index, name.as_mut_ptr()) }.is_null() {
        return None;
    }
    // SAFETY: the call has written a C string.
    Some(unsafe { CStr::from_ptr(name.as_ptr()) }.to_string_lossy().into_owned())
}

/// # Safety
/// `address` is null or points to a whole sockaddr of the family that it names.
unsafe fn ip_address(address: *const libc::sockaddr) -> Option<IpAddr> {
    if address.is_null() {
        return None;
    }
    // SAFETY: as promised by the caller.
    let family = libc::c_int::from(unsafe { (*address).sa_family });
    match family {
        libc::AF_INET => {
            // SAFETY: a sockaddr of this family is a sockaddr_in.
            let v4 = unsafe { address.cast::<libc::sockaddr_in>().read_unaligned() };
            Some(Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes()).into())
        }
        libc::AF_INET6 => {
            // SAFETY: a sockaddr of this family is a sockaddr_in6.
            let v6 = unsafe { address.cast::<libc::sockaddr_in6>().read_unaligned() };
            Some(Ipv6Addr::from(v6.sin6_addr.s6_addr).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_here_and_documentation_addresses_are_not() {
        let loopback = IpAddr::from(Ipv4Addr::LOCALHOST);
        assert!(Host.local_addresses().contains(&("lo".to_owned(), loopback)));
        assert!(Host.can_bind(loopback));
        assert_eq!(interface_name(1), Some("lo".to_owned()));
        assert_eq!(interface_name(u32::MAX), None);
        assert!(!Host.can_bind("192.0.2.77".parse().unwrap()));
        assert!(Host.host("localhost").iter().all(IpAddr::is_loopback));
        assert_eq!(Host.host("no.such.host.invalid"), Vec::<IpAddr>::new());
        assert!(Host.read_file("/nonexistent").is_err());
    }
}
