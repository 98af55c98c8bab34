//! Ratchets on how the code reads: short functions, short files, nothing unfinished, unsafe code in its place.

mod source;

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use source::{Source, is_ident, line};

const LONGEST_FUNCTION_LINES: usize = 70;
const LONGEST_FILE_LINES: usize = 800;

/// Where `unsafe` may stand, as the beginning of a path; everywhere else it is a fault.
const UNSAFE_HOMES: [&str; 4] =
    ["src/io/", "src/dtls/bindings.rs", "testsuite/src/system", "testsuite/tests/allocation.rs"];

/// Words that name a machine's folders. Written in pieces, so that this file does not hold them.
const MACHINE_PATHS: [&str; 4] =
    [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/")];

const UNFINISHED: [&str; 2] = ["todo", "unimplemented"];

/// Calls `visit` for every sequence of tokens, outermost first: the file and the inside of each pair of brackets.
fn each_group(tokens: &TokenStream, visit: &mut dyn FnMut(&[TokenTree])) {
    let trees: Vec<TokenTree> = tokens.clone().into_iter().collect();
    visit(&trees);
    for tree in &trees {
        if let TokenTree::Group(group) = tree {
            each_group(&group.stream(), visit);
        }
    }
}

/// Functions longer than the limit.
fn long_functions(source: &Source) -> Vec<String> {
    let mut faults = Vec::new();
    each_group(&source.tokens, &mut |trees| {
        for (index, tree) in trees.iter().enumerate() {
            let Some(TokenTree::Ident(name)) = trees.get(index + 1) else { continue };
            if !is_ident(Some(tree), "fn") {
                continue;
            }
            let body = trees[index..].iter().find_map(|tree| match tree {
                TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => Some(Some(group.span())),
                TokenTree::Punct(punct) if punct.as_char() == ';' => Some(None),
                _ => None,
            });
            let Some(Some(body)) = body else { continue };
            let lines = body.end().line + 1 - line(tree.span());
            if lines > LONGEST_FUNCTION_LINES {
                faults.push(format!("{}:{}: fn {name} has {lines} lines", source.path, line(tree.span())));
            }
        }
    });
    faults
}

/// `unsafe` outside its homes, and `unsafe` blocks and impls without a comment that gives the reason.
fn unsafe_faults(source: &Source) -> Vec<String> {
    let lines: Vec<&str> = source.text.lines().collect();
    let at_home = UNSAFE_HOMES.iter().any(|home| source.path.starts_with(home));
    let mut faults = Vec::new();
    each_group(&source.tokens, &mut |trees| {
        for (index, tree) in trees.iter().enumerate() {
            if !is_ident(Some(tree), "unsafe") {
                continue;
            }
            let number = line(tree.span());
            let place = format!("{}:{number}", source.path);
            if !at_home {
                faults.push(format!("{place}: unsafe code belongs to src/io or the bindings of a library"));
            }
            let is_block = matches!(trees.get(index + 1), Some(TokenTree::Group(_)));
            let is_impl = is_ident(trees.get(index + 1), "impl");
            if (is_block || is_impl) && !has_reason(&lines, number - 1) {
                faults.push(format!("{place}: unsafe without a comment that says why it is sound"));
            }
        }
    });
    faults
}

/// Whether the statement that holds line `index` has a comment: on the line, or on the lines just above the statement.
fn has_reason(lines: &[&str], index: usize) -> bool {
    if lines[index].contains("// ") {
        return true;
    }
    // A statement may begin some lines above its `unsafe`; it ends where a line ends one.
    for above in lines[..index].iter().rev().map(|line| line.trim()) {
        if above.starts_with("//") && !above.starts_with("///") {
            return true;
        }
        if above.is_empty() || above.ends_with([';', '}', '{']) {
            return false;
        }
    }
    false
}

/// Macros that stand for work that was not done.
fn unfinished(source: &Source) -> Vec<String> {
    let mut faults = Vec::new();
    each_group(&source.tokens, &mut |trees| {
        for pair in trees.windows(2) {
            let bang = matches!(&pair[1], TokenTree::Punct(punct) if punct.as_char() == '!');
            if let (TokenTree::Ident(name), true) = (&pair[0], bang)
                && UNFINISHED.iter().any(|word| name == word)
            {
                faults.push(format!("{}:{}: {name}! stands for work not done", source.path, line(name.span())));
            }
        }
    });
    faults
}

/// Files over the limit.
fn long_file(path: &str, text: &str) -> Option<String> {
    let lines = text.lines().count();
    (lines > LONGEST_FILE_LINES).then(|| format!("{path}: {lines} lines"))
}

/// Paths that only one machine has.
fn machine_paths(path: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for word in MACHINE_PATHS {
            let starts = line.match_indices(word).map(|(at, _)| at);
            let is_path = |at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-$}~".contains(c));
            if starts.into_iter().any(is_path) {
                faults.push(format!("{path}:{}: names a folder of one machine ({word})", index + 1));
            }
        }
    }
    faults
}

fn everything() -> Vec<Source> {
    let mut sources = source::sources("src");
    sources.extend(source::sources("testsuite"));
    assert!(sources.len() > 20, "the sources were found");
    sources
}

fn assert_none(faults: Vec<String>) {
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn functions_fit_a_screen() {
    assert_none(everything().iter().flat_map(long_functions).collect());
}

#[test]
fn files_stay_short() {
    assert_none(everything().iter().filter_map(|source| long_file(&source.path, &source.text)).collect());
}

#[test]
fn nothing_is_left_unfinished() {
    assert_none(everything().iter().flat_map(unfinished).collect());
}

#[test]
fn unsafe_stays_at_the_edge_with_its_reason() {
    assert_none(everything().iter().flat_map(unsafe_faults).collect());
}

#[test]
fn no_file_names_a_folder_of_one_machine() {
    let mut faults: Vec<String> =
        everything().iter().flat_map(|source| machine_paths(&source.path, &source.text)).collect();
    for folder in ["config", "protocol-docs", "packaging", "testsuite"] {
        if !source::top().join(folder).is_dir() {
            continue;
        }
        for path in
            [".md", ".toml", ".conf", ".example", ".xml", ".service"].iter().flat_map(|end| source::files(folder, end))
        {
            faults.extend(machine_paths(&source::relative(&path), &source::read(&path)));
        }
    }
    for name in ["README.md", "CHANGELOG.md", "Makefile", "Cargo.toml", "clippy.toml", ".ci/run"] {
        if source::top().join(name).is_file() {
            faults.extend(machine_paths(name, &source::read(&source::top().join(name))));
        }
    }
    assert_none(faults);
}

#[test]
fn the_ratchets_can_fail() {
    let filler = "    let _ = 0;\n".repeat(LONGEST_FUNCTION_LINES - 2);
    let just_fits = format!("fn fits() {{\n{filler}}}\n");
    let too_long =
        format!("impl X {{ fn long(&self) -> u8 {{\n    let _ = 0;\n{filler}}} }}\ntrait T {{ fn none(); }}\n");
    assert_eq!(long_functions(&Source::parse("a.rs", &just_fits)).len(), 0);
    assert_eq!(long_functions(&Source::parse("a.rs", &too_long)).len(), 1);

    assert!(long_file("a.rs", &"\n".repeat(LONGEST_FILE_LINES)).is_none());
    assert!(long_file("a.rs", &"\n".repeat(LONGEST_FILE_LINES + 1)).is_some());

    let count = |text: &str| unfinished(&Source::parse("a.rs", text)).len();
    assert_eq!(count("fn f() { todo!() } // unimplemented!()"), 1);
    assert_eq!(count("fn f() { let x = match 1 { _ => unimplemented!(\"later\") }; }"), 1);
    assert_eq!(count("fn f() { let todo = 1; let _ = \"todo!()\"; }"), 0);

    let machine = format!("see {}x\n", MACHINE_PATHS[0]);
    assert_eq!(machine_paths("a.md", &machine).len(), 1);
    assert_eq!(machine_paths("a.md", "net/work/of/things\n").len(), 0);
}

#[test]
fn the_unsafe_ratchet_can_fail() {
    let count = |path: &str, text: &str| unsafe_faults(&Source::parse(path, text)).len();
    let bare = "fn f() {\n    let x = unsafe { g() };\n}\n";
    let reasoned = "fn f() {\n    // Sound: g has no conditions.\n    let x = unsafe { g() };\n}\n";
    let above = "fn f() {\n    // Sound: g has no conditions.\n    let x =\n        unsafe { g() };\n}\n";
    assert_eq!(count("src/io/socket.rs", bare), 1);
    assert_eq!(count("src/io/socket.rs", reasoned), 0);
    assert_eq!(count("src/io/socket.rs", above), 0);
    assert_eq!(count("src/io/socket.rs", "// A type.\nstruct S;\nunsafe impl Send for S {}\n"), 1);
    assert_eq!(count("src/wire/rtp.rs", reasoned), 1);
    assert_eq!(count("src/wire/rtp.rs", bare), 2);
    assert_eq!(count("src/wire/rtp.rs", "fn f() { let _ = \"unsafe { }\"; } // unsafe { }\n"), 0);
}

/// Empty input is input too.
#[test]
fn an_empty_file_has_no_faults() {
    let empty = Source { path: "src/wire/empty.rs".into(), text: String::new(), tokens: TokenStream::new() };
    assert_eq!(long_functions(&empty).len() + unsafe_faults(&empty).len() + unfinished(&empty).len(), 0);
}
