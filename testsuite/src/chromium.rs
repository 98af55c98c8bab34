//! Chromium without a window, driven through the pipe of its DevTools protocol.

use crate::netns::Namespace;
use crate::system;
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// The program, by the name that Debian gives it.
pub const PROGRAM: &str = "chromium";
/// How long one command may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// The browser reads commands from descriptor 3 and writes to 4; here those are its standard input and output.
const WITH_PIPES: &str = "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null";

const OPTIONS: &[&str] = &[
    "--headless=new",
    "--remote-debugging-pipe",
    // Namespaces and root leave no room for a sandbox of its own.
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    // Host candidates show addresses instead of names that only mDNS resolves.
    "--disable-features=WebRtcHideLocalIpsWithMdns",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    // Pages that nobody sees play and draw all the same.
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
];

/// A running browser; it ends when the value goes out of scope.
pub struct Chromium {
    child: Child,
    commands: RefCell<ChildStdin>,
    messages: Receiver<Value>,
    last_id: Cell<u64>,
}

impl Chromium {
    /// Starts the browser in `namespace`. Its profile goes into `profile`, what it says into `log`.
    pub fn start(namespace: &Namespace, profile: &Path, log: &Path) -> Result<Chromium, String> {
        let fault = |error: std::io::Error| format!("{PROGRAM}: {error}");
        let mut command = namespace.command("sh");
        command.args(["-c", WITH_PIPES, "sh", PROGRAM]).args(OPTIONS);
        command.arg(format!("--user-data-dir={}", profile.display())).env("HOME", profile).arg("about:blank");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(File::create(log).map_err(fault)?);
        system::end_with_parent(&mut command);
        let mut child = command.spawn().map_err(fault)?;
        let (Some(commands), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(format!("{PROGRAM}: no pipes"));
        };
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            let mut output = BufReader::new(output);
            while let Some(message) = next_message(&mut output) {
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        Ok(Chromium { child, commands: RefCell::new(commands), messages, last_id: Cell::new(0) })
    }

    /// Opens a page of its own and runs `script` in it.
    pub fn open(&self, script: &str) -> Result<Page<'_>, String> {
        let page = self.target("about:blank")?;
        page.evaluate(script)?;
        Ok(page)
    }

    /// Opens the page at `url` and waits until its script has set `global`.
    pub fn visit(&self, url: &str, global: &str) -> Result<Page<'_>, String> {
        let page = self.target(url)?;
        let deadline = Instant::now() + PATIENCE;
        // While the page is on its way, what is evaluated may go with the one before it.
        while page.evaluate(&format!("typeof {global}")) != Ok("object".into()) {
            if Instant::now() > deadline || system::interrupted() {
                return Err(format!("{url} sets no {global}"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(page)
    }

    fn target(&self, url: &str) -> Result<Page<'_>, String> {
        let made = self.ask("Target.createTarget", json!({"url": url, "newWindow": true}), None)?;
        let target = made["targetId"].as_str().ok_or("no target")?.to_owned();
        let session = self.ask("Target.attachToTarget", json!({"targetId": target, "flatten": true}), None)?;
        let session = session["sessionId"].as_str().ok_or("no session")?.to_owned();
        Ok(Page { browser: self, target, session })
    }

    /// Sends a command and waits for its result. Events are passed over.
    fn ask(&self, method: &str, parameters: Value, session: Option<&str>) -> Result<Value, String> {
        let id = self.last_id.get() + 1;
        self.last_id.set(id);
        let mut request = json!({"id": id, "method": method, "params": parameters});
        if let Some(session) = session {
            request["sessionId"] = session.into();
        }
        let mut bytes = request.to_string().into_bytes();
        bytes.push(0);
        self.commands.borrow_mut().write_all(&bytes).map_err(|error| format!("{PROGRAM}: {error}"))?;
        let deadline = Instant::now() + PATIENCE;
        while !system::interrupted() {
            let left = deadline.saturating_duration_since(Instant::now()).min(Duration::from_millis(200));
            match self.messages.recv_timeout(left) {
                Ok(message) if message["id"] == id => {
                    let error = message.get("error").map(|error| format!("{method}: {error}"));
                    return error.map_or(Ok(message["result"].clone()), Err);
                }
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => {}
                Err(RecvTimeoutError::Timeout) => return Err(format!("{PROGRAM} does not answer {method}")),
                Err(RecvTimeoutError::Disconnected) => return Err(format!("{PROGRAM} has ended")),
            }
        }
        Err("interrupted".into())
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // Asked to close, the browser ends all its processes. A signal would come to the same, only later.
        let _ = self.commands.borrow_mut().write_all(b"{\"id\":0,\"method\":\"Browser.close\"}\0");
        let started = Instant::now();
        let mut signalled = false;
        while matches!(self.child.try_wait(), Ok(None)) {
            if started.elapsed() > Duration::from_secs(10) {
                eprintln!("{PROGRAM} did not stop on SIGTERM; killed");
                let _ = self.child.kill();
                let _ = self.child.wait();
            } else if started.elapsed() > Duration::from_secs(5) && !signalled {
                signalled = true;
                let _ = system::signal(self.child.id(), libc::SIGTERM);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The next message of the protocol: JSON that ends with a zero byte.
fn next_message(output: &mut BufReader<ChildStdout>) -> Option<Value> {
    let mut bytes = Vec::new();
    output.read_until(0, &mut bytes).ok()?;
    bytes.pop()?;
    serde_json::from_slice(&bytes).ok()
}

/// A page with a script.
pub struct Page<'a> {
    browser: &'a Chromium,
    target: String,
    session: String,
}

impl Page<'_> {
    /// Calls a function of the page's script and waits for what it promises.
    pub fn call(&self, function: &str, argument: Value) -> Result<Value, String> {
        self.evaluate(&format!("{function}({argument})")).map_err(|why| format!("{function}: {why}"))
    }

    /// Closes the tab, as its user would.
    pub fn close(self) -> Result<(), String> {
        self.browser.ask("Target.closeTarget", json!({"targetId": self.target}), None).map(drop)
    }

    fn evaluate(&self, expression: &str) -> Result<Value, String> {
        let parameters = json!({
            "expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true,
        });
        let mut done = self.browser.ask("Runtime.evaluate", parameters, Some(&self.session))?;
        match done.get("exceptionDetails") {
            None => Ok(done["result"]["value"].take()),
            Some(details) => {
                let description = details["exception"]["description"].as_str();
                Err(description.map_or_else(|| details.to_string(), str::to_owned))
            }
        }
    }
}
