//! Prints `protocol-docs/compat-rtpengine.md` from the tables.

use super::command::COMMANDS;
use super::request::table::{Row, SECTIONS};
use super::status::{Scope, Status};
use std::fmt::Write;

const PREFACE: &str = "# Compatibility with rtpengine

Every command, key, flag and value of the NG protocol that is read, and how it compares with rtpengine mr26.3.
This page is printed from the tables in `src/ng`; a test fails when it is stale, and rewrites it when the
environment variable `MILLRACE_BLESS` is 1.

- **same**: what rtpengine does, as far as its documentation and recorded conversations tell.
- **different**: something else; the reason is given.
- **not yet**: it is read without complaint; what happens meanwhile is given.

Names of keys, flags and values are compared without regard to case, and a space, a hyphen and an underscore are
the same; rtpengine compares them exactly and knows some of these spellings. Commands are compared exactly.
Unknown keys, flags and values are logged and otherwise ignored. A row that names commands is ignored elsewhere.
";

const TRANSPORTS: &str = "
## Transports

| transport | status | meaning |
|---|---|---|
| every listener | different: without an address it is bound to loopback, as a control port that strangers reach lets them end every call | rtpengine binds all addresses. |
| NG over UDP | same | |
| NG over TCP | different: JSON works too, messages may have 256 KiB, and those without cookie are answered | |
| NG at a socket in the file system | different: it is an option of its own in no rtpengine | For OpenSIPS and Kamailio's `unix:`. |
| HTTP, HTTPS | different: content types may have parameters; a token may be wanted | |
| WebSocket | same | |
| `janus-protocol`, `/janus`, `/admin` | not yet: refused | |

[control-transports.md](control-transports.md) has the details.
";

/// The page.
pub fn compatibility() -> String {
    let mut page = String::from(PREFACE);
    page.push_str(TRANSPORTS);
    page.push_str("\n## Commands\n\n| command | status | meaning |\n|---|---|---|\n");
    for row in COMMANDS {
        line(&mut page, &[&format!("`{}`", row.name), &status(row.status), row.document]);
    }
    for section in SECTIONS {
        let _ = write!(page, "\n## {}\n", section.title);
        rows(&mut page, "key", section.keys.iter().map(|key| &key.row));
        rows(&mut page, "flag", section.flags.iter().map(|flag| &flag.row));
        rows(&mut page, "flag with a value", section.prefixes.iter().map(|prefix| &prefix.row));
        for choices in section.choices {
            rows(&mut page, &format!("value of `{}`", choices.key), choices.rows.iter().map(|choice| &choice.row));
        }
    }
    page
}

fn rows<'a>(page: &mut String, heading: &str, rows: impl Iterator<Item = &'a Row>) {
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        return;
    }
    let _ = write!(page, "\n| {heading} | status | meaning |\n|---|---|---|\n");
    for row in rows {
        let names: Vec<String> = row.names().map(|name| format!("`{name}`")).collect();
        line(page, &[&names.join(", "), &status(row.status), &format!("{}{}", row.document, scope(row.scope))]);
    }
}

fn line(page: &mut String, cells: &[&str]) {
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    let _ = writeln!(page, "| {} |", cells.join(" | "));
}

fn status(status: Status) -> String {
    match status {
        Status::Same => "same".to_owned(),
        Status::Different(why) => format!("different: {why}"),
        Status::NotYet(meanwhile) => format!("not yet: {meanwhile}"),
    }
}

fn scope(scope: Scope) -> String {
    let (how, commands) = match scope {
        Scope::Any => return String::new(),
        Scope::Only(commands) => ("Only in", commands),
        Scope::Except(commands) => ("Not in", commands),
    };
    let names: Vec<String> = commands.iter().map(|command| format!("`{}`", command.name())).collect();
    format!(" {how} {}.", names.join(", "))
}
