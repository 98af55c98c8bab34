//! The command line of `millracectl`.

use super::capture::Capture;
use super::metrics::{Form, Metrics};
use super::top::Top;
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::ffi::OsString;
use std::time::Duration;

/// Where the sample configuration has the CLI port.
const DEFAULT_ADDRESS: &str = "127.0.0.1:9900";

const EXAMPLES: &str = "Any other command goes to the daemon as it is, in the words of rtpengine-ctl:\n\n  \
    millracectl list totals\n  millracectl list sessions all\n  millracectl terminate CALLID\n  \
    millracectl usage          all commands of the daemon\n\n\
    The daemon listens where its option `listen-cli` says; without that option it has no CLI port.";

/// What is to be done, and where the daemon is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Invocation {
    /// `ADDRESS:PORT`.
    pub(super) address: String,
    pub(super) order: Order,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// A line for the daemon, whose answer is printed.
    Line(String),
    Capture(Capture),
    Metrics(Metrics),
    Top(Top),
}

/// Reads the command line; the error is also the text of `--help`.
pub(super) fn read(words: impl IntoIterator<Item = OsString>) -> Result<Invocation, clap::Error> {
    let mut command = command();
    let matches = command.try_get_matches_from_mut(words)?;
    let address = matches.get_one::<String>("address").cloned().unwrap_or_default();
    let order = match matches.subcommand() {
        Some(("fastpath", flags)) => Order::Line(fast_path(flags)),
        Some(("capture", arguments)) => Order::Capture(capture(arguments)),
        Some(("metrics", arguments)) => Order::Metrics(metrics(arguments)),
        Some(("top", arguments)) => Order::Top(Top {
            interval: Duration::from_secs(arguments.get_one("interval").copied().unwrap_or(1)),
            is_once: arguments.get_flag("once"),
        }),
        Some((first, rest)) => Order::Line(line(first, rest)),
        // clap has asked for one.
        None => return Err(command.error(clap::error::ErrorKind::MissingSubcommand, "a command is missing")),
    };
    Ok(Invocation { address, order })
}

/// The definition of the command line, also for what is made from it.
pub fn command() -> Command {
    Command::new("millracectl")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Shows what a millrace daemon does, and tells it what to do, through its CLI port.")
        .after_help(EXAMPLES)
        .subcommand_required(true)
        .arg_required_else_help(true)
        // The daemon has its own.
        .disable_help_subcommand(true)
        .allow_external_subcommands(true)
        .external_subcommand_value_parser(clap::value_parser!(String))
        .subcommand_help_heading("Commands")
        .subcommand(fast_path_command())
        .subcommand(capture_command())
        .subcommand(metrics_command())
        .subcommand(top_command())
        .arg(
            Arg::new("address")
                .long("address")
                .short('a')
                .value_name("ADDRESS:PORT")
                .default_value(DEFAULT_ADDRESS)
                .value_parser(address)
                .help("The daemon's CLI port, as `listen-cli` has it"),
        )
}

fn fast_path_command() -> Command {
    let flag = |name: &'static str, help: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    Command::new("fastpath")
        .about(
            "What is forwarded in the kernel: every entry with its counters, what the programs did with packets, and \
                why the other streams are forwarded by the daemon",
        )
        .arg(flag("summary", "Counters only, no entries"))
        .arg(flag("json", "One JSON document in place of text"))
}

fn capture_command() -> Command {
    let limit = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("NUMBER").value_parser(clap::value_parser!(u64).range(1..)).help(help)
    };
    Command::new("capture")
        .about("The packets of a call, as they come and as they leave, whichever way they take (pcapng)")
        .after_help(
            "Frames that XDP forwards are as the interfaces saw them; datagrams that went through the daemon have headers \
             made up. SRTP stays encrypted. The capture ends with an interrupt, with the call, or at a limit.\n\n  \
             millracectl capture CALLID -w call.pcapng\n  millracectl capture CALLID | tshark -r -",
        )
        .arg(Arg::new("call-id").value_name("CALLID").required(true).value_parser(call_id).help("The call"))
        .arg(Arg::new("write").short('w').long("write").value_name("FILE").help("Where to; else standard output"))
        .arg(limit("seconds", "How long at most"))
        .arg(limit("packets", "How many at most"))
        .arg(
            Arg::new("snap-length")
                .long("snap-length")
                .value_name("BYTES")
                .value_parser(clap::value_parser!(u16).range(64..=2048))
                .default_value("2048")
                .help("What is kept of each packet"),
        )
}

fn metrics_command() -> Command {
    let flag = |name: &'static str, help: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    Command::new("metrics")
        .about("What the daemon counts, as Prometheus reads it")
        .after_help("protocol-docs/metrics.md says what each metric means.\n\n  millracectl metrics --table ports")
        .arg(Arg::new("part").value_name("PART").help("Those with this in their names; else all"))
        .arg(flag("table", "A line for each number that is not zero"))
        .arg(flag("all", "Zeros too").requires("table"))
        .arg(flag("json", "JSON in place of Prometheus's text").conflicts_with("table"))
}

fn metrics(arguments: &ArgMatches) -> Metrics {
    let form = match (arguments.get_flag("table"), arguments.get_flag("json")) {
        (true, _) => Form::Table { all: arguments.get_flag("all") },
        (false, true) => Form::Json,
        (false, false) => Form::Text,
    };
    Metrics { form, part: arguments.get_one::<String>("part").cloned() }
}

fn top_command() -> Command {
    let interval = Arg::new("interval").long("interval").value_name("SECONDS").default_value("1");
    let once = Arg::new("once").long("once").action(ArgAction::SetTrue);
    Command::new("top")
        .about("The calls with the most packets, until an interrupt")
        .arg(interval.value_parser(clap::value_parser!(u64).range(1..)).help("Between two looks"))
        .arg(once.help("The table of one interval, then no more"))
}

/// A word of a line.
fn call_id(text: &str) -> Result<String, String> {
    let is_word = !text.is_empty() && !text.contains(char::is_whitespace);
    is_word.then(|| text.to_owned()).ok_or("a call-id is one word".to_owned())
}

fn capture(arguments: &ArgMatches) -> Capture {
    let number = |name| arguments.get_one::<u64>(name).copied();
    let text = |name| arguments.get_one::<String>(name).cloned();
    Capture {
        call_id: text("call-id").unwrap_or_default(),
        file: text("write"),
        snap: arguments.get_one("snap-length").copied().unwrap_or(2048),
        longest: number("seconds").map(Duration::from_secs),
        most_packets: number("packets"),
    }
}

/// The daemon's words for it.
fn fast_path(flags: &ArgMatches) -> String {
    let words = ["summary", "json"].into_iter().filter(|flag| flags.get_flag(flag));
    std::iter::once("list fastpath").chain(words).collect::<Vec<_>>().join(" ")
}

/// A port alone is one of this machine.
fn address(text: &str) -> Result<String, String> {
    if text.parse::<u16>().is_ok() {
        return Ok(format!("127.0.0.1:{text}"));
    }
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(text.to_owned()),
        _ => Err("an address and a port, such as 127.0.0.1:9900 or [::1]:9900".to_owned()),
    }
}

/// The words of a command that is not one of ours.
fn line(first: &str, rest: &ArgMatches) -> String {
    let rest = rest.get_many::<String>("").into_iter().flatten();
    std::iter::once(first).chain(rest.map(String::as_str)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Result<Invocation, clap::Error> {
        read(text.split(' ').map(OsString::from))
    }

    #[test]
    fn other_commands_go_on_as_they_are() {
        let order = |text| words(text).unwrap().order;
        assert_eq!(order("millracectl list totals"), Order::Line("list totals".to_owned()));
        assert_eq!(order("millracectl help"), Order::Line("help".to_owned()));
        assert_eq!(order("millracectl set maxsessions -1"), Order::Line("set maxsessions -1".to_owned()));
        assert_eq!(order("millracectl -a 1 terminate a@b --x"), Order::Line("terminate a@b --x".to_owned()));
    }

    #[test]
    fn the_fast_path_is_listed() {
        let order = |text| words(text).unwrap().order;
        assert_eq!(order("millracectl fastpath"), Order::Line("list fastpath".to_owned()));
        let all = order("millracectl fastpath --json --summary");
        assert_eq!(all, Order::Line("list fastpath summary json".to_owned()));
        assert!(words("millracectl fastpath --other").is_err());
    }

    #[test]
    fn captures_have_a_call_and_limits() {
        let order =
            words("millracectl capture a@b -w x.pcapng --seconds 3 --packets 9 --snap-length 64").unwrap().order;
        let expected = Capture {
            call_id: "a@b".to_owned(),
            file: Some("x.pcapng".to_owned()),
            snap: 64,
            longest: Some(Duration::from_secs(3)),
            most_packets: Some(9),
        };
        assert_eq!(order, Order::Capture(expected));
        for text in
            ["millracectl capture", "millracectl capture a --packets 0", "millracectl capture a --snap-length 9"]
        {
            assert!(words(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_table_of_calls_has_an_interval() {
        let top = |seconds, is_once| Order::Top(Top { interval: Duration::from_secs(seconds), is_once });
        assert_eq!(words("millracectl top").unwrap().order, top(1, false));
        assert_eq!(words("millracectl top --once --interval 3").unwrap().order, top(3, true));
        assert!(words("millracectl top --interval 0").is_err());
    }

    #[test]
    fn metrics_have_forms() {
        let order = |text| words(text).unwrap().order;
        let metrics = |form, part: Option<&str>| Order::Metrics(Metrics { form, part: part.map(str::to_owned) });
        assert_eq!(order("millracectl metrics"), metrics(Form::Text, None));
        assert_eq!(order("millracectl metrics --table --all ports"), metrics(Form::Table { all: true }, Some("ports")));
        assert_eq!(order("millracectl metrics --json"), metrics(Form::Json, None));
        assert!(words("millracectl metrics --json --table").is_err());
        assert!(words("millracectl metrics --all").is_err());
    }

    #[test]
    fn addresses_are_checked() {
        let address = |text| words(text).map(|invocation| invocation.address);
        assert_eq!(address("millracectl x").unwrap(), DEFAULT_ADDRESS);
        assert_eq!(address("millracectl -a 9901 x").unwrap(), "127.0.0.1:9901");
        assert_eq!(address("millracectl --address [::1]:9900 x").unwrap(), "[::1]:9900");
        for text in ["millracectl -a host x", "millracectl -a :1 x", "millracectl -a h:99999 x", "millracectl"] {
            assert!(words(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_definition_is_sound() {
        command().debug_assert();
    }
}
