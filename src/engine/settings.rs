//! What the configuration says to a shard; may be changed while it runs.

use crate::base::fingerprint::Fingerprint;
use crate::base::learning::Learning;
use crate::call::Interfaces;
use crate::call::lifecycle::Timeouts;
use crate::observe::query::SsrcReporting;
use std::sync::Arc;
use std::time::Duration;

/// A shard's settings.
#[derive(Debug, Clone)]
pub struct Settings {
    pub interfaces: Arc<Interfaces>,
    pub timeouts: Timeouts,
    /// How long a deleted call lives on, unless the request says otherwise.
    pub delete_delay: Duration,
    pub learning: Learning,
    /// The type-of-service octet of media; none leaves the system's default.
    pub tos: Option<u8>,
    /// Somebody is told which digits parties of any call press.
    pub tells_digits: bool,
    /// How long a party may send nothing before that is told of; zero: for ever.
    pub one_way_after: Duration,
    /// Names this daemon in `a=rtpengine`.
    pub instance_id: String,
    /// Digests of this daemon's certificate, by every hash function.
    pub fingerprints: Arc<[Fingerprint]>,
    /// Which SSRC entries `query` and `delete` give.
    pub ssrc_reporting: SsrcReporting,
    /// The `s=` of descriptions made here.
    pub software: String,
}
