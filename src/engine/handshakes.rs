//! DTLS handshakes, done apart from packets: commands from a shard go in, what comes of them comes out.

use crate::dtls::{Association, Contexts, Event};
use crate::relay::handshake::{HandshakeCommand, HandshakeEvent};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// The handshakes of one shard.
pub struct Handshakes {
    contexts: Arc<Contexts>,
    associations: HashMap<u64, Association>,
    /// Those that wait for time to pass.
    waiting: HashSet<u64>,
}

impl Handshakes {
    /// No handshake yet; all are done with one certificate.
    pub fn new(contexts: Arc<Contexts>) -> Handshakes {
        Handshakes { contexts, associations: HashMap::new(), waiting: HashSet::new() }
    }

    /// Does what the shard asks; what comes of it is added to `events`. Returns how long until `timer` is to be called
    /// for this handshake.
    pub fn handle(&mut self, command: HandshakeCommand, events: &mut Vec<HandshakeEvent>) -> Option<Duration> {
        let number = match command {
            HandshakeCommand::Start { number, role, verified_address } => {
                let mut association = Association::new(self.contexts.clone(), role, verified_address);
                association.start();
                self.associations.insert(number, association);
                number
            }
            HandshakeCommand::Datagram { number, datagram } => {
                if let Some(association) = self.associations.get_mut(&number) {
                    association.datagram(&datagram);
                }
                number
            }
            HandshakeCommand::Settled { number } => {
                if let Some(association) = self.associations.get_mut(&number) {
                    association.release();
                }
                number
            }
            HandshakeCommand::Stop { number } => {
                self.associations.remove(&number);
                number
            }
        };
        self.settle(number, events)
    }

    /// Repeats what has not been answered in time; returns when to be called next.
    pub fn timer(&mut self, events: &mut Vec<HandshakeEvent>) -> Option<Duration> {
        let waiting: Vec<u64> = self.waiting.iter().copied().collect();
        for number in waiting {
            if let Some(association) = self.associations.get_mut(&number)
                && association.next_timeout().is_some_and(|timeout| timeout.is_zero())
            {
                association.timer();
            }
            self.settle(number, events);
        }
        self.waiting.iter().filter_map(|number| self.associations.get(number)?.next_timeout()).min()
    }

    /// The number of handshakes that are under way or done, and not stopped.
    pub fn len(&self) -> usize {
        self.associations.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.associations.is_empty()
    }

    fn settle(&mut self, number: u64, events: &mut Vec<HandshakeEvent>) -> Option<Duration> {
        let timeout = self.associations.get_mut(&number).and_then(|association| {
            drain(number, association, events);
            association.next_timeout()
        });
        match timeout {
            Some(_) => self.waiting.insert(number),
            None => self.waiting.remove(&number),
        };
        timeout
    }
}

fn drain(number: u64, association: &mut Association, events: &mut Vec<HandshakeEvent>) {
    while let Some(event) = association.poll_event() {
        match event {
            Event::Connected(connected) => events.push(HandshakeEvent::Connected { number, connected }),
            Event::Failed(reason) => events.push(HandshakeEvent::Failed { number, reason }),
            // Media ends by signalling, not by a farewell on the media path.
            Event::Closed => {}
        }
    }
    while let Some(datagram) = association.poll_transmit() {
        events.push(HandshakeEvent::Send { number, datagram });
    }
}
