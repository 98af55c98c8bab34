//! DTMF, transcoding, DTLS.

use crate::config::DEFAULT_CIPHERS;
use crate::config::table::{OptionRow, choice, decimal, list, number, switch, text};

const AT_LEAST_0: (i64, i64) = (0, i64::MAX);
const NO_DTMF: &str = "DTMF detection is not built";
const NO_TRANSCODING: &str = "transcoding is not built";
const NO_RECORDING: &str = "recording is not built";

pub(super) static DTMF: &[OptionRow] = &[
    switch("dtmf-no-log-injects", "Do not report injected DTMF.").warned(NO_DTMF),
    switch("dtmf-no-suppress", "Do not mute audio during DTMF events.").warned(NO_DTMF),
    number("dtmf-digit-delay", AT_LEAST_0, "ms", "2500", "The longest gap between the digits of a trigger.")
        .warned(NO_DTMF),
    text("vsc-start-rec", "DIGITS", "", "Digits that start recording.").warned(NO_RECORDING),
    text("vsc-stop-rec", "DIGITS", "", "Digits that stop recording.").warned(NO_RECORDING),
    text("vsc-start-stop-rec", "DIGITS", "", "Digits that start or stop recording.").warned(NO_RECORDING),
    text("vsc-pause-rec", "DIGITS", "", "Digits that pause recording.").warned(NO_RECORDING),
    text("vsc-pause-resume-rec", "DIGITS", "", "Digits that pause or resume recording.").warned(NO_RECORDING),
    text("vsc-start-pause-resume-rec", "DIGITS", "", "Digits that start, pause or resume recording.")
        .warned(NO_RECORDING),
];

pub(super) static TRANSCODING: &[OptionRow] = &[
    text(
        "transcode-config",
        "PREFIX",
        "",
        "Sections `PREFIX-NAME` of the configuration file are transcoding preferences.",
    )
    .warned(NO_TRANSCODING),
    number("jitter-buffer", AT_LEAST_0, "packets", "0", "The size of the jitter buffer.").warned(NO_TRANSCODING),
    switch("jb-clock-drift", "Compensate clock drift.").warned(NO_TRANSCODING),
    switch("jb-adaptive", "Adapt the jitter buffer.").warned(NO_TRANSCODING),
    number("jb-adaptive-min", (0, 1000), "ms", "0", "Its shortest delay.").warned(NO_TRANSCODING),
    number("jb-adaptive-max", (0, 1000), "ms", "300", "Its longest delay.").warned(NO_TRANSCODING),
    number("dtx-delay", AT_LEAST_0, "ms", "0", "When silence is filled in.").warned(NO_TRANSCODING),
    number("max-dtx", AT_LEAST_0, "s", "30", "How long silence is filled in.").warned(NO_TRANSCODING),
    number("dtx-buffer", AT_LEAST_0, "packets", "10", "The buffer for that.").warned(NO_TRANSCODING),
    number("dtx-lag", AT_LEAST_0, "ms", "100", "Its delay.").warned(NO_TRANSCODING),
    number("dtx-shift", AT_LEAST_0, "ms", "5", "By how much it is adjusted.").warned(NO_TRANSCODING),
    list("dtx-cn-params", "NUMBER", "The comfort noise that is filled in.").warned(NO_TRANSCODING),
    choice("amr-dtx", &["native", "CN"], "native", "Silence in AMR.").warned(NO_TRANSCODING),
    choice("evs-dtx", &["native", "CN"], "native", "Silence in EVS.").warned(NO_TRANSCODING),
    decimal("silence-detect", "0", "Silence is below this level, in percent.").warned(NO_TRANSCODING),
    list("cn-payload", "NUMBER", "The comfort noise that is sent.").warned(NO_TRANSCODING),
    text("evs-lib-path", "FILE", "", "The EVS library.").warned(NO_TRANSCODING),
    text("codec-chain-lib-path", "FILE", "", "The codec-chain library.").warned(NO_TRANSCODING),
    number("codec-chain-runners", AT_LEAST_0, "", "2", "Its threads.").warned(NO_TRANSCODING),
    number("codec-chain-concurrency", AT_LEAST_0, "", "256", "Its jobs at a time.").warned(NO_TRANSCODING),
    number("codec-chain-async", AT_LEAST_0, "", "0", "Its threads for callbacks.").warned(NO_TRANSCODING),
    switch("codec-chain-nonblock", "Do not wait for it.").warned(NO_TRANSCODING),
    number("codec-chain-interval", AT_LEAST_0, "us", "10000", "Its interval.").warned(NO_TRANSCODING),
    choice("codec-chain-opus-application", &["default", "VoIP", "audio", "low-delay"], "default", "Its mode of Opus.")
        .warned(NO_TRANSCODING),
    number("codec-chain-opus-complexity", (0, 10), "", "10", "Its effort for Opus.").warned(NO_TRANSCODING),
];

pub(super) static DTLS: &[OptionRow] = &[
    switch("dtls-passive", "Prefer the server role.").set(|c, v| {
        c.media.dtls_passive = v.switch();
        Ok(())
    }),
    choice("dtls-cert-cipher", &["prime256v1", "RSA"], "prime256v1", "The kind of certificate.").set(|c, v| {
        c.dtls.is_rsa = v.text().eq_ignore_ascii_case("RSA");
        Ok(())
    }),
    choice("dtls-signature", &["SHA-256", "SHA-1"], "SHA-256", "The certificate's signature.").set(|c, v| {
        c.dtls.signs_with_sha1 = v.text().eq_ignore_ascii_case("SHA-1");
        Ok(())
    }),
    number("dtls-rsa-key-size", (1024, 16384), "bits", "2048", "The size of an RSA key.").set(|c, v| {
        c.dtls.rsa_key_bits = v.number() as u32;
        Ok(())
    }),
    number("dtls-mtu", (576, 65000), "bytes", "1200", "The largest DTLS datagram.").set(|c, v| {
        c.dtls.mtu_bytes = v.number() as u16;
        Ok(())
    }),
    text("dtls-ciphers", "CIPHERS", DEFAULT_CIPHERS, "The ciphers, as OpenSSL writes them.").set(|c, v| {
        c.dtls.ciphers = v.text().to_owned();
        Ok(())
    }),
];
