//! Whether media ports share sockets.

use crate::config::interface::ResolvedInterfaces;
use crate::config::{Config, MediaSockets};
use crate::io::steer::{Steering, handed_out};
use std::net::IpAddr;

/// The program that steers datagrams of all ports to one socket for each of `shards`, where that is wanted and can be
/// had. Without it each port has a socket.
pub(super) fn steering(config: &Config, interfaces: &ResolvedInterfaces, shards: usize) -> Option<Steering> {
    let wanted = config.media.sockets;
    if wanted == MediaSockets::Each {
        return None;
    }
    let is_asked_for = wanted == MediaSockets::Shared;
    if let Some(why) = contested(config, interfaces) {
        match is_asked_for {
            true => tracing::warn!(target: "core", "{why}"),
            false => {
                tracing::info!(target: "core", "each media port has a socket: {why}");
                return None;
            }
        }
    }
    let addresses: Vec<IpAddr> = (interfaces.interfaces.iter())
        .flat_map(|interface| interface.addresses.iter().map(|address| address.address))
        .collect();
    match Steering::open(&addresses, shards) {
        Ok(steering) => {
            tracing::info!(target: "core", "media ports share one socket for each thread and address family");
            Some(steering)
        }
        Err(why) if is_asked_for => {
            tracing::warn!(target: "core", "each media port has a socket: {why}");
            None
        }
        Err(why) => {
            tracing::info!(target: "core", "each media port has a socket: {why}");
            None
        }
    }
}

/// What speaks against it: ports that other programs may get without asking for them.
fn contested(config: &Config, interfaces: &ResolvedInterfaces) -> Option<String> {
    let addresses = interfaces.interfaces.iter().flat_map(|interface| &interface.addresses);
    let of_clients = (!config.control.lrk.is_empty()).then_some(config.control.lrk_ports);
    for (first, last) in addresses.map(|address| (address.port_min, address.port_max)).chain(of_clients) {
        match handed_out(first..=last) {
            Ok(None) => {}
            Ok(Some(port)) => {
                return Some(format!(
                    "the system may hand port {port} to another program; \
                     net.ipv4.ip_local_reserved_ports = {first}-{last} would keep it from that"
                ));
            }
            Err(error) => return Some(format!("it is not known which ports the system hands out: {error}")),
        }
    }
    None
}
