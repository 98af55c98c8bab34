//! NG messages: cookie, space, document.

use super::request::RequestError;
use crate::wire::value::{Dictionary, Malformed, Value};
use crate::wire::{bencode, json};

/// The format of a document; a reply uses its request's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Encoding {
    #[default]
    Bencode,
    Json,
}

/// A datagram taken apart. Both parts are as received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// What stands before the first space; never empty.
    pub cookie: &'a [u8],
    pub document: &'a [u8],
}

/// A document that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError {
    /// The format that the error reply is written in.
    pub encoding: Encoding,
    /// The error for the client.
    pub error: RequestError,
    /// What is wrong with the document, for the log.
    pub cause: Option<Malformed>,
}

impl<'a> Message<'a> {
    /// Splits a datagram; none when it has no cookie: that gets no reply.
    pub fn split(datagram: &'a [u8]) -> Option<Message<'a>> {
        let space = datagram.iter().position(|&byte| byte == b' ')?;
        (space > 0).then(|| Message { cookie: &datagram[..space], document: &datagram[space + 1..] })
    }
}

/// Reads a request's document; its first byte tells the format.
pub fn decode(document: &[u8]) -> Result<(Encoding, Dictionary), DecodeError> {
    let (encoding, result, undecodable) = match document.first() {
        Some(b'd') => (Encoding::Bencode, bencode::decode(document), RequestError::UndecodableBencode),
        Some(b'{') => (Encoding::Json, json::decode(document), RequestError::UnparsableJson),
        Some(_) => {
            return Err(DecodeError { encoding: Encoding::Bencode, error: RequestError::UnknownFormat, cause: None });
        }
        None => return Err(DecodeError { encoding: Encoding::Bencode, error: RequestError::NoPayload, cause: None }),
    };
    match result {
        Ok(Value::Dictionary(dictionary)) => Ok((encoding, dictionary)),
        Ok(_) => Err(DecodeError { encoding, error: RequestError::NotADictionary(encoding), cause: None }),
        Err(cause) => Err(DecodeError { encoding, error: undecodable, cause: Some(cause) }),
    }
}

/// A reply's document, without cookie.
pub fn encode(encoding: Encoding, reply: &Dictionary) -> Vec<u8> {
    encode_after(Vec::with_capacity(1024), encoding, reply)
}

/// A reply's datagram: the request's cookie, a space, the document.
pub fn encode_reply(cookie: &[u8], encoding: Encoding, reply: &Dictionary) -> Vec<u8> {
    let mut datagram = Vec::with_capacity(1024);
    datagram.extend_from_slice(cookie);
    datagram.push(b' ');
    encode_after(datagram, encoding, reply)
}

fn encode_after(mut out: Vec<u8>, encoding: Encoding, reply: &Dictionary) -> Vec<u8> {
    match encoding {
        Encoding::Bencode => bencode::encode_dictionary(reply, &mut out),
        Encoding::Json => json::encode(reply, &mut out),
    }
    out
}

/// The reply to a failed request.
pub fn error_reply(reason: &str) -> Dictionary {
    Dictionary::new().with("result", "error").with("error-reason", reason)
}

/// The reply to a request that succeeded and has nothing more to say.
pub fn ok_reply() -> Dictionary {
    Dictionary::new().with("result", "ok")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reason(document: &[u8]) -> (Encoding, String) {
        let error = decode(document).unwrap_err();
        (error.encoding, error.error.to_string())
    }

    #[test]
    fn datagrams_split_at_the_first_space() {
        let message = Message::split(b"12_a d1:ai1ee x").unwrap();
        assert_eq!((message.cookie, message.document), (&b"12_a"[..], &b"d1:ai1ee x"[..]));
        assert_eq!(Message::split(b"12_a "), Some(Message { cookie: b"12_a", document: b"" }));
        for without_cookie in [&b""[..], b" ", b" d1:ai1ee", b"d1:ai1ee"] {
            assert_eq!(Message::split(without_cookie), None);
        }
    }

    #[test]
    fn unreadable_documents_get_the_known_texts() {
        let expected = [
            (&b""[..], Encoding::Bencode, "Invalid data (no payload)"),
            (b"hello", Encoding::Bencode, "Invalid NG data format"),
            (b" d1:ai1ee", Encoding::Bencode, "Invalid NG data format"),
            (b"l1:ae", Encoding::Bencode, "Invalid NG data format"),
            (b"d1:a", Encoding::Bencode, "Could not decode bencode dictionary"),
            (b"{\"a\":", Encoding::Json, "Failed to parse JSON document"),
            (b"{\"a\":1}}", Encoding::Json, "Failed to parse JSON document"),
        ];
        for (document, encoding, text) in expected {
            assert_eq!(reason(document), (encoding, text.to_owned()));
        }
    }

    #[test]
    fn replies_use_the_request_s_format() {
        let reply = error_reply("no");
        assert_eq!(encode_reply(b"c", Encoding::Bencode, &reply), b"c d6:result5:error12:error-reason2:noe");
        assert_eq!(encode_reply(b"c", Encoding::Json, &reply), br#"c {"result":"error","error-reason":"no"}"#);
        assert_eq!(encode(Encoding::Json, &ok_reply()), br#"{"result":"ok"}"#);
    }

    proptest! {
        #[test]
        fn any_datagram_is_read_or_refused(datagram: Vec<u8>) {
            if let Some(message) = Message::split(&datagram) {
                prop_assert!(!message.cookie.is_empty());
                let _ = decode(message.document);
            }
        }
    }
}
