//! What may happen to a call.

use proptest::prelude::*;

/// The parties that exchange offers or publish, and the viewers that subscribe.
pub const PARTIES: usize = 4;
pub const VIEWERS: usize = 2;
/// How many calls there are at once.
pub const CALLS: usize = 3;

/// One `m=` line as its author describes it.
#[derive(Debug, Clone, Copy)]
pub struct Line {
    pub kind: &'static str,
    pub direction: &'static str,
    pub is_rejected: bool,
    pub is_muxed: bool,
    pub port: u16,
}

/// Parties by number.
#[derive(Debug, Clone)]
pub enum Action {
    Offer {
        from: usize,
        to: usize,
        lines: Vec<Line>,
        is_ip6: bool,
    },
    Answer {
        from: usize,
        to: usize,
        lines: Vec<Line>,
    },
    Publish {
        from: usize,
        lines: Vec<Line>,
    },
    /// From one party, or from all.
    Subscribe {
        viewer: usize,
        source: Option<usize>,
        is_paused: bool,
    },
    SubscribeAnswer {
        viewer: usize,
        lines: Vec<Line>,
    },
    Unsubscribe {
        viewer: usize,
    },
    Block {
        party: usize,
        is_blocked: bool,
    },
    DeleteParty {
        party: usize,
    },
    DeleteCall,
    /// With a party of another call, or of the same.
    Connect {
        from: usize,
        to: (usize, usize),
        is_directional: bool,
        is_bidirectional: bool,
    },
    /// From one party to others, each by its call.
    Mesh {
        from: usize,
        to: Vec<(usize, usize)>,
        unsubscribes: bool,
        is_bidirectional: bool,
    },
    /// All calls move to another shard.
    Move,
}

fn line() -> impl Strategy<Value = Line> {
    let kind = prop_oneof![6 => Just("audio"), 3 => Just("video"), 1 => Just("image"), 1 => Just("message")];
    let direction =
        prop_oneof![3 => Just("sendrecv"), 1 => Just("sendonly"), 1 => Just("recvonly"), 1 => Just("inactive")];
    (kind, direction, prop::bool::weighted(0.15), proptest::bool::ANY, 0u16..4).prop_map(
        |(kind, direction, is_rejected, is_muxed, place)| Line {
            kind,
            direction,
            is_rejected,
            is_muxed,
            port: 40000 + 10 * place,
        },
    )
}

fn lines() -> impl Strategy<Value = Vec<Line>> {
    prop::collection::vec(line(), 0..4)
}

/// Any action.
pub fn action() -> impl Strategy<Value = Action> {
    let offer = (0..PARTIES, 0..PARTIES, lines(), prop::bool::weighted(0.1))
        .prop_map(|(from, to, lines, is_ip6)| Action::Offer { from, to, lines, is_ip6 });
    let answer = (0..PARTIES, 0..PARTIES, lines()).prop_map(|(from, to, lines)| Action::Answer { from, to, lines });
    let subscribe = (0..VIEWERS, prop::option::of(0..PARTIES), prop::bool::weighted(0.2))
        .prop_map(|(viewer, source, is_paused)| Action::Subscribe { viewer, source, is_paused });
    let block = (0..PARTIES, proptest::bool::ANY).prop_map(|(party, is_blocked)| Action::Block { party, is_blocked });
    prop_oneof![
        8 => offer,
        8 => answer,
        2 => (0..PARTIES, lines()).prop_map(|(from, lines)| Action::Publish { from, lines }),
        3 => subscribe,
        3 => (0..VIEWERS, lines()).prop_map(|(viewer, lines)| Action::SubscribeAnswer { viewer, lines }),
        1 => (0..VIEWERS).prop_map(|viewer| Action::Unsubscribe { viewer }),
        1 => block,
        1 => (0..PARTIES).prop_map(|party| Action::DeleteParty { party }),
        1 => Just(Action::DeleteCall),
        2 => connect(),
        2 => mesh(),
        1 => Just(Action::Move),
    ]
}

/// A party of any call.
fn anybody() -> impl Strategy<Value = (usize, usize)> {
    (0..CALLS, 0..PARTIES)
}

fn connect() -> impl Strategy<Value = Action> {
    (0..PARTIES, anybody(), proptest::bool::ANY, proptest::bool::ANY).prop_map(
        |(from, to, is_directional, is_bidirectional)| Action::Connect { from, to, is_directional, is_bidirectional },
    )
}

fn mesh() -> impl Strategy<Value = Action> {
    let to = prop::collection::vec(anybody(), 1..3);
    (0..PARTIES, to, proptest::bool::ANY, proptest::bool::ANY).prop_map(|(from, to, unsubscribes, is_bidirectional)| {
        Action::Mesh { from, to, unsubscribes, is_bidirectional }
    })
}
