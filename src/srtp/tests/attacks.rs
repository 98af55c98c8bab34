//! Forged, cut and repeated packets.

use super::*;

#[test]
fn every_flipped_bit_is_noticed() {
    for parameters in every_parameters().filter(is_authenticated) {
        let mut unprotector = Unprotector::new(&parameters);
        let mut protector = Protector::new(&parameters);
        let media = protect_rtp(&mut protector, &rtp(7, 1, b"some payload that is longer than one block")).unwrap();
        let control = protect_rtcp(&mut protector, &rtcp(7, b"some report that is longer than one block")).unwrap();
        for bit in 0..media.len() * 8 {
            let mut forged = media.clone();
            forged[bit / 8] ^= 0x80 >> (bit % 8);
            assert!(unprotector.unprotect_rtp(&mut forged.clone()).is_err(), "{parameters:?} {bit}");
            assert!(unprotector.authenticate_rtp(&mut forged).is_err(), "{parameters:?} {bit}");
        }
        for bit in 0..control.len() * 8 {
            let mut forged = control.clone();
            forged[bit / 8] ^= 0x80 >> (bit % 8);
            assert!(unprotector.unprotect_rtcp(&mut forged.clone()).is_err(), "{parameters:?} {bit}");
            assert!(unprotector.authenticate_rtcp(&mut forged).is_err(), "{parameters:?} {bit}");
        }
        assert_eq!(unprotector.ssrcs().count(), 0);
        assert!(unprotector.unprotect_rtp(&mut media.clone()).is_ok());
        assert!(unprotector.unprotect_rtcp(&mut control.clone()).is_ok());
    }
}

#[test]
fn every_truncation_is_an_error() {
    for parameters in every_parameters() {
        let (mut protector, mut unprotector) = (Protector::new(&parameters), Unprotector::new(&parameters));
        let mut media = rtp(7, 1, &[1; 60]);
        // One source, an extension of two words.
        media[0] |= 0x11;
        media[12..20].copy_from_slice(&[0, 0, 0, 1, 0xbe, 0xde, 0, 2]);
        let media = protect_rtp(&mut protector, &media).unwrap();
        let control = protect_rtcp(&mut protector, &rtcp(7, &[1; 60])).unwrap();
        for length in 0..media.len() {
            let opened = unprotector.unprotect_rtp(&mut media[..length].to_vec());
            // Without a tag, a packet that ends early is a packet.
            assert!(opened.is_err() || !is_authenticated(&parameters), "{parameters:?} {length}");
            if length < 12 {
                assert_eq!(opened, Err(Error::TooShort));
            }
        }
        for length in 0..control.len() {
            let opened = unprotector.unprotect_rtcp(&mut control[..length].to_vec());
            assert!(opened.is_err(), "{parameters:?} {length}");
            if length < 8 + protector.rtcp_appended_bytes() {
                assert_eq!(opened, Err(Error::TooShort), "{parameters:?} {length}");
            }
        }
    }
}

#[test]
fn replayed_packets_are_dropped() {
    for parameters in every_parameters() {
        let (mut protector, mut unprotector) = (Protector::new(&parameters), Unprotector::new(&parameters));
        let media: Vec<_> =
            (0..130).map(|at| protect_rtp(&mut protector, &rtp(7, 65_400 + at, b"payload")).unwrap()).collect();
        let control: Vec<_> = (0..130).map(|_| protect_rtcp(&mut protector, &rtcp(7, b"report")).unwrap()).collect();
        for at in (0..media.len()).filter(|at| at % 2 == 0) {
            unprotect_rtp(&mut unprotector, &media[at]).unwrap();
            unprotect_rtcp(&mut unprotector, &control[at]).unwrap();
        }
        // The newest is 128: 1 is the oldest in the window.
        for at in 0..media.len() {
            let new = at % 2 == 1;
            assert_eq!(unprotect_rtp(&mut unprotector, &media[at]).is_ok(), new, "{at}");
            assert_eq!(unprotect_rtcp(&mut unprotector, &control[at]).is_ok(), new, "{at}");
            assert_eq!(unprotect_rtp(&mut unprotector, &media[at]), Err(Error::Replayed));
            assert_eq!(unprotect_rtcp(&mut unprotector, &control[at]), Err(Error::Replayed));
        }
    }
}

#[test]
fn packets_that_come_too_late_are_dropped() {
    let parameters = parameters(Suite::AesCm128Sha1_80, 1);
    let (mut protector, mut unprotector) = (Protector::new(&parameters), Unprotector::new(&parameters));
    let media: Vec<_> = (0..129).map(|at| protect_rtp(&mut protector, &rtp(7, at, b"payload")).unwrap()).collect();
    unprotect_rtp(&mut unprotector, &media[128]).unwrap();
    assert_eq!(unprotect_rtp(&mut unprotector, &media[0]), Err(Error::Replayed));
    assert!(unprotect_rtp(&mut unprotector, &media[1]).is_ok());
}

#[test]
fn forged_jumps_move_nothing() {
    for parameters in every_parameters().filter(is_authenticated) {
        let (mut protector, mut unprotector) = (Protector::new(&parameters), Unprotector::new(&parameters));
        let mut next = |sequence| protect_rtp(&mut protector, &rtp(7, sequence, b"payload")).unwrap();
        unprotect_rtp(&mut unprotector, &next(40_000)).unwrap();
        let genuine = next(40_001);
        for sequence in (0..=u16::MAX).step_by(251) {
            let mut forged = genuine.clone();
            forged[2..4].copy_from_slice(&sequence.to_be_bytes());
            assert!(unprotector.unprotect_rtp(&mut forged).is_err());
        }
        assert_eq!(unprotector.rollover_counter(7), Some(0));
        assert!(unprotect_rtp(&mut unprotector, &genuine).is_ok(), "{parameters:?}");
    }
}

#[test]
fn forged_ssrcs_drive_nobody_out() {
    let parameters = parameters(Suite::AeadAes128Gcm, 1);
    let (mut protector, mut unprotector) = (Protector::new(&parameters), Unprotector::new(&parameters));
    unprotector.set_rollover_counter(7, 3);
    protector.set_rollover_counter(7, 3);
    for ssrc in 1000..2000 {
        assert_eq!(unprotector.unprotect_rtp(&mut rtp(ssrc, 1, &[0; 40])), Err(Error::WrongTag));
        assert_eq!(unprotector.unprotect_rtcp(&mut rtcp(ssrc, &[0; 40])), Err(Error::WrongTag));
    }
    assert_eq!(unprotector.ssrcs().collect::<Vec<_>>(), [7]);
    let packet = protect_rtp(&mut protector, &rtp(7, 1, b"payload")).unwrap();
    assert!(unprotect_rtp(&mut unprotector, &packet).is_ok());
}

#[test]
fn a_flood_of_bad_packets_stops_no_good_one() {
    let rounds = if cfg!(debug_assertions) { 20 } else { 10_000 };
    for suite in [Suite::AesCm128Sha1_80, Suite::AeadAes128Gcm] {
        let parameters = parameters(suite, 1);
        let (mut protector, mut unprotector) = (Protector::new(&parameters), Unprotector::new(&parameters));
        let mut random = Seeded(4);
        for round in 0..rounds {
            let good = protect_rtp(&mut protector, &rtp(7, round as u16, &[3; 40])).unwrap();
            for _ in 0..50 {
                let mut bad = good.clone();
                let at = random_below(&mut random, bad.len() - 1);
                bad[1 + at] ^= 1 << random_below(&mut random, 8);
                assert!(unprotector.unprotect_rtp(&mut bad).is_err());
            }
            assert!(unprotect_rtp(&mut unprotector, &good).is_ok(), "{round}");
        }
    }
}

fn random_below(random: &mut Seeded, bound: usize) -> usize {
    crate::base::random::Random::below(random, bound as u32) as usize
}

#[test]
fn another_key_or_identifier_is_refused() {
    for parameters in every_parameters().filter(|parameters| parameters.mki.is_some()) {
        let other = Parameters {
            mki: Mki::new(&vec![9; parameters.mki.as_ref().unwrap().bytes().len()]),
            ..parameters.clone()
        };
        let (mut protector, mut unprotector) = (Protector::new(&parameters), Unprotector::new(&other));
        let media = protect_rtp(&mut protector, &rtp(7, 1, b"payload")).unwrap();
        let control = protect_rtcp(&mut protector, &rtcp(7, b"report")).unwrap();
        assert_eq!(unprotect_rtp(&mut unprotector, &media), Err(Error::WrongMki));
        assert_eq!(unprotect_rtcp(&mut unprotector, &control), Err(Error::WrongMki));
    }
    for parameters in every_parameters().filter(is_authenticated) {
        let other = Parameters { master: super::parameters(parameters.suite, 77).master, ..parameters.clone() };
        let (mut protector, mut unprotector) = (Protector::new(&parameters), Unprotector::new(&other));
        let media = protect_rtp(&mut protector, &rtp(7, 1, b"payload")).unwrap();
        let control = protect_rtcp(&mut protector, &rtcp(7, b"report")).unwrap();
        assert_eq!(unprotect_rtp(&mut unprotector, &media), Err(Error::WrongTag));
        assert_eq!(unprotect_rtcp(&mut unprotector, &control), Err(Error::WrongTag));
    }
}
