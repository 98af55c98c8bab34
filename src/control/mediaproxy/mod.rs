//! The line protocol of OpenSER's mediaproxy, over TCP. `protocol-docs/rtpproxy.md` says what of it there is.

mod line;

use super::access::Access;
use super::{Service, sdpless};
use crate::ng::{Dictionary, Value};
use line::{Command, Streams};
use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;
use tracing::{debug, warn};

/// The longest line, its end included.
const LONGEST_LINE_BYTES: u64 = 4096;
/// The clients that are served at the same time.
const CONNECTION_LIMIT: usize = 256;
/// How long a client may be silent, and take for its answer.
const CLIENT_PATIENCE: Duration = Duration::from_secs(60);
/// The calls that `status` tells of.
const MOST_CALLS: i64 = 10_000;

/// A bound listener.
#[derive(Debug)]
pub struct MediaproxyListener {
    listener: TcpListener,
    clients: Arc<Mutex<BTreeSet<SocketAddr>>>,
}

impl MediaproxyListener {
    /// Binds; the error names the address. Needs a tokio runtime.
    pub fn bind(address: SocketAddr) -> io::Result<MediaproxyListener> {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("cannot listen on TCP {address}: {error}"));
        let listener = super::accept::listen(address).map_err(named)?;
        Ok(MediaproxyListener { listener, clients: Arc::default() })
    }

    /// The address that the listener is bound to.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves clients until the task is dropped.
    pub async fn run(self, service: Arc<dyn Service>, access: Arc<Access>) {
        let places = Arc::new(Semaphore::new(CONNECTION_LIMIT));
        loop {
            let (stream, client) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(target: "control", "mediaproxy: cannot accept a connection: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            if !access.permits(client.ip()) {
                debug!(target: "control", "mediaproxy: {client} is refused: see control-allow");
                continue;
            }
            let Ok(place) = places.clone().try_acquire_owned() else {
                warn!(target: "control", "mediaproxy: too many connections; one from {client} is refused");
                continue;
            };
            let connection = Connection { client, clients: self.clients.clone(), service: service.clone() };
            connection.with_clients(|clients| clients.insert(client));
            tokio::spawn(async move {
                let _place = place;
                if let Err(error) = connection.serve(stream).await {
                    debug!(target: "control", "mediaproxy connection from {client}: {error}");
                }
            });
        }
    }
}

struct Connection {
    client: SocketAddr,
    clients: Arc<Mutex<BTreeSet<SocketAddr>>>,
    service: Arc<dyn Service>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.with_clients(|clients| clients.remove(&self.client));
    }
}

impl Connection {
    fn with_clients<T>(&self, act: impl FnOnce(&mut BTreeSet<SocketAddr>) -> T) -> T {
        act(&mut self.clients.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn serve(&self, stream: TcpStream) -> io::Result<()> {
        let mut stream = BufReader::new(stream);
        loop {
            let mut line = Vec::new();
            let mut input = (&mut stream).take(LONGEST_LINE_BYTES);
            timeout(CLIENT_PATIENCE, input.read_until(b'\n', &mut line)).await??;
            if line.last() != Some(&b'\n') {
                // The end of the input, or a line too long.
                return Ok(());
            }
            let line = String::from_utf8_lossy(&line);
            let answer = match line::parse(line.trim_end()) {
                Some(Command::Quit) => return Ok(()),
                Some(command) => self.work(command).await,
                None => {
                    warn!(target: "control", "mediaproxy: not understood, from {}: {:?}", self.client, line.trim_end());
                    "\n".to_owned()
                }
            };
            timeout(CLIENT_PATIENCE, stream.get_mut().write_all(answer.as_bytes())).await??;
        }
    }

    /// The answer, of one line or more.
    async fn work(&self, command: Command) -> String {
        match command {
            Command::Request(streams) => self.describe("offer", &streams).await,
            Command::Lookup(streams) => self.describe("answer", &streams).await,
            Command::Delete(call_id) => {
                let reply = self.ask(&sdpless::request("delete", &call_id)).await;
                if reply.get("warning").is_some() { "\n" } else { "0\n" }.to_owned()
            }
            Command::Status => {
                let reply = self.ask(&Dictionary::new().with("command", "list").with("limit", MOST_CALLS)).await;
                let Some(Value::List(calls)) = reply.get("calls") else { return "\n".to_owned() };
                let lines = calls.iter().filter_map(Value::as_text).map(|call_id| format!("session {call_id}\n"));
                format!("proxy {}\n", calls.len()) + &lines.collect::<String>()
            }
            Command::Version => concat!("millrace ", env!("CARGO_PKG_VERSION"), "\n").to_owned(),
            Command::Controls => {
                let clients = self.with_clients(|clients| clients.clone());
                clients.iter().map(|client| format!("{client}\n")).collect()
            }
            Command::Quit => String::new(),
        }
    }

    async fn describe(&self, command: &str, asked: &Streams) -> String {
        let mut request = sdpless::request(command, &asked.call_id);
        request.set("sdp", sdpless::body(&asked.streams)).set("from-tag", asked.from_tag.as_str());
        if !asked.to_tag.is_empty() {
            request.set("to-tag", asked.to_tag.as_str());
        }
        let flags = ["trust address"].into_iter().chain(asked.is_asymmetric.then_some("asymmetric"));
        request.set("flags", flags.collect::<Value>());
        let reply = self.ask(&request).await;
        match (sdpless::error(&reply), sdpless::shown(&reply)) {
            (None, Some((address, ports))) => {
                let ports: String = ports.iter().map(|port| format!(" {port}")).collect();
                format!("{address}{ports}\n")
            }
            (error, _) => {
                let why = error.unwrap_or("no address");
                warn!(target: "control", call_id = asked.call_id, "mediaproxy: {command} fails: {why}");
                "\n".to_owned()
            }
        }
    }

    async fn ask(&self, request: &Dictionary) -> Dictionary {
        let (sender, receiver) = oneshot::channel();
        sdpless::ask(&*self.service, request, self.client, |reply| drop(sender.send(reply.clone())));
        receiver.await.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
