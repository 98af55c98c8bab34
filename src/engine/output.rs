//! What a shard tells its surroundings besides replies; rare things only.

use super::events::Event;
use crate::base::id::CaptureId;
use crate::call::lifecycle::Termination;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// A call came into being.
    Created { call_id: String, created_from: String },
    /// A call has become part of another, which goes by both call-ids from now on.
    Merged { call_id: String, into: String },
    /// A call ended.
    Ended { call_id: String, aliases: Vec<String>, termination: Termination, duration_ms: u64, packets: u64 },
    /// The call of a capture is over.
    CaptureOver(CaptureId),
    /// Something of which somebody wants to be told.
    Event(Event),
    /// A request was answered although something in it could not be honoured.
    Warning { call_id: String, text: String },
    /// A call was ended by a fault in the daemon itself.
    Fault { call_id: String, text: String },
}
