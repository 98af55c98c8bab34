//! Network namespaces and the cables between them, removed when the value goes out of scope.

use crate::system;
use std::fs::File;
use std::io;
use std::process::Command;

/// Why something could not be made, with what the tool said.
pub type Failure = String;

/// Names begin with this and the process id of their maker.
const PREFIX: &str = "millrace-test-";

/// A network namespace with its loopback interface up and forwarding off.
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes a namespace. `role` tells it from others of this process.
    pub fn make(role: &str) -> Result<Namespace, Failure> {
        let namespace = Namespace { name: format!("{PREFIX}{}-{role}", std::process::id()) };
        ip(&["netns", "add", &namespace.name])?;
        for setting in ["net.ipv4.ip_forward=0", "net.ipv6.conf.all.forwarding=0", "net.ipv6.conf.all.accept_dad=0"] {
            run(namespace.command("sysctl").args(["-q", "-w", setting]))?;
        }
        namespace.ip(&["link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// The name that `ip netns` knows it by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command that will run inside, under the process id it is started with.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Runs `ip` for this namespace.
    pub fn ip(&self, arguments: &[&str]) -> Result<String, Failure> {
        let mut all = vec!["-n", &self.name];
        all.extend(arguments);
        ip(&all)
    }

    /// Adds an address (`ADDRESS/LENGTH`) to an interface, usable at once.
    pub fn add_address(&self, interface: &str, address: &str) -> Result<(), Failure> {
        let mut arguments = vec!["addr", "add", address, "dev", interface];
        if address.contains(':') {
            arguments.push("nodad");
        }
        self.ip(&arguments).map(drop)
    }

    /// Moves the calling thread inside, for good; threads and processes that it starts follow.
    pub fn enter(&self) -> io::Result<()> {
        system::enter_network_namespace(&self.open()?)
    }

    /// Runs `work` inside: sockets that it opens stay in the namespace.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        let file = self.open()?;
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || system::enter_network_namespace(&file).map(|()| work()));
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn open(&self) -> io::Result<File> {
        File::open(format!("/run/netns/{}", self.name))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(why) = ip(&["netns", "delete", &self.name]) {
            eprintln!("could not remove network namespace {}: {why}", self.name);
        }
    }
}

/// Joins two namespaces by a virtual cable with one named interface on each side, both up.
pub fn join(one: (&Namespace, &str), other: (&Namespace, &str)) -> Result<(), Failure> {
    let (here, there) = (one.0.name(), other.0.name());
    ip(&["link", "add", one.1, "netns", here, "type", "veth", "peer", "name", other.1, "netns", there])?;
    one.0.ip(&["link", "set", one.1, "up"])?;
    other.0.ip(&["link", "set", other.1, "up"])?;
    if system::is_installed("ethtool") {
        // Without it, a veth does not take what an XDP program on the other side redirects to it.
        for (home, interface) in [one, other] {
            run(home.command("ethtool").args(["-K", interface, "gro", "on"]))?;
        }
    }
    Ok(())
}

/// Removes namespaces that a killed run of these tools left behind.
pub fn remove_leftovers() {
    let Ok(list) = ip(&["netns", "list"]) else { return };
    for name in list.lines().filter_map(|line| line.split(' ').next()) {
        let maker = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if maker.is_some_and(|pid| !std::path::Path::new(&format!("/proc/{pid}")).exists()) {
            drop(Namespace { name: name.to_owned() });
        }
    }
}

/// Whether namespaces can be made here; the reason when not.
pub fn available() -> Result<(), Failure> {
    if !system::is_root() {
        return Err("network namespaces need root".into());
    }
    Namespace::make("probe").map(drop)
}

fn ip(arguments: &[&str]) -> Result<String, Failure> {
    run(Command::new("ip").args(arguments))
}

/// Runs a command to its end; its output, or what it said on failure.
pub fn run(command: &mut Command) -> Result<String, Failure> {
    let output = command.output().map_err(|error| format!("{}: {error}", command.get_program().to_string_lossy()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = if said.trim().is_empty() { String::from_utf8_lossy(&output.stdout) } else { said };
    Err(format!("{command:?}: {}", said.trim()))
}
