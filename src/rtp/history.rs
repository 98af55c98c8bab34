//! The last packets of one SSRC, kept to be sent again to receivers that miss some (RFC 4585, section 6.2.1).

use crate::base::sequence;

/// Packets that are kept; a power of two.
pub const KEPT_PACKETS: u32 = 512;
/// Longer packets are not kept, in bytes.
pub const LONGEST_BYTES: usize = 1504;

/// A ring of packets by sequence number. Of two packets with one number it keeps the first, so that whatever it gives
/// back is what was there when the packet first went on its way.
pub struct History {
    ssrc: u32,
    slots: Box<[Slot]>,
    bytes: Box<[u8]>,
    /// The first number, extended. What is older was not seen.
    first: u32,
    newest: u32,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    /// Extended; zero before any.
    number: u32,
    /// Zero when the packet itself is not kept.
    length: u16,
    note: u16,
}

/// Where a packet stands among those before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Newer than all, with so many missing before it.
    Newer { missing: u16 },
    /// It had been missing.
    Late,
    /// It was there before, or is too old to tell.
    Known,
}

/// What is known of a number that a receiver asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<'a> {
    /// The packet, with the note that was left with it.
    Kept(&'a [u8], u16),
    /// A number of the last [`KEPT_PACKETS`], whose packet is not here.
    Missing,
    /// Too old or too new.
    OutOfReach,
}

impl History {
    /// A history that begins with the packet `sequence`.
    pub fn new(ssrc: u32, sequence: u16) -> History {
        let first = 0x1_0000 | u32::from(sequence);
        let newest = first - 1;
        History {
            ssrc,
            slots: vec![Slot::default(); KEPT_PACKETS as usize].into_boxed_slice(),
            bytes: vec![0; KEPT_PACKETS as usize * LONGEST_BYTES].into_boxed_slice(),
            first,
            newest,
        }
    }

    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    fn index(number: u32) -> usize {
        (number % KEPT_PACKETS) as usize
    }

    /// Whether the last [`KEPT_PACKETS`] have room for `number`.
    fn is_in_reach(&self, number: u32) -> bool {
        let age = self.newest.wrapping_sub(number);
        age < KEPT_PACKETS && number.wrapping_sub(self.first) < u32::MAX / 2
    }

    /// Takes in a packet. `note` is a number of the owner's.
    #[inline]
    pub fn keep(&mut self, sequence: u16, packet: &[u8], note: u16) -> Place {
        let number = sequence::extend(self.newest, sequence);
        let step = number.wrapping_sub(self.newest) as i32;
        let place = if step > 0 { Place::Newer { missing: (step - 1) as u16 } } else { Place::Late };
        if step > 0 {
            self.newest = number;
        }
        let index = History::index(number);
        if !self.is_in_reach(number) || self.slots[index].number == number {
            return Place::Known;
        }
        let room = &mut self.bytes[index * LONGEST_BYTES..][..LONGEST_BYTES];
        let kept = room.get_mut(..packet.len());
        let length = kept.as_ref().map_or(0, |kept| kept.len() as u16);
        if let Some(kept) = kept {
            kept.copy_from_slice(packet);
        }
        self.slots[index] = Slot { number, length, note };
        place
    }

    /// The packet `sequence`, if it is here.
    pub fn find(&self, sequence: u16) -> Found<'_> {
        let number = sequence::extend(self.newest, sequence);
        if !self.is_in_reach(number) {
            return Found::OutOfReach;
        }
        let index = History::index(number);
        let slot = self.slots[index];
        if slot.number != number || slot.length == 0 {
            return Found::Missing;
        }
        Found::Kept(&self.bytes[index * LONGEST_BYTES..][..usize::from(slot.length)], slot.note)
    }

    /// Gives up the packets, and still knows which numbers there were.
    pub fn forget_packets(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.length = 0);
    }
}

/// Says nothing of contents.
impl std::fmt::Debug for History {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("History").field("ssrc", &self.ssrc).field("newest", &self.newest).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(history: &History, sequence: u16) -> Option<Vec<u8>> {
        match history.find(sequence) {
            Found::Kept(bytes, _) => Some(bytes.to_vec()),
            Found::Missing | Found::OutOfReach => None,
        }
    }

    #[test]
    fn packets_are_found_over_the_wrap() {
        let mut history = History::new(1, 65_000);
        for number in 65_000..67_000u32 {
            assert_eq!(history.keep(number as u16, &number.to_be_bytes(), 7), Place::Newer { missing: 0 });
        }
        for number in 67_000 - KEPT_PACKETS..67_000 {
            assert_eq!(history.find(number as u16), Found::Kept(&number.to_be_bytes(), 7), "{number}");
        }
        for number in [67_000 - KEPT_PACKETS - 1, 67_000, 67_001] {
            assert_eq!(history.find(number as u16), Found::OutOfReach, "{number}");
        }
    }

    #[test]
    fn gaps_are_told_and_filled() {
        let mut history = History::new(1, 65_534);
        assert_eq!(history.keep(65_534, b"a", 0), Place::Newer { missing: 0 });
        assert_eq!(history.keep(1, b"d", 0), Place::Newer { missing: 2 });
        assert_eq!((history.find(65_535), history.find(0)), (Found::Missing, Found::Missing));
        assert_eq!(history.keep(0, b"c", 0), Place::Late);
        assert_eq!(history.keep(0, b"x", 0), Place::Known);
        assert_eq!(kept(&history, 0), Some(b"c".to_vec()), "the first packet of a number stays");
        assert_eq!(history.keep(65_533, b"-", 0), Place::Known, "what was before the first is not asked for");
        assert_eq!(history.find(65_533), Found::OutOfReach);
    }

    #[test]
    fn what_is_too_long_or_given_up_keeps_its_number() {
        let mut history = History::new(1, 5);
        history.keep(5, &[0; LONGEST_BYTES + 1], 0);
        history.keep(6, &[1; LONGEST_BYTES], 0);
        assert_eq!(history.find(5), Found::Missing);
        assert_eq!(history.keep(5, b"other", 0), Place::Known);
        assert_eq!(kept(&history, 6), Some(vec![1; LONGEST_BYTES]));
        history.forget_packets();
        assert_eq!(history.find(6), Found::Missing);
        assert_eq!(history.keep(6, b"other", 0), Place::Known);
        assert_eq!(history.find(6), Found::Missing);
    }

    #[test]
    fn a_sender_that_begins_anew_overwrites_nothing() {
        let mut history = History::new(1, 30_000);
        history.keep(30_000, b"a", 0);
        assert_eq!(history.keep(20_000, b"b", 0), Place::Known);
        assert_eq!(kept(&history, 30_000), Some(b"a".to_vec()));
    }
}
