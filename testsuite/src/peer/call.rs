//! Two peers, the signalling between them through a daemon, and the time they talk.

use super::{Hearing, Peer};
use crate::ng::Client;
use crate::system::interrupted;
use serde_json::{Map, Value, json};
use std::time::{Duration, Instant};

/// Between two looks at every socket.
const TICK: Duration = Duration::from_millis(2);
/// How long what is under way may take to arrive.
const SETTLING: Duration = Duration::from_millis(300);
/// Between two packets of a voice.
const PACKET_INTERVAL: Duration = Duration::from_millis(20);

/// A call of two parties.
pub struct Call {
    pub caller: Peer,
    pub callee: Peer,
    pub id: String,
    /// What every request carries beside call, tags and description.
    options: Map<String, Value>,
    /// What the daemon showed the callee, for an answer that is still to come.
    offered: String,
    is_answered: bool,
    /// How much each side had said when the answer was taken: caller, callee.
    answered_at: (u32, u32),
}

impl Call {
    /// A call that has not been signalled yet.
    pub fn new(id: &str, mut caller: Peer, mut callee: Peer, options: &Value) -> Call {
        caller.hearing = Hearing::of(callee.voice);
        callee.hearing = Hearing::of(caller.voice);
        let options = options.as_object().cloned().unwrap_or_default();
        Call {
            caller,
            callee,
            id: id.to_owned(),
            options,
            offered: String::new(),
            is_answered: false,
            answered_at: (0, 0),
        }
    }

    fn ask(&self, client: &mut Client, command: &str, extra: &Value) -> Result<Value, String> {
        let mut request = self.options.clone();
        request.extend(extra.as_object().cloned().unwrap_or_default());
        request.insert("command".into(), json!(command));
        request.insert("call-id".into(), json!(self.id));
        let reply = client.ask(&Value::Object(request)).map_err(|error| format!("{command}: {error}"))?;
        match reply["result"].as_str() {
            Some("ok") => Ok(reply),
            _ => Err(format!("{command} of {}: {reply}", self.id)),
        }
    }

    /// The caller offers; with `restarts` it begins ICE anew.
    pub fn offer(&mut self, client: &mut Client, restarts: bool) -> Result<(), String> {
        let sdp = self.caller.offer(restarts);
        let mut tags = json!({"from-tag": "caller", "sdp": sdp});
        // Within a dialogue, a proxy knows both.
        if self.is_answered {
            tags["to-tag"] = json!("callee");
        }
        let reply = self.ask(client, "offer", &tags)?;
        self.offered = reply["sdp"].as_str().ok_or("an offer without description")?.to_owned();
        Ok(())
    }

    /// The callee answers.
    pub fn answer(&mut self, client: &mut Client) -> Result<(), String> {
        let sdp = self.callee.answer(&self.offered)?;
        let reply = self.ask(client, "answer", &json!({"from-tag": "caller", "to-tag": "callee", "sdp": sdp}))?;
        let answer = reply["sdp"].as_str().ok_or("an answer without description")?;
        self.answered_at = (self.caller.said, self.callee.said);
        self.is_answered = true;
        self.caller.accept(answer)
    }

    /// Offer and answer.
    pub fn place(&mut self, client: &mut Client) -> Result<(), String> {
        self.offer(client, false)?;
        self.answer(client)
    }

    /// What `query` tells.
    pub fn query(&self, client: &mut Client) -> Result<Value, String> {
        self.ask(client, "query", &Value::Null)
    }

    /// Hangs up.
    pub fn delete(&self, client: &mut Client) -> Result<(), String> {
        self.ask(client, "delete", &json!({"from-tag": "caller", "delete delay": 0})).map(drop)
    }

    pub fn is_ready(&self) -> bool {
        self.caller.is_ready() && self.callee.is_ready()
    }

    /// Lets it run for a short time, with one packet of each side if it `talks`.
    pub fn run_for(&mut self, time: Duration, talks: bool) {
        let start = Instant::now();
        if talks {
            self.caller.say();
            self.callee.say();
        }
        while start.elapsed() < time && !interrupted() {
            self.caller.poll();
            self.callee.poll();
            std::thread::sleep(TICK.min(time));
        }
    }

    /// What was said so far need not have arrived.
    pub fn forget_said(&mut self) {
        self.answered_at = (self.caller.said, self.callee.said);
        (self.caller.refused, self.callee.refused) = (0, 0);
    }

    /// Packets of either side that the other has not got.
    pub fn lost(&self) -> usize {
        self.callee.hearing.missing(self.answered_at.0, self.caller.said)
            + self.caller.hearing.missing(self.answered_at.1, self.callee.said)
    }

    /// Datagrams that neither side has sent, as the other got them.
    pub fn foreign(&self) -> usize {
        self.caller.hearing.strangers + self.callee.hearing.strangers
    }

    /// What a call under attack shall be: both sides talked, lost nothing, and heard nobody else.
    pub fn check_whole(&self) -> Result<(), String> {
        self.check_heard()?;
        let (caller, callee) = (&self.caller, &self.callee);
        let refused = caller.refused + callee.refused;
        let duplicates = caller.hearing.duplicates + callee.hearing.duplicates;
        match (self.foreign(), duplicates, refused) {
            (0, 0, 0) => Ok(()),
            (foreign, ..) => Err(format!(
                "{}: {foreign} foreign packets, {duplicates} twice, {refused} that could not be unprotected",
                self.id
            )),
        }
    }

    /// That both sides talked and lost nothing.
    pub fn check_heard(&self) -> Result<(), String> {
        let said = (self.caller.said, self.callee.said);
        match self.lost() {
            0 if said.0 > 0 && said.1 > 0 => Ok(()),
            lost => {
                let failures = [&self.caller.failures[..], &self.callee.failures].concat();
                Err(format!("{}: {lost} lost of {} and {} said; {failures:?}", self.id, said.0, said.1))
            }
        }
    }
}

/// Lets calls run for a time: everyone reads, and with `talks` says a packet each 20 ms; `meanwhile` is called with the
/// time that has gone by. What is under way at the end is waited for.
pub fn drive(calls: &mut [Call], time: Duration, talks: bool, meanwhile: &mut dyn FnMut(Duration)) {
    let start = Instant::now();
    let mut next_packet = Duration::ZERO;
    while start.elapsed() < time + SETTLING && !interrupted() {
        let elapsed = start.elapsed();
        calls.iter_mut().flat_map(|call| [&mut call.caller, &mut call.callee]).for_each(Peer::poll);
        if elapsed < time {
            if talks && elapsed >= next_packet {
                next_packet += PACKET_INTERVAL;
                calls.iter_mut().flat_map(|call| [&mut call.caller, &mut call.callee]).for_each(Peer::say);
            }
            meanwhile(elapsed);
        }
        std::thread::sleep(TICK);
    }
}

/// Lets calls run until all can send media, or the time is up; how many can.
pub fn connect(calls: &mut [Call], most: Duration, meanwhile: &mut dyn FnMut(Duration)) -> usize {
    let start = Instant::now();
    loop {
        calls.iter_mut().flat_map(|call| [&mut call.caller, &mut call.callee]).for_each(Peer::poll);
        let ready = calls.iter().filter(|call| call.is_ready()).count();
        if ready == calls.len() || start.elapsed() > most || interrupted() {
            return ready;
        }
        meanwhile(start.elapsed());
        std::thread::sleep(TICK);
    }
}
