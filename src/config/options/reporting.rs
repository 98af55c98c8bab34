//! RTCP, quality, Homer, Graphite, MQTT.

use crate::config::export::MqttScope;
use crate::config::listen::ListenAddress;
use crate::config::table::{OptionRow, Value, choice, list, number, switch, text};
use crate::config::{Config, MosModel, SsrcReporting};

const AT_LEAST_0: (i64, i64) = (0, i64::MAX);

pub(super) static QUALITY: &[OptionRow] = &[
    number("rtcp-interval", (1, i64::MAX), "ms", "5000", "How often own RTCP is sent.")
        .warned("RTCP is relayed, not generated"),
    switch("measure-rtp", "Measure jitter and loss of relayed RTP.").warned("relayed RTP is measured in any case"),
    choice("ssrc-reporting", &["full", "inline", "global", "none"], "full", "Which SSRC entries replies hold.").set(
        |c, v| {
            c.reporting.ssrc = match v.text() {
                "inline" => SsrcReporting::Inline,
                "global" => SsrcReporting::Global,
                "none" => SsrcReporting::None,
                _ => SsrcReporting::Full,
            };
            Ok(())
        },
    ),
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
    text("homer", "ADDRESS:PORT", "", "The Homer server, which is sent RTCP and NG messages in HEP 3.").set(|c, v| {
        c.export.homer.address = remote(v)?;
        Ok(())
    }),
    choice("homer-protocol", &["udp", "tcp"], "udp", "How it is reached.").set(|c, v| {
        c.export.homer.is_tcp = v.text() == "tcp";
        Ok(())
    }),
    number("homer-id", (0, u32::MAX as i64), "", "2001", "The capture id.").set(|c, v| {
        c.export.homer.capture_id = u32::try_from(v.number()).unwrap_or_default();
        Ok(())
    }),
    switch("homer-disable-rtcp-stats", "Do not send RTCP.").set(|c, v| {
        c.export.homer.has_rtcp = !v.switch();
        Ok(())
    }),
    switch("homer-enable-ng", "Send NG messages, without the keys in them. `ping` is not sent.").set(|c, v| {
        c.export.homer.has_ng = v.switch();
        Ok(())
    }),
    number("homer-ng-capture-proto", (0, 255), "", "61", "The capture protocol of NG messages.").set(|c, v| {
        c.export.homer.ng_protocol = u8::try_from(v.number()).unwrap_or_default();
        Ok(())
    }),
];

pub(super) static GRAPHITE: &[OptionRow] = &[
    text("graphite", "ADDRESS:PORT", "", "The Graphite server, which is sent lines of text over TCP.").short('g').set(
        |c, v| {
            c.export.graphite.address = remote(v)?;
            Ok(())
        },
    ),
    number("graphite-interval", AT_LEAST_0, "s", "1", "How often it is told; 0 is 1.").short('G').set(|c, v| {
        c.export.graphite.interval_s = u32::try_from(v.number()).unwrap_or(u32::MAX).max(1);
        Ok(())
    }),
    text("graphite-prefix", "TEXT", "", "How names begin.").set(|c, v| {
        if v.text().contains(char::is_whitespace) {
            return Err(format!("`{}` has blanks, which divide Graphite's lines", v.text()));
        }
        c.export.graphite.prefix = v.text().to_owned();
        Ok(())
    }),
    number("graphite-timeout", AT_LEAST_0, "s", "0", "What connecting, and sending a report, may take; 0 is 10.").set(
        |c, v| {
            c.export.graphite.set_patience(u32::try_from(v.number()).unwrap_or(u32::MAX));
            Ok(())
        },
    ),
];

pub(super) static MQTT: &[OptionRow] = &[
    text("mqtt-host", "HOST", "", "The MQTT broker, which is sent JSON.").set(|c, v| {
        c.export.mqtt.host = Some(v.text().to_owned());
        Ok(())
    }),
    number("mqtt-port", (1, 65535), "", "1883", "Its port.").set(|c, v| {
        c.export.mqtt.port = u16::try_from(v.number()).unwrap_or_default();
        Ok(())
    }),
    text("mqtt-id", "TEXT", "(random)", "The client id.").set(|c, v| {
        c.export.mqtt.id = Some(v.text().to_owned());
        Ok(())
    }),
    number("mqtt-keepalive", (1, 65535), "s", "30", "The keep-alive interval.").set(|c, v| {
        c.export.mqtt.keep_alive_s = u16::try_from(v.number()).unwrap_or_default();
        Ok(())
    }),
    text("mqtt-user", "USER", "", "The user.").set(|c, v| {
        c.export.mqtt.user = Some(v.text().to_owned());
        Ok(())
    }),
    text("mqtt-pass", "PASSWORD", "", "The password.").secret().set(|c, v| {
        c.export.mqtt.password = Some(v.text().to_owned());
        Ok(())
    }),
    text(
        "mqtt-cafile",
        "FILE",
        "",
        "Certificates of authorities, in a file. With it, or a folder of them, TLS is used.",
    )
    .set(|c, v| {
        c.export.mqtt.authorities_file = Some(v.text().to_owned());
        Ok(())
    }),
    text("mqtt-capath", "DIRECTORY", "", "Certificates of authorities, in the files of a directory.").set(|c, v| {
        c.export.mqtt.authorities_folder = Some(v.text().to_owned());
        Ok(())
    }),
    text("mqtt-certfile", "FILE", "", "The client's certificate, in PEM.").set(|c, v| {
        c.export.mqtt.certificate_file = Some(v.text().to_owned());
        Ok(())
    }),
    text("mqtt-keyfile", "FILE", "", "The client's key, in PEM (PKCS #8).").set(|c, v| {
        c.export.mqtt.key_file = Some(v.text().to_owned());
        Ok(())
    }),
    text("mqtt-tls-alpn", "TEXT", "", "The protocol of ALPN.").set(|c, v| {
        c.export.mqtt.application_protocol = Some(v.text().to_owned());
        Ok(())
    }),
    text("mqtt-publish-topic", "TOPIC", "", "The topic; nothing is published without.").set(|c, v| {
        c.export.mqtt.topic = Some(v.text().to_owned());
        Ok(())
    }),
    number("mqtt-publish-qos", (0, 2), "", "0", "The quality of service.").set(|c, v| {
        c.export.mqtt.quality_of_service = u8::try_from(v.number()).unwrap_or_default();
        Ok(())
    }),
    number("mqtt-publish-interval", (1, i64::MAX), "ms", "5000", "How often it is told.").set(|c, v| {
        c.export.mqtt.interval_ms = u32::try_from(v.number()).unwrap_or(u32::MAX);
        Ok(())
    }),
    choice(
        "mqtt-publish-scope",
        &["global", "summary", "call", "media"],
        "global",
        "What it is told: the daemon's figures; the same with all calls; a message for each call, or for each media.",
    )
    .set(|c, v| {
        c.export.mqtt.scope = match v.text() {
            "summary" => MqttScope::Summary,
            "call" => MqttScope::Call,
            "media" => MqttScope::Media,
            _ => MqttScope::Global,
        };
        Ok(())
    }),
];

fn remote(value: &Value) -> Result<Option<ListenAddress>, String> {
    ListenAddress::parse_remote(value.text()).map(Some)
}
