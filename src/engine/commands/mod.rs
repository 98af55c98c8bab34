//! Requests and their replies. The dispatcher only dispatches; each command has its function.

mod exchange;
pub(super) mod fragment;
mod list;
mod media;
mod merge;
mod pair;
mod query;
mod removal;
mod subscription;

pub use pair::{Pair, PairError, PairKey, PairSide};

use super::media_ports::EnginePorts;
use super::output::Output;
use super::shard::Shard;
use crate::base::random::Random;
use crate::base::time::Now;
use crate::call::{Call, PortNumbers};
use crate::negotiate::{Failure, Surroundings};
use crate::ng::request::network::Tos;
use crate::ng::{Command, Dictionary, Request, RequestError};
use crate::relay::Ports;

/// What is lent to the engine for one command.
pub struct Lent<'a> {
    pub ports: &'a mut dyn Ports,
    pub numbers: &'a mut dyn PortNumbers,
    pub random: &'a mut dyn Random,
}

/// Why a command fails; the text is the reply's `error-reason`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum CommandError {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error(transparent)]
    Negotiation(#[from] Failure),
    #[error("Unknown call-id")]
    UnknownCallId,
    #[error("Unknown call-ID")]
    UnknownCallIdOfMediaCommand,
    #[error("Unknown call-ID(s)")]
    UnknownCallIds,
    #[error("Unknown call ID(s)")]
    UnknownCallsOfMesh,
    #[error("Failed to merge two calls into one (tag collision)")]
    TagCollision,
    #[error("Failed to merge calls (tag collision)")]
    TagCollisionOfMesh,
    #[error("invalid limit, must be >= 0")]
    InvalidLimit,
    #[error("Call-ID not found or tags didn't match")]
    NothingToDelete,
    #[error("{0}")]
    NotBuilt(&'static str),
}

pub(super) type Reply = Result<Dictionary, CommandError>;

impl Shard {
    /// Works off a request that is about one call and returns its reply. `from` names the client.
    pub fn command(&mut self, now: Now, request: &Request, from: &str, lent: &mut Lent) -> Dictionary {
        self.current.clone_from(&request.dialogue.call_id);
        if let Some(index) = self.current.as_ref().and_then(|id| self.by_id.get(id)) {
            self.count_ways(now, *index);
        }
        let outcome = self.dispatch(now, request, from, lent);
        self.heed_ways(now);
        self.current = None;
        match outcome {
            Ok(reply) if request.command == Command::Ping => reply.with("result", "pong"),
            Ok(reply) => reply.with("result", "ok"),
            Err(error) => self.failed(now, request, &error, lent),
        }
    }

    fn dispatch(&mut self, now: Now, request: &Request, from: &str, lent: &mut Lent) -> Reply {
        match request.command {
            Command::Ping => Ok(Dictionary::new()),
            Command::List => self.list(request),
            Command::Offer => self.offer(now, request, from, lent),
            Command::Answer => self.answer(now, request, lent),
            Command::Delete => self.delete(now, request, lent),
            Command::Query => self.query(request),
            Command::Publish => self.publish(now, request, from, lent),
            Command::SubscribeRequest => self.subscribe_request(now, request, lent),
            Command::SubscribeAnswer => self.subscribe_answer(now, request, lent),
            Command::Unsubscribe => self.unsubscribe(now, request, lent),
            Command::BlockMedia => self.set_media_block(now, request, true),
            Command::UnblockMedia => self.set_media_block(now, request, false),
            Command::BlockDtmf => self.set_dtmf_block(now, request, true),
            Command::UnblockDtmf => self.set_dtmf_block(now, request, false),
            Command::SilenceMedia => self.set_silence(now, request, true),
            Command::UnsilenceMedia => self.set_silence(now, request, false),
            Command::StartForwarding | Command::StopForwarding => self.forwarding(request),
            Command::StartRecording | Command::StopRecording | Command::PauseRecording => self.recording(request),
            Command::PlayMedia | Command::StopMedia | Command::PlayDtmf => self.playback(request),
            Command::Connect => self.connect(now, request, lent),
            Command::Mesh => self.mesh(now, request, lent),
            Command::InjectStart => self.inject_start(now, request, lent),
            Command::InjectStop => self.inject_stop(now, request, lent),
            Command::Create => self.create(now, request, from, lent),
            Command::CreateAnswer => self.create_answer(now, request, lent),
            _ => Err(CommandError::NotBuilt("Command not supported yet")),
        }
    }

    /// The reply to a failed request. Running out of ports ends the call: half a call helps nobody.
    fn failed(&mut self, now: Now, request: &Request, error: &CommandError, lent: &mut Lent) -> Dictionary {
        let call_id = request.dialogue.call_id.clone().unwrap_or_default();
        let mut reply = Dictionary::new();
        match error {
            CommandError::Negotiation(Failure::NothingToShow) => {
                reply.set("sdp", "");
            }
            CommandError::Negotiation(Failure::NoPorts(cause)) => {
                self.outputs.push(Output::Warning { call_id: call_id.clone(), text: cause.to_string() });
                if let Some(index) = self.by_id.get(&call_id) {
                    let (index, forced) = (*index, crate::call::lifecycle::Termination::Forced);
                    self.end_call(now, index, forced, lent.ports, lent.numbers);
                }
            }
            CommandError::Negotiation(Failure::MalformedSdp(cause)) => {
                self.outputs.push(Output::Warning { call_id, text: format!("SDP: {cause}") });
            }
            _ => {}
        }
        reply.with("result", "error").with("error-reason", error.to_string())
    }

    /// The index of a known call.
    fn known(&self, request: &Request, unknown: CommandError) -> Result<usize, CommandError> {
        self.by_id.get(request.call_id()?).copied().ok_or(unknown)
    }

    /// The index of the request's call, and whether it was made because it is new.
    fn known_or_new(&mut self, now: Now, call_id: &str, from: &str) -> (usize, bool) {
        if let Some(index) = self.by_id.get(call_id) {
            return (*index, false);
        }
        let index = self.calls.insert(Call::new(call_id, now, from));
        self.calls[index].tos = self.settings.tos;
        self.calls[index].tells_digits = self.settings.tells_digits;
        self.by_id.insert(call_id.to_owned(), index);
        self.outputs.push(Output::Created { call_id: call_id.to_owned(), created_from: from.to_owned() });
        (index, true)
    }

    /// Takes back a call that the command under way has made: it never was.
    fn forget_call(&mut self, now: Now, index: usize, lent: &mut Lent) {
        let mut call = self.calls.remove(index);
        self.by_id.remove(&call.id);
        self.close_medias(now, index, call.take_medias(), lent.ports, lent.numbers);
        self.outputs.retain(|output| !matches!(output, Output::Created { call_id, .. } if *call_id == call.id));
    }

    /// Notes that signalling has reached a call, and what it says of the call as a whole.
    fn signal(&mut self, now: Now, index: usize, request: &Request, lent: &mut Lent) {
        let call = &mut self.calls[index];
        call.last_signal = now;
        call.delete_at = None;
        let tos = tos(call.tos, request);
        if tos != call.tos {
            call.tos = tos;
            let sets = call.medias().flat_map(|(_, media)| &media.port_sets);
            for port in sets.flat_map(|set| set.ports()) {
                lent.ports.set_tos(port.token, tos.unwrap_or_default());
            }
        }
        if let Some(drops) = request.rtp.drop_traffic {
            call.drops_traffic = drops;
        }
        if request.dtmf.log_destination.is_some() {
            call.tells_digits = true;
            call.digit_destination = request.dtmf.log_destination;
        }
        if request.sdp.xmlrpc_callback.is_some() {
            call.callback_address = request.sdp.xmlrpc_callback;
        }
        if request.dialogue.metadata.is_some() {
            call.metadata.clone_from(&request.dialogue.metadata);
        }
    }

    /// Runs a negotiation on a call, notes the signalling where it succeeds, and hands the new plans to the packet
    /// path.
    fn negotiate<T>(
        &mut self,
        now: Now,
        index: usize,
        request: &Request,
        lent: &mut Lent,
        run: impl FnOnce(&mut Call, &mut Surroundings) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut ports = EnginePorts {
            relay: &mut self.relay,
            ports: lent.ports,
            numbers: lent.numbers,
            interfaces: &self.settings.interfaces,
            now,
            owner_call: index as u32,
            tos: tos(self.calls[index].tos, request),
        };
        let mut around = Surroundings {
            interfaces: &self.settings.interfaces,
            ports: &mut ports,
            random: lent.random,
            now,
            learning: self.settings.learning,
            instance_id: &self.settings.instance_id,
            fingerprints: &self.settings.fingerprints,
            software: &self.settings.software,
        };
        let outcome = run(&mut self.calls[index], &mut around);
        if !self.waiting.is_empty() {
            self.apply_waiting(index);
        }
        if outcome.is_ok() {
            self.signal(now, index, request, lent);
        }
        self.replan(now, index);
        outcome
    }
}

/// The type-of-service octet of a call that had `present`, after `request`.
fn tos(present: Option<u8>, request: &Request) -> Option<u8> {
    match request.network.tos {
        Tos::Octet(octet) => Some(octet),
        Tos::Untouched => None,
        Tos::Configured => present,
    }
}
