//! Recorded conversations: reading them, and comparing replies with them. `golden/README.md` says what they hold.

use regex::Regex;
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;
use std::sync::LazyLock;

/// One conversation.
#[derive(Debug)]
pub struct Case {
    pub name: String,
    pub group: String,
    pub needs: Vec<String>,
    pub steps: Vec<Step>,
}

/// One request and what its reply must be.
#[derive(Debug)]
pub struct Step {
    pub request: Value,
    pub expected: Expected,
}

/// How a reply is compared.
#[derive(Debug)]
pub enum Expected {
    /// All of it.
    Whole(Value),
    /// These keys; others may be there.
    Part(Value),
    /// Its result is `ok`.
    Success,
}

impl Case {
    /// Every case of a folder.
    ///
    /// # Panics
    /// When a file can't be read or holds no cases: the corpus is part of the test.
    pub fn read_all(folder: &Path) -> Vec<Case> {
        let entries = std::fs::read_dir(folder).expect("the folder of conversations");
        let mut files: Vec<_> = entries.map(|entry| entry.expect("a folder entry").path()).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
        files.sort();
        let texts = files.iter().map(|path| std::fs::read_to_string(path).expect("a file of conversations"));
        let cases = texts.flat_map(|text| text.lines().map(Case::parse).collect::<Vec<_>>());
        cases.collect()
    }

    fn parse(line: &str) -> Case {
        let case: Value = serde_json::from_str(line).expect("a case is JSON");
        let text = |key: &str| case[key].as_str().expect("a case has texts").to_owned();
        let list = |key: &str| case[key].as_array().expect("a case has lists").clone();
        Case {
            name: text("name"),
            group: text("group"),
            needs: list("needs").iter().filter_map(|need| need.as_str().map(str::to_owned)).collect(),
            steps: list("steps").iter().map(Step::parse).collect(),
        }
    }
}

impl Step {
    fn parse(step: &Value) -> Step {
        let expected = match (step.get("response"), step.get("contains")) {
            (Some(whole), _) => Expected::Whole(whole.clone()),
            (None, Some(part)) => Expected::Part(part.clone()),
            (None, None) => Expected::Success,
        };
        Step { request: step["request"].clone(), expected }
    }
}

/// The values that placeholders have taken in a case.
#[derive(Debug, Default)]
pub struct Bindings {
    values: HashMap<(String, String), String>,
    owners: HashMap<(String, String), String>,
}

/// The characters of each kind of placeholder.
const KINDS: [(&str, &str); 11] = [
    ("port", r"\d{1,5}"),
    ("ufrag", r"[A-Za-z0-9+/]{4,256}"),
    ("pwd", r"[A-Za-z0-9+/]{22,256}"),
    ("tlsid", r"[A-Za-z0-9+/_-]{20,255}"),
    ("fp", r"(?:[0-9A-F]{2}:){19,63}[0-9A-F]{2}"),
    ("foundation", r"[A-Za-z0-9+/]{1,32}"),
    ("instance", r"\S+"),
    ("tag", r"\S+"),
    ("sessid", r"\d+"),
    ("sessver", r"\d+"),
    ("software", r"[^\r\n]+"),
];

/// Kinds of which two placeholders never share a value.
const UNIQUE: [&str; 5] = ["ufrag", "pwd", "key", "tag", "foundation"];

fn token() -> &'static Regex {
    static TOKEN: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\{([a-z]+)(\d*):(\d+)\}").expect("a constant pattern"));
    &TOKEN
}

impl Bindings {
    /// A request with the values of earlier replies filled in.
    pub fn fill(&self, node: &Value) -> Value {
        match node {
            Value::String(text) => Value::String(self.fill_text(text)),
            Value::Array(list) => list.iter().map(|entry| self.fill(entry)).collect(),
            Value::Object(map) => map
                .iter()
                .map(|(key, value)| (self.fill_text(key), self.fill(value)))
                .collect::<serde_json::Map<_, _>>()
                .into(),
            other => other.clone(),
        }
    }

    fn fill_text(&self, text: &str) -> String {
        let replaced = token().replace_all(text, |found: &regex::Captures| {
            let key = (found[1].to_owned(), found[3].to_owned());
            self.values.get(&key).cloned().unwrap_or_else(|| found[0].to_owned())
        });
        replaced.into_owned()
    }

    fn bind(&mut self, kind: &str, number: &str, got: &str) -> bool {
        let key = (kind.to_owned(), number.to_owned());
        if let Some(known) = self.values.get(&key) {
            return known == got;
        }
        let owner = (kind.to_owned(), got.to_owned());
        if UNIQUE.contains(&kind) && self.owners.get(&owner).is_some_and(|other| other != number) {
            return false;
        }
        self.values.insert(key, got.to_owned());
        self.owners.insert(owner, number.to_owned());
        true
    }

    fn text(&mut self, want: &str, got: &str) -> Result<(), String> {
        if !want.contains('{') && want == got {
            return Ok(());
        }
        let (mut pattern, mut groups, mut last) = (String::from("^"), Vec::new(), 0);
        for found in token().captures_iter(want) {
            let whole = found.get(0).expect("a match has a whole");
            let characters = match &found[1] {
                "key" => format!("[A-Za-z0-9+/]{{{}}}", &found[2]),
                kind => match KINDS.iter().find(|(name, _)| *name == kind) {
                    Some((_, characters)) => (*characters).to_owned(),
                    None => continue,
                },
            };
            pattern += &regex::escape(&want[last..whole.start()]);
            pattern += &format!("({characters})");
            groups.push((found[1].to_owned(), found[3].to_owned()));
            last = whole.end();
        }
        pattern += &regex::escape(&want[last..]);
        pattern += "$";
        let mismatch = || format!("want {want:?}\n  got  {got:?}");
        let compiled = Regex::new(&pattern).map_err(|error| error.to_string())?;
        let matched = compiled.captures(got).ok_or_else(mismatch)?;
        for (index, (kind, number)) in groups.iter().enumerate() {
            if !self.bind(kind, number, &matched[index + 1]) {
                return Err(format!("{{{kind}:{number}}} has another value, {}", mismatch()));
            }
        }
        Ok(())
    }

    fn node(&mut self, want: &Value, got: &Value, at: &str) -> Result<(), String> {
        match (want, got) {
            (Value::Object(want), Value::Object(got)) => self.object(want, got, at),
            (Value::Array(want), Value::Array(got)) => {
                if want.len() != got.len() {
                    return Err(format!("{at}: {} entries expected, {} found", want.len(), got.len()));
                }
                let pairs = want.iter().zip(got).enumerate();
                pairs.map(|(index, (want, got))| self.node(want, got, &format!("{at}[{index}]"))).collect()
            }
            (Value::String(want), Value::String(got)) if at.ends_with(".sdp") => self.sdp(want, got),
            (Value::String(want), Value::String(got)) => self.text(want, got).map_err(|why| format!("{at}: {why}")),
            _ if want == got => Ok(()),
            _ => Err(format!("{at}: want {want}, got {got}")),
        }
    }

    fn object(
        &mut self,
        want: &serde_json::Map<String, Value>,
        got: &serde_json::Map<String, Value>,
        at: &str,
    ) -> Result<(), String> {
        let mut seen = Vec::new();
        for (key, value) in want {
            let key = self.fill_text(key);
            let loose = token().is_match(&key);
            let found = match loose {
                false => got.get_key_value(&key),
                true => got.iter().find(|(name, _)| !want.contains_key(*name) && self.text(&key, name).is_ok()),
            };
            let (name, found) = found.ok_or_else(|| format!("{at}: {key} is missing"))?;
            self.node(value, found, &format!("{at}.{name}"))?;
            seen.push(name);
        }
        match got.keys().find(|key| !seen.contains(key)) {
            Some(extra) => Err(format!("{at}: {extra} is too much")),
            None => Ok(()),
        }
    }

    fn sdp(&mut self, want: &str, got: &str) -> Result<(), String> {
        let (want, lines): (Vec<&str>, Vec<&str>) = (want.split("\r\n").collect(), got.split("\r\n").collect());
        for index in 0..want.len().max(lines.len()) {
            let line = |list: &[&str]| list.get(index).map_or("<end>".to_owned(), |line| (*line).to_owned());
            self.text(&line(&want), &line(&lines)).map_err(|why| format!("sdp line {}: {why}\n{got}", index + 1))?;
        }
        check_ports(got)
    }
}

/// In every section with its own RTCP port, RTP is even and RTCP one above it.
fn check_ports(sdp: &str) -> Result<(), String> {
    let port = |line: &str| line.split([' ', ':']).nth(1).and_then(|port| port.parse::<u16>().ok());
    let mut rtp = None;
    for line in sdp.split("\r\n") {
        if line.starts_with("m=") {
            rtp = port(line).filter(|_| line.contains(" RTP"));
        }
        if let (Some(rtp), true, Some(rtcp)) = (rtp, line.starts_with("a=rtcp:"), port(line)) {
            if rtp != rtcp && (rtp % 2 == 1 || rtcp != rtp + 1) {
                return Err(format!("RTP port {rtp} with RTCP port {rtcp}"));
            }
        }
    }
    Ok(())
}

/// Compares a reply with what a step expects.
///
/// # Errors
/// The first difference.
pub fn compare(bindings: &mut Bindings, step: &Step, reply: &Value) -> Result<(), String> {
    match &step.expected {
        Expected::Success if reply["result"] == "ok" => Ok(()),
        Expected::Success => Err(format!("reply: {reply}")),
        Expected::Whole(want) => bindings.node(want, reply, "reply"),
        Expected::Part(want) => {
            let keys = want.as_object().into_iter().flat_map(|map| map.keys());
            let part = keys.map(|key| (key.clone(), reply.get(key).cloned().unwrap_or_default()));
            bindings.node(want, &part.collect::<serde_json::Map<_, _>>().into(), "reply")
        }
    }
}
