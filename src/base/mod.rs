//! Floor 0: ids, time as values, addresses, names shared by several languages, the random-number seam.

pub mod address;
pub mod learning;
pub mod protocol;
pub mod random;
pub mod suite;
pub mod text;
pub mod time;
