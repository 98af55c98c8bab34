//! What each client has asked for: the counters of `controlstatistics`.

use super::command::{COMMANDS, Command};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// The number of commands.
const COMMAND_COUNT: usize = Command::Mesh as usize + 1;

/// The clients that are counted apart. UDP sources can be forged, so there must be an end.
const CLIENT_LIMIT: usize = 1024;

/// The counters of one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    /// Requests worked off, by `Command::index`. A retransmission that was answered from memory does not count.
    pub counts: [u64; COMMAND_COUNT],
    /// How long they took, summed.
    pub durations: [Duration; COMMAND_COUNT],
    pub errors: u64,
}

/// The counters of all clients, by address.
#[derive(Debug, Clone)]
pub struct Tallies {
    clients: BTreeMap<IpAddr, Tally>,
    total: Tally,
    classes: [Classes; COMMAND_COUNT],
    extremes: [Option<Extremes>; COMMAND_COUNT],
}

/// The longest duration of each class, in microseconds; one more class has what took longer.
pub const CLASS_BOUNDS_US: [u64; 14] =
    [50, 100, 250, 500, 1000, 2500, 5000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000];

/// How many requests took how long, by class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Classes([u64; CLASS_BOUNDS_US.len() + 1]);

impl Classes {
    fn count(&mut self, duration: Duration) {
        let place = CLASS_BOUNDS_US.partition_point(|bound_us| u128::from(*bound_us) < duration.as_micros());
        self.0[place] += 1;
    }

    /// The bound of each class in microseconds, none for the last, with the number of requests that took no longer.
    pub fn cumulative(&self) -> impl Iterator<Item = (Option<u64>, u64)> + '_ {
        let bounds = CLASS_BOUNDS_US.iter().copied().map(Some).chain([None]);
        bounds.zip(self.0).scan(0, |sum, (bound_us, count)| {
            *sum += count;
            Some((bound_us, *sum))
        })
    }
}

/// The shortest and the longest of some requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extremes {
    pub shortest: Duration,
    pub longest: Duration,
}

impl Default for Tallies {
    fn default() -> Tallies {
        Tallies {
            clients: BTreeMap::new(),
            total: Tally::default(),
            classes: [Classes::default(); COMMAND_COUNT],
            extremes: [None; COMMAND_COUNT],
        }
    }
}

impl Default for Tally {
    fn default() -> Tally {
        Tally { counts: [0; COMMAND_COUNT], durations: [Duration::ZERO; COMMAND_COUNT], errors: 0 }
    }
}

impl Tally {
    fn count(&mut self, command: Option<Command>, duration: Duration, is_error: bool) {
        if let Some(command) = command {
            self.counts[command.index()] += 1;
            self.durations[command.index()] += duration;
        }
        self.errors += u64::from(is_error);
    }

    /// Each command with its count and duration, in the order of the table.
    pub fn rows(&self) -> impl Iterator<Item = (Command, u64, Duration)> {
        COMMANDS.iter().map(|row| (row.command, self.counts[row.command.index()], self.durations[row.command.index()]))
    }
}

impl Tallies {
    /// Counts a request; one that could not be read has no command.
    pub fn count(&mut self, client: IpAddr, command: Option<Command>, duration: Duration, is_error: bool) {
        self.total.count(command, duration, is_error);
        if let Some(command) = command {
            self.classes[command.index()].count(duration);
            let extremes =
                self.extremes[command.index()].get_or_insert(Extremes { shortest: duration, longest: duration });
            extremes.shortest = extremes.shortest.min(duration);
            extremes.longest = extremes.longest.max(duration);
        }
        if self.clients.len() < CLIENT_LIMIT || self.clients.contains_key(&client) {
            self.clients.entry(client).or_default().count(command, duration, is_error);
        }
    }

    /// The clients in the order of their addresses. Those beyond the first thousand are only in the total.
    pub fn clients(&self) -> impl Iterator<Item = (IpAddr, &Tally)> {
        self.clients.iter().map(|(address, tally)| (*address, tally))
    }

    /// Each command with how long its requests took, in the order of the table.
    pub fn classes(&self) -> impl Iterator<Item = (Command, &Classes)> {
        COMMANDS.iter().map(|row| (row.command, &self.classes[row.command.index()]))
    }

    /// The extremes of a command since they were last forgotten; none without a request.
    pub fn extremes(&self, command: Command) -> Option<Extremes> {
        self.extremes[command.index()]
    }

    /// Begins a new interval of extremes.
    pub fn forget_extremes(&mut self) {
        self.extremes = [None; COMMAND_COUNT];
    }

    /// The sum over all clients.
    pub fn total(&self) -> &Tally {
        &self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn requests_are_counted_by_how_long_they_took() {
        let mut tallies = Tallies::default();
        let client = IpAddr::from(Ipv4Addr::LOCALHOST);
        for us in [50, 51, 1_000_000, 1_000_001] {
            tallies.count(client, Some(Command::Offer), Duration::from_micros(us), false);
        }
        let classes = tallies.classes().find(|row| row.0 == Command::Offer).unwrap().1;
        let counts: Vec<u64> = classes.cumulative().map(|row| row.1).collect();
        assert_eq!((counts[0], counts[1], counts[13], counts[14]), (1, 2, 3, 4));
        let extremes = tallies.extremes(Command::Offer).unwrap();
        assert_eq!((extremes.shortest.as_micros(), extremes.longest.as_micros()), (50, 1_000_001));
        tallies.forget_extremes();
        assert_eq!(tallies.extremes(Command::Offer), None);
    }

    #[test]
    fn clients_are_counted_apart_up_to_a_limit() {
        let mut tallies = Tallies::default();
        let client = |number: u32| IpAddr::from(Ipv4Addr::from(number));
        tallies.count(client(1), Some(Command::Mesh), Duration::from_micros(5), false);
        for number in 0..2000 {
            tallies.count(client(number), Some(Command::Ping), Duration::from_micros(1), number % 2 == 0);
        }
        tallies.count(client(1), None, Duration::ZERO, true);
        assert_eq!(tallies.clients().count(), CLIENT_LIMIT);
        let first = tallies.clients().find(|row| row.0 == client(1)).unwrap().1;
        assert_eq!((first.counts[Command::Ping.index()], first.counts[Command::Mesh.index()], first.errors), (1, 1, 1));
        let total = tallies.total();
        assert_eq!((total.counts[Command::Ping.index()], total.errors), (2000, 1001));
        assert_eq!(total.rows().last(), Some((Command::Mesh, 1, Duration::from_micros(5))));
    }
}
