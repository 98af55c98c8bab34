//! What the maps hold: `ebpf/layout.h` in Rust. A test compares both.

use super::entry::{Action, Entry};
use super::table::Slot;
use crate::base::time::Mono;
use crate::rtp::Loan;
use crate::rtp::loan::PAYLOAD_TYPES;
use std::net::{IpAddr, SocketAddr};

/// `FLOW_DROPS`: nobody is to hear it.
const DROPS: u32 = 1;
/// `FLOW_IS_STRICT`: other sources are dropped.
const IS_STRICT: u32 = 2;
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
            flags: drops | if entry.is_strict { IS_STRICT } else { 0 },
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
    pub zero: u32,
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
            zero: 0,
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
