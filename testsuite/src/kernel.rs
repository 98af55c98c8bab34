//! The programs of the fast path, tried frame by frame without a network.

use crate::system::{bpf, is_root};
use millrace::base::id::CaptureId;
use millrace::fastpath::entry::Passing;
use millrace::fastpath::layout::{Endpoint, Flow, Keys, NextHop, Order, Stream, Target};
use millrace::fastpath::{Action, Entry, Output, Protection, Slot};
use millrace::io::xdp::{CaptureRing, CapturedPorts, Programs};
use millrace::rtp::Loan;
use millrace::srtp::Windows;
use std::cell::{Cell, RefCell};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// `XDP_DROP`, `XDP_PASS` and `XDP_REDIRECT`.
const DROP: u32 = 1;
const PASS: u32 = 2;
const REDIRECT: u32 = 4;
const ETHERNET_BYTES: usize = 14;
/// What Ethernet pads frames to, without their checksum (IEEE 802.3).
const SHORTEST_FRAME: usize = 60;
const IP4: [u8; 2] = [8, 0];
const IP6: [u8; 2] = [0x86, 0xdd];
const VLAN: [u8; 2] = [0x81, 0];
/// Of the next hop.
const MTU: u16 = 1600;
/// The SSRC of packets of [`crate::srtp::rtp_packet`].
pub const SSRC: u32 = 0x1234_5678;
/// Redirected frames go there, in theory: the loopback device, which every host has.
pub const INTERFACE: u32 = 1;
/// The next hop where there is no VLAN, and where there is one.
const HOPS: [u32; 2] = [1, 2];
/// So long the place of a flow rests that was taken out, at most.
const REST: Duration = Duration::from_millis(200);

/// What became of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The payload that would have been sent.
    Sent(Vec<u8>),
    Dropped,
    /// Left to the daemon.
    Passed,
}

/// What frames are like on one side of a flow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Side {
    pub is_ip6: bool,
    /// The number of the VLAN that they are tagged with; 0 for none.
    pub vlan: u16,
}

impl Side {
    /// Each kind.
    pub const ALL: [Side; 4] = [
        Side { is_ip6: false, vlan: 0 },
        Side { is_ip6: true, vlan: 0 },
        Side { is_ip6: false, vlan: 5 },
        Side { is_ip6: true, vlan: 4094 },
    ];

    fn at(self, number: u8, port: u16) -> SocketAddr {
        let ip4 = Ipv4Addr::new(198, 51, 100, number);
        let ip =
            if self.is_ip6 { Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, number.into()).into() } else { ip4.into() };
        SocketAddr::new(ip, port)
    }

    fn hop(self) -> u32 {
        HOPS[usize::from(self.vlan != 0)]
    }

    /// What comes behind the hardware addresses, before IP.
    fn protocol(self) -> Vec<u8> {
        let protocol = if self.is_ip6 { IP6 } else { IP4 };
        match self.vlan {
            0 => protocol.to_vec(),
            tag => [VLAN, tag.to_be_bytes(), protocol].concat(),
        }
    }

    fn ip_bytes(self) -> usize {
        if self.is_ip6 { 40 } else { 20 }
    }

    /// The bytes of an address in a packet.
    fn written(self, endpoint: &Endpoint) -> &[u8] {
        &endpoint.address[if self.is_ip6 { 0 } else { 12 }..]
    }
}

/// Flows that there can be at once in a thread.
const MOST: u32 = 64;

thread_local! {
    /// Loading takes long, so it is done once, and each flow has a place of its own.
    static PROGRAMS: RefCell<Option<Rc<Programs>>> = const { RefCell::new(None) };
    static NEXT: Cell<u32> = const { Cell::new(0) };
}

fn programs() -> Result<Rc<Programs>, String> {
    if let Some(programs) = PROGRAMS.with_borrow(Clone::clone) {
        return Ok(programs);
    }
    let programs = Rc::new(Programs::load(MOST, true, true).map_err(|why| why.to_string())?);
    PROGRAMS.set(Some(programs.clone()));
    Ok(programs)
}

/// The programs, and one flow.
pub struct Kernel {
    programs: Rc<Programs>,
    slot: Slot,
    pub entry: Entry,
    /// Short frames are padded, as Ethernet does: zeros follow the datagram.
    pub pads: bool,
    from: Side,
    to: Side,
}

/// Why they can't be tried here, if so.
pub fn obstacle() -> Option<String> {
    if !is_root() {
        return Some("needs root".to_owned());
    }
    match Programs::load(4, true, true) {
        Ok(_) => None,
        Err(millrace::io::xdp::Unavailable::NotBuilt) => Some("there was no clang when this was built".to_owned()),
        Err(why) => Some(why.to_string()),
    }
}

impl Kernel {
    /// Installs a flow of SSRC [`SSRC`] and payload type 8.
    pub fn new(protection: Option<Protection>, highest: u32, windows: &Windows) -> Result<Kernel, String> {
        Kernel::between((Side::default(), Side::default()), protection, highest, windows)
    }

    /// The same from one side to another.
    pub fn between(
        (from, to): (Side, Side),
        protection: Option<Protection>,
        highest: u32,
        windows: &Windows,
    ) -> Result<Kernel, String> {
        let programs = programs()?;
        let slot = Slot(NEXT.replace(NEXT.get() + 1) % MOST);
        if !programs.have_srtp() {
            return Err("the program for SRTP was not loaded".to_owned());
        }
        let entry = Entry {
            local: from.at(1, 30_000 + slot.0 as u16 * 2),
            source: from.at(10, 6000),
            is_strict: true,
            shares_port: false,
            ssrc: SSRC,
            clock_rate_hz: 8000,
            payload_types: [Passing { number: 8, is_event: false }].into_iter().collect(),
            action: Action::Forward(Output {
                from: to.at(2, 40_000),
                to: to.at(20, 7000),
                tos: 0,
                ssrc: SSRC,
                payload_types: [Some(8)].into_iter().collect(),
                silences: [None].into_iter().collect(),
                protect: None,
                passes: false,
                mid: None,
            }),
            protection: protection.map(Box::new),
            captures: Default::default(),
        };
        let kernel = Kernel { programs, slot, entry, pads: false, from, to };
        kernel.install(highest, windows).map_err(|error| error.to_string())?;
        Ok(kernel)
    }

    fn install(&self, highest: u32, windows: &Windows) -> std::io::Result<()> {
        let map = |name| self.programs.map_descriptor(name).map_err(std::io::Error::other);
        let vlan = self.to.vlan;
        let hop = NextHop { interface: INTERFACE, mtu: MTU, vlan, source: [2; 6], destination: [4; 6] };
        bpf::update(map("next_hops")?, &self.to.hop(), &hop)?;
        // `struct bpf_devmap_val` without a program.
        bpf::update(map("singles")?, &INTERFACE, &[INTERFACE, 0])?;
        let loan = Loan { ssrc: SSRC, highest, base: highest, window: 1, ..Loan::default() };
        bpf::update(map("streams")?, &self.slot.0, &Stream::from(&loan))?;
        if let Some(protection) = &self.entry.protection {
            let keys = Keys::new(protection).ok_or(std::io::ErrorKind::Unsupported)?;
            bpf::update(map("orders")?, &self.slot.0, &Order::from(windows))?;
            bpf::update(map("keys_of")?, &self.slot.0, &keys)?;
        }
        let flow = Flow::new(&self.entry, Target::Hop(self.to.hop()));
        match self.programs.flows().insert(flow, self.slot) {
            // Tests change flows faster than anybody else: all places rest.
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => {
                std::thread::sleep(REST);
                self.programs.flows().insert(flow, self.slot)
            }
            inserted => inserted,
        }
    }

    /// Has a byte stand in for payloads from now on.
    pub fn silence(&mut self, byte: u8) -> Result<(), String> {
        let Action::Forward(output) = &mut self.entry.action else { return Err("nobody hears it".to_owned()) };
        output.silences = [Some(byte)].into_iter().collect();
        let flow = Flow::new(&self.entry, Target::Hop(self.to.hop()));
        self.programs.flows().insert(flow, self.slot).map_err(|error| error.to_string())
    }

    /// Captures the flow's frames from now on.
    pub fn capture(&mut self) -> Result<CaptureRing, String> {
        let id = CaptureId(1);
        self.entry.captures.push(id);
        let ports = Arc::<CapturedPorts>::default();
        ports.set(Endpoint::from(self.entry.local), &[id]);
        let flow = Flow::new(&self.entry, Target::Hop(self.to.hop()));
        self.programs.flows().insert(flow, self.slot).map_err(|error| error.to_string())?;
        // Others get programs of their own from now on: there is one ring.
        PROGRAMS.set(None);
        let programs = Rc::get_mut(&mut self.programs).ok_or("other flows are in the same programs")?;
        programs.take_captures(ports).map_err(|why| why.to_string())
    }

    /// What the flow has counted, and where its windows stand.
    pub fn state(&self) -> Result<(Loan, Windows), String> {
        let map = |name| self.programs.map_descriptor(name).map_err(|why| why.to_string());
        let mut stream = Stream::default();
        bpf::look_up(map("streams")?, &self.slot.0, &mut stream).map_err(|error| error.to_string())?;
        let Some(protection) = &self.entry.protection else { return Ok(((&stream).into(), Windows::default())) };
        let mut order = Order::from(&Windows::default());
        bpf::look_up(map("orders")?, &self.slot.0, &mut order).map_err(|error| error.to_string())?;
        if order.users != 0 {
            return Err(format!("{} programs have not ended", order.users));
        }
        Ok(((&stream).into(), order.windows(protection)))
    }

    /// What becomes of a packet of the flow's peer, and after how many nanoseconds.
    pub fn send(&self, packet: &[u8]) -> Result<(Outcome, u32), String> {
        let frame = self.frame(packet);
        let mut left = vec![0; 4096];
        let program = self.programs.descriptor().map_err(|why| why.to_string())?;
        let ran = bpf::test_run(program, &frame, &mut left).map_err(|error| error.to_string())?;
        let left = &left[..ran.bytes];
        let outcome = match ran.action {
            REDIRECT => Outcome::Sent(self.payload(left)?),
            DROP => Outcome::Dropped,
            PASS if left == frame => Outcome::Passed,
            PASS => return Err("a frame was changed that is left to the daemon".to_owned()),
            other => return Err(format!("action {other}")),
        };
        Ok((outcome, ran.duration_ns))
    }

    fn frame(&self, packet: &[u8]) -> Vec<u8> {
        let (source, local) = (Endpoint::from(self.entry.source), Endpoint::from(self.entry.local));
        let udp_bytes = (8 + packet.len() as u16).to_be_bytes();
        let mut frame = vec![2; 12];
        frame.extend(self.from.protocol());
        if self.from.is_ip6 {
            frame.extend([0x60, 0, 0, 0]);
            frame.extend(udp_bytes);
            frame.extend([17, 64]);
        } else {
            frame.extend([0x45, 0]);
            frame.extend((28 + packet.len() as u16).to_be_bytes());
            frame.extend([0, 1, 0x40, 0, 64, 17, 0, 0]);
        }
        frame.extend(self.from.written(&source));
        frame.extend(self.from.written(&local));
        frame.extend([source.port, local.port, udp_bytes, [0, 0]].concat());
        frame.extend(packet);
        let shortest = if self.pads { SHORTEST_FRAME } else { 0 };
        frame.resize(frame.len().max(shortest), 0);
        frame
    }

    /// Checks the headers of what leaves.
    fn payload(&self, frame: &[u8]) -> Result<Vec<u8>, String> {
        let Action::Forward(output) = &self.entry.action else { return Err("nothing is to leave".to_owned()) };
        let (from, to) = (Endpoint::from(output.from), Endpoint::from(output.to));
        let protocol = self.to.protocol();
        let (ip_at, ip_bytes) = (ETHERNET_BYTES - 2 + protocol.len(), self.to.ip_bytes());
        let (headers, payload) = frame.split_at_checked(ip_at + ip_bytes + 8).ok_or("a frame without its headers")?;
        // What pads the frame that came may leave with it.
        let said = usize::from(headers[ip_at + ip_bytes + 4]) << 8 | usize::from(headers[ip_at + ip_bytes + 5]);
        let padding_bytes = (8 + payload.len()).checked_sub(said).ok_or("a datagram longer than its frame")?;
        if padding_bytes > 0 && !(self.pads && padding_bytes < SHORTEST_FRAME) {
            return Err(format!("{padding_bytes} bytes follow the datagram"));
        }
        let payload = &payload[..payload.len() - padding_bytes];
        let addresses = [self.to.written(&from), self.to.written(&to)].concat();
        let udp_bytes = (8 + payload.len() as u16).to_be_bytes();
        let is_right = headers[..12] == [[4; 6], [2; 6]].concat()
            && headers[12..ip_at] == protocol
            && headers[ip_at + ip_bytes - addresses.len()..][..addresses.len()] == addresses
            && headers[ip_at + ip_bytes..][..6] == [from.port, to.port, udp_bytes].concat();
        if !is_right {
            return Err(format!("the headers are {headers:02x?}"));
        }
        let ip = &headers[ip_at..][..ip_bytes];
        let ip_is_right = match self.to.is_ip6 {
            true => ip[0] == 0x60 && ip[4..6] == udp_bytes && ip[6] == 17,
            false => {
                ip[0] == 0x45 && usize::from(ip[2]) << 8 | usize::from(ip[3]) == ip_bytes + said && sum(ip) == 0xffff
            }
        };
        let pseudo = [&addresses[..], &[0, 17], &udp_bytes, &headers[ip_at + ip_bytes..], payload].concat();
        match (ip_is_right, sum(&pseudo)) {
            (true, 0xffff) => Ok(payload.to_vec()),
            (_, sum) => Err(format!("the checksum adds up to {sum:x}, the headers are {headers:02x?}")),
        }
    }
}

/// The sum of 16-bit words in ones' complement (RFC 1071).
fn sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|word| u32::from(word[0]) << 8 | word.get(1).copied().map_or(0, u32::from));
    let sum = words.sum::<u32>();
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}
