//! Floor 8: everything that touches sockets and clocks.
