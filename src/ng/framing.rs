//! NG messages in a stream of bytes, one behind the other: `COOKIE SP document`, or a document alone.

use crate::wire::extent::{Extent, Scanner};

/// The longest message, on every transport that has no limit of its own.
pub const LARGEST_MESSAGE_BYTES: usize = 256 << 10;

/// The longest cookie in a stream.
const LONGEST_COOKIE_BYTES: usize = 256;

/// Finds the message that a stream goes on with. It reads on where it stopped, so that each byte is looked at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Framer {
    /// Where the document begins, once that is known.
    document_at: Option<usize>,
    scanner: Scanner,
}

/// What a stream goes on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// A message of so many bytes.
    Message { bytes: usize, has_cookie: bool },
    /// So many bytes between messages.
    Gap(usize),
    /// More must come.
    Partial,
    /// Nothing that can be read, and so no place where the next message would begin.
    Broken { has_cookie: bool },
}

impl Framer {
    /// Looks at what has come since the last message. After anything but `Partial` the framer is as new.
    pub fn find(&mut self, bytes: &[u8]) -> Frame {
        let frame = self.look(bytes);
        if frame != Frame::Partial {
            *self = Framer::default();
        }
        frame
    }

    fn look(&mut self, bytes: &[u8]) -> Frame {
        let document_at = match self.document_at {
            Some(at) => at,
            None => match document_at(bytes) {
                Ok(at) => *self.document_at.insert(at),
                Err(frame) => return frame,
            },
        };
        let has_cookie = document_at > 0;
        match self.scanner.scan(&bytes[document_at..], LARGEST_MESSAGE_BYTES) {
            Extent::Whole(length) => Frame::Message { bytes: document_at + length, has_cookie },
            Extent::Partial => Frame::Partial,
            Extent::Never => Frame::Broken { has_cookie },
        }
    }
}

/// Where the document of the message begins.
fn document_at(bytes: &[u8]) -> Result<usize, Frame> {
    let gap = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    if gap > 0 {
        return Err(Frame::Gap(gap));
    }
    let beginning = &bytes[..bytes.len().min(LONGEST_COOKIE_BYTES + 1)];
    if begins_as_document(beginning) {
        return Ok(0);
    }
    match beginning.iter().position(|&byte| byte == b' ') {
        Some(0) => Err(Frame::Broken { has_cookie: false }),
        Some(space) => Ok(space + 1),
        None if beginning.len() > LONGEST_COOKIE_BYTES => Err(Frame::Broken { has_cookie: false }),
        None => Err(Frame::Partial),
    }
}

/// A cookie may begin with `d`, but has no digits and a colon behind it.
fn begins_as_document(bytes: &[u8]) -> bool {
    match bytes {
        [b'{', ..] => true,
        [b'd', rest @ ..] => {
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            digits > 0 && rest.get(digits) == Some(&b':')
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The messages of a stream that comes in pieces, and what ended it.
    fn messages(stream: &[u8], piece_bytes: usize) -> (Vec<(String, bool)>, Frame) {
        let (mut framer, mut start, mut found) = (Framer::default(), 0, Vec::new());
        for end in (piece_bytes..stream.len() + piece_bytes).step_by(piece_bytes) {
            loop {
                let bytes = &stream[start..end.min(stream.len())];
                match framer.find(bytes) {
                    Frame::Message { bytes: length, has_cookie } => {
                        found.push((String::from_utf8_lossy(&bytes[..length]).into_owned(), has_cookie));
                        start += length;
                    }
                    Frame::Gap(length) => start += length,
                    Frame::Partial => break,
                    broken => return (found, broken),
                }
            }
        }
        (found, Frame::Partial)
    }

    #[test]
    fn messages_are_found_however_they_come() {
        let stream = b"1_a d7:command4:pinge2 {\"command\":\"ping\"}\r\ndeadd7 d7:command4:pinged7:command4:pinge{\"a\":\" \"}dd d";
        let expected = [
            ("1_a d7:command4:pinge", true),
            ("2 {\"command\":\"ping\"}", true),
            ("deadd7 d7:command4:pinge", true),
            ("d7:command4:pinge", false),
            ("{\"a\":\" \"}", false),
        ];
        let expected = expected.map(|(text, has_cookie)| (text.to_owned(), has_cookie)).to_vec();
        for piece_bytes in [1, 2, 3, 7, 1000] {
            assert_eq!(messages(stream, piece_bytes), (expected.clone(), Frame::Partial), "{piece_bytes}");
        }
    }

    #[test]
    fn what_cannot_be_read_ends_the_stream() {
        let broken = |stream: &[u8]| messages(stream, 10_000).1;
        assert_eq!(broken(b"a x"), Frame::Broken { has_cookie: true });
        assert_eq!(broken(b" d7:command4:pinge"), Frame::Broken { has_cookie: false });
        assert_eq!(broken(&[b'a'; 300]), Frame::Broken { has_cookie: false });
        assert_eq!(broken(b"d1:x"), Frame::Partial);
        assert_eq!(broken(b"a d300000:"), Frame::Broken { has_cookie: true });
        assert_eq!(broken(b"a d99999999999999999999:"), Frame::Broken { has_cookie: true });
        let long = [b"a d1:s250000:".to_vec(), vec![b'x'; 250_000], b"e".to_vec()].concat();
        assert_eq!(messages(&long, 1400).0.len(), 1);
    }
}
