//! Retransmissions in a stream of their own (RFC 4588), as descriptions speak of them.

use crate::call::Media;
use crate::sdp::Attribute;
use smallvec::SmallVec;

/// What packets of media look like when they are sent again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Repair {
    /// A payload type of media, and that of its retransmissions.
    pub payload_types: SmallVec<[(u8, u8); 4]>,
    /// An SSRC of media, and that of its retransmissions, as far as descriptions name them (RFC 5576, section 4.2).
    pub sources: SmallVec<[(u32, u32); 2]>,
}

impl Repair {
    /// The payload type of the media that `number` sends again.
    pub fn repaired(&self, number: u8) -> Option<u8> {
        self.payload_types.iter().find(|pair| pair.1 == number).map(|pair| pair.0)
    }

    /// The SSRC of the retransmissions of `ssrc`, if a description names it.
    pub fn repairing_source(&self, ssrc: u32) -> Option<u32> {
        self.sources.iter().find(|pair| pair.0 == ssrc).map(|pair| pair.1)
    }

    /// The payload type under which `number` is sent again.
    pub fn repairing(&self, number: u8) -> Option<u8> {
        self.payload_types.iter().find(|pair| pair.0 == number).map(|pair| pair.1)
    }
}

/// What the participant of a media sends and takes again.
pub(super) fn payload_types(media: &Media) -> impl Iterator<Item = (u8, u8)> {
    media.codecs.iter().filter_map(|codec| Some((codec.repaired_payload_type()?, codec.payload_type)))
}

/// The SSRCs that the participant of a media has named.
pub(super) fn sources(media: &Media) -> impl Iterator<Item = (u32, u32)> {
    media.attributes.iter().filter_map(Attribute::repair_flow)
}
