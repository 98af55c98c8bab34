//! The streams of a simulcast as they are heard from their sender (RFC 8853): which there are, and which of them flow.

use super::extension;
use super::ingress::Route;
use super::stream::Stream;
use crate::base::time::Mono;
use crate::plan::{Choice, ForwardingPlan, Layer};
use crate::wire::rtcp::SenderInfo;
use crate::wire::rtp::Header;
use smallvec::SmallVec;
use std::time::Duration;

/// Layers of one port that are known at once.
const MOST_LAYERS: usize = 16;
/// A layer has ended when nothing came of it for so long, while so many packets of others came.
const SILENCE: Duration = Duration::from_millis(700);
const SILENCE_PACKETS: u32 = 15;
/// A layer that has come for a shorter time has no rank yet.
const SETTLING: Duration = Duration::from_millis(300);
/// The span whose bits rank a layer.
const WINDOW: Duration = Duration::from_secs(1);

/// The layers of one port.
#[derive(Debug, Default)]
pub(super) struct Layers(SmallVec<[Heard; 3]>);

/// One layer.
#[derive(Debug, Clone, Copy)]
struct Heard {
    simulcast: u16,
    /// Its place in the description.
    place: u8,
    ssrc: u32,
    began: Mono,
    at: Mono,
    /// Packets of other layers since.
    others_since: u32,
    window: Mono,
    bytes: u32,
    /// The most bytes in one window.
    most_bytes: u32,
    report: Option<Moment>,
}

/// One moment in the sender's clock and in that of a stream, as a sender report tells (RFC 3550, section 6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    ntp: u64,
    timestamp: u32,
}

impl Moment {
    /// The timestamp that another stream has at the moment when this one has `timestamp`.
    pub(super) fn translated(&self, timestamp: u32, other: &Moment, clock_rate_hz: u32) -> u32 {
        let apart = self.ntp.wrapping_sub(other.ntp) as i64;
        let ticks = (i128::from(apart) * i128::from(clock_rate_hz)) >> 32;
        other.timestamp.wrapping_add(ticks as u32).wrapping_add(timestamp.wrapping_sub(self.timestamp))
    }
}

impl Layers {
    /// Notes a packet that came for `route`; what is no layer's is passed over.
    fn note(&mut self, now: Mono, plan: &ForwardingPlan, route: Route, header: &Header, packet: &[u8]) {
        let known = self.0.iter().position(|layer| layer.ssrc == header.ssrc);
        let Some(place) = known.or_else(|| self.add(now, plan, route, header, packet)) else { return };
        let simulcast = self.0[place].simulcast;
        let others = self.0.iter_mut().filter(|layer| layer.simulcast == simulcast);
        others.for_each(|layer| layer.others_since = layer.others_since.saturating_add(1));
        let layer = &mut self.0[place];
        (layer.at, layer.others_since) = (now, 0);
        if now.since(layer.window) >= WINDOW {
            (layer.window, layer.bytes) = (now, 0);
        }
        layer.bytes = layer.bytes.saturating_add(packet.len() as u32);
        layer.most_bytes = layer.most_bytes.max(layer.bytes);
    }

    #[cold]
    fn add(&mut self, now: Mono, plan: &ForwardingPlan, route: Route, header: &Header, packet: &[u8]) -> Option<usize> {
        let branch = if let Route::Branch(branch) = route { branch } else { 0 };
        let (simulcast, plan) = plan.tables().simulcasts.iter().enumerate().find(|(_, plan)| plan.branch == branch)?;
        let name = extension::find(packet, plan.rid_extension)?;
        let place = plan.rids.iter().position(|rid| rid.bytes() == name)? as u8;
        let simulcast = simulcast as u16;
        let layer = Heard {
            simulcast,
            place,
            ssrc: header.ssrc,
            began: now,
            at: now,
            others_since: 0,
            window: now,
            bytes: 0,
            most_bytes: 0,
            report: None,
        };
        // A sender that begins anew has other SSRCs.
        match self.0.iter().position(|layer| (layer.simulcast, layer.place) == (simulcast, place)) {
            Some(former) => self.0[former] = layer,
            None if self.0.len() < MOST_LAYERS => self.0.push(layer),
            None => return None,
        }
        self.0.iter().position(|layer| layer.ssrc == header.ssrc)
    }

    /// The simulcast that a source is a layer of.
    pub(super) fn simulcast_of(&self, ssrc: u32) -> Option<u16> {
        self.0.iter().find(|layer| layer.ssrc == ssrc).map(|layer| layer.simulcast)
    }

    /// The source of the layer at `place`.
    pub(super) fn source_of(&self, simulcast: u16, place: usize) -> Option<u32> {
        let layer = self.0.iter().find(|layer| (layer.simulcast, usize::from(layer.place)) == (simulcast, place));
        layer.map(|layer| layer.ssrc)
    }

    pub(super) fn note_report(&mut self, ssrc: u32, info: &SenderInfo) {
        if let Some(layer) = self.0.iter_mut().find(|layer| layer.ssrc == ssrc) {
            layer.report = Some(Moment { ntp: info.ntp, timestamp: info.rtp_timestamp });
        }
    }

    pub(super) fn report(&self, ssrc: u32) -> Option<Moment> {
        self.0.iter().find(|layer| layer.ssrc == ssrc)?.report
    }

    /// The source of the layer that a receiver is to get now. A layer that does not flow is replaced by the next lower
    /// one that does, else by the lowest.
    pub(super) fn choose(&self, now: Mono, choice: Choice, plan: &ForwardingPlan) -> Option<u32> {
        let all = || self.0.iter().filter(|layer| layer.simulcast == choice.simulcast);
        let flowing = || all().filter(|layer| layer.is_flowing(now));
        let ranked = || flowing().filter(|layer| now.since(layer.began) >= SETTLING);
        let chosen = match choice.layer {
            Layer::Highest => ranked().max_by_key(|layer| layer.rank()),
            Layer::Lowest => ranked().min_by_key(|layer| layer.rank()),
            Layer::Named(rid) => {
                let rids = &plan.tables().simulcasts.get(usize::from(choice.simulcast))?.rids;
                let place = rids.iter().position(|own| *own == rid);
                let named = all().find(|layer| Some(usize::from(layer.place)) == place);
                let most = named.map(|layer| layer.rank());
                let lower = ranked().filter(|layer| most.is_none_or(|most| layer.rank() <= most));
                let stand_in = lower.max_by_key(|layer| layer.rank());
                let lowest = ranked().min_by_key(|layer| layer.rank());
                named.filter(|layer| layer.is_flowing(now)).or(stand_in).or(lowest)
            }
        };
        // The first that comes is as good as any, for a moment.
        chosen.or_else(|| flowing().min_by_key(|layer| layer.began)).map(|layer| layer.ssrc)
    }
}

impl Heard {
    fn is_flowing(&self, now: Mono) -> bool {
        now.since(self.at) < SILENCE || self.others_since < SILENCE_PACKETS
    }

    /// The more bits the higher; of equals the one that is described first.
    fn rank(&self) -> (u32, std::cmp::Reverse<u8>) {
        (self.most_bytes, std::cmp::Reverse(self.place))
    }
}

impl Stream {
    /// Notes an RTP packet where it may be of a layer.
    #[inline]
    pub(super) fn note_layer(&mut self, now: Mono, route: Route, header: &Header, packet: &[u8]) {
        if let Some(mut layers) = self.layers.take() {
            layers.note(now, self.plan(), route, header, packet);
            self.layers = Some(layers);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Rid, Simulcast, Tables};
    use crate::relay::stream::no_plan;

    fn plan() -> ForwardingPlan {
        let rids = ["l", "m", "h"].map(|name| Rid::new(name).unwrap()).into_iter().collect();
        let simulcast = Simulcast {
            branch: 0,
            rids,
            rid_extension: 4,
            repaired_extension: None,
            formats: SmallVec::new(),
            clock_rate_hz: 90_000,
        };
        let tables = Tables { simulcasts: vec![simulcast], ..Tables::default() };
        ForwardingPlan { tables: Some(Box::new(tables)), ..no_plan() }
    }

    /// A packet of so many bytes of the layer at `place`, whose SSRC is ten more.
    fn packet(place: usize, bytes: usize) -> Vec<u8> {
        let header = Header { marker: false, payload_type: 96, sequence: 1, timestamp: 1, ssrc: place as u32 + 10 };
        let mut packet = header.write(&[]);
        packet[0] |= 0x10;
        packet.extend_from_slice(&[0xbe, 0xde, 0, 1, 0x40, b"lmh"[place], 0, 0]);
        packet.resize(bytes, 0);
        packet
    }

    struct Sender(Layers, ForwardingPlan);

    impl Sender {
        fn send(&mut self, milliseconds: std::ops::Range<u64>, places: &[usize]) {
            for now in milliseconds.step_by(20) {
                for place in places {
                    let packet = packet(*place, 100 << (2 * place));
                    self.0.note(at(now), &self.1, Route::Own, &Header::read(&packet).unwrap(), &packet);
                }
            }
        }

        fn choose(&self, now: u64, layer: &str) -> Option<u32> {
            self.0.choose(at(now), Choice { simulcast: 0, layer: Layer::parse(layer).unwrap() }, &self.1)
        }
    }

    fn at(milliseconds: u64) -> Mono {
        Mono(1_000_000_000 + milliseconds * 1_000_000)
    }

    #[test]
    fn layers_are_chosen_by_rank_and_name() {
        let mut sender = Sender(Layers::default(), plan());
        assert_eq!(sender.choose(0, "highest"), None);
        sender.send(0..2000, &[0, 1, 2]);
        for (layer, ssrc) in [("highest", 12), ("lowest", 10), ("m", 11), ("h", 12), ("l", 10), ("unknown", 12)] {
            assert_eq!(sender.choose(2000, layer), Some(ssrc), "{layer}");
        }
        assert_eq!((sender.0.simulcast_of(11), sender.0.simulcast_of(13)), (Some(0), None));
        assert_eq!(sender.0.source_of(0, 2), Some(12));
    }

    #[test]
    fn who_is_silent_is_replaced_until_it_comes_back() {
        let mut sender = Sender(Layers::default(), plan());
        sender.send(0..2000, &[0, 1, 2]);
        sender.send(2000..2600, &[0, 1]);
        assert_eq!(sender.choose(2600, "highest"), Some(12), "not yet");
        sender.send(2600..3000, &[0, 1]);
        for (layer, ssrc) in [("highest", 11), ("h", 11), ("l", 10)] {
            assert_eq!(sender.choose(3000, layer), Some(ssrc), "{layer}");
        }
        sender.send(3000..4000, &[2]);
        assert_eq!(sender.choose(4000, "h"), Some(12));
        assert_eq!(sender.choose(4000, "l"), Some(12), "nothing lower flows");
        assert_eq!(sender.choose(9000, "h"), Some(12), "a silence of all ends no layer");
    }

    #[test]
    fn a_sender_begins_anew() {
        let mut sender = Sender(Layers::default(), plan());
        sender.send(0..100, &[0, 1]);
        let mut other = packet(1, 100);
        other[11] = 77;
        sender.0.note(at(100), &sender.1, Route::Own, &Header::read(&other).unwrap(), &other);
        assert_eq!((sender.choose(100, "m"), sender.0.0.len()), (Some(77), 2));
        let mut nameless = packet(2, 100);
        nameless[17] = b'x';
        sender.0.note(at(100), &sender.1, Route::Own, &Header::read(&nameless).unwrap(), &nameless);
        assert_eq!(sender.0.0.len(), 2);
    }

    #[test]
    fn moments_are_translated() {
        let second = 1u64 << 32;
        let (own, other) =
            (Moment { ntp: 10 * second, timestamp: 1000 }, Moment { ntp: 8 * second, timestamp: u32::MAX });
        assert_eq!(own.translated(1000 + 45_000, &other, 90_000), 224_999);
        assert_eq!(other.translated(44_999, &own, 90_000), 1000u32.wrapping_sub(135_000));
    }
}
