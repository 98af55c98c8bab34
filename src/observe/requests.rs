//! What clients ask, as `statistics` and `list totals` report it.

use crate::ng::command::COMMANDS;
use crate::ng::tally::{Tallies, Tally};
use crate::wire::value::{Dictionary, Value};
use std::fmt::Write;
use std::net::IpAddr;

/// `controlstatistics` of `statistics`.
pub fn report(tallies: &Tallies) -> Dictionary {
    let proxies: Value = tallies.clients().map(|(client, tally)| client_report(client, tally)).collect();
    let mut report = Dictionary::new().with("proxies", proxies);
    for (command, count, _) in tallies.total().rows() {
        report.set(format!("total{}count", command.row().short_name.to_ascii_lowercase()), count);
    }
    report
}

fn client_report(client: IpAddr, tally: &Tally) -> Dictionary {
    let mut report = Dictionary::new().with("proxy", client.to_string());
    for (command, count, duration) in tally.rows() {
        let key = command.row().short_name.to_ascii_lowercase();
        report.set(format!("{key}count"), count);
        report.set(format!("{key}duration"), format!("{:.6}", duration.as_secs_f64()));
    }
    report.with("errorcount", tally.errors)
}

/// The table of `list totals`.
pub fn table(tallies: &Tallies) -> String {
    let mut text = format!(" {:>20} ", "Proxy");
    for row in COMMANDS {
        let _ = write!(text, "| {:>10} ", row.short_name);
    }
    text.push('\n');
    for (client, tally) in tallies.clients() {
        let _ = write!(text, " {client:>20} ");
        for (_, count, _) in tally.rows() {
            let _ = write!(text, "| {count:>10} ");
        }
        text.push('\n');
    }
    text
}
