//! Rollover counters, reordering, many streams, and the end of a key.

use super::*;

/// What a packet carries: its number since the beginning.
fn numbered(number: u64) -> Vec<u8> {
    rtp(7, number as u16, &number.to_be_bytes())
}

#[test]
fn counters_roll_over_on_both_sides_whatever_the_order() {
    let start = 65_300;
    for &(suite, name) in SUITES {
        let parameters = parameters(suite, 5);
        let (mut protector, mut unprotector) = (Protector::new(&parameters), Unprotector::new(&parameters));
        let mut order: Vec<u64> = (start..start + 400).collect();
        // The first stays, so that both sides know where the stream begins; the others are mixed within the window.
        let mut random = Seeded(6);
        for at in 1..order.len() {
            let other = (at + crate::base::random::Random::below(&mut random, 60) as usize).min(order.len() - 1);
            order.swap(at, other);
        }
        let protect = |number| protect_rtp(&mut protector, &numbered(number)).ok().map(|packet| (number, packet));
        let mut sent: Vec<(u64, Vec<u8>)> = order.into_iter().filter_map(protect).collect();
        sent[1..].chunks_mut(7).for_each(<[_]>::reverse);
        let mut received = 0;
        for (number, packet) in &sent {
            match unprotect_rtp(&mut unprotector, packet) {
                Ok(plain) => {
                    assert_eq!(plain, numbered(*number), "{name}");
                    received += 1;
                }
                Err(error) => assert_eq!(error, Error::Replayed),
            }
        }
        assert!(received > 300, "{name}: {received}");
        assert_eq!((protector.rollover_counter(7), unprotector.rollover_counter(7)), (Some(1), Some(1)));
    }
}

#[test]
fn an_old_packet_after_the_wrap_has_the_old_counter() {
    for &(suite, _) in SUITES {
        let parameters = parameters(suite, 5);
        let (mut protector, mut unprotector) = (Protector::new(&parameters), Unprotector::new(&parameters));
        for number in [65_530, 65_536, 65_540, 65_535, 65_531] {
            let packet = protect_rtp(&mut protector, &numbered(number)).unwrap();
            assert_eq!(unprotect_rtp(&mut unprotector, &packet), Ok(numbered(number)));
        }
        assert_eq!(protect_rtp(&mut protector, &numbered(65_535)), Err(Error::Replayed));
    }
}

#[test]
fn many_wraps_with_long_gaps() {
    let parameters = parameters(Suite::AeadAes256Gcm, 5);
    let (mut protector, mut unprotector) = (Protector::new(&parameters), Unprotector::new(&parameters));
    for number in (0..1_000_000).step_by(32_000) {
        let packet = protect_rtp(&mut protector, &numbered(number)).unwrap();
        assert_eq!(unprotect_rtp(&mut unprotector, &packet), Ok(numbered(number)));
        assert_eq!(unprotector.rollover_counter(7), Some((number >> 16) as u32));
    }
}

#[test]
fn streams_come_and_go() {
    for parameters in every_parameters() {
        let (mut protector, mut unprotector) = (Protector::new(&parameters), Unprotector::new(&parameters));
        for round in 0..3 {
            for ssrc in 0..MOST_SSRCS as u32 {
                let packet = rtp(ssrc, 0xffff_u16.wrapping_add(round), b"payload");
                let protected = protect_rtp(&mut protector, &packet).unwrap();
                assert_eq!(unprotect_rtp(&mut unprotector, &protected), Ok(packet));
                let packet = rtcp(ssrc, b"report");
                let protected = protect_rtcp(&mut protector, &packet).unwrap();
                assert_eq!(unprotect_rtcp(&mut unprotector, &protected), Ok(packet));
            }
        }
        let counters: Vec<_> = unprotector.ssrcs().map(|ssrc| unprotector.rollover_counter(ssrc)).collect();
        assert_eq!(counters, [Some(1); MOST_SSRCS]);
        assert!(protector.ssrcs().eq(unprotector.ssrcs()));
    }
}

#[test]
fn a_counter_is_inherited() {
    let parameters = parameters(Suite::AesCm128Sha1_80, 5);
    let (mut protector, mut unprotector) = (Protector::new(&parameters), Unprotector::new(&parameters));
    protector.set_rollover_counter(7, 41);
    let packet = protect_rtp(&mut protector, &rtp(7, 9, b"payload")).unwrap();
    assert_eq!(unprotect_rtp(&mut unprotector, &packet), Err(Error::WrongTag));
    unprotector.set_rollover_counter(7, 41);
    assert!(unprotect_rtp(&mut unprotector, &packet).is_ok());
    assert_eq!(unprotect_rtp(&mut unprotector, &packet), Err(Error::Replayed));
}

#[test]
fn keys_expire() {
    for &(suite, _) in SUITES {
        let parameters = parameters(suite, 5);
        let (mut protector, mut unprotector) = (Protector::new(&parameters), Unprotector::new(&parameters));
        protector.set_rollover_counter(7, u32::MAX);
        unprotector.set_rollover_counter(7, u32::MAX);
        let last = protect_rtp(&mut protector, &rtp(7, 0xffff, b"payload")).unwrap();
        assert!(unprotect_rtp(&mut unprotector, &last).is_ok());
        assert_eq!(protect_rtp(&mut protector, &rtp(7, 0, b"payload")), Err(Error::KeyExpired));
        assert_eq!(unprotector.unprotect_rtp(&mut rtp(7, 0, &[0; 40])), Err(Error::KeyExpired));

        protector.set_rtcp_index(0x7fff_ffff);
        let last = protect_rtcp(&mut protector, &rtcp(7, b"report")).unwrap();
        assert_eq!(unprotect_rtcp(&mut unprotector, &last), Ok(rtcp(7, b"report")));
        assert_eq!(protect_rtcp(&mut protector, &rtcp(7, b"report")), Err(Error::KeyExpired));
    }
}

#[test]
fn rtcp_indices_count_up_from_zero() {
    let parameters = parameters(Suite::AesCm128Sha1_32, 5);
    let mut protector = Protector::new(&parameters);
    for index in 0..3 {
        let packet = protect_rtcp(&mut protector, &rtcp(index, b"report")).unwrap();
        assert_eq!(packet.len(), 14 + 4 + 10);
        assert_eq!(packet[14..18], (0x8000_0000 | index).to_be_bytes());
    }
    assert_eq!(protector.rtcp_index(), 3);
}

/// The packet as it is protected once more.
fn protect_again(protector: &mut Protector, packet: &[u8]) -> Result<Vec<u8>, Error> {
    let mut buffer = packet.to_vec();
    buffer.resize(packet.len() + protector.rtp_appended_bytes(), 0xee);
    assert_eq!(protector.protect_rtp_again(&mut buffer, packet.len())?, buffer.len());
    Ok(buffer)
}

#[test]
fn a_packet_protected_again_is_the_same_packet() {
    for parameters in every_parameters() {
        let mut protector = Protector::new(&parameters);
        // Over a wrap, and far further back than the window reaches.
        let sent: Vec<(u64, Vec<u8>)> =
            (65_300..65_900).map(|number| (number, protect_rtp(&mut protector, &numbered(number)).unwrap())).collect();
        for (number, packet) in sent.iter().rev().take(512) {
            assert_eq!(protect_again(&mut protector, &numbered(*number)).as_ref(), Ok(packet), "{number}");
            assert_eq!(protect_rtp(&mut protector, &numbered(*number)), Err(Error::Replayed));
        }
        assert_eq!(protector.rollover_counter(7), Some(1));
        assert!(protect_rtp(&mut protector, &numbered(65_900)).is_ok(), "what is new goes on");
    }
}

#[test]
fn a_packet_that_was_lost_arrives_when_it_is_protected_again() {
    let parameters = parameters(Suite::AeadAes128Gcm, 5);
    let (mut protector, mut unprotector) = (Protector::new(&parameters), Unprotector::new(&parameters));
    for number in 65_530..65_545 {
        let packet = protect_rtp(&mut protector, &numbered(number)).unwrap();
        if number != 65_535 {
            unprotect_rtp(&mut unprotector, &packet).unwrap();
        }
    }
    let again = protect_again(&mut protector, &numbered(65_535)).unwrap();
    assert_eq!(unprotect_rtp(&mut unprotector, &again), Ok(numbered(65_535)));
    assert_eq!(unprotect_rtp(&mut unprotector, &again), Err(Error::Replayed));
}

#[test]
fn what_is_protected_again_for_the_first_time_counts() {
    let parameters = parameters(Suite::AesCm128Sha1_80, 5);
    let mut protector = Protector::new(&parameters);
    assert!(protect_again(&mut protector, &numbered(9)).is_ok(), "an SSRC that is new");
    assert!(protect_again(&mut protector, &numbered(11)).is_ok());
    for (number, is_new) in [(9, false), (10, true), (11, false), (12, true)] {
        assert_eq!(protect_rtp(&mut protector, &numbered(number)).is_ok(), is_new, "{number}");
    }
    let mut short = numbered(13);
    let length = short.len();
    assert_eq!(protector.protect_rtp_again(&mut short, length), Err(Error::NoRoom));
    assert_eq!(protector.protect_rtp_again(&mut short, length + 1), Err(Error::NoRoom));
}
