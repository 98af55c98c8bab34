//! A program in the kernel, and what it is attached to.

use super::call;
use aya_obj::generated::bpf_attach_type;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// `XDP_FLAGS_DRV_MODE`: at the driver, or not at all.
const DRIVER_MODE: u32 = 1 << 2;

/// A program, in the kernel as long as this or something else there has it.
#[derive(Debug)]
pub(in crate::io) struct Program(OwnedFd);

impl Program {
    pub(super) fn new(descriptor: OwnedFd) -> Program {
        Program(descriptor)
    }

    /// How many instructions the kernel has looked at to verify it.
    pub(in crate::io) fn verified_instructions(&self) -> io::Result<u32> {
        call::verified_instructions(self.0.as_fd())
    }

    /// Sets an element of an array of programs, which others go on to by its index.
    pub(in crate::io) fn put_into(&self, array: BorrowedFd<'_>, index: u32) -> io::Result<()> {
        call::update(array, &index.to_ne_bytes(), &self.0.as_raw_fd().to_ne_bytes(), 0)
    }
}

impl AsFd for Program {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A program's place. It is attached until this is dropped, or, where it is pinned, until that is removed.
#[derive(Debug)]
pub(in crate::io) struct Link(OwnedFd);

impl Link {
    /// At the driver of an interface.
    pub(in crate::io) fn at_driver(program: &Program, interface: u32) -> io::Result<Link> {
        Link::attach(program, interface, bpf_attach_type::BPF_XDP, DRIVER_MODE)
    }

    /// Behind an interface, for what has come in (TCX, since Linux 6.6), after the programs that are there.
    pub(in crate::io) fn at_ingress(program: &Program, interface: u32) -> io::Result<Link> {
        Link::attach(program, interface, bpf_attach_type::BPF_TCX_INGRESS, 0)
    }

    /// In a network namespace, to find sockets.
    pub(in crate::io) fn in_namespace(program: &Program, namespace: BorrowedFd<'_>) -> io::Result<Link> {
        Link::attach(program, namespace.as_raw_fd() as u32, bpf_attach_type::BPF_SK_LOOKUP, 0)
    }

    /// One that is pinned.
    pub(in crate::io) fn pinned(path: &Path) -> io::Result<Link> {
        call::pinned(path).map(Link)
    }

    /// Puts a program in the place of its own, between two packets.
    pub(in crate::io) fn replace(&self, program: &Program) -> io::Result<()> {
        call::replace(self.0.as_fd(), program.as_fd())
    }

    pub(in crate::io) fn pin(&self, path: &Path) -> io::Result<()> {
        call::pin(self.0.as_fd(), path)
    }

    fn attach(program: &Program, target: u32, kind: bpf_attach_type, flags: u32) -> io::Result<Link> {
        call::attach(program.as_fd(), target, kind as u32, flags).map(Link)
    }
}
