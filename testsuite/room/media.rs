//! The daemon's side of a room: one call for each, a publication for each member, a subscription for each pair.

use millrace_testsuite::ng::{Client, Error};
use serde_json::{Value, json};
use std::sync::Mutex;

/// The control connection. Its methods wait for the daemon.
pub struct Media {
    client: Mutex<Client>,
    /// Keeps the calls of two servers at one daemon apart.
    prefix: String,
}

/// How the daemon begins to say that a subscription or a whole room is not there.
const GONE: [&str; 2] = ["To-tag not found", "Unknown call-id"];

/// Why the daemon did not do something, in words.
pub type Failure = String;

impl Media {
    pub fn new(client: Client) -> Media {
        Media { client: Mutex::new(client), prefix: format!("room-{}-", std::process::id()) }
    }

    /// Whether the daemon answers.
    pub fn ping(&self) -> Result<(), Failure> {
        self.ask(json!({"command": "ping"})).map(drop)
    }

    /// Publishes what a member sends; the answer to its offer.
    pub fn publish(&self, room: &str, id: &str, offer: &str) -> Result<String, Failure> {
        let request = json!({
            "command": "publish", "call-id": self.call(room), "from-tag": id, "sdp": offer,
            // The page offers one codec of each sort, with its repairs: all of it is relayed.
            "codec": {"accept": ["all", "any"]}, "flags": ["WebRTC"],
        });
        text(&self.ask(request)?, "sdp")
    }

    /// Subscribes somebody to a publication, with sound and picture on one port; the tag of the subscription and its
    /// offer. With the tag of one that there is, that one is changed. `layer` says which layer of a simulcast.
    pub fn subscribe(
        &self,
        room: &str,
        publisher: &str,
        tag: Option<&str>,
        layer: Option<&str>,
    ) -> Result<(String, String), Failure> {
        let mut request = json!({
            "command": "subscribe request", "call-id": self.call(room), "from-tags": [publisher], "flags": ["WebRTC"],
            "bundle": ["accept"],
        });
        for (key, value) in [("to-tag", tag), ("layer", layer)] {
            if let Some(value) = value {
                request[key] = value.into();
            }
        }
        let reply = self.ask(request)?;
        Ok((text(&reply, "to-tag")?, text(&reply, "sdp")?))
    }

    /// Completes a subscription.
    pub fn answer(&self, room: &str, tag: &str, answer: &str) -> Result<(), Failure> {
        let request = json!({
            "command": "subscribe answer", "call-id": self.call(room), "to-tag": tag, "sdp": answer,
        });
        self.ask(request).map(drop)
    }

    /// Ends a subscription. One that has gone with its publisher meanwhile is no fault.
    pub fn unsubscribe(&self, room: &str, tag: &str) -> Result<(), Failure> {
        let request = json!({"command": "unsubscribe", "call-id": self.call(room), "to-tag": tag});
        let reply = self.exchange(&request)?;
        let reason = reply["error-reason"].as_str().unwrap_or_default();
        if GONE.iter().any(|gone| reason.starts_with(gone)) { Ok(()) } else { ok(&request, reply).map(drop) }
    }

    /// Ends a publication and what others receive of it. The call ends with the last of them.
    pub fn withdraw(&self, room: &str, id: &str) -> Result<(), Failure> {
        self.delete(json!({"call-id": self.call(room), "from-tag": id}))
    }

    /// Ends everything in a room.
    pub fn close(&self, room: &str) -> Result<(), Failure> {
        self.delete(json!({"call-id": self.call(room)}))
    }

    fn delete(&self, mut request: Value) -> Result<(), Failure> {
        request["command"] = "delete".into();
        request["delete-delay"] = 0.into();
        self.ask(request).map(drop)
    }

    fn call(&self, room: &str) -> String {
        format!("{}{room}", self.prefix)
    }

    fn ask(&self, request: Value) -> Result<Value, Failure> {
        let reply = self.exchange(&request)?;
        ok(&request, reply)
    }

    fn exchange(&self, request: &Value) -> Result<Value, Failure> {
        // Whoever panicked while asking left a client that can ask again.
        let mut client = self.client.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        client.ask(request).map_err(|error| match error {
            Error::NoReply => "The media daemon does not answer.".to_owned(),
            error => format!("The media daemon cannot be asked: {error}."),
        })
    }
}

/// The reply, unless the daemon refused.
fn ok(request: &Value, reply: Value) -> Result<Value, Failure> {
    match reply["result"].as_str() {
        Some("ok" | "pong") => Ok(reply),
        _ => {
            let reason = reply["error-reason"].as_str().unwrap_or("no reason given");
            Err(format!("The media daemon refused {}: {reason}.", request["command"]))
        }
    }
}

fn text(reply: &Value, key: &str) -> Result<String, Failure> {
    let text = reply[key].as_str().map(str::to_owned);
    text.ok_or_else(|| format!("The media daemon's reply has no {key}."))
}
