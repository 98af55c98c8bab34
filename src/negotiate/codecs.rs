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
    if !kept.iter().any(|codec| !codec.is_supplemental()) {
        return;
    }
    let patterns: Vec<Codec> = kept.iter().filter(|codec| codec.is_supplemental()).cloned().collect();
    let touched: Vec<u32> =
        removed.iter().filter(|codec| !codec.is_supplemental()).map(|codec| codec.clock_rate_hz).collect();
    let mut position = kept.iter().position(Codec::is_supplemental).unwrap_or(kept.len());
    for pattern in &patterns {
        for rate in &touched {
            let is_covered =
                kept.iter().any(|codec| codec.name.eq_ignore_ascii_case(&pattern.name) && codec.clock_rate_hz == *rate);
            if is_covered || !is_in_use(*rate, kept) {
                continue;
            }
            let Some(payload_type) = free_payload_type(all, kept) else { continue };
            kept.insert(position, supplement(pattern, payload_type, *rate));
            position += 1;
        }
    }
    let snapshot = kept.clone();
    kept.retain(|codec| !codec.is_supplemental() || is_in_use(codec.clock_rate_hz, &snapshot));
}

/// The supplemental encoding of `pattern` at another clock rate. Redundancy (RFC 2198) names payload types in its
/// parameters, which are others there.
fn supplement(pattern: &Codec, payload_type: u8, clock_rate_hz: u32) -> Codec {
    match is_redundancy(pattern) {
        true => Codec::new(payload_type, &pattern.name, clock_rate_hz, 1),
        false => Codec { payload_type, clock_rate_hz, ..pattern.clone() },
    }
}

fn is_redundancy(codec: &Codec) -> bool {
    codec.name.eq_ignore_ascii_case("red")
}

fn free_payload_type(all: &[Codec], kept: &[Codec]) -> Option<u8> {
    (96..128).find(|number| all.iter().chain(kept).all(|codec| codec.payload_type != *number))
}

/// What an exchange has come to when the answer arrives.
#[derive(Debug, Clone, Copy)]
pub struct Exchange<'a> {
    /// The codecs of the offer.
    pub offer: &'a [Codec],
    /// Those that the answerer was shown.
    pub shown: &'a [Codec],
    /// Payload types of the offer that count as not offered.
    pub ignored: &'a [u8],
}

/// The codecs of an answer as the offerer is shown them: without those that count as not offered, and when `single` is
/// set only the first one and the supplemental ones. Where the answerer was shown other codecs than were offered, only
/// what was offered is left, with the supplemental ones by clock rate.
pub fn answered(answer: &[Codec], exchange: Exchange, single: bool) -> Vec<Codec> {
    let Exchange { offer, shown, ignored } = exchange;
    let ignored: Vec<Codec> = offer.iter().filter(|codec| ignored.contains(&codec.payload_type)).cloned().collect();
    let holds = |list: &[Codec], codec: &Codec| list.iter().any(|other| other.same_encoding(codec));
    let mut list: Vec<Codec> = answer.iter().filter(|codec| !holds(&ignored, codec)).cloned().collect();
    if list.iter().all(Codec::is_supplemental) && list.len() < answer.len() {
        list = offer.iter().filter(|codec| !holds(&ignored, codec)).take(1).cloned().collect();
    }
    if !ignored.is_empty() {
        align_supplemental(&mut list, offer, &ignored);
        group_supplemental(&mut list);
    } else if !offer.is_empty()
        && !offer.iter().map(|codec| codec.payload_type).eq(shown.iter().map(|codec| codec.payload_type))
    {
        list.retain(|codec| holds(offer, codec) && !is_redundancy(codec));
        group_supplemental(&mut list);
    }
    if single {
        let first = list.iter().find(|codec| !codec.is_supplemental()).map(|codec| codec.payload_type);
        list.retain(|codec| codec.is_supplemental() || Some(codec.payload_type) == first);
    }
    list
}

/// Telephone-events and comfort noise go to the end, in the order in which the other codecs have their clock rates.
fn group_supplemental(list: &mut [Codec]) {
    let rates: Vec<u32> =
        list.iter().filter(|codec| !codec.is_supplemental()).map(|codec| codec.clock_rate_hz).collect();
    list.sort_by_key(|codec| match codec.is_supplemental() && !is_redundancy(codec) {
        false => 0,
        true => 1 + rates.iter().position(|rate| *rate == codec.clock_rate_hz).unwrap_or(rates.len()),
    });
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
        let exchange = |codecs: &[Codec], ignored: &[u8], answer: &[Codec], single| {
            numbers(&answered(answer, Exchange { offer: codecs, shown: codecs, ignored }, single))
        };
        assert_eq!(exchange(&basic(), &[0], &basic(), false), [8, 101]);
        assert_eq!(exchange(&basic(), &[], &basic(), true), [0, 101]);
        assert_eq!(exchange(&wide(), &[], &wide(), true), [104, 105]);
        assert_eq!(exchange(&basic(), &[0], &basic()[..1], false), [8]);
    }

    #[test]
    fn what_was_not_offered_is_not_shown_to_the_offerer() {
        let mask = Codecs { mask: selection(&["PCMA"]), ..Codecs::default() };
        let (offer, shown) = (wide(), offered(&wide(), &mask));
        let exchange = Exchange { offer: &offer, shown: &shown, ignored: &[] };
        assert_eq!(numbers(&shown), [104, 102, 96, 105]);
        assert_eq!(numbers(&answered(&shown, exchange, false)), [104, 102, 105]);
        assert!(answered(&shown[2..3], exchange, false).is_empty());
    }
}
