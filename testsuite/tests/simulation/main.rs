//! The whole engine in simulation: calls between phones over a virtual network, on a virtual clock, with exact
//! outcomes of who hears whom. Nothing may be left at the end of each.

mod calls;
mod connections;
mod control;
mod echo;
mod events;
mod faults;
mod feedback;
mod forks;
mod handshakes;
mod layers;
mod offload;
mod pairs;
mod reoffers;
mod secure;
mod subscriptions;
mod timeouts;

use millrace_testsuite::simulation::{Phone, Stage};

/// The SSRCs of the phones.
const ALICE: u32 = 0xa11ce;
const BOB: u32 = 0xb0b;
const CAROL: u32 = 0xca401;

/// alice and bob, with one audio line each.
fn two() -> Stage {
    Stage::new(vec![alice(), bob()])
}

fn alice() -> Phone {
    Phone::audio("alice", "198.51.100.10", 40000, ALICE)
}

fn bob() -> Phone {
    Phone::audio("bob", "198.51.100.20", 50000, BOB)
}

fn carol() -> Phone {
    Phone::audio("carol", "198.51.100.30", 60000, CAROL)
}
