//! Candidates that trickle in, as SDP fragments (RFC 8840).

use super::ice;
use crate::call::{Call, MediaId, ParticipantId};
use crate::ice::MOST_SIGNALLED;
use crate::sdp::Attribute;

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
                if received.candidates.len() < MOST_SIGNALLED && !received.candidates.contains(&candidate) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_belong_to_the_media_before_them() {
        let text = "a=ice-ufrag:u\r\na=ice-pwd:p\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\na=candidate:1 x\r\n\
                    m=video 9 RTP/AVP 96\r\na=end-of-candidates\r\n";
        let fragment = Fragment::parse(text);
        assert_eq!((fragment.session.len(), fragment.parts.len()), (2, 2));
        assert_eq!(fragment.value(&fragment.parts[1], "ice-ufrag"), Some("u"));
        assert_eq!(ice::candidates(&fragment.parts[0].attributes), ["1 x"]);
        assert!(fragment.value(&fragment.parts[0], "end-of-candidates").is_none());
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "(?s).{0,200}") {
            Fragment::parse(&text);
        }
    }
}
