//! Floor 0: ids, time as values, addresses, sequence arithmetic, the random-number seam.

pub mod address;
pub mod id;
pub mod learning;
pub mod protocol;
pub mod random;
pub mod sequence;
pub mod suite;
pub mod text;
pub mod time;
