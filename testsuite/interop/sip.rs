//! SIPp scenarios put together from steps, and SIPp processes that play them.

use millrace_testsuite::netns::Namespace;
use millrace_testsuite::system;
use std::fmt::Write;
use std::fs::{self, File};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// Who plays a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Caller,
    Callee,
}

/// One part of a scenario. Each role reads it from its own side.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    /// INVITE with the offer's direction, ringing, 200 with the answer's direction, ACK. The second is a re-INVITE.
    Invite { offer: &'static str, answer: &'static str },
    /// INVITE, ringing, CANCEL, 487, ACK.
    InviteAndCancel,
    /// Both play the recorded G.711 of the pcap file at this path.
    Play(&'static str),
    /// Time passes: the side that acts next waits, the other is ready for it.
    Talk(Duration),
    /// BYE from this side.
    Bye(Role),
    /// BYE from the proxy, to both.
    HungUp,
}

/// What a phone says about itself.
#[derive(Debug, Clone, Copy)]
pub struct Phone {
    /// Where SIP is bound.
    pub sip: SocketAddr,
    /// The address in Contact and SDP.
    pub claims: SocketAddr,
}

/// A SIPp process.
pub struct Sipp {
    role: Role,
    child: Child,
    log: PathBuf,
    /// Where SIPp says why it fails.
    errors: PathBuf,
}

/// What the daemon wrote into the SDP that a phone received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    pub media: SocketAddr,
    pub direction: String,
}

impl Sipp {
    /// Starts SIPp in `namespace`; scenario, logs and messages are kept in `folder`.
    pub fn start(
        namespace: &Namespace,
        role: Role,
        steps: &[Step],
        (phone, proxy, callee): (Phone, SocketAddr, SocketAddr),
        folder: &Path,
    ) -> Result<Sipp, String> {
        let name = if role == Role::Caller { "caller" } else { "callee" };
        let file = |ending: &str| folder.join(format!("{name}{ending}"));
        let fault = |error: std::io::Error| format!("SIPp {name}: {error}");
        fs::write(file(".xml"), scenario(role, steps)).map_err(fault)?;
        let (log, errors) = (file(".log"), file("-errors.log"));
        let _ = fs::remove_file(&log);
        let _ = fs::remove_file(&errors);

        let mut command = namespace.command("sipp");
        if role == Role::Caller {
            command.arg(proxy.to_string());
        }
        command.arg("-sf").arg(file(".xml"));
        command.arg("-i").arg(bracketed(phone.sip.ip())).args(["-p", &phone.sip.port().to_string()]);
        command.args([
            "-mi",
            &bracketed(phone.sip.ip()),
            "-m",
            "1",
            "-nostdin",
            "-trace_err",
            "-trace_logs",
            "-trace_msg",
        ]);
        command.args(["-timeout", "60", "-timeout_error", "-recv_timeout", "20000"]);
        command.arg("-log_file").arg(&log).arg("-error_file").arg(&errors);
        command.arg("-message_file").arg(file("-messages.log"));
        let claimed = phone.claims.ip();
        command.args(["-key", "claimed_host", &bracketed(claimed), "-key", "claimed_address", &claimed.to_string()]);
        command.args(["-key", "callee", &callee.to_string()]);
        command.args(["-key", "claimed_port", &phone.claims.port().to_string()]);
        command.args(["-key", "claimed_family", if claimed.is_ipv4() { "4" } else { "6" }]);
        command.env("TERM", "dumb").current_dir(folder).stdin(Stdio::null());
        command.stdout(File::create(file("-screen.log")).map_err(fault)?).stderr(Stdio::null());
        system::end_with_parent(&mut command);
        let child = command.spawn().map_err(fault)?;
        Ok(Sipp { role, child, log, errors })
    }

    /// Waits for the `count`th SDP that this phone receives.
    pub fn offered(&mut self, count: usize) -> Result<Offered, String> {
        let deadline = Instant::now() + Duration::from_secs(15);
        while Instant::now() < deadline && !system::interrupted() {
            let text = fs::read_to_string(&self.log).unwrap_or_default();
            let mut lines = text.lines().filter_map(|line| line.split_once("media ").map(|(_, rest)| rest));
            if let Some(line) = lines.nth(count - 1).filter(|line| line.ends_with('.')) {
                return parse_offered(line).ok_or(format!("{:?}: SDP without an address: {line}", self.role));
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("SIPp {:?} ended early: {status}{}", self.role, self.complaint()));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Err(format!("{:?} received no SDP number {count}", self.role))
    }

    /// Waits for the end of the scenario.
    pub fn finish(&mut self) -> Result<(), String> {
        while !system::interrupted() {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => {
                    return Err(format!("SIPp {:?} failed: {status}{}", self.role, self.complaint()));
                }
                Ok(None) => std::thread::sleep(Duration::from_millis(10)),
                Err(error) => return Err(error.to_string()),
            }
        }
        Err("interrupted".into())
    }

    /// What SIPp wrote of its failure, in one line.
    fn complaint(&self) -> String {
        let text = fs::read_to_string(&self.errors).unwrap_or_default();
        let words: Vec<&str> = text.split_whitespace().collect();
        if words.is_empty() { String::new() } else { format!(": {}", words.join(" ")) }
    }
}

impl Drop for Sipp {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn parse_offered(line: &str) -> Option<Offered> {
    let mut words = line.trim_end_matches('.').split('|');
    let port = words.next()?.parse().ok()?;
    let address: IpAddr = words.next()?.parse().ok()?;
    Some(Offered { media: SocketAddr::new(address, port), direction: words.next()?.to_owned() })
}

fn bracketed(address: IpAddr) -> String {
    if address.is_ipv4() { address.to_string() } else { format!("[{address}]") }
}

/// The XML of a scenario.
fn scenario(role: Role, steps: &[Step]) -> String {
    let plays = steps.iter().any(|step| matches!(step, Step::Play(_)));
    let mut writer = Writer { xml: String::new(), plays, invites: 0 };
    for (index, step) in steps.iter().enumerate() {
        match (role, *step) {
            (Role::Caller, Step::Invite { offer, .. }) => writer.call(offer),
            (Role::Callee, Step::Invite { answer, .. }) => writer.accept(answer),
            (Role::Caller, Step::InviteAndCancel) => writer.call_and_cancel(),
            (Role::Callee, Step::InviteAndCancel) => writer.ring_until_cancelled(),
            (_, Step::Play(path)) => writer.play(path),
            (_, Step::Talk(time)) if steps.get(index + 1).map(actor) == Some(role) => writer.pause(time),
            (_, Step::Talk(_)) => {}
            (own, Step::Bye(side)) if own == side => writer.hang_up(own),
            (_, Step::Bye(_)) => writer.await_bye(Duration::ZERO),
            (_, Step::HungUp) => writer.await_bye(HESITATION),
        }
    }
    format!(
        "<?xml version=\"1.0\" encoding=\"ISO-8859-1\" ?>\n<scenario name=\"{role:?}\">\n{}</scenario>\n",
        writer.xml
    )
}

/// Who begins a step.
fn actor(step: &Step) -> Role {
    match step {
        Step::Bye(side) => *side,
        _ => Role::Caller,
    }
}

/// How long a phone takes to answer a BYE of the proxy. Kamailio sends none to the second phone when the first answers before
/// its turn (kamailio/kamailio, issues 4169 and 4268).
const HESITATION: Duration = Duration::from_millis(100);

/// Notes where the received SDP wants media; the final dot says that the line is whole.
const LEARN: &str = r#"<action>
    <ereg regexp="c=IN IP[46] ([^[:space:]]+)" search_in="body" check_it="true" assign_to="line,address" />
    <ereg regexp="m=audio ([0-9]+)" search_in="body" check_it="true" assign_to="line,port" />
    <ereg regexp="a=(sendrecv|sendonly|recvonly|inactive)" search_in="body" check_it="false" assign_to="line,direction" />
    <log message="media [$port]|[$address]|[$direction]." />
  </action>"#;

struct Writer {
    xml: String,
    /// SIPp itself is the media endpoint.
    plays: bool,
    /// INVITEs so far.
    invites: u32,
}

impl Writer {
    fn call(&mut self, direction: &str) {
        self.invites += 1;
        let body = self.sdp(direction);
        self.request("INVITE", &body);
        self.receive(&["response=\"100\" optional=\"true\"", "response=\"180\" optional=\"true\""]);
        self.element("response=\"200\" rrs=\"true\"", LEARN);
        self.request("ACK", "");
    }

    fn accept(&mut self, direction: &str) {
        self.await_invite();
        let body = self.sdp(direction);
        self.reply("180 Ringing", "");
        self.reply("200 OK", &body);
        self.receive(&["request=\"ACK\""]);
    }

    fn call_and_cancel(&mut self) {
        self.invites += 1;
        let body = self.sdp("sendrecv");
        self.request("INVITE", &body);
        self.receive(&["response=\"100\" optional=\"true\"", "response=\"180\""]);
        self.pause(Duration::from_millis(500));
        self.request("CANCEL", "");
        self.receive(&["response=\"200\"", "response=\"487\""]);
        self.request("ACK", "");
    }

    fn ring_until_cancelled(&mut self) {
        self.await_invite();
        self.reply("180 Ringing", "");
        self.receive(&["request=\"CANCEL\""]);
        self.reply("200 OK", "");
        // The reply to the INVITE itself: its CSeq, not that of the CANCEL.
        let text = "SIP/2.0 487 Request Terminated\n[last_Via:]\n[last_From:]\n[last_To:];tag=callee-[call_number]\n\
                    [last_Call-ID:]\nCSeq: 1 INVITE\nContent-Length: 0\n\n";
        self.send("retrans=\"500\"", text);
        self.receive(&["request=\"ACK\""]);
    }

    fn hang_up(&mut self, side: Role) {
        match side {
            Role::Caller => self.request("BYE", ""),
            Role::Callee => {
                let text = "BYE [next_url] SIP/2.0\nVia: SIP/2.0/UDP [local_ip]:[local_port];branch=z9hG4bK-bye-[pid]-[call_number]\n[routes]\n\
                            Max-Forwards: 70\nFrom: <sip:callee@[local_ip]:[local_port]>;tag=callee-[call_number]\nTo:[$caller]\n\
                            Call-ID: [call_id]\nCSeq: 1 BYE\nContent-Length: 0\n\n";
                self.send("retrans=\"500\"", text);
            }
        }
        self.receive(&["response=\"200\""]);
    }

    fn await_bye(&mut self, hesitation: Duration) {
        self.receive(&["request=\"BYE\""]);
        if !hesitation.is_zero() {
            self.pause(hesitation);
        }
        let text = "SIP/2.0 200 OK\n[last_Via:]\n[last_From:]\n[last_To:]\n[last_Call-ID:]\n[last_CSeq:]\nContent-Length: 0\n\n";
        self.send("", text);
    }

    fn await_invite(&mut self) {
        self.invites += 1;
        let remember = "<action>\n    <ereg regexp=\".*\" search_in=\"hdr\" header=\"From:\" assign_to=\"caller\" />";
        let learn = LEARN.replacen("<action>", remember, 1);
        self.element("request=\"INVITE\" rrs=\"true\"", if self.invites == 1 { &learn } else { LEARN });
        // SIPp refuses scenarios with a variable that is not used, and only BYE from here uses this one.
        self.xml.push_str("<Reference variables=\"caller\" />\n");
    }

    fn play(&mut self, path: &str) {
        let _ = writeln!(self.xml, "<nop><action><exec play_pcap_audio=\"{path}\"/></action></nop>");
    }

    fn pause(&mut self, time: Duration) {
        let _ = writeln!(self.xml, "<pause milliseconds=\"{}\" />", time.as_millis());
    }

    /// A request of the caller.
    fn request(&mut self, method: &str, body: &str) {
        let number = self.invites;
        let cancelled = self.xml.contains("CANCEL ");
        // CANCEL, and ACK for a failure, belong to the INVITE's transaction and take its path (RFC 3261, 9.1, 17.1.1.3).
        let transaction = match method {
            "ACK" if !cancelled => "ack",
            "BYE" => "bye",
            _ => "invite",
        };
        let first = transaction == "invite" && number == 1;
        let (target, routes) = if first { ("sip:callee@[callee]", "") } else { ("[next_url]", "[routes]\n") };
        let to = if first && method != "ACK" { "" } else { "[peer_tag_param]" };
        let cseq = number + u32::from(method == "BYE");
        let mut text = format!(
            "{method} {target} SIP/2.0\n\
             Via: SIP/2.0/UDP [local_ip]:[local_port];branch=z9hG4bK-{transaction}-{number}-[pid]-[call_number]\n{routes}\
             Max-Forwards: 70\nFrom: <sip:caller@[claimed_host]>;tag=caller-[call_number]\n\
             To: <sip:callee@[callee]>{to}\nCall-ID: [call_id]\nCSeq: {cseq} {method}\n"
        );
        if method == "INVITE" {
            text.push_str("Contact: <sip:caller@[claimed_host]:[local_port]>\n");
        }
        finish(&mut text, body);
        self.send(if method == "ACK" { "" } else { "retrans=\"500\"" }, &text);
    }

    /// A reply of the callee to its last INVITE.
    fn reply(&mut self, status: &str, body: &str) {
        let tag = if self.invites == 1 { ";tag=callee-[call_number]" } else { "" };
        let mut text = format!(
            "SIP/2.0 {status}\n[last_Via:]\n[last_Record-Route:]\n[last_From:]\n[last_To:]{tag}\n[last_Call-ID:]\n[last_CSeq:]\n\
             Contact: <sip:callee@[claimed_host]:[local_port]>\n"
        );
        finish(&mut text, body);
        self.send(if body.is_empty() { "" } else { "retrans=\"500\"" }, &text);
    }

    fn sdp(&self, direction: &str) -> String {
        let (family, address, port) = if self.plays {
            ("[media_ip_type]", "[media_ip]", "[media_port]")
        } else {
            ("[claimed_family]", "[claimed_address]", "[claimed_port]")
        };
        let version = self.invites;
        format!(
            "v=0\no=- 4711 {version} IN IP{family} {address}\ns=-\nc=IN IP{family} {address}\nt=0 0\n\
             m=audio {port} RTP/AVP 8\na=rtpmap:8 PCMA/8000\na={direction}\n"
        )
    }

    fn send(&mut self, attributes: &str, text: &str) {
        let _ = writeln!(self.xml, "<send {attributes}><![CDATA[\n\n{text}\n]]></send>");
    }

    fn receive(&mut self, messages: &[&str]) {
        for message in messages {
            let _ = writeln!(self.xml, "<recv {message} />");
        }
    }

    fn element(&mut self, message: &str, inside: &str) {
        let _ = writeln!(self.xml, "<recv {message}>\n  {inside}\n</recv>");
    }
}

fn finish(text: &mut String, body: &str) {
    if body.is_empty() {
        text.push_str("Content-Length: 0\n\n");
    } else {
        let _ = write!(text, "Content-Type: application/sdp\nContent-Length: [len]\n\n{body}");
    }
}
