//! The lines: a verb, and words behind it.

use std::net::SocketAddr;

/// A line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    /// `request`: the streams of one side, to be answered with ports for the other.
    Request(Streams),
    /// `lookup`: those of the other side.
    Lookup(Streams),
    /// `delete`
    Delete(String),
    Status,
    /// `build` and `version`
    Version,
    /// `controls`: who is connected.
    Controls,
    /// `quit` and `exit`
    Quit,
}

/// The arguments of `request` and `lookup`, as far as they count.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Streams {
    pub(super) call_id: String,
    pub(super) streams: Vec<SocketAddr>,
    pub(super) from_tag: String,
    pub(super) to_tag: String,
    pub(super) is_asymmetric: bool,
}

/// Reads a line without its end; none when it is none.
pub(super) fn parse(line: &str) -> Option<Command> {
    let mut words = line.split_ascii_whitespace();
    match words.next()? {
        "request" => streams(words).map(Command::Request),
        "lookup" => streams(words).map(Command::Lookup),
        "delete" => words.next().map(|call_id| Command::Delete(call_id.to_owned())),
        "status" => Some(Command::Status),
        "build" | "version" => Some(Command::Version),
        "controls" => Some(Command::Controls),
        "quit" | "exit" => Some(Command::Quit),
        _ => None,
    }
}

/// A call-id, streams divided by commas, six words about the sides and their domains, and `info=`.
fn streams<'a>(mut words: impl Iterator<Item = &'a str>) -> Option<Streams> {
    let call_id = words.next()?.to_owned();
    let list: Option<Vec<SocketAddr>> = words.next()?.split(',').map(stream).collect();
    let info = words.find_map(|word| word.strip_prefix("info="))?;
    let mut found = Streams { call_id, streams: list?, ..Streams::default() };
    for word in info.split(',') {
        match word.split_once(':') {
            Some(("fromtag", tag)) => tag.clone_into(&mut found.from_tag),
            Some(("totag", tag)) => tag.clone_into(&mut found.to_tag),
            None if word == "asymmetric" => found.is_asymmetric = true,
            _ => {}
        }
    }
    Some(found).filter(|found| !found.from_tag.is_empty())
}

/// `ADDRESS:PORT`, with the type of the media behind it in later versions.
fn stream(text: &str) -> Option<SocketAddr> {
    let mut parts = text.split(':');
    let (address, port) = (parts.next()?, parts.next()?);
    Some(SocketAddr::new(address.parse().ok()?, port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let line = "request c@d 192.0.2.1:4000,192.0.2.1:4002:video 192.0.2.1 a.example local b.example remote Phone=201.0 \
                    info=from:a@a.example,to:b@b.example,fromtag:f1,totag:,asymmetric";
        let streams = Streams {
            call_id: "c@d".into(),
            streams: vec!["192.0.2.1:4000".parse().unwrap(), "192.0.2.1:4002".parse().unwrap()],
            from_tag: "f1".into(),
            to_tag: String::new(),
            is_asymmetric: true,
        };
        assert_eq!(parse(line), Some(Command::Request(streams.clone())));
        let answered = line.replace("request", "lookup").replace("totag:", "totag:t1").replace(",asymmetric", "");
        let streams = Streams { to_tag: "t1".into(), is_asymmetric: false, ..streams };
        assert_eq!(parse(&answered), Some(Command::Lookup(streams)));
        assert_eq!(parse("delete c info="), Some(Command::Delete("c".into())));
        assert_eq!((parse("build"), parse("exit")), (Some(Command::Version), Some(Command::Quit)));
        for wrong in
            ["", "REQUEST", "request", "request c", "request c x info=fromtag:f", "lookup c 1.2.3.4:5 info=", "delete"]
        {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
