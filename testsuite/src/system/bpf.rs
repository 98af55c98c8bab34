//! The kernel's `bpf` system call, as far as programs are tried by it.

use super::check;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

const LOOK_UP: libc::c_int = 1;
const UPDATE: libc::c_int = 2;
const TEST_RUN: libc::c_int = 10;

/// A structure of a map: numbers and bytes without gaps, any of which may have any value.
pub trait Element: Copy {}

macro_rules! elements {
    ($($kind:ty),*) => { $(impl Element for $kind {})* };
}

elements!(
    u32,
    [u32; 2],
    millrace::fastpath::layout::Stream,
    millrace::fastpath::layout::NextHop,
    millrace::fastpath::layout::Keys,
    millrace::fastpath::layout::Order
);

/// `union bpf_attr` of the commands for elements.
#[repr(C)]
struct ElementCommand {
    map: u32,
    gap: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// `union bpf_attr` of `BPF_PROG_TEST_RUN`, as long as it was first.
#[repr(C)]
#[derive(Default)]
struct TestRun {
    program: u32,
    result: u32,
    bytes_in: u32,
    bytes_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration_ns: u32,
}

/// What a program has made of a frame.
#[derive(Debug, Clone, Copy)]
pub struct Ran {
    /// `enum xdp_action`.
    pub action: u32,
    /// Of what was written to the place for it.
    pub bytes: usize,
    pub duration_ns: u32,
}

/// Runs a program once over `frame`; what it leaves is written to `left`, which has to have room.
pub fn test_run(program: BorrowedFd<'_>, frame: &[u8], left: &mut [u8]) -> io::Result<Ran> {
    let mut command = TestRun {
        program: program.as_raw_fd() as u32,
        bytes_in: frame.len() as u32,
        bytes_out: left.len() as u32,
        data_in: frame.as_ptr() as u64,
        data_out: left.as_mut_ptr() as u64,
        repeat: 1,
        ..TestRun::default()
    };
    call(TEST_RUN, &mut command)?;
    Ok(Ran { action: command.result, bytes: command.bytes_out as usize, duration_ns: command.duration_ns })
}

/// Sets an element of a map whose key and value these are.
pub fn update<K: Element, V: Element>(map: BorrowedFd<'_>, key: &K, value: &V) -> io::Result<()> {
    call(UPDATE, &mut element(map, key, (value as *const V) as u64))
}

/// Reads an element of a map with values like `value`.
pub fn look_up<K: Element, V: Element>(map: BorrowedFd<'_>, key: &K, value: &mut V) -> io::Result<()> {
    call(LOOK_UP, &mut element(map, key, (value as *mut V) as u64))
}

fn element<K: Element>(map: BorrowedFd<'_>, key: &K, value: u64) -> ElementCommand {
    ElementCommand { map: map.as_raw_fd() as u32, gap: 0, key: (key as *const K) as u64, value, flags: 0 }
}

fn call<C>(command: libc::c_int, attributes: &mut C) -> io::Result<()> {
    let size = size_of::<C>();
    let pointer: *mut C = attributes;
    // SAFETY: the kernel reads and writes `size` bytes at the pointer, which are valid, and what pointers in them say:
    // buffers that outlive the call, with the lengths given, or elements as long as those of their maps.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, pointer, size) };
    check(result as libc::c_int).map(drop)
}
