//! The ways to neighbours that entries point to: looked up beside the shards, and kept up to date with what the kernel
//! knows. Until a way is known the program leaves packets to the daemon, whose sending makes the kernel look for it.

use super::features::Features;
use super::netlink::RouteSocket;
use crate::fastpath::Reason;
use crate::fastpath::layout::NextHop;
use crate::io::Waker;
use aya::maps::{Array, MapData};
use slab::Slab;
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often the kernel is told which neighbours are in use, so that it notices when one is gone.
const USE_INTERVAL: Duration = Duration::from_secs(5);
/// Changes that come together are looked at together.
const SETTLING: Duration = Duration::from_millis(5);
/// The index of no next hop: the program finds nothing there.
const FIRST: usize = 1;

/// From a local address to a remote one.
type Pair = (IpAddr, IpAddr);

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
}

/// The ways that are in use.
pub(super) struct NextHops {
    known: Mutex<Known>,
    capacity: usize,
    waker: Waker,
    is_stopping: AtomicBool,
}

impl NextHops {
    /// Starts the thread that looks ways up and writes them into `map`.
    ///
    /// # Errors
    /// When the kernel gives no netlink socket or no thread.
    pub(super) fn start(map: Array<MapData, NextHop>) -> io::Result<(Arc<NextHops>, JoinHandle<()>)> {
        let mut known = Known::default();
        // Index 0 is never handed out: an entry whose next hop was never set goes nowhere.
        known.places.insert(Place {
            pair: (IpAddr::from([0; 4]), IpAddr::from([0; 4])),
            users: 1,
            hop: NextHop::default(),
        });
        let hops = Arc::new(NextHops {
            known: Mutex::new(known),
            capacity: map.len() as usize,
            waker: Waker::new()?,
            is_stopping: AtomicBool::new(false),
        });
        let seeker = Seeker {
            hops: hops.clone(),
            map,
            written: HashMap::new(),
            questions: RouteSocket::for_questions()?,
            changes: RouteSocket::for_changes()?,
            features: Features::new().ok(),
        };
        let thread = std::thread::Builder::new().name("next-hops".to_owned()).spawn(move || seeker.run())?;
        Ok((hops, thread))
    }

    /// The index for a pair of addresses, in use once more.
    ///
    /// # Errors
    /// When the way is not known yet, or there are too many.
    pub(super) fn take(&self, from: IpAddr, to: IpAddr) -> Result<u32, Reason> {
        let mut known = self.lock();
        if let Some(index) = known.indices.get(&(from, to)).copied() {
            let place = known
                .places
                .get_mut(index as usize)
                .filter(|place| place.hop.interface != 0)
                .ok_or(Reason::WayUnknown)?;
            place.users += 1;
            return Ok(index);
        }
        if known.places.len() >= self.capacity {
            return Err(Reason::TableFull);
        }
        let index = known.places.insert(Place { pair: (from, to), users: 0, hop: NextHop::default() }) as u32;
        known.indices.insert((from, to), index);
        known.new.push(index);
        drop(known);
        self.waker.wake();
        Err(Reason::WayUnknown)
    }

    /// The way from a local address to a remote one; none while it is not known.
    pub(super) fn way(&self, from: IpAddr, to: IpAddr) -> Option<NextHop> {
        let known = self.lock();
        let index = *known.indices.get(&(from, to))?;
        known.places.get(index as usize).map(|place| place.hop).filter(|hop| hop.interface != 0)
    }

    /// One use less. What nobody uses is given up some time later.
    pub(super) fn put(&self, from: IpAddr, to: IpAddr) {
        let mut known = self.lock();
        let index = known.indices.get(&(from, to)).copied();
        if let Some(place) = index.and_then(|index| known.places.get_mut(index as usize)) {
            place.users = place.users.saturating_sub(1);
        }
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

    /// Ends the thread.
    pub(super) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
        self.waker.wake();
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Seeker {
    hops: Arc<NextHops>,
    map: Array<MapData, NextHop>,
    /// What the map holds, with the neighbour that it leads to.
    written: HashMap<u32, (NextHop, Option<(u32, IpAddr)>)>,
    questions: RouteSocket,
    changes: RouteSocket,
    /// None where the kernel can't tell.
    features: Option<Features>,
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
        let pair = self.hops.lock().places.get(index as usize).map(|place| place.pair);
        let Some((from, to)) = pair else {
            self.written.remove(&index);
            return;
        };
        // What can't be found out is not known: packets take the way through the daemon.
        let (hop, neighbour) = self.find(from, to).unwrap_or_default();
        if self.written.get(&index).is_none_or(|(written, _)| *written != hop) {
            if let Err(error) = self.map.set(index, hop, 0) {
                tracing::error!(target: "core", "the way from {from} to {to} is not written: {error}");
                return;
            }
            tracing::debug!(target: "core", "the way from {from} to {to}: {hop:?}");
        }
        if let Some(place) = self.hops.lock().places.get_mut(index as usize) {
            place.hop = hop;
        }
        self.written.insert(index, (hop, neighbour));
    }

    fn find(&mut self, from: IpAddr, to: IpAddr) -> io::Result<(NextHop, Option<(u32, IpAddr)>)> {
        let nowhere = Ok((NextHop::default(), None));
        let Some(route) = self.questions.route(from, to)? else { return nowhere };
        let link = self.questions.link(route.interface)?;
        let neighbour = Some((route.interface, route.neighbour));
        let Some(destination) = self.questions.neighbour(route.interface, route.neighbour)? else {
            return Ok((NextHop::default(), neighbour));
        };
        let (vlan, interface) = link.vlan.unwrap_or((0, route.interface));
        let sends = self.features.as_ref().is_none_or(|features| features.sends_redirected(interface).unwrap_or(true));
        let Some(source) = link.address.filter(|_| sends) else { return Ok((NextHop::default(), neighbour)) };
        let mtu = route.mtu.map_or(link.mtu, |mtu| mtu.min(link.mtu)).min(u32::from(u16::MAX)) as u16;
        Ok((NextHop { interface, mtu, vlan, source, destination }, neighbour))
    }

    fn use_neighbours(&mut self) {
        let mut used: Vec<(u32, IpAddr)> = self.written.values().filter_map(|(_, neighbour)| *neighbour).collect();
        used.sort_unstable();
        used.dedup();
        for (interface, address) in used {
            // One that is gone meanwhile shows as a change.
            let _ = self.questions.use_neighbour(interface, address);
        }
        self.hops.sweep();
        // A device may begin or cease to send what is redirected to it, of which nobody tells.
        self.look_up_all();
    }
}
