//! Prints the chapter of `protocol-docs/compat-rtpengine.md` about the command line interface.

use super::rows::{CliStatus, rows};
use std::fmt::Write;

const PREFACE: &str = "
# The command line interface

Every command of the CLI port (`rtpengine-ctl`, `millracectl`), compared with rtpengine mr26.3 and with Debian's 10.5, whose
answers are taken as the rule where the two are the same. Printed from the table in `src/control/cli/rows.rs`.

- **same**: the same answer, as far as both have the same to tell.
- **different**: an answer that differs; the reason is given.
- **nothing**: answered with a line that begins with `Fail` and says why nothing is done.
- **ours**: rtpengine has no such command.

`get X` is `list X`, and `help` behind the first words of commands lists what may follow. Lines that are no command are answered
with `Unknown command: X` or `Incomplete command: X`, as by rtpengine mr26.3 (10.5: `Unknown or incomplete command::X`).

| command | status | meaning |
|---|---|---|
";

/// The chapter.
pub fn comparison() -> String {
    let mut page = String::from(PREFACE);
    for row in rows() {
        let command = format!("{} {}", row.words, row.parameters).trim_end().replace('|', "\\|");
        let status = match row.status {
            CliStatus::Same => "same".to_owned(),
            CliStatus::Different(why) => format!("different: {why}"),
            CliStatus::Nothing(why) => format!("nothing: {why}"),
            CliStatus::Ours => "ours".to_owned(),
        };
        let _ = writeln!(page, "| `{command}` | {status} | {} |", row.document);
    }
    page
}
