//! Entries with several receivers, in the maps. A group is never changed: another takes its place, and it stays until no
//! packet can be on its way through it.

use super::devices::DeviceLists;
use super::keys::{KeyMaps, MOST_WAITS, PATIENCE};
use super::next_hops::{Leads, NextHops};
use super::shared::Shared;
use crate::fastpath::layout::{COPY_KEYS, Copy, GROUP_INSERTS, GROUP_IS_SRTP, Group, MOST_COPIES};
use crate::fastpath::{CopyWindows, Entry, Output, Path, Reason, Slot};
use crate::srtp::{Window, Windows};
use aya::maps::{HashMap as BpfMap, MapData};
use smallvec::SmallVec;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Of an UDP header, and of IPv4 and IPv6 without options.
const UDP_BYTES: u32 = 8;
const IP4_BYTES: u32 = 20;
const IP6_BYTES: u32 = 40;

/// The groups of one shard.
pub(super) struct Copies {
    groups: BpfMap<MapData, u32, Group>,
    copies: Arc<Shared<Copy>>,
    lists: Arc<DeviceLists>,
    /// Numbers of groups, and indices of copies, that nobody has. Group 0 is none.
    free: Vec<u32>,
    free_copies: Vec<u32>,
    installed: HashMap<Slot, Installed>,
    /// Taken out since `tidy` was last called, and before.
    retired: Vec<Installed>,
    retired_before: Vec<Installed>,
}

/// A group in the maps.
struct Installed {
    group: u32,
    value: Group,
    /// By output: the index of its copy, and its next hop with where that led.
    outputs: SmallVec<[Place; 4]>,
}

#[derive(Clone, std::marker::Copy)]
struct Place {
    copy: u32,
    hop: u32,
    leads: Leads,
    pair: (IpAddr, IpAddr),
}

impl Copies {
    /// With these numbers of groups and indices of copies.
    pub(super) fn new(
        (groups, copies): (BpfMap<MapData, u32, Group>, Arc<Shared<Copy>>),
        lists: Arc<DeviceLists>,
        (free, free_copies): (Vec<u32>, Vec<u32>),
    ) -> Copies {
        Copies {
            groups,
            copies,
            lists,
            free: free.into_iter().filter(|number| *number != 0).collect(),
            free_copies,
            installed: HashMap::new(),
            retired: Vec::new(),
            retired_before: Vec::new(),
        }
    }

    /// Puts a group for the outputs of an entry into the maps; its number.
    ///
    /// # Errors
    /// When the way to a receiver is not known, or there is no room.
    pub(super) fn put(
        &mut self,
        (slot, entry, windows): (Slot, &Entry, &[Option<Window>]),
        hops: &NextHops,
        keys: Option<&mut KeyMaps>,
    ) -> Result<u32, Reason> {
        let outputs = entry.outputs();
        let mut installed = Installed {
            group: self.free.pop().ok_or(Reason::TableFull)?,
            value: Group::default(),
            outputs: SmallVec::new(),
        };
        let put =
            self.take_places(outputs, hops, &mut installed).and_then(|()| self.write(entry, &mut installed, hops));
        // Keys are last: they are put as a whole or not at all, and no flow leads to the group yet.
        let put =
            put.and_then(|()| self.write_group(&installed)).and_then(|()| put_keys(entry, &installed, windows, keys));
        if let Err(reason) = put {
            self.free(&installed, hops);
            return Err(reason);
        }
        let group = installed.group;
        self.installed.insert(slot, installed);
        Ok(group)
    }

    /// All next hops are asked for, so that those which are not known are looked up together.
    fn take_places(&mut self, outputs: &[Output], hops: &NextHops, to: &mut Installed) -> Result<(), Reason> {
        let mut problem = None;
        for output in outputs {
            let pair = (output.from.ip(), output.to.ip());
            match hops.take(pair.0, pair.1, Path::Xdp) {
                Ok(hop) => match self.free_copies.pop() {
                    Some(copy) => to.outputs.push(Place { copy, hop, leads: hops.leads(hop), pair }),
                    None => {
                        hops.put(pair.0, pair.1, Path::Xdp);
                        problem = Some(Reason::TableFull);
                    }
                },
                Err(reason) => problem = Some(reason),
            }
        }
        problem.map_or(Ok(()), Err)
    }

    fn write(&mut self, entry: &Entry, installed: &mut Installed, hops: &NextHops) -> Result<(), Reason> {
        let outputs = entry.outputs();
        let mut order: SmallVec<[usize; 4]> = (0..outputs.len()).collect();
        order.sort_by_key(|place| installed.outputs[*place].leads.interface);
        let interfaces: SmallVec<[u32; 4]> =
            order.iter().map(|place| installed.outputs[*place].leads.interface).collect();
        let (devices, runs) = self.lists.list(&interfaces).inspect_err(|_| hops.wake())?;
        let (mut longest_bytes, mut list) = (u32::MAX, [0; MOST_COPIES]);
        for (place, index) in order.iter().zip(&mut list) {
            let (own, output) = (installed.outputs[*place], &outputs[*place]);
            *index = own.copy;
            let ip_bytes = if output.to.is_ipv4() { IP4_BYTES } else { IP6_BYTES };
            let growth_bytes = output.protection().map_or(0, |protection| protection.growth_bytes() as u32);
            let room_bytes = u32::from(own.leads.mtu).saturating_sub(ip_bytes + UDP_BYTES + growth_bytes);
            longest_bytes = longest_bytes.min(room_bytes);
            self.copies.write(own.copy, Copy::new(entry, output, own.hop));
        }
        let flag = |flag: u32, has: fn(&Output) -> bool| if outputs.iter().any(has) { flag } else { 0 };
        let flags = flag(GROUP_IS_SRTP, Output::has_keys) | flag(GROUP_INSERTS, |output| output.mid.is_some());
        installed.value = Group { users: 0, copies: outputs.len() as u32, flags, devices, longest_bytes, runs, list };
        Ok(())
    }

    fn write_group(&mut self, installed: &Installed) -> Result<(), Reason> {
        self.groups.insert(installed.group, installed.value, 0).map_err(|error| full(&error))
    }

    /// What each output of the entry at a slot was sent.
    pub(super) fn read(&self, slot: Slot) -> SmallVec<[crate::rtp::Sent; 4]> {
        let outputs = self.installed.get(&slot).map(|installed| installed.outputs.as_slice()).unwrap_or_default();
        outputs.iter().map(|place| self.copies.read(place.copy).sent()).collect()
    }

    /// Waits until nothing is on its way any more to copies of a slot that are protected; its flow is gone.
    pub(super) fn settle(&self, slot: Slot) {
        let Some(installed) = self.installed.get(&slot).filter(|installed| installed.value.flags & GROUP_IS_SRTP != 0)
        else {
            return;
        };
        for _ in 0..MOST_WAITS {
            if self.groups.get(&installed.group, 0).map_or(0, |group| group.users) == 0 {
                return;
            }
            std::thread::sleep(PATIENCE);
        }
    }

    /// The flow of a slot is gone, and nothing is on its way to copies that are protected: where their windows stand.
    pub(super) fn retire(&mut self, slot: Slot, entry: &Entry, mut keys: Option<&mut KeyMaps>) -> CopyWindows {
        let Some(installed) = self.installed.remove(&slot) else { return CopyWindows::new() };
        let windows = entry.outputs().iter().zip(&installed.outputs).map(|(output, place)| {
            let taken = output.protection().zip(keys.as_deref_mut());
            taken.and_then(|(protection, keys)| keys.take(place.key_slot(), &protection).protected)
        });
        let windows = windows.collect();
        self.retired.push(installed);
        windows
    }

    /// Whether some copy would leave by another interface, or fit another length, than its group says.
    pub(super) fn has_moved(&self, slot: Slot, hops: &NextHops) -> bool {
        let outputs = self.installed.get(&slot).map(|installed| installed.outputs.as_slice()).unwrap_or_default();
        outputs.iter().any(|place| hops.leads(place.hop) != place.leads)
    }

    /// Frees what was taken out before this was last called.
    pub(super) fn tidy(&mut self, hops: &NextHops) {
        let old = std::mem::replace(&mut self.retired_before, std::mem::take(&mut self.retired));
        old.iter().for_each(|installed| self.free(installed, hops));
    }

    fn free(&mut self, installed: &Installed, hops: &NextHops) {
        // Where putting it failed, some of it was never there.
        let _ = self.groups.remove(&installed.group);
        for place in &installed.outputs {
            self.free_copies.push(place.copy);
            hops.put(place.pair.0, place.pair.1, Path::Xdp);
        }
        self.free.push(installed.group);
    }
}

impl Place {
    fn key_slot(&self) -> Slot {
        Slot(self.copy | COPY_KEYS)
    }
}

/// Keys and windows of all copies that are protected, or of none.
fn put_keys(
    entry: &Entry,
    installed: &Installed,
    windows: &[Option<Window>],
    keys: Option<&mut KeyMaps>,
) -> Result<(), Reason> {
    let protections = entry.outputs().iter().zip(&installed.outputs).zip(windows);
    let protected = protections.filter_map(|((output, place), window)| Some((output.protection()?, place, *window)));
    let protected: SmallVec<[_; 4]> = protected.collect();
    let Some(keys) = keys else { return if protected.is_empty() { Ok(()) } else { Err(Reason::Encrypted) } };
    for (put, (protection, place, window)) in protected.iter().enumerate() {
        let windows = Windows { opened: None, protected: *window };
        if let Err(reason) = keys.put(place.key_slot(), protection, &windows) {
            protected[..put].iter().for_each(|(_, place, _)| keys.forget(place.key_slot()));
            return Err(reason);
        }
    }
    Ok(())
}

fn full(error: &dyn std::error::Error) -> Reason {
    tracing::warn!(target: "core", "a group of the fast path was not taken: {error}");
    Reason::TableFull
}
