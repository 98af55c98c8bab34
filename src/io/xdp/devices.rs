//! The interfaces that packets leave by: each with the program that makes copies, and lists of them with an entry for each
//! copy of a packet.

use super::load::take_map;
use super::{Unavailable, unavailable};
use crate::fastpath::Reason;
use crate::fastpath::layout::{MOST_DEVICES, MOST_RUNS, Run};
use aya::Ebpf;
use aya::maps::xdp::{DevMap, DevMapHash};
use aya::maps::{Array, ArrayOfMaps, Map, MapData};
use aya::programs::ProgramFd;
use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// `BPF_MAP_TYPE_DEVMAP`.
const DEVMAP: u32 = 14;
/// Of `struct bpf_devmap_val`.
const VALUE_BYTES: u32 = 8;

/// The maps `devices` and `singles`: what a packet for one receiver leaves by, while there are packets for several and
/// before.
pub(super) struct Devices {
    map: DevMapHash<MapData>,
    singles: DevMapHash<MapData>,
    egress: ProgramFd,
    known: HashSet<u32>,
}

impl Devices {
    pub(super) fn new(ebpf: &mut Ebpf, egress: ProgramFd) -> Result<Devices, Unavailable> {
        let mut take = |name| DevMapHash::try_from(take_map(ebpf, name)?).map_err(|error| unavailable(&error));
        Ok(Devices { map: take("devices")?, singles: take("singles")?, egress, known: HashSet::new() })
    }

    /// Lets packets leave by an interface. Zero is none.
    pub(super) fn add(&mut self, interface: u32) -> io::Result<()> {
        // The number of an interface that is gone is not given again before all others were.
        if interface == 0 || !self.known.insert(interface) {
            return Ok(());
        }
        self.singles.insert(interface, interface, None, 0).map_err(io::Error::other)?;
        self.map.insert(interface, interface, Some(&self.egress), 0).map_err(io::Error::other)
    }
}

/// Copies of one packet by interface: a number of interface and how many leave by it, one after the other.
type Pattern = Vec<(u32, u32)>;

/// The map `device_lists`. A list is made for the first group of its pattern, and stays.
pub(super) struct DeviceLists {
    /// Never locked by who can't wait: writing to it takes the kernel some milliseconds.
    map: Mutex<ArrayOfMaps<MapData, DevMap<MapData>>>,
    /// The map `fanning`.
    fanning: Mutex<Array<MapData, u32>>,
    capacity: u32,
    lists: Mutex<Lists>,
    egress: ProgramFd,
}

#[derive(Default)]
struct Lists {
    known: HashMap<Pattern, u32>,
    /// Interfaces of lists that are to be made.
    wanted: Vec<Vec<u32>>,
    /// The interfaces of all lists, by what programs keep of their numbers.
    places: HashMap<u32, u32>,
}

impl DeviceLists {
    pub(super) fn new(ebpf: &mut Ebpf, egress: ProgramFd) -> Result<DeviceLists, Unavailable> {
        let map = ArrayOfMaps::try_from(take_map(ebpf, "device_lists")?).map_err(|error| unavailable(&error))?;
        let fanning = Array::try_from(take_map(ebpf, "fanning")?).map_err(|error| unavailable(&error))?;
        let (capacity, lists) = (map.len(), Mutex::default());
        Ok(DeviceLists { map: Mutex::new(map), fanning: Mutex::new(fanning), capacity, lists, egress })
    }

    /// The index of the list for copies that leave by `interfaces`, which are sorted, and the runs of copies in it.
    ///
    /// # Errors
    /// When there are too many interfaces, or no such list yet: it will be made by `make_wanted`.
    pub(super) fn list(&self, interfaces: &[u32]) -> Result<(u32, [Run; MOST_RUNS]), Reason> {
        let (pattern, runs) = pattern(interfaces)?;
        let mut lists = self.lock();
        if let Some(index) = lists.known.get(&pattern) {
            return Ok((*index, runs));
        }
        if lists.wanted.iter().all(|wanted| wanted != interfaces) {
            lists.wanted.push(interfaces.to_vec());
        }
        Err(Reason::WayUnknown)
    }

    /// Makes the lists that were asked for. The kernel waits for all programs that run, each time.
    pub(super) fn make_wanted(&self) {
        let wanted = std::mem::take(&mut self.lock().wanted);
        for interfaces in wanted {
            let index = {
                let lists = self.lock();
                let is_free = |index: &u32| lists.known.values().all(|used| used != index);
                (0..self.capacity).find(is_free)
            };
            let made = index.ok_or_else(|| io::Error::other("there are too many")).and_then(|index| {
                let list = self.make(&interfaces)?;
                self.set(index, &interfaces, &list)
            });
            if let Err(error) = made {
                tracing::warn!(target: "core", "a list of interfaces was not taken: {error}");
            }
        }
    }

    /// A list that a dead daemon has left, at its index: what leaves by it gets this daemon's program.
    pub(super) fn adopt(&self, index: u32, interfaces: &[u32]) -> io::Result<()> {
        let list = self.make(interfaces)?;
        self.set(index, interfaces, &list)
    }

    fn set(&self, index: u32, interfaces: &[u32], list: &DevMap<MapData>) -> io::Result<()> {
        let (pattern, _) = pattern(interfaces).map_err(|_| io::ErrorKind::InvalidData)?;
        self.claim(interfaces)?;
        // Before the list is there, which the kernel takes when no program runs any more that has not seen this: what leaves
        // together passes the program of the first.
        let mut fanning = self.fanning.lock().unwrap_or_else(PoisonError::into_inner);
        fanning.set(0, 1, 0).map_err(io::Error::other)?;
        let mut map = self.map.lock().unwrap_or_else(PoisonError::into_inner);
        map.set(index, list, 0).map_err(io::Error::other)?;
        self.lock().known.insert(pattern, index);
        Ok(())
    }

    /// Programs count clones by interface, in as many places as there may be interfaces.
    fn claim(&self, interfaces: &[u32]) -> io::Result<()> {
        let places = &mut self.lock().places;
        for interface in interfaces {
            let other = *places.entry(interface % MOST_DEVICES).or_insert(*interface);
            if other != *interface {
                return Err(io::Error::other(format!("interfaces {other} and {interface} fall upon each other")));
            }
        }
        Ok(())
    }

    fn make(&self, interfaces: &[u32]) -> io::Result<DevMap<MapData>> {
        let shape = aya_obj::Map::new_from_params(DEVMAP, 4, VALUE_BYTES, interfaces.len() as u32, 0);
        let list = MapData::create(shape, "device_list", None).map_err(io::Error::other)?;
        let mut list = DevMap::try_from(Map::DevMap(list)).map_err(io::Error::other)?;
        for (place, interface) in interfaces.iter().enumerate() {
            list.set(place as u32, *interface, Some(&self.egress), 0).map_err(io::Error::other)?;
        }
        Ok(list)
    }

    fn lock(&self) -> MutexGuard<'_, Lists> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pattern of copies that leave by `interfaces`, which are sorted, and its runs.
fn pattern(interfaces: &[u32]) -> Result<(Pattern, [Run; MOST_RUNS]), Reason> {
    let mut runs = [Run::default(); MOST_RUNS];
    let mut pattern = Pattern::new();
    let mut first = 0;
    for equal in interfaces.chunk_by(|one, other| one == other) {
        *runs.get_mut(pattern.len()).ok_or(Reason::ManyReceivers)? = Run { interface: equal[0], first };
        pattern.push((equal[0], equal.len() as u32));
        first += equal.len() as u32;
    }
    Ok((pattern, runs))
}
