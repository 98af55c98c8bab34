//! Control listeners: who may ask, and how.

use super::network::octet;
use crate::base::secret::Secret;
use crate::base::subnet::Subnet;
use crate::config::PathMtu;
use crate::config::listen::{ListenAddress, StreamPlace};
use crate::config::table::{OptionRow, Value, choice, list, number, text};

const NO_JANUS: &str = "the interface of Janus is not built";

pub(super) static CONTROL: &[OptionRow] = &[
    list("listen-ng", "[ADDRESS:]PORT", "NG over UDP. Without an address it is this host's loopback, here and below.")
        .short('n')
        .set(|c, v| listeners(&mut c.control.ng, v)),
    list("listen-tcp-ng", "[ADDRESS:]PORT|unix:PATH", "NG over TCP, or over a socket in the file system.")
        .short('N')
        .set(|c, v| {
            for text in v.list() {
                c.control.stream_ng.push(StreamPlace::parse(text)?);
            }
            Ok(())
        }),
    list("listen-cli", "[ADDRESS:]PORT", "The command line interface.")
        .short('c')
        .set(|c, v| listeners(&mut c.control.cli, v)),
    list("listen-http", "[ADDRESS:]PORT", "HTTP and WebSocket.").set(|c, v| listeners(&mut c.control.http, v)),
    list("listen-https", "[ADDRESS:]PORT", "HTTPS and secure WebSocket.")
        .set(|c, v| listeners(&mut c.control.https, v)),
    text(
        "https-cert",
        "FILE",
        "",
        "The certificate for HTTPS with those between it and its root (PEM). It is read again when it changes, and on SIGHUP.",
    )
    .set(|c, v| {
        c.control.certificate = Some(v.text().to_owned());
        Ok(())
    }),
    text("https-key", "FILE", "(the file of https-cert)", "The key for HTTPS (PEM), read again like the certificate.")
        .set(|c, v| {
            c.control.key = Some(v.text().to_owned());
            Ok(())
        }),
    text(
        "http-token",
        "TOKEN",
        "",
        "What clients of HTTP and WebSocket must show: `Authorization: Bearer TOKEN`, or the subprotocol `bearer.TOKEN`.",
    )
    .secret()
    .reloadable()
    .set(|c, v| {
        c.control.token = Some(token(v.text())?);
        Ok(())
    }),
    list(
        "control-allow",
        "ADDRESS[/BITS]",
        "The networks that control protocols may be used from, besides loopback; without it all.",
    )
    .reloadable()
    .set(|c, v| {
        for text in v.list() {
            c.control.allowed.push(Subnet::parse(text)?);
        }
        Ok(())
    }),
    number("http-threads", (0, 64), "threads", "1", "Threads for control connections; 0 is 1. Calls have threads of their own.")
        .set(|c, v| {
            c.control.threads = usize::try_from(v.number()).unwrap_or(1).max(1);
            Ok(())
        }),
    number("http-buf-size", (0, 1024), "kB", "64", "The most that is kept of a request's head; 0 is 64, less than 8 is 8.")
        .set(|c, v| {
            c.control.head_limit_bytes = match v.number() {
                0 => 64 << 10,
                kilobytes => usize::try_from(kilobytes).unwrap_or(64).max(8) << 10,
            };
            Ok(())
        }),
    number("http-idle-timeout", (0, 86_400), "s", "5", "When HTTP connections without a request are closed; 0 is 5.").set(
        |c, v| {
            c.control.http_idle_s = match v.number() {
                0 => 5,
                seconds => u32::try_from(seconds).unwrap_or(5),
            };
            Ok(())
        },
    ),
    number("control-tos", (0, 255), "", "0", "Type of service of NG over UDP; 0 leaves it alone.").reloadable().set(
        |c, v| {
            c.control.tos = octet(v);
            Ok(())
        },
    ),
    choice("control-pmtu", &["want", "dont"], "", "Path MTU discovery on control sockets.").set(|c, v| {
        c.control.path_mtu = if v.text() == "want" { PathMtu::Want } else { PathMtu::Dont };
        Ok(())
    }),
    text("janus-secret", "TEXT", "", "The secret of the Janus interface.").secret().warned(NO_JANUS),
    number("ng-client-timeout", (1, i64::MAX), "ms", "50", "How long another instance may take to answer.")
        .warned("`transform` is not built"),
    number("ng-client-retries", (1, i64::MAX), "", "5", "How often another instance is asked.")
        .warned("`transform` is not built"),
];

pub(super) fn listeners(field: &mut Vec<ListenAddress>, value: &Value) -> Result<(), String> {
    for text in value.list() {
        field.push(ListenAddress::parse(text)?);
    }
    Ok(())
}

/// The shortest token: sixteen characters of these are more than can be guessed.
const SHORTEST_TOKEN: usize = 16;

/// A token fits into a header and, with a word before it, into the name of a subprotocol (RFC 6750, 2.1; RFC 6455, 4.1).
fn token(text: &str) -> Result<Secret, String> {
    let fits = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+".contains(&byte));
    if !fits || text.len() < SHORTEST_TOKEN {
        return Err(format!("a token has at least {SHORTEST_TOKEN} letters, digits and `-._~+`, and nothing else"));
    }
    Ok(Secret::new(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_that_fit() {
        assert_eq!(token("0123456789abcDEF").unwrap().expose(), b"0123456789abcDEF");
        for wrong in ["", "short", "0123456789abcde ", "0123456789abcdef=", "0123456789abcdef/"] {
            let error = token(wrong).unwrap_err();
            assert!(wrong.is_empty() || !error.contains(wrong), "an error does not print what may be a secret");
        }
    }
}
