//! Floor 8: everything that touches sockets and clocks.
//!
//! A shard's thread runs one `EventLoop`: it waits on the ports that are open on its receiver, hands what arrives to
//! a `Handler`, and sends what the handler puts into the batch.

// This floor is where clocks, sockets and the like are meant to be.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]
// Without clang there are no programs for the kernel, and much of what is there for them has no use.
#![cfg_attr(not(has_ebpf), allow(dead_code, unused_imports))]

mod address;
pub mod affinity;
pub mod background;
pub mod batch;
mod bpf;
mod capabilities;
pub mod clock;
pub mod control_socket;
mod epoll;
mod gather;
mod headers;
pub mod host;
pub mod limits;
pub mod poller;
pub mod random;
pub mod receiver;
pub mod steer;
pub mod syslog;
mod timer;
pub mod usage;
pub mod waker;
pub mod xdp;

pub use batch::Batch;
pub use poller::{EventLoop, Handler};
pub use receiver::Receiver;
pub use waker::Waker;

use std::io;

/// The result of a system call that gives a negative number when it fails.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// The same for calls that give a length.
fn check_length(result: libc::ssize_t) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}
