//! Placeholders: `{port:1}` is a port, the same one wherever number 1 stands; `{key40:1}` a key of 40 characters.
//!
//! Within one case a placeholder always has the same value, and two of one kind never have the same, ports aside.

use serde_json::Value;
use std::collections::HashMap;

/// A kind of placeholder: which characters, how many, and whether two numbers may share a value.
struct Kind {
    name: &'static str,
    character: fn(char) -> bool,
    lengths: (usize, usize),
    unique: bool,
}

const KINDS: [Kind; 12] = [
    Kind { name: "port", character: is_digit, lengths: (1, 5), unique: false },
    Kind { name: "ufrag", character: is_base64, lengths: (4, 256), unique: true },
    Kind { name: "pwd", character: is_base64, lengths: (22, 256), unique: true },
    Kind { name: "tlsid", character: is_token, lengths: (20, 255), unique: false },
    Kind { name: "fp", character: is_fingerprint, lengths: (59, 191), unique: false },
    Kind { name: "foundation", character: is_base64, lengths: (1, 32), unique: true },
    Kind { name: "instance", character: is_visible, lengths: (1, usize::MAX), unique: false },
    Kind { name: "tag", character: is_visible, lengths: (1, usize::MAX), unique: true },
    Kind { name: "sessid", character: is_digit, lengths: (1, usize::MAX), unique: false },
    Kind { name: "sessver", character: is_digit, lengths: (1, usize::MAX), unique: false },
    Kind { name: "software", character: is_in_line, lengths: (1, usize::MAX), unique: false },
    Kind { name: "key", character: is_base64, lengths: (0, 0), unique: true },
];

fn is_digit(c: char) -> bool {
    c.is_ascii_digit()
}

fn is_base64(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '+' || c == '/'
}

fn is_token(c: char) -> bool {
    is_base64(c) || c == '_' || c == '-'
}

fn is_fingerprint(c: char) -> bool {
    matches!(c, '0'..='9' | 'A'..='F' | ':')
}

fn is_visible(c: char) -> bool {
    !c.is_whitespace()
}

fn is_in_line(c: char) -> bool {
    c != '\r' && c != '\n'
}

/// Two digits, colon, two digits, and so on.
fn is_pairs(text: &str) -> bool {
    text.split(':').all(|pair| pair.len() == 2)
}

/// A placeholder as it is written: `{kind:number}`, or `{keyLENGTH:number}`.
#[derive(Clone, Copy)]
struct Hole<'a> {
    kind: &'static Kind,
    lengths: (usize, usize),
    number: &'a str,
}

/// A pattern cut into text and placeholders.
enum Part<'a> {
    Text(&'a str),
    Hole(Hole<'a>),
}

/// The values that placeholders have taken in one case.
#[derive(Default)]
pub struct Bindings {
    values: HashMap<(&'static str, String), String>,
    owners: HashMap<(&'static str, String), String>,
}

impl Bindings {
    /// Puts known values in the place of placeholders, everywhere in `value`.
    pub fn fill(&self, value: &Value) -> Value {
        match value {
            Value::Object(entries) => {
                entries.iter().map(|(key, value)| (self.fill_text(key), self.fill(value))).collect()
            }
            Value::Array(values) => values.iter().map(|value| self.fill(value)).collect(),
            Value::String(text) => Value::String(self.fill_text(text)),
            other => other.clone(),
        }
    }

    /// Puts known values in the place of placeholders.
    pub fn fill_text(&self, text: &str) -> String {
        let known = |hole: &Hole| self.values.get(&(hole.kind.name, hole.number.to_owned())).cloned();
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, hole, length)) = next_hole(rest) {
            filled.push_str(&rest[..before]);
            filled.push_str(&known(&hole).unwrap_or_else(|| rest[before..before + length].to_owned()));
            rest = &rest[before + length..];
        }
        filled + rest
    }

    /// Holds `got` to the pattern `want`, and learns what its placeholders stand for.
    pub fn fits(&mut self, want: &str, got: &str) -> Result<(), String> {
        let parts = cut(want);
        let mut taken = Vec::new();
        if !matches(&parts, got, &mut taken) {
            return Err(format!("want {want:?}\n  got  {got:?}"));
        }
        let holes = parts.iter().filter_map(|part| if let Part::Hole(hole) = part { Some(*hole) } else { None });
        for (hole, value) in holes.zip(taken) {
            self.bind(hole, value).map_err(|why| format!("{why} in {got:?}"))?;
        }
        Ok(())
    }

    fn bind(&mut self, hole: Hole, value: &str) -> Result<(), String> {
        let kind = hole.kind.name;
        if kind == "fp" && !is_pairs(value) {
            return Err(format!("{value:?} is no fingerprint"));
        }
        let key = (kind, hole.number.to_owned());
        if let Some(known) = self.values.get(&key) {
            return if known == value {
                Ok(())
            } else {
                Err(format!("{{{kind}:{}}} was {known:?}, is {value:?}", hole.number))
            };
        }
        let owner = self.owners.entry((kind, value.to_owned())).or_insert_with(|| hole.number.to_owned());
        if hole.kind.unique && owner != hole.number {
            return Err(format!("{{{kind}:{}}} has the value of {{{kind}:{owner}}}, {value:?}", hole.number));
        }
        self.values.insert(key, value.to_owned());
        Ok(())
    }
}

/// Whether the text holds a placeholder.
pub fn has_placeholder(text: &str) -> bool {
    next_hole(text).is_some()
}

/// The first placeholder: where it begins, what it says, how long it is.
fn next_hole(text: &str) -> Option<(usize, Hole<'_>, usize)> {
    text.match_indices('{').find_map(|(at, _)| {
        let inside = &text[at + 1..at + text[at..].find('}')?];
        let (name, number) = inside.split_once(':')?;
        let letters = name.trim_end_matches(is_digit);
        let length: Option<usize> = name[letters.len()..].parse().ok();
        let kind = KINDS.iter().find(|kind| kind.name == letters)?;
        let lengths = if letters == "key" { (length?, length?) } else { kind.lengths };
        let is_number = !number.is_empty() && number.chars().all(is_digit);
        (is_number && (letters == "key") == length.is_some()).then_some((
            at,
            Hole { kind, lengths, number },
            inside.len() + 2,
        ))
    })
}

fn cut(mut text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    while let Some((before, hole, length)) = next_hole(text) {
        parts.push(Part::Text(&text[..before]));
        parts.push(Part::Hole(hole));
        text = &text[before + length..];
    }
    parts.push(Part::Text(text));
    parts
}

/// Whether `text` is the parts one after the other; `taken` gets what the placeholders stand for. A placeholder takes
/// as much as it can and gives back what the rest needs.
fn matches<'t>(parts: &[Part], text: &'t str, taken: &mut Vec<&'t str>) -> bool {
    match parts.first() {
        None => text.is_empty(),
        Some(Part::Text(want)) => text.strip_prefix(want).is_some_and(|rest| matches(&parts[1..], rest, taken)),
        Some(Part::Hole(hole)) => {
            let (least, most) = hole.lengths;
            let ends: Vec<usize> = text
                .char_indices()
                .map(|(at, c)| (at + c.len_utf8(), c))
                .take_while(|(_, c)| (hole.kind.character)(*c))
                .map(|(end, _)| end)
                .take(most)
                .collect();
            let choices = ends.iter().enumerate().skip(least.saturating_sub(1)).rev();
            for (_, end) in choices {
                taken.push(&text[..*end]);
                if matches(&parts[1..], &text[*end..], taken) {
                    return true;
                }
                taken.pop();
            }
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn placeholders_are_learned_and_held() {
        let mut known = Bindings::default();
        assert!(known.fits("m=audio {port:1} RTP {port:2}", "m=audio 30000 RTP 30000").is_ok());
        assert!(known.fits("{port:1}", "30000").is_ok());
        assert!(known.fits("{port:1}", "30002").is_err());
        assert!(known.fits("{port:3}", "123456").is_err());
        assert!(known.fits("{port:3}x", "12").is_err());
        let fingerprint = ["AB"; 20].join(":");
        assert!(known.fits("{fp:1}", &fingerprint.replacen("AB", "A", 1)).is_err());
        assert!(known.fits("{fp:1}", &fingerprint).is_ok());
        assert_eq!(known.fill(&json!({"a{port:1}": ["{port:9}"]})), json!({"a30000": ["{port:9}"]}));
    }

    #[test]
    fn two_of_a_unique_kind_differ() {
        let mut known = Bindings::default();
        assert!(known.fits("{tag:1} {tag:2}", "a b").is_ok());
        assert!(known.fits("{tag:3}", "a").is_err());
        assert!(known.fits("inline:{key4:1}|", "inline:ab/+|").is_ok());
        assert!(known.fits("inline:{key4:2}|", "inline:abcde|").is_err());
        assert!(known.fits("inline:{key4:2}|", "inline:ab/+|").is_err());
    }

    #[test]
    fn braces_that_are_no_placeholder_are_text() {
        let mut known = Bindings::default();
        for text in ["{other:1}", "{port}", "{port:x}", "{key:1}", "{", "{port:", "a{b}c"] {
            assert!(!has_placeholder(text), "{text}");
            assert!(known.fits(text, text).is_ok());
        }
        assert!(known.fits("{{tag:1}}", "{x}").is_ok());
    }
}
