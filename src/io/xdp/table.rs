//! One shard's part of the maps.

use super::captured::CapturedPorts;
use super::copies::Copies;
use super::flows::FlowMap;
use super::keys::KeyMaps;
use super::next_hops::NextHops;
use super::orphans::Orphans;
use super::shared::Shared;
use crate::fastpath::layout::{Endpoint, Flow, NextHop, Stream, Target};
use crate::fastpath::{Action, CopyWindows, Counted, Entry, Path, Reason, Slot, Table, Withdrawn};
use crate::rtp::Loan;
use crate::srtp::{Window, Windows};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Installs entries, with slots of its own.
pub(super) struct XdpTable {
    pub(super) flows: Arc<FlowMap>,
    pub(super) streams: Arc<Shared<Stream>>,
    pub(super) next_hops: Arc<NextHops>,
    pub(super) free: Vec<Slot>,
    /// The programs that see what comes to a local address.
    pub(super) reach: Arc<Reaches>,
    /// Of entries that are not for the program at the driver.
    pub(super) paths: HashMap<Slot, Path>,
    /// The entries at ports that two peers send to, by side.
    pub(super) sides: HashMap<SocketAddr, [Option<Slot>; 2]>,
    /// What a dead daemon has left.
    pub(super) orphans: Option<Arc<Orphans>>,
    /// None: keys stay in userspace.
    pub(super) keys: Option<KeyMaps>,
    /// None: packets go to one receiver at most.
    pub(super) copies: Option<Copies>,
    /// The number of the shard, where it has lines.
    pub(super) lines_of: Option<u32>,
    /// Whether there are entries for what is forwarded.
    pub(super) forwards: bool,
    /// None: frames can't be captured.
    pub(super) captured: Option<Arc<CapturedPorts>>,
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
    /// The beginnings of this host's own addresses, with their lengths in bits: what comes from there comes by the loopback
    /// device, which has a program. Empty where it has none.
    pub(super) own: Vec<(IpAddr, u8)>,
}

impl Reaches {
    /// Whether packets from a source come by the loopback device, as far as it is of interest.
    fn is_here(&self, source: IpAddr) -> bool {
        source.is_loopback() || self.own.iter().any(|(prefix, bits)| shares(source, *prefix, *bits))
    }

    fn of(&self, local: IpAddr) -> Reach {
        self.of.get(&local).copied().unwrap_or(self.elsewhere)
    }
}

/// Whether two addresses have so many bits in common at their beginning.
fn shares(one: IpAddr, other: IpAddr, bits: u8) -> bool {
    let differing = match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros(),
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros(),
        _ => return false,
    };
    differing >= u32::from(bits)
}

/// Why the classifier would not forward what comes.
fn limits_of_tc(entry: &Entry, is_vlan: bool) -> Result<(), Reason> {
    let output = match &entry.action {
        Action::Drop => None,
        Action::Forward(output) => Some(output),
        Action::Copy(_) => return Err(Reason::TcRewritten),
    };
    match output {
        _ if !entry.captures.is_empty() => Err(Reason::Captured),
        _ if entry.protection.as_ref().is_some_and(|protection| protection.is_srtp()) => Err(Reason::TcEncrypted),
        _ if is_vlan => Err(Reason::TcVlan),
        Some(output) if output.from.is_ipv4() != entry.local.is_ipv4() => Err(Reason::TcFamily),
        Some(output) if output.renumbers(entry) || output.is_silenced() => Err(Reason::TcRewritten),
        _ => Ok(()),
    }
}

impl XdpTable {
    fn free_slot(&mut self) -> Option<Slot> {
        self.free.pop().or_else(|| self.orphans.as_ref()?.take_slot())
    }

    /// The program for an entry, and what the entry points to: a next hop, in use once more, or a new group. The program is
    /// the one at the driver where it can.
    fn take_target(&mut self, slot: Slot, entry: &Entry, windows: &[Option<Window>]) -> Result<(Path, Target), Reason> {
        if self.reach.is_here(entry.source.ip()) {
            if self.reach.own.is_empty() {
                return Err(Reason::Loopback);
            }
            limits_of_tc(entry, false)?;
            return Ok((Path::Loopback, self.take_by(Path::Loopback, slot, entry, windows)?));
        }
        let reach = self.reach.of(entry.local.ip());
        match reach.by_xdp.then(|| self.take_by(Path::Xdp, slot, entry, windows)) {
            Some(Err(Reason::DeviceSendsNone)) | None if reach.by_tc => {
                limits_of_tc(entry, reach.is_vlan)?;
                Ok((Path::Tc, self.take_by(Path::Tc, slot, entry, windows)?))
            }
            by_xdp => Ok((Path::Xdp, by_xdp.unwrap_or(Err(Reason::DeviceSendsNone))?)),
        }
    }

    fn take_by(&mut self, path: Path, slot: Slot, entry: &Entry, windows: &[Option<Window>]) -> Result<Target, Reason> {
        match &entry.action {
            Action::Drop => Ok(Target::Hop(0)),
            Action::Forward(output) => self.next_hops.take(output.from.ip(), output.to.ip(), path).map(Target::Hop),
            Action::Copy(_) => {
                let copies = self.copies.as_mut().ok_or(Reason::ManyReceivers)?;
                copies.put((slot, entry, windows), &self.next_hops, self.keys.as_mut()).map(Target::Group)
            }
        }
    }

    /// Gives up what an entry points to; the windows of its copies.
    fn put_target(&mut self, slot: Slot, entry: &Entry, path: Path) -> CopyWindows {
        match (&entry.action, &mut self.copies) {
            (Action::Forward(output), _) => self.next_hops.put(output.from.ip(), output.to.ip(), path),
            (Action::Copy(_), Some(copies)) => return copies.retire(slot, entry, self.keys.as_mut()),
            _ => {}
        }
        CopyWindows::new()
    }

    fn put_keys(&mut self, slot: Slot, entry: &Entry, windows: &Windows) -> Result<(), Reason> {
        let Some(protection) = &entry.protection else { return Ok(()) };
        self.keys.as_mut().ok_or(Reason::Encrypted)?.put(slot, protection, windows)
    }

    fn take_keys(&mut self, slot: Slot, entry: &Entry) -> Windows {
        let (Some(protection), Some(keys)) = (&entry.protection, &mut self.keys) else { return Windows::default() };
        keys.take(slot, protection)
    }

    /// Gives an entry a side of its port, where it shares that.
    fn take_side(&mut self, slot: Slot, entry: &Entry) -> Result<(), Reason> {
        if !entry.shares_port {
            return Ok(());
        }
        let sides = self.sides.entry(entry.local).or_default();
        let side = sides.iter_mut().find(|side| side.is_none()).ok_or(Reason::SharedPort)?;
        *side = Some(slot);
        Ok(())
    }

    fn put_side(&mut self, slot: Slot, entry: &Entry) {
        let Some(sides) = self.sides.get_mut(&entry.local) else { return };
        sides.iter_mut().filter(|side| **side == Some(slot)).for_each(|side| *side = None);
        if *sides == [None; 2] {
            self.sides.remove(&entry.local);
        }
    }

    /// The side of its port that an entry's flow has.
    fn side(&self, slot: Slot, entry: &Entry) -> u16 {
        u16::from(self.sides.get(&entry.local).is_some_and(|sides| sides[1] == Some(slot)))
    }

    fn set(&mut self, slot: Slot, entry: &Entry, windows: &[Option<Window>]) -> Result<(), Reason> {
        let (path, target) = self.take_target(slot, entry, windows)?;
        if let Some(captured) = &self.captured {
            captured.set(Endpoint::from(entry.local), &entry.captures);
        }
        let flow = Flow::new(entry, target).on(self.side(slot, entry)).by(path);
        self.flows.insert(flow, slot).map_err(|error| {
            tracing::warn!(target: "core", "an entry of the fast path was not taken: {error}");
            self.put_target(slot, entry, path);
            Reason::TableFull
        })?;
        match path {
            Path::Xdp => self.paths.remove(&slot),
            Path::Tc | Path::Loopback => self.paths.insert(slot, path),
        };
        Ok(())
    }
}

impl Table for XdpTable {
    fn install(
        &mut self,
        entry: &Entry,
        state: &Loan,
        windows: &Windows,
        copies: &[Option<Window>],
    ) -> Result<Slot, Reason> {
        let slot = self.free_slot().ok_or(Reason::TableFull)?;
        self.orphans.iter().for_each(|orphans| orphans.displace(entry.local));
        self.streams.write(slot.0, state.into());
        let sided = self.take_side(slot, entry).and_then(|()| self.put_keys(slot, entry, windows));
        let installed = sided.and_then(|()| {
            self.set(slot, entry, copies).inspect_err(|_| {
                self.take_keys(slot, entry);
            })
        });
        if let Err(reason) = installed {
            self.put_side(slot, entry);
            self.free.push(slot);
            return Err(reason);
        }
        Ok(slot)
    }

    fn reroute(&mut self, slot: Slot, old: &Entry, new: &Entry) -> Result<(), Reason> {
        let old_path = self.path(slot);
        self.set(slot, new, &[])?;
        self.put_target(slot, old, old_path);
        Ok(())
    }

    fn read(&self, slot: Slot) -> Counted {
        let copies = self.copies.as_ref().map(|copies| copies.read(slot)).unwrap_or_default();
        Counted { loan: Loan::from(&self.streams.read(slot.0)), copies }
    }

    fn windows(&self, slot: Slot, entry: &Entry) -> Windows {
        let (Some(protection), Some(keys)) = (&entry.protection, &self.keys) else { return Windows::default() };
        keys.windows(slot, protection)
    }

    fn withdraw(&mut self, slot: Slot, entry: &Entry) -> Withdrawn {
        if let Err(error) = self.flows.remove(&Endpoint::from(entry.local).on(self.side(slot, entry))) {
            tracing::error!(target: "core", "an entry of the fast path was not found: {error}");
        }
        self.put_side(slot, entry);
        let windows = self.take_keys(slot, entry);
        if let Some(copies) = &self.copies {
            copies.settle(slot);
        }
        let counted = self.read(slot);
        let copies = self.put_target(slot, entry, self.path(slot));
        self.paths.remove(&slot);
        self.free.push(slot);
        Withdrawn { counted, windows, copies }
    }

    fn path(&self, slot: Slot) -> Path {
        self.paths.get(&slot).copied().unwrap_or(Path::Xdp)
    }

    fn way(&self, from: IpAddr, to: IpAddr) -> Option<NextHop> {
        let by = |path| self.next_hops.way(from, to, path);
        by(Path::Xdp).or_else(|| by(Path::Tc))
    }

    fn lift(&mut self, local: SocketAddr, source: SocketAddr) -> bool {
        let Some(shard) = self.lines_of else { return false };
        if !self.reach.of(local.ip()).by_xdp || self.reach.is_here(source.ip()) {
            return false;
        }
        self.orphans.iter().for_each(|orphans| orphans.displace(local));
        let lifted = self.flows.insert(Flow::lifted(local, source, shard), Slot(0));
        lifted.inspect_err(|error| tracing::warn!(target: "core", "a port is not lifted: {error}")).is_ok()
    }

    fn put_down(&mut self, local: SocketAddr) {
        if let Err(error) = self.flows.remove(&Endpoint::from(local)) {
            tracing::error!(target: "core", "a lifted port was not found: {error}");
        }
    }

    fn forwards(&self) -> bool {
        self.forwards
    }

    fn captures(&self) -> bool {
        self.captured.is_some()
    }

    fn takes_keys(&self) -> bool {
        self.keys.is_some()
    }

    fn has_moved(&self, slot: Slot) -> bool {
        self.copies.as_ref().is_some_and(|copies| copies.has_moved(slot, &self.next_hops))
    }

    fn tidy(&mut self) {
        self.copies.iter_mut().for_each(|copies| copies.tidy(&self.next_hops));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_is_known_by_its_prefixes() {
        let at = |text: &str| text.parse::<IpAddr>().unwrap();
        let own = [("127.0.0.0", 8), ("192.0.2.7", 32), ("198.51.100.0", 24), ("2001:db8::7", 128), ("::1", 128)];
        let own = own.map(|(prefix, bits)| (at(prefix), bits)).into();
        let reaches = Reaches { own, ..Reaches::default() };
        for here in ["127.9.8.7", "192.0.2.7", "198.51.100.255", "2001:db8::7", "::1"] {
            assert!(reaches.is_here(at(here)), "{here}");
        }
        for there in ["128.0.0.1", "192.0.2.6", "198.51.101.0", "2001:db8::8", "::2"] {
            assert!(!reaches.is_here(at(there)), "{there}");
        }
        let unserved = Reaches::default();
        assert!(unserved.is_here(at("127.0.0.1")) && !unserved.is_here(at("192.0.2.7")));
        assert!(shares(at("10.0.0.1"), at("0.0.0.0"), 0) && !shares(at("10.0.0.1"), at("::"), 0));
    }
}
