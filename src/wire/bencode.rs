//! Bencode, as far as NG uses it: integers, byte strings, lists, dictionaries in any order.

use super::value::{Dictionary, Malformed, Value, ValueSeed};
use crate::base::text;
use serde::de::DeserializeSeed;

/// Reads a document; bytes after its end make it malformed.
pub fn decode(mut bytes: &[u8]) -> Result<Value, Malformed> {
    let mut deserializer = serde_bencode::Deserializer::new(&mut bytes);
    let value = ValueSeed::document().deserialize(&mut deserializer).map_err(|error| Malformed(error.to_string()))?;
    match value {
        Some(value) if bytes.is_empty() => Ok(value),
        _ => Err(Malformed(format!("{} bytes after the end of the document", bytes.len()))),
    }
}

/// Appends a value's document to `out`.
pub fn encode(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Integer(number) => number_between(out, b"i", *number, b"e"),
        Value::Text(string) => encode_text(string, out),
        Value::List(list) => {
            out.push(b'l');
            list.iter().for_each(|member| encode(member, out));
            out.push(b'e');
        }
        Value::Dictionary(dictionary) => encode_dictionary(dictionary, out),
    }
}

/// Appends a dictionary's document to `out`, keys in their order.
pub fn encode_dictionary(dictionary: &Dictionary, out: &mut Vec<u8>) {
    out.push(b'd');
    for (key, value) in dictionary.iter() {
        encode_text(key, out);
        encode(value, out);
    }
    out.push(b'e');
}

fn encode_text(string: &str, out: &mut Vec<u8>) {
    let bytes = text::encode(string);
    number_between(out, b"", bytes.len() as i64, b":");
    out.extend_from_slice(&bytes);
}

fn number_between(out: &mut Vec<u8>, before: &[u8], number: i64, after: &[u8]) {
    out.extend_from_slice(before);
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    out.extend_from_slice(after);
}

#[cfg(test)]
mod tests {
    use super::super::value::DEPTH_LIMIT;
    use super::*;
    use proptest::prelude::*;

    fn encoded(value: &Value) -> Vec<u8> {
        let mut out = Vec::new();
        encode(value, &mut out);
        out
    }

    #[test]
    fn order_and_binary_are_kept() {
        let document = b"d1:zi-7e1:al3:\x00\xff\x80dee0:d1:k0:ee";
        let value = decode(document).unwrap();
        assert_eq!(encoded(&value), document);
        assert_eq!(value.as_dictionary().unwrap().get("z"), Some(&Value::Integer(-7)));
    }

    #[test]
    fn hostile_documents_are_malformed() {
        let deep = [b"l".repeat(60_000), b"d1:a".repeat(15_000), b"li0e".repeat(20_000)];
        for document in deep {
            assert!(decode(&document).is_err());
        }
        for document in [
            "",
            "d",
            "d1:a",
            "i",
            "ie",
            "iae",
            "99999999999:",
            "18446744073709551617:a",
            "5:abc",
            "-1:a",
            "e",
            "dee",
            "d1:ai1ee ",
            "i1ei2e",
            "di1ei2ee",
            "dlei2ee",
            "i99999999999999999999e",
        ] {
            assert!(decode(document.as_bytes()).is_err(), "{document}");
        }
    }

    #[test]
    fn the_depth_limit_is_exact() {
        let nested = |depth: usize| [b"l".repeat(depth), b"e".repeat(depth)].concat();
        assert!(decode(&nested(DEPTH_LIMIT)).is_ok());
        assert!(decode(&nested(DEPTH_LIMIT + 1)).is_err());
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![any::<i64>().prop_map(Value::Integer), any::<String>().prop_map(Value::Text)];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::List),
                proptest::collection::vec((any::<String>(), inner), 0..6).prop_map(|e| Value::Dictionary(Dictionary(
                    e.into_iter().map(|(key, value)| (key.into(), value)).collect()
                ))),
            ]
        })
    }

    proptest! {
        #[test]
        fn values_survive(value in any_value()) {
            prop_assert_eq!(decode(&encoded(&value)), Ok(value));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            if let Ok(value) = decode(&bytes) {
                prop_assert_eq!(decode(&encoded(&value)), Ok(value));
            }
        }
    }
}
