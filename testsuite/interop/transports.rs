//! NG and the command line over HTTP, TCP and WebSocket, with the clients that people use: curl, npm's rtpengine-client,
//! Kamailio with its module lwsc.

use crate::Scenario;
use crate::scenarios::{self, Call, PACKETS, TALK, TWO_WAY};
use crate::sip::{Role, Step};
use crate::stage::{self, EXAMPLE, Networks, Stage};
use millrace_testsuite::daemon::Kind;
use millrace_testsuite::{netns, system};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub const ALL: &[Scenario] = &[
    Scenario { name: "curl", what: "every path of HTTP and HTTPS, by curl", needs: curl_needs, run: curl },
    Scenario {
        name: "npm-client",
        what: "npm's rtpengine-client over UDP, TCP and WebSocket",
        needs: npm_needs,
        run: npm,
    },
    Scenario { name: "lwsc", what: "a call of Kamailio over WebSocket", needs: lwsc_needs, run: lwsc },
];

const TCP: &str = "2224";
const HTTP: &str = "2225";
const HTTPS: &str = "2226";
const NG: &str = "Content-Type: application/x-rtpengine-ng";
const LWSC: &str = "/usr/lib/x86_64-linux-gnu/kamailio/modules/lwsc.so";

fn ours(kind: Kind) -> Result<(), String> {
    if kind == Kind::Millrace { Ok(()) } else { Err("its listeners have other defaults".into()) }
}

fn curl_needs(kind: Kind) -> Result<(), String> {
    ours(kind)?;
    let missing = ["curl", "openssl"].into_iter().find(|name| !system::is_installed(name));
    missing.map_or(Ok(()), |name| Err(format!("{name} is not installed")))
}

fn npm_needs(kind: Kind) -> Result<(), String> {
    ours(kind)?;
    if !system::is_installed("node") || !clients().join("node_modules/rtpengine-client").exists() {
        return Err("node or rtpengine-client is not installed; see testsuite/install-packages interop".into());
    }
    Ok(())
}

fn lwsc_needs(kind: Kind) -> Result<(), String> {
    ours(kind)?;
    if Path::new(LWSC).exists() { Ok(()) } else { Err(format!("Kamailio has no {LWSC}")) }
}

fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("out/clients")
}

/// A certificate for `localhost` that `name` stands in.
fn make_certificate(folder: &Path, name: &str) -> Result<(), String> {
    let (key, certificate) = (folder.join("new.key"), folder.join("new.crt"));
    let mut openssl = std::process::Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]);
    openssl.args(["-subj", &format!("/CN={name}"), "-addext", "subjectAltName=DNS:localhost"]);
    netns::run(openssl.arg("-keyout").arg(&key).arg("-out").arg(&certificate))?;
    for (from, to) in [(key, "tls.key"), (certificate, "tls.crt")] {
        fs::rename(&from, folder.join(to)).map_err(|error| format!("{}: {error}", from.display()))?;
    }
    Ok(())
}

struct Curl<'a> {
    networks: &'a Networks,
    folder: &'a Path,
}

impl Curl<'_> {
    fn run(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = self.networks.proxy.command("curl");
        command.args(["-sS", "--max-time", "5", "--cacert"]).arg(self.folder.join("tls.crt"));
        netns::run(command.args(arguments))
    }

    /// Status, content type and body have to be these.
    fn expect(&self, arguments: &[&str], expected: &str) -> Result<(), String> {
        let written = [&["-w", "|%{http_code}|%{content_type}"], arguments].concat();
        let got = self.run(&written)?;
        if got == expected { Ok(()) } else { Err(format!("curl {}: {got}, not {expected}", arguments.join(" "))) }
    }

    fn paths(&self, base: &str) -> Result<usize, String> {
        let at = |path: &str| format!("{base}{path}");
        let plain = "Content-Type: text/plain";
        let rows: &[(&[&str], &str)] = &[
            (&[&at("/ping")], "pong\n|200|text/plain"),
            (&[&at("/cli/list+maxsessions")], "Maximum sessions configured on rtpengine: -1\n|200|text/plain"),
            (
                &["-H", plain, "-d", "list maxsessions", &at("/cli")],
                "Maximum sessions configured on rtpengine: -1\n|200|text/plain",
            ),
            (&["-H", NG, "-d", "1 d7:command4:pinge", &at("/ng")], "1 d6:result4:ponge|200|application/x-rtpengine-ng"),
            (
                &["-H", NG, "-d", "2 {\"command\":\"ping\"}", &at("/ng")],
                "2 {\"result\":\"pong\"}|200|application/x-rtpengine-ng",
            ),
            (&["-H", NG, "-d", "d7:command4:pinge", &at("/ng")], "error|600|text/plain"),
            (
                &[
                    "-H",
                    "Content-Type: application/json; charset=utf-8",
                    "-d",
                    "{\"command\":\"ping\"}",
                    &at("/ng-plain"),
                ],
                "{\"result\":\"pong\"}|200|application/json",
            ),
            (
                &["-H", NG, "-d", "d7:command5:querye", &at("/ng-plain")],
                "d6:result5:error12:error-reason21:No call-id in messagee|200|application/x-rtpengine-ng",
            ),
            (&[&at("/nothing")], "not found|404|text/plain"),
            (&["-d", "x", &at("/ng")], "not found|404|text/plain"),
            (&["-X", "OPTIONS", &at("/anything")], "|200|"),
        ];
        rows.iter().try_for_each(|(arguments, expected)| self.expect(arguments, expected))?;
        let headers = self.run(&["-D", "-", "-o", "/dev/null", &at("/ping")])?.to_lowercase();
        match headers.contains("access-control-allow-origin: *") {
            true => Ok(rows.len()),
            false => Err(format!("no header for other origins: {headers}")),
        }
    }

    /// Waits until the certificate that is shown is the one in the file.
    fn wait_for_certificate(&self) -> Result<(), String> {
        let deadline = Instant::now() + Duration::from_secs(8);
        loop {
            match self.run(&[&format!("https://localhost:{HTTPS}/ping")]) {
                Ok(_) => return Ok(()),
                Err(why) if Instant::now() > deadline => return Err(why),
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }
}

fn options(folder: &Path, token: Option<&str>) -> Vec<String> {
    let mut options = vec![
        format!("--listen-tcp-ng={TCP}"),
        format!("--listen-http={HTTP}"),
        format!("--listen-https={HTTPS}"),
        format!("--https-cert={}", folder.join("tls.crt").display()),
        format!("--https-key={}", folder.join("tls.key").display()),
    ];
    options.extend(token.map(|token| format!("--http-token={token}")));
    options
}

fn curl(kind: Kind, folder: &Path) -> Result<String, String> {
    let networks = Networks::make()?;
    make_certificate(folder, "first")?;
    let mut daemon = stage::launch_daemon(&networks, kind, &options(folder, None), folder)?;
    daemon.wait_for_answer()?;
    let curl = Curl { networks: &networks, folder };
    let count = curl.paths(&format!("http://127.0.0.1:{HTTP}"))? + curl.paths(&format!("https://localhost:{HTTPS}"))?;
    // Nobody elsewhere gets in where no address was given.
    if curl.run(&[&format!("http://{}:{HTTP}/ping", stage::OUTSIDE)]).is_ok() {
        return Err("without an address the daemon listens on all".into());
    }
    // A new file is noticed; so is a signal.
    make_certificate(folder, "second")?;
    curl.wait_for_certificate()?;
    make_certificate(folder, "third")?;
    system::signal(daemon.pid(), libc::SIGHUP).map_err(|error| error.to_string())?;
    curl.wait_for_certificate()?;
    daemon.check_alive()?;
    drop(daemon);

    let token = "interop-0123456789abcdef";
    let mut daemon = stage::launch_daemon(&networks, kind, &options(folder, Some(token)), folder)?;
    daemon.wait_for_answer()?;
    let at = format!("http://127.0.0.1:{HTTP}/cli/list+maxsessions");
    curl.expect(&[&at], "a token is wanted|401|text/plain")?;
    let shown = format!("Authorization: Bearer {token}");
    curl.expect(&["-H", &shown, &at], "Maximum sessions configured on rtpengine: -1\n|200|text/plain")?;
    let settings = curl.run(&["-H", &shown, &format!("http://127.0.0.1:{HTTP}/cli/params+current")])?;
    match settings.contains("http-token = (not shown)") && !settings.contains(token) {
        true => Ok(format!("{count} requests; two new certificates; a token")),
        false => Err("the token can be listed".into()),
    }
}

fn npm(kind: Kind, folder: &Path) -> Result<String, String> {
    let networks = Networks::make()?;
    make_certificate(folder, "npm")?;
    let mut daemon = stage::launch_daemon(&networks, kind, &options(folder, None), folder)?;
    daemon.wait_for_answer()?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/clients/exchange.js");
    let mut node = networks.proxy.command("node");
    node.env("NODE_PATH", clients().join("node_modules")).arg(script).args(["127.0.0.1", "2223", TCP, HTTP]);
    netns::run(&mut node)?;
    daemon.check_alive()?;
    Ok("a call over each, with 100 requests at once over UDP and WebSocket".into())
}

fn lwsc(kind: Kind, folder: &Path) -> Result<String, String> {
    let script = EXAMPLE
        .replace(
            "loadmodule \"rtpengine.so\"",
            "loadmodule \"lwsc.so\"\nloadmodule \"rtpengine.so\"\nmodparam(\"rtpengine\", \"wsapi\", \"lwsc\")",
        )
        .replace("udp:127.0.0.1:2223", &format!("ws://127.0.0.1:{HTTP}/ng"));
    let steps = [TWO_WAY, Step::Talk(TALK), Step::Bye(Role::Caller)];
    let options = [format!("--listen-http={HTTP}")];
    let body = |call: &mut Call| {
        call.talk(1)?;
        call.hang_up(2 * PACKETS)
    };
    scenarios::place_over(|networks| Stage::open_over(networks, kind, &options, &script, folder), &steps, None, body)
}
