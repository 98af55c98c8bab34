//! Calls that become one (`connect`, `mesh`).

use super::Call;
use crate::call::{MediaId, Participant, ParticipantId, Subscription};
use std::collections::HashMap;

impl Call {
    /// Every call-id of this call.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.id).chain(&self.aliases).map(String::as_str)
    }

    /// Whether a tag of one call names somebody of the other too.
    pub fn collides_with(&self, other: &Call) -> bool {
        let tags = |participant: &Participant| -> Vec<String> {
            participant.tag.iter().chain(&participant.aliases).cloned().collect()
        };
        other.participants().any(|(_, participant)| tags(participant).iter().any(|tag| self.find_tag(tag).is_some()))
    }

    /// Takes in everything of `other`, which has no tag of this call. Its call-ids name this call from now on; ids of
    /// participants and medias of this call stay what they are. What was asked for either call as a whole holds for
    /// both, where it takes something away from them.
    pub fn absorb(&mut self, other: Call) {
        let Call { id, aliases, participants, medias, subscriptions, next_media_serial, captures, .. } = other;
        self.captures.extend(captures);
        self.aliases.push(id);
        self.aliases.extend(aliases);
        self.is_answered |= other.is_answered;
        self.drops_traffic |= other.drops_traffic;
        self.blocks_media |= other.blocks_media;
        self.blocks_dtmf |= other.blocks_dtmf;
        self.metadata = self.metadata.take().or(other.metadata);
        if other.created.mono < self.created.mono {
            self.created = other.created;
        }
        let owners: HashMap<ParticipantId, ParticipantId> = (participants.into_iter())
            .map(|(index, participant)| (ParticipantId(index), ParticipantId(self.participants.insert(participant))))
            .collect();
        let first_serial = self.next_media_serial;
        self.next_media_serial += next_media_serial;
        let places: HashMap<MediaId, MediaId> = (medias.into_iter())
            .map(|(index, mut media)| {
                media.serial += first_serial;
                media.owner = owners[&media.owner];
                (MediaId(index), MediaId(self.medias.insert(media)))
            })
            .collect();
        for id in places.values() {
            let media = &mut self.medias[id.0];
            media.bundled_in = media.bundled_in.map(|head| places[&head]);
        }
        for id in owners.values() {
            let participant = &mut self.participants[id.0];
            participant.called_by = participant.called_by.map(|caller| owners[&caller]);
            participant.medias.iter_mut().for_each(|media| *media = places[media]);
        }
        self.subscriptions.extend(subscriptions.into_iter().map(|subscription| Subscription {
            source: places[&subscription.source],
            sink: places[&subscription.sink],
            ..subscription
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::CaptureId;
    use crate::base::time::Now;
    use crate::call::SubscriptionKind;
    use crate::call::participant::Role;

    /// A call of two who hear each other; the places of earlier ones are vacant.
    fn call(id: &str, tags: [&str; 2], vacant: usize) -> Call {
        let mut call = Call::new(id, Now::default(), "");
        let gone: Vec<ParticipantId> =
            (0..vacant).map(|_| call.add_participant(None, None, Role::Other, Now::default())).collect();
        let [first, second] = tags.map(|tag| {
            let party = call.add_participant(Some(tag), None, Role::Offerer, Now::default());
            call.media_at(party, 0, "audio")
        });
        call.subscribe(Subscription::new(first, second, SubscriptionKind::OfferAnswer));
        call.subscribe(Subscription::new(second, first, SubscriptionKind::OfferAnswer));
        let (caller, callee) = (call.media(first).owner, call.media(second).owner);
        call.participant_mut(callee).called_by = Some(caller);
        gone.into_iter().for_each(|id| drop(call.remove_participant(id)));
        call
    }

    #[test]
    fn everything_of_both_is_found_in_the_one() {
        let mut one = call("one", ["a", "b"], 0);
        let mut other = call("two", ["c", "d"], 3);
        other.blocks_media = true;
        (one.captures, other.captures) = (vec![CaptureId(1)], vec![CaptureId(2)]);
        one.absorb(other);
        assert_eq!(one.ids().collect::<Vec<_>>(), ["one", "two"]);
        assert!(one.blocks_media);
        assert_eq!(one.captures, [CaptureId(1), CaptureId(2)]);
        let names = |one: &Call, tag: &str| -> Vec<String> {
            let id = one.find_tag(tag).unwrap();
            one.sources_of(id).iter().map(|(source, _)| one.participant(*source).display_tag(*source)).collect()
        };
        for (tag, partner) in [("a", "b"), ("b", "a"), ("c", "d"), ("d", "c")] {
            assert_eq!(names(&one, tag), [partner]);
        }
        assert_eq!(one.participant(one.find_tag("d").unwrap()).called_by, one.find_tag("c"));
        let mut serials: Vec<u32> = one.medias().map(|(_, media)| media.serial).collect();
        serials.sort_unstable();
        assert_eq!(serials, [0, 1, 2, 3]);
    }

    #[test]
    fn tags_and_their_aliases_collide() {
        let one = call("one", ["a", "b"], 0);
        let mut other = call("two", ["c", "d"], 0);
        assert!(!one.collides_with(&other));
        let id = other.find_tag("d").unwrap();
        other.participant_mut(id).aliases.push("b".to_owned());
        assert!(one.collides_with(&other) && other.collides_with(&one));
    }
}
