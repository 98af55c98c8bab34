//! Calls of Debian's baresip with itself.

use crate::Scenario;

pub const ALL: &[Scenario] = &[];
