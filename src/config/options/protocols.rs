//! Control protocols of other relays than rtpengine.

use super::control::listeners;
use crate::config::LrkAddress;
use crate::config::table::{OptionRow, Value, list, number};

pub(super) static PROTOCOLS: &[OptionRow] = &[
    list(
        "listen-lrk",
        "[ADDRESS:]PORT|ADDRESS|unix:PATH",
        "The protocol of LRKProxy and LREProxy, over UDP (port 22333 unless given) or on a socket in the file system. See protocol-docs/lrkproxy.md.",
    )
    .set(|c, v| {
        for text in v.list() {
            c.control.lrk.push(LrkAddress::parse(text)?);
        }
        Ok(())
    }),
    number("lrk-port-min", (1, 65535), "", "20000", "The lowest port that clients of LRKProxy are told to give out.")
        .set(|c, v| {
            c.control.lrk_ports.0 = port(v);
            Ok(())
        }),
    number(
        "lrk-port-max",
        (1, 65535),
        "",
        "29999",
        "The highest port that their calls then use. Ports outside are taken too, where they are free.",
    )
    .set(|c, v| {
        c.control.lrk_ports.1 = port(v);
        Ok(())
    }),
    list("listen-udp", "[ADDRESS:]PORT", "The protocol of rtpproxy, over UDP. See protocol-docs/rtpproxy.md.")
        .short('u')
        .set(|c, v| listeners(&mut c.control.rtpproxy, v)),
    list("listen-tcp", "[ADDRESS:]PORT", "The protocol of OpenSER's mediaproxy, over TCP. See protocol-docs/rtpproxy.md.")
        .short('l')
        .set(|c, v| listeners(&mut c.control.mediaproxy, v)),
];

fn port(value: &Value) -> u16 {
    u16::try_from(value.number()).unwrap_or(u16::MAX)
}
