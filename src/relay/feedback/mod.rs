//! What receivers would tell a sender, said in their place where their RTCP does not reach it: what is lost, when
//! packets arrived, and reports. `protocol-docs/feedback.md` says what and why.

mod receiver;
mod repair;
mod report;
mod resend;

pub(super) use receiver::Receiver;

use super::ingress::{Accepted, Again, Kind, Original, Route};
use super::{Relay, Stream, Transmit, extension};
use crate::base::time::{Mono, Now};
use crate::plan::{self, Bandwidth, ForwardingPlan, Sink, StreamId};
use crate::rtp::history::Place;
use crate::rtp::transport_feedback::Recorder;
use crate::rtp::{History, Missing};
use crate::wire::rtp::Header;
use smallvec::SmallVec;
use std::time::Duration;

/// SSRCs of a sender whose packets are kept: the layers of a simulcast, and one more.
const MOST_HISTORIES: usize = 4;
/// An SSRC that has been silent for so long gives its room to another.
const SILENCE: Duration = Duration::from_secs(5);
/// A longer gap is not asked for: a key frame mends more.
const LONGEST_GAP: u16 = 100;
/// Between the first packet that arrived and the feedback that tells of it.
const TRANSPORT_INTERVAL: Duration = Duration::from_millis(100);
/// Between two estimates of bandwidth.
const ESTIMATE_INTERVAL: Duration = Duration::from_secs(1);
/// Between two reports, where feedback is negotiated (RFC 4585, section 3.5.2) and where it is not (RFC 3550, section
/// 6.2).
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
const PLAIN_REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// In the note of a kept packet: it is as it came, under the sender's protection.
const IS_PROTECTED: u16 = 0x8000;

/// What is kept of a sender to answer its receivers, and to tell it.
#[derive(Debug)]
pub(super) struct Feedback {
    plan: plan::Feedback,
    histories: Vec<Kept>,
    missing: Missing,
    /// An SSRC of media, and that of its retransmissions, as far as that was found out.
    repairs: SmallVec<[(u32, u32); 4]>,
    transport: Option<Recorder>,
    /// The SSRC that feedback on the transport names: the last one that was heard.
    transport_ssrc: u32,
    next_transport: Mono,
    next_report: Mono,
    next_estimate: Mono,
    /// When the agenda has it.
    noted: Option<Mono>,
}

/// The packets of one SSRC.
#[derive(Debug)]
struct Kept {
    history: History,
    heard: Mono,
    payload_type: u8,
}

impl Kept {
    fn new(now: Mono, header: &Header) -> Kept {
        let history = History::new(header.ssrc, header.sequence);
        Kept { history, heard: now, payload_type: header.payload_type }
    }
}

impl Feedback {
    fn new(now: Mono, plan: &plan::Feedback) -> Feedback {
        let mut feedback = Feedback {
            plan: plan::Feedback::default(),
            histories: Vec::with_capacity(MOST_HISTORIES),
            missing: Missing::new(),
            repairs: SmallVec::new(),
            transport: None,
            transport_ssrc: 0,
            next_transport: now,
            next_report: now + REPORT_INTERVAL,
            next_estimate: now + ESTIMATE_INTERVAL,
            noted: None,
        };
        feedback.follow(plan);
        feedback
    }

    fn follow(&mut self, plan: &plan::Feedback) {
        let has_transport = matches!(plan.bandwidth, Some(Bandwidth::Transport(_)));
        self.transport = self.transport.take().filter(|_| has_transport).or_else(|| has_transport.then(Recorder::new));
        self.plan = plan.clone();
    }

    /// Packets that are kept would not be sent as they were the first time.
    pub(super) fn forget_packets(&mut self) {
        self.histories.iter_mut().for_each(|kept| kept.history.forget_packets());
    }

    fn next_due(&self) -> Option<Mono> {
        let transport = self.transport.as_ref().filter(|recorder| recorder.has_news()).map(|_| self.next_transport);
        let report = self.plan.is_sole.then_some(self.next_report);
        let estimate = (self.plan.bandwidth == Some(Bandwidth::Estimate)).then_some(self.next_estimate);
        [self.missing.next_due(), transport, report, estimate].into_iter().flatten().min()
    }

    fn report_interval(&self) -> Duration {
        let is_plain = self.plan.bandwidth.is_none() && self.plan.kept.is_empty();
        if is_plain { PLAIN_REPORT_INTERVAL } else { REPORT_INTERVAL }
    }

    /// Notes an RTP packet of the sender; true for a retransmission whose packet is to be looked at instead.
    fn record(&mut self, now: Mono, header: &Header, packet: &[u8], note: u16) -> bool {
        if let (Some(Bandwidth::Transport(number)), Some(recorder)) = (self.plan.bandwidth, &mut self.transport)
            && let Some(&[high, low]) = extension::find(packet, number)
        {
            if !recorder.has_news() {
                self.next_transport = now + TRANSPORT_INTERVAL;
            }
            recorder.record(now, u16::from_be_bytes([high, low]));
            self.transport_ssrc = header.ssrc;
        }
        if self.plan.kept.contains(&header.payload_type) {
            self.keep(now, header, packet, note);
            return false;
        }
        // What is still protected can't be read.
        let repaired = self.plan.repair.repaired(header.payload_type).filter(|_| note & IS_PROTECTED == 0);
        repaired.is_some_and(|number| self.plan.kept.contains(&number))
    }

    /// Keeps a packet; where it stands, unless there is no room for its SSRC.
    fn keep(&mut self, now: Mono, header: &Header, packet: &[u8], note: u16) -> Option<Place> {
        let index = self.history_of(now, header)?;
        let kept = &mut self.histories[index];
        (kept.heard, kept.payload_type) = (now, header.payload_type);
        let place = kept.history.keep(header.sequence, packet, note);
        match place {
            Place::Newer { missing } if (1..=LONGEST_GAP).contains(&missing) && self.plan.is_sole => {
                let numbers = (1..=missing).rev().map(|age| header.sequence.wrapping_sub(age));
                numbers.for_each(|sequence| self.missing.lost(now, header.ssrc, sequence));
            }
            Place::Late => self.missing.arrived(header.ssrc, header.sequence),
            Place::Newer { .. } | Place::Known => {}
        }
        Some(place)
    }

    #[inline]
    fn history_of(&mut self, now: Mono, header: &Header) -> Option<usize> {
        let known = self.histories.iter().position(|kept| kept.history.ssrc() == header.ssrc);
        known.or_else(|| self.add_history(now, header))
    }

    #[cold]
    fn add_history(&mut self, now: Mono, header: &Header) -> Option<usize> {
        if self.histories.len() < MOST_HISTORIES {
            self.histories.push(Kept::new(now, header));
            return Some(self.histories.len() - 1);
        }
        let silent = self.histories.iter().position(|kept| now.since(kept.heard) >= SILENCE)?;
        self.histories[silent] = Kept::new(now, header);
        Some(silent)
    }
}

/// What a kept packet's note says of it.
fn note(accepted: &Accepted) -> u16 {
    let route = match accepted.route {
        Route::Branch(place) => u16::from(place) + 1,
        Route::Own | Route::All => 0,
    };
    if accepted.original == Original::Same { route | IS_PROTECTED } else { route }
}

/// The packet that a note speaks of.
fn accepted(origin: StreamId, owner_call: u32, header: Header, length: usize, note: u16) -> Accepted {
    Accepted {
        stream: origin,
        owner_call,
        kind: Kind::Rtp(header),
        is_control: false,
        is_event: false,
        again: Again::AsBefore,
        route: (note & !IS_PROTECTED).checked_sub(1).map_or(Route::Own, |place| Route::Branch(place as u8)),
        length,
        original: if note & IS_PROTECTED == 0 { Original::Plain } else { Original::Same },
    }
}

/// Whether a packet might look otherwise to one of the sinks of `before` if it were sent again by `after`.
pub(super) fn changes_packets(before: &ForwardingPlan, after: &ForwardingPlan) -> bool {
    fn of(plan: &ForwardingPlan) -> impl Iterator<Item = (usize, &Sink)> {
        let branches = plan.bundle.iter().flat_map(|bundle| &bundle.branches).enumerate();
        let own = plan.media.iter().map(|sink| (usize::MAX, sink));
        own.chain(branches.flat_map(|(place, branch)| branch.media.iter().map(move |sink| (place, sink))))
    }
    let looks = |(place, sink): (usize, &Sink)| {
        (place, sink.egress, sink.passes, sink.masked_extensions, sink.mid, sink.transport_wide)
    };
    // Which layer comes next changes nothing in those that have come.
    let rewrite = |plan: &ForwardingPlan, sink: &Sink| {
        sink.rewrite.map(|place| plan::Rewrite { choice: None, ..plan.tables().rewrites[place.index()].clone() })
    };
    of(before).any(|sink| {
        let look = (looks(sink), rewrite(before, sink.1));
        !of(after).any(|other| (looks(other), rewrite(after, other.1)) == look)
    })
}

impl Relay {
    /// After a plan was set: begins, follows it or ends.
    pub(super) fn follow_feedback(&mut self, now: Now, id: StreamId) {
        let Some(stream) = self.streams.get_mut(id.0 as usize) else { return };
        let Some(plan) = stream.plan().feedback.clone() else {
            if let Some(ended) = stream.feedback.take() {
                self.feedback_agenda.forget(id, ended.noted);
            }
            return;
        };
        match &mut stream.feedback {
            Some(feedback) => feedback.follow(&plan),
            None => stream.feedback = Some(Box::new(Feedback::new(now.mono, &plan))),
        }
        self.note_feedback(id);
    }

    /// Ends a stream's feedback with it.
    pub(super) fn drop_feedback(&mut self, id: StreamId, stream: &mut Stream) {
        if let Some(ended) = stream.feedback.take() {
            self.feedback_agenda.forget(id, ended.noted);
        }
    }

    fn note_feedback(&mut self, id: StreamId) {
        let stream = self.streams.get_mut(id.0 as usize);
        if let Some(feedback) = stream.and_then(|stream| stream.feedback.as_deref_mut()) {
            let due = feedback.next_due();
            self.feedback_agenda.set(id, &mut feedback.noted, due);
        }
    }

    /// Notes an RTP packet where the sender is to be told of it; true for a retransmission that ends here.
    #[inline]
    pub(super) fn watch(&mut self, now: Now, accepted: &Accepted, header: &Header, packet: &[u8]) -> bool {
        let stream = self.streams.get_mut(accepted.stream.0 as usize);
        let Some(feedback) = stream.and_then(|stream| stream.feedback.as_deref_mut()) else { return false };
        let is_repair = feedback.record(now.mono, header, packet, note(accepted));
        let due = feedback.next_due();
        self.feedback_agenda.set(accepted.stream, &mut feedback.noted, due);
        is_repair
    }

    /// Tells senders what is due, and says when the next has to be told.
    pub(super) fn tell_senders(&mut self, now: Now, transmit: &mut (impl Transmit + ?Sized)) -> Option<Mono> {
        while let Some(index) = self.feedback_agenda.take_due(now.mono) {
            let id = StreamId(index);
            let Some(stream) = self.streams.get_mut(index as usize) else { continue };
            let Some(mut feedback) = stream.feedback.take() else { continue };
            feedback.noted = None;
            self.tell_sender(now, id, &mut feedback, transmit);
            if let Some(stream) = self.streams.get_mut(index as usize) {
                stream.feedback = Some(feedback);
            }
            self.note_feedback(id);
        }
        self.feedback_agenda.next()
    }

    /// Whether what a receiver says on `arrived` goes to the sender at `origin` anyway.
    pub(super) fn reaches(&self, arrived: StreamId, origin: StreamId) -> bool {
        let stream = |id: StreamId| self.streams.get(id.0 as usize);
        let speaks_for_origin =
            |sink: StreamId| sink == origin || stream(sink).is_some_and(|stream| stream.plan().sources == Some(origin));
        let plan = stream(arrived).map(|stream| stream.plan());
        let mut sinks = plan.into_iter().flat_map(|plan| plan.control_sinks()).filter(|sink| !sink.strips_feedback);
        sinks.any(|sink| speaks_for_origin(sink.egress))
    }
}
