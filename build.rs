//! Compiles the programs of `ebpf/` for the kernel's virtual machine, where there is a compiler for it.

// Cargo tells build programs everything through the environment.
#![allow(clippy::disallowed_methods)]

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=ebpf");
    println!("cargo::rerun-if-env-changed=MILLRACE_CLANG");
    println!("cargo::rustc-check-cfg=cfg(has_ebpf)");
    println!("cargo::rustc-env=MILLRACE_MAPS_LAYOUT={:016x}", maps_layout(Path::new("ebpf")));
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let programs = ["programs", "steer"];
    let compiled = programs
        .iter()
        .try_for_each(|name| compile(&Path::new("ebpf").join(format!("{name}.c")), &out.join(format!("{name}.o"))));
    match compiled {
        Ok(()) => println!("cargo::rustc-cfg=has_ebpf"),
        Err(why) => println!("cargo::warning=built without the programs for the kernel: {why}"),
    }
}

/// Any clang from version 14 on will do.
fn compile(source: &Path, object: &Path) -> Result<(), String> {
    let compiler = env::var("MILLRACE_CLANG").unwrap_or_else(|_| "clang".to_owned());
    let machine = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    let mut command = Command::new(&compiler);
    command.args(["-O2", "-g", "-Wall", "-Werror", "-target", "bpf", "-mcpu=v3"]);
    // Debian keeps the kernel's headers for each machine apart.
    command.arg(format!("-I/usr/include/{machine}-linux-gnu"));
    let output = command.arg("-c").arg(source).arg("-o").arg(object).output();
    let output = output.map_err(|error| format!("{compiler}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{compiler}: {}", String::from_utf8_lossy(&output.stderr))),
    }
}

/// A hash (FNV-1a) of the headers that say what maps hold: maps of another program are only taken over when it is equal.
fn maps_layout(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut headers: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|kind| kind == "h")).collect();
    headers.sort();
    let texts = headers.iter().filter_map(|path| std::fs::read_to_string(path).ok().map(|text| (path, text)));
    let decide = texts.filter(|(path, text)| path.ends_with("layout.h") || text.contains("SECTION(\".maps\")"));
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    decide.flat_map(|(_, text)| text.into_bytes()).fold(0xcbf2_9ce4_8422_2325, step)
}
