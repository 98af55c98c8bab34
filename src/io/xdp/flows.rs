//! The maps `fronts` and `flows`: what is done with RTP at a local port. Programs walk them while they change: a flow is whole
//! before anything leads to it, what leads to it is one word, and the place of one that was taken out is not used before
//! nobody can be at it any more.

use super::Unavailable;
use super::shared::Shared;
use crate::base::time::Mono;
use crate::fastpath::layout::{Endpoint, Flow, Lead, MOST_CHAINED};
use crate::fastpath::table::Slot;
use crate::io::clock;
use std::collections::{HashSet, VecDeque};
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// So long the place of a flow rests that was taken out. A program is at it for some microseconds, and for as long as a host
/// of virtual machines takes its processor away.
const REST: Duration = Duration::from_millis(100);
/// Places for those that rest, beside what ports have.
const SPARE: u32 = 256;

/// The flows of all shards.
pub struct FlowMap {
    fronts: Shared<u64>,
    flows: Shared<Flow>,
    /// The number of fronts less one.
    mask: u32,
    places: Mutex<Places>,
}

struct Places {
    free: Vec<u32>,
    /// Since when, in the order of time.
    resting: VecDeque<(Mono, u32)>,
}

/// A word that leads to a flow.
#[derive(Debug, Clone, Copy)]
enum Link {
    Front(u32),
    /// The one in the flow at an index.
    Next(u32),
}

/// How many elements the maps have, for so many local ports: fronts and flows.
pub(super) fn sizes(ports: u32) -> (u32, u32) {
    // Ports of an address stand side by side among the fronts: those of another seldom fall upon them in so many.
    let fronts = ports.saturating_mul(4).max(64).next_power_of_two();
    (fronts, ports.saturating_add(ports / 4).saturating_add(SPARE))
}

impl FlowMap {
    /// The maps of so many elements, which may hold flows already.
    ///
    /// # Errors
    /// When the kernel does not map them.
    pub(super) fn open(
        (fronts, flows): (BorrowedFd<'_>, BorrowedFd<'_>),
        (front_count, flow_count): (u32, u32),
    ) -> Result<FlowMap, Unavailable> {
        let fault = |error: io::Error| Unavailable::Kernel(format!("the maps of flows: {error}"));
        let map = FlowMap {
            fronts: Shared::map(fronts, front_count as usize).map_err(fault)?,
            flows: Shared::map(flows, flow_count as usize).map_err(fault)?,
            mask: front_count - 1,
            places: Mutex::new(Places { free: Vec::new(), resting: VecDeque::new() }),
        };
        let used = map.adopt();
        // The first one leads nowhere.
        map.lock().free = (1..flow_count).rev().filter(|index| !used.contains(index)).collect();
        Ok(map)
    }

    /// The places in use. What makes no sense is cut off.
    fn adopt(&self) -> HashSet<u32> {
        let mut used = HashSet::new();
        for front in 0..=self.mask {
            let mut link = Link::Front(front);
            for turn in 0.. {
                let lead = self.lead(link);
                let index = lead.index();
                if lead == Lead::default() {
                    break;
                }
                let is_sound = turn < MOST_CHAINED && self.flows.read(index).local.front(self.mask) == front;
                if !is_sound || index == 0 || !used.insert(index) {
                    self.set(link, Lead::default());
                    break;
                }
                link = Link::Next(index);
            }
        }
        used
    }

    /// Puts a flow at its local port, in the place of one that is there. Its state is at `slot`.
    ///
    /// # Errors
    /// When there are too many, or too many whose ports have the same front.
    pub fn insert(&self, flow: Flow, slot: Slot) -> io::Result<()> {
        let full = |what: &str| io::Error::new(io::ErrorKind::StorageFull, what);
        let mut places = self.lock();
        let (link, old, before) = self.find(&flow.local);
        if old == Lead::default() && before >= MOST_CHAINED {
            return Err(full("too many ports of several addresses fall upon each other"));
        }
        let now = clock::mono();
        let index = places.take(now).ok_or_else(|| full("there is no room for another flow"))?;
        let next = if old == Lead::default() { 0 } else { self.flows.read(old.index()).next };
        self.flows.write(index, Flow { next, ..flow });
        self.set(link, Lead::new(index, slot));
        if old != Lead::default() {
            places.resting.push_back((now, old.index()));
        }
        Ok(())
    }

    /// Takes the flow of a local port out. Programs that look for it from now on don't find it.
    ///
    /// # Errors
    /// When there is none.
    pub fn remove(&self, local: &Endpoint) -> io::Result<()> {
        let mut places = self.lock();
        let (link, old, _) = self.find(local);
        if old == Lead::default() {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.set(link, Lead(self.flows.read(old.index()).next));
        // Whoever reads next what a program has said of itself, reads it after this.
        fence(Ordering::SeqCst);
        places.resting.push_back((clock::mono(), old.index()));
        Ok(())
    }

    /// All flows, with the slots of their states.
    pub fn all(&self) -> Vec<(Slot, Flow)> {
        let _places = self.lock();
        let mut found = Vec::new();
        for front in 0..=self.mask {
            let mut lead = self.lead(Link::Front(front));
            while lead != Lead::default() {
                let flow = self.flows.read(lead.index());
                found.push((lead.slot(), flow));
                lead = Lead(flow.next);
            }
        }
        found
    }

    /// What leads to the flow of a local port, and how many stand before it; with no lead, where one would be put.
    fn find(&self, local: &Endpoint) -> (Link, Lead, usize) {
        let mut link = Link::Front(local.front(self.mask));
        let mut before = 0;
        loop {
            let lead = self.lead(link);
            if lead == Lead::default() || self.flows.read(lead.index()).local == *local {
                return (link, lead, before);
            }
            link = Link::Next(lead.index());
            before += 1;
        }
    }

    fn lead(&self, link: Link) -> Lead {
        self.word(link).map_or(Lead::default(), |word| Lead(word.load(Ordering::Acquire)))
    }

    fn set(&self, link: Link, lead: Lead) {
        if let Some(word) = self.word(link) {
            word.store(lead.0, Ordering::Release);
        }
    }

    fn word(&self, link: Link) -> Option<&AtomicU64> {
        match link {
            Link::Front(index) => self.fronts.word(index),
            Link::Next(index) => self.flows.word(index),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Places {
    fn take(&mut self, now: Mono) -> Option<u32> {
        match self.resting.front() {
            Some((since, _)) if now.since(*since) >= REST => self.resting.pop_front().map(|(_, index)| index),
            _ => self.free.pop(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::net::SocketAddr;
    use std::os::fd::{AsFd, FromRawFd};

    const FRONTS: u32 = 64;

    /// Memory in the place of a map.
    fn memory(bytes: usize) -> File {
        // SAFETY: the name is a C string.
        let descriptor = unsafe { libc::memfd_create(c"map".as_ptr(), 0) };
        assert!(descriptor >= 0);
        // SAFETY: the call has just made the descriptor.
        let file = unsafe { File::from_raw_fd(descriptor) };
        file.set_len(bytes as u64).unwrap();
        file
    }

    struct Maps {
        fronts: File,
        flows: File,
        count: u32,
    }

    impl Maps {
        fn of(count: u32) -> Maps {
            Maps { fronts: memory(8 * FRONTS as usize), flows: memory(size_of::<Flow>() * count as usize), count }
        }

        fn open(&self) -> FlowMap {
            FlowMap::open((self.fronts.as_fd(), self.flows.as_fd()), (FRONTS, self.count)).unwrap()
        }
    }

    fn flow(port: u16) -> Flow {
        let local = SocketAddr::from(([192, 0, 2, 1], port));
        Flow::lifted(local, SocketAddr::from(([198, 51, 100, 10], 6000)), 0)
    }

    fn slots(map: &FlowMap) -> Vec<u32> {
        let mut slots: Vec<u32> = map.all().iter().map(|(slot, _)| slot.0).collect();
        slots.sort_unstable();
        slots
    }

    #[test]
    fn flows_of_one_front_follow_each_other() {
        let maps = Maps::of(16);
        let map = maps.open();
        // Every 128th port has the same front.
        let ports: Vec<u16> = (0..MOST_CHAINED as u16).map(|number| 30_000 + 128 * number).collect();
        for (slot, port) in ports.iter().enumerate() {
            map.insert(flow(*port), Slot(slot as u32)).unwrap();
        }
        assert_eq!(slots(&map), [0, 1, 2, 3]);
        let refused = map.insert(flow(29_872), Slot(9)).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::StorageFull);
        // Another one at the same port takes the place of the first; those behind it stay.
        map.insert(flow(ports[1]), Slot(7)).unwrap();
        map.remove(&flow(ports[2]).local).unwrap();
        assert_eq!(slots(&map), [0, 3, 7]);
        assert_eq!(map.remove(&flow(ports[2]).local).unwrap_err().kind(), io::ErrorKind::NotFound);
        map.remove(&flow(ports[0]).local).unwrap();
        map.insert(flow(29_872), Slot(9)).unwrap();
        assert_eq!(slots(&map), [3, 7, 9]);
    }

    #[test]
    fn two_peers_of_a_port_have_a_flow_each() {
        let maps = Maps::of(8);
        let map = maps.open();
        map.insert(flow(30_000).on(0), Slot(1)).unwrap();
        map.insert(flow(30_000).on(1), Slot(2)).unwrap();
        map.remove(&flow(30_000).on(0).local).unwrap();
        assert_eq!(slots(&map), [2]);
    }

    #[test]
    fn the_place_of_one_that_was_taken_out_rests() {
        let maps = Maps::of(3);
        let map = maps.open();
        map.insert(flow(30_000), Slot(0)).unwrap();
        map.insert(flow(30_000), Slot(0)).unwrap();
        assert_eq!(map.insert(flow(30_002), Slot(1)).unwrap_err().kind(), io::ErrorKind::StorageFull);
        std::thread::sleep(REST);
        map.insert(flow(30_002), Slot(1)).unwrap();
        assert_eq!(slots(&map), [0, 1]);
    }

    #[test]
    fn what_is_there_is_adopted_and_what_makes_no_sense_is_cut_off() {
        let maps = Maps::of(8);
        let map = maps.open();
        map.insert(flow(30_000), Slot(5)).unwrap();
        map.insert(flow(30_128), Slot(6)).unwrap();
        map.insert(flow(30_002), Slot(7)).unwrap();
        assert_eq!(slots(&maps.open()), [5, 6, 7]);
        let front = flow(30_000).local.front(FRONTS - 1);
        for (elsewhere, lead) in [(1, map.lead(Link::Front(front)).0), (2, 1 << 20), (3, 1 << 32)] {
            map.set(Link::Front((front + 10 + elsewhere) % FRONTS), Lead(lead));
        }
        let adopted = maps.open();
        assert_eq!(slots(&adopted), [5, 6, 7]);
        // Their places are not given to others.
        (0..4).for_each(|number| adopted.insert(flow(31_000 + 2 * number), Slot(u32::from(number))).unwrap());
        assert_eq!(slots(&adopted), [0, 1, 2, 3, 5, 6, 7]);
        assert!(adopted.insert(flow(31_010), Slot(9)).is_err());
    }

    #[test]
    fn maps_have_room_for_those_that_rest() {
        assert_eq!(sizes(4), (64, 4 + 1 + 256));
        assert_eq!(sizes(8192), (32_768, 8192 + 2048 + 256));
    }
}
