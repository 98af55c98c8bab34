//! The whole decision of endpoint learning, as a function without state. `protocol-docs/learning.md` gives the reasons.

use crate::plan::Learning;

/// How well a source fits what signalling said of it; a later one is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rank {
    /// Neither address nor port, or nothing was signalled to compare with.
    Any,
    /// Another address with the signalled port.
    SamePort,
    /// The signalled address with another port.
    SameAddress,
    /// Learned before signalling came again without a change of address.
    Known,
    /// The signalled address and port.
    Exact,
}

impl Rank {
    pub const ALL: [Rank; 5] = [Rank::Any, Rank::SamePort, Rank::SameAddress, Rank::Known, Rank::Exact];
}

/// Where learning stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The learning window after a signalling event.
    Window,
    /// The window is over and nobody was learned.
    Open,
    /// A source has been learned.
    Confirmed,
}

/// What signalling asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rules {
    pub learning: Learning,
    pub filled: bool,
    pub strict_source: bool,
    pub fixed_address: bool,
    pub media_handover: bool,
    pub asymmetric: bool,
}

/// Everything that matters of one datagram and of what was learned before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Situation {
    pub rules: Rules,
    pub phase: Phase,
    /// The datagram may teach: RTCP on an RTP port may not.
    pub teaches: bool,
    pub rank: Rank,
    /// The rank of the best candidate so far or, once confirmed, of the one that was learned.
    pub best: Option<Rank>,
    /// The datagram comes from the learned source or, in the window, from the best candidate.
    pub is_best: bool,
    /// The source has sent more than the best candidate, or the best candidate fell silent.
    pub outtalks_best: bool,
    /// Signalling gave an address that can't be reached from here, and the source is not such an address.
    pub is_nat: bool,
    /// The last handover was only just.
    pub handover_rests: bool,
}

/// What to remember of a datagram's source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lesson {
    Nothing,
    /// The best candidate so far; nothing is sent to it yet.
    Remember,
    /// The best candidate so far, and packets go to it.
    Redirect,
    /// The peer.
    Commit,
    /// The peer, at its new address.
    Follow,
}

/// Whether a datagram may pass, and what it teaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Decision {
    pub accepted: bool,
    pub lesson: Lesson,
}

const fn accept(lesson: Lesson) -> Decision {
    Decision { accepted: true, lesson }
}

/// Decides over one datagram.
pub fn decide(situation: &Situation) -> Decision {
    if !situation.rules.filled {
        return accept(Lesson::Nothing);
    }
    if situation.rules.fixed_address && situation.rank < Rank::SameAddress {
        return Decision { accepted: false, lesson: Lesson::Nothing };
    }
    match situation.phase {
        Phase::Confirmed => decide_confirmed(situation),
        Phase::Window | Phase::Open if !situation.teaches => accept_silent(situation),
        Phase::Window => decide_in_window(situation),
        Phase::Open => decide_open(situation),
    }
}

/// Media handover wins over a strict source.
fn is_strict(rules: &Rules) -> bool {
    rules.strict_source && !rules.media_handover
}

/// Whether packets may go to a candidate while a better one may still come.
fn is_trusted(situation: &Situation) -> bool {
    situation.rank >= Rank::SameAddress || situation.is_nat
}

fn decide_confirmed(situation: &Situation) -> Decision {
    let Situation { rules, teaches, rank, best, .. } = *situation;
    if situation.is_best {
        return accept(Lesson::Nothing);
    }
    let is_better = rank >= Rank::Known && Some(rank) > best;
    if teaches && is_better && rules.learning == Learning::Heuristic && !rules.asymmetric {
        return accept(Lesson::Commit);
    }
    if rules.media_handover && rules.learning != Learning::Off {
        let follows = teaches && !situation.handover_rests;
        return accept(if follows { Lesson::Follow } else { Lesson::Nothing });
    }
    Decision { accepted: !rules.strict_source, lesson: Lesson::Nothing }
}

/// A datagram that teaches nothing passes like one that does, but for the lesson.
fn accept_silent(situation: &Situation) -> Decision {
    let like = decide(&Situation { teaches: true, ..*situation });
    Decision { lesson: Lesson::Nothing, ..like }
}

fn decide_in_window(situation: &Situation) -> Decision {
    let rules = &situation.rules;
    match rules.learning {
        _ if rules.asymmetric => accept(Lesson::Commit),
        Learning::Off | Learning::Delayed => accept(Lesson::Nothing),
        Learning::Immediate => accept(Lesson::Commit),
        Learning::Heuristic => decide_heuristic(situation),
    }
}

fn decide_open(situation: &Situation) -> Decision {
    let rules = &situation.rules;
    match rules.learning {
        Learning::Off if !rules.asymmetric => accept(Lesson::Nothing),
        _ => accept(Lesson::Commit),
    }
}

fn decide_heuristic(situation: &Situation) -> Decision {
    let Situation { rank, best, is_best, outtalks_best, .. } = *situation;
    let trusted = is_trusted(situation);
    let is_better = Some(rank) > best || (Some(rank) == best && outtalks_best && !is_best);
    let lesson = match () {
        _ if rank == Rank::Exact => Lesson::Commit,
        _ if !is_better => Lesson::Nothing,
        _ if trusted => Lesson::Redirect,
        _ => Lesson::Remember,
    };
    let accepted = !is_strict(&situation.rules) || (trusted && (is_best || lesson != Lesson::Nothing));
    Decision { accepted, lesson }
}
