//! The kernel's `bpf` system call (bpf(2), linux/bpf.h): for what a daemon of another version has left behind, whose layout
//! this program need not know, and for loading.

use crate::io::check;
use aya_obj::generated::bpf_prog_info;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// `enum bpf_cmd`.
const CREATE_MAP: libc::c_int = 0;
const UPDATE_ELEMENT: libc::c_int = 2;
const DELETE_ELEMENT: libc::c_int = 3;
const NEXT_KEY: libc::c_int = 4;
const LOAD_PROGRAM: libc::c_int = 5;
const PIN_OBJECT: libc::c_int = 6;
const GET_OBJECT: libc::c_int = 7;
const GET_INFO: libc::c_int = 15;
const LOAD_TYPES: libc::c_int = 18;
const FREEZE_MAP: libc::c_int = 22;
const CREATE_LINK: libc::c_int = 28;
const UPDATE_LINK: libc::c_int = 29;
const DETACH_LINK: libc::c_int = 34;

/// Names are cut off after so many bytes.
const NAME_BYTES: usize = 15;
/// The steps of the verifier, and what they have cost.
const LOG_LEVEL: u32 = 1 | 4;
/// How often a program is tried again that a signal has kept the kernel from verifying.
const MOST_TRIES: u32 = 5;

/// `union bpf_attr` of the commands for elements.
#[repr(C)]
struct Element {
    map: u32,
    gap: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// `union bpf_attr` of `BPF_OBJ_PIN` and `BPF_OBJ_GET`.
#[repr(C)]
struct Object {
    path: u64,
    descriptor: u32,
    flags: u32,
}

/// `union bpf_attr` of `BPF_MAP_CREATE`.
#[repr(C)]
struct NewMap {
    kind: u32,
    key_bytes: u32,
    value_bytes: u32,
    max_entries: u32,
    flags: u32,
    inner: u32,
    node: u32,
    name: [u8; NAME_BYTES + 1],
}

/// `union bpf_attr` of `BPF_PROG_LOAD`.
#[repr(C)]
#[derive(Default)]
struct NewProgram {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_bytes: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; NAME_BYTES + 1],
    interface: u32,
    attach_type: u32,
    types: u32,
    function_record_bytes: u32,
    functions: u64,
    function_count: u32,
    line_record_bytes: u32,
    lines: u64,
    line_count: u32,
    zero: u32,
}

/// `union bpf_attr` of `BPF_BTF_LOAD`.
#[repr(C)]
struct NewTypes {
    types: u64,
    log: u64,
    bytes: u32,
    log_bytes: u32,
    log_level: u32,
    zero: u32,
}

/// `union bpf_attr` of `BPF_LINK_CREATE`.
#[repr(C)]
struct NewLink {
    program: u32,
    target: u32,
    attach_type: u32,
    flags: u32,
}

/// `union bpf_attr` of `BPF_LINK_UPDATE`.
#[repr(C)]
struct OtherProgram {
    link: u32,
    program: u32,
    flags: u32,
    old_program: u32,
}

/// `union bpf_attr` of `BPF_OBJ_GET_INFO_BY_FD`.
#[repr(C)]
struct Info {
    descriptor: u32,
    bytes: u32,
    info: u64,
}

/// A program to be loaded: fields of `union bpf_attr` by their names there.
pub(in crate::io) struct Program<'a> {
    pub name: &'a str,
    /// `enum bpf_prog_type`.
    pub prog_type: u32,
    /// `enum bpf_attach_type`.
    pub expected_attach_type: u32,
    /// Of eight bytes each.
    pub insns: &'a [u8],
    pub license: &'a CStr,
    /// What `load_types` gave.
    pub btf: BorrowedFd<'a>,
    /// Records of functions and of lines, and the bytes of each record.
    pub func_info: (&'a [u8], usize),
    pub line_info: (&'a [u8], usize),
}

/// Hands the kernel types (BTF), for programs and maps.
pub(in crate::io) fn load_types(types: &[u8]) -> io::Result<OwnedFd> {
    let (bytes, types) = (types.len() as u32, types.as_ptr() as u64);
    own(call(LOAD_TYPES, &mut NewTypes { types, log: 0, bytes, log_bytes: 0, log_level: 0, zero: 0 })?)
}

/// Makes a map of maps that are like `inner`. Its kind is one of `enum bpf_map_type`, its keys and values are of four bytes.
pub(in crate::io) fn create_map_of_maps(
    name: &str,
    kind: u32,
    max_entries: u32,
    inner: BorrowedFd<'_>,
) -> io::Result<OwnedFd> {
    let inner = inner.as_raw_fd() as u32;
    let (key_bytes, value_bytes, name) = (4, 4, short(name));
    own(call(CREATE_MAP, &mut NewMap { kind, key_bytes, value_bytes, max_entries, flags: 0, inner, node: 0, name })?)
}

/// Keeps everybody from writing to a map by system calls: programs are verified with what it holds.
pub(in crate::io) fn freeze(map: BorrowedFd<'_>) -> io::Result<()> {
    call(FREEZE_MAP, &mut (map.as_raw_fd() as u32)).map(drop)
}

/// Has the kernel verify and compile a program. Where it refuses and `log` has room, it says in it why, with the lines of
/// the source; without, it is not bothered with them.
pub(in crate::io) fn load_program(program: &Program, log: &mut [u8]) -> io::Result<OwnedFd> {
    let mut command = NewProgram {
        kind: program.prog_type,
        instruction_count: (program.insns.len() / 8) as u32,
        instructions: program.insns.as_ptr() as u64,
        license: program.license.as_ptr() as u64,
        log_level: if log.is_empty() { 0 } else { LOG_LEVEL },
        log_bytes: log.len() as u32,
        log: if log.is_empty() { 0 } else { log.as_mut_ptr() as u64 },
        name: short(program.name),
        attach_type: program.expected_attach_type,
        types: program.btf.as_raw_fd() as u32,
        function_record_bytes: program.func_info.1 as u32,
        functions: program.func_info.0.as_ptr() as u64,
        function_count: (program.func_info.0.len() / program.func_info.1.max(1)) as u32,
        ..NewProgram::default()
    };
    if !log.is_empty() {
        command.line_record_bytes = program.line_info.1 as u32;
        command.lines = program.line_info.0.as_ptr() as u64;
        command.line_count = (program.line_info.0.len() / program.line_info.1.max(1)) as u32;
    }
    let mut tries = 0;
    loop {
        match call(LOAD_PROGRAM, &mut command) {
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) && tries < MOST_TRIES => tries += 1,
            loaded => return own(loaded?),
        }
    }
}

/// How many instructions the kernel has looked at to verify a program; 0 before Linux 5.16.
pub(in crate::io) fn verified_instructions(program: BorrowedFd<'_>) -> io::Result<u32> {
    // SAFETY: numbers and arrays of them, for which zeros are a value.
    let mut info: bpf_prog_info = unsafe { std::mem::zeroed() };
    let (descriptor, bytes) = (program.as_raw_fd() as u32, size_of_val(&info) as u32);
    let place: *mut bpf_prog_info = &mut info;
    call(GET_INFO, &mut Info { descriptor, bytes, info: place as u64 })?;
    Ok(info.verified_insns)
}

/// Attaches a program: to an interface by its number or a network namespace by its descriptor, as `attach_type` (`enum
/// bpf_attach_type`) says. It is attached until the link is gone.
pub(in crate::io) fn attach(program: BorrowedFd<'_>, target: u32, attach_type: u32, flags: u32) -> io::Result<OwnedFd> {
    let program = program.as_raw_fd() as u32;
    own(call(CREATE_LINK, &mut NewLink { program, target, attach_type, flags })?)
}

/// Puts another program in the place of a link's, between two packets.
pub(in crate::io) fn replace(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let (link, program) = (link.as_raw_fd() as u32, program.as_raw_fd() as u32);
    call(UPDATE_LINK, &mut OtherProgram { link, program, flags: 0, old_program: 0 }).map(drop)
}

/// Gives a map, program or link a path in a bpffs: it is there as long as that is.
pub(in crate::io) fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let (path, descriptor) = (path.as_ptr() as u64, object.as_raw_fd() as u32);
    call(PIN_OBJECT, &mut Object { path, descriptor, flags: 0 }).map(drop)
}

fn short(name: &str) -> [u8; NAME_BYTES + 1] {
    let mut short = [0; NAME_BYTES + 1];
    name.bytes().take(NAME_BYTES).zip(&mut short).for_each(|(byte, place)| *place = byte);
    short
}

fn own(descriptor: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: the kernel has just made the descriptor, for nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// The object that is pinned at a path.
pub(in crate::io) fn pinned(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut command = Object { path: path.as_ptr() as u64, descriptor: 0, flags: 0 };
    own(call(GET_OBJECT, &mut command)?)
}

/// Takes a link's program off its interface, at once and whoever else has the link.
pub(in crate::io) fn detach(link: BorrowedFd<'_>) -> io::Result<()> {
    let mut command = link.as_raw_fd() as u32;
    call(DETACH_LINK, &mut command).map(drop)
}

/// Writes the key that follows `key`, or the first one, to `next`; false when there is none. Both are as long as keys of
/// the map are.
pub(in crate::io) fn next_key(map: BorrowedFd<'_>, key: Option<&[u8]>, next: &mut [u8]) -> io::Result<bool> {
    let key = key.map_or(0, |key| key.as_ptr() as u64);
    let mut command = Element { map: map.as_raw_fd() as u32, gap: 0, key, value: next.as_mut_ptr() as u64, flags: 0 };
    match call(NEXT_KEY, &mut command) {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Sets an element; key and value are as long as those of the map.
pub(in crate::io) fn update(map: BorrowedFd<'_>, key: &[u8], value: &[u8], flags: u64) -> io::Result<()> {
    let (key, value) = (key.as_ptr() as u64, value.as_ptr() as u64);
    call(UPDATE_ELEMENT, &mut Element { map: map.as_raw_fd() as u32, gap: 0, key, value, flags }).map(drop)
}

/// Removes an element; the key is as long as those of the map.
pub(in crate::io) fn delete(map: BorrowedFd<'_>, key: &[u8]) -> io::Result<()> {
    let key = key.as_ptr() as u64;
    call(DELETE_ELEMENT, &mut Element { map: map.as_raw_fd() as u32, gap: 0, key, value: 0, flags: 0 }).map(drop)
}

fn call<C>(command: libc::c_int, attributes: &mut C) -> io::Result<libc::c_int> {
    let size = size_of::<C>();
    let pointer: *mut C = attributes;
    // SAFETY: the kernel reads `size` bytes at the pointer, and what pointers in them say: texts that end with a zero, keys
    // and values as long as those of their map, or so many bytes as are named beside them, all of which outlive the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, pointer, size) };
    check(result as libc::c_int)
}
