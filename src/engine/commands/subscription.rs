//! `publish`, `subscribe request`, `subscribe answer`, `unsubscribe`, `create`, `create answer`.

use super::{CommandError, Lent, Reply};
use crate::base::time::Now;
use crate::engine::Shard;
use crate::negotiate::subscribe::{Offer, Subscribed};
use crate::negotiate::{Failure, create, publish, subscribe};
use crate::ng::{Dictionary, Request, Value};

/// The digits of call-ids and tags that are made here.
const GENERATED_DIGITS: usize = 64;

impl Shard {
    pub(super) fn publish(&mut self, now: Now, request: &Request, from: &str, lent: &mut Lent) -> Reply {
        request.sdp_body()?;
        if let (true, Ok(tag)) = (request.sdp.is_fragment, request.from_tag()) {
            return self.fragment(now, request, tag, lent);
        }
        let call_id = request.call_id().map(str::to_owned).unwrap_or_else(|_| lent.random.hex(GENERATED_DIGITS));
        let tag = request.from_tag().map(str::to_owned).unwrap_or_else(|_| lent.random.hex(GENERATED_DIGITS));
        let (index, is_new) = self.known_or_new(now, &call_id, from);
        let outcome =
            self.negotiate(now, index, request, lent, |call, around| publish::publish(call, &tag, request, around));
        // A publication without a codec that is acceptable may be mended by the next; others leave nothing behind.
        if is_new && outcome.as_ref().is_err_and(|failure| *failure != Failure::NothingToCreate) {
            self.forget_call(now, index, lent);
        }
        Ok(Dictionary::new().with("sdp", outcome?).with("call-id", call_id).with("from-tag", tag))
    }

    pub(super) fn create(&mut self, now: Now, request: &Request, from: &str, lent: &mut Lent) -> Reply {
        let call_id = request.call_id().map(str::to_owned).unwrap_or_else(|_| lent.random.hex(GENERATED_DIGITS));
        let tag = request.from_tag().map(str::to_owned).unwrap_or_else(|_| lent.random.hex(GENERATED_DIGITS));
        let (index, is_new) = self.known_or_new(now, &call_id, from);
        let outcome =
            self.negotiate(now, index, request, lent, |call, around| create::create(call, &tag, request, around));
        if is_new && outcome.is_err() {
            self.forget_call(now, index, lent);
        }
        Ok(Dictionary::new().with("sdp", outcome?).with("call-id", call_id).with("from-tag", tag))
    }

    pub(super) fn create_answer(&mut self, now: Now, request: &Request, lent: &mut Lent) -> Reply {
        request.sdp_body()?;
        let index = self.known(request, CommandError::UnknownCallId)?;
        let tag = request.from_tag()?;
        if request.sdp.is_fragment {
            return self.fragment(now, request, tag, lent);
        }
        self.negotiate(now, index, request, lent, |call, around| create::answer(call, tag, request, around))?;
        Ok(Dictionary::new())
    }

    pub(super) fn subscribe_request(&mut self, now: Now, request: &Request, lent: &mut Lent) -> Reply {
        let index = self.known(request, CommandError::UnknownCallIds)?;
        let offer =
            self.negotiate(now, index, request, lent, |call, around| subscribe::request(call, request, around))?;
        Ok(subscription_reply(&offer, request.control.siprec))
    }

    pub(super) fn subscribe_answer(&mut self, now: Now, request: &Request, lent: &mut Lent) -> Reply {
        request.sdp_body()?;
        let index = self.known(request, CommandError::UnknownCallIdOfMediaCommand)?;
        let tag = request.to_tag()?;
        if request.sdp.is_fragment {
            return self.fragment(now, request, tag, lent);
        }
        self.negotiate(now, index, request, lent, |call, around| subscribe::answer(call, request, around))?;
        Ok(Dictionary::new())
    }

    pub(super) fn unsubscribe(&mut self, now: Now, request: &Request, lent: &mut Lent) -> Reply {
        let index = self.known(request, CommandError::UnknownCallIdOfMediaCommand)?;
        request.to_tag()?;
        let leaving = self.negotiate(now, index, request, lent, |call, _| subscribe::unsubscribe(call, request))?;
        self.remove_participants(now, index, leaving.as_slice(), lent);
        Ok(Dictionary::new())
    }
}

fn subscription_reply(offer: &Offer, siprec: bool) -> Dictionary {
    let mut reply = Dictionary::new().with("sdp", offer.sdp.as_str());
    if let [only] = offer.medias.as_slice()
        && offer.flows == 1
    {
        reply.set("from-tag", only.tag.as_str());
    }
    if siprec {
        reply.set("tag-medias", tag_medias(&offer.medias)).set("media-labels", media_labels(&offer.medias));
    }
    let from_tags: Value = offer.medias.iter().map(|media| media.tag.as_str()).collect();
    reply.with("from-tags", from_tags).with("to-tag", offer.to_tag.as_str())
}

/// Each media with its participant, in the order of the media sections.
fn tag_medias(medias: &[Subscribed]) -> Value {
    let entry = |media: &Subscribed| {
        let mut entry = Dictionary::new().with("tag", media.tag.as_str());
        if let Some(label) = &media.participant_label {
            entry.set("label", label.as_str());
        }
        let description = Dictionary::new()
            .with("index", media.index as u64)
            .with("type", media.kind.as_str())
            .with("label", media.label.as_str())
            .with("mode", media.mode.name());
        entry.with("medias", std::iter::once(description).collect::<Value>())
    };
    medias.iter().map(entry).collect()
}

fn media_labels(medias: &[Subscribed]) -> Dictionary {
    let mut labels = Dictionary::new();
    for media in medias {
        let mut entry = Dictionary::new()
            .with("tag", media.tag.as_str())
            .with("index", media.index as u64)
            .with("type", media.kind.as_str());
        if let Some(label) = &media.participant_label {
            entry.set("label", label.as_str());
        }
        labels.set(media.label.clone(), entry.with("mode", media.mode.name()));
    }
    labels
}
