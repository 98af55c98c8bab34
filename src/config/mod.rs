//! Floor 2: the options of rtpengine in one table, and the files and command lines they come from.
//!
//! `load` reads a command line, the configuration file it names and the environment, through `System`, and gives a
//! `Config`. Each option is a row of a table (`table`, `options`) that also prints `--help`, the sample
//! configuration and `protocol-docs/config.md`.

mod command_line;
pub mod document;
pub mod events;
pub mod export;
mod ini;
pub mod interface;
pub mod listen;
mod load;
pub mod log;
mod options;
mod table;
#[cfg(test)]
mod tests;

pub use load::{ConfigError, Loaded, Outcome, load};
pub use table::{ENVIRONMENT, Kind, OptionRow, Section, Status, Value, sections};

use crate::base::learning::Learning;
use crate::base::secret::Secret;
use crate::base::subnet::Subnet;
use export::Export;
use interface::InterfaceEntry;
pub use listen::LrkAddress;
use listen::{ListenAddress, StreamPlace};
use log::Log;

/// The host, as far as loading a configuration asks it for anything.
pub trait System {
    /// The content of a file, or why it cannot be read.
    fn read_file(&self, path: &str) -> std::io::Result<String>;

    /// An environment variable.
    fn variable(&self, name: &str) -> Option<String>;
}

/// What the daemon was told to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub process: Process,
    /// Interfaces as written, in order; `interface::resolve` looks them up.
    pub interfaces: Vec<InterfaceEntry>,
    pub control: Control,
    pub media: Media,
    pub fast_path: FastPath,
    pub dtls: Dtls,
    pub timeouts: Timeouts,
    pub limits: Limits,
    pub threads: Threads,
    pub log: Log,
    pub reporting: Reporting,
    pub events: events::Events,
    pub export: Export,
    /// Signalling templates: name and flag string.
    pub templates: Vec<(String, String)>,
    /// What was accepted and does nothing yet, or was not understood; for the log.
    pub warnings: Vec<String>,
}

/// How the process runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    pub foreground: bool,
    pub pidfile: Option<String>,
    /// Letters, digits and hyphens only.
    pub software_id: String,
    /// The section that `templates` names.
    pub templates_section: Option<String>,
    /// How the sections that `interfaces-config` names begin.
    pub interfaces_prefix: Option<String>,
}

/// Control listeners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    pub ng: Vec<ListenAddress>,
    /// NG over streams.
    pub stream_ng: Vec<StreamPlace>,
    pub cli: Vec<ListenAddress>,
    pub lrk: Vec<LrkAddress>,
    /// The lowest and the highest port of calls that LRKProxy's clients make.
    pub lrk_ports: (u16, u16),
    pub rtpproxy: Vec<ListenAddress>,
    pub mediaproxy: Vec<ListenAddress>,
    pub http: Vec<ListenAddress>,
    pub https: Vec<ListenAddress>,
    /// The files of the certificate and its key.
    pub certificate: Option<String>,
    pub key: Option<String>,
    /// What clients of HTTP must show; none: nothing.
    pub token: Option<Secret>,
    /// Who may ask besides this host; empty: everyone.
    pub allowed: Vec<Subnet>,
    /// Threads for control connections.
    pub threads: usize,
    /// The most that is kept of the head of an HTTP request.
    pub head_limit_bytes: usize,
    /// How long HTTP connections may be without a request.
    pub http_idle_s: u32,
    /// The type-of-service octet of control sockets; none leaves it alone.
    pub tos: Option<u8>,
    pub path_mtu: PathMtu,
}

impl Default for Control {
    fn default() -> Control {
        Control {
            ng: Vec::new(),
            stream_ng: Vec::new(),
            cli: Vec::new(),
            lrk: Vec::new(),
            lrk_ports: (20_000, 29_999),
            rtpproxy: Vec::new(),
            mediaproxy: Vec::new(),
            http: Vec::new(),
            https: Vec::new(),
            certificate: None,
            key: None,
            token: None,
            allowed: Vec::new(),
            threads: 1,
            head_limit_bytes: 64 << 10,
            http_idle_s: 5,
            tos: None,
            path_mtu: PathMtu::System,
        }
    }
}

impl Control {
    /// There is a way in for NG.
    pub fn has_listener(&self) -> bool {
        !(self.ng.is_empty() && self.stream_ng.is_empty() && self.http.is_empty() && self.https.is_empty())
    }
}

/// Forwarding below the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FastPath {
    pub use_of: FastPathUse,
    /// Without them the daemon does not start.
    pub is_required: bool,
    /// How many streams they can forward at once.
    pub flows: u32,
    /// What the daemon forwards itself, it gets past the network stack.
    pub lifts: bool,
    /// They get keys of SRTP.
    pub opens_srtp: bool,
    /// The directory under which maps and programs stay when the daemon dies; none: they end with it.
    pub pin: Option<String>,
    /// What a daemon that died has left goes on, else it is removed.
    pub keeps_left: bool,
}

/// Where programs are pinned unless configured.
pub const DEFAULT_PIN: &str = "/sys/fs/bpf/millrace";

/// Whether XDP programs forward what they can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FastPathUse {
    /// Where the system allows it.
    #[default]
    Auto,
    /// At drivers alone; where the system does not allow it, that is a fault of the setup.
    Xdp,
    /// As classifiers alone; the same.
    Tc,
    /// Nothing is forwarded there: the daemon gets it all, past the network stack.
    AfXdp,
    Off,
}

/// Path MTU discovery on IPv4 control sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PathMtu {
    #[default]
    System,
    Want,
    Dont,
}

/// Whether media ports share sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MediaSockets {
    /// Where the system allows it, and gives none of the ports to others.
    #[default]
    Auto,
    /// Where the system allows it.
    Shared,
    /// A socket for each port.
    Each,
}

/// Media ports and how media is treated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    pub port_min: u16,
    pub port_max: u16,
    pub sockets: MediaSockets,
    /// The type-of-service octet of media; none leaves it alone.
    pub tos: Option<u8>,
    pub learning: Learning,
    /// Do not trust the addresses in SDP.
    pub sip_source: bool,
    pub reject_invalid_sdp: bool,
    /// Bind only on the first usable address of a family.
    pub save_interface_ports: bool,
    /// Prefer the server role in DTLS.
    pub dtls_passive: bool,
}

/// The ciphers of DTLS unless configured, as OpenSSL writes them.
pub const DEFAULT_CIPHERS: &str = "DEFAULT:!NULL:!aNULL:!SHA256:!SHA384:!aECDH:!AESGCM+AES256:!aPSK";

/// How handshakes for SRTP keys are done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dtls {
    /// The certificate is an RSA one, else one on the curve P-256.
    pub is_rsa: bool,
    pub rsa_key_bits: u32,
    pub signs_with_sha1: bool,
    /// The largest datagram.
    pub mtu_bytes: u16,
    pub ciphers: String,
}

impl Default for Dtls {
    fn default() -> Dtls {
        Dtls {
            is_rsa: false,
            rsa_key_bits: 2048,
            signs_with_sha1: false,
            mtu_bytes: 1200,
            ciphers: DEFAULT_CIPHERS.to_owned(),
        }
    }
}

/// How long calls live, in seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    pub media_s: u32,
    pub silent_s: u32,
    pub offer_s: u32,
    /// Zero is off.
    pub final_s: u32,
    pub delete_delay_s: u32,
}

/// What is refused.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Limits {
    /// None is no limit.
    pub max_sessions: Option<u32>,
    /// The 1-minute load average; zero is no limit, as in those below.
    pub max_load: f64,
    /// Of all processors.
    pub max_processor_percent: f64,
    /// Of received media.
    pub max_bytes_per_second: u64,
}

/// Threads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Threads {
    /// None is one for each processor.
    pub count: Option<u16>,
}

/// What statistics hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reporting {
    pub ssrc: SsrcReporting,
    pub mos: Mos,
}

/// Which SSRC entries replies hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SsrcReporting {
    #[default]
    Full,
    Inline,
    Global,
    None,
}

/// How the mean opinion score is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mos {
    /// Listening quality: the round-trip time does not count.
    pub listening: bool,
    pub model: MosModel,
}

/// The formula of the mean opinion score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MosModel {
    /// ITU-T G.107, simplified.
    #[default]
    G107,
    /// ITU-T G.107.2, fullband.
    G107Fullband,
    /// What rtpengine computed before it knew G.107.
    Legacy,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            process: Process {
                foreground: false,
                pidfile: None,
                software_id: concat!("millrace-", env!("CARGO_PKG_VERSION")).replace('.', "-"),
                templates_section: None,
                interfaces_prefix: None,
            },
            interfaces: Vec::new(),
            control: Control::default(),
            dtls: Dtls::default(),
            media: Media {
                port_min: 30000,
                port_max: 39999,
                sockets: MediaSockets::Auto,
                tos: None,
                learning: Learning::Heuristic,
                sip_source: false,
                reject_invalid_sdp: false,
                save_interface_ports: false,
                dtls_passive: false,
            },
            fast_path: FastPath {
                use_of: FastPathUse::Auto,
                is_required: false,
                flows: 65_536,
                lifts: true,
                opens_srtp: true,
                pin: Some(DEFAULT_PIN.to_owned()),
                keeps_left: true,
            },
            timeouts: Timeouts { media_s: 60, silent_s: 3600, offer_s: 3600, final_s: 0, delete_delay_s: 30 },
            limits: Limits::default(),
            threads: Threads::default(),
            log: Log::default(),
            reporting: Reporting::default(),
            events: events::Events::default(),
            export: Export::default(),
            templates: Vec::new(),
            warnings: Vec::new(),
        }
    }
}
