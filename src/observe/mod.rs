//! Floor 7: metrics and the views of a call that clients read.

pub mod query;
pub mod totals;
