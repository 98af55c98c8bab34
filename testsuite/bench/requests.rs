//! NG requests over four transports at once, while streams relay: how many replies are lost, and how long they take. Times
//! count from when a request was due, so that a client that is held up does not hide it.

use crate::compare::start_with;
use crate::control::Control;
use crate::load::{Endpoints, Load};
use futures_util::{SinkExt, StreamExt};
use millrace::ng::framing::{Frame, Framer};
use millrace_testsuite::daemon::Kind;
use millrace_testsuite::histogram::Histogram;
use millrace_testsuite::ports;
use millrace_testsuite::scratch::Scratch;
use millrace_testsuite::system::now_ns;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// Connections that take turns over HTTP.
const HTTP_CONNECTIONS: u64 = 16;
/// How often requests that are due are sent.
const TICK: Duration = Duration::from_millis(1);
/// How long after the last request a reply may still come.
const DRAIN: Duration = Duration::from_secs(2);
const WARM_UP: Duration = Duration::from_secs(1);
/// The longest that a reply may take at the 99th percentile.
const GOAL_NS: u64 = 20_000_000;

/// How much.
pub struct Plan {
    pub streams: usize,
    pub packets_a_second: u64,
    pub requests_a_second: u64,
    pub seconds: u64,
}

/// Runs the plan; whether every request was answered in time.
pub fn run(plan: &Plan) -> Result<bool, String> {
    let scratch = Scratch::make("requests")?;
    let endpoints = Endpoints::open().map_err(|error| error.to_string())?;
    let free = || ports::free_tcp().map_err(|error| error.to_string());
    let (tcp, http) = (free()?, free()?);
    let options = vec![format!("--listen-tcp-ng={tcp}"), format!("--listen-http={http}")];
    let daemon = start_with(Kind::Millrace, None, options, scratch.path())?;
    let places = Places { udp: daemon.control_address(), tcp, http };
    let interval = Duration::from_nanos(1_000_000_000 * plan.streams as u64 / plan.packets_a_second.max(1));
    let mut load = Load::new(&endpoints, interval);
    let calls = plan.streams / 2;
    Control::of(&daemon)?.open_calls(calls, &endpoints, &mut load)?;
    println!(
        "\n{} requests a second, half pings and half queries, over four transports for {} s, while {} streams carry {} packets \
         a second",
        plan.requests_a_second, plan.seconds, plan.streams, plan.packets_a_second
    );
    let begins = AtomicBool::new(false);
    let mut marks = Vec::new();
    let time = Duration::from_secs(plan.seconds);
    let (outcome, asked) = std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            while !begins.load(Ordering::Relaxed) {
                std::thread::sleep(TICK);
            }
            ask(plan, places, calls)
        });
        let outcome = load.run(WARM_UP, time + DRAIN, || {
            begins.store(true, Ordering::Relaxed);
            marks.push(daemon.cpu_time());
        });
        begins.store(true, Ordering::Relaxed);
        (outcome, asking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    let (outcome, asked) = (outcome.map_err(|error| error.to_string())?, asked.map_err(|error| error.to_string())?);
    let mut met = true;
    for (name, books) in &asked {
        met &= books.report(name);
    }
    println!("  {} of {} packets lost", outcome.lost(), outcome.sent);
    if let [Ok(before), Ok(after)] = marks.as_slice() {
        println!("  {:.2} of a core used by the daemon", (*after - *before).as_secs_f64() / outcome.wall.as_secs_f64());
    }
    if !outcome.kept_pace() {
        println!("  THE GENERATOR WAS THE BOTTLENECK: {} us late at p99", outcome.lateness.quantile_ns(0.99) / 1000);
    }
    println!("  {}", if met { "OK: every request answered in time" } else { "MISSED" });
    Ok(met)
}

/// Where the daemon listens.
#[derive(Clone, Copy)]
struct Places {
    udp: SocketAddr,
    tcp: SocketAddr,
    http: SocketAddr,
}

/// Requests by number, with when they were due.
#[derive(Default)]
struct Books {
    waiting: HashMap<u64, u64>,
    sent: u64,
    times: Histogram,
}

impl Books {
    fn reply(&mut self, message: &[u8]) {
        let number = std::str::from_utf8(message).ok().and_then(|text| text.split_once(' ')?.0.get(1..)?.parse().ok());
        if let Some(due) = number.and_then(|number: u64| self.waiting.remove(&number)) {
            self.times.add(now_ns().saturating_sub(due));
        }
    }

    fn report(&self, name: &str) -> bool {
        let ms = |quantile| self.times.quantile_ns(quantile) as f64 / 1e6;
        let lost = self.sent - self.times.count();
        println!(
            "  {name:10} {} requests, {lost} replies lost, p50 {:.2} ms, p99 {:.2} ms (goal: none, p99 < 20 ms)",
            self.sent,
            ms(0.5),
            ms(0.99)
        );
        self.sent > 0 && lost == 0 && self.times.quantile_ns(0.99) < GOAL_NS
    }

    fn merge(mut self, other: Books) -> Books {
        self.sent += other.sent;
        self.times.merge(&other.times);
        self
    }
}

/// When requests of one client are due.
struct Pace {
    start_ns: u64,
    interval_ns: u64,
    next: u64,
    count: u64,
}

impl Pace {
    fn new(a_second: u64, time: Duration) -> Pace {
        let count = a_second * time.as_secs();
        Pace { start_ns: now_ns(), interval_ns: 1_000_000_000 / a_second.max(1), next: 0, count }
    }

    fn due_ns(&self) -> u64 {
        self.start_ns + self.next * self.interval_ns
    }

    /// The next one's number, and when it was due; none when none is due.
    fn take(&mut self) -> Option<(u64, u64)> {
        let due = self.due_ns();
        (self.next < self.count && due <= now_ns()).then(|| {
            self.next += 1;
            (self.next - 1, due)
        })
    }

    fn is_over(&self, books: &Books) -> bool {
        let over = self.next >= self.count;
        over && (books.waiting.is_empty() || now_ns() > self.due_ns() + DRAIN.as_nanos() as u64)
    }
}

/// A ping or a query, with the client's letter and the number as cookie.
fn request(letter: char, number: u64, calls: usize) -> String {
    if number.is_multiple_of(2) || calls == 0 {
        return format!("{letter}{number} d7:command4:pinge");
    }
    let call_id = format!("bench-call-{}", number as usize % calls);
    format!("{letter}{number} d7:command5:query7:call-id{}:{call_id}e", call_id.len())
}

fn ask(plan: &Plan, at: Places, calls: usize) -> io::Result<[(&'static str, Books); 4]> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (rate, time) = (plan.requests_a_second / 4, Duration::from_secs(plan.seconds));
    runtime.block_on(async {
        let pace = || Pace::new(rate, time);
        let (udp, tcp, http, websocket) = tokio::join!(
            udp(at.udp, pace(), calls),
            tcp(at.tcp, pace(), calls),
            http(at.http, rate, time, calls),
            websocket(at.http, pace(), calls)
        );
        Ok([("UDP", udp?), ("TCP", tcp?), ("HTTP", http?), ("WebSocket", websocket?)])
    })
}

async fn udp(at: SocketAddr, mut pace: Pace, calls: usize) -> io::Result<Books> {
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    socket.connect(at).await?;
    let (mut books, mut buffer, mut tick) = (Books::default(), vec![0; 65_536], tokio::time::interval(TICK));
    while !pace.is_over(&books) {
        tokio::select! {
            _ = tick.tick() => while let Some((number, due)) = pace.take() {
                books.waiting.insert(number, due);
                books.sent += 1;
                socket.send(request('u', number, calls).as_bytes()).await?;
            },
            received = socket.recv(&mut buffer) => books.reply(&buffer[..received?]),
        }
    }
    Ok(books)
}

async fn tcp(at: SocketAddr, mut pace: Pace, calls: usize) -> io::Result<Books> {
    let stream = TcpStream::connect(at).await?;
    stream.set_nodelay(true)?;
    let (mut input, mut output) = stream.into_split();
    let (mut books, mut tick) = (Books::default(), tokio::time::interval(TICK));
    let (mut buffer, mut framer) = (Vec::with_capacity(65_536), Framer::default());
    while !pace.is_over(&books) {
        tokio::select! {
            _ = tick.tick() => {
                let mut bytes = String::new();
                while let Some((number, due)) = pace.take() {
                    books.waiting.insert(number, due);
                    books.sent += 1;
                    bytes.push_str(&request('t', number, calls));
                }
                output.write_all(bytes.as_bytes()).await?;
            }
            read = input.read_buf(&mut buffer) => {
                if read? == 0 {
                    break;
                }
                let mut start = 0;
                while let Frame::Message { bytes, .. } = framer.find(&buffer[start..]) {
                    books.reply(&buffer[start..start + bytes]);
                    start += bytes;
                }
                buffer.drain(..start);
            }
        }
    }
    Ok(books)
}

async fn websocket(at: SocketAddr, mut pace: Pace, calls: usize) -> io::Result<Books> {
    let mut request_head = format!("ws://{at}/").into_client_request().map_err(io::Error::other)?;
    let subprotocol = "ng.rtpengine.com".parse().map_err(io::Error::other)?;
    request_head.headers_mut().insert("sec-websocket-protocol", subprotocol);
    let (socket, _) = tokio_tungstenite::connect_async(request_head).await.map_err(io::Error::other)?;
    let (mut sink, mut stream) = socket.split();
    let (mut books, mut tick) = (Books::default(), tokio::time::interval(TICK));
    while !pace.is_over(&books) {
        tokio::select! {
            _ = tick.tick() => {
                while let Some((number, due)) = pace.take() {
                    books.waiting.insert(number, due);
                    books.sent += 1;
                    sink.feed(Message::text(request('w', number, calls))).await.map_err(io::Error::other)?;
                }
                sink.flush().await.map_err(io::Error::other)?;
            }
            message = stream.next() => match message {
                Some(message) => books.reply(&message.map_err(io::Error::other)?.into_data()),
                None => break,
            },
        }
    }
    Ok(books)
}

async fn http(at: SocketAddr, rate: u64, time: Duration, calls: usize) -> io::Result<Books> {
    let connections = (0..HTTP_CONNECTIONS).map(|number| {
        let mut pace = Pace::new(rate / HTTP_CONNECTIONS, time);
        pace.start_ns += number * pace.interval_ns / HTTP_CONNECTIONS;
        http_connection(at, number, pace, calls)
    });
    let mut all = Books::default();
    for books in futures_util::future::try_join_all(connections).await? {
        all = all.merge(books);
    }
    Ok(all)
}

/// One request after the other on a connection that is kept.
async fn http_connection(at: SocketAddr, connection: u64, mut pace: Pace, calls: usize) -> io::Result<Books> {
    let mut stream = TcpStream::connect(at).await?;
    stream.set_nodelay(true)?;
    let (mut books, mut buffer) = (Books::default(), Vec::new());
    while pace.next < pace.count {
        let Some((number, due)) = pace.take() else {
            tokio::time::sleep(Duration::from_nanos(pace.due_ns().saturating_sub(now_ns()))).await;
            continue;
        };
        let number = number * HTTP_CONNECTIONS + connection;
        books.waiting.insert(number, due);
        books.sent += 1;
        let body = request('h', number, calls);
        let head = format!(
            "POST /ng HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-rtpengine-ng\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).await?;
        buffer.clear();
        match timeout(DRAIN, response(&mut stream, &mut buffer)).await {
            Ok(start) => books.reply(&buffer[start?..]),
            Err(_) => break,
        }
    }
    Ok(books)
}

/// Reads a whole response; where its body begins.
async fn response(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<usize> {
    loop {
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let text = String::from_utf8_lossy(buffer);
        let Some((head, _)) = text.split_once("\r\n\r\n") else { continue };
        let head = head.to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
        let start = head.len() + 4;
        if buffer.len() >= start + length.unwrap_or(0) {
            return Ok(start);
        }
    }
}
