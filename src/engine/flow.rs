//! Whose packets come and whose don't: first packets, and media that flows one way only.

use super::Shard;
use super::events::{AffectedMedia, Event, EventSource, Happening};
use super::output::Output;
use crate::base::time::{Mono, Now, Unix};
use crate::call::media::Flow;
use crate::call::{Call, Media, MediaId, SubscriptionKind};
use crate::relay::{Relay, Stream};
use smallvec::SmallVec;
use std::time::Duration;

/// What has become of a media's packets, and what is to be told of that.
struct Change {
    media: MediaId,
    flow: Flow,
    told: SmallVec<[(Unix, Happening); 2]>,
}

/// How a media is looked at.
struct Look<'a> {
    call: &'a Call,
    relay: &'a Relay,
    now: Now,
    /// How long a media may be silent before it counts as missing; zero: for ever.
    patience: Duration,
}

impl Shard {
    /// Tells of every media whose packets have begun, stopped while the other side's come, or come again.
    pub(super) fn watch_flows(&mut self, now: Now) {
        let patience = self.settings.one_way_after;
        for (_, call) in &mut self.calls {
            let look = Look { call, relay: &self.relay, now, patience };
            let changes: SmallVec<[Change; 4]> = call.medias().filter_map(|(id, media)| look.at(id, media)).collect();
            for change in changes {
                let media = call.media(change.media);
                let stream = media.rtp_stream.and_then(|id| self.relay.stream(id));
                let address = stream.and_then(Stream::remote);
                for (at, happening) in change.told {
                    let source = EventSource::new(call, media.owner, address);
                    self.outputs.push(Output::Event(Event::new(call, at.seconds(), Some(source), happening)));
                }
                call.media_mut(change.media).flow = change.flow;
            }
        }
    }
}

impl Look<'_> {
    fn at(&self, id: MediaId, media: &Media) -> Option<Change> {
        let stream = self.relay.stream(media.rtp_stream?)?;
        let (now, affected) = (self.now.unix, || AffectedMedia::from(media));
        let first = stream.first_packet();
        let (flow, told) = match (media.flow, first) {
            (Flow::Awaited | Flow::Missing, Some(first)) => {
                let begun = Happening::FirstPacket { media: affected(), ssrc: stream.first_ssrc() };
                let mut told: SmallVec<_> = [(first.unix, begun)].into_iter().collect();
                if media.flow == Flow::Missing {
                    told.push((first.unix, Happening::BothWays(affected())));
                }
                (Flow::Flowing, told)
            }
            (Flow::Stopped, _) if self.is_heard(media) => {
                (Flow::Flowing, [(now, Happening::BothWays(affected()))].into_iter().collect())
            }
            (Flow::Awaited | Flow::Flowing, _) if self.is_missed(id, media) => {
                let silent_ms = self.silence(media).as_millis() as u64;
                let flow = if first.is_some() { Flow::Stopped } else { Flow::Missing };
                (flow, [(now, Happening::OneWay { media: affected(), silent_ms })].into_iter().collect())
            }
            _ => return None,
        };
        Some(Change { media: id, flow, told })
    }

    /// Whether packets of the media have come lately. Those of RTCP count as well: a party that sends no audio while nobody
    /// speaks still sends reports.
    fn is_heard(&self, media: &Media) -> bool {
        self.last_heard(media).is_some_and(|at| self.now.mono.since(at) < self.patience)
    }

    fn last_heard(&self, media: &Media) -> Option<Mono> {
        let streams = media.rtp_stream.into_iter().chain(media.rtcp_stream).filter_map(|id| self.relay.stream(id));
        streams.filter(|stream| stream.first_packet().is_some()).map(|stream| stream.last_packet().mono).max()
    }

    /// How long nothing has come, since signalling said last what to expect.
    fn silence(&self, media: &Media) -> Duration {
        self.now.mono.since(self.last_heard(media).unwrap_or_default().max(self.call.last_signal.mono))
    }

    /// Whether a media that should be heard is not, while one of those that it belongs to is.
    fn is_missed(&self, id: MediaId, media: &Media) -> bool {
        let is_due = !self.patience.is_zero() && self.call.is_answered && media.talks();
        let peers = || {
            let exchanges = self.call.subscriptions().iter().filter(|pair| pair.sink == id);
            exchanges.filter(|pair| pair.kind == SubscriptionKind::OfferAnswer).map(|pair| self.call.media(pair.source))
        };
        is_due && self.silence(media) >= self.patience && peers().any(|peer| self.is_heard(peer))
    }
}
