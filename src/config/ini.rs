//! The configuration file: sections of `key = value` lines. A `;` within a value is part of it (lists are separated
//! by it), a key may be repeated, a comment is a line that begins with `#` or `;`.

/// A file, in its order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Ini {
    pub(super) sections: Vec<IniSection>,
}

/// A section. A name that occurs twice is continued.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct IniSection {
    pub(super) name: String,
    pub(super) entries: Vec<Entry>,
}

/// A key with its value, both without surrounding spaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) value: String,
    /// From 1.
    pub(super) line: usize,
}

impl Ini {
    /// Reads a file; the error names the line.
    pub(super) fn parse(text: &str) -> Result<Ini, String> {
        let mut ini = Ini::default();
        let mut current: Option<usize> = None;
        for (index, line) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate() {
            let (number, line) = (index + 1, line.trim());
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            if let Some(rest) = line.strip_prefix('[') {
                let name =
                    rest.strip_suffix(']').ok_or_else(|| format!("line {number}: `]` is missing after `{line}`"))?;
                current = Some(ini.section_index(name.trim()));
                continue;
            }
            let (key, value) = line
                .split_once('=')
                .ok_or_else(|| format!("line {number}: `{line}` is neither `[section]` nor `key = value`"))?;
            let section =
                current.ok_or_else(|| format!("line {number}: `{line}` stands before the first `[section]`"))?;
            let entry = Entry { key: key.trim_end().to_owned(), value: value.trim_start().to_owned(), line: number };
            ini.sections[section].entries.push(entry);
        }
        Ok(ini)
    }

    /// The section of that name.
    pub(super) fn section(&self, name: &str) -> Option<&IniSection> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// The sections called `PREFIX-NAME`, with their `NAME`s.
    pub(super) fn sections_with_prefix<'a>(
        &'a self,
        prefix: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a IniSection)> {
        self.sections.iter().filter_map(move |section| {
            let name = section.name.strip_prefix(prefix)?.strip_prefix('-')?;
            Some((name, section))
        })
    }

    fn section_index(&mut self, name: &str) -> usize {
        if let Some(index) = self.sections.iter().position(|section| section.name == name) {
            return index;
        }
        self.sections.push(IniSection { name: name.to_owned(), entries: Vec::new() });
        self.sections.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_comments_and_repeats_are_kept() {
        let text = "# c\n; d\n[rtpengine]\n interface = a/1.2.3.4;b/::1 # x  \nkey=\nlisten-ng = 1\nlisten-ng = 2\n\n[t]\na = b=c;\n[rtpengine]\nend = yes\n";
        let ini = Ini::parse(text).unwrap();
        let section = ini.section("rtpengine").unwrap();
        let shown: Vec<_> = section.entries.iter().map(|e| (e.key.as_str(), e.value.as_str(), e.line)).collect();
        let expected = [
            ("interface", "a/1.2.3.4;b/::1 # x", 4),
            ("key", "", 5),
            ("listen-ng", "1", 6),
            ("listen-ng", "2", 7),
            ("end", "yes", 12),
        ];
        assert_eq!(shown, expected);
        assert_eq!(ini.section("t").unwrap().entries[0].value, "b=c;");
    }

    #[test]
    fn prefixes_need_their_hyphen() {
        let ini = Ini::parse("[iface-a]\n[ifaceb]\n[iface-]\n[other-a]").unwrap();
        assert_eq!(ini.sections_with_prefix("iface").map(|(name, _)| name).collect::<Vec<_>>(), ["a", ""]);
    }

    #[test]
    fn errors_name_the_line() {
        for (text, line) in [("x", 1), ("[a]\nx", 2), ("\n[a", 2), ("k = v", 1)] {
            assert!(Ini::parse(text).unwrap_err().starts_with(&format!("line {line}: ")), "{text}");
        }
        assert_eq!(Ini::parse("\u{feff}[a]\r\nk = v \r\n").unwrap().sections[0].entries[0].value, "v");
    }
}
