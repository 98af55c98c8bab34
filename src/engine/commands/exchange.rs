//! `offer` and `answer`.

use super::{CommandError, Lent, Reply};
use crate::base::time::Now;
use crate::engine::Shard;
use crate::negotiate::exchange;
use crate::ng::{Dictionary, Request};

impl Shard {
    pub(super) fn offer(&mut self, now: Now, request: &Request, from: &str, lent: &mut Lent) -> Reply {
        request.sdp_body()?;
        let call_id = request.call_id()?.to_owned();
        request.from_tag()?;
        let index = self.known_or_new(now, &call_id, from);
        self.signal(now, index, request);
        let sdp = self.negotiate(now, index, lent, |call, around| exchange::offer(call, request, around))?;
        Ok(Dictionary::new().with("sdp", sdp))
    }

    pub(super) fn answer(&mut self, now: Now, request: &Request, lent: &mut Lent) -> Reply {
        request.sdp_body()?;
        request.call_id()?;
        request.from_tag()?;
        request.to_tag()?;
        let index = self.known(request, CommandError::UnknownCallId)?;
        self.signal(now, index, request);
        let sdp = self.negotiate(now, index, lent, |call, around| exchange::answer(call, request, around))?;
        Ok(Dictionary::new().with("sdp", sdp))
    }
}
