//! What has come and what became of it.

use super::message::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident, $text:literal;)*) => {
        /// Why a request got no reply.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum DropReason {
            $($(#[$doc])* $variant,)*
        }

        impl DropReason {
            /// Every reason.
            pub const ALL: &'static [DropReason] = &[$(DropReason::$variant,)*];

            /// In words.
            pub fn text(self) -> &'static str {
                match self {
                    $(DropReason::$variant => $text,)*
                }
            }
        }
    };
}

reasons! {
    NoCookie, "no cookie";
    NotText, "not text";
    UnknownCommand, "unknown command";
    /// Their number, or the spaces between them.
    WrongFields, "wrong fields";
    NoCallId, "no call-id";
    BadAddress, "bad address";
    BadPort, "bad port";
    NoInterface, "not an address of ours";
    NoPort, "port not to be had";
    TooManyCalls, "too many calls";
    Overload, "too many requests";
    /// The connection ended, or time ran out, before a request was whole.
    Incomplete, "incomplete";
    Fault, "fault";
}

/// The commands by letter.
const COMMANDS: [&str; 4] = ["P", "G", "S", "D"];

/// Counters that are shared.
#[derive(Debug, Clone, Default)]
pub struct Counters(Arc<Cells>);

#[derive(Debug, Default)]
struct Cells {
    commands: [AtomicU64; COMMANDS.len()],
    dropped: [AtomicU64; DropReason::ALL.len()],
}

impl Counters {
    pub(super) fn count_request(&self, command: &Command) {
        let index = match command {
            Command::Ping => 0,
            Command::Configuration => 1,
            Command::Put(_) => 2,
            Command::End(_) => 3,
        };
        self.0.commands[index].fetch_add(1, Ordering::Relaxed);
    }

    /// Whether it is the first for this reason.
    pub(super) fn count_drop(&self, reason: DropReason) -> bool {
        self.0.dropped[reason as usize].fetch_add(1, Ordering::Relaxed) == 0
    }

    /// How often a request was dropped for a reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.0.dropped[reason as usize].load(Ordering::Relaxed)
    }

    /// Every counter by name.
    pub(super) fn rows(&self) -> impl Iterator<Item = (String, u64)> + '_ {
        let commands = COMMANDS.iter().zip(&self.0.commands);
        let commands = commands.map(|(name, count)| (format!("requests {name}"), count.load(Ordering::Relaxed)));
        let dropped =
            DropReason::ALL.iter().map(|reason| (format!("dropped: {}", reason.text()), self.dropped(*reason)));
        commands.chain(dropped)
    }
}
