//! One shard's part of the maps.

use super::captured::CapturedPorts;
use super::keys::KeyMaps;
use super::next_hops::NextHops;
use super::streams::Streams;
use crate::fastpath::layout::{Endpoint, Flow, NextHop};
use crate::fastpath::{Action, Entry, Reason, Slot, Table};
use crate::rtp::Loan;
use crate::srtp::Windows;
use aya::maps::{HashMap, MapData};
use std::net::IpAddr;
use std::sync::Arc;

/// Installs entries, with slots of its own.
pub(super) struct XdpTable {
    pub(super) flows: HashMap<MapData, Endpoint, Flow>,
    pub(super) streams: Arc<Streams>,
    pub(super) next_hops: Arc<NextHops>,
    pub(super) free: Vec<Slot>,
    /// None: keys stay in userspace.
    pub(super) keys: Option<KeyMaps>,
    /// None: frames can't be captured.
    pub(super) captured: Option<Arc<CapturedPorts>>,
}

impl XdpTable {
    /// The next hop of an entry, in use once more.
    fn take_hop(&self, entry: &Entry) -> Result<u32, Reason> {
        match way(entry) {
            Some((from, to)) => self.next_hops.take(from, to),
            None => Ok(0),
        }
    }

    fn put_hop(&self, entry: &Entry) {
        if let Some((from, to)) = way(entry) {
            self.next_hops.put(from, to);
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
        let hop = self.take_hop(entry)?;
        if let Some(captured) = &self.captured {
            captured.set(Endpoint::from(entry.local), &entry.captures);
        }
        let set = self.flows.insert(Endpoint::from(entry.local), Flow::new(entry, slot, hop), 0);
        set.map_err(|error| {
            tracing::warn!(target: "core", "an entry of the fast path was not taken: {error}");
            self.put_hop(entry);
            Reason::TableFull
        })
    }
}

impl Table for XdpTable {
    fn install(&mut self, entry: &Entry, state: &Loan, windows: &Windows) -> Result<Slot, Reason> {
        let slot = self.free.pop().ok_or(Reason::TableFull)?;
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
        self.set(slot, new)?;
        self.put_hop(old);
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
        self.put_hop(entry);
        self.free.push(slot);
        (self.read(slot), windows)
    }

    fn way(&self, from: IpAddr, to: IpAddr) -> Option<NextHop> {
        self.next_hops.way(from, to)
    }

    fn captures(&self) -> bool {
        self.captured.is_some()
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
