//! Streams whose call becomes part of another.

use crate::plan::StreamId;
use crate::relay::Relay;

impl Relay {
    /// The stream belongs to the call `owner_call` from now on.
    pub fn set_owner(&mut self, id: StreamId, owner_call: u32) {
        if let Some(stream) = self.streams.get_mut(id.0 as usize) {
            stream.owner_call = owner_call;
        }
    }
}
