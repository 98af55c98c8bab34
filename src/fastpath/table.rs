//! The seam to the kernel's maps.

use super::entry::Entry;
use super::layout::NextHop;
use super::reason::Reason;
use crate::rtp::{Loan, Sent};
use crate::srtp::{Window, Windows};
use smallvec::SmallVec;
use std::net::{IpAddr, SocketAddr};

/// The place of an installed entry's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Slot(pub u32);

/// What has been counted at an entry since it was installed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counted {
    pub loan: Loan,
    /// What was sent to each receiver, where there are copies for several.
    pub copies: SmallVec<[Sent; 4]>,
}

/// The windows of SRTP of receivers of copies, in the order of outputs; none where a copy leaves plain.
pub type CopyWindows = SmallVec<[Option<Window>; 4]>;

/// What an entry that was taken out has counted, and where its windows stand.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Withdrawn {
    pub counted: Counted,
    pub windows: Windows,
    pub copies: CopyWindows,
}

/// Which program of the kernel forwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Path {
    /// The one at the driver.
    Xdp,
    /// The classifier behind it.
    Tc,
    /// The classifier at the loopback device: the sender is on this host.
    Loopback,
}

impl Path {
    /// The stable name under which it is shown.
    pub fn name(self) -> &'static str {
        match self {
            Path::Xdp => "xdp",
            Path::Tc => "tc",
            Path::Loopback => "loopback",
        }
    }
}

/// Installs and withdraws entries. What can't be installed stays in userspace: nothing here fails for a client.
pub trait Table: Send {
    /// Installs an entry with the state to count on from, and with the windows of SRTP: its own and those of its copies.
    ///
    /// # Errors
    /// When there is no room, or the kernel does not take it.
    fn install(
        &mut self,
        entry: &Entry,
        state: &Loan,
        windows: &Windows,
        copies: &[Option<Window>],
    ) -> Result<Slot, Reason>;

    /// Replaces the entry at a slot by one that counts alike.
    ///
    /// # Errors
    /// When the kernel does not take it; the entry is as it was.
    fn reroute(&mut self, slot: Slot, old: &Entry, new: &Entry) -> Result<(), Reason>;

    /// What has been counted at a slot since its entry was installed.
    fn read(&self, slot: Slot) -> Counted;

    /// Where the windows of the entry at a slot stand.
    fn windows(&self, slot: Slot, entry: &Entry) -> Windows;

    /// Takes an entry out.
    fn withdraw(&mut self, slot: Slot, entry: &Entry) -> Withdrawn;

    /// Whether packets for some receiver leave by another interface than the entry at this slot says.
    fn has_moved(&self, slot: Slot) -> bool;

    /// Called about once a second: what was taken out before the last time can be in use nowhere.
    fn tidy(&mut self);

    /// The path that the entry at a slot takes.
    fn path(&self, _slot: Slot) -> Path {
        Path::Xdp
    }

    /// The way that copies take from a local address to a remote one; none while it is not known.
    fn way(&self, from: IpAddr, to: IpAddr) -> Option<NextHop> {
        let _ = (from, to);
        None
    }

    /// Has packets from `source` to the port `local`, which has no entry, go to the daemon past the network stack; whether
    /// they will.
    fn lift(&mut self, local: SocketAddr, source: SocketAddr) -> bool {
        let _ = (local, source);
        false
    }

    /// Has them take the usual way again.
    fn put_down(&mut self, local: SocketAddr) {
        let _ = local;
    }

    /// Whether it takes entries at all, rather than lifting everything.
    fn forwards(&self) -> bool {
        true
    }

    /// Whether frames of its entries can be captured.
    fn captures(&self) -> bool {
        false
    }

    /// Whether it takes entries with keys.
    fn takes_keys(&self) -> bool;
}
