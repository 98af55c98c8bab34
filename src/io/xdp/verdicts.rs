//! What the programs count, for those who read along.

use super::{Unavailable, unavailable};
use crate::fastpath::verdict::Verdict;
use aya::maps::{Map, MapData, PerCpuArray};
use std::io;
use std::os::fd::BorrowedFd;

/// The map `verdicts`.
pub struct VerdictCounters {
    map: PerCpuArray<MapData, u64>,
}

impl VerdictCounters {
    /// The counters behind a descriptor of the map, which stays the caller's.
    ///
    /// # Errors
    /// When the process has no descriptors left.
    pub(super) fn new(map: BorrowedFd<'_>) -> Result<VerdictCounters, Unavailable> {
        let descriptor = map.try_clone_to_owned().map_err(|error| Unavailable::Kernel(error.to_string()))?;
        let data = MapData::from_fd(descriptor).map_err(|error| unavailable(&error))?;
        let map = PerCpuArray::try_from(Map::PerCpuArray(data)).map_err(|error| unavailable(&error))?;
        Ok(VerdictCounters { map })
    }

    /// What the programs did with packets so far, over all processors.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn read(&self) -> io::Result<Vec<(Verdict, u64)>> {
        let count = |verdict: &Verdict| {
            let values = self.map.get(&(*verdict as u32), 0).map_err(io::Error::other)?;
            Ok((*verdict, values.iter().sum()))
        };
        Verdict::ALL.iter().map(count).collect()
    }
}
