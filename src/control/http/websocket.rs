//! Conversations over WebSocket (RFC 6455): what is spoken is the subprotocol's.

use super::super::connection::{Connection, Outbox, connection};
use super::super::request::Requests;
use super::super::{CliAnswer, CliParts, NOT_HERE, cli};
use super::reply::text;
use super::{CLIENT_PATIENCE, Origin};
use crate::base::text as bytes_as_text;
use crate::ng::framing::LARGEST_MESSAGE_BYTES;
use axum::body::Bytes;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts, Request};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use tokio::time::timeout;
use tracing::debug;

/// The longest answer to a command line that is gathered into one message.
const LONGEST_ANSWER_BYTES: usize = 16 << 20;

/// What can be spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subprotocol {
    Echo,
    CommandLine,
    Ng,
    NgPlain,
}

const SUBPROTOCOLS: [(&str, Subprotocol); 4] = [
    ("echo.rtpengine.com", Subprotocol::Echo),
    ("cli.rtpengine.com", Subprotocol::CommandLine),
    ("ng.rtpengine.com", Subprotocol::Ng),
    ("ng-plain.rtpengine.com", Subprotocol::NgPlain),
];

/// Begins a conversation, or refuses it.
pub(super) async fn begin(requests: Arc<Requests>, request: Request) -> Response {
    let (mut parts, _) = request.into_parts();
    let Some(origin) = parts.extensions.get::<Origin>().cloned() else {
        return text(StatusCode::INTERNAL_SERVER_ERROR, "error");
    };
    let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => upgrade.protocols(SUBPROTOCOLS.map(|(name, _)| name)),
        Err(rejection) => return rejection.into_response(),
    };
    let chosen = upgrade.selected_protocol().map(HeaderValue::as_bytes);
    let row = SUBPROTOCOLS.iter().find(|(name, _)| Some(name.as_bytes()) == chosen);
    let Some((_, subprotocol)) = row.copied() else {
        return text(StatusCode::BAD_REQUEST, "unknown or missing subprotocol");
    };
    upgrade
        .max_message_size(LARGEST_MESSAGE_BYTES)
        .max_frame_size(LARGEST_MESSAGE_BYTES)
        .on_upgrade(move |socket| hold(socket, subprotocol, requests, origin))
}

async fn hold(socket: WebSocket, subprotocol: Subprotocol, requests: Arc<Requests>, origin: Origin) {
    let _place = origin.place;
    let ended = match subprotocol {
        Subprotocol::Echo => echo(socket).await,
        Subprotocol::CommandLine => command_lines(socket, &requests).await,
        Subprotocol::NgPlain => documents(socket, &requests, origin.client).await,
        Subprotocol::Ng => messages(socket, &requests, origin.client).await,
    };
    match ended {
        Ok(()) => debug!(target: "http", "WebSocket of {} has ended", origin.client),
        Err(error) => debug!(target: "http", "WebSocket of {}: {error}", origin.client),
    }
}

/// The next message's bytes; none at the end. Text and binary are the same here.
async fn next(
    stream: &mut (impl StreamExt<Item = Result<Message, axum::Error>> + Unpin),
) -> Result<Option<Bytes>, io::Error> {
    while let Some(message) = stream.next().await {
        match message.map_err(io::Error::other)? {
            Message::Text(text) => return Ok(Some(text.into())),
            Message::Binary(bytes) => return Ok(Some(bytes)),
            Message::Ping(_) | Message::Pong(_) => {}
            Message::Close(_) => return Ok(None),
        }
    }
    Ok(None)
}

async fn send(socket: &mut WebSocket, bytes: impl Into<Bytes>) -> io::Result<()> {
    timeout(CLIENT_PATIENCE, socket.send(Message::Binary(bytes.into()))).await?.map_err(io::Error::other)
}

async fn echo(mut socket: WebSocket) -> io::Result<()> {
    while let Some(bytes) = next(&mut socket).await? {
        send(&mut socket, bytes).await?;
    }
    Ok(())
}

async fn command_lines(mut socket: WebSocket, requests: &Requests) -> io::Result<()> {
    while let Some(bytes) = next(&mut socket).await? {
        let line = bytes_as_text::decode(&bytes);
        let line = line.lines().next().unwrap_or_default();
        let answer = match cli::answer(requests.service(), line).await {
            CliAnswer::Text(text) => text.into_bytes(),
            CliAnswer::Parts(parts) => gathered(parts).await,
        };
        send(&mut socket, answer).await?;
    }
    Ok(())
}

/// One message has room for an answer that ends, up to a limit.
async fn gathered(mut parts: CliParts) -> Vec<u8> {
    let mut answer = Vec::new();
    if parts.stop.is_some() {
        return NOT_HERE.as_bytes().to_vec();
    }
    while let Some(part) = parts.parts.recv().await {
        answer.extend_from_slice(&part);
        if answer.len() > LONGEST_ANSWER_BYTES {
            return NOT_HERE.as_bytes().to_vec();
        }
    }
    answer
}

/// Documents without cookie are answered one after the other.
async fn documents(socket: WebSocket, requests: &Arc<Requests>, client: std::net::SocketAddr) -> io::Result<()> {
    let (connection, outbox) = connection(requests, client);
    both(socket, outbox, |mut stream| async move {
        while let Some(document) = next(&mut stream).await? {
            connection.handle_plain(&document).await;
        }
        Ok(())
    })
    .await
}

async fn messages(socket: WebSocket, requests: &Arc<Requests>, client: std::net::SocketAddr) -> io::Result<()> {
    let (connection, outbox) = connection(requests, client);
    both(socket, outbox, |mut stream| async move { read(&mut stream, connection).await }).await
}

async fn read(stream: &mut SplitStream<WebSocket>, connection: Connection) -> io::Result<()> {
    while let Some(message) = next(stream).await? {
        connection.handle(&message).await;
    }
    Ok(())
}

/// Reads and writes at the same time. What is in work when the reading ends is still answered.
async fn both<F: Future<Output = io::Result<()>>>(
    socket: WebSocket,
    outbox: Outbox,
    read: impl FnOnce(SplitStream<WebSocket>) -> F,
) -> io::Result<()> {
    let (sink, stream) = socket.split();
    let (mut read, mut write) = (pin!(read(stream)), pin!(write(sink, outbox)));
    tokio::select! {
        ended = &mut write => ended,
        ended = &mut read => ended.and(write.await),
    }
}

async fn write(mut sink: SplitSink<WebSocket, Message>, mut outbox: Outbox) -> io::Result<()> {
    let mut batch = Vec::new();
    loop {
        outbox.next(&mut batch).await;
        if batch.is_empty() {
            return Ok(());
        }
        let send = async {
            for outgoing in &batch {
                sink.feed(Message::Binary(Bytes::copy_from_slice(outgoing.bytes()))).await?;
            }
            sink.flush().await
        };
        timeout(CLIENT_PATIENCE, send).await?.map_err(io::Error::other)?;
        batch.clear();
    }
}
