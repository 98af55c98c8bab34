//! Messages that nobody asked for, to every open connection that speaks NG.

use crate::base::random::Random;
use crate::io::random::SystemRandomness;
use crate::ng::{Dictionary, Encoding, message};
use std::sync::Arc;
use tokio::sync::broadcast;

/// The messages that may wait for a connection; one that takes none loses the oldest.
const WAITING: usize = 64;

/// The way to all connections of NG over TCP and WebSocket.
#[derive(Debug)]
pub struct Push(broadcast::Sender<Arc<[u8]>>);

impl Default for Push {
    fn default() -> Push {
        Push(broadcast::channel(WAITING).0)
    }
}

impl Push {
    /// Sends `notification` in bencode, behind a cookie of 16 random hexadecimal digits, to the connections that are
    /// open now, whose number it gives. Never waits.
    pub fn send(&self, notification: &Dictionary) -> usize {
        let mut random = [0; 8];
        SystemRandomness::new().fill(&mut random);
        let cookie: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let bytes = message::encode_reply(cookie.as_bytes(), Encoding::Bencode, notification);
        // Without connections there is nobody to tell.
        self.0.send(bytes.into()).unwrap_or(0)
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Arc<[u8]>> {
        self.0.subscribe()
    }
}
