//! What clients ask: requests by source address and command.

use crate::ng::Command;
use crate::ng::command::COMMANDS;
use crate::wire::value::{Dictionary, Value};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;
use std::time::Duration;

/// How many source addresses are counted one by one; further ones are counted together.
const MAX_SOURCES: usize = 1024;

/// The requests of one source address.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Source {
    counts: Vec<u64>,
    durations: Vec<Duration>,
    errors: u64,
}

/// All requests so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requests {
    /// None stands for all sources beyond the number that is counted one by one.
    sources: BTreeMap<Option<IpAddr>, Source>,
}

impl Requests {
    /// Counts a request and how long it took; `command` is none when it could not be read.
    pub fn count(&mut self, from: IpAddr, command: Option<Command>, duration: Duration, is_error: bool) {
        let is_known = self.sources.contains_key(&Some(from)) || self.sources.len() < MAX_SOURCES;
        let source = self.sources.entry(is_known.then_some(from)).or_insert_with(|| Source {
            counts: vec![0; COMMANDS.len()],
            durations: vec![Duration::ZERO; COMMANDS.len()],
            errors: 0,
        });
        if let Some(command) = command {
            source.counts[command.index()] += 1;
            source.durations[command.index()] += duration;
        }
        source.errors += u64::from(is_error);
    }

    /// `controlstatistics` of `statistics`.
    pub fn report(&self) -> Dictionary {
        let proxies: Value = self.sources.iter().map(|(from, source)| source_report(*from, source)).collect();
        let mut report = Dictionary::new().with("proxies", proxies);
        for row in COMMANDS {
            let total: u64 = self.sources.values().map(|source| source.counts[row.command.index()]).sum();
            report.set(format!("total{}count", row.short_name.to_ascii_lowercase()), total);
        }
        report
    }

    /// The table of `list totals`.
    pub fn table(&self) -> String {
        let mut text = format!(" {:>20} ", "Proxy");
        for row in COMMANDS {
            let _ = write!(text, "| {:>10} ", row.short_name);
        }
        text.push('\n');
        for (from, source) in &self.sources {
            let _ = write!(text, " {:>20} ", name(*from));
            for row in COMMANDS {
                let _ = write!(text, "| {:>10} ", source.counts[row.command.index()]);
            }
            text.push('\n');
        }
        text
    }
}

fn name(from: Option<IpAddr>) -> String {
    from.map_or_else(|| "others".to_owned(), |address| address.to_string())
}

fn source_report(from: Option<IpAddr>, source: &Source) -> Dictionary {
    let mut report = Dictionary::new().with("proxy", name(from));
    for row in COMMANDS {
        let (index, key) = (row.command.index(), row.short_name.to_ascii_lowercase());
        report.set(format!("{key}count"), source.counts[index]);
        report.set(format!("{key}duration"), format!("{:.6}", source.durations[index].as_secs_f64()));
    }
    report.with("errorcount", source.errors)
}
