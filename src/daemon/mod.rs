//! Floor 10: the process: shard threads, router, start and stop.

// This floor is where threads and the like are meant to be.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod admission;
mod build;
mod captures;
mod console;
mod dispatch;
mod events;
mod export;
mod handshake_thread;
mod listeners;
mod listing;
pub mod logging;
mod measures;
mod media_sockets;
pub mod notify;
mod numbers;
mod pairs;
pub mod process;
mod protocols;
mod router;
mod service;
mod shard_thread;
mod start;
mod whereabouts;

pub use start::main;
