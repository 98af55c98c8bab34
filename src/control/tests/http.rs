//! HTTP, HTTPS and WebSocket.

use super::super::access::Rules;
use super::super::http::tls::Certificates;
use super::super::http::{HttpLimits, HttpListener};
use super::*;
use crate::base::secret::Secret;
use futures_util::{SinkExt, StreamExt};
use std::path::{Path, PathBuf};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

struct Site {
    fake: Arc<Fake>,
    requests: Arc<Requests>,
    address: SocketAddr,
}

const LIMITS: HttpLimits = HttpLimits { head_bytes: 8192, idle: Duration::from_secs(1) };

async fn site_with(certificates: Option<Arc<Certificates>>) -> Site {
    let fake = Arc::new(Fake::default());
    let requests = Requests::new(fake.clone(), Defaults::default(), clock::now);
    let listener = HttpListener::bind("127.0.0.1:0".parse().unwrap(), certificates, LIMITS).unwrap();
    let address = listener.local_address().unwrap();
    tokio::spawn(listener.run(requests.clone()));
    Site { fake, requests, address }
}

async fn site() -> Site {
    site_with(None).await
}

/// Reads until the other side closes.
async fn rest(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut answer = Vec::new();
    let _ = timeout(Duration::from_secs(8), stream.read_to_end(&mut answer)).await.expect("the connection ends");
    text::decode(&answer).into_owned()
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

impl Site {
    /// The whole response to a request, as it stands on the wire.
    async fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        rest(&mut stream).await
    }

    async fn get(&self, path: &str) -> String {
        self.ask("GET", path, "", "").await
    }

    async fn post(&self, path: &str, content_type: &str, body: &str) -> String {
        self.ask("POST", path, &format!("Content-Type: {content_type}\r\n"), body).await
    }

    async fn socket(&self, subprotocols: &str) -> Result<Socket, Error> {
        let mut request = format!("ws://{}/any/path", self.address).into_client_request().unwrap();
        if !subprotocols.is_empty() {
            request.headers_mut().insert("sec-websocket-protocol", subprotocols.parse().unwrap());
        }
        connect_async(request).await.map(|(socket, _)| socket)
    }
}

async fn say(socket: &mut Socket, message: Message) -> String {
    socket.send(message).await.unwrap();
    hear(socket).await
}

async fn hear(socket: &mut Socket) -> String {
    match timeout(Duration::from_secs(5), socket.next()).await.unwrap().unwrap().unwrap() {
        Message::Binary(bytes) => text::decode(&bytes).into_owned(),
        other => panic!("replies are binary, not {other:?}"),
    }
}

/// Status and body of a response.
fn parts(response: &str) -> (u16, &str) {
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or((response, ""));
    (head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0), body)
}

const NG: &str = "application/x-rtpengine-ng";

#[tokio::test]
async fn every_path() {
    let site = site().await;
    assert_eq!(parts(&site.get("/ping").await), (200, "pong\n"));
    assert_eq!(parts(&site.get("/metrics").await), (200, "metrics\n"));
    assert_eq!(parts(&site.get("/cli/list+sessions+a%40b").await), (200, "session a@b\n"));
    assert_eq!(parts(&site.post("/cli", "text/plain", "list sessions x").await), (200, "session x\n"));
    assert_eq!(parts(&site.get("/cli/list+totals").await).1.len(), 500_000);
    let ng = site.post("/ng", NG, "7 d7:command4:pinge").await;
    assert_eq!(parts(&ng), (200, "7 d6:result4:ponge"));
    assert!(ng.to_lowercase().contains("content-type: application/x-rtpengine-ng\r\n"));
    assert_eq!(
        parts(&site.post("/ng", NG, "8 x").await),
        (200, "8 d6:result5:error12:error-reason22:Invalid NG data formate")
    );
    assert_eq!(parts(&site.post("/ng", NG, "d7:command4:pinge").await), (600, "error"));
    let plain = site.post("/ng-plain", "application/JSON; charset=utf-8", r#"{"command":"ping"}"#).await;
    assert_eq!(parts(&plain), (200, r#"{"result":"pong"}"#));
    assert!(plain.to_lowercase().contains("content-type: application/json\r\n"));
    assert_eq!(parts(&site.post("/ng-plain", NG, "d7:command4:pinge").await), (200, "d6:result4:ponge"));
}

#[tokio::test]
async fn what_is_not_there() {
    let site = site().await;
    for response in [
        site.get("/").await,
        site.get("/nothing").await,
        site.get("/ng").await,
        site.post("/ping", "text/plain", "").await,
        site.post("/cli", "application/json", "list totals").await,
        site.post("/ng", "text/plain", "1 d7:command4:pinge").await,
        site.ask("POST", "/ng", "", "1 d7:command4:pinge").await,
        site.ask("DELETE", "/ng-plain", "", "").await,
    ] {
        assert_eq!(parts(&response), (404, "not found"));
        assert!(response.to_lowercase().contains("content-type: text/plain\r\n"), "{response}");
    }
}

#[tokio::test]
async fn pages_of_other_origins_may_ask() {
    let site = site().await;
    for response in [site.ask("OPTIONS", "/anything", "", "").await, site.get("/ping").await, site.get("/none").await] {
        let response = response.to_lowercase();
        for header in [
            "access-control-allow-origin: *\r\n",
            "access-control-max-age: 86400\r\n",
            "access-control-allow-methods: get, post\r\n",
            "access-control-allow-headers: content-type\r\n",
        ] {
            assert!(response.contains(header), "{header}: {response}");
        }
    }
    assert_eq!(parts(&site.ask("OPTIONS", "/anything", "", "").await), (200, ""));
}

#[tokio::test]
async fn connections_are_kept_for_more_requests() {
    let site = site().await;
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    for _ in 0..50 {
        stream.write_all(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"pong\n") {
            assert!(stream.read_buf(&mut answer).await.unwrap() > 0);
        }
    }
    let since = std::time::Instant::now();
    rest(&mut stream).await;
    assert!(since.elapsed() < Duration::from_secs(4), "an idle one is closed");
}

#[tokio::test]
async fn the_same_cookie_gets_the_same_reply_over_all_transports() {
    let site = site().await;
    let first = site.post("/ng", NG, "same d7:call-id1:a7:command5:querye").await;
    let again = site.post("/ng", NG, "same d7:call-id1:b7:command5:querye").await;
    assert_eq!(
        (parts(&first), parts(&again)),
        ((200, "same d6:result2:ok4:call1:ae"), (200, "same d6:result2:ok4:call1:ae"))
    );
    let mut socket = site.socket("ng.rtpengine.com").await.unwrap();
    assert_eq!(say(&mut socket, Message::text("same d7:command4:pinge")).await, "same d6:result2:ok4:call1:ae");
    site.post("/ng-plain", NG, "d7:call-id1:a7:command5:querye").await;
    site.post("/ng-plain", NG, "d7:call-id1:a7:command5:querye").await;
    assert_eq!(site.fake.seen.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn conversations() {
    let site = site().await;
    let mut echo = site.socket("echo.rtpengine.com").await.unwrap();
    assert_eq!(say(&mut echo, Message::text("hello")).await, "hello");
    assert_eq!(say(&mut echo, Message::binary(vec![b'x'; 200_000])).await.len(), 200_000);
    let mut cli = site.socket("foo, cli.rtpengine.com").await.unwrap();
    assert_eq!(say(&mut cli, Message::text("list sessions x")).await, "session x\n");
    assert_eq!(say(&mut cli, Message::binary("list fastpath")).await.len(), 500_000);
    assert!(say(&mut cli, Message::text("capture a")).await.contains("on the CLI port only"));
    let mut plain = site.socket("ng-plain.rtpengine.com").await.unwrap();
    assert_eq!(say(&mut plain, Message::text(r#"{"command":"ping"}"#)).await, r#"{"result":"pong"}"#);
    let mut ng = site.socket("ng.rtpengine.com").await.unwrap();
    ng.send(Message::text("slow d7:command5:offere")).await.unwrap();
    ng.send(Message::text("without")).await.unwrap();
    assert_eq!(say(&mut ng, Message::binary("fast d7:command4:pinge")).await, "fast d6:result4:ponge");
    site.fake.held.lock().unwrap().pop().unwrap().send(Dictionary::new().with("result", "ok"));
    assert_eq!(hear(&mut ng).await, "slow d6:result2:oke");
    for number in 0..1000 {
        ng.feed(Message::text(format!("w{number} d7:command4:pinge"))).await.unwrap();
    }
    ng.flush().await.unwrap();
    for _ in 0..1000 {
        assert!(hear(&mut ng).await.ends_with(" d6:result4:ponge"));
    }
    site.requests.push().send(&Dictionary::new().with("notify", "onDTMF"));
    assert!(hear(&mut ng).await[16..].starts_with(" d6:notify6:onDTMFe"));
    for refused in ["", "bogus.example.com", "janus-protocol"] {
        assert!(site.socket(refused).await.is_err(), "{refused}");
    }
}

#[tokio::test]
async fn a_token_where_one_is_wanted() {
    let site = site().await;
    site.requests.access().set(Rules { allowed: Vec::new(), token: Some(Secret::new(b"0123456789abcdef")) });
    assert_eq!(parts(&site.get("/ping").await).0, 200);
    let refused = site.get("/cli/list+totals").await;
    assert!(refused.starts_with("HTTP/1.1 401 ") && refused.to_lowercase().contains("www-authenticate: bearer\r\n"));
    let shown = |token: &str| format!("Authorization: Bearer {token}\r\n");
    assert_eq!(parts(&site.ask("GET", "/cli/list+sessions+a", &shown("0123456789abcdef"), "").await).0, 200);
    for wrong in ["0123456789abcdeg", "", "0123456789abcdef0"] {
        assert_eq!(parts(&site.ask("GET", "/cli/list+sessions+a", &shown(wrong), "").await).0, 401, "{wrong}");
    }
    let preflight = site.ask("OPTIONS", "/ng", "", "").await.to_lowercase();
    assert!(preflight.contains("access-control-allow-headers: content-type, authorization\r\n"));
    assert!(site.socket("ng.rtpengine.com").await.is_err());
    assert!(site.socket("ng.rtpengine.com, bearer.0123456789abcdeg").await.is_err());
    let mut socket = site.socket("ng.rtpengine.com, bearer.0123456789abcdef").await.unwrap();
    assert_eq!(say(&mut socket, Message::text("1 d7:command4:pinge")).await, "1 d6:result4:ponge");
}

#[tokio::test]
async fn an_answer_may_be_made_while_it_is_sent_and_ends_with_its_client() {
    let site = site().await;
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    stream.write_all(b"GET /cli/capture+a HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut begun = vec![0; 1000];
    stream.read_exact(&mut begun).await.unwrap();
    assert!(String::from_utf8_lossy(&begun).contains("more\n"));
    drop(stream);
    for _ in 0..500 {
        if site.fake.ended.load(Ordering::Relaxed) == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(site.fake.ended.load(Ordering::Relaxed), 1);
    assert!(site.get("/cli/list+fastpath").await.len() > 500_000);
}

#[tokio::test]
async fn hostile_clients_cost_their_own_connection() {
    let site = site().await;
    // Heads that drip, that never end, that are too large.
    let mut slow = TcpStream::connect(site.address).await.unwrap();
    slow.write_all(b"GET /ping HTTP/1.1\r\nHo").await.unwrap();
    let since = std::time::Instant::now();
    rest(&mut slow).await;
    assert!(since.elapsed() < Duration::from_secs(4));
    let headers = format!("X-Large: {}\r\n", "x".repeat(40_000));
    let response = site.ask("GET", "/ping", &headers, "").await;
    assert!(response.is_empty() || parts(&response).0 == 431, "{response}");
    // A body of a gigabyte is refused before it comes, one without a length when it is too long.
    let mut large = TcpStream::connect(site.address).await.unwrap();
    let head = format!("POST /ng HTTP/1.1\r\nHost: x\r\nContent-Type: {NG}\r\nContent-Length: 1000000000\r\n\r\n1 d");
    large.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(parts(&rest(&mut large).await).0, 413);
    let mut chunked = TcpStream::connect(site.address).await.unwrap();
    let head = format!("POST /ng HTTP/1.1\r\nHost: x\r\nContent-Type: {NG}\r\nTransfer-Encoding: chunked\r\n\r\n");
    chunked.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(65536));
    for _ in 0..6 {
        let _ = chunked.write_all(chunk.as_bytes()).await;
    }
    let mut status = [0; 12];
    chunked.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 413");
    // Frames that lie, text that is none.
    let mut bomb = site.socket("ng.rtpengine.com").await.unwrap();
    let MaybeTlsStream::Plain(stream) = bomb.get_mut() else { panic!() };
    stream.write_all(&[0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 1, 2, 3]).await.unwrap();
    assert!(!matches!(timeout(Duration::from_secs(5), bomb.next()).await.unwrap(), Some(Ok(Message::Binary(_)))));
    let mut bad = site.socket("ng.rtpengine.com").await.unwrap();
    let MaybeTlsStream::Plain(stream) = bad.get_mut() else { panic!() };
    stream.write_all(&[0x81, 0x82, 0, 0, 0, 0, 0xff, 0xfe]).await.unwrap();
    assert!(!matches!(timeout(Duration::from_secs(5), bad.next()).await.unwrap(), Some(Ok(Message::Binary(_)))));
    assert_eq!(parts(&site.get("/cli/%ff%00%zz").await).0, 200);
    assert_eq!(parts(&site.get("/ping").await), (200, "pong\n"));
}

struct Files(PathBuf);

impl Files {
    fn make(name: &str) -> Files {
        let folder = std::env::temp_dir().join(format!("millrace-tls-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Files(folder)
    }

    /// Writes a new certificate with its key behind it.
    fn renew(&self) -> PathBuf {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let path = self.0.join("both.pem");
        std::fs::write(&path, made.cert.pem() + &made.signing_key.serialize_pem()).unwrap();
        path
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Connects, trusting the certificate in the file alone.
async fn connect_securely(address: SocketAddr, trusted: &Path) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(trusted).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await.unwrap();
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
}

async fn ping(stream: &mut TlsStream<TcpStream>) {
    stream.write_all(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"pong\n") {
        assert!(stream.read_buf(&mut answer).await.unwrap() > 0);
    }
}

#[tokio::test]
async fn certificates_change_under_open_connections() {
    let files = Files::make("reload");
    let path = files.renew();
    let certificates = Certificates::load(&path, None).unwrap();
    let site = site_with(Some(certificates.clone())).await;
    let old = files.0.join("old.pem");
    std::fs::copy(&path, &old).unwrap();
    let mut open = connect_securely(site.address, &path).await.unwrap();
    ping(&mut open).await;
    // What can't be used leaves the old one in place.
    std::fs::write(&path, "no certificate").unwrap();
    certificates.reload();
    assert!(connect_securely(site.address, &old).await.is_ok());
    // A changed file is noticed.
    let watching = tokio::spawn(certificates.clone().watch());
    ping(&mut open).await;
    files.renew();
    let mut is_new = false;
    for _ in 0..50 {
        ping(&mut open).await;
        is_new = connect_securely(site.address, &path).await.is_ok();
        if is_new {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(is_new && connect_securely(site.address, &old).await.is_err());
    ping(&mut open).await;
    watching.abort();
    assert!(Certificates::load(&files.0.join("none.pem"), None).unwrap_err().to_string().contains("none.pem"));
}

#[tokio::test]
async fn garbage_instead_of_a_handshake() {
    let files = Files::make("garbage");
    let site = site_with(Some(Certificates::load(&files.renew(), None).unwrap())).await;
    for garbage in [&b"GET /ping HTTP/1.1\r\n\r\n"[..], &[0x16, 3, 1, 0xff, 0xff, 1, 0, 0], &[0xff; 5000]] {
        let mut stream = TcpStream::connect(site.address).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        let _ = stream.shutdown().await;
        rest(&mut stream).await;
    }
    ping(&mut connect_securely(site.address, &files.0.join("both.pem")).await.unwrap()).await;
}
