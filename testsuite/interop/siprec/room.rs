//! A call that goes on talking in a thread of its own, and recorders beside it, while it is signalled.

use crate::scenarios::at;
use crate::sip::Role;
use crate::stage::{CALLEE, CALLER, Networks};
use millrace_testsuite::peer::{Hearing, Keying, Peer, Settings};
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(2);
const PACKET_INTERVAL: Duration = Duration::from_millis(20);
/// How long anything that has to happen may take.
const PATIENCE: Duration = Duration::from_secs(10);
const CALLER_PORT: u16 = 6000;
const CALLEE_PORT: u16 = 6000;

/// Everyone who sends or receives.
pub struct People {
    pub caller: Peer,
    pub callee: Peer,
    /// Whether the parties talk: from when the call is up.
    pub is_talking: bool,
    /// The recorders' legs, in the order in which they came.
    pub legs: Vec<Peer>,
}

impl People {
    /// The party whose voice line `line` of a recording carries: lines stand in the order caller, callee.
    fn speaker(&self, line: usize) -> &Peer {
        if line == 0 { &self.caller } else { &self.callee }
    }

    fn listener(&self, line: usize) -> &Peer {
        if line == 0 { &self.callee } else { &self.caller }
    }

    /// How many packets of each speaker have passed the daemon for certain: the other party has them.
    pub fn passed(&self) -> [u32; 2] {
        [0, 1].map(|line| {
            let (said, heard) = (self.speaker(line).said, &self.listener(line).hearing);
            (0..said).find(|number| heard.missing(*number, number + 1) > 0).unwrap_or(said)
        })
    }

    /// How many packets each speaker has sent.
    pub fn said(&self) -> [u32; 2] {
        [self.caller.said, self.callee.said]
    }

    /// That each party has every packet of the other, as it was sent and once.
    pub fn check_call(&self) -> Result<(), String> {
        for (line, name) in ["callee", "caller"].into_iter().enumerate() {
            let (said, listener) = (self.speaker(line).said, self.listener(line));
            let lost = listener.hearing.missing(0, said);
            let others = (listener.hearing.duplicates, listener.hearing.strangers, listener.refused);
            if lost > 0 || others != (0, 0, 0) {
                return Err(format!("the {name} lacks {lost} of {said} packets; {others:?} twice, strange, refused"));
            }
        }
        Ok(())
    }
}

/// The running call.
pub struct Room<'a> {
    networks: &'a Networks,
    people: Arc<Mutex<People>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl<'a> Room<'a> {
    /// Two parties that do not know each other yet.
    pub fn open(networks: &'a Networks, caller: Keying, callee: Keying) -> Result<Room<'a>, String> {
        let peer = |role, address, port, keying, seed| {
            let socket = networks.socket(role, at(address, port)?)?;
            Peer::new(socket, None, settings(keying), seed).map_err(|error| error.to_string())
        };
        let mut caller = peer(Role::Caller, CALLER, CALLER_PORT, caller, 1)?;
        let mut callee = peer(Role::Callee, CALLEE, CALLEE_PORT, callee, 2)?;
        (caller.hearing, callee.hearing) = (Hearing::of(callee.voice), Hearing::of(caller.voice));
        let people = Arc::new(Mutex::new(People { caller, callee, is_talking: false, legs: Vec::new() }));
        let over = Arc::<AtomicBool>::default();
        let thread = std::thread::spawn({
            let (people, over) = (Arc::clone(&people), Arc::clone(&over));
            move || talk(&people, &over)
        });
        Ok(Room { networks, people, over, thread: Some(thread) })
    }

    /// Everyone, standing still as long as the value lives.
    pub fn people(&self) -> MutexGuard<'_, People> {
        self.people.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many packets of each party have passed the daemon for certain.
    pub fn passed(&self) -> [u32; 2] {
        self.people().passed()
    }

    /// How many packets each party has sent.
    pub fn said(&self) -> [u32; 2] {
        self.people().said()
    }

    /// A new leg at a port of the recorder, which listens for the voice of `line`; its position among the legs.
    pub fn add_leg(&self, port: u16, line: usize, keying: Keying) -> Result<usize, String> {
        let socket: UdpSocket = self.networks.socket(Role::Caller, at(CALLER, port)?)?;
        let seed = u64::from(port);
        let mut leg = Peer::new(socket, None, settings(keying), seed).map_err(|error| error.to_string())?;
        let mut people = self.people();
        leg.hearing = Hearing::of(people.speaker(line).voice);
        people.legs.push(leg);
        Ok(people.legs.len() - 1)
    }

    /// Lets the parties talk until each has said `more` packets from now on, and the other party has them.
    pub fn talk(&self, more: u32) -> Result<(), String> {
        let goal = self.said().map(|said| said + more);
        self.wait_for("packets that pass", |people| people.passed().iter().zip(goal).all(|(now, goal)| *now >= goal))
    }

    /// Waits until everyone is as wanted.
    pub fn wait_for(&self, what: &str, is_so: impl Fn(&People) -> bool) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(&self.people()) {
            if Instant::now() > deadline || millrace_testsuite::system::interrupted() {
                let people = self.people();
                return Err(format!("no {what}: said {:?}, passed {:?}", people.said(), people.passed()));
            }
            std::thread::sleep(TICK);
        }
        Ok(())
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn settings(keying: Keying) -> Settings {
    Settings { keying, has_ice: false, is_muxed: false, loss_percent: 0, claims: None }
}

/// Both parties say a packet each 20 ms; everyone reads what comes.
fn talk(people: &Mutex<People>, over: &AtomicBool) {
    let mut due = Instant::now();
    while !over.load(Ordering::Relaxed) {
        {
            let mut people = people.lock().unwrap_or_else(PoisonError::into_inner);
            if due <= Instant::now() {
                due += PACKET_INTERVAL;
                if people.is_talking {
                    people.caller.say();
                    people.callee.say();
                }
            }
            let People { caller, callee, legs, .. } = &mut *people;
            [caller, callee].into_iter().chain(legs).for_each(Peer::poll);
        }
        std::thread::sleep(TICK);
    }
}
