//! The UDP ports that programs of this host have bound, and those that the system hands out by itself.

use super::table::Table;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often it is looked which ports others have bound.
const EVERY: Duration = Duration::from_secs(1);

/// The thread that keeps a table's knowledge of others' ports fresh, until this is dropped.
pub(super) struct Watch {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Looks once, and then now and then.
    ///
    /// # Errors
    /// When the system does not tell, or has no threads left.
    pub(super) fn start(table: Arc<Table>) -> io::Result<Watch> {
        table.occupy(&bound()?);
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = std::thread::Builder::new().name("bound-ports".to_owned()).spawn(move || {
            while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                // What was known stays good for the next second.
                if let Ok(bound) = bound() {
                    table.occupy(&bound);
                }
            }
        })?;
        Ok(Watch { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!(target: "core", "the thread that looks for bound ports ended by a fault");
        }
    }
}

/// Local addresses of all UDP sockets of the network namespace.
fn bound() -> io::Result<Vec<SocketAddr>> {
    let mut found = Vec::new();
    for name in ["udp", "udp6"] {
        match std::fs::read_to_string(format!("/proc/thread-self/net/{name}")) {
            Ok(text) => found.extend(text.lines().skip(1).filter_map(local_address)),
            // A kernel without IPv6.
            Err(error) if error.kind() == io::ErrorKind::NotFound && name == "udp6" => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// The second column of proc_net_udp(5): words of the address as the machine reads them, and the port.
fn local_address(line: &str) -> Option<SocketAddr> {
    let (address, port) = line.split_ascii_whitespace().nth(1)?.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |index: usize| {
        let digits = address.get(8 * index..8 * index + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    let ip: IpAddr = match address.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let octets = [word(0)?, word(1)?, word(2)?, word(3)?].concat();
            Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?).into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// Of `range` the first port that the system may give to any program that asks for none in particular (ip-sysctl:
/// `ip_local_port_range` without `ip_local_reserved_ports`).
///
/// # Errors
/// When the system does not tell.
pub(super) fn handed_out(range: RangeInclusive<u16>) -> io::Result<Option<u16>> {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/sys/net/ipv4/{name}"));
    Ok(first_free(range, &read("ip_local_port_range")?, &read("ip_local_reserved_ports")?))
}

fn first_free(range: RangeInclusive<u16>, given: &str, reserved: &str) -> Option<u16> {
    let mut bounds = given.split_ascii_whitespace().filter_map(|number| number.parse::<u16>().ok());
    let given = bounds.next()?..=bounds.next()?;
    let reserved: Vec<RangeInclusive<u16>> = (reserved.trim().split(','))
        .filter_map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            Some(first.parse().ok()?..=last.parse().ok()?)
        })
        .collect();
    let mut common = *range.start().max(given.start())..=*range.end().min(given.end());
    common.find(|port| !reserved.iter().any(|part| part.contains(port)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    #[test]
    fn bound_sockets_are_seen_in_both_families() {
        for local in ["127.7.7.7:0", "[::1]:0", "0.0.0.0:0"] {
            let socket = UdpSocket::bind(local).unwrap();
            let local = socket.local_addr().unwrap();
            assert!(bound().unwrap().contains(&local), "{local}");
            drop(socket);
            assert!(!bound().unwrap().contains(&local), "{local}");
        }
    }

    #[test]
    fn lines_that_are_none_are_passed_over() {
        for line in ["", "x", "1: 0100007F", "1: 0100007F:zz 0", "1: 01:0035 0", "1: ä100007F:0035"] {
            assert_eq!(local_address(line), None, "{line}");
        }
    }

    #[test]
    fn ports_that_the_system_hands_out_are_found() {
        let cases = [
            (30_000..=39_999, "32768\t60999", "\n", Some(32_768)),
            (30_000..=39_999, "32768\t60999", "30000-39999\n", None),
            (30_000..=39_999, "32768\t60999", "5060,32768-35000,35002-39999\n", Some(35_001)),
            (10_000..=20_000, "32768\t60999", "", None),
            (33_000..=33_000, "32768\t60999", "33000", None),
            (30_000..=39_999, "", "", None),
        ];
        for (range, given, reserved, expected) in cases {
            assert_eq!(first_free(range, given, reserved), expected, "{given} {reserved}");
        }
    }
}
