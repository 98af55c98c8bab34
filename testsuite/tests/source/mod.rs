//! Rust source as token trees, for the tests that judge its structure.

use proc_macro2::{Span, TokenStream, TokenTree};
use std::fs;
use std::path::{Path, PathBuf};

/// One source file, read and split into tokens.
pub struct Source {
    /// The path below the repository's top, with `/`.
    pub path: String,
    pub text: String,
    pub tokens: TokenStream,
}

impl Source {
    /// Splits `text` into tokens. Panics on text that is not Rust: a test reads sources that compile.
    pub fn parse(path: &str, text: &str) -> Source {
        let tokens = text.parse().unwrap_or_else(|error| panic!("{path}: {error}"));
        Source { path: path.to_owned(), text: text.to_owned(), tokens }
    }
}

/// The repository's top.
pub fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the test suite lies one folder down").to_owned()
}

/// Every file below `folder` (relative to the top) whose name ends in `ending`, in order of path.
pub fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![top().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("a readable folder").path();
            if path.is_dir() && path.file_name() != Some("out".as_ref()) {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Every Rust source below `folder`.
pub fn sources(folder: &str) -> Vec<Source> {
    files(folder, ".rs").iter().map(|path| Source::parse(&relative(path), &read(path))).collect()
}

/// The path below the top, with `/`.
pub fn relative(path: &Path) -> String {
    path.strip_prefix(top()).expect("a path below the top").to_string_lossy().replace('\\', "/")
}

/// The text of a file; panics when it can't be read as UTF-8.
pub fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Whether the token is the identifier `name`.
pub fn is_ident(tree: Option<&TokenTree>, name: &str) -> bool {
    matches!(tree, Some(TokenTree::Ident(ident)) if ident == name)
}

/// The line, counted from 1, on which `span` begins.
pub fn line(span: Span) -> usize {
    span.start().line
}
