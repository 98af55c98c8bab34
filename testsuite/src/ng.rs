//! A small client of the NG control protocol over UDP: bencode or JSON, cookies, the same bytes again on silence.

mod bencode;

pub use bencode::{decode, encode};
use serde_json::Value;
use std::fmt;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What can go wrong with a request.
#[derive(Debug)]
pub enum Error {
    /// The socket failed.
    Io(io::Error),
    /// No reply after all tries.
    NoReply,
    /// The reply could not be read.
    BadReply(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io(error) => write!(f, "{error}"),
            Error::NoReply => f.write_str("no reply"),
            Error::BadReply(why) => write!(f, "unreadable reply: {why}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        Error::Io(error)
    }
}

/// How dictionaries are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Bencode,
    Json,
}

/// One control connection.
pub struct Client {
    socket: UdpSocket,
    encoding: Encoding,
    timeout: Duration,
    tries: u32,
}

impl Client {
    /// A client of the daemon at `to`, on a port of its own.
    pub fn connect(to: SocketAddr, encoding: Encoding) -> io::Result<Client> {
        let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any)?;
        socket.connect(to)?;
        Ok(Client::over(socket, encoding))
    }

    /// A client over a connected socket. Waits one second for each of five tries, as SIP servers do.
    pub fn over(socket: UdpSocket, encoding: Encoding) -> Client {
        Client { socket, encoding, timeout: Duration::from_secs(1), tries: 5 }
    }

    /// Waits `timeout` for each of `tries` tries from now on.
    pub fn patience(mut self, timeout: Duration, tries: u32) -> Client {
        self.timeout = timeout;
        self.tries = tries;
        self
    }

    /// Sends a request and gives the reply, whatever its `result`.
    pub fn ask(&mut self, request: &Value) -> Result<Value, Error> {
        let (cookie, datagram) = self.compose(request);
        self.exchange(&cookie, &datagram)
    }

    /// Sends a dictionary as it stands after `cookie`, and gives the reply, whatever its `result`.
    pub fn ask_as_is(&mut self, cookie: &str, dictionary: &[u8]) -> Result<Value, Error> {
        let datagram = [cookie.as_bytes(), b" ", dictionary].concat();
        self.exchange(cookie, &datagram)
    }

    fn exchange(&mut self, cookie: &str, datagram: &[u8]) -> Result<Value, Error> {
        for _ in 0..self.tries {
            self.socket.send(datagram)?;
            let deadline = Instant::now() + self.timeout;
            while let Some((got, reply)) = self.receive(deadline)? {
                if got == cookie {
                    return read(&reply).map_err(Error::BadReply);
                }
            }
        }
        Err(Error::NoReply)
    }

    /// Gives the datagram of a request and its cookie.
    fn compose(&self, request: &Value) -> (String, Vec<u8>) {
        let cookie = new_cookie();
        let mut datagram = format!("{cookie} ").into_bytes();
        match self.encoding {
            Encoding::Bencode => encode(request, &mut datagram),
            Encoding::Json => datagram.extend(request.to_string().into_bytes()),
        }
        (cookie, datagram)
    }

    /// The next reply before the deadline: its cookie and its dictionary, still encoded.
    fn receive(&self, deadline: Instant) -> Result<Option<(String, Vec<u8>)>, Error> {
        let mut buffer = vec![0; 65_536];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.socket.set_read_timeout(Some(left))?;
            match self.socket.recv(&mut buffer) {
                Ok(size) => {
                    let mut parts = buffer[..size].splitn(2, |byte| *byte == b' ');
                    let cookie = String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
                    return Ok(Some((cookie, parts.next().unwrap_or_default().to_vec())));
                }
                // A daemon that is just starting refuses; it may listen a moment later.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    std::thread::sleep(Duration::from_millis(10).min(left));
                    return Ok(None);
                }
                Err(error) if is_timeout(&error) => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// A cookie that no request of this process has had: daemons answer a repeated one from memory.
pub fn new_cookie() -> String {
    static SEQUENCE: AtomicU64 = AtomicU64::new(1);
    format!("{}_{}", std::process::id(), SEQUENCE.fetch_add(1, Ordering::Relaxed))
}

/// Reads a dictionary in either encoding.
pub fn read(bytes: &[u8]) -> Result<Value, String> {
    match bytes.first() {
        Some(b'd') => decode(bytes),
        Some(b'{') => serde_json::from_slice(bytes).map_err(|error| error.to_string()),
        _ => Err(format!("neither bencode nor JSON: {:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(60)]))),
    }
}

/// Whether the error says that the time was up.
pub fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
