//! How a relay finds out where a peer really is.

/// How the remote address is learned (RFC 7362, 4961).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Learning {
    /// The signalled address is final.
    Off,
    /// The first packet decides.
    Immediate,
    /// The first packet after the learning window decides.
    Delayed,
    /// The best candidate of the learning window decides: the signalled address, then its address with another
    /// port, then its port at another address, then any.
    #[default]
    Heuristic,
}
