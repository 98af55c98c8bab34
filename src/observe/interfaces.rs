//! Interfaces as `statistics` and `list interfaces` report them.

use super::statistics;
use super::sums::average;
use crate::base::address::Family;
use crate::relay::{Interface, Traffic};
use crate::wire::value::{Dictionary, Value};
use std::fmt::Write;
use std::net::IpAddr;

/// One address of a logical interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub name: String,
    pub address: IpAddr,
    pub port_min: u16,
    pub port_max: u16,
    pub used: usize,
    pub free: usize,
    pub total: usize,
}

impl Row {
    fn used_percent(&self) -> f64 {
        if self.total == 0 { 0.0 } else { self.used as f64 * 100.0 / self.total as f64 }
    }
}

fn counters(rows: &Row, measured: &[Interface]) -> Option<Interface> {
    measured.iter().find(|interface| interface.address == rows.address).cloned()
}

/// The list `interfaces` of `statistics`.
pub fn report(rows: &[Row], measured: &[Interface]) -> Value {
    let entry = |row: &Row| {
        let measured = counters(row, measured);
        let ports = Dictionary::new()
            .with("min", row.port_min)
            .with("max", row.port_max)
            .with("used", row.used as u64)
            .with("used_pct", format!("{:.2}", row.used_percent()))
            .with("free", row.free as u64)
            .with("totals", row.total as u64);
        let sequence = measured.as_ref().map(|interface| interface.sequence).unwrap_or_default();
        let quality = measured.as_ref().map(|interface| interface.quality).unwrap_or_default();
        let mut voip = Dictionary::new();
        statistics::add_quality(&mut voip, true, &quality);
        Dictionary::new()
            .with("name", row.name.as_str())
            .with("address", row.address.to_string())
            .with("ports", ports)
            .with("packets_lost", sequence.lost)
            .with("duplicates", sequence.duplicates)
            .with("voip_metrics", voip)
            .with("ingress", traffic(measured.as_ref().map(|interface| interface.received)))
            .with("egress", traffic(measured.as_ref().map(|interface| interface.sent)))
    };
    rows.iter().map(entry).collect()
}

fn traffic(traffic: Option<Traffic>) -> Dictionary {
    let traffic = traffic.unwrap_or_default();
    Dictionary::new().with("packets", traffic.packets).with("bytes", traffic.bytes).with("errors", traffic.errors)
}

/// `list interfaces`
pub fn text(rows: &[Row], measured: &[Interface]) -> String {
    let mut text = String::new();
    for row in rows {
        let interface = counters(row, measured);
        let sequence = interface.as_ref().map(|interface| interface.sequence).unwrap_or_default();
        let quality = interface.as_ref().map(|interface| interface.quality).unwrap_or_default();
        let family = Family::of(row.address).long_name();
        let _ = writeln!(text, "Interface '{}' address '{}' ({family})", row.name, row.address);
        let _ = writeln!(text, " Port range: {:5} - {:5}", row.port_min, row.port_max);
        let _ = writeln!(text, " Ports used: {:5} / {:5} ({:5.1}%)", row.used, row.total, row.used_percent());
        text += " Packets/bytes/errors:\n";
        let (received, sent) = interface.map(|interface| (interface.received, interface.sent)).unwrap_or_default();
        for (words, traffic) in [("Ingress", received), ("Egress", sent)] {
            let label = format!("{words}:");
            let _ =
                writeln!(text, "  {label:<9}{:>12} / {:>10} / {:>10}", traffic.packets, traffic.bytes, traffic.errors);
        }
        let _ = writeln!(text, " Packets lost/duplicates: {:>10} / {:>10}", sequence.lost, sequence.duplicates);
        let _ = writeln!(
            text,
            " MOS:    avg {:.1}, packet loss avg {:>3.0}%",
            average(&quality.mos),
            average(&quality.loss_percent)
        );
        let _ = writeln!(
            text,
            " Jitter: avg {:>3.0} (measured {:>3.0})",
            average(&quality.jitter_ms),
            average(&quality.measured_jitter_ms)
        );
        let _ = writeln!(
            text,
            " RTT:    e2e {:.0}, dsct {:.0}\n",
            average(&quality.round_trip_us),
            average(&quality.round_trip_leg_us)
        );
    }
    text
}
