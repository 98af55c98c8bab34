//! Keys, ICE and bundles of a media, as its plan has them.

use super::build::Sinks;
use super::{Branch, Bundle, Handshake, Ice, IcePort, Keys, MidElement, Security};
use crate::call::security::Keying;
use crate::call::{Call, Media, MediaId};
use crate::sdp::{Attribute, Crypto};
use crate::srtp::{MasterKey, Mki, Parameters};
use smallvec::SmallVec;

/// The name of the header extension that carries `a=mid`.
const MID_EXTENSION: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";

/// How packets of a media are protected.
pub(super) fn security(media: &Media) -> Security {
    match &media.security.keying {
        Keying::None => Security::Plain,
        Keying::Pending => Security::Pending,
        Keying::Sdes { receive, send } => match (parameters(receive), parameters(send)) {
            (Some(receive), Some(send)) => Security::Keys(Box::new(Keys { receive, send })),
            _ => Security::Pending,
        },
        Keying::Dtls(dtls) => Security::Handshake(Box::new(Handshake {
            is_client: dtls.is_client,
            fingerprints: dtls.fingerprints.clone(),
            generation: dtls.generation,
        })),
    }
}

/// None only for keys of a wrong length, which descriptions are not read with.
fn parameters(crypto: &Crypto) -> Option<Parameters> {
    let master = MasterKey::from_concatenated(crypto.suite, crypto.key.expose())?;
    Some(Parameters {
        unencrypted_srtp: crypto.parameters.unencrypted_srtp,
        unencrypted_srtcp: crypto.parameters.unencrypted_srtcp,
        unauthenticated_srtp: crypto.parameters.unauthenticated_srtp,
        mki: crypto.mki.as_deref().and_then(Mki::new),
        ..Parameters::new(crypto.suite, master)
    })
}

/// Whether packets from `source` can go to `sink` as they are: the same keys, in the same use.
pub(super) fn passes(source: &Media, sink: &Media) -> bool {
    let is_wanted = !source.security.recrypts && !sink.security.recrypts;
    match (&source.security.keying, &sink.security.keying) {
        (Keying::Sdes { receive, .. }, Keying::Sdes { send, .. }) => {
            is_wanted
                && (receive.suite, &receive.key, &receive.mki) == (send.suite, &send.key, &send.mki)
                && receive.parameters == send.parameters
        }
        _ => false,
    }
}

/// ICE of a media that was shown it, unless the peer has answered without.
pub(super) fn ice(media: &Media) -> Option<Ice> {
    let peer = media.ice.peer.as_ref();
    if !media.ice.is_shown || media.is_described && peer.is_none() {
        return None;
    }
    let (own, set) = (media.ice.own.as_ref()?, media.ports()?);
    let first = [(set.rtp, set.rtcp)].into_iter();
    let all = first.chain(set.further.iter().map(|further| (further.rtp, further.rtcp)));
    let mut ports = Vec::new();
    for (place, (rtp, rtcp)) in all.enumerate() {
        let local_preference = 65535 - place as u16;
        let rtcp = rtcp.filter(|_| !media.rtcp_mux.is_agreed);
        for (component, port) in [(1, Some(rtp)), (2, rtcp)] {
            let Some(port) = port else { continue };
            ports.push(IcePort { component, token: port.token, address: port.address, local_preference });
        }
    }
    Some(Ice {
        // Both ends lite, or one: RFC 8445, section 6.1.1. A full agent controls a lite one.
        is_controlling: !media.ice.is_lite && (peer.is_some_and(|peer| peer.is_lite) || !media.ice.is_controlled),
        is_lite: media.ice.is_lite,
        own: (own.ufrag.clone(), own.pwd.clone()),
        peer: peer.cloned(),
        ports,
    })
}

/// The medias that share the port of `head`, which is the first; none when it has the port alone.
pub(super) fn bundle(call: &Call, head: MediaId, mut sinks: impl FnMut(MediaId) -> (Sinks, Sinks)) -> Option<Bundle> {
    let owner = call.participant(call.media(head).owner);
    let members: Vec<MediaId> =
        owner.medias.iter().copied().filter(|id| call.transport_of(*id) == head && call.media(*id).is_rtp()).collect();
    if members.len() < 2 {
        return None;
    }
    let payload_types: Vec<SmallVec<[u8; 8]>> = members.iter().map(|id| payload_types(call.media(*id))).collect();
    let branches = members.iter().enumerate().map(|(place, id)| {
        let is_own = |number: &u8| {
            payload_types.iter().enumerate().all(|(other, numbers)| other == place || !numbers.contains(number))
        };
        let (media, control) = sinks(*id);
        Branch {
            mid: call.media(*id).mid.as_deref().map(Box::from),
            payload_types: payload_types[place].iter().copied().filter(is_own).collect(),
            media,
            control,
        }
    });
    let branches = branches.collect();
    let mid_extension = members.iter().find_map(|id| mid_extension(call.media(*id)));
    Some(Bundle { mid_extension, branches })
}

fn payload_types(media: &Media) -> SmallVec<[u8; 8]> {
    media.codecs.iter().chain(&media.shown_codecs).map(|codec| codec.payload_type).collect()
}

/// What packets of `source` lack for a `sink` that was promised mids: its own mid, where it took the extension and the
/// source does not bring it, or brings another one. With it the source's own extension, as a bit, to be left out.
pub(super) fn mid_element(source: &Media, sink: &Media) -> Option<(MidElement, u16)> {
    let own = sink.mid.as_deref()?;
    let element = MidElement::new(mid_extension(sink)?, own)?;
    match mid_extension(source) {
        None => Some((element, 0)),
        Some(number) => (source.mid.as_deref() != Some(own) && number < 15).then_some((element, 1 << number)),
    }
}

/// The number under which the peer sends its mids.
fn mid_extension(media: &Media) -> Option<u8> {
    let extensions = media.attributes.iter().filter_map(Attribute::extension);
    extensions.filter(|(_, uri)| *uri == MID_EXTENSION).map(|(number, _)| number).next()
}
