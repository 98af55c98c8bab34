//! Documents that are printed from tables are up to date. `MILLRACE_BLESS=1` rewrites them.

use std::path::Path;

/// Compares a document with what the tables print, or rewrites it.
fn check(path: &str, printed: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    if std::env::var("MILLRACE_BLESS").is_ok_and(|value| value == "1") {
        std::fs::write(&path, printed).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        return;
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == printed, "{} is stale; run this test with MILLRACE_BLESS=1", path.display());
}

#[test]
fn compatibility_with_rtpengine() {
    check("protocol-docs/compat-rtpengine.md", &millrace::ng::document::compatibility());
}

#[test]
fn reference_of_options() {
    check("protocol-docs/config.md", &millrace::config::document::reference());
}

#[test]
fn sample_configuration() {
    check("config/millrace.conf", &millrace::config::document::sample());
}
