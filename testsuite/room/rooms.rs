//! Who is in which room. Nothing here speaks to the daemon or to a browser.

use std::collections::HashMap;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How many rooms there may be, and how many members in one: a page for trying out, not a service.
pub const MOST_ROOMS: usize = 50;
pub const MOST_MEMBERS: usize = 12;
/// The longest name, in characters.
pub const LONGEST_NAME: usize = 40;
/// A member of which nothing was heard for so long has left. Its page asks for news every 5 s at the latest.
pub const SILENCE: Duration = Duration::from_secs(15);

/// One browser tab in a room.
pub struct Member {
    /// Known to all in the room, and the tag of its publication.
    pub id: String,
    pub name: String,
    /// The layers of its picture, by their `rid`.
    pub layers: Vec<String>,
    /// Known to its own page only.
    key: String,
    seen_at: Instant,
    subscriptions: Vec<Subscription>,
}

/// What a member receives: from whom, by which tag.
struct Subscription {
    tag: String,
    publisher: String,
}

/// Everybody in one room.
pub struct Room {
    members: Vec<Member>,
    changes: watch::Sender<u64>,
}

/// All rooms, by name.
#[derive(Default)]
pub struct Rooms {
    rooms: HashMap<String, Room>,
}

/// Why something can't be done; the text is for the user.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    BadName(&'static str),
    Full(&'static str),
    /// The room or the member is not there any more.
    Gone,
}

/// What is to be taken down after a member has left.
#[derive(Debug, PartialEq, Eq)]
pub struct Farewell {
    pub room: String,
    pub id: String,
    /// The tags of its subscriptions.
    pub subscriptions: Vec<String>,
}

/// A name as it is kept: trimmed, neither empty nor too long, without control characters.
pub fn tidy_name(name: &str, what: &'static str) -> Result<String, Refusal> {
    let name = name.trim();
    let is_good = !name.is_empty() && name.chars().count() <= LONGEST_NAME && !name.chars().any(char::is_control);
    if is_good { Ok(name.to_owned()) } else { Err(Refusal::BadName(what)) }
}

impl Rooms {
    /// Whether one more may come in.
    pub fn check(&self, room: &str) -> Result<(), Refusal> {
        match self.rooms.get(room) {
            None if self.rooms.len() >= MOST_ROOMS => Err(Refusal::Full("There are too many rooms already.")),
            Some(room) if room.members.len() >= MOST_MEMBERS => Err(Refusal::Full("This room is full.")),
            _ => Ok(()),
        }
    }

    /// Takes a member in; `layers` as in [`Member`].
    pub fn join(
        &mut self,
        room: &str,
        id: &str,
        key: &str,
        (name, layers): (&str, Vec<String>),
        now: Instant,
    ) -> Result<(), Refusal> {
        self.check(room)?;
        let new = || Room { members: Vec::new(), changes: watch::Sender::new(0) };
        let room = self.rooms.entry(room.to_owned()).or_insert_with(new);
        let (id, key, name) = (id.to_owned(), key.to_owned(), name.to_owned());
        room.members.push(Member { id, key, name, layers, seen_at: now, subscriptions: Vec::new() });
        room.changes.send_modify(|version| *version += 1);
        Ok(())
    }

    /// Notes that a member's page is alive; tells of changes in the room.
    pub fn watch(&mut self, room: &str, key: &str, now: Instant) -> Result<watch::Receiver<u64>, Refusal> {
        self.member(room, key)?.seen_at = now;
        Ok(self.rooms.get(room).ok_or(Refusal::Gone)?.changes.subscribe())
    }

    /// All others, in the order in which they came.
    pub fn others(&self, room: &str, key: &str) -> Result<Vec<&Member>, Refusal> {
        let room = self.rooms.get(room).ok_or(Refusal::Gone)?;
        if room.members.iter().all(|member| member.key != key) {
            return Err(Refusal::Gone);
        }
        Ok(room.members.iter().filter(|member| member.key != key).collect())
    }

    /// Whether `publisher` is another member of the room.
    pub fn can_subscribe(&self, room: &str, key: &str, publisher: &str) -> Result<(), Refusal> {
        let others = self.others(room, key)?;
        if others.iter().any(|other| other.id == publisher) { Ok(()) } else { Err(Refusal::Gone) }
    }

    /// Notes a subscription; false when the member or the publisher has left meanwhile.
    pub fn subscribe(&mut self, room: &str, key: &str, tag: &str, publisher: &str) -> bool {
        let is_possible = self.can_subscribe(room, key, publisher).is_ok();
        if let (true, Ok(member)) = (is_possible, self.member(room, key)) {
            member.subscriptions.push(Subscription { tag: tag.to_owned(), publisher: publisher.to_owned() });
        }
        is_possible
    }

    /// From whom the member receives by this subscription.
    pub fn publisher_of(&mut self, room: &str, key: &str, tag: &str) -> Result<String, Refusal> {
        let member = self.member(room, key)?;
        let own = member.subscriptions.iter().find(|other| other.tag == tag);
        own.map(|own| own.publisher.clone()).ok_or(Refusal::Gone)
    }

    /// Forgets a subscription; whether there was one.
    pub fn unsubscribe(&mut self, room: &str, key: &str, tag: &str) -> Result<bool, Refusal> {
        let member = self.member(room, key)?;
        let before = member.subscriptions.len();
        member.subscriptions.retain(|other| other.tag != tag);
        Ok(member.subscriptions.len() < before)
    }

    /// Lets a member go, and with it what others receive from it.
    pub fn leave(&mut self, name: &str, key: &str) -> Option<Farewell> {
        let room = self.rooms.get_mut(name)?;
        let place = room.members.iter().position(|member| member.key == key)?;
        let member = room.members.remove(place);
        for other in &mut room.members {
            other.subscriptions.retain(|subscription| subscription.publisher != member.id);
        }
        room.changes.send_modify(|version| *version += 1);
        if room.members.is_empty() {
            self.rooms.remove(name);
        }
        let subscriptions = member.subscriptions.into_iter().map(|subscription| subscription.tag).collect();
        Some(Farewell { room: name.to_owned(), id: member.id, subscriptions })
    }

    /// Lets those go whose pages have been silent for too long.
    pub fn drop_silent(&mut self, now: Instant) -> Vec<Farewell> {
        let is_silent = |member: &&Member| now.duration_since(member.seen_at) > SILENCE;
        let silent = |(name, room): (&String, &Room)| {
            let keys = room.members.iter().filter(is_silent).map(|member| (name.clone(), member.key.clone()));
            keys.collect::<Vec<_>>()
        };
        let silent: Vec<(String, String)> = self.rooms.iter().flat_map(silent).collect();
        silent.into_iter().filter_map(|(room, key)| self.leave(&room, &key)).collect()
    }

    /// The names of all rooms.
    pub fn names(&self) -> Vec<String> {
        self.rooms.keys().cloned().collect()
    }

    fn member(&mut self, room: &str, key: &str) -> Result<&mut Member, Refusal> {
        let room = self.rooms.get_mut(room).ok_or(Refusal::Gone)?;
        room.members.iter_mut().find(|member| member.key == key).ok_or(Refusal::Gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_in_a_room(now: Instant) -> Rooms {
        let mut rooms = Rooms::default();
        for (id, key, name) in [("a", "key-a", "Ann"), ("b", "key-b", "Bob")] {
            rooms.join("kitchen", id, key, (name, Vec::new()), now).unwrap();
        }
        rooms
    }

    #[test]
    fn who_leaves_takes_subscriptions_along() {
        let now = Instant::now();
        let mut rooms = two_in_a_room(now);
        assert!(rooms.subscribe("kitchen", "key-a", "s1", "b"));
        assert!(rooms.subscribe("kitchen", "key-b", "s2", "a"));
        assert!(!rooms.subscribe("kitchen", "key-b", "s3", "b"), "nobody receives himself");
        assert_eq!(rooms.publisher_of("kitchen", "key-a", "s1"), Ok("b".to_owned()));
        assert_eq!(rooms.publisher_of("kitchen", "key-b", "s1"), Err(Refusal::Gone), "not its own");
        let gone = rooms.leave("kitchen", "key-a").unwrap();
        assert_eq!(gone.id, "a");
        assert_eq!(gone.subscriptions, ["s1"]);
        assert_eq!(rooms.unsubscribe("kitchen", "key-b", "s2"), Ok(false), "it went with its publisher");
        assert!(rooms.leave("kitchen", "key-b").is_some());
        assert!(rooms.leave("kitchen", "key-b").is_none() && rooms.names().is_empty());
    }

    #[test]
    fn the_silent_leave_and_the_others_hear_of_it() {
        let start = Instant::now();
        let mut rooms = two_in_a_room(start);
        let later = start + SILENCE + Duration::from_secs(1);
        let changes = rooms.watch("kitchen", "key-b", later).unwrap();
        let gone = rooms.drop_silent(later);
        assert_eq!(gone.iter().map(|gone| gone.id.as_str()).collect::<Vec<_>>(), ["a"]);
        assert!(changes.has_changed().unwrap());
        assert!(rooms.others("kitchen", "key-b").is_ok_and(|others| others.is_empty()));
        assert!(matches!(rooms.others("kitchen", "key-a"), Err(Refusal::Gone)));
    }

    #[test]
    fn rooms_and_names_have_limits() {
        let now = Instant::now();
        let mut rooms = Rooms::default();
        for number in 0..MOST_MEMBERS {
            rooms.join("full", &format!("{number}"), &format!("key-{number}"), ("x", Vec::new()), now).unwrap();
        }
        assert!(matches!(rooms.join("full", "one more", "key", ("x", Vec::new()), now), Err(Refusal::Full(_))));
        for number in 1..MOST_ROOMS {
            rooms.join(&format!("{number}"), "id", "key", ("x", Vec::new()), now).unwrap();
        }
        assert!(matches!(rooms.join("one more", "id", "key", ("x", Vec::new()), now), Err(Refusal::Full(_))));
        assert_eq!(tidy_name("  Zo\u{eb} ", "bad"), Ok("Zo\u{eb}".to_owned()));
        for bad in ["", " ", "a\nb", &"x".repeat(LONGEST_NAME + 1)] {
            assert_eq!(tidy_name(bad, "bad"), Err(Refusal::BadName("bad")), "{bad:?}");
        }
    }
}
