//! The programs attached to the interfaces of local addresses, with all that keeps their maps.

use super::captured::{CaptureRing, CapturedPorts};
use super::copies::Copies;
use super::devices::{DeviceLists, Devices};
use super::line::{self, ShardLines};
use super::links::{self, Interface, Interfaces};
use super::load::{Programs, Room};
use super::netlink::RouteSocket;
use super::next_hops::NextHops;
use super::orphans::{Found, Orphans};
use super::pins::{Pins, Place};
use super::shared::Shared;
use super::table::XdpTable;
use super::verdicts::VerdictCounters;
use super::{Unavailable, unavailable};
use crate::fastpath::layout::{COPY_KEYS, Copy, Stream};
use crate::fastpath::verdict::Verdict;
use crate::fastpath::{self, Slot, Table};
use aya::maps::Array;
use std::collections::{HashMap, HashSet};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// What is wanted of the programs.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Local addresses; interfaces that have them get the programs.
    pub addresses: Vec<IpAddr>,
    /// At the driver, where that takes it.
    pub by_xdp: bool,
    /// As a classifier, where the other is not wanted or would not do.
    pub by_tc: bool,
    /// For entries.
    pub room: Room,
    /// Keys of SRTP go into the kernel.
    pub with_srtp: bool,
    /// RTP is forwarded, by entries.
    pub forwards: bool,
    /// What the daemon forwards, it gets past the network stack: by sockets for so many shards, none for 0.
    pub lines_for: u32,
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
    copies: Arc<Shared<Copy>>,
    lists: Arc<DeviceLists>,
    next_hops: Arc<NextHops>,
    seeker: Option<JoinHandle<()>>,
    orphans: Option<Arc<Orphans>>,
    watcher: Option<JoinHandle<()>>,
    room: Room,
    forwards: bool,
    /// By shard, until they are taken.
    lines: Vec<Option<ShardLines>>,
    /// Who captures what; none where nothing can be captured.
    captured: Option<Arc<CapturedPorts>>,
    /// Slots that entries of a dead daemon use.
    taken: HashSet<u32>,
    /// Numbers of their groups, and indices of their copies.
    taken_groups: (HashSet<u32>, HashSet<u32>),
    interfaces: Interfaces,
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
        let (links, mut refused) = links::find(&mut socket, &wanted.addresses, wanted.by_tc);
        if links.by_number.is_empty() {
            return Err(Unavailable::NoInterface(refused.join(", ")));
        }
        let indices: Vec<u32> = links.by_number.keys().copied().collect();
        let pins = wanted.place.as_ref().and_then(|place| take_pins(place, wanted, &indices));
        let is_partial = links.by_number.values().any(|link| link.is_virtual);
        let programs = Programs::load_pinned(wanted.room, is_partial, wanted.with_srtp, pins.as_ref())?;
        refused.extend(programs.without_srtp.iter().map(|why| format!("SRTP: {why}")));
        refused.extend(programs.without_captures.iter().map(|why| format!("capturing: {why}")));
        let captured = programs.without_captures.is_none().then(Arc::default);
        let room = wanted.room;
        let streams = programs.shared("streams", room.streams())?;
        let copies: Arc<Shared<Copy>> = programs.shared("copies", room.flows)?;
        let found = Found::look(&programs, copies.clone(), room.streams())?;
        let (taken, taken_groups) = (found.slots(), found.groups());
        let is_of_copy = |slot: Slot| slot.0 & COPY_KEYS != 0 && taken_groups.1.contains(&(slot.0 & !COPY_KEYS));
        programs.any_key_maps()?.retain(|slot| taken.contains(&slot.0) || is_of_copy(slot));
        let hops = Array::try_from(programs.map("next_hops")?).map_err(|error| unavailable(&error))?;
        let (lists, mut devices) = (DeviceLists::new(&programs)?, Devices::new(&programs)?);
        found.lists().try_for_each(|(index, interfaces)| lists.make(index, &interfaces, &mut devices))?;
        let lists = Arc::new(lists);
        let (next_hops, seeker) = NextHops::start(hops, (devices, lists.clone()), &found.ways()).map_err(kernel)?;
        let mut path = FastPath {
            programs,
            streams,
            copies,
            lists,
            next_hops,
            seeker: Some(seeker),
            orphans: None,
            watcher: None,
            room,
            forwards: wanted.forwards,
            lines: Vec::new(),
            captured,
            taken,
            taken_groups,
            interfaces: links,
            refused: Vec::new(),
            pins,
        };
        let kinds = (wanted.by_xdp, wanted.by_tc);
        path.interfaces.attach(&mut path.programs, path.pins.as_ref(), kinds, &mut refused);
        path.programs.end_loading();
        if !path.interfaces.by_number.values().any(Interface::is_served) {
            return Err(Unavailable::NoInterface(refused.join(", ")));
        }
        if wanted.lines_for > 0 {
            let lines = line::open(&path.programs, &path.interfaces, &path.next_hops, wanted.lines_for, &mut refused)?;
            path.lines = lines.into_iter().map(Some).collect();
        }
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

    /// The entries of a dead daemon that go on.
    pub fn orphans(&self) -> Option<&Arc<Orphans>> {
        self.orphans.as_ref()
    }

    /// Whether maps and links outlive the daemon.
    pub fn is_pinned(&self) -> bool {
        self.pins.is_some()
    }

    /// The interfaces that have the program of a path.
    pub fn interfaces(&self, path: fastpath::Path) -> Vec<&str> {
        let has_it = |interface: &&Interface| match path {
            fastpath::Path::Xdp => interface.by_xdp,
            fastpath::Path::Tc => interface.by_tc && !interface.is_loopback,
            fastpath::Path::Loopback => interface.by_tc && interface.is_loopback,
        };
        self.interfaces.by_number.values().filter(has_it).map(|interface| interface.name.as_str()).collect()
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
        let numbers = |of: u32, taken: &HashSet<u32>| {
            let share = of / count.max(1) as u32;
            let first = share * index as u32;
            (first..first + share).rev().filter(|number| !taken.contains(number)).collect::<Vec<u32>>()
        };
        let (streams, flows) = (self.room.streams(), self.room.flows);
        let copies = Copies::new(
            (self.programs.hash_map("groups")?, self.copies.clone()),
            self.lists.clone(),
            (numbers(flows, &self.taken_groups.0), numbers(flows, &self.taken_groups.1)),
        );
        Ok(Box::new(XdpTable {
            flows: self.programs.flows().clone(),
            streams: self.streams.clone(),
            next_hops: self.next_hops.clone(),
            free: numbers(streams, &self.taken).into_iter().map(Slot).collect(),
            keys: self.programs.key_maps()?,
            copies: Some(copies),
            captured: self.captured.clone(),
            lines_of: (index < self.lines.len()).then_some(index as u32),
            forwards: self.forwards,
            reach: Arc::new(self.interfaces.reach()),
            paths: HashMap::new(),
            sides: HashMap::new(),
            orphans: self.orphans.clone(),
        }))
    }

    /// The sockets by which shard `index` gets packets past the network stack; none where there are none, and the second
    /// time.
    pub fn take_lines(&mut self, index: usize) -> Option<ShardLines> {
        self.lines.get_mut(index)?.take()
    }

    /// Whether entries are installed at all.
    pub fn forwards(&self) -> bool {
        self.forwards
    }

    /// Whether there are any.
    pub fn has_lines(&self) -> bool {
        !self.lines.is_empty()
    }

    /// The ring of frames that are captured, and who captures what; none where nothing can be. To be asked once, before
    /// tables are made.
    pub fn take_captures(&mut self) -> Option<(CaptureRing, Arc<CapturedPorts>)> {
        let ports = self.captured.clone()?;
        match self.programs.take_captures(ports.clone()) {
            Ok(ring) => Some((ring, ports)),
            Err(why) => {
                tracing::warn!(target: "core", "frames can't be captured: {why}");
                // Tables take no entries that are captured then: packets go by the daemon.
                self.captured = None;
                None
            }
        }
    }

    /// What the program did with packets so far, by verdict.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn verdicts(&self) -> io::Result<Vec<(Verdict, u64)>> {
        self.verdict_counters().map_err(io::Error::other)?.read()
    }

    /// The same for those who read it again and again.
    ///
    /// # Errors
    /// When the process has no descriptors left.
    pub fn verdict_counters(&self) -> Result<VerdictCounters, Unavailable> {
        VerdictCounters::new(self.programs.map_descriptor("verdicts")?)
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
    match Pins::take(place, wanted.room, wanted.keeps_left) {
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
