//! Which streams hear a port: one, or several that tell themselves apart by their peers' addresses.

use super::PortToken;
use crate::plan::StreamId;
use slab::Slab;
use smallvec::SmallVec;

/// The streams of each port, by token.
#[derive(Debug, Default)]
pub(super) struct Occupants {
    ports: Vec<Occupant>,
    several: Slab<SmallVec<[StreamId; 2]>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Occupant {
    #[default]
    Nobody,
    Stream(StreamId),
    /// A place among `several`.
    Several(u32),
}

impl Occupants {
    fn at(&self, port: PortToken) -> Occupant {
        self.ports.get(port.0 as usize).copied().unwrap_or_default()
    }

    /// The stream of a port that has one alone.
    #[inline]
    pub(super) fn only(&self, port: PortToken) -> Option<StreamId> {
        match self.at(port) {
            Occupant::Stream(id) => Some(id),
            Occupant::Nobody | Occupant::Several(_) => None,
        }
    }

    /// The streams of a port that has several; none where it has not.
    pub(super) fn several(&self, port: PortToken) -> &[StreamId] {
        match self.at(port) {
            Occupant::Several(place) => self.several.get(place as usize).map_or(&[], |list| list),
            Occupant::Nobody | Occupant::Stream(_) => &[],
        }
    }

    pub(super) fn are_several(&self, port: PortToken) -> bool {
        !self.several(port).is_empty()
    }

    /// The first stream of a port.
    pub(super) fn first(&self, port: PortToken) -> Option<StreamId> {
        self.only(port).or_else(|| self.several(port).first().copied())
    }

    /// Gives a port to one stream alone.
    pub(super) fn set(&mut self, port: PortToken, id: StreamId) {
        self.clear(port);
        let index = port.0 as usize;
        if self.ports.len() <= index {
            self.ports.resize(index + 1, Occupant::Nobody);
        }
        self.ports[index] = Occupant::Stream(id);
    }

    /// Gives a port to one more stream.
    pub(super) fn add(&mut self, port: PortToken, id: StreamId) {
        match self.at(port) {
            Occupant::Nobody => self.set(port, id),
            Occupant::Stream(first) => {
                let place = self.several.insert(SmallVec::from_slice(&[first, id]));
                self.ports[port.0 as usize] = Occupant::Several(place as u32);
            }
            Occupant::Several(place) => self.several[place as usize].push(id),
        }
    }

    /// Takes a port from everybody.
    pub(super) fn clear(&mut self, port: PortToken) {
        let Some(slot) = self.ports.get_mut(port.0 as usize) else { return };
        if let Occupant::Several(place) = std::mem::take(slot) {
            self.several.remove(place as usize);
        }
    }

    /// Takes a port from a stream, if it has it.
    pub(super) fn remove(&mut self, port: PortToken, id: StreamId) {
        match self.at(port) {
            Occupant::Stream(only) if only == id => self.clear(port),
            Occupant::Several(place) => {
                let list = &mut self.several[place as usize];
                list.retain(|other| *other != id);
                if let [only] = list[..] {
                    self.set(port, only);
                }
            }
            Occupant::Nobody | Occupant::Stream(_) => {}
        }
    }

    /// Takes every port from a stream.
    pub(super) fn remove_everywhere(&mut self, id: StreamId) {
        (0..self.ports.len()).for_each(|index| self.remove(PortToken(index as u32), id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORT: PortToken = PortToken(3);
    const STREAMS: [StreamId; 3] = [StreamId(7), StreamId(8), StreamId(9)];

    #[test]
    fn streams_come_and_go() {
        let mut occupants = Occupants::default();
        assert_eq!((occupants.only(PORT), occupants.first(PORT)), (None, None));
        STREAMS.into_iter().for_each(|id| occupants.add(PORT, id));
        assert_eq!((occupants.only(PORT), occupants.first(PORT)), (None, Some(STREAMS[0])));
        assert_eq!(occupants.several(PORT), STREAMS);
        occupants.remove(PORT, STREAMS[0]);
        occupants.remove(PORT, StreamId(1));
        assert_eq!(occupants.several(PORT), &STREAMS[1..]);
        occupants.remove_everywhere(STREAMS[2]);
        assert_eq!((occupants.only(PORT), occupants.several.len()), (Some(STREAMS[1]), 0));
        occupants.remove(PORT, STREAMS[1]);
        assert_eq!(occupants.first(PORT), None);
    }

    #[test]
    fn a_port_that_is_given_anew_leaves_nothing_behind() {
        let mut occupants = Occupants::default();
        occupants.set(PORT, STREAMS[0]);
        occupants.add(PORT, STREAMS[1]);
        occupants.set(PORT, STREAMS[2]);
        assert_eq!((occupants.only(PORT), occupants.several.len()), (Some(STREAMS[2]), 0));
        occupants.clear(PortToken(100));
    }
}
