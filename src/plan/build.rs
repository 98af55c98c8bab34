//! Builds the plans of a call.

use super::{
    Block, Choice, Component, ForwardingPlan, Ingress, KeyframeRequest, Muting, PayloadType, Place, Rewrite, Security,
    Simulcast, Sink, StreamId, Tables, feedback, layers, rewrite, transport,
};
use crate::call::participant::Echo;
use crate::call::security::Keying;
use crate::call::{Call, Media, MediaId, Subscription, SubscriptionKind};
use smallvec::SmallVec;

pub(super) type Sinks = SmallVec<[Sink; 1]>;

/// The place of `entry` in a table, to which it is added if it is not there.
fn place_of<T: PartialEq>(table: &mut Vec<T>, entry: T) -> Option<Place> {
    let known = table.iter().position(|other| *other == entry);
    let place = known.unwrap_or_else(|| {
        table.push(entry);
        table.len() - 1
    });
    Place::new(place)
}

/// The plan of every stream of `call`. Streams whose ports are closed get one too: what was planned for them before
/// must not outlive its reasons.
pub fn build(call: &Call) -> Vec<(StreamId, ForwardingPlan)> {
    let flows = Flows::of(call);
    let mut plans = Vec::new();
    for (id, media) in call.medias() {
        let Some(rtp) = media.rtp_stream else { continue };
        plans.extend(media.rtcp_stream.map(|rtcp| (rtcp, control_plan(&flows, id, rtp))));
        plans.push((rtp, media_plan(&flows, id, rtp)));
    }
    feedback::add(call, &mut plans);
    plans
}

/// The plan of a stream of RTCP alone; `rtp` is the stream of its media.
fn control_plan(flows: &Flows, id: MediaId, rtp: StreamId) -> ForwardingPlan {
    let media = flows.call.media(id);
    let is_in_use = media.is_rtp() && media.ports().is_some_and(|set| set.rtcp.is_some());
    let ingress = ingress(media, media.signalled.rtcp.filter(|_| is_in_use));
    let control = if is_in_use { flows.sinks(id, &mut Tables::default()).1 } else { Sinks::new() };
    ForwardingPlan { control, sources: Some(rtp), ..protected(Component::Rtcp, ingress, media) }
}

/// The plan of a stream of RTP, or of both, or of datagrams that are no RTP.
fn media_plan(flows: &Flows, id: MediaId, rtp: StreamId) -> ForwardingPlan {
    let (call, media) = (flows.call, flows.call.media(id));
    let component = match (media.is_rtp() && media.ice.passthrough.is_none(), media.rtcp_mux.is_agreed) {
        (false, _) => Component::Opaque,
        (true, true) => Component::Muxed,
        (true, false) => Component::Rtp,
    };
    let ingress = ingress(media, media.signalled.rtp.filter(|_| media.ports().is_some()));
    let mut tables = Tables { simulcasts: layers::of_port(call, id), ..Tables::default() };
    let (media_sinks, control) = flows.sinks(id, &mut tables);
    let bundle = transport::bundle(call, id, |member| flows.sinks(member, &mut tables)).map(Box::new);
    let has_own_reports = media.ports().is_some_and(|set| set.rtcp.is_some()) && !media.rtcp_mux.is_agreed;
    ForwardingPlan {
        media: media_sinks,
        control,
        ice: transport::ice(media).map(Box::new),
        bundle,
        tables: (tables != Tables::default()).then(|| Box::new(tables)),
        keyframes: keyframes(call, id),
        reports: if has_own_reports { media.rtcp_stream } else { Some(rtp) },
        sources: Some(rtp),
        tells_digits: call.tells_digits,
        ..protected(component, ingress, media)
    }
}

/// What both streams of a media have in common: keys, and whether ICE stands before them.
fn protected(component: Component, ingress: Ingress, media: &Media) -> ForwardingPlan {
    let ice = transport::ice(media);
    let is_open = media.ports().is_some();
    ForwardingPlan {
        security: if is_open { transport::security(media) } else { Security::Pending },
        has_ice: ice.is_some(),
        needs_validation: ice.is_some_and(|ice| ice.peer.is_some()),
        ..ForwardingPlan::new(component, ingress)
    }
}

/// How the peer is asked for key frames of any video that it sends from the media's port.
fn keyframes(call: &Call, id: MediaId) -> Option<KeyframeRequest> {
    let owner = call.participant(call.media(id).owner);
    let medias = owner.medias.iter().filter(|other| call.transport_of(**other) == id).map(|other| call.media(*other));
    let codecs = medias.filter(|media| media.kind == "video").flat_map(|media| &media.codecs);
    let feedback: Vec<&str> = codecs.flat_map(|codec| &codec.feedback).map(String::as_str).collect();
    match () {
        () if feedback.contains(&"nack pli") => Some(KeyframeRequest::PictureLoss),
        () if feedback.contains(&"ccm fir") => Some(KeyframeRequest::FullIntra),
        () => None,
    }
}

fn ingress(media: &Media, signalled: Option<std::net::SocketAddr>) -> Ingress {
    let behaviour = media.behaviour;
    let known = media.codecs.iter().chain(&media.shown_codecs).map(|codec| PayloadType {
        number: codec.payload_type,
        clock_rate_hz: codec.clock_rate_hz,
        is_dtmf: codec.is_telephone_event(),
        silence: codec.silence(),
    });
    let mut payload_types: SmallVec<[PayloadType; 8]> = SmallVec::new();
    for payload_type in known {
        if payload_types.iter().all(|other| other.number != payload_type.number) {
            payload_types.push(payload_type);
        }
    }
    Ingress {
        learning: behaviour.learning,
        signalled,
        signalled_at: media.signalled_at,
        filled: media.is_described,
        strict_source: behaviour.strict_source,
        fixed_address: behaviour.fixed_address,
        media_handover: behaviour.media_handover,
        asymmetric: behaviour.asymmetric,
        wait_for_peer: behaviour.wait_for_peer,
        pierce_nat: behaviour.pierce_nat,
        payload_types,
    }
}

/// The subscriptions of a call, to be found by their source.
struct Flows<'a> {
    call: &'a Call,
    by_source: Vec<&'a Subscription>,
    mirrored_by_sink: Vec<&'a Subscription>,
}

impl<'a> Flows<'a> {
    fn of(call: &'a Call) -> Flows<'a> {
        let mut by_source: Vec<&Subscription> = call.subscriptions().iter().collect();
        by_source.sort_by_key(|subscription| subscription.source);
        let mut mirrored_by_sink: Vec<&Subscription> = Vec::new();
        mirrored_by_sink.extend(call.subscriptions().iter().filter(|subscription| subscription.mirrors_rtcp));
        mirrored_by_sink.sort_by_key(|subscription| subscription.sink);
        Flows { call, by_source, mirrored_by_sink }
    }

    fn from(&self, source: MediaId) -> &[&'a Subscription] {
        equal(&self.by_source, source, |subscription| subscription.source)
    }

    /// Where RTP and RTCP of a media go.
    fn sinks(&self, source: MediaId, tables: &mut Tables) -> (Sinks, Sinks) {
        let (mut media, mut control) = (Sinks::new(), Sinks::new());
        let echo = self.call.participant(self.call.media(source).owner).echo;
        if echo == Echo::Returned {
            media.extend(self.echo(source, tables));
            return (media, control);
        }
        let drops_all = (self.call.drops_traffic || echo == Echo::Discarded).then_some(Block::All);
        let mut listeners: SmallVec<[(&Subscription, Option<Block>); 2]> = SmallVec::new();
        for flow in self.from(source).iter().filter(|flow| !flow.is_egress) {
            let block = block(self.call, flow);
            media.extend(self.media_sink(source, flow, block, tables));
            control.extend(self.control_sink(source, flow.sink, drops_all));
            // Who listens to what the sink is sent hears this source too.
            for listener in self.from(flow.sink).iter().filter(|listener| listener.is_egress) {
                let block = strictest(block, block_of_listener(self.call, listener));
                match listeners.iter_mut().find(|(known, _)| known.sink == listener.sink) {
                    // It hears nobody twice, and nobody less for having two reasons to hear.
                    Some((_, known)) => *known = known.and(block),
                    None if listener.sink != source => listeners.push((listener, block)),
                    None => {}
                }
            }
        }
        for (listener, block) in listeners {
            media.extend(self.media_sink(source, listener, block, tables));
            control.extend(self.control_sink(source, listener.sink, drops_all));
        }
        for mirror in equal(&self.mirrored_by_sink, source, |subscription| subscription.sink) {
            control.extend(self.control_sink(source, mirror.source, None));
        }
        (media, control)
    }

    /// The way of media back to where it comes from. Its RTCP stays here: a sender that is told of its own SSRC takes it for
    /// somebody else's.
    fn echo(&self, source: MediaId, tables: &mut Tables) -> Option<Sink> {
        let flow = Subscription::new(source, source, SubscriptionKind::OfferAnswer);
        let sink = self.media_sink(source, &flow, block(self.call, &flow), tables)?;
        let rewrite = sink.rewrite.map(|place| tables.rewrites[place.index()].clone()).unwrap_or_default();
        let rewrite = place_of(&mut tables.rewrites, Rewrite { is_renamed: true, ..rewrite });
        Some(Sink { rewrite, passes: false, ..sink })
    }

    /// The stream that RTP of `source` goes through to the sink of `flow`.
    fn media_sink(
        &self,
        source: MediaId,
        flow: &Subscription,
        block: Option<Block>,
        tables: &mut Tables,
    ) -> Option<Sink> {
        let sink = flow.sink;
        let transport = self.call.media(self.call.transport_of(sink));
        let egress = transport.rtp_stream.filter(|_| transport.ports().is_some())?;
        let (from, to) = (self.call.media(source), self.call.media(sink));
        let mid = transport::mid_element(from, to);
        let simulcast = layers::simulcast(self.call, source);
        let of_layers = simulcast.as_ref().map_or(0, Simulcast::masked_numbers);
        let masked_extensions = from.masked_numbers() | mid.map_or(0, |(_, replaced)| replaced) | of_layers;
        let is_of = |known: &Simulcast| simulcast.as_ref().is_some_and(|own| own.branch == known.branch);
        let simulcast = tables.simulcasts.iter().position(is_of).and_then(|place| u16::try_from(place).ok());
        let choice = simulcast.map(|simulcast| Choice { simulcast, layer: flow.layer });
        let rewrite = rewrite::between(from, to, choice);
        let repair = rewrite::repair_between(from, to, rewrite.as_ref());
        let is_same = masked_extensions == 0 && mid.is_none() && rewrite.is_none();
        let shares_key = self.passes(source, transport);
        let block = if shares_key { without_silence(block) } else { block };
        if shares_key && !is_same && binds_header(transport) {
            // It has asked for the sender's key, under which there can be no other packet than the sender's.
            let block = if choice.is_some() { Some(Block::All) } else { block };
            return Some(Sink { block, passes: true, ..Sink::plain(egress) });
        }
        Some(Sink {
            block,
            passes: is_same && shares_key,
            masked_extensions,
            mid: mid.map(|(element, _)| element),
            repair: repair.and_then(|repair| place_of(&mut tables.repairs, repair)),
            rewrite: rewrite.and_then(|rewrite| place_of(&mut tables.rewrites, rewrite)),
            ..Sink::plain(egress)
        })
    }

    fn passes(&self, source: MediaId, sink: &Media) -> bool {
        transport::passes(self.call.media(self.call.transport_of(source)), sink)
    }

    /// The stream that RTCP for `sink` goes through: that of RTP where both share a port. Who gets one layer of several
    /// knows other numbers than the sender, which can't take its feedback.
    fn control_sink(&self, source: MediaId, sink: MediaId, block: Option<Block>) -> Option<Sink> {
        let media = self.call.media(sink);
        let transport = self.call.media(self.call.transport_of(sink));
        let set = transport.ports().filter(|_| media.is_rtp())?;
        let has_own = set.rtcp.is_some() && !transport.rtcp_mux.is_agreed;
        let stream = if has_own { transport.rtcp_stream } else { transport.rtp_stream };
        let has_feedback = |media: &Media| media.protocol.as_ref().is_some_and(|protocol| protocol.has_feedback());
        let is_renumbered = !media.simulcast.is_empty();
        let strips_feedback = has_feedback(self.call.media(source)) && (is_renumbered || !has_feedback(media));
        let passes = !strips_feedback && self.passes(source, transport);
        stream.map(|egress| Sink { block, passes, strips_feedback, ..Sink::plain(egress) })
    }
}

/// Whether the suite that the receiver shares with the sender allows no second header for a packet.
fn binds_header(sink: &Media) -> bool {
    matches!(&sink.security.keying, Keying::Sdes { send, .. } if send.suite.binds_header())
}

/// The part of a list sorted by `key` whose key is `value`.
fn equal<'l, 'a>(
    list: &'l [&'a Subscription],
    value: MediaId,
    key: impl Fn(&Subscription) -> MediaId,
) -> &'l [&'a Subscription] {
    let start = list.partition_point(|subscription| key(subscription) < value);
    let length = list[start..].partition_point(|subscription| key(subscription) == value);
    &list[start..start + length]
}

/// What keeps media from flowing.
fn block(call: &Call, flow: &Subscription) -> Option<Block> {
    let (source, sink) = (call.media(flow.source), call.media(flow.sink));
    let sender = call.participant(source.owner);
    let is_unwanted = sink.is_rejected || source.is_rejected || !sink.direction.receives() || flow.is_paused;
    if call.drops_traffic || is_unwanted || sender.echo == Echo::Discarded {
        return Some(Block::All);
    }
    let muting = match () {
        () if call.blocks_media || sender.blocks_media || flow.is_blocked => Muting::Dropped,
        () if sender.silences_media || flow.is_silenced => Muting::Silenced,
        () => Muting::Passes,
    };
    Block::of(muting, call.blocks_dtmf || sender.blocks_dtmf)
}

/// What keeps from a listener what flows to the participant that it listens to.
fn block_of_listener(call: &Call, listener: &Subscription) -> Option<Block> {
    let sink = call.media(listener.sink);
    let is_unwanted = sink.is_rejected || !sink.direction.receives() || listener.is_paused;
    match () {
        () if is_unwanted => Some(Block::All),
        () if listener.is_blocked => Some(Block::Media),
        () if listener.is_silenced => Some(Block::Silence),
        () => None,
    }
}

/// What passes neither block does not pass.
fn strictest(first: Option<Block>, second: Option<Block>) -> Option<Block> {
    let muting = |block: Option<Block>| block.map_or(Muting::Passes, Block::muting);
    let drops_events = |block: Option<Block>| block.is_some_and(Block::drops_events);
    Block::of(muting(first).max(muting(second)), drops_events(first) || drops_events(second))
}

/// Packets that leave under the sender's own key can't hold anything else: one key stream would cover two payloads.
fn without_silence(block: Option<Block>) -> Option<Block> {
    let muting = block.map_or(Muting::Passes, Block::muting);
    let muting = if muting == Muting::Silenced { Muting::Dropped } else { muting };
    Block::of(muting, block.is_some_and(Block::drops_events))
}
