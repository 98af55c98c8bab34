//! The option table: every option of rtpengine mr26.3, by chapter.

mod control;
mod events;
mod logging;
mod media;
mod network;
mod process;
mod protocols;
mod reporting;
mod storage;

use super::table::{Section, Status};

/// What becomes of the passwords for Redis.
pub(super) const REDIS_VARIABLE: Status = Status::Warned("not read: persistence is not built");

pub(super) static SECTIONS: &[Section] = &[
    Section { title: "Process", rows: process::PROCESS },
    Section { title: "Interfaces", rows: network::INTERFACES },
    Section { title: "Control", rows: control::CONTROL },
    Section { title: "Protocols of other relays", rows: protocols::PROTOCOLS },
    Section { title: "Media ports and addresses", rows: network::MEDIA },
    Section { title: "Timeouts", rows: process::TIMEOUTS },
    Section { title: "Limits", rows: process::LIMITS },
    Section { title: "Threads", rows: process::THREADS },
    Section { title: "Fast path", rows: network::FAST_PATH },
    Section { title: "Logging", rows: logging::LOGGING },
    Section { title: "Events", rows: events::EVENTS },
    Section { title: "DTMF", rows: media::DTMF },
    Section { title: "Persistence", rows: storage::REDIS },
    Section { title: "Recording", rows: storage::RECORDING },
    Section { title: "Playback", rows: storage::PLAYBACK },
    Section { title: "Transcoding", rows: media::TRANSCODING },
    Section { title: "DTLS", rows: media::DTLS },
    Section { title: "RTCP and quality", rows: reporting::QUALITY },
    Section { title: "Homer", rows: reporting::HOMER },
    Section { title: "Graphite", rows: reporting::GRAPHITE },
    Section { title: "MQTT", rows: reporting::MQTT },
];
