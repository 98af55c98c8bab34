//! Edits of the finished description (`sdp-attr`).

use crate::ng::request::output::{Change, Edit, EditSection};
use crate::sdp::{Attribute, SessionDescription};

/// Applies the edits in their order.
pub fn apply(description: &mut SessionDescription, edits: &[Edit]) {
    for edit in edits {
        match edit.section {
            EditSection::Session => change(&mut description.session.attributes, &edit.change),
            EditSection::Media(kind) => {
                for media in description.medias.iter_mut().filter(|media| kind.covers(&media.kind)) {
                    change(&mut media.attributes, &edit.change);
                }
            }
        }
    }
}

/// Adding does not repeat an attribute; removing and substituting find it by its name, by name and value or by the
/// whole line, in any case.
fn change(attributes: &mut Vec<Attribute>, change: &Change) {
    match change {
        Change::Add(text) => {
            let added = Attribute::parse(text);
            if !attributes.contains(&added) {
                attributes.push(added);
            }
        }
        Change::Remove(pattern) => attributes.retain(|attribute| !is_meant(attribute, pattern)),
        Change::Substitute { from, to } => {
            for attribute in attributes.iter_mut().filter(|attribute| is_meant(attribute, from)) {
                *attribute = Attribute::parse(to);
            }
        }
    }
}

fn is_meant(attribute: &Attribute, pattern: &str) -> bool {
    let pattern = pattern.strip_prefix("a=").unwrap_or(pattern);
    attribute.name.eq_ignore_ascii_case(pattern)
        || attribute.to_string().eq_ignore_ascii_case(pattern)
        // Attributes of one payload type are also found by their name and that type, as in `fmtp:10`.
        || attribute.to_string().split(' ').next().is_some_and(|start| {
            start.contains(':') && start.eq_ignore_ascii_case(pattern)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_found_by_name_value_and_payload_type() {
        let mut attributes: Vec<Attribute> =
            ["rtpmap:8 PCMA/8000", "fmtp:101 0-15", "x-vendor:abc", "sendrecv"].map(Attribute::parse).to_vec();
        let edits = [
            Change::Remove("rtpmap:8 pcma/8000".to_owned()),
            Change::Remove("X-Vendor".to_owned()),
            Change::Substitute { from: "sendrecv".to_owned(), to: "recvonly".to_owned() },
            Change::Substitute { from: "fmtp:101".to_owned(), to: "fmtp:101 0-16".to_owned() },
            Change::Add("ptime:20".to_owned()),
            Change::Add("ptime:20".to_owned()),
        ];
        edits.iter().for_each(|edit| change(&mut attributes, edit));
        let texts: Vec<String> = attributes.iter().map(Attribute::to_string).collect();
        assert_eq!(texts, ["fmtp:101 0-16", "recvonly", "ptime:20"]);
    }
}
