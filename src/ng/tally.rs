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
#[derive(Debug, Clone, Default)]
pub struct Tallies {
    clients: BTreeMap<IpAddr, Tally>,
    total: Tally,
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
        if self.clients.len() < CLIENT_LIMIT || self.clients.contains_key(&client) {
            self.clients.entry(client).or_default().count(command, duration, is_error);
        }
    }

    /// The clients in the order of their addresses. Those beyond the first thousand are only in the total.
    pub fn clients(&self) -> impl Iterator<Item = (IpAddr, &Tally)> {
        self.clients.iter().map(|(address, tally)| (*address, tally))
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
