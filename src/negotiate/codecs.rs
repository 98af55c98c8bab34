//! Which codecs the other side is shown: operations that need no transcoding.

use crate::ng::request::codec::{CodecSpec, Codecs, Selection};
use crate::sdp::Codec;

/// Whether `spec` means `codec`; names are compared without case, and what `spec` leaves out is not compared.
fn is_meant(spec: &CodecSpec, codec: &Codec) -> bool {
    if let Some(number) = spec.payload_type() {
        return codec.payload_type == number;
    }
    codec.name.eq_ignore_ascii_case(&spec.name)
        && spec.clock_rate_hz.is_none_or(|clock| clock == codec.clock_rate_hz)
        && spec.channels.is_none_or(|channels| channels == u32::from(codec.channels))
        && spec.format_parameters.as_deref().is_none_or(|text| codec.parameters.as_deref() == Some(text))
}

/// Whether `selection` names `codec` itself, keywords aside.
pub fn names(selection: &Selection, codec: &Codec) -> bool {
    selection.codecs.iter().any(|spec| is_meant(spec, codec))
}

fn strips_all(request: &Codecs) -> bool {
    [&request.strip, &request.mask, &request.consume].iter().any(|selection| selection.all || selection.full)
}

fn is_removed(request: &Codecs, codec: &Codec) -> bool {
    match strips_all(request) {
        true => !names(&request.except, codec) && !names(&request.offer, codec),
        false => [&request.strip, &request.mask, &request.consume].iter().any(|selection| names(selection, codec)),
    }
}

/// The codecs of an offer as the answerer is shown them. Nothing is left when the operations remove every codec:
/// the caller decides whether that rejects the media or undoes them.
pub fn offered(codecs: &[Codec], request: &Codecs) -> Vec<Codec> {
    let (mut kept, removed): (Vec<Codec>, Vec<Codec>) =
        codecs.iter().cloned().partition(|codec| !is_removed(request, codec));
    if strips_all(request) {
        let rank = |codec: &Codec| request.offer.codecs.iter().position(|spec| is_meant(spec, codec));
        kept.sort_by_key(|codec| rank(codec).unwrap_or(usize::MAX));
    }
    if !removed.is_empty() {
        align_supplemental(&mut kept, codecs, &removed);
    }
    kept
}

/// Supplemental codecs go with the clock rates of the others: those whose clock rate has gone go too, and a clock
/// rate that lost a codec but is still in use gets its own where the sender has that encoding at another rate.
fn align_supplemental(kept: &mut Vec<Codec>, all: &[Codec], removed: &[Codec]) {
    let is_in_use =
        |rate: u32, list: &[Codec]| list.iter().any(|codec| !codec.is_supplemental() && codec.clock_rate_hz == rate);
    let patterns: Vec<Codec> = kept.iter().filter(|codec| codec.is_supplemental()).cloned().collect();
    if !kept.iter().any(|codec| !codec.is_supplemental()) {
        return;
    }
    let snapshot = kept.clone();
    kept.retain(|codec| !codec.is_supplemental() || is_in_use(codec.clock_rate_hz, &snapshot));
    for pattern in &patterns {
        for touched in removed.iter().filter(|codec| !codec.is_supplemental()) {
            let rate = touched.clock_rate_hz;
            let is_covered =
                kept.iter().any(|codec| codec.name.eq_ignore_ascii_case(&pattern.name) && codec.clock_rate_hz == rate);
            if is_covered || !is_in_use(rate, kept) {
                continue;
            }
            let Some(payload_type) = free_payload_type(all, kept) else { continue };
            let added = Codec { payload_type, clock_rate_hz: rate, ..pattern.clone() };
            let position = kept.iter().position(Codec::is_supplemental).unwrap_or(kept.len());
            kept.insert(position, added);
        }
    }
}

fn free_payload_type(all: &[Codec], kept: &[Codec]) -> Option<u8> {
    (96..128).find(|number| all.iter().chain(kept).all(|codec| codec.payload_type != *number))
}

/// The codecs of an answer as the offerer is shown them: without those that count as not offered, and only the first
/// one with what supplements it when `single` is set.
pub fn answered(answer: &[Codec], offer: &[Codec], ignored: &[u8], single: bool) -> Vec<Codec> {
    let is_ignored = |codec: &Codec| {
        offer.iter().any(|offered| ignored.contains(&offered.payload_type) && offered.same_encoding(codec))
    };
    let mut list: Vec<Codec> = answer.iter().filter(|codec| !is_ignored(codec)).cloned().collect();
    if list.iter().all(Codec::is_supplemental) && answer.iter().any(is_ignored) {
        list = offer.iter().filter(|codec| !ignored.contains(&codec.payload_type)).take(1).cloned().collect();
    }
    match single {
        true => first_with_supplements(&list),
        false => list,
    }
}

/// The first codec that stands for itself, and the supplemental ones of its clock rate.
pub fn first_with_supplements(list: &[Codec]) -> Vec<Codec> {
    let Some(first) = list.iter().find(|codec| !codec.is_supplemental()) else { return list.to_vec() };
    let goes_along = |codec: &&Codec| {
        codec.payload_type == first.payload_type
            || codec.is_supplemental() && codec.clock_rate_hz == first.clock_rate_hz
    };
    list.iter().filter(goes_along).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(codecs: &[(u8, &str, u32)]) -> Vec<Codec> {
        codecs.iter().map(|(number, name, clock)| Codec::new(*number, name, *clock, 1)).collect()
    }

    fn numbers(codecs: &[Codec]) -> Vec<u8> {
        codecs.iter().map(|codec| codec.payload_type).collect()
    }

    fn selection(list: &[&str]) -> Selection {
        let codecs = list.iter().map(|text| CodecSpec::parse(text)).collect();
        Selection { codecs, ..Selection::default() }
    }

    fn all() -> Selection {
        Selection { all: true, ..Selection::default() }
    }

    fn basic() -> Vec<Codec> {
        list(&[(0, "PCMU", 8000), (8, "PCMA", 8000), (101, "telephone-event", 8000)])
    }

    fn wide() -> Vec<Codec> {
        list(&[(104, "AMR-WB", 16000), (102, "AMR", 8000), (8, "PCMA", 8000), (105, "telephone-event", 16000)])
    }

    #[test]
    fn codecs_are_stripped_by_name_type_and_keyword() {
        let strip = |list: &[&str]| Codecs { strip: selection(list), ..Codecs::default() };
        assert_eq!(numbers(&offered(&basic(), &strip(&["pcmu"]))), [8, 101]);
        assert_eq!(numbers(&offered(&basic(), &strip(&["8"]))), [0, 101]);
        let only = Codecs { strip: all(), offer: selection(&["PCMA", "PCMU"]), ..Codecs::default() };
        assert_eq!(numbers(&offered(&basic(), &only)), [8, 0]);
        assert!(offered(&basic(), &Codecs { strip: all(), ..Codecs::default() }).is_empty());
    }

    #[test]
    fn telephone_events_follow_the_clock_rates() {
        let mask = Codecs { mask: selection(&["PCMA"]), ..Codecs::default() };
        assert_eq!(numbers(&offered(&wide(), &mask)), [104, 102, 96, 105]);
        let except = selection(&["PCMA", "telephone-event"]);
        let only = Codecs { strip: all(), except, ..Codecs::default() };
        assert_eq!(numbers(&offered(&wide(), &only)), [8, 96]);
    }

    #[test]
    fn an_answer_loses_ignored_codecs_and_all_but_the_first() {
        assert_eq!(numbers(&answered(&basic(), &basic(), &[0], false)), [8, 101]);
        assert_eq!(numbers(&answered(&basic(), &basic(), &[], true)), [0, 101]);
        assert_eq!(numbers(&answered(&wide(), &wide(), &[], true)), [104, 105]);
        assert_eq!(numbers(&answered(&basic()[..1], &basic(), &[0], false)), [8]);
    }
}
