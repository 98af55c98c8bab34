//! Bencode as the NG protocol uses it: integers, strings, lists, dictionaries in any order.

use serde_json::{Map, Value};

/// Appends `value`. Booleans become 0 and 1, null an empty string; fractions are cut off.
pub fn encode(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => string("", out),
        Value::Bool(yes) => integer(i64::from(*yes), out),
        Value::Number(number) => integer(number.as_i64().unwrap_or_else(|| number.as_f64().unwrap_or(0.0) as i64), out),
        Value::String(text) => string(text, out),
        Value::Array(values) => {
            out.push(b'l');
            values.iter().for_each(|value| encode(value, out));
            out.push(b'e');
        }
        Value::Object(entries) => {
            out.push(b'd');
            for (key, value) in entries {
                string(key, out);
                encode(value, out);
            }
            out.push(b'e');
        }
    }
}

fn integer(number: i64, out: &mut Vec<u8>) {
    out.extend(format!("i{number}e").into_bytes());
}

fn string(text: &str, out: &mut Vec<u8>) {
    out.extend(format!("{}:", text.len()).into_bytes());
    out.extend(text.as_bytes());
}

/// Reads one value that fills `bytes`; bytes that are not UTF-8 are replaced.
pub fn decode(bytes: &[u8]) -> Result<Value, String> {
    let mut rest = bytes;
    let value = take(&mut rest, 32)?;
    if rest.is_empty() { Ok(value) } else { Err(format!("{} bytes too many", rest.len())) }
}

fn take(rest: &mut &[u8], depth: u32) -> Result<Value, String> {
    let depth = depth.checked_sub(1).ok_or("nested too deep")?;
    match rest.first() {
        Some(b'i') => {
            *rest = &rest[1..];
            let number = until(rest, b'e')?;
            number.parse::<i64>().map(Value::from).map_err(|_| format!("bad integer '{number}'"))
        }
        Some(b'l') => {
            *rest = &rest[1..];
            let mut values = Vec::new();
            while !ends(rest)? {
                values.push(take(rest, depth)?);
            }
            Ok(Value::Array(values))
        }
        Some(b'd') => {
            *rest = &rest[1..];
            let mut entries = Map::new();
            while !ends(rest)? {
                let key = take_string(rest)?;
                entries.insert(key, take(rest, depth)?);
            }
            Ok(Value::Object(entries))
        }
        Some(b'0'..=b'9') => take_string(rest).map(Value::String),
        Some(byte) => Err(format!("unexpected byte {byte:#04x}")),
        None => Err("ends too early".into()),
    }
}

/// Whether a list or dictionary ends here; steps over its end.
fn ends(rest: &mut &[u8]) -> Result<bool, String> {
    match rest.first() {
        Some(b'e') => {
            *rest = &rest[1..];
            Ok(true)
        }
        Some(_) => Ok(false),
        None => Err("ends too early".into()),
    }
}

fn take_string(rest: &mut &[u8]) -> Result<String, String> {
    let length = until(rest, b':')?;
    let length: usize = length.parse().map_err(|_| format!("bad length '{length}'"))?;
    let text = rest.get(..length).ok_or("a string ends too early")?;
    *rest = &rest[length..];
    Ok(String::from_utf8_lossy(text).into_owned())
}

fn until(rest: &mut &[u8], end: u8) -> Result<String, String> {
    let length = rest.iter().position(|byte| *byte == end).ok_or("ends too early")?;
    let text = String::from_utf8_lossy(&rest[..length]).into_owned();
    *rest = &rest[length + 1..];
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn there_and_back() {
        let value = json!({"command": "offer", "n": -3, "flags": ["a b", ""], "d": {"z": [], "a": {}}});
        let mut bytes = Vec::new();
        encode(&value, &mut bytes);
        assert_eq!(String::from_utf8_lossy(&bytes), "d7:command5:offer1:ni-3e5:flagsl3:a b0:e1:dd1:zle1:adeee");
        assert_eq!(decode(&bytes), Ok(value));
    }

    #[test]
    fn broken_text_is_an_error() {
        for text in ["", "d", "i12", "ie", "3:ab", "d1:ae", "l", "le ", "x", "di1ei2ee", "-1:a"] {
            assert!(decode(text.as_bytes()).is_err(), "{text}");
        }
        assert!(decode(&[b'l'; 60_000]).is_err());
    }
}
