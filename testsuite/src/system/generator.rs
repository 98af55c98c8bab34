//! Packets made in the kernel: the sender of a measurement costs next to nothing, and so does the receiver.

use super::check;
use aya::maps::{Array, PerCpuArray};
use aya::programs::{Xdp, XdpMode};
use aya::{Ebpf, Pod};
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// `BPF_PROG_TEST_RUN` and `BPF_F_TEST_XDP_LIVE_FRAMES` of linux/bpf.h.
const TEST_RUN: libc::c_long = 10;
const LIVE_FRAMES: u32 = 2;

/// One flow as the program reads it.
#[derive(Clone, Copy)]
#[repr(C)]
struct Element {
    source: [u8; 2],
    destination: [u8; 2],
    sent: u32,
    mark: u32,
}

/// One flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    pub source: u16,
    /// Zero: it is silent.
    pub destination: u16,
    /// The SSRC; in its low half the port at which packets are to arrive in the end.
    pub mark: u32,
}

impl Flow {
    /// Flow `number`, whose packets go by `destination` to the port `receiver`.
    pub fn new(number: usize, source: u16, destination: u16, receiver: u16) -> Flow {
        Flow { source, destination, mark: (number as u32) << 16 | u32::from(receiver) }
    }
}

/// What was counted on the way and at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub arrived: u64,
    /// Of those, at another port than that of their flow.
    pub astray: u64,
    /// Turns of flows that were silent.
    pub unsent: u64,
}

/// Ethernet, IPv4 and UDP.
#[derive(Clone, Copy)]
#[repr(C)]
struct Headers([u8; 44]);

/// The longest packet of a stock, `STOCK_BYTES`.
pub const STOCK_BYTES: usize = 1232;

/// A packet that was made before.
#[derive(Clone, Copy)]
#[repr(C)]
struct Packet([u8; STOCK_BYTES]);

// Sound: bytes, any of which may have any value.
unsafe impl Pod for Headers {}

// Sound: the same.
unsafe impl Pod for Packet {}

// Sound: twelve bytes without padding, any of which may have any value.
unsafe impl Pod for Element {}

/// The attributes of a test run, as linux/bpf.h lays them out.
#[repr(C)]
#[derive(Default)]
struct TestRun {
    program: u32,
    returned: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration_ns: u32,
    context_size_in: u32,
    context_size_out: u32,
    context_in: u64,
    context_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    /// The kernel wants zeros to the end.
    zero: u32,
}

/// The programs that send and receive.
pub struct Generator(Ebpf);

impl Generator {
    /// Loads the programs, with room for so many packets that are made before.
    #[cfg(has_generator)]
    pub fn load(stock: usize) -> Result<Generator, String> {
        static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/generator.o"));
        let mut loader = aya::EbpfLoader::new();
        loader.map_max_entries("stock", stock.max(1) as u32);
        let mut generator = Generator(loader.load(OBJECT).map_err(|error| format!("{error:?}"))?);
        for name in ["generate", "drop"] {
            generator.program(name)?.load().map_err(|error| format!("{name}: {error:?}"))?;
        }
        Ok(generator)
    }

    /// There is nothing to load.
    #[cfg(not(has_generator))]
    pub fn load(_stock: usize) -> Result<Generator, String> {
        Err("built without clang".into())
    }

    fn program(&mut self, name: &str) -> Result<&mut Xdp, String> {
        let program = self.0.program_mut(name).ok_or(format!("no program {name}"))?;
        program.try_into().map_err(|error| format!("{name}: {error:?}"))
    }

    /// Lets what arrives at an interface of the calling thread's network be counted and dropped, as long as this lives.
    pub fn drop_at(&mut self, interface: u32) -> Result<(), String> {
        let attached = self.program("drop")?.attach_to_if_index(interface, XdpMode::Driver);
        attached.map(drop).map_err(|error| format!("drop: {error:?}"))
    }

    /// Has the program that sends stand at an interface of the calling thread's network to which nothing comes. While it stands
    /// nowhere, the kernel writes it into its dispatcher of XDP programs and out again for every call of `send`, and has all
    /// processors wait for that: more work, and more unsteady, than that of the packets.
    pub fn stand_at(&mut self, interface: u32) -> Result<(), String> {
        let attached = self.program("generate")?.attach_to_if_index(interface, XdpMode::Driver);
        attached.map(drop).map_err(|error| format!("generate: {error:?}"))
    }

    /// What takes turns; the interface that frames leave by, and what they begin with.
    pub fn set_flows(&mut self, flows: &[Flow], interface: u32, frame: &[u8]) -> Result<(), String> {
        let fault = |error: aya::maps::MapError| format!("{error:?}");
        let headers = frame.first_chunk().copied().map(Headers).ok_or("a frame without headers")?;
        let map = self.0.map_mut("template").ok_or("no map of headers")?;
        Array::<_, Headers>::try_from(map).map_err(fault)?.set(0, headers, 0).map_err(fault)?;
        let mut targets = self.targets()?;
        flows.iter().enumerate().try_for_each(|(index, flow)| targets.set(index, flow))?;
        let map = self.0.map_mut("turns").ok_or("no map of turns")?;
        let mut turns = Array::<_, u32>::try_from(map).map_err(fault)?;
        turns.set(2, interface, 0).map_err(fault)?;
        turns.set(0, flows.len() as u32, 0).map_err(fault)
    }

    /// What is sent in place of made-up packets, each once, in the order of the flows' turns. All are as long as the first.
    pub fn set_stock(&mut self, packets: &[Vec<u8>]) -> Result<(), String> {
        let fault = |error: aya::maps::MapError| format!("{error:?}");
        let bytes = packets.first().map_or(0, Vec::len);
        let map = self.0.map_mut("stock").ok_or("no map of packets")?;
        let mut stock = Array::<_, Packet>::try_from(map).map_err(fault)?;
        for (index, packet) in packets.iter().enumerate() {
            let mut whole = [0; STOCK_BYTES];
            let place = whole.get_mut(..bytes).ok_or("packets longer than the stock's")?;
            place.copy_from_slice(packet.get(..bytes).ok_or("packets of several lengths")?);
            stock.set(index as u32, Packet(whole), 0).map_err(fault)?;
        }
        let map = self.0.map_mut("turns").ok_or("no map of turns")?;
        let mut turns = Array::<_, u32>::try_from(map).map_err(fault)?;
        for (place, value) in [(3, packets.len() as u32), (4, 0), (5, bytes as u32)] {
            turns.set(place, value, 0).map_err(fault)?;
        }
        Ok(())
    }

    /// Sends `count` frames, in the calling thread's network, `batch` at once: between batches the kernel works off what they
    /// bring about. A call takes some milliseconds, in which it mostly waits.
    pub fn send(&mut self, frame: &[u8], count: u32, batch: u32) -> Result<(), String> {
        let fault = |error: io::Error| format!("live frames: {error}");
        let program = self.program("generate")?.fd().map_err(|error| format!("{error:?}"))?;
        let run = TestRun {
            program: program.as_fd().as_raw_fd() as u32,
            data_size_in: frame.len() as u32,
            data_in: frame.as_ptr() as u64,
            repeat: count,
            flags: LIVE_FRAMES,
            batch_size: batch,
            ..TestRun::default()
        };
        // Sound: the attributes, and what they point to, live as long as the call, which only reads them.
        let done = unsafe { libc::syscall(libc::SYS_bpf, TEST_RUN, &raw const run, size_of::<TestRun>()) };
        check(done as libc::c_int).map(drop).map_err(fault)
    }

    /// The flows, to be changed while others are sent.
    pub fn targets(&mut self) -> Result<Targets, String> {
        let map = self.0.map("targets").ok_or("no map of targets")?;
        let descriptor = match map {
            aya::maps::Map::Array(data) => data.fd().as_fd().try_clone_to_owned().map_err(|error| error.to_string())?,
            _ => return Err("the map of targets is no array".into()),
        };
        let fault = |error: aya::maps::MapError| format!("{error:?}");
        let data = aya::maps::MapData::from_fd(descriptor).map_err(fault)?;
        Array::try_from(aya::maps::Map::Array(data)).map(Targets).map_err(fault)
    }

    /// What was counted so far.
    pub fn counts(&self) -> Result<Counts, String> {
        let map = self.0.map("counts").ok_or("no map of counts")?;
        let counters = PerCpuArray::<_, u64>::try_from(map).map_err(|error| format!("{error:?}"))?;
        let sum = |index: u32| -> Result<u64, String> {
            counters.get(&index, 0).map(|values| values.iter().sum()).map_err(|error| format!("{error:?}"))
        };
        Ok(Counts { arrived: sum(0)?, astray: sum(1)?, unsent: sum(2)? })
    }
}

/// The flows of a generator.
pub struct Targets(Array<aya::maps::MapData, Element>);

impl Targets {
    /// Sets flow `index`, which begins anew.
    pub fn set(&mut self, index: usize, flow: &Flow) -> Result<(), String> {
        let (source, destination) = (flow.source.to_be_bytes(), flow.destination.to_be_bytes());
        let element = Element { source, destination, sent: 0, mark: flow.mark };
        self.0.set(index as u32, element, 0).map_err(|error| format!("{error:?}"))
    }
}
