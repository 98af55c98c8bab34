//! The state of each SSRC (RFC 3711, section 3.2.1), of a bounded number of them.

use super::index::estimate;
use super::replay::Replay;
use super::{Error, MOST_SSRCS, Window};
use smallvec::SmallVec;

#[derive(Debug, Clone)]
struct Stream {
    ssrc: u32,
    replay: Replay,
}

/// Where a packet belongs that has not been authenticated yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    ssrc: u32,
    slot: Option<usize>,
    pub(super) index: u64,
}

#[inline]
fn index_of(replay: &Replay, sequence: u16) -> Result<u64, Error> {
    if replay.is_empty() {
        return Ok(replay.highest() & !0xffff | u64::from(sequence));
    }
    estimate(replay.highest(), sequence)
}

/// Streams, the one used last first.
#[derive(Debug, Clone, Default)]
pub(super) struct Streams(SmallVec<[Stream; 1]>);

impl Streams {
    #[inline]
    fn find(&self, ssrc: u32) -> Option<(usize, &Replay)> {
        match self.0.first() {
            Some(first) if first.ssrc == ssrc => Some((0, &first.replay)),
            _ => self.find_other(ssrc),
        }
    }

    #[cold]
    fn find_other(&self, ssrc: u32) -> Option<(usize, &Replay)> {
        self.0.iter().enumerate().find(|(_, stream)| stream.ssrc == ssrc).map(|(slot, stream)| (slot, &stream.replay))
    }

    /// The place of the packet of `ssrc` with `sequence`, if it was not seen before.
    #[inline]
    pub(super) fn locate_sequence(&self, ssrc: u32, sequence: u16) -> Result<Place, Error> {
        let Some((slot, replay)) = self.find(ssrc) else {
            return Ok(Place { ssrc, slot: None, index: u64::from(sequence) });
        };
        let index = index_of(replay, sequence)?;
        replay.check(index)?;
        Ok(Place { ssrc, slot: Some(slot), index })
    }

    /// The index of the packet of `ssrc` with `sequence`, seen before or not.
    pub(super) fn index_of(&self, ssrc: u32, sequence: u16) -> Result<u64, Error> {
        self.find(ssrc).map_or(Ok(u64::from(sequence)), |(_, replay)| index_of(replay, sequence))
    }

    /// The place of the packet of `ssrc` that names its index, if it was not seen before.
    #[inline]
    pub(super) fn locate_index(&self, ssrc: u32, index: u64) -> Result<Place, Error> {
        let Some((slot, replay)) = self.find(ssrc) else { return Ok(Place { ssrc, slot: None, index }) };
        replay.check(index)?;
        Ok(Place { ssrc, slot: Some(slot), index })
    }

    /// Notes a packet that has been authenticated, at the place found for it just before.
    #[inline]
    pub(super) fn note(&mut self, place: Place) {
        if place.slot != Some(0) {
            self.bring_forward(place.ssrc, place.slot);
        }
        if let Some(stream) = self.0.first_mut() {
            stream.replay.note(place.index);
        }
    }

    /// Makes a stream the first one. A new one takes the room of the one that was silent longest, if there is no other.
    #[cold]
    fn bring_forward(&mut self, ssrc: u32, slot: Option<usize>) {
        if let Some(slot) = slot {
            self.0[..=slot].rotate_right(1);
            return;
        }
        if self.0.len() >= MOST_SSRCS {
            self.0.pop();
        }
        self.0.insert(0, Stream { ssrc, replay: Replay::default() });
    }

    /// The rollover counter of `ssrc`, if it is known.
    pub(super) fn rollover_counter(&self, ssrc: u32) -> Option<u32> {
        self.find(ssrc).map(|(_, replay)| (replay.highest() >> 16) as u32)
    }

    /// Sets the rollover counter of the next packet of `ssrc`. What was seen under another counter is forgotten.
    pub(super) fn set_rollover_counter(&mut self, ssrc: u32, counter: u32) {
        if self.rollover_counter(ssrc) == Some(counter) {
            return;
        }
        let slot = self.find(ssrc).map(|(slot, _)| slot);
        self.bring_forward(ssrc, slot);
        self.0[0].replay = Replay::starting_at(u64::from(counter) << 16);
    }

    /// Where `ssrc` stands; none before its first packet.
    pub(super) fn window(&self, ssrc: u32) -> Option<Window> {
        self.find(ssrc).and_then(|(_, replay)| replay.window())
    }

    /// Goes on from where another has brought `ssrc`.
    pub(super) fn set_window(&mut self, ssrc: u32, window: Window) {
        let slot = self.find(ssrc).map(|(slot, _)| slot);
        self.bring_forward(ssrc, slot);
        if let Some(stream) = self.0.first_mut() {
            stream.replay = Replay::at(window);
        }
    }

    /// Every SSRC with its state, the one used last first.
    pub(super) fn ssrcs(&self) -> impl Iterator<Item = u32> {
        self.0.iter().map(|stream| stream.ssrc)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(streams: &mut Streams, ssrc: u32, sequence: u16) -> Result<u64, Error> {
        let place = streams.locate_sequence(ssrc, sequence)?;
        streams.note(place);
        Ok(place.index)
    }

    #[test]
    fn streams_are_counted_apart() {
        let mut streams = Streams::default();
        for (ssrc, sequence, index) in [
            (1, 0xffff, Ok(0xffff)),
            (2, 0xffff, Ok(0xffff)),
            (1, 0, Ok(0x1_0000)),
            (2, 0xfffe, Ok(0xfffe)),
            (2, 0xfffe, Err(Error::Replayed)),
            (1, 0xfffe, Ok(0xfffe)),
            (1, 1, Ok(0x1_0001)),
            (2, 0, Ok(0x1_0000)),
        ] {
            assert_eq!(receive(&mut streams, ssrc, sequence), index, "{ssrc} {sequence}");
        }
        assert_eq!(streams.rollover_counter(1), Some(1));
        assert_eq!(streams.rollover_counter(3), None);
    }

    #[test]
    fn locating_changes_nothing() {
        let mut streams = Streams::default();
        receive(&mut streams, 1, 100).unwrap();
        for sequence in [101, 0x7000, 0x8064] {
            streams.locate_sequence(1, sequence).unwrap();
            streams.locate_sequence(2, sequence).unwrap();
        }
        assert_eq!(receive(&mut streams, 1, 101), Ok(101));
        assert_eq!(streams.ssrcs().collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn the_longest_silent_goes_first() {
        let mut streams = Streams::default();
        let most = MOST_SSRCS as u32;
        (0..most).for_each(|ssrc| assert_eq!(receive(&mut streams, ssrc, 1), Ok(1)));
        receive(&mut streams, 0, 2).unwrap();
        receive(&mut streams, most, 1).unwrap();
        assert_eq!(streams.rollover_counter(1), None);
        assert_eq!(streams.ssrcs().count(), MOST_SSRCS);
        assert_eq!(receive(&mut streams, 0, 2), Err(Error::Replayed));
        assert_eq!(receive(&mut streams, 2, 1), Err(Error::Replayed));
    }

    #[test]
    fn a_counter_that_is_set_holds_for_the_next_packet() {
        let mut streams = Streams::default();
        streams.set_rollover_counter(7, 5);
        assert_eq!(streams.rollover_counter(7), Some(5));
        assert_eq!(receive(&mut streams, 7, 0xfff0), Ok(0x5_fff0));
        streams.set_rollover_counter(7, 5);
        assert_eq!(receive(&mut streams, 7, 0xfff0), Err(Error::Replayed));
        assert_eq!(receive(&mut streams, 7, 3), Ok(0x6_0003));
        streams.set_rollover_counter(7, 9);
        assert_eq!(receive(&mut streams, 7, 2), Ok(0x9_0002));
    }
}
