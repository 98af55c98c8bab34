//! What the maps hold: `ebpf/layout.h` in Rust. A test compares both.

use super::entry::{Action, Entry, MOST_INSERTED, Output, Protection};
use super::table::{Path, Slot};
use crate::base::time::Mono;
use crate::rtp::loan::PAYLOAD_TYPES;
use crate::rtp::{Loan, Sent};
use crate::srtp::{CipherKind, Schedule, Window, Windows};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// `FLOW_DROPS`: nobody is to hear it.
const DROPS: u32 = 1;
/// `FLOW_IS_STRICT`: other sources are dropped.
const IS_STRICT: u32 = 2;
/// `FLOW_IS_SRTP`: it is opened, protected or silenced: there are keys and an order at the index of its stream.
const IS_SRTP: u32 = 4;
/// `GROUP_IS_SRTP`: some copies are protected, or silenced.
pub const GROUP_IS_SRTP: u32 = 1;
/// `GROUP_INSERTS`: some get a header extension.
pub const GROUP_INSERTS: u32 = 2;
/// `COPY_IS_SRTP`: there are keys and an order at its index with the bit of `COPY_KEYS`.
const COPY_IS_SRTP: u32 = 1;
pub const COPY_KEYS: u32 = 0x8000_0000;
/// `COPY_PASSES`: the keys are the sender's.
const COPY_PASSES: u32 = 2;
/// `FLOW_IS_FOR_TC`: the program at the driver leaves it to the classifier.
const IS_FOR_TC: u32 = 64;
/// `FLOW_IS_CAPTURED`: its frames are copied for the daemon.
const IS_CAPTURED: u32 = 128;
/// `FLOW_IS_LIFTED`: what comes from the peer goes to a line of the daemon.
const IS_LIFTED: u32 = 256;
/// `FLOW_SHARES_PORT`: another peer sends to the port, too.
const SHARES_PORT: u32 = 512;
/// `FLOW_IS_AT_LOOPBACK`: it is for the classifier at the loopback device alone.
const IS_AT_LOOPBACK: u32 = 1024;
/// `LOOPBACK`: the number of the loopback device, the first of each network namespace.
pub const LOOPBACK: u32 = 1;
/// `FLOW_EVENTS`: the bits above say which payload types are telephone-events, by place.
const EVENTS: u32 = 24;
/// `MOST_CHAINED`: flows that share an element of the map `fronts`.
pub const MOST_CHAINED: usize = 4;
/// `STEP_OPENS`, `STEP_DECRYPTS`, `STEP_PROTECTS`.
const OPENS: u32 = 1;
const DECRYPTS: u32 = 2;
const PROTECTS: u32 = 4;
/// `WINDOW_SLOTS`.
const WINDOW_SLOTS: usize = 128;
/// `NO_PLACE`: the payload type does not pass.
const NO_PLACE: u8 = 255;
/// `MOST_COPIES`: receivers of one flow.
pub const MOST_COPIES: usize = 32;
/// `MOST_DEVICES`: interfaces that packets leave by.
pub const MOST_DEVICES: u32 = 1024;
/// `MOST_RUNS`: interfaces that the copies of one packet can leave by.
pub const MOST_RUNS: usize = 4;

/// `SILENCE_PCMU` and those after it, of the byte that stands in for payloads; none of other bytes.
pub fn silence(byte: u8) -> Option<u16> {
    match byte {
        0xff => Some(1),
        0xd5 => Some(2),
        0xfa => Some(3),
        _ => None,
    }
}

/// `struct endpoint`: an address and port in network byte order, IPv4 mapped into IPv6 (RFC 4291, section 2.5.5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(C)]
pub struct Endpoint {
    pub address: [u8; 16],
    pub port: [u8; 2],
    /// Of a flow's own: 1 for the second at a port that two peers send to; 0 everywhere else.
    pub side: u16,
}

impl Endpoint {
    /// That of a flow at a port that two peers send to, the first or the second.
    pub fn on(self, side: u16) -> Endpoint {
        Endpoint { side, ..self }
    }

    /// The element of the map `fronts` for a local port, with `mask` one less than their number: `front_of()` of `maps.h`.
    pub fn front(&self, mask: u32) -> u32 {
        let last = u32::from_be_bytes([self.address[12], self.address[13], self.address[14], self.address[15]]);
        let of_address = last.wrapping_mul(0x9e37_79b1) >> 12;
        (of_address + u32::from(u16::from_be_bytes(self.port) >> 1)) & mask
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Endpoint {
        let mapped = match address.ip() {
            IpAddr::V4(ip4) => ip4.to_ipv6_mapped(),
            IpAddr::V6(ip6) => ip6,
        };
        Endpoint { address: mapped.octets(), port: address.port().to_be_bytes(), side: 0 }
    }
}

impl From<Endpoint> for SocketAddr {
    fn from(endpoint: Endpoint) -> SocketAddr {
        let address = Ipv6Addr::from(endpoint.address);
        let ip = address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4);
        SocketAddr::new(ip, u16::from_be_bytes(endpoint.port))
    }
}

/// `struct way`: where a receiver is, and what it gets in place of what came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Way {
    pub local: Endpoint,
    pub destination: Endpoint,
    pub next_hop: u32,
    pub ssrc: u32,
    pub tos: u8,
    pub renumbers: u8,
    /// Two bits for each place, `SILENCE_*`.
    pub silences: u16,
    pub payload_types: [u8; PAYLOAD_TYPES],
}

impl Way {
    /// The way of a receiver of `entry`, by `next_hop`.
    fn new(entry: &Entry, output: &Output, next_hop: u32) -> Way {
        let mut payload_types = [NO_PLACE; PAYLOAD_TYPES];
        for (place, number) in output.payload_types.iter().enumerate() {
            payload_types[place] = number.unwrap_or(NO_PLACE);
        }
        let known = |(place, byte): (usize, &Option<u8>)| byte.and_then(silence).map_or(0, |kind| kind << (2 * place));
        Way {
            local: output.from.into(),
            destination: output.to.into(),
            next_hop,
            ssrc: output.ssrc,
            tos: output.tos,
            renumbers: u8::from(output.renumbers(entry)),
            silences: output.silences.iter().enumerate().map(known).sum(),
            payload_types,
        }
    }

    /// That of packets which go nowhere.
    fn nowhere(entry: &Entry) -> Way {
        Way {
            local: entry.local.into(),
            destination: entry.source.into(),
            next_hop: 0,
            ssrc: entry.ssrc,
            tos: 0,
            renumbers: 0,
            silences: 0,
            payload_types: [NO_PLACE; PAYLOAD_TYPES],
        }
    }
}

/// What leads to a flow, in one word: 0 leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lead(pub u64);

impl Lead {
    /// To the flow at an index that is not 0, whose state is at `slot`.
    pub fn new(index: u32, slot: Slot) -> Lead {
        Lead(u64::from(slot.0) << 32 | u64::from(index))
    }

    /// The index of the flow; 0: there is none.
    pub fn index(self) -> u32 {
        self.0 as u32
    }

    /// Where its state is.
    pub fn slot(self) -> Slot {
        Slot((self.0 >> 32) as u32)
    }
}

/// `struct flow`: what is done with RTP that arrives at a local port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Flow {
    /// A [`Lead`] to the next one of the same element of the map `fronts`.
    pub next: u64,
    pub flags: u32,
    pub group: u32,
    pub clock_rate_hz: u32,
    pub local: Endpoint,
    pub source: Endpoint,
    pub way: Way,
    pub payload_types: [u8; PAYLOAD_TYPES],
}

/// What an entry points to in the maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The next hop of the only receiver; of no meaning where there is none.
    Hop(u32),
    /// The group of several receivers.
    Group(u32),
}

impl Flow {
    /// The value for an entry.
    pub fn new(entry: &Entry, target: Target) -> Flow {
        let (group, next_hop) = match target {
            Target::Hop(hop) => (0, hop),
            Target::Group(group) => (group, 0),
        };
        let (drops, way) = match &entry.action {
            Action::Drop => (DROPS, Way::nowhere(entry)),
            Action::Forward(output) => (0, Way::new(entry, output, next_hop)),
            Action::Copy(_) => (0, Way::nowhere(entry)),
        };
        let mut payload_types = [NO_PLACE; PAYLOAD_TYPES];
        let mut events = 0;
        for (place, payload_type) in entry.payload_types.iter().enumerate() {
            payload_types[place] = payload_type.number & 0x7f;
            events |= u32::from(payload_type.is_event) << place;
        }
        Flow {
            next: 0,
            flags: drops
                | if entry.is_strict { IS_STRICT } else { 0 }
                | if entry.protection.is_some() { IS_SRTP } else { 0 }
                | if entry.captures.is_empty() { 0 } else { IS_CAPTURED }
                | if entry.shares_port { SHARES_PORT } else { 0 }
                | events << EVENTS,
            group,
            clock_rate_hz: entry.clock_rate_hz,
            local: entry.local.into(),
            source: entry.source.into(),
            way,
            payload_types,
        }
    }

    /// The value for a port, whose packets from a peer go to the daemon's lines of a shard.
    pub fn lifted(local: SocketAddr, source: SocketAddr, shard: u32) -> Flow {
        let way = Way {
            local: local.into(),
            destination: source.into(),
            next_hop: 0,
            ssrc: 0,
            tos: 0,
            renumbers: 0,
            silences: 0,
            payload_types: [NO_PLACE; PAYLOAD_TYPES],
        };
        Flow {
            next: 0,
            flags: IS_LIFTED,
            group: shard,
            clock_rate_hz: 0,
            local: local.into(),
            source: source.into(),
            way,
            payload_types: [NO_PLACE; PAYLOAD_TYPES],
        }
    }

    /// Whether its packets go to the daemon.
    pub fn is_lifted(&self) -> bool {
        self.flags & IS_LIFTED != 0
    }

    /// The same for the first or the second of two peers that send to its port.
    pub fn on(mut self, side: u16) -> Flow {
        self.local.side = side;
        self
    }

    /// The same for the program of a path.
    pub fn by(mut self, path: Path) -> Flow {
        self.flags |= match path {
            Path::Xdp => 0,
            Path::Tc => IS_FOR_TC,
            Path::Loopback => IS_FOR_TC | IS_AT_LOOPBACK,
        };
        self
    }

    /// The program that it is for.
    pub fn path(&self) -> Path {
        match (self.flags & IS_FOR_TC != 0, self.flags & IS_AT_LOOPBACK != 0) {
            (false, _) => Path::Xdp,
            (true, false) => Path::Tc,
            (true, true) => Path::Loopback,
        }
    }

    /// Whether there are keys for it.
    pub fn is_srtp(&self) -> bool {
        self.flags & IS_SRTP != 0
    }
}

/// `struct interface_lines`: the daemon's lines at an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct InterfaceLines {
    pub first: u32,
    pub queues: u32,
}

/// `struct run`: copies of one packet that leave by one interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Run {
    pub interface: u32,
    pub first: u32,
}

/// `struct group`: the receivers of a flow with several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Group {
    /// Clones that are on their way.
    pub users: u64,
    pub copies: u32,
    pub flags: u32,
    pub devices: u32,
    pub longest_bytes: u32,
    pub runs: [Run; MOST_RUNS],
    /// Indices of copies, by their number.
    pub list: [u32; MOST_COPIES],
}

impl Group {
    /// The indices of its copies, each with the interface that it leaves by; none where there is one that leaves by none.
    pub fn members(&self) -> Option<Vec<(u32, u32)>> {
        let interface = |number: u32| {
            let runs = self.runs.iter().filter(|run| run.interface != 0 && run.first <= number);
            runs.max_by_key(|run| run.first).map(|run| run.interface)
        };
        let members = self.list.get(..self.copies as usize)?.iter().zip(0..);
        members.map(|(index, number)| Some((*index, interface(number)?))).collect()
    }
}

/// `struct copy`: one of several receivers, and what it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Copy {
    pub packets: u64,
    pub bytes: u64,
    pub used_index: u64,
    pub way: Way,
    pub flags: u32,
}

impl Copy {
    /// What `output` of `entry` gets by `next_hop`; nothing so far.
    pub fn new(entry: &Entry, output: &Output, next_hop: u32) -> Copy {
        let is_srtp = if output.has_keys() { COPY_IS_SRTP } else { 0 };
        let flags = is_srtp | if output.passes { COPY_PASSES } else { 0 };
        Copy { way: Way::new(entry, output, next_hop), flags, ..Copy::default() }
    }

    /// What it was sent.
    pub fn sent(&self) -> Sent {
        Sent { packets: self.packets, bytes: self.bytes, used_index: self.used_index }
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
    pub zero: [u64; 4],
}

impl Stream {
    /// When the last packet came.
    pub fn last_arrival(&self) -> Mono {
        Mono(self.last_arrival_ns)
    }
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
            zero: [0; 4],
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
    pub masked_round_keys: [u32; 60],
    pub cipher: u32,
    pub rounds: u32,
    pub tag_bytes: u32,
    pub salt: [u32; 4],
    pub inner: [u32; 5],
    pub outer: [u32; 5],
    pub zero: u32,
    pub hash_key: [u64; 4],
}

impl Direction {
    const NONE: Direction = Direction {
        round_keys: [0; 60],
        masked_round_keys: [0; 60],
        cipher: 0,
        rounds: 0,
        tag_bytes: 0,
        salt: [0; 4],
        inner: [0; 5],
        outer: [0; 5],
        zero: 0,
        hash_key: [0; 4],
    };

    fn new(schedule: &Schedule) -> Direction {
        Direction {
            round_keys: schedule.round_keys,
            masked_round_keys: schedule.masked_round_keys,
            cipher: cipher(schedule.cipher),
            rounds: schedule.rounds,
            tag_bytes: schedule.tag_bytes,
            salt: std::array::from_fn(|word| (schedule.salt >> (96 - 32 * word)) as u32),
            inner: schedule.inner,
            outer: schedule.outer,
            zero: 0,
            hash_key: schedule.hash_key,
        }
    }
}

/// `CIPHER_NONE` and those after it.
fn cipher(kind: CipherKind) -> u32 {
    match kind {
        CipherKind::Null => 0,
        CipherKind::CounterMode => 1,
        CipherKind::F8 => 2,
        CipherKind::Gcm => 3,
    }
}

/// `struct keys`: what a flow of SRTP is opened and protected with. Whoever has one wipes it.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Keys {
    /// The kernel's.
    pub lock: u32,
    pub steps: u32,
    pub insert_bytes: u32,
    pub insert: [u8; MOST_INSERTED],
    pub zero: u32,
    pub open: Direction,
    pub protect: Direction,
}

impl Keys {
    /// Nothing: what wipes others in the map.
    pub const NONE: Keys = Keys {
        lock: 0,
        steps: 0,
        insert_bytes: 0,
        insert: [0; MOST_INSERTED],
        zero: 0,
        open: Direction::NONE,
        protect: Direction::NONE,
    };

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
        let inserted = protection.inserted();
        keys.insert_bytes = inserted.len() as u32;
        keys.insert.get_mut(..inserted.len())?.copy_from_slice(&inserted);
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
