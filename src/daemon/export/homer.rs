//! Homer: RTCP as JSON, and NG messages, in HEP.

use super::Receiver;
use super::connection::Connection;
use crate::base::time::Unix;
use crate::config::export;
use crate::control::request::{Trace, Traced};
use crate::engine::Shard;
use crate::io::clock;
use crate::observe::homer::rtcp;
use crate::relay::reports::Seen;
use crate::wire::hep::{self, Packet, protocol};
use crate::wire::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// What may wait to be sent.
const MOST_WAITING: usize = 4096;
/// What sending may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is to be sent.
enum Item {
    Report { call_id: String, seen: Seen },
    Message { from: SocketAddr, to: SocketAddr, at: Unix, call_id: String, text: Vec<u8> },
}

/// The way to Homer. Shards and control threads put things in; a task of its own sends them.
#[derive(Debug)]
pub(in crate::daemon) struct Homer {
    sender: mpsc::Sender<Item>,
    receiver: Arc<Receiver>,
}

impl Homer {
    /// Starts what sends; none where nothing is configured. Needs a tokio runtime.
    pub(in crate::daemon) fn start(config: &export::Homer) -> Option<Arc<Homer>> {
        let address = config.address.clone()?;
        let (sender, items) = mpsc::channel(MOST_WAITING);
        let receiver = Receiver::new("homer");
        let connection = Connection::new("Homer", address, config.is_tcp, PATIENCE);
        tokio::spawn(send(items, connection, config.clone(), receiver.clone()));
        Some(Arc::new(Homer { sender, receiver }))
    }

    pub(in crate::daemon) fn receiver(&self) -> Arc<Receiver> {
        self.receiver.clone()
    }

    /// Takes the RTCP that a shard has kept.
    #[inline]
    pub(in crate::daemon) fn take_reports(&self, shard: &mut Shard) {
        let Some((seen, missed)) = shard.take_reports() else { return };
        self.receiver.dropped(missed);
        seen.into_iter().for_each(|(call_id, seen)| self.put(Item::Report { call_id, seen }));
    }

    /// Takes NG messages; `local` is where they arrive.
    pub(in crate::daemon) fn trace(self: &Arc<Self>, local: SocketAddr) -> Trace {
        let homer = self.clone();
        Box::new(move |traced: Traced| {
            let (from, to) = if traced.is_reply { (local, traced.client) } else { (traced.client, local) };
            let mut text = [traced.cookie, b" ", traced.document].concat();
            hide_keys(&mut text);
            homer.put(Item::Message { from, to, at: clock::unix(), call_id: traced.call_id.to_owned(), text });
        })
    }

    fn put(&self, item: Item) {
        if self.sender.try_send(item).is_err() {
            self.receiver.dropped(1);
        }
    }
}

async fn send(
    mut items: mpsc::Receiver<Item>,
    mut connection: Connection,
    config: export::Homer,
    receiver: Arc<Receiver>,
) {
    while let Some(item) = items.recv().await {
        let Some(bytes) = encode(&item, &config) else { continue };
        match connection.send(&bytes).await {
            true => receiver.sent(1),
            false => receiver.dropped(1),
        }
    }
}

/// None for RTCP without reports, and for what is too long for HEP.
fn encode(item: &Item, config: &export::Homer) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    let (from, to, at, call_id, protocol, payload) = match item {
        Item::Report { call_id, seen } => {
            json::encode(&rtcp(&seen.datagram)?, &mut text);
            (seen.from, seen.to, seen.at, call_id, protocol::RTCP_JSON, &text)
        }
        Item::Message { from, to, at, call_id, text } => (*from, *to, *at, call_id, config.ng_protocol, text),
    };
    hep::encode(&Packet {
        from,
        to,
        seconds: at.seconds(),
        microseconds: at.microseconds_part() as u32,
        protocol,
        capture_id: config.capture_id,
        correlation_id: call_id,
        payload,
    })
}

/// What stands before a secret in SDP: keys of SDES, and passwords of ICE.
const BEFORE_SECRETS: [&[u8]; 2] = [b"inline:", b"ice-pwd:"];

/// Overwrites secrets, and leaves the length as it is: bencode counts bytes.
fn hide_keys(text: &mut [u8]) {
    for before in BEFORE_SECRETS {
        let mut at = 0;
        while let Some(found) = text[at..].windows(before.len()).position(|window| window.eq_ignore_ascii_case(before))
        {
            at = hide_from(text, at + found + before.len());
        }
    }
}

/// Overwrites base64, in which JSON may have a backslash before each slash; gives its end.
fn hide_from(text: &mut [u8], mut at: usize) -> usize {
    loop {
        match text.get(at..) {
            Some([b'\\', b'/', ..]) => {
                text[at..at + 2].fill(b'*');
                at += 2;
            }
            Some([byte, ..]) if is_of_secret(*byte) => {
                text[at] = b'*';
                at += 1;
            }
            _ => return at,
        }
    }
}

fn is_of_secret(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(text: &str) -> String {
        let mut bytes = text.as_bytes().to_vec();
        hide_keys(&mut bytes);
        assert_eq!(bytes.len(), text.len());
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn secrets_are_overwritten() {
        assert_eq!(
            hidden(
                "1_2 d3:sdp9:a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:Ab+/9=|2^20|1:4\r\na=x\r\na=ice-pwd:s3cr/t\r\n"
            ),
            "1_2 d3:sdp9:a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:******|2^20|1:4\r\na=x\r\na=ice-pwd:******\r\n"
        );
        assert_eq!(
            hidden(r#"{"sdp":"a=crypto:1 X inline:ab\/cd\/ef\r\na=crypto:2 X INLINE:zz\r\na=c"}"#),
            r#"{"sdp":"a=crypto:1 X inline:**********\r\na=crypto:2 X INLINE:**\r\na=c"}"#
        );
        assert_eq!(hidden("inline:"), "inline:");
        assert_eq!(hidden("nothing"), "nothing");
    }
}
