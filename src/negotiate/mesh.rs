//! `mesh`: flows between the parties of one call, as many as are named at once.

use super::{Failure, connect};
use crate::call::{Call, ParticipantId};
use crate::ng::Request;

/// Works off `mesh` on the call that the named ones have become.
///
/// # Errors
/// When a tag names nobody, or media can't flow. The call may be half changed then.
pub fn mesh(call: &mut Call, request: &Request) -> Result<(), Failure> {
    let is_both_ways = request.control.is_bidirectional;
    let mut flows: Vec<(ParticipantId, Vec<ParticipantId>)> = Vec::with_capacity(request.dialogue.flows.len());
    for flow in &request.dialogue.flows {
        let from = call.find_tag(&flow.from).ok_or(Failure::NoSuchFromTag)?;
        let to: Option<Vec<ParticipantId>> = flow.to.iter().map(|tag| call.find_tag(tag)).collect();
        flows.push((from, to.ok_or(Failure::NoSuchToTag)?));
    }
    if request.control.unsubscribe {
        call.unsubscribe(|call, subscription| {
            let (source, sink) = (call.media(subscription.source).owner, call.media(subscription.sink).owner);
            flows.iter().any(|(from, _)| source == *from || is_both_ways && sink == *from)
        });
    }
    for (from, sinks) in flows {
        sinks.into_iter().try_for_each(|to| connect::add_flow(call, from, to, is_both_ways))?;
    }
    Ok(())
}
