//! The bytes: `COOKIE COMMAND[FLAGS] ARGUMENTS`.

use std::net::{IpAddr, SocketAddr};

/// A command without its cookie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    /// `U`: one side's address, to be answered with a port for the other.
    Update(Sides),
    /// `L`: the other side's.
    Lookup(Sides),
    /// `D`
    Delete { call: CallName },
    /// `Q`
    Query { call: CallName, from_tag: String, to_tag: Option<String> },
    /// `V`
    Version,
    /// `VF`: whether what came with a date is there.
    Feature(String),
}

/// Which call, and which branch of its request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CallName {
    pub(super) call_id: String,
    pub(super) via_branch: Option<String>,
}

/// The arguments of `U` and `L`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sides {
    pub(super) call: CallName,
    pub(super) stream: SocketAddr,
    /// With the number of the stream, as it is written.
    pub(super) from_tag: String,
    pub(super) to_tag: Option<String>,
    /// The interfaces towards the sender and the receiver.
    pub(super) direction: Vec<&'static str>,
    pub(super) is_asymmetric: bool,
}

/// Splits the cookie from a datagram.
pub(super) fn split(datagram: &str) -> Option<(&str, &str)> {
    datagram.split_once(' ').filter(|(cookie, _)| !cookie.is_empty())
}

/// Reads a command; none when it is none.
pub(super) fn parse(text: &str) -> Option<Command> {
    let mut words = text.split_ascii_whitespace();
    let command = words.next()?;
    let (letter, flags) = command.split_at_checked(1)?;
    let mut argument = || words.next().filter(|word| !word.is_empty());
    match (letter.to_ascii_uppercase().as_str(), flags) {
        ("U", flags) => sides(flags, argument).map(Command::Update),
        ("L", flags) => sides(flags, argument).map(Command::Lookup),
        ("D", _) => Some(Command::Delete { call: call_name(argument()?) }),
        ("Q", _) => Some(Command::Query {
            call: call_name(argument()?),
            from_tag: argument()?.to_owned(),
            to_tag: argument().map(str::to_owned),
        }),
        ("V", "F" | "f") => argument().map(|date| Command::Feature(date.to_owned())),
        ("V", "") => Some(Command::Version),
        _ => None,
    }
}

fn sides<'a>(flags: &str, mut argument: impl FnMut() -> Option<&'a str>) -> Option<Sides> {
    let call = call_name(argument()?);
    let address: IpAddr = argument()?.trim_matches(['[', ']']).parse().ok()?;
    let port = argument()?.parse().ok()?;
    let (from_tag, to_tag) = (argument()?.to_owned(), argument());
    let direction = flags.chars().filter_map(|flag| match flag.to_ascii_lowercase() {
        'e' => Some("external"),
        'i' => Some("internal"),
        _ => None,
    });
    Some(Sides {
        call,
        stream: SocketAddr::new(address, port),
        from_tag,
        to_tag: to_tag.map(str::to_owned),
        direction: direction.take(2).collect(),
        is_asymmetric: flags.contains(['a', 'A']),
    })
}

fn call_name(word: &str) -> CallName {
    match word.split_once(';') {
        Some((call_id, branch)) => CallName { call_id: call_id.to_owned(), via_branch: Some(branch.to_owned()) },
        None => CallName { call_id: word.to_owned(), via_branch: None },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(call_id: &str) -> CallName {
        CallName { call_id: call_id.to_owned(), via_branch: None }
    }

    #[test]
    fn commands() {
        assert_eq!(split("1_2 V"), Some(("1_2", "V")));
        assert_eq!((split("V"), split(" V")), (None, None));
        assert_eq!(parse("V"), Some(Command::Version));
        assert_eq!(parse("vf 20050322\n"), Some(Command::Feature("20050322".into())));
        assert_eq!(parse("D c f t"), Some(Command::Delete { call: plain("c") }));
        let query = Command::Query { call: plain("c"), from_tag: "f;1".into(), to_tag: Some("t;1".into()) };
        assert_eq!(parse("q c f;1 t;1"), Some(query));
        let branched = CallName { call_id: "c".into(), via_branch: Some("z9hG4bK1".into()) };
        let update = Sides {
            call: branched,
            stream: "192.0.2.1:4000".parse().unwrap(),
            from_tag: "f;1".into(),
            to_tag: None,
            direction: vec!["external", "internal"],
            is_asymmetric: false,
        };
        assert_eq!(parse("Uei c;z9hG4bK1 192.0.2.1 4000 f;1"), Some(Command::Update(update)));
        let Some(Command::Lookup(lookup)) = parse("lA6 c 2001:db8::1 4000 f;1 t;1") else { panic!("no lookup") };
        assert!(lookup.is_asymmetric && lookup.direction.is_empty() && lookup.stream.is_ipv6());
        assert_eq!(lookup.to_tag.as_deref(), Some("t;1"));
        for wrong in
            ["", " ", "X", "U", "U c", "U c 192.0.2.1", "U c 192.0.2.1 x f", "L c name 1 f", "Q c", "D", "VF", "é"]
        {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
