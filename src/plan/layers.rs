//! Simulcast of a sender, and what of it a receiver gets (RFC 8853).

use crate::call::layer::{Layer, REPAIRED_RID_EXTENSION, RID_EXTENSION, Rid};
use crate::call::{Call, MediaId};
use crate::rtp::picture::Format;
use crate::sdp::Attribute;
use smallvec::SmallVec;

/// One media that comes in several streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Simulcast {
    /// The media's place in its bundle; zero for one that has the port alone.
    pub branch: u8,
    /// The names of the streams, in the order of the description.
    pub rids: SmallVec<[Rid; 3]>,
    /// The number of the header extension with the name of a stream (RFC 8852, section 4.1).
    pub rid_extension: u8,
    /// The same on retransmissions (section 4.2).
    pub repaired_extension: Option<u8>,
    /// Payload types whose key frames are known.
    pub formats: SmallVec<[(u8, Format); 4]>,
    pub clock_rate_hz: u32,
}

/// One receiver's part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// A place among the plan's [`super::ForwardingPlan::simulcasts`].
    pub simulcast: u16,
    pub layer: Layer,
}

/// The simulcasts of all that comes in through a media's port, whether anybody receives them or not: their senders say
/// early which packets are of which layer, and then no more.
pub(super) fn of_port(call: &Call, id: MediaId) -> Vec<Simulcast> {
    let medias = call.participant(call.media(id).owner).medias.iter().copied();
    medias.filter(|other| call.transport_of(*other) == id).filter_map(|other| simulcast(call, other)).collect()
}

/// The simulcast of a media, if it has one.
pub(super) fn simulcast(call: &Call, id: MediaId) -> Option<Simulcast> {
    let media = call.media(id);
    let number = |uri: &str| {
        let extensions = media.attributes.iter().filter_map(Attribute::extension);
        extensions.filter(|found| found.1 == uri).map(|found| found.0).next()
    };
    let rid_extension = number(RID_EXTENSION).filter(|_| !media.simulcast.is_empty())?;
    let transport = call.transport_of(id);
    let mut members = call
        .participant(media.owner)
        .medias
        .iter()
        .filter(|other| call.transport_of(**other) == transport && call.media(**other).is_rtp());
    let known = media.codecs.iter().filter_map(|codec| Some((codec.payload_type, Format::of(&codec.name)?)));
    Some(Simulcast {
        branch: members.position(|other| *other == id)? as u8,
        rids: media.simulcast.iter().copied().collect(),
        rid_extension,
        repaired_extension: number(REPAIRED_RID_EXTENSION),
        formats: known.collect(),
        clock_rate_hz: media.codecs.first().map_or(90_000, |codec| codec.clock_rate_hz),
    })
}

impl Simulcast {
    /// Whether packets are told apart as they were by `other`.
    pub fn has_layers_of(&self, other: &Simulcast) -> bool {
        (self.branch, &self.rids) == (other.branch, &other.rids)
    }

    /// The header extensions that are the sender's business alone, as bits.
    pub(super) fn masked_numbers(&self) -> u16 {
        let numbers = [Some(self.rid_extension), self.repaired_extension];
        numbers
            .into_iter()
            .flatten()
            .filter(|number| (1..15).contains(number))
            .fold(0, |mask, number| mask | 1 << number)
    }
}
