//! Puts command line, file and environment together.

use super::ini::Ini;
use super::interface::InterfaceEntry;
use super::table::{ENVIRONMENT, Kind, OptionRow, Status, Value, find};
use super::{Config, System, command_line};
use std::fmt;
use std::io::ErrorKind;

/// What a command line asks for.
#[derive(Debug)]
pub enum Outcome {
    /// Print this and exit with success.
    Print(String),
    Run(Box<Loaded>),
}

/// A configuration and where it came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub config: Config,
    /// The options that were given, with their values, in the order of the table.
    settings: Vec<Setting>,
}

/// Something that keeps the daemon from starting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Where it stands: the file and line, or the command line; empty when nothing is there that should be.
    pub place: String,
    pub text: String,
}

#[derive(Debug, Clone)]
struct Setting {
    row: &'static OptionRow,
    value: Value,
    place: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place.as_str() {
            "" => f.write_str(&self.text),
            place => write!(f, "{place}: {}", self.text),
        }
    }
}

impl std::error::Error for ConfigError {}

/// Loads a configuration. `arguments` begins with the program's name. All errors are given, not the first alone.
pub fn load(arguments: &[String], system: &dyn System) -> Result<Outcome, Vec<ConfigError>> {
    let given = command_line::parse(arguments).map_err(|text| vec![error("", text.trim_end())])?;
    let is_on = |name: &str| {
        given.iter().any(|(row, texts)| row.name == name && texts.last().is_some_and(|text| text == "true"))
    };
    if is_on("help") {
        return Ok(Outcome::Print(command_line::help()));
    }
    if is_on("version") {
        return Ok(Outcome::Print(concat!("millrace ", env!("CARGO_PKG_VERSION"), "\n").to_owned()));
    }
    let mut loader =
        Loader { system, ini: Ini::default(), settings: Vec::new(), warnings: Vec::new(), errors: Vec::new() };
    let text_of = |name: &str| given.iter().find(|(row, _)| row.name == name).and_then(|(_, texts)| texts.last());
    loader.read_file(text_of("config-file"), text_of("config-section"));
    for (row, texts) in &given {
        loader.assign(row, texts, "command line");
    }
    loader.build().map(|loaded| Outcome::Run(Box::new(loaded)))
}

impl Loaded {
    /// Loads anew and takes over what can change in a running daemon; also gives the options that changed and cannot.
    pub fn reload(
        &self,
        arguments: &[String],
        system: &dyn System,
    ) -> Result<(Loaded, Vec<&'static str>), Vec<ConfigError>> {
        let Outcome::Run(new) = load(arguments, system)? else { return Ok((self.clone(), Vec::new())) };
        let mut needs_restart = Vec::new();
        for section in super::table::sections() {
            for row in section.rows.iter().filter(|row| !row.is_reloadable) {
                if self.value(row.name) != new.value(row.name) {
                    needs_restart.push(row.name);
                }
            }
        }
        let mut loaded = *new;
        loaded.keep_what_cannot_change(&self.config);
        Ok((loaded, needs_restart))
    }

    /// The value that an option was given.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.settings.iter().find(|setting| setting.row.name == name).map(|setting| &setting.value)
    }

    /// Every option with its value, or its default when it was not given.
    pub fn settings(&self) -> impl Iterator<Item = (&'static OptionRow, Option<Value>)> {
        let rows = super::table::sections().iter().flat_map(|section| section.rows);
        rows.map(|row| (row, self.value(row.name).cloned().or_else(|| row.default_value())))
    }

    fn keep_what_cannot_change(&mut self, old: &Config) {
        let new = std::mem::replace(&mut self.config, old.clone());
        self.config.timeouts = new.timeouts;
        self.config.limits = new.limits;
        self.config.templates = new.templates;
        self.config.control.tos = new.control.tos;
        self.config.control.token = new.control.token;
        self.config.control.allowed = new.control.allowed;
        self.config.log.level = new.log.level;
        self.config.log.subsystem_levels = new.log.subsystem_levels;
        self.config.warnings = new.warnings;
    }
}

struct Loader<'a> {
    system: &'a dyn System,
    ini: Ini,
    settings: Vec<Setting>,
    warnings: Vec<String>,
    errors: Vec<ConfigError>,
}

impl Loader<'_> {
    fn read_file(&mut self, path: Option<&String>, section: Option<&String>) {
        let default = |name: &str| find(name).map_or("", |row| row.default);
        let is_default = path.is_none();
        let path = path.map_or(default("config-file"), String::as_str);
        let section = section.map_or(default("config-section"), String::as_str);
        if path == "none" {
            return;
        }
        let text = match self.system.read_file(path) {
            Ok(text) => text,
            Err(missing) if is_default && missing.kind() == ErrorKind::NotFound => return,
            Err(cause) => return self.errors.push(error(path, &format!("cannot be read: {cause}"))),
        };
        match Ini::parse(&text) {
            Ok(ini) => self.ini = ini,
            Err(text) => return self.errors.push(error(path, &text)),
        }
        self.read_section(path, section);
    }

    fn read_section(&mut self, path: &str, name: &str) {
        let Some(section) = self.ini.section(name).cloned() else {
            let text = format!("there is no section `[{name}]`");
            return self.errors.push(error(path, &text));
        };
        let mut given: Vec<(&'static OptionRow, Vec<String>, usize)> = Vec::new();
        for entry in &section.entries {
            let Some(row) = find(&entry.key) else {
                self.warnings.push(format!("{path}, line {}: there is no option `{}`", entry.line, entry.key));
                continue;
            };
            let texts = match row.kind {
                Kind::List(_) => {
                    entry.value.split(';').map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned).collect()
                }
                _ => vec![entry.value.clone()],
            };
            match given.iter_mut().find(|(other, ..)| other.name == row.name) {
                Some((_, earlier, line)) => {
                    earlier.extend(texts);
                    *line = entry.line;
                }
                None => given.push((row, texts, entry.line)),
            }
        }
        for (row, texts, line) in given {
            self.assign(row, &texts, &format!("{path}, line {line}"));
        }
    }

    /// Sets an option; what was set before is replaced.
    fn assign(&mut self, row: &'static OptionRow, texts: &[String], place: &str) {
        self.settings.retain(|setting| setting.row.name != row.name);
        match row.parse(texts) {
            // An empty text in the file is an option that is not set.
            Ok(Value::Text(text)) if text.is_empty() => {}
            Ok(Value::List(list)) if list.is_empty() => {}
            Ok(value) => self.settings.push(Setting { row, value, place: place.to_owned() }),
            Err(text) => self.errors.push(error(place, &format!("option `{}`: {text}", row.name))),
        }
    }

    fn build(mut self) -> Result<Loaded, Vec<ConfigError>> {
        let mut config = Config::default();
        for setting in std::mem::take(&mut self.settings) {
            self.apply(&mut config, &setting);
            self.settings.push(setting);
        }
        self.add_sections(&mut config);
        self.check(&mut config);
        let is_set = |name: &&(&str, &str, Status)| self.system.variable(name.0).is_some();
        for (name, _, status) in ENVIRONMENT.iter().filter(is_set) {
            self.warnings.extend(status.warning(&format!("environment variable `{name}`")));
        }
        self.warnings.append(&mut config.warnings);
        config.warnings = self.warnings;
        if self.errors.is_empty() { Ok(Loaded { config, settings: self.settings }) } else { Err(self.errors) }
    }

    fn apply(&mut self, config: &mut Config, setting: &Setting) {
        let Setting { row, value, place } = setting;
        if row.default_value().as_ref() != Some(value) {
            match row.status {
                Status::Refused(why) => {
                    self.errors.push(error(place, &format!("option `{}` is refused: {why}", row.name)))
                }
                status => self.warnings.extend(status.warning(&format!("{place}: option `{}`", row.name))),
            }
        }
        if let Err(text) = (row.set)(config, value) {
            self.errors.push(error(place, &format!("option `{}`: {text}", row.name)));
        }
    }

    /// Interfaces and templates from sections of their own.
    fn add_sections(&mut self, config: &mut Config) {
        if let Some(prefix) = &config.process.interfaces_prefix {
            for (name, section) in self.ini.sections_with_prefix(prefix) {
                match InterfaceEntry::from_section(name, section) {
                    Ok(entry) => config.interfaces.push(entry),
                    Err(text) => self.errors.push(error("", &text)),
                }
            }
        }
        if let Some(name) = &config.process.templates_section {
            match self.ini.section(name) {
                Some(section) => {
                    config.templates =
                        section.entries.iter().map(|entry| (entry.key.clone(), entry.value.clone())).collect();
                }
                None => self.errors.push(error("", &format!("option `templates`: there is no section `[{name}]`"))),
            }
        }
    }

    fn check(&mut self, config: &mut Config) {
        let line_length = self.settings.iter().find(|setting| setting.row.name == "max-log-line-length");
        if config.log.to_stderr && line_length.is_none_or(|setting| setting.value == Value::Number(0)) {
            config.log.longest_line = None;
        }
        if config.media.port_max <= config.media.port_min.next_multiple_of(2) {
            let text = format!(
                "the ports {} to {} (`port-min`, `port-max`) hold no pair",
                config.media.port_min, config.media.port_max
            );
            self.errors.push(error("", &text));
        }
        if !self.errors.is_empty() {
            return;
        }
        if config.interfaces.is_empty() {
            self.errors.push(error("", "no interface: give `interface = ADDRESS` (or `--interface`, `-i`), `any` for all addresses of this host"));
        }
        if !config.control.https.is_empty() && config.control.certificate.is_none() {
            self.errors.push(error("", "`listen-https` needs a certificate: give `https-cert = FILE`"));
        }
        if !config.control.has_listener() {
            self.errors
                .push(error("", "no control listener: give `listen-ng = 127.0.0.1:2223` (or `--listen-ng`, `-n`)"));
        }
    }
}

impl Status {
    fn warning(self, what: &str) -> Option<String> {
        match self {
            Status::Works => None,
            Status::Warned(instead) => Some(format!("{what} has no effect: {instead}")),
            Status::Refused(why) => Some(format!("{what} is refused: {why}")),
        }
    }
}

fn error(place: &str, text: &str) -> ConfigError {
    ConfigError { place: place.to_owned(), text: text.to_owned() }
}
