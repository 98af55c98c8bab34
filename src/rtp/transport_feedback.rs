//! When the packets of a whole transport arrived, told to their sender so that it can estimate its bandwidth
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01, section 3).

use crate::base::sequence;
use crate::base::time::Mono;

/// Packets whose arrival is remembered; a power of two.
const KEPT_PACKETS: u32 = 2048;
/// Packets that one feedback packet tells of: with the longest deltas it still fits into a datagram.
const MOST_STATUSES: usize = 512;
/// The unit of deltas.
const TICK_NS: u64 = 250_000;
/// Ticks in the unit of the reference time, 64 ms.
const REFERENCE_TICKS: u64 = 256;

/// Packet status symbols (section 3.1.1).
const NOT_RECEIVED: u8 = 0;
const SMALL_DELTA: u8 = 1;
const LARGE_DELTA: u8 = 2;

/// What arrived and has to be told.
#[derive(Debug)]
pub struct Recorder {
    arrivals: Box<[Arrival]>,
    /// The next number to be told of, extended.
    start: u32,
    /// Extended; zero before the first packet.
    highest: u32,
    written: u8,
}

#[derive(Debug, Clone, Copy, Default)]
struct Arrival {
    /// Extended; zero before any.
    number: u32,
    ticks: u64,
}

impl Recorder {
    pub fn new() -> Recorder {
        let arrivals = vec![Arrival::default(); KEPT_PACKETS as usize].into_boxed_slice();
        Recorder { arrivals, start: 0, highest: 0, written: 0 }
    }

    /// Notes the arrival of a packet with the transport-wide number `sequence`. One that comes after others were told
    /// of lets the next feedback begin with it.
    #[inline]
    pub fn record(&mut self, now: Mono, sequence: u16) {
        if self.highest == 0 {
            self.start = 0x1_0000 | u32::from(sequence);
            self.highest = self.start;
        }
        let number = sequence::extend(self.highest, sequence);
        let step = number.wrapping_sub(self.highest) as i32;
        let slot = &mut self.arrivals[(number % KEPT_PACKETS) as usize];
        if step <= -(KEPT_PACKETS as i32) || slot.number == number {
            return;
        }
        *slot = Arrival { number, ticks: now.0 / TICK_NS };
        if step > 0 {
            self.highest = number;
        }
        if (number.wrapping_sub(self.start) as i32) < 0 {
            self.start = number;
        }
    }

    /// Whether packets have arrived that were not told of.
    pub fn has_news(&self) -> bool {
        self.highest != 0 && self.start.wrapping_sub(self.highest) as i32 <= 0
    }

    fn ticks_of(&self, number: u32) -> Option<u64> {
        let arrival = self.arrivals[(number % KEPT_PACKETS) as usize];
        (arrival.number == number).then_some(arrival.ticks)
    }

    /// Appends the control information of one feedback packet (section 3.1, from the base sequence number on) to
    /// `body`; false when there is nothing more to tell. What does not fit into one is left to the next.
    pub fn write(&mut self, body: &mut Vec<u8>) -> bool {
        let mut base = self.start;
        if self.highest.wrapping_sub(base) as i32 >= KEPT_PACKETS as i32 {
            base = self.highest.wrapping_sub(KEPT_PACKETS - 1);
        }
        let rest = (self.highest.wrapping_sub(base) as i32 + 1).max(0) as u32;
        let first = (0..rest).find_map(|offset| Some((offset, self.ticks_of(base.wrapping_add(offset))?)));
        let Some((offset, first_ticks)) = first.filter(|_| self.highest != 0) else { return false };
        // A longer gap is not told of packet by packet.
        if offset as usize >= MOST_STATUSES {
            base = base.wrapping_add(offset);
        }
        let rest = (self.highest.wrapping_sub(base) + 1).min(MOST_STATUSES as u32);
        let reference = first_ticks / REFERENCE_TICKS;
        let mut before = reference * REFERENCE_TICKS;
        let (mut symbols, mut count) = ([NOT_RECEIVED; MOST_STATUSES], 0);
        let (mut deltas, mut delta_bytes) = ([0; 2 * MOST_STATUSES], 0);
        for number in (0..rest).map(|offset| base.wrapping_add(offset)) {
            if let Some(ticks) = self.ticks_of(number) {
                let Ok(delta) = i16::try_from(ticks as i64 - before as i64) else { break };
                before = ticks;
                let bytes = delta.to_be_bytes();
                let (symbol, written) =
                    if bytes[0] == 0 { (SMALL_DELTA, &bytes[1..]) } else { (LARGE_DELTA, &bytes[..]) };
                symbols[count] = symbol;
                deltas[delta_bytes..delta_bytes + written.len()].copy_from_slice(written);
                delta_bytes += written.len();
            }
            count += 1;
        }
        body.extend_from_slice(&(base as u16).to_be_bytes());
        body.extend_from_slice(&(count as u16).to_be_bytes());
        body.extend_from_slice(&((reference as u32) << 8 | u32::from(self.written)).to_be_bytes());
        write_chunks(&symbols[..count], body);
        body.extend_from_slice(&deltas[..delta_bytes]);
        self.written = self.written.wrapping_add(1);
        self.start = base.wrapping_add(count as u32);
        true
    }
}

impl Default for Recorder {
    fn default() -> Recorder {
        Recorder::new()
    }
}

/// Packet status chunks (sections 3.1.3 and 3.1.4): long runs, and vectors of what is mixed.
fn write_chunks(symbols: &[u8], body: &mut Vec<u8>) {
    let mut rest = symbols;
    while let Some(&first) = rest.first() {
        let run = rest.iter().take_while(|symbol| **symbol == first).count();
        let vector = |length: usize, bits: usize| {
            let taken = &rest[..rest.len().min(length)];
            let placed = taken.iter().enumerate().map(|(at, symbol)| u16::from(*symbol) << (14 - bits * (at + 1)));
            (taken.len(), placed.sum::<u16>())
        };
        let has_large = rest.iter().take(14).any(|symbol| *symbol == LARGE_DELTA);
        let (taken, chunk) = match has_large {
            _ if run >= 14 || run == rest.len() || has_large && run >= 7 => (run, u16::from(first) << 13 | run as u16),
            false => (vector(14, 1).0, 0x8000 | vector(14, 1).1),
            true => (vector(7, 2).0, 0xc000 | vector(7, 2).1),
        };
        body.extend_from_slice(&chunk.to_be_bytes());
        rest = &rest[taken..];
    }
}

#[cfg(test)]
mod tests;
