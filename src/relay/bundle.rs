//! Which media of a bundle a packet belongs to (RFC 9143, section 9.2).

use super::extension;
use super::stream::Stream;
use crate::plan::{Branch, Bundle};
use crate::wire::rtp::Header;

impl Bundle {
    /// The branch of an RTP packet: by its MID, else by what its SSRC was before, else by its payload type.
    pub(super) fn branch_of(&self, stream: &Stream, header: &Header, packet: &[u8]) -> Option<u8> {
        let by_mid = self.mid_extension.and_then(|id| extension::find(packet, id)).and_then(|mid| {
            self.branches.iter().position(|branch| branch.mid.as_deref().is_some_and(|own| own.as_bytes() == mid))
        });
        if by_mid.is_some() {
            return by_mid.map(|place| place as u8);
        }
        stream.branch_of(header.ssrc).or_else(|| {
            let is_own = |branch: &Branch| branch.payload_types.contains(&header.payload_type);
            self.branches.iter().position(is_own).map(|place| place as u8)
        })
    }
}
