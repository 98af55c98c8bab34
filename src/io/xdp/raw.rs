//! The kernel's `bpf` system call, for objects of a layout that this program need not know: what a daemon of another
//! version has left behind.

use crate::io::check;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// `enum bpf_cmd`.
const UPDATE_ELEMENT: libc::c_int = 2;
const DELETE_ELEMENT: libc::c_int = 3;
const NEXT_KEY: libc::c_int = 4;
const GET_OBJECT: libc::c_int = 7;
const DETACH_LINK: libc::c_int = 34;

/// `union bpf_attr` of the commands for elements.
#[repr(C)]
struct Element {
    map: u32,
    gap: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// `union bpf_attr` of `BPF_OBJ_GET`.
#[repr(C)]
struct Object {
    path: u64,
    descriptor: u32,
    flags: u32,
}

/// The object that is pinned at a path.
pub(super) fn pinned(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut command = Object { path: path.as_ptr() as u64, descriptor: 0, flags: 0 };
    let descriptor = call(GET_OBJECT, &mut command)?;
    // SAFETY: the kernel has just made the descriptor, for nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Takes a link's program off its interface, at once and whoever else has the link.
pub(super) fn detach(link: BorrowedFd<'_>) -> io::Result<()> {
    let mut command = link.as_raw_fd() as u32;
    call(DETACH_LINK, &mut command).map(drop)
}

/// Writes the key that follows `key`, or the first one, to `next`; false when there is none. Both are as long as keys of
/// the map are.
pub(super) fn next_key(map: BorrowedFd<'_>, key: Option<&[u8]>, next: &mut [u8]) -> io::Result<bool> {
    let key = key.map_or(0, |key| key.as_ptr() as u64);
    let mut command = Element { map: map.as_raw_fd() as u32, gap: 0, key, value: next.as_mut_ptr() as u64, flags: 0 };
    match call(NEXT_KEY, &mut command) {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Sets an element; key and value are as long as those of the map.
pub(super) fn update(map: BorrowedFd<'_>, key: &[u8], value: &[u8], flags: u64) -> io::Result<()> {
    let (key, value) = (key.as_ptr() as u64, value.as_ptr() as u64);
    call(UPDATE_ELEMENT, &mut Element { map: map.as_raw_fd() as u32, gap: 0, key, value, flags }).map(drop)
}

/// Removes an element; the key is as long as those of the map.
pub(super) fn delete(map: BorrowedFd<'_>, key: &[u8]) -> io::Result<()> {
    let key = key.as_ptr() as u64;
    call(DELETE_ELEMENT, &mut Element { map: map.as_raw_fd() as u32, gap: 0, key, value: 0, flags: 0 }).map(drop)
}

fn call<C>(command: libc::c_int, attributes: &mut C) -> io::Result<libc::c_int> {
    let size = size_of::<C>();
    let pointer: *mut C = attributes;
    // SAFETY: the kernel reads `size` bytes at the pointer, and what pointers in them say: a path that ends with a zero,
    // or keys and values as long as those of their map, all of which outlive the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, pointer, size) };
    check(result as libc::c_int)
}
