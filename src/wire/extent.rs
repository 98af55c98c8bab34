//! Where a document ends in a stream of bytes: no NG transport over streams has a delimiter.
//!
//! A [`Scanner`] reads on where it stopped, so that each byte is looked at once however it arrives, and nests by
//! counting. It finds the end and nothing more: what it finds may still be malformed.

/// How far a document has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scanner {
    at: usize,
    depth: u32,
    state: State,
}

/// What stands at the place that has been reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    /// The beginning of a bencode value, or the end of a list or dictionary.
    Value,
    Integer,
    /// The length of a string, as far as it is known.
    Length(usize),
    Json,
    JsonString,
    /// Behind a backslash.
    JsonEscape,
}

/// What is known of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Its length.
    Whole(usize),
    /// It goes on.
    Partial,
    /// It is no document, or none that ends within the limit.
    Never,
}

impl Default for Scanner {
    fn default() -> Scanner {
        Scanner { at: 0, depth: 0, state: State::Start }
    }
}

impl Scanner {
    /// Reads on; `bytes` are those of the earlier calls and what has come since. `limit` is in bytes.
    pub fn scan(&mut self, bytes: &[u8], limit: usize) -> Extent {
        while let Some(&byte) = bytes.get(self.at) {
            let Some(next) = self.step(byte, limit) else { return Extent::Never };
            self.at = next;
            if self.at > limit {
                return Extent::Never;
            }
            if self.depth == 0 && self.state != State::Start {
                return Extent::Whole(self.at);
            }
        }
        if bytes.len() >= limit { Extent::Never } else { Extent::Partial }
    }

    /// Takes the byte at `at`; the place to go on at. None when it can't stand here.
    fn step(&mut self, byte: u8, limit: usize) -> Option<usize> {
        let next = self.at + 1;
        match (self.state, byte) {
            (State::Start, b'd') => self.open(State::Value),
            (State::Start, b'{') => self.open(State::Json),
            (State::Value, b'd' | b'l') => self.depth += 1,
            (State::Value, b'e') => self.depth -= 1,
            (State::Value, b'i') => self.state = State::Integer,
            (State::Value, b'0'..=b'9') => self.state = State::Length(usize::from(byte - b'0')),
            (State::Integer, b'e') => self.state = State::Value,
            (State::Integer, b'0'..=b'9' | b'-') => {}
            (State::Length(length), b'0'..=b'9') => {
                let length = length.checked_mul(10)?.checked_add(usize::from(byte - b'0'))?;
                self.state = State::Length(Some(length).filter(|length| *length <= limit)?);
            }
            (State::Length(length), b':') => {
                self.state = State::Value;
                return next.checked_add(length);
            }
            (State::Json, b'{' | b'[') => self.depth += 1,
            (State::Json, b'}' | b']') => self.depth -= 1,
            (State::Json, b'"') => self.state = State::JsonString,
            (State::JsonString, b'"') | (State::JsonEscape, _) => {
                self.state = if self.state == State::JsonEscape { State::JsonString } else { State::Json };
            }
            (State::JsonString, b'\\') => self.state = State::JsonEscape,
            (State::Json | State::JsonString, _) => {}
            _ => return None,
        }
        Some(next)
    }

    fn open(&mut self, state: State) {
        (self.depth, self.state) = (1, state);
    }
}

#[cfg(test)]
mod tests {
    use super::super::value::{Dictionary, Value};
    use super::super::{bencode, json};
    use super::*;
    use proptest::prelude::*;

    const LIMIT: usize = 1 << 20;

    fn whole(bytes: &[u8]) -> Extent {
        Scanner::default().scan(bytes, LIMIT)
    }

    #[test]
    fn documents_end_where_they_end() {
        assert_eq!(whole(b"d7:command4:pinge2_b d"), Extent::Whole(17));
        assert_eq!(whole(b"dexxx"), Extent::Whole(2));
        assert_eq!(whole(b"d1:ali1ed1:b2:eeeee"), Extent::Whole(19));
        assert_eq!(whole(br#"{"a":"}\"]","b":[{}]}{"#), Extent::Whole(21));
        for partial in ["", "d", "d1", "d3:ab", "d1:ai1", "{", "{\"}", "{\"a\":\"\\"] {
            assert_eq!(whole(partial.as_bytes()), Extent::Partial, "{partial}");
        }
        for never in ["x", "l", "i1e", " d", "[", "dx", "d-1:", "d1:ai1x", "d99999999999:", "d18446744073709551617:"] {
            assert_eq!(whole(never.as_bytes()), Extent::Never, "{never}");
        }
    }

    #[test]
    fn a_limit_holds() {
        assert_eq!(Scanner::default().scan(b"d5:hello5:worlde", 16), Extent::Whole(16));
        assert_eq!(Scanner::default().scan(b"d5:hello5:worlde", 15), Extent::Never);
        assert_eq!(Scanner::default().scan(&[b'{'; 100], 100), Extent::Never);
        assert_eq!(Scanner::default().scan(&b"d1:a".repeat(100_000), LIMIT), Extent::Partial);
    }

    #[test]
    fn each_byte_is_looked_at_once() {
        let document = [&b"d1:a500000:"[..], &[b'x'; 500_000], b"e"].concat();
        let (mut scanner, mut at) = (Scanner::default(), 0);
        for end in 1..=document.len() {
            let extent = scanner.scan(&document[..end], LIMIT);
            assert_eq!(extent, if end == document.len() { Extent::Whole(end) } else { Extent::Partial });
            assert!(scanner.at >= at);
            at = scanner.at;
        }
    }

    fn any_dictionary() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![any::<i64>().prop_map(Value::Integer), any::<String>().prop_map(Value::Text)];
        let value = leaf.prop_recursive(3, 30, 5, |inner| proptest::collection::vec(inner, 0..5).prop_map(Value::List));
        proptest::collection::vec((any::<String>(), value), 0..5).prop_map(|entries| {
            Value::Dictionary(Dictionary(entries.into_iter().map(|(key, value)| (key.into(), value)).collect()))
        })
    }

    proptest! {
        #[test]
        fn what_the_encoders_write_ends_at_its_end(value in any_dictionary(), after: Vec<u8>, cut: prop::sample::Index) {
            let (mut bencoded, mut text) = (Vec::new(), Vec::new());
            bencode::encode(&value, &mut bencoded);
            json::encode(&value, &mut text);
            for document in [bencoded, text] {
                let stream = [&document[..], &after].concat();
                let mut scanner = Scanner::default();
                prop_assert_eq!(scanner.scan(&stream[..cut.index(document.len())], LIMIT), Extent::Partial);
                prop_assert_eq!(scanner.scan(&stream, LIMIT), Extent::Whole(document.len()));
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            if let Extent::Whole(length) = whole(&bytes) {
                prop_assert!(length <= bytes.len());
            }
        }
    }
}
