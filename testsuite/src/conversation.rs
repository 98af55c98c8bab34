//! Recorded NG conversations: requests with the replies a drop-in must give, replayed against any daemon.
//!
//! A case is one line of JSON in `GROUP.jsonl`: `name`, `group`, `needs`, `steps`. A step has a `request` and one of
//! `response` (the whole reply), `contains` (these keys of it) and `shape` (any reply whose result is `ok`).
//! Placeholders like `{port:1}` stand for values that a daemon invents; see `pattern`.

mod pattern;

pub use pattern::Bindings;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// One conversation.
pub struct Case {
    pub name: String,
    pub group: String,
    /// What a daemon must be able to do beyond plain relaying: `encryption`, `ice`, `transcoding`.
    pub needs: Vec<String>,
    steps: Vec<Value>,
}

/// Sends one request and gives the reply; the error is the reason why there is none.
pub type Ask<'a> = &'a mut dyn FnMut(&Value) -> Result<Value, String>;

/// Reads every `.jsonl` file of a folder.
pub fn load(folder: &Path) -> Result<Vec<Case>, String> {
    let fault = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(fault)? {
        let path = entry.map_err(fault)?.path();
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            files.push(path);
        }
    }
    files.sort();
    let mut cases = Vec::new();
    for path in files {
        let text = fs::read_to_string(&path).map_err(fault)?;
        for (index, line) in text.lines().enumerate() {
            cases.push(parse(line).map_err(|why| format!("{}:{}: {why}", path.display(), index + 1))?);
        }
    }
    Ok(cases)
}

fn parse(line: &str) -> Result<Case, String> {
    let case: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let text = |name: &str| case[name].as_str().map(str::to_owned).ok_or(format!("no {name}"));
    let steps = case["steps"].as_array().filter(|steps| !steps.is_empty()).ok_or("no steps")?;
    let needs = case["needs"].as_array().ok_or("no needs")?.iter().filter_map(Value::as_str);
    Ok(Case {
        name: text("name")?,
        group: text("group")?,
        needs: needs.map(str::to_owned).collect(),
        steps: steps.clone(),
    })
}

/// Replays a case and deletes its calls; the error says which step differs and how.
pub fn replay(case: &Case, ask: Ask) -> Result<(), String> {
    let mut known = Bindings::default();
    let mut outcome = Ok(());
    for (index, step) in case.steps.iter().enumerate() {
        let request = known.fill(&step["request"]);
        let reply = ask(&request);
        if let Err(why) = reply.and_then(|reply| judge(step, &reply, &mut known)) {
            let command = request["command"].as_str().unwrap_or("no command");
            outcome = Err(format!("step {} ({command}): {why}", index + 1));
            break;
        }
    }
    let calls: BTreeSet<&str> = case.steps.iter().filter_map(|step| step["request"]["call-id"].as_str()).collect();
    for call in calls {
        // Whether it still exists does not matter here.
        let _ = ask(&json!({"command": "delete", "call-id": call, "delete delay": 0}));
    }
    outcome
}

fn judge(step: &Value, reply: &Value, known: &mut Bindings) -> Result<(), String> {
    if step.get("shape").is_some() {
        return if reply["result"] == "ok" { Ok(()) } else { Err(format!("reply: {reply}")) };
    }
    if let Some(want) = step["contains"].as_object() {
        let part: Map<String, Value> =
            want.keys().map(|key| (key.clone(), reply.get(key).cloned().unwrap_or_default())).collect();
        return compare(known, &step["contains"], &Value::Object(part), "reply");
    }
    let want = &step["response"];
    compare(known, want, reply, "reply").map_err(|why| match reply["error-reason"].as_str() {
        Some(reason) if want.get("error-reason").is_none() => format!("error-reason: {reason}"),
        _ => why,
    })
}

/// Compares a reply, or a part of it, with what was recorded.
fn compare(known: &mut Bindings, want: &Value, got: &Value, at: &str) -> Result<(), String> {
    match (want, got) {
        (Value::Object(want), Value::Object(got)) => compare_objects(known, want, got, at),
        (Value::Array(want), Value::Array(got)) if want.len() == got.len() => {
            let mut pairs = want.iter().zip(got).enumerate();
            pairs.try_for_each(|(index, (want, got))| compare(known, want, got, &format!("{at}[{index}]")))
        }
        (Value::Array(want), Value::Array(got)) => {
            Err(format!("{at}: {} entries expected, {} found", want.len(), got.len()))
        }
        (Value::String(want), Value::String(got)) if at.ends_with(".sdp") => compare_sdp(known, want, got),
        (Value::String(want), Value::String(got)) => known.fits(want, got).map_err(|why| format!("{at}: {why}")),
        _ if want == got => Ok(()),
        _ => Err(format!("{at}: want {want}, got {got}")),
    }
}

fn compare_objects(
    known: &mut Bindings,
    want: &Map<String, Value>,
    got: &Map<String, Value>,
    at: &str,
) -> Result<(), String> {
    let mut pairs = Vec::new();
    let filled: Vec<(String, &Value)> = want.iter().map(|(key, value)| (known.fill_text(key), value)).collect();
    let plain: BTreeSet<String> = filled.iter().map(|(key, _)| key.clone()).collect();
    for (key, value) in filled {
        // A placeholder as a key stands for the first key that fits and that no other names.
        let fits = |known: &mut Bindings, name: &String| !plain.contains(name) && known.fits(&key, name).is_ok();
        let name = match pattern::has_placeholder(&key) {
            true => got.keys().find(|name| fits(known, name)).cloned().unwrap_or(key),
            false => key,
        };
        pairs.push((name, value));
    }
    let wanted: BTreeSet<&String> = pairs.iter().map(|(key, _)| key).collect();
    let found: BTreeSet<&String> = got.keys().collect();
    if wanted != found {
        let missing: Vec<_> = wanted.difference(&found).collect();
        let extra: Vec<_> = found.difference(&wanted).collect();
        return Err(format!("{at}: keys differ: missing {missing:?}, extra {extra:?}"));
    }
    pairs.iter().try_for_each(|(key, want)| compare(known, want, &got[key], &format!("{at}.{key}")))
}

/// Line by line; then every media section with an RTCP port of its own must have RTP even and RTCP one above.
fn compare_sdp(known: &mut Bindings, want: &str, got: &str) -> Result<(), String> {
    let (want, lines): (Vec<&str>, Vec<&str>) = (want.split("\r\n").collect(), got.split("\r\n").collect());
    for index in 0..want.len().max(lines.len()) {
        let line = |lines: &[&str]| lines.get(index).map_or("<end>".to_owned(), |line| (*line).to_owned());
        known.fits(&line(&want), &line(&lines)).map_err(|why| format!("sdp line {}: {why}", index + 1))?;
    }
    for section in got.split("\r\nm=").skip(1) {
        let media: Vec<&str> = section.lines().next().unwrap_or_default().split(' ').collect();
        let rtcp = section.lines().find_map(|line| line.strip_prefix("a=rtcp:"));
        let rtcp = rtcp.and_then(|rest| rest.split(' ').next()?.parse::<u16>().ok());
        let rtp = media.get(1).and_then(|port| port.parse::<u16>().ok());
        if let ([_, _, transport, ..], Some(rtp), Some(rtcp)) = (media.as_slice(), rtp, rtcp)
            && transport.starts_with("RTP")
            && rtp != rtcp
            && (rtp % 2 == 1 || Some(rtcp) != rtp.checked_add(1))
        {
            return Err(format!("RTP port {rtp} with RTCP port {rtcp}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(steps: Value) -> Case {
        parse(&json!({"name": "n", "group": "g", "needs": [], "steps": steps}).to_string()).unwrap()
    }

    fn outcome(steps: Value, replies: &[Value]) -> Result<(), String> {
        let mut replies = replies.iter();
        let mut ask = |request: &Value| match request["command"].as_str() {
            Some("delete") => Ok(json!({"result": "ok"})),
            _ => replies.next().cloned().ok_or("no reply".to_owned()),
        };
        replay(&case(steps), &mut ask)
    }

    #[test]
    fn replies_are_held_to_the_record() {
        let steps = json!([{"request": {"command": "offer"}, "response": {"result": "ok", "sdp": "v=0\r\nm=audio {port:1} RTP/AVP 0\r\na=rtcp:{port:2}\r\n"}}]);
        let reply = |sdp: &str| json!({"result": "ok", "sdp": format!("v=0\r\n{sdp}")});
        assert_eq!(outcome(steps.clone(), &[reply("m=audio 30000 RTP/AVP 0\r\na=rtcp:30001\r\n")]), Ok(()));
        for bad in [
            "m=audio 30001 RTP/AVP 0\r\na=rtcp:30002\r\n",
            "m=audio 30000 RTP/AVP 8\r\na=rtcp:30001\r\n",
            "m=audio 30000 RTP/AVP 0\r\n",
        ] {
            assert!(outcome(steps.clone(), &[reply(bad)]).is_err(), "{bad}");
        }
        let refused = outcome(steps.clone(), &[json!({"result": "error", "error-reason": "because"})]);
        assert_eq!(refused, Err("step 1 (offer): error-reason: because".into()));
        assert!(outcome(steps, &[]).is_err());
    }

    #[test]
    fn keys_and_kinds_of_expectation() {
        let want = json!({"result": "ok", "tags": {"{tag:1}": {"n": 1}, "b": [1, 2]}});
        let steps = json!([{"request": {"command": "query"}, "response": want}]);
        assert_eq!(outcome(steps.clone(), &[json!({"tags": {"b": [1, 2], "xyz": {"n": 1}}, "result": "ok"})]), Ok(()));
        assert!(outcome(steps.clone(), &[json!({"tags": {"b": [1], "xyz": {"n": 1}}, "result": "ok"})]).is_err());
        assert!(outcome(steps, &[json!({"tags": {"b": [1, 2]}, "result": "ok"})]).is_err());

        let steps =
            json!([{"request": {"command": "x"}, "contains": {"a": 1}}, {"request": {"command": "y"}, "shape": null}]);
        assert_eq!(outcome(steps.clone(), &[json!({"a": 1, "b": 2}), json!({"result": "ok"})]), Ok(()));
        assert!(outcome(steps.clone(), &[json!({"a": 2}), json!({"result": "ok"})]).is_err());
        assert!(outcome(steps, &[json!({"a": 1}), json!({"result": "error"})]).is_err());
    }
}
