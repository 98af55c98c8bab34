//! The programs of `ebpf/`, loaded, with their maps.

use super::captured::{CaptureRing, CapturedPorts};
use super::flows::{self, FlowMap};
use super::keys::KeyMaps;
use super::pins::Pins;
use super::shared::Shared;
use super::{Unavailable, unavailable};
use crate::fastpath::layout::{Copy, Flow, Group, InterfaceLines, Keys, NextHop, Order, Stream, Tables};
#[cfg(has_ebpf)]
use crate::io::bpf::Plan;
use crate::io::bpf::{Compiled, Object, Program, call};
use crate::srtp::aes_key;
use aya::maps::{Array, HashMap, Map, MapData};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

#[cfg(has_ebpf)]
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/programs.o"));

/// `MOST_NEXT_HOPS`.
#[cfg(has_ebpf)]
const MOST_NEXT_HOPS: u32 = 65_536;
/// The number of the program that opens and protects SRTP, `PROGRAM_SRTP`.
const SRTP: u32 = 0;

/// The maps that outlive the daemon, where anything does: all that hold what the daemon has written, or counts. Programs
/// must find each other, too, and for a moment one of the old ones goes on to one of the new ones. Others are filled when
/// programs are loaded, or within a packet.
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

/// The programs in the kernel, not attached to anything. Their maps are there as long as this is, or are pinned.
pub struct Programs {
    object: Object,
    /// Those that are loaded, by name.
    loaded: BTreeMap<&'static str, Program>,
    flows: Arc<FlowMap>,
    /// Why there is none for SRTP, where one was wanted.
    pub(super) without_srtp: Option<String>,
    /// Why there is none that captures.
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
        let object = open_object(room, checksums_are_partial, pins)?;
        let flows = open_flows(&object, flows::sizes(room.ports))?;
        let (alone, others): (_, &[&str]) =
            if with_srtp { ("srtp", &["rx", "rx_captured"]) } else { ("rx_captured", &["rx"]) };
        let (mut loaded, mut refused) = (BTreeMap::new(), BTreeMap::new());
        for (name, outcome) in verify(&object, alone, others) {
            match outcome {
                Ok(program) => drop(loaded.insert(name, program)),
                Err(why) => drop(refused.insert(name, why)),
            }
        }
        if let Some(why) = refused.remove("rx") {
            return Err(why);
        }
        let mut programs = Programs { object, loaded, flows, without_srtp: None, without_captures: None };
        if let Err(why) = refused.remove("rx_captured").map_or_else(|| programs.use_captures(), Err) {
            programs.without_captures = Some(why.to_string());
        }
        if with_srtp && let Err(why) = refused.remove("srtp").map_or_else(|| programs.use_srtp(), Err) {
            programs.loaded.remove("srtp");
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

    /// Has the programs go on to another, by its index in a map of such.
    fn link(&self, map: &str, index: u32, name: &str) -> Result<(), Unavailable> {
        let put = self.program(name)?.put_into(self.map_descriptor(map)?, index);
        put.map_err(|error| Unavailable::Kernel(format!("the map {map}: {error}")))
    }

    fn use_captures(&self) -> Result<(), Unavailable> {
        self.link("watchers", 0, "rx_captured")
    }

    /// The ring of frames that are captured, for whoever `ports` says.
    ///
    /// # Errors
    /// When the process has no descriptors left.
    pub fn take_captures(&self, ports: Arc<CapturedPorts>) -> Result<CaptureRing, Unavailable> {
        CaptureRing::new(self.map("captures")?, self.map("captures_lost")?, ports)
    }

    fn use_srtp(&self) -> Result<(), Unavailable> {
        let mut tables = Array::try_from(self.map("tables")?).map_err(|error| unavailable(&error))?;
        let words = Tables { words: aes_key::tables() };
        tables.set(0, words, 0).map_err(|error| unavailable(&error))?;
        self.link("programs", SRTP, "srtp")
    }

    /// Takes away the program for SRTP of a daemon before this one. There may be none.
    fn forget_srtp(&self) {
        if let Ok(map) = self.map_descriptor("programs") {
            let _ = call::delete(map, &SRTP.to_ne_bytes());
        }
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
        self.loaded.contains_key("srtp")
    }

    /// The first program, for whoever tries it.
    ///
    /// # Errors
    /// When there is none.
    pub fn descriptor(&self) -> Result<BorrowedFd<'_>, Unavailable> {
        self.at_driver().map(AsFd::as_fd)
    }

    /// The same for who attaches it at a driver.
    pub(super) fn at_driver(&self) -> Result<&Program, Unavailable> {
        self.program("rx")
    }

    /// The classifier, which is loaded when it is first wanted.
    pub(super) fn classifier(&mut self) -> Result<&Program, Unavailable> {
        self.load_late("rx_tc")?;
        self.program("rx_tc")
    }

    fn program(&self, name: &str) -> Result<&Program, Unavailable> {
        self.loaded.get(name).ok_or_else(|| Unavailable::Kernel(format!("there is no program named {name}")))
    }

    /// A program that may be loaded as long as this is there.
    pub(super) fn compiled(&self, name: &str) -> Result<&Arc<Compiled>, Unavailable> {
        self.object.program(name).map_err(|error| unavailable(&error))
    }

    /// Nothing more is wanted from here: what is loaded later is in other hands.
    pub(super) fn end_loading(&mut self) {
        self.object.forget_programs();
    }

    /// Loads a program that was not wanted until now.
    ///
    /// # Errors
    /// When there is none of this name, or the kernel refuses it.
    pub fn load_late(&mut self, name: &'static str) -> Result<(), Unavailable> {
        if !self.loaded.contains_key(name) {
            let program = self.compiled(name)?.load().map_err(|error| unavailable(&error))?;
            self.loaded.insert(name, program);
        }
        Ok(())
    }

    /// The programs that are loaded, each with the number of instructions that the kernel has looked at to verify it.
    pub fn verified(&self) -> impl Iterator<Item = (&str, u32)> {
        self.loaded.iter().filter_map(|(name, program)| Some((*name, program.verified_instructions().ok()?)))
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
        self.object.descriptor(name).map_err(|error| unavailable(&error))
    }

    /// The same for who reads and writes it.
    pub(super) fn map(&self, name: &str) -> Result<Map, Unavailable> {
        self.object.map(name).map_err(|error| unavailable(&error))
    }

    pub(super) fn shared<T: aya::Pod>(&self, name: &str, count: u32) -> Result<Arc<Shared<T>>, Unavailable> {
        let shared = Shared::map(self.map_descriptor(name)?, count as usize);
        shared.map(Arc::new).map_err(|error| Unavailable::Kernel(format!("the map {name}: {error}")))
    }

    pub(super) fn hash_map<K: aya::Pod, V: aya::Pod>(&self, name: &str) -> Result<HashMap<MapData, K, V>, Unavailable> {
        HashMap::try_from(self.map(name)?).map_err(|error| unavailable(&error))
    }
}

/// The object with its maps, made or taken over.
#[cfg(has_ebpf)]
fn open_object(room: Room, checksums_are_partial: bool, pins: Option<&Pins>) -> Result<Object, Unavailable> {
    let [most, streams, fronts, flows] = room.sizes();
    let (partial, front_mask) = ([u8::from(checksums_are_partial)], (fronts - 1).to_ne_bytes());
    let mut max_entries = std::collections::HashMap::from([("fronts", fronts), ("flows", flows)]);
    max_entries.extend(["streams", "keys_of", "orders"].map(|name| (name, streams)));
    max_entries.extend(["groups", "copies"].map(|name| (name, most)));
    // The first one is none; each flow and each copy has one at most.
    max_entries.insert("next_hops", most.saturating_mul(2).saturating_add(1).min(MOST_NEXT_HOPS));
    let plan = Plan {
        globals: [("checksums_are_partial", partial.as_slice()), ("front_mask", front_mask.as_slice())].into(),
        max_entries,
        pins: pins.into_iter().flat_map(|pins| PINNED.map(|name| (name, pins.map_path(name)))).collect(),
    };
    Object::open(OBJECT, &plan).map_err(|error| unavailable(&error))
}

#[cfg(has_ebpf)]
fn open_flows(object: &Object, sizes: (u32, u32)) -> Result<Arc<FlowMap>, Unavailable> {
    let descriptor = |name| object.descriptor(name).map_err(|error| unavailable(&error));
    FlowMap::open((descriptor("fronts")?, descriptor("flows")?), sizes).map(Arc::new)
}

/// Has the verifier look at programs: at one, which takes as long as the others together, and at those meanwhile. What became
/// of each.
#[cfg(has_ebpf)]
fn verify<'n>(object: &Object, alone: &'n str, others: &[&'n str]) -> Vec<(&'n str, Result<Program, Unavailable>)> {
    let load = |name: &str| object.program(name)?.load();
    let load = |name: &str| load(name).map_err(|error| unavailable(&error));
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| load(alone));
        let mut loaded: Vec<_> = others.iter().map(|name| (*name, load(name))).collect();
        let ended = || Err(Unavailable::Kernel("the thread that loaded it ended by a fault".to_owned()));
        loaded.push((alone, thread.join().unwrap_or_else(|_| ended())));
        loaded
    })
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
