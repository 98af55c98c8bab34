//! From a configuration to shards that run.

use super::admission::Admission;
use super::captures::Captures;
use super::dispatch::Dispatch;
use super::events::Events;
use super::export::homer::Homer;
use super::numbers::SharedNumbers;
use super::router::Router;
use super::shard_thread::Shared;
use super::whereabouts::Whereabouts;
use super::{handshake_thread, shard_thread};
use crate::base::random::Random;
use crate::base::suite::HASH_FUNCTIONS;
use crate::call::Interfaces;
use crate::call::interface::{Interface, LocalAddress};
use crate::call::lifecycle::Timeouts;
use crate::config::interface::ResolvedInterfaces;
use crate::config::{self, Config, FastPathUse};
use crate::dtls::{self, CertificateKind, Contexts, Identity, Signature};
use crate::engine::{Settings, Shard};
use crate::fastpath;
use crate::io::random::SystemRandomness;
use crate::io::steer::Steering;
use crate::io::xdp::{self, FastPath, Place, Room, VerdictCounters};
use crate::io::{affinity, clock};
use crate::ng::Defaults;
use crate::observe::query::SsrcReporting;
use crate::rtp::mos;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// A map for fewer ports than this is no nearer.
const LEAST_PORTS: u32 = 1024;

/// Starts one shard for each thread that is configured, pinned to a processor each.
///
/// # Errors
/// When the system has no descriptors or threads left.
pub(super) fn shards(
    config: &Config,
    interfaces: &ResolvedInterfaces,
    mut fast_path: Option<&mut FastPath>,
    mut steering: Option<&mut Steering>,
    captures: &Arc<Captures>,
    homer: Option<&Arc<Homer>>,
) -> io::Result<(Router, Vec<JoinHandle<()>>)> {
    let interfaces = Arc::new(model(interfaces));
    let numbers = SharedNumbers::new(&interfaces, fast_path.as_deref().and_then(FastPath::orphans));
    let contexts = Arc::new(contexts(config)?);
    let settings = settings(config, interfaces.clone(), &contexts);
    let sessions = Arc::new(AtomicUsize::new(0));
    let events = Arc::new(Events::new(&config.events));
    let processors = affinity::allowed().unwrap_or_default();
    let count = shard_count(config);
    let whereabouts = Arc::new(Whereabouts::new(count));
    let (mut shards, mut threads) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for index in 0..count {
        let mut shard = Shard::new(settings.clone(), mos_kind(config), seed());
        if homer.is_some() {
            shard.keep_reports();
        }
        if let Some(fast_path) = &fast_path {
            shard.use_table(fast_path.table(index, count).map_err(io::Error::other)?);
        }
        let (queue, work) = handshake_thread::queue();
        let processor = (!processors.is_empty()).then(|| processors[index % processors.len()]);
        let shared = Shared {
            numbers: numbers.clone(),
            sessions: sessions.clone(),
            whereabouts: whereabouts.clone(),
            captures: captures.clone(),
            events: events.clone(),
            homer: homer.cloned(),
        };
        let steered = steering.as_mut().map(|steering| steering.share(index)).transpose()?;
        let lines = fast_path.as_mut().and_then(|fast_path| fast_path.take_lines(index));
        let (handle, thread) = shard_thread::start(index, shard, shared, queue, (steered, lines), processor)?;
        handshake_thread::start(index, contexts.clone(), work, handle.clone())?;
        shards.push(handle);
        threads.push(thread);
    }
    let dispatch = Dispatch { shards, whereabouts, admission: Arc::new(Admission::new(&config.limits, sessions)) };
    let router = Router { events, dispatch: Arc::new(dispatch), numbers, interfaces, settings: Mutex::new(settings) };
    Ok((router, threads))
}

/// One for each thread that is configured, or processor.
pub(super) fn shard_count(config: &Config) -> usize {
    let processors = || affinity::allowed().map_or(1, |processors| processors.len());
    config.threads.count.map_or_else(processors, usize::from).max(1)
}

/// Half of all media ports, those of RTP, and some more: the kernel shares a map's room among processors. Ports of LRKProxy
/// are the client's choice.
fn room(config: &Config, interfaces: &ResolvedInterfaces) -> Room {
    let flows = config.fast_path.flows;
    let addresses = interfaces.interfaces.iter().flat_map(|interface| &interface.addresses);
    let ports: u32 = addresses.map(|address| u32::from(address.port_max.saturating_sub(address.port_min)) + 1).sum();
    let ports = if config.control.lrk.is_empty() { (ports * 5 / 8).next_power_of_two() } else { flows };
    Room { flows, ports: ports.clamp(LEAST_PORTS.min(flows), flows) }
}

/// The programs in the kernel, where they are wanted and can be had.
///
/// # Errors
/// When they are required and can't be had.
pub(super) fn fast_path(
    config: &Config,
    interfaces: &ResolvedInterfaces,
    control: Option<SocketAddr>,
) -> io::Result<Option<FastPath>> {
    let wanted = &config.fast_path;
    let place = place(wanted.pin.as_deref(), control);
    let is_off = wanted.use_of == FastPathUse::Off && !wanted.is_required;
    if is_off || wanted.pin.is_none() {
        place.iter().for_each(xdp::remove_left);
    }
    if is_off {
        return Ok(None);
    }
    let addresses = interfaces.interfaces.iter().flat_map(|interface| &interface.addresses);
    let opened = FastPath::open(&xdp::Wanted {
        addresses: addresses.map(|address| address.address).collect(),
        by_xdp: wanted.use_of != FastPathUse::Tc,
        by_tc: matches!(wanted.use_of, FastPathUse::Auto | FastPathUse::Tc),
        forwards: wanted.use_of != FastPathUse::AfXdp,
        lines_for: if wanted.lifts || wanted.use_of == FastPathUse::AfXdp { shard_count(config) as u32 } else { 0 },
        room: room(config, interfaces),
        with_srtp: wanted.opens_srtp,
        place: place.filter(|_| wanted.pin.is_some()),
        keeps_left: wanted.keeps_left,
        silent: timeouts(&config.timeouts).media,
    });
    match opened {
        Ok(path) => {
            announce(&path);
            for why in path.refused() {
                tracing::warn!(target: "core", "not all of the fast path is there: {why}");
            }
            Ok(Some(path))
        }
        Err(why) if wanted.is_required => Err(io::Error::other(format!("no fast path: {why}"))),
        Err(why) if wanted.use_of != FastPathUse::Auto => {
            tracing::warn!(target: "core", "no fast path, media is relayed in userspace: {why}");
            Ok(None)
        }
        Err(why) => {
            tracing::info!(target: "core", "no fast path, media is relayed in userspace: {why}");
            Ok(None)
        }
    }
}

/// Says what forwards where.
fn announce(path: &FastPath) {
    let ends = if path.is_pinned() { ", which outlive this daemon if it dies" } else { "" };
    let by_tc = [fastpath::Path::Tc, fastpath::Path::Loopback].map(|kind| (kind, "TC"));
    for (kind, name) in [(fastpath::Path::Xdp, "XDP programs")].into_iter().chain(by_tc) {
        let interfaces = path.interfaces(kind).join(", ");
        if !interfaces.is_empty() {
            let what = if path.forwards() { "is forwarded" } else { "is given to the daemon" };
            tracing::info!(target: "core", "RTP {what} by {name} on {interfaces}{ends}");
        }
    }
    if path.has_lines() {
        tracing::info!(target: "core", "what the daemon forwards itself, it gets past the network stack (AF_XDP)");
    }
    if let Some(orphans) = path.orphans() {
        tracing::info!(target: "core", "{} streams of the daemon before this one go on", orphans.count());
    }
}

/// Where what outlives this daemon is: by default where it usually would be, also if nothing is to.
fn place(pin: Option<&str>, control: Option<SocketAddr>) -> Option<Place> {
    let base = Path::new(pin.unwrap_or(config::DEFAULT_PIN));
    match Place::new(base, control?) {
        Ok(place) => Some(place),
        Err(error) => {
            tracing::warn!(target: "core", "the network namespace is not known: {error}");
            None
        }
    }
}

/// What the programs count, to be read along.
pub(super) fn verdict_counters(fast_path: &FastPath) -> Option<Arc<VerdictCounters>> {
    let counters = fast_path.verdict_counters().inspect_err(|error| {
        tracing::warn!(target: "core", "what the XDP programs count is not known: {error}");
    });
    counters.ok().map(Arc::new)
}

/// Says what the programs in the kernel have done with packets.
pub(super) fn account(fast_path: &FastPath) {
    match fast_path.verdicts() {
        Ok(verdicts) => {
            let counted = verdicts.iter().filter(|(_, count)| *count > 0);
            let list: Vec<String> = counted.map(|(verdict, count)| format!("{} {count}", verdict.name())).collect();
            tracing::info!(target: "core", "the programs in the kernel counted: {}", list.join(", "));
        }
        Err(error) => tracing::warn!(target: "core", "what the programs in the kernel counted is not known: {error}"),
    }
}

/// What the configuration says about requests that say nothing themselves.
pub(super) fn defaults(config: &Config) -> Defaults {
    let mut defaults = Defaults {
        sip_source: config.media.sip_source,
        dtls_passive: config.media.dtls_passive,
        ..Defaults::default()
    };
    for (name, flags) in &config.templates {
        defaults.templates.insert(name, flags.as_str());
    }
    defaults
}

/// The timeouts of calls.
pub(super) fn timeouts(timeouts: &config::Timeouts) -> Timeouts {
    let seconds = |seconds: u32| Duration::from_secs(u64::from(seconds));
    Timeouts {
        media: seconds(timeouts.media_s),
        silent: seconds(timeouts.silent_s),
        offer: seconds(timeouts.offer_s),
        whole: seconds(timeouts.final_s),
    }
}

/// This daemon's certificate and how it shakes hands.
fn contexts(config: &Config) -> io::Result<Contexts> {
    let dtls = &config.dtls;
    let kind = match dtls.is_rsa {
        true => CertificateKind::Rsa { bits: dtls.rsa_key_bits },
        false => CertificateKind::EcdsaP256,
    };
    let signature = if dtls.signs_with_sha1 { Signature::Sha1 } else { Signature::Sha256 };
    let settings = dtls::Settings { ciphers: dtls.ciphers.clone(), mtu_bytes: dtls.mtu_bytes, ..Default::default() };
    let identity = Identity::generate(kind, signature, clock::now().unix);
    let contexts =
        identity.and_then(|identity| Contexts::new(Arc::new(identity), &settings, &mut SystemRandomness::new()));
    contexts.map_err(|error| io::Error::other(format!("DTLS: {error}")))
}

fn seed() -> [u8; 32] {
    let mut seed = [0; 32];
    SystemRandomness::new().fill(&mut seed);
    seed
}

fn settings(config: &Config, interfaces: Arc<Interfaces>, contexts: &Contexts) -> Settings {
    let identity = contexts.identity();
    Settings {
        interfaces,
        timeouts: timeouts(&config.timeouts),
        delete_delay: Duration::from_secs(u64::from(config.timeouts.delete_delay_s)),
        learning: config.media.learning,
        tos: config.media.tos,
        tells_digits: config.events.digits.is_some() || config.events.pushes_digits,
        one_way_after: Duration::from_secs(u64::from(config.events.one_way_after_s)),
        instance_id: SystemRandomness::new().hex(16),
        fingerprints: HASH_FUNCTIONS.iter().map(|row| identity.fingerprint(row.0).clone()).collect(),
        ssrc_reporting: match config.reporting.ssrc {
            config::SsrcReporting::Full => SsrcReporting::Full,
            config::SsrcReporting::Inline => SsrcReporting::Inline,
            config::SsrcReporting::Global => SsrcReporting::Global,
            config::SsrcReporting::None => SsrcReporting::None,
        },
        software: config.process.software_id.clone(),
    }
}

fn mos_kind(config: &Config) -> mos::Kind {
    match config.reporting.mos.listening {
        true => mos::Kind::Listening,
        false => mos::Kind::Conversational,
    }
}

fn model(resolved: &ResolvedInterfaces) -> Interfaces {
    let address = |local: &config::interface::ResolvedAddress| LocalAddress {
        address: local.address,
        advertised: local.advertised,
        port_min: local.port_min,
        port_max: local.port_max,
        excluded_ports: local.excluded_ports.clone(),
    };
    let interface = |interface: &config::interface::ResolvedInterface| Interface {
        name: interface.name.clone(),
        addresses: interface.addresses.iter().map(address).collect(),
    };
    Interfaces::new(resolved.interfaces.iter().map(interface).collect(), resolved.aliases.clone())
}
