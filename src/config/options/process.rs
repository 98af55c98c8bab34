//! The process, timeouts, limits, threads.

use crate::config::table::{OptionRow, Value, choice, decimal, number, switch, text};

const SECONDS: (i64, i64) = (i64::MIN, i64::MAX);
const AT_LEAST_0: (i64, i64) = (0, i64::MAX);
const POLICIES: &[&str] = &["default", "none", "fifo", "rr", "other", "batch", "idle"];
const NO_PLAYBACK: &str = "media playback is not built";
const NO_SCHEDULING: &str = "scheduling is left to the system";

pub(super) static PROCESS: &[OptionRow] = &[
    text("config-file", "FILE", "/etc/rtpengine/rtpengine.conf", "The configuration file; `none` reads none."),
    text("config-section", "SECTION", "rtpengine", "The section of the configuration file that is read."),
    switch("help", "Print the options and exit.").short('h'),
    switch("version", "Print the version and exit.").short('v'),
    switch("codecs", "Print the codecs that can be transcoded and exit.").refused("transcoding is not built"),
    switch("foreground", "Stay in the foreground.").short('f').set(|c, v| {
        c.process.foreground = v.switch();
        Ok(())
    }),
    text("pidfile", "FILE", "", "A file to write the process id to.").short('p').set(|c, v| {
        c.process.pidfile = Some(v.text().to_owned()).filter(|path| !path.is_empty());
        Ok(())
    }),
    text("software-id", "TEXT", "(name and version)", "The name in STUN and in session descriptions made here.").set(
        |c, v| {
            let keep = |character: char| if character.is_ascii_alphanumeric() { character } else { '-' };
            c.process.software_id = v.text().chars().map(keep).collect();
            Ok(())
        },
    ),
    text("templates", "SECTION", "", "The section of the configuration file with signalling templates.")
        .reloadable()
        .set(|c, v| {
            c.process.templates_section = Some(v.text().to_owned());
            Ok(())
        }),
];

pub(super) static TIMEOUTS: &[OptionRow] = &[
    number("timeout", SECONDS, "s", "60", "A call ends when its media has been silent for so long.")
        .short('o')
        .reloadable()
        .set(|c, v| seconds(&mut c.timeouts.media_s, v, 60)),
    number("silent-timeout", SECONDS, "s", "3600", "The same for calls on hold.")
        .short('s')
        .reloadable()
        .set(|c, v| seconds(&mut c.timeouts.silent_s, v, 3600)),
    number("offer-timeout", SECONDS, "s", "3600", "A call ends when its offer has not been answered for so long.")
        .reloadable()
        .set(|c, v| seconds(&mut c.timeouts.offer_s, v, 3600)),
    number("final-timeout", SECONDS, "s", "0", "The longest life of a call; 0 is no limit.")
        .short('a')
        .reloadable()
        .set(|c, v| seconds(&mut c.timeouts.final_s, v, 0)),
    number("delete-delay", AT_LEAST_0, "s", "30", "How long a deleted call still answers queries.")
        .short('d')
        .reloadable()
        .set(|c, v| {
            c.timeouts.delete_delay_s = to_u32(v.number());
            Ok(())
        }),
];

pub(super) static LIMITS: &[OptionRow] = &[
    number(
        "max-sessions",
        (-1, i64::MAX),
        "calls",
        "-1",
        "New calls beyond this many are refused; 0 refuses all, -1 none.",
    )
    .reloadable()
    .set(|c, v| {
        c.limits.max_sessions = u32::try_from(v.number()).ok();
        Ok(())
    }),
    decimal("max-load", "0", "New calls are refused at this load average (of one minute) and above; 0 is no limit.")
        .reloadable()
        .set(|c, v| at_least_0(&mut c.limits.max_load, v)),
    decimal(
        "max-cpu",
        "0",
        "New calls are refused at this use of the machine's processors, in percent, and above; it is looked at twice a \
         second. 0 is no limit.",
    )
    .reloadable()
    .set(|c, v| at_least_0(&mut c.limits.max_processor_percent, v)),
    number(
        "max-bandwidth",
        AT_LEAST_0,
        "bytes/s",
        "0",
        "New calls are refused at this much received media and above; 0 is no limit.",
    )
    .reloadable()
    .set(|c, v| {
        c.limits.max_bytes_per_second = u64::try_from(v.number()).unwrap_or_default();
        Ok(())
    }),
    number("max-recv-iters", (1, i64::MAX), "", "50", "How often a socket is read before others have their turn.")
        .warned("sockets are read in batches of a fixed size"),
];

pub(super) static THREADS: &[OptionRow] = &[
    number("num-threads", (0, 1024), "threads", "(one for each processor)", "Threads that relay media.").set(|c, v| {
        c.threads.count = u16::try_from(v.number()).ok().filter(|&count| count > 0);
        Ok(())
    }),
    number("media-num-threads", (i64::MIN, 1024), "threads", "(as num-threads)", "Threads that play media.")
        .warned(NO_PLAYBACK),
    number("codec-num-threads", (i64::MIN, 1024), "threads", "0", "Threads that transcode.")
        .warned("transcoding is not built"),
    number("thread-stack", (-1, i64::MAX), "kB", "2048", "The stack of each thread.")
        .warned("threads have a stack of 2 MB"),
    number("poller-size", (1, i64::MAX), "events", "128", "How many sockets are taken from the poller at once.")
        .warned("this many is fixed"),
    switch("poller-per-thread", "A poller for each thread.").warned("each thread has a poller of its own in any case"),
    number("timer-accuracy", AT_LEAST_0, "us", "500", "How exact timers of media playback are.").warned(NO_PLAYBACK),
    choice("scheduling", POLICIES, "default", "The scheduling policy of threads.").warned(NO_SCHEDULING),
    choice("idle-scheduling", POLICIES, "default", "The scheduling policy of idle threads.").warned(NO_SCHEDULING),
    number("priority", (i64::MIN, i64::MAX), "", "0", "The priority of threads.").warned(NO_SCHEDULING),
    number("idle-priority", (i64::MIN, i64::MAX), "", "0", "The priority of idle threads.").warned(NO_SCHEDULING),
    switch("io-uring", "Use io_uring.").warned("sockets are read and written in batches instead"),
    number("io-uring-buffers", AT_LEAST_0, "buffers", "16384", "Buffers for io_uring.").warned("io_uring is not used"),
    number("socket-cpu-affinity", (i64::MIN, i64::MAX), "processors", "0", "Bind sockets to processors.")
        .warned("sockets are not bound to processors"),
];

/// Zero and less count as the default, as in rtpengine.
fn seconds(field: &mut u32, value: &Value, default: u32) -> Result<(), String> {
    *field = if value.number() > 0 { to_u32(value.number()) } else { default };
    Ok(())
}

fn at_least_0(field: &mut f64, value: &Value) -> Result<(), String> {
    *field = value.decimal();
    if *field < 0.0 { Err(format!("`{field}` is less than 0")) } else { Ok(()) }
}

fn to_u32(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
