use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Control information as a sender reads it: base, counter, and the status of each packet with its ticks.
struct Read {
    base: u16,
    counter: u8,
    /// Ticks modulo those of the reference time, by place.
    statuses: Vec<Option<i64>>,
    chunks: Vec<u16>,
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn read(bytes: &[u8]) -> Read {
    let count = usize::from(word(bytes, 2));
    let reference = i64::from(u32::from_be_bytes([0, bytes[4], bytes[5], bytes[6]]));
    let (mut at, mut symbols, mut chunks) = (8, Vec::new(), Vec::new());
    while symbols.len() < count {
        let chunk = word(bytes, at);
        match chunk >> 14 {
            0 | 1 => symbols.extend(std::iter::repeat_n((chunk >> 13 & 3) as u8, usize::from(chunk & 0x1fff))),
            2 => symbols.extend((0..14).rev().map(|bit| (chunk >> bit & 1) as u8)),
            _ => symbols.extend((0..7).rev().map(|place| (chunk >> (2 * place) & 3) as u8)),
        }
        chunks.push(chunk);
        at += 2;
    }
    assert!(symbols[count..].iter().all(|symbol| *symbol == 0), "what is left of a vector is zero");
    let mut ticks = reference * 256;
    let status = |symbol: u8| {
        let (delta, length) = match symbol {
            0 => return None,
            1 => (i64::from(bytes[at]), 1),
            2 => (i64::from(word(bytes, at) as i16), 2),
            _ => panic!("a reserved symbol"),
        };
        at += length;
        ticks += delta;
        Some(ticks)
    };
    let statuses = symbols[..count].iter().copied().map(status).collect();
    assert_eq!(at, bytes.len(), "every delta has a status");
    Read { base: word(bytes, 0), counter: bytes[7], statuses, chunks }
}

fn all(recorder: &mut Recorder) -> Vec<Read> {
    let mut list = Vec::new();
    loop {
        let mut body = Vec::new();
        if !recorder.write(&mut body) {
            assert!(!recorder.has_news() && body.is_empty());
            return list;
        }
        assert!(body.len() <= 1200, "{} bytes", body.len());
        list.push(read(&body));
    }
}

/// A moment in ticks.
fn at(ticks: u64) -> Mono {
    Mono(ticks * TICK_NS)
}

#[test]
fn packets_in_order_are_one_run() {
    let mut recorder = Recorder::new();
    assert!(!recorder.has_news());
    (0..100u16).for_each(|n| recorder.record(at(1000 + 4 * u64::from(n)), 65_500u16.wrapping_add(n)));
    let [told] = &all(&mut recorder)[..] else { panic!("one packet") };
    assert_eq!((told.base, told.counter, told.chunks.as_slice()), (65_500, 0, &[0x2000 | 100][..]));
    assert!((0..100).all(|n| told.statuses[n] == Some(1000 + 4 * n as i64)));
    assert!(all(&mut recorder).is_empty(), "nothing is told twice");
    recorder.record(at(2000), 64);
    let [told] = &all(&mut recorder)[..] else { panic!("one packet") };
    assert_eq!((told.base, told.counter, told.statuses.as_slice()), (64, 1, &[Some(2000)][..]));
}

#[test]
fn loss_and_reordering_make_vectors() {
    let mut recorder = Recorder::new();
    for (sequence, ticks) in [(1, 300), (2, 301), (4, 310), (3, 311), (7, 600), (8, 601)] {
        recorder.record(at(ticks), sequence);
    }
    let [told] = &all(&mut recorder)[..] else { panic!("one packet") };
    assert_eq!(told.statuses, [Some(300), Some(301), Some(311), Some(310), None, None, Some(600), Some(601)]);
    // Small, small, small, negative, lost, lost, 72.5 ms later; and the last one by itself.
    assert_eq!(told.chunks, [0xc000 | 0b01_01_01_10_00_00_10, 0x2001]);
    let mut recorder = Recorder::new();
    (0..14u16).filter(|n| n % 3 != 1).for_each(|n| recorder.record(at(256), n));
    assert_eq!(all(&mut recorder)[0].chunks, [0x8000 | 0b10_1101_1011_0110]);
}

#[test]
fn one_that_comes_late_is_told_of() {
    let mut recorder = Recorder::new();
    [10, 12].into_iter().for_each(|sequence| recorder.record(at(1), sequence));
    assert_eq!(all(&mut recorder)[0].statuses, [Some(1), None, Some(1)]);
    recorder.record(at(9), 11);
    let [told] = &all(&mut recorder)[..] else { panic!("one packet") };
    assert_eq!((told.base, told.statuses.as_slice()), (11, &[Some(9), Some(1)][..]));
    recorder.record(at(20), 11);
    assert!(!recorder.has_news(), "a copy is no news");
}

#[test]
fn long_pauses_and_many_packets_are_split() {
    let mut recorder = Recorder::new();
    recorder.record(at(0), 0);
    // 8.2 s later: more than a delta holds.
    recorder.record(at(32_800), 1);
    let told = all(&mut recorder);
    assert_eq!(told.iter().map(|told| (told.base, told.counter)).collect::<Vec<_>>(), [(0, 0), (1, 1)]);
    (2..1300u16).for_each(|n| recorder.record(at(40_000 + u64::from(n) * 300), n));
    let told = all(&mut recorder);
    assert_eq!(told.iter().map(|told| told.statuses.len()).collect::<Vec<_>>(), [512, 512, 274]);
    assert!(told.iter().flat_map(|told| &told.statuses).all(Option::is_some));
}

#[test]
fn long_gaps_are_passed_over() {
    let mut recorder = Recorder::new();
    recorder.record(at(0), 0);
    recorder.record(at(10), 30_000);
    recorder.record(at(20), 31_500);
    let told = all(&mut recorder);
    assert_eq!(told.iter().map(|told| told.base).collect::<Vec<_>>(), [30_000, 31_500]);
    assert_eq!(told[0].statuses.len(), 512);
}

proptest! {
    /// Everything that arrived is told, at its time and nowhere else, whatever the order and the loss.
    #[test]
    fn all_that_arrived_is_told(
        first: u16,
        steps in prop::collection::vec((-40i32..60, 0u64..1000), 1..600),
        pauses in prop::collection::vec(1usize..100, 1..10),
    ) {
        let mut recorder = Recorder::new();
        let (mut number, mut ticks) = (1_000_000 + i64::from(first), 5000);
        let (mut arrived, mut told) = (BTreeMap::new(), BTreeMap::new());
        let mut until = 0;
        for (index, (step, later)) in steps.iter().enumerate() {
            number += i64::from(*step);
            ticks += later;
            // What is older than the first packet, or long out of reach, need not be told.
            if arrived.keys().next_back().is_some_and(|highest| highest - number > 1500) {
                continue;
            }
            recorder.record(at(ticks), number as u16);
            arrived.entry(number).or_insert(ticks as i64);
            if index >= until || index + 1 == steps.len() {
                until = index + pauses[index % pauses.len()];
                for read in all(&mut recorder) {
                    let highest = *arrived.keys().next_back().expect("one arrived");
                    let base = highest - i64::from((highest as u16).wrapping_sub(read.base));
                    for (place, status) in read.statuses.iter().enumerate() {
                        let number = base + place as i64;
                        prop_assert_eq!(status.as_ref(), arrived.get(&number), "{}", number);
                        told.extend(status.map(|ticks| (number, ticks)));
                    }
                }
            }
        }
        prop_assert_eq!(told, arrived);
    }
}
