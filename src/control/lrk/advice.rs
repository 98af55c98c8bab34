//! What clients are told: the ports that they may give out, and the relay's addresses.

use crate::engine::Pair;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

/// Ports that one session takes at most: a pair for each side.
const SESSION_PORTS: u16 = 4;
/// How far behind `end_port` a client still goes.
const BEHIND_END: u16 = 6;
/// `char internal_ip[20]`, with its end.
const ADDRESS_BYTES: usize = 20;

/// The answer to `G`, and what it is made of.
#[derive(Debug)]
pub struct Advice {
    range: (u16, u16),
    internal: IpAddr,
    external: IpAddr,
    used: Used,
}

/// The highest port that has been used of late, and what a new request would make of it.
#[derive(Debug, Clone)]
pub(super) struct Used {
    highest: Arc<AtomicU16>,
    range: (u16, u16),
    seen: u16,
}

impl Advice {
    /// Ports from `port_min` to `port_max`, and the addresses for both networks.
    pub fn new((port_min, port_max): (u16, u16), internal: IpAddr, external: IpAddr) -> Advice {
        let range = (port_min, port_max.saturating_sub(BEHIND_END).max(port_min));
        Advice { range, internal, external, used: Used { highest: Arc::default(), range, seen: 0 } }
    }

    /// A space and the structure of the C client: three native integers, two texts that end in a zero.
    pub(super) fn configuration(&self) -> Vec<u8> {
        let mut bytes = vec![b' '];
        for port in [self.range.0, self.range.1, self.current()] {
            bytes.extend_from_slice(&i32::from(port).to_ne_bytes());
        }
        for address in [self.internal, self.external] {
            let mut field = [0; ADDRESS_BYTES];
            let text = address.to_string();
            // An address of IPv6 may be too long for the client; it gets none then.
            if let Some(room) = field[..ADDRESS_BYTES - 1].get_mut(..text.len()) {
                room.copy_from_slice(text.as_bytes());
            }
            bytes.extend_from_slice(&field);
        }
        bytes
    }

    /// Where a client is to begin: behind the highest port in use, in whole sessions from the first.
    fn current(&self) -> u16 {
        let (first, end) = self.range;
        let highest = self.used.highest.load(Ordering::Relaxed);
        if highest < first {
            return first;
        }
        let next =
            u32::from(first) + (u32::from(highest - first) / u32::from(SESSION_PORTS) + 1) * u32::from(SESSION_PORTS);
        u16::try_from(next).ok().filter(|next| *next < end).unwrap_or(first)
    }

    /// What a request uses.
    pub(super) fn used(&self, pair: &Pair) -> Used {
        Used { seen: pair.caller.local.port().max(pair.callee.local.port()), ..self.used.clone() }
    }

    pub(super) fn report(&self) -> String {
        let Advice { range, internal, external, .. } = self;
        format!("ports {}-{}, next {}, internal {internal}, external {external}\n", range.0, range.1, self.current())
    }
}

impl Used {
    /// Clients go up and begin anew at the end: a port far below the highest is behind it.
    pub(super) fn note(&self) {
        let (first, end) = self.range;
        let size = u32::from(end - first) + u32::from(BEHIND_END) + 1;
        let place = |port: u16| u32::from(port - first);
        let is_in_range = |port: u16| port >= first && place(port) < size;
        if !is_in_range(self.seen) {
            return;
        }
        let _ = self.highest.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |highest| {
            let is_ahead = !is_in_range(highest) || (size + place(self.seen) - place(highest)) % size < size / 2;
            is_ahead.then_some(self.seen)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::PairSide;

    fn advice() -> Advice {
        Advice::new((20_000, 30_006), "10.90.1.1".parse().unwrap(), "10.90.2.1".parse().unwrap())
    }

    fn after(advice: &Advice, ports: (u16, u16)) -> u16 {
        let side = |port| PairSide { remote: ([10, 0, 0, 1], 1).into(), local: ([10, 0, 0, 2], port).into() };
        let pair = Pair { call_id: "c".into(), caller: side(ports.1), callee: side(ports.0), idle_timeout: None };
        advice.used(&pair).note();
        advice.current()
    }

    #[test]
    fn the_configuration_is_the_bytes_seen() {
        let mut seen = vec![b' '];
        for number in [0x4e20_i32, 0x7530, 0x4e20] {
            seen.extend_from_slice(&number.to_ne_bytes());
        }
        for address in ["10.90.1.1", "10.90.2.1"] {
            seen.extend_from_slice(address.as_bytes());
            seen.extend_from_slice(&[0; 11]);
        }
        assert_eq!(advice().configuration(), seen);
        assert_eq!(seen.len(), 1 + 52);
    }

    #[test]
    fn a_client_begins_behind_what_is_used() {
        let advice = advice();
        assert_eq!(advice.current(), 20_000);
        assert_eq!(after(&advice, (20_000, 20_002)), 20_004);
        assert_eq!(after(&advice, (20_008, 20_008)), 20_012);
        assert_eq!(after(&advice, (20_004, 20_006)), 20_012, "it comes again");
        assert_eq!(after(&advice, (40_000, 40_002)), 20_012, "another's");
        for first in (20_012..30_000).step_by(4) {
            after(&advice, (first, first + 2));
        }
        assert_eq!(advice.current(), 20_000, "the end is reached");
        assert_eq!(after(&advice, (20_000, 20_002)), 20_004, "and it goes on from the first");
        assert_eq!(after(&advice, (29_996, 29_998)), 20_004);
    }

    #[test]
    fn any_range_will_do() {
        for (min, max) in [(1, 1), (65_535, 65_535), (65_530, 65_535), (1, 65_535)] {
            let advice = Advice::new((min, max), [10, 0, 0, 1].into(), "2001:db8:1111:2222::33".parse().unwrap());
            for port in [1, min, max, 65_534] {
                let next = after(&advice, (port, port));
                assert!((min..=max).contains(&next), "{min}-{max}: {next}");
            }
            assert_eq!(advice.configuration().len(), 53);
            assert_eq!(advice.configuration()[33..], [0; 20]);
        }
    }
}
