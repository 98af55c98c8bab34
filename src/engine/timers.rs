//! What is due by time: calls that have outlived theirs, and the relay's own timers.

use super::shard::Shard;
use crate::base::time::{Mono, Now};
use crate::call::lifecycle::{self, Termination};
use crate::call::{Call, PortNumbers};
use crate::relay::{Ports, Relay, Transmit};
use std::time::Duration;

/// How often calls are looked at.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

impl Shard {
    /// Does what is due and says when to be called next.
    pub fn timer(
        &mut self,
        now: Now,
        ports: &mut dyn Ports,
        numbers: &mut dyn PortNumbers,
        transmit: &mut (impl Transmit + ?Sized),
    ) -> Mono {
        self.end_condemned(now, ports, numbers);
        let sweep_at = *self.next_sweep.get_or_insert(now.mono + SWEEP_INTERVAL);
        if sweep_at <= now.mono {
            self.sweep(now, ports, numbers);
            self.next_sweep = Some(now.mono + SWEEP_INTERVAL);
        }
        let sweep_at = self.next_sweep.unwrap_or(now.mono + SWEEP_INTERVAL);
        self.relay.timer(now, transmit).map_or(sweep_at, |relay_at| relay_at.min(sweep_at))
    }

    fn sweep(&mut self, now: Now, ports: &mut dyn Ports, numbers: &mut dyn PortNumbers) {
        self.count_all_ways(now);
        self.watch_flows(now);
        self.totals.sample_rates(now, &self.relay);
        let timeouts = self.settings.timeouts;
        let expired: Vec<(usize, Option<Termination>)> = self
            .calls
            .iter()
            .filter_map(|(index, call)| {
                let termination = lifecycle::expired(call, last_packet(call, &self.relay), now, &timeouts);
                let is_due = termination.is_some() || !lifecycle::due_participants(call, now).is_empty();
                is_due.then_some((index, termination))
            })
            .collect();
        for (index, termination) in expired {
            self.current = Some(self.calls[index].id.clone());
            match termination {
                Some(termination) => self.end_call(now, index, termination, ports, numbers),
                None => self.remove_due(now, index, ports, numbers),
            }
        }
        self.current = None;
    }
}

/// When the last packet of any stream of the call arrived.
fn last_packet(call: &Call, relay: &Relay) -> Option<Mono> {
    let streams = call.medias().flat_map(|(_, media)| media.rtp_stream.into_iter().chain(media.rtcp_stream));
    streams.filter_map(|id| relay.stream(id)).map(|stream| stream.last_packet().mono).max()
}
