//! Floor 6: forwarding plans compiled a second time, to entries of the kernel's maps.
//!
//! `compile` says whether a stream's RTP can be forwarded below the daemon, and how, or names the reason why not;
//! `diff` says what has to be done to get from one entry to the next. Both are pure. `layout` is what the maps hold,
//! `ebpf/layout.h` in Rust; `table` is the seam to the maps themselves.

pub mod compile;
pub mod diff;
pub mod entry;
pub mod layout;
pub mod reason;
pub mod table;
pub mod verdict;

pub use compile::{Egress, Heard, Ingress, compile};
pub use diff::{Step, diff};
pub use entry::{Action, Entry, Output, Protection};
pub use reason::Reason;
pub use table::{CopyWindows, Counted, Path, Slot, Table, Withdrawn};

#[cfg(test)]
mod tests;
