//! Compiles the generator of packets for measurements, where there is a compiler for it.

use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=bench/ebpf");
    println!("cargo::rerun-if-changed=../ebpf/kernel.h");
    println!("cargo::rerun-if-env-changed=MILLRACE_CLANG");
    println!("cargo::rustc-check-cfg=cfg(has_generator)");
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let object = PathBuf::from(variable("OUT_DIR")).join("generator.o");
    let compiler = std::env::var("MILLRACE_CLANG").unwrap_or_else(|_| "clang".to_owned());
    let mut command = Command::new(compiler);
    command.args(["-O2", "-g", "-Wall", "-Werror", "-target", "bpf", "-mcpu=v3"]);
    command.arg(format!("-I/usr/include/{}-linux-gnu", variable("CARGO_CFG_TARGET_ARCH")));
    command.args(["-c", "bench/ebpf/generator.c", "-o"]).arg(object);
    match command.status() {
        Ok(status) if status.success() => println!("cargo::rustc-cfg=has_generator"),
        _ => println!("cargo::warning=the bench `forward` is left out: no clang"),
    }
}
