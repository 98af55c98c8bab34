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
    Subscribe {
        viewer: usize,
        sources: Sources,
        way: Way,
        is_mixed: bool,
        is_paused: bool,
    },
    SubscribeAnswer {
        viewer: usize,
        lines: Vec<Line>,
    },
    /// What a viewer or a party gets, from everybody or from one party.
    Unsubscribe {
        of: Receiver,
        from: Option<usize>,
        is_bidirectional: bool,
    },
    /// A party gets an offer that nobody made, with lines of these kinds where it has none.
    Create {
        party: usize,
        kinds: Vec<&'static str>,
    },
    CreateAnswer {
        party: usize,
        lines: Vec<Line>,
    },
    Mute {
        what: Muting,
        is_on: bool,
        whom: Whom,
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
    /// To a party from one of another call, or of the same.
    InjectStart {
        to: usize,
        source: (usize, usize),
    },
    /// One of those that there are, else between the two.
    InjectStop {
        which: usize,
        to: usize,
        source: usize,
    },
    /// All calls move to another shard.
    Move,
}

/// Whose lines a viewer subscribes to.
#[derive(Debug, Clone)]
pub enum Sources {
    All,
    One(usize),
    Several(Vec<usize>),
}

/// Which way a subscription goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    ToViewer,
    Both,
    /// What is sent to the source goes to the viewer.
    Egress,
}

#[derive(Debug, Clone, Copy)]
pub enum Receiver {
    Viewer(usize),
    Party(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Muting {
    Media,
    Dtmf,
    Silence,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whom {
    Call,
    /// With the flag `all`.
    Everybody,
    Party(usize),
    Flow(usize, usize),
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
    prop_oneof![1 => Just(Vec::new()), 9 => prop::collection::vec(line(), 1..4)]
}

/// Calls that are up already, and then anything, each in its call.
pub fn actions() -> impl Strategy<Value = Vec<(usize, Action)>> {
    let line = |kind| Line { kind, direction: "sendrecv", is_rejected: false, is_muxed: false, port: 40000 };
    let begin = move |call: usize, (is_up, has_video, publishes): (bool, bool, bool)| {
        let lines: Vec<Line> = ["audio", "video"].into_iter().take(1 + usize::from(has_video)).map(line).collect();
        let offer = Action::Offer { from: 0, to: 1, lines: lines.clone(), is_ip6: false };
        let answer = Action::Answer { from: 0, to: 1, lines: lines.clone() };
        let dialogue = [offer, answer].into_iter().filter(move |_| is_up);
        let publication = publishes.then_some(Action::Publish { from: 2, lines });
        dialogue.chain(publication).map(move |action| (call, action))
    };
    let beginnings = proptest::array::uniform3((prop::bool::weighted(0.7), proptest::bool::ANY, proptest::bool::ANY));
    (beginnings, prop::collection::vec((0..CALLS, action()), 1..50)).prop_map(move |(beginnings, actions)| {
        let beginnings = beginnings.into_iter().enumerate().flat_map(|(call, is_so)| begin(call, is_so));
        beginnings.chain(actions).collect()
    })
}

/// Any action.
fn action() -> impl Strategy<Value = Action> {
    let offer = (0..PARTIES, 0..PARTIES, lines(), prop::bool::weighted(0.1))
        .prop_map(|(from, to, lines, is_ip6)| Action::Offer { from, to, lines, is_ip6 });
    let answer = (0..PARTIES, 0..PARTIES, lines()).prop_map(|(from, to, lines)| Action::Answer { from, to, lines });
    prop_oneof![
        8 => offer,
        8 => answer,
        2 => (0..PARTIES, lines()).prop_map(|(from, lines)| Action::Publish { from, lines }),
        3 => subscribe(),
        3 => (0..VIEWERS, lines()).prop_map(|(viewer, lines)| Action::SubscribeAnswer { viewer, lines }),
        2 => unsubscribe(),
        2 => mute(),
        1 => create(),
        1 => (0..PARTIES, lines()).prop_map(|(party, lines)| Action::CreateAnswer { party, lines }),
        2 => (0..PARTIES, anybody()).prop_map(|(to, source)| Action::InjectStart { to, source }),
        1 => (0..8usize, 0..PARTIES, 0..PARTIES)
            .prop_map(|(which, to, source)| Action::InjectStop { which, to, source }),
        1 => (0..PARTIES).prop_map(|party| Action::DeleteParty { party }),
        1 => Just(Action::DeleteCall),
        2 => connect(),
        2 => mesh(),
        1 => Just(Action::Move),
    ]
}

fn subscribe() -> impl Strategy<Value = Action> {
    let sources = prop_oneof![
        2 => Just(Sources::All),
        2 => (0..PARTIES).prop_map(Sources::One),
        1 => prop::collection::vec(0..PARTIES, 1..3).prop_map(Sources::Several),
    ];
    let way = prop_oneof![3 => Just(Way::ToViewer), 1 => Just(Way::Both), 1 => Just(Way::Egress)];
    (0..VIEWERS, sources, way, prop::bool::weighted(0.2), prop::bool::weighted(0.2)).prop_map(
        |(viewer, sources, way, is_mixed, is_paused)| Action::Subscribe { viewer, sources, way, is_mixed, is_paused },
    )
}

fn unsubscribe() -> impl Strategy<Value = Action> {
    let of = prop_oneof![(0..VIEWERS).prop_map(Receiver::Viewer), (0..PARTIES).prop_map(Receiver::Party)];
    (of, prop::option::of(0..PARTIES), proptest::bool::ANY)
        .prop_map(|(of, from, is_bidirectional)| Action::Unsubscribe { of, from, is_bidirectional })
}

fn mute() -> impl Strategy<Value = Action> {
    let what = prop_oneof![Just(Muting::Media), Just(Muting::Dtmf), Just(Muting::Silence)];
    let whom = prop_oneof![
        1 => Just(Whom::Call),
        1 => Just(Whom::Everybody),
        3 => (0..PARTIES).prop_map(Whom::Party),
        3 => (0..PARTIES, 0..PARTIES).prop_map(|(from, to)| Whom::Flow(from, to)),
    ];
    (what, proptest::bool::ANY, whom).prop_map(|(what, is_on, whom)| Action::Mute { what, is_on, whom })
}

fn create() -> impl Strategy<Value = Action> {
    let kinds = prop::collection::vec(prop_oneof![2 => Just("audio"), 1 => Just("video")], 1..3);
    (0..PARTIES, kinds).prop_map(|(party, kinds)| Action::Create { party, kinds })
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
