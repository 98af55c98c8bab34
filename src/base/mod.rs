//! Floor 0: ids, time as values, addresses, sequence arithmetic, the random-number seam, secrets, errors as texts.

pub mod address;
pub mod fault;
pub mod fingerprint;
pub mod id;
pub mod learning;
pub mod number;
pub mod protocol;
pub mod random;
pub mod recheck;
pub mod secret;
pub mod sequence;
pub mod subnet;
pub mod suite;
pub mod text;
pub mod time;
