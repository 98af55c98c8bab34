//! NAT piercing: empty packets, which no statistics count, open a way for the peer's packets.

use super::{Relay, Transmit};
use crate::base::time::{Mono, Now};
use crate::plan::StreamId;
use std::time::Duration;

/// The time between two piercing packets.
const INTERVAL: Duration = Duration::from_millis(50);
/// The number of piercing packets after one signalling event.
const PACKETS: u32 = 20;

/// A stream to whose peer piercing packets are sent.
#[derive(Debug)]
struct Pierced {
    stream: StreamId,
    due: Mono,
    left: u32,
}

/// The streams to whose peers piercing packets are sent.
#[derive(Debug, Default)]
pub(super) struct Piercer(Vec<Pierced>);

impl Piercer {
    /// Begins with a packet at once; a stream that is being pierced begins anew.
    pub(super) fn start(&mut self, now: Mono, stream: StreamId) {
        self.stop(stream);
        self.0.push(Pierced { stream, due: now, left: PACKETS });
    }

    pub(super) fn stop(&mut self, stream: StreamId) {
        self.0.retain(|pierced| pierced.stream != stream);
    }

    fn next_due(&self) -> Option<Mono> {
        self.0.iter().map(|pierced| pierced.due).min()
    }
}

impl Relay {
    /// Sends the piercing packets that are due; says when the next one is.
    pub(super) fn pierce(&mut self, now: Now, transmit: &mut (impl Transmit + ?Sized)) -> Option<Mono> {
        let streams = &mut self.streams;
        self.piercer.0.retain_mut(|pierced| {
            if pierced.due > now.mono {
                return true;
            }
            let stream = streams.get_mut(pierced.stream.0 as usize).filter(|stream| stream.wants_piercing());
            let Some(stream) = stream else { return false };
            let Some(signalled) = stream.signalled().filter(|signalled| *signalled != stream.local()) else {
                return false;
            };
            transmit.send(stream.port(), signalled, &[]);
            pierced.due = now.mono + INTERVAL;
            pierced.left -= 1;
            pierced.left > 0
        });
        self.piercer.next_due()
    }
}
