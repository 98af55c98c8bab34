//! The control protocols of other relays than rtpengine: where they listen, and what they are told of this host.

use super::build;
use super::service::Daemon;
use crate::config::interface::{ResolvedInterface, ResolvedInterfaces};
use crate::config::listen::ListenAddress;
use crate::config::{Config, LrkAddress};
use crate::control::Service;
use crate::control::access::Access;
use crate::control::lrk::{self, Advice, LrkFront};
use crate::control::mediaproxy::MediaproxyListener;
use crate::control::rtpproxy::RtpproxyFront;
use crate::control::udp::{Datagrams, UdpListener};
use crate::io::clock;
use crate::io::control_socket::{ControlSocket, PathMtu};
use crate::io::host::Host;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// Where they listen, looked up.
#[derive(Debug, Default)]
pub(super) struct Places {
    lrk: Vec<SocketAddr>,
    lrk_paths: Vec<PathBuf>,
    rtpproxy: Vec<SocketAddr>,
    mediaproxy: Vec<SocketAddr>,
}

impl Places {
    /// Looks names up, and whether what is configured goes together.
    pub(super) fn resolve(config: &Config, interfaces: &ResolvedInterfaces) -> Result<Places, Vec<String>> {
        let all = |list: &[ListenAddress]| -> Result<Vec<SocketAddr>, Vec<String>> {
            let found: Result<Vec<Vec<SocketAddr>>, Vec<String>> = list.iter().map(resolve).collect();
            found.map(|lists| lists.concat())
        };
        let mut places = Places {
            rtpproxy: all(&config.control.rtpproxy)?,
            mediaproxy: all(&config.control.mediaproxy)?,
            ..Places::default()
        };
        for address in &config.control.lrk {
            match address {
                LrkAddress::Udp(address) => places.lrk.extend(resolve(address)?),
                LrkAddress::Unix(path) => places.lrk_paths.push(PathBuf::from(path)),
            }
        }
        if !config.control.lrk.is_empty() {
            check_range(config.control.lrk_ports, interfaces)?;
        }
        Ok(places)
    }

    /// The ports of control listeners, which are no ports for media.
    pub(super) fn ports(config: &Config) -> Vec<u16> {
        let udp = |address: &LrkAddress| match address {
            LrkAddress::Udp(address) => Some(address.port),
            LrkAddress::Unix(_) => None,
        };
        let others = config.control.rtpproxy.iter().chain(&config.control.mediaproxy).map(|address| address.port);
        config.control.lrk.iter().filter_map(udp).chain(others).collect()
    }
}

fn resolve(address: &ListenAddress) -> Result<Vec<SocketAddr>, Vec<String>> {
    address.resolve(&Host).map_err(|error| vec![error])
}

/// What clients give out by themselves is not to be what calls of other clients get.
fn check_range((min, max): (u16, u16), interfaces: &ResolvedInterfaces) -> Result<(), Vec<String>> {
    if max < min.saturating_add(9) {
        return Err(vec![format!("the ports {min} to {max} (`lrk-port-min`, `lrk-port-max`) are too few")]);
    }
    let mut addresses = interfaces.interfaces.iter().flat_map(|interface| {
        interface.addresses.iter().map(|address| (&interface.name, address.port_min, address.port_max))
    });
    match addresses.find(|(_, first, last)| *first <= max && min <= *last) {
        None => Ok(()),
        Some((name, first, last)) => Err(vec![format!(
            "the ports {min} to {max} (`lrk-port-min`, `lrk-port-max`) overlap those of the interface {name}, {first} to \
             {last} (`port-min`, `port-max`): clients of LRKProxy give theirs out by themselves"
        )]),
    }
}

/// Bound listeners.
pub(super) struct Listeners {
    lrk: Vec<UdpListener>,
    lrk_paths: Vec<lrk::UnixListener>,
    advice: Option<Advice>,
    rtpproxy: Vec<UdpListener>,
    mediaproxy: Vec<MediaproxyListener>,
    timeout: Duration,
}

/// UDP listeners with their protocols.
pub(super) type Served = Vec<(UdpListener, Arc<dyn Datagrams>)>;

impl Listeners {
    /// Binds. Needs a tokio runtime.
    ///
    /// # Errors
    /// When an address is taken.
    pub(super) fn bind(
        places: &Places,
        config: &Config,
        interfaces: &ResolvedInterfaces,
        path_mtu: PathMtu,
    ) -> io::Result<Listeners> {
        let udp = |list: &[SocketAddr]| -> io::Result<Vec<UdpListener>> {
            list.iter().map(|address| UdpListener::bind(*address, path_mtu)).collect()
        };
        let (lrk, rtpproxy) = (udp(&places.lrk)?, udp(&places.rtpproxy)?);
        let mediaproxy = places.mediaproxy.iter().map(|address| MediaproxyListener::bind(*address));
        let mediaproxy = mediaproxy.collect::<io::Result<_>>()?;
        let lrk_paths = places.lrk_paths.iter().map(|path| lrk::UnixListener::bind(path)).collect::<io::Result<_>>()?;
        let advice = advice(config.control.lrk_ports, interfaces).filter(|_| !config.control.lrk.is_empty());
        let timeout = build::timeouts(&config.timeouts).media;
        Ok(Listeners { lrk, lrk_paths, advice, rtpproxy, mediaproxy, timeout })
    }

    /// The sockets, to change their type of service.
    pub(super) fn sockets(&self) -> impl Iterator<Item = Arc<ControlSocket>> + '_ {
        self.lrk.iter().chain(&self.rtpproxy).map(UdpListener::socket)
    }

    /// Serves what needs a stream, and gives what the shards are to serve.
    pub(super) fn serve(self, daemon: &Arc<Daemon>, access: &Arc<Access>, runtime: &Handle) -> Served {
        let mut served: Served = Vec::new();
        let service: Arc<dyn Service> = daemon.clone();
        if !self.rtpproxy.is_empty() {
            let front = RtpproxyFront::new(service.clone(), self.timeout, clock::now);
            served.extend(self.rtpproxy.into_iter().map(|listener| (listener, front.clone() as Arc<dyn Datagrams>)));
        }
        for listener in self.mediaproxy {
            drop(runtime.spawn(listener.run(service.clone(), access.clone())));
        }
        if let Some(advice) = self.advice {
            let front = LrkFront::new(daemon.clone(), advice, clock::now);
            // Set once, here.
            let _ = daemon.lrk.set(front.clone());
            served.extend(self.lrk.into_iter().map(|listener| (listener, front.clone() as Arc<dyn Datagrams>)));
            for listener in self.lrk_paths {
                drop(runtime.spawn(listener.run(front.clone())));
            }
        }
        served
    }
}

/// What clients of LRKProxy are told; none without an interface.
fn advice(ports: (u16, u16), interfaces: &ResolvedInterfaces) -> Option<Advice> {
    let list = &interfaces.interfaces;
    let named = |name: &str| list.iter().find(|interface| interface.name == name);
    let internal = named("internal").or(list.first())?;
    let external = named("external").or(list.iter().find(|other| other.name != internal.name)).unwrap_or(internal);
    Some(Advice::new(ports, shown(internal)?, shown(external)?))
}

/// The address that descriptions show; clients know IPv4 best.
fn shown(interface: &ResolvedInterface) -> Option<IpAddr> {
    let mut addresses = interface.addresses.iter().map(|address| address.advertised);
    addresses.clone().find(IpAddr::is_ipv4).or_else(|| addresses.next())
}
