//! NG messages of any transport: read, remembered, handed on, answered.

use super::access::Access;
use super::push::Push;
use super::reply_cache::{Admission, Deliver, ReplyCache};
use super::{CliReply, Reply, Service, cli};
use crate::base::time::{Mono, Now};
use crate::ng::message::{self, Message};
use crate::ng::request::Unbuilt;
use crate::ng::tally::Tallies;
use crate::ng::{Command, Defaults, Dictionary, Encoding, Request, Value};
use crate::wire::value::Malformed;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use tracing::{debug, error, info, warn};

/// All requests, of all transports: they share one memory of replies.
pub struct Requests {
    service: Arc<dyn Service>,
    clock: fn() -> Now,
    cache: Mutex<ReplyCache>,
    tallies: Mutex<Tallies>,
    defaults: RwLock<Arc<Defaults>>,
    trace: OnceLock<Trace>,
    /// Names of keys, flags and values that are not built, as far as they have been asked for.
    unbuilt: Mutex<BTreeSet<&'static str>>,
    access: Arc<Access>,
    push: Push,
}

/// Where a reply goes.
enum Way {
    /// To all who wait for the reply to this cookie.
    Cookie(Box<[u8]>),
    /// To the one who asked without a cookie.
    Direct(Deliver),
}

/// A message that somebody wants to see; `ping` is not shown.
#[derive(Debug, Clone, Copy)]
pub struct Traced<'a> {
    pub client: SocketAddr,
    pub is_reply: bool,
    pub call_id: &'a str,
    pub cookie: &'a [u8],
    /// Without the cookie. Keys are in it.
    pub document: &'a [u8],
}

/// Whoever wants to see messages. Must return at once.
pub type Trace = Box<dyn Fn(Traced) + Send + Sync>;

/// A request that is being worked off.
struct Work {
    requests: Arc<Requests>,
    way: Way,
    encoding: Encoding,
    client: SocketAddr,
    /// None when it could not be read.
    command: Option<Command>,
    call_id: String,
    since: Mono,
    /// Its error has been logged.
    is_logged: bool,
}

impl Requests {
    /// Hands requests to `service`; `clock` tells the time.
    pub fn new(service: Arc<dyn Service>, defaults: Defaults, clock: fn() -> Now) -> Arc<Requests> {
        Arc::new(Requests {
            service,
            clock,
            cache: Mutex::default(),
            tallies: Mutex::default(),
            defaults: RwLock::new(Arc::new(defaults)),
            trace: OnceLock::new(),
            unbuilt: Mutex::default(),
            access: Arc::default(),
            push: Push::default(),
        })
    }

    /// Replaces what applies to requests that say nothing themselves.
    pub fn set_defaults(&self, defaults: Defaults) {
        *self.defaults.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(defaults);
    }

    /// Says of each thing that is not built, when it is asked for the first time, what happens instead: a proxy's script
    /// asks for the same with every call.
    fn warn_of(&self, unbuilt: &[Unbuilt], call_id: &str) {
        for Unbuilt { name, instead } in unbuilt {
            if locked(&self.unbuilt).insert(name) {
                warn!(target: "control", call_id, "`{name}` (said once): {instead}");
            } else {
                debug!(target: "control", call_id, "`{name}`: {instead}");
            }
        }
    }

    /// What clients have asked for so far.
    pub fn tallies(&self) -> Tallies {
        locked(&self.tallies).clone()
    }

    /// Begins a new interval of the extremes of durations.
    pub fn forget_extremes(&self) {
        locked(&self.tallies).forget_extremes();
    }

    /// Shows every message to `trace` from now on; there is one such for good.
    pub fn set_trace(&self, trace: Trace) {
        let _ = self.trace.set(trace);
    }

    /// What stands behind the requests.
    pub fn service(&self) -> &Arc<dyn Service> {
        &self.service
    }

    /// Who may ask; transports look before they read.
    pub fn access(&self) -> &Arc<Access> {
        &self.access
    }

    /// The way to all who are connected.
    pub fn push(&self) -> &Push {
        &self.push
    }

    /// Works off a message with cookie. `deliver` is called with the reply, once, now or later and on any thread; or
    /// never, when the message deserves none.
    pub fn handle(self: &Arc<Self>, bytes: &[u8], client: SocketAddr, deliver: impl FnOnce(&[u8]) + Send + 'static) {
        let now = (self.clock)().mono;
        let Some(message) = Message::split(bytes) else {
            debug!(target: "control", "Message without cookie from {client} is dropped");
            return;
        };
        let admission = locked(&self.cache).admit(now, message.cookie, Box::new(deliver));
        match admission {
            Admission::New => self.start(now, Way::Cookie(message.cookie.into()), message.document, client),
            Admission::Answered(reply, deliver) => {
                debug!(target: "control", "Repeated message from {client} gets the same reply");
                deliver(&reply);
            }
            Admission::Waiting => debug!(target: "control", "Repeated message from {client} waits for the reply"),
            Admission::Overload => warn!(target: "control", "Too many requests in work; one from {client} is dropped"),
        }
    }

    /// Works off a document without cookie: it is worked off each time that it comes, and `deliver` is called once, now
    /// or later and on any thread. Who calls bounds how many are in work.
    pub fn handle_plain(
        self: &Arc<Self>,
        document: &[u8],
        client: SocketAddr,
        deliver: impl FnOnce(&[u8]) + Send + 'static,
    ) {
        self.start((self.clock)().mono, Way::Direct(Box::new(deliver)), document, client);
    }

    fn start(self: &Arc<Self>, now: Mono, way: Way, document: &[u8], client: SocketAddr) {
        let mut work = Work {
            requests: self.clone(),
            way,
            encoding: Encoding::Bencode,
            client,
            command: None,
            call_id: String::new(),
            since: now,
            is_logged: false,
        };
        let (encoding, dictionary) = match message::decode(document) {
            Ok(decoded) => decoded,
            Err(error) => {
                work.encoding = error.encoding;
                return work.fail(&error.error.to_string(), error.cause.as_ref());
            }
        };
        work.encoding = encoding;
        let defaults = self.defaults.read().unwrap_or_else(PoisonError::into_inner).clone();
        work.command = dictionary.get("command").and_then(Value::as_text).and_then(Command::from_name);
        if let Some(trace) = self.trace.get().filter(|_| work.command != Some(Command::Ping)) {
            let call_id = dictionary.get("call-id").and_then(Value::as_text).unwrap_or_default();
            let cookie: &[u8] = match &work.way {
                Way::Cookie(cookie) => cookie,
                Way::Direct(_) => &[],
            };
            trace(Traced { client, is_reply: false, call_id, cookie, document });
        }
        match Request::parse(&dictionary, encoding, &defaults) {
            Ok(request) => work.run(request),
            Err(error) => work.fail(&error.to_string(), None),
        }
    }
}

impl Work {
    fn run(mut self, request: Request) {
        self.call_id = request.dialogue.call_id.clone().unwrap_or_default();
        let command = request.command;
        if command == Command::Ping {
            debug!(target: "control", "Received 'ping' from {}", self.client);
            return self.finish(&Dictionary::new().with("result", "pong"));
        }
        info!(target: "control", call_id = self.call_id, "Received '{}' from {}", command.name(), self.client);
        for warning in &request.warnings {
            warn!(target: "control", call_id = self.call_id, "{warning} in '{}'", command.name());
        }
        self.requests.warn_of(&request.unbuilt, &self.call_id);
        let (service, client) = (self.requests.service.clone(), self.client);
        if command == Command::Cli {
            return self.run_cli(request.control.cli_line.as_deref());
        }
        service.request(request, client, Reply::new(move |reply| self.finish(&reply)));
    }

    fn run_cli(self, line: Option<&str>) {
        let Some(line) = line else { return self.fail("No 'body' in message", None) };
        let requests = self.requests.clone();
        let answer = |text: String| Dictionary::new().with("result", "ok").with("response", text);
        cli::run(&requests.service, line, CliReply::new(move |text| self.finish(&answer(text))));
    }

    fn fail(mut self, reason: &str, cause: Option<&Malformed>) {
        let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
        warn!(target: "control", call_id = self.call_id, "Request from {} fails: {reason}{cause}", self.client);
        self.is_logged = true;
        self.finish(&message::error_reply(reason));
    }

    /// Encodes the reply, remembers it and gives it to all who wait for it.
    fn finish(self, reply: &Dictionary) {
        let Work { requests, way, encoding, client, command, call_id, since, is_logged } = self;
        let now = (requests.clock)().mono;
        let duration = now.since(since);
        let is_error = reply.get("result").and_then(Value::as_text) == Some("error");
        locked(&requests.tallies).count(client.ip(), command, duration, is_error);
        let name = command.map_or("(unknown)", Command::name);
        if is_logged {
            // Once is enough.
        } else if is_error {
            let reason = reply.get("error-reason").and_then(Value::as_text).unwrap_or_default();
            info!(target: "control", call_id, "Replying to '{name}' from {client} with an error: {reason}");
        } else {
            debug!(target: "control", call_id, "Replying to '{name}' from {client} after {} us", duration.as_micros());
        }
        let trace = |cookie: &[u8], document: &[u8]| {
            if let Some(trace) = requests.trace.get().filter(|_| command != Some(Command::Ping)) {
                trace(Traced { client, is_reply: true, call_id: &call_id, cookie, document });
            }
        };
        match way {
            Way::Cookie(cookie) => {
                let bytes = message::encode_reply(&cookie, encoding, reply);
                trace(&cookie, bytes.get(cookie.len() + 1..).unwrap_or_default());
                let waiting = locked(&requests.cache).finish(now, &cookie, &bytes);
                waiting.into_iter().for_each(|deliver| deliver(&bytes));
            }
            Way::Direct(deliver) => {
                let bytes = message::encode(encoding, reply);
                trace(&[], &bytes);
                deliver(&bytes);
            }
        }
    }
}

/// Works off a message of so many bytes; a fault in that ends neither the listener nor the connection.
pub(super) fn guarded(bytes: usize, client: SocketAddr, work: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(work)).is_err() {
        error!(target: "control", "A message of {bytes} bytes from {client} made a fault");
    }
}

/// A thread that panicked while it held one of these locks left it in a usable state: each change is one step.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
