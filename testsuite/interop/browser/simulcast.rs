//! A tab that sends its picture in three layers (RFC 8853), and two viewers in the room of `make room` who choose theirs.

use super::room::{Tab, in_room, wait_for};
use crate::stage::{INSIDE, OUTSIDE};
use millrace_testsuite::chromium::Chromium;
use millrace_testsuite::daemon::Kind;
use serde_json::{Value, json};
use std::path::Path;

/// The layers of the page, the largest first, and what the width of each is divided by.
const LAYERS: [(&str, f64); 3] = [("h", 1.0), ("m", 2.0), ("l", 4.0)];
/// Pictures that have to come of a layer before it counts as received.
const PICTURES: f64 = 10.0;

pub fn run(kind: Kind, folder: &Path) -> Result<String, String> {
    in_room(kind, folder, |_, near, far| {
        let studio = Studio::open(near, far)?;
        let outcome = studio.play();
        // Also of what failed, for whoever looks for the reason.
        let views =
            json!({"sender": studio.sender.look()?, "viewers": [studio.viewers[0].look()?, studio.viewers[1].look()?]});
        let file = folder.join("views.json");
        std::fs::write(&file, format!("{views:#}")).map_err(|error| format!("{}: {error}", file.display()))?;
        let note = outcome?;
        studio.sender.page.close()?;
        for viewer in studio.viewers {
            viewer.page.close()?;
        }
        Ok(note)
    })
}

struct Studio<'a> {
    sender: Tab<'a>,
    viewers: [Tab<'a>; 2],
}

/// What a viewer has of the sender.
struct Seen {
    /// What tells its connection from any other.
    connection: [Value; 3],
    width: f64,
    pictures: f64,
    /// The longest pause between two pictures since the last choice.
    pause_ms: f64,
}

impl<'a> Studio<'a> {
    fn open(near: &'a Chromium, far: &'a Chromium) -> Result<Studio<'a>, String> {
        let sender = Tab::enter(near, OUTSIDE, 0, json!({"simulcast": true}))?;
        // What the viewers send is not looked at, and is not to take the processor from the layers.
        let viewer = |number| Tab::enter(far, INSIDE, number, json!({"width": 160}));
        Ok(Studio { sender, viewers: [viewer(1)?, viewer(2)?] })
    }

    fn play(&self) -> Result<String, String> {
        let sizes = wait_for(|| self.three_layers())?;
        let mut pauses = Vec::new();
        let first = [self.reaches(0, &["h"], None)?, self.reaches(1, &["h"], None)?];
        for (viewer, layer, rid) in [
            (1, "lowest", "l"),
            (0, "lowest", "l"),
            (1, "highest", "h"),
            (0, "m", "m"),
            (0, "h", "h"),
            (1, "lowest", "l"),
        ] {
            self.choose(viewer, layer)?;
            pauses.push(self.reaches(viewer, &[rid], Some(&first[viewer]))?.pause_ms);
        }
        // The layer that one has ends; the other's goes on.
        for (sent, of) in [(&["m", "l"][..], &["m", "l"][..]), (&["h", "m", "l"], &["h"])] {
            self.sender.page.call("millraceRoom.send", json!({"layers": sent}))?;
            self.reaches(0, of, Some(&first[0]))?;
            self.reaches(1, &["l"], Some(&first[1]))?;
        }
        let pauses: Vec<String> = pauses.iter().map(|pause_ms| format!("{pause_ms:.0}")).collect();
        let fallback_ms = self.seen(0)?.pause_ms;
        let pauses = pauses.join(", ");
        Ok(format!("{sizes}; longest pause in ms at each change {pauses}, at the end of a layer {fallback_ms:.0}"))
    }

    fn choose(&self, viewer: usize, layer: &str) -> Result<(), String> {
        let choice = json!({"name": self.sender.name(), "layer": layer});
        let chosen = self.viewers[viewer].page.call("millraceRoom.choose", choice)?;
        if chosen == layer { Ok(()) } else { Err(format!("the page offers no layer {layer}")) }
    }

    /// What is sent of each layer, once there is something of all, each half as wide as the one before.
    fn three_layers(&self) -> Result<Result<String, String>, String> {
        let sent = self.sender.look()?["sent"].take();
        let layers = sent["layers"].as_array().cloned().unwrap_or_default();
        let of = |rid: &str| layers.iter().find(|layer| layer["rid"] == rid).unwrap_or(&Value::Null);
        let number = |rid: &str, name: &str| of(rid)[name].as_f64().unwrap_or(0.0);
        let full = number("h", "frameWidth");
        let is_whole = LAYERS.iter().all(|(rid, part)| {
            number(rid, "frameWidth") == full / part
                && number(rid, "packetsSent") > 0.0
                && number(rid, "framesEncoded") > PICTURES
        });
        if full == 0.0 || !is_whole {
            return Ok(Err(format!("{} does not send three layers: {sent}", self.sender.name())));
        }
        let sizes: Vec<String> =
            LAYERS.iter().map(|(rid, _)| format!("{rid} of {}", number(rid, "frameWidth"))).collect();
        Ok(Ok(format!("{} pixels", sizes.join(", "))))
    }

    fn seen(&self, viewer: usize) -> Result<Seen, String> {
        let mut view = self.viewers[viewer].look()?;
        let seen = view["others"][self.sender.name()].take();
        let number = |name: &str| seen[name].as_f64().unwrap_or(0.0);
        Ok(Seen {
            connection: ["subscription", "fragment", "transports"].map(|name| seen[name].clone()),
            width: number("width"),
            pictures: number("framesDecoded"),
            pause_ms: number("pauseMs"),
        })
    }

    /// Waits until a viewer decodes pictures as wide as those of the first of the layers `rids` that is sent, several one
    /// after the other, and by the connection that it had at `first`. A sender that is short of bandwidth ends layers
    /// by itself.
    fn reaches(&self, viewer: usize, rids: &[&str], first: Option<&Seen>) -> Result<Seen, String> {
        let name = self.viewers[viewer].name();
        let mut since = None;
        wait_for(|| {
            let sent = self.sender.look()?["sent"]["layers"].take();
            let layers = || sent.as_array().into_iter().flatten();
            let width_of = |rid: &&str| layers().find(|layer| layer["rid"] == *rid)?["frameWidth"].as_f64();
            let width = rids.iter().find_map(width_of).unwrap_or(0.0);
            let seen = self.seen(viewer)?;
            if seen.connection.contains(&Value::Null) {
                return Err(format!("{name} has no connection: {:?}", seen.connection));
            }
            if first.is_some_and(|first| first.connection != seen.connection) {
                return Err(format!("{name} has another connection: {:?}", seen.connection));
            }
            if seen.width != width || width == 0.0 {
                since = None;
                return Ok(Err(format!("{name} sees {} pixels, not {width} of {rids:?}: {sent}", seen.width)));
            }
            // A browser counts from zero again after a new description.
            let begun = since.map_or(seen.pictures, |since: f64| since.min(seen.pictures));
            since = Some(begun);
            let is_going_on = seen.pictures >= begun + PICTURES;
            Ok(if is_going_on { Ok(seen) } else { Err(format!("{name} gets no pictures of {rids:?} after {begun}")) })
        })
    }
}
