//! Syslog over its local socket (RFC 3164).

use super::clock;
use std::io;
use std::os::unix::net::UnixDatagram;

/// The way to the local syslog daemon. A message that it does not take at once is lost and counted: no thread waits for
/// its log.
#[derive(Debug)]
pub struct Syslog {
    path: String,
    socket: Option<UnixDatagram>,
    facility: u8,
    /// The program and its process id, as `name[pid]`.
    tag: String,
    lost: u64,
}

impl Syslog {
    /// For messages of `name`; `path` is most often `/dev/log`, `facility` from 0 to 23.
    pub fn new(path: &str, facility: u8, name: &str) -> Syslog {
        let tag = format!("{name}[{}]", std::process::id());
        Syslog { path: path.to_owned(), socket: connect(path).ok(), facility, tag, lost: 0 }
    }

    /// Sends a line with a severity from 0 (emergency) to 7 (debug).
    pub fn send(&mut self, severity: u8, line: &str) {
        if self.lost > 0 {
            let note = self.message(4, &format!("{} log messages were lost", self.lost));
            if self.write(&note).is_ok() {
                self.lost = 0;
            }
        }
        let message = self.message(severity, line);
        if self.write(&message).is_err() {
            self.lost += 1;
        }
    }

    fn message(&self, severity: u8, line: &str) -> String {
        format!("<{}>{} {}: {line}", self.facility * 8 + severity.min(7), timestamp(), self.tag)
    }

    /// Connects anew once when the daemon has been restarted.
    fn write(&mut self, message: &str) -> io::Result<()> {
        if let Some(socket) = &self.socket {
            match socket.send(message.as_bytes()) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                Err(_) => self.socket = None,
            }
        }
        let socket = self.socket.insert(connect(&self.path)?);
        socket.send(message.as_bytes()).map(drop)
    }
}

fn connect(path: &str) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Local time as `Mmm dd hh:mm:ss`.
fn timestamp() -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = clock::unix().seconds() as libc::time_t;
    // SAFETY: a tm of zeros is a legal one.
    let mut local: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are valid for the call, which writes the second.
    unsafe { libc::localtime_r(&seconds, &mut local) };
    let month = MONTHS.get(local.tm_mon as usize).copied().unwrap_or("Jan");
    format!("{month} {:2} {:02}:{:02}:{:02}", local.tm_mday, local.tm_hour, local.tm_min, local.tm_sec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_and_losses_are_told() {
        let directory = std::env::temp_dir().join(format!("millrace-syslog-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("log");
        let path_text = path.to_str().unwrap();
        let mut syslog = Syslog::new(path_text, 3, "name");
        syslog.send(6, "nobody listens");
        let daemon = UnixDatagram::bind(&path).unwrap();
        syslog.send(6, "hello");
        let mut buffer = [0; 200];
        let mut next = || {
            let bytes = daemon.recv(&mut buffer).unwrap();
            String::from_utf8(buffer[..bytes].to_vec()).unwrap()
        };
        assert!(next().ends_with(": 1 log messages were lost"));
        let message = next();
        assert!(message.starts_with("<30>") && message.ends_with(&format!(" name[{}]: hello", std::process::id())));
        assert_eq!(message.find(" name"), Some(4 + 15));
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
