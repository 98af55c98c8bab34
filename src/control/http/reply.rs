//! Responses: what each carries, whatever it answers.

use super::super::CliAnswer;
use axum::body::Body;
use axum::http::header::{self, HeaderName};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use std::convert::Infallible;

pub(super) const TEXT: &str = "text/plain";

/// Bytes of one type.
pub(super) fn reply(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response {
    (status, [(header::CONTENT_TYPE, content_type)], body.into()).into_response()
}

/// A text.
pub(super) fn text(status: StatusCode, text: &'static str) -> Response {
    reply(status, TEXT, text)
}

pub(super) fn not_found() -> Response {
    text(StatusCode::NOT_FOUND, "not found")
}

/// The answer to a command line. One that is made while it is sent goes out as it comes; when its client hangs up, that
/// ends it.
pub(super) fn command_line(answer: CliAnswer) -> Response {
    let parts = match answer {
        CliAnswer::Text(text) => return reply(StatusCode::OK, TEXT, text),
        CliAnswer::Parts(parts) => parts,
    };
    // What goes on until its client has enough is a capture.
    let content_type = if parts.stop.is_some() { "application/octet-stream" } else { TEXT };
    let body = stream::unfold(parts, |mut parts| async {
        let part = parts.parts.recv().await?;
        Some((Ok::<_, Infallible>(part), parts))
    });
    reply(StatusCode::OK, content_type, Body::from_stream(body))
}

/// What browsers want to know before a page of another origin may ask (Fetch, 3.2.3).
pub(super) fn allow_other_origins(headers: &mut HeaderMap, wants_token: bool) {
    let allowed = if wants_token { "Content-Type, Authorization" } else { "Content-Type" };
    let rows: [(HeaderName, &'static str); 4] = [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::ACCESS_CONTROL_MAX_AGE, "86400"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, allowed),
    ];
    rows.into_iter().for_each(|(name, value)| drop(headers.insert(name, HeaderValue::from_static(value))));
}
