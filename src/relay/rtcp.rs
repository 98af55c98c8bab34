//! Reads RTCP that passes, for statistics. It is relayed whatever it says.

use super::Relay;
use crate::base::time::Now;
use crate::plan::StreamId;
use crate::wire::rtcp;

impl Relay {
    pub(super) fn read_rtcp(&mut self, _now: Now, id: StreamId, datagram: &[u8]) {
        let Some(stream) = self.streams.get_mut(id.0 as usize) else { return };
        if let Some(ssrc) = rtcp::first_sender(datagram) {
            stream.note_ssrc(ssrc);
        }
    }
}
