//! Handles that floors share: plain numbers, meaningful only to the table they index.

/// A stream's place in its shard's stream table. Reused after the stream has been removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u32);

/// An open port's place in its shard's receiver. Reused after the port has been closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortToken(pub u32);

/// Somebody who looks at the packets of a call. Never used twice while the daemon runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CaptureId(pub u32);
