//! Graphite: lines of text over TCP, every few seconds.

use super::Receiver;
use super::connection::Connection;
use crate::config::export;
use crate::daemon::measures;
use crate::daemon::service::Daemon;
use crate::io::clock;
use crate::observe::interval::Gathering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

/// Reports that may wait to be sent.
const MOST_WAITING: usize = 4;

/// Starts what reports; nothing where nothing is configured. Needs a tokio runtime.
pub(in crate::daemon) fn start(daemon: &Arc<Daemon>, config: &export::Graphite, receiver: Arc<Receiver>) {
    let Some(address) = config.address.clone() else { return };
    let (sender, reports) = mpsc::channel(MOST_WAITING);
    let patience = Duration::from_secs(u64::from(config.patience_s));
    tokio::spawn(send(reports, Connection::new("Graphite", address, true, patience), receiver.clone()));
    tokio::spawn(report(daemon.clone(), config.clone(), sender, receiver));
}

async fn send(mut reports: mpsc::Receiver<String>, mut connection: Connection, receiver: Arc<Receiver>) {
    while let Some(text) = reports.recv().await {
        match connection.send(text.as_bytes()).await {
            true => receiver.sent(1),
            false => receiver.dropped(1),
        }
    }
}

async fn report(daemon: Arc<Daemon>, config: export::Graphite, sender: mpsc::Sender<String>, receiver: Arc<Receiver>) {
    let Some(first) = measures::take(&daemon).await else { return };
    let mut gathering = Gathering::new(&first.state());
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    let (mut seconds, mut since) = (0, clock::mono());
    loop {
        ticks.tick().await;
        seconds += 1;
        gathering.note_second(daemon.sessions(), &daemon.tallies());
        if seconds < config.interval_s {
            continue;
        }
        let Some(snapshot) = measures::take(&daemon).await else { return };
        daemon.forget_extremes();
        let now = clock::now();
        let (interval, text) =
            gathering.report(&snapshot.state(), now.mono.since(since), &config.prefix, now.unix.seconds());
        (seconds, since) = (0, now.mono);
        *daemon.interval.lock().unwrap_or_else(PoisonError::into_inner) = Some(interval);
        if sender.try_send(text).is_err() {
            receiver.dropped(1);
        }
    }
}
