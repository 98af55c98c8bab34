//! The interfaces that packets leave by: each with the program that makes copies, and lists of them with an entry for each
//! copy of a packet.

use crate::fastpath::Reason;
use crate::fastpath::layout::{MOST_RUNS, Run};
use aya::maps::xdp::{DevMap, DevMapHash};
use aya::maps::{ArrayOfMaps, Map, MapData};
use aya::programs::ProgramFd;
use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Mutex, PoisonError};

/// `BPF_MAP_TYPE_DEVMAP`.
const DEVMAP: u32 = 14;
/// Of `struct bpf_devmap_val`.
const VALUE_BYTES: u32 = 8;

/// The map `devices`: what a packet for one receiver leaves by.
pub(super) struct Devices {
    pub(super) map: DevMapHash<MapData>,
    pub(super) egress: ProgramFd,
    known: HashSet<u32>,
}

impl Devices {
    pub(super) fn new(map: DevMapHash<MapData>, egress: ProgramFd) -> Devices {
        Devices { map, egress, known: HashSet::new() }
    }

    /// Lets packets leave by an interface. Zero is none.
    pub(super) fn add(&mut self, interface: u32) -> io::Result<()> {
        // The number of an interface that is gone is not given again before all others were.
        if interface == 0 || !self.known.insert(interface) {
            return Ok(());
        }
        self.map.insert(interface, interface, Some(&self.egress), 0).map_err(io::Error::other)
    }
}

/// Copies of one packet by interface: a number of interface and how many leave by it, one after the other.
type Pattern = Vec<(u32, u32)>;

/// The map `device_lists`. A list is made for the first group of its pattern, and stays.
pub(super) struct DeviceLists {
    lists: Mutex<(ArrayOfMaps<MapData, DevMap<MapData>>, HashMap<Pattern, u32>)>,
    egress: ProgramFd,
}

impl DeviceLists {
    pub(super) fn new(lists: ArrayOfMaps<MapData, DevMap<MapData>>, egress: ProgramFd) -> DeviceLists {
        DeviceLists { lists: Mutex::new((lists, HashMap::new())), egress }
    }

    /// The index of the list for copies that leave by `interfaces`, which are sorted, and the runs of copies in it.
    ///
    /// # Errors
    /// When there are too many lists or interfaces.
    pub(super) fn list(&self, interfaces: &[u32]) -> Result<(u32, [Run; MOST_RUNS]), Reason> {
        let mut runs = [Run::default(); MOST_RUNS];
        let mut pattern = Pattern::new();
        let mut first = 0;
        for equal in interfaces.chunk_by(|one, other| one == other) {
            *runs.get_mut(pattern.len()).ok_or(Reason::ManyReceivers)? = Run { interface: equal[0], first };
            pattern.push((equal[0], equal.len() as u32));
            first += equal.len() as u32;
        }
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        let (map, known) = &mut *lists;
        if let Some(index) = known.get(&pattern) {
            return Ok((*index, runs));
        }
        let index = known.len() as u32;
        if index >= map.len() {
            return Err(Reason::TableFull);
        }
        self.make(map, index, interfaces).map_err(|error| {
            tracing::warn!(target: "core", "a list of interfaces was not taken: {error}");
            Reason::TableFull
        })?;
        known.insert(pattern, index);
        Ok((index, runs))
    }

    fn make(
        &self,
        lists: &mut ArrayOfMaps<MapData, DevMap<MapData>>,
        index: u32,
        interfaces: &[u32],
    ) -> io::Result<()> {
        let shape = aya_obj::Map::new_from_params(DEVMAP, 4, VALUE_BYTES, interfaces.len() as u32, 0);
        let list = MapData::create(shape, "device_list", None).map_err(io::Error::other)?;
        let mut list = DevMap::try_from(Map::DevMap(list)).map_err(io::Error::other)?;
        for (place, interface) in interfaces.iter().enumerate() {
            list.set(place as u32, *interface, Some(&self.egress), 0).map_err(io::Error::other)?;
        }
        lists.set(index, &list, 0).map_err(io::Error::other)
    }
}
