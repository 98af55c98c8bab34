//! Which local ports a participant is shown.
//!
//! A media keeps one set of ports for each address that the other side has had: when the other side moves, the
//! participant gets new ports, and the old set again should the other side move back. So packets of an old and a new
//! path are never mixed up.

use super::{Failure, Surroundings};
use crate::base::address::Family;
use crate::call::ports::FurtherPorts;
use crate::call::{Call, InterfaceId, Media, MediaId, PortSet};
use smallvec::SmallVec;
use std::net::SocketAddr;

/// How many sets a media keeps. Signalling that moves on every message must not eat the port range.
const MAX_SETS: usize = 4;

/// Where the ports have to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// The logical interface, or group of interfaces, that the request names.
    pub named: Option<&'a str>,
    pub family: Family,
    /// The other side's signalled address; none keeps the present set.
    pub other_side: Option<SocketAddr>,
    /// Keep the present set even when the other side has moved (`port latching`).
    pub is_latched: bool,
    /// RTCP has a port of its own.
    pub needs_rtcp: bool,
    /// Every address of the interface is served, for ICE.
    pub needs_all_addresses: bool,
}

impl Place<'_> {
    fn fits(&self, set: &PortSet, interface: InterfaceId) -> bool {
        let is_same_side = self.other_side.is_none() || set.opened_for.is_none() || set.opened_for == self.other_side;
        set.interface == interface && (self.is_latched || is_same_side)
    }
}

/// Sees to it that the set in use is the one for `place`.
///
/// # Errors
/// When no ports are left.
pub fn ensure(call: &mut Call, id: MediaId, place: Place, around: &mut Surroundings) -> Result<(), Failure> {
    let choices = choices(call.media(id).interface, place.named, place.family, around);
    let media = call.media_mut(id);
    media.family = Some(place.family);
    match media.port_sets.iter().rposition(|set| place.fits(set, choices[0])) {
        Some(position) => {
            media.port_sets[position..].rotate_left(1);
            media.interface = Some(choices[0]);
        }
        None => open(media, &choices, place.needs_rtcp, around)?,
    }
    complete(media, place, around)
}

/// Opens a set on the first of `choices` that has ports left.
fn open(
    media: &mut Media,
    choices: &[InterfaceId],
    needs_rtcp: bool,
    around: &mut Surroundings,
) -> Result<(), Failure> {
    let mut outcome = around.ports.open(choices[0], needs_rtcp);
    for other in &choices[1..] {
        if outcome.is_ok() {
            break;
        }
        outcome = around.ports.open(*other, needs_rtcp);
    }
    let set = outcome?;
    media.interface = Some(set.interface);
    media.port_sets.push(set);
    if media.port_sets.len() > MAX_SETS {
        let oldest = media.port_sets.remove(0);
        around.ports.close(&oldest);
    }
    Ok(())
}

/// Binds the set in use to the media's streams, with an RTCP port where one is needed.
fn complete(media: &mut Media, place: Place, around: &mut Surroundings) -> Result<(), Failure> {
    let Some(set) = media.port_sets.last_mut() else { return Ok(()) };
    if place.needs_rtcp && set.rtcp.is_none() {
        match around.ports.open_rtcp(set.interface, set.rtp) {
            Ok(port) => set.rtcp = Some(port),
            Err(_) => {
                let fresh = around.ports.open(set.interface, true)?;
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
    if place.needs_all_addresses {
        extend(media, around);
    }
    Ok(())
}

/// Opens the set's ports on the interface's other addresses too. An address that can't serve is left out: ICE does
/// with those that are there.
fn extend(media: &mut Media, around: &mut Surroundings) {
    let Some(set) = media.port_sets.last_mut() else { return };
    let needs_rtcp = set.rtcp.is_some();
    let others = around.interfaces.addresses().map(|(id, ..)| id);
    for other in others.filter(|id| id.interface == set.interface.interface && *id != set.interface) {
        if set.further.iter().any(|further| further.interface == other) {
            continue;
        }
        let Ok(opened) = around.ports.open(other, needs_rtcp) else { continue };
        let PortSet { interface, advertised, rtp, rtcp, .. } = opened;
        set.further.push(FurtherPorts { interface, advertised, rtp, rtcp });
    }
    for further in &mut set.further {
        if needs_rtcp && further.rtcp.is_none() {
            further.rtcp = around.ports.open_rtcp(further.interface, further.rtp).ok();
        }
        let pairs = [(media.rtp_stream, Some(further.rtp)), (media.rtcp_stream, further.rtcp)];
        for (stream, port) in pairs {
            if let (Some(stream), Some(port)) = (stream, port) {
                around.ports.listen(stream, port);
            }
        }
    }
}

/// After an answer: RTCP needs no port of its own where both share one, and needs one where they no longer do.
pub fn match_mux(call: &mut Call, id: MediaId, around: &mut Surroundings) {
    let media = call.media_mut(id);
    let shares_port = media.rtcp_mux.is_agreed || !media.is_rtp();
    let Some(set) = media.port_sets.last_mut() else { return };
    match (shares_port, set.rtcp) {
        (true, Some(_)) => {
            let further = set.further.iter_mut().filter_map(|further| further.rtcp.take());
            set.rtcp.take().into_iter().chain(further).for_each(|port| around.ports.close_port(port));
        }
        (false, None) => {
            // Without the port RTCP goes where RTP goes, and comes from there.
            if let Ok(rtcp) = around.ports.open_rtcp(set.interface, set.rtp) {
                set.rtcp = Some(rtcp);
                media.rtcp_stream = Some(around.ports.bind(media.rtcp_stream, rtcp));
            }
        }
        _ => {}
    }
}

/// Closes all ports of a media that has been rejected; its streams stay for their counters.
pub fn release(call: &mut Call, id: MediaId, around: &mut Surroundings) {
    for set in call.media_mut(id).port_sets.drain(..) {
        around.ports.close(&set);
    }
}

/// Notes the interface on which a media's ports are to be opened later.
pub fn assign(call: &mut Call, id: MediaId, named: &str, around: &mut Surroundings) {
    let media = call.media(id);
    let interface = choices(media.interface, Some(named), media.family.unwrap_or(Family::Ip4), around)[0];
    call.media_mut(id).interface = Some(interface);
}

/// The addresses on which a media's ports may be opened, the best first: of the named interface or group, else of the
/// one it has, else of the default, always of `family` where any interface has such an address. Of a group that is the
/// member it has, else any, then the others, should that one have no ports left.
fn choices(
    present: Option<InterfaceId>,
    named: Option<&str>,
    family: Family,
    around: &mut Surroundings,
) -> SmallVec<[InterfaceId; 2]> {
    let interfaces = around.interfaces;
    let present = present.map(|id| usize::from(id.interface));
    let named = named.and_then(|name| interfaces.named(name));
    let mut members = named.unwrap_or_else(|| interfaces.group_of(present.unwrap_or(0)));
    let first = match members.iter().position(|index| Some(*index) == present) {
        Some(position) => position,
        None => around.random.below(members.len() as u32) as usize,
    };
    members.rotate_left(first);
    members.into_iter().map(|index| interfaces.primary(index, family).unwrap_or(interfaces.first(index))).collect()
}
