//! The programs of `ebpf/` in the kernel: loaded, attached to interfaces, their maps filled by the shards.

mod attach;
mod captured;
mod copies;
mod devices;
mod features;
mod flows;
mod keys;
mod line;
mod links;
mod load;
mod netlink;
mod next_hops;
mod orphans;
mod pins;
mod shared;
mod table;
mod verdicts;

#[cfg(test)]
mod tests;

pub use attach::{FastPath, Wanted};
pub use captured::{CaptureRing, CapturedFrame, CapturedPorts};
pub use flows::FlowMap;
pub use line::ShardLines;
pub use load::{Programs, Room};
pub use orphans::Orphans;
pub use pins::{Place, remove_left};
pub use verdicts::VerdictCounters;

use super::capabilities::{self, BPF, Capability, NET_ADMIN, PERFMON};
use crate::base::fault::with_causes;
use std::io;

/// The capabilities that programs take.
const NEEDED: [Capability; 3] = [BPF, PERFMON, NET_ADMIN];

/// Why there is no fast path.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    #[error("this program was built without it, because there was no clang")]
    NotBuilt,
    /// The capabilities that are missing.
    #[error("missing {0} (root has all)")]
    NotPermitted(String),
    #[error("no interface to attach to: {0}")]
    NoInterface(String),
    #[error("{0}")]
    Kernel(String),
}

fn unavailable(error: &(dyn std::error::Error + 'static)) -> Unavailable {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
        let missing = capabilities::missing(&NEEDED);
        if kind == Some(io::ErrorKind::PermissionDenied) && !missing.is_empty() {
            return Unavailable::NotPermitted(missing.join(", "));
        }
        cause = error.source();
    }
    Unavailable::Kernel(with_causes(error))
}
