//! Documents that are printed from tables are up to date. `MILLRACE_BLESS=1` rewrites them.

use clap::Command;
use clap_complete::Shell;
use millrace::observe::metrics;
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
    let commands = millrace::control::cli::document::comparison();
    check("protocol-docs/compat-rtpengine.md", &(millrace::ng::document::compatibility() + &commands));
}

#[test]
fn metrics_with_their_board_and_alert_rules() {
    check("protocol-docs/metrics.md", &metrics::reference());
    check("config/grafana-dashboard.json", &metrics::board());
    check("config/prometheus-alerts.yml", &metrics::alerts());
}

#[test]
fn reference_of_options() {
    check("protocol-docs/config.md", &millrace::config::document::reference());
}

/// For the folder of bash, `/usr/share/bash-completion/completions`, and for those of others likewise.
#[test]
fn completion_of_millracectl() {
    for (shell, path) in [
        (Shell::Bash, "config/completion/millracectl.bash"),
        (Shell::Zsh, "config/completion/_millracectl"),
        (Shell::Fish, "config/completion/millracectl.fish"),
    ] {
        let mut printed = Vec::new();
        clap_complete::generate(shell, &mut millrace::ctl::command(), "millracectl", &mut printed);
        check(path, &String::from_utf8(printed).unwrap());
    }
}

#[test]
fn manual_of_millracectl() {
    let page = |command: &Command| {
        let mut printed = Vec::new();
        clap_mangen::Man::new(command.clone()).render(&mut printed).unwrap();
        String::from_utf8(printed).unwrap()
    };
    let mut command = millrace::ctl::command();
    command.build();
    check("config/man/millracectl.1", &page(&command));
    for part in command.get_subcommands() {
        let name = part.get_display_name().unwrap_or_else(|| part.get_name());
        check(&format!("config/man/{name}.1"), &page(part));
    }
}

#[test]
fn sample_configuration() {
    check("config/millrace.conf", &millrace::config::document::sample());
}
