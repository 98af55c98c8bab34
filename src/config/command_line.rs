//! The command line, built from the option table.

use super::table::{Kind, OptionRow, Status, sections};
use clap::{Arg, ArgAction, ColorChoice, Command};

/// The options that a command line gives, each with its texts.
pub(super) type Given = Vec<(&'static OptionRow, Vec<String>)>;

/// Reads a command line, whose first word is the program; the error is for the user.
pub(super) fn parse(arguments: &[String]) -> Result<Given, String> {
    let matches = command().try_get_matches_from(arguments).map_err(|error| error.to_string())?;
    let rows = sections().iter().flat_map(|section| section.rows);
    let given = rows.filter_map(|row| Some((row, matches.get_many::<String>(row.name)?.cloned().collect())));
    Ok(given.collect())
}

/// The text of `--help`.
pub(super) fn help() -> String {
    command().render_help().to_string()
}

fn command() -> Command {
    let command = Command::new("millrace")
        .about("A media proxy for SIP and WebRTC: a drop-in for rtpengine")
        .after_help("Options of the configuration file have the names of the long options. The command line comes before the file.")
        .disable_help_flag(true)
        .disable_version_flag(true)
        .color(ColorChoice::Never)
        .args_override_self(true);
    sections().iter().fold(command, |command, section| {
        command.args(section.rows.iter().map(|row| argument(row).help_heading(section.title)))
    })
}

fn argument(row: &'static OptionRow) -> Arg {
    let argument =
        Arg::new(row.name).long(row.name).short(row.short).aliases(row.aliases.iter().copied()).help(help_of(row));
    match row.kind {
        Kind::Switch => argument
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .value_name("BOOLEAN")
            .hide_possible_values(true),
        Kind::List(what) => argument.action(ArgAction::Append).value_name(what),
        Kind::Number { unit, .. } => argument
            .action(ArgAction::Set)
            .allow_negative_numbers(true)
            .value_name(if unit.is_empty() { "NUMBER" } else { unit }),
        Kind::Decimal => argument.action(ArgAction::Set).allow_negative_numbers(true).value_name("NUMBER"),
        Kind::Text(what) => argument.action(ArgAction::Set).value_name(what),
        Kind::Choice(choices) => argument.action(ArgAction::Set).value_name(choices.join("|")),
    }
}

fn help_of(row: &OptionRow) -> String {
    let default = match (row.default, row.kind) {
        ("", _) | (_, Kind::Switch) => String::new(),
        (default, _) => format!(" [default: {}]", default.trim_matches(['(', ')'])),
    };
    let status = match row.status {
        Status::Works => String::new(),
        Status::Warned(why) => format!(" [no effect: {why}]"),
        Status::Refused(why) => format!(" [refused: {why}]"),
    };
    format!("{}{default}{status}", row.document)
}
