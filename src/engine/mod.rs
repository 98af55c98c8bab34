//! Floor 8: the machine that owns calls; commands, datagrams and time go in, replies and outputs come out.
//!
//! A [`Shard`] owns the calls whose call-ids hash to it, with their ports and streams. It never waits and never reads
//! a clock: whoever runs it lends ports, port numbers and randomness with each command, and a transmit batch with
//! each datagram.

mod capture;
mod commands;
mod events;
mod flow;
mod handover;
mod handshakes;
mod media_ports;
mod offload;
mod output;
mod settings;
mod shard;
mod timers;

pub use commands::{Lent, Pair, PairError, PairKey, PairSide};
pub use events::{AffectedMedia, Event, EventSource, Happening, PressedDigit, TimedOut};
pub use handover::{Departure, Immovable};
pub use handshakes::Handshakes;
pub use output::Output;
pub use settings::Settings;
pub use shard::Shard;
