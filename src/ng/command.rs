//! The commands of NG.

use super::status::Status;

/// What a message asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Command {
    Ping,
    Offer,
    Answer,
    Delete,
    Query,
    List,
    StartRecording,
    StopRecording,
    PauseRecording,
    StartForwarding,
    StopForwarding,
    BlockDtmf,
    UnblockDtmf,
    BlockMedia,
    UnblockMedia,
    PlayMedia,
    StopMedia,
    PlayDtmf,
    Statistics,
    SilenceMedia,
    UnsilenceMedia,
    Publish,
    SubscribeRequest,
    SubscribeAnswer,
    Unsubscribe,
    InjectStart,
    InjectStop,
    Connect,
    Cli,
    Transform,
    Create,
    CreateAnswer,
    Mesh,
}

/// One command.
#[derive(Debug, Clone, Copy)]
pub struct CommandRow {
    pub command: Command,
    /// The value of the key `command`, compared exactly.
    pub name: &'static str,
    /// The name in counters and tables; lower-cased it begins the keys of `statistics`.
    pub short_name: &'static str,
    pub document: &'static str,
    pub status: Status,
}

const fn row(
    command: Command,
    name: &'static str,
    short_name: &'static str,
    status: Status,
    document: &'static str,
) -> CommandRow {
    CommandRow { command, name, short_name, document, status }
}

const SAME: Status = Status::Same;
const MIXING: Status = Status::NotYet(
    "a party that hears nobody else is given the audio as it comes; where it would have to be mixed with what the party \
     hears, or transcoded, the answer is an error",
);
const SILENCE: Status = Status::Different(
    "other codecs than G.711 and G.722, and SRTP that leaves under the sender's own key, are dropped",
);
const FORWARDING: Status = Status::NotYet("accepted with a warning in the log; nothing is streamed");
const NO_RECORDING: Status = Status::NotYet("answered with an error; recording is not built");
const NO_PLAYBACK: Status = Status::NotYet("answered with an error; media playback is not built");
const LATER: Status = Status::NotYet("answered with an error; not built");
const ONE_NUMBERED: Status = Status::Different(
    "of several transports one is answered with transport-wide sequence numbers, that of video: the sender numbers all \
     in one sequence, and feedback about one would call lost what went over another",
);
const NO_TRANSCODING: Status = Status::Different(
    "nothing is transcoded: parties without a common codec are an error and nothing is changed (payload types and header \
     extensions are renumbered where they differ); so is a call that would have to be moved between threads during a DTLS handshake",
);

/// Every command, in the order in which statistics list them.
pub static COMMANDS: &[CommandRow] = &[
    row(Command::Ping, "ping", "Ping", SAME, "Answers `pong`."),
    row(Command::Offer, "offer", "Offer", SAME, "Creates or changes a call from an SDP offer (RFC 3264)."),
    row(Command::Answer, "answer", "Answer", SAME, "Completes an offer with the answerer's SDP."),
    row(Command::Delete, "delete", "Delete", SAME, "Ends a call or one party of it, with final statistics."),
    row(Command::Query, "query", "Query", SAME, "Reports a call's parties, media, streams and statistics."),
    row(Command::List, "list", "List", SAME, "Lists call-ids."),
    row(Command::StartRecording, "start recording", "StartRec", NO_RECORDING, "Starts or resumes recording of a call."),
    row(Command::StopRecording, "stop recording", "StopRec", NO_RECORDING, "Stops recording."),
    row(Command::PauseRecording, "pause recording", "PauseRec", NO_RECORDING, "Pauses recording."),
    row(Command::StartForwarding, "start forwarding", "StartFwd", FORWARDING, "Streams PCM to a listener."),
    row(Command::StopForwarding, "stop forwarding", "StopFwd", FORWARDING, "Stops streaming PCM."),
    row(Command::BlockDtmf, "block DTMF", "BlkDTMF", SAME, "Drops a party's or call's telephone-events."),
    row(Command::UnblockDtmf, "unblock DTMF", "UnblkDTMF", SAME, "Undoes `block DTMF`."),
    row(Command::BlockMedia, "block media", "BlkMedia", SAME, "Drops a party's or call's media."),
    row(Command::UnblockMedia, "unblock media", "UnblkMedia", SAME, "Undoes `block media`."),
    row(Command::PlayMedia, "play media", "PlayMedia", NO_PLAYBACK, "Plays a file to a party."),
    row(Command::StopMedia, "stop media", "StopMedia", NO_PLAYBACK, "Stops playing."),
    row(Command::PlayDtmf, "play DTMF", "PlayDTMF", NO_PLAYBACK, "Injects a DTMF digit."),
    row(Command::Statistics, "statistics", "Stats", SAME, "Reports the daemon's counters."),
    row(Command::SilenceMedia, "silence media", "SlnMedia", SILENCE, "Replaces media by silence."),
    row(Command::UnsilenceMedia, "unsilence media", "UnslnMedia", SILENCE, "Undoes `silence media`."),
    row(Command::Publish, "publish", "Pub", ONE_NUMBERED, "Takes a sender's media without a receiver."),
    row(
        Command::SubscribeRequest,
        "subscribe request",
        "SubReq",
        Status::Different("a to-tag of a party that exchanges offers itself is passed over, and a new tag made"),
        "Makes an offer to a new receiver of parties' media.",
    ),
    row(
        Command::SubscribeAnswer,
        "subscribe answer",
        "SubAns",
        SAME,
        "Completes a subscription with the receiver's SDP.",
    ),
    row(Command::Unsubscribe, "unsubscribe", "Unsub", SAME, "Removes a subscription."),
    row(Command::InjectStart, "inject start", "InjStart", MIXING, "Mixes a party's audio into what another hears."),
    row(Command::InjectStop, "inject stop", "InjStop", SAME, "Ends an injection."),
    row(Command::Connect, "connect", "Conn", NO_TRANSCODING, "Joins two parties, of two calls perhaps."),
    row(Command::Cli, "cli", "CLI", SAME, "Runs a command of the CLI (also written `CLI`)."),
    row(Command::Transform, "transform", "Trnsfm", LATER, "Transcodes for another instance."),
    row(Command::Create, "create", "Create", SAME, "Creates a party and makes an offer to it."),
    row(Command::CreateAnswer, "create answer", "CrtAnsw", SAME, "Completes `create` with the party's SDP."),
    row(Command::Mesh, "mesh", "Mesh", NO_TRANSCODING, "Joins several calls and connects their parties."),
];

impl Command {
    /// The command of that name; names are compared exactly, `CLI` is the one alias.
    pub fn from_name(name: &str) -> Option<Command> {
        if name == "CLI" {
            return Some(Command::Cli);
        }
        COMMANDS.iter().find(|row| row.name == name).map(|row| row.command)
    }

    /// This command's row.
    pub fn row(self) -> &'static CommandRow {
        &COMMANDS[self as usize]
    }

    /// The value of the key `command`.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// This command's place in `COMMANDS`, for tables of counters.
    pub fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_where_their_commands_say() {
        for (index, row) in COMMANDS.iter().enumerate() {
            assert_eq!(row.command.index(), index);
            assert_eq!(Command::from_name(row.name), Some(row.command));
        }
        assert_eq!(Command::from_name("CLI"), Some(Command::Cli));
        assert_eq!(Command::from_name("Offer"), None);
    }
}
