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
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// `XDP_DROP`, `XDP_PASS` and `XDP_REDIRECT`.
const DROP: u32 = 1;
const PASS: u32 = 2;
const REDIRECT: u32 = 4;
/// Of Ethernet, IPv4 and UDP.
const HEADER_BYTES: usize = 14 + 20 + 8;
/// The SSRC of packets of [`crate::srtp::rtp_packet`].
pub const SSRC: u32 = 0x1234_5678;
/// Redirected frames go there, in theory: the loopback device, which every host has.
pub const INTERFACE: u32 = 1;
const HOP: u32 = 1;
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
        let programs = programs()?;
        let slot = Slot(NEXT.replace(NEXT.get() + 1) % MOST);
        if !programs.have_srtp() {
            return Err("the program for SRTP was not loaded".to_owned());
        }
        let at = |port| SocketAddr::from(([192, 0, 2, 1], port));
        let entry = Entry {
            local: at(30_000 + slot.0 as u16 * 2),
            source: SocketAddr::from(([198, 51, 100, 10], 6000)),
            is_strict: true,
            shares_port: false,
            ssrc: SSRC,
            clock_rate_hz: 8000,
            payload_types: [Passing { number: 8, is_event: false }].into_iter().collect(),
            action: Action::Forward(Output {
                from: at(40_000),
                to: SocketAddr::from(([198, 51, 100, 20], 7000)),
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
        let kernel = Kernel { programs, slot, entry };
        kernel.install(highest, windows).map_err(|error| error.to_string())?;
        Ok(kernel)
    }

    fn install(&self, highest: u32, windows: &Windows) -> std::io::Result<()> {
        let map = |name| self.programs.map_descriptor(name).map_err(std::io::Error::other);
        let hop = NextHop { interface: INTERFACE, mtu: 1600, vlan: 0, source: [2; 6], destination: [4; 6] };
        bpf::update(map("next_hops")?, &HOP, &hop)?;
        // `struct bpf_devmap_val` without a program.
        bpf::update(map("singles")?, &INTERFACE, &[INTERFACE, 0])?;
        let loan = Loan { ssrc: SSRC, highest, base: highest, window: 1, ..Loan::default() };
        bpf::update(map("streams")?, &self.slot.0, &Stream::from(&loan))?;
        if let Some(protection) = &self.entry.protection {
            let keys = Keys::new(protection).ok_or(std::io::ErrorKind::Unsupported)?;
            bpf::update(map("orders")?, &self.slot.0, &Order::from(windows))?;
            bpf::update(map("keys_of")?, &self.slot.0, &keys)?;
        }
        let flow = Flow::new(&self.entry, Target::Hop(HOP));
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
        let flow = Flow::new(&self.entry, Target::Hop(HOP));
        self.programs.flows().insert(flow, self.slot).map_err(|error| error.to_string())
    }

    /// Captures the flow's frames from now on.
    pub fn capture(&mut self) -> Result<CaptureRing, String> {
        let id = CaptureId(1);
        self.entry.captures.push(id);
        let ports = Arc::<CapturedPorts>::default();
        ports.set(Endpoint::from(self.entry.local), &[id]);
        let flow = Flow::new(&self.entry, Target::Hop(HOP));
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
        let mut frame = Vec::with_capacity(HEADER_BYTES + packet.len());
        frame.extend([2; 12]);
        frame.extend([8, 0, 0x45, 0]);
        frame.extend((28 + packet.len() as u16).to_be_bytes());
        frame.extend([0, 1, 0x40, 0, 64, 17, 0, 0]);
        let (source, local) = (Endpoint::from(self.entry.source), Endpoint::from(self.entry.local));
        frame.extend(&source.address[12..]);
        frame.extend(&local.address[12..]);
        frame.extend(source.port);
        frame.extend(local.port);
        frame.extend((8 + packet.len() as u16).to_be_bytes());
        frame.extend([0, 0]);
        frame.extend(packet);
        frame
    }

    /// Checks the headers of what leaves.
    fn payload(&self, frame: &[u8]) -> Result<Vec<u8>, String> {
        let Action::Forward(output) = &self.entry.action else { return Err("nothing is to leave".to_owned()) };
        let (from, to) = (Endpoint::from(output.from), Endpoint::from(output.to));
        let (headers, payload) = frame.split_at_checked(HEADER_BYTES).ok_or("a frame without its headers")?;
        let expected = [&from.address[12..], &to.address[12..], &from.port, &to.port].concat();
        let udp_bytes = (8 + payload.len() as u16).to_be_bytes();
        if headers[26..38] != expected || headers[38..40] != udp_bytes || headers[..6] != [4; 6] {
            return Err(format!("the headers are {headers:02x?}"));
        }
        let pseudo = [&headers[26..34], &[0, 17], &udp_bytes, &headers[34..42], payload].concat();
        match (sum(&headers[14..34]), sum(&pseudo)) {
            (0xffff, 0xffff) => Ok(payload.to_vec()),
            sums => Err(format!("the checksums add up to {sums:x?}")),
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
