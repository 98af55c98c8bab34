//! Calls between two of Debian's baresip through Kamailio: SRTP with keys in the SDP, DTLS-SRTP with ICE, and plain RTP,
//! each side its own. Each sends a tone and records what it hears.

use crate::Scenario;
use crate::scenarios::{Held, at};
use crate::sip::Role;
use crate::stage::{CALLEE, CALLER, Networks, PROXY, Stage};
use hound::WavReader;
use millrace_testsuite::daemon::{Kind, tail};
use millrace_testsuite::{system, tone};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

pub const ALL: &[Scenario] = &[
    Scenario { name: "sdes-to-rtp", what: "baresip with SRTP calls one without", needs: available, run: sdes_to_plain },
    Scenario {
        name: "dtls-to-sdes",
        what: "baresip with DTLS and ICE calls SRTP",
        needs: available,
        run: dtls_to_sdes,
    },
    Scenario { name: "rtp-to-dtls", what: "plain baresip calls DTLS and ICE", needs: available, run: plain_to_dtls },
];

const PROGRAM: &str = "baresip";
/// Where Debian puts its modules.
const MODULES: &str = "/usr/lib/baresip/modules";
/// When the caller hangs up, in seconds after its start.
const CALL_S: u32 = 4;
/// How much longer it may take to go: on a busy machine phones are slow.
const PATIENCE: Duration = Duration::from_secs(15);

/// Parameters of an account, as baresip writes them.
const PLAIN: &str = "";
const SDES: &str = ";mediaenc=srtp-mand";
const DTLS: &str = ";mediaenc=dtls_srtp;medianat=ice";

fn available(_: Kind) -> Result<(), String> {
    if system::is_installed(PROGRAM) { Ok(()) } else { Err(format!("no {PROGRAM}")) }
}

fn sdes_to_plain(kind: Kind, folder: &Path) -> Result<String, String> {
    call(kind, folder, [SDES, PLAIN], "ICE=remove RTP/AVP")
}

fn dtls_to_sdes(kind: Kind, folder: &Path) -> Result<String, String> {
    // baresip takes the longest key, and reads one without its padding as too short.
    call(kind, folder, [DTLS, SDES], "ICE=remove DTLS=off SDES-pad RTP/SAVP")
}

fn plain_to_dtls(kind: Kind, folder: &Path) -> Result<String, String> {
    call(kind, folder, [PLAIN, DTLS], "ICE=force SDES-off UDP/TLS/RTP/SAVPF")
}

/// A call from start to end; `accounts` are the caller's and the callee's parameters, `flags` Kamailio's.
fn call(kind: Kind, folder: &Path, accounts: [&str; 2], flags: &str) -> Result<String, String> {
    let networks = Networks::make()?;
    let mut stage = Stage::open(&networks, kind, flags, folder)?;
    let idle = Held::by(&stage.daemon)?;
    let callee = Baresip::start(&networks, Role::Callee, accounts[1], folder)?;
    stage.wait_for_sip(at(CALLEE, 5060)?)?;
    let mut caller = Baresip::start(&networks, Role::Caller, accounts[0], folder)?;
    caller.wait_for_end()?;
    // Both write their recordings when the call ends; the callee sees that at BYE.
    idle.wait_for(&mut stage.daemon)?;
    let shares = [caller.share_of(tone_hz(Role::Callee))?, callee.share_of(tone_hz(Role::Caller))?];
    if shares.iter().any(|share| *share < 0.8) {
        let logs = [&caller, &callee].map(|side| tail(&side.log));
        return Err(format!("the tones are {shares:.2?} of what was heard\n{}{}", logs[0], logs[1]));
    }
    let statistics = stage.logged_statistics()?;
    let rtp = statistics.split_once("RTP: ").and_then(|(_, rest)| rest.split(';').next()).unwrap_or_default();
    Ok(format!("tones both ways; $rtpestat {rtp}; all freed"))
}

/// The tone of each side in Hz.
fn tone_hz(role: Role) -> f64 {
    if role == Role::Caller { 450.0 } else { 1000.0 }
}

/// A running phone; it ends when the value goes out of scope.
struct Baresip {
    role: Role,
    child: Child,
    home: PathBuf,
    log: PathBuf,
}

impl Baresip {
    /// Starts a phone; the caller dials at once, the callee answers at once.
    fn start(networks: &Networks, role: Role, parameters: &str, folder: &Path) -> Result<Baresip, String> {
        let fault = |error: std::io::Error| format!("{PROGRAM}: {error}");
        let home = folder.join(format!("{role:?}").to_lowercase());
        let log = home.join("baresip.log");
        fs::create_dir_all(&home).map_err(fault)?;
        let (own, user, outbound) = match role {
            Role::Caller => (CALLER, "caller", format!(";outbound=\"sip:{PROXY}\"")),
            Role::Callee => (CALLEE, "callee", String::new()),
        };
        let account = format!("<sip:{user}@{own}>;regint=0;answermode=auto;audio_codecs=pcmu{outbound}{parameters}\n");
        fs::write(home.join("accounts"), account).map_err(fault)?;
        fs::write(home.join("config"), config(own, role, &home)).map_err(fault)?;
        let mut command = networks.home(role).command(PROGRAM);
        command.arg("-v").arg("-f").arg(&home);
        if role == Role::Caller {
            command.args(["-t", &CALL_S.to_string(), "-e", &format!("/dial sip:callee@{CALLEE}")]);
        }
        let output = File::create(&log).map_err(fault)?;
        command.stdin(Stdio::null()).stdout(output.try_clone().map_err(fault)?).stderr(output);
        system::end_with_parent(&mut command);
        let child = command.spawn().map_err(fault)?;
        Ok(Baresip { role, child, home, log })
    }

    /// Waits until the phone has hung up and gone.
    fn wait_for_end(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + Duration::from_secs(u64::from(CALL_S)) + PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > deadline || system::interrupted() {
                return Err(format!("{:?} does not end\n{}", self.role, tail(&self.log)));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// How much of what the phone heard in the middle of the call is a tone of `hz`, from 0 to 1.
    fn share_of(&self, hz: f64) -> Result<f64, String> {
        let fault = |error: std::io::Error| format!("{}: {error}", self.home.display());
        let files = fs::read_dir(&self.home).map_err(fault)?;
        let mut paths = files.filter_map(|entry| entry.ok().map(|entry| entry.path()));
        let recording = paths.find(|path| path.to_string_lossy().ends_with("dec.wav"));
        let Some(path) = recording else {
            return Err(format!("{:?} heard nothing\n{}", self.role, tail(&self.log)));
        };
        let fault = |error: hound::Error| format!("{}: {error}", path.display());
        let mut reader = WavReader::open(&path).map_err(fault)?;
        let rate_hz = f64::from(reader.spec().sample_rate);
        let samples: Vec<i16> = reader.samples().collect::<Result<_, _>>().map_err(fault)?;
        let middle = samples.get(samples.len() / 3..samples.len() * 2 / 3).unwrap_or_default();
        // Less than half a second is no call.
        if (middle.len() as f64) < rate_hz / 2.0 { Ok(0.0) } else { Ok(tone::share(middle, rate_hz, hz)) }
    }
}

impl Drop for Baresip {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Its configuration: a tone as microphone, a recorder before the loudspeaker, nothing that needs hardware.
fn config(own: &str, role: Role, home: &Path) -> String {
    let (hz, home) = (tone_hz(role), home.display());
    let modules = ["stdio", "g711", "sndfile", "ausine", "aubridge", "stun", "ice", "srtp", "dtls_srtp"];
    let modules: String = modules.iter().map(|module| format!("module {module}.so\n")).collect();
    format!(
        "poll_method epoll\nsip_listen {own}:5060\nmodule_path {MODULES}\naudio_source ausine,{hz}\n\
         audio_player aubridge,{role:?}\naudio_alert aubridge,alert\nausrc_srate 48000\nausrc_channels 2\nsnd_path {home}\nrtcp_mux no\n\
         {modules}module_tmp account.so\nmodule_app menu.so\n"
    )
}
