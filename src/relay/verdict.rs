//! What became of a datagram, and why.

/// The end of every datagram that arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// At least one copy was handed on.
    Forwarded,
    /// It was meant for this daemon.
    Consumed,
    Dropped(DropReason),
}

macro_rules! drop_reasons {
    ($($(#[$doc:meta])* $variant:ident, $name:literal, error: $is_error:literal;)*) => {
        /// Why a datagram was not handed on.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum DropReason {
            $($(#[$doc])* $variant,)*
        }

        impl DropReason {
            /// Every reason, in the order of the counters.
            pub const ALL: &'static [DropReason] = &[$(DropReason::$variant,)*];

            /// The stable name under which it is counted, on every path.
            pub fn name(self) -> &'static str {
                match self {
                    $(DropReason::$variant => $name,)*
                }
            }

            /// Whether statistics count it as an error of the stream, rather than as something that was asked for.
            pub fn is_error(self) -> bool {
                match self {
                    $(DropReason::$variant => $is_error,)*
                }
            }
        }
    };
}

drop_reasons! {
    /// The port belongs to no stream.
    UnknownPort, "unknown_port", error: true;
    /// The source is not the one that was learned, and the source is checked.
    WrongSource, "wrong_source", error: true;
    /// The bytes break the rules of the protocol that they claim to be.
    Malformed, "malformed", error: true;
    /// Nobody receives what arrives here.
    NoSink, "no_sink", error: false;
    /// Signalling asked for it to be dropped.
    Blocked, "blocked", error: false;
    /// The receiver's address is not known yet.
    NoDestination, "no_destination", error: false;
    /// The receiver has to send before it is sent to.
    AwaitingPeer, "awaiting_peer", error: false;
    /// The receiver's address is the port that would send.
    SelfLoop, "self_loop", error: true;
    /// ICE has not found that the peer is at the source.
    NotValidated, "not_validated", error: true;
    /// It is not SRTP where SRTP was agreed upon.
    Unprotected, "unprotected", error: true;
    /// The keys are not known yet.
    NoKeys, "no_keys", error: true;
    /// The authentication tag is not the one that the key makes.
    WrongTag, "wrong_tag", error: true;
    /// It came before, or so late that it may have.
    Replayed, "replayed", error: true;
    /// The key has protected as much as it may.
    KeyExpired, "key_expired", error: true;
    /// More handshake datagrams came than a handshake needs.
    TooMany, "too_many", error: true;
    /// A connectivity check that knows no password of this media, or is none.
    BadCheck, "bad_check", error: true;
    /// Another path has the state that it would be judged by, and gives it back just now.
    Lent, "lent", error: true;
    /// The receiver would take it for another format.
    OtherFormat, "other_format", error: false;
    /// It is of a layer that the receiver does not get.
    OtherLayer, "other_layer", error: false;
}

const REASONS: usize = DropReason::ALL.len();

/// A counter for each reason; most streams drop nothing, and take no memory for it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DropCounters(Option<Box<[u64; REASONS]>>);

impl DropCounters {
    #[inline]
    pub fn count(&mut self, reason: DropReason) {
        self.0.get_or_insert_default()[reason as usize] += 1;
    }

    /// Counts several at once.
    pub fn add_count(&mut self, reason: DropReason, count: u64) {
        if count > 0 {
            self.0.get_or_insert_default()[reason as usize] += count;
        }
    }

    pub fn get(&self, reason: DropReason) -> u64 {
        self.0.as_ref().map_or(0, |counts| counts[reason as usize])
    }

    /// Adds other counters to these.
    pub fn add(&mut self, other: &DropCounters) {
        let Some(others) = &other.0 else { return };
        self.0.get_or_insert_default().iter_mut().zip(others.iter()).for_each(|(sum, count)| *sum += count);
    }

    /// Every reason with its count.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL.iter().map(|&reason| (reason, self.get(reason)))
    }

    /// The sum over reasons that are errors.
    pub fn errors(&self) -> u64 {
        self.iter().filter(|(reason, _)| reason.is_error()).map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_stable_and_unique() {
        let names: Vec<_> = DropReason::ALL.iter().map(|reason| reason.name()).collect();
        let expected = [
            "unknown_port",
            "wrong_source",
            "malformed",
            "no_sink",
            "blocked",
            "no_destination",
            "awaiting_peer",
            "self_loop",
            "not_validated",
            "unprotected",
            "no_keys",
            "wrong_tag",
            "replayed",
            "key_expired",
            "too_many",
            "bad_check",
            "lent",
            "other_format",
            "other_layer",
        ];
        assert_eq!(names, expected);
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
    }

    #[test]
    fn every_reason_has_its_own_counter() {
        let mut counters = DropCounters::default();
        for (times, &reason) in DropReason::ALL.iter().enumerate() {
            (0..times).for_each(|_| counters.count(reason));
        }
        for (times, &reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(counters.get(reason), times as u64);
        }
        let errors = DropReason::ALL.iter().enumerate().filter(|(_, reason)| reason.is_error());
        assert_eq!(counters.errors(), errors.map(|(times, _)| times as u64).sum::<u64>());
    }
}
