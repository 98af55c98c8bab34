//! What the daemon's metrics are read from.

use crate::ng::tally::Tallies;
use crate::observe::interfaces::Row;
use crate::observe::sums::Sums;
use std::time::Duration;

/// The daemon at one moment.
#[derive(Debug, Clone, Copy)]
pub struct State<'a> {
    pub sums: &'a Sums,
    pub tallies: &'a Tallies,
    pub interfaces: &'a [Row],
    pub shards: &'a [ShardLoad],
    pub limits: &'a [LimitState],
    pub process: ProcessUsage,
    pub receivers: &'a [ReceiverState],
}

/// What one shard bears.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ShardLoad {
    pub calls: u64,
    pub streams: u64,
    /// The time that its thread has had a processor.
    pub processor: Duration,
}

/// A limit beyond which new calls are refused.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LimitState {
    pub name: &'static str,
    /// None is no limit.
    pub limit: Option<f64>,
    /// In the unit of the limit.
    pub now: f64,
    pub rejected: u64,
}

/// What the process has taken of the machine.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ProcessUsage {
    pub processor: Duration,
    pub resident_bytes: u64,
    pub descriptors: u64,
    pub descriptor_limit: u64,
    /// Unix seconds.
    pub started_s: u64,
}

/// Somebody who is sent statistics: Homer, Graphite, an MQTT broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiverState {
    pub name: &'static str,
    pub sent: u64,
    pub dropped: u64,
}
