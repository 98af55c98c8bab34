//! The rows of the option table: how an option is written, what it means, and what becomes of it.

use super::Config;
use super::options;

/// An option of the command line and of the configuration file.
#[derive(Debug, Clone, Copy)]
pub struct OptionRow {
    /// `--name`, and the key in the file.
    pub name: &'static str,
    pub short: Option<char>,
    /// Other names in the file and on the command line.
    pub aliases: &'static [&'static str],
    pub kind: Kind,
    /// As it would be written; empty when there is none, in parentheses when it is a description.
    pub default: &'static str,
    pub document: &'static str,
    pub status: Status,
    /// A changed value takes effect on SIGHUP.
    pub is_reloadable: bool,
    /// Its value is not shown.
    pub is_secret: bool,
    pub(super) set: fn(&mut Config, &Value) -> Result<(), String>,
}

/// What values an option takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// `true` or `false`; on the command line present or not.
    Switch,
    /// A whole number in this range, in this unit.
    Number {
        min: i64,
        max: i64,
        unit: &'static str,
    },
    Decimal,
    /// Any text; what it stands for.
    Text(&'static str),
    Choice(&'static [&'static str]),
    /// Repeated on the command line, separated by semicolons in the file; what a member stands for.
    List(&'static str),
}

/// What becomes of an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Works,
    /// Accepted with a logged warning that says what happens instead.
    Warned(&'static str),
    /// The daemon does not start with it.
    Refused(&'static str),
}

/// A value that fits its option's kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Switch(bool),
    Number(i64),
    Decimal(f64),
    Text(String),
    List(Vec<String>),
}

/// A chapter of the option table.
#[derive(Debug)]
pub struct Section {
    pub title: &'static str,
    pub rows: &'static [OptionRow],
}

/// Environment variables that rtpengine reads, what they mean and what becomes of them.
pub static ENVIRONMENT: &[(&str, &str, Status)] = &[
    ("RTPENGINE_REDIS_AUTH_PW", "The password for `redis`.", options::REDIS_VARIABLE),
    ("RTPENGINE_REDIS_WRITE_AUTH_PW", "The password for `redis-write`.", options::REDIS_VARIABLE),
    ("RTPENGINE_REDIS_SUBSCRIBE_AUTH_PW", "The password for `redis-subscribe`.", options::REDIS_VARIABLE),
];

/// Every option.
pub fn sections() -> &'static [Section] {
    options::SECTIONS
}

/// The row of an option, by its name or an alias.
pub(super) fn find(name: &str) -> Option<&'static OptionRow> {
    let mut rows = options::SECTIONS.iter().flat_map(|section| section.rows);
    rows.find(|row| row.name == name || row.aliases.contains(&name))
}

const fn row(name: &'static str, kind: Kind, default: &'static str, document: &'static str) -> OptionRow {
    let set = |_: &mut Config, _: &Value| Ok(());
    let status = Status::Works;
    OptionRow {
        name,
        short: None,
        aliases: &[],
        kind,
        default,
        document,
        status,
        is_reloadable: false,
        is_secret: false,
        set,
    }
}

pub(super) const fn switch(name: &'static str, document: &'static str) -> OptionRow {
    row(name, Kind::Switch, "false", document)
}

pub(super) const fn number(
    name: &'static str,
    (min, max): (i64, i64),
    unit: &'static str,
    default: &'static str,
    document: &'static str,
) -> OptionRow {
    row(name, Kind::Number { min, max, unit }, default, document)
}

pub(super) const fn decimal(name: &'static str, default: &'static str, document: &'static str) -> OptionRow {
    row(name, Kind::Decimal, default, document)
}

pub(super) const fn text(
    name: &'static str,
    what: &'static str,
    default: &'static str,
    document: &'static str,
) -> OptionRow {
    row(name, Kind::Text(what), default, document)
}

pub(super) const fn choice(
    name: &'static str,
    choices: &'static [&'static str],
    default: &'static str,
    document: &'static str,
) -> OptionRow {
    row(name, Kind::Choice(choices), default, document)
}

pub(super) const fn list(name: &'static str, what: &'static str, document: &'static str) -> OptionRow {
    row(name, Kind::List(what), "", document)
}

impl OptionRow {
    pub(super) const fn short(mut self, short: char) -> OptionRow {
        self.short = Some(short);
        self
    }

    pub(super) const fn aliases(mut self, aliases: &'static [&'static str]) -> OptionRow {
        self.aliases = aliases;
        self
    }

    pub(super) const fn warned(mut self, instead: &'static str) -> OptionRow {
        self.status = Status::Warned(instead);
        self
    }

    pub(super) const fn refused(mut self, why: &'static str) -> OptionRow {
        self.status = Status::Refused(why);
        self
    }

    pub(super) const fn reloadable(mut self) -> OptionRow {
        self.is_reloadable = true;
        self
    }

    pub(super) const fn secret(mut self) -> OptionRow {
        self.is_secret = true;
        self
    }

    pub(super) const fn set(mut self, set: fn(&mut Config, &Value) -> Result<(), String>) -> OptionRow {
        self.set = set;
        self
    }

    /// The default as a value; none when there is none or it is a description.
    pub fn default_value(&self) -> Option<Value> {
        let is_value = !self.default.is_empty() && !self.default.starts_with('(');
        is_value.then(|| self.parse(&[self.default.to_owned()]).ok()).flatten()
    }

    /// The value that the texts of one source make: the last of several, all of a list. The error says what is
    /// expected.
    pub fn parse(&self, texts: &[String]) -> Result<Value, String> {
        let text = texts.last().map(|text| text.trim()).unwrap_or_default();
        match self.kind {
            Kind::Switch => match text {
                "true" | "yes" | "on" | "1" => Ok(Value::Switch(true)),
                "false" | "no" | "off" | "0" => Ok(Value::Switch(false)),
                _ => Err(format!("`{text}` is neither `true` nor `false`")),
            },
            Kind::Number { min, max, .. } => match whole_number(text) {
                Some(number) if (min..=max).contains(&number) => Ok(Value::Number(number)),
                _ => Err(format!("`{text}` is not a whole number{}", range(min, max))),
            },
            Kind::Decimal => match text.parse::<f64>() {
                Ok(number) if number.is_finite() => Ok(Value::Decimal(number)),
                _ => Err(format!("`{text}` is not a number")),
            },
            Kind::Text(_) => Ok(Value::Text(text.to_owned())),
            Kind::Choice(choices) => match choices.iter().find(|choice| choice.eq_ignore_ascii_case(text)) {
                Some(choice) => Ok(Value::Text((*choice).to_owned())),
                None => Err(format!("`{text}` is none of `{}`", choices.join("`, `"))),
            },
            Kind::List(_) => Ok(Value::List(texts.to_vec())),
        }
    }
}

/// Decimal, or hexadecimal with `0x`.
fn whole_number(text: &str) -> Option<i64> {
    match text.strip_prefix("0x") {
        Some(digits) if digits.starts_with(|first: char| first.is_ascii_hexdigit()) => {
            i64::from_str_radix(digits, 16).ok()
        }
        Some(_) => None,
        None => text.parse().ok(),
    }
}

fn range(min: i64, max: i64) -> String {
    match (min, max) {
        (i64::MIN, i64::MAX) => String::new(),
        (min, i64::MAX) => format!(" of at least {min}"),
        (i64::MIN, max) => format!(" of at most {max}"),
        (min, max) => format!(" from {min} to {max}"),
    }
}

impl Value {
    pub(super) fn switch(&self) -> bool {
        matches!(self, Value::Switch(true))
    }

    /// The number, whose row has checked its range.
    pub(super) fn number(&self) -> i64 {
        if let Value::Number(number) = self { *number } else { 0 }
    }

    pub(super) fn decimal(&self) -> f64 {
        if let Value::Decimal(number) = self { *number } else { 0.0 }
    }

    pub(super) fn text(&self) -> &str {
        if let Value::Text(text) = self { text } else { "" }
    }

    pub(super) fn list(&self) -> &[String] {
        if let Value::List(list) = self { list } else { &[] }
    }
}

/// As it would be written in the file.
impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Value::Switch(truth) => write!(f, "{truth}"),
            Value::Number(number) => write!(f, "{number}"),
            Value::Decimal(number) => write!(f, "{number}"),
            Value::Text(text) => f.write_str(text),
            Value::List(list) => f.write_str(&list.join(";")),
        }
    }
}
