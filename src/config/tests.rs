//! Options from command line, file and environment, and interfaces on a host that the tests make up.

use super::FastPathUse;
use super::interface::{ResolvedInterfaces, Resolver, resolve};
use super::table::find;
use super::*;
use crate::config::log::SUBSYSTEMS;
use std::collections::HashSet;
use std::io::{Error, ErrorKind};
use std::net::IpAddr;

/// A host with one file and one environment variable.
struct Host(&'static str, &'static str);

impl System for Host {
    fn read_file(&self, path: &str) -> std::io::Result<String> {
        if path == self.0 { Ok(self.1.to_owned()) } else { Err(Error::from(ErrorKind::NotFound)) }
    }

    fn variable(&self, name: &str) -> Option<String> {
        (self.0 == "with variable" && name == "RTPENGINE_REDIS_AUTH_PW").then(|| "secret".to_owned())
    }
}

const EMPTY: Host = Host("none", "");

fn arguments(line: &str) -> Vec<String> {
    std::iter::once("millrace").chain(line.split_whitespace()).map(str::to_owned).collect()
}

fn run_on(host: &Host, line: &str) -> Result<Box<Loaded>, Vec<String>> {
    match load(&arguments(line), host) {
        Ok(Outcome::Run(loaded)) => Ok(loaded),
        Ok(Outcome::Print(text)) => Err(vec![text]),
        Err(errors) => Err(errors.iter().map(ConfigError::to_string).collect()),
    }
}

fn config(line: &str) -> Config {
    run_on(&EMPTY, line).unwrap().config
}

/// With the least that a start needs.
fn with_least(line: &str) -> Config {
    config(&format!("-i 127.0.0.1 -n 2223 {line}"))
}

fn with_file(text: &'static str, line: &str) -> Result<Box<Loaded>, Vec<String>> {
    run_on(&Host("file", text), &format!("--config-file file {line}"))
}

#[test]
fn every_name_is_there_once() {
    let mut names = HashSet::new();
    let mut letters = HashSet::new();
    for row in sections().iter().flat_map(|section| section.rows) {
        assert!(names.insert(row.name), "{}", row.name);
        row.aliases.iter().for_each(|alias| assert!(names.insert(alias), "{alias}"));
        row.short.iter().for_each(|letter| assert!(letters.insert(*letter), "{letter}"));
    }
    for (index, (name, _)) in SUBSYSTEMS.iter().enumerate() {
        let log = with_least(&format!("--log-level-{name} 3")).log;
        assert_eq!(log.subsystem_levels[index], Some(3), "{name}");
    }
}

#[test]
fn the_defaults_of_table_and_code_agree() {
    for row in sections().iter().flat_map(|section| section.rows) {
        let is_value = !row.default.is_empty() && !row.default.starts_with('(');
        let Some(value) = row.default_value() else {
            assert!(!is_value, "{}: the default `{}` is no value", row.name, row.default);
            continue;
        };
        let mut config = Config::default();
        (row.set)(&mut config, &value).unwrap();
        assert_eq!(config, Config::default(), "{}", row.name);
    }
}

#[test]
fn the_command_line_of_everyday() {
    let config = config(
        "--table=-1 -i pub/192.0.2.1!203.0.113.1 --interface=pub/::1 -n 127.0.0.1:2223 --listen-cli=9900 -m 10000 -M 20000 -fE -L 7 -o 90 --tos=184 --log-level-ice=3 -p /run/x.pid --delete-delay=0 --num-threads=4 --max-sessions 100",
    );
    assert_eq!(config.warnings, Vec::<String>::new());
    assert_eq!(config.interfaces.len(), 2);
    assert_eq!((config.control.ng[0].port, config.control.cli[0].port), (2223, 9900));
    assert_eq!((config.media.port_min, config.media.port_max, config.media.tos), (10000, 20000, Some(184)));
    assert!(config.process.foreground && config.log.to_stderr);
    assert_eq!(
        (config.log.level, config.log.level_of(7), config.log.level_of(0), config.log.level_of(2)),
        (7, Some(3), Some(7), None)
    );
    assert_eq!((config.timeouts.media_s, config.timeouts.delete_delay_s), (90, 0));
    assert_eq!((config.threads.count, config.limits.max_sessions), (Some(4), Some(100)));
    assert_eq!(config.log.longest_line, None);
}

#[test]
fn negative_numbers_and_repeats() {
    assert_eq!(with_least("-t -1").warnings, Vec::<String>::new());
    let use_of = |words| with_least(words).fast_path.use_of;
    assert_eq!(
        (use_of("-t -1"), use_of("--table 0"), use_of("")),
        (FastPathUse::Off, FastPathUse::Auto, FastPathUse::Auto)
    );
    assert_eq!((use_of("-t -1 --fastpath xdp"), use_of("--fastpath off")), (FastPathUse::Xdp, FastPathUse::Off));
    assert!(with_least("--no-fallback").fast_path.is_required);
    assert_eq!(with_least("-m 40000 -m 30000").media.port_min, 30000);
    assert_eq!(with_least("--timeout -5 --silent-timeout 0").timeouts, Config::default().timeouts);
    assert!(!with_least("-f --foreground=false").process.foreground);
    assert_eq!(with_least("--max-log-line-length -1").log.longest_line, None);
    assert_eq!(with_least("").log.longest_line, Some(500));
    assert_eq!(with_least("--log-facility LOCAL3").log.facility, 19);
}

#[test]
fn the_command_line_comes_before_the_file() {
    let file = "[rtpengine]\ninterface = a/192.0.2.1;b/192.0.2.2\ninterface = c/192.0.2.3\nlisten-ng = 2223 \ntimeout = 30\nforeground = true\nport-min = 20000\n";
    let loaded = with_file(file, "--timeout 45 --listen-ng 4444").unwrap();
    assert_eq!((loaded.config.interfaces.len(), loaded.config.control.ng.len()), (3, 1));
    assert_eq!((loaded.config.control.ng[0].port, loaded.config.timeouts.media_s), (4444, 45));
    assert!(loaded.config.process.foreground);
    assert_eq!(loaded.value("timeout"), Some(&Value::Number(45)));
    let shown = loaded.settings().find(|(row, _)| row.name == "interface").unwrap().1.unwrap().to_string();
    assert_eq!(shown, "a/192.0.2.1;b/192.0.2.2;c/192.0.2.3");
}

#[test]
fn which_file_and_which_section() {
    let least = "-i 127.0.0.1 -n 2223";
    assert!(run_on(&EMPTY, least).is_ok(), "the default file may be missing");
    assert!(run_on(&EMPTY, &format!("{least} --config-file=none")).is_ok());
    let default_file = Host("/etc/rtpengine/rtpengine.conf", "[rtpengine]\ntimeout = 7\n[other]\ntimeout = 8\n");
    let timeout = |line: &str| run_on(&default_file, &format!("{least} {line}")).unwrap().config.timeouts.media_s;
    assert_eq!([timeout(""), timeout("--config-section=other"), timeout("--config-file=none")], [7, 8, 60]);
    assert!(
        run_on(&EMPTY, &format!("{least} --config-file=missing")).unwrap_err()[0]
            .starts_with("missing: cannot be read")
    );
    assert!(run_on(&default_file, &format!("{least} --config-section=x")).unwrap_err()[0].contains("no section `[x]`"));
}

#[test]
fn errors_say_what_and_where() {
    let errors = with_file("[rtpengine]\ninterface = 127.0.0.1\nlisten-ng = nonsense\n\nport-min = 70000\ntimeout = soon\nforeground = maybe\nendpoint-learning = slow\niptables-chain = media\n", "").unwrap_err();
    let expected = [
        "file, line 5: option `port-min`: `70000` is not a whole number from 1 to 65535",
        "file, line 6: option `timeout`: `soon` is not a whole number",
        "file, line 7: option `foreground`: `maybe` is neither `true` nor `false`",
        "file, line 8: option `endpoint-learning`: `slow` is none of `delayed`, `immediate`, `off`, `heuristic`",
        "file, line 3: option `listen-ng`: `nonsense` is not `[ADDRESS:]PORT`, like `127.0.0.1:2223`, `[::1]:2223` or `2223`",
        "file, line 9: option `iptables-chain` is refused: firewall rules are not managed, and a firewall that waits for them would drop all media; open the port range instead",
    ];
    assert_eq!(errors, expected);
    assert!(run_on(&EMPTY, "-n 2223").unwrap_err()[0].starts_with("no interface"));
    assert!(run_on(&EMPTY, "-i 127.0.0.1").unwrap_err()[0].starts_with("no control listener"));
    assert!(
        run_on(&EMPTY, "-i 127.0.0.1 -n 2223 --port-min 5000 --port-max 5000").unwrap_err()[0].contains("hold no pair")
    );
    assert!(run_on(&EMPTY, "--bogus").unwrap_err()[0].contains("--bogus"));
    assert!(run_on(&EMPTY, "-i a/b/c!").unwrap_err()[0].contains("is not `[NAME/]ADDRESS[!ADVERTISED]`"));
    assert!(run_on(&EMPTY, "-i 1.2.3.4 -n 1 --log-facility x").unwrap_err()[0].contains("`local7`"));
}

#[test]
fn what_does_nothing_is_named() {
    let loaded = with_file("[rtpengine]\ninterface = any\nlisten-ng = 1\nbogus = 1\ndtmf-no-suppress = true\ncache-media-reload = 3\nxtables = false\nredis =\nmax-load = 0\nlog-facilty-cdr = local1\n", "").unwrap();
    let warnings = loaded.config.warnings;
    assert_eq!(warnings.len(), 4, "{warnings:?}");
    assert!(warnings[0].starts_with("file, line 4: there is no option `bogus`"));
    assert!(warnings[1].contains("`dtmf-no-suppress` has no effect: DTMF detection is not built"));
    let loaded = run_on(&Host("with variable", ""), "-i any -n 1").unwrap();
    assert!(loaded.config.warnings[0].contains("RTPENGINE_REDIS_AUTH_PW"));
    assert!(!loaded.config.warnings[0].contains("secret"));
}

#[test]
fn a_file_that_ran_rtpengine_starts() {
    let file = "[rtpengine]\ntable = 0\ninterface = any\nlisten-ng = 127.0.0.1:2223\nlisten-http = 127.0.0.1:2225\nlisten-cli = 127.0.0.1:2224\nrecording-dir = /var/spool/rtpengine\nrecording-method = proc\nredis = 127.0.0.1:6379/1\n";
    let warnings = with_file(file, "").unwrap().config.warnings;
    for name in ["recording-dir", "recording-method", "redis"] {
        assert!(warnings.iter().any(|warning| warning.contains(&format!("`{name}"))), "{name}: {warnings:?}");
    }
}

#[test]
fn help_and_version_come_first() {
    let help = run_on(&EMPTY, "--help").unwrap_err().remove(0);
    for row in sections().iter().flat_map(|section| section.rows) {
        assert!(help.contains(&format!("--{}", row.name)), "{}", row.name);
    }
    assert!(run_on(&EMPTY, "-v").unwrap_err()[0].starts_with("millrace "));
    assert!(find("help").is_some());
}

#[test]
fn sections_of_their_own() {
    let file = "[rtpengine]\ninterface = first/127.0.0.1\ninterfaces-config = if\nlisten-ng = 1\ntemplates = tpl\n[if-pub]\naddress = [::1]\nadvertised_address = ::2\nport-min = 5000\nport-max = 6000\nexclude-ports = 5060; 5061\n[if-x]\nname = second\naddress = 127.0.0.2\n[if-alias]\nalias = pub\n[tpl]\ndefault = a b=c;d\n";
    let config = with_file(file, "").unwrap().config;
    assert_eq!(config.templates, [("default".to_owned(), "a b=c;d".to_owned())]);
    let resolved = resolve(&config.interfaces, (30000, 39999), &[], &Machine).unwrap();
    assert_eq!(resolved.interfaces.iter().map(|i| i.name.as_str()).collect::<Vec<_>>(), ["first", "pub", "second"]);
    let address = &resolved.interfaces[1].addresses[0];
    assert_eq!((address.port_min, address.port_max, &address.excluded_ports), (5000, 6000, &vec![5060, 5061]));
    assert_eq!(address.advertised, "::2".parse::<IpAddr>().unwrap());
    assert_eq!(resolved.aliases, [("alias".to_owned(), 1)]);
    for wrong in [
        "[rtpengine]\ninterfaces-config = if\n[if-a]\nport-min = 1\n",
        "[rtpengine]\ninterfaces-config = if\n[if-a]\naddress = ::1\nport-max = x\n",
        "[rtpengine]\ntemplates = none\n",
    ] {
        assert!(with_file(wrong, "-i ::1 -n 1").is_err(), "{wrong}");
    }
}

#[test]
fn a_reload_changes_what_it_can() {
    let old = with_file("[rtpengine]\ninterface = any\nlisten-ng = 1\ntimeout = 60\nport-min = 20000\n", "").unwrap();
    let host = Host(
        "file",
        "[rtpengine]\ninterface = any\nlisten-ng = 2\ntimeout = 70\nlog-level = 3\nlog-level-ice = 7\nmax-sessions = 5\ntemplates = t\n[t]\na = b\n",
    );
    let (new, needs_restart) = old.reload(&arguments("--config-file file"), &host).unwrap();
    assert_eq!(needs_restart, ["listen-ng", "port-min"]);
    assert_eq!((new.config.timeouts.media_s, new.config.log.level, new.config.limits.max_sessions), (70, 3, Some(5)));
    assert_eq!((new.config.media.port_min, new.config.control.ng[0].port), (20000, 1));
    assert_eq!(new.config.templates.len(), 1);
    assert!(old.reload(&arguments("--config-file gone"), &host).is_err());
}

/// A host with two devices, behind a NAT.
struct Machine;

impl Resolver for Machine {
    fn host(&self, name: &str) -> Vec<IpAddr> {
        let texts: &[&str] = match name {
            "media.example" => &["192.0.2.10", "2001:db8::10"],
            "nat.example" => &["203.0.113.99"],
            "localhost" => &["127.0.0.1", "::1"],
            _ => &[],
        };
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn local_addresses(&self) -> Vec<(String, IpAddr)> {
        let rows = [
            ("lo", "127.0.0.1"),
            ("lo", "::1"),
            ("eth0", "192.0.2.10"),
            ("eth0", "fe80::1"),
            ("eth0", "2001:db8::10"),
            ("eth1", "10.0.0.1"),
        ];
        rows.map(|(device, address)| (device.to_owned(), address.parse().unwrap())).to_vec()
    }

    fn can_bind(&self, address: IpAddr) -> bool {
        address.is_loopback() || self.local_addresses().iter().any(|row| row.1 == address)
    }
}

fn interfaces(line: &str) -> Result<ResolvedInterfaces, Vec<String>> {
    let config = config(&format!("-n 2223 {line}"));
    resolve(&config.interfaces, (30000, 39999), &[2223, 30010], &Machine)
}

fn shown(line: &str) -> String {
    let of = |address: &interface::ResolvedAddress| match address.address == address.advertised {
        true => address.address.to_string(),
        false => format!("{}!{}", address.address, address.advertised),
    };
    let resolved = interfaces(line).unwrap();
    let shown = resolved
        .interfaces
        .iter()
        .map(|i| format!("{}={}", i.name, i.addresses.iter().map(of).collect::<Vec<_>>().join(",")));
    shown.collect::<Vec<_>>().join(" ")
}

#[test]
fn interfaces_are_looked_up() {
    assert_eq!(shown("-i 192.0.2.10"), "default=192.0.2.10");
    assert_eq!(shown("-i any"), "default=192.0.2.10,2001:db8::10,10.0.0.1");
    assert_eq!(shown("-i pub/eth0"), "pub=192.0.2.10,2001:db8::10");
    assert_eq!(shown("-i pub/eth0!203.0.113.9"), "pub=192.0.2.10!203.0.113.9,2001:db8::10");
    assert_eq!(
        shown("-i pub/media.example -i x/10.0.0.1!nat.example"),
        "pub=192.0.2.10,2001:db8::10 x=10.0.0.1!203.0.113.99"
    );
    assert_eq!(
        shown("-i pub/192.0.2.10 -i priv/10.0.0.1 -i pub/[2001:db8::10]"),
        "pub=192.0.2.10,2001:db8::10 priv=10.0.0.1"
    );
    assert_eq!(shown("-i g:1/192.0.2.10 -i g:2/10.0.0.1"), "g:1=192.0.2.10 g:2=10.0.0.1");
    let aliased = interfaces("-i a/192.0.2.10 -i b=a -i c=b").unwrap();
    assert_eq!(aliased.aliases, [("b".to_owned(), 0), ("c".to_owned(), 0)]);
    assert_eq!(aliased.interfaces[0].addresses[0].excluded_ports, [30010]);
}

#[test]
fn interfaces_that_cannot_be() {
    let errors = |line: &str| interfaces(line).unwrap_err().join("\n");
    assert_eq!(
        errors("-i pub/203.0.113.9"),
        "interface `pub/203.0.113.9`: the address 203.0.113.9 is not on this host, which has 192.0.2.10, 10.0.0.1; did you mean `192.0.2.10!203.0.113.9`?"
    );
    assert!(errors("-i pub/nat.example").contains("did you mean"));
    assert!(errors("-i pub/bogus").contains("no address, no device"));
    assert!(errors("-i b=a").contains("no interface `a` before it"));
    assert!(errors("-i 192.0.2.10!::1").contains("is not IPv4"));
    assert!(errors("-i 192.0.2.10!bogus").contains("`bogus` has no IPv4 address"));
    assert_eq!(interfaces("-i 1.2.3.4 -i 5.6.7.8").unwrap_err().len(), 2);
}

#[test]
fn listeners_are_looked_up() {
    let resolve = |text: &str| listen::ListenAddress::parse(text).unwrap().resolve(&Machine);
    assert_eq!(resolve("localhost:9").unwrap().len(), 2);
    assert_eq!(resolve("9").unwrap(), ["127.0.0.1:9".parse().unwrap(), "[::1]:9".parse().unwrap()]);
    assert_eq!(resolve("bogus:9"), Err("the host name `bogus` cannot be resolved".to_owned()));
}
