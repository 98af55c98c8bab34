//! What operators and their tools measure: metrics as promtool reads them, and limits that a call meets.

use crate::Scenario;
use crate::eyes::{Talk, ctl};
use crate::fastpath::ours;
use crate::scenarios::at;
use crate::stage::{CALLER, Networks, launch_daemon, start_daemon_with};
use millrace_testsuite::daemon::{Daemon, Kind};
use millrace_testsuite::netns::{self, Namespace};
use millrace_testsuite::ng::{Client, Encoding};
use millrace_testsuite::{sdp, system};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub const ALL: &[Scenario] = &[
    Scenario { name: "metrics", what: "promtool reads what is counted of a call", needs: promtool, run: metrics },
    Scenario {
        name: "prometheus",
        what: "Debian's Prometheus scrapes /metrics, with a token, and takes the alert rules",
        needs: prometheus_needs,
        run: prometheus,
    },
    Scenario { name: "limits", what: "new calls are refused at each limit", needs: ours, run: limits },
];

fn promtool(kind: Kind) -> Result<(), String> {
    ours(kind)?;
    if system::is_installed("promtool") { Ok(()) } else { Err("promtool is not installed".into()) }
}

fn prometheus_needs(kind: Kind) -> Result<(), String> {
    ours(kind)?;
    let missing = ["prometheus", "curl"].into_iter().find(|name| !system::is_installed(name));
    missing.map_or(Ok(()), |name| Err(format!("{name} is not installed")))
}

/// Packets each way.
const PACKETS: u16 = 300;
/// RTP with a header that is longer than the packet.
const MALFORMED: [u8; 12] = [0x8f, 8, 0, 1, 0, 0, 0, 1, 0, 0, 0, 9];

fn metrics(kind: Kind, folder: &Path) -> Result<String, String> {
    let networks = Networks::make()?;
    let daemon = start_daemon_with(&networks, kind, "--fastpath=auto", folder)?;
    let talk = Talk::open(&networks, &daemon)?;
    talk.both_ways(0, PACKETS)?;
    for _ in 0..3 {
        talk.caller_sends(&MALFORMED)?;
    }
    std::thread::sleep(Duration::from_millis(100));
    let text = netns::run(ctl(&networks).arg("metrics"))?;
    check_text(&text, folder)?;
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/prometheus-alerts.yml");
    let checked = netns::run(Command::new("promtool").args(["check", "rules"]).arg(rules))?;
    if !checked.contains("SUCCESS") {
        return Err(format!("promtool about the alert rules: {checked}"));
    }
    let packets = u64::from(2 * PACKETS);
    let all = value(&text, "rtpengine_packets_total{type=\"userspace\"}")?
        + value(&text, "rtpengine_packets_total{type=\"kernel\"}")?;
    if all != packets as f64 {
        return Err(format!("{all} packets counted, {packets} sent"));
    }
    let bytes = value(&text, "rtpengine_bytes_total{type=\"userspace\"}")?
        + value(&text, "rtpengine_bytes_total{type=\"kernel\"}")?;
    if bytes != (packets * 172) as f64 {
        return Err(format!("{bytes} bytes counted, {packets} packets of 172 sent"));
    }
    for (series, want) in [
        ("rtpengine_sessions{type=\"own\"}", 1.0),
        ("rtpengine_requests_total{proxy=\"127.0.0.1\",request=\"offer\"}", 1.0),
        ("rtpengine_errors_total{proxy=\"127.0.0.1\"}", 0.0),
        ("millrace_request_duration_seconds_count{request=\"answer\"}", 1.0),
        ("millrace_dropped_packets_total{reason=\"malformed\"}", 3.0),
        ("rtpengine_packet_errors_total{type=\"userspace\"}", 3.0),
        ("rtpengine_ports_used{name=\"external\",address=\"203.0.113.1\"}", 2.0),
        ("rtpengine_packets_lost", 0.0),
        ("millrace_draining", 0.0),
        ("rtpengine_closed_sessions_total{reason=\"terminated\"}", 0.0),
    ] {
        expect(&text, series, want)?;
    }
    let received =
        value(&text, "rtpengine_interface_packets{name=\"external\",address=\"203.0.113.1\",direction=\"ingress\"}")?;
    if received != f64::from(PACKETS) {
        return Err(format!("{received} packets came to the external interface, {PACKETS} were sent"));
    }
    let mut client = daemon.client(Encoding::Bencode)?;
    client.ask(&json!({"command": "delete", "call-id": "same", "from-tag": "a"})).map_err(|error| error.to_string())?;
    let text = netns::run(ctl(&networks).arg("metrics"))?;
    check_text(&text, folder)?;
    for (series, want) in [
        ("rtpengine_sessions{type=\"own\"}", 0.0),
        ("rtpengine_sessions_total", 1.0),
        ("rtpengine_closed_sessions_total{reason=\"terminated\"}", 1.0),
        ("rtpengine_ports_used{name=\"external\",address=\"203.0.113.1\"}", 0.0),
    ] {
        expect(&text, series, want)?;
    }
    let kernel = value(&text, "rtpengine_packets_total{type=\"kernel\"}")?;
    Ok(format!("{packets} packets, {kernel} of them in the kernel; promtool has nothing to say"))
}

const TOKEN: &str = "scraped-by-prometheus";

/// A Prometheus, which ends with this value.
struct Prometheus<'a> {
    child: Child,
    home: &'a Namespace,
}

impl Drop for Prometheus<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl<'a> Prometheus<'a> {
    fn start(home: &'a Namespace, folder: &Path) -> Result<Prometheus<'a>, String> {
        let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/prometheus-alerts.yml");
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: ['{}']\nscrape_configs:\n\
             - job_name: millrace\n  authorization: {{credentials: {TOKEN}}}\n\
             \x20 static_configs: [{{targets: ['127.0.0.1:2225']}}]\n",
            rules.display()
        );
        let file = folder.join("prometheus.yml");
        fs::write(&file, config).map_err(|error| format!("{}: {error}", file.display()))?;
        let log = File::create(folder.join("prometheus.log")).map_err(|error| error.to_string())?;
        let mut command = home.command("prometheus");
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.tsdb.path={}", folder.join("prometheus").display()));
        command.args(["--web.listen-address=127.0.0.1:9090", "--log.level=warn"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        system::end_with_parent(&mut command);
        let child = command.spawn().map_err(|error| format!("prometheus: {error}"))?;
        Ok(Prometheus { child, home })
    }

    fn ask(&self, path: &str) -> Result<Value, String> {
        let mut command = self.home.command("curl");
        let text = netns::run(command.args([
            "-sS",
            "-g",
            "--max-time",
            "5",
            &format!("http://127.0.0.1:9090/api/v1/{path}"),
        ]))?;
        serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))
    }

    /// Asks until the answer is right.
    fn until(&self, path: &str, mut is_right: impl FnMut(&Value) -> bool) -> Result<Value, String> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let answer = self.ask(path);
            match answer {
                Ok(answer) if is_right(&answer["data"]) => return Ok(answer),
                _ if Instant::now() > deadline || system::interrupted() => return Err(format!("{path}: {answer:?}")),
                _ => std::thread::sleep(Duration::from_millis(200)),
            }
        }
    }
}

fn prometheus(kind: Kind, folder: &Path) -> Result<String, String> {
    let networks = Networks::make()?;
    let options = ["--fastpath=auto".into(), "--listen-http=127.0.0.1:2225".into(), format!("--http-token={TOKEN}")];
    let mut daemon = launch_daemon(&networks, kind, &options, folder)?;
    daemon.wait_for_answer()?;
    let prometheus = Prometheus::start(&networks.proxy, folder)?;
    let talk = Talk::open(&networks, &daemon)?;
    talk.both_ways(0, PACKETS)?;
    let target = prometheus.until("targets?state=active", |data| data["activeTargets"][0]["health"] == "up")?;
    let error = &target["data"]["activeTargets"][0]["lastError"];
    if error != "" {
        return Err(format!("Prometheus about /metrics: {error}"));
    }
    let sum = (2 * PACKETS).to_string();
    prometheus
        .until("query?query=sum(rtpengine_packets_total)", |data| data["result"][0]["value"][1] == sum.as_str())?;
    prometheus.until("query?query=rtpengine_sessions{type=\"own\"}", |data| data["result"][0]["value"][1] == "1")?;
    let samples =
        prometheus.until("query?query=scrape_samples_scraped", |data| data["result"][0]["value"][1] != "0")?;
    let is_healthy = |data: &Value| {
        let groups = data["groups"].as_array().filter(|groups| !groups.is_empty());
        let mut rules = groups.into_iter().flatten().flat_map(|group| group["rules"].as_array()).flatten();
        groups.is_some() && rules.all(|rule| rule["health"] == "ok")
    };
    let rules = prometheus.until("rules", is_healthy)?;
    let of_group = |group: &Value| group["rules"].as_array().map_or(0, Vec::len);
    let rules: usize = rules["data"]["groups"].as_array().into_iter().flatten().map(of_group).sum();
    let samples = samples["data"]["result"][0]["value"][1].as_str().unwrap_or_default();
    Ok(format!("{samples} samples a scrape, {rules} alert rules without fault"))
}

/// promtool says nothing about it.
fn check_text(text: &str, folder: &Path) -> Result<(), String> {
    let file = folder.join("metrics.txt");
    fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
    let input = File::open(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let mut command = Command::new("promtool");
    let said = command.args(["check", "metrics"]).stdin(Stdio::from(input)).output();
    let said = said.map_err(|error| format!("promtool: {error}"))?;
    let words = [said.stdout, said.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    if said.status.success() && words.trim().is_empty() { Ok(()) } else { Err(format!("promtool: {words}")) }
}

/// The value of a series.
fn value(text: &str, series: &str) -> Result<f64, String> {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.and_then(|number| number.parse().ok()).ok_or(format!("{series} is not in:\n{text}"))
}

fn expect(text: &str, series: &str, want: f64) -> Result<(), String> {
    let got = value(text, series)?;
    if got == want { Ok(()) } else { Err(format!("{series} is {got}, not {want}")) }
}

const REFUSED: &str = "Parallel session limit reached";

/// A machine that is kept busy until the value is gone.
struct Busy<'a>(&'a AtomicBool);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn limits(kind: Kind, folder: &Path) -> Result<String, String> {
    let networks = Networks::make()?;
    let daemon = start_daemon_with(&networks, kind, "--fastpath=auto", folder)?;
    let talk = Talk::open(&networks, &daemon)?;
    let gate = Gate { networks: &networks, daemon: &daemon };
    gate.passes("new-1")?;

    gate.set("maxsessions", "0")?;
    gate.refuses("new-2", REFUSED)?;
    gate.goes_on()?;
    talk.both_ways(0, 50)?;
    let text = netns::run(ctl(&networks).arg("metrics"))?;
    expect(&text, "millrace_draining", 1.0)?;
    gate.set("maxsessions", "-1")?;
    gate.passes("new-3")?;

    gate.set("maxbw", "1000")?;
    std::thread::scope(|scope| {
        let talking = scope.spawn(|| talk.both_ways(50, 1000));
        let refused = gate.becomes("Bandwidth limit exceeded");
        let on = gate.goes_on();
        talking.join().map_err(|_| "talking panicked".to_owned())??;
        refused.and(on)
    })?;
    gate.set("maxbw", "0")?;
    gate.passes("new-4")?;

    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let busy = Busy(&over);
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
        gate.set("maxcpu", "0.5")?;
        gate.becomes("CPU usage limit exceeded")?;
        gate.goes_on()?;
        gate.set("maxcpu", "0")?;
        gate.passes("new-5")?;
        gate.set("maxload", "0.01")?;
        gate.becomes("Load limit exceeded")?;
        gate.goes_on()?;
        gate.set("maxload", "0")?;
        drop(busy);
        gate.passes("new-6")
    })?;
    let text = netns::run(ctl(&networks).arg("metrics"))?;
    let mut rejected = 0.0;
    for limit in ["sessions", "bandwidth", "cpu", "load"] {
        let count = value(&text, &format!("millrace_rejected_sessions_total{{limit=\"{limit}\"}}"))?;
        if count < 1.0 {
            return Err(format!("no call counted that was refused at the limit of {limit}"));
        }
        rejected += count;
    }
    expect(&text, "rtpengine_closed_sessions_total{reason=\"rejected\"}", rejected)?;
    Ok("sessions, bandwidth, CPU, load; calls that exist go on".into())
}

/// Asks for calls, and sets limits.
struct Gate<'a> {
    networks: &'a Networks,
    daemon: &'a Daemon<'a>,
}

impl Gate<'_> {
    fn set(&self, word: &str, value: &str) -> Result<(), String> {
        let mut command = self.networks.proxy.command("rtpengine-ctl");
        command.args(["-ip", "127.0.0.1", "-port", "9900", "-config-file", "none", "set", word, value]);
        let said = netns::run(&mut command)?;
        if said.starts_with(&format!("Success setting {word} to ")) {
            Ok(())
        } else {
            Err(format!("set {word}: {said}"))
        }
    }

    fn offer(&self, id: &str, supports: &[&str]) -> Result<Value, String> {
        let body = sdp::audio(at(CALLER, 6400)?, 1, &[]);
        let mut client: Client = self.daemon.client(Encoding::Bencode)?;
        let offer = json!({"command": "offer", "call-id": id, "from-tag": "x", "sdp": body, "supports": supports});
        client.ask(&offer).map_err(|error| error.to_string())
    }

    fn passes(&self, id: &str) -> Result<(), String> {
        let reply = self.offer(id, &[])?;
        if reply["result"] == "ok" { Ok(()) } else { Err(format!("{id} should be taken: {reply}")) }
    }

    /// The call that is there is offered anew.
    fn goes_on(&self) -> Result<(), String> {
        self.passes("new-1")
    }

    fn refuses(&self, id: &str, message: &str) -> Result<(), String> {
        let reply = self.offer(id, &["load limit"])?;
        if (&reply["result"], &reply["message"]) != (&"load limit".into(), &message.into()) {
            return Err(format!("{id} should get the result `load limit` with `{message}`: {reply}"));
        }
        let reply = self.offer(id, &[])?;
        if (&reply["result"], &reply["error-reason"]) != (&"error".into(), &REFUSED.into()) {
            return Err(format!("{id} should get the error `{REFUSED}`: {reply}"));
        }
        Ok(())
    }

    /// New calls are refused soon.
    fn becomes(&self, message: &str) -> Result<(), String> {
        let deadline = Instant::now() + Duration::from_secs(15);
        let mut number = 0;
        loop {
            number += 1;
            match self.refuses(&format!("late-{number}-{}", message.len()), message) {
                Ok(()) => return Ok(()),
                Err(why) if Instant::now() > deadline || system::interrupted() => return Err(why),
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }
}
