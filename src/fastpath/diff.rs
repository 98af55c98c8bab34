//! From the entry that is installed to the one that is wanted.

use super::entry::Entry;

/// What has to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Keep,
    /// A first entry, with a state of its own.
    Install(Entry),
    /// Another way; what is counted goes on.
    Reroute(Entry),
    /// The old entry goes with its state, then a new one comes.
    Renew(Entry),
    /// The entry goes with its state.
    Withdraw,
}

/// The step from `have` to `want`.
pub fn diff(have: Option<&Entry>, want: Option<Entry>) -> Step {
    match (have, want) {
        (None, None) => Step::Keep,
        (None, Some(entry)) => Step::Install(entry),
        (Some(_), None) => Step::Withdraw,
        (Some(old), Some(new)) if *old == new => Step::Keep,
        (Some(old), Some(new)) if new.counts_as(old) => Step::Reroute(new),
        (Some(_), Some(new)) => Step::Renew(new),
    }
}
