//! Totals by local address: plain counters of one shard, summed by whoever reports them.

use crate::rtp::loan::Growth;
use crate::rtp::mos::Report;
use crate::rtp::source::{Arrival, Order};
use std::net::IpAddr;

/// Packets one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    pub packets: u64,
    /// Bytes of UDP payload.
    pub bytes: u64,
    pub errors: u64,
}

impl Traffic {
    #[inline]
    pub(super) fn count(&mut self, bytes: usize) {
        self.packets += 1;
        self.bytes += bytes as u64;
    }

    pub(super) fn add(&mut self, packets: u64, bytes: u64) {
        self.packets += packets;
        self.bytes += bytes;
    }
}

/// What RTP sequence numbers told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SequenceTotals {
    pub lost: u64,
    pub duplicates: u64,
    pub skips: u64,
    pub resets: u64,
    pub reordered: u64,
}

/// Sum, sum of squares and number of sampled values.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Samples {
    pub sum: f64,
    pub sum_of_squares: f64,
    pub count: u64,
}

impl Samples {
    fn add(&mut self, value: f64) {
        self.sum += value;
        self.sum_of_squares += value * value;
        self.count += 1;
    }
}

/// Samples of what RTCP reported and of what was measured when it did.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct QualityTotals {
    /// 1.0 to 5.0.
    pub mos: Samples,
    pub jitter_ms: Samples,
    pub round_trip_us: Samples,
    pub round_trip_leg_us: Samples,
    pub loss_percent: Samples,
    /// Jitter of what arrived here.
    pub measured_jitter_ms: Samples,
}

/// Everything that passed one local address.
#[derive(Debug, Clone, PartialEq)]
pub struct Interface {
    pub address: IpAddr,
    pub received: Traffic,
    /// The part of it that another path has received.
    pub received_elsewhere: Traffic,
    pub sent: Traffic,
    pub sequence: SequenceTotals,
    pub quality: QualityTotals,
    /// RTCP datagrams that could not be read to their end.
    pub malformed_reports: u64,
}

impl Interface {
    fn new(address: IpAddr) -> Interface {
        Interface {
            address,
            received: Traffic::default(),
            received_elsewhere: Traffic::default(),
            sent: Traffic::default(),
            sequence: SequenceTotals::default(),
            quality: QualityTotals::default(),
            malformed_reports: 0,
        }
    }

    pub(super) fn add_arrival(&mut self, arrival: Arrival) {
        self.sequence.lost += u64::from(arrival.lost);
        match arrival.order {
            Order::Skip => self.sequence.skips += 1,
            Order::Duplicate => self.sequence.duplicates += 1,
            Order::Late => self.sequence.reordered += 1,
            Order::Reset => self.sequence.resets += 1,
            Order::Next | Order::Jump => {}
        }
    }

    pub(super) fn add_growth(&mut self, growth: &Growth) {
        self.sequence.lost += growth.lost;
        self.sequence.skips += growth.skips;
        self.sequence.duplicates += growth.duplicates;
        self.sequence.reordered += growth.late;
    }

    pub(super) fn add_loss(&mut self, packets: u64) {
        self.sequence.lost += packets;
    }

    pub(super) fn add_report(&mut self, report: &Report) {
        let quality = &mut self.quality;
        quality.jitter_ms.add(f64::from(report.jitter_ms));
        quality.round_trip_us.add(f64::from(report.round_trip_us));
        quality.round_trip_leg_us.add(f64::from(report.round_trip_leg_us));
        quality.loss_percent.add(f64::from(report.loss_percent));
        if report.mos_tenths > 0 {
            quality.mos.add(f64::from(report.mos_tenths) / 10.0);
        }
    }

    pub(super) fn add_measured_jitter(&mut self, milliseconds: u32) {
        self.quality.measured_jitter_ms.add(f64::from(milliseconds));
    }
}

/// The interfaces of a shard; few, and never taken away.
#[derive(Debug, Default)]
pub(super) struct Interfaces(Vec<Interface>);

impl Interfaces {
    /// The place of `address`, made when it is new.
    pub(super) fn index(&mut self, address: IpAddr) -> u16 {
        let known = self.0.iter().position(|interface| interface.address == address);
        known.unwrap_or_else(|| {
            self.0.push(Interface::new(address));
            self.0.len() - 1
        }) as u16
    }

    /// `index` comes from `index`, and interfaces are never taken away.
    #[inline]
    pub(super) fn get_mut(&mut self, index: u16) -> &mut Interface {
        &mut self.0[usize::from(index)]
    }

    pub(super) fn all(&self) -> &[Interface] {
        &self.0
    }
}
