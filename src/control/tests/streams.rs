//! NG over TCP and over sockets in the file system.

use super::super::access::Rules;
use super::super::stream::StreamListener;
use super::*;
use crate::base::subnet::Subnet;
use tokio::net::UnixStream;

struct Streams {
    fake: Arc<Fake>,
    requests: Arc<Requests>,
    address: SocketAddr,
}

async fn streams() -> Streams {
    let fake = Arc::new(Fake::default());
    let requests = Requests::new(fake.clone(), Defaults::default(), clock::now);
    let listener = StreamListener::tcp("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_address().unwrap();
    tokio::spawn(listener.run(requests.clone()));
    Streams { fake, requests, address }
}

impl Streams {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// What comes back after `bytes`, until the daemon closes.
    async fn ask(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        rest(&mut stream).await
    }
}

async fn rest(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut answer = Vec::new();
    timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    text::decode(&answer).into_owned()
}

async fn exactly(stream: &mut (impl AsyncReadExt + Unpin), expected: &str) {
    let mut answer = vec![0; expected.len()];
    timeout(Duration::from_secs(5), stream.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(String::from_utf8_lossy(&answer), expected);
}

#[tokio::test]
async fn many_messages_on_one_connection() {
    let streams = streams().await;
    let mut stream = streams.connect().await;
    for number in 0..200 {
        stream.write_all(format!("{number}_a d7:command4:pinge").as_bytes()).await.unwrap();
        exactly(&mut stream, &format!("{number}_a d6:result4:ponge")).await;
    }
    let pipelined: String = (0..5000).map(|number| format!("p{number} d7:command4:pinge")).collect();
    let answers = streams.ask(pipelined.as_bytes()).await;
    assert_eq!(answers.matches("d6:result4:ponge").count(), 5000);
    assert_eq!(streams.ask(br#"1 {"command":"ping"}"#).await, r#"1 {"result":"pong"}"#);
}

#[tokio::test]
async fn a_message_may_come_in_pieces_and_be_large() {
    let streams = streams().await;
    let mut stream = streams.connect().await;
    for piece in ["d", "eaf d7:comm", "and5:query7:call-", "id3:a", "b", "ce"] {
        stream.write_all(piece.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    exactly(&mut stream, "deaf d6:result2:ok4:call3:abce").await;
    let large = format!("1 d7:command5:query7:call-id200000:{}e", "x".repeat(200_000));
    assert_eq!(streams.ask(large.as_bytes()).await.len(), "1 d6:result2:ok4:call200000:e".len() + 200_000);
    assert!(streams.ask(b"2 d7:command99999999:").await.contains("Could not decode bencode dictionary"));
}

#[tokio::test]
async fn replies_leave_when_they_are_there() {
    let streams = streams().await;
    let mut stream = streams.connect().await;
    stream.write_all(b"slow d7:command5:offere").await.unwrap();
    stream.write_all(b"fast d7:command4:pinge").await.unwrap();
    exactly(&mut stream, "fast d6:result4:ponge").await;
    let held = streams.fake.held.lock().unwrap().pop().unwrap();
    held.send(Dictionary::new().with("result", "ok"));
    exactly(&mut stream, "slow d6:result2:oke").await;
    // The same cookie over another connection gets the same reply.
    assert_eq!(streams.ask(b"slow d7:command4:pinge").await, "slow d6:result2:oke");
}

#[tokio::test]
async fn what_has_no_cookie_is_answered_without() {
    let streams = streams().await;
    let two = streams.ask(b"d7:command4:pinged7:call-id1:x7:command5:querye").await;
    assert_eq!(two, "d6:result4:ponged6:result2:ok4:call1:xe");
    let path = std::env::temp_dir().join(format!("millrace-ng-{}.sock", std::process::id()));
    drop(std::os::unix::net::UnixListener::bind(&path));
    let listener = StreamListener::unix(&path).expect("a socket that nobody listens at is replaced");
    assert!(StreamListener::unix(&path).is_err(), "one that somebody listens at is not");
    let served = tokio::spawn(listener.run(streams.requests.clone()));
    let mut stream = UnixStream::connect(&path).await.unwrap();
    stream.write_all(b"d7:command4:pinge").await.unwrap();
    exactly(&mut stream, "d6:result4:ponge").await;
    stream.write_all(b"1 d7:command4:pinge").await.unwrap();
    exactly(&mut stream, "1 d6:result4:ponge").await;
    served.abort();
    let _ = served.await;
    assert!(!path.exists());
}

#[tokio::test]
async fn what_cannot_be_read_ends_its_connection_alone() {
    let streams = streams().await;
    let mut good = streams.connect().await;
    for (hostile, reason) in [
        (b"a hello".to_vec(), "Invalid NG data format"),
        ([&b"b d1:a"[..], &b"d1:a".repeat(70_000)].concat(), "Could not decode bencode dictionary"),
        (b" d7:command4:pinge".to_vec(), "Invalid NG data format"),
        (vec![0xff; 100_000], "Invalid NG data format"),
        (b"c d7:commandi01xe".to_vec(), "Could not decode bencode dictionary"),
    ] {
        let mut stream = streams.connect().await;
        stream.write_all(&hostile).await.unwrap();
        let mut answer = vec![0; 300];
        let bytes = timeout(Duration::from_secs(5), stream.read(&mut answer)).await.unwrap().unwrap_or(0);
        assert!(String::from_utf8_lossy(&answer[..bytes]).contains(reason), "{reason}");
    }
    assert!(streams.ask(b"1 d7:command7:publishe").await.contains("Internal error"));
    good.write_all(b"2 d7:command4:pinge").await.unwrap();
    exactly(&mut good, "2 d6:result4:ponge").await;
}

#[tokio::test]
async fn notifications_reach_every_connection() {
    let streams = streams().await;
    let (mut one, mut two) = (streams.connect().await, streams.connect().await);
    for stream in [&mut one, &mut two] {
        stream.write_all(b"1 d7:command4:pinge").await.unwrap();
        exactly(stream, "1 d6:result4:ponge").await;
    }
    assert_eq!(streams.requests.push().send(&Dictionary::new().with("notify", "onDTMF")), 2);
    assert_eq!(streams.requests.push().send(&Dictionary::new().with("notify", "onDTMF")), 2);
    let mut cookies = std::collections::HashSet::new();
    for stream in [&mut one, &mut two] {
        for _ in 0..2 {
            let mut cookie = [0; 16];
            stream.read_exact(&mut cookie).await.unwrap();
            assert!(cookie.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
            cookies.insert(cookie);
            exactly(stream, " d6:notify6:onDTMFe").await;
        }
    }
    assert_eq!(cookies.len(), 2, "each notification has a cookie of its own");
}

#[tokio::test]
async fn only_those_who_may_are_served() {
    let bench = bench().await;
    let allowed = || vec![Subnet::parse("192.0.2.0/24").unwrap()];
    bench.requests.access().set(Rules { allowed: allowed(), token: None });
    bench.is_silent().await;
    let streams = streams().await;
    streams.requests.access().set(Rules { allowed: allowed(), token: None });
    assert_eq!(streams.ask(b"1 d7:command4:pinge").await, "1 d6:result4:ponge", "loopback may always");
}
