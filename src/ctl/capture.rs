//! `millracectl capture`: the daemon sends pcapng, which goes to a file or to standard output.

use super::Failure;
use super::connection::Connection;
use crate::wire::pcapng;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

/// What is captured, where to, and until when.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Capture {
    pub(super) call_id: String,
    /// None, or `-`: standard output.
    pub(super) file: Option<String>,
    /// What is kept of each packet, in bytes.
    pub(super) snap: u16,
    pub(super) longest: Option<Duration>,
    pub(super) most_packets: Option<u64>,
}

/// What has been written.
#[derive(Default)]
struct Written {
    packets: u64,
    dropped: u64,
    /// Bytes that are no whole block yet.
    rest: Vec<u8>,
}

impl Written {
    /// Writes the blocks that are whole by now. Packets beyond `most` are left out.
    fn take(&mut self, part: &[u8], most: u64, out: &mut dyn Write) -> Result<(), Failure> {
        self.rest.extend_from_slice(part);
        let mut at = 0;
        while let Some((kind, block)) = first_block(&self.rest[at..])? {
            let is_packet = kind == pcapng::PACKET;
            if !is_packet || self.packets < most {
                out.write_all(block).map_err(Failure::Output)?;
                self.packets += u64::from(is_packet);
            }
            self.dropped += pcapng::dropped(block).unwrap_or(0);
            at += block.len();
        }
        self.rest.drain(..at);
        Ok(())
    }
}

fn first_block(bytes: &[u8]) -> Result<Option<(u32, &[u8])>, Failure> {
    pcapng::first_block(bytes).map_err(|error| Failure::Said(format!("the daemon sends no capture: {error}")))
}

/// What can end a capture from this side.
struct Ending {
    interrupt: Signal,
    terminate: Signal,
    deadline: Option<Instant>,
}

impl Ending {
    fn new(longest: Option<Duration>) -> io::Result<Ending> {
        Ok(Ending {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            deadline: longest.map(|longest| Instant::now() + longest),
        })
    }

    async fn come(&mut self) {
        let deadline = self.deadline;
        let time_is_up = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            () = time_is_up => {}
        }
    }
}

/// Captures until the call is over, an interrupt, or a limit. The file is whole in each case.
pub(super) async fn run(connection: &mut Connection, capture: &Capture) -> Result<(), Failure> {
    let to_terminal = capture.file.as_deref().is_none_or(|file| file == "-") && io::stdout().is_terminal();
    if to_terminal {
        return Err(Failure::Said("a capture is no text: name a file with -w, or send it on with |".to_owned()));
    }
    let mut ending = Ending::new(capture.longest).map_err(|error| Failure::Said(error.to_string()))?;
    connection.say(&format!("capture {} {}", capture.call_id, capture.snap)).await.map_err(Failure::Said)?;
    let first = first_part(connection).await?;
    let mut out = open(capture.file.as_deref())?;
    let most = capture.most_packets.unwrap_or(u64::MAX);
    let mut written = Written::default();
    written.take(&first, most, &mut *out)?;
    let mut has_ended = false;
    loop {
        out.flush().map_err(Failure::Output)?;
        if written.packets >= most && !has_ended {
            has_ended = true;
            connection.end().await.map_err(Failure::Said)?;
        }
        tokio::select! {
            part = connection.hear_on(has_ended) => match part.map_err(Failure::Said)? {
                Some(part) => written.take(part, most, &mut *out)?,
                None => break,
            },
            () = ending.come(), if !has_ended => {
                has_ended = true;
                connection.end().await.map_err(Failure::Said)?;
            }
        }
    }
    out.flush().map_err(Failure::Output)?;
    if !has_ended {
        eprintln!("The call is over, or the daemon has stopped.");
    }
    let Written { packets, dropped, .. } = written;
    eprintln!("{packets} packets captured, {dropped} lost for lack of room");
    Ok(())
}

/// The beginning of a capture, or what the daemon says in place of one.
async fn first_part(connection: &mut Connection) -> Result<Vec<u8>, Failure> {
    let magic = pcapng::SECTION_HEADER.to_le_bytes();
    let mut first = Vec::new();
    while first.len() < magic.len() || !first.starts_with(&magic) {
        match connection.hear().await.map_err(Failure::Said)? {
            Some(part) => first.extend_from_slice(part),
            None => return Err(Failure::Said(String::from_utf8_lossy(&first).trim().to_owned())),
        }
    }
    Ok(first)
}

fn open(file: Option<&str>) -> Result<Box<dyn Write>, Failure> {
    match file {
        None | Some("-") => Ok(Box::new(io::stdout())),
        Some(path) => {
            let named = |error| Failure::Said(format!("{path}: {error}"));
            Ok(Box::new(io::BufWriter::new(File::create(path).map_err(named)?)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::pcapng::Packet;

    #[test]
    fn a_limit_of_packets_leaves_the_rest_of_the_file_whole() {
        let mut sent = Vec::new();
        pcapng::section(&mut sent, "test");
        for _ in 0..5 {
            let packet =
                Packet { interface: 0, time_ns: 1, is_outbound: false, length: 3, bytes: &[1, 2, 3], comment: "" };
            pcapng::packet(&mut sent, &packet);
        }
        pcapng::statistics(&mut sent, 0, 2, (5, 4), "");
        let (mut written, mut out) = (Written::default(), Vec::new());
        // However it is cut on the way.
        for part in sent.chunks(7) {
            written.take(part, 3, &mut out).unwrap_or_else(|_| panic!("it can be written"));
        }
        assert_eq!((written.packets, written.dropped, written.rest.len()), (3, 4, 0));
        let packet_bytes = sent.len() - out.len();
        assert!(packet_bytes > 0 && packet_bytes.is_multiple_of(2), "two packets are left out");
        assert!(written.take(&[0; 12], 3, &mut out).is_err());
    }
}
