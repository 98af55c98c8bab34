//! Replies by cookie: a request that comes again gets the same reply and is not worked off again.
//!
//! Two generations rotate every 30 seconds, so a reply is kept for 30 to 60. They rotate earlier when a generation has
//! grown to its limit in bytes: a flood of requests must not take the host's memory.

use crate::base::time::Mono;
use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::BuildHasher;
use std::time::Duration;

/// How long a generation lives.
const GENERATION: Duration = Duration::from_secs(30);

/// The bytes of cookies and replies that a generation may hold.
const GENERATION_LIMIT_BYTES: usize = 64 << 20;

/// The bytes of one piece of a generation's memory; a larger reply gets a piece of its own.
const CHUNK_BYTES: usize = 256 << 10;

/// The requests that may be in work at the same time.
const IN_FLIGHT_LIMIT: usize = 16_384;

/// The repetitions of one request that may wait for its reply.
const WAITER_LIMIT: usize = 16;

/// Called with the reply's bytes, once.
pub type Deliver = Box<dyn FnOnce(&[u8]) + Send>;

/// The replies of the last minute and the requests in work.
#[derive(Default)]
pub(super) struct ReplyCache {
    current: Generation,
    previous: Generation,
    /// None before the first request.
    rotated_at: Option<Mono>,
    in_flight: HashMap<Box<[u8]>, Vec<Deliver>>,
    hasher: RandomState,
}

/// Replies of one time, behind one another in large pieces of memory: many small values would leave holes in the heap
/// when they go, and the host would not get its memory back.
#[derive(Default)]
struct Generation {
    chunks: Vec<Vec<u8>>,
    /// By the hash of the cookie.
    places: HashMap<u64, Place>,
    bytes: usize,
}

/// Where a cookie stands, with its reply right behind.
struct Place {
    chunk: usize,
    start: usize,
    cookie_bytes: usize,
    reply_bytes: usize,
}

impl Generation {
    fn keep(&mut self, hash: u64, cookie: &[u8], reply: &[u8]) {
        let bytes = cookie.len() + reply.len();
        if self.chunks.last().is_none_or(|chunk| chunk.capacity() - chunk.len() < bytes) {
            self.chunks.push(Vec::with_capacity(bytes.max(CHUNK_BYTES)));
        }
        let index = self.chunks.len() - 1;
        let chunk = &mut self.chunks[index];
        let place = Place { chunk: index, start: chunk.len(), cookie_bytes: cookie.len(), reply_bytes: reply.len() };
        chunk.extend_from_slice(cookie);
        chunk.extend_from_slice(reply);
        self.places.insert(hash, place);
        self.bytes += bytes;
    }

    fn find(&self, hash: u64, cookie: &[u8]) -> Option<&[u8]> {
        let place = self.places.get(&hash)?;
        let text = &self.chunks[place.chunk][place.start..][..place.cookie_bytes + place.reply_bytes];
        text.strip_prefix(cookie).filter(|_| place.cookie_bytes == cookie.len())
    }
}

/// What to do about a request.
pub(super) enum Admission {
    /// Work it off, then call `finish`.
    New,
    /// Send this.
    Answered(Box<[u8]>, Deliver),
    /// The first one of it is being worked off, and this one waits.
    Waiting,
    /// There is too much to do; say nothing.
    Overload,
}

impl ReplyCache {
    /// Looks a cookie up; `deliver` is kept until the reply is there, or given back.
    pub(super) fn admit(&mut self, now: Mono, cookie: &[u8], deliver: Deliver) -> Admission {
        self.rotate(now);
        let hash = self.hasher.hash_one(cookie);
        if let Some(reply) = self.current.find(hash, cookie).or_else(|| self.previous.find(hash, cookie)) {
            return Admission::Answered(reply.into(), deliver);
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
    pub(super) fn finish(&mut self, now: Mono, cookie: &[u8], reply: &[u8]) -> Vec<Deliver> {
        self.rotate(now);
        let Some(waiters) = self.in_flight.remove(cookie) else { return Vec::new() };
        self.current.keep(self.hasher.hash_one(cookie), cookie, reply);
        waiters
    }

    /// Forgets a request that gets no reply; it may come again.
    pub(super) fn abandon(&mut self, cookie: &[u8]) {
        self.in_flight.remove(cookie);
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
        assert_eq!(cache.finish(at(101), b"a", b"r").len(), 2);
        assert_eq!(admit(&mut cache, at(129), b"a"), "answered");
        assert_eq!(admit(&mut cache, at(159), b"a"), "answered");
        assert_eq!(admit(&mut cache, at(190), b"a"), "new");
    }

    #[test]
    fn nothing_survives_a_long_pause() {
        let mut cache = ReplyCache::default();
        admit(&mut cache, at(0), b"a");
        cache.finish(at(0), b"a", b"r");
        assert_eq!(admit(&mut cache, at(61), b"a"), "new");
    }

    #[test]
    fn a_request_in_work_outlives_rotation() {
        let mut cache = ReplyCache::default();
        admit(&mut cache, at(0), b"a");
        assert_eq!(admit(&mut cache, at(200), b"a"), "waiting");
        assert_eq!(cache.finish(at(400), b"a", b"r").len(), 2);
        assert_eq!(cache.finish(at(400), b"a", b"r").len(), 0);
        assert_eq!(admit(&mut cache, at(401), b"a"), "answered");
    }

    #[test]
    fn replies_are_found_among_others() {
        let mut cache = ReplyCache::default();
        let reply = |number: usize| vec![number as u8; number * 37 % 1500];
        for number in 0..3000 {
            let cookie = number.to_string();
            admit(&mut cache, at(0), cookie.as_bytes());
            cache.finish(at(0), cookie.as_bytes(), &reply(number));
        }
        assert!(cache.current.chunks.len() > 2);
        for number in 0..3000 {
            match cache.admit(at(1), number.to_string().as_bytes(), nobody()) {
                Admission::Answered(found, _) => assert_eq!(*found, reply(number)),
                _ => panic!("{number} is not known"),
            }
        }
    }

    #[test]
    fn memory_has_an_end() {
        let mut cache = ReplyCache::default();
        let reply = vec![0; 1 << 20];
        for number in 0..200_u32 {
            admit(&mut cache, at(0), &number.to_be_bytes());
            cache.finish(at(0), &number.to_be_bytes(), &reply);
        }
        let kept = cache.current.places.len() + cache.previous.places.len();
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
