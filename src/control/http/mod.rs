//! HTTP, HTTPS and WebSocket on the same ports (RFC 9112, 6455).
//!
//! `routes` answers requests, `websocket` holds conversations, `tls` keeps the certificate. What a client may take of
//! the daemon has limits: the head and the body of a request, how long both may take to come, how long a connection may
//! be without a request, how long a reply may wait to be taken.

mod reply;
mod routes;
pub mod tls;
mod websocket;

use super::accept::{self, Place, Places};
use super::request::Requests;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tls::Certificates;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_io_timeout::TimeoutStream;
use tower_service::Service;
use tracing::debug;

/// How long a client may take to send a body, to shake hands, and to take what is sent.
const CLIENT_PATIENCE: Duration = Duration::from_secs(10);

/// What the operator bounds.
#[derive(Debug, Clone, Copy)]
pub struct HttpLimits {
    /// The most that is kept of a request's head, in bytes; at least 8192.
    pub head_bytes: usize,
    /// How long a connection may be without a whole head of a request.
    pub idle: Duration,
}

/// A bound listener.
#[derive(Debug)]
pub struct HttpListener {
    listener: TcpListener,
    certificates: Option<Arc<Certificates>>,
    limits: HttpLimits,
}

/// The connection that a request came on.
#[derive(Debug, Clone)]
struct Origin {
    client: SocketAddr,
    /// Kept while the connection lives, also as a WebSocket.
    place: Arc<Place>,
}

impl HttpListener {
    /// Binds, for HTTPS where there are `certificates`; the error names the address. Needs a tokio runtime.
    pub fn bind(
        address: SocketAddr,
        certificates: Option<Arc<Certificates>>,
        limits: HttpLimits,
    ) -> io::Result<HttpListener> {
        Ok(HttpListener { listener: accept::listen(address)?, certificates, limits })
    }

    /// The address that the listener is bound to.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves clients until the task is dropped.
    pub async fn run(self, requests: Arc<Requests>) {
        let site = routes::site(requests.clone());
        let acceptor = self.certificates.as_ref().map(Certificates::acceptor);
        let places = Arc::new(Places::default());
        loop {
            let (stream, client, place) = accept::next(&self.listener, requests.access(), &places).await;
            let origin = Origin { client, place: Arc::new(place) };
            let (site, acceptor, limits) = (site.clone(), acceptor.clone(), self.limits);
            tokio::spawn(async move {
                let mut stream = Box::pin(TimeoutStream::<TcpStream>::new(stream));
                stream.as_mut().set_write_timeout_pinned(Some(CLIENT_PATIENCE));
                let ended = match acceptor {
                    None => serve(stream, origin, site, limits).await,
                    Some(acceptor) => match timeout(CLIENT_PATIENCE, acceptor.accept(stream)).await {
                        Ok(Ok(stream)) => serve(stream, origin, site, limits).await,
                        Ok(Err(error)) => Err(error.to_string()),
                        Err(_) => Err("the handshake takes too long".to_owned()),
                    },
                };
                if let Err(error) = ended {
                    debug!(target: "http", "Connection from {client}: {error}");
                }
            });
        }
    }
}

/// Serves one connection until it ends, or becomes a WebSocket, which goes on by itself.
async fn serve(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    origin: Origin,
    site: Router,
    limits: HttpLimits,
) -> Result<(), String> {
    let service = service_fn(move |mut request: Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(origin.clone());
        site.clone().call(request.map(Body::new))
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(limits.idle).max_buf_size(limits.head_bytes);
    let connection = server.serve_connection(TokioIo::new(stream), service).with_upgrades();
    connection.await.map_err(|error| error.to_string())
}
