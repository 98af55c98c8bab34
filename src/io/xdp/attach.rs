//! The programs attached to the interfaces of local addresses, with all that keeps their maps.

use super::copies::Copies;
use super::devices::{DeviceLists, Devices};
use super::load::{Programs, program, take_map};
use super::netlink::{self, RouteSocket};
use super::next_hops::NextHops;
use super::orphans::{Found, Orphans};
use super::pins::{Pins, Place, remove_link};
use super::shared::Shared;
use super::table::XdpTable;
use super::{Unavailable, unavailable, with_causes};
use crate::fastpath::layout::{COPY_KEYS, Sent, Stream};
use crate::fastpath::table::{Slot, Table};
use crate::fastpath::verdict::Verdict;
use aya::maps::xdp::DevMapHash;
use aya::maps::{Array, ArrayOfMaps, PerCpuArray};
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::xdp::XdpLink;
use aya::programs::{Xdp, XdpMode};
use std::collections::{BTreeMap, HashSet};
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// What is wanted of the programs.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Local addresses; interfaces that have them get the programs.
    pub addresses: Vec<IpAddr>,
    /// Room for so many entries.
    pub flows: u32,
    /// Keys of SRTP go into the kernel.
    pub with_srtp: bool,
    /// Where maps and links outlive the daemon; none: they don't.
    pub place: Option<Place>,
    /// What a dead daemon has left goes on, else it is removed.
    pub keeps_left: bool,
    /// It goes on until it has been silent for so long.
    pub silent: Duration,
}

/// The programs, attached as long as this lives, or, where they are pinned, until this is dropped or another daemon takes
/// them over.
pub struct FastPath {
    programs: Programs,
    streams: Arc<Shared<Stream>>,
    sent: Arc<Shared<Sent>>,
    lists: Arc<DeviceLists>,
    next_hops: Arc<NextHops>,
    seeker: Option<JoinHandle<()>>,
    orphans: Option<Arc<Orphans>>,
    watcher: Option<JoinHandle<()>>,
    flows: u32,
    /// Slots that entries of a dead daemon use.
    taken: HashSet<u32>,
    /// Numbers of their groups, and of counters of their copies.
    taken_groups: (HashSet<u32>, HashSet<u32>),
    /// Names of the interfaces that the program is attached to.
    interfaces: Vec<String>,
    refused: Vec<String>,
    /// Dropped last.
    pins: Option<Pins>,
}

impl FastPath {
    /// Loads the programs and attaches them.
    ///
    /// # Errors
    /// See [`Unavailable`]. Interfaces that refuse, beside others that do not, are in [`FastPath::refused`].
    pub fn open(wanted: &Wanted) -> Result<FastPath, Unavailable> {
        let kernel = |error: io::Error| Unavailable::Kernel(error.to_string());
        let mut socket = RouteSocket::for_questions().map_err(kernel)?;
        let (links, mut refused) = links(&mut socket, &wanted.addresses);
        if links.is_empty() {
            return Err(Unavailable::NoInterface(refused.join(", ")));
        }
        let indices: Vec<u32> = links.keys().copied().collect();
        let pins = wanted.place.as_ref().and_then(|place| take_pins(place, wanted, &indices));
        let is_partial = links.values().any(|link| link.is_virtual);
        let mut programs = Programs::load_pinned(wanted.flows, is_partial, wanted.with_srtp, pins.as_ref())?;
        refused.extend(programs.without_srtp.iter().map(|why| format!("SRTP: {why}")));
        let (streams, sent) = (programs.shared("streams", wanted.flows)?, programs.shared("sent", wanted.flows)?);
        let found = Found::look(&programs, wanted.flows)?;
        let (taken, taken_groups) = (found.slots(), found.groups());
        if let Some(mut keys) = programs.key_maps()? {
            let is_of_copy = |slot: Slot| slot.0 & COPY_KEYS != 0 && taken_groups.1.contains(&(slot.0 & !COPY_KEYS));
            keys.retain(|slot| taken.contains(&slot.0) || is_of_copy(slot));
        }
        let hops = Array::try_from(take_map(&mut programs.ebpf, "next_hops")?).map_err(|error| unavailable(&error))?;
        let devices = DevMapHash::try_from(take_map(&mut programs.ebpf, "devices")?);
        let devices = Devices::new(devices.map_err(|error| unavailable(&error))?, programs.egress()?);
        let lists = ArrayOfMaps::try_from(take_map(&mut programs.ebpf, "device_lists")?);
        let lists = DeviceLists::new(lists.map_err(|error| unavailable(&error))?, programs.egress()?);
        found.lists().try_for_each(|(index, interfaces)| lists.adopt(index, &interfaces)).map_err(kernel)?;
        let lists = Arc::new(lists);
        let (next_hops, seeker) = NextHops::start(hops, (devices, lists.clone()), &found.ways()).map_err(kernel)?;
        let mut path = FastPath {
            programs,
            streams,
            sent,
            lists,
            next_hops,
            seeker: Some(seeker),
            orphans: None,
            watcher: None,
            flows: wanted.flows,
            taken,
            taken_groups,
            interfaces: Vec::new(),
            refused: Vec::new(),
            pins,
        };
        path.attach(&links, &mut refused)?;
        path.refused = refused;
        path.look_after(found, wanted.silent)?;
        Ok(path)
    }

    fn look_after(&mut self, found: Found, silent: Duration) -> Result<(), Unavailable> {
        let keys = self.programs.key_maps()?;
        let started = Orphans::start(found, keys, self.streams.clone(), self.next_hops.clone(), silent);
        if let Some((orphans, watcher)) = started.map_err(|error| Unavailable::Kernel(error.to_string()))? {
            self.orphans = Some(orphans);
            self.watcher = Some(watcher);
        }
        Ok(())
    }

    fn attach(&mut self, links: &BTreeMap<u32, netlink::Link>, refused: &mut Vec<String>) -> Result<(), Unavailable> {
        let program = program(&mut self.programs.ebpf, "rx")?;
        let pins = self.pins.as_ref();
        if let Some(pins) = pins {
            pins.keep_links(&links.keys().map(|index| pins.xdp_path(*index)).collect::<Vec<_>>());
        }
        for (index, link) in links {
            match attach_to(program, *index, pins) {
                Ok(()) => self.interfaces.push(link.name.clone()),
                Err(error) => refused.push(format!("{}: {error}", link.name)),
            }
        }
        match self.interfaces.is_empty() {
            true => Err(Unavailable::NoInterface(refused.join(", "))),
            false => Ok(()),
        }
    }

    /// The entries of a dead daemon that go on.
    pub fn orphans(&self) -> Option<&Arc<Orphans>> {
        self.orphans.as_ref()
    }

    /// Whether maps and links outlive the daemon.
    pub fn is_pinned(&self) -> bool {
        self.pins.is_some()
    }

    /// The interfaces that the program is attached to.
    pub fn interfaces(&self) -> &[String] {
        &self.interfaces
    }

    /// The interfaces that it could not be attached to, with the reason.
    pub fn refused(&self) -> &[String] {
        &self.refused
    }

    /// The part of the maps for shard `index` of `count`.
    ///
    /// # Errors
    /// When the process has no descriptors left.
    pub fn table(&self, index: usize, count: usize) -> Result<Box<dyn Table>, Unavailable> {
        let share = self.flows / count.max(1) as u32;
        let first = share * index as u32;
        let numbers = |taken: &HashSet<u32>| {
            (first..first + share).rev().filter(|number| !taken.contains(number)).collect::<Vec<u32>>()
        };
        let copies = Copies::new(
            (self.programs.hash_map("groups")?, self.programs.hash_map("copies")?),
            self.sent.clone(),
            self.lists.clone(),
            (numbers(&self.taken_groups.0), numbers(&self.taken_groups.1)),
        );
        Ok(Box::new(XdpTable {
            flows: self.programs.hash_map("flows")?,
            streams: self.streams.clone(),
            next_hops: self.next_hops.clone(),
            free: numbers(&self.taken).into_iter().map(Slot).collect(),
            keys: self.programs.key_maps()?,
            copies: Some(copies),
            orphans: self.orphans.clone(),
        }))
    }

    /// What the program did with packets so far, by verdict.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn verdicts(&self) -> io::Result<Vec<(Verdict, u64)>> {
        let map = self.programs.ebpf.map("verdicts").ok_or(io::ErrorKind::NotFound)?;
        let counters = PerCpuArray::<_, u64>::try_from(map).map_err(io::Error::other)?;
        let count = |verdict: &Verdict| {
            let values = counters.get(&(*verdict as u32), 0).map_err(io::Error::other)?;
            Ok((*verdict, values.iter().sum()))
        };
        Verdict::ALL.iter().map(count).collect()
    }
}

impl Drop for FastPath {
    fn drop(&mut self) {
        self.next_hops.stop();
        self.orphans.iter().for_each(|orphans| orphans.stop());
        for (thread, name) in [(self.seeker.take(), "next hops"), (self.watcher.take(), "orphans")] {
            if thread.is_some_and(|thread| thread.join().is_err()) {
                tracing::error!(target: "core", "the thread of {name} ended by a fault");
            }
        }
    }
}

/// Where maps and links are pinned; none where they can't be, which is said.
fn take_pins(place: &Place, wanted: &Wanted, interfaces: &[u32]) -> Option<Pins> {
    match Pins::take(place, wanted.flows, wanted.keeps_left) {
        Ok(pins) => {
            pins.remove_others(interfaces);
            Some(pins)
        }
        Err(why) => {
            tracing::info!(target: "core", "what is forwarded in the kernel ends with the daemon: {why}");
            None
        }
    }
}

/// Attaches the program to an interface. Where a dead daemon's is, it takes that one's place between two packets.
fn attach_to(program: &mut Xdp, interface: u32, pins: Option<&Pins>) -> Result<(), String> {
    let Some(pins) = pins else {
        return program.attach_to_if_index(interface, XdpMode::Driver).map(drop).map_err(|error| with_causes(&error));
    };
    let path = pins.xdp_path(interface);
    if path.exists() {
        match replace(program, &path) {
            Ok(()) => return Ok(()),
            // Its interface is gone, and another has its number.
            Err(error) => {
                tracing::info!(target: "core", "a program that was left on interface {interface} is attached anew: {error}");
                remove_link(&path);
            }
        }
    }
    let link = program.attach_to_if_index(interface, XdpMode::Driver).map_err(|error| with_causes(&error))?;
    let link = program.take_link(link).map_err(|error| with_causes(&error))?;
    let link = FdLink::try_from(link).map_err(|_| "the kernel has no links that could be pinned".to_owned())?;
    link.pin(&path).map(drop).map_err(|error| with_causes(&error))
}

/// Puts the program in the place of the one of a pinned link.
fn replace(program: &mut Xdp, path: &Path) -> Result<(), String> {
    let link = PinnedLink::from_pin(path).map_err(|error| with_causes(&error))?;
    let link = XdpLink::try_from(FdLink::from(link)).map_err(|error| with_causes(&error))?;
    program.attach_to_link(link).map(drop).map_err(|error| with_causes(&error))
}

/// The interfaces of local addresses, by number: those below where they are VLANs. And what can't be used, and why.
fn links(socket: &mut RouteSocket, addresses: &[IpAddr]) -> (BTreeMap<u32, netlink::Link>, Vec<String>) {
    let (mut links, mut refused) = (BTreeMap::new(), Vec::new());
    for address in addresses {
        match link_of(socket, *address) {
            Ok(Some((index, link))) => drop(links.insert(index, link)),
            Ok(None) => {}
            Err(why) => refused.push(why),
        }
    }
    if links.is_empty() && refused.is_empty() {
        refused.push("there are only addresses of the loopback device".to_owned());
    }
    (links, refused)
}

fn link_of(socket: &mut RouteSocket, address: IpAddr) -> Result<Option<(u32, netlink::Link)>, String> {
    if address.is_loopback() {
        return Ok(None);
    }
    let fault = |error: io::Error| format!("{address}: {error}");
    let index = socket.interface_of(address).map_err(fault)?;
    let index = index.ok_or_else(|| format!("{address}: no interface has it"))?;
    let link = socket.link(index).map_err(fault)?;
    match link.vlan {
        Some((_, below)) => Ok(Some((below, socket.link(below).map_err(fault)?))),
        None => Ok(Some((index, link))),
    }
}
