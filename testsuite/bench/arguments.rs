//! What the command line takes: one subcommand a measurement.

use clap::builder::PossibleValuesParser;
use clap::{Arg, Command, value_parser};

/// The whole command line.
pub fn all() -> Command {
    Command::new("millrace-bench")
        .about("Measures media daemons on loopback.")
        .subcommand_required(true)
        .subcommands([
            compare(),
            fanout(),
            forward(),
            copies(),
            calls(),
            changes(),
            lrk(),
            kernel(),
            cycles(),
            large(),
            srtp(),
            dtls(),
            requests(),
        ])
        .subcommand(Command::new("all").about("Everything, with its defaults"))
        .subcommand(Command::new("ceiling").about("What the generator can do without a daemon").arg(generator_core()))
}

fn compare() -> Command {
    let json = Arg::new("json").long("json").value_name("FILE");
    Command::new("compare")
        .about("Both daemons side by side, in turns")
        .arg(daemon().help("Measure only this one"))
        .arg(number("rounds", "3", "Rounds; the medians count"))
        .arg(number("calls", "200", "Calls with RTP both ways"))
        .arg(number("seconds", "20", "Measured seconds a round"))
        .arg(number("cycles", "4000", "Offer, answer, delete cycles for the CPU of a set-up"))
        .arg(number("offers", "1000", "Offers for their rate, calls for memory"))
        .arg(daemon_cores().default_value("0"))
        .arg(generator_core())
        .arg(json.help("Where to write the figures [testsuite/out/bench.json]"))
}

fn fanout() -> Command {
    Command::new("fanout")
        .about("One to n: what each receiver costs, both daemons side by side")
        .arg(daemon().help("Measure only this one"))
        .arg(number("rounds", "1", "Rounds; the medians count"))
        .arg(number("seconds", "4", "Measured seconds a run"))
        .arg(number("copies-a-second", "25000", "Copies in all, whatever the number of receivers"))
        .arg(daemon_cores().default_value("0"))
        .arg(generator_core())
}

fn forward() -> Command {
    Command::new("forward")
        .about("RTP and SRTP between two hosts: nftables, XDP, userspace, rtpengine")
        .arg(names("media", crate::forward::media_names()).help("Measure only these"))
        .arg(names("ways", crate::forward::way_names()).help("Measure only these, beside reception alone"))
        .arg(number("rounds", "3", "Rounds; the medians count"))
        .arg(number("seconds", "4", "Measured seconds a run"))
        .arg(number("calls", "2000", "Calls with RTP both ways"))
        .arg(generator_core())
}

fn copies() -> Command {
    Command::new("copies")
        .about("One to n in the kernel: what each copy costs, beside forwarding to one")
        .arg(number("rounds", "3", "Rounds; the medians count"))
        .arg(number("seconds", "3", "Measured seconds a run"))
        .arg(number("copies-a-second", "40000", "Copies in all, whatever the number of receivers"))
        .arg(generator_core())
}

fn calls() -> Command {
    Command::new("calls")
        .about("As many calls as a large proxy has, all relaying at once, in the fast path and in userspace")
        .arg(number("calls", "20000", "Calls with RTP both ways"))
        .arg(number("packets-a-second", "100000", "Packets in all"))
        .arg(number("seconds", "8", "Measured seconds a run"))
        .arg(generator_core())
}

fn lrk() -> Command {
    Command::new("lrk")
        .about("The same with calls of LRKProxy, until they have expired")
        .arg(number("calls", "20000", "Calls with RTP both ways"))
        .arg(number("packets-a-second", "100000", "Packets in all"))
        .arg(number("seconds", "8", "Measured seconds a run"))
        .arg(generator_core())
}

fn changes() -> Command {
    Command::new("changes")
        .about("Calls that end and begin while others flow: does any packet take a wrong turn?")
        .arg(number("calls", "5000", "Calls, with two flows each"))
        .arg(number("packets-a-second", "50000", "Packets in all"))
        .arg(number("changes-a-second", "1000", "Calls that are deleted and offered anew in a second"))
        .arg(number("seconds", "10", "Measured seconds a run"))
        .arg(generator_core())
}

fn requests() -> Command {
    Command::new("requests")
        .about("NG over UDP, TCP, HTTP and WebSocket at once while streams relay")
        .arg(number("streams", "5000", "Streams that relay, two a call"))
        .arg(number("packets-a-second", "20000", "Packets in all"))
        .arg(number("requests-a-second", "10000", "Requests in all, a quarter over each transport"))
        .arg(number("seconds", "6", "Measured seconds"))
}

fn kernel() -> Command {
    Command::new("kernel")
        .about("One packet in the kernel's programs, plain and with SRTP, and what loading them costs")
        .arg(number("packets", "2000", "Packets of each kind; the medians count"))
}

fn cycles() -> Command {
    Command::new("cycles")
        .about("Many offer, answer, delete cycles: is everything back afterwards?")
        .arg(daemon().default_value("millrace"))
        .arg(number("count", "100000", "Cycles"))
}

fn large() -> Command {
    Command::new("large")
        .about("Many calls relaying while the control port is asked")
        .arg(daemon().default_value("millrace"))
        .arg(number("calls", "4000", "Open calls, four ports each"))
        .arg(number("packets-a-second", "100000", "Packets in all"))
        .arg(number("seconds", "10", "Measured seconds"))
        .arg(daemon_cores().help("As taskset names them [all]"))
        .arg(generator_core())
}

fn srtp() -> Command {
    Command::new("srtp")
        .about("Protecting and unprotecting packets, beside libsrtp2")
        .arg(number("rounds", "9", "Rounds; the medians count"))
        .arg(number("batches", "100", "Batches of 64 packets a round"))
}

fn dtls() -> Command {
    Command::new("dtls").about("DTLS-SRTP handshakes and the memory of associations").arg(number(
        "seconds",
        "5",
        "Measured seconds for each kind of certificate",
    ))
}

fn number(name: &'static str, default: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name("N").default_value(default).value_parser(value_parser!(u64)).help(help)
}

/// Some of these, separated by commas; all where none are named.
fn names(name: &'static str, known: impl Iterator<Item = &'static str>) -> Arg {
    let known: Vec<_> = known.collect();
    Arg::new(name)
        .long(name)
        .value_name("NAMES")
        .value_delimiter(',')
        .default_values(known.clone())
        .value_parser(PossibleValuesParser::new(known))
}

fn daemon() -> Arg {
    Arg::new("daemon").long("daemon").value_name("NAME").help("millrace or rtpengine")
}

fn daemon_cores() -> Arg {
    Arg::new("daemon-cores").long("daemon-cores").value_name("LIST").help("As taskset names them")
}

fn generator_core() -> Arg {
    number("generator-core", "1", "The core that the load generator spins on")
}
