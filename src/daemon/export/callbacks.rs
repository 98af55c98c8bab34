//! Calls that timed out, to the SIP server that does not know yet: by XML-RPC over HTTP (`b2b-url`).

use super::Receiver;
use crate::base::fault::with_causes;
use crate::config::events::{Callback, CallbackFormat};
use crate::engine::{Event, TimedOut};
use crate::wire::xmlrpc;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use hyper::{Request, Uri};
use hyper_tls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use percent_encoding::percent_decode_str;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{sleep, timeout};

/// Calls that may wait to be made.
const MOST_WAITING: usize = 10_000;
/// Calls that are made at once.
const MOST_AT_ONCE: usize = 16;
const TRIES: usize = 3;
/// What one try may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between tries.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest answer that is read.
const LONGEST_ANSWER_BYTES: usize = 64 * 1024;

/// A call to be made.
#[derive(Debug)]
struct Errand {
    call_id: String,
    url: String,
    body: String,
}

/// The way to the server. Shards put calls in; tasks make them.
#[derive(Debug)]
pub(in crate::daemon) struct Callbacks {
    config: Callback,
    sender: mpsc::Sender<Errand>,
    receiver: Arc<Receiver>,
}

impl Callbacks {
    /// Starts what calls. Needs a tokio runtime.
    pub(super) fn start(config: &Callback, receiver: Arc<Receiver>) -> Callbacks {
        let (sender, errands) = mpsc::channel(MOST_WAITING);
        tokio::spawn(run(errands, receiver.clone()));
        Callbacks { config: config.clone(), sender, receiver }
    }

    /// Has the server told that a call has timed out. Never waits.
    pub(in crate::daemon) fn timed_out(&self, event: &Event, timed_out: &TimedOut) {
        let call_id = &event.call_id;
        let Some(url) = self.config.url_of(timed_out.proxy) else {
            tracing::warn!(target: "core", call_id, "nobody is told of its timeout: its SIP proxy has no address");
            return self.receiver.dropped(1);
        };
        for body in bodies(self.config.format, event, timed_out) {
            let errand = Errand { call_id: call_id.clone(), url: url.clone(), body };
            if self.sender.try_send(errand).is_err() {
                tracing::warn!(target: "core", call_id, "nobody is told of its timeout: too many are waiting");
                self.receiver.dropped(1);
            }
        }
    }
}

/// The calls that tell of a timeout.
fn bodies(format: CallbackFormat, event: &Event, timed_out: &TimedOut) -> Vec<String> {
    match format {
        CallbackFormat::Tags => {
            let body = |tag: &String| xmlrpc::call("di", &["sbc", "postControlCmd", tag, "teardown"]);
            event.tags.iter().map(body).collect()
        }
        CallbackFormat::CallId => vec![xmlrpc::call("teardown", &[&event.call_id])],
        CallbackFormat::Dialogues => {
            let body = |(from, to): &(String, String)| xmlrpc::call("dlg.terminate_dlg", &[&event.call_id, from, to]);
            timed_out.dialogues.iter().map(body).collect()
        }
    }
}

type HttpClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

async fn run(mut errands: mpsc::Receiver<Errand>, receiver: Arc<Receiver>) {
    // Timeouts are rare: no connection waits for the next.
    let client: HttpClient =
        Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(HttpsConnector::new());
    let places = Arc::new(Semaphore::new(MOST_AT_ONCE));
    while let Some(errand) = errands.recv().await {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let (client, receiver) = (client.clone(), receiver.clone());
        tokio::spawn(async move {
            match make(&client, &errand).await {
                true => receiver.sent(1),
                false => receiver.dropped(1),
            }
            drop(place);
        });
    }
}

/// Calls until the server has understood; false when it has not.
async fn make(client: &HttpClient, errand: &Errand) -> bool {
    let Errand { call_id, url, .. } = errand;
    let mut why = String::new();
    for number in 0..TRIES {
        if number > 0 {
            sleep(PAUSE).await;
        }
        match timeout(PATIENCE, post(client, errand)).await.unwrap_or_else(|_| Err("no answer in time".to_owned())) {
            Ok(answer) => {
                if let Some(fault) = xmlrpc::fault(&answer) {
                    tracing::warn!(target: "core", call_id, "{url} was told of its timeout and says: {fault}");
                }
                return true;
            }
            Err(error) => why = error,
        }
    }
    tracing::warn!(target: "core", call_id, "{url} was not told of its timeout: {why}");
    false
}

/// One try; the answer's body, or why there is none.
async fn post(client: &HttpClient, errand: &Errand) -> Result<String, String> {
    let url: Uri = errand.url.parse().map_err(|error| format!("{error}"))?;
    let mut request = Request::post(&url)
        .header(CONTENT_TYPE, "text/xml")
        .header(USER_AGENT, concat!("millrace/", env!("CARGO_PKG_VERSION")));
    if let Some(credentials) = credentials(&url) {
        request = request.header(AUTHORIZATION, credentials);
    }
    let body = Full::new(Bytes::copy_from_slice(errand.body.as_bytes()));
    let request = request.body(body).map_err(|error| error.to_string())?;
    let answer = client.request(request).await.map_err(|error| with_causes(&error))?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), LONGEST_ANSWER_BYTES).collect().await;
    let body = body.map_err(|error| error.to_string())?.to_bytes();
    match status.is_success() {
        true => Ok(String::from_utf8_lossy(&body).into_owned()),
        false => Err(format!("it answers {status}")),
    }
}

/// What stands before the `@` of a URL, for RFC 7617.
fn credentials(url: &Uri) -> Option<String> {
    let (user, _) = url.authority()?.as_str().rsplit_once('@')?;
    let user: Vec<u8> = percent_decode_str(user).collect();
    Some(format!("Basic {}", STANDARD.encode(user)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::lifecycle::Termination;
    use crate::engine::Happening;
    use std::net::SocketAddr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    fn timed_out(proxy: SocketAddr) -> (Event, TimedOut) {
        let pair = |from: &str, to: &str| (from.to_owned(), to.to_owned());
        let timed_out = TimedOut {
            termination: Termination::Timeout,
            duration_ms: 0,
            dialogues: vec![pair("a", "b"), pair("a", "c")],
            proxy: Some(proxy.ip()),
        };
        let tags = ["a", "b", "c"].map(str::to_owned).to_vec();
        let happening = Happening::TimedOut(timed_out.clone());
        (Event { call_id: "c@x".to_owned(), tags, timestamp_s: 0, source: None, happening }, timed_out)
    }

    #[test]
    fn each_format_calls_its_method() {
        let (event, timed_out) = timed_out(([127, 0, 0, 1], 0).into());
        let methods = |format| -> Vec<Vec<String>> {
            let texts = |body: &String| -> Vec<String> {
                let names = ["<methodName>", "<string>"].map(|tag| body.split(tag).skip(1));
                names.into_iter().flatten().map(|rest| rest.split('<').next().unwrap().to_owned()).collect()
            };
            bodies(format, &event, &timed_out).iter().map(texts).collect()
        };
        let tag = |tag| vec!["di", "sbc", "postControlCmd", tag, "teardown"];
        assert_eq!(methods(CallbackFormat::Tags), [tag("a"), tag("b"), tag("c")]);
        assert_eq!(methods(CallbackFormat::CallId), [["teardown", "c@x"]]);
        let dialogue = |to| ["dlg.terminate_dlg", "c@x", "a", to];
        assert_eq!(methods(CallbackFormat::Dialogues), [dialogue("b"), dialogue("c")]);
    }

    /// A server that refuses the first request and takes the second; gives what it was sent.
    async fn serve(listener: TcpListener) -> String {
        let mut all = String::new();
        for status in ["500 No", "200 OK"] {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut text = String::new();
            while !text.contains("</methodCall>") {
                let mut bytes = [0; 4096];
                let length = stream.read(&mut bytes).await.unwrap();
                assert!(length > 0, "closed early: {text}");
                text.push_str(&String::from_utf8_lossy(&bytes[..length]));
            }
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
            all.push_str(&text);
        }
        all
    }

    #[tokio::test]
    async fn a_server_is_called_until_it_understands() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = listener.local_addr().unwrap();
        let url = Some(format!("http://user:p%40ss@%%:{}/RPC2?x=1", place.port()));
        let receiver = Receiver::new("xmlrpc");
        let callbacks = Callbacks::start(&Callback { url, format: CallbackFormat::CallId }, receiver.clone());
        let (event, timed_out) = timed_out(place);
        callbacks.timed_out(&event, &timed_out);
        let text = serve(listener).await;
        assert_eq!(text.matches("POST /RPC2?x=1 HTTP/1.1\r\n").count(), 2, "{text}");
        assert!(text.contains(&format!("authorization: Basic {}\r\n", STANDARD.encode("user:p@ss"))), "{text}");
        assert!(text.contains("content-type: text/xml\r\n"), "{text}");
        while receiver.state().sent == 0 {
            sleep(Duration::from_millis(10)).await;
        }
        assert_eq!((receiver.state().sent, receiver.state().dropped), (1, 0));
    }
}
