//! Control protocols over real sockets, in front of a service that the tests make up.

mod http;
mod streams;

use super::access::Access;
use super::cli::{CliListener, Sessions};
use super::request::Requests;
use super::udp::{Datagrams, LARGEST_DATAGRAM_BYTES, UdpListener};
use super::*;
use crate::base::text;
use crate::io::clock;
use crate::io::control_socket::PathMtu;
use crate::ng::{Command, Defaults};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// Answers `query` with its call-id, holds `offer` back until told, drops `delete`, panics at `publish`.
#[derive(Default)]
struct Fake {
    seen: Mutex<Vec<Command>>,
    held: Mutex<Vec<Reply>>,
    /// Answers that went on until their client sent no more, or was gone.
    ended: Arc<AtomicUsize>,
}

/// Answers with parts that end by themselves.
async fn count_parts(writer: CliWriter) {
    for number in 0..20 {
        writer.parts.send(format!("{number} ").repeat(10_000).into_bytes()).await.unwrap();
    }
}

/// Answers until the client wants no more.
async fn repeat(writer: CliWriter, ended: Arc<AtomicUsize>) {
    let CliWriter { parts, mut stop } = writer;
    loop {
        tokio::select! {
            _ = &mut stop => break,
            sent = parts.send(b"more\n".to_vec()) => if sent.is_err() { break },
        }
    }
    // The client may be gone.
    let _ = parts.send(b"over\n".to_vec()).await;
    ended.fetch_add(1, Ordering::Relaxed);
}

impl Service for Fake {
    fn request(&self, request: Request, _: SocketAddr, reply: Reply) {
        self.seen.lock().unwrap().push(request.command);
        match request.command {
            Command::Query => {
                let call_id = request.call_id().unwrap_or_default().to_owned();
                reply.send(Dictionary::new().with("result", "ok").with("call", call_id));
            }
            Command::Offer => self.held.lock().unwrap().push(reply),
            Command::Publish => panic!("a fault in the service"),
            _ => drop(reply),
        }
    }

    fn cli(&self, command: CliCommand, reply: CliReply) {
        match command {
            CliCommand::ListSessions(Sessions::Call(id)) => reply.send(format!("session {id}\n")),
            CliCommand::ListTotals => reply.send("x".repeat(500_000)),
            CliCommand::ListFastPath(_) => {
                reply.begin(false).into_iter().for_each(|writer| drop(tokio::spawn(count_parts(writer))));
            }
            CliCommand::Capture { .. } => {
                let ended = &self.ended;
                reply.begin(true).into_iter().for_each(|writer| drop(tokio::spawn(repeat(writer, ended.clone()))));
            }
            _ => drop(reply),
        }
    }

    fn metrics(&self, reply: CliReply) {
        reply.send("metrics\n".to_owned());
    }
}

struct Bench {
    fake: Arc<Fake>,
    requests: Arc<Requests>,
    client: UdpSocket,
    cli: SocketAddr,
}

/// Works off messages for as long as the test lives.
fn serve(udp: UdpListener, requests: Weak<Requests>) {
    std::thread::spawn(move || {
        let mut buffer = vec![0; LARGEST_DATAGRAM_BYTES];
        while let Some(requests) = requests.upgrade() {
            let requests: Arc<dyn Datagrams> = requests;
            udp.work_off(&requests, &Access::default(), &mut buffer);
            std::thread::sleep(Duration::from_millis(1));
        }
    });
}

async fn bench() -> Bench {
    let fake = Arc::new(Fake::default());
    let requests = Requests::new(fake.clone(), Defaults::default(), clock::now);
    let udp = UdpListener::bind("127.0.0.1:0".parse().unwrap(), PathMtu::System).unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.connect(udp.local_address().unwrap()).await.unwrap();
    let cli = CliListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = cli.local_address().unwrap();
    serve(udp, Arc::downgrade(&requests));
    tokio::spawn(cli.run(requests.clone()));
    Bench { fake, requests, client, cli: address }
}

impl Bench {
    async fn send(&self, datagram: &[u8]) {
        self.client.send(datagram).await.unwrap();
    }

    async fn receive(&self) -> String {
        let mut buffer = vec![0; 65535];
        let bytes = timeout(Duration::from_secs(5), self.client.recv(&mut buffer)).await.unwrap().unwrap();
        text::decode(&buffer[..bytes]).into_owned()
    }

    async fn ask(&self, datagram: &[u8]) -> String {
        self.send(datagram).await;
        self.receive().await
    }

    /// Nothing is answered before a ping that is sent now.
    async fn is_silent(&self) {
        assert_eq!(self.ask(b"silent {\"command\":\"ping\"}").await, "silent {\"result\":\"pong\"}");
    }

    async fn cli(&self, line: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.cli).await.unwrap();
        stream.write_all(line).await.unwrap();
        let mut answer = String::new();
        timeout(Duration::from_secs(5), stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        answer
    }
}

#[tokio::test]
async fn replies_have_the_request_s_cookie_and_format() {
    let bench = bench().await;
    assert_eq!(bench.ask(b"1 d7:command4:pinge").await, "1 d6:result4:ponge");
    assert_eq!(bench.ask(br#"2 {"command":"query","call-id":"c"}"#).await, r#"2 {"result":"ok","call":"c"}"#);
    assert_eq!(bench.ask(b"3 d7:call-id2:\xff\x007:command5:querye").await, "3 d6:result2:ok4:call2:\u{1000ff}\0e");
    let unknown = bench.ask(b"4 d7:command5:Offere").await;
    assert_eq!(unknown, "4 d6:result5:error12:error-reason20:Unrecognized commande");
    assert_eq!(bench.ask(b"5 d7:command6:deletee").await, "5 d6:result5:error12:error-reason14:Internal errore");
}

#[tokio::test]
async fn hostile_messages_get_an_error_or_silence() {
    let bench = bench().await;
    bench.send(b"nocookie").await;
    bench.send(b" d7:command4:pinge").await;
    bench.send(b"").await;
    bench.is_silent().await;
    let hostile: [(Vec<u8>, &str); 6] = [
        ([&b"a "[..], &b"l".repeat(60_000)].concat(), "Invalid NG data format"),
        ([&b"b "[..], &b"d1:a".repeat(15_000)].concat(), "Could not decode bencode dictionary"),
        ([&b"c "[..], &b"{\"a\":".repeat(12_000)].concat(), "Failed to parse JSON document"),
        (b"d {\"command\":\"ping\"".to_vec(), "Failed to parse JSON document"),
        ([&b"e "[..], &[0xff; 65_000]].concat(), "Invalid NG data format"),
        (b"f ".to_vec(), "Invalid data (no payload)"),
    ];
    for (datagram, reason) in hostile {
        assert!(bench.ask(&datagram).await.contains(reason), "{reason}");
    }
    bench.is_silent().await;
}

#[tokio::test]
async fn a_repeated_request_is_worked_off_once() {
    let bench = bench().await;
    let offer = br#"same {"command":"offer","call-id":"c"}"#;
    bench.send(offer).await;
    bench.send(offer).await;
    bench.is_silent().await;
    let held = bench.fake.held.lock().unwrap().pop().unwrap();
    held.send(Dictionary::new().with("result", "ok"));
    assert_eq!(
        (bench.receive().await, bench.receive().await),
        ("same {\"result\":\"ok\"}".into(), "same {\"result\":\"ok\"}".into())
    );
    assert_eq!(bench.ask(b"same d7:command4:pinge").await, "same {\"result\":\"ok\"}", "the cookie alone counts");
    assert_eq!(*bench.fake.seen.lock().unwrap(), [Command::Offer]);
    let error = bench.ask(b"bad x").await;
    assert_eq!(bench.ask(b"bad d7:command4:pinge").await, error, "errors are kept too");
}

#[tokio::test]
async fn a_fault_in_the_service_costs_one_request() {
    let bench = bench().await;
    assert!(bench.ask(b"1 d7:command7:publishe").await.contains("Internal error"));
    bench.is_silent().await;
}

#[tokio::test]
async fn requests_are_counted_by_client() {
    let bench = bench().await;
    bench.ask(b"1 d7:command4:pinge").await;
    bench.ask(b"1 d7:command4:pinge").await;
    bench.ask(b"2 d7:command6:deletee").await;
    bench.ask(b"3 x").await;
    let tallies = bench.requests.tallies();
    let total = tallies.total();
    assert_eq!((total.counts[Command::Ping.index()], total.counts[Command::Delete.index()], total.errors), (1, 1, 2));
    assert_eq!(tallies.clients().map(|row| row.0.to_string()).collect::<Vec<_>>(), ["127.0.0.1"]);
}

#[tokio::test]
async fn many_clients_at_once() {
    let bench = bench().await;
    for number in 0..500 {
        bench.send(format!("{number} d7:command4:pinge").as_bytes()).await;
        assert!(bench.receive().await.starts_with(&format!("{number} ")));
    }
}

#[tokio::test]
async fn command_lines() {
    let bench = bench().await;
    assert_eq!(bench.cli(b"list sessions a@b\n").await, "session a@b\n");
    assert_eq!(bench.cli(b"bogus\r\nlist totals\n").await, "Unknown command: bogus\n");
    assert_eq!(bench.cli(b"list totals\n").await.len(), 500_000);
    assert_eq!(bench.cli(b"list numsessions\n").await, "Internal error\n");
    assert!(bench.cli(&[b'x'; 5000]).await.starts_with("The line is longer"));
    assert!(bench.cli(&[&[b'x'; 1023][..], b"\n"].concat()).await.starts_with("Unknown command: xxx"));
    assert!(bench.cli(b"\xff\0\x01\n").await.starts_with("Unknown command: "));
    let over_ng = bench.ask(br#"1 {"command":"CLI","body":"list sessions x"}"#).await;
    assert_eq!(over_ng, "1 {\"result\":\"ok\",\"response\":\"session x\\n\"}");
    assert!(bench.ask(br#"2 {"command":"cli"}"#).await.contains("No 'body' in message"));
}

#[tokio::test]
async fn idle_connections_have_an_end() {
    let bench = bench().await;
    let mut idle = Vec::new();
    for _ in 0..64 {
        idle.push(TcpStream::connect(bench.cli).await.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(bench.cli(b"").await, "Too many connections.\n");
    drop(idle);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(bench.cli(b"list sessions y\n").await, "session y\n");
}

#[tokio::test]
async fn an_answer_may_be_made_while_it_is_sent() {
    let bench = bench().await;
    let numbers = (0..20).map(|number| format!("{number} ").repeat(10_000)).collect::<String>();
    assert_eq!(bench.cli(b"list fastpath\n").await, numbers);
    // A client that sends no more gets the end of an answer that waits for that; one that is gone ends it too.
    let mut stream = TcpStream::connect(bench.cli).await.unwrap();
    stream.write_all(b"capture a\n").await.unwrap();
    let mut begun = [0; 5];
    stream.read_exact(&mut begun).await.unwrap();
    assert_eq!(&begun, b"more\n");
    stream.shutdown().await.unwrap();
    let mut rest = String::new();
    timeout(Duration::from_secs(5), stream.read_to_string(&mut rest)).await.unwrap().unwrap();
    assert!(rest.ends_with("more\nover\n") || rest == "over\n", "{}", rest.len());
    let mut gone = TcpStream::connect(bench.cli).await.unwrap();
    gone.write_all(b"capture a\n").await.unwrap();
    gone.read_exact(&mut begun).await.unwrap();
    drop(gone);
    for _ in 0..500 {
        if bench.fake.ended.load(Ordering::Relaxed) == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(bench.fake.ended.load(Ordering::Relaxed), 2);
    // NG has no room for it.
    let refused = bench.ask(br#"1 {"command":"cli","body":"list fastpath"}"#).await;
    assert!(refused.contains("answered on the CLI port only"), "{refused}");
}
