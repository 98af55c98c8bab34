//! Numbered RTP packets that are known beforehand, and what became of those of the other side.

/// Bytes of an RTP header without extensions (RFC 3550, section 5.1).
const HEADER_BYTES: usize = 12;
/// Payload bytes of 20 ms of G.711.
const PAYLOAD_BYTES: usize = 160;
/// PCMA.
const PAYLOAD_TYPE: u8 = 8;

/// One RTP stream: every packet follows from its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Voice {
    pub ssrc: u32,
    pub first_sequence: u16,
}

impl Voice {
    /// Packet `number`: sequence number and timestamp go on from the first; the payload begins with the number.
    pub fn packet(self, number: u32) -> Vec<u8> {
        let mut packet = vec![0x80, PAYLOAD_TYPE];
        packet.extend(self.sequence(number).to_be_bytes());
        packet.extend(number.wrapping_mul(PAYLOAD_BYTES as u32).to_be_bytes());
        packet.extend(self.ssrc.to_be_bytes());
        packet.extend(number.to_be_bytes());
        let byte = |at: usize| (number as usize * 31 + at * 7 + self.ssrc as usize) as u8;
        packet.extend((4..PAYLOAD_BYTES).map(byte));
        packet
    }

    /// The sequence number of packet `number`.
    pub fn sequence(self, number: u32) -> u16 {
        self.first_sequence.wrapping_add(number as u16)
    }

    /// The number of a packet of this stream that is as it was sent.
    fn number_of(self, packet: &[u8]) -> Option<u32> {
        let number = packet.get(HEADER_BYTES..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))?;
        (packet == self.packet(number)).then_some(number)
    }
}

/// What was heard of a voice.
#[derive(Debug, Clone)]
pub struct Hearing {
    voice: Voice,
    seen: Vec<bool>,
    /// Packets that came more than once.
    pub duplicates: usize,
    /// Datagrams that are no packet of the voice as it was sent.
    pub strangers: usize,
    /// The first few of those.
    pub examples: Vec<Vec<u8>>,
}

/// How many strange datagrams are kept.
const MOST_EXAMPLES: usize = 16;

impl Hearing {
    /// Nothing so far.
    pub fn of(voice: Voice) -> Hearing {
        Hearing { voice, seen: Vec::new(), duplicates: 0, strangers: 0, examples: Vec::new() }
    }

    /// Takes one packet, unprotected.
    pub fn take(&mut self, packet: &[u8]) {
        // A number far beyond what was said can't come from the voice.
        let number = self.voice.number_of(packet).map(|number| number as usize).filter(|number| *number < 1 << 20);
        let Some(number) = number else {
            self.strangers += 1;
            if self.examples.len() < MOST_EXAMPLES {
                self.examples.push(packet.to_vec());
            }
            return;
        };
        if number >= self.seen.len() {
            self.seen.resize(number + 1, false);
        }
        self.duplicates += usize::from(std::mem::replace(&mut self.seen[number], true));
    }

    /// Different packets that came.
    pub fn received(&self) -> usize {
        self.seen.iter().filter(|seen| **seen).count()
    }

    /// Of the packets numbered from `first` up to `said`, those that have not come.
    pub fn missing(&self, first: u32, said: u32) -> usize {
        (first as usize..said as usize).filter(|number| !self.seen.get(*number).is_some_and(|seen| *seen)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_heard_is_told_apart() {
        let voice = Voice { ssrc: 7, first_sequence: 65_535 };
        let mut hearing = Hearing::of(voice);
        for number in [0, 1, 3, 3] {
            hearing.take(&voice.packet(number));
        }
        let mut damaged = voice.packet(2);
        damaged[50] ^= 1;
        hearing.take(&damaged);
        hearing.take(&Voice { ssrc: 8, ..voice }.packet(2));
        hearing.take(b"");
        assert_eq!((hearing.received(), hearing.duplicates, hearing.strangers), (3, 1, 3));
        assert_eq!((hearing.missing(0, 5), hearing.missing(3, 4), hearing.examples.len()), (2, 0, 3));
    }
}
