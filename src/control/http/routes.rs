//! What is answered at which path.

use super::super::request::{Requests, guarded};
use super::super::{CliReply, cli};
use super::reply::{self, not_found, reply, text};
use super::{CLIENT_PATIENCE, Origin, websocket};
use crate::base::text as bytes_as_text;
use crate::ng::framing::LARGEST_MESSAGE_BYTES;
use crate::ng::message::Message;
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Extension, Request, State};
use axum::http::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, SEC_WEBSOCKET_PROTOCOL, UPGRADE, WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};
use percent_encoding::percent_decode;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// How long a request may be in work.
const REQUEST_PATIENCE: Duration = Duration::from_secs(30);

const NG: &str = "application/x-rtpengine-ng";
const JSON: &str = "application/json";

/// Where anyone may look, to see whether the daemon lives.
const PING: &str = "/ping";

/// Everything that is served.
pub(super) fn site(requests: Arc<Requests>) -> Router {
    Router::new()
        .route(PING, get(ping))
        .route("/cli/{*line}", get(command_in_path))
        .route("/cli", post(command_in_body))
        .route("/metrics", get(metrics))
        .route("/ng", post(ng))
        .route("/ng-plain", post(ng_plain))
        .fallback(nothing)
        .method_not_allowed_fallback(nothing)
        .layer(middleware::from_fn_with_state(requests.clone(), admit))
        .with_state(requests)
}

/// Stands before all routes: other origins, tokens, WebSockets at any path.
async fn admit(State(requests): State<Arc<Requests>>, request: Request, next: Next) -> Response {
    let mut response = if request.method() == Method::OPTIONS {
        Response::new(Body::empty())
    } else if request.uri().path() != PING && !requests.access().accepts(token(request.headers())) {
        let mut refused = text(StatusCode::UNAUTHORIZED, "a token is wanted");
        refused.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        refused
    } else if request.headers().get(UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket")) {
        websocket::begin(requests.clone(), request).await
    } else {
        next.run(request).await
    };
    reply::allow_other_origins(response.headers_mut(), requests.access().wants_token());
    response
}

/// The token that a client shows: as a header (RFC 6750, 2.1), or as one of the subprotocols that it offers, which is
/// all that a browser lets a page say about a WebSocket.
fn token(headers: &HeaderMap) -> Option<&[u8]> {
    let shown = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
    if let Some((scheme, token)) = shown.and_then(|shown| shown.split_at_checked(b"Bearer ".len())) {
        return scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token);
    }
    let offered = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let mut names = offered.flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    names.find_map(|name| name.trim_ascii().strip_prefix(b"bearer."))
}

async fn ping() -> Response {
    text(StatusCode::OK, "pong\n")
}

async fn nothing() -> Response {
    not_found()
}

/// `/cli/list+totals`. What is not a letter may also be written as `%` and two digits.
async fn command_in_path(State(requests): State<Arc<Requests>>, uri: Uri) -> Response {
    let line = uri.path().trim_start_matches("/cli/").replace('+', " ");
    let line: Vec<u8> = percent_decode(line.as_bytes()).collect();
    command(&requests, &line).await
}

async fn command_in_body(State(requests): State<Arc<Requests>>, request: Request) -> Response {
    match body(request, &[reply::TEXT]).await {
        Ok((_, line)) => command(&requests, &line).await,
        Err(response) => response,
    }
}

async fn command(requests: &Requests, line: &[u8]) -> Response {
    let line = bytes_as_text::decode(line);
    let line = line.lines().next().unwrap_or_default();
    reply::command_line(cli::answer(requests.service(), line).await)
}

/// What Prometheus asks for.
async fn metrics(State(requests): State<Arc<Requests>>) -> Response {
    let (sender, receiver) = oneshot::channel();
    // The client may have gone.
    requests.service().metrics(CliReply::new(move |text| drop(sender.send(text))));
    match timeout(REQUEST_PATIENCE, receiver).await {
        Ok(Ok(metrics)) => reply(StatusCode::OK, reply::TEXT, metrics),
        _ => text(StatusCode::GATEWAY_TIMEOUT, "the daemon does not answer"),
    }
}

async fn ng(State(requests): State<Arc<Requests>>, origin: Extension<Origin>, request: Request) -> Response {
    let (content_type, message) = match body(request, &[NG]).await {
        Ok(read) => read,
        Err(response) => return response,
    };
    if Message::split(&message).is_none() {
        // What clients of rtpengine know.
        let status = StatusCode::from_u16(600).unwrap_or(StatusCode::BAD_REQUEST);
        return text(status, "error");
    }
    let (deliver, delivered) = way_back();
    guarded(message.len(), origin.client, || requests.handle(&message, origin.client, deliver));
    answer(content_type, delivered).await
}

async fn ng_plain(State(requests): State<Arc<Requests>>, origin: Extension<Origin>, request: Request) -> Response {
    let (content_type, document) = match body(request, &[NG, JSON]).await {
        Ok(read) => read,
        Err(response) => return response,
    };
    let (deliver, delivered) = way_back();
    guarded(document.len(), origin.client, || requests.handle_plain(&document, origin.client, deliver));
    answer(content_type, delivered).await
}

fn way_back() -> (impl FnOnce(&[u8]) + Send + 'static, oneshot::Receiver<Vec<u8>>) {
    let (sender, receiver) = oneshot::channel();
    // The client may have gone.
    (move |bytes: &[u8]| drop(sender.send(bytes.to_vec())), receiver)
}

async fn answer(content_type: &'static str, delivered: oneshot::Receiver<Vec<u8>>) -> Response {
    match timeout(REQUEST_PATIENCE, delivered).await {
        Ok(Ok(bytes)) => reply(StatusCode::OK, content_type, bytes),
        Ok(Err(_)) => text(StatusCode::SERVICE_UNAVAILABLE, "too many requests"),
        Err(_) => text(StatusCode::GATEWAY_TIMEOUT, "the daemon does not answer"),
    }
}

/// The body of a request, if it has one of these types, and which; parameters of the type mean nothing.
async fn body(request: Request, types: &[&'static str]) -> Result<(&'static str, Bytes), Response> {
    let headers = request.headers();
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    let content_type = types.iter().find(|name| name.eq_ignore_ascii_case(essence)).copied().ok_or_else(not_found)?;
    let too_large = || text(StatusCode::PAYLOAD_TOO_LARGE, "too large");
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > LARGEST_MESSAGE_BYTES as u64) {
        return Err(too_large());
    }
    match timeout(CLIENT_PATIENCE, to_bytes(request.into_body(), LARGEST_MESSAGE_BYTES)).await {
        Ok(Ok(bytes)) => Ok((content_type, bytes)),
        Ok(Err(_)) => Err(too_large()),
        Err(_) => Err(text(StatusCode::REQUEST_TIMEOUT, "the request takes too long")),
    }
}
