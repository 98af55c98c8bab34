//! Which local ports a participant is shown.
//!
//! A media keeps one set of ports for each address that the other side has had: when the other side moves, the
//! participant gets new ports, and the old set again should the other side move back. So packets of an old and a new
//! path are never mixed up.

use super::{Failure, Surroundings};
use crate::base::address::Family;
use crate::call::{Call, InterfaceId, MediaId, PortSet};
use std::net::SocketAddr;

/// How many sets a media keeps. Signalling that moves on every message must not eat the port range.
const MAX_SETS: usize = 4;

/// Where the ports have to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub interface: InterfaceId,
    /// The other side's signalled address; none keeps the present set.
    pub other_side: Option<SocketAddr>,
    /// Keep the present set even when the other side has moved (`port latching`).
    pub is_latched: bool,
    /// RTCP has a port of its own.
    pub needs_rtcp: bool,
}

/// Sees to it that the set in use is the one for `place`.
///
/// # Errors
/// When no ports are left.
pub fn ensure(call: &mut Call, id: MediaId, place: Place, around: &mut Surroundings) -> Result<(), Failure> {
    let media = call.media_mut(id);
    let is_usable = |set: &PortSet| set.interface == place.interface;
    let fits = |set: &PortSet| {
        is_usable(set)
            && (place.is_latched
                || place.other_side.is_none()
                || set.opened_for.is_none()
                || set.opened_for == place.other_side)
    };
    match media.port_sets.iter().rposition(fits) {
        Some(position) => {
            let set = media.port_sets.remove(position);
            media.port_sets.push(set);
        }
        None => {
            let set = around.ports.open(place.interface, place.needs_rtcp)?;
            media.port_sets.push(set);
            if media.port_sets.len() > MAX_SETS {
                let oldest = media.port_sets.remove(0);
                around.ports.close(&oldest);
            }
        }
    }
    complete(call, id, place, around)
}

/// Binds the set in use to the media's streams, with an RTCP port where one is needed.
fn complete(call: &mut Call, id: MediaId, place: Place, around: &mut Surroundings) -> Result<(), Failure> {
    let media = call.media_mut(id);
    let Some(set) = media.port_sets.last_mut() else { return Ok(()) };
    if place.needs_rtcp && set.rtcp.is_none() {
        match around.ports.open_rtcp(set) {
            Ok(port) => set.rtcp = Some(port),
            Err(_) => {
                let fresh = around.ports.open(place.interface, true)?;
                let lone = std::mem::replace(set, fresh);
                around.ports.close(&lone);
            }
        }
    }
    set.opened_for = place.other_side.or(set.opened_for);
    media.rtp_stream = Some(around.ports.bind(media.rtp_stream, set.rtp));
    if let Some(rtcp) = set.rtcp {
        media.rtcp_stream = Some(around.ports.bind(media.rtcp_stream, rtcp));
    }
    Ok(())
}

/// Closes all ports of a media that has been rejected; its streams stay for their counters.
pub fn release(call: &mut Call, id: MediaId, around: &mut Surroundings) {
    for set in call.media_mut(id).port_sets.drain(..) {
        around.ports.close(&set);
    }
}

/// The interface on which a media's ports are opened: the named one, else the one it has, else the default, always
/// with an address of `family` where any interface has one.
pub fn choose_interface(
    present: Option<InterfaceId>,
    named: Option<&str>,
    family: Family,
    around: &mut Surroundings,
) -> InterfaceId {
    let interfaces = around.interfaces;
    let by_name = named.and_then(|name| {
        let group = interfaces.group(name);
        match group.len() {
            0 => interfaces.find(name),
            count => Some(group[around.random.below(count as u32) as usize]),
        }
    });
    let index = by_name.or(present.map(|id| usize::from(id.interface))).unwrap_or(0);
    interfaces.primary(index, family).unwrap_or_else(|| interfaces.first(index))
}
