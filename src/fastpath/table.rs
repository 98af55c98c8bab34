//! The seam to the kernel's maps.

use super::entry::Entry;
use super::layout::NextHop;
use super::reason::Reason;
use crate::rtp::Loan;
use crate::srtp::Windows;
use std::net::IpAddr;

/// The place of an installed entry's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Slot(pub u32);

/// Installs and withdraws entries. What can't be installed stays in userspace: nothing here fails for a client.
pub trait Table: Send {
    /// Installs an entry with the state to count on from, and with the windows of SRTP.
    ///
    /// # Errors
    /// When there is no room, or the kernel does not take it.
    fn install(&mut self, entry: &Entry, state: &Loan, windows: &Windows) -> Result<Slot, Reason>;

    /// Replaces the entry at a slot by one that counts alike.
    ///
    /// # Errors
    /// When the kernel does not take it; the entry is as it was.
    fn reroute(&mut self, slot: Slot, old: &Entry, new: &Entry) -> Result<(), Reason>;

    /// What has been counted at a slot since its entry was installed.
    fn read(&self, slot: Slot) -> Loan;

    /// Takes an entry out; what it has counted, and where its windows stand.
    fn withdraw(&mut self, slot: Slot, entry: &Entry) -> (Loan, Windows);

    /// The way that copies take from a local address to a remote one; none while it is not known.
    fn way(&self, from: IpAddr, to: IpAddr) -> Option<NextHop> {
        let _ = (from, to);
        None
    }

    /// Whether frames of its entries can be captured.
    fn captures(&self) -> bool {
        false
    }

    /// Whether it takes entries with keys.
    fn takes_keys(&self) -> bool;
}
