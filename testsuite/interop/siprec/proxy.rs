//! The NG requests of SIP servers that record a call, byte by byte in the order in which their modules write the keys.

use millrace_testsuite::ng::{Client, encode};
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

pub const CALL_ID: &str = "1-4711@203.0.113.10";
pub const CALLER_TAG: &str = "as6e1f20ab";
pub const CALLEE_TAG: &str = "2xk1-1";

/// Whose module it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Module {
    /// OpenSIPS 3.2 and later: the words of a script stand in `flags`.
    OpenSips,
    /// Kamailio 6: the script's words go out as they are, in `rtpp-flags`.
    Kamailio,
}

/// What a subscription asks for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted<'a> {
    /// Protocol of the legs; none leaves them as the parties' are.
    pub protocol: Option<&'a str>,
    /// The subscription that is asked for anew.
    pub to_tag: Option<&'a str>,
    pub is_paused: bool,
}

/// A module's connection to the daemon.
pub struct Proxy {
    module: Module,
    client: RefCell<Client>,
    asked: Cell<u32>,
    /// What was asked and answered.
    log: PathBuf,
}

impl Proxy {
    pub fn new(module: Module, client: Client, log: PathBuf) -> Proxy {
        Proxy { module, client: RefCell::new(client), asked: Cell::new(0), log }
    }

    /// Passes the caller's offer on; what the callee gets.
    pub fn offer(&self, sdp: &str) -> Result<String, String> {
        let reply = self.must(&json!({
            "sdp": sdp, "ICE": "remove", "flags": ["trust-address"], "direction": ["external", "internal"],
            "replace": ["origin"], "transport-protocol": "RTP/AVP", "call-id": CALL_ID,
            "received-from": ["IP4", "203.0.113.10"], "from-tag": CALLER_TAG, "command": "offer",
        }))?;
        text(&reply, "sdp")
    }

    /// Passes the callee's answer on; what the caller gets.
    pub fn answer(&self, sdp: &str) -> Result<String, String> {
        let reply = self.must(&json!({
            "sdp": sdp, "flags": ["trust-address"], "replace": ["origin"], "call-id": CALL_ID,
            "received-from": ["IP4", "10.0.0.20"], "from-tag": CALLER_TAG, "to-tag": CALLEE_TAG, "command": "answer",
        }))?;
        text(&reply, "sdp")
    }

    pub fn subscribe(&self, wanted: Wanted) -> Result<Value, String> {
        self.must(&subscribe_request(self.module, wanted))
    }

    /// Hands the recorder's answer on. The reply may be an error.
    pub fn subscribe_answer(&self, to_tag: &str, sdp: &str) -> Result<Value, String> {
        self.ask(&subscribe_answer(self.module, to_tag, sdp))
    }

    /// Ends a subscription. The reply may be an error.
    pub fn unsubscribe(&self, to_tag: &str) -> Result<Value, String> {
        self.ask(&unsubscribe(self.module, to_tag))
    }

    /// Ends the call, as OpenSIPS does: without a from-tag.
    pub fn delete(&self) -> Result<(), String> {
        let request = json!({"call-id": CALL_ID, "received-from": ["IP4", "203.0.113.10"], "command": "delete"});
        self.must(&request).map(drop)
    }

    /// A request that must succeed.
    pub fn must(&self, request: &Value) -> Result<Value, String> {
        let reply = self.ask(request)?;
        if reply["result"] == "ok" { Ok(reply) } else { Err(format!("{}: {reply}", request["command"])) }
    }

    fn ask(&self, request: &Value) -> Result<Value, String> {
        let number = self.asked.get();
        self.asked.set(number + 1);
        let cookie = match self.module {
            Module::OpenSips => format!("31270_1804289383_{number}"),
            Module::Kamailio => format!("1_1303767063_{number}"),
        };
        let mut bytes = Vec::new();
        encode(request, &mut bytes);
        let reply = self.client.borrow_mut().ask_as_is(&cookie, &bytes);
        let reply = reply.map_err(|error| format!("{}: {error}", request["command"]))?;
        if let Ok(mut log) = OpenOptions::new().create(true).append(true).open(&self.log) {
            let _ = writeln!(log, "{cookie} {}\n{reply}", String::from_utf8_lossy(&bytes));
        }
        Ok(reply)
    }
}

fn text(reply: &Value, key: &str) -> Result<String, String> {
    reply[key].as_str().map(str::to_owned).ok_or(format!("no {key} in {reply}"))
}

/// A request whose keys stand in the order given; those without a value are left out.
fn ordered(keys: impl IntoIterator<Item = (&'static str, Option<Value>)>) -> Value {
    Value::Object(keys.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect())
}

fn subscribe_request(module: Module, wanted: Wanted) -> Value {
    let pause = wanted.is_paused.then_some("inactive");
    let words = ["all", "siprec"].into_iter().chain(pause);
    match module {
        // SIPREC forks are asked for without a SIP message at hand: the module makes one up, with the tag 1.
        Module::OpenSips => ordered([
            ("call-id", Some(json!(CALL_ID))),
            ("flags", Some(words.collect())),
            ("transport-protocol", wanted.protocol.map(Value::from)),
            ("received-from", Some(json!(["IP4", "0.0.0.0"]))),
            ("from-tag", Some(json!("1"))),
            ("to-tag", wanted.to_tag.map(Value::from)),
            ("command", Some(json!("subscribe request"))),
        ]),
        Module::Kamailio => {
            let protocol = wanted.protocol.map(|protocol| format!("transport-protocol={protocol}"));
            let to_tag = wanted.to_tag.map(|tag| format!("to-tag={tag}"));
            let words: Vec<String> = words.map(str::to_owned).chain(protocol).chain(to_tag).collect();
            kamailio(json!(words.join(" ")), None, "subscribe request")
        }
    }
}

fn subscribe_answer(module: Module, to_tag: &str, sdp: &str) -> Value {
    match module {
        Module::OpenSips => json!({
            "call-id": CALL_ID, "to-tag": to_tag, "from-tag": CALLEE_TAG, "sdp": sdp, "command": "subscribe answer",
        }),
        Module::Kamailio => kamailio(json!(format!("to-tag={to_tag}")), Some(sdp), "subscribe answer"),
    }
}

fn unsubscribe(module: Module, to_tag: &str) -> Value {
    match module {
        Module::OpenSips => {
            json!({"call-id": CALL_ID, "to-tag": to_tag, "from-tag": CALLEE_TAG, "command": "unsubscribe"})
        }
        Module::Kamailio => kamailio(json!(format!("to-tag={to_tag}")), None, "unsubscribe"),
    }
}

/// A request of Kamailio's about the dialogue: its own tags go along, whatever the words say.
fn kamailio(words: Value, sdp: Option<&str>, command: &str) -> Value {
    ordered([
        ("supports", Some(json!(["load limit"]))),
        ("sdp", sdp.map(Value::from)),
        ("rtpp-flags", Some(words)),
        ("call-id", Some(json!(CALL_ID))),
        ("received-from", Some(json!(["IP4", "203.0.113.10"]))),
        ("from-tag", Some(json!(CALLER_TAG))),
        ("to-tag", Some(json!(CALLEE_TAG))),
        ("command", Some(json!(command))),
        ("sip-message-type", Some(json!("sip_request"))),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(request: &Value) -> String {
        let mut bytes = Vec::new();
        encode(request, &mut bytes);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn opensips_writes_these_bytes() {
        let first = subscribe_request(Module::OpenSips, Wanted::default());
        assert_eq!(
            bytes(&first),
            "d7:call-id19:1-4711@203.0.113.105:flagsl3:all6:siprece13:received-froml3:IP47:0.0.0.0e\
             8:from-tag1:17:command17:subscribe requeste"
        );
        let paused = Wanted { to_tag: Some("ab"), is_paused: true, ..Wanted::default() };
        assert_eq!(
            bytes(&subscribe_request(Module::OpenSips, paused)),
            "d7:call-id19:1-4711@203.0.113.105:flagsl3:all6:siprec8:inactivee13:received-froml3:IP47:0.0.0.0e\
             8:from-tag1:16:to-tag2:ab7:command17:subscribe requeste"
        );
        assert_eq!(
            bytes(&subscribe_answer(Module::OpenSips, "ab", "v=0")),
            "d7:call-id19:1-4711@203.0.113.106:to-tag2:ab8:from-tag6:2xk1-13:sdp3:v=07:command16:subscribe answere"
        );
        assert_eq!(
            bytes(&unsubscribe(Module::OpenSips, "ab")),
            "d7:call-id19:1-4711@203.0.113.106:to-tag2:ab8:from-tag6:2xk1-17:command11:unsubscribee"
        );
    }

    #[test]
    fn kamailio_writes_these_bytes() {
        let again = Wanted { to_tag: Some("ab"), is_paused: true, ..Wanted::default() };
        assert_eq!(
            bytes(&subscribe_request(Module::Kamailio, again)),
            "d8:supportsl10:load limite10:rtpp-flags29:all siprec inactive to-tag=ab7:call-id19:1-4711@203.0.113.10\
             13:received-froml3:IP412:203.0.113.10e8:from-tag10:as6e1f20ab6:to-tag6:2xk1-17:command\
             17:subscribe request16:sip-message-type11:sip_requeste"
        );
    }
}
