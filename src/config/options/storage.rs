//! Persistence, recording, playback.

use crate::config::table::{OptionRow, choice, list, number, switch, text};

const ANY: (i64, i64) = (i64::MIN, i64::MAX);
const AT_LEAST_0: (i64, i64) = (0, i64::MAX);
const NO_REDIS: &str = "persistence is not built";
const NO_RECORDING: &str = "recording is not built";
const NO_PLAYBACK: &str = "media playback is not built";

pub(super) static REDIS: &[OptionRow] = &[
    text("redis", "[PASSWORD@]ADDRESS:PORT/DB", "", "The Redis database that calls are restored from and written to.")
        .short('r')
        .warned("persistence is not built, and calls would be lost with this process"),
    text("redis-write", "[PASSWORD@]ADDRESS:PORT/DB", "", "The Redis database that calls are written to.")
        .short('w')
        .warned("persistence is not built, and calls would be lost with this process"),
    text("redis-subscribe", "[PASSWORD@]ADDRESS:PORT[/DB]", "", "The Redis server that notifies of changes.")
        .warned("persistence is not built, and calls of other instances would not be taken over"),
    list("subscribe-keyspace", "NUMBER", "The keyspaces to be notified of.").short('k').warned(NO_REDIS),
    number("redis-num-threads", AT_LEAST_0, "threads", "(one for each processor)", "Threads that restore calls.")
        .warned(NO_REDIS),
    number("redis-expires", AT_LEAST_0, "s", "86400", "How long Redis keeps a call.").warned(NO_REDIS),
    switch("no-redis-required", "Start without Redis.").short('q').warned(NO_REDIS),
    number("redis-allowed-errors", (-1, i64::MAX), "", "-1", "Errors after which Redis is left alone for a while.")
        .warned(NO_REDIS),
    number("redis-disable-time", AT_LEAST_0, "s", "10", "For how long.").warned(NO_REDIS),
    number("redis-cmd-timeout", AT_LEAST_0, "ms", "0", "How long a command may take.").warned(NO_REDIS),
    number("redis-connect-timeout", AT_LEAST_0, "ms", "1000", "How long connecting may take.").warned(NO_REDIS),
    switch("redis-resolve-on-reconnect", "Look up the host name anew for each connection.").warned(NO_REDIS),
    choice("redis-format", &["bencode", "JSON", "native"], "bencode", "How calls are written.").warned(NO_REDIS),
    number("redis-tcp-keepalive-time", AT_LEAST_0, "s", "0", "When keep-alive begins.").warned(NO_REDIS),
    number("redis-tcp-keepalive-intvl", AT_LEAST_0, "s", "1", "Its interval.").warned(NO_REDIS),
    number("redis-tcp-keepalive-probes", AT_LEAST_0, "", "3", "After how many probes the connection is lost.")
        .warned(NO_REDIS),
    switch("active-switchover", "Take over the call of another instance when it becomes active here.").warned(NO_REDIS),
];

pub(super) static RECORDING: &[OptionRow] = &[
    text("recording-dir", "DIRECTORY", "", "Where recordings go; none is no recording.").warned(NO_RECORDING),
    choice("recording-method", &["pcap", "proc", "all"], "pcap", "How calls are recorded.").warned(NO_RECORDING),
    choice("recording-format", &["raw", "eth"], "raw", "The link type of pcap files.").warned(NO_RECORDING),
    switch("record-egress", "Record what is sent.").warned(NO_RECORDING),
    switch("record-both", "Record what is received and what is sent.").warned(NO_RECORDING),
];

pub(super) static PLAYBACK: &[OptionRow] = &[
    text("mysql-host", "HOST", "", "The database of media to play.").warned(NO_PLAYBACK),
    number("mysql-port", (0, 65535), "", "", "Its port.").warned(NO_PLAYBACK),
    text("mysql-user", "USER", "", "Its user.").warned(NO_PLAYBACK),
    text("mysql-pass", "PASSWORD", "", "Its password.").warned(NO_PLAYBACK),
    text("mysql-query", "QUERY", "", "The query for a medium, with one `%llu`.").warned(NO_PLAYBACK),
    switch("player-cache", "Keep what is played encoded.").warned(NO_PLAYBACK),
    list("preload-media-files", "FILE", "Files to read at the start, or `on-demand`.").warned(NO_PLAYBACK),
    number("media-files-reload", AT_LEAST_0, "s", "0", "How often files are checked for changes.").warned(NO_PLAYBACK),
    list("preload-db-media", "NUMBER", "Database rows to read at the start, or `on-demand`.").warned(NO_PLAYBACK),
    number("db-media-reload", AT_LEAST_0, "s", "0", "How often rows are checked for changes.").warned(NO_PLAYBACK),
    text("db-media-cache", "DIRECTORY", "", "Where rows are kept.").warned(NO_PLAYBACK),
    list("preload-db-cache", "NUMBER", "Kept rows to read at the start.").warned(NO_PLAYBACK),
    number("db-cache-reload", AT_LEAST_0, "s", "0", "How often kept rows are checked for changes.")
        .aliases(&["cache-media-reload"])
        .warned(NO_PLAYBACK),
    number("expiry-timer", AT_LEAST_0, "s", "0", "How often media is checked for age.").warned(NO_PLAYBACK),
    number("media-files-expire", AT_LEAST_0, "s", "0", "When files are forgotten.").warned(NO_PLAYBACK),
    number("db-media-expire", AT_LEAST_0, "s", "0", "When rows are forgotten.").warned(NO_PLAYBACK),
    number("db-cache-expire", AT_LEAST_0, "s", "0", "When kept rows are forgotten.").warned(NO_PLAYBACK),
    choice(
        "audio-player",
        &["on-demand", "play-media", "transcoding", "always"],
        "on-demand",
        "When audio is generated by the audio player.",
    )
    .warned(NO_PLAYBACK),
    number("audio-buffer-length", ANY, "ms", "500", "Its buffer.").warned(NO_PLAYBACK),
    number("audio-buffer-delay", ANY, "ms", "5", "Its delay.").warned(NO_PLAYBACK),
    number("moh-max-duration", ANY, "ms", "1800000", "The longest music on hold.").warned(NO_PLAYBACK),
    number("moh-max-repeats", ANY, "", "999", "How often it is repeated.").warned(NO_PLAYBACK),
    text("moh-attr-name", "NAME", "", "The session attribute that marks it.").warned(NO_PLAYBACK),
    switch("moh-prevent-double-hold", "Do not play it to a party that plays its own.").warned(NO_PLAYBACK),
];
