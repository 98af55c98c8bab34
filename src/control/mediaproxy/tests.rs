//! Lines over a real connection, in front of a service that the tests make up.

use super::*;
use crate::control::cli::CliCommand;
use crate::control::{CliReply, Reply};
use crate::ng::Request;

/// Gives two ports whatever is asked, or knows no call `d`.
struct Fake;

impl Service for Fake {
    fn request(&self, request: Request, _: SocketAddr, reply: Reply) {
        let ok = Dictionary::new().with("result", "ok");
        reply.send(match (request.command.name(), request.call_id()) {
            ("list", _) => ok.with("calls", Value::List(vec!["c".into(), "e".into()])),
            ("delete", Ok("d")) => ok.with("warning", "Call-ID not found or tags didn't match"),
            ("delete", _) => ok,
            (_, Ok("d")) => crate::ng::message::error_reply("Unknown call-id"),
            _ => ok.with("sdp", sdpless::body(&[30000, 30004].map(|port| ([198, 51, 100, 1], port).into()))),
        });
    }

    fn cli(&self, _: CliCommand, _: CliReply) {}

    fn metrics(&self, _: CliReply) {}
}

#[tokio::test]
async fn lines_are_answered_until_the_client_quits() {
    let listener = MediaproxyListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_address().unwrap();
    tokio::spawn(listener.run(Arc::new(Fake), Arc::default()));
    let mut stream = BufReader::new(TcpStream::connect(address).await.unwrap());
    let own = stream.get_ref().local_addr().unwrap();
    let call = "192.0.2.1:4000,192.0.2.1:4002 192.0.2.1 a local b remote x info=from:a,to:b,fromtag:f,totag:";
    let version = concat!("millrace ", env!("CARGO_PKG_VERSION"), "\n");
    let exchanges = [
        (format!("request c {call}"), "198.51.100.1 30000 30004\n".to_owned()),
        (format!("lookup c {call}t"), "198.51.100.1 30000 30004\n".to_owned()),
        (format!("lookup d {call}t"), "\n".to_owned()),
        ("bogus".to_owned(), "\n".to_owned()),
        ("delete c info=".to_owned(), "0\n".to_owned()),
        ("delete d info=".to_owned(), "\n".to_owned()),
        ("status".to_owned(), "proxy 2\nsession c\nsession e\n".to_owned()),
        ("version\r".to_owned(), version.to_owned()),
        ("controls".to_owned(), format!("{own}\n")),
    ];
    for (line, answer) in exchanges {
        stream.get_mut().write_all(format!("{line}\n").as_bytes()).await.unwrap();
        let mut got = vec![0; answer.len()];
        timeout(Duration::from_secs(5), stream.read_exact(&mut got)).await.unwrap().unwrap();
        assert_eq!(String::from_utf8_lossy(&got), answer, "{line}");
    }
    stream.get_mut().write_all(b"quit\n").await.unwrap();
    assert_eq!(stream.read_to_end(&mut Vec::new()).await.unwrap(), 0);
    // Nobody gets far without an end of line.
    let mut hostile = TcpStream::connect(address).await.unwrap();
    hostile.write_all(&[b'x'; 5000]).await.unwrap();
    let _ = timeout(Duration::from_secs(5), hostile.read_to_end(&mut Vec::new())).await.unwrap();
}
