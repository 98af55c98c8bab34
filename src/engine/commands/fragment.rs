//! ICE fragments (RFC 8840): candidates for a participant that is known, or soon will be.

use super::{Lent, Reply};
use crate::base::time::{Mono, Now};
use crate::engine::Shard;
use crate::negotiate::fragment::Fragment;
use crate::ng::{Dictionary, Request};
use std::time::Duration;

/// How long a fragment waits for its participant: about as long as a SIP transaction takes.
const PATIENCE: Duration = Duration::from_secs(32);
/// Fragments that wait, of all calls.
const MOST_WAITING: usize = 256;

/// A fragment that came before its participant.
#[derive(Debug)]
pub(in crate::engine) struct Waiting {
    call_id: String,
    tag: String,
    fragment: Fragment,
    until: Mono,
}

impl Waiting {
    /// Whether the fragment is for the call with this id.
    pub(in crate::engine) fn is_for(&self, call_id: &str) -> bool {
        self.call_id == call_id
    }
}

impl Shard {
    /// Takes a fragment from the participant `tag`.
    pub(super) fn fragment(&mut self, now: Now, request: &Request, tag: &str, lent: &mut Lent) -> Reply {
        let fragment = Fragment::parse(request.sdp_body()?);
        let call_id = request.call_id()?;
        let known = self.by_id.get(call_id).copied();
        let sender = known.and_then(|index| Some((index, self.calls[index].find_tag(tag)?)));
        let Some((index, sender)) = sender else {
            self.waiting.retain(|waiting| waiting.until > now.mono);
            if self.waiting.len() < MOST_WAITING {
                let until = now.mono + PATIENCE;
                self.waiting.push(Waiting { call_id: call_id.to_owned(), tag: tag.to_owned(), fragment, until });
            }
            return Ok(Dictionary::new());
        };
        self.negotiate(now, index, request, lent, |call, _| {
            fragment.apply(call, sender);
            Ok(())
        })?;
        Ok(Dictionary::new())
    }

    /// Applies fragments that have waited for a participant of the call.
    pub(super) fn apply_waiting(&mut self, index: usize) {
        let call = &mut self.calls[index];
        self.waiting.retain(|waiting| {
            let sender = if call.ids().any(|id| waiting.is_for(id)) { call.find_tag(&waiting.tag) } else { None };
            if let Some(sender) = sender {
                waiting.fragment.apply(call, sender);
            }
            sender.is_none()
        });
    }
}
