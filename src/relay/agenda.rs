//! When which stream has something to do.

use crate::base::time::Mono;
use crate::plan::StreamId;
use std::collections::BTreeSet;

/// Streams by the moment when they have something to do, one moment for each.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    entries: BTreeSet<(Mono, u32)>,
    /// Something is due earlier than was told last.
    is_earlier: bool,
}

impl Agenda {
    /// Puts a stream at `due` instead of `noted`, where it is now.
    pub(super) fn set(&mut self, stream: StreamId, noted: &mut Option<Mono>, due: Option<Mono>) {
        if due == *noted {
            return;
        }
        self.forget(stream, *noted);
        if let Some(due) = due {
            self.is_earlier |= self.next().is_none_or(|next| due < next);
            self.entries.insert((due, stream.0));
        }
        *noted = due;
    }

    /// Whether something is due earlier than was told last.
    pub(super) fn take_earlier(&mut self) -> bool {
        std::mem::take(&mut self.is_earlier)
    }

    /// Takes a stream out that is at `noted`.
    pub(super) fn forget(&mut self, stream: StreamId, noted: Option<Mono>) {
        if let Some(noted) = noted {
            self.entries.remove(&(noted, stream.0));
        }
    }

    /// Takes out the next stream that is due.
    pub(super) fn take_due(&mut self, now: Mono) -> Option<u32> {
        let first = self.entries.first().copied().filter(|(due, _)| *due <= now)?;
        self.entries.remove(&first);
        Some(first.1)
    }

    pub(super) fn next(&self) -> Option<Mono> {
        self.entries.first().map(|(due, _)| *due)
    }
}
