//! Requests to the shards of their calls. What is about several calls first brings them to one shard.

use super::admission::Admission;
use super::shard_thread::{ShardHandle, Work};
use super::whereabouts::Whereabouts;
use crate::engine::Departure;
use crate::ng::{Command, Dictionary, Request, message};
use std::sync::Arc;

/// How many moves a request may ask for, while others move the same calls.
const MOST_MOVES: usize = 256;

/// What it takes to find the shard of a call.
pub(super) struct Dispatch {
    pub shards: Vec<ShardHandle>,
    pub whereabouts: Arc<Whereabouts>,
    pub admission: Arc<Admission>,
}

/// A request on its way to its shard.
pub(super) struct Errand<D> {
    pub request: Request,
    /// Names the client.
    pub from: String,
    /// Called with the reply on the shard's thread.
    pub deliver: D,
    moves: usize,
    /// Others move its calls too.
    is_contended: bool,
    /// A call that it is about does not exist: no need to look for it again.
    is_in_vain: bool,
}

impl<D: FnOnce(Dictionary) + Send + 'static> Errand<D> {
    pub(super) fn new(request: Request, from: String, deliver: D) -> Errand<D> {
        Errand { request, from, deliver, moves: 0, is_contended: false, is_in_vain: false }
    }

    /// The call on whose shard the request is worked off.
    fn call_id(&self) -> &str {
        let dialogue = &self.request.dialogue;
        let first = if self.request.command == Command::Mesh { dialogue.calls.first() } else { None };
        first.or(dialogue.call_id.as_ref()).map(String::as_str).unwrap_or_default()
    }

    /// The other calls that it is about.
    fn other_call_ids(&self) -> impl Iterator<Item = &String> {
        let dialogue = &self.request.dialogue;
        let (second, members) = match self.request.command {
            Command::Connect => (dialogue.to_call_id.as_ref().filter(|id| !id.is_empty()), &[][..]),
            Command::InjectStart => (dialogue.source_call_id.as_ref().filter(|id| !id.is_empty()), &[][..]),
            Command::Mesh => (None, dialogue.calls.as_slice()),
            _ => (None, &[][..]),
        };
        second.into_iter().chain(members)
    }

    fn call_ids(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.call_id()).chain(self.other_call_ids().map(String::as_str))
    }

    /// Has the request worked off where its calls are, however often they move meanwhile.
    pub(super) fn send(self, dispatch: &Arc<Dispatch>) {
        let home = self.home(dispatch);
        let is_elsewhere = |id: &&str| !self.is_in_vain && dispatch.whereabouts.of(id) != home;
        let other = self.call_ids().find(is_elsewhere).map(str::to_owned);
        if let Some(id) = other {
            return self.bring(id, home, dispatch);
        }
        let routes = dispatch.clone();
        dispatch.shards[home].run(Box::new(move |work: &mut Work| {
            let is_here = |id: &str| routes.whereabouts.is_at(id, home);
            match is_here(self.call_id()) && (self.is_in_vain || self.call_ids().all(is_here)) {
                true => self.work_off(work, &routes),
                false => Errand { is_contended: true, ..self }.send(&routes),
            }
        }));
    }

    /// The shard where the calls are to be: the first one's. Where others move them too, all take them to the lowest
    /// shard, lest they move them to and fro.
    fn home(&self, dispatch: &Dispatch) -> usize {
        let of_first = dispatch.whereabouts.of(self.call_id());
        match self.is_contended && !self.is_in_vain {
            true => self.call_ids().map(|id| dispatch.whereabouts.of(id)).min().unwrap_or(of_first),
            false => of_first,
        }
    }

    /// Has the call `id` brought to the shard `home`, and goes on from there.
    fn bring(mut self, id: String, home: usize, dispatch: &Arc<Dispatch>) {
        self.moves += 1;
        if self.moves > MOST_MOVES {
            return (self.deliver)(message::error_reply("The calls are being merged with others; try again"));
        }
        let there = dispatch.whereabouts.of(&id);
        let routes = dispatch.clone();
        dispatch.shards[there].run(Box::new(move |work: &mut Work| {
            if there == home || !routes.whereabouts.is_at(&id, there) {
                self.is_contended = true;
                return self.send(&routes);
            }
            match work.shard.depart(work.now, &id, work.lent.ports) {
                None => self.is_in_vain = true,
                Some(Err(reason)) => return (self.deliver)(message::error_reply(&reason.to_string())),
                Some(Ok(departure)) => carry(departure, home, &routes),
            }
            self.send(&routes);
        }));
    }

    fn work_off(self, work: &mut Work, dispatch: &Dispatch) {
        let is_new = self.request.command == Command::Offer && work.shard.call(self.call_id()).is_none();
        let refused = is_new.then(|| dispatch.admission.refuse(&self.request)).flatten();
        if let Some(refused) = refused {
            return (self.deliver)(refused);
        }
        (self.deliver)(work.shard.command(work.now, &self.request, &self.from, &mut work.lent));
    }
}

/// Takes a call that has left its shard to another.
fn carry(departure: Departure, to: usize, dispatch: &Arc<Dispatch>) {
    dispatch.whereabouts.depart(departure.ids(), to);
    let routes = dispatch.clone();
    dispatch.shards[to].run(Box::new(move |work: &mut Work| {
        routes.whereabouts.arrive(departure.ids(), to);
        work.shard.arrive(work.now, departure, work.lent.ports, work.lent.numbers);
    }));
}

#[cfg(test)]
mod tests;
