//! The value tree that bencode and JSON documents are read into and written from. Order is kept.

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

use crate::base::text;

/// How deep lists and dictionaries may be nested; a document that goes deeper is malformed.
pub const DEPTH_LIMIT: usize = 32;

/// One value of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Integer(i64),
    /// Text; bytes that are not UTF-8 are carried as `base::text` says.
    Text(String),
    List(Vec<Value>),
    Dictionary(Dictionary),
}

/// Keys and values in the order of the document. A key may occur more than once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dictionary(pub Vec<(Key, Value)>);

/// A key; those of replies are constants.
pub type Key = Cow<'static, str>;

/// A document that cannot be read; the text says what is wrong with it, for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub String);

impl Dictionary {
    pub fn new() -> Dictionary {
        Dictionary::default()
    }

    /// Appends a key, for building replies. The caller sees to it that keys are unique.
    pub fn set(&mut self, key: impl Into<Key>, value: impl Into<Value>) -> &mut Dictionary {
        self.0.push((key.into(), value.into()));
        self
    }

    /// `set`, chained by value.
    #[must_use]
    pub fn with(mut self, key: impl Into<Key>, value: impl Into<Value>) -> Dictionary {
        self.set(key, value);
        self
    }

    /// The last value under exactly this key: a later key overrides an earlier one.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().rev().find(|entry| entry.0 == key).map(|entry| &entry.1)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(key, value)| (key.as_ref(), value))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Value {
    /// The text of a text value.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn as_dictionary(&self) -> Option<&Dictionary> {
        match self {
            Value::Dictionary(dictionary) => Some(dictionary),
            _ => None,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(text)
    }
}

/// Counters above `i64::MAX` are written as `i64::MAX`; no document format here can carry more.
impl From<u64> for Value {
    fn from(number: u64) -> Value {
        Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

macro_rules! integer_values {
    ($($number:ty),*) => {$(
        impl From<$number> for Value {
            fn from(number: $number) -> Value {
                Value::Integer(i64::from(number))
            }
        }
    )*};
}

integer_values!(i64, i32, u32, u16, u8);

impl From<Dictionary> for Value {
    fn from(dictionary: Dictionary) -> Value {
        Value::Dictionary(dictionary)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(list: Vec<T>) -> Value {
        Value::List(list.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Value>> FromIterator<T> for Value {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Value {
        Value::List(items.into_iter().map(Into::into).collect())
    }
}

/// Reads one value, for any format that describes itself. JSON's `null` gives nothing and is left out of lists and
/// dictionaries; booleans are 0 and 1.
pub(super) struct ValueSeed {
    levels_left: usize,
}

impl ValueSeed {
    pub(super) fn document() -> ValueSeed {
        ValueSeed { levels_left: DEPTH_LIMIT }
    }

    fn inner<E: serde::de::Error>(&self) -> Result<usize, E> {
        self.levels_left.checked_sub(1).ok_or_else(|| E::custom("nested too deeply"))
    }
}

impl<'de> DeserializeSeed<'de> for ValueSeed {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<Value>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer, a string, a list or a dictionary")
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Option<Value>, E> {
        Ok(Some(Value::Integer(i64::from(truth))))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Option<Value>, E> {
        Ok(Some(Value::Integer(number)))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Option<Value>, E> {
        Ok(Some(i64::try_from(number).map_or_else(|_| Value::Text(number.to_string()), Value::Integer)))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Option<Value>, E> {
        let is_whole = number.fract() == 0.0 && number.abs() < 9.0e15;
        Ok(Some(if is_whole { Value::Integer(number as i64) } else { Value::Text(number.to_string()) }))
    }

    fn visit_str<E>(self, string: &str) -> Result<Option<Value>, E> {
        Ok(Some(Value::Text(string.to_owned())))
    }

    fn visit_string<E>(self, string: String) -> Result<Option<Value>, E> {
        Ok(Some(Value::Text(string)))
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Option<Value>, E> {
        Ok(Some(Value::Text(text::decode(bytes).into_owned())))
    }

    fn visit_unit<E>(self) -> Result<Option<Value>, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Option<Value>, A::Error> {
        let levels_left = self.inner()?;
        let mut list = Vec::new();
        while let Some(member) = access.next_element_seed(ValueSeed { levels_left })? {
            list.extend(member);
        }
        Ok(Some(Value::List(list)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Option<Value>, A::Error> {
        let levels_left = self.inner()?;
        let mut entries = Vec::new();
        while let Some(key) = access.next_key_seed(ValueSeed { levels_left: 0 })? {
            let Some(Value::Text(key)) = key else {
                return Err(A::Error::custom("a dictionary key is not a string"));
            };
            if let Some(value) = access.next_value_seed(ValueSeed { levels_left })? {
                entries.push((Key::Owned(key), value));
            }
        }
        Ok(Some(Value::Dictionary(Dictionary(entries))))
    }
}
