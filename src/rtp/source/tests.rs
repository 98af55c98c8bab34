use super::*;
use proptest::prelude::*;
use std::collections::HashSet;

fn header(sequence: u16) -> Header {
    Header { marker: false, payload_type: 8, sequence, timestamp: u32::from(sequence) * 160, ssrc: 7 }
}

fn source(first: u16) -> Source {
    let mut source = Source::new(&header(first));
    source.set_payload_type(8, 8000, false);
    source
}

/// Records packets 20 ms apart, and tells what each one was.
fn feed(source: &mut Source, sequences: &[u16]) -> Vec<Order> {
    let mut orders = vec![];
    for (at, &sequence) in sequences.iter().enumerate() {
        orders.push(source.record(Mono(at as u64 * 20_000_000), &header(sequence), 172).order);
    }
    orders
}

#[test]
fn the_hot_part_is_one_cache_line() {
    assert_eq!(size_of::<Hot>(), 64);
}

#[test]
fn orders_of_short_sequences() {
    use Order::*;
    let cases: [(&[u16], &[Order]); 9] = [
        (&[5, 6, 7], &[Next, Next, Next]),
        (&[65534, 65535, 0, 1], &[Next, Next, Next, Next]),
        (&[5, 5], &[Next, Duplicate]),
        (&[5, 7, 6, 6, 8], &[Next, Skip, Late, Duplicate, Next]),
        (&[5, 4, 6], &[Next, Late, Next]),
        (&[0, 65535, 1], &[Next, Late, Next]),
        (&[5, 5000, 5001, 5002], &[Next, Jump, Reset, Next]),
        (&[5000, 5, 6, 5001], &[Next, Jump, Reset, Jump]),
        (&[5, 5000, 6], &[Next, Jump, Next]),
    ];
    for (sequences, expected) in cases {
        assert_eq!(feed(&mut source(sequences[0]), sequences), expected, "{sequences:?}");
    }
}

#[test]
fn counters_follow_the_orders() {
    let mut source = source(65530);
    feed(&mut source, &[65530, 65531, 65533, 65532, 65533, 0, 1]);
    assert_eq!((source.packets(), source.bytes()), (7, 7 * 172));
    assert_eq!((source.skips(), source.duplicates(), source.reordered(), source.resets()), (2, 1, 1, 0));
    assert_eq!(source.last_sequence(), 1);
    assert_eq!(source.extended_highest_sequence(), 0x1_0001);
    assert_eq!(source.cumulative_lost(), 1, "two are missing, one came twice");
    assert_eq!(source.lost(), 0, "they may still come");
    assert_eq!(source.finish(), 2);
    assert_eq!((source.lost(), source.finish()), (2, 0));
}

#[test]
fn missing_packets_are_lost_when_64_newer_came() {
    let mut source = source(0);
    feed(&mut source, &[0, 2]);
    let next: Vec<u16> = (3..65).collect();
    feed(&mut source, &next);
    assert_eq!(source.lost(), 0);
    assert_eq!(source.record(Mono(0), &header(65), 172), Arrival { order: Order::Next, lost: 1 });
    assert_eq!(source.lost(), 1);
}

#[test]
fn a_gap_longer_than_the_window_is_lost_but_for_its_end() {
    let mut source = source(0);
    feed(&mut source, &[0]);
    assert_eq!(source.record(Mono(0), &header(1000), 172), Arrival { order: Order::Skip, lost: 999 - 63 });
    assert_eq!(source.finish(), 63);
    assert_eq!(source.lost(), 999);
}

#[test]
fn a_restart_begins_a_new_account() {
    let mut source = source(100);
    feed(&mut source, &[100, 102, 40_000, 40_001, 40_003]);
    assert_eq!((source.resets(), source.lost()), (1, 1));
    assert_eq!(source.cumulative_lost(), 1);
    assert_eq!(source.last_sequence(), 40_003);
    assert_eq!(source.packets(), 5);
}

#[test]
fn intervals_have_their_own_loss() {
    let mut source = source(0);
    feed(&mut source, &[0, 1, 3]);
    assert_eq!(source.interval_loss(), Loss { expected: 4, lost: 1 });
    assert_eq!(source.interval_loss(), Loss { expected: 0, lost: 0 });
    feed(&mut source, &[4, 5, 5, 5]);
    assert_eq!(source.interval_loss(), Loss { expected: 2, lost: 0 });
    assert_eq!(Loss { expected: 4, lost: 1 }.fraction(), 64);
    assert_eq!(Loss { expected: 0, lost: 0 }.fraction(), 0);
    assert_eq!(Loss { expected: 2, lost: 2 }.fraction(), 255);
}

/// The example of appendix A.8 in floating point.
fn reference_jitter(transits: &[i64]) -> f64 {
    transits.windows(2).fold(0.0, |jitter, pair| jitter + ((pair[1] - pair[0]).abs() as f64 - jitter) / 16.0)
}

#[test]
fn jitter_follows_the_estimator_of_rfc_3550() {
    let delays_ms: Vec<u64> = (0..500).map(|number| 40 + number * 7919 % 13).collect();
    let mut source = source(0);
    for (number, delay) in delays_ms.iter().enumerate() {
        let at = Mono((number as u64 * 20 + delay) * 1_000_000);
        source.record(at, &header(number as u16), 172);
    }
    let transits: Vec<i64> = delays_ms.iter().map(|delay| *delay as i64 * 8).collect();
    let expected = reference_jitter(&transits);
    assert!((f64::from(source.jitter()) - expected).abs() <= 1.0, "{} and {expected}", source.jitter());
    assert_eq!(source.jitter_ms(), Some((expected / 8.0) as u32));
}

#[test]
fn an_even_stream_has_no_jitter_at_any_time_of_the_clock() {
    let mut source = source(0);
    for number in 0..1000u16 {
        source.record(Mono(1 << 50) + std::time::Duration::from_millis(u64::from(number) * 20), &header(number), 172);
    }
    assert_eq!(source.jitter_ms(), Some(0));
}

#[test]
fn events_and_unknown_clocks_are_not_measured() {
    let mut source = source(0);
    source.set_payload_type(101, 8000, true);
    for number in 0..10u16 {
        let event = Header { timestamp: 0, ..header(number) };
        source.record(Mono(u64::from(number) * 20_000_000), &event, 16);
    }
    assert_eq!((source.jitter(), source.jitter_ms()), (0, None));
    source.set_payload_type(120, 0, false);
    source.record(Mono(0), &header(10), 172);
    source.record(Mono(900_000_000), &header(11), 172);
    assert_eq!(source.jitter_ms(), None);
}

#[test]
fn payload_types_are_counted_over_changes() {
    let mut source = source(0);
    feed(&mut source, &[0, 1, 2]);
    source.set_payload_type(101, 8000, true);
    feed(&mut source, &[3]);
    source.set_payload_type(8, 8000, false);
    feed(&mut source, &[4]);
    let mut counts = source.payload_types();
    counts.sort();
    assert_eq!(counts[..], [(8, 4), (101, 1)]);
    source.forget_payload_type();
    assert!(!source.has_payload_type(8));
    let mut counts = source.payload_types();
    counts.sort();
    assert_eq!(counts[..], [(8, 4), (101, 1)]);
}

#[test]
fn quality_is_made_at_the_first_report() {
    let mut source = source(0);
    assert!(source.quality().is_none());
    source.quality_mut();
    assert!(source.quality().is_some());
}

proptest! {
    /// Whatever is lost, doubled or displaced by less than the window, the account is exact.
    #[test]
    fn the_account_is_exact(
        start in any::<u16>(),
        fates in proptest::collection::vec((0u8..10, 0usize..20), 10..400),
    ) {
        let mut order: Vec<(usize, u32)> = vec![];
        for (number, &(fate, delay)) in fates.iter().enumerate() {
            let first_and_last = number == 0 || number == fates.len() - 1;
            let (copies, delay) = match fate {
                _ if first_and_last => (1, 0),
                0 => (0, 0),
                1 => (2, 0),
                2 => (1, delay),
                _ => (1, 0),
            };
            (0..copies).for_each(|_| order.push((number + delay, number as u32)));
        }
        let last = fates.len() as u32 - 1;
        order.sort_by_key(|&(at, _)| at);
        // The last in number arrives last, so that nothing is newer than the account knows.
        order.retain(|&(_, number)| number != last);
        order.push((usize::MAX, last));
        let distinct: HashSet<u32> = order.iter().map(|&(_, number)| number).collect();
        let mut source = source(start);
        for &(_, number) in &order {
            source.record(Mono(0), &header(start.wrapping_add(number as u16)), 172);
        }
        prop_assert_eq!(source.packets(), order.len() as u64);
        prop_assert_eq!(source.duplicates(), (order.len() - distinct.len()) as u64);
        prop_assert_eq!(source.cumulative_lost(), fates.len() as i64 - order.len() as i64);
        source.finish();
        prop_assert_eq!(source.lost(), (fates.len() - distinct.len()) as u64);
        prop_assert_eq!(source.resets(), 0);
    }

    #[test]
    fn no_sequence_panics(sequences in proptest::collection::vec(any::<u16>(), 1..200)) {
        let mut source = source(sequences[0]);
        feed(&mut source, &sequences);
        source.interval_loss();
        source.finish();
        prop_assert_eq!(source.packets(), sequences.len() as u64);
    }
}
