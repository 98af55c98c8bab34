//! One shard's part of the maps.

use super::keys::KeyMaps;
use super::next_hops::NextHops;
use super::orphans::Orphans;
use super::streams::Streams;
use crate::fastpath::layout::{Endpoint, Flow};
use crate::fastpath::{Action, Entry, Path, Reason, Slot, Table};
use crate::rtp::Loan;
use crate::srtp::Windows;
use aya::maps::{self, MapData};
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

/// Installs entries, with slots of its own.
pub(super) struct XdpTable {
    pub(super) flows: maps::HashMap<MapData, Endpoint, Flow>,
    pub(super) streams: Arc<Streams>,
    pub(super) next_hops: Arc<NextHops>,
    pub(super) free: Vec<Slot>,
    /// The programs that see what comes to a local address.
    pub(super) reach: Arc<Reaches>,
    pub(super) by_tc: HashSet<Slot>,
    /// What a dead daemon has left.
    pub(super) orphans: Option<Arc<Orphans>>,
    /// None: keys stay in userspace.
    pub(super) keys: Option<KeyMaps>,
}

/// The programs on the interface of a local address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Reach {
    pub(super) by_xdp: bool,
    pub(super) by_tc: bool,
    /// It is on a VLAN of that interface.
    pub(super) is_vlan: bool,
}

/// The programs that see what comes, by local address.
#[derive(Debug, Default)]
pub(super) struct Reaches {
    pub(super) of: HashMap<IpAddr, Reach>,
    /// To all other addresses.
    pub(super) elsewhere: Reach,
}

/// Why the classifier would not forward what comes.
fn limits_of_tc(entry: &Entry, reach: Reach) -> Result<(), Reason> {
    match way(entry) {
        _ if entry.protection.is_some() => Err(Reason::TcEncrypted),
        _ if reach.is_vlan => Err(Reason::TcVlan),
        Some((from, _)) if from.is_ipv4() != entry.local.is_ipv4() => Err(Reason::TcFamily),
        _ => Ok(()),
    }
}

impl XdpTable {
    fn free_slot(&mut self) -> Option<Slot> {
        self.free.pop().or_else(|| self.orphans.as_ref()?.take_slot())
    }

    /// The program for an entry and its next hop, in use once more: the one at the driver where it can.
    fn take_hop(&self, entry: &Entry) -> Result<(Path, u32), Reason> {
        let reach = self.reach.of.get(&entry.local.ip()).copied().unwrap_or(self.reach.elsewhere);
        let by = |path| match way(entry) {
            Some((from, to)) => Ok((path, self.next_hops.take(from, to, path)?)),
            None => Ok((path, 0)),
        };
        match reach.by_xdp.then(|| by(Path::Xdp)) {
            Some(Err(Reason::DeviceSendsNone)) | None if reach.by_tc => {
                limits_of_tc(entry, reach)?;
                by(Path::Tc)
            }
            by_xdp => by_xdp.unwrap_or(Err(Reason::DeviceSendsNone)),
        }
    }

    fn put_hop(&self, entry: &Entry, path: Path) {
        if let Some((from, to)) = way(entry) {
            self.next_hops.put(from, to, path);
        }
    }

    fn put_keys(&mut self, slot: Slot, entry: &Entry, windows: &Windows) -> Result<(), Reason> {
        let Some(protection) = &entry.protection else { return Ok(()) };
        self.keys.as_mut().ok_or(Reason::Encrypted)?.put(slot, protection, windows)
    }

    fn take_keys(&mut self, slot: Slot, entry: &Entry) -> Windows {
        let (Some(protection), Some(keys)) = (&entry.protection, &mut self.keys) else { return Windows::default() };
        keys.take(slot, protection)
    }

    fn set(&mut self, slot: Slot, entry: &Entry) -> Result<(), Reason> {
        let (path, hop) = self.take_hop(entry)?;
        let set = self.flows.insert(Endpoint::from(entry.local), Flow::new(entry, slot, hop).by(path), 0);
        set.map_err(|error| {
            tracing::warn!(target: "core", "an entry of the fast path was not taken: {error}");
            self.put_hop(entry, path);
            Reason::TableFull
        })?;
        if path == Path::Tc {
            self.by_tc.insert(slot);
        } else {
            self.by_tc.remove(&slot);
        }
        Ok(())
    }
}

impl Table for XdpTable {
    fn install(&mut self, entry: &Entry, state: &Loan, windows: &Windows) -> Result<Slot, Reason> {
        let slot = self.free_slot().ok_or(Reason::TableFull)?;
        self.orphans.iter().for_each(|orphans| orphans.displace(entry.local));
        self.streams.write(slot, state.into());
        let installed = self.put_keys(slot, entry, windows).and_then(|()| {
            self.set(slot, entry).inspect_err(|_| {
                self.take_keys(slot, entry);
            })
        });
        installed.inspect_err(|_| self.free.push(slot))?;
        Ok(slot)
    }

    fn reroute(&mut self, slot: Slot, old: &Entry, new: &Entry) -> Result<(), Reason> {
        let old_path = self.path(slot);
        self.set(slot, new)?;
        self.put_hop(old, old_path);
        Ok(())
    }

    fn read(&self, slot: Slot) -> Loan {
        Loan::from(&self.streams.read(slot))
    }

    fn withdraw(&mut self, slot: Slot, entry: &Entry) -> (Loan, Windows) {
        if let Err(error) = self.flows.remove(&Endpoint::from(entry.local)) {
            tracing::error!(target: "core", "an entry of the fast path was not found: {error}");
        }
        let windows = self.take_keys(slot, entry);
        self.put_hop(entry, self.path(slot));
        self.by_tc.remove(&slot);
        self.free.push(slot);
        (self.read(slot), windows)
    }

    fn path(&self, slot: Slot) -> Path {
        if self.by_tc.contains(&slot) { Path::Tc } else { Path::Xdp }
    }

    fn takes_keys(&self) -> bool {
        self.keys.is_some()
    }
}

fn way(entry: &Entry) -> Option<(IpAddr, IpAddr)> {
    match entry.action {
        Action::Drop => None,
        Action::Forward { from, to, .. } => Some((from.ip(), to.ip())),
    }
}
