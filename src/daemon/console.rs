//! The commands of the command line interface.

use super::admission::{self, Limit};
use super::build;
use super::logging::Levels;
use super::service::Daemon;
use super::{captures, listing, measures};
use crate::call::lifecycle::Termination;
use crate::config::log::SUBSYSTEMS;
use crate::config::{Config, Loaded, Value as OptionValue};
use crate::control::CliReply;
use crate::control::cli::{CallOrder, CliCommand, Sessions, Setting, Terminated};
use crate::engine::Settings;
use crate::io::control_socket::ControlSocket;
use crate::io::limits;
use crate::ng::Encoding;
use crate::ng::message;
use crate::observe::{interfaces, sessions, statistics};
use std::fmt::Write;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What the console shows and changes besides the shards.
pub(super) struct Console {
    /// As the daemon was started, or loaded anew since.
    pub loaded: Mutex<Loaded>,
    pub levels: Arc<Levels>,
    /// The type of service of control sockets.
    pub control_tos: AtomicI64,
    pub sockets: Vec<Arc<ControlSocket>>,
}

/// Works off a command.
pub(super) fn run(daemon: &Daemon, command: CliCommand, reply: CliReply) {
    match command {
        CliCommand::ListNumSessions => daemon.sums(|sums| reply.send(statistics::sessions_text(&sums))),
        CliCommand::ListSessions(which) => list_sessions(daemon, which, reply),
        CliCommand::ListTotals => list_totals(daemon, reply),
        CliCommand::ListCounters => daemon.sums(|sums| reply.send(statistics::counters_text(&sums))),
        CliCommand::Metrics => measures::metrics(daemon, reply),
        CliCommand::ListJsonStatistics => daemon.statistics(|report| {
            let text = String::from_utf8_lossy(&message::encode(Encoding::Json, &report)).into_owned();
            reply.send(text + "\n");
        }),
        CliCommand::ListInterfaces => {
            let rows = daemon.router.interface_rows();
            daemon.sums(move |sums| reply.send(interfaces::text(&rows, &sums.interfaces)));
        }
        CliCommand::ListTranscoders => reply.send("No stats entries\n".to_owned()),
        CliCommand::ListCalls { is_json } => listing::calls(daemon, is_json, reply),
        CliCommand::ListFastPath(form) => listing::list(daemon, form, reply),
        CliCommand::Capture { call_id, snap } => captures::start(daemon, call_id, usize::from(snap), reply),
        CliCommand::ListLrk => reply.send(daemon.lrk.get().map_or_else(
            || "Nothing listens for LRKProxy's clients (`listen-lrk`).\n".to_owned(),
            |front| front.report(),
        )),
        CliCommand::Get(setting) => reply.send(setting.show(get(daemon, setting))),
        CliCommand::Set(setting, value) => reply.send(set(daemon, setting, value)),
        CliCommand::GetLogLevel(subsystem) => reply.send(log_levels(&daemon.console.levels, subsystem)),
        CliCommand::SetLogLevel(subsystem, level) => {
            daemon.console.levels.set(subsystem, level);
            reply.send(format!("Success setting loglevel to {level}\n"));
        }
        CliCommand::Terminate(which) => terminate(daemon, which, reply),
        CliCommand::Call { call_id, order } => with_call(daemon, call_id, order, reply),
        CliCommand::ParametersAtStart => reply.send(parameters(daemon, false)),
        CliCommand::ParametersNow => reply.send(parameters(daemon, true)),
        CliCommand::ParametersChanged => reply.send(changed(daemon)),
        CliCommand::ParametersRevert => reply.send(revert(daemon)),
    }
}

fn list_sessions(daemon: &Daemon, which: Sessions, reply: CliReply) {
    match which {
        Sessions::All | Sessions::Own => daemon.router.gather(
            |work| work.shard.calls().map(sessions::line).collect::<String>(),
            move |lists| {
                let (text, own) = (lists.concat(), if which == Sessions::Own { "own " } else { "" });
                reply.send(if text.is_empty() { format!("No {own}sessions on this media relay.\n") } else { text });
            },
        ),
        Sessions::Foreign => reply.send("No foreign sessions on this media relay.\n".to_owned()),
        Sessions::Recording => reply.send("No sessions on this media relay.\n".to_owned()),
        Sessions::Call(call_id) => {
            let shard = daemon.router.shard(&call_id).clone();
            shard.run(Box::new(move |work| {
                work.shard.count_all_ways(work.now);
                let found = work.shard.call(&call_id);
                reply.send(match found {
                    Some(call) => sessions::details(call, work.shard.relay(), work.now),
                    None => format!("\nCall ID not found ({call_id}).\n\n"),
                });
            }));
        }
    }
}

fn list_totals(daemon: &Daemon, reply: CliReply) {
    let (tallies, interval) = (daemon.tallies(), daemon.interval());
    let names: Vec<_> = daemon.router.interface_rows().into_iter().map(|row| (row.address, row.name)).collect();
    daemon.sums(move |sums| {
        let name = |address| {
            let found = names.iter().find(|(known, _)| *known == address);
            found.map_or_else(String::new, |(_, name)| name.clone())
        };
        reply.send(statistics::totals_text(&sums, &tallies, interval.as_ref(), name));
    });
}

fn settings<T>(daemon: &Daemon, read: impl FnOnce(&Settings) -> T) -> T {
    read(&daemon.router.settings.lock().unwrap_or_else(PoisonError::into_inner))
}

fn get(daemon: &Daemon, setting: Setting) -> i64 {
    let seconds = |duration: Duration| duration.as_secs() as i64;
    match setting {
        Setting::MaxOpenFiles => limits::descriptors().map_or(-1, |count| count as i64),
        Setting::MaxSessions | Setting::MaxProcessor | Setting::MaxLoad | Setting::MaxBandwidth => {
            limit_of(setting).map_or(-1, |limit| daemon.router.dispatch.admission.get(limit))
        }
        Setting::Timeout => settings(daemon, |settings| seconds(settings.timeouts.media)),
        Setting::SilentTimeout => settings(daemon, |settings| seconds(settings.timeouts.silent)),
        Setting::OfferTimeout => settings(daemon, |settings| seconds(settings.timeouts.offer)),
        Setting::FinalTimeout => settings(daemon, |settings| seconds(settings.timeouts.whole)),
        Setting::ControlTos => daemon.console.control_tos.load(Ordering::Relaxed),
        Setting::DeleteDelay => settings(daemon, |settings| seconds(settings.delete_delay)),
    }
}

fn set(daemon: &Daemon, setting: Setting, value: i64) -> String {
    let duration = Duration::from_secs(u64::try_from(value).unwrap_or_default());
    match setting {
        Setting::MaxOpenFiles => {
            if let Err(error) = limits::set_descriptors(value as u64) {
                return format!("Fail setting maxopenfiles to {value}: {error}\n");
            }
        }
        Setting::MaxSessions | Setting::MaxProcessor | Setting::MaxLoad | Setting::MaxBandwidth => {
            limit_of(setting).into_iter().for_each(|limit| daemon.router.dispatch.admission.set(limit, value));
        }
        Setting::Timeout => daemon.router.change_settings(|settings| settings.timeouts.media = duration),
        Setting::SilentTimeout => daemon.router.change_settings(|settings| settings.timeouts.silent = duration),
        Setting::OfferTimeout => daemon.router.change_settings(|settings| settings.timeouts.offer = duration),
        Setting::FinalTimeout => daemon.router.change_settings(|settings| settings.timeouts.whole = duration),
        Setting::DeleteDelay => daemon.router.change_settings(|settings| settings.delete_delay = duration),
        Setting::ControlTos => {
            let tos = u8::try_from(value).unwrap_or_default();
            if let Some(error) = daemon.console.sockets.iter().find_map(|socket| socket.set_tos(tos).err()) {
                return format!("Fail setting controltos to {value}: {error}\n");
            }
            daemon.console.control_tos.store(value, Ordering::Relaxed);
        }
    }
    setting.confirm(value)
}

fn limit_of(setting: Setting) -> Option<Limit> {
    match setting {
        Setting::MaxSessions => Some(Limit::Sessions),
        Setting::MaxProcessor => Some(Limit::Processor),
        Setting::MaxLoad => Some(Limit::Load),
        Setting::MaxBandwidth => Some(Limit::Bandwidth),
        _ => None,
    }
}

/// All levels by name, or one as a number alone.
fn log_levels(levels: &Levels, subsystem: Option<usize>) -> String {
    if subsystem.is_some() {
        return format!("{}\n", levels.get(subsystem));
    }
    let mut text = String::new();
    for (index, row) in SUBSYSTEMS.iter().enumerate() {
        let _ = writeln!(text, "{} = {}", row.0, levels.get(Some(index)));
    }
    text
}

fn terminate(daemon: &Daemon, which: Terminated, reply: CliReply) {
    match which {
        Terminated::Call(call_id) => {
            let shard = daemon.router.shard(&call_id).clone();
            shard.run(Box::new(move |work| {
                let is_known = work.shard.terminate(work.now, &call_id, work.lent.ports, work.lent.numbers);
                reply.send(match is_known {
                    true => format!("\nCall Id ({call_id}) successfully terminated by operator.\n\n"),
                    false => format!("\nCall Id not found ({call_id}).\n\n"),
                });
            }));
        }
        Terminated::All | Terminated::Own => daemon.router.gather(
            |work| work.shard.end_all(work.now, Termination::Forced, work.lent.ports, work.lent.numbers),
            move |_| {
                reply.send(if which == Terminated::All {
                    "All calls terminated by operator.\n".to_owned()
                } else {
                    "All own calls terminated by operator.\n".to_owned()
                })
            },
        ),
        Terminated::Foreign => reply.send("All foreign calls terminated by operator.\n".to_owned()),
    }
}

/// Shows or ends a call.
fn with_call(daemon: &Daemon, call_id: String, order: CallOrder, reply: CliReply) {
    let shard = daemon.router.shard(&call_id).clone();
    shard.run(Box::new(move |work| {
        work.shard.count_all_ways(work.now);
        let text = match (work.shard.call(&call_id), &order) {
            (None, _) => format!("No such call '{call_id}'\n"),
            (Some(call), CallOrder::Show) => sessions::details(call, work.shard.relay(), work.now),
            (Some(call), CallOrder::ShowTag(tag)) => sessions::tag_details(call, work.shard.relay(), tag, work.now)
                .unwrap_or_else(|| format!("No such tag '{tag}' in call '{call_id}'\n")),
            (Some(_), CallOrder::End) => {
                work.shard.terminate(work.now, &call_id, work.lent.ports, work.lent.numbers);
                format!("\nCall '{call_id}' terminated.\n\n")
            }
        };
        reply.send(text);
    }));
}

/// The options with their values: as given, and where the console has changed them, as they are now.
fn parameters(daemon: &Daemon, is_now: bool) -> String {
    let loaded = daemon.console.loaded.lock().unwrap_or_else(PoisonError::into_inner);
    let changed = changeable(daemon, &loaded.config);
    let mut text = String::new();
    for (row, value) in loaded.settings() {
        let current = changed.iter().find(|option| option.name == row.name && is_now);
        let value = match (current.and_then(|option| Some((option.setting, option.now?))), value) {
            (Some((setting, now)), _) => setting.number(now),
            (_, Some(_)) if row.is_secret => "(not shown)".to_owned(),
            (_, Some(value)) => show(&value),
            (_, None) => String::new(),
        };
        let _ = writeln!(text, "{} = {value}", row.name);
    }
    text
}

fn show(value: &OptionValue) -> String {
    value.to_string()
}

/// An option that the console changes: its name, as configured, and as it is now where that differs.
struct Changeable {
    name: &'static str,
    setting: Setting,
    configured: i64,
    now: Option<i64>,
}

fn changeable(daemon: &Daemon, config: &Config) -> Vec<Changeable> {
    let (timeouts, limits) = (&config.timeouts, &config.limits);
    let rows = [
        ("max-sessions", Setting::MaxSessions, admission::configured(limits, Limit::Sessions)),
        ("max-cpu", Setting::MaxProcessor, admission::configured(limits, Limit::Processor)),
        ("max-load", Setting::MaxLoad, admission::configured(limits, Limit::Load)),
        ("max-bandwidth", Setting::MaxBandwidth, admission::configured(limits, Limit::Bandwidth)),
        ("timeout", Setting::Timeout, i64::from(timeouts.media_s)),
        ("silent-timeout", Setting::SilentTimeout, i64::from(timeouts.silent_s)),
        ("offer-timeout", Setting::OfferTimeout, i64::from(timeouts.offer_s)),
        ("final-timeout", Setting::FinalTimeout, i64::from(timeouts.final_s)),
        ("delete-delay", Setting::DeleteDelay, i64::from(timeouts.delete_delay_s)),
        ("control-tos", Setting::ControlTos, i64::from(config.control.tos.unwrap_or_default())),
    ];
    let row = |(name, setting, configured): (&'static str, Setting, i64)| {
        let now = get(daemon, setting);
        Changeable { name, setting, configured, now: (now != configured).then_some(now) }
    };
    rows.into_iter().map(row).collect()
}

fn changed(daemon: &Daemon) -> String {
    let loaded = daemon.console.loaded.lock().unwrap_or_else(PoisonError::into_inner);
    let mut text = String::new();
    for Changeable { name, setting, configured, now } in changeable(daemon, &loaded.config) {
        if let Some(now) = now {
            let _ = writeln!(text, "{name}: {} => {}", setting.number(configured), setting.number(now));
        }
    }
    text
}

fn revert(daemon: &Daemon) -> String {
    let loaded = daemon.console.loaded.lock().unwrap_or_else(PoisonError::into_inner);
    let config = loaded.config.clone();
    drop(loaded);
    apply(daemon, &config);
    daemon.console.levels.set_all(&config.log);
    "Success reverting parameters\n".to_owned()
}

/// Takes over what can change in a running daemon.
pub(super) fn apply(daemon: &Daemon, config: &Config) {
    let delete_delay = Duration::from_secs(u64::from(config.timeouts.delete_delay_s));
    daemon.router.change_settings(|settings| {
        settings.timeouts = build::timeouts(&config.timeouts);
        settings.delete_delay = delete_delay;
        settings.one_way_after = Duration::from_secs(u64::from(config.events.one_way_after_s));
    });
    daemon.router.dispatch.admission.apply(&config.limits);
    set(daemon, Setting::ControlTos, i64::from(config.control.tos.unwrap_or_default()));
}
