//! Floor 7: everything that touches sockets and clocks.
