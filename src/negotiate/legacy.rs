//! Best-effort SRTP before RFC 8643: each media stands twice, plain and encrypted, on one port.

use crate::ng::request::srtp::Osrtp;
use crate::sdp::{Attribute, MediaSection, Protocol};

/// Attributes that only the encrypted one of the two has.
const SECURITY: [&str; 4] = ["crypto", "setup", "fingerprint", "tls-id"];

/// Takes the plain one of each pair out; where only the plain one was accepted, it stands for both. Returns the places
/// of what was taken out.
pub fn collapse(sections: &mut Vec<MediaSection>, places: &[usize]) -> Vec<usize> {
    let mut found = Vec::new();
    for &place in places.iter().rev() {
        if place + 1 < sections.len() {
            let keep = if sections[place + 1].is_rejected() { place } else { place + 1 };
            sections.remove(2 * place + 1 - keep);
            found.insert(0, place);
        }
    }
    found
}

/// The places where a plain media is followed by the same media encrypted.
pub fn places(sections: &[MediaSection]) -> Vec<usize> {
    let mut places = Vec::new();
    let mut place = 0;
    while place + 1 < sections.len() {
        let (plain, secure) = (&sections[place], &sections[place + 1]);
        let is_pair = plain.kind == secure.kind
            && plain.port == secure.port
            && !plain.is_rejected()
            && plain.protocol.is_rtp()
            && !plain.protocol.is_secure()
            && (secure.protocol.is_secure() || secure.attribute("crypto").is_some());
        if is_pair {
            places.push(place);
            place += 1;
        }
        place += 1;
    }
    places
}

/// Puts the plain one before each section that has keys; says where.
pub fn expand(sections: &mut Vec<MediaSection>, wishes: Osrtp) -> Vec<usize> {
    let mut places = Vec::new();
    if !wishes.offer_legacy {
        return places;
    }
    let mut place = 0;
    while place < sections.len() {
        if has_keys(&sections[place]) {
            let twin = plain(&sections[place]);
            sections.insert(place, twin);
            places.push(place);
            place += 1;
        }
        place += 1;
    }
    places
}

/// The answer to an offer with pairs: the encrypted one is taken, the plain one rejected.
pub fn reject_plain(sections: &mut Vec<MediaSection>, places: &[usize]) {
    for &place in places {
        let Some(secure) = sections.get(place) else { continue };
        let rejected = MediaSection { port: 0, attributes: Vec::new(), ..plain(secure) };
        sections.insert(place, rejected);
    }
}

fn has_keys(section: &MediaSection) -> bool {
    !section.is_rejected() && section.attributes.iter().any(|attribute| SECURITY.contains(&attribute.name.as_str()))
}

fn plain(section: &MediaSection) -> MediaSection {
    let protocol = match section.protocol.has_feedback() {
        true => Protocol::Avpf,
        false => Protocol::Avp,
    };
    let is_plain = |attribute: &&Attribute| !SECURITY.contains(&attribute.name.as_str());
    MediaSection {
        protocol,
        attributes: section.attributes.iter().filter(is_plain).cloned().collect(),
        ..section.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(port: u16, protocol: Protocol) -> MediaSection {
        let attributes = if protocol.is_secure() { vec![Attribute::with_value("crypto", "1")] } else { Vec::new() };
        MediaSection { kind: "audio".into(), port, protocol, attributes, ..MediaSection::default() }
    }

    #[test]
    fn what_is_expanded_collapses_again() {
        let single = vec![section(4, Protocol::Savp), section(6, Protocol::Avp)];
        let mut sections = single.clone();
        let wishes = Osrtp { offer_legacy: true, ..Osrtp::default() };
        assert_eq!(expand(&mut sections, wishes), [0]);
        let protocols: Vec<&Protocol> = sections.iter().map(|section| &section.protocol).collect();
        assert_eq!(protocols, [&Protocol::Avp, &Protocol::Savp, &Protocol::Avp]);
        assert_eq!(places(&sections), [0]);
        assert_eq!(collapse(&mut sections, &[0]), [0]);
        assert_eq!(sections, single);
    }

    #[test]
    fn the_plain_one_stands_where_the_other_was_refused() {
        let mut sections = vec![section(4, Protocol::Avp), section(0, Protocol::Savp)];
        collapse(&mut sections, &[0]);
        assert_eq!(sections, [section(4, Protocol::Avp)]);
    }

    #[test]
    fn an_answer_rejects_the_plain_one() {
        let mut sections = vec![section(4, Protocol::Savp)];
        reject_plain(&mut sections, &[0]);
        assert_eq!(sections.iter().map(|section| section.port).collect::<Vec<_>>(), [0, 4]);
    }
}
