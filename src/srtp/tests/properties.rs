//! What is protected is unprotected, whatever the suite and the parameters; nothing else is.

use super::*;
use proptest::prelude::*;

/// A valid RTP packet: contributing sources, extension and payload of any size.
fn any_rtp() -> impl Strategy<Value = Vec<u8>> {
    let payload = proptest::collection::vec(any::<u8>(), 0..400);
    (0u8..16, proptest::option::of(0u16..8), payload).prop_map(|(sources, extension, payload)| {
        let mut packet = rtp(7, 100, &[]);
        packet[0] |= sources | u8::from(extension.is_some()) << 4;
        packet.resize(12 + usize::from(sources) * 4, 0x5a);
        if let Some(words) = extension {
            packet.extend_from_slice(&[0xbe, 0xde]);
            packet.extend_from_slice(&words.to_be_bytes());
            packet.resize(packet.len() + usize::from(words) * 4, 0xa5);
        }
        packet.extend_from_slice(&payload);
        packet
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn rtp_comes_back(packet in any_rtp()) {
        for parameters in every_parameters() {
            let mut protector = Protector::new(&parameters);
            let protected = protect_rtp(&mut protector, &packet).unwrap();
            prop_assert_eq!(unprotect_rtp(&mut Unprotector::new(&parameters), &protected), Ok(packet.clone()));
            let mut kept = protected.clone();
            prop_assert_eq!(Unprotector::new(&parameters).authenticate_rtp(&mut kept), Ok(()));
            prop_assert_eq!(kept, protected);
        }
    }

    #[test]
    fn rtcp_comes_back(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let packet = rtcp(9, &body);
        for parameters in every_parameters() {
            let mut protector = Protector::new(&parameters);
            let protected = protect_rtcp(&mut protector, &packet).unwrap();
            prop_assert_eq!(unprotect_rtcp(&mut Unprotector::new(&parameters), &protected), Ok(packet.clone()));
            let mut kept = protected.clone();
            prop_assert_eq!(Unprotector::new(&parameters).authenticate_rtcp(&mut kept), Ok(()));
            prop_assert_eq!(kept, protected);
        }
    }

    #[test]
    fn no_bytes_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..80), first in 0u8..64) {
        if let Some(byte) = bytes.first_mut() {
            *byte = 0x80 | first;
        }
        for parameters in every_parameters() {
            let (mut protector, mut unprotector) = (Protector::new(&parameters), Unprotector::new(&parameters));
            let opened = unprotector.unprotect_rtp(&mut bytes.clone());
            prop_assert!(opened.is_err() || !is_authenticated(&parameters));
            prop_assert!(unprotector.unprotect_rtcp(&mut bytes.clone()).is_err());
            for length in 0..=bytes.len() + 1 {
                let _ = protector.protect_rtp(&mut bytes.clone(), length);
                let _ = protector.protect_rtcp(&mut bytes.clone(), length);
            }
        }
    }
}

#[test]
fn payloads_are_encrypted_unless_that_is_off() {
    let (media, control) = (rtp(7, 1, &[0x55; 40]), rtcp(7, &[0x55; 40]));
    for parameters in every_parameters() {
        let null = suite::cipher_kind(parameters.suite) == suite::CipherKind::Null;
        let mut protector = Protector::new(&parameters);
        let protected = protect_rtp(&mut protector, &media).unwrap();
        assert_eq!(protected[..12], media[..12]);
        assert_eq!(protected[12..52] == media[12..], null || parameters.unencrypted_srtp, "{parameters:?}");
        let protected = protect_rtcp(&mut protector, &control).unwrap();
        assert_eq!(protected[..8], control[..8]);
        assert_eq!(protected[8..48] == control[8..], null || parameters.unencrypted_srtcp, "{parameters:?}");
    }
}

/// A packet that is larger than what is decrypted aside.
#[test]
fn large_packets_stay_as_they_are_when_authenticated() {
    for &(suite, _) in SUITES {
        let parameters = parameters(suite, 3);
        let packet = rtp(7, 1, &vec![0x77; 60_000]);
        let protected = protect_rtp(&mut Protector::new(&parameters), &packet).unwrap();
        let mut kept = protected.clone();
        assert_eq!(Unprotector::new(&parameters).authenticate_rtp(&mut kept), Ok(()));
        assert!(kept == protected);
        assert_eq!(unprotect_rtp(&mut Unprotector::new(&parameters), &protected), Ok(packet));
    }
}

#[test]
fn a_buffer_without_room_is_an_error() {
    for parameters in every_parameters() {
        let mut protector = Protector::new(&parameters);
        let packet = rtp(1, 1, &[0; 20]);
        for room in 0..protector.rtp_appended_bytes() {
            let mut buffer = packet.clone();
            buffer.resize(packet.len() + room, 0);
            assert_eq!(protector.protect_rtp(&mut buffer, packet.len()), Err(Error::NoRoom));
            assert_eq!(buffer[..packet.len()], packet);
        }
        let packet = rtcp(1, &[0; 20]);
        for room in 0..protector.rtcp_appended_bytes() {
            let mut buffer = packet.clone();
            buffer.resize(packet.len() + room, 0);
            assert_eq!(protector.protect_rtcp(&mut buffer, packet.len()), Err(Error::NoRoom));
        }
        assert_eq!(protector.protect_rtp(&mut [0x80; 20], 21), Err(Error::NoRoom));
        assert_eq!(protector.protect_rtcp(&mut [0x80; 20], 21), Err(Error::NoRoom));
    }
}

#[test]
fn equal_parameters_are_equal() {
    let each: Vec<Parameters> = every_parameters().collect();
    for (at, one) in each.iter().enumerate() {
        for (other_at, other) in each.iter().enumerate() {
            assert_eq!(one == other, at == other_at);
        }
    }
}
