//! RTCP, quality, Homer, Graphite, MQTT.

use crate::config::table::{OptionRow, choice, list, number, switch, text};
use crate::config::{Config, MosModel, SsrcReporting};

const ANY: (i64, i64) = (i64::MIN, i64::MAX);
const AT_LEAST_0: (i64, i64) = (0, i64::MAX);
const NO_HOMER: &str = "Homer gets nothing: it is not built";
const NO_GRAPHITE: &str = "Graphite gets nothing: it is not built";
const NO_MQTT: &str = "MQTT gets nothing: it is not built";

pub(super) static QUALITY: &[OptionRow] = &[
    number("rtcp-interval", (1, i64::MAX), "ms", "5000", "How often own RTCP is sent.")
        .warned("RTCP is relayed, not generated"),
    switch("measure-rtp", "Measure jitter and loss of relayed RTP.").warned("relayed RTP is measured in any case"),
    choice("ssrc-reporting", &["full", "inline", "global", "none"], "full", "Which SSRC entries replies hold.")
        .warned("replies hold all entries")
        .set(|c, v| {
            c.reporting.ssrc = match v.text() {
                "inline" => SsrcReporting::Inline,
                "global" => SsrcReporting::Global,
                "none" => SsrcReporting::None,
                _ => SsrcReporting::Full,
            };
            Ok(())
        }),
    list(
        "mos",
        "CQ|LQ|G.107|G.107.2|legacy",
        "How the mean opinion score is computed: conversational or listening quality, and the formula.",
    )
    .set(|c, v| {
        for word in v.list() {
            match word.to_ascii_lowercase().as_str() {
                "cq" => c.reporting.mos.listening = false,
                "lq" => c.reporting.mos.listening = true,
                "g.107" => c.reporting.mos.model = MosModel::G107,
                "g.107.2" => other_model(c, MosModel::G107Fullband),
                "legacy" => other_model(c, MosModel::Legacy),
                _ => return Err(format!("`{word}` is none of `CQ`, `LQ`, `G.107`, `G.107.2`, `legacy`")),
            }
        }
        Ok(())
    }),
];

fn other_model(config: &mut Config, model: MosModel) {
    config.reporting.mos.model = model;
    config.warnings.push("option `mos`: only the formula of G.107 is built, and used".to_owned());
}

pub(super) static HOMER: &[OptionRow] = &[
    text("homer", "ADDRESS:PORT", "", "The Homer server.").warned(NO_HOMER),
    choice("homer-protocol", &["udp", "tcp"], "udp", "How it is reached.").warned(NO_HOMER),
    number("homer-id", AT_LEAST_0, "", "2001", "The capture id.").warned(NO_HOMER),
    switch("homer-disable-rtcp-stats", "Do not send RTCP.").warned(NO_HOMER),
    switch("homer-enable-ng", "Send NG messages.").warned(NO_HOMER),
    number("homer-ng-capture-proto", (0, 255), "", "61", "The capture protocol of NG messages.").warned(NO_HOMER),
];

pub(super) static GRAPHITE: &[OptionRow] = &[
    text("graphite", "ADDRESS:PORT", "", "The Graphite server.").short('g').warned(NO_GRAPHITE),
    number("graphite-interval", AT_LEAST_0, "s", "1", "How often it is told.").short('G').warned(NO_GRAPHITE),
    text("graphite-prefix", "TEXT", "", "How names begin.").warned(NO_GRAPHITE),
    number("graphite-timeout", AT_LEAST_0, "s", "0", "When the connection is given up.").warned(NO_GRAPHITE),
];

pub(super) static MQTT: &[OptionRow] = &[
    text("mqtt-host", "HOST", "", "The MQTT broker.").warned(NO_MQTT),
    number("mqtt-port", (1, 65535), "", "1883", "Its port.").warned(NO_MQTT),
    text("mqtt-id", "TEXT", "(random)", "The client id.").warned(NO_MQTT),
    number("mqtt-keepalive", AT_LEAST_0, "s", "30", "The keep-alive interval.").warned(NO_MQTT),
    text("mqtt-user", "USER", "", "The user.").warned(NO_MQTT),
    text("mqtt-pass", "PASSWORD", "", "The password.").warned(NO_MQTT),
    text("mqtt-cafile", "FILE", "", "Certificates of authorities, in a file.").warned(NO_MQTT),
    text("mqtt-capath", "DIRECTORY", "", "Certificates of authorities, in a directory.").warned(NO_MQTT),
    text("mqtt-certfile", "FILE", "", "The client's certificate.").warned(NO_MQTT),
    text("mqtt-keyfile", "FILE", "", "The client's key.").warned(NO_MQTT),
    text("mqtt-tls-alpn", "TEXT", "", "The protocol of ALPN.").warned(NO_MQTT),
    text("mqtt-publish-topic", "TOPIC", "", "The topic.").warned(NO_MQTT),
    number("mqtt-publish-qos", (0, 2), "", "0", "The quality of service.").warned(NO_MQTT),
    number("mqtt-publish-interval", ANY, "ms", "5000", "How often it is told.").warned(NO_MQTT),
    choice("mqtt-publish-scope", &["global", "summary", "call", "media"], "global", "What it is told.").warned(NO_MQTT),
];
