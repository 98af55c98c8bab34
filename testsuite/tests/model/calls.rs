//! Several calls, which may become one.

use super::action::{Action, CALLS};
use super::reference::{Reference, party_name};
use millrace::call::Call;
use serde_json::{Value, json};

/// What is known of each call-id.
pub struct Calls {
    calls: Vec<Reference>,
    /// The place in `calls` that each call-id leads to.
    homes: [usize; CALLS],
}

pub fn call_id(number: usize) -> String {
    format!("call-{number}")
}

impl Calls {
    pub fn new() -> Calls {
        Calls { calls: vec![Reference::default(); CALLS], homes: std::array::from_fn(|number| number) }
    }

    /// The call that a call-id leads to.
    pub fn of(&self, number: usize) -> &Reference {
        &self.calls[self.homes[number]]
    }

    /// Carries an action out; returns the request and whether it succeeds. None when it makes no sense in this state.
    pub fn apply(&mut self, number: usize, action: &Action) -> Option<(Value, bool)> {
        match action {
            Action::Connect { from, to, is_directional, is_bidirectional } => {
                self.connect((number, *from), *to, *is_directional, *is_bidirectional)
            }
            Action::InjectStart { to, source } => self.inject((number, *to), *source),
            Action::Mesh { from, to, unsubscribes, is_bidirectional } => {
                self.mesh((number, *from), to, *unsubscribes, *is_bidirectional)
            }
            _ => {
                let (mut request, is_ok) = self.calls[self.homes[number]].apply(number, action)?;
                request["call-id"] = json!(call_id(number));
                Some((request, is_ok))
            }
        }
    }

    /// Forgets who is gone; when nobody is left each call-id may name a new call.
    pub fn remain(&mut self, number: usize, call: Option<&Call>) {
        let home = self.homes[number];
        self.calls[home].remain(call);
        if call.is_none() {
            for (number, of) in self.homes.iter_mut().enumerate().filter(|(_, of)| **of == home) {
                *of = number;
            }
        }
    }

    fn connect(
        &mut self,
        from: (usize, usize),
        to: (usize, usize),
        is_directional: bool,
        is_bidirectional: bool,
    ) -> Option<(Value, bool)> {
        let names = [party_name(from.0, from.1), party_name(to.0, to.1)];
        let named = [(is_directional, "directional"), (is_bidirectional, "bidirectional")];
        let flags: Vec<&str> = named.iter().filter(|(is_set, _)| *is_set).map(|(_, name)| *name).collect();
        let mut request = json!({
            "command": "connect", "call-id": call_id(from.0), "from-tag": names[0], "to-tag": names[1], "flags": flags,
        });
        if from.0 != to.0 {
            request["to-call-id"] = json!(call_id(to.0));
        }
        let is_known = self.of(from.0).has_tag(&names[0]) && self.of(to.0).has_tag(&names[1]);
        let Some(mut merged) = self.merged(&[from.0, to.0])? else { return Some((request, false)) };
        let is_ok = is_known && merged.connect(&names[0], &names[1], !is_directional, is_bidirectional);
        if is_ok {
            self.take_on(&[from.0, to.0], merged);
        }
        Some((request, is_ok))
    }

    fn inject(&mut self, to: (usize, usize), source: (usize, usize)) -> Option<(Value, bool)> {
        let names = [party_name(to.0, to.1), party_name(source.0, source.1)];
        let mut request = json!({
            "command": "inject start", "call-id": call_id(to.0), "to-tag": names[0], "source-tag": names[1],
        });
        if to.0 != source.0 {
            request["source-call-id"] = json!(call_id(source.0));
        }
        let is_known = self.of(to.0).has_tag(&names[0]) && self.of(source.0).has_tag(&names[1]);
        let Some(mut merged) = self.merged(&[to.0, source.0])? else { return Some((request, false)) };
        let is_ok = is_known && merged.inject(&names[1], &names[0]);
        if is_ok {
            self.take_on(&[to.0, source.0], merged);
        }
        Some((request, is_ok))
    }

    fn mesh(
        &mut self,
        from: (usize, usize),
        to: &[(usize, usize)],
        unsubscribes: bool,
        is_bidirectional: bool,
    ) -> Option<(Value, bool)> {
        let source = party_name(from.0, from.1);
        let sinks: Vec<String> = to.iter().map(|(call, number)| party_name(*call, *number)).collect();
        let named = [(unsubscribes, "unsubscribe"), (is_bidirectional, "bidirectional")];
        let flags: Vec<&str> = named.iter().filter(|(is_set, _)| *is_set).map(|(_, name)| *name).collect();
        let numbers: Vec<usize> = std::iter::once(from.0).chain(to.iter().map(|(call, _)| *call)).collect();
        let ids: Vec<String> = numbers.iter().map(|number| call_id(*number)).collect();
        let request = json!({"command": "mesh", "calls": ids, "tags": [{"from": source, "to": sinks}], "flags": flags});
        let Some(mut merged) = self.merged(&numbers)? else { return Some((request, false)) };
        let is_known = merged.has_tag(&source) && sinks.iter().all(|sink| merged.has_tag(sink));
        if is_known && unsubscribes {
            merged.unlink(&source, is_bidirectional);
        }
        let is_ok = is_known && sinks.iter().all(|sink| merged.connect(&source, sink, false, is_bidirectional));
        if is_ok {
            self.take_on(&numbers, merged);
        }
        Some((request, is_ok))
    }

    /// The calls behind several call-ids as one. The inner value is none when that is refused.
    fn merged(&self, numbers: &[usize]) -> Option<Option<Reference>> {
        let mut homes: Vec<usize> = Vec::new();
        for home in numbers.iter().map(|number| self.homes[*number]) {
            if !homes.contains(&home) {
                homes.push(home);
            }
        }
        let mut merged = self.calls[homes[0]].clone();
        for other in homes[1..].iter().map(|home| &self.calls[*home]) {
            if merged.parties() == 0 || other.parties() == 0 || merged.collides_with(other)? {
                return Some(None);
            }
            merged.absorb(other.clone());
        }
        Some(Some(merged).filter(|merged| merged.parties() > 0))
    }

    fn take_on(&mut self, numbers: &[usize], merged: Reference) {
        let home = self.homes[numbers[0]];
        let parts: Vec<usize> = numbers.iter().map(|number| self.homes[*number]).collect();
        parts.iter().for_each(|part| self.calls[*part] = Reference::default());
        self.homes.iter_mut().filter(|of| parts.contains(of)).for_each(|of| *of = home);
        self.calls[home] = merged;
    }
}
