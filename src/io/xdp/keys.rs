//! Keys and windows of SRTP in the kernel's maps. Flows without SRTP have none.

use crate::fastpath::layout::{Keys, Order};
use crate::fastpath::table::Slot;
use crate::fastpath::{Protection, Reason};
use crate::srtp::Windows;
use aya::maps::{HashMap, MapData};
use std::time::Duration;
use zeroize::Zeroizing;

/// `BPF_F_LOCK`: an element that is there is overwritten in place, so that nothing of it stays elsewhere in memory.
const IN_PLACE: u64 = 4;
/// A program is at an order for some microseconds.
pub(super) const PATIENCE: Duration = Duration::from_micros(50);
pub(super) const MOST_WAITS: usize = 200;

/// The maps `keys_of` and `orders`.
pub(super) struct KeyMaps {
    pub(super) keys: HashMap<MapData, u32, Keys>,
    pub(super) orders: HashMap<MapData, u32, Order>,
}

impl KeyMaps {
    /// Puts keys and windows at a slot whose flow is not installed yet.
    pub(super) fn put(&mut self, slot: Slot, protection: &Protection, windows: &Windows) -> Result<(), Reason> {
        let keys = Zeroizing::new(Keys::new(protection).ok_or(Reason::Suite)?);
        let put = self.orders.insert(slot.0, Order::from(windows), 0);
        put.and_then(|()| self.keys.insert(slot.0, *keys, 0)).map_err(|error| {
            tracing::warn!(target: "core", "keys of the fast path were not taken: {error}");
            // Whichever of them is there.
            let _ = self.orders.remove(&slot.0);
            Reason::TableFull
        })
    }

    /// Where the windows of a slot stand; programs may be at it.
    pub(super) fn windows(&self, slot: Slot, protection: &Protection) -> Windows {
        self.orders.get(&slot.0, 0).map(|order| order.windows(protection)).unwrap_or_default()
    }

    /// Takes the keys of a slot away, whose flow is not installed any more, and says where its windows stand. Programs
    /// that are at it are waited for; they have told so before they looked for the flow a last time.
    pub(super) fn take(&mut self, slot: Slot, protection: &Protection) -> Windows {
        let order = self.settled(slot);
        let wiped = self.keys.insert(slot.0, Keys::NONE, IN_PLACE);
        if let Err(error) = wiped.and_then(|()| self.keys.remove(&slot.0)) {
            tracing::error!(target: "core", "keys of the fast path were not wiped: {error}");
        }
        if let Err(error) = self.orders.remove(&slot.0) {
            tracing::error!(target: "core", "windows of the fast path were not found: {error}");
        }
        order.map(|order| order.windows(protection)).unwrap_or_default()
    }

    /// Wipes and removes what is at slots that no flow uses.
    pub(super) fn retain(&mut self, is_used: impl Fn(Slot) -> bool) {
        let keys = self.keys.keys().chain(self.orders.keys()).flatten();
        let mut unused: Vec<u32> = keys.filter(|index| !is_used(Slot(*index))).collect();
        unused.sort_unstable();
        unused.dedup();
        unused.into_iter().for_each(|index| self.forget(Slot(index)));
    }

    /// Wipes and removes what is at a slot whose flow is not installed any more, whatever of it is there.
    pub(super) fn forget(&mut self, slot: Slot) {
        self.settled(slot);
        if self.keys.get(&slot.0, 0).is_ok() {
            let wiped = self.keys.insert(slot.0, Keys::NONE, IN_PLACE);
            if let Err(error) = wiped.and_then(|()| self.keys.remove(&slot.0)) {
                tracing::error!(target: "core", "keys of the fast path were not wiped: {error}");
            }
        }
        // There may be none.
        let _ = self.orders.remove(&slot.0);
    }

    fn settled(&self, slot: Slot) -> Option<Order> {
        let mut order = self.orders.get(&slot.0, 0).ok()?;
        for _ in 0..MOST_WAITS {
            if order.users == 0 {
                break;
            }
            std::thread::sleep(PATIENCE);
            order = self.orders.get(&slot.0, 0).ok()?;
        }
        Some(order)
    }
}
