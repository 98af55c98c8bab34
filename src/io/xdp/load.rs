//! The programs of `ebpf/`, loaded, with their maps.

use super::captured::{CaptureRing, CapturedPorts};
use super::flows::{self, FlowMap};
use super::keys::KeyMaps;
use super::pins::Pins;
use super::shared::Shared;
use super::{Unavailable, unavailable};
use crate::fastpath::layout::{Copy, Flow, Group, InterfaceLines, Keys, NextHop, Order, Stream, Tables};
use crate::srtp::aes_key;
use aya::maps::{Array, HashMap, Map, MapData, ProgramArray};
use aya::programs::{Program, ProgramError, ProgramFd, Xdp};
use aya::{Ebpf, EbpfLoader};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

#[cfg(has_ebpf)]
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/programs.o"));

/// The number of the program that opens and protects SRTP, `PROGRAM_SRTP`.
const SRTP: u32 = 0;

/// The maps that outlive the daemon, where anything does: all that hold what the daemon has written, or counts. Programs
/// must find each other, too, and for a moment one of the old ones goes on to one of the new ones. Others are filled when programs are loaded, or within a packet.
pub(super) const PINNED: [&str; 14] = [
    "fronts",
    "flows",
    "streams",
    "next_hops",
    "verdicts",
    "programs",
    "keys_of",
    "orders",
    "devices",
    "singles",
    "fanning",
    "device_lists",
    "groups",
    "copies",
];

/// How much the maps hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Groups of receivers, copies, and flows at most.
    pub flows: u32,
    /// Local ports that flows are found by. The fewer, the less memory is taken, whether it is used or not.
    pub ports: u32,
}

impl Room {
    /// For as many ports as flows.
    pub fn of(flows: u32) -> Room {
        Room { flows, ports: flows }
    }

    /// Streams, of which shards have equal shares whatever ports they open; keys of SRTP, of flows and of as many copies.
    pub(super) fn streams(self) -> u32 {
        self.ports.saturating_mul(2).min(self.flows)
    }

    /// What the sizes of all maps follow from.
    pub(super) fn sizes(self) -> [u32; 4] {
        let (fronts, places) = flows::sizes(self.ports);
        [self.flows, self.streams(), fronts, places]
    }
}

/// The programs in the kernel, not attached to anything.
pub struct Programs {
    pub(super) ebpf: Ebpf,
    flows: Arc<FlowMap>,
    /// As long as this is open, programs find each other.
    numbers: Option<ProgramArray<MapData>>,
    /// Why there is none for SRTP, where one was wanted.
    pub(super) without_srtp: Option<String>,
    /// The programs that capture; none where the kernel refuses them.
    pub(super) watchers: Option<ProgramArray<MapData>>,
    pub(super) without_captures: Option<String>,
}

// SAFETY: numbers and bytes without padding; a test compares the size with the sum of the fields.
unsafe impl aya::Pod for Flow {}
// SAFETY: the same.
unsafe impl aya::Pod for NextHop {}
// SAFETY: the same.
unsafe impl aya::Pod for Keys {}
// SAFETY: the same.
unsafe impl aya::Pod for Order {}
// SAFETY: the same.
unsafe impl aya::Pod for Tables {}
// SAFETY: the same.
unsafe impl aya::Pod for Stream {}
// SAFETY: the same.
unsafe impl aya::Pod for Group {}
// SAFETY: the same.
unsafe impl aya::Pod for InterfaceLines {}
// SAFETY: the same.
unsafe impl aya::Pod for Copy {}

impl Programs {
    /// Loads the programs with room for `flows` entries, for devices whose frames may come without a whole checksum or
    /// not, and, if wanted, with the one for SRTP. A kernel that refuses that one gets along without.
    ///
    /// # Errors
    /// See [`Unavailable`].
    pub fn load(flows: u32, checksums_are_partial: bool, with_srtp: bool) -> Result<Programs, Unavailable> {
        Programs::load_pinned(Room::of(flows), checksums_are_partial, with_srtp, None)
    }

    /// The same, with maps that are pinned: those that are there already are used.
    ///
    /// # Errors
    /// See [`Unavailable`].
    #[cfg(has_ebpf)]
    pub(super) fn load_pinned(
        room: Room,
        checksums_are_partial: bool,
        with_srtp: bool,
        pins: Option<&Pins>,
    ) -> Result<Programs, Unavailable> {
        let [most, streams, fronts, flows] = room.sizes();
        let (partial, front_mask) = (u8::from(checksums_are_partial), fronts - 1);
        let mut loader = EbpfLoader::new();
        loader.override_global("checksums_are_partial", &partial, true);
        loader.override_global("front_mask", &front_mask, true);
        let sizes = [("fronts", fronts), ("flows", flows), ("streams", streams), ("keys_of", streams)];
        for (name, size) in sizes.into_iter().chain([("orders", streams), ("groups", most), ("copies", most)]) {
            loader.map_max_entries(name, size);
        }
        if let Some(pins) = pins {
            for name in PINNED {
                loader.map_pin_path(name, pins.map_path(name));
            }
        }
        let mut ebpf = loader.load(OBJECT).map_err(|error| unavailable(&error))?;
        let names: &[&str] =
            if with_srtp { &["srtp", "egress", "rx", "rx_captured"] } else { &["egress", "rx", "rx_captured"] };
        let mut loaded = verify(&mut ebpf, names);
        let mut take = |name| loaded.remove(name).unwrap_or_else(|| Err(no_program(name)));
        take("rx").and(take("egress"))?;
        let (captures, srtp) = (take("rx_captured"), with_srtp.then(|| take("srtp")));
        let flows = open_flows(&ebpf, (fronts, flows))?;
        let mut programs =
            Programs { ebpf, flows, numbers: None, without_srtp: None, watchers: None, without_captures: None };
        if let Err(why) = captures.and_then(|()| programs.use_captures()) {
            programs.without_captures = Some(why.to_string());
        }
        if let Some(Err(why)) = srtp.map(|loaded| loaded.and_then(|()| programs.use_srtp())) {
            programs.without_srtp = Some(why.to_string());
        }
        if !programs.have_srtp() && pins.is_some() {
            programs.forget_srtp();
        }
        Ok(programs)
    }

    /// # Errors
    /// Always: there is no program.
    #[cfg(not(has_ebpf))]
    pub(super) fn load_pinned(
        room: Room,
        checksums_are_partial: bool,
        with_srtp: bool,
        pins: Option<&Pins>,
    ) -> Result<Programs, Unavailable> {
        let _ = (room, checksums_are_partial, with_srtp, pins, PINNED, SRTP, FlowMap::open);
        Err(Unavailable::NotBuilt)
    }

    /// What a program array takes for a program.
    fn number_of(&mut self, name: &str) -> Result<ProgramFd, Unavailable> {
        let program = program(&mut self.ebpf, name)?;
        program.fd().and_then(|fd| fd.try_clone().map_err(Into::into)).map_err(|error| unavailable(&error))
    }

    fn use_captures(&mut self) -> Result<(), Unavailable> {
        let number = self.number_of("rx_captured")?;
        let mut watchers =
            ProgramArray::try_from(take_map(&mut self.ebpf, "watchers")?).map_err(|error| unavailable(&error))?;
        watchers.set(0, &number, 0).map_err(|error| unavailable(&error))?;
        self.watchers = Some(watchers);
        Ok(())
    }

    /// The ring of frames that are captured, for whoever `ports` says.
    ///
    /// # Errors
    /// The second time.
    pub fn take_captures(&mut self, ports: Arc<CapturedPorts>) -> Result<CaptureRing, Unavailable> {
        let (ring, lost) = (take_map(&mut self.ebpf, "captures")?, take_map(&mut self.ebpf, "captures_lost")?);
        CaptureRing::new(ring, lost, ports)
    }

    fn use_srtp(&mut self) -> Result<(), Unavailable> {
        let number = self.number_of("srtp")?;
        let tables = take_map(&mut self.ebpf, "tables")?;
        let mut tables = Array::try_from(tables).map_err(|error| unavailable(&error))?;
        let words = Tables { words: aes_key::tables() };
        tables.set(0, words, 0).map_err(|error| unavailable(&error))?;
        let mut numbers = self.number_map()?;
        numbers.set(SRTP, &number, 0).map_err(|error| unavailable(&error))?;
        self.numbers = Some(numbers);
        Ok(())
    }

    /// Takes away the program for SRTP of a daemon before this one. There may be none.
    fn forget_srtp(&mut self) {
        if let Ok(mut numbers) = self.number_map() {
            let _ = numbers.clear_index(&SRTP);
        }
    }

    fn number_map(&mut self) -> Result<ProgramArray<MapData>, Unavailable> {
        ProgramArray::try_from(take_map(&mut self.ebpf, "programs")?).map_err(|error| unavailable(&error))
    }

    /// Keys and windows of SRTP, where they are used.
    pub(super) fn key_maps(&self) -> Result<Option<KeyMaps>, Unavailable> {
        if self.have_srtp() { self.any_key_maps().map(Some) } else { Ok(None) }
    }

    /// The same, used or not: a daemon before this one may have.
    pub(super) fn any_key_maps(&self) -> Result<KeyMaps, Unavailable> {
        Ok(KeyMaps { keys: self.hash_map("keys_of")?, orders: self.hash_map("orders")? })
    }

    /// Whether SRTP is opened and protected.
    pub fn have_srtp(&self) -> bool {
        self.numbers.is_some()
    }

    /// The first program, for whoever attaches or tries it.
    ///
    /// # Errors
    /// When the process has no descriptors left.
    pub fn descriptor(&self) -> Result<BorrowedFd<'_>, Unavailable> {
        let program = self.ebpf.program("rx").ok_or_else(|| no_program("rx"))?;
        let program: &Xdp = program.try_into().map_err(|error: ProgramError| unavailable(&error))?;
        Ok(program.fd().map_err(|error| unavailable(&error))?.as_fd())
    }

    /// The programs that are loaded, each with the number of instructions that the kernel has looked at to verify it.
    pub fn verified(&self) -> impl Iterator<Item = (&str, u32)> {
        self.ebpf.programs().filter_map(|(name, program)| {
            let count = program.info().ok()?.verified_instruction_count()?;
            Some((name, count))
        })
    }

    /// The programs as they were compiled: an ELF file.
    #[cfg(has_ebpf)]
    pub fn object() -> &'static [u8] {
        OBJECT
    }

    /// Empty: there are none.
    #[cfg(not(has_ebpf))]
    pub fn object() -> &'static [u8] {
        &[]
    }

    /// What is done with RTP, by local port.
    pub fn flows(&self) -> &Arc<FlowMap> {
        &self.flows
    }

    /// A map by its name.
    ///
    /// # Errors
    /// When there is none.
    pub fn map_descriptor(&self, name: &str) -> Result<BorrowedFd<'_>, Unavailable> {
        Ok(map_data(&self.ebpf, name)?.fd().as_fd())
    }

    /// The program that runs on what leaves.
    pub(super) fn egress(&mut self) -> Result<ProgramFd, Unavailable> {
        let descriptor = program(&mut self.ebpf, "egress")?.fd().map_err(|error| unavailable(&error))?;
        descriptor.try_clone().map_err(|error| unavailable(&error))
    }

    pub(super) fn shared<T: aya::Pod>(&self, name: &str, count: u32) -> Result<Arc<Shared<T>>, Unavailable> {
        let shared = Shared::map(self.map_descriptor(name)?, count as usize);
        shared.map(Arc::new).map_err(|error| Unavailable::Kernel(format!("the map {name}: {error}")))
    }

    pub(super) fn hash_map<K: aya::Pod, V: aya::Pod>(&self, name: &str) -> Result<HashMap<MapData, K, V>, Unavailable> {
        let descriptor = self.map_descriptor(name)?.try_clone_to_owned();
        let descriptor = descriptor.map_err(|error| Unavailable::Kernel(error.to_string()))?;
        let data = MapData::from_fd(descriptor).map_err(|error| unavailable(&error))?;
        HashMap::try_from(Map::HashMap(data)).map_err(|error| unavailable(&error))
    }
}

#[cfg(has_ebpf)]
fn open_flows(ebpf: &Ebpf, sizes: (u32, u32)) -> Result<Arc<FlowMap>, Unavailable> {
    let descriptor = |name| map_data(ebpf, name).map(|data| data.fd().as_fd());
    FlowMap::open((descriptor("fronts")?, descriptor("flows")?), sizes).map(Arc::new)
}

/// Has the verifier look at programs, at all of them at once: most of what loading takes is its time. What became of each.
#[cfg(has_ebpf)]
fn verify<'n>(ebpf: &mut Ebpf, names: &[&'n str]) -> std::collections::HashMap<&'n str, Result<(), Unavailable>> {
    let load = |program: &mut Program| -> Result<(), Unavailable> {
        let program: &mut Xdp = program.try_into().map_err(|error: ProgramError| unavailable(&error))?;
        program.load().map_err(|error| unavailable(&error))
    };
    std::thread::scope(|scope| {
        let wanted = |name: &str| names.iter().copied().find(|wanted| *wanted == name);
        let programs = ebpf.programs_mut().filter_map(|(name, program)| Some((wanted(name)?, program)));
        let threads: Vec<_> = programs.map(|(name, program)| (name, scope.spawn(move || load(program)))).collect();
        let ended = || Err(Unavailable::Kernel("the thread that loaded it ended by a fault".to_owned()));
        threads.into_iter().map(|(name, thread)| (name, thread.join().unwrap_or_else(|_| ended()))).collect()
    })
}

fn no_program(name: &str) -> Unavailable {
    Unavailable::Kernel(format!("no program named {name}"))
}

pub(super) fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp, Unavailable> {
    let program = ebpf.program_mut(name).ok_or_else(|| no_program(name))?;
    program.try_into().map_err(|error: ProgramError| unavailable(&error))
}

fn map_data<'a>(ebpf: &'a Ebpf, name: &str) -> Result<&'a MapData, Unavailable> {
    match ebpf.map(name) {
        Some(Map::Array(data) | Map::HashMap(data) | Map::DevMapHash(data) | Map::PerCpuArray(data)) => Ok(data),
        _ => Err(Unavailable::Kernel(format!("no map named {name}"))),
    }
}

pub(super) fn take_map(ebpf: &mut Ebpf, name: &str) -> Result<Map, Unavailable> {
    ebpf.take_map(name).ok_or_else(|| Unavailable::Kernel(format!("no map named {name}")))
}

#[cfg(test)]
mod tests {
    use super::PINNED;

    /// Maps that hold nothing of value when their daemon is gone.
    const MADE_ANEW: [&str; 4] = ["lines", "lines_of", "no_devices", "tables"];

    #[test]
    fn every_map_is_pinned_or_known_to_be_made_anew() {
        let header = include_str!("../../../ebpf/maps.h");
        let names = header.lines().filter_map(|line| line.strip_prefix("} ")?.strip_suffix(" SECTION(\".maps\");"));
        let mut names: Vec<&str> = names.collect();
        let mut known = [PINNED.as_slice(), &MADE_ANEW].concat();
        names.sort_unstable();
        known.sort_unstable();
        assert_eq!(names, known);
    }
}
