//! The exchanges as they were seen, over real sockets, in front of a service that the tests make up.

use super::*;
use crate::control::access::Access;
use crate::control::udp::{LARGEST_DATAGRAM_BYTES, UdpListener};
use crate::io::clock;
use crate::io::control_socket::PathMtu;
use std::sync::Weak;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UdpSocket, UnixStream};
use tokio::time::timeout;

/// Takes everything but the call `full`; loses the reply for `lost`.
#[derive(Default)]
struct Fake {
    put: Mutex<Vec<Pair>>,
    ended: Mutex<Vec<PairKey>>,
}

impl Pairs for Fake {
    fn put(&self, pair: Pair, _: String, reply: PairReply) {
        match pair.call_id.as_str() {
            "full" => return reply.send(Err(PairError::TooManyCalls)),
            "lost" => return,
            _ => {}
        }
        self.put.lock().unwrap().push(pair);
        reply.send(Ok(()));
    }

    fn end(&self, key: PairKey, reply: PairReply) {
        self.ended.lock().unwrap().push(key);
        reply.send(Ok(()));
    }
}

struct Bench {
    fake: Arc<Fake>,
    front: Arc<LrkFront>,
    client: UdpSocket,
}

/// Works off messages for as long as the test lives.
fn serve(udp: UdpListener, front: Weak<LrkFront>) {
    std::thread::spawn(move || {
        let mut buffer = vec![0; LARGEST_DATAGRAM_BYTES];
        while let Some(front) = front.upgrade() {
            let front: Arc<dyn Datagrams> = front;
            udp.work_off(&front, &Access::default(), &mut buffer);
            std::thread::sleep(Duration::from_millis(1));
        }
    });
}

async fn bench(listen: &str) -> Bench {
    let fake = Arc::new(Fake::default());
    let advice = Advice::new((20_000, 30_006), "10.90.1.1".parse().unwrap(), "10.90.2.1".parse().unwrap());
    let front = LrkFront::new(fake.clone(), advice, clock::now);
    let udp = UdpListener::bind(listen.parse().unwrap(), PathMtu::System).unwrap();
    let client = UdpSocket::bind(listen).await.unwrap();
    client.connect(udp.local_address().unwrap()).await.unwrap();
    serve(udp, Arc::downgrade(&front));
    Bench { fake, front, client }
}

impl Bench {
    async fn send(&self, request: &str) {
        self.client.send(request.as_bytes()).await.unwrap();
    }

    async fn ask(&self, request: &str) -> Vec<u8> {
        self.send(request).await;
        let mut buffer = vec![0; 1024];
        let bytes = timeout(Duration::from_secs(5), self.client.recv(&mut buffer)).await.unwrap().unwrap();
        buffer[..bytes].to_vec()
    }

    /// Nothing is answered before a ping that is sent now.
    async fn is_silent(&self) {
        assert_eq!(self.ask("silent P").await, b"silent P PONG");
    }
}

const CALL: &str = "S 10.90.1.2 10.90.2.1 10.90.1.1 10.90.2.2 6000 20000 20002 7000 60 1-31830@10.90.1.2 ";

#[tokio::test]
async fn the_seen_exchanges() {
    for listen in ["127.0.0.1:0", "[::1]:0"] {
        let bench = bench(listen).await;
        assert_eq!(bench.ask("31265_0 P").await, b"31265_0 P PONG");
        let configuration = bench.ask("31265_1 G").await;
        let (head, numbers, addresses) = (&configuration[..10], &configuration[10..22], &configuration[22..]);
        assert_eq!(head, b"31265_1 G ");
        assert_eq!(numbers, [0x4e20_i32, 0x7530, 0x4e20].map(i32::to_ne_bytes).concat());
        assert_eq!(addresses, b"10.90.1.1\0\0\0\0\0\0\0\0\0\0\x0010.90.2.1\0\0\0\0\0\0\0\0\0\0\0");
        let put = format!("31270_2 {CALL}");
        let reply = bench.ask(&put).await;
        assert_eq!((put.len(), reply.len()), (93, 95));
        assert_eq!(reply, format!("{put}OK").as_bytes());
        let put = format!("-1663290291_1303767063 {CALL}").replace("20002", "20000");
        assert_eq!(bench.ask(&put).await, format!("{put}OK").as_bytes());
        let end = "-372435611_1323003184 D 10.90.1.2 10.90.2.1   6000 20000   60 1-1405@10.90.1.2 ";
        assert_eq!(bench.ask(end).await, format!("{end}OK").as_bytes());
        let calls = bench.fake.put.lock().unwrap().clone();
        assert_eq!(calls.iter().map(|pair| pair.caller.local.port()).collect::<Vec<_>>(), [20002, 20000]);
        assert_eq!(bench.fake.ended.lock().unwrap()[0].call_id, "1-1405@10.90.1.2");
        // A process that starts later begins behind what is used.
        assert_eq!(bench.ask("31300_0 G").await[18..22], 20004_i32.to_ne_bytes());
    }
}

#[tokio::test]
async fn a_repeated_request_gets_the_same_reply_and_is_worked_off_once() {
    let bench = bench("127.0.0.1:0").await;
    let configuration = bench.ask("1_1 G").await;
    let put = format!("1_2 {CALL}");
    for _ in 0..3 {
        assert_eq!(bench.ask(&put).await, format!("{put}OK").as_bytes());
    }
    assert_eq!(bench.fake.put.lock().unwrap().len(), 1);
    assert_eq!(bench.ask("1_1 G").await, configuration, "although the next port is another now");
    assert_ne!(bench.ask("1_3 G").await[4..], configuration[4..]);
    // Started anew, a client begins with the same cookies.
    let other = format!("1_2 {CALL}").replace("6000", "6002");
    assert_eq!(bench.ask(&other).await, format!("{other}OK").as_bytes());
    assert_eq!(bench.fake.put.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn what_can_t_be_done_is_dropped_and_counted() {
    let bench = bench("127.0.0.1:0").await;
    for request in ["", "P", " P", "1 X", "1 S ", "1 P "] {
        bench.send(request).await;
    }
    for call in ["full", "lost", "full"] {
        bench.send(&format!("1_1 {CALL}").replace("1-31830@10.90.1.2", call)).await;
    }
    bench.is_silent().await;
    let dropped = |reason| bench.front.counters.dropped(reason);
    assert_eq!([DropReason::NoCookie, DropReason::UnknownCommand].map(dropped), [3, 2]);
    assert_eq!(dropped(DropReason::WrongFields), 1);
    assert_eq!([DropReason::TooManyCalls, DropReason::Fault].map(dropped), [2, 1], "and tried again each time");
    let report = bench.front.report();
    assert!(report.starts_with("ports 20000-30000, next 20000, internal 10.90.1.1, external 10.90.2.1\n"), "{report}");
    assert!(report.contains("requests S                       3\n") && report.contains("dropped: too many calls"));
}

#[tokio::test]
async fn streams_carry_one_request_without_a_cookie() {
    let bench = bench("127.0.0.1:0").await;
    let path = std::env::temp_dir().join(format!("millrace-lrk-{}.sock", std::process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    assert!(UnixListener::bind(&path).is_err(), "somebody listens there");
    let task = tokio::spawn(listener.run(bench.front.clone()));
    for (parts, reply) in
        [(vec!["P"], "P PONG".to_owned()), (CALL.split_inclusive("10.90.2.2").collect(), format!("{CALL}OK"))]
    {
        let mut stream = UnixStream::connect(&path).await.unwrap();
        for part in parts {
            stream.write_all(part.as_bytes()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let mut answer = String::new();
        timeout(Duration::from_secs(5), stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        assert_eq!(answer, reply);
    }
    let mut stream = UnixStream::connect(&path).await.unwrap();
    stream.write_all(b"S 10.90.1.2 ").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(stream.read_to_end(&mut Vec::new()).await.unwrap(), 0);
    // The other is the look whether somebody listens.
    assert_eq!(bench.front.counters.dropped(DropReason::Incomplete), 2);
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    assert!(!path.exists());
    // What a daemon has left that was killed is replaced.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    drop(UnixListener::bind(&path).unwrap());
}
