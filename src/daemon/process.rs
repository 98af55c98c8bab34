//! The process as its surroundings see it: the file with its id, and the signals that it obeys.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The file with the process id; removed when dropped.
#[derive(Debug)]
pub struct Pidfile {
    path: PathBuf,
}

impl Pidfile {
    /// Writes the file; one that is there is replaced as a whole. The error names the file.
    pub fn write(path: &Path) -> io::Result<Pidfile> {
        let new = path.with_extension("new");
        let result = fs::write(&new, format!("{}\n", std::process::id())).and_then(|()| fs::rename(&new, path));
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("cannot write {}: {error}", path.display()));
        result.map_err(named)?;
        Ok(Pidfile { path: path.to_owned() })
    }
}

impl Drop for Pidfile {
    fn drop(&mut self) {
        // It may have been removed by hand.
        let _ = fs::remove_file(&self.path);
    }
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// TERM, INT.
    Stop,
    /// HUP. rtpengine ends at this signal.
    Reload,
    /// USR1.
    LessLog,
    /// USR2.
    MoreLog,
}

/// The signals that the process obeys from now on.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    user1: Signal,
    user2: Signal,
}

impl Signals {
    /// Takes the signals over. Needs a tokio runtime.
    pub fn new() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            user1: signal(SignalKind::user_defined1())?,
            user2: signal(SignalKind::user_defined2())?,
        })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) -> Request {
        tokio::select! {
            _ = self.terminate.recv() => Request::Stop,
            _ = self.interrupt.recv() => Request::Stop,
            _ = self.hangup.recv() => Request::Reload,
            _ = self.user1.recv() => Request::LessLog,
            _ = self.user2.recv() => Request::MoreLog,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pidfile_comes_and_goes() {
        let path = std::env::temp_dir().join(format!("millrace-{}.pid", std::process::id()));
        fs::write(&path, "stale").unwrap();
        let pidfile = Pidfile::write(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        drop(pidfile);
        assert!(!path.exists());
        let error = Pidfile::write(Path::new("/nonexistent/x.pid")).unwrap_err();
        assert!(error.to_string().starts_with("cannot write /nonexistent/x.pid: "));
    }
}
