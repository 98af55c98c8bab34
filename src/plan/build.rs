//! Builds the plans of a call.

use super::{Block, Component, ForwardingPlan, Ingress, PayloadType, Sink, StreamId};
use crate::call::{Call, Media, MediaId, Subscription};
use smallvec::SmallVec;

/// The plan of every stream of `call`.
pub fn build(call: &Call) -> Vec<(StreamId, ForwardingPlan)> {
    let mut plans = Vec::new();
    for (id, media) in call.medias() {
        let Some(rtp) = media.rtp_stream.filter(|_| media.ports().is_some()) else { continue };
        let (media_sinks, control_sinks) = sinks(call, id);
        let is_muxed = media.rtcp_mux.is_agreed;
        let component = match (media.is_rtp(), is_muxed) {
            (false, _) => Component::Opaque,
            (true, true) => Component::Muxed,
            (true, false) => Component::Rtp,
        };
        if let Some(rtcp) = media.rtcp_stream.filter(|_| media.is_rtp() && !is_muxed) {
            let ingress = ingress(media, media.signalled.rtcp);
            let plan = plan(call, Component::Rtcp, ingress, SmallVec::new(), control_sinks.clone());
            plans.push((rtcp, ForwardingPlan { sources: Some(rtp), ..plan }));
        }
        let ingress = ingress(media, media.signalled.rtp);
        let plan = plan(call, component, ingress, media_sinks, control_sinks);
        plans.push((rtp, ForwardingPlan { sources: Some(rtp), ..plan }));
    }
    plans
}

fn plan(
    call: &Call,
    component: Component,
    ingress: Ingress,
    media: SmallVec<[Sink; 1]>,
    control: SmallVec<[Sink; 1]>,
) -> ForwardingPlan {
    ForwardingPlan { generation: 0, component, ingress, media, control, sources: None, tos: call.tos }
}

fn ingress(media: &Media, signalled: Option<std::net::SocketAddr>) -> Ingress {
    let behaviour = media.behaviour;
    let known = media.codecs.iter().chain(&media.shown_codecs).map(|codec| PayloadType {
        number: codec.payload_type,
        clock_rate_hz: codec.clock_rate_hz,
        is_dtmf: codec.is_telephone_event(),
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
        media_handover: behaviour.media_handover,
        asymmetric: behaviour.asymmetric,
        wait_for_peer: behaviour.wait_for_peer,
        pierce_nat: behaviour.pierce_nat,
        payload_types,
    }
}

/// Where RTP and RTCP of a media go.
fn sinks(call: &Call, source: MediaId) -> (SmallVec<[Sink; 1]>, SmallVec<[Sink; 1]>) {
    let (mut media, mut control) = (SmallVec::new(), SmallVec::new());
    for subscription in call.subscriptions().iter().filter(|subscription| subscription.source == source) {
        if !subscription.is_egress {
            add(call, subscription, subscription, &mut media, &mut control);
            // Who listens to what the sink is sent hears this source too.
            for listener in call.subscriptions() {
                if listener.is_egress && listener.source == subscription.sink {
                    add(call, subscription, listener, &mut media, &mut control);
                }
            }
        }
    }
    for mirror in call.subscriptions().iter().filter(|other| other.sink == source && other.mirrors_rtcp) {
        control.extend(control_sink(call.media(mirror.source), None));
    }
    (media, control)
}

/// Adds the sink of `target` for what flows by `flow`.
fn add(
    call: &Call,
    flow: &Subscription,
    target: &Subscription,
    media: &mut SmallVec<[Sink; 1]>,
    control: &mut SmallVec<[Sink; 1]>,
) {
    let sink = call.media(target.sink);
    if let Some(egress) = sink.rtp_stream.filter(|_| sink.ports().is_some()) {
        media.push(Sink { egress, block: block(call, flow, sink) });
    }
    control.extend(control_sink(sink, call.drops_traffic.then_some(Block::All)));
}

fn control_sink(sink: &Media, block: Option<Block>) -> Option<Sink> {
    let stream = if sink.rtcp_mux.is_agreed { sink.rtp_stream } else { sink.rtcp_stream };
    stream.filter(|_| sink.ports().is_some() && sink.is_rtp()).map(|egress| Sink { egress, block })
}

fn block(call: &Call, flow: &Subscription, sink: &Media) -> Option<Block> {
    let source = call.media(flow.source);
    let sender = call.participant(source.owner);
    let is_unwanted = sink.is_rejected || source.is_rejected || !sink.direction.receives();
    if call.drops_traffic || is_unwanted {
        return Some(Block::All);
    }
    let is_muted = call.blocks_media || sender.blocks_media || sender.silences_media || flow.is_blocked;
    match (is_muted, call.blocks_dtmf || sender.blocks_dtmf) {
        (true, true) => Some(Block::All),
        (true, false) => Some(Block::Media),
        (false, true) => Some(Block::Dtmf),
        (false, false) => None,
    }
}
