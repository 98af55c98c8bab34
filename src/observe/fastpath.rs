//! The fast path as `list fastpath` and `statistics` show it: its entries, what its programs counted, and why streams
//! stay in userspace. Of keys, nothing but the name of their suite is looked at.

use crate::base::text::printable;
use crate::fastpath::Counted;
use crate::fastpath::entry::{self, Action, Entry, Passing, Protection};
use crate::fastpath::layout::NextHop;
use crate::fastpath::reason::Reason;
use crate::fastpath::verdict::Verdict;
use crate::relay::Relay;
use crate::rtp::loan::PAYLOAD_TYPES;
use crate::rtp::{Loan, Sent};
use crate::wire::value::{Dictionary, Value};
use smallvec::SmallVec;
use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;

/// What an entry is, and what it has counted since it was installed.
#[derive(Debug, Clone)]
pub struct Row {
    call_id: Box<str>,
    local: SocketAddr,
    expects: SocketAddr,
    flags: SmallVec<[&'static str; 4]>,
    clock_rate_hz: u32,
    payload_types: SmallVec<[Passing; PAYLOAD_TYPES]>,
    counted: Loan,
    /// Since the last packet.
    idle: Duration,
    opens: Option<&'static str>,
    /// What it opens it also makes plain.
    decrypts: bool,
    outputs: SmallVec<[Output; 1]>,
}

/// A copy that leaves.
#[derive(Debug, Clone)]
pub struct Output {
    from: SocketAddr,
    to: SocketAddr,
    tos: u8,
    /// The SSRC and payload types that are other ones there.
    ssrc: Option<u32>,
    payload_types: SmallVec<[(u8, Option<u8>); 2]>,
    encrypts: Option<&'static str>,
    /// What was sent, where it is counted apart: to one of several.
    sent: Option<Sent>,
    /// None while it is not known.
    way: Option<NextHop>,
}

impl Row {
    /// The row of an entry of a call; `idle` is the time since its last packet, `way` looks a way up.
    pub fn new(
        call_id: &str,
        entry: &Entry,
        counted: &Counted,
        idle: Duration,
        way: impl Fn(&entry::Output) -> Option<NextHop>,
    ) -> Row {
        let protection = entry.protection.as_deref();
        let drops = entry.action == Action::Drop;
        let flags =
            [("strict", entry.is_strict), ("drops", drops), ("srtp", protection.is_some_and(Protection::is_srtp))];
        let is_silenced = entry.outputs().iter().any(entry::Output::is_silenced);
        let more =
            [("silenced", is_silenced), ("captured", !entry.captures.is_empty()), ("shared port", entry.shares_port)];
        let flags = flags.into_iter().chain(more);
        let suite = |parameters: &crate::srtp::Parameters| parameters.suite.name();
        let of_all = protection.and_then(|protection| protection.protect.as_ref()).map(suite);
        let output = |(place, output): (usize, &entry::Output)| Output {
            from: output.from,
            to: output.to,
            tos: output.tos,
            ssrc: Some(output.ssrc).filter(|ssrc| *ssrc != entry.ssrc),
            payload_types: entry
                .payload_types
                .iter()
                .zip(&output.payload_types)
                .map(|(own, shown)| (own.number, *shown))
                .filter(|(own, shown)| Some(*own) != *shown)
                .collect(),
            encrypts: output.protect.as_deref().map(suite).or(of_all),
            sent: counted.copies.get(place).copied(),
            way: way(output),
        };
        Row {
            call_id: call_id.into(),
            local: entry.local,
            expects: entry.source,
            flags: flags.filter(|(_, is_set)| *is_set).map(|(name, _)| name).collect(),
            clock_rate_hz: entry.clock_rate_hz,
            payload_types: entry.payload_types.clone(),
            counted: counted.loan,
            idle,
            opens: protection.and_then(|protection| protection.open.as_ref()).map(suite),
            decrypts: protection.is_some_and(|protection| !protection.passes),
            outputs: entry.outputs().iter().enumerate().map(output).collect(),
        }
    }

    /// Counters that are not zero only where something is wrong.
    fn refused(&self) -> impl Iterator<Item = (&'static str, u32)> {
        let counted = &self.counted;
        let all =
            [("wrong_source", counted.wrong_source), ("wrong_tag", counted.wrong_tag), ("replayed", counted.replayed)];
        all.into_iter().filter(|(_, count)| *count > 0)
    }

    fn jitter_ms(&self) -> f64 {
        match self.clock_rate_hz {
            0 => 0.0,
            rate_hz => f64::from(self.counted.jitter_16ths) / 16.0 * 1000.0 / f64::from(rate_hz),
        }
    }

    /// The row as an element of the list `entries`. `interface` gives the name of an interface.
    pub fn report(&self, interface: &dyn Fn(u32) -> String) -> Dictionary {
        let counted = &self.counted;
        let payload_types = self.payload_types.iter().zip(&counted.payload_packets);
        let payload_types = payload_types.map(|(known, packets)| {
            let event = if known.is_event { "telephone-event" } else { "media" };
            Dictionary::new().with("payload type", known.number).with("kind", event).with("packets", *packets)
        });
        let mut report = Dictionary::new()
            .with("call-id", &*self.call_id)
            .with("local", self.local.to_string())
            .with("expects", self.expects.to_string())
            .with("flags", self.flags.iter().copied().collect::<Value>())
            .with("SSRC", counted.ssrc)
            .with("packets", counted.packets)
            .with("bytes", counted.bytes)
            .with("payload types", payload_types.collect::<Value>())
            .with("idle ms", self.idle.as_millis() as u64)
            .with("lost", counted.lost)
            .with("duplicates", counted.duplicates)
            .with("late", counted.late)
            .with("jitter ms", format!("{:.3}", self.jitter_ms()));
        let mut dropped = Dictionary::new();
        for (name, count) in self.refused() {
            dropped.set(name, count);
        }
        report.set("dropped", dropped);
        if let Some(suite) = self.opens {
            report.set(if self.decrypts { "decrypts" } else { "authenticates" }, suite);
        }
        let outputs = self.outputs.iter().map(|output| output.report(interface));
        report.set("outputs", outputs.collect::<Value>());
        report
    }

    /// The row as a paragraph. `interface` gives the name of an interface.
    pub fn write(&self, text: &mut String, interface: &dyn Fn(u32) -> String) {
        let counted = &self.counted;
        let _ = writeln!(text, "local {}", self.local);
        let _ = writeln!(text, "    call {}", printable(&self.call_id));
        let _ = writeln!(text, "    expects {}, flags: {}", self.expects, listed(self.flags.iter().copied()));
        let _ = write!(text, "    SSRC {:08x}: {} packets, {} bytes", counted.ssrc, counted.packets, counted.bytes);
        let idle_ms = self.idle.as_millis();
        let _ = if counted.packets > 0 { writeln!(text, ", the last {idle_ms} ms ago") } else { writeln!(text) };
        let payload_types = self.payload_types.iter().zip(&counted.payload_packets).map(|(known, packets)| {
            let event = if known.is_event { " (telephone-event)" } else { "" };
            format!("{}{event}: {packets}", known.number)
        });
        let _ = writeln!(text, "    payload types {}", listed(payload_types));
        let _ = writeln!(
            text,
            "    lost {}, duplicates {}, late {}, jitter {:.3} ms",
            counted.lost,
            counted.duplicates,
            counted.late,
            self.jitter_ms()
        );
        if self.refused().next().is_some() {
            let refused = self.refused().map(|(name, count)| format!("{name} {count}"));
            let _ = writeln!(text, "    dropped: {}", listed(refused));
        }
        if let Some(suite) = self.opens {
            let verb = if self.decrypts { "decrypts" } else { "authenticates, and passes on as it is," };
            let _ = writeln!(text, "    {verb} {suite}");
        }
        self.outputs.iter().for_each(|output| output.write(text, interface));
    }
}

/// With commas between; a dash for nothing.
fn listed(items: impl Iterator<Item = impl AsRef<str>>) -> String {
    let items: Vec<_> = items.collect();
    let items: Vec<&str> = items.iter().map(AsRef::as_ref).collect();
    if items.is_empty() { "-".to_owned() } else { items.join(", ") }
}

fn mac(octets: [u8; 6]) -> String {
    let octets = octets.map(|octet| format!("{octet:02x}"));
    octets.join(":")
}

impl Output {
    fn report(&self, interface: &dyn Fn(u32) -> String) -> Dictionary {
        let mut report = Dictionary::new()
            .with("from", self.from.to_string())
            .with("to", self.to.to_string())
            .with("TOS", u64::from(self.tos));
        if let Some(suite) = self.encrypts {
            report.set("encrypts", suite);
        }
        if let Some(ssrc) = self.ssrc {
            report.set("SSRC", ssrc);
        }
        if !self.payload_types.is_empty() {
            let change = |(own, shown): &(u8, Option<u8>)| {
                let shown = shown.map_or(Value::from("withheld"), Value::from);
                Dictionary::new().with("payload type", *own).with("as", shown)
            };
            report.set("payload types", self.payload_types.iter().map(change).collect::<Value>());
        }
        if let Some(sent) = &self.sent {
            report.set("packets", sent.packets).set("bytes", sent.bytes);
        }
        if let Some(way) = &self.way {
            report
                .set("interface", interface(way.interface))
                .set("source MAC", mac(way.source))
                .set("destination MAC", mac(way.destination))
                .set("MTU", u64::from(way.mtu));
            if way.vlan != 0 {
                report.set("VLAN", u64::from(way.vlan));
            }
        }
        report
    }

    fn write(&self, text: &mut String, interface: &dyn Fn(u32) -> String) {
        let _ = writeln!(text, "    output from {} to {}, TOS {}", self.from, self.to, self.tos);
        if let Some(suite) = self.encrypts {
            let _ = writeln!(text, "        encrypts {suite}");
        }
        if let Some(ssrc) = self.ssrc {
            let _ = writeln!(text, "        SSRC {ssrc:08x}");
        }
        if !self.payload_types.is_empty() {
            let changes = self.payload_types.iter().map(|(own, shown)| match shown {
                Some(shown) => format!("{own} as {shown}"),
                None => format!("{own} withheld"),
            });
            let _ = writeln!(text, "        payload types {}", listed(changes));
        }
        if let Some(sent) = &self.sent {
            let _ = writeln!(text, "        {} packets, {} bytes", sent.packets, sent.bytes);
        }
        let Some(way) = &self.way else {
            text.push_str("        the way is not known: packets go by the daemon\n");
            return;
        };
        let vlan = if way.vlan == 0 { String::new() } else { format!(", VLAN {}", way.vlan) };
        let _ = writeln!(
            text,
            "        by {}, {} to {}, MTU {}{vlan}",
            interface(way.interface),
            mac(way.source),
            mac(way.destination),
            way.mtu
        );
    }
}

/// Which way streams go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ways {
    /// Streams that the kernel forwards.
    pub away: u64,
    /// Streams whose packets the daemon gets past the network stack.
    pub lifted: u64,
    /// Streams that the daemon forwards, by reason.
    userspace: [u64; Reason::ALL.len()],
}

impl Ways {
    /// The ways of a relay's streams. Streams that nobody has looked at count for nothing.
    pub fn of(relay: &Relay) -> Ways {
        let mut ways = Ways::default();
        for (_, stream) in relay.streams() {
            if stream.is_away() {
                ways.away += 1;
            } else if let Some(name) = stream.reason_to_stay() {
                let place = Reason::ALL.iter().position(|reason| reason.name() == name);
                place.into_iter().for_each(|place| ways.userspace[place] += 1);
                ways.lifted += u64::from(stream.way_here().is_some());
            }
        }
        ways
    }

    /// Adds another shard's.
    pub fn add(&mut self, other: &Ways) {
        self.away += other.away;
        self.lifted += other.lifted;
        self.userspace.iter_mut().zip(other.userspace).for_each(|(sum, count)| *sum += count);
    }

    /// Every reason with the number of its streams.
    pub fn userspace(&self) -> impl Iterator<Item = (Reason, u64)> + '_ {
        Reason::ALL.iter().copied().zip(self.userspace)
    }
}

/// The section `fastpath` of `statistics`. `verdicts` are what the programs have counted; none without programs.
pub fn report(ways: &Ways, verdicts: &[(Verdict, u64)]) -> Dictionary {
    let mut report = Dictionary::new().with("entries", ways.away).with("lifted", ways.lifted);
    let (mut userspace, mut counted) = (Dictionary::new(), Dictionary::new());
    for (reason, count) in ways.userspace() {
        userspace.set(reason.name(), count);
    }
    for (verdict, count) in verdicts {
        counted.set(verdict.name(), *count);
    }
    report.set("userspace", userspace).set("verdicts", counted);
    report
}

/// The same as lines, without what is zero; `line` is how one is laid out.
pub fn lines(text: &mut String, ways: &Ways, verdicts: &[(Verdict, u64)], line: fn(&mut String, &str, u64)) {
    line(text, "Streams forwarded in the kernel", ways.away);
    if ways.lifted > 0 {
        line(text, "Streams in userspace past the network stack", ways.lifted);
    }
    for (reason, count) in ways.userspace().filter(|(_, count)| *count > 0) {
        line(text, &format!("Streams in userspace ({})", reason.name()), count);
    }
    for (verdict, count) in verdicts.iter().filter(|(_, count)| *count > 0) {
        line(text, &format!("Packets seen by XDP ({})", verdict.name()), *count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::suite::Suite;
    use crate::fastpath::Protection;
    use crate::srtp::{MasterKey, Parameters};

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn output() -> entry::Output {
        entry::Output {
            from: address("10.0.0.1:30002"),
            to: address("10.0.0.20:7000"),
            tos: 184,
            ssrc: 0xc0ffee,
            payload_types: [Some(8), Some(101)].into_iter().collect(),
            silences: [None; 2].into_iter().collect(),
            protect: None,
            passes: false,
            mid: None,
        }
    }

    fn row(protection: Option<Protection>) -> Row {
        let passing = |number, is_event| Passing { number, is_event };
        let entry = Entry {
            local: address("203.0.113.1:30000"),
            source: address("203.0.113.10:6000"),
            is_strict: true,
            shares_port: false,
            ssrc: 0xc0ffee,
            clock_rate_hz: 8000,
            payload_types: [passing(8, false), passing(101, true)].into_iter().collect(),
            action: Action::Forward(output()),
            protection: protection.map(Box::new),
            captures: SmallVec::new(),
        };
        let mut counted =
            Loan { ssrc: 0xc0ffee, packets: 7, bytes: 1204, wrong_source: 5, jitter_16ths: 1280, ..Loan::default() };
        counted.payload_packets[..2].copy_from_slice(&[4, 3]);
        let way =
            NextHop { interface: 3, mtu: 1500, vlan: 0, source: [2, 0, 0, 0, 0, 1], destination: [2, 0, 0, 0, 0, 2] };
        let counted = Counted { loan: counted, ..Counted::default() };
        Row::new("a@b", &entry, &counted, Duration::from_millis(20), |_| Some(way))
    }

    fn text(row: &Row) -> String {
        let mut text = String::new();
        row.write(&mut text, &|index| format!("eth{index}"));
        text
    }

    #[test]
    fn a_row_says_all_that_an_entry_is() {
        assert_eq!(
            text(&row(None)),
            "local 203.0.113.1:30000\n    call a@b\n    expects 203.0.113.10:6000, flags: strict\n    \
             SSRC 00c0ffee: 7 packets, 1204 bytes, the last 20 ms ago\n    payload types 8: 4, 101 (telephone-event): 3\n    \
             lost 0, duplicates 0, late 0, jitter 10.000 ms\n    dropped: wrong_source 5\n    \
             output from 10.0.0.1:30002 to 10.0.0.20:7000, TOS 184\n        \
             by eth3, 02:00:00:00:00:01 to 02:00:00:00:00:02, MTU 1500\n"
        );
        let report = row(None).report(&|index| format!("eth{index}"));
        assert_eq!(report.get("packets"), Some(&Value::from(7)));
        assert_eq!(report.get("expects"), Some(&Value::from("203.0.113.10:6000")));
    }

    #[test]
    fn suites_are_named_and_keys_are_not() {
        let suite = Suite::AesCm128Sha1_80;
        let parameters = |byte: u8| {
            let key = MasterKey::new(suite, &[byte; 16], &[byte; 14]).unwrap();
            Parameters::new(suite, key)
        };
        let protection =
            |passes| Protection { open: Some(parameters(0xab)), protect: Some(parameters(0xcd)), passes, mid: None };
        let both = row(Some(protection(false)));
        let (shown, report) = (text(&both), format!("{:?} {both:?}", both.report(&|_| String::new())));
        assert!(shown.contains("decrypts AES_CM_128_HMAC_SHA1_80") && shown.contains("encrypts AES_CM"), "{shown}");
        for part in ["abab", "cdcd", "171, 171", "205, 205"] {
            assert!(!shown.contains(part) && !report.contains(part), "{part} in {shown}{report}");
        }
        assert!(text(&row(Some(protection(true)))).contains("authenticates, and passes on as it is, AES_CM"));
    }

    #[test]
    fn every_reason_and_verdict_is_reported() {
        let mut ways = Ways { away: 2, ..Ways::default() };
        ways.userspace[Reason::Bundle as usize] = 3;
        let verdicts = [(Verdict::Forwarded, 9), (Verdict::Jump, 0)];
        let report = report(&ways, &verdicts);
        let part = |key| report.get(key).and_then(Value::as_dictionary).unwrap();
        assert_eq!(part("userspace").get("bundle"), Some(&Value::from(3)));
        assert_eq!(part("userspace").iter().count(), Reason::ALL.len());
        assert_eq!(part("verdicts").get("passed_jump"), Some(&Value::from(0)));
        let mut text = String::new();
        lines(&mut text, &ways, &verdicts, |text, words, count| {
            let _ = writeln!(text, "{words}:{count}");
        });
        assert_eq!(
            text,
            "Streams forwarded in the kernel:2\nStreams in userspace (bundle):3\nPackets seen by XDP (forwarded):9\n"
        );
    }
}
