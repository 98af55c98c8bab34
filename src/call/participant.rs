//! One tag of a call: the offerer or the answerer of an exchange (RFC 3264).

use super::MediaId;
use crate::base::time::{Mono, Now};
use crate::sdp::{Attribute, Origin};

/// A participant's place in its call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParticipantId(pub usize);

/// Which side of the first exchange a participant was on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Role {
    Offerer,
    Answerer,
    /// It was made by `subscribe request` and only receives.
    Subscriber,
    /// It came by `publish`, `create` and the like.
    #[default]
    Other,
}

/// What becomes of a participant's media in place of what its subscriptions say (`media echo`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Echo {
    #[default]
    Off,
    /// It goes nowhere.
    Discarded,
    /// It goes back to the participant.
    Returned,
}

/// A participant.
#[derive(Debug, Clone, Default)]
pub struct Participant {
    /// The SIP tag; none for a callee that has not answered yet.
    pub tag: Option<String>,
    /// Further tags that name this participant.
    pub aliases: Vec<String>,
    pub via_branch: Option<String>,
    pub label: Option<String>,
    pub metadata: Option<String>,
    pub role: Role,
    /// Whose offer this participant was made for.
    pub called_by: Option<ParticipantId>,
    pub created: Now,
    /// By the position of the `m=` line.
    pub medias: Vec<MediaId>,
    /// The session level of the description that the participant sent last.
    pub session: ReceivedSession,
    /// What the participant has been shown so far.
    pub shown: ShownSession,
    /// The mids that its last description groups together (RFC 9143).
    pub bundle: Vec<String>,
    /// It is shown its medias in one group.
    pub shows_bundle: bool,
    /// The group is for one exchange only.
    pub is_strict_bundle: bool,
    /// Its group is answered with one.
    pub accepts_bundle: bool,
    /// The places of plain medias that stand beside an encrypted twin, in the descriptions exchanged with it.
    pub legacy_places: Vec<usize>,
    /// Its answer may take either of each such pair.
    pub accepts_legacy: bool,
    /// A final response came from here: its tag does not change any more.
    pub is_final: bool,
    /// A digest of the first offer, when it asked that later from-tags with the same one be aliases (`alias-key`).
    pub alias_key: Option<u64>,
    /// When the participant leaves, after a delayed delete.
    pub delete_at: Option<Mono>,
    /// `block DTMF` for what this participant sends.
    pub blocks_dtmf: bool,
    /// `block media` for what this participant sends.
    pub blocks_media: bool,
    /// `silence media` for what this participant sends.
    pub silences_media: bool,
    pub echo: Echo,
}

/// Session-level lines as received, for descriptions that are made from them later.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReceivedSession {
    pub origin: Option<Origin>,
    pub name: String,
    pub descriptions: Vec<(char, String)>,
    pub bandwidths: Vec<String>,
    pub timing: Vec<(char, String)>,
    /// Without those that negotiation consumes.
    pub attributes: Vec<Attribute>,
}

/// What keeps the `o=` and `s=` lines towards one participant constant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShownSession {
    /// The origin of the first description that was shown.
    pub origin: Option<Origin>,
    pub name: Option<String>,
    /// The version shown last and a digest of the description it went with.
    pub version: Option<(u64, u64)>,
}

impl Participant {
    /// Whether `tag` names this participant.
    pub fn has_tag(&self, tag: &str) -> bool {
        self.tag.as_deref() == Some(tag) || self.aliases.iter().any(|alias| alias == tag)
    }

    /// The tag, or the name that reports use for a participant without one.
    pub fn display_tag(&self, id: ParticipantId) -> String {
        self.tag.clone().unwrap_or_else(|| format!("<untagged {}>", id.0))
    }
}
