//! JSON (RFC 8259) as far as NG uses it. A byte that is not UTF-8 is refused in a request, and leaves in a reply as
//! the private-use character that carries it, so that a reply is always valid JSON and can be sent back.

use super::value::{Dictionary, Malformed, Value, ValueSeed};
use serde::Serialize;
use serde::de::DeserializeSeed;
use serde::ser::{SerializeMap, Serializer};

/// Reads a document; anything but white space after its end makes it malformed.
pub fn decode(bytes: &[u8]) -> Result<Value, Malformed> {
    let malformed = |error: serde_json::Error| Malformed(error.to_string());
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = ValueSeed::document().deserialize(&mut deserializer).map_err(malformed)?;
    deserializer.end().map_err(malformed)?;
    value.ok_or_else(|| Malformed("the document is null".to_owned()))
}

/// Appends a value's document to `out`.
pub fn encode(value: &impl Serialize, out: &mut Vec<u8>) {
    // Writing to a Vec cannot fail, and every key is a string.
    let _ = serde_json::to_writer(out, value);
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Integer(number) => serializer.serialize_i64(*number),
            Value::Text(string) => serializer.serialize_str(string),
            Value::List(list) => serializer.collect_seq(list),
            Value::Dictionary(dictionary) => dictionary.serialize(serializer),
        }
    }
}

impl Serialize for Dictionary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in self.iter() {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(value: &Value) -> String {
        let mut out = Vec::new();
        encode(value, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn order_is_kept_and_odd_values_are_coerced() {
        let document =
            br#" {"z": true, "a": [1, null, false, "x"], "n": null, "f": 2.0, "g": 2.5, "b": 18446744073709551615} "#;
        let value = decode(document).unwrap();
        assert_eq!(encoded(&value), r#"{"z":1,"a":[1,0,"x"],"f":2,"g":"2.5","b":"18446744073709551615"}"#);
    }

    #[test]
    fn hostile_documents_are_malformed() {
        for document in [b"[".repeat(60_000), b"{\"a\":".repeat(12_000), vec![b'{'; 65_000], vec![0xff; 65_000]] {
            assert!(decode(&document).is_err());
        }
        for document in ["", "{", "{]", "{\"a\"}", "{\"a\":1}x", "null", "{'a':1}", "{\"a\":\"\\ud800\"}", "{\"a\":01}"]
        {
            assert!(decode(document.as_bytes()).is_err(), "{document}");
        }
        assert!(decode(b"{\"a\":\"\xff\"}").is_err());
    }

    proptest! {
        #[test]
        fn strings_survive(key: String, string: String) {
            let value = Value::Dictionary(Dictionary::new().with(key, string));
            prop_assert_eq!(decode(encoded(&value).as_bytes()), Ok(value));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            if let Ok(value) = decode(&bytes) {
                prop_assert_eq!(decode(encoded(&value).as_bytes()), Ok(value));
            }
        }
    }
}
