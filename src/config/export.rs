//! Who is sent statistics: Homer, Graphite, an MQTT broker.

use super::listen::ListenAddress;

/// All of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Export {
    pub homer: Homer,
    pub graphite: Graphite,
    pub mqtt: Mqtt,
}

/// A Homer server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Homer {
    /// None: nothing is sent.
    pub address: Option<ListenAddress>,
    pub is_tcp: bool,
    pub capture_id: u32,
    pub has_rtcp: bool,
    pub has_ng: bool,
    /// The protocol of NG messages in HEP.
    pub ng_protocol: u8,
}

/// A Graphite server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Graphite {
    /// None: nothing is sent.
    pub address: Option<ListenAddress>,
    pub interval_s: u32,
    /// How names begin.
    pub prefix: String,
    /// What connecting, and sending a report, may take.
    pub patience_s: u32,
}

/// An MQTT broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mqtt {
    /// None: nothing is published.
    pub host: Option<String>,
    pub port: u16,
    /// None: made up at the start.
    pub id: Option<String>,
    pub keep_alive_s: u16,
    pub user: Option<String>,
    pub password: Option<String>,
    /// Certificates of authorities; with one of them TLS is used.
    pub authorities_file: Option<String>,
    pub authorities_folder: Option<String>,
    /// Of this client.
    pub certificate_file: Option<String>,
    pub key_file: Option<String>,
    pub application_protocol: Option<String>,
    pub topic: Option<String>,
    /// 0 to 2.
    pub quality_of_service: u8,
    pub interval_ms: u32,
    pub scope: MqttScope,
}

/// What is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MqttScope {
    /// The daemon's figures.
    #[default]
    Global,
    /// The same, with all calls.
    Summary,
    /// A message for each call.
    Call,
    /// A message for each media.
    Media,
}

impl Default for Homer {
    fn default() -> Homer {
        Homer { address: None, is_tcp: false, capture_id: 2001, has_rtcp: true, has_ng: false, ng_protocol: 61 }
    }
}

/// What connecting and sending may take unless configured.
const PATIENCE_S: u32 = 10;

impl Default for Graphite {
    fn default() -> Graphite {
        Graphite { address: None, interval_s: 1, prefix: String::new(), patience_s: PATIENCE_S }
    }
}

impl Graphite {
    /// Sets what connecting and sending may take; zero is what is usual.
    pub(super) fn set_patience(&mut self, seconds: u32) {
        self.patience_s = if seconds == 0 { PATIENCE_S } else { seconds };
    }
}

impl Default for Mqtt {
    fn default() -> Mqtt {
        Mqtt {
            host: None,
            port: 1883,
            id: None,
            keep_alive_s: 30,
            user: None,
            password: None,
            authorities_file: None,
            authorities_folder: None,
            certificate_file: None,
            key_file: None,
            application_protocol: None,
            topic: None,
            quality_of_service: 0,
            interval_ms: 5000,
            scope: MqttScope::Global,
        }
    }
}
