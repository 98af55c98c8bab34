//! Floor 7: metrics and the views of a call that clients read.

pub mod calls;
pub mod fastpath;
pub mod homer;
pub mod interfaces;
pub mod interval;
pub mod metrics;
pub mod mqtt;
pub mod query;
pub mod requests;
pub mod sessions;
pub mod statistics;
pub mod sums;
pub mod totals;
