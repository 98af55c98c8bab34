//! The seam to the kernel's maps.

use super::entry::Entry;
use super::reason::Reason;
use crate::rtp::Loan;
use crate::srtp::Windows;
use smallvec::SmallVec;

/// The place of an installed entry's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Slot(pub u32);

/// Packets and their bytes.
pub type Sent = (u64, u64);

/// What has been counted at an entry since it was installed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counted {
    pub loan: Loan,
    /// What was sent to each receiver, where there are copies for several.
    pub copies: SmallVec<[Sent; 4]>,
}

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
    fn read(&self, slot: Slot) -> Counted;

    /// Takes an entry out; what it has counted, and where its windows stand.
    fn withdraw(&mut self, slot: Slot, entry: &Entry) -> (Counted, Windows);

    /// Whether packets for some receiver leave by another interface than the entry at this slot says.
    fn has_moved(&self, slot: Slot) -> bool;

    /// Called about once a second: what was taken out before the last time can be in use nowhere.
    fn tidy(&mut self);

    /// Whether it takes entries with keys.
    fn takes_keys(&self) -> bool;
}
