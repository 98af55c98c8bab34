//! The entry point of `millracectl`.

fn main() -> std::process::ExitCode {
    millrace::ctl::main()
}
