//! Logging.

use crate::config::Config;
use crate::config::log::{self, LogFormat};
use crate::config::table::{OptionRow, Value, choice, number, switch, text};

const NO_SEPARATE_LOG: &str = "this is not logged apart";

macro_rules! subsystem {
    ($index:literal, $name:literal, $what:literal) => {
        number(concat!("log-level-", $name), (-1, 7), "", "", concat!("The log level of: ", $what, "."))
            .reloadable()
            .set(|c, v| subsystem_level(c, $index, v))
    };
}

pub(super) static LOGGING: &[OptionRow] = &[
    number(
        "log-level",
        (0, 7),
        "",
        "6",
        "What is logged: 7 everything, 6 the course of calls, 5 and below less and less.",
    )
    .short('L')
    .reloadable()
    .set(|c, v| {
        c.log.level = level(v);
        Ok(())
    }),
    subsystem!(0, "core", "everything not named below"),
    subsystem!(1, "ffmpeg", "messages of FFmpeg"),
    subsystem!(2, "internals", "noisy internals; silent unless given"),
    subsystem!(3, "spandsp", "messages of SpanDSP"),
    subsystem!(4, "transcoding", "transcoding"),
    subsystem!(5, "codec", "codec negotiation"),
    subsystem!(6, "rtcp", "RTCP"),
    subsystem!(7, "ice", "ICE"),
    subsystem!(8, "crypto", "negotiation of SRTP, DTLS and SDES"),
    subsystem!(9, "srtp", "SRTP"),
    subsystem!(10, "http", "HTTP and WebSocket"),
    subsystem!(11, "control", "control protocols, SDP, CLI"),
    subsystem!(12, "dtx", "silence that is filled in"),
    text("log-facility", "FACILITY", "daemon", "The syslog facility.").aliases(&["log-facilty"]).set(|c, v| {
        c.log.facility = log::facility(v.text()).ok_or_else(|| {
            let names: Vec<&str> = log::FACILITIES.iter().map(|row| row.0).collect();
            format!("`{}` is none of `{}`", v.text(), names.join("`, `"))
        })?;
        Ok(())
    }),
    text("log-facility-cdr", "FACILITY", "", "The syslog facility of call records.")
        .aliases(&["log-facilty-cdr"])
        .warned(NO_SEPARATE_LOG),
    text("log-facility-rtcp", "FACILITY", "", "The syslog facility of RTCP reports.")
        .aliases(&["log-facilty-rtcp"])
        .warned(NO_SEPARATE_LOG),
    text("log-facility-dtmf", "FACILITY", "", "The syslog facility of DTMF events.")
        .aliases(&["log-facilty-dtmf"])
        .warned(NO_SEPARATE_LOG),
    switch("log-stderr", "Log to standard error instead of syslog.").short('E').set(|c, v| {
        c.log.to_stderr = v.switch();
        Ok(())
    }),
    switch("split-logs", "Log a message of several lines as several messages.").set(|c, v| {
        c.log.split_lines = v.switch();
        Ok(())
    }),
    switch("no-log-timestamps", "Log to standard error without timestamps.").set(|c, v| {
        c.log.timestamps = !v.switch();
        Ok(())
    }),
    number(
        "max-log-line-length",
        (i64::MIN, i64::MAX),
        "bytes",
        "0",
        "Longer messages are cut; 0 is 500 for syslog and no limit for standard error, negative no limit.",
    )
    .set(|c, v| {
        c.log.longest_line = match usize::try_from(v.number()) {
            Ok(0) => Some(500),
            Ok(limit) => Some(limit),
            Err(_) => None,
        };
        Ok(())
    }),
    text("log-name", "NAME", "rtpengine", "The name in syslog.").set(|c, v| {
        c.log.name = v.text().to_owned();
        Ok(())
    }),
    choice(
        "log-format",
        &["default", "parsable"],
        "default",
        "How the call is named: `[CALLID]` or `[ID=\"CALLID\"]`.",
    )
    .set(|c, v| {
        c.log.format = if v.text() == "parsable" { LogFormat::Parsable } else { LogFormat::Default };
        Ok(())
    }),
    text("log-mark-prefix", "TEXT", "", "Written before data of users.").warned("data of users is not marked").set(
        |c, v| {
            c.log.mark_prefix = v.text().to_owned();
            Ok(())
        },
    ),
    text("log-mark-suffix", "TEXT", "", "Written after data of users.").warned("data of users is not marked").set(
        |c, v| {
            c.log.mark_suffix = v.text().to_owned();
            Ok(())
        },
    ),
    switch("log-srtp-keys", "Log SRTP keys.").warned("keys are never logged"),
    switch("debug-srtp", "Log everything about SRTP.").warned("SRTP is not built"),
];

fn level(value: &Value) -> u8 {
    u8::try_from(value.number()).unwrap_or(7)
}

/// -1 leaves the common level in force.
fn subsystem_level(config: &mut Config, index: usize, value: &Value) -> Result<(), String> {
    config.log.subsystem_levels[index] = u8::try_from(value.number()).ok();
    Ok(())
}
