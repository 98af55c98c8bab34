//! How a row of a table compares with rtpengine; printed in `protocol-docs/compat-rtpengine.md`.

/// What a command, key, flag or value does here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// What rtpengine does.
    Same,
    /// Something else, and why.
    Different(&'static str),
    /// It is read, and this happens meanwhile.
    NotYet(&'static str),
}

/// The commands that a row applies to; elsewhere it is ignored without a word, as rtpengine does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Any,
    Only(&'static [super::Command]),
    Except(&'static [super::Command]),
}

impl Scope {
    /// The row applies to messages with this command.
    pub fn covers(self, command: super::Command) -> bool {
        match self {
            Scope::Any => true,
            Scope::Only(commands) => commands.contains(&command),
            Scope::Except(commands) => !commands.contains(&command),
        }
    }
}

/// What happens to transcoding meanwhile.
pub const TRANSCODING: Status =
    Status::NotYet("read and kept; transcoding is not built, codecs are relayed as they come");
/// What happens to media playback meanwhile.
pub const PLAYBACK: Status = Status::NotYet("read and kept; media playback is not built");
/// What happens to recording meanwhile.
pub const RECORDING: Status = Status::NotYet("read and kept; recording is not built");
/// What happens to DTMF handling meanwhile.
pub const DTMF: Status =
    Status::NotYet("read and kept; DTMF detection and generation are not built, events are relayed");
/// What happens to T.38 meanwhile.
pub const T38: Status = Status::NotYet("read and kept; the T.38 gateway is not built, UDPTL is relayed as it comes");
