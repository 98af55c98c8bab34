//! The interfaces that packets leave by: each with the program that makes copies, as soon as there are any, and lists of
//! them with an entry for each copy of a packet.

use super::load::Programs;
use super::{Unavailable, unavailable};
use crate::fastpath::Reason;
use crate::fastpath::layout::{MOST_DEVICES, MOST_RUNS, Run};
use crate::io::bpf::{Compiled, Program, call};
use aya::maps::{Array, Map, MapData};
use aya_obj::generated::bpf_map_type::BPF_MAP_TYPE_DEVMAP;
use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Of `struct bpf_devmap_val`.
const VALUE_BYTES: u32 = 8;

/// The maps `singles`, which packets for one receiver leave by, and `devices`, where those for several do, too, and all pass
/// the program that makes copies.
pub(super) struct Devices {
    singles: OwnedFd,
    devices: OwnedFd,
    /// One number: which of both it is.
    fanning: Array<MapData, u32>,
    egress: Egress,
    known: HashSet<u32>,
}

/// The program that makes copies. It takes the kernel as long as all others to verify, and most calls have none.
enum Egress {
    Unloaded(Arc<Compiled>),
    Loaded(Program),
    Refused,
}

impl Devices {
    pub(super) fn new(programs: &Programs) -> Result<Devices, Unavailable> {
        let map = |name| {
            let owned = programs.map_descriptor(name)?.try_clone_to_owned();
            owned.map_err(|error| Unavailable::Kernel(error.to_string()))
        };
        let fanning = Array::try_from(programs.map("fanning")?).map_err(|error| unavailable(&error))?;
        let egress = Egress::Unloaded(programs.compiled("egress")?.clone());
        let (singles, devices) = (map("singles")?, map("devices")?);
        let mut devices = Devices { singles, devices, fanning, egress, known: HashSet::new() };
        // A daemon before this one has made copies.
        if devices.fanning.get(&0, 0).is_ok_and(|fans| fans != 0) {
            devices.fan_out()?;
        }
        Ok(devices)
    }

    /// Lets packets leave by an interface. Zero is none.
    pub(super) fn add(&mut self, interface: u32) -> io::Result<()> {
        // The number of an interface that is gone is not given again before all others were.
        if interface == 0 || !self.known.insert(interface) {
            return Ok(());
        }
        put(self.singles.as_fd(), interface, interface, None)?;
        match &self.egress {
            Egress::Loaded(program) => put(self.devices.as_fd(), interface, interface, Some(program)),
            _ => Ok(()),
        }
    }

    /// Has what leaves pass the program that makes copies, which is loaded for the first of them.
    ///
    /// # Errors
    /// When the kernel refuses it; it is not asked again.
    fn fan_out(&mut self) -> Result<&Program, Unavailable> {
        if let Egress::Unloaded(compiled) = &self.egress {
            let loaded = compiled.load().map_err(|error| unavailable(&error));
            match loaded.and_then(|program| self.use_egress(&program).map(|()| program)) {
                Ok(program) => self.egress = Egress::Loaded(program),
                Err(why) => {
                    self.egress = Egress::Refused;
                    return Err(why);
                }
            }
        }
        match &self.egress {
            Egress::Loaded(program) => Ok(program),
            _ => Err(Unavailable::Kernel("the program that makes copies was refused".to_owned())),
        }
    }

    fn use_egress(&mut self, program: &Program) -> Result<(), Unavailable> {
        let kernel = |error: io::Error| Unavailable::Kernel(error.to_string());
        for interface in &self.known {
            put(self.devices.as_fd(), *interface, *interface, Some(program)).map_err(kernel)?;
        }
        // Before there is a list, which the kernel takes when no program runs any more that has not seen this: what leaves
        // together passes the program of the first.
        self.fanning.set(0, 1, 0).map_err(|error| unavailable(&error))
    }
}

/// Sets an element of a map of devices, with the program that frames for it pass (`struct bpf_devmap_val`).
fn put(map: BorrowedFd<'_>, key: u32, interface: u32, program: Option<&Program>) -> io::Result<()> {
    let program = program.map_or(-1, |program| program.as_fd().as_raw_fd());
    let value = [interface.to_ne_bytes(), program.to_ne_bytes()];
    call::update(map, &key.to_ne_bytes(), value.as_flattened(), 0)
}

/// Copies of one packet by interface: a number of interface and how many leave by it, one after the other.
type Pattern = Vec<(u32, u32)>;

/// The map `device_lists`. A list is made for the first group of its pattern, and stays.
pub(super) struct DeviceLists {
    map: MapData,
    capacity: u32,
    lists: Mutex<Lists>,
}

#[derive(Default)]
struct Lists {
    known: HashMap<Pattern, u32>,
    /// Interfaces of lists that are to be made.
    wanted: Vec<Vec<u32>>,
    /// The interfaces of all lists, by what programs keep of their numbers.
    places: HashMap<u32, u32>,
    /// No copies are made here.
    is_refused: bool,
}

impl DeviceLists {
    pub(super) fn new(programs: &Programs) -> Result<DeviceLists, Unavailable> {
        let Map::ArrayOfMaps(map) = programs.map("device_lists")? else {
            return Err(Unavailable::Kernel("device_lists is no array".to_owned()));
        };
        let capacity = map.info().map_err(|error| unavailable(&error))?.max_entries();
        Ok(DeviceLists { map, capacity, lists: Mutex::default() })
    }

    /// The index of the list for copies that leave by `interfaces`, which are sorted, and the runs of copies in it.
    ///
    /// # Errors
    /// When there are too many interfaces, no copies are made here, or there is no such list yet: it will be made by
    /// `make_wanted`.
    pub(super) fn list(&self, interfaces: &[u32]) -> Result<(u32, [Run; MOST_RUNS]), Reason> {
        let (pattern, runs) = pattern(interfaces)?;
        let mut lists = self.lock();
        if let Some(index) = lists.known.get(&pattern) {
            return Ok((*index, runs));
        }
        if lists.is_refused {
            return Err(Reason::ManyReceivers);
        }
        if lists.wanted.iter().all(|wanted| wanted != interfaces) {
            lists.wanted.push(interfaces.to_vec());
        }
        Err(Reason::WayUnknown)
    }

    /// Makes the lists that were asked for. The kernel waits for all programs that run, each time.
    pub(super) fn make_wanted(&self, devices: &mut Devices) {
        let wanted = std::mem::take(&mut self.lock().wanted);
        for interfaces in wanted {
            let index = {
                let lists = self.lock();
                let is_free = |index: &u32| lists.known.values().all(|used| used != index);
                (0..self.capacity).find(is_free)
            };
            let made = index
                .ok_or_else(|| Unavailable::Kernel("there are too many".to_owned()))
                .and_then(|index| self.make(index, &interfaces, devices));
            if let Err(why) = made {
                tracing::warn!(target: "core", "a list of interfaces was not taken: {why}");
            }
        }
    }

    /// Makes the list at an index, in the place of one that a dead daemon may have left there.
    ///
    /// # Errors
    /// When the kernel refuses it, or the program that makes copies; then it is not asked again.
    pub(super) fn make(&self, index: u32, interfaces: &[u32], devices: &mut Devices) -> Result<(), Unavailable> {
        let kernel = |error: io::Error| Unavailable::Kernel(error.to_string());
        let (pattern, _) = pattern(interfaces).map_err(|reason| Unavailable::Kernel(reason.name().to_owned()))?;
        self.claim(interfaces).map_err(kernel)?;
        let program = devices.fan_out().inspect_err(|_| self.lock().is_refused = true)?;
        let list = new_list(interfaces, program)?;
        let descriptor = list.fd().as_fd().as_raw_fd().to_ne_bytes();
        // Nobody waits for a lock meanwhile: it takes the kernel some milliseconds.
        call::update(self.map.fd().as_fd(), &index.to_ne_bytes(), &descriptor, 0).map_err(kernel)?;
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

    fn lock(&self) -> MutexGuard<'_, Lists> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn new_list(interfaces: &[u32], program: &Program) -> Result<MapData, Unavailable> {
    let shape = aya_obj::Map::new_from_params(BPF_MAP_TYPE_DEVMAP as u32, 4, VALUE_BYTES, interfaces.len() as u32, 0);
    let list = MapData::create(shape, "device_list", None).map_err(|error| unavailable(&error))?;
    for (place, interface) in interfaces.iter().enumerate() {
        let put = put(list.fd().as_fd(), place as u32, *interface, Some(program));
        put.map_err(|error| Unavailable::Kernel(error.to_string()))?;
    }
    Ok(list)
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
