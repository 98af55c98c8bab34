//! Calls as `list calls` shows them: one line each, for a table that is looked at again and again.

use crate::base::text::printable;
use crate::base::time::Now;
use crate::call::Call;
use crate::relay::{Relay, Traffic};
use crate::wire::value::Dictionary;
use std::fmt::Write;
use std::time::Duration;

/// How `list calls` begins.
pub const HEADINGS: &str = "  AGE s  PARTIES  MEDIAS  KERNEL       PACKETS           BYTES  CALL-ID\n";

/// A call and what it has received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    call_id: Box<str>,
    age: Duration,
    parties: usize,
    /// Those that have ports.
    medias: u64,
    /// Those of them whose RTP the kernel forwards.
    in_kernel: u64,
    received: Traffic,
}

impl Row {
    /// The row of a call whose counters are up to date.
    pub fn new(call: &Call, relay: &Relay, now: Now) -> Row {
        let mut row = Row {
            call_id: call.id.as_str().into(),
            age: now.mono.since(call.created.mono),
            parties: call.participants().count(),
            medias: 0,
            in_kernel: 0,
            received: Traffic::default(),
        };
        for stream in call.medias().filter_map(|(_, media)| relay.stream(media.rtp_stream?)) {
            let received = stream.received();
            row.medias += 1;
            row.in_kernel += u64::from(stream.is_away());
            row.received.packets += received.packets;
            row.received.bytes += received.bytes;
        }
        row
    }

    /// The row as an element of a list.
    pub fn report(&self) -> Dictionary {
        Dictionary::new()
            .with("call-id", &*self.call_id)
            .with("age", self.age.as_secs())
            .with("parties", self.parties as u64)
            .with("medias", self.medias)
            .with("in kernel", self.in_kernel)
            .with("packets", self.received.packets)
            .with("bytes", self.received.bytes)
    }

    /// The row as a line below [`HEADINGS`].
    pub fn write(&self, text: &mut String) {
        let Traffic { packets, bytes, .. } = self.received;
        let (age, parties, medias) = (self.age.as_secs(), self.parties, self.medias);
        let in_kernel = self.in_kernel;
        let _ = writeln!(
            text,
            "{age:>7}  {parties:>7}  {medias:>6}  {in_kernel:>6}  {packets:>12}  {bytes:>14}  {}",
            printable(&self.call_id)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::Mono;
    use crate::relay::Relay;
    use crate::rtp::mos;

    #[test]
    fn lines_stand_below_their_headings() {
        let call = Call::new("a@b", Now::default(), "");
        let relay = Relay::new(mos::Kind::default(), [0; 32]);
        let now = Now { mono: Mono(61_000_000_000), ..Now::default() };
        let row = Row::new(&call, &relay, now);
        let mut text = String::new();
        row.write(&mut text);
        assert_eq!(text, "     61        0       0       0             0               0  a@b\n");
        for (heading, value) in [("AGE s", "61"), ("CALL-ID", "a@b")] {
            let end = |line: &str, word: &str| line.find(word).map(|at| at + word.len());
            let is_left = heading == "CALL-ID";
            let places = [(HEADINGS, heading), (text.as_str(), value)];
            let [one, other] = places.map(|(line, word)| if is_left { line.find(word) } else { end(line, word) });
            assert_eq!(one, other, "{heading}");
        }
        assert_eq!(row.report().get("age"), Some(&61.into()));
    }
}
