//! How soon something that was not possible is tried again.

/// When a stream that stays here is looked at again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recheck {
    /// Not before its plan or a peer's address changes.
    Never,
    /// By the packets of the next moments.
    Soon,
    /// Less and less often.
    Less,
    /// At a time that is known already.
    Later,
}
