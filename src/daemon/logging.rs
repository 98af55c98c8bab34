//! Logging: events of `tracing` to standard error or syslog, with levels that can change while the daemon runs.
//!
//! An event belongs to the subsystem that its target names (`target: "control"`), else to the one of its module. The
//! field `call_id`, of the event or of a span around it, names the call.

use crate::config::log::{INTERNALS, Log, LogFormat, SUBSYSTEMS};
use crate::io::clock;
use crate::io::syslog::Syslog;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber, callsite};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// The socket of the local syslog daemon.
const SYSLOG_PATH: &str = "/dev/log";

/// A level that stands for none of its own.
const NO_LEVEL: u8 = u8::MAX;

/// Modules and the subsystems that they log for; the first match counts, `core` has the rest.
const MODULES: &[(&str, &str)] = &[
    ("millrace::control", "control"),
    ("millrace::ng", "control"),
    ("millrace::sdp", "control"),
    ("millrace::negotiate::codecs", "codec"),
    ("millrace::ice", "ice"),
    ("millrace::dtls", "crypto"),
    ("millrace::srtp", "srtp"),
    ("millrace::relay::rtcp", "rtcp"),
];

/// The log levels, shared by all who read or change them.
#[derive(Debug)]
pub struct Levels {
    common: AtomicU8,
    subsystems: [AtomicU8; SUBSYSTEMS.len()],
}

impl Levels {
    fn new(log: &Log) -> Levels {
        let levels = Levels {
            common: AtomicU8::new(log.level),
            subsystems: [const { AtomicU8::new(NO_LEVEL) }; SUBSYSTEMS.len()],
        };
        levels.store(log);
        levels
    }

    /// Takes over the levels of a configuration.
    pub fn set_all(&self, log: &Log) {
        self.store(log);
        callsite::rebuild_interest_cache();
    }

    /// Changes the common level, or that of a subsystem by its place in `SUBSYSTEMS`.
    pub fn set(&self, subsystem: Option<usize>, level: u8) {
        let place = subsystem.and_then(|index| self.subsystems.get(index)).unwrap_or(&self.common);
        place.store(level.min(7), Ordering::Relaxed);
        callsite::rebuild_interest_cache();
    }

    /// Raises or lowers the common level by a step.
    pub fn step(&self, step: i8) {
        let level = self.get(None).saturating_add_signed(step).min(7);
        self.set(None, level);
    }

    /// The common level, or the one in force for a subsystem. `internals` is at 0 without one of its own.
    pub fn get(&self, subsystem: Option<usize>) -> u8 {
        let common = self.common.load(Ordering::Relaxed);
        let Some(index) = subsystem else { return common };
        match self.subsystems.get(index).map(|level| level.load(Ordering::Relaxed)) {
            Some(NO_LEVEL) | None if index == INTERNALS => 0,
            Some(NO_LEVEL) | None => common,
            Some(level) => level,
        }
    }

    fn store(&self, log: &Log) {
        self.common.store(log.level, Ordering::Relaxed);
        for (place, level) in self.subsystems.iter().zip(log.subsystem_levels) {
            place.store(level.unwrap_or(NO_LEVEL), Ordering::Relaxed);
        }
    }

    fn highest(&self) -> u8 {
        (0..SUBSYSTEMS.len()).map(|index| self.get(Some(index))).max().unwrap_or(0)
    }
}

/// The severity of syslog.
fn severity(level: &Level) -> u8 {
    match *level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

fn severity_name(severity: u8) -> &'static str {
    match severity {
        3 => "ERR",
        4 => "WARNING",
        6 => "INFO",
        _ => "DEBUG",
    }
}

/// The place in `SUBSYSTEMS` of the subsystem that an event belongs to.
fn subsystem(metadata: &Metadata) -> usize {
    let target = metadata.target();
    if *metadata.level() == Level::TRACE {
        return INTERNALS;
    }
    let of_module = MODULES.iter().find(|(module, _)| target.starts_with(module)).map(|row| row.1);
    let name = of_module.unwrap_or(target);
    SUBSYSTEMS.iter().position(|row| row.0 == name).unwrap_or(0)
}

/// Where lines go.
enum Sink {
    StandardError {
        with_timestamps: bool,
    },
    Syslog(Mutex<Syslog>),
    #[cfg(test)]
    Memory(Arc<Mutex<Vec<(u8, String)>>>),
}

/// The lines that are written in a second. A flood of requests, or a call gone wild, must not fill the disk.
const LINES_PER_SECOND: u32 = 5000;

/// Counts lines, to leave out those beyond the limit.
#[derive(Debug, Default)]
struct Limiter {
    second: u64,
    lines: u32,
    left_out: u64,
}

impl Limiter {
    /// Whether a line may be written in this second, and how many were left out before, to be told first.
    fn admit(&mut self, second: u64) -> (bool, u64) {
        if second != self.second {
            (self.second, self.lines) = (second, 0);
        }
        self.lines += 1;
        if self.lines > LINES_PER_SECOND {
            self.left_out += 1;
            return (false, 0);
        }
        (true, std::mem::take(&mut self.left_out))
    }
}

/// The layer that writes lines.
struct Writer {
    levels: Arc<Levels>,
    sink: Sink,
    format: LogFormat,
    longest_line: Option<usize>,
    split_lines: bool,
    limiter: Mutex<Limiter>,
}

/// Starts logging for the whole process; call it once. The levels that are given back can be changed.
pub fn start(log: &Log) -> Arc<Levels> {
    let sink = if log.to_stderr {
        Sink::StandardError { with_timestamps: log.timestamps }
    } else {
        Sink::Syslog(Mutex::new(Syslog::new(SYSLOG_PATH, log.facility, &log.name)))
    };
    let writer = Writer::new(log, sink);
    let levels = writer.levels.clone();
    let subscriber = tracing_subscriber::registry().with(writer);
    // A second start, in tests, leaves the first one in force.
    let _ = tracing::subscriber::set_global_default(subscriber);
    levels
}

/// The call of a span.
struct CallOfSpan(String);

/// Reads the fields of an event or span.
#[derive(Default)]
struct Fields {
    message: String,
    call_id: String,
    rest: String,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message.push_str(value),
            "call_id" => self.call_id.push_str(value),
            name => drop(write!(self.rest, " {name}={value}")),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        match field.name() {
            "message" => drop(write!(self.message, "{value:?}")),
            "call_id" => drop(write!(self.call_id, "{value:?}")),
            name => drop(write!(self.rest, " {name}={value:?}")),
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Writer {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        severity(metadata.level()) <= self.levels.get(Some(subsystem(metadata)))
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(match self.levels.highest() {
            0..=2 => LevelFilter::OFF,
            3 => LevelFilter::ERROR,
            4 | 5 => LevelFilter::WARN,
            6 => LevelFilter::INFO,
            _ => LevelFilter::TRACE,
        })
    }

    fn on_new_span(&self, attributes: &tracing::span::Attributes<'_>, id: &tracing::span::Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id).filter(|_| !fields.call_id.is_empty()) {
            span.extensions_mut().insert(CallOfSpan(fields.call_id));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        if fields.call_id.is_empty() {
            let mut around = context.event_scope(event).into_iter().flatten();
            let call_id = around.find_map(|span| span.extensions().get::<CallOfSpan>().map(|call| call.0.clone()));
            fields.call_id = call_id.unwrap_or_default();
        }
        let subsystem = SUBSYSTEMS[subsystem(event.metadata())].0;
        self.write(severity(event.metadata().level()), subsystem, &fields);
    }
}

impl Writer {
    fn new(log: &Log, sink: Sink) -> Writer {
        Writer {
            levels: Arc::new(Levels::new(log)),
            sink,
            format: log.format,
            longest_line: log.longest_line,
            split_lines: log.split_lines,
            limiter: Mutex::default(),
        }
    }

    fn write(&self, severity: u8, subsystem: &str, fields: &Fields) {
        let mut prefix = String::new();
        if !fields.call_id.is_empty() {
            match self.format {
                LogFormat::Default => prefix.push('['),
                LogFormat::Parsable => prefix.push_str("[ID=\""),
            }
            push_visible(&mut prefix, &fields.call_id);
            prefix.push_str(if self.format == LogFormat::Parsable { "\"]: " } else { "]: " });
        }
        let _ = write!(prefix, "[{subsystem}] ");
        if self.split_lines {
            let text = format!("{}{}", fields.message, fields.rest);
            text.lines().for_each(|line| self.write_line(severity, &prefix, &[line]));
        } else {
            self.write_line(severity, &prefix, &[&fields.message, &fields.rest]);
        }
    }

    fn write_line(&self, severity: u8, prefix: &str, parts: &[&str]) {
        let second = clock::mono().0 / 1_000_000_000;
        let (is_admitted, left_out) = self.limiter.lock().unwrap_or_else(PoisonError::into_inner).admit(second);
        if left_out > 0 {
            self.put(4, format!("[core] {left_out} log messages were left out"));
        }
        if !is_admitted {
            return;
        }
        let mut line = prefix.to_owned();
        parts.iter().for_each(|part| push_visible(&mut line, part));
        if let Some(limit) = self.longest_line {
            let end = (0..=limit.min(line.len())).rev().find(|&at| line.is_char_boundary(at));
            line.truncate(end.unwrap_or(0));
        }
        self.put(severity, line);
    }

    fn put(&self, severity: u8, line: String) {
        match &self.sink {
            Sink::StandardError { with_timestamps } => write_to_standard_error(*with_timestamps, severity, &line),
            Sink::Syslog(syslog) => {
                let line = format!("{}: {line}", severity_name(severity));
                syslog.lock().unwrap_or_else(PoisonError::into_inner).send(severity, &line);
            }
            #[cfg(test)]
            Sink::Memory(lines) => lines.lock().unwrap().push((severity, line)),
        }
    }
}

fn write_to_standard_error(with_timestamps: bool, severity: u8, line: &str) {
    let mut text = String::with_capacity(line.len() + 40);
    if with_timestamps {
        let now = clock::unix();
        let _ = write!(text, "[{}.{:06}] ", now.seconds(), now.microseconds_part());
    }
    let _ = writeln!(text, "{}: {line}", severity_name(severity));
    // A closed terminal is no reason to stop.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Appends text with control characters made visible: what a client sends must not look like a line of its own.
fn push_visible(line: &mut String, text: &str) {
    for character in text.chars() {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Lines = Arc<Mutex<Vec<(u8, String)>>>;

    /// Runs `work` with a log into memory.
    fn logged(log: &Log, work: impl FnOnce(&Levels)) -> Vec<(u8, String)> {
        let lines = Lines::default();
        let writer = Writer::new(log, Sink::Memory(lines.clone()));
        let levels = writer.levels.clone();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(writer), || work(&levels));
        std::mem::take(&mut *lines.lock().unwrap())
    }

    fn texts(log: &Log, work: impl FnOnce(&Levels)) -> Vec<String> {
        logged(log, work).into_iter().map(|line| line.1).collect()
    }

    #[test]
    fn lines_name_call_and_subsystem() {
        let lines = logged(&Log::default(), |_| {
            tracing::info!(target: "control", call_id = "c\n1", port = 5, "Received {}", "x");
            tracing::warn!("from a module");
            let span = tracing::info_span!("call", call_id = "outer");
            span.in_scope(|| tracing::error!(target: "ice", "within"));
        });
        let expected = [
            (6, "[c\\n1]: [control] Received x port=5".to_owned()),
            (4, "[core] from a module".to_owned()),
            (3, "[outer]: [ice] within".to_owned()),
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn levels_change_at_any_time() {
        let mut log = Log { level: 4, ..Log::default() };
        log.subsystem_levels[7] = Some(7);
        let lines = texts(&log, |levels| {
            for round in 0..5 {
                match round {
                    1 => levels.set(None, 6),
                    2 => levels.set(Some(7), 3),
                    3 => levels.step(-2),
                    4 => levels.set_all(&Log { level: 7, ..Log::default() }),
                    _ => {}
                }
                tracing::info!(target: "core", "core {round}");
                tracing::debug!(target: "ice", "ice {round}");
                tracing::trace!(target: "core", "internals {round}");
            }
        });
        assert_eq!(
            lines,
            ["[ice] ice 0", "[core] core 1", "[ice] ice 1", "[core] core 2", "[core] core 4", "[ice] ice 4"]
        );
    }

    #[test]
    fn lines_are_cut_and_split() {
        let log = Log { longest_line: Some(12), ..Log::default() };
        assert_eq!(texts(&log, |_| tracing::info!(target: "core", "12345é789")), ["[core] 12345"]);
        let log = Log { split_lines: true, format: LogFormat::Parsable, ..Log::default() };
        let lines = texts(&log, |_| tracing::info!(target: "core", call_id = "c", "v=0\r\ns=-\r\n"));
        assert_eq!(lines, ["[ID=\"c\"]: [core] v=0", "[ID=\"c\"]: [core] s=-"]);
        let whole = texts(&Log::default(), |_| tracing::info!(target: "core", "v=0\r\ns=-"));
        assert_eq!(whole, ["[core] v=0\\r\\ns=-"]);
    }

    #[test]
    fn a_flood_is_cut() {
        let mut limiter = Limiter::default();
        let written = (0..10_000).filter(|_| limiter.admit(7).0).count();
        assert_eq!(written, 5000);
        assert_eq!(limiter.admit(8), (true, 5000));
        assert_eq!(limiter.admit(8), (true, 0));
    }

    #[test]
    fn internals_are_silent_unless_asked() {
        let mut log = Log { level: 7, ..Log::default() };
        assert_eq!(texts(&log, |_| tracing::trace!("x")), Vec::<String>::new());
        log.subsystem_levels[INTERNALS] = Some(7);
        assert_eq!(texts(&log, |_| tracing::trace!("x")), ["[internals] x"]);
    }
}
