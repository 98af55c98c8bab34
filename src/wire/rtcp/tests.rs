use super::*;
use proptest::prelude::*;

const INFO: SenderInfo =
    SenderInfo { ntp: 0x0102_0304_0506_0708, rtp_timestamp: 160, packets: 50, payload_bytes: 8000 };

const REPORT: ReceptionReport = ReceptionReport {
    ssrc: 7,
    fraction_lost: 3,
    cumulative_lost: -2,
    highest_sequence: 0x1_0000,
    jitter: 9,
    last_sender_report: 0x0304_0506,
    delay_since_last: 65536,
};

fn all(datagram: &[u8]) -> Vec<Result<Packet<'_>, Malformed>> {
    Compound::new(datagram).collect()
}

/// One of every type that has a meaning.
fn full_compound() -> Vec<u8> {
    Writer::new()
        .sender_report(1, &INFO, &[REPORT, REPORT])
        .receiver_report(2, &[REPORT])
        .canonical_name(1, "alice@example.org")
        .bye(&[1, 2])
        .packet(packet_type::APPLICATION, 5, |bytes| bytes.extend_from_slice(b"\0\0\0\x01nameabcd"))
        .packet(packet_type::TRANSPORT_FEEDBACK, 1, |bytes| {
            bytes.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 2, 9, 9, 9, 9])
        })
        .packet(packet_type::PAYLOAD_FEEDBACK, 1, |bytes| bytes.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 2]))
        .packet(packet_type::EXTENDED_REPORT, 0, |bytes| bytes.extend_from_slice(&[0, 0, 0, 1, 4, 0, 0, 1, 1, 2, 3, 4]))
        .packet(220, 0, |bytes| bytes.extend_from_slice(&[1, 2, 3, 4]))
        .finish()
}

#[test]
fn every_type_is_read_as_written() {
    let datagram = full_compound();
    let packets: Vec<_> = all(&datagram).into_iter().map(Result::unwrap).collect();
    assert_eq!(packets.len(), 9);
    let Packet::SenderReport { ssrc: 1, info: INFO, reports } = packets[0] else { panic!("{:?}", packets[0]) };
    assert_eq!(reports.iter().collect::<Vec<_>>(), [REPORT, REPORT]);
    let Packet::ReceiverReport { ssrc: 2, reports } = packets[1] else { panic!("{:?}", packets[1]) };
    assert_eq!(reports.iter().collect::<Vec<_>>(), [REPORT]);
    let Packet::SourceDescription(description) = packets[2] else { panic!("{:?}", packets[2]) };
    let mut items = vec![];
    description.for_each(|item| items.push(item));
    assert_eq!(items, [DescriptionItem { ssrc: 1, item_type: 1, text: b"alice@example.org" }]);
    let Packet::Bye { sources, reason: None } = packets[3] else { panic!("{:?}", packets[3]) };
    assert_eq!(sources.iter().collect::<Vec<_>>(), [1, 2]);
    assert_eq!(packets[4], Packet::Application { subtype: 5, ssrc: 1, name: *b"name", data: b"abcd" });
    let expected =
        Packet::Feedback { is_payload_specific: false, format: 1, sender: 1, media: 2, control: &[9, 9, 9, 9] };
    assert_eq!(packets[5], expected);
    assert_eq!(
        packets[6],
        Packet::Feedback { is_payload_specific: true, format: 1, sender: 1, media: 2, control: &[] }
    );
    let Packet::ExtendedReport { ssrc: 1, blocks } = packets[7] else { panic!("{:?}", packets[7]) };
    assert_eq!(blocks.collect::<Vec<_>>(), [ExtendedBlock { block_type: 4, specific: 0, body: &[1, 2, 3, 4] }]);
    assert_eq!(packets[8], Packet::Other { packet_type: 220, count: 0, body: &[1, 2, 3, 4] });
}

#[test]
fn the_middle_of_the_ntp_time_is_what_reports_repeat() {
    assert_eq!(INFO.ntp_middle(), REPORT.last_sender_report);
}

#[test]
fn broken_packets_name_the_rule_and_end_the_compound() {
    let cases: [(&[u8], &str); 14] = [
        (&[0x80, 200, 0], "RTCP packet shorter than its header"),
        (&[0x40, 200, 0, 0], "RTCP version is not 2"),
        (&[0x80, 200, 0, 1, 0, 0, 0], "RTCP packet longer than its datagram"),
        (&[0xa0, 201, 0, 1, 0, 0, 0, 9], "RTCP padding does not fit its packet"),
        (&[0xa0, 201, 0, 1, 0, 0, 0, 0], "RTCP padding does not fit its packet"),
        (&[0x80, 201, 0, 0], "receiver report without a sender"),
        (&[0x81, 201, 0, 1, 0, 0, 0, 1], "report with fewer blocks than it counts"),
        (&[0x80, 200, 0, 1, 0, 0, 0, 1], "sender report shorter than its sender information"),
        (&[0x82, 203, 0, 1, 0, 0, 0, 1], "BYE with fewer sources than it counts"),
        (&[0x80, 203, 0, 1, 4, 0, 0, 1], "BYE reason longer than its packet"),
        (&[0x81, 202, 0, 1, 0, 0, 0, 1], "SDES chunk without an end"),
        (&[0x81, 202, 0, 2, 0, 0, 0, 1, 1, 3, 0, 0], "SDES item longer than its packet"),
        (&[0x80, 206, 0, 1, 0, 0, 0, 1], "feedback without a media source"),
        (&[0x80, 207, 0, 2, 0, 0, 0, 1, 4, 0, 0, 1], "extended report block longer than its packet"),
    ];
    for (bytes, rule) in cases {
        let mut datagram = bytes.to_vec();
        assert_eq!(all(&datagram), [Err(Malformed(rule))], "{bytes:?}");
        if bytes.len() >= 8 && rule != "RTCP packet longer than its datagram" {
            datagram.extend(Writer::new().bye(&[1]).finish());
            assert_eq!(all(&datagram).len(), 2, "a packet with a good length does not hide the next");
        }
    }
}

#[test]
fn empty_reports_and_an_empty_datagram_are_fine() {
    assert!(all(&[]).is_empty());
    assert!(matches!(all(&[0x80, 201, 0, 1, 0, 0, 0, 1])[..], [Ok(Packet::ReceiverReport { ssrc: 1, .. })]));
    assert!(matches!(all(&[0x80, 203, 0, 0])[..], [Ok(Packet::Bye { reason: None, .. })]));
    assert_eq!(first_sender(&[0x80, 201, 0, 1, 0, 0, 0, 1]), Some(1));
    assert_eq!(first_sender(&[0x80, 201, 0, 1, 0, 0, 0]), None);
}

/// Touches everything a packet gives access to.
fn visit(datagram: &[u8]) -> usize {
    Compound::new(datagram)
        .map(|packet| match packet {
            Ok(Packet::SenderReport { reports, .. } | Packet::ReceiverReport { reports, .. }) => reports.iter().count(),
            Ok(Packet::Bye { sources, .. }) => sources.iter().count(),
            Ok(Packet::ExtendedReport { blocks, .. }) => blocks.count(),
            Ok(Packet::SourceDescription(description)) => {
                let mut items = 0;
                description.for_each(|_| items += 1);
                items
            }
            _ => 1,
        })
        .sum()
}

#[test]
fn every_length_and_every_single_damage_is_safe() {
    let datagram = full_compound();
    for length in 0..=datagram.len() {
        visit(&datagram[..length]);
    }
    for at in 0..datagram.len() {
        for value in [0, 1, 0x7f, 0x80, 0xa0, 0xff, 200, 202, 203, 207] {
            let mut damaged = datagram.clone();
            damaged[at] = value;
            visit(&damaged);
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), kind in 192u8..224) {
        visit(&bytes);
        if bytes.len() > 4 {
            bytes[0] = 0x80 | (bytes[0] & 0x3f);
            bytes[1] = kind;
            bytes[2] = 0;
            visit(&bytes);
        }
    }
}
