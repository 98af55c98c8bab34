//! What the maps hold: `ebpf/layout.h` in Rust. A test compares both.

use super::entry::{Action, Entry, Protection};
use super::table::Slot;
use crate::base::time::Mono;
use crate::rtp::Loan;
use crate::rtp::loan::PAYLOAD_TYPES;
use crate::srtp::{Schedule, Window, Windows};
use std::net::{IpAddr, SocketAddr};

/// `FLOW_DROPS`: nobody is to hear it.
const DROPS: u32 = 1;
/// `FLOW_IS_STRICT`: other sources are dropped.
const IS_STRICT: u32 = 2;
/// `FLOW_IS_SRTP`: there are keys and an order at the index of its stream.
const IS_SRTP: u32 = 4;
/// `FLOW_IS_CAPTURED`: its frames are copied for the daemon.
const IS_CAPTURED: u32 = 128;
/// `STEP_OPENS`, `STEP_DECRYPTS`, `STEP_PROTECTS`.
const OPENS: u32 = 1;
const DECRYPTS: u32 = 2;
const PROTECTS: u32 = 4;
/// `WINDOW_SLOTS`.
const WINDOW_SLOTS: usize = 128;
/// `NO_PLACE`: the payload type does not pass.
const NO_PLACE: u8 = 255;

/// `struct endpoint`: an address and port in network byte order, IPv4 mapped into IPv6 (RFC 4291, section 2.5.5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Endpoint {
    pub address: [u8; 16],
    pub port: [u8; 2],
    pub zero: u16,
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Endpoint {
        let mapped = match address.ip() {
            IpAddr::V4(ip4) => ip4.to_ipv6_mapped(),
            IpAddr::V6(ip6) => ip6,
        };
        Endpoint { address: mapped.octets(), port: address.port().to_be_bytes(), zero: 0 }
    }
}

/// `struct flow`: what is done with RTP that arrives at a local port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Flow {
    pub flags: u32,
    pub stream: u32,
    pub next_hop: u32,
    pub clock_rate_hz: u32,
    pub source: Endpoint,
    pub local: Endpoint,
    pub destination: Endpoint,
    pub tos: u8,
    pub events: u8,
    pub zero: u16,
    pub places: [u8; 128],
}

impl Flow {
    /// The value for an entry whose state is at `slot`, and whose packets go by `next_hop`.
    pub fn new(entry: &Entry, slot: Slot, next_hop: u32) -> Flow {
        let (drops, local, destination, tos) = match entry.action {
            Action::Drop => (DROPS, entry.local, entry.source, 0),
            Action::Forward { from, to, tos } => (0, from, to, tos),
        };
        let mut places = [NO_PLACE; 128];
        let mut events = 0;
        for (place, payload_type) in entry.payload_types.iter().enumerate() {
            places[usize::from(payload_type.number & 0x7f)] = place as u8;
            events |= u8::from(payload_type.is_event) << place;
        }
        Flow {
            flags: drops
                | if entry.is_strict { IS_STRICT } else { 0 }
                | if entry.protection.is_some() { IS_SRTP } else { 0 }
                | if entry.captures.is_empty() { 0 } else { IS_CAPTURED },
            stream: slot.0,
            next_hop,
            clock_rate_hz: entry.clock_rate_hz,
            source: entry.source.into(),
            local: local.into(),
            destination: destination.into(),
            tos,
            events,
            zero: 0,
            places,
        }
    }
}

/// `struct stream`: what changes with every packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Stream {
    pub packets: u64,
    pub bytes: u64,
    pub window: u64,
    pub last_arrival_ns: u64,
    pub ssrc: u32,
    pub highest: u32,
    pub base: u32,
    pub last_timestamp: u32,
    pub transit: u32,
    pub jitter_16ths: u32,
    pub has_transit: u32,
    pub lost: u32,
    pub duplicates: u32,
    pub late: u32,
    pub skips: u32,
    pub wrong_source: u32,
    pub last_sequence: u32,
    pub wrong_tag: u32,
    pub replayed: u32,
    pub used_index: u32,
    pub payload_packets: [u64; PAYLOAD_TYPES],
}

impl From<&Loan> for Stream {
    fn from(loan: &Loan) -> Stream {
        Stream {
            packets: loan.packets,
            bytes: loan.bytes,
            window: loan.window,
            last_arrival_ns: loan.last_arrival.0,
            ssrc: loan.ssrc,
            highest: loan.highest,
            base: loan.base,
            last_timestamp: loan.last_timestamp,
            transit: loan.transit,
            jitter_16ths: loan.jitter_16ths,
            has_transit: u32::from(loan.has_transit),
            lost: loan.lost,
            duplicates: loan.duplicates,
            late: loan.late,
            skips: loan.skips,
            wrong_source: loan.wrong_source,
            last_sequence: u32::from(loan.last_sequence),
            wrong_tag: loan.wrong_tag,
            replayed: loan.replayed,
            used_index: loan.used_index,
            payload_packets: loan.payload_packets,
        }
    }
}

impl From<&Stream> for Loan {
    fn from(stream: &Stream) -> Loan {
        Loan {
            packets: stream.packets,
            bytes: stream.bytes,
            window: stream.window,
            last_arrival: Mono(stream.last_arrival_ns),
            ssrc: stream.ssrc,
            highest: stream.highest,
            base: stream.base,
            last_timestamp: stream.last_timestamp,
            transit: stream.transit,
            jitter_16ths: stream.jitter_16ths,
            has_transit: stream.has_transit != 0,
            lost: stream.lost,
            duplicates: stream.duplicates,
            late: stream.late,
            skips: stream.skips,
            wrong_source: stream.wrong_source,
            last_sequence: stream.last_sequence as u16,
            wrong_tag: stream.wrong_tag,
            replayed: stream.replayed,
            used_index: stream.used_index,
            payload_packets: stream.payload_packets,
        }
    }
}

/// `struct next_hop`: the way to a neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct NextHop {
    /// Zero: none is known.
    pub interface: u32,
    pub mtu: u16,
    /// Zero: untagged.
    pub vlan: u16,
    pub source: [u8; 6],
    pub destination: [u8; 6],
}

/// `struct direction`: the session keys of one direction.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Direction {
    pub round_keys: [u32; 60],
    pub rounds: u32,
    pub tag_bytes: u32,
    pub salt: [u32; 4],
    pub inner: [u32; 5],
    pub outer: [u32; 5],
}

impl Direction {
    const NONE: Direction =
        Direction { round_keys: [0; 60], rounds: 0, tag_bytes: 0, salt: [0; 4], inner: [0; 5], outer: [0; 5] };

    fn new(schedule: &Schedule) -> Direction {
        Direction {
            round_keys: schedule.round_keys,
            rounds: schedule.rounds,
            tag_bytes: schedule.tag_bytes,
            salt: std::array::from_fn(|word| (schedule.salt >> (96 - 32 * word)) as u32),
            inner: schedule.inner,
            outer: schedule.outer,
        }
    }
}

/// `struct keys`: what a flow of SRTP is opened and protected with. Whoever has one wipes it.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Keys {
    /// The kernel's.
    pub lock: u32,
    pub steps: u32,
    pub open: Direction,
    pub protect: Direction,
}

impl Keys {
    /// Nothing: what wipes others in the map.
    pub const NONE: Keys = Keys { lock: 0, steps: 0, open: Direction::NONE, protect: Direction::NONE };

    /// None where some suite is not one of the kernel's.
    pub fn new(protection: &Protection) -> Option<Keys> {
        let mut keys = Keys::NONE;
        if let Some(parameters) = &protection.open {
            keys.open = Direction::new(&Schedule::of(parameters)?);
            keys.steps |= if protection.passes { OPENS } else { OPENS | DECRYPTS };
        }
        if let Some(parameters) = &protection.protect {
            keys.protect = Direction::new(&Schedule::of(parameters)?);
            keys.steps |= PROTECTS;
        }
        Some(keys)
    }
}

impl zeroize::DefaultIsZeroes for Keys {}

impl Default for Keys {
    fn default() -> Keys {
        Keys::NONE
    }
}

/// `struct window`: which packets of an SSRC were there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Slots {
    pub highest: u64,
    pub slots: [u64; WINDOW_SLOTS],
}

impl From<Option<Window>> for Slots {
    fn from(window: Option<Window>) -> Slots {
        let window = window.unwrap_or_default();
        let mut slots = [0; WINDOW_SLOTS];
        for age in 0..WINDOW_SLOTS as u64 {
            if let (1, Some(index)) = (window.seen >> age & 1, window.highest.checked_sub(age)) {
                slots[index as usize % WINDOW_SLOTS] = index + 1;
            }
        }
        Slots { highest: window.highest, slots }
    }
}

impl From<&Slots> for Window {
    fn from(slots: &Slots) -> Window {
        // A slot may be ahead of the highest number that has been written.
        let newest = slots.slots.iter().copied().max().unwrap_or(0);
        let highest = slots.highest.max(newest.saturating_sub(1));
        let was_there = |age: u64| {
            let index = highest.checked_sub(age)?;
            (slots.slots[index as usize % WINDOW_SLOTS] == index + 1).then_some(1u128 << age)
        };
        Window { highest, seen: (0..WINDOW_SLOTS as u64).filter_map(was_there).fold(0, |seen, bit| seen | bit) }
    }
}

/// `struct order`: what a flow of SRTP has got to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Order {
    /// Programs that are at it.
    pub users: u64,
    pub opened: Slots,
    pub protected: Slots,
}

impl From<&Windows> for Order {
    fn from(windows: &Windows) -> Order {
        Order { users: 0, opened: windows.opened.into(), protected: windows.protected.into() }
    }
}

impl Order {
    /// Where the windows of an entry with `protection` stand.
    pub fn windows(&self, protection: &Protection) -> Windows {
        Windows {
            opened: protection.open.is_some().then(|| Window::from(&self.opened)),
            protected: protection.protect.is_some().then(|| Window::from(&self.protected)),
        }
    }
}

/// `struct tables`: the tables of AES.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Tables {
    pub words: [[u32; 256]; 4],
}
