//! RFC 3711, appendix B; RFC 6188, section 7; RFC 7714, sections 16 and 17.

use super::*;
use crate::srtp::cipher::PacketId;
use crate::srtp::cipher::aes::Aes;
use crate::srtp::cipher::f8::F8;
use crate::srtp::derive::SessionKeys;
use crate::srtp::session::Transform;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn number(text: &str) -> u128 {
    hex(text).iter().fold(0, |number, byte| number << 8 | u128::from(*byte))
}

/// RFC 3711, appendix B.2; RFC 6188, sections 7.1 and 7.2.
#[test]
fn keystreams_in_counter_mode() {
    let start = number("f0f1f2f3f4f5f6f7f8f9fafbfcfd0000");
    let cases = [
        (
            "2b7e151628aed2a6abf7158809cf4f3c",
            "e03ead0935c95e80e166b16dd92b4eb4 d23513162b02d0f72a43a2fe4a5f97ab 41e95b3bb0a2e8dd477901e4fca894c0",
            "ec8cdf7398607cb0f2d21675ea9ea1e4 362b7c3c6773516318a077d7fc5073ae 6a2cc3787889374fbeb4c81b17ba6c44",
        ),
        (
            "eab234764e517b2d3d160d587d8c86219740f65f99b6bcf7",
            "35096cba4610028dc1b57503804ce37c 5de986291dcce161d5165ec4568f5c9a 474a40c77894bc17180202272a4c264d",
            "d108d1a31a00bad6367ec23eb044b415 c8f57129fdeb970b59f917b257662d4c a5dab625811034e8cebdfeb6dc158dd3",
        ),
        (
            "57f82fe3613fd170a85ec93c40b1f0922ec4cb0dc025b58272147cc438944a98",
            "92bdd28a93c3f52511c677d08b5515a4 9da71b2378a854f67050756ded165bac 63c4868b7096d88421b563b8c94c9a31",
            "cea518c90fd91ced9cbb18c078a54711 3dbc4814f4da5f00a08772b63c6a046d 6eb246913062a16891433e97dd01a57f",
        ),
    ];
    for (key, first, last) in cases {
        let aes = Aes::new(&hex(key));
        let mut keystream = vec![0; 0xff02 * 16];
        aes.apply_keystream(start, &mut keystream);
        assert_eq!(keystream[..48], hex(first), "{key}");
        assert_eq!(keystream[0xfeff * 16..], hex(last), "{key}");
        for length in [0, 1, 15, 16, 17, 127, 128, 129, 160, 1188] {
            let mut short = vec![0; length];
            aes.apply_keystream(start, &mut short);
            assert_eq!(short, keystream[..length], "{length}");
        }
    }
}

/// RFC 3711, appendix B.3; RFC 6188, sections 7.3 and 7.4.
#[test]
fn session_keys() {
    let cases = [
        (
            Suite::AesCm128Sha1_80,
            "e1f97a0d3e018be0d64fa32c06de4139 0ec675ad498afeebb6960b3aabe6",
            "c61e7a93744f39ee10734afe3ff7a087",
            "30cbbc08863d8c85d49db34a9ae1",
            "cebe321f6ff7716b6fd4ab49af256a156d38baa4",
        ),
        (
            Suite::Aes192CmSha1_80,
            "73edc66c4fa15776fb57f9505c17136550ffda71f3e8e5f1 c8522f3acd4ce86d5add78edbb11",
            "31874736a8f1143870c26e4857d8a5b2c4a354407faadabb",
            "2372b82d639b6d8503a47adc0a6c",
            "355b10973cd95b9eacf4061c7e1a7151e7cfbfcb",
        ),
        (
            Suite::Aes256CmSha1_80,
            "f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6 3b04803de51ee7c96423ab5b78d2",
            "5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4",
            "fa31791685ca444a9e07c6c64e93",
            "fd9c32d39ed5fbb5a9dc96b30818454d1313dc05",
        ),
    ];
    for (suite, master, encryption, salt, authentication) in cases {
        let keys = SessionKeys::rtp(suite, &MasterKey::from_concatenated(suite, &hex(master)).unwrap());
        assert_eq!(keys.encryption(), hex(encryption), "{suite:?}");
        assert_eq!(keys.salt, number(salt), "{suite:?}");
        assert_eq!(keys.authentication[..], hex(authentication), "{suite:?}");
    }
}

/// RFC 3711, appendix B.1.
#[test]
fn a_packet_in_f8_mode() {
    let f8 = F8::new(&hex("234829008467be186c3de14aae72d62c"), &hex("32f2870d"));
    let mut packet = hex("806e5cba50681de55c621599");
    packet.extend_from_slice(b"pseudorandomness is the next best thing");
    f8.apply(&PacketId::rtp(0x5c62_1599, 0xd462_564a_5cba), &mut packet, 12);
    let payload = "019ce7a26e7854014a6366aa95d4eefd1ad4172a14f9faf455b7f1d4b62bd08f562c0eef7c4802";
    assert_eq!(packet[12..], hex(payload));
}

/// Both sides with session keys that were not derived.
fn sides(key: &str, unencrypted: bool) -> (Protector, Unprotector) {
    let suite = if key.len() > 32 { Suite::AeadAes256Gcm } else { Suite::AeadAes128Gcm };
    let parameters =
        Parameters { unencrypted_srtp: unencrypted, unencrypted_srtcp: unencrypted, ..parameters(suite, 0) };
    let keys = SessionKeys::given(&hex(key), number("517569642070726f2071756f"));
    let transform = |is_rtcp| Transform::new(&parameters, &keys, is_rtcp);
    let mut protector = Protector::with(transform(false), transform(true));
    protector.set_rtcp_index(0x5d4);
    (protector, Unprotector::with(transform(false), transform(true)))
}

const KEY_128: &str = "000102030405060708090a0b0c0d0e0f";
const KEY_256: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// RFC 7714, sections 16.1 and 16.2.
#[test]
fn srtp_packets_with_gcm() {
    let cases = [
        (
            KEY_128,
            "f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833 \
             899d7f27beb16a9152cf765ee4390cce",
        ),
        (
            KEY_256,
            "32b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b \
             7aa3db36dfffd6b0f9bb7878d7a76c13",
        ),
    ];
    let plain = [&hex("8040f17b8041f8d35501a0b2")[..], b"Gallia est omnis divisa in partes tres"].concat();
    for (key, sealed) in cases {
        let (mut protector, mut unprotector) = sides(key, false);
        let expected = [&plain[..12], &hex(sealed)].concat();
        assert_eq!(protect_rtp(&mut protector, &plain), Ok(expected.clone()));
        assert_eq!(unprotect_rtp(&mut unprotector, &expected), Ok(plain.clone()));
    }
}

/// RFC 7714, sections 16.1.3 and 16.2.3.
#[test]
fn srtp_packets_with_a_tag_alone() {
    let plain = [&hex("8040f17b8041f8d35501a0b2")[..], b"Gallia est omnis divisa in partes tres"].concat();
    for (key, tag) in [(KEY_128, "22493f82d2bce397e9d79e3b19aa4216"), (KEY_256, "a866d5910f887463067ceefec45215d4")] {
        let (mut protector, mut unprotector) = sides(key, true);
        let expected = [&plain[..], &hex(tag)].concat();
        assert_eq!(protect_rtp(&mut protector, &plain), Ok(expected.clone()));
        assert_eq!(unprotect_rtp(&mut unprotector, &expected), Ok(plain.clone()));
    }
}

/// RFC 7714, sections 17.1 to 17.4.
#[test]
fn srtcp_packets_with_gcm() {
    let plain = "81c8000d4d617273 4e5450314e545032525450200000042a0000e9304c756e61\
                 deadbeefdeadbeefdeadbeefdeadbeefdeadbeef";
    let tagged = format!("{plain} 841dd9683dd78ec92ae58790125f62b3 000005d4");
    let tagged_256 = format!("{plain} 91db4afbfeee5a978fab4393ed2615fe 000005d4");
    let cases = [
        (
            KEY_128,
            false,
            "81c8000d4d617273 63e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda4ce09b468630\
             3ded0bb9275bc84aa45896cf4d2fc5abf87245d9eade 800005d4",
        ),
        (
            KEY_256,
            false,
            "81c8000d4d617273 d50ae4d1f5ce5d304ba297e47d470c282c3ece5dbffe0a50a2eaa5c1110555be8415f658c61d\
             e0476f1b6fad1d1eb30c4446839f57ff6f6cb26ac3be 800005d4",
        ),
        (KEY_128, true, &tagged),
        (KEY_256, true, &tagged_256),
    ];
    for (key, unencrypted, expected) in cases {
        let (mut protector, mut unprotector) = sides(key, unencrypted);
        assert_eq!(protect_rtcp(&mut protector, &hex(plain)), Ok(hex(expected)), "{key}");
        assert_eq!(unprotect_rtcp(&mut unprotector, &hex(expected)), Ok(hex(plain)), "{key}");
    }
}
