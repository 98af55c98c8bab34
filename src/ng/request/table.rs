//! The rows that tell what the keys, flags and values of a request mean, and how a row is found.
//!
//! Names are compared without regard to case, and a space, a hyphen and an underscore are the same.

use super::parser::Parser;
use super::{
    Request, codec, control, dialogue, dtmf, ice, network, output, player, recording, rtp, sdp, srtp, t38, transport,
};
use crate::ng::Value;
use crate::ng::status::{Scope, Status};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

/// Names, scope, status and description, common to all rows.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    pub name: &'static str,
    /// Other spellings; those that differ only in case or separators need no mention.
    pub aliases: &'static [&'static str],
    pub scope: Scope,
    pub status: Status,
    pub document: &'static str,
}

/// A key of the request's dictionary.
pub struct Key {
    pub row: Row,
    pub set: fn(&mut Parser, &Value),
}

/// A member of the list `flags`.
pub struct Flag {
    pub row: Row,
    pub set: fn(&mut Request),
}

/// A flag that carries a value, `PREFIX-VALUE`; also read as a key `PREFIX`. The name ends with the hyphen.
pub struct Prefix {
    pub row: Row,
    pub set: fn(&mut Parser, &str),
}

/// A word that a key may have as its value, or in its list of values.
pub struct Choice {
    pub row: Row,
    pub set: fn(&mut Request),
}

/// The words of one key.
pub struct Choices {
    pub key: &'static str,
    pub rows: &'static [Choice],
}

/// A chapter of the tables: the rows that one part of `Request` is set by.
pub struct Section {
    pub title: &'static str,
    pub keys: &'static [Key],
    pub flags: &'static [Flag],
    pub prefixes: &'static [Prefix],
    pub choices: &'static [&'static Choices],
}

/// Every key, flag and value that is known.
pub static SECTIONS: &[&Section] = &[
    &dialogue::SECTION,
    &sdp::SECTION,
    &network::SECTION,
    &transport::SECTION,
    &ice::SECTION,
    &srtp::SECTION,
    &codec::SECTION,
    &dtmf::SECTION,
    &player::SECTION,
    &recording::SECTION,
    &rtp::SECTION,
    &output::SECTION,
    &t38::SECTION,
    &control::SECTION,
];

pub(super) const fn row(name: &'static str, status: Status, document: &'static str) -> Row {
    Row { name, aliases: &[], scope: Scope::Any, status, document }
}

impl Row {
    pub(super) const fn aliases(mut self, aliases: &'static [&'static str]) -> Row {
        self.aliases = aliases;
        self
    }

    pub(super) const fn scope(mut self, scope: Scope) -> Row {
        self.scope = scope;
        self
    }

    pub(super) const fn key(self, set: fn(&mut Parser, &Value)) -> Key {
        Key { row: self, set }
    }

    pub(super) const fn flag(self, set: fn(&mut Request)) -> Flag {
        Flag { row: self, set }
    }

    pub(super) const fn prefix(self, set: fn(&mut Parser, &str)) -> Prefix {
        Prefix { row: self, set }
    }

    pub(super) const fn choice(self, set: fn(&mut Request)) -> Choice {
        Choice { row: self, set }
    }

    /// The name and its aliases.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }

    fn is_called(&self, folded_name: &str) -> bool {
        self.names().any(|name| fold(name) == folded_name)
    }
}

impl Choices {
    /// The row of a word.
    pub fn find(&self, word: &str) -> Option<&'static Choice> {
        let folded = fold(word);
        self.rows.iter().find(|choice| choice.row.is_called(&folded))
    }
}

/// A name in the form in which names are compared: lower case, hyphens as separators. The length stays the same.
pub fn fold(name: &str) -> Cow<'_, str> {
    if name.bytes().all(|byte| !byte.is_ascii_uppercase() && byte != b' ' && byte != b'_') {
        return Cow::Borrowed(name);
    }
    let fold_character = |character: char| match character {
        ' ' | '_' => '-',
        other => other.to_ascii_lowercase(),
    };
    Cow::Owned(name.chars().map(fold_character).collect())
}

struct Index {
    keys: HashMap<Cow<'static, str>, &'static Key>,
    flags: HashMap<Cow<'static, str>, &'static Flag>,
    /// Longest first.
    prefixes: Vec<(Cow<'static, str>, &'static Prefix)>,
}

static INDEX: LazyLock<Index> = LazyLock::new(|| {
    let keys = SECTIONS.iter().flat_map(|section| section.keys);
    let flags = SECTIONS.iter().flat_map(|section| section.flags);
    let prefixes = SECTIONS.iter().flat_map(|section| section.prefixes);
    let mut prefixes: Vec<_> =
        prefixes.flat_map(|prefix| prefix.row.names().map(move |name| (fold(name), prefix))).collect();
    prefixes.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    Index {
        keys: keys.flat_map(|key| key.row.names().map(move |name| (fold(name), key))).collect(),
        flags: flags.flat_map(|flag| flag.row.names().map(move |name| (fold(name), flag))).collect(),
        prefixes,
    }
});

/// The row of a key.
pub fn find_key(name: &str) -> Option<&'static Key> {
    INDEX.keys.get(&fold(name)).copied()
}

/// The row of a flag.
pub fn find_flag(name: &str) -> Option<&'static Flag> {
    INDEX.flags.get(&fold(name)).copied()
}

/// The row of a flag that carries a value, and the value.
pub fn find_prefix(flag: &str) -> Option<(&'static Prefix, &str)> {
    let folded = fold(flag);
    let (name, prefix) = INDEX.prefixes.iter().find(|(name, _)| folded.starts_with(name.as_ref()))?;
    Some((prefix, &flag[name.len()..]))
}

/// The row of a prefix that is used as a key (`codec-strip=X`).
pub fn find_prefix_key(key: &str) -> Option<&'static Prefix> {
    let folded = fold(key);
    INDEX.prefixes.iter().find(|(name, _)| name.strip_suffix('-') == Some(&folded)).map(|(_, prefix)| *prefix)
}
