//! Random sequences of commands against a small reference of who hears whom: after every step the engine's plans say
//! the same, and nothing is leaked.

mod action;
mod calls;
mod reference;

use action::{Action, CALLS};
use calls::{Calls, call_id};
use millrace::plan::Block;
use millrace_testsuite::simulation::World;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};
use reference::Flow;
use std::collections::BTreeMap;

/// Carries an action out on both sides; does nothing when it makes no sense in this state.
fn perform(world: &mut World, calls: &mut Calls, index: usize, action: &Action) -> Result<(), TestCaseError> {
    let Some((request, expected)) = calls.apply(index, action) else {
        return if matches!(action, Action::Move) { move_calls(world, calls) } else { Ok(()) };
    };
    let reply = world.ask(&request);
    world.check();
    let is_ok = reply["result"] == "ok";
    prop_assert_eq!(is_ok, expected, "{} -> {}", request, reply);
    if let (Action::Subscribe { .. }, Some(sdp)) = (action, reply["sdp"].as_str()) {
        calls.of(index).check_lines(index, action, sdp)?;
    }
    if matches!(action, Action::DeleteParty { .. } | Action::DeleteCall) {
        calls.remain(index, world.shard.call(&call_id(index)));
    }
    check(world, calls, &request)
}

/// Another shard has the same calls.
fn move_calls(world: &mut World, calls: &Calls) -> Result<(), TestCaseError> {
    let count = world.shard.calls().count();
    prop_assert_eq!(world.move_calls(), count);
    check(world, calls, &serde_json::Value::Null)
}

/// Who hears whom is the same on both sides.
fn check(world: &World, calls: &Calls, request: &serde_json::Value) -> Result<(), TestCaseError> {
    for index in 0..CALLS {
        let engine = world.shard.call(&call_id(index));
        prop_assert_eq!(engine.map_or(0, |call| call.participants().count()), calls.of(index).parties());
        let subscriptions = engine.map_or(&[][..], |call| call.subscriptions());
        prop_assert_eq!(subscriptions.len(), calls.of(index).links(), "{}", request);
        let is_there = |id| engine.is_some_and(|call| call.medias().any(|(other, _)| other == id));
        prop_assert!(subscriptions.iter().all(|flow| is_there(flow.source) && is_there(flow.sink)), "{}", request);
        let flows = engine.map(|call| flows(world, call)).unwrap_or_default();
        prop_assert_eq!(flows, calls.of(index).flows(), "{}", request);
    }
    Ok(())
}

/// Every flow of media that the engine has planned, with what is blocked of it.
fn flows(world: &World, call: &millrace::call::Call) -> BTreeMap<Flow, Option<Block>> {
    let name = |media: &millrace::call::Media| {
        let participant = call.participant(media.owner);
        (participant.tag.clone().or(participant.via_branch.clone()).unwrap_or_default(), media.index)
    };
    let mut flows = BTreeMap::new();
    for (_, media) in call.medias().filter(|(_, media)| media.ports().is_some()) {
        let stream = world.shard.relay().stream(media.rtp_stream.expect("open ports have a stream")).expect("a stream");
        for sink in &stream.plan().media {
            let (_, heard_by) =
                call.medias().find(|(_, other)| other.rtp_stream == Some(sink.egress)).expect("a media of the call");
            let before = flows.insert((name(media), name(heard_by)), sink.block);
            assert!(before.is_none(), "two copies of one flow");
        }
    }
    flows
}

proptest! {
    #![proptest_config(Config { cases: 300, rng_seed: RngSeed::Fixed(2024), failure_persistence: None, ..Config::default() })]

    #[test]
    fn plans_agree_with_the_reference(actions in action::actions()) {
        let mut world = World::new(&["a/203.0.113.1", "b/2001:db8::1"], (30000, 30999));
        let mut calls = Calls::new();
        for (index, action) in &actions {
            perform(&mut world, &mut calls, *index, action)?;
        }
        world.end_all();
        world.check_empty();
    }

    #[test]
    fn no_ports_are_leaked_where_they_run_out(
        actions in action::actions(),
        pairs in 1u16..8,
    ) {
        let mut world = World::new(&["a/203.0.113.1"], (30000, 29999 + 2 * pairs));
        let mut calls = Calls::new();
        for (index, action) in &actions {
            let Some((request, _)) = calls.apply(*index, action) else { continue };
            world.ask(&request);
            world.check();
            // Whoever was lost with the call is unknown to both sides.
            calls.remain(*index, world.shard.call(&call_id(*index)));
        }
        world.end_all();
        world.check_empty();
    }
}
