//! The ways to neighbours that entries point to: looked up beside the shards, and kept up to date with what the kernel
//! knows. Until a way is known the program leaves packets to the daemon, whose sending makes the kernel look for it.

use super::devices::{DeviceLists, Devices};
use super::features::Features;
use super::netlink::RouteSocket;
use crate::fastpath::layout::{LOOPBACK, NextHop};
use crate::fastpath::{Path, Reason};
use crate::io::Waker;
use aya::maps::{Array, MapData};
use slab::Slab;
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often the kernel is told which neighbours are in use, so that it notices when one is gone.
const USE_INTERVAL: Duration = Duration::from_secs(5);
/// Changes that come together are looked at together.
const SETTLING: Duration = Duration::from_millis(5);
/// The index of no next hop: the program finds nothing there.
const FIRST: usize = 1;

/// From a local address to a remote one, for a program.
type Pair = (IpAddr, IpAddr, Path);

#[derive(Default)]
struct Known {
    indices: HashMap<Pair, u32>,
    places: Slab<Place>,
    /// To be looked up now.
    new: Vec<u32>,
}

struct Place {
    pair: Pair,
    users: u32,
    /// What the map holds; interface 0 where no way is known.
    hop: NextHop,
    state: State,
    /// A daemon before this one has found the way: it is good until another is found.
    is_adopted: bool,
}

/// What is known of a way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Unknown,
    /// The map holds it.
    Known,
    /// It is known, and this program can't go it.
    Barred(Reason),
}

/// A way that a daemon before this one has left in the map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Adopted {
    pub(super) index: u32,
    pub(super) from: IpAddr,
    pub(super) to: IpAddr,
    pub(super) path: Path,
    pub(super) users: u32,
}

/// Where a next hop leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Leads {
    pub(super) interface: u32,
    pub(super) mtu: u16,
}

/// The ways that are in use.
pub(super) struct NextHops {
    known: Mutex<Known>,
    /// Counts changes of what is known.
    version: AtomicU64,
    capacity: usize,
    waker: Waker,
    is_stopping: AtomicBool,
}

impl NextHops {
    /// Starts the thread that looks ways up and writes them into `map`, where some may be already.
    ///
    /// # Errors
    /// When the kernel gives no netlink socket or no thread.
    pub(super) fn start(
        map: Array<MapData, NextHop>,
        (mut devices, lists): (Devices, Arc<DeviceLists>),
        adopted: &[Adopted],
    ) -> io::Result<(Arc<NextHops>, JoinHandle<()>)> {
        let (known, written) = adopt(&map, adopted);
        for (hop, _) in written.values() {
            devices.add(hop.interface)?;
        }
        let hops = Arc::new(NextHops {
            known: Mutex::new(known),
            version: AtomicU64::new(0),
            capacity: map.len() as usize,
            waker: Waker::new()?,
            is_stopping: AtomicBool::new(false),
        });
        let seeker = Seeker {
            hops: hops.clone(),
            map,
            devices,
            lists,
            written,
            questions: RouteSocket::for_questions()?,
            changes: RouteSocket::for_changes()?,
            features: Features::new().ok(),
            sends: HashMap::new(),
        };
        let thread = std::thread::Builder::new().name("next-hops".to_owned()).spawn(move || seeker.run())?;
        Ok((hops, thread))
    }

    /// The index for a pair of addresses, in use once more.
    ///
    /// # Errors
    /// When the way is not known yet, is none for the program, or there are too many.
    pub(super) fn take(&self, from: IpAddr, to: IpAddr, path: Path) -> Result<u32, Reason> {
        let mut known = self.lock();
        let pair = (from, to, path);
        if let Some(index) = known.indices.get(&pair).copied() {
            let place = known.places.get_mut(index as usize).ok_or(Reason::WayUnknown)?;
            return match place.state {
                State::Known => {
                    place.users += 1;
                    Ok(index)
                }
                State::Unknown => Err(Reason::WayUnknown),
                State::Barred(why) => Err(why),
            };
        }
        if known.places.len() >= self.capacity {
            return Err(Reason::TableFull);
        }
        let index = known.add(pair);
        known.new.push(index);
        drop(known);
        self.waker.wake();
        Err(Reason::WayUnknown)
    }

    /// Counts changes: what was asked before the last one may be answered differently now.
    #[inline]
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Where a next hop leads now.
    pub(super) fn leads(&self, index: u32) -> Leads {
        let known = self.lock();
        let hop = known.places.get(index as usize).map(|place| place.hop).unwrap_or_default();
        Leads { interface: hop.interface, mtu: hop.mtu }
    }

    /// The way from a local address to a remote one; none while it is not known.
    pub(super) fn way(&self, from: IpAddr, to: IpAddr, path: Path) -> Option<NextHop> {
        let known = self.lock();
        let index = *known.indices.get(&(from, to, path))?;
        known.places.get(index as usize).map(|place| place.hop).filter(|hop| hop.interface != 0)
    }

    /// One use less. What nobody uses is given up some time later.
    pub(super) fn put(&self, from: IpAddr, to: IpAddr, path: Path) {
        let mut known = self.lock();
        let index = known.indices.get(&(from, to, path)).copied();
        if let Some(place) = index.and_then(|index| known.places.get_mut(index as usize)) {
            place.users = place.users.saturating_sub(1);
        }
    }

    /// The index for a pair of addresses, and no use; none where it has one already, or there are too many.
    fn add(&self, pair: Pair) -> Option<u32> {
        let mut known = self.lock();
        let is_new = !known.indices.contains_key(&pair) && known.places.len() < self.capacity;
        is_new.then(|| known.add(pair))
    }

    /// Gives up what nobody uses.
    fn sweep(&self) {
        let mut known = self.lock();
        let Known { indices, places, .. } = &mut *known;
        places.retain(|index, place| {
            let stays = place.users > 0 || index < FIRST;
            if !stays {
                indices.remove(&place.pair);
            }
            stays
        });
    }

    /// Has the thread make the lists of interfaces that are wanted.
    pub(super) fn wake(&self) {
        self.waker.wake();
    }

    /// Ends the thread.
    pub(super) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
        self.wake();
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn add(&mut self, pair: Pair) -> u32 {
        let index = self.places.insert(Place {
            pair,
            users: 0,
            hop: NextHop::default(),
            state: State::Unknown,
            is_adopted: false,
        }) as u32;
        self.indices.insert(pair, index);
        index
    }
}

/// What is known at the start: index 0, which is never handed out, so that an entry whose next hop was never set goes
/// nowhere; and what was adopted, to be looked up anew.
fn adopt(map: &Array<MapData, NextHop>, adopted: &[Adopted]) -> (Known, HashMap<u32, Written>) {
    let nowhere = IpAddr::from([0; 4]);
    let none = Place {
        pair: (nowhere, nowhere, Path::Xdp),
        users: 1,
        hop: NextHop::default(),
        state: State::Unknown,
        is_adopted: false,
    };
    let mut known = Known {
        indices: adopted.iter().map(|one| ((one.from, one.to, one.path), one.index)).collect(),
        places: Slab::new(),
        new: adopted.iter().map(|one| one.index).collect(),
    };
    let (mut places, mut written) = (vec![(0, none)], HashMap::new());
    for one in adopted {
        let hop = map.get(&one.index, 0).unwrap_or_default();
        places.push((
            one.index as usize,
            Place { pair: (one.from, one.to, one.path), users: one.users, hop, state: State::Known, is_adopted: true },
        ));
        written.insert(one.index, (hop, None));
    }
    known.places = places.into_iter().collect();
    (known, written)
}

/// What the map holds, with the neighbour that it leads to.
type Written = (NextHop, Option<(u32, IpAddr)>);

struct Seeker {
    hops: Arc<NextHops>,
    map: Array<MapData, NextHop>,
    devices: Devices,
    lists: Arc<DeviceLists>,
    written: HashMap<u32, Written>,
    questions: RouteSocket,
    changes: RouteSocket,
    /// None where the kernel can't tell.
    features: Option<Features>,
    /// What it has told last: whether an interface sends what is redirected to it.
    sends: HashMap<u32, bool>,
}

impl Seeker {
    fn run(mut self) {
        let mut next_use = Instant::now() + USE_INTERVAL;
        while !self.hops.is_stopping.load(Ordering::Acquire) {
            let has_changes = self.wait(next_use.saturating_duration_since(Instant::now()));
            if has_changes {
                std::thread::sleep(SETTLING);
                self.changes.take_changes();
                self.hops.lock().new.clear();
                self.look_up_all();
                continue;
            }
            let new = std::mem::take(&mut self.hops.lock().new);
            new.into_iter().for_each(|index| self.look_up(index));
            self.lists.make_wanted(&mut self.devices);
            if Instant::now() >= next_use {
                self.use_neighbours();
                next_use = Instant::now() + USE_INTERVAL;
            }
        }
    }

    /// Waits for changes or new pairs; whether there were changes.
    fn wait(&mut self, longest: Duration) -> bool {
        let descriptor = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        let mut ready = [descriptor(self.changes.descriptor()), descriptor(self.hops.waker.as_fd().as_raw_fd())];
        let timeout_ms = longest.as_millis().min(60_000) as libc::c_int + 1;
        // SAFETY: pointer and length describe `ready`, whose descriptors are open.
        unsafe { libc::poll(ready.as_mut_ptr(), ready.len() as libc::nfds_t, timeout_ms) };
        self.hops.waker.drain();
        self.hops.waker.take();
        ready[0].revents != 0 && self.changes.take_changes()
    }

    fn look_up_all(&mut self) {
        let all: Vec<u32> = {
            let known = self.hops.lock();
            known.places.iter().skip(FIRST).map(|(index, _)| index as u32).collect()
        };
        all.into_iter().for_each(|index| self.look_up(index));
    }

    fn look_up(&mut self, index: u32) {
        let place = self.hops.lock().places.get(index as usize).map(|place| (place.pair, place.is_adopted));
        let Some(((from, to, path), is_adopted)) = place else {
            self.written.remove(&index);
            return;
        };
        // What can't be found out is not known: packets take the way through the daemon.
        let (found, neighbour) = self.find(from, to).unwrap_or_default();
        let (hop, state) = self.judge(found, path);
        if is_adopted
            && hop.interface == 0
            && let Some(written) = self.written.get_mut(&index)
        {
            // The daemon sends nothing there that would make the kernel look for the neighbour.
            written.1 = neighbour;
            self.ask_for(neighbour);
            return;
        }
        if self.written.get(&index).is_none_or(|(written, _)| *written != hop) {
            let written =
                self.devices.add(hop.interface).and_then(|()| self.map.set(index, hop, 0).map_err(io::Error::other));
            if let Err(error) = written {
                tracing::error!(target: "core", "the way from {from} to {to} is not written: {error}");
                return;
            }
            tracing::debug!(target: "core", "the way from {from} to {to} by {}: {hop:?}", path.name());
        }
        if let Some(place) = self.hops.lock().places.get_mut(index as usize) {
            let is_news = (place.hop, place.state) != (hop, state);
            (place.hop, place.state) = (hop, state);
            self.hops.version.fetch_add(u64::from(is_news), Ordering::Release);
        }
        self.written.insert(index, (hop, neighbour));
        // Whoever asked will ask for the other program next.
        if path == Path::Xdp
            && matches!(state, State::Barred(_))
            && let Some(other) = self.hops.add((from, to, Path::Tc))
        {
            self.look_up(other);
        }
    }

    /// Tells the kernel that a neighbour is in use; one that is gone shows as a change.
    fn ask_for(&mut self, neighbour: Option<(u32, IpAddr)>) {
        if let Some((interface, address)) = neighbour {
            let _ = self.questions.use_neighbour(interface, address);
        }
    }

    fn find(&mut self, from: IpAddr, to: IpAddr) -> io::Result<(NextHop, Option<(u32, IpAddr)>)> {
        let nowhere = Ok((NextHop::default(), None));
        let Some(route) = self.questions.route(from, to)? else { return nowhere };
        let link = self.questions.link(route.interface)?;
        if link.is_loopback {
            let mtu = link.mtu.min(u32::from(u16::MAX)) as u16;
            return Ok((NextHop { interface: route.interface, mtu, ..NextHop::default() }, None));
        }
        let neighbour = Some((route.interface, route.neighbour));
        let Some(destination) = self.questions.neighbour(route.interface, route.neighbour)? else {
            return Ok((NextHop::default(), neighbour));
        };
        let (vlan, interface) = link.vlan.unwrap_or((0, route.interface));
        let Some(source) = link.address else { return Ok((NextHop::default(), neighbour)) };
        let mtu = route.mtu.map_or(link.mtu, |mtu| mtu.min(link.mtu)).min(u32::from(u16::MAX)) as u16;
        Ok((NextHop { interface, mtu, vlan, source, destination }, neighbour))
    }

    /// What a program can do with a way.
    fn judge(&mut self, hop: NextHop, path: Path) -> (NextHop, State) {
        match path {
            _ if hop.interface == 0 => (hop, State::Unknown),
            Path::Xdp | Path::Tc if hop.interface == LOOPBACK => (NextHop::default(), State::Barred(Reason::Loopback)),
            Path::Xdp if !self.learn_sends(hop.interface) => {
                (NextHop::default(), State::Barred(Reason::DeviceSendsNone))
            }
            Path::Tc | Path::Loopback if hop.vlan != 0 => (NextHop::default(), State::Barred(Reason::TcVlan)),
            _ => (hop, State::Known),
        }
    }

    /// Whether an interface sends what is redirected to it, as far as the kernel can tell.
    fn learn_sends(&mut self, interface: u32) -> bool {
        let asked = self.features.as_ref().map(|features| features.sends_redirected(interface));
        let sends = asked.is_none_or(|answer| answer.unwrap_or(true));
        self.sends.insert(interface, sends);
        sends
    }

    fn use_neighbours(&mut self) {
        let mut used: Vec<(u32, IpAddr)> = self.written.values().filter_map(|(_, neighbour)| *neighbour).collect();
        used.sort_unstable();
        used.dedup();
        used.into_iter().for_each(|neighbour| self.ask_for(Some(neighbour)));
        self.hops.sweep();
        // A device may begin or cease to send what is redirected to it, of which nobody tells. Of all else somebody does.
        let known: Vec<(u32, bool)> = self.sends.drain().collect();
        let changed = known.into_iter().filter(|(interface, sent)| self.learn_sends(*interface) != *sent).count();
        if changed > 0 {
            self.look_up_all();
        }
    }
}
