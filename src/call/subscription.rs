//! Who receives whom (RFC 7667, section 3.7).

use super::MediaId;
use super::layer::Layer;

/// What made a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SubscriptionKind {
    /// The two sides of an offer/answer exchange.
    OfferAnswer,
    /// `subscribe request`, `publish`, `connect`.
    PublishSubscribe,
}

impl SubscriptionKind {
    /// The name that `query` reports.
    pub fn name(self) -> &'static str {
        match self {
            SubscriptionKind::OfferAnswer => "offer/answer",
            SubscriptionKind::PublishSubscribe => "pub/sub",
        }
    }
}

/// `sink` receives what `source` sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscription {
    pub source: MediaId,
    pub sink: MediaId,
    pub kind: SubscriptionKind,
    /// RTCP flows from the sink back to the source as well (`RTCP mirror`).
    pub mirrors_rtcp: bool,
    /// The sink gets what is sent to the source's participant instead of what it sends.
    pub is_egress: bool,
    /// `block media` for this flow alone.
    pub is_blocked: bool,
    /// `silence media` for this flow alone.
    pub is_silenced: bool,
    /// The sink was offered an inactive media: nothing flows until it is subscribed anew.
    pub is_paused: bool,
    /// Which layer of a simulcast the sink gets.
    pub layer: Layer,
}

impl Subscription {
    /// A plain subscription of `kind`.
    pub fn new(source: MediaId, sink: MediaId, kind: SubscriptionKind) -> Subscription {
        Subscription {
            source,
            sink,
            kind,
            mirrors_rtcp: false,
            is_egress: false,
            is_blocked: false,
            is_silenced: false,
            is_paused: false,
            layer: Layer::default(),
        }
    }
}
