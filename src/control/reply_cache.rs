//! Replies by cookie: a request that comes again gets the same reply and is not worked off again.
//!
//! Two generations rotate every 30 seconds, so a reply is kept for 30 to 60. They rotate earlier when a generation has
//! grown to its limit in bytes: a flood of requests must not take the host's memory.

use crate::base::time::Mono;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

/// How long a generation lives.
const GENERATION: Duration = Duration::from_secs(30);

/// The bytes of cookies and replies that a generation may hold.
const GENERATION_LIMIT_BYTES: usize = 64 << 20;

/// The requests that may be in work at the same time.
const IN_FLIGHT_LIMIT: usize = 16_384;

/// The repetitions of one request that may wait for its reply.
const WAITER_LIMIT: usize = 16;

/// Called with the reply's bytes, once.
pub(super) type Deliver = Box<dyn FnOnce(&[u8]) + Send>;

/// The replies of the last minute and the requests in work.
#[derive(Default)]
pub(super) struct ReplyCache {
    current: Generation,
    previous: Generation,
    /// None before the first request.
    rotated_at: Option<Mono>,
    in_flight: HashMap<Box<[u8]>, Vec<Deliver>>,
}

#[derive(Default)]
struct Generation {
    replies: HashMap<Box<[u8]>, Arc<[u8]>>,
    bytes: usize,
}

/// What to do about a request.
pub(super) enum Admission {
    /// Work it off, then call `finish`.
    New,
    /// Send this.
    Answered(Arc<[u8]>, Deliver),
    /// The first one of it is being worked off, and this one waits.
    Waiting,
    /// There is too much to do; say nothing.
    Overload,
}

impl ReplyCache {
    /// Looks a cookie up; `deliver` is kept until the reply is there, or given back.
    pub(super) fn admit(&mut self, now: Mono, cookie: &[u8], deliver: Deliver) -> Admission {
        self.rotate(now);
        let known = self.current.replies.get(cookie).or_else(|| self.previous.replies.get(cookie));
        if let Some(reply) = known {
            return Admission::Answered(reply.clone(), deliver);
        }
        let is_full = self.in_flight.len() >= IN_FLIGHT_LIMIT;
        match self.in_flight.entry(cookie.into()) {
            Entry::Occupied(mut waiters) if waiters.get().len() < WAITER_LIMIT => {
                waiters.get_mut().push(deliver);
                Admission::Waiting
            }
            Entry::Vacant(place) if !is_full => {
                place.insert(vec![deliver]);
                Admission::New
            }
            _ => Admission::Overload,
        }
    }

    /// Keeps a reply; gives those who wait for it.
    pub(super) fn finish(&mut self, now: Mono, cookie: &[u8], reply: Arc<[u8]>) -> Vec<Deliver> {
        self.rotate(now);
        let Some((cookie, waiters)) = self.in_flight.remove_entry(cookie) else { return Vec::new() };
        self.current.bytes += cookie.len() + reply.len();
        self.current.replies.insert(cookie, reply);
        waiters
    }

    fn rotate(&mut self, now: Mono) {
        let age = now.since(*self.rotated_at.get_or_insert(now));
        if age < GENERATION && self.current.bytes < GENERATION_LIMIT_BYTES {
            return;
        }
        self.previous = std::mem::take(&mut self.current);
        if age >= 2 * GENERATION {
            self.previous = Generation::default();
        }
        self.rotated_at = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nobody() -> Deliver {
        Box::new(|_| {})
    }

    fn at(seconds: u64) -> Mono {
        Mono(seconds * 1_000_000_000)
    }

    /// What happens to a cookie, in a word.
    fn admit(cache: &mut ReplyCache, now: Mono, cookie: &[u8]) -> &'static str {
        match cache.admit(now, cookie, nobody()) {
            Admission::New => "new",
            Admission::Answered(..) => "answered",
            Admission::Waiting => "waiting",
            Admission::Overload => "overload",
        }
    }

    #[test]
    fn a_reply_is_kept_for_30_to_60_seconds() {
        let mut cache = ReplyCache::default();
        assert_eq!(admit(&mut cache, at(100), b"a"), "new");
        assert_eq!(admit(&mut cache, at(101), b"a"), "waiting");
        assert_eq!(cache.finish(at(101), b"a", Arc::from(&b"r"[..])).len(), 2);
        assert_eq!(admit(&mut cache, at(129), b"a"), "answered");
        assert_eq!(admit(&mut cache, at(159), b"a"), "answered");
        assert_eq!(admit(&mut cache, at(190), b"a"), "new");
    }

    #[test]
    fn nothing_survives_a_long_pause() {
        let mut cache = ReplyCache::default();
        admit(&mut cache, at(0), b"a");
        cache.finish(at(0), b"a", Arc::from(&b"r"[..]));
        assert_eq!(admit(&mut cache, at(61), b"a"), "new");
    }

    #[test]
    fn a_request_in_work_outlives_rotation() {
        let mut cache = ReplyCache::default();
        admit(&mut cache, at(0), b"a");
        assert_eq!(admit(&mut cache, at(200), b"a"), "waiting");
        assert_eq!(cache.finish(at(400), b"a", Arc::from(&b"r"[..])).len(), 2);
        assert_eq!(cache.finish(at(400), b"a", Arc::from(&b"r"[..])).len(), 0);
        assert_eq!(admit(&mut cache, at(401), b"a"), "answered");
    }

    #[test]
    fn memory_has_an_end() {
        let mut cache = ReplyCache::default();
        let reply: Arc<[u8]> = vec![0; 1 << 20].into();
        for number in 0..200_u32 {
            admit(&mut cache, at(0), &number.to_be_bytes());
            cache.finish(at(0), &number.to_be_bytes(), reply.clone());
        }
        let kept = cache.current.replies.len() + cache.previous.replies.len();
        assert!((64..=129).contains(&kept), "{kept}");
        assert_eq!(admit(&mut cache, at(0), &199_u32.to_be_bytes()), "answered");
    }

    #[test]
    fn work_has_an_end() {
        let mut cache = ReplyCache::default();
        for number in 0..IN_FLIGHT_LIMIT as u32 {
            assert_eq!(admit(&mut cache, at(0), &number.to_be_bytes()), "new");
        }
        assert_eq!(admit(&mut cache, at(0), b"one more"), "overload");
        for _ in 1..WAITER_LIMIT {
            assert_eq!(admit(&mut cache, at(0), &0_u32.to_be_bytes()), "waiting");
        }
        assert_eq!(admit(&mut cache, at(0), &0_u32.to_be_bytes()), "overload");
    }
}
