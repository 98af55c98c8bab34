use super::*;
use crate::wire::Malformed;
use proptest::prelude::*;
use std::net::SocketAddr;

const PASSWORD: &str = "VOkJxbRl1RmTxUk/WvJxBt";
const REQUEST: &str = "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74002400046e0001ff\
    80290008932ff9b151263b36000600096576746a3a68367659202020000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2\
    80280004e57a3bcf";
const IP4_RESPONSE: &str = "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000080001a147\
    e112a643000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96";
const IP6_RESPONSE: &str = "010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000140002a147\
    0113a9faa5d3f179bc25f4b5bed2b9d900080014a382954e4be67bf11784c97c8292c275bfe3ed4180280004c8fb0b4c";
const TRANSACTION: TransactionId =
    TransactionId([0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae]);

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// Reads everything there is to read.
fn read_all(message: &Message<'_>) {
    message.class();
    message.method();
    message.transaction_id();
    message.username();
    message.priority();
    message.has_use_candidate();
    message.role();
    message.mapped_address();
    message.error_code();
    message.is_authentic(PASSWORD);
    assert!(message.unknown_required().count() <= message.bytes() / 4);
}

#[test]
fn the_request_of_rfc_5769_is_read() {
    let bytes = bytes(REQUEST);
    let message = Message::parse(&bytes).unwrap();
    assert_eq!((message.class(), message.method()), (Class::Request, BINDING));
    assert_eq!(message.transaction_id(), TRANSACTION);
    assert_eq!(message.username(), Some(&b"evtj:h6vY"[..]));
    assert_eq!(message.priority(), Some(0x6e00_01ff));
    assert_eq!(message.role(), Some(RoleAttribute::Controlled(0x932f_f9b1_5126_3b36)));
    assert!(message.has_fingerprint() && message.is_authentic(PASSWORD));
    assert!(!message.is_authentic("VOkJxbRl1RmTxUk/WvJxBu"));
    assert!(!message.has_use_candidate());
    assert_eq!(message.unknown_required().count(), 0);
}

#[test]
fn the_responses_of_rfc_5769_are_read() {
    for (hex, address) in
        [(IP4_RESPONSE, "192.0.2.1:32853"), (IP6_RESPONSE, "[2001:db8:1234:5678:11:2233:4455:6677]:32853")]
    {
        let bytes = bytes(hex);
        let message = Message::parse(&bytes).unwrap();
        assert_eq!((message.class(), message.method()), (Class::Success, BINDING));
        assert_eq!(message.mapped_address(), Some(address.parse().unwrap()));
        assert!(message.is_authentic(PASSWORD));
    }
}

#[test]
fn what_is_written_is_read() {
    let mut buffer = [0; 256];
    let written = Writer::new(&mut buffer, Class::Request, BINDING, TRANSACTION)
        .username("abcd", "efghi")
        .priority(7)
        .role(RoleAttribute::Controlling(0x0102_0304_0506_0708))
        .use_candidate()
        .integrity(PASSWORD)
        .fingerprint()
        .finish()
        .unwrap();
    let message = Message::parse(written).unwrap();
    assert_eq!(message.username(), Some(&b"abcd:efghi"[..]));
    assert_eq!(message.priority(), Some(7));
    assert_eq!(message.role(), Some(RoleAttribute::Controlling(0x0102_0304_0506_0708)));
    assert!(message.has_use_candidate() && message.has_fingerprint() && message.is_authentic(PASSWORD));
}

#[test]
fn responses_that_are_written_are_read() {
    let mut buffer = [0; 256];
    for address in ["192.0.2.1:32853", "[2001:db8::7]:1"] {
        let address: SocketAddr = address.parse().unwrap();
        let written =
            Writer::new(&mut buffer, Class::Success, BINDING, TRANSACTION).mapped_address(address).finish().unwrap();
        assert_eq!(Message::parse(written).unwrap().mapped_address(), Some(address));
    }
    let written = Writer::new(&mut buffer, Class::Error, BINDING, TRANSACTION)
        .error_code(487)
        .unknown_attributes(0x1000..0x2000)
        .finish()
        .unwrap();
    let message = Message::parse(written).unwrap();
    assert_eq!((message.class(), message.error_code()), (Class::Error, Some(487)));
    assert_eq!(written.len(), 20 + 8 + 20);
}

#[test]
fn every_class_and_method_survives() {
    let mut buffer = [0; 20];
    for class in [Class::Request, Class::Indication, Class::Success, Class::Error] {
        for method in 0..0x1000 {
            let written = Writer::new(&mut buffer, class, method, TRANSACTION).finish().unwrap();
            let message = Message::parse(written).unwrap();
            assert_eq!((message.class(), message.method()), (class, method));
        }
    }
}

#[test]
fn a_buffer_that_is_too_short_gives_nothing() {
    let mut buffer = [0; 256];
    let write = |room: usize, buffer: &mut [u8; 256]| {
        Writer::new(&mut buffer[..room], Class::Request, BINDING, TRANSACTION)
            .username("a", "b")
            .mapped_address("192.0.2.1:1".parse().unwrap())
            .integrity(PASSWORD)
            .fingerprint()
            .finish()
            .map(<[u8]>::len)
    };
    let needed = write(256, &mut buffer).unwrap();
    for room in 0..needed {
        assert_eq!(write(room, &mut buffer), None, "{room}");
    }
    assert_eq!(write(needed, &mut buffer), Some(needed));
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = kind.to_be_bytes().to_vec();
    bytes.extend_from_slice(&(value.len() as u16).to_be_bytes());
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn message(attributes: &[Vec<u8>]) -> Vec<u8> {
    let body = attributes.concat();
    let mut bytes = vec![0, 1];
    bytes.extend_from_slice(&(body.len() as u16).to_be_bytes());
    bytes.extend_from_slice(&MAGIC_COOKIE.to_be_bytes());
    bytes.extend_from_slice(&TRANSACTION.0);
    bytes.extend(body);
    bytes
}

#[test]
fn broken_messages_name_the_rule() {
    let good = bytes(REQUEST);
    let changed = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        bytes
    };
    let mut trailing = good.clone();
    trailing[3] += 4;
    trailing.extend([0x80, 0x22, 0, 0]);
    let cases = [
        (vec![], "STUN message shorter than its header"),
        (changed(0, 0x80), "STUN message does not begin with two zero bits"),
        (changed(4, 0), "STUN message without the magic cookie"),
        (changed(3, 0x54), "STUN length is not that of its datagram"),
        (good[..good.len() - 1].to_vec(), "STUN length is not that of its datagram"),
        (changed(23, 0xff), "STUN attribute longer than its message"),
        (changed(107, 0), "STUN fingerprint does not match"),
        (trailing, "STUN attribute after FINGERPRINT"),
        (message(&[attribute(attribute::PRIORITY, &[1, 2, 3])]), "STUN attribute of a wrong length"),
        (message(&[attribute(attribute::USE_CANDIDATE, &[1])]), "STUN attribute of a wrong length"),
        (message(&[attribute(attribute::MESSAGE_INTEGRITY, &[0; 32])]), "STUN attribute of a wrong length"),
    ];
    for (bytes, rule) in cases {
        assert_eq!(Message::parse(&bytes).unwrap_err(), Malformed(rule));
    }
}

#[test]
fn what_follows_the_integrity_is_not_shown() {
    let mut buffer = [0; 256];
    let mut bytes = Writer::new(&mut buffer, Class::Request, BINDING, TRANSACTION)
        .username("a", "b")
        .integrity(PASSWORD)
        .finish()
        .unwrap()
        .to_vec();
    for (kind, value) in [(attribute::USE_CANDIDATE, &[][..]), (0x7777, &[1]), (attribute::MESSAGE_INTEGRITY, &[0; 20])]
    {
        let more = attribute(kind, value);
        bytes[3] += more.len() as u8;
        bytes.extend(more);
    }
    let message = Message::parse(&bytes).unwrap();
    assert!(message.is_authentic(PASSWORD));
    assert!(!message.has_use_candidate());
    assert_eq!(message.unknown_required().count(), 0);
}

#[test]
fn unknown_required_attributes_are_listed() {
    let bytes = message(&[
        attribute(0x7777, &[1, 2, 3]),
        attribute(0xc057, &[1, 2, 3, 4]),
        attribute(attribute::PRIORITY, &[0, 0, 0, 1]),
        attribute(0x0001, &[]),
    ]);
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(message.unknown_required().collect::<Vec<_>>(), [0x7777, 0x0001]);
}

#[test]
fn the_first_of_two_counts() {
    let bytes =
        message(&[attribute(attribute::PRIORITY, &[0, 0, 0, 1]), attribute(attribute::PRIORITY, &[0, 0, 0, 2])]);
    assert_eq!(Message::parse(&bytes).unwrap().priority(), Some(1));
}

#[test]
fn addresses_and_errors_of_odd_lengths_are_none() {
    for length in 0..24 {
        let value: Vec<u8> = (0..length).map(|at| u8::from(at == 1)).collect();
        let bytes = message(&[
            attribute(attribute::XOR_MAPPED_ADDRESS, &value),
            attribute(attribute::ERROR_CODE, &value[..value.len().min(3)]),
        ]);
        let message = Message::parse(&bytes).unwrap();
        assert_eq!(message.mapped_address().is_some(), length == 8);
        assert_eq!(message.error_code(), None);
    }
}

#[test]
fn every_truncation_is_safe() {
    for hex in [REQUEST, IP4_RESPONSE, IP6_RESPONSE] {
        let whole = bytes(hex);
        for length in 0..whole.len() {
            assert!(Message::parse(&whole[..length]).is_err());
            let mut short = whole[..length].to_vec();
            if length >= HEADER_BYTES {
                short[3] = (length - HEADER_BYTES) as u8;
            }
            if let Ok(message) = Message::parse(&short) {
                read_all(&message);
            }
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), has_header: bool) {
        if has_header && bytes.len() >= HEADER_BYTES {
            bytes.truncate(bytes.len() & !3);
            let length = (bytes.len() - HEADER_BYTES) as u16;
            bytes[0] &= 0x3f;
            bytes[2..4].copy_from_slice(&length.to_be_bytes());
            bytes[4..8].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
        }
        if let Ok(message) = Message::parse(&bytes) {
            read_all(&message);
        }
    }

    #[test]
    fn no_attributes_panic(attributes in proptest::collection::vec(
        (prop_oneof![Just(0x0006u16), Just(8), Just(9), Just(0x20), Just(0x24), Just(0x25), Just(0x8029), any::<u16>()],
            proptest::collection::vec(any::<u8>(), 0..40)), 0..8)) {
        let bytes = message(&attributes.iter().map(|(kind, value)| attribute(*kind, value)).collect::<Vec<_>>());
        if let Ok(message) = Message::parse(&bytes) {
            read_all(&message);
        }
    }
}
