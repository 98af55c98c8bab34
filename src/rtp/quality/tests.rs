use super::*;

const INFO: SenderInfo = SenderInfo { ntp: 0x0102_0304_0506_0708, rtp_timestamp: 0, packets: 0, payload_bytes: 0 };

fn ms(milliseconds: u64) -> (Mono, Unix) {
    (Mono(milliseconds * 1_000_000), Unix(1_700_000_000_000_000 + milliseconds * 1000))
}

fn report(middle: u32, delay_ms: u64, fraction_lost: u8, jitter: u32) -> ReceptionReport {
    ReceptionReport {
        ssrc: 1,
        fraction_lost,
        cumulative_lost: 7,
        highest_sequence: 0,
        jitter,
        last_sender_report: middle,
        delay_since_last: (delay_ms * 65536 / 1000) as u32,
    }
}

#[test]
fn round_trip_times_are_the_sum_of_both_legs() {
    let mut quality = Quality::default();
    quality.sender_report(ms(1000).0, &INFO);
    let sampled = quality.reception_report(
        ms(1120),
        Kind::Conversational,
        &report(INFO.ntp_middle(), 100, 3, 16),
        8000,
        Some(500),
    );
    let leg = sampled.unwrap().round_trip_leg_us;
    assert!((20_000..20_020).contains(&leg), "{leg}");
    let expected =
        Report { mos_tenths: 41, round_trip_us: leg + 500, round_trip_leg_us: leg, jitter_ms: 2, loss_percent: 1 };
    assert_eq!(sampled, Some(expected));
    assert_eq!(quality.last_leg_us(), Some(leg));
    assert_eq!(quality.cumulative_lost(), 7);
    assert_eq!(quality.average(), Some((expected, 1)));
    assert_eq!(quality.lowest(), quality.highest());
}

#[test]
fn a_report_is_scored_only_with_both_legs() {
    let mut quality = Quality::default();
    quality.sender_report(ms(0).0, &INFO);
    let sampled =
        quality.reception_report(ms(20), Kind::Conversational, &report(INFO.ntp_middle(), 0, 0, 0), 8000, None);
    let expected = Report { round_trip_leg_us: 20_000, ..Report::default() };
    assert_eq!(sampled, Some(expected));
    assert_eq!(quality.average(), None);
    assert_eq!(quality.lowest(), None);
    assert_eq!(quality.progression().map(|entry| entry.report).collect::<Vec<_>>(), [expected]);
}

#[test]
fn listening_quality_needs_no_round_trip_time() {
    let mut quality = Quality::default();
    let unmatched = report(99, 0, 0, 0);
    assert_eq!(quality.reception_report(ms(1), Kind::Conversational, &unmatched, 8000, Some(1)), None);
    assert!(quality.is_reported());
    assert_eq!(quality.progression().count(), 0);
    let sampled = quality.reception_report(ms(2), Kind::Listening, &unmatched, 8000, None).unwrap();
    assert_eq!(sampled, Report { mos_tenths: 44, ..Report::default() });
}

#[test]
fn only_the_last_sender_reports_are_matched_and_zero_matches_none() {
    let mut quality = Quality::default();
    for number in 0..6u64 {
        quality.sender_report(ms(number * 100).0, &SenderInfo { ntp: number << 16, ..INFO });
    }
    for (middle, expected) in [(0, None), (1, None), (2, Some(400_000)), (5, Some(100_000)), (6, None)] {
        let before = quality.clone();
        let sampled = quality.reception_report(ms(600), Kind::Conversational, &report(middle, 0, 0, 0), 8000, None);
        assert_eq!(sampled.map(|report| report.round_trip_leg_us), expected, "{middle}");
        quality = before;
    }
}

#[test]
fn a_delay_longer_than_the_time_that_passed_counts_as_none() {
    let mut quality = Quality::default();
    quality.sender_report(ms(0).0, &INFO);
    let sampled =
        quality.reception_report(ms(10), Kind::Conversational, &report(INFO.ntp_middle(), 900, 0, 0), 8000, Some(1));
    assert_eq!(sampled.unwrap().round_trip_leg_us, 0);
    let mut longest = report(INFO.ntp_middle(), 0, 0, 0);
    longest.delay_since_last = u32::MAX;
    longest.jitter = u32::MAX;
    quality.reception_report((Mono(u64::MAX), Unix(u64::MAX / 2)), Kind::Conversational, &longest, 1, Some(u32::MAX));
}

/// `count` reports of full quality, `gap_ms` apart.
fn series(count: u64, gap_ms: u64) -> Quality {
    let mut quality = Quality::default();
    quality.sender_report(ms(0).0, &INFO);
    for number in 0..count {
        let mut report = report(INFO.ntp_middle(), 0, 0, 0);
        report.delay_since_last = (number * gap_ms * 65536 / 1000) as u32;
        quality.reception_report(ms(number * gap_ms), Kind::Conversational, &report, 8000, Some(0));
    }
    quality
}

#[test]
fn the_progression_starts_with_one_entry_a_report() {
    let quality = series(10, 1000);
    assert_eq!(quality.interval_s(), 0);
    let times: Vec<_> = quality.progression().map(|entry| entry.reported_at.seconds() - 1_700_000_000).collect();
    assert_eq!(times, (0..10).collect::<Vec<_>>());
}

#[test]
fn a_full_progression_doubles_its_interval() {
    let times = |quality: &Quality| -> Vec<u64> {
        quality.progression().map(|entry| entry.reported_at.seconds() - 1_700_000_000).collect()
    };
    let quality = series(11, 1000);
    assert_eq!((quality.interval_s(), times(&quality)), (2, vec![0, 2, 4, 6, 8, 10]));
    let quality = series(20, 1000);
    assert_eq!((quality.interval_s(), times(&quality)), (2, (0..20).step_by(2).collect()));
    let quality = series(21, 1000);
    assert_eq!((quality.interval_s(), times(&quality)), (4, (0..21).step_by(4).collect()));
    let quality = series(3600, 5000);
    assert_eq!(quality.interval_s(), 2560);
    assert!(quality.progression().count() <= 10);
    assert_eq!(quality.average().unwrap().1, 3600);
}

#[test]
fn reports_at_one_moment_do_not_fill_the_progression_for_ever() {
    let quality = series(1000, 0);
    assert!(quality.progression().count() <= 10);
    assert_eq!(quality.interval_s(), 1);
}
