//! What the service manager is told (sd_notify(3)): that the daemon is ready, reloads, stops.

use crate::base::time::Mono;
use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The way to the service manager; without one every message is for nobody.
#[derive(Debug)]
pub struct Notifier(Option<SocketAddr>);

impl Notifier {
    /// The socket that the environment variable `NOTIFY_SOCKET` names: a path, or an abstract name after `@`.
    pub fn from_environment() -> Notifier {
        Notifier::new(std::env::var_os("NOTIFY_SOCKET"))
    }

    fn new(variable: Option<OsString>) -> Notifier {
        let address = variable.as_ref().and_then(|name| match name.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name).ok(),
            [b'/', ..] => SocketAddr::from_pathname(name).ok(),
            _ => None,
        });
        Notifier(address)
    }

    /// The daemon serves; `status` is shown to the operator.
    pub fn ready(&self, status: &str) -> io::Result<()> {
        self.send(&format!("READY=1\nSTATUS={status}\nMAINPID={}", std::process::id()))
    }

    /// The configuration is being loaded again; `ready` must follow.
    pub fn reloading(&self, now: Mono) -> io::Result<()> {
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.0 / 1000))
    }

    /// The daemon is about to end.
    pub fn stopping(&self) -> io::Result<()> {
        self.send("STOPPING=1")
    }

    fn send(&self, state: &str) -> io::Result<()> {
        let Some(address) = &self.0 else { return Ok(()) };
        UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), address).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive() {
        let name = format!("millrace-notify-{}", std::process::id());
        let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let notifier = Notifier::new(Some(format!("@{name}").into()));
        notifier.ready("relaying").unwrap();
        notifier.reloading(Mono(7_000)).unwrap();
        notifier.stopping().unwrap();
        let mut buffer = [0; 200];
        let mut next = || {
            let bytes = manager.recv(&mut buffer).unwrap();
            String::from_utf8(buffer[..bytes].to_vec()).unwrap()
        };
        assert_eq!(next(), format!("READY=1\nSTATUS=relaying\nMAINPID={}", std::process::id()));
        assert_eq!((next(), next()), ("RELOADING=1\nMONOTONIC_USEC=7".to_owned(), "STOPPING=1".to_owned()));
    }

    #[test]
    fn without_a_manager_nothing_happens() {
        for variable in [None, Some("".into()), Some("relative".into())] {
            Notifier::new(variable).ready("").unwrap();
        }
        assert!(Notifier::new(Some("/nonexistent/socket".into())).stopping().is_err());
    }
}
