//! One layer of a simulcast as one continuous stream for one receiver: SSRC, sequence numbers, timestamps and numbers of
//! pictures go on where the layer before has ended.

use crate::base::sequence;
use crate::base::time::Mono;
use crate::plan::StreamId;
use crate::rtp::clock;
use crate::rtp::picture::Numbers;
use crate::wire::rtp::Header;
use smallvec::SmallVec;

/// Segments that are remembered, so that packets of theirs can be sent again.
const MOST_SEGMENTS: usize = 4;
/// The largest step of time between two pictures, in seconds; sender reports that say more are not believed.
const LONGEST_STEP_S: u32 = 10;

/// What a receiver gets of one simulcast.
#[derive(Debug)]
pub(super) struct Selection {
    pub(super) origin: StreamId,
    pub(super) simulcast: u16,
    /// The SSRC that the receiver has.
    pub(super) shown: u32,
    segments: SmallVec<[Segment; MOST_SEGMENTS]>,
    /// As the receiver has them.
    newest: Newest,
}

/// The newest packet, in the receiver's numbers.
#[derive(Debug, Clone, Copy, Default)]
struct Newest {
    /// Extended.
    sequence: u32,
    timestamp: u32,
    numbers: Numbers,
    at: Mono,
}

/// What came of one layer from one switch to the next.
#[derive(Debug, Clone, Copy)]
struct Segment {
    ssrc: u32,
    /// In the layer's numbers, extended.
    first: u32,
    last: u32,
    offsets: Offsets,
}

/// What is added to the numbers of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Offsets {
    /// To an extended number.
    sequence: u32,
    pub(super) timestamp: u32,
    pub(super) numbers: Numbers,
}

impl Offsets {
    /// A packet's header as the receiver gets it.
    pub(super) fn apply(&self, header: &Header, shown: u32) -> Header {
        let sequence = header.sequence.wrapping_add(self.sequence as u16);
        Header { ssrc: shown, sequence, timestamp: header.timestamp.wrapping_add(self.timestamp), ..*header }
    }
}

impl Selection {
    pub(super) fn new(origin: StreamId, simulcast: u16, shown: u32) -> Selection {
        Selection { origin, simulcast, shown, segments: SmallVec::new(), newest: Newest::default() }
    }

    /// The source that the receiver gets now.
    pub(super) fn current(&self) -> Option<u32> {
        self.segments.last().map(|segment| segment.ssrc)
    }

    /// What is added to the numbers of the layer that the receiver gets now.
    pub(super) fn current_offsets(&self) -> Option<Offsets> {
        self.segments.last().map(|segment| segment.offsets)
    }

    /// The offsets of a packet, new or sent again; none where the receiver does not get it.
    pub(super) fn find(&self, header: &Header) -> Option<Offsets> {
        let newest = self.segments.len().checked_sub(1)?;
        let is_of = |(place, segment): &(usize, &Segment)| {
            let number = sequence::extend(segment.last, header.sequence);
            let is_before_end = *place == newest || number <= segment.last;
            segment.ssrc == header.ssrc && number >= segment.first && is_before_end
        };
        self.segments.iter().enumerate().rev().find(is_of).map(|(_, segment)| segment.offsets)
    }

    /// Notes a packet of the layer that the receiver gets now, with the numbers of its picture.
    pub(super) fn note(&mut self, now: Mono, header: &Header, numbers: Numbers) {
        let Some(segment) = self.segments.last_mut().filter(|segment| segment.ssrc == header.ssrc) else { return };
        let number = sequence::extend(segment.last, header.sequence);
        if number < segment.last {
            return;
        }
        segment.last = number;
        let offsets = segment.offsets;
        self.newest = Newest {
            sequence: number.wrapping_add(offsets.sequence),
            timestamp: header.timestamp.wrapping_add(offsets.timestamp),
            numbers: numbers.plus(offsets.numbers),
            at: now,
        };
    }

    /// Goes over to the layer whose key frame begins with the packet `header`. `timestamp` is what the layer before would
    /// have, if that is known; time goes on in any case.
    pub(super) fn switch(
        &mut self,
        now: Mono,
        header: &Header,
        numbers: Numbers,
        timestamp: Option<u32>,
        clock_rate_hz: u32,
    ) {
        let first = 0x1_0000 | u32::from(header.sequence);
        let offsets = match self.current_offsets() {
            None => Offsets { sequence: 0, timestamp: 0, numbers: Numbers::default() },
            Some(before) => {
                let newest = self.newest;
                let step = |timestamp: u32| timestamp.wrapping_sub(newest.timestamp);
                let told = timestamp.map(|timestamp| step(timestamp.wrapping_add(before.timestamp)));
                let is_likely = |step: &u32| (1..=LONGEST_STEP_S * clock_rate_hz).contains(step);
                let waited = clock::units(now, clock_rate_hz).wrapping_sub(clock::units(newest.at, clock_rate_hz));
                let step = told.filter(is_likely).unwrap_or(waited.max(1));
                Offsets {
                    sequence: newest.sequence.wrapping_add(1).wrapping_sub(first),
                    timestamp: newest.timestamp.wrapping_add(step).wrapping_sub(header.timestamp),
                    numbers: newest.numbers.next().since(numbers),
                }
            }
        };
        if self.segments.len() == MOST_SEGMENTS {
            self.segments.remove(0);
        }
        self.segments.push(Segment { ssrc: header.ssrc, first, last: first, offsets });
        self.note(now, header, numbers);
    }

    /// The source and its number of a packet that the receiver names by its own.
    pub(super) fn locate(&self, sequence: u16) -> Option<(u32, u16)> {
        let number = sequence::extend(self.newest.sequence, sequence);
        let begins = |segment: &&Segment| number >= segment.first.wrapping_add(segment.offsets.sequence);
        let segment = self.segments.iter().rev().find(begins)?;
        Some((segment.ssrc, number.wrapping_sub(segment.offsets.sequence) as u16))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = 90_000;

    fn header(ssrc: u32, sequence: u16, timestamp: u32) -> Header {
        Header { marker: false, payload_type: 96, sequence, timestamp, ssrc }
    }

    fn at(milliseconds: u64) -> Mono {
        Mono(1_000_000_000 + milliseconds * 1_000_000)
    }

    fn numbers(picture: u16, base: u8) -> Numbers {
        Numbers { picture, base }
    }

    fn shown(selection: &Selection, header: &Header) -> Option<(u32, u16, u32)> {
        let header = selection.find(header)?.apply(header, selection.shown);
        Some((header.ssrc, header.sequence, header.timestamp))
    }

    #[test]
    fn numbers_go_on_over_switches() {
        let mut selection = Selection::new(StreamId(1), 0, 99);
        assert_eq!(shown(&selection, &header(1, 65_534, 1000)), None);
        selection.switch(at(0), &header(1, 65_534, 1000), numbers(5, 6), None, RATE);
        for (sequence, timestamp) in [(65_535, 1000), (0, 4000), (2, 4000)] {
            selection.note(at(33), &header(1, sequence, timestamp), numbers(6, 7));
            assert_eq!(shown(&selection, &header(1, sequence, timestamp)), Some((99, sequence, timestamp)));
        }
        // The other layer's clock is not known: time has gone on by what has passed.
        selection.switch(at(66), &header(2, 500, 70_000), numbers(100, 3), None, RATE);
        assert_eq!(shown(&selection, &header(2, 500, 70_000)), Some((99, 3, 4000 + 33 * 90)));
        assert_eq!(selection.current_offsets().unwrap().numbers, numbers(7, 8).since(numbers(100, 3)));
        assert_eq!(selection.current(), Some(2));
        // Late packets of before have their old numbers; what was not part of it does not come.
        assert_eq!(shown(&selection, &header(1, 1, 4000)), Some((99, 1, 4000)));
        assert_eq!(shown(&selection, &header(1, 3, 7000)), None);
        assert_eq!(shown(&selection, &header(2, 499, 70_000)), None);
        for (named, located) in [(65_534, (1, 65_534)), (2, (1, 2)), (3, (2, 500)), (9, (2, 506))] {
            assert_eq!(selection.locate(named), Some(located), "{named}");
        }
        assert_eq!(selection.locate(65_533), None);
    }

    #[test]
    fn sender_reports_are_believed_within_bounds() {
        for (told, step) in [(4500, 4500), (0, 2970), (u32::MAX, 2970), (900_001, 2970)] {
            let mut selection = Selection::new(StreamId(1), 0, 99);
            selection.switch(at(0), &header(1, 1, 1000), Numbers::default(), None, RATE);
            selection.switch(at(33), &header(2, 1, 7), Numbers::default(), Some(1000u32.wrapping_add(told)), RATE);
            assert_eq!(shown(&selection, &header(2, 1, 7)), Some((99, 2, 1000 + step)), "{told}");
        }
    }

    #[test]
    fn only_the_last_segments_are_remembered() {
        let mut selection = Selection::new(StreamId(1), 0, 99);
        for switch in 0..10u16 {
            selection.switch(at(u64::from(switch)), &header(u32::from(switch), 100, 0), Numbers::default(), None, RATE);
        }
        assert_eq!(shown(&selection, &header(5, 100, 0)), None);
        assert_eq!(selection.locate(106), Some((6, 100)));
        assert_eq!(selection.locate(105), None);
    }
}
