//! Prints session descriptions in the canonical order.

use super::{Connection, MediaSection, Session, SessionDescription};
use crate::base::address::Family;
use std::fmt::Write;

/// Prints `description`, every line ended by CR LF.
pub fn write(description: &SessionDescription) -> String {
    let mut text = session(&description.session);
    for section in &description.medias {
        media(&mut text, section);
    }
    text
}

/// Prints the session level.
fn session(session: &Session) -> String {
    let mut text = String::with_capacity(1024);
    line(&mut text, 'v', "0");
    line(&mut text, 'o', &session.origin);
    line(&mut text, 's', &session.name);
    for (letter, value) in &session.descriptions {
        line(&mut text, *letter, value);
    }
    connection(&mut text, session.connection);
    for bandwidth in &session.bandwidths {
        line(&mut text, 'b', bandwidth);
    }
    if session.timing.is_empty() {
        line(&mut text, 't', "0 0");
    }
    for (letter, value) in &session.timing {
        line(&mut text, *letter, value);
    }
    for attribute in &session.attributes {
        line(&mut text, 'a', attribute);
    }
    text
}

/// Prints one media section.
fn media(text: &mut String, section: &MediaSection) {
    let MediaSection { kind, port, protocol, .. } = section;
    let _ = write!(text, "m={kind} {port}");
    if let Some(count) = section.port_count {
        let _ = write!(text, "/{count}");
    }
    let _ = write!(text, " {protocol}");
    for format in &section.formats {
        let _ = write!(text, " {format}");
    }
    text.push_str("\r\n");
    if let Some(information) = &section.information {
        line(text, 'i', information);
    }
    connection(text, section.connection);
    for bandwidth in &section.bandwidths {
        line(text, 'b', bandwidth);
    }
    for attribute in &section.attributes {
        line(text, 'a', attribute);
    }
}

fn connection(text: &mut String, connection: Option<Connection>) {
    if let Some(Connection { address }) = connection {
        line(text, 'c', format_args!("IN {} {address}", Family::of(address)));
    }
}

fn line(text: &mut String, letter: char, value: impl std::fmt::Display) {
    // Writing to a String never fails.
    let _ = write!(text, "{letter}={value}\r\n");
}
