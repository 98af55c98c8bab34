//! What is sent to others: statistics to Graphite, Homer and MQTT, calls that timed out by XML-RPC. All of it runs on the threads of control; a receiver that does not
//! take what it is sent costs a counter.

pub(super) mod callbacks;
mod connection;
mod graphite;
pub(super) mod homer;
mod mqtt;

use super::service::Daemon;
use crate::config::Config;
use crate::config::export::Export;
use crate::control::request::Requests;
use crate::observe::metrics::ReceiverState;
use callbacks::Callbacks;
use homer::Homer;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Everybody who is sent something.
pub(super) struct Exports {
    homer: Option<Arc<Homer>>,
    wants_reports: bool,
    graphite: Option<Arc<Receiver>>,
    mqtt: Option<Arc<Receiver>>,
    callbacks: Option<Arc<Receiver>>,
}

impl Exports {
    /// What the configuration names. Needs a tokio runtime.
    pub(super) fn start(config: &Config) -> Exports {
        let Export { homer, graphite, mqtt } = &config.export;
        Exports {
            homer: Homer::start(homer),
            wants_reports: homer.has_rtcp,
            graphite: graphite.address.as_ref().map(|_| Receiver::new("graphite")),
            mqtt: mqtt.host.as_ref().map(|_| Receiver::new("mqtt")),
            callbacks: config.events.callback.url.as_ref().map(|_| Receiver::new("xmlrpc")),
        }
    }

    /// Who wants to see RTCP.
    pub(super) fn reports(&self) -> Option<&Arc<Homer>> {
        self.homer.as_ref().filter(|_| self.wants_reports)
    }

    pub(super) fn receivers(&self) -> Vec<Arc<Receiver>> {
        let homer = self.homer.as_ref().map(|homer| homer.receiver());
        [homer, self.graphite.clone(), self.mqtt.clone(), self.callbacks.clone()].into_iter().flatten().collect()
    }

    /// Begins to tell them of `daemon`; NG messages arrive at `local`.
    pub(super) fn attach(self, daemon: &Arc<Daemon>, requests: &Requests, config: &Config, local: Option<SocketAddr>) {
        let Export { homer, graphite, mqtt } = &config.export;
        if let (Some(sender), Some(local), true) = (&self.homer, local, homer.has_ng) {
            requests.set_trace(sender.trace(local));
        }
        self.graphite.into_iter().for_each(|receiver| graphite::start(daemon, graphite, receiver));
        self.mqtt.into_iter().for_each(|receiver| mqtt::start(daemon, mqtt, receiver));
        if let Some(receiver) = self.callbacks {
            daemon.router.events.call_back(Callbacks::start(&config.events.callback, receiver));
        }
    }
}

/// Somebody who is sent something, and how that goes.
#[derive(Debug)]
pub(super) struct Receiver {
    name: &'static str,
    sent: AtomicU64,
    dropped: AtomicU64,
}

impl Receiver {
    pub(super) fn new(name: &'static str) -> Arc<Receiver> {
        Arc::new(Receiver { name, sent: AtomicU64::new(0), dropped: AtomicU64::new(0) })
    }

    pub(super) fn state(&self) -> ReceiverState {
        ReceiverState { name: self.name, sent: self.sent.load(Relaxed), dropped: self.dropped.load(Relaxed) }
    }

    fn sent(&self, count: u64) {
        self.sent.fetch_add(count, Relaxed);
    }

    fn dropped(&self, count: u64) {
        self.dropped.fetch_add(count, Relaxed);
    }
}
