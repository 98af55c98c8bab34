//! Pairs of sides that clients name without SDP, each on the shard of its call.

use super::dispatch::Dispatch;
use super::service::Daemon;
use super::shard_thread::Work;
use crate::control::lrk::{PairReply, Pairs};
use crate::engine::{Pair, PairError, PairKey};
use std::sync::Arc;

impl Pairs for Daemon {
    fn put(&self, pair: Pair, client: String, reply: PairReply) {
        let (dispatch, call_id) = (self.router.dispatch.clone(), pair.call_id.clone());
        at_home(&self.router.dispatch, call_id, move |work| {
            if work.shard.call(&pair.call_id).is_none() && dispatch.admission.refuses().is_some() {
                return reply.send(Err(PairError::TooManyCalls));
            }
            reply.send(work.shard.put_pair(work.now, &pair, &client, &mut work.lent));
        });
    }

    fn end(&self, key: PairKey, reply: PairReply) {
        at_home(&self.router.dispatch, key.call_id.clone(), move |work| {
            // One that has expired is ended too.
            work.shard.end_pair(work.now, &key, &mut work.lent);
            reply.send(Ok(()));
        });
    }
}

/// Does `job` on the shard that has the call, wherever it goes meanwhile.
fn at_home(dispatch: &Arc<Dispatch>, call_id: String, job: impl FnOnce(&mut Work) + Send + 'static) {
    let home = dispatch.whereabouts.of(&call_id);
    let routes = dispatch.clone();
    dispatch.shards[home].run(Box::new(move |work: &mut Work| match routes.whereabouts.is_at(&call_id, home) {
        true => job(work),
        false => at_home(&routes, call_id, job),
    }));
}
