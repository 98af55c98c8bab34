//! Where the daemon listens: addresses looked up, sockets bound, tasks that serve them.

use super::protocols;
use crate::config::interface::{ResolvedInterfaces, resolve};
use crate::config::listen::{ListenAddress, StreamPlace};
use crate::config::{Config, Control};
use crate::control::access::Rules;
use crate::control::cli::CliListener;
use crate::control::http::tls::Certificates;
use crate::control::http::{HttpLimits, HttpListener};
use crate::control::request::Requests;
use crate::control::stream::StreamListener;
use crate::control::udp::UdpListener;
use crate::io::control_socket::PathMtu;
use crate::io::host::Host;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Where the daemon listens and relays, looked up.
pub(super) struct Places {
    pub interfaces: ResolvedInterfaces,
    pub ng: Vec<SocketAddr>,
    stream_ng: Vec<SocketAddr>,
    /// Sockets in the file system, for NG.
    paths: Vec<PathBuf>,
    cli: Vec<SocketAddr>,
    http: Vec<SocketAddr>,
    https: Vec<SocketAddr>,
    /// Of the protocols of other relays.
    pub others: protocols::Places,
}

impl Places {
    /// Looks names up; the errors say which are unknown.
    pub(super) fn resolve(config: &Config) -> Result<Places, Vec<String>> {
        let (mut over_tcp, mut paths) = (Vec::new(), Vec::new());
        for place in &config.control.stream_ng {
            match place {
                StreamPlace::Tcp(address) => over_tcp.push(address.clone()),
                StreamPlace::Unix(path) => paths.push(PathBuf::from(path)),
            }
        }
        let control = &config.control;
        let (ng, stream_ng, cli) = (look_up(&control.ng)?, look_up(&over_tcp)?, look_up(&control.cli)?);
        let (http, https) = (look_up(&control.http)?, look_up(&control.https)?);
        let lists = [&ng, &stream_ng, &cli, &http, &https];
        let mut control_ports: Vec<u16> = lists.into_iter().flatten().map(SocketAddr::port).collect();
        control_ports.extend(protocols::Places::ports(config));
        let range = (config.media.port_min, config.media.port_max);
        let interfaces = resolve(&config.interfaces, range, &control_ports, &Host)?;
        let others = protocols::Places::resolve(config, &interfaces)?;
        Ok(Places { interfaces, ng, stream_ng, paths, cli, http, https, others })
    }

    /// Binds what NG over UDP is listened for on.
    ///
    /// # Errors
    /// When an address is taken.
    pub(super) fn bind(&self, path_mtu: PathMtu) -> io::Result<Vec<UdpListener>> {
        self.ng.iter().map(|address| UdpListener::bind(*address, path_mtu)).collect()
    }

    /// The ways in for NG, for people.
    pub(super) fn describe(&self) -> String {
        let rows = [("NG", &self.ng), ("NG over TCP", &self.stream_ng), ("HTTP", &self.http), ("HTTPS", &self.https)];
        let mut ways: Vec<String> = rows
            .iter()
            .filter(|(_, list)| !list.is_empty())
            .map(|(name, list)| format!("{name} on {}", comma(list)))
            .collect();
        ways.extend(self.paths.iter().map(|path| format!("NG at {}", path.display())));
        ways.join("; ")
    }

    /// What can be reached from elsewhere without anything that keeps strangers out.
    fn warn_of_open_doors(&self, control: &Control) {
        if !control.allowed.is_empty() {
            return;
        }
        let mut rows = vec![("listen-ng", &self.ng), ("listen-tcp-ng", &self.stream_ng), ("listen-cli", &self.cli)];
        if control.token.is_none() {
            rows.extend([("listen-http", &self.http), ("listen-https", &self.https)]);
        }
        for (option, list) in rows {
            for address in list.iter().filter(|address| !address.ip().is_loopback()) {
                tracing::warn!(
                    target: "control",
                    "{option} on {address}: whoever reaches it can end every call; `control-allow` says who may"
                );
            }
        }
    }
}

fn look_up(list: &[ListenAddress]) -> Result<Vec<SocketAddr>, Vec<String>> {
    let found: Result<Vec<Vec<SocketAddr>>, String> = list.iter().map(|address| address.resolve(&Host)).collect();
    found.map(|lists| lists.concat()).map_err(|error| vec![error])
}

fn comma(list: &[SocketAddr]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Who may ask.
pub(super) fn rules(control: &Control) -> Rules {
    Rules { allowed: control.allowed.clone(), token: control.token.clone() }
}

/// Bound listeners for streams of bytes.
pub(super) struct Listeners {
    cli: Vec<CliListener>,
    streams: Vec<StreamListener>,
    http: Vec<HttpListener>,
    certificates: Option<Arc<Certificates>>,
}

impl Listeners {
    /// Binds them; needs a tokio runtime.
    ///
    /// # Errors
    /// When an address or path is taken, or the certificate can't be read.
    pub(super) fn bind(places: &Places, control: &Control) -> io::Result<Listeners> {
        places.warn_of_open_doors(control);
        let certificates = match (&control.certificate, places.https.is_empty()) {
            (Some(certificate), false) => {
                Some(Certificates::load(Path::new(certificate), control.key.as_deref().map(Path::new))?)
            }
            _ => None,
        };
        let idle = Duration::from_secs(u64::from(control.http_idle_s));
        let limits = HttpLimits { head_bytes: control.head_limit_bytes, idle };
        let plain = places.http.iter().map(|address| HttpListener::bind(*address, None, limits));
        let secure = places.https.iter().map(|address| HttpListener::bind(*address, certificates.clone(), limits));
        let http = plain.chain(secure).collect::<io::Result<_>>()?;
        let cli = places.cli.iter().map(|address| CliListener::bind(*address)).collect::<io::Result<_>>()?;
        let over_tcp = places.stream_ng.iter().map(|address| StreamListener::tcp(*address));
        let at_paths = places.paths.iter().map(|path| StreamListener::unix(path));
        let streams = over_tcp.chain(at_paths).collect::<io::Result<_>>()?;
        Ok(Listeners { cli, streams, http, certificates })
    }

    /// Serves them as tasks of the runtime that this is called in; gives the certificate, to be read again.
    pub(super) fn run(self, requests: &Arc<Requests>) -> Option<Arc<Certificates>> {
        self.cli.into_iter().for_each(|listener| drop(tokio::spawn(listener.run(requests.clone()))));
        self.streams.into_iter().for_each(|listener| drop(tokio::spawn(listener.run(requests.clone()))));
        self.http.into_iter().for_each(|listener| drop(tokio::spawn(listener.run(requests.clone()))));
        self.certificates.iter().for_each(|certificates| drop(tokio::spawn(certificates.clone().watch())));
        self.certificates
    }
}
