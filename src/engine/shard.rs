//! The machine itself.

use super::commands::fragment::Waiting;
use super::media_ports::EnginePorts;
use super::offload::Offload;
use super::output::Output;
use super::settings::Settings;
use crate::base::id::PortToken;
use crate::base::time::{Mono, Now};
use crate::call::lifecycle::Termination;
use crate::call::{Call, Media, MediaPorts, PortNumbers, PortSet, PortSource};
use crate::observe::totals::Totals;
use crate::plan;
use crate::relay::handshake::{HandshakeCommand, HandshakeEvent};
use crate::relay::reports::Seen;
use crate::relay::{Ports, Relay, Transmit, Verdict};
use crate::rtp::mos;
use slab::Slab;
use std::collections::HashMap;
use std::net::SocketAddr;

/// The calls of one thread with everything they need.
#[derive(Debug)]
pub struct Shard {
    pub(super) settings: Settings,
    pub(super) relay: Relay,
    pub(super) calls: Slab<Call>,
    pub(super) by_id: HashMap<String, usize>,
    pub(super) totals: Totals,
    pub(super) outputs: Vec<Output>,
    pub(super) next_sweep: Option<Mono>,
    /// The call that the command under way is about.
    pub(super) current: Option<String>,
    /// ICE fragments whose participants are not known yet.
    pub(super) waiting: Vec<Waiting>,
    /// Calls whose handling failed; they are ended as soon as ports are lent.
    condemned: Vec<String>,
    pub(super) offload: Offload,
}

impl Shard {
    /// A shard without calls; `seed` is random.
    pub fn new(settings: Settings, mos: mos::Kind, seed: [u8; 32]) -> Shard {
        Shard {
            settings,
            relay: Relay::new(mos, seed),
            calls: Slab::new(),
            by_id: HashMap::new(),
            totals: Totals::default(),
            outputs: Vec::new(),
            next_sweep: None,
            current: None,
            waiting: Vec::new(),
            condemned: Vec::new(),
            offload: Offload::default(),
        }
    }

    /// The settings, to change them.
    pub fn settings_mut(&mut self) -> &mut Settings {
        &mut self.settings
    }

    /// Whether something has happened that nobody was told of.
    #[inline]
    pub fn has_outputs(&self) -> bool {
        !self.outputs.is_empty()
    }

    /// What has happened since this was last asked.
    pub fn take_outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    /// One datagram from the network.
    #[inline]
    pub fn datagram(
        &mut self,
        now: Now,
        port: PortToken,
        from: SocketAddr,
        datagram: &mut [u8],
        transmit: &mut (impl Transmit + ?Sized),
    ) -> Verdict {
        self.relay.datagram(now, port, from, datagram, transmit)
    }

    /// What is to be done for DTLS handshakes since this was last asked.
    #[inline]
    pub fn take_handshake_commands(&mut self) -> Vec<HandshakeCommand> {
        self.relay.take_handshake_commands()
    }

    /// Something came of a handshake.
    pub fn handshake_event(&mut self, now: Now, event: HandshakeEvent, transmit: &mut (impl Transmit + ?Sized)) {
        self.relay.handshake_event(now, event, transmit);
        for (stream, reason) in self.relay.take_handshake_failures() {
            let owner = self.relay.stream(stream).map(|stream| stream.owner_call() as usize);
            let call_id = owner.and_then(|index| self.calls.get(index)).map(|call| call.id.clone());
            let text = format!("DTLS: {reason}");
            self.outputs.push(Output::Warning { call_id: call_id.unwrap_or_default(), text });
        }
    }

    /// Whether something has become due earlier than `timer` said last.
    #[inline]
    pub fn take_earlier(&mut self) -> bool {
        self.relay.take_earlier()
    }

    /// Keeps RTCP from now on, for [`Shard::take_reports`].
    pub fn keep_reports(&mut self) {
        self.relay.keep_reports();
    }

    /// RTCP that has come since this was last asked, with the ids of calls, and how many compounds there was no room for.
    #[inline]
    pub fn take_reports(&mut self) -> Option<(Vec<(String, Seen)>, u64)> {
        let (seen, missed) = self.relay.take_reports()?;
        let calls = &self.calls;
        let named = |seen: Seen| Some((calls.get(seen.owner_call as usize)?.id.clone(), seen));
        Some((seen.into_iter().filter_map(named).collect(), missed))
    }

    /// The network did not take a datagram that was sent from `port`.
    pub fn send_failed(&mut self, port: PortToken) {
        self.relay.send_failed(port);
    }

    /// The calls, in no order.
    pub fn calls(&self) -> impl Iterator<Item = &Call> {
        self.calls.iter().map(|(_, call)| call)
    }

    /// The call with this id.
    pub fn call(&self, id: &str) -> Option<&Call> {
        self.by_id.get(id).map(|index| &self.calls[*index])
    }

    /// The streams and their counters.
    pub fn relay(&self) -> &Relay {
        &self.relay
    }

    /// What was counted over calls that have ended.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Ends every call.
    pub fn end_all(
        &mut self,
        now: Now,
        termination: Termination,
        ports: &mut dyn Ports,
        numbers: &mut dyn PortNumbers,
    ) {
        let indices: Vec<usize> = self.calls.iter().map(|(index, _)| index).collect();
        indices.into_iter().for_each(|index| self.end_call(now, index, termination, ports, numbers));
    }

    /// Ends the call with this id; false when there is none.
    pub fn terminate(&mut self, now: Now, id: &str, ports: &mut dyn Ports, numbers: &mut dyn PortNumbers) -> bool {
        let Some(index) = self.by_id.get(id).copied() else { return false };
        self.end_call(now, index, Termination::Forced, ports, numbers);
        true
    }

    /// A datagram to `port` could not be handled: its call is broken and will be ended.
    pub fn condemn(&mut self, port: PortToken) {
        let stream = self.relay.stream_at(port).and_then(|id| self.relay.stream(id));
        let call = stream.and_then(|stream| self.calls.get(stream.owner_call() as usize));
        self.condemned.extend(call.map(|call| call.id.clone()));
    }

    /// The command under way could not be handled: its call is broken and will be ended.
    pub fn condemn_current(&mut self) {
        self.condemned.extend(self.current.take());
    }

    /// Ends the calls that were condemned.
    pub fn end_condemned(&mut self, now: Now, ports: &mut dyn Ports, numbers: &mut dyn PortNumbers) {
        for id in std::mem::take(&mut self.condemned) {
            if self.terminate(now, &id, ports, numbers) {
                self.outputs.push(Output::Fault { call_id: id, text: "a fault in its handling".to_owned() });
            }
        }
    }

    /// Hands the plans of a call to the packet path.
    pub(super) fn replan(&mut self, now: Now, index: usize) {
        for (stream, plan) in plan::build::build(&self.calls[index]) {
            self.relay.set_plan(now, stream, plan);
        }
    }

    /// Ends a call: counts it, closes its ports and forgets it.
    pub(super) fn end_call(
        &mut self,
        now: Now,
        index: usize,
        termination: Termination,
        ports: &mut dyn Ports,
        numbers: &mut dyn PortNumbers,
    ) {
        self.withdraw_call(now, index);
        let mut call = self.calls.remove(index);
        self.tell_timeout(now, &call, termination);
        for id in call.ids() {
            self.by_id.remove(id);
        }
        let summary = self.totals.summarize(&call, &self.relay);
        let duration = now.mono.since(call.created.mono);
        self.totals.count_call(termination, duration, &summary);
        self.close_medias(now, index, call.take_medias(), ports, numbers);
        self.outputs.extend(call.captures.iter().copied().map(Output::CaptureOver));
        self.outputs.push(Output::Ended {
            call_id: call.id,
            aliases: call.aliases,
            termination,
            duration_ms: duration.as_millis() as u64,
            packets: summary.packets,
        });
    }

    /// Leaves claimed ports to the media that shares them, if it stays.
    fn leave_shared(&mut self, index: usize, leaving: &mut PortSet) {
        let Some(call) = self.calls.get_mut(index) else { return };
        let token = leaving.rtp.token;
        let is_it = |set: &PortSet| set.source == PortSource::Shared && set.rtp.token == token;
        let heir = call.medias().find(|(_, media)| media.port_sets.iter().any(is_it)).map(|(id, _)| id);
        let set = heir.and_then(|id| call.media_mut(id).port_sets.iter_mut().find(|set| is_it(set)));
        if let Some(set) = set {
            std::mem::swap(&mut set.source, &mut leaving.source);
        }
    }

    /// Closes the ports and ends the streams of medias that were taken out of a call.
    pub(super) fn close_medias(
        &mut self,
        now: Now,
        index: usize,
        mut medias: Vec<Media>,
        ports: &mut dyn Ports,
        numbers: &mut dyn PortNumbers,
    ) {
        let sets = medias.iter_mut().flat_map(|media| &mut media.port_sets);
        sets.filter(|set| set.source == PortSource::Claimed).for_each(|set| self.leave_shared(index, set));
        let streams = |media: &Media| media.rtp_stream.into_iter().chain(media.rtcp_stream);
        medias.iter().flat_map(streams).for_each(|id| self.withdraw(now, id));
        let mut lent = EnginePorts {
            relay: &mut self.relay,
            ports,
            numbers,
            interfaces: &self.settings.interfaces,
            now,
            owner_call: index as u32,
            tos: None,
        };
        for media in medias {
            media.port_sets.iter().for_each(|set| lent.close(set));
            for stream in media.rtp_stream.into_iter().chain(media.rtcp_stream) {
                lent.relay.remove(stream);
            }
        }
    }
}
