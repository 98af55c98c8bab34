//! `offer` and `answer`.

use super::{CommandError, Lent, Reply};
use crate::base::time::Now;
use crate::engine::Shard;
use crate::negotiate::{Failure, exchange};
use crate::ng::{Dictionary, Request};

impl Shard {
    pub(super) fn offer(&mut self, now: Now, request: &Request, from: &str, lent: &mut Lent) -> Reply {
        request.sdp_body()?;
        let call_id = request.call_id()?;
        let tag = request.from_tag()?;
        if request.sdp.is_fragment {
            return self.fragment(now, request, tag, lent);
        }
        let (index, is_new) = self.known_or_new(now, call_id, from);
        let outcome = self.negotiate(now, index, request, lent, |call, around| exchange::offer(call, request, around));
        // An offer of which nothing is left to show may be mended by the next; other failures leave nothing behind.
        let is_failed = outcome.as_ref().is_err_and(|failure| *failure != Failure::NothingToShow);
        if is_new && (is_failed || self.calls[index].is_empty()) {
            self.forget_call(now, index, lent);
        }
        Ok(Dictionary::new().with("sdp", outcome?))
    }

    pub(super) fn answer(&mut self, now: Now, request: &Request, lent: &mut Lent) -> Reply {
        request.sdp_body()?;
        request.call_id()?;
        request.from_tag()?;
        let tag = request.to_tag()?;
        if request.sdp.is_fragment {
            return self.fragment(now, request, tag, lent);
        }
        let index = self.known(request, CommandError::UnknownCallId)?;
        let sdp = self.negotiate(now, index, request, lent, |call, around| exchange::answer(call, request, around))?;
        Ok(Dictionary::new().with("sdp", sdp))
    }
}
