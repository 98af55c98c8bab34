//! Candidates that trickle in, as SDP fragments (RFC 8840).

use super::ice;
use crate::call::{Call, MediaId, ParticipantId};
use crate::sdp::Attribute;

/// Candidates that are kept for one media, trickled ones included.
const MOST_CANDIDATES: usize = 64;

/// What a fragment says of one media.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Part {
    attributes: Vec<Attribute>,
}

/// A fragment: session-level attributes, then those of medias.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fragment {
    session: Vec<Attribute>,
    parts: Vec<Part>,
}

impl Fragment {
    /// Reads the lines that matter; others of a description may stand among them (RFC 8840, section 9.2).
    pub fn parse(text: &str) -> Fragment {
        let mut fragment = Fragment::default();
        for line in text.lines().map(str::trim_end) {
            if line.starts_with("m=") {
                fragment.parts.push(Part::default());
            } else if let Some(attribute) = line.strip_prefix("a=") {
                let list = fragment.parts.last_mut().map_or(&mut fragment.session, |part| &mut part.attributes);
                list.push(Attribute::parse(attribute));
            }
        }
        fragment
    }

    fn value<'a>(&'a self, part: &'a Part, name: &str) -> Option<&'a str> {
        let find = |list: &'a [Attribute]| list.iter().find(|attribute| attribute.name == name);
        find(&part.attributes).or_else(|| find(&self.session)).map(Attribute::value)
    }

    /// Adds the candidates to the medias of `sender`: found by `a=mid`, else by place. Those of other credentials than
    /// the present ones belong to another generation and are left out.
    pub fn apply(&self, call: &mut Call, sender: ParticipantId) {
        for (place, part) in self.parts.iter().enumerate() {
            let Some(id) = self.media_of(call, sender, place, part) else { continue };
            let ufrag = self.value(part, "ice-ufrag").map(str::to_owned);
            let media = call.media_mut(id);
            let Some(received) = &mut media.ice.received else { continue };
            if ufrag.is_some_and(|ufrag| ufrag != received.ufrag) {
                continue;
            }
            for candidate in ice::candidates(&part.attributes) {
                if received.candidates.len() < MOST_CANDIDATES && !received.candidates.contains(&candidate) {
                    received.candidates.push(candidate);
                }
            }
            received.has_ended |= self.value(part, "end-of-candidates").is_some();
            let is_known = media.ice.peer.as_ref().is_some_and(|peer| peer.ufrag == received.ufrag);
            if is_known {
                ice::settle(media);
            }
        }
    }

    fn media_of(&self, call: &Call, sender: ParticipantId, place: usize, part: &Part) -> Option<MediaId> {
        let medias = &call.participant(sender).medias;
        let mid = part.attributes.iter().find(|attribute| attribute.name == "mid").map(Attribute::value);
        let by_mid = mid.and_then(|mid| medias.iter().find(|id| call.media(**id).mid.as_deref() == Some(mid)));
        let id = by_mid.or_else(|| medias.get(place)).copied()?;
        Some(call.transport_of(id))
    }
}
