//! What happens to calls, to whoever wants to know.

use crate::config::events::{Callback, CallbackFormat};
use crate::config::table::{OptionRow, Value, number, switch, text};
use std::net::SocketAddr;

const SECONDS: (i64, i64) = (0, u32::MAX as i64);

pub(super) static EVENTS: &[OptionRow] = &[
    text(
        "event-dest",
        "ADDRESS:PORT",
        "",
        "Where first packets, one-way media and timeouts are reported to, as JSON, one datagram each. See protocol-docs/events.md.",
    )
    .set(|c, v| {
        c.events.others = Some(address(v)?);
        Ok(())
    }),
    switch("event-ng-tcp", "Report them to all who are connected by NG over TCP or WebSocket.").set(|c, v| {
        c.events.pushes_others = v.switch();
        Ok(())
    }),
    number(
        "one-way-after",
        SECONDS,
        "s",
        "10",
        "Media is one-way when one side has sent nothing for so long and the other has; 0 is never.",
    )
    .reloadable()
    .set(|c, v| {
        c.events.one_way_after_s = u32::try_from(v.number()).unwrap_or(u32::MAX);
        Ok(())
    }),
    text(
        "dtmf-log-dest",
        "ADDRESS:PORT",
        "",
        "Where the digits that parties press (RFC 4733) are reported to, as JSON, one datagram each.",
    )
    .set(|c, v| {
        c.events.digits = Some(address(v)?);
        Ok(())
    }),
    switch(
        "dtmf-log-ng-tcp",
        "Report the digits that parties press to all who are connected by NG over TCP or WebSocket.",
    )
    .set(|c, v| {
        c.events.pushes_digits = v.switch();
        Ok(())
    }),
    text(
        "b2b-url",
        "URL",
        "",
        "Where to report calls that timed out, by XML-RPC; `%%` is the address of the call's SIP proxy.",
    )
    .short('b')
    .set(|c, v| {
        c.events.callback.url = Some(Callback::parse(v.text())?);
        Ok(())
    }),
    number(
        "xmlrpc-format",
        (0, 2),
        "",
        "0",
        "How: 0 for SEMS (`di` with each tag), 1 `teardown` with the call-id, 2 for Kamailio (`dlg.terminate_dlg`).",
    )
    .short('x')
    .set(|c, v| {
        c.events.callback.format = match v.number() {
            1 => CallbackFormat::CallId,
            2 => CallbackFormat::Dialogues,
            _ => CallbackFormat::Tags,
        };
        Ok(())
    }),
];

fn address(value: &Value) -> Result<SocketAddr, String> {
    value.text().parse().map_err(|_| format!("`{}` is no address with a port", value.text()))
}
