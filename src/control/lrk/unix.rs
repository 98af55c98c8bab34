//! Streams in the file system: one connection for each request, which has no cookie.

use super::{DropReason, LrkFront, message};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;
use tracing::{debug, warn};

/// The clients that are served at the same time.
const CONNECTION_LIMIT: usize = 256;
/// How long a client may take for its request, and to take its reply; it waits for a second itself.
const CLIENT_PATIENCE: Duration = Duration::from_secs(2);

/// A bound listener; its file goes with it.
#[derive(Debug)]
pub struct UnixListener {
    listener: tokio::net::UnixListener,
    path: PathBuf,
}

impl UnixListener {
    /// Binds; the error names the path. A socket there that nobody listens to is replaced. Needs a tokio runtime.
    pub fn bind(path: &Path) -> io::Result<UnixListener> {
        let named = |error: io::Error| {
            io::Error::new(error.kind(), format!("cannot listen on the unix socket {}: {error}", path.display()))
        };
        let is_socket = path.symlink_metadata().is_ok_and(|data| data.file_type().is_socket());
        if is_socket && std::os::unix::net::UnixStream::connect(path).is_err() {
            std::fs::remove_file(path).map_err(named)?;
        }
        let listener = tokio::net::UnixListener::bind(path).map_err(named)?;
        Ok(UnixListener { listener, path: path.to_owned() })
    }

    /// Serves clients until the task is dropped.
    pub async fn run(self, front: Arc<LrkFront>) {
        let places = Arc::new(Semaphore::new(CONNECTION_LIMIT));
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn!(target: "control", "LRK: cannot accept a connection: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let Ok(place) = places.clone().try_acquire_owned() else {
                front.refuse(DropReason::Overload, b"", "a unix socket");
                continue;
            };
            let (front, client) = (front.clone(), format!("unix:{}", self.path.display()));
            tokio::spawn(async move {
                let _place = place;
                if let Err(error) = serve(stream, &front, &client).await {
                    debug!(target: "control", "LRK: connection at {client}: {error}");
                }
            });
        }
    }
}

impl Drop for UnixListener {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn serve(mut stream: UnixStream, front: &Arc<LrkFront>, client: &str) -> io::Result<()> {
    let mut request = Vec::with_capacity(256);
    let read = timeout(CLIENT_PATIENCE, read_request(&mut stream, &mut request)).await;
    if !matches!(read, Ok(Ok(()))) {
        front.refuse(DropReason::Incomplete, &request, client);
        return Ok(());
    }
    let command = match message::parse(&request) {
        Ok(command) => command,
        Err(reason) => {
            front.refuse(reason, &request, client);
            return Ok(());
        }
    };
    let (sender, receiver) = oneshot::channel();
    // The client may be gone.
    front.work(command, client.to_owned(), move |appended| drop(sender.send(appended)));
    if let Ok(Some(appended)) = receiver.await {
        timeout(CLIENT_PATIENCE, stream.write_all(&[request, appended].concat())).await??;
    }
    Ok(())
}

/// Nothing marks the end of a request but its form.
async fn read_request(stream: &mut UnixStream, request: &mut Vec<u8>) -> io::Result<()> {
    while message::is_partial(request) {
        if stream.read_buf(request).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}
