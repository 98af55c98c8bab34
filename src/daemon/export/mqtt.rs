//! MQTT: JSON to a broker, every few seconds.

use super::Receiver;
use crate::base::random::Random;
use crate::config::export::{self, MqttScope};
use crate::daemon::listing::ask;
use crate::daemon::measures;
use crate::daemon::service::Daemon;
use crate::io::clock;
use crate::io::random::SystemRandomness;
use crate::observe::mqtt::{Told, call};
use crate::observe::{interfaces, statistics};
use native_tls::{Certificate, Identity, TlsConnector};
use rumqttc::{AsyncClient, EventLoop, MqttOptions, QoS, TlsConfiguration, Transport};
use serde_json::{Value, json};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// Messages that may wait to be sent.
const MOST_WAITING: usize = 1024;
/// The longest message; calls of a busy daemon are many.
const LONGEST_BYTES: usize = 64 << 20;
/// After a failure nothing is tried for so long.
const PAUSE: Duration = Duration::from_secs(2);
/// Calls that a shard is asked for at once.
const CHUNK: usize = 128;

/// Starts what publishes; nothing where nothing is configured. Needs a tokio runtime.
pub(in crate::daemon) fn start(daemon: &Arc<Daemon>, config: &export::Mqtt, receiver: Arc<Receiver>) {
    let Some(host) = config.host.clone() else { return };
    let Some(topic) = config.topic.clone() else {
        return tracing::error!(target: "core", "MQTT gets nothing: `mqtt-publish-topic` is not set");
    };
    let id = config.id.clone().unwrap_or_else(|| format!("millrace-{}", SystemRandomness::new().hex(16)));
    let mut options = MqttOptions::new(id, host, config.port);
    options.set_keep_alive(Duration::from_secs(config.keep_alive_s.into()));
    options.set_max_packet_size(1 << 20, LONGEST_BYTES);
    if let Some(user) = &config.user {
        options.set_credentials(user, config.password.as_deref().unwrap_or_default());
    }
    match connector(config) {
        Ok(Some(connector)) => {
            options.set_transport(Transport::tls_with_config(TlsConfiguration::NativeConnector(connector)));
        }
        Ok(None) => {}
        Err(error) => return tracing::error!(target: "core", "MQTT gets nothing: {error}"),
    }
    let (client, events) = AsyncClient::new(options, MOST_WAITING);
    tokio::spawn(converse(events));
    tokio::spawn(publish(daemon.clone(), client, topic, config.clone(), receiver));
}

/// None without certificates of authorities: then there is no TLS.
fn connector(config: &export::Mqtt) -> io::Result<Option<TlsConnector>> {
    if config.authorities_file.is_none() && config.authorities_folder.is_none() {
        return Ok(None);
    }
    let mut files: Vec<String> = config.authorities_file.iter().cloned().collect();
    if let Some(folder) = &config.authorities_folder {
        for entry in std::fs::read_dir(folder).map_err(|error| named(folder, error))? {
            let path = entry?.path();
            files.extend(path.is_file().then(|| path.to_string_lossy().into_owned()));
        }
    }
    let mut builder = TlsConnector::builder();
    for file in &files {
        for certificate in Certificate::stack_from_pem(&read(file)?).map_err(|error| named(file, error))? {
            builder.add_root_certificate(certificate);
        }
    }
    if let (Some(certificate), Some(key)) = (&config.certificate_file, &config.key_file) {
        let identity = Identity::from_pkcs8(&read(certificate)?, &read(key)?).map_err(|error| named(key, error))?;
        builder.identity(identity);
    }
    if let Some(protocol) = &config.application_protocol {
        builder.request_alpns(&[protocol]);
    }
    builder.build().map(Some).map_err(io::Error::other)
}

fn read(file: &str) -> io::Result<Vec<u8>> {
    std::fs::read(file).map_err(|error| named(file, error))
}

fn named(file: &str, error: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("{file}: {error}"))
}

/// Keeps the connection, and opens it again.
async fn converse(mut events: EventLoop) {
    let mut is_dead = false;
    loop {
        match events.poll().await {
            Ok(_) => {
                if std::mem::take(&mut is_dead) {
                    tracing::info!(target: "core", "the MQTT broker answers again");
                }
            }
            // There is nobody left who would publish.
            Err(rumqttc::ConnectionError::RequestsDone) => return,
            Err(error) => {
                if !std::mem::replace(&mut is_dead, true) {
                    tracing::warn!(target: "core", "the MQTT broker does not answer: {error}");
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn publish(
    daemon: Arc<Daemon>,
    client: AsyncClient,
    topic: String,
    config: export::Mqtt,
    receiver: Arc<Receiver>,
) {
    let quality = match config.quality_of_service {
        0 => QoS::AtMostOnce,
        1 => QoS::AtLeastOnce,
        _ => QoS::ExactlyOnce,
    };
    let mut ticks = tokio::time::interval(Duration::from_millis(config.interval_ms.into()));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    let (mut told, mut since) = (Told::default(), clock::mono());
    loop {
        ticks.tick().await;
        let mut calls = match config.scope {
            MqttScope::Global => Vec::new(),
            _ => calls(&daemon).await,
        };
        let now = clock::mono();
        told.add_rates(&mut calls, now.since(since));
        since = now;
        let Some(messages) = messages(&daemon, config.scope, calls).await else { return };
        for message in messages {
            match client.try_publish(&topic, quality, false, message.to_string()) {
                Ok(()) => receiver.sent(1),
                Err(_) => receiver.dropped(1),
            }
        }
    }
}

/// None when the daemon is about to end.
async fn messages(daemon: &Daemon, scope: MqttScope, calls: Vec<Value>) -> Option<Vec<Value>> {
    let timestamp = clock::unix().0 as f64 / 1e6;
    Some(match scope {
        MqttScope::Global => vec![global(daemon, timestamp).await?],
        MqttScope::Summary => {
            let mut message = global(daemon, timestamp).await?;
            message["calls"] = calls.into();
            vec![message]
        }
        MqttScope::Call => calls.into_iter().map(|call| with_time(call, timestamp)).collect(),
        MqttScope::Media => calls.iter().flat_map(|call| medias(call, timestamp)).collect(),
    })
}

/// The daemon's figures, as `statistics` has them.
async fn global(daemon: &Daemon, timestamp: f64) -> Option<Value> {
    let snapshot = measures::take(daemon).await?;
    let interfaces = interfaces::report(&snapshot.interfaces, &snapshot.sums.interfaces);
    let report = statistics::statistics(&snapshot.sums, &snapshot.tallies, interfaces, daemon.interval().as_ref());
    // A dictionary always becomes an object.
    Some(with_time(serde_json::to_value(&report).unwrap_or_default(), timestamp))
}

fn with_time(mut message: Value, timestamp: f64) -> Value {
    message["timestamp"] = json!(timestamp);
    message
}

/// Each media of a call, with what says whose it is.
fn medias(call: &Value, timestamp: f64) -> Vec<Value> {
    let list = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
    let of_leg = |leg: Value| {
        let owned = list(&leg, "medias").into_iter().map(move |mut media| {
            media["call_id"] = call["call_id"].clone();
            media["tag"] = leg["tag"].clone();
            with_time(media, timestamp)
        });
        owned.collect::<Vec<_>>()
    };
    list(call, "legs").into_iter().flat_map(of_leg).collect()
}

/// All calls; a shard is asked for few at once, and media goes on meanwhile.
async fn calls(daemon: &Daemon) -> Vec<Value> {
    let names: Arc<Vec<_>> =
        Arc::new(daemon.router.interface_rows().into_iter().map(|row| (row.address, row.name)).collect());
    let mut list = Vec::new();
    for shard in &daemon.router.dispatch.shards {
        let places = ask(shard, |work| work.shard.call_places()).await.unwrap_or_default();
        for chunk in places.chunks(CHUNK) {
            let (chunk, names) = (chunk.to_vec(), names.clone());
            let rows = ask(shard, move |work| {
                let name = |address| {
                    let found = names.iter().find(|(known, _)| *known == address);
                    found.map(|(_, name)| name.clone()).unwrap_or_default()
                };
                work.shard.calls_at(work.now, &chunk, |found, relay| call(found, relay, &name))
            });
            list.extend(rows.await.unwrap_or_default());
        }
    }
    list
}
