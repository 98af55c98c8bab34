//! Floor 6: interprets forwarding plans, packet by packet.
