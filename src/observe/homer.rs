//! RTCP as Homer reads it: one JSON object for a compound packet.

use crate::base::text;
use crate::wire::rtcp::{Compound, Packet, ReceptionReport, SenderInfo, packet_type};
use crate::wire::value::{Dictionary, Value};

/// The object of a compound packet; none without a sender or receiver report that can be read.
pub fn rtcp(datagram: &[u8]) -> Option<Dictionary> {
    let mut report = None;
    let mut descriptions = Vec::new();
    for packet in Compound::new(datagram).map_while(Result::ok) {
        match packet {
            Packet::SenderReport { ssrc, info, reports } if report.is_none() => {
                let head = Dictionary::new().with("sender_information", sender(&info));
                report = Some(with_reports(head, ssrc, packet_type::SENDER_REPORT, reports.iter()));
            }
            Packet::ReceiverReport { ssrc, reports } if report.is_none() => {
                report = Some(with_reports(Dictionary::new(), ssrc, packet_type::RECEIVER_REPORT, reports.iter()));
            }
            Packet::SourceDescription(description) => description.for_each(|item| {
                let entry = Dictionary::new()
                    .with("ssrc", item.ssrc)
                    .with("type", u64::from(item.item_type))
                    .with("text", text::decode(item.text).into_owned());
                descriptions.push(Value::from(entry));
            }),
            _ => {}
        }
    }
    let mut report = report?;
    report.set("sdes_report_count", descriptions.len() as u64).set("sdes_information", Value::List(descriptions));
    Some(report)
}

/// The fraction of the NTP timestamp is given in microseconds, as its key says.
fn sender(info: &SenderInfo) -> Dictionary {
    let microseconds = ((info.ntp & 0xffff_ffff) * 1_000_000) >> 32;
    Dictionary::new()
        .with("ntp_timestamp_sec", info.ntp >> 32)
        .with("ntp_timestamp_usec", microseconds)
        .with("octets", info.payload_bytes)
        .with("rtp_timestamp", info.rtp_timestamp)
        .with("packets", info.packets)
}

fn with_reports(head: Dictionary, ssrc: u32, kind: u8, reports: impl Iterator<Item = ReceptionReport>) -> Dictionary {
    let blocks: Vec<Value> = reports.map(|report| block(&report).into()).collect();
    head.with("ssrc", ssrc)
        .with("type", u64::from(kind))
        .with("report_count", blocks.len() as u64)
        .with("report_blocks", Value::List(blocks))
}

fn block(report: &ReceptionReport) -> Dictionary {
    Dictionary::new()
        .with("source_ssrc", report.ssrc)
        .with("highest_seq_no", report.highest_sequence)
        .with("fraction_lost", u64::from(report.fraction_lost))
        .with("ia_jitter", report.jitter)
        .with("packets_lost", Value::Integer(report.cumulative_lost.into()))
        .with("lsr", report.last_sender_report)
        .with("dlsr", report.delay_since_last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::json;

    #[test]
    fn a_compound_becomes_one_object() {
        let mut datagram = vec![0x81, 200, 0, 12];
        for word in [7, 0x8000_0001, 0x8000_0000, 160, 5, 800, 9, 0x1000_0002, 70000, 33, 0x1234, 0x5678_u32] {
            datagram.extend(word.to_be_bytes());
        }
        datagram.extend([0x81, 202, 0, 3, 0, 0, 0, 7, 1, 3, b'a', b'@', b'b', 0, 0, 0]);
        let mut text = Vec::new();
        json::encode(&rtcp(&datagram).unwrap(), &mut text);
        assert_eq!(
            String::from_utf8(text).unwrap(),
            r#"{"sender_information":{"ntp_timestamp_sec":2147483649,"ntp_timestamp_usec":500000,"octets":800,"rtp_timestamp":160,"packets":5},"ssrc":7,"type":200,"report_count":1,"report_blocks":[{"source_ssrc":9,"highest_seq_no":70000,"fraction_lost":16,"ia_jitter":33,"packets_lost":2,"lsr":4660,"dlsr":22136}],"sdes_report_count":1,"sdes_information":[{"ssrc":7,"type":1,"text":"a@b"}]}"#
        );
        assert_eq!(rtcp(&datagram[52..]), None);
        assert_eq!(rtcp(&[0x81, 200, 0, 12]), None);
    }
}
