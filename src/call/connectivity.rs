//! ICE of a media (RFC 8445): what its participant said and what it was shown.

/// ICE of one media.
#[derive(Debug, Clone, Default)]
pub struct Connectivity {
    /// What the participant's last description says; none when it does no ICE.
    pub received: Option<ReceivedIce>,
    /// The same as far as an exchange has been completed with it: whom the agent speaks to.
    pub peer: Option<ReceivedIce>,
    /// The participant has restarted ICE: the next description for it has new credentials.
    pub is_restarting: bool,
    /// What the participant was shown; kept while ICE is not shown for a while.
    pub own: Option<OwnIce>,
    /// The participant was shown ICE last.
    pub is_shown: bool,
    /// The participant offered before it was offered, or was shown an answer: this end is controlled then.
    pub is_controlled: bool,
    /// ICE was taken out of an answer to an offer that had it.
    pub is_withheld: bool,
    /// The next answer to the participant refuses ICE.
    pub is_refused: bool,
    /// Towards this participant the daemon is an ICE-lite agent.
    pub is_lite: bool,
    /// The description goes to the other side with its own addresses; this daemon only adds candidates.
    pub passthrough: Option<Passthrough>,
}

/// How own candidates join those of the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passthrough {
    /// As host candidates of low priority.
    Optional,
    /// As relay candidates; other relays' are removed.
    Relay,
}

/// ICE of a description.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReceivedIce {
    pub ufrag: String,
    pub pwd: String,
    pub is_lite: bool,
    /// Further candidates may come (RFC 8838).
    pub is_trickling: bool,
    pub has_ice2: bool,
    /// What stands after `a=candidate:`.
    pub candidates: Vec<String>,
    /// `a=end-of-candidates`
    pub has_ended: bool,
}

/// This end's part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnIce {
    pub ufrag: String,
    pub pwd: String,
    pub is_trickling: bool,
    pub has_ice2: bool,
}

impl Connectivity {
    /// Both ends do ICE.
    pub fn is_agreed(&self) -> bool {
        self.is_shown && self.received.is_some()
    }
}
