//! Prints `protocol-docs/config.md` and `config/millrace.conf` from the option table.

use super::command_line;
use super::table::{ENVIRONMENT, Kind, OptionRow, Status, sections};
use std::fmt::Write;

const PREFACE: &str = "# Configuration

Every option of rtpengine mr26.3, and what becomes of it here. This page is printed from the table in
`src/config/options`; a test fails when it is stale, and rewrites it when the environment variable `MILLRACE_BLESS`
is 1.

Options are given on the command line (`--name VALUE`) or in a section of the configuration file (`name = VALUE`);
the command line comes before the file. The file is `/etc/rtpengine/rtpengine.conf` unless `config-file` names another,
the section `rtpengine` unless `config-section` does. In the file a list is one value with semicolons, or the key
repeated; a comment is a line that begins with `#` or `;`; on the command line the option is repeated. A switch is
`true` or `false` in the file.

- **works**: as in rtpengine.
- **no effect**: accepted with a logged warning; what happens instead is given. An option at its default is not
  worth a warning.
- **refused**: the daemon does not start, because what it would leave undone would be missed.

SIGHUP loads the configuration again and takes over the options marked *(SIGHUP)*; rtpengine ends at that signal.
Other options that changed are named in the log.
";

/// The page about options.
pub fn reference() -> String {
    let mut page = String::from(PREFACE);
    for section in sections() {
        let _ = write!(
            page,
            "\n## {}\n\n| option | value | default | status | meaning |\n|---|---|---|---|---|\n",
            section.title
        );
        for row in section.rows {
            let cells = [names(row), code(&value(row)), code(row.default), status(row.status), meaning(row)];
            let _ = writeln!(page, "| {} |", cells.map(|cell| cell.replace('|', "\\|")).join(" | "));
        }
    }
    page.push_str("\n## Environment\n\n| variable | status | meaning |\n|---|---|---|\n");
    for (name, document, state) in ENVIRONMENT {
        let _ = writeln!(page, "| `{name}` | {} | {document} |", status(*state));
    }
    page.push_str(SECTIONS_OF_THEIR_OWN);
    page
}

const SECTIONS_OF_THEIR_OWN: &str = "
## Sections of their own

With `interfaces-config = PREFIX`, each section `[PREFIX-NAME]` is an address of the interface `NAME`, after those of
`interface`. Its keys: `address` (as in `interface`), `advertised` (also `advertised address`, `advertised-address`,
`advertised_address`), `name` (instead of `NAME`), `port-min`, `port-max`, `exclude-ports` (separated by semicolons), or
`alias` (the name of another interface) alone.

With `templates = SECTION`, each key of `[SECTION]` is the name of a signalling template and its value a string as in
`rtpp-flags`. The template `default` is applied to every message, then the one named like the command, then the
message.
";

fn names(row: &OptionRow) -> String {
    let mut names = format!("`{}`", row.name);
    if let Some(short) = row.short {
        let _ = write!(names, ", `-{short}`");
    }
    for alias in row.aliases {
        let _ = write!(names, ", `{alias}`");
    }
    names
}

fn value(row: &OptionRow) -> String {
    match row.kind {
        Kind::Switch => "true|false".to_owned(),
        Kind::Number { unit: "", .. } | Kind::Decimal => "number".to_owned(),
        Kind::Number { unit, .. } => unit.to_owned(),
        Kind::Text(what) => what.to_owned(),
        Kind::Choice(choices) => choices.join("|"),
        Kind::List(what) => format!("{what};..."),
    }
}

fn code(text: &str) -> String {
    match text {
        "" => String::new(),
        description if description.starts_with('(') => description.to_owned(),
        text => format!("`{text}`"),
    }
}

fn status(status: Status) -> String {
    match status {
        Status::Works => "works".to_owned(),
        Status::Warned(instead) => format!("no effect: {instead}"),
        Status::Refused(why) => format!("refused: {why}"),
    }
}

fn meaning(row: &OptionRow) -> String {
    format!("{}{}", row.document, if row.is_reloadable { " *(SIGHUP)*" } else { "" })
}

const SAMPLE_PREFACE: &str = "# The sample configuration, printed from the option table like protocol-docs/config.md, where every option is explained.
# Lines that begin with `#` show defaults. Control ports without an address listen on loopback only. NG has no
# authentication: with another address, say in `control-allow` whose hosts may end every call.

[rtpengine]
";

/// The options that the sample sets.
const SAMPLE: &[(&str, &str)] =
    &[("interface", "any"), ("listen-ng", "127.0.0.1:2223"), ("listen-cli", "127.0.0.1:9900"), ("table", "-1")];

/// The sample configuration: what a first start needs, and every other option that works, commented out.
pub fn sample() -> String {
    let mut file = String::from(SAMPLE_PREFACE);
    for section in sections() {
        let rows: Vec<&OptionRow> = section.rows.iter().filter(|row| belongs_to_sample(row)).collect();
        if !rows.is_empty() {
            let _ = write!(file, "\n## {}\n", section.title);
        }
        for row in rows {
            let _ = write!(file, "\n# {}\n", row.document);
            let _ = match SAMPLE.iter().find(|(name, _)| *name == row.name) {
                Some((name, value)) => writeln!(file, "{name} = {value}"),
                None => writeln!(file, "# {} = {}", row.name, sample_value(row)),
            };
        }
    }
    file.push_str(SAMPLE_SECTIONS);
    file
}

const SAMPLE_SECTIONS: &str = "
## Sections of their own

# With `interfaces-config = interface`:
# [interface-public]
# address = 192.0.2.10
# advertised = 203.0.113.10
# port-min = 30000
# port-max = 34999

# With `templates = templates`:
# [templates]
# default = replace-origin
# WebRTC = WebRTC replace-origin
";

fn belongs_to_sample(row: &OptionRow) -> bool {
    let is_for_command_line = matches!(row.name, "config-file" | "config-section" | "help" | "version");
    let is_of_subsystem = row.name.starts_with("log-level-");
    row.status == Status::Works && !is_for_command_line && !is_of_subsystem
}

fn sample_value(row: &OptionRow) -> String {
    match row.default {
        "" => value(row),
        description if description.starts_with('(') => description.to_owned(),
        default => default.to_owned(),
    }
}

/// The text of `--help`.
pub fn help() -> String {
    command_line::help()
}
