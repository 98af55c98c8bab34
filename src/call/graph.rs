//! The call itself: its participants, medias and subscriptions, and how they are found.

mod merge;

use super::media::{Media, MediaId};
use super::participant::{Participant, ParticipantId, Role};
use super::{Subscription, SubscriptionKind};
use crate::base::id::CaptureId;
use crate::base::time::{Mono, Now};
use slab::Slab;
use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Room for more is made when they come.
const USUAL_PARTICIPANTS: usize = 2;

/// A communication session (RFC 7656).
#[derive(Debug, Clone)]
pub struct Call {
    pub id: String,
    /// Further call-ids that name this call: those of calls that have become part of it.
    pub aliases: Vec<String>,
    pub created: Now,
    pub last_signal: Now,
    /// Who asked for the call: the control connection's remote address.
    pub created_from: String,
    participants: Slab<Participant>,
    medias: Slab<Media>,
    subscriptions: Vec<Subscription>,
    next_media_serial: u32,
    /// The type-of-service octet of everything sent in this call.
    pub tos: Option<u8>,
    /// An answer has arrived.
    pub is_answered: bool,
    /// How long it lives without packets; none: as configured.
    pub idle_timeout: Option<Duration>,
    /// When the call ends, after a delayed delete.
    pub delete_at: Option<Mono>,
    /// `drop-traffic`
    pub drops_traffic: bool,
    /// `block media` for everybody.
    pub blocks_media: bool,
    /// `block DTMF` for everybody.
    pub blocks_dtmf: bool,
    /// Somebody is told which digits its parties press.
    pub tells_digits: bool,
    /// Who is, besides those who are for all calls.
    pub digit_destination: Option<SocketAddr>,
    /// The SIP proxy, where a request named another address than its own.
    pub callback_address: Option<IpAddr>,
    pub metadata: Option<String>,
    /// Those who look at its packets.
    pub captures: Vec<CaptureId>,
}

impl Call {
    /// An empty call.
    pub fn new(id: &str, now: Now, created_from: &str) -> Call {
        Call {
            id: id.to_owned(),
            aliases: Vec::new(),
            created: now,
            last_signal: now,
            created_from: created_from.to_owned(),
            participants: Slab::with_capacity(USUAL_PARTICIPANTS),
            medias: Slab::with_capacity(USUAL_PARTICIPANTS),
            subscriptions: Vec::new(),
            next_media_serial: 0,
            tos: None,
            is_answered: false,
            idle_timeout: None,
            delete_at: None,
            drops_traffic: false,
            blocks_media: false,
            blocks_dtmf: false,
            tells_digits: false,
            digit_destination: None,
            callback_address: None,
            metadata: None,
            captures: Vec::new(),
        }
    }

    /// The participants in the order of their coming, where nobody left in between.
    pub fn participants(&self) -> impl Iterator<Item = (ParticipantId, &Participant)> {
        self.participants.iter().map(|(index, participant)| (ParticipantId(index), participant))
    }

    /// The medias, in no order.
    pub fn medias(&self) -> impl Iterator<Item = (MediaId, &Media)> {
        self.medias.iter().map(|(index, media)| (MediaId(index), media))
    }

    /// Every subscription.
    pub fn subscriptions(&self) -> &[Subscription] {
        &self.subscriptions
    }

    /// The subscriptions, to change their state.
    pub fn subscriptions_mut(&mut self) -> impl Iterator<Item = &mut Subscription> {
        self.subscriptions.iter_mut()
    }

    /// The participant behind `id`, which must be one of this call.
    pub fn participant(&self, id: ParticipantId) -> &Participant {
        &self.participants[id.0]
    }

    /// The participant behind `id`, which must be one of this call, to change it.
    pub fn participant_mut(&mut self, id: ParticipantId) -> &mut Participant {
        &mut self.participants[id.0]
    }

    /// The media behind `id`, which must be one of this call.
    pub fn media(&self, id: MediaId) -> &Media {
        &self.medias[id.0]
    }

    /// The media behind `id`, which must be one of this call, to change it.
    pub fn media_mut(&mut self, id: MediaId) -> &mut Media {
        &mut self.medias[id.0]
    }

    /// The media whose ports, keys and ICE `id` uses: itself, unless it is bundled.
    pub fn transport_of(&self, id: MediaId) -> MediaId {
        self.media(id).bundled_in.unwrap_or(id)
    }

    /// Two different medias of this call, to change them together.
    ///
    /// # Panics
    /// When they are the same, or not of this call: both are broken invariants.
    pub fn media_pair_mut(&mut self, first: MediaId, second: MediaId) -> (&mut Media, &mut Media) {
        match self.medias.get2_mut(first.0, second.0) {
            Some(pair) => pair,
            None => panic!("medias {first:?} and {second:?} are no pair"),
        }
    }

    /// Adds a participant.
    pub fn add_participant(
        &mut self,
        tag: Option<&str>,
        via_branch: Option<&str>,
        role: Role,
        now: Now,
    ) -> ParticipantId {
        let participant = Participant {
            tag: tag.map(str::to_owned),
            via_branch: via_branch.map(str::to_owned),
            role,
            created: now,
            ..Participant::default()
        };
        ParticipantId(self.participants.insert(participant))
    }

    /// The media at `position` (from zero) of a participant, made where it is missing.
    pub fn media_at(&mut self, owner: ParticipantId, position: usize, kind: &str) -> MediaId {
        if let Some(id) = self.participants[owner.0].medias.get(position) {
            return *id;
        }
        let media = Media::new(self.next_media_serial, owner, position + 1, kind);
        self.next_media_serial += 1;
        let id = MediaId(self.medias.insert(media));
        self.participants[owner.0].medias.push(id);
        id
    }

    /// Takes a participant out with its medias and all their subscriptions; the medias are returned so that their
    /// ports can be closed.
    pub fn remove_participant(&mut self, id: ParticipantId) -> Vec<Media> {
        let participant = self.participants.remove(id.0);
        self.subscriptions.retain(|subscription| {
            !participant.medias.contains(&subscription.source) && !participant.medias.contains(&subscription.sink)
        });
        for (_, other) in self.participants.iter_mut().filter(|(_, other)| other.called_by == Some(id)) {
            other.called_by = None;
        }
        participant.medias.into_iter().map(|media| self.medias.remove(media.0)).collect()
    }

    /// Takes all medias out, so that their ports can be closed; what is left of the call is of no further use.
    pub fn take_medias(&mut self) -> Vec<Media> {
        self.participants.clear();
        self.subscriptions.clear();
        std::mem::take(&mut self.medias).into_iter().map(|(_, media)| media).collect()
    }

    /// The participant that `tag` names.
    pub fn find_tag(&self, tag: &str) -> Option<ParticipantId> {
        self.participants().find(|(_, participant)| participant.has_tag(tag)).map(|(id, _)| id)
    }

    /// The participant with `label`.
    pub fn find_label(&self, label: &str) -> Option<ParticipantId> {
        self.participants().find(|(_, participant)| participant.label.as_deref() == Some(label)).map(|(id, _)| id)
    }

    /// Joins two medias, one way. Two subscriptions of one flow would double its packets: the present one stays, unless
    /// an exchange of offers takes its place.
    pub fn subscribe(&mut self, subscription: Subscription) {
        let flow = |other: &Subscription| (other.source, other.sink, other.is_egress);
        match self.subscriptions.iter_mut().find(|other| flow(other) == flow(&subscription)) {
            Some(present) if present.kind == subscription.kind || present.kind == SubscriptionKind::OfferAnswer => {}
            Some(present) => *present = subscription,
            None => self.subscriptions.push(subscription),
        }
    }

    /// Ends the subscriptions for which `ends` is true. What is left of an exchange whose other way ends is a flow and
    /// no exchange any more: its medias are free for other partners.
    pub fn unsubscribe(&mut self, mut ends: impl FnMut(&Call, &Subscription) -> bool) {
        let mut list = std::mem::take(&mut self.subscriptions);
        let mut ended: HashSet<(MediaId, MediaId)> = HashSet::new();
        list.retain(|subscription| {
            let ends = ends(self, subscription);
            if ends && subscription.kind == SubscriptionKind::OfferAnswer {
                ended.insert((subscription.source, subscription.sink));
            }
            !ends
        });
        for subscription in list.iter_mut().filter(|other| ended.contains(&(other.sink, other.source))) {
            subscription.kind = SubscriptionKind::PublishSubscribe;
        }
        self.subscriptions = list;
    }

    /// The participants whose media `id` receives, and of what kind, each once, in the order of subscribing.
    pub fn sources_of(&self, id: ParticipantId) -> Vec<(ParticipantId, SubscriptionKind)> {
        self.related(|call, subscription| {
            (call.media(subscription.sink).owner == id).then(|| call.media(subscription.source).owner)
        })
    }

    /// The participants who receive media of `id`, and of what kind, each once, in the order of subscribing.
    pub fn sinks_of(&self, id: ParticipantId) -> Vec<(ParticipantId, SubscriptionKind)> {
        self.related(|call, subscription| {
            (call.media(subscription.source).owner == id).then(|| call.media(subscription.sink).owner)
        })
    }

    fn related(
        &self,
        pick: impl Fn(&Call, &Subscription) -> Option<ParticipantId>,
    ) -> Vec<(ParticipantId, SubscriptionKind)> {
        let mut list = Vec::new();
        for subscription in &self.subscriptions {
            if let Some(owner) = pick(self, subscription)
                && !list.contains(&(owner, subscription.kind))
            {
                list.push((owner, subscription.kind));
            }
        }
        list
    }

    /// The other sides of a participant's offer/answer exchanges in the order of their coming, the branches of a fork
    /// included that have lost the caller to another.
    pub fn offer_answer_peers(&self, id: ParticipantId) -> Vec<ParticipantId> {
        let mut peers: Vec<ParticipantId> = (self.subscriptions.iter())
            .filter(|subscription| subscription.kind == SubscriptionKind::OfferAnswer)
            .map(|subscription| (self.media(subscription.source).owner, self.media(subscription.sink).owner))
            .filter_map(|(source, sink)| (source == id).then_some(sink))
            .collect();
        peers.extend(self.participants().filter(|(_, other)| other.called_by == Some(id)).map(|(other, _)| other));
        peers.sort_by_key(|peer| (self.participant(*peer).created.mono, *peer));
        peers.dedup();
        peers
    }

    /// Whether nobody is left.
    pub fn is_empty(&self) -> bool {
        self.participants.is_empty()
    }
}
