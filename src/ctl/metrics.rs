//! `millracectl metrics`: what Prometheus reads, as it is, as a table, or as JSON.

use super::Failure;
use super::connection::Connection;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

/// How the metrics are shown, and which.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Metrics {
    pub(super) form: Form,
    /// Part of their names; none is all.
    pub(super) part: Option<String>,
}

/// How they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As Prometheus reads them.
    Text,
    /// Lines of those that are not zero, `all` of them if wanted.
    Table {
        all: bool,
    },
    Json,
}

/// A series with its value.
#[derive(Debug, PartialEq)]
struct Sample<'a> {
    name: &'a str,
    labels: Vec<(&'a str, String)>,
    value: &'a str,
}

/// Asks for the metrics and prints them.
pub(super) async fn run(address: &str, metrics: &Metrics) -> Result<(), Failure> {
    let mut connection = Connection::open(address).await.map_err(Failure::Said)?;
    connection.say("metrics").await.map_err(Failure::Said)?;
    let mut answer = Vec::new();
    while let Some(part) = connection.hear().await.map_err(Failure::Said)? {
        answer.extend_from_slice(part);
    }
    let answer = String::from_utf8_lossy(&answer);
    if !answer.starts_with("# HELP ") {
        return Err(Failure::Said(format!("no metrics: {}", answer.trim())));
    }
    let has_colours = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let text = match metrics.form {
        Form::Text => chosen_lines(&answer, metrics.part.as_deref()),
        Form::Table { all } => table(&samples(&answer, metrics.part.as_deref()), all, has_colours),
        Form::Json => as_json(&samples(&answer, metrics.part.as_deref())),
    };
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failure::Output)
}

fn is_chosen(name: &str, part: Option<&str>) -> bool {
    part.is_none_or(|part| name.contains(part))
}

/// The name that a line is about.
fn name_of(line: &str) -> &str {
    let line = line.strip_prefix("# HELP ").or_else(|| line.strip_prefix("# TYPE ")).unwrap_or(line);
    line.split([' ', '{']).next().unwrap_or_default()
}

fn chosen_lines(text: &str, part: Option<&str>) -> String {
    let chosen = text.lines().filter(|line| is_chosen(name_of(line), part));
    chosen.map(|line| format!("{line}\n")).collect()
}

fn samples<'a>(text: &'a str, part: Option<&str>) -> Vec<Sample<'a>> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && is_chosen(name_of(line), part));
    lines.filter_map(sample).collect()
}

/// Reads `name{label="value",...} number`.
fn sample(line: &str) -> Option<Sample<'_>> {
    let (series, value) = line.rsplit_once(' ')?;
    let Some((name, rest)) = series.split_once('{') else {
        return Some(Sample { name: series, labels: Vec::new(), value });
    };
    let mut rest = rest.strip_suffix('}')?;
    let mut labels = Vec::new();
    while let Some((label, after)) = rest.split_once("=\"") {
        let (text, bytes) = unquoted(after)?;
        labels.push((label.trim_start_matches(','), text));
        rest = &after[bytes..];
    }
    Some(Sample { name, labels, value })
}

/// A text up to its closing quote, and the bytes that it took with that.
fn unquoted(text: &str) -> Option<(String, usize)> {
    let mut found = String::new();
    let mut characters = text.char_indices();
    loop {
        match characters.next()? {
            (at, '"') => return Some((found, at + 1)),
            (_, '\\') => match characters.next()?.1 {
                'n' => found.push('\n'),
                other => found.push(other),
            },
            (_, other) => found.push(other),
        }
    }
}

fn table(samples: &[Sample], all: bool, has_colours: bool) -> String {
    let shown: Vec<&Sample> = samples.iter().filter(|sample| all || sample.value != "0").collect();
    let wide = shown.iter().map(|sample| sample.value.len()).max().unwrap_or_default();
    let (bold, plain) = if has_colours { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
    let mut text = String::new();
    for Sample { name, labels, value } in shown {
        let labels: Vec<String> =
            labels.iter().map(|(label, text)| format!("{label}={}", crate::base::text::printable(text))).collect();
        let line = format!("{value:>wide$}  {bold}{name}{plain}  {}", labels.join(" "));
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

fn as_json(samples: &[Sample]) -> String {
    let list: Vec<Value> = samples
        .iter()
        .map(|Sample { name, labels, value }| {
            let labels: Map<String, Value> =
                labels.iter().map(|(label, text)| ((*label).to_owned(), json!(text))).collect();
            let number = value.parse::<u64>().map(Value::from).or_else(|_| value.parse::<f64>().map(Value::from));
            json!({"metric": name, "labels": labels, "value": number.unwrap_or_else(|_| json!(value))})
        })
        .collect();
    format!("{:#}\n", Value::from(list))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP a_total What.\n# TYPE a_total counter\na_total{x=\"1 \\\"2\\\",\\\\\",y=\"z\"} 7\n\
                        # HELP b Other.\n# TYPE b gauge\nb 0\nb2 0.5\n";

    #[test]
    fn series_are_read_and_shown() {
        let all = samples(TEXT, None);
        assert_eq!(
            all[0],
            Sample { name: "a_total", labels: vec![("x", "1 \"2\",\\".into()), ("y", "z".into())], value: "7" }
        );
        assert_eq!(table(&all, false, false), "  7  a_total  x=1 \"2\",\\ y=z\n0.5  b2\n");
        assert!(table(&all, true, true).contains("  0  \x1b[1mb\x1b[0m\n"));
        let json: Value = serde_json::from_str(&as_json(&all)).unwrap();
        assert_eq!(json[0], json!({"metric": "a_total", "labels": {"x": "1 \"2\",\\", "y": "z"}, "value": 7}));
        assert_eq!(json[2]["value"], 0.5);
        assert_eq!(chosen_lines(TEXT, Some("b")), "# HELP b Other.\n# TYPE b gauge\nb 0\nb2 0.5\n");
        assert_eq!(chosen_lines(TEXT, None), TEXT);
    }
}
