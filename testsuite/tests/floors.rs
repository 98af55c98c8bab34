//! The floors of `src/lib.rs`: imports go down only, and folders of one floor never import each other.

mod source;

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
use source::{Source, is_ident, line};
use std::collections::BTreeMap;

/// The folders of `src/` with their floors.
type Floors = BTreeMap<String, u32>;

/// Reads `// floor N` lines and the `pub mod x;` lines below each.
fn read_floors(text: &str) -> Result<Floors, String> {
    let mut floors = Floors::new();
    let mut floor = None;
    for text in text.lines().map(str::trim) {
        if let Some(number) = text.strip_prefix("// floor ") {
            floor = Some(number.parse().map_err(|_| format!("'{text}' gives no number"))?);
        } else if let Some(rest) = text.strip_prefix("pub mod ").or_else(|| text.strip_prefix("mod ")) {
            let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
            let floor = floor.ok_or_else(|| format!("'{text}' stands on no floor"))?;
            if floors.insert(name.to_owned(), floor).is_some() {
                return Err(format!("'{name}' stands on two floors"));
            }
        }
    }
    Ok(floors)
}

/// A path that begins at the crate's root, with the line it stands on.
struct Import {
    folder: String,
    line: usize,
}

/// Where in the module tree the tokens stand: the number of modules above them.
fn depth_of_file(path: &str) -> usize {
    let inside = path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
    if inside == "lib" || inside == "main" { 0 } else { inside.split('/').count() }
}

/// Collects every path that leads to a folder of the crate: `crate::x`, `crate::{x, y}`, `super::super::x`,
/// in `use` lines, expressions, types, attributes and macro arguments.
fn imports(tokens: &TokenStream, depth: usize, found: &mut Vec<Import>) {
    let trees: Vec<TokenTree> = tokens.clone().into_iter().collect();
    for (index, tree) in trees.iter().enumerate() {
        let rest = &trees[index + 1..];
        if (is_ident(Some(tree), "crate") || is_ident(Some(tree), "millrace")) && starts_with_colons(rest) {
            targets(&rest[2..], found);
        } else if is_ident(Some(tree), "super") && starts_with_colons(rest) && !follows_path(&trees[..index]) {
            climb(&trees[index..], depth, found);
        }
        if let TokenTree::Group(group) = tree {
            let inner_module = index >= 2 && is_ident(trees.get(index - 2), "mod") && braces(Some(tree)).is_some();
            imports(&group.stream(), depth + usize::from(inner_module), found);
        }
    }
}

/// Whether the tokens begin with `::`.
fn starts_with_colons(trees: &[TokenTree]) -> bool {
    matches!(trees, [TokenTree::Punct(first), TokenTree::Punct(second), ..]
        if first.as_char() == ':' && first.spacing() == Spacing::Joint && second.as_char() == ':')
}

/// The content of a `{}` group.
fn braces(tree: Option<&TokenTree>) -> Option<TokenStream> {
    match tree {
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => Some(group.stream()),
        _ => None,
    }
}

/// Whether the tokens before end in `::`, so that what follows is not the start of a path.
fn follows_path(before: &[TokenTree]) -> bool {
    before.len() >= 2 && starts_with_colons(&before[before.len() - 2..])
}

/// Follows `super::super::…`; what it names counts when it reaches the root.
fn climb(mut trees: &[TokenTree], depth: usize, found: &mut Vec<Import>) {
    let mut climbed = 0;
    while is_ident(trees.first(), "super") && starts_with_colons(&trees[1..]) {
        climbed += 1;
        trees = &trees[3..];
    }
    if climbed >= depth {
        targets(trees, found);
    }
}

/// The first names behind a path's root: one identifier, or each branch of a group.
fn targets(trees: &[TokenTree], found: &mut Vec<Import>) {
    match trees.first() {
        Some(TokenTree::Ident(ident)) => found.push(Import { folder: ident.to_string(), line: line(ident.span()) }),
        tree => {
            let Some(group) = braces(tree) else { return };
            let branches: Vec<TokenTree> = group.into_iter().collect();
            for branch in branches.split(|tree| matches!(tree, TokenTree::Punct(comma) if comma.as_char() == ',')) {
                targets(branch, found);
            }
        }
    }
}

/// What is wrong with the imports of one file of `src/`.
fn faults(floors: &Floors, source: &Source) -> Vec<String> {
    let folder = source.path.trim_start_matches("src/").split('/').next().unwrap_or_default().trim_end_matches(".rs");
    if folder == "lib" || folder == "main" {
        return Vec::new();
    }
    let Some(&own) = floors.get(folder) else {
        return vec![format!("{}: src/lib.rs gives '{folder}' no floor", source.path)];
    };
    let mut found = Vec::new();
    imports(&source.tokens, depth_of_file(&source.path), &mut found);
    found
        .iter()
        .filter(|import| import.folder != folder)
        .filter_map(|import| {
            let text = source.text.lines().nth(import.line - 1).unwrap_or_default().trim();
            let place = format!("{}:{}: `{text}`", source.path, import.line);
            let name = &import.folder;
            match floors.get(name) {
                None => Some(format!("{place}: '{name}' is no folder with a floor; name the folder it comes from")),
                Some(&floor) if floor > own => {
                    Some(format!("{place}: '{folder}' ({own}) reaches up to '{name}' ({floor})"))
                }
                Some(&floor) if floor == own => {
                    Some(format!("{place}: '{folder}' reaches sideways to '{name}' ({floor})"))
                }
                Some(_) => None,
            }
        })
        .collect()
}

#[test]
fn imports_go_down_only() {
    let floors = read_floors(&source::read(&source::top().join("src/lib.rs"))).unwrap();
    assert!(floors.len() >= 10, "src/lib.rs lists its folders under '// floor N' lines");
    let sources = source::sources("src");
    let faults: Vec<String> = sources.iter().flat_map(|source| faults(&floors, source)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_list_of_floors_must_be_whole() {
    let floors = read_floors("// floor 0\npub mod base;\n\n// floor 3\npub mod rtp; // why\nmod srtp;\n").unwrap();
    assert_eq!(
        floors.iter().map(|(k, v)| (k.as_str(), *v)).collect::<Vec<_>>(),
        [("base", 0), ("rtp", 3), ("srtp", 3)]
    );
    assert!(read_floors("pub mod base;").is_err());
    assert!(read_floors("// floor one\npub mod base;").is_err());
    assert!(read_floors("// floor 1\npub mod base;\n// floor 2\npub mod base;").is_err());
}

#[test]
fn the_checker_sees_what_it_must() {
    let floors =
        read_floors("// floor 0\npub mod base;\n// floor 2\npub mod sdp;\npub mod ng;\n// floor 4\npub mod call;\n")
            .unwrap();
    let count = |path: &str, text: &str| faults(&floors, &Source::parse(path, text)).len();

    // Down, within, and outside the crate.
    assert_eq!(count("src/call/mod.rs", "use crate::sdp::{Body, line::Line}; use std::fmt; use super::base::time;"), 0);
    assert_eq!(
        count("src/sdp/line.rs", "use crate::base::address; use super::body::Body; fn f() { crate::sdp::x() }"),
        0
    );
    assert_eq!(count("src/sdp/line.rs", "// use crate::call::Call;\nconst S: &str = \"crate::call::Call\";"), 0);

    // Up.
    assert_eq!(count("src/sdp/line.rs", "use crate::call::Call;"), 1);
    assert_eq!(count("src/base/time.rs", "fn f() { let x = crate::sdp::parse(); }"), 1);
    assert_eq!(count("src/base/time.rs", "fn f() { assert!(vec![crate::sdp::parse()].is_empty()); }"), 1);
    assert_eq!(
        count("src/base/time.rs", "#[cfg(test)] mod tests { use crate::{base::time, call::{Call, Tag}, sdp}; }"),
        2
    );
    assert_eq!(count("src/base/time.rs", "fn f(x: &crate::call::Call) {}"), 1);

    // Sideways.
    assert_eq!(count("src/sdp/line.rs", "use crate::ng::Value;"), 1);
    assert_eq!(count("src/sdp/mod.rs", "pub(crate) use super::ng::Value;"), 1);
    assert_eq!(count("src/sdp/line.rs", "use super::super::ng::Value;"), 1);
    assert_eq!(count("src/sdp/line.rs", "mod tests { use super::super::super::{ng::Value, base}; }"), 1);

    // Round the list.
    assert_eq!(count("src/extra/mod.rs", "fn f() {}"), 1);
    assert_eq!(count("src/sdp/line.rs", "use crate::Shortcut;"), 1);
}
